//! What the two sides say to each other: plain values, one struct per message with more than a field or two.
//!
//! Field by field with the bytes in link.md §5 and §6. A `Debug` of these never shows calldata, signatures or receipts: they end up in
//! logs of the host. Not here: the bytes (`codec`, `to_enclave`, `to_host`).

use std::fmt;

use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::manifest::Manifest;
use candor_verify::receipt::Receipt;
use candor_verify::scheme::Scheme;
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::Tree;
use candor_verify::{Address, Amount, Hash32, Signature65};

use crate::limits::{MAX_ANSWER, MAX_CALLDATA, MAX_FRAME_HASHES, MAX_GROUP_BYTES, MAX_MESSAGE};

/// The newest block of the anchor chain, as the host says it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct BlockHead {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: Hash32,
    /// Block time in Unix seconds.
    pub timestamp: UnixSeconds,
}

/// The log of the boot before, at a size that is anchored on the chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Predecessor {
    /// Its log id.
    pub log_id: Hash32,
    /// An anchored size and root of it.
    pub tree: Tree,
}

/// Everything an enclave needs to make its keys and manifest; the models follow as parts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct BootRequest {
    /// `SignedTerms` in their CBOR.
    pub signed_terms: Vec<u8>,
    /// Newest block, for the freshness tag.
    pub head: BlockHead,
    /// Log of the boot before, if there is one.
    pub predecessor: Option<Predecessor>,
}

/// A piece of one model. Pieces of one model come in order and without gaps, and the digest is checked over what was copied.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct ModelPart {
    /// Digest of the whole model, as the terms name it.
    pub digest: Hash32,
    /// Byte offset of this piece.
    pub offset: u64,
    /// Bytes of the whole model.
    pub total: u64,
    /// The piece, 1 to [`crate::MAX_MODEL_PART`] bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for ModelPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelPart({:#}, {} + {} of {})", self.digest, self.offset, self.bytes.len(), self.total)
    }
}

/// A booted enclave's promises and their proof. The host reads the manifest (keys, log id) and believes it no more than anyone.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Ready {
    /// Keys and promises of this boot.
    pub manifest: Manifest,
    /// Evidence for it, as clients and registry get it.
    pub evidence: Vec<u8>,
    /// K_sig over the manifest's boot digest: what a registry asks for, besides.
    pub boot_signature: Signature65,
}

/// Where a boot stands; sent by the enclave first on each control connection.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a phase more is another version")]
pub enum Phase {
    /// Nothing yet: send [`BootRequest`].
    AwaitingTerms,
    /// Terms were taken: send the models it lists, then start. After a broken connection each model begins again at offset 0.
    AwaitingModels,
    /// Serving. The host may have restarted; the log goes on.
    Ready(Box<Ready>),
}

/// A connection that the enclave asks for: the host opens it, and joins it to a connection of the role [`crate::Role::Upstream`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct UpstreamRequest {
    /// Under which name the host is to bring it.
    pub pipe: crate::Pipe,
    /// DNS name or address, as an upstream of the terms has it.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A call that a payment would pass, tried and not sent.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct PayerTrial {
    /// Who would call.
    pub from: Address,
    /// The contract.
    pub to: Address,
    /// What it would be called with. It holds a payer's signature that is worth nothing to anybody but `from`.
    pub calldata: Vec<u8>,
}

impl fmt::Debug for PayerTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayerTrial(of {} by {}, {} bytes, not shown)", self.to, self.from, self.calldata.len())
    }
}

/// A question about a payer, before a payment is claimed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct PayerQuery {
    /// How it would be paid.
    pub scheme: Scheme,
    /// Chain of the token.
    pub chain_id: u64,
    /// Token contract.
    pub asset: Address,
    /// Who would pay.
    pub payer: Address,
    /// Nonce of the payer's signature.
    pub nonce: Hash32,
    /// What is to be tried besides, of a scheme whose signature may be shown for that.
    pub trial: Option<PayerTrial>,
}

