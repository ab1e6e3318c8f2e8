//! Permit2: the payer once allows Permit2 to move a token, and then signs for each payment how much of it may be moved, to whom and by whom.
//!
//! What is signed is a `PermitWitnessTransferFrom` whose spender is x402's `upto` proxy; the witness names the payee, and who alone may submit.
//! Reference: Permit2's SignatureTransfer; x402 v2, `upto` on EVM.
//! Not proven by a permit: that the payer allowed Permit2 anything. That needs a chain.

use alloc::vec::Vec;

use super::transfer::{Log, LogQuestion, NonceQuestion, TRANSFER_TOPIC, Transfer, topic};
use crate::abi::Words;
use crate::bytes::{Address, Hash32};
use crate::eip712::{self, TypedStruct};
use crate::hash::keccak256;
use crate::payment::Authorization;

/// Permit2, at one address on every chain.
pub const PERMIT2: Address =
    Address([0, 0, 0, 0, 0, 0x22, 0xd4, 0x73, 0x03, 0x0f, 0x11, 0x6d, 0xde, 0xe9, 0xf6, 0xb4, 0x3a, 0xc7, 0x8b, 0xa3]);

/// x402's `upto` proxy, at one address on every chain that has it.
pub const UPTO_PROXY: Address =
    Address([0x40, 0x20, 0xa4, 0xf3, 0xb7, 0xb9, 0x0c, 0xca, 0x42, 0x3b, 0x9f, 0xab, 0xcc, 0x0c, 0xe5, 0x7c, 0x6c, 0x24, 0x00, 0x02]);

/// The factory of settlers (contracts.md §6), at one address on every chain that has it: CREATE2 by the deterministic deployer, salt zero, for
/// [`UPTO_PROXY`]. Whatever else is deployed is elsewhere, so who names this address names that code.
pub const SETTLER_FACTORY: Address =
    Address([0x9c, 0xe8, 0x9f, 0x00, 0x02, 0xa0, 0x38, 0xee, 0x6e, 0x5f, 0xb4, 0x0b, 0x3c, 0x30, 0xef, 0x64, 0x09, 0xe5, 0x7b, 0x0b]);

const DOMAIN_TYPE: &str = "EIP712Domain(string name,uint256 chainId,address verifyingContract)";
const PERMITTED_TYPE: &str = "TokenPermissions(address token,uint256 amount)";
const WITNESS_TYPE: &str = "Witness(address to,address facilitator,uint256 validAfter)";
const PERMIT_TYPE: &str = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)";

/// Permit2's domain, which has no version.
pub(super) fn domain(chain_id: u64) -> TypedStruct {
    let words = Words::new().hash(&eip712::string("Permit2")).u64(chain_id).address(&PERMIT2);
    TypedStruct::new(DOMAIN_TYPE, words)
}

pub(super) fn upto(authorization: &Authorization, asset: &Address, spender: &Address, facilitator: &Address) -> TypedStruct {
    let witness = Words::new().address(&authorization.to).address(facilitator).u64(authorization.valid_after.0);
    let permitted = Words::new().address(asset).amount(authorization.value);
    let words = Words::new()
        .hash(&eip712::hash_struct(PERMITTED_TYPE, &permitted))
        .address(spender)
        .hash(&authorization.nonce)
        .u64(authorization.valid_before.0)
        .hash(&eip712::hash_struct(WITNESS_TYPE, &witness));
    TypedStruct::new(PERMIT_TYPE, words)
}

/// `nonceBitmap(address,uint256)` of Permit2.
const NONCE_BITMAP_SELECTOR: [u8; 4] = [0x4f, 0xe0, 0x2b, 0x44];

/// `ReceiptSettled(bytes32 indexed,bytes32 indexed,uint256)` of a settler.
const RECEIPT_SETTLED: &[u8] = b"ReceiptSettled(bytes32,bytes32,uint256)";

