//! The receipt: what ran and what it cost, signed once by the enclave's key.
//!
//! Two nested static structs, so that a holder can show either half and the hash of the other. Its encoding is its ABI words and
//! nothing else; its identity is the EIP-712 digest. Spec: receipt.md. Not here: the decoding record, whose hash it
//! carries (`decoding`).
//!
//! Parsing believes nothing; `check` decides whether K_sig is attested. Not proven by a receipt: delivery to the client (only
//! hand-over to the host), and for PROXY work anything about the upstream's model.

use alloc::vec::Vec;

use crate::VERSION;
use crate::abi::{AbiError, WordReader, Words};
use crate::bytes::{Address, Amount, Hash32};
use crate::eip712::{TypedMessage, TypedStruct};
use crate::hash::keccak256;
use crate::payment;
use crate::scheme::Scheme;
use crate::tags;
use crate::time::UnixMs;

codes! {
    /// What the client's bytes travelled in.
    Channel {
        /// Sealed to the attested K_hpke.
        Sealed = 1 "SEALED",
        /// TLS ended in the enclave; private only for a client that pinned the attested key.
        Tls = 2 "TLS",
    }
}

codes! {
    /// Where the token counts come from.
    UsageSource {
        /// Counted by the enclave itself.
        Counted = 1 "COUNTED",
        /// Declared by an upstream; bounded, not proven.
        UpstreamDeclared = 2 "UPSTREAM_DECLARED",
    }
}

codes! {
    /// How the answer ended.
    Outcome {
        /// The model ended it, or a stop sequence did.
        Complete = 1 "complete",
        /// The token limit ended it.
        Length = 2 "length",
        /// The node's cap on the time of one answer was over; the receipt covers what was handed to the host.
        CutByNode = 3 "cut by node",
        /// The client went away, or the time that its payment gave was over; the receipt covers what was handed to the host.
        Aborted = 4 "aborted",
        /// The model refused to answer.
        RefusedByModel = 5 "refused by model",
        /// A guard before or behind the model refused.
        RefusedByGuard = 6 "refused by guard",
        /// The upstream failed.
        UpstreamError = 7 "upstream error",
    }
}

impl Outcome {
    /// Whether the frames are the beginning of an answer that would have gone on.
    #[must_use]
    pub fn is_cut(self) -> bool {
        matches!(self, Self::CutByNode | Self::Aborted)
    }
}

/// Bit set of what a receipt claims about the work. Unknown bits are refused by `verify`, not by the parser.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kinds(pub u32);

impl Kinds {
    /// The model ran in the enclave, its weights digested there.
    pub const LOCAL: Self = Self(1);
    /// The enclave called a provider.
    pub const PROXY: Self = Self(2);
    /// Whoever holds the bundle and the weights can re-run it and compare bytes.
    pub const REEXEC: Self = Self(4);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// LOCAL or PROXY but not both, REEXEC only with LOCAL, nothing unknown.
    #[must_use]
    pub fn is_well_formed(self) -> bool {
        matches!(self.0, 1 | 2 | 5)
    }
}

/// The half about money. Spec: receipt.md §3.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Money {
    /// Identity of the payment, from what the payer signed and never from signature bytes ([`crate::payment::Authorization::payment_id`]).
    pub payment_id: Hash32,
    /// How the money moves.
    pub scheme: Scheme,
    /// Who pays.
    pub payer: Address,
    /// Who is paid: the attested payee (or its forwarder).
    pub payee: Address,
    /// Token contract.
    pub asset: Address,
    /// Chain of the token (EIP-155).
    pub chain_id: u64,
    /// Settler clone that alone may settle it; zero for schemes without one (`exact`).
    pub settler: Address,
    /// What the payer signed at most, in the asset's smallest unit.
    pub max_amount: Amount,
    /// What is charged. Under `exact` the whole signed amount.
    pub charged: Amount,
    /// Channels: cumulative charged before; zero otherwise.
    pub cumulative_before: Amount,
    /// Channels: cumulative charged after; zero otherwise.
    pub cumulative_after: Amount,
    /// EIP-712 digest of the offer this payment answers.
    pub offer_digest: Hash32,
}

