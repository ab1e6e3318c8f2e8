//! Which entry of a 402 to pay: the first that this crate can pay, that policy allows, and that a signed offer confirms.
//!
//! Unknown schemes, chains and payment flows are dropped, not errors. Requirements without a confirming offer are dropped too: our
//! client pays nothing that K_sig did not sign.

use std::fmt;

use candor_verify::Hash32;
use candor_verify::offer::VerifiedOffer;
use candor_verify::time::UnixMs;

use super::policy::{AssetLimit, PolicyError, SpendPolicy};
use crate::extension::{ExtensionError, SignedOffer, SignedOffers};
use crate::protocol::{JsonObject, PaymentRequired, PaymentRequirements, ResourceInfo};
use crate::scheme::{Requirements, RequirementsError};

/// Requirements that may be paid, with the offer that confirms them. Private fields: only [`choose()`] makes one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Choice {
    pub(super) resource: ResourceInfo,
    pub(super) accepted: PaymentRequirements,
    pub(super) requirements: Requirements,
    pub(super) limit: AssetLimit,
    pub(super) signed: SignedOffer,
    pub(super) extensions: JsonObject,
    /// The payer's next nonce at the token, if Permit2 is to be allowed to move it with this payment.
    pub(super) permit_nonce: Option<u64>,
}

/// Why an entry was not chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SkipReason {
    /// This crate cannot pay it.
    Requirements(RequirementsError),
    /// The policy does not allow it.
    Policy(PolicyError),
    /// The signed offer says something else.
    NotTheOffer,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requirements(error) => error.fmt(f),
            Self::Policy(error) => error.fmt(f),
            Self::NotTheOffer => f.write_str("it is not what the signed offer says"),
        }
    }
}

/// Why nothing can be paid.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChooseError {
    /// The offer is malformed.
    Extension(ExtensionError),
    /// There is no signed offer.
    NoOffer,
    /// The offer that was verified is not the one in this 402.
    OtherOffer {
        /// Digest of the offer that was verified.
        expected: Hash32,
        /// Digest of the offer in the 402.
        got: Hash32,
    },
    /// The offer has ended. Unix milliseconds.
    OfferExpired {
        /// Its end.
        valid_until: UnixMs,
        /// Now.
        got: UnixMs,
    },
    /// No entry may be paid; the reason for each, in order.
    NoEntry(Vec<SkipReason>),
}

impl fmt::Display for ChooseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extension(error) => error.fmt(f),
            Self::NoOffer => f.write_str("the 402 has no signed offer"),
            Self::OtherOffer { expected, got } => write!(f, "the verified offer is {expected}, the 402 has {got}"),
            Self::OfferExpired { valid_until, got } => write!(f, "the offer ended at {valid_until} ms, it is {got}"),
            Self::NoEntry(reasons) => {
                f.write_str("no way to pay is both supported and allowed")?;
                reasons.iter().zip(1..).try_for_each(|(reason, number)| write!(f, "; entry {number}: {reason}"))
            }
        }
    }
}

impl std::error::Error for ChooseError {}

impl Choice {
    /// The requirements to be paid.
    #[must_use]
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// The same, with an EIP-2612 permit beside the payment that lets Permit2 move it: this is the payer's next nonce at the token.
    pub fn allowing(self, permit_nonce: Option<u64>) -> Self {
        Self { permit_nonce, ..self }
    }

    /// The offer, which was verified, with the salt that opens its request commitment.
    #[must_use]
    pub fn signed_offer(&self) -> &SignedOffer {
        &self.signed
    }
}

/// Chooses what to pay.
///
/// # Errors
/// See [`ChooseError`].
///
/// # Security
/// Only an entry that says what the verified offer says is taken, so its payee is the attested one and its price the signed price list's.
pub fn choose(required: &PaymentRequired, verified: &VerifiedOffer, policy: &SpendPolicy, now: UnixMs) -> Result<Choice, ChooseError> {
    let offers = SignedOffers::parse(required.extensions.as_ref()).map_err(ChooseError::Extension)?.ok_or(ChooseError::NoOffer)?;
    let signed = offers.of(verified.offer().scheme).cloned().ok_or(ChooseError::NoOffer)?;
    if signed.offer != *verified.offer() {
        return Err(ChooseError::OtherOffer { expected: verified.offer().digest(), got: signed.offer.digest() });
    }
    if signed.offer.valid_until < now {
        return Err(ChooseError::OfferExpired { valid_until: signed.offer.valid_until, got: now });
    }
    let mut reasons = Vec::new();
    for entry in &required.accepts {
        match check_entry(entry, policy, verified) {
            Err(reason) => reasons.push(reason),
            Ok((requirements, limit)) => {
                return Ok(Choice {
                    resource: required.resource.clone(),
                    accepted: entry.clone(),
                    requirements,
                    limit,
                    signed,
                    extensions: required.extensions.clone().unwrap_or_default(),
                    permit_nonce: None,
                });
            }
        }
    }
    Err(ChooseError::NoEntry(reasons))
}

fn check_entry(
    entry: &PaymentRequirements,
    policy: &SpendPolicy,
    verified: &VerifiedOffer,
) -> Result<(Requirements, AssetLimit), SkipReason> {
    let offer = verified.offer();
    let mut requirements = Requirements::parse(entry).map_err(SkipReason::Requirements)?;
    let limit = policy.check(&requirements).map_err(SkipReason::Policy)?;
    let is_the_offer = offer.scheme == requirements.through.scheme()
        && offer.settler == requirements.through.settler()
        && offer.payee == requirements.pay_to
        && offer.asset == requirements.asset
        && offer.chain_id == requirements.network.0
        && offer.amount == requirements.amount
        // The domain is what a signer is shown, and the terms are signed.
        && requirements.token() == *verified.token();
    // The terms may name another proxy than most chains have.
    requirements.through = verified.through();
    if is_the_offer { Ok((requirements, limit)) } else { Err(SkipReason::NotTheOffer) }
}
