//! Which logs show that the money of one authorization moved.
//!
//! A successful transaction proves nothing: a fake token moves nothing, one that takes a fee moves less. And a transaction of
//! somebody else may use several authorizations at once, so the transfer must be *this* authorization's.

use candor_verify::abi::Words;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::payment::Authorization;

use super::event::Log;

/// `Transfer(address indexed,address indexed,uint256)`.
pub const TRANSFER_TOPIC: Hash32 = Hash32([
    0xdd, 0xf2, 0x52, 0xad, 0x1b, 0xe2, 0xc8, 0x9b, 0x69, 0xc2, 0xb0, 0x68, 0xfc, 0x37, 0x8d, 0xaa, 0x95, 0x2b, 0xa7, 0xf1, 0x63, 0xc4,
    0xa1, 0x16, 0x28, 0xf5, 0x5a, 0x4d, 0xf5, 0x23, 0xb3, 0xef,
]);

/// `AuthorizationUsed(address indexed,bytes32 indexed)`.
pub const AUTHORIZATION_USED_TOPIC: Hash32 = Hash32([
    0x98, 0xde, 0x50, 0x35, 0x28, 0xee, 0x59, 0xb5, 0x75, 0xef, 0x0c, 0x0a, 0x25, 0x76, 0xa8, 0x24, 0x97, 0xbf, 0xc0, 0x29, 0xa5, 0x68,
    0x5b, 0x20, 0x9e, 0x9e, 0xc3, 0x33, 0x47, 0x9b, 0x10, 0xa5,
]);

/// Whether these logs, of one successful transaction, show that the transfer of this authorization was made.
///
/// The transfer is the token's next one after this authorization's own `AuthorizationUsed`, with no other use between: USDC, OpenZeppelin's
/// and our tokens emit the two one after the other. A transfer anywhere else in the transaction is no proof: a payer can cancel this nonce, or use it for
/// something else, in the same transaction as an equal payment, and one transfer would be counted for many.
#[must_use]
pub fn shows_transfer(logs: &[Log], asset: &Address, authorization: &Authorization) -> bool {
    let counts = |log: &&Log| matches!(log.topics.first(), Some(event) if [AUTHORIZATION_USED_TOPIC, TRANSFER_TOPIC].contains(event));
    let mut of_token = logs.iter().filter(|log| log.address == *asset).filter(counts);
    let payer = topic(&authorization.from);
    let used = [AUTHORIZATION_USED_TOPIC, payer, authorization.nonce];
    let moved = [TRANSFER_TOPIC, payer, topic(&authorization.to)];
    let amount = Words::new().amount(authorization.value);
    of_token.any(|log| log.topics == used) && of_token.next().is_some_and(|log| log.topics == moved && log.data == amount.as_slice())
}

fn topic(address: &Address) -> Hash32 {
    Hash32::from_slice(Words::new().address(address).as_slice()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Amount;
    use candor_verify::hash::keccak256;
    use candor_verify::time::UnixSeconds;

    use super::*;

    const TOKEN: Address = Address([9; 20]);

    fn shows(logs: &[Log]) -> bool {
        let authorization = Authorization {
            from: Address([1; 20]),
            to: Address([2; 20]),
            value: Amount(1000),
            valid_before: UnixSeconds(1000),
            nonce: Hash32([7; 32]),
            ..Authorization::default()
        };
        shows_transfer(logs, &TOKEN, &authorization)
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