/// What the chain says about a payer, at the newest block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct PayerState {
    /// Whether there is code at the token's address.
    pub asset_has_code: bool,
    /// Token balance of the payer. A balance above 2^128 − 1 is said as 2^128 − 1.
    pub balance: Amount,
    /// How much of it Permit2 may move, at most 2^128 − 1; zero if the scheme has no use for it.
    pub allowance: Amount,
    /// The payer's next nonce for EIP-2612 permits; `None` if the scheme has no use for it, or the token takes none.
    pub permit_nonce: Option<u64>,
    /// Whether the nonce is used or cancelled.
    pub nonce_used: bool,
    /// Whether the trial passed; true if there was none.
    pub passes: bool,
}

/// A receipt on its way into the log. Its sequence number is its leaf index.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct LoggedReceipt {
    /// The 32 bytes that enter the tree.
    pub leaf_data: Hash32,
    /// Unguessable id under which it is fetched.
    pub receipt_id: [u8; 16],
    /// The receipt's words, as signed.
    pub receipt: [u8; Self::RECEIPT_LEN],
    /// By K_sig.
    pub signature: Signature65,
    /// Leaf hashes of the transcript (salted, harmless), so that a client that went away can prove its part.
    pub frame_leaf_hashes: Vec<Hash32>,
}

impl LoggedReceipt {
    /// Bytes of a receipt.
    pub const RECEIPT_LEN: usize = Receipt::WORDS * 32;

    /// Bytes that a receipt with so many frames takes, at most: groups are cut at [`crate::MAX_GROUP_BYTES`].
    #[must_use]
    pub const fn encoded_len_max(frames: usize) -> usize {
        frames.saturating_mul(32).saturating_add(Self::RECEIPT_LEN).saturating_add(160)
    }
}

// One of each always fits, so a group of one can be sent.
const _: () =
    assert!(LoggedReceipt::encoded_len_max(MAX_FRAME_HASHES) + Settlement::encoded_len_max(MAX_CALLDATA) + MAX_ANSWER <= MAX_GROUP_BYTES);

impl fmt::Debug for LoggedReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoggedReceipt(leaf {:#}, {} frames)", self.leaf_data, self.frame_leaf_hashes.len())
    }
}

/// Receipts to be made durable. Idempotent: the same receipts again are confirmed again, others at the same indices are refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct AppendRequest {
    /// Leaf index of the first receipt.
    pub first_index: u64,
    /// 1 to [`crate::MAX_ENTRIES`] receipts with consecutive sequence numbers.
    pub entries: Vec<LoggedReceipt>,
}

/// A call that moves the money, for anyone to submit: it holds the payer's signature and can be delayed, never altered. What it moves is
/// read out of it, so nothing beside it can disagree.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Settlement {
    /// How it is paid.
    pub scheme: Scheme,
    /// Identity of the payment.
    pub payment_id: Hash32,
    /// Chain to submit on.
    pub chain_id: u64,
    /// Contract to call.
    pub to: Address,
    /// The call. A bearer instrument until the nonce is used: never logged.
    pub calldata: Vec<u8>,
    /// Sequence number of the receipt.
    pub sequence: u64,
    /// Where the answer is kept that this pays for; `None` if it is not kept.
    pub answer: Option<AnswerRef>,
}

impl Settlement {
    /// Bytes that a settlement with so much calldata takes, at most.
    #[must_use]
    pub const fn encoded_len_max(calldata: usize) -> usize {
        calldata.saturating_add(192)
    }
}

impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settlement({:#}, sequence {}, {})", self.payment_id, self.sequence, self.scheme.as_str())
    }
}

/// Names a kept answer, whole and with no byte changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct AnswerRef {
    /// Under which it lies.
    pub answer_id: Hash32,
    /// SHA-256 of the blob.
    pub sha256: Hash32,
}

