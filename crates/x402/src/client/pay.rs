//! Building and signing a payment: the nonce commits to the offer, so the signature itself names request, price and boot.

use std::fmt;

use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::eip712::{self, Recover};
use candor_verify::payment::{Authorization, Payment, TokenDomain, offer_nonce};
use candor_verify::time::UnixSeconds;

use super::ledger::{Purchase, Reservation};
use crate::extension::{SignedOffer, echo_with_salt, echoed_answer_salt};
use crate::protocol::{Eip155, PaymentPayload, X402_VERSION, encode_header, parse_payment_payload};
use crate::scheme::{Allowance, Requirements, parse_payment, payload};

/// Why a payment could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PayError {
    /// The signature is of another key, or in a form that tokens refuse (high s).
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
            Self::Signer { expected, got: Some(got) } => write!(f, "a signature of {expected} expected, got one of {got}"),
            Self::Signer { expected, got: None } => write!(f, "a signature of {expected} expected, got one of nobody"),
        }
    }
}

impl std::error::Error for PayError {}

/// A signed payment in the form in which it is sent: what a client keeps, so that it can send the same one again and never another.
///
/// Whoever has it can have the request run, or the money moved to its payee: the client's own store only, readable by its owner only.
/// `Debug` does not show the signature.
#[derive(Clone, Eq, PartialEq)]
pub struct SentPayment {
    header: String,
    payment: Payment,
    signed: SignedOffer,
    network: Eip155,
    asset: Address,
    echoes_salt: bool,
}

impl SentPayment {
    /// Reads what [`Self::header`] gave; `None` if it is not a payment by this crate, whose nonce commits to the offer beside it.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let payload = parse_payment_payload(header.as_bytes()).ok()?;
        let requirements = Requirements::parse(&payload.accepted).ok()?;
        let (payment, signed) = parse_payment(&payload).ok()?;
        let (signed, client_salt) = (signed?, payment.client_salt?);
        if payment.authorization.nonce != offer_nonce(&signed.offer.digest(), &client_salt) {
            return None;
        }
        let (network, asset) = (requirements.network, requirements.asset);
        let echoes_salt = echoed_answer_salt(payload.extensions.as_ref()).is_some();
        Some(Self { header: header.to_owned(), payment, signed, network, asset, echoes_salt })
    }

    /// Value of `PAYMENT-SIGNATURE`, the same each time.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// What a bundle keeps.
    #[must_use]
    pub fn payment(&self) -> &Payment {
        &self.payment
    }

    /// The offer that it answers.
    #[must_use]
    pub fn signed_offer(&self) -> &SignedOffer {
        &self.signed
    }

    /// Chain of the token.
    #[must_use]
    pub fn network(&self) -> Eip155 {
        self.network
    }

    /// Whether its answer is kept for whoever sends it again, to this boot or a later one: it echoes a salt.
    #[must_use]
    pub fn echoes_salt(&self) -> bool {
        self.echoes_salt
    }

    /// Identity of the payment.
    #[must_use]
    pub fn payment_id(&self) -> Hash32 {
        self.payment.authorization.payment_id(self.network.0, &self.asset)
    }
}

impl fmt::Debug for SentPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SentPayment({})", self.payment_id())
    }
}

impl Reservation {
    /// What the payer signs: the authorization, and the domain of its token. Whoever signs may take its time, and may be elsewhere.
    #[must_use]
    pub fn to_sign(&self) -> (Authorization, TokenDomain) {
        let requirements = &self.choice.requirements;
        let authorization = Authorization {
            through: requirements.through,
            from: self.purchase.payer,
            to: requirements.pay_to,
            value: requirements.amount,
            valid_after: UnixSeconds::default(),
            valid_before: self.valid_before,
            nonce: self.nonce,
        };
        (authorization, requirements.token())
    }

    /// What the payer signs besides, so that Permit2 may move the payment.
    #[must_use]
    pub fn allowance_to_sign(&self) -> Option<Allowance> {
        let nonce = self.choice.permit_nonce?;
        Some(Allowance { owner: self.purchase.payer, value: self.choice.requirements.amount, nonce, deadline: self.valid_before })
    }
}

/// The payment of one request, as it was reserved, with the signatures over [`Reservation::to_sign`] and, if there is one, over
/// [`Reservation::allowance_to_sign`].
///
/// On a retry send the *same* object again; never sign a second one.
///
/// # Errors
/// See [`PayError`]. The reservation is spent all the same: resolve it as never sent.
pub fn build_payment(
    reservation: Reservation,
    recover: &dyn Recover,
    signature: &Signature65,
    allowing: Option<&Signature65>,
) -> Result<SentPayment, PayError> {
    let ((authorization, domain), allowance) = (reservation.to_sign(), reservation.allowance_to_sign());
    let Reservation { purchase: Purchase { payer, client_salt, .. }, choice, .. } = reservation;
    let got = eip712::signer(recover, &authorization.digest(&domain), signature);
    if got != Some(payer) {
        return Err(PayError::Signer { expected: payer, got });
    }
    let mut extensions = echo_with_salt(&choice.extensions, &client_salt);
    if let Some(allowance) = allowance {
        let got = allowing.and_then(|signature| eip712::signer(recover, &allowance.digest(&domain), signature));
        let signature = allowing.filter(|_| got == Some(payer)).ok_or(PayError::Signer { expected: payer, got })?;
        allowance.add_to(&mut extensions, &domain, signature);
    }
    let payload = PaymentPayload {
        x402_version: X402_VERSION,
        resource: Some(choice.resource),
        accepted: choice.accepted,
        payload: payload(&authorization, &choice.requirements.asset, signature),
        extensions: Some(extensions),
    };
    let payment = Payment { authorization, signature: *signature, client_salt: Some(client_salt) };
    let (network, asset) = (choice.requirements.network, choice.requirements.asset);
    let echoes_salt = echoed_answer_salt(payload.extensions.as_ref()).is_some();
    Ok(SentPayment { header: encode_header(&payload), payment, signed: choice.signed, network, asset, echoes_salt })
}
