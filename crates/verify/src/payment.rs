//! The payment: what the payer signed, who it pays, and that it answers this offer and no other.
//!
//! An EIP-3009 authorization in the token's own EIP-712 domain, or a Permit2 permit: `scheme` knows the difference. The payer's nonce commits to
//! the offer, so the payment itself names the request, the price and the boot. Spec: payment.md.
//! Not proven here: balance, and that the transfer happened. Those need a chain.

use alloc::string::String;
use alloc::vec::Vec;

use crate::abi::Words;
use crate::bytes::{Address, Amount, Hash32, Signature65};
use crate::eip712::{self, TypedMessage, TypedStruct};
use crate::hash::{keccak256, whole};
use crate::scheme::Through;
use crate::tags;
use crate::time::UnixSeconds;

/// T: the longest a payment may stay open, in seconds. A protocol constant, never lowered: what was signed for an earlier boot is
/// refused without state because it cannot reach past boot + T + s. Spec: payment.md §5.
pub const MAX_TIMEOUT_SECONDS: u64 = 300;

/// s: clock skew allowed between parties, in seconds. A protocol constant, never lowered.
pub const MAX_SKEW_SECONDS: u64 = 30;

/// `max_unresolved` of a spend policy where it is not said: one node may fail a request that was paid for, and another is paid beside it. Both may
/// be charged.
pub const MAX_UNRESOLVED: u32 = 2;

/// Seconds that must remain on a payment when it is accepted, so that settlement can still land (x402 reference: 6).
pub const SETTLE_MARGIN_SECONDS: u64 = 6;

/// What the payer signs, by whichever scheme: who moves how much to whom, once, and until when.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by EIP-3009 and by x402's permits")]
pub struct Authorization {
    /// Through which contract it moves.
    pub through: Through,
    /// Payer.
    pub from: Address,
    /// Payee.
    pub to: Address,
    /// Amount in the asset's smallest unit: all of it moves, or at most this, by the scheme.
    pub value: Amount,
    /// Valid strictly after; of a permit, from then on.
    pub valid_after: UnixSeconds,
    /// Valid strictly before. Of a permit the last good second, which is never made use of.
    pub valid_before: UnixSeconds,
    /// Single-use per payer, and per token or for Permit2.
    pub nonce: Hash32,
}

/// The domain a token signs in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by EIP-712")]
pub struct TokenDomain {
    /// `name()` of the token.
    pub name: String,
    /// `version()` of the token.
    pub version: String,
    /// Chain of the token.
    pub chain_id: u64,
    /// Token contract.
    pub asset: Address,
}

impl TokenDomain {
    /// The domain as it is hashed to its separator.
    #[must_use]
    pub fn to_struct(&self) -> TypedStruct {
        eip712::contract_domain_struct(&self.name, &self.version, self.chain_id, &self.asset)
    }
}

impl Authorization {
    /// The EIP-712 digest that the payer signs.
    #[must_use]
    pub fn digest(&self, token: &TokenDomain) -> Hash32 {
        self.message(token).digest()
    }

    /// What the payer signs.
    #[must_use]
    pub fn message(&self, token: &TokenDomain) -> TypedMessage {
        self.through.message(self, token)
    }

    /// The domain in which the payer signs it: the token's own, or Permit2's.
    #[must_use]
    pub fn domain(&self, token: &TokenDomain) -> TypedStruct {
        self.through.domain(token)
    }

    /// Identity of the payment: keccak256(type tag ‖ chain id ‖ keeper of the nonce ‖ from ‖ nonce). Never from signature bytes or amounts.
    #[must_use]
    pub fn payment_id(&self, chain_id: u64, asset: &Address) -> Hash32 {
        keccak256(&[self.payment_id_preimage(chain_id, asset).as_slice()])
    }

    /// What [`Self::payment_id`] hashes.
    #[must_use]
    pub fn payment_id_preimage(&self, chain_id: u64, asset: &Address) -> Words {
        self.through.form().id_words(chain_id, asset, &self.from, &self.nonce)
    }

    /// The tag of [`Self::payment_id`].
    #[must_use]
    pub fn payment_id_tag(&self) -> &'static [u8] {
        self.through.form().id_tag()
    }
}

