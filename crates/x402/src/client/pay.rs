//! Building and signing a payment: the nonce commits to the offer, so the signature itself names request, price and boot.

use std::fmt;

use candor_verify::bytes::{Address, Hash32, Signature65, to_hex};
use candor_verify::eip712::{self, Recover};
use candor_verify::payment::{Authorization, Payment, offer_nonce};
use serde_json::{Map, Value};

use super::ledger::Reservation;
use crate::extension::echo_with_salt;
use crate::protocol::{JsonObject, PaymentPayload, X402_VERSION};

/// Why a payment could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PayError {
    /// The signing function signed with another key, or in a form that tokens refuse (high s).
    Signer {
        /// The payer.
        expected: Address,
        /// Who signed; `None` if nobody can be recovered.
        got: Option<Address>,
    },
}

impl fmt::Display for PayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signer { expected, got } => write!(f, "a signature of {expected} expected, got {got:?}"),
        }
    }
}

impl std::error::Error for PayError {}

/// Signs the payment of one request. `client_salt` is 32 fresh random bytes; the result is the wire object and what a bundle keeps.
///
/// On a retry send the *same* object again; never sign a second one.
///
/// # Errors
/// See [`PayError`]. The reservation is spent all the same: resolve it as never sent.
pub fn build_payment(
    reservation: Reservation,
    payer: Address,
    client_salt: Hash32,
    recover: &dyn Recover,
    sign: impl FnOnce(&Hash32) -> Signature65,
) -> Result<(PaymentPayload, Payment), PayError> {
    let (valid_before, choice) = (reservation.valid_before(), reservation.choice);
    let authorization = Authorization {
        from: payer,
        to: choice.terms.pay_to,
        value: choice.terms.amount,
        valid_after: 0,
        valid_before,
        nonce: offer_nonce(&choice.signed.offer.digest(), &client_salt),
    };
    let digest = authorization.digest(&choice.terms.domain());
    let signature = sign(&digest);
    let got = eip712::signer(recover, &digest, &signature);
    if got != Some(payer) {
        return Err(PayError::Signer { expected: payer, got });
    }
    let payload = PaymentPayload {
        x402_version: X402_VERSION,
        resource: Some(choice.resource),
        accepted: choice.accepted,
        payload: scheme_payload(&authorization, &signature),
        extensions: Some(echo_with_salt(&choice.extensions, &client_salt)),
    };
    Ok((payload, Payment { authorization, signature, client_salt: Some(client_salt) }))
}

fn scheme_payload(authorization: &Authorization, signature: &Signature65) -> JsonObject {
    let members = [
        ("from", authorization.from.to_string()),
        ("to", authorization.to.to_string()),
        ("value", authorization.value.to_string()),
        ("validAfter", authorization.valid_after.to_string()),
        ("validBefore", authorization.valid_before.to_string()),
        ("nonce", authorization.nonce.to_string()),
    ];
    let members: Map<String, Value> = members.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    [("signature".to_owned(), Value::from(to_hex(&signature.0))), ("authorization".to_owned(), Value::Object(members))]
        .into_iter()
        .collect()
}
