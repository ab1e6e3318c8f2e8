//! A retry: what a payment header says of itself, before anything about it is checked.
//!
//! Whoever paid for an answer and did not get it sends the same header again, to this boot or a later one. The digest that was signed is
//! computed from the header alone, its `accepted` and its payload, never from the terms or prices of the boot that reads it: those may be
//! others by now, and the answer lies under the old ones. Spec: recovery.md §1.
//!
//! Not proven here: anything. A header that somebody made up leads to an id under which nothing lies.

use candor_verify::bytes::Hash32;
use candor_verify::eip712::{Recover, signer};
use candor_verify::recovery::AnswerSecret;
use candor_verify::time::UnixSeconds;

use crate::extension::echoed_answer_salt;
use crate::protocol::PaymentPayload;
use crate::scheme::{Requirements, parse_authorization, parse_payment};

/// A payment header that echoed the salt of its answer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: what an answer is found and opened by")]
pub struct Retry {
    /// Opens the answer.
    pub secret: AnswerSecret,
    /// Identity of the payment.
    pub payment_id: Hash32,
    /// Chain of the payment.
    pub chain_id: u64,
    /// End of the payment, Unix seconds.
    pub valid_before: UnixSeconds,
}

/// A payment that a header holds whole, signed by its payer. Nothing of it is held against an offer: it is no [`crate::VerifiedPayment`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what was signed, and its name")]
pub struct SignedPayment {
    /// The EIP-712 digest of what the payer signed.
    pub signed_digest: Hash32,
    /// Identity of the payment.
    pub payment_id: Hash32,
}

/// The payment in a header, if its signature is its payer's.
#[must_use]
pub fn signed_by_payer(payload: &PaymentPayload, recover: &dyn Recover) -> Option<SignedPayment> {
    let requirements = Requirements::parse(&payload.accepted).ok()?;
    let (payment, _) = parse_payment(payload).ok()?;
    let digest = payment.authorization.digest(&requirements.token());
    let payment_id = payment.authorization.payment_id(requirements.network.0, &requirements.asset);
    let is_payers = signer(recover, &digest, &payment.signature) == Some(payment.authorization.from);
    is_payers.then_some(SignedPayment { signed_digest: digest, payment_id })
}

impl Retry {
    /// Reads a header; `None` if it echoes no salt, or is of no scheme that this crate knows.
    #[must_use]
    pub fn read(payload: &PaymentPayload) -> Option<Self> {
        let salt = echoed_answer_salt(payload.extensions.as_ref())?;
        let requirements = Requirements::parse(&payload.accepted).ok()?;
        let authorization = parse_authorization(&payload.payload).ok()?;
        let signed_digest = authorization.digest(&requirements.token());
        let chain_id = requirements.network.0;
        Some(Self {
            secret: AnswerSecret::new(&signed_digest, &salt),
            payment_id: authorization.payment_id(chain_id, &requirements.asset),
            chain_id,
            valid_before: authorization.valid_before,
        })
    }
}