/// The half about work. Spec: receipt.md §4.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Work {
    /// What is claimed.
    pub kinds: Kinds,
    /// What the bytes travelled in.
    pub channel: Channel,
    /// Where the counts come from.
    pub usage_source: UsageSource,
    /// How it ended.
    pub outcome: Outcome,
    /// Digest of the model, as named in the operator terms.
    pub model_id: Hash32,
    /// Salted commitment to method, path and body.
    pub request_commitment: Hash32,
    /// Commitment to the transcript.
    pub response_commitment: Hash32,
    /// hashStruct of [`Decoding`](crate::decoding::Decoding).
    pub decoding_hash: Hash32,
    /// Tokens in.
    pub prompt_tokens: u64,
    /// Tokens out.
    pub completion_tokens: u64,
    /// Unix milliseconds by the enclave's clock, when the engine started.
    pub started_at: UnixMs,
    /// Unix milliseconds by the enclave's clock, when the transcript was closed.
    pub finished_at: UnixMs,
    /// A recent block of the anchor chain, as told by the host: a lower time bound for whoever checks its hash.
    pub block_number: u64,
    /// Its hash.
    pub block_hash: Hash32,
    /// hashStruct of [`crate::source::SourceRecord`]; zero for LOCAL.
    pub source_hash: Hash32,
    /// Public answers: the task that the caller named, verbatim; zero otherwise.
    pub task_hash: Hash32,
    /// Public answers: [`crate::transcript::question_hash`]; zero otherwise.
    pub question_hash: Hash32,
    /// Public answers: keccak256 of the assistant's text in UTF-8; zero otherwise.
    pub answer_hash: Hash32,
}

/// The receipt. Identity = [`Receipt::digest`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Receipt {
    /// Manifest of the boot that signed it.
    pub manifest_hash: Hash32,
    /// Log it belongs to.
    pub log_id: Hash32,
    /// Its leaf index there.
    pub sequence: u64,
    /// The half about money.
    pub money: Money,
    /// The half about work.
    pub work: Work,
}

/// A receipt that has no place in a log yet. It is no [`Receipt`]: it has no digest and cannot be signed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Unplaced {
    /// Manifest of the boot that will sign it.
    pub manifest_hash: Hash32,
    /// Its anchor chain, which is in the ids of what is not charged.
    pub anchor_chain_id: u64,
    /// The half about money.
    pub money: Money,
    /// The half about work.
    pub work: Work,
}

impl Unplaced {
    /// The receipt at this leaf of this log. Work of which nothing is charged has its payment id from there (receipt.md RCPT-12, RCPT-13).
    #[must_use]
    pub fn placed(self, log_id: Hash32, sequence: u64) -> Receipt {
        let mut money = self.money;
        if !money.scheme.is_paid() {
            money.payment_id = payment::unpaid_id(self.anchor_chain_id, &log_id, sequence);
        } else if money.charged == Amount::ZERO {
            money.payment_id = payment::unsettled_id(self.anchor_chain_id, &log_id, sequence);
        }
        Receipt { manifest_hash: self.manifest_hash, log_id, sequence, money, work: self.work }
    }
}

const MONEY_TYPE: &str = "Money(bytes32 paymentId,uint8 scheme,address payer,address payee,address asset,uint256 chainId,address settler,uint256 maxAmount,uint256 charged,uint256 cumulativeBefore,uint256 cumulativeAfter,bytes32 offerDigest)";
const WORK_TYPE: &str = "Work(uint32 kinds,uint8 channel,uint8 usageSource,uint8 outcome,bytes32 modelId,bytes32 requestCommitment,bytes32 responseCommitment,bytes32 decodingHash,uint64 promptTokens,uint64 completionTokens,uint64 startedAt,uint64 finishedAt,uint64 blockNumber,bytes32 blockHash,bytes32 sourceHash,bytes32 taskHash,bytes32 questionHash,bytes32 answerHash)";
const RECEIPT_TYPE: &str = "Receipt(uint8 version,bytes32 manifestHash,bytes32 logId,uint64 sequence,Money money,Work work)Money(bytes32 paymentId,uint8 scheme,address payer,address payee,address asset,uint256 chainId,address settler,uint256 maxAmount,uint256 charged,uint256 cumulativeBefore,uint256 cumulativeAfter,bytes32 offerDigest)Work(uint32 kinds,uint8 channel,uint8 usageSource,uint8 outcome,bytes32 modelId,bytes32 requestCommitment,bytes32 responseCommitment,bytes32 decodingHash,uint64 promptTokens,uint64 completionTokens,uint64 startedAt,uint64 finishedAt,uint64 blockNumber,bytes32 blockHash,bytes32 sourceHash,bytes32 taskHash,bytes32 questionHash,bytes32 answerHash)";

