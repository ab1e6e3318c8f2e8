//! EIP-3009: the payer signs a transfer in the token's own domain, and the token makes it.

use super::transfer::{Log, LogQuestion, NonceQuestion, TRANSFER_TOPIC, Transfer, topic};
use crate::abi::Words;
use crate::bytes::{Address, Hash32};
use crate::eip712::TypedStruct;
use crate::payment::Authorization;

/// EIP-3009's signed type.
pub const TRANSFER_TYPE: &str =
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)";

/// `AuthorizationUsed(address indexed,bytes32 indexed)`.
const AUTHORIZATION_USED_TOPIC: Hash32 = Hash32([
    0x98, 0xde, 0x50, 0x35, 0x28, 0xee, 0x59, 0xb5, 0x75, 0xef, 0x0c, 0x0a, 0x25, 0x76, 0xa8, 0x24, 0x97, 0xbf, 0xc0, 0x29, 0xa5, 0x68,
    0x5b, 0x20, 0x9e, 0x9e, 0xc3, 0x33, 0x47, 0x9b, 0x10, 0xa5,
]);

/// `AuthorizationCanceled(address indexed,bytes32 indexed)`.
const AUTHORIZATION_CANCELED_TOPIC: Hash32 = Hash32([
    0x1c, 0xdd, 0x46, 0xff, 0x24, 0x27, 0x16, 0xcd, 0xaa, 0x72, 0xd1, 0x59, 0xd3, 0x39, 0xa4, 0x85, 0xb3, 0x43, 0x83, 0x98, 0x34, 0x8d,
    0x68, 0xf0, 0x9d, 0x7c, 0x8c, 0x0a, 0x59, 0x35, 0x3d, 0x81,
]);

/// `authorizationState(address,bytes32)`.
const AUTHORIZATION_STATE_SELECTOR: [u8; 4] = [0xe9, 0x4a, 0x01, 0x02];

pub(super) fn transfer(authorization: &Authorization) -> TypedStruct {
    let Authorization { from, to, value, valid_after, valid_before, nonce, through: _ } = authorization;
    let words = Words::new().address(from).address(to).amount(*value).u64(valid_after.0).u64(valid_before.0).hash(nonce);
    TypedStruct::new(TRANSFER_TYPE, words)
}

pub(super) fn nonce_question(asset: &Address, payer: &Address, nonce: &Hash32) -> NonceQuestion {
    let arguments = Words::new().address(payer).hash(nonce);
    let calldata = [AUTHORIZATION_STATE_SELECTOR.as_slice(), arguments.as_slice()].concat();
    let mut lowest = Hash32::ZERO;
    lowest.0[31] = 1;
    NonceQuestion { what: "authorizationState", to: *asset, calldata, mask: lowest, possible: lowest }
}

pub(super) fn end_questions(transfer: &Transfer) -> [LogQuestion; 2] {
    [AUTHORIZATION_USED_TOPIC, AUTHORIZATION_CANCELED_TOPIC]
        .map(|event| LogQuestion { address: transfer.asset, topics: [Some(event), Some(topic(&transfer.payer)), Some(transfer.nonce)] })
}

pub(super) fn is_ended_by(transfer: &Transfer, log: &Log) -> bool {
    let of_it = |event: Hash32| log.topics == [event, topic(&transfer.payer), transfer.nonce];
    log.address == transfer.asset && [AUTHORIZATION_USED_TOPIC, AUTHORIZATION_CANCELED_TOPIC].into_iter().any(of_it)
}