/// A piece of one kept answer. Pieces of one answer come in order and without gaps; one at offset 0 begins it again.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct AnswerPart {
    /// Under which it is to lie.
    pub answer_id: Hash32,
    /// Byte offset of this piece.
    pub offset: u64,
    /// Bytes of the whole blob, at most [`crate::MAX_ANSWER`].
    pub total: u64,
    /// The piece, 1 to [`crate::MAX_ANSWER_PART`] bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for AnswerPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerPart({:#}, {} + {} of {})", self.answer_id, self.offset, self.bytes.len(), self.total)
    }
}

/// What the host has of a kept answer from an offset on.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct AnswerPage {
    /// Bytes that the host has left for kept answers.
    pub room: u64,
    /// The piece; `None` if nothing lies under this id, or the offset is its end.
    pub piece: Option<AnswerPiece>,
}

/// A piece of a stored answer.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct AnswerPiece {
    /// Bytes of the whole blob, at most [`crate::MAX_ANSWER`].
    pub total: u64,
    /// The piece, 1 to [`crate::MAX_ANSWER_PART`] bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for AnswerPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerPiece({} of {})", self.bytes.len(), self.total)
    }
}

/// A signed checkpoint with the settlements that it releases. The host stores it whole before it answers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct CheckpointRequest {
    /// First leaf that inclusion paths are asked for, below the checkpoint's size.
    pub first_index: u64,
    /// Signed by K_log and K_sig, over exactly the durable leaves.
    pub checkpoint: SignedCheckpoint,
    /// For receipts from `first_index` on.
    pub settlements: Vec<Settlement>,
}

/// A checkpoint is durable; here is what clients need beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct CheckpointStored {
    /// Size of the checkpoint.
    pub size: u64,
    /// Leaf index that the first path is for, as asked.
    pub first_index: u64,
    /// An inclusion path per leaf from there, siblings lowest first.
    pub inclusions: Vec<Vec<Hash32>>,
    /// The newest anchor of this log that the host saw on the chain.
    pub anchored: Option<Tree>,
    /// Consistency path from the anchored size to the checkpoint; empty if nothing is anchored.
    pub consistency: Vec<Hash32>,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a state more is another version")]
pub enum SettlementState {
    /// The transfer is in a block.
    Settled {
        /// Hash of the transaction.
        tx_hash: Hash32,
        /// Its block.
        block_number: u64,
        /// Whether somebody else submitted it.
        by_third_party: bool,
    },
    /// Not yet, and still possible.
    Pending {
        /// Hash of a transaction that was sent.
        tx_hash: Option<Hash32>,
    },
    /// It can no longer happen, and why.
    Failed {
        /// A stable code.
        code: SettlementFailure,
    },
}

/// Why a settlement can no longer happen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a code more is another version")]
pub enum SettlementFailure {
    /// A block past validBefore shows the authorization unused.
    Expired,
    /// The nonce was used or cancelled without the transfer.
    NonceUsed,
    /// The call would revert, so it was not sent.
    SimulationFailed,
    /// The transaction was included and reverted.
    TransactionFailed,
    /// A transaction succeeded without the transfer.
    TransferMismatch,
    /// The host has no such settlement.
    Unknown,
}

impl SettlementFailure {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NonceUsed => "nonce_used",
            Self::SimulationFailed => "simulation_failed",
            Self::TransactionFailed => "transaction_failed",
            Self::TransferMismatch => "transfer_mismatch",
            Self::Unknown => "unknown",
        }
    }

    /// The value of a text on the wire; unknown texts are refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Expired, Self::NonceUsed, Self::SimulationFailed, Self::TransactionFailed, Self::TransferMismatch, Self::Unknown]
            .into_iter()
            .find(|code| code.as_str() == text)
    }
}