impl Money {
    /// The money of work that nobody paid for: it names where the receipt lies and who would have been paid, and nothing else.
    /// Spec: receipt.md §3.
    #[must_use]
    pub fn unpaid(anchor_chain_id: u64, payee: Address, log_id: &Hash32, sequence: u64) -> Self {
        Self {
            payment_id: payment::unpaid_id(anchor_chain_id, log_id, sequence),
            scheme: Scheme::None,
            payer: Address::ZERO,
            payee,
            asset: Address::ZERO,
            chain_id: anchor_chain_id,
            settler: Address::ZERO,
            max_amount: Amount::ZERO,
            charged: Amount::ZERO,
            cumulative_before: Amount::ZERO,
            cumulative_after: Amount::ZERO,
            offer_digest: Hash32::ZERO,
        }
    }

    fn words(&self, words: Words) -> Words {
        words
            .hash(&self.payment_id)
            .u64(self.scheme.code().into())
            .address(&self.payer)
            .address(&self.payee)
            .address(&self.asset)
            .u64(self.chain_id)
            .address(&self.settler)
            .amount(self.max_amount)
            .amount(self.charged)
            .amount(self.cumulative_before)
            .amount(self.cumulative_after)
            .hash(&self.offer_digest)
    }

    fn read(r: &mut WordReader<'_>) -> Result<Self, AbiError> {
        Ok(Self {
            payment_id: r.hash()?,
            scheme: r.code(Scheme::from_code)?,
            payer: r.address()?,
            payee: r.address()?,
            asset: r.address()?,
            chain_id: r.u64()?,
            settler: r.address()?,
            max_amount: r.amount()?,
            charged: r.amount()?,
            cumulative_before: r.amount()?,
            cumulative_after: r.amount()?,
            offer_digest: r.hash()?,
        })
    }

    /// The half as it is hashed.
    #[must_use]
    pub fn to_struct(&self) -> TypedStruct {
        TypedStruct::new(MONEY_TYPE, self.words(Words::new()))
    }

    /// hashStruct, so that the half can be shown alone beside the other's hash.
    #[must_use]
    pub fn struct_hash(&self) -> Hash32 {
        self.to_struct().hash()
    }
}

impl Work {
    fn words(&self, words: Words) -> Words {
        words
            .u64(self.kinds.0.into())
            .u64(self.channel.code().into())
            .u64(self.usage_source.code().into())
            .u64(self.outcome.code().into())
            .hash(&self.model_id)
            .hash(&self.request_commitment)
            .hash(&self.response_commitment)
            .hash(&self.decoding_hash)
            .u64(self.prompt_tokens)
            .u64(self.completion_tokens)
            .u64(self.started_at.0)
            .u64(self.finished_at.0)
            .u64(self.block_number)
            .hash(&self.block_hash)
            .hash(&self.source_hash)
            .hash(&self.task_hash)
            .hash(&self.question_hash)
            .hash(&self.answer_hash)
    }

    fn read(r: &mut WordReader<'_>) -> Result<Self, AbiError> {
        Ok(Self {
            kinds: Kinds(r.u32()?),
            channel: r.code(Channel::from_code)?,
            usage_source: r.code(UsageSource::from_code)?,
            outcome: r.code(Outcome::from_code)?,
            model_id: r.hash()?,
            request_commitment: r.hash()?,
            response_commitment: r.hash()?,
            decoding_hash: r.hash()?,
            prompt_tokens: r.u64()?,
            completion_tokens: r.u64()?,
            started_at: UnixMs(r.u64()?),
            finished_at: UnixMs(r.u64()?),
            block_number: r.u64()?,
            block_hash: r.hash()?,
            source_hash: r.hash()?,
            task_hash: r.hash()?,
            question_hash: r.hash()?,
            answer_hash: r.hash()?,
        })
    }

    /// The half as it is hashed.
    #[must_use]
    pub fn to_struct(&self) -> TypedStruct {
        TypedStruct::new(WORK_TYPE, self.words(Words::new()))
    }

    /// hashStruct, so that the half can be shown alone beside the other's hash.
    #[must_use]
    pub fn struct_hash(&self) -> Hash32 {
        self.to_struct().hash()
    }
}

impl Receipt {
    /// Words in the encoding: version, manifest hash, log id, sequence, 12 of money, 18 of work.
    pub const WORDS: usize = 34;