/// `UnorderedNonceInvalidation(address indexed,uint256,uint256)` of Permit2.
const NONCE_INVALIDATION: &[u8] = b"UnorderedNonceInvalidation(address,uint256,uint256)";

/// Permit2 keeps 256 nonces in a word: the number of the word, and the bit of this nonce in it.
fn place(nonce: &Hash32) -> (Hash32, Hash32) {
    let [high @ .., bit] = nonce.0;
    let mut word = Hash32::ZERO;
    for (to, from) in word.0.iter_mut().skip(1).zip(high) {
        *to = from;
    }
    let mut mask = Hash32::ZERO;
    if let Some(byte) = mask.0.iter_mut().rev().nth(usize::from(bit / 8)) {
        *byte = 1_u8.checked_shl(u32::from(bit % 8)).unwrap_or_default();
    }
    (word, mask)
}

pub(super) fn nonce_question(payer: &Address, nonce: &Hash32) -> NonceQuestion {
    let (word, mask) = place(nonce);
    let arguments = Words::new().address(payer).hash(&word);
    let calldata = [NONCE_BITMAP_SELECTOR.as_slice(), arguments.as_slice()].concat();
    NonceQuestion { what: "nonceBitmap", to: PERMIT2, calldata, mask, possible: Hash32([0xff; 32]) }
}

pub(super) fn end_questions(transfer: &Transfer, settler: &Address) -> [LogQuestion; 2] {
    [
        LogQuestion { address: *settler, topics: [Some(keccak256(&[RECEIPT_SETTLED])), None, Some(transfer.payment_id)] },
        LogQuestion { address: PERMIT2, topics: [Some(keccak256(&[NONCE_INVALIDATION])), Some(topic(&transfer.payer)), None] },
    ]
}

pub(super) fn is_ended_by(transfer: &Transfer, settler: &Address, log: &Log) -> bool {
    is_settled_by(transfer, settler, log) || is_invalidated_by(transfer, log)
}

fn is_settled_by(transfer: &Transfer, settler: &Address, log: &Log) -> bool {
    let [event, _receipt, payment_id] = log.topics.as_slice() else { return false };
    log.address == *settler && *event == keccak256(&[RECEIPT_SETTLED]) && *payment_id == transfer.payment_id
}

fn is_invalidated_by(transfer: &Transfer, log: &Log) -> bool {
    let (word, mask) = place(&transfer.nonce);
    let [event, payer] = log.topics.as_slice() else { return false };
    let Some((got_word, got_mask)) = log.data.split_at_checked(32) else { return false };
    let is_of_word =
        log.address == PERMIT2 && *event == keccak256(&[NONCE_INVALIDATION]) && *payer == topic(&transfer.payer) && got_word == word.0;
    is_of_word && got_mask.len() == 32 && got_mask.iter().zip(mask.0).any(|(got, ours)| got & ours != 0)
}

/// The settler says that it charged this payment, for this amount, and the token moved it since the settler's charge before: a settler calls the
/// proxy and tells of it right after. What the token says elsewhere in the transaction is of something else.
pub(super) fn shows(transfer: &Transfer, settler: &Address, logs: &[Log]) -> bool {
    let amount = Words::new().amount(transfer.amount).into_vec();
    let is_ours = |log: &Log| is_settled_by(transfer, settler, log) && log.data == amount;
    let Some(at) = logs.iter().position(is_ours) else { return false };
    let event = keccak256(&[RECEIPT_SETTLED]);
    let is_a_charge = |log: &&Log| log.address == *settler && log.topics.first() == Some(&event);
    let (topics, data) = transfer.moved();
    let before = logs.get(..at).unwrap_or_default().iter().rev().take_while(|log| !is_a_charge(log));
    let mut moved = before.filter(|log| log.address == transfer.asset && log.topics.first() == Some(&TRANSFER_TOPIC));
    moved.next().is_some_and(|log| log.topics == topics && log.data == data)
}