/// Payment id of work that nobody paid for: keccak256(type tag ‖ anchor chain ‖ log id ‖ sequence).
#[must_use]
pub fn unpaid_id(anchor_chain_id: u64, log_id: &Hash32, sequence: u64) -> Hash32 {
    id_by_place(tags::PAYMENT_NONE, anchor_chain_id, log_id, sequence)
}

/// Payment id in the receipt of a signed payment of which nothing is charged: not the payment's own, which so stays free.
/// keccak256(type tag ‖ anchor chain ‖ log id ‖ sequence).
#[must_use]
pub fn unsettled_id(anchor_chain_id: u64, log_id: &Hash32, sequence: u64) -> Hash32 {
    id_by_place(tags::PAYMENT_UNSETTLED, anchor_chain_id, log_id, sequence)
}

fn id_by_place(tag: &[u8], anchor_chain_id: u64, log_id: &Hash32, sequence: u64) -> Hash32 {
    keccak256(&[id_by_place_preimage(tag, anchor_chain_id, log_id, sequence).as_slice()])
}

/// What [`unpaid_id`] and [`unsettled_id`] hash, each with its tag.
#[must_use]
pub fn id_by_place_preimage(tag: &[u8], anchor_chain_id: u64, log_id: &Hash32, sequence: u64) -> Words {
    Words::new().hash(&keccak256(&[tag])).u64(anchor_chain_id).hash(log_id).u64(sequence)
}

/// The EIP-712 digest by which K_sig speaks for a channel through an authorizer: what the channel's contract asks for, bound to one
/// authorizer on one chain.
#[must_use]
pub fn channel_authorization_digest(chain_id: u64, authorizer: &Address, digest: &Hash32) -> Hash32 {
    const TYPE: &str = "ChannelAuthorization(uint256 chainId,address authorizer,bytes32 digest)";
    let data = Words::new().u64(chain_id).address(authorizer).hash(digest);
    eip712::digest(&eip712::candor_domain(), &eip712::hash_struct(TYPE, &data))
}

/// A payment as it travels: the authorization, its signature, and the salt with which the nonce commits to an offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Payment {
    /// What was signed.
    pub authorization: Authorization,
    /// By `authorization.from` (an externally owned account).
    pub signature: Signature65,
    /// Client salt; `None` for clients that do not commit (any stock x402 client).
    pub client_salt: Option<Hash32>,
}

/// Nonce that commits to an offer: keccak256(tag ‖ offer digest ‖ client salt).
#[must_use]
pub fn offer_nonce(offer_digest: &Hash32, client_salt: &Hash32) -> Hash32 {
    nonce_of(offer_digest, client_salt, keccak256)
}

/// What [`offer_nonce`] hashes.
#[must_use]
pub fn offer_nonce_preimage(offer_digest: &Hash32, client_salt: &Hash32) -> Vec<u8> {
    nonce_of(offer_digest, client_salt, whole)
}

fn nonce_of<T>(offer_digest: &Hash32, client_salt: &Hash32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[tags::NONCE, &offer_digest.0, &client_salt.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payment_id_depends_on_each_part_and_not_on_the_amount() {
        let a = Authorization { from: Address([1; 20]), nonce: Hash32([2; 32]), ..Authorization::default() };
        let id = a.payment_id(1, &Address([3; 20]));
        assert_eq!(id, Authorization { value: Amount(9), valid_before: UnixSeconds(7), ..a }.payment_id(1, &Address([3; 20])));
        assert_ne!(id, a.payment_id(2, &Address([3; 20])));
        assert_ne!(id, a.payment_id(1, &Address([4; 20])));
        assert_ne!(id, Authorization { nonce: Hash32([3; 32]), ..a }.payment_id(1, &Address([3; 20])));
        assert_ne!(id, Authorization { from: Address([2; 20]), ..a }.payment_id(1, &Address([3; 20])));
        let [one, other] = [Address([5; 20]), Address([6; 20])].map(|facilitator| {
            let through = Through::UptoProxy { spender: Address([4; 20]), facilitator };
            Authorization { through, ..a }.payment_id(1, &Address([3; 20]))
        });
        assert_ne!(id, one);
        // Permit2 keeps one list of nonces for every token, spender and witness.
        assert_eq!(one, other);
    }
}
