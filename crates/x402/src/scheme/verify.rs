//! From a client's claim to a [`VerifiedPayment`], which is the only thing that can be claimed and executed.
//!
//! Checks in the reference's order, then ours: which offer the payment answers, and that no earlier boot can have executed it (ADR 0005, the
//! boot epoch). Reference: x402 v2, `exact` and `upto` on EVM; spec: payment.md §5.
//!
//! Not proven here: balance and allowance, and that the nonce is unused on chain. The enclave has no RPC of its own that it could believe;
//! what that costs is bounded by the claim caps (`claims.rs`) and seen at settlement. Smart-wallet signatures are refused.

use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::eip712::{self, Recover};
use candor_verify::offer::Offer;
use candor_verify::payment::{self, Authorization, MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS, Payment, SETTLE_MARGIN_SECONDS};
use candor_verify::scheme::{Scheme, Through};
use candor_verify::time::UnixSeconds;

use super::eip3009;
use super::permit2::{self, TokenPermit};
use super::requirements::{FLOW_AUTHORIZATION, Requirements, payment_flow, transfer_method};
use crate::error::{PaymentError, PermitError, excerpt};
use crate::extension::{ExtensionError, OfferEcho, SignedOffer};
use crate::protocol::{self, JsonObject, PaymentPayload, PaymentRequirements, X402_VERSION};

/// An offer that this enclave makes for the request at hand: recomputed, never remembered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what an offer needs beside itself")]
pub struct Candidate {
    /// The offer.
    pub offer: Offer,
    /// Salt of its request commitment.
    pub request_salt: Hash32,
}

/// At most this many candidates for each way to pay: the current and the previous 60-second bucket of the request salt.
const MAX_CANDIDATES: usize = 2;

/// Everything besides the client's bytes that the verdict depends on.
#[expect(clippy::exhaustive_structs, reason = "complete: callers must give each")]
#[expect(missing_debug_implementations, reason = "holds a `dyn Recover`")]
#[derive(Clone, Copy)]
pub struct VerifyContext<'a> {
    /// Requirements offered for this request, by the price of now: one for each way to pay, the preferred one first.
    pub requirements: &'a [Requirements],
    /// Offers of this boot for this request, by each way: the current bucket and the previous one.
    pub candidates: &'a [Candidate],
    /// Unix seconds by the enclave's clock.
    pub now: UnixSeconds,
    /// Unix seconds when this boot began.
    pub boot: UnixSeconds,
    /// G of payment.md §5: the node's cap on generation, in seconds, without the settle margin.
    pub generation_seconds: u64,
    /// Whether the 402 for this request said that its answer is kept for who echoes a salt.
    pub keeps_answer: bool,
    /// Public-key recovery.
    pub recover: &'a dyn Recover,
}

/// What the payment says about the request it is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: callers must decide for each")]
pub enum Binding {
    /// The nonce commits to this offer, so the payer's own signature names request, price and boot.
    Offer {
        /// Opens the commitment.
        client_salt: Hash32,
        /// The offer.
        offer_digest: Hash32,
    },
    /// Only the price agrees; a stock client.
    EqualPriceOnly,
}

/// A payment that was good at the time it was verified: signed by its payer, for our payee, price, asset and time.
///
/// Nothing else in this crate can be claimed or settled. `Debug` does not show the signature. Only a verification makes one:
///
/// ```compile_fail,E0451
/// fn forge(real: candor_x402::scheme::VerifiedPayment) -> candor_x402::scheme::VerifiedPayment {
///     candor_x402::scheme::VerifiedPayment { chain_id: 1, ..real }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn make<T: Default>() -> T { T::default() }
/// let forged: candor_x402::scheme::VerifiedPayment = make();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct VerifiedPayment {
    authorization: Authorization,
    signature: Signature65,
    payment_id: Hash32,
    chain_id: u64,
    asset: Address,
    binding: Binding,
    answers: Option<Candidate>,
    token_permit: Option<TokenPermit>,
    signed_digest: Hash32,
}