/// A receipt from the store, with the newest proof of its place.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct StoredReceipt {
    /// The receipt's words, as signed. Log id and sequence number are inside.
    pub receipt: [u8; LoggedReceipt::RECEIPT_LEN],
    /// By K_sig of its boot.
    pub signature: Signature65,
    /// The 32 bytes that entered the tree.
    pub leaf_data: Hash32,
    /// Leaf hashes of the transcript.
    pub frame_leaf_hashes: Vec<Hash32>,
    /// The newest checkpoint that covers it; `None` while none does.
    pub proof: Option<AnchoredProof>,
}

impl fmt::Debug for StoredReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredReceipt(leaf {:#}, {} frames)", self.leaf_data, self.frame_leaf_hashes.len())
    }
}

/// A checkpoint, the path of one leaf to it, and the way to it from the newest anchor.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct AnchoredProof {
    /// Covers the leaf.
    pub checkpoint: SignedCheckpoint,
    /// Siblings lowest first.
    pub inclusion: Vec<Hash32>,
    /// The newest anchor of this log that the host saw on the chain.
    pub anchored: Option<Tree>,
    /// Consistency path from the anchored size to the checkpoint; empty if nothing is anchored.
    pub consistency: Vec<Hash32>,
}

/// How much of a log the host has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct LogState {
    /// The tree of the leaves that are durable. With its root the enclave tells a host that lost leaves from one that holds others.
    pub durable: Tree,
    /// Size of the newest durable checkpoint; zero if there is none.
    pub checkpointed: u64,
}

/// A request that was understood and not done.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Refused {
    /// What to do about it.
    pub code: RefusalCode,
    /// For the operator's eyes. At most [`crate::MAX_MESSAGE`] bytes; decisions are made on the code.
    pub message: String,
}

impl Refused {
    /// A refusal whose message is cut to the limit.
    #[must_use]
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        while MAX_MESSAGE < message.len() {
            message.pop();
        }
        Self { code, message }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Refused {}

/// Whose fault a refusal is, and what to do next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a code more is another version")]
pub enum RefusalCode {
    /// Chain or storage cannot be reached now; ask again later.
    Unavailable,
    /// The disk is full or fails; nothing was written; ask again later.
    StorageFull,
    /// The request contradicts what is stored. Never the answer to an honest enclave with an honest host: the log is to be closed.
    Contradiction,
    /// Something is missing that must be there first: leaves before these, pieces before this one, or the answer that a settlement names. Ask
    /// for the log's sizes, and send from there.
    Gap,
    /// The request is well formed and makes no sense.
    Malformed,
    /// Not in this phase.
    WrongPhase,
    /// Too many requests in flight.
    TooMany,
    /// The terms are not one to boot with.
    TermsRefused,
    /// A model part or digest is wrong.
    ModelRefused,
    /// The price list is none under these terms now. What was in force stays in force.
    PriceListRefused,
    /// The attestation device refused.
    AttestationFailed,
    /// A fault of our own.
    Internal,
}

impl RefusalCode {
    const ALL: [Self; 12] = [
        Self::Unavailable,
        Self::StorageFull,
        Self::Contradiction,
        Self::Gap,
        Self::Malformed,
        Self::WrongPhase,
        Self::TooMany,
        Self::TermsRefused,
        Self::ModelRefused,
        Self::PriceListRefused,
        Self::AttestationFailed,
        Self::Internal,
    ];

    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::StorageFull => "storage_full",
            Self::Contradiction => "contradiction",
            Self::Gap => "gap",
            Self::Malformed => "malformed",
            Self::WrongPhase => "wrong_phase",
            Self::TooMany => "too_many",
            Self::TermsRefused => "terms_refused",
            Self::ModelRefused => "model_refused",
            Self::PriceListRefused => "price_list_refused",
            Self::AttestationFailed => "attestation_failed",
            Self::Internal => "internal",
        }
    }

    /// The value of a text on the wire; unknown texts are refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Unavailable | Self::StorageFull | Self::TooMany)
    }
}