/// Where the settler of this key is, made or not: a clone of the factory's first contract, with the key behind its code (contracts.md §6).
#[must_use]
pub fn settler_of(factory: &Address, k_sig: &Address) -> Address {
    contract(&[&[0xff], &factory.0, &[0; 32], &keccak256(&[&settler_code(factory, k_sig)]).0])
}

/// What makes the settler of this key: a clone's creation code, with the key behind it.
#[must_use]
pub fn settler_code(factory: &Address, k_sig: &Address) -> Vec<u8> {
    const HEAD: [u8; 20] =
        [0x3d, 0x60, 65, 0x80, 0x60, 0x0a, 0x3d, 0x39, 0x81, 0xf3, 0x36, 0x3d, 0x3d, 0x37, 0x3d, 0x3d, 0x3d, 0x36, 0x3d, 0x73];
    const TAIL: [u8; 15] = [0x5a, 0xf4, 0x3d, 0x82, 0x80, 0x3e, 0x90, 0x3d, 0x91, 0x60, 0x2b, 0x57, 0xfd, 0x5b, 0xf3];
    // RLP of [factory, 1], by which CREATE names a contract's first one.
    let implementation = contract(&[&[0xd6, 0x94], &factory.0, &[1]]);
    [HEAD.as_slice(), &implementation.0, &TAIL, &k_sig.0].concat()
}