impl VerifiedPayment {
    /// What was signed.
    #[must_use]
    pub fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// How it pays.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.authorization.through.scheme()
    }

    /// The payer's signature: a bearer instrument until its nonce is used. It leaves the enclave only as calldata (ADR 0005) and to the payer.
    #[must_use]
    pub fn signature(&self) -> &Signature65 {
        &self.signature
    }

    /// Identity of the payment: chain, asset, payer, nonce.
    #[must_use]
    pub fn payment_id(&self) -> Hash32 {
        self.payment_id
    }

    /// Chain of the token.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Token contract.
    #[must_use]
    pub fn asset(&self) -> Address {
        self.asset
    }

    /// The EIP-712 digest that the payer signed.
    #[must_use]
    pub fn signed_digest(&self) -> Hash32 {
        self.signed_digest
    }

    /// By which the payer lets Permit2 move the token, if that is still to be done.
    #[must_use]
    pub fn token_permit(&self) -> Option<&TokenPermit> {
        self.token_permit.as_ref()
    }

    /// What it says about the request.
    #[must_use]
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// Whether no other boot can take its nonce: it commits to an offer of this one.
    #[must_use]
    pub fn names_boot(&self) -> bool {
        self.binding.names_boot()
    }

    /// The offer that the client echoed, with a salt or without, of the way in which it pays; `None` if it echoed nothing.
    #[must_use]
    pub fn answers(&self) -> Option<&Candidate> {
        self.answers.as_ref()
    }

    /// Whether it is still open for as long as the work takes. For the moment of the claim: the chain may have been slow to answer.
    ///
    /// # Errors
    /// As when it is verified.
    pub fn check_open(&self, now: UnixSeconds, generation_seconds: u64) -> Result<(), PaymentError> {
        check_times(&self.authorization, now, generation_seconds)
    }
}

/// Verifies a payment for the request at hand.
///
/// # Errors
/// The first check that fails, with the string that x402 clients know ([`PaymentError::code`]).
///
/// # Security
/// Does not prove that the payer has the money or that the authorization is unused. Does not make the payment single-use: that is
/// [`crate::claims::ClaimSet::claim`].
pub fn verify_payment(payload: &PaymentPayload, context: &VerifyContext<'_>) -> Result<VerifiedPayment, PaymentError> {
    check_context(context)?;
    if payload.x402_version != X402_VERSION {
        return Err(PaymentError::Version { expected: X402_VERSION, got: payload.x402_version });
    }
    let required = check_accepted(&payload.accepted, context.requirements)?;
    let echo = check_echo(payload.extensions.as_ref(), required, context)?;
    let Signed { authorization, signature, signed_digest, token_permit } = check_authorization(payload, required, context)?;
    let binding = check_binding(&authorization, echo.as_ref().map(|(salt, candidate)| (*salt, *candidate)), context.now)?;
    check_boot(&authorization, binding, context)?;
    let (chain_id, asset) = (required.network.0, required.asset);
    let payment_id = authorization.payment_id(chain_id, &asset);
    let answers = echo.map(|(_, candidate)| candidate.clone());
    Ok(VerifiedPayment { authorization, signature, payment_id, chain_id, asset, binding, answers, token_permit, signed_digest })
}

/// Our own offers must be for our own requirements; a contradiction is a bug of the caller and accepts nothing.
fn check_context(context: &VerifyContext<'_>) -> Result<(), PaymentError> {
    let is_of = |required: &Requirements, offer: &Offer| {
        offer.scheme == required.through.scheme()
            && offer.settler == required.through.settler()
            && offer.payee == required.pay_to
            && offer.asset == required.asset
            && offer.chain_id == required.network.0
            && offer.amount == required.amount
    };
    let of_each = |required: &Requirements| context.candidates.iter().filter(|candidate| is_of(required, &candidate.offer)).count();
    if context.requirements.iter().any(|required| MAX_CANDIDATES < of_each(required)) {
        return Err(PaymentError::Misuse { what: "more offers than buckets" });
    }
    if context.requirements.iter().map(of_each).sum::<usize>() == context.candidates.len() {
        Ok(())
    } else {
        Err(PaymentError::Misuse { what: "an offer contradicts the requirements" })
    }
}

/// The requirements that the client chose: by scheme first, then checks 1 to 3 with their own strings, then all of it.
fn check_accepted<'a>(accepted: &PaymentRequirements, offered: &'a [Requirements]) -> Result<&'a Requirements, PaymentError> {
    let extra = accepted.extra.as_ref();
    let flow = payment_flow(extra);
    if flow != Some(FLOW_AUTHORIZATION) {
        return Err(PaymentError::PaymentFlow { expected: FLOW_AUTHORIZATION, got: flow.map(excerpt) });
    }
    let mut expected = Err(PaymentError::Misuse { what: "nothing was offered" });
    for required in offered {
        let (scheme, method) = names(required.through);
        if accepted.scheme != scheme {
            expected = expected.or(Err(PaymentError::Scheme { expected: scheme, got: excerpt(&accepted.scheme) }));
            continue;
        }
        let got = transfer_method(extra, method);
        if got != Some(method) {
            return Err(PaymentError::TransferMethod { expected: method, got: got.map(excerpt) });
        }
        return check_entry(accepted, required).map(|()| required);
    }
    expected
}

