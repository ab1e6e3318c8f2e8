//! Which entry of a 402 to pay: the first that this crate can pay, that policy allows, and that the signed offer confirms.
//!
//! Unknown schemes, chains and payment flows are dropped, not errors. Requirements without a confirming offer are dropped too: our
//! client pays nothing that K_sig did not sign.

use std::fmt;

use candor_verify::bytes::Address;
use candor_verify::eip712::Recover;
use candor_verify::receipt::{Offer, Scheme};

use super::policy::{AssetLimit, PolicyError, SpendPolicy};
use crate::extension::{ExtensionError, SignedOffer};
use crate::protocol::{ExactRequirements, JsonObject, PaymentRequired, PaymentRequirements, RequirementsError, ResourceInfo};

/// Requirements that may be paid, with the offer that confirms them. Private fields: only [`choose()`] makes one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Choice {
    pub(super) resource: ResourceInfo,
    pub(super) accepted: PaymentRequirements,
    pub(super) requirements: ExactRequirements,
    pub(super) limit: AssetLimit,
    pub(super) signed: SignedOffer,
    pub(super) extensions: JsonObject,
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
    /// The offer is not signed by the attested key.
    OfferSigner {
        /// K_sig.
        expected: Address,
        /// Who signed; `None` if nobody can be recovered.
        got: Option<Address>,
    },
    /// The offer has ended. Unix milliseconds.
    OfferExpired {
        /// Its end.
        valid_until: u64,
        /// Now.
        got: u64,
    },
    /// No entry may be paid; the reason for each, in order.
    NoEntry(Vec<SkipReason>),
}

impl fmt::Display for ChooseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extension(error) => error.fmt(f),
            Self::NoOffer => f.write_str("the 402 has no signed offer"),
            Self::OfferSigner { expected, got: Some(got) } => write!(f, "an offer signed by {expected} expected, got one by {got}"),
            Self::OfferSigner { expected, got: None } => write!(f, "an offer signed by {expected} expected, its signature is nobody's"),
            Self::OfferExpired { valid_until, got } => write!(f, "the offer ended at {valid_until} ms, it is {got}"),
            Self::NoEntry(reasons) if reasons.is_empty() => f.write_str("the 402 names no way to pay"),
            Self::NoEntry(reasons) => {
                f.write_str("no way to pay is both supported and allowed")?;
                reasons.iter().enumerate().try_for_each(|(at, reason)| write!(f, "{} {reason}", if at == 0 { ":" } else { ";" }))
            }
        }
    }
}

impl std::error::Error for ChooseError {}

impl Choice {
    /// The requirements to be paid.
    #[must_use]
    pub fn requirements(&self) -> &ExactRequirements {
        &self.requirements
    }

    /// The offer. Whether it is for *this request* is the caller's to check (its request commitment, opened by the salt beside it).
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
/// `k_sig` must come from verified evidence. The request commitment of the offer is not checked here.
pub fn choose(
    required: &PaymentRequired,
    policy: &SpendPolicy,
    k_sig: &Address,
    now_ms: u64,
    recover: &dyn Recover,
) -> Result<Choice, ChooseError> {
    let signed = SignedOffer::parse(required.extensions.as_ref()).map_err(ChooseError::Extension)?.ok_or(ChooseError::NoOffer)?;
    let got = signed.signer(recover);
    if got != Some(*k_sig) {
        return Err(ChooseError::OfferSigner { expected: *k_sig, got });
    }
    if signed.offer.valid_until < now_ms {
        return Err(ChooseError::OfferExpired { valid_until: signed.offer.valid_until, got: now_ms });
    }
    let mut reasons = Vec::new();
    for entry in &required.accepts {
        match check_entry(entry, policy, &signed.offer) {
            Err(reason) => reasons.push(reason),
            Ok((requirements, limit)) => {
                return Ok(Choice {
                    resource: required.resource.clone(),
                    accepted: entry.clone(),
                    requirements,
                    limit,
                    signed,
                    extensions: required.extensions.clone().unwrap_or_default(),
                });
            }
        }
    }
    Err(ChooseError::NoEntry(reasons))
}

fn check_entry(entry: &PaymentRequirements, policy: &SpendPolicy, offer: &Offer) -> Result<(ExactRequirements, AssetLimit), SkipReason> {
    let requirements = ExactRequirements::parse(entry).map_err(SkipReason::Requirements)?;
    let limit = policy.check(&requirements).map_err(SkipReason::Policy)?;
    let is_the_offer = offer.scheme == Scheme::ExactEip3009
        && offer.payee == requirements.pay_to
        && offer.asset == requirements.asset
        && offer.chain_id == requirements.network.0
        && offer.amount == requirements.amount;
    if is_the_offer { Ok((requirements, limit)) } else { Err(SkipReason::NotTheOffer) }
}