/// The transfer is the token's next one after this authorization's own `AuthorizationUsed`, with no other use between: USDC, OpenZeppelin's
/// and our tokens emit the two one after the other. A transfer anywhere else in the transaction is no proof: a payer can cancel this nonce, or use it for
/// something else, in the same transaction as an equal payment, and one transfer would be counted for many.
pub(super) fn shows(transfer: &Transfer, logs: &[Log]) -> bool {
    let counts = |log: &&Log| matches!(log.topics.first(), Some(event) if [AUTHORIZATION_USED_TOPIC, TRANSFER_TOPIC].contains(event));
    let mut of_token = logs.iter().filter(|log| log.address == transfer.asset).filter(counts);
    let used = [AUTHORIZATION_USED_TOPIC, topic(&transfer.payer), transfer.nonce];
    let (topics, data) = transfer.moved();
    of_token.any(|log| log.topics == used) && of_token.next().is_some_and(|log| log.topics == topics && log.data == data)
}

#[cfg(test)]
mod tests {
    use super::super::transfer::Keeper;
    use super::*;
    use crate::bytes::Amount;
    use crate::hash::keccak256;
    use crate::time::UnixSeconds;
    use alloc::vec;

    const TOKEN: Address = Address([9; 20]);

    fn shows(logs: &[Log]) -> bool {
        let transfer = Transfer {
            keeper: Keeper::Token,
            payment_id: Hash32::ZERO,
            asset: TOKEN,
            payer: Address([1; 20]),
            payee: Address([2; 20]),
            amount: Amount(1000),
            nonce: Hash32([7; 32]),
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(1000),
        };
        transfer.is_shown_by(logs)
    }

    fn cancelled(nonce: u8) -> Log {
        let topics = vec![keccak256(&[b"AuthorizationCanceled(address,bytes32)"]), topic(&Address([1; 20])), Hash32([nonce; 32])];
        Log { address: TOKEN, topics, data: vec![] }
    }

    fn used(nonce: u8) -> Log {
        Log { address: TOKEN, topics: vec![AUTHORIZATION_USED_TOPIC, topic(&Address([1; 20])), Hash32([nonce; 32])], data: vec![] }
    }

    fn moved(to: u8, amount: u128) -> Log {
        let topics = vec![TRANSFER_TOPIC, topic(&Address([1; 20])), topic(&Address([to; 20]))];
        Log { address: TOKEN, topics, data: Words::new().amount(Amount(amount)).into_vec() }
    }

    #[test]
    fn the_topics_are_those_of_the_events() {
        assert_eq!(keccak256(&[b"Transfer(address,address,uint256)"]), TRANSFER_TOPIC);
        assert_eq!(keccak256(&[b"AuthorizationUsed(address,bytes32)"]), AUTHORIZATION_USED_TOPIC);
    }

    #[test]
    fn only_the_right_parties_amount_and_token_count() {
        assert!(shows(&[used(7), moved(2, 1000)]));
        assert!(!shows(&[]));
        assert!(!shows(&[used(7)]));
        // A fee-on-transfer token.
        assert!(!shows(&[used(7), moved(2, 990), moved(3, 10)]));
        assert!(!shows(&[used(7), moved(3, 1000)]));
        let foreign = Log { address: Address([8; 20]), ..moved(2, 1000) };
        assert!(!shows(&[used(7), foreign]));
        let more = Log { data: vec![0; 64], ..moved(2, 1000) };
        assert!(!shows(&[used(7), more]));
    }

    #[test]
    fn one_transfer_is_not_counted_for_two_authorizations() {
        // Nonce 7 moved to the payer's friend; nonce 8 is an equal payment to us.
        assert!(!shows(&[used(7), moved(3, 1000), used(8), moved(2, 1000)]));
        assert!(!shows(&[used(8), moved(2, 1000), used(7), moved(3, 1000)]));
        assert!(shows(&[used(8), moved(3, 5), used(7), moved(2, 1000)]));
        // Cancelled beside an equal payment; used, and an equal transfer of another kind elsewhere.
        assert!(!shows(&[cancelled(7), used(8), moved(2, 1000)]));
        assert!(!shows(&[cancelled(7), moved(2, 1000)]));
        assert!(!shows(&[moved(2, 1000), used(7)]));
        assert!(!shows(&[moved(2, 1000)]));
        assert!(!shows(&[used(7), moved(3, 1000), moved(2, 1000)]));
    }
}