fn names(through: Through) -> (&'static str, &'static str) {
    match through {
        Through::Token => (eip3009::SCHEME, eip3009::METHOD),
        Through::UptoProxy { .. } => (permit2::SCHEME, permit2::METHOD),
    }
}

fn check_entry(accepted: &PaymentRequirements, required: &Requirements) -> Result<(), PaymentError> {
    let extra = accepted.extra.as_ref();
    for field in ["name", "version"] {
        if extra.and_then(|extra| extra.text(field)).is_none() {
            return Err(PaymentError::MissingDomain { field });
        }
    }
    let offered = required.to_entry();
    if accepted.network != offered.network {
        return Err(PaymentError::Network { expected: required.network, got: excerpt(&accepted.network) });
    }
    match protocol::accepted_mismatch(&offered, accepted) {
        None => Ok(()),
        Some(field) => Err(PaymentError::Accepted { field }),
    }
}

/// The echoed offer must be one of ours for this request, by the way that was chosen. That alone binds a stock client's payment to the request on
/// our side.
///
/// The echoed *signature* is not compared: the offer's bytes are our own recomputation, so a client that changed it fools nobody.
fn check_echo<'a>(
    extensions: Option<&JsonObject>,
    required: &Requirements,
    context: &VerifyContext<'a>,
) -> Result<Option<(Option<Hash32>, &'a Candidate)>, PaymentError> {
    let Some(echo) = OfferEcho::parse(extensions).map_err(PaymentError::Echo)? else { return Ok(None) };
    if echo.answer_salt.is_some() && !context.keeps_answer {
        return Err(PaymentError::Echo(ExtensionError::NotOffered { field: "answerSalt" }));
    }
    let scheme = required.through.scheme();
    let signed = echo.signed(scheme).ok_or(PaymentError::Echo(ExtensionError::Malformed { field: "offers" }))?;
    let of_scheme = || context.candidates.iter().filter(|candidate| candidate.offer.scheme == scheme);
    let is_ours = |candidate: &&Candidate| candidate.offer == signed.offer && candidate.request_salt == signed.request_salt;
    if let Some(candidate) = of_scheme().find(is_ours) {
        return Ok(Some((echo.client_salt, candidate)));
    }
    let expected = of_scheme().map(|candidate| candidate.offer.digest()).collect();
    Err(PaymentError::OtherOffer { expected, got: signed.offer.digest() })
}

/// What a payer signed, and by what.
struct Signed {
    authorization: Authorization,
    signature: Signature65,
    signed_digest: Hash32,
    token_permit: Option<TokenPermit>,
}

/// Checks 4 to 8 of `exact`; those of `upto`. The object is parsed only now: a payment under other requirements may have another shape, and the
/// error should say so.
fn check_authorization(payload: &PaymentPayload, required: &Requirements, context: &VerifyContext<'_>) -> Result<Signed, PaymentError> {
    let (token, recover) = (required.token(), context.recover);
    match required.through {
        Through::Token => {
            let (authorization, signature) = (eip3009::parse(&payload.payload)?, parse_signature(&payload.payload)?);
            // Low s and v of 27 or 28 only: the token's own rule (USDC and ours), so anything else could not be settled.
            let signed_digest = authorization.digest(&token);
            let signer = eip712::signer(recover, &signed_digest, &signature);
            if signer != Some(authorization.from) {
                return Err(PaymentError::Signature { expected: authorization.from, got: signer });
            }
            eip3009::check(&authorization, required)?;
            check_times(&authorization, context.now, context.generation_seconds)?;
            eip3009::check_value(&authorization, required)?;
            Ok(Signed { authorization, signature, signed_digest, token_permit: None })
        }
        Through::UptoProxy { .. } => {
            let (permitted, authorization) = permit2::parse(&payload.payload)?;
            let signature = parse_signature(&payload.payload)?;
            permit2::check(&permitted, &authorization, required)?;
            check_times(&authorization, context.now, context.generation_seconds)?;
            // Permit2 takes either s. One form counts here, so that no flip goes unnoticed in a bundle.
            let signed_digest = authorization.digest(&token);
            let signer = eip712::signer(recover, &signed_digest, &signature);
            if signer != Some(authorization.from) {
                return Err(PermitError::Signature { expected: authorization.from, got: signer }.into());
            }
            let token_permit = permit2::token_permit(payload.extensions.as_ref(), &authorization, &token, context.now, recover)?;
            Ok(Signed { authorization, signature, signed_digest, token_permit })
        }
    }
}