    /// The one encoding: 1,088 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let words = Words::new().u64(VERSION.into()).hash(&self.manifest_hash).hash(&self.log_id).u64(self.sequence);
        self.work.words(self.money.words(words)).into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// `Version`, `Length` or `Range`; an unknown code is `Range` at its word.
    pub fn parse(bytes: &[u8]) -> Result<Self, AbiError> {
        let mut r = WordReader::versioned(bytes, Self::WORDS, VERSION)?;
        Ok(Self { manifest_hash: r.hash()?, log_id: r.hash()?, sequence: r.u64()?, money: Money::read(&mut r)?, work: Work::read(&mut r)? })
    }

    /// The EIP-712 digest that K_sig signs.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        self.message().digest()
    }

    /// What K_sig signs.
    #[must_use]
    pub fn message(&self) -> TypedMessage {
        self.half().message()
    }

    /// The receipt without what was done for the money.
    #[must_use]
    pub fn half(&self) -> Half {
        Half {
            manifest_hash: self.manifest_hash,
            log_id: self.log_id,
            sequence: self.sequence,
            money: self.money.clone(),
            work_hash: self.work.struct_hash(),
        }
    }
}

/// A receipt of which the work is shown as its hash alone, under the same digest: all that a settler is told. Spec: receipt.md §2.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Half {
    /// As in [`Receipt`].
    pub manifest_hash: Hash32,
    /// As in [`Receipt`].
    pub log_id: Hash32,
    /// As in [`Receipt`].
    pub sequence: u64,
    /// The half about money.
    pub money: Money,
    /// hashStruct of the other.
    pub work_hash: Hash32,
}

impl Half {
    /// Words in the encoding: version, manifest hash, log id, sequence, 12 of money, the hash.
    pub const WORDS: usize = 17;

    /// Its words behind these.
    #[must_use]
    pub fn words(&self, words: Words) -> Words {
        let words = words.u64(VERSION.into()).hash(&self.manifest_hash).hash(&self.log_id).u64(self.sequence);
        self.money.words(words).hash(&self.work_hash)
    }

    /// Reads its words among others. Believes nothing.
    ///
    /// # Errors
    /// `Range`: another version, or a word that does not fit.
    pub fn read(r: &mut WordReader<'_>) -> Result<Self, AbiError> {
        r.code(|got| (got == VERSION).then_some(()))?;
        Ok(Self { manifest_hash: r.hash()?, log_id: r.hash()?, sequence: r.u64()?, money: Money::read(r)?, work_hash: r.hash()? })
    }

    /// The receipt's digest.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        self.message().digest()
    }

    fn message(&self) -> TypedMessage {
        let data = Words::new()
            .u64(VERSION.into())
            .hash(&self.manifest_hash)
            .hash(&self.log_id)
            .u64(self.sequence)
            .hash(&self.money.struct_hash())
            .hash(&self.work_hash);
        TypedMessage::candor(TypedStruct::new(RECEIPT_TYPE, data))
    }
}