/// The address of a contract by what names it: the last 20 bytes of its hash.
fn contract(named: &[&[u8]]) -> Address {
    let Hash32([_, _, _, _, _, _, _, _, _, _, _, _, address @ ..]) = keccak256(named);
    Address(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{Amount, Signature65};
    use crate::eip712::{K256, signer};
    use crate::payment::TokenDomain;
    use crate::scheme::{Keeper, Through};
    use crate::time::UnixSeconds;
    use alloc::vec;

    fn address(text: &str) -> Address {
        Address::from_hex(text).unwrap()
    }

    /// Digest and signature of the reference (npm `@x402/evm` 2.27, by viem), made with a key that everybody knows.
    #[test]
    fn the_digest_is_the_one_that_the_reference_signs() {
        let payer = address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
        let token = TokenDomain { chain_id: 84532, asset: address("0x036CbD53842c5426634e7929541eC2318f3dCF7e"), ..TokenDomain::default() };
        let facilitator = address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        let permit = Authorization {
            through: Through::UptoProxy { spender: UPTO_PROXY, facilitator },
            from: payer,
            to: address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
            value: Amount(100_000),
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(2_000_000_000),
            nonce: Hash32(core::array::from_fn(|at| if at == 31 { 8 } else { 0 })),
        };
        let digest = "0x2b62580c3074b96ddc05a730f5b70f18f93e9e71dc4d1b1762694c6ca1182717";
        let signature = "0x71b0df78ced06fc5d8e1c9d3e33ee8f4e702495f80f559ad778dfd6d2162597228745115a4f8bf5e370badb7de75235d957bfe7a25771d70d52ea61e010131591c";
        assert_eq!(permit.digest(&token), Hash32::from_hex(digest).unwrap());
        assert_eq!(signer(&K256, &permit.digest(&token), &Signature65::from_hex(signature).unwrap()), Some(payer));
    }

    #[test]
    fn the_selector_and_the_topic_are_those_of_the_signatures() {
        assert_eq!(keccak256(&[b"nonceBitmap(address,uint256)"]).0[..4], NONCE_BITMAP_SELECTOR);
        let invalidation = "0x3704902f963766a4e561bbaab6e6cdc1b1dd12f6e9e99648da8843b3f46b918d";
        assert_eq!(keccak256(&[NONCE_INVALIDATION]), Hash32::from_hex(invalidation).unwrap());
    }

    #[test]
    fn a_nonce_has_its_bit_in_its_word() {
        let mut nonce = Hash32([0xab; 32]);
        nonce.0[31] = 9;
        let (word, mask) = place(&nonce);
        assert_eq!((word.0[0], word.0[1], word.0[31]), (0, 0xab, 0xab));
        assert_eq!((mask.0[30], mask.0.iter().filter(|byte| **byte != 0).count()), (2, 1));
        let question = nonce_question(&Address([1; 20]), &nonce);
        assert_eq!((question.to, question.calldata.len()), (PERMIT2, 68));
        let mut answer = [0; 32];
        assert_eq!(question.is_used(&answer), Some(false));
        answer[30] = 2;
        assert_eq!(question.is_used(&answer), Some(true));
        answer[30] = 4;
        assert_eq!((question.is_used(&answer), question.is_used(&answer[1..])), (Some(false), None));
    }

    const SETTLER: Address = Address([8; 20]);
    const TOKEN: Address = Address([9; 20]);

    fn transfer() -> Transfer {
        Transfer {
            keeper: Keeper::Permit2 { settler: SETTLER },
            payment_id: Hash32([5; 32]),
            asset: TOKEN,
            payer: Address([1; 20]),
            payee: Address([2; 20]),
            amount: Amount(700),
            nonce: Hash32([7; 32]),
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(9),
        }
    }

    fn charged(id: u8, amount: u128) -> Log {
        let topics = vec![keccak256(&[RECEIPT_SETTLED]), Hash32([4; 32]), Hash32([id; 32])];
        Log { address: SETTLER, topics, data: Words::new().amount(Amount(amount)).into_vec() }
    }

    fn moved(to: u8, amount: u128) -> Log {
        let topics = vec![TRANSFER_TOPIC, topic(&Address([1; 20])), topic(&Address([to; 20]))];
        Log { address: TOKEN, topics, data: Words::new().amount(Amount(amount)).into_vec() }
    }

    #[test]
    fn a_charge_counts_with_the_transfer_that_was_made_for_it() {
        let shows = |logs: &[Log]| transfer().is_shown_by(logs);
        assert!(shows(&[moved(2, 700), charged(5, 700)]));
        // Others of the same settler, before and behind.
        assert!(shows(&[moved(2, 9), charged(6, 9), moved(2, 700), charged(5, 700), moved(2, 1), charged(7, 1)]));
        assert!(!shows(&[moved(2, 700), charged(6, 700), charged(5, 700)]), "the transfer of another charge");
        assert!(!shows(&[charged(5, 700), moved(2, 700)]), "a transfer behind it");
        assert!(!shows(&[moved(2, 690), charged(5, 700)]), "a token that takes a fee");
        assert!(!shows(&[moved(3, 700), charged(5, 700)]), "to another");
        assert!(!shows(&[moved(2, 700), charged(5, 701)]), "another amount");
        assert!(!shows(&[moved(2, 700)]) && !shows(&[charged(5, 700)]) && !shows(&[]));
        let elsewhere = Log { address: Address([3; 20]), ..charged(5, 700) };
        assert!(!shows(&[moved(2, 700), elsewhere]), "another contract's word");
    }

    #[test]
    fn its_nonce_ends_by_the_charge_or_by_its_payers_own_act() {
        let (word, mask) = place(&transfer().nonce);
        let invalidated = |word: &Hash32, mask: &Hash32| Log {
            address: PERMIT2,
            topics: vec![keccak256(&[NONCE_INVALIDATION]), topic(&Address([1; 20]))],
            data: [word.0, mask.0].concat(),
        };
        let ended = |log: &Log| transfer().is_ended_by(log);
        assert!(ended(&charged(5, 1)) && ended(&invalidated(&word, &mask)) && ended(&invalidated(&word, &Hash32([0xff; 32]))));
        assert!(!ended(&charged(6, 1)) && !ended(&invalidated(&mask, &mask)) && !ended(&invalidated(&word, &Hash32::ZERO)));
        assert!(!ended(&Log { address: TOKEN, ..invalidated(&word, &mask) }) && !ended(&moved(2, 700)));
    }
}