/// Open for the whole work, and not for longer than a payment may be.
fn check_times(authorization: &Authorization, now: UnixSeconds, generation_seconds: u64) -> Result<(), PaymentError> {
    let at_least = now.saturating_add(SETTLE_MARGIN_SECONDS).saturating_add(generation_seconds);
    let at_most = now.saturating_add(MAX_TIMEOUT_SECONDS).saturating_add(MAX_SKEW_SECONDS);
    let (after, before) = (authorization.valid_after, authorization.valid_before);
    if !(at_least..=at_most).contains(&before) {
        return Err(match authorization.through {
            Through::Token => PaymentError::ValidBefore { at_least, at_most, got: before },
            Through::UptoProxy { .. } => PermitError::Deadline { at_least, at_most, got: before }.into(),
        });
    }
    if after <= now {
        return Ok(());
    }
    Err(match authorization.through {
        Through::Token => PaymentError::ValidAfter { at_most: now, got: after },
        Through::UptoProxy { .. } => PermitError::NotYetValid { at_most: now, got: after }.into(),
    })
}

/// Which offer the nonce commits to, if the client says that it commits.
fn check_binding(
    authorization: &Authorization,
    echo: Option<(Option<Hash32>, &Candidate)>,
    now: UnixSeconds,
) -> Result<Binding, PaymentError> {
    let Some((client_salt, candidate)) = echo else { return Ok(Binding::EqualPriceOnly) };
    let (valid_until, now) = (candidate.offer.valid_until, now.ms());
    if valid_until < now {
        return Err(PaymentError::OfferExpired { valid_until, got: now });
    }
    let Some(client_salt) = client_salt else { return Ok(Binding::EqualPriceOnly) };
    let offer_digest = candidate.offer.digest();
    let expected = payment::offer_nonce(&offer_digest, &client_salt);
    if authorization.nonce != expected {
        return Err(PaymentError::Nonce { expected, got: authorization.nonce });
    }
    Ok(Binding::Offer { client_salt, offer_digest })
}

/// The boot epoch (ADR 0005): whatever an earlier boot could have executed is refused, without any memory of it.
///
/// An earlier boot accepted at most `its now + T + s`, and its now was before this boot. So later than `boot + T + s` was never good
/// for it. A nonce that commits to an offer of this K_sig was made in this boot, because the key was. A permit that this key's settler alone can
/// use was, too, and proves less: its payer may have signed the nonce for another boot's settler as well, and Permit2 moves one of them.
fn check_boot(authorization: &Authorization, binding: Binding, context: &VerifyContext<'_>) -> Result<(), PaymentError> {
    if binding.names_boot() {
        return Ok(());
    }
    let later_than = context.boot.saturating_add(MAX_TIMEOUT_SECONDS).saturating_add(MAX_SKEW_SECONDS);
    let got = authorization.valid_before;
    if later_than < got {
        return Ok(());
    }
    // A client that signs the same lifetime again is good after this many seconds.
    let short_by = later_than.since(got).saturating_add(1);
    let retry_after_seconds = short_by.min(MAX_SKEW_SECONDS.saturating_mul(2));
    Err(PaymentError::NotThisBoot { later_than, got, retry_after_seconds })
}

impl Binding {
    fn names_boot(self) -> bool {
        matches!(self, Self::Offer { .. })
    }
}

/// The payment in a client's object, as a bundle keeps it, and the offer that the client echoed, if it echoed one. Believes nothing; for
/// whoever has what was paid with.
///
/// # Errors
/// `Echo`, `Malformed`, `SignatureForm`.
pub fn parse_payment(payload: &PaymentPayload) -> Result<(Payment, Option<SignedOffer>), PaymentError> {
    let echo = OfferEcho::parse(payload.extensions.as_ref()).map_err(PaymentError::Echo)?;
    let (authorization, signature) = (parse_authorization(&payload.payload)?, parse_signature(&payload.payload)?);
    let client_salt = echo.as_ref().and_then(|echo| echo.client_salt);
    let signed = echo.as_ref().and_then(|echo| echo.signed(authorization.through.scheme()));
    Ok((Payment { authorization, signature, client_salt }, signed))
}

/// What was signed, by whichever scheme the object is of.
pub(crate) fn parse_authorization(payload: &JsonObject) -> Result<Authorization, PaymentError> {
    match payload.member("permit2Authorization") {
        Some(_) => permit2::parse(payload).map(|(_, authorization)| authorization),
        None => eip3009::parse(payload),
    }
}

fn parse_signature(payload: &JsonObject) -> Result<Signature65, PaymentError> {
    let text = payload.text("signature").ok_or(PaymentError::Malformed { field: "payload.signature" })?;
    let form = || PaymentError::SignatureForm { expected: 65, got: candor_verify::bytes::from_hex(text).map(|bytes| bytes.len()) };
    Signature65::from_hex(text).ok_or_else(form)
}