/// Unguessable id under which a receipt can be fetched. Derived from the leaf salt, which only client and enclave know: from the
/// receipt itself whoever sees the settlement could guess it.
#[must_use]
pub fn receipt_id(leaf_salt: &Hash32) -> [u8; 16] {
    let hash = keccak256(&[tags::RECEIPT_ID, &leaf_salt.0]);
    hash.0.first_chunk::<16>().copied().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Receipt {
        Receipt {
            manifest_hash: Hash32([1; 32]),
            log_id: Hash32([2; 32]),
            sequence: 3,
            money: Money {
                payment_id: Hash32([4; 32]),
                scheme: Scheme::ExactEip3009,
                payer: Address([5; 20]),
                payee: Address([6; 20]),
                asset: Address([7; 20]),
                chain_id: 31337,
                settler: Address::ZERO,
                max_amount: Amount(1000),
                charged: Amount(1000),
                cumulative_before: Amount(0),
                cumulative_after: Amount(0),
                offer_digest: Hash32([8; 32]),
            },
            work: Work {
                kinds: Kinds::LOCAL.and(Kinds::REEXEC),
                channel: Channel::Tls,
                usage_source: UsageSource::Counted,
                outcome: Outcome::Complete,
                model_id: Hash32([9; 32]),
                request_commitment: Hash32([10; 32]),
                response_commitment: Hash32([11; 32]),
                decoding_hash: Hash32([12; 32]),
                prompt_tokens: 13,
                completion_tokens: 14,
                started_at: UnixMs(15),
                finished_at: UnixMs(16),
                block_number: 17,
                block_hash: Hash32([18; 32]),
                source_hash: Hash32([19; 32]),
                task_hash: Hash32([20; 32]),
                question_hash: Hash32([21; 32]),
                answer_hash: Hash32([22; 32]),
            },
        }
    }

    #[test]
    fn the_receipt_type_is_its_parts() {
        let head = "Receipt(uint8 version,bytes32 manifestHash,bytes32 logId,uint64 sequence,Money money,Work work)";
        assert_eq!(RECEIPT_TYPE, alloc::format!("{head}{MONEY_TYPE}{WORK_TYPE}"));
    }

    #[test]
    fn a_receipt_differs_by_nothing_but_its_place() {
        let Receipt { manifest_hash, log_id, sequence, money, work } = sample();
        let unplaced = Unplaced { manifest_hash, anchor_chain_id: 31337, money, work };
        assert_eq!(unplaced.clone().placed(log_id, sequence), sample());
        assert_ne!(unplaced.placed(log_id, sequence + 1).digest(), sample().digest());
    }

    #[test]
    fn the_payment_id_of_work_that_nobody_paid_for_is_that_of_its_place() {
        let (payee, log_id) = (Address([4; 20]), Hash32([5; 32]));
        let Receipt { manifest_hash, work, .. } = sample();
        let unplaced = Unplaced { manifest_hash, anchor_chain_id: 31337, money: Money::unpaid(31337, payee, &Hash32::ZERO, 0), work };
        let placed = unplaced.placed(log_id, 7);
        assert_eq!(placed.money, Money::unpaid(31337, payee, &log_id, 7));
        // And that of paid work is not.
        assert_eq!(sample().money.payment_id, unplaced_of(sample()).placed(log_id, 7).money.payment_id);
    }

    #[test]
    fn the_payment_id_of_a_payment_of_which_nothing_is_charged_is_that_of_its_place() {
        let mut unplaced = unplaced_of(sample());
        unplaced.money = Money { scheme: Scheme::UptoPermit2, charged: Amount::ZERO, ..unplaced.money };
        let placed = unplaced.placed(Hash32([5; 32]), 7);
        assert_eq!(placed.money.payment_id, payment::unsettled_id(31337, &Hash32([5; 32]), 7));
    }

    fn unplaced_of(receipt: Receipt) -> Unplaced {
        Unplaced { manifest_hash: receipt.manifest_hash, anchor_chain_id: 31337, money: receipt.money, work: receipt.work }
    }

    #[test]
    fn a_receipt_reads_back_as_written() {
        let receipt = sample();
        assert_eq!(receipt.encode().len(), Receipt::WORDS * 32);
        assert_eq!(Receipt::parse(&receipt.encode()), Ok(receipt));
    }

    #[test]
    fn a_receipt_with_trailing_or_missing_bytes_is_rejected() {
        let mut bytes = sample().encode();
        bytes.push(0);
        assert!(matches!(Receipt::parse(&bytes), Err(AbiError::Length { .. })));
        assert!(matches!(Receipt::parse(&bytes[..1087]), Err(AbiError::Length { .. })));
    }

    #[test]
    fn a_flip_of_any_byte_is_rejected_or_changes_the_digest() {
        let receipt = sample();
        let bytes = receipt.encode();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            if let Ok(other) = Receipt::parse(&flipped) {
                assert_ne!(other.digest(), receipt.digest(), "byte {at}");
            }
        }
    }

    #[test]
    fn unknown_codes_are_rejected_at_their_word() {
        for (word, code) in [(5, 9), (17, 3), (18, 0), (19, 0), (19, 8)] {
            let mut bytes = sample().encode();
            bytes[word * 32 + 31] = code;
            assert_eq!(Receipt::parse(&bytes), Err(AbiError::Range { word }));
        }
    }

    #[test]
    fn a_receipt_of_before_the_first_release_is_refused_by_name() {
        let mut bytes = sample().encode();
        bytes[31] = 1;
        for old in [bytes.as_slice(), &bytes[..960]] {
            assert_eq!(Receipt::parse(old), Err(AbiError::Version { expected: 2, got: 1 }));
        }
    }

    #[test]
    fn kinds_that_contradict_themselves_are_not_well_formed() {
        for (kinds, expected) in [(0, false), (1, true), (2, true), (3, false), (4, false), (5, true), (6, false), (7, false), (8, false)] {
            assert_eq!(Kinds(kinds).is_well_formed(), expected, "{kinds}");
        }
    }
}
