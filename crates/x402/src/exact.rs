//! `exact` over EIP-3009: from a client's claim to a [`VerifiedPayment`], which is the only thing that can be claimed and executed.
//!
//! Checks in the reference's order, then ours: which offer the payment answers, and that no earlier boot can have executed it (ADR 0005, the
//! boot epoch). Reference: x402 v2, `exact` on EVM; spec: payment.md §5.
//!
//! Not proven here: balance, and that the authorization is unused on chain. The enclave has no RPC of its own that it could believe;
//! what that costs is bounded by the claim caps (`claims.rs`) and seen at settlement. Smart-wallet signatures are refused.

use candor_verify::bytes::{Address, Amount, Hash32, Signature65};
use candor_verify::eip712::{self, Recover};
use candor_verify::offer::Offer;
use candor_verify::payment::{self, Authorization, MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS, Payment, SETTLE_MARGIN_SECONDS};
use candor_verify::receipt::Scheme;
use candor_verify::time::UnixSeconds;
use serde_json::Value;

use crate::error::{PaymentError, excerpt};
use crate::extension::{ExtensionError, OfferEcho, SignedOffer};
use crate::protocol::{self, ExactRequirements, JsonObject, PaymentPayload, PaymentRequirements, X402_VERSION};

/// An offer that this enclave makes for the request at hand: recomputed, never remembered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what an offer needs beside itself")]
pub struct Candidate {
    /// The offer.
    pub offer: Offer,
    /// Salt of its request commitment.
    pub request_salt: Hash32,
}

/// At most this many candidates: the current and the previous 60-second bucket of the request salt.
const MAX_CANDIDATES: usize = 2;

/// Everything besides the client's bytes that the verdict depends on.
#[expect(clippy::exhaustive_structs, reason = "complete: callers must give each")]
#[expect(missing_debug_implementations, reason = "holds a `dyn Recover`")]
#[derive(Clone, Copy)]
pub struct VerifyContext<'a> {
    /// Requirements offered for this request, by the price of now.
    pub requirements: &'a ExactRequirements,
    /// Offers of this boot for this request: the current bucket and the previous one.
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
/// fn forge(real: candor_x402::exact::VerifiedPayment) -> candor_x402::exact::VerifiedPayment {
///     candor_x402::exact::VerifiedPayment { chain_id: 1, ..real }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn make<T: Default>() -> T { T::default() }
/// let forged: candor_x402::exact::VerifiedPayment = make();
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
}

impl VerifiedPayment {
    /// What was signed.
    #[must_use]
    pub fn authorization(&self) -> &Authorization {
        &self.authorization
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

    /// What it says about the request.
    #[must_use]
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// The offer that the client echoed, with a salt or without; `None` if it echoed nothing.
    #[must_use]
    pub fn answers(&self) -> Option<&Candidate> {
        self.answers.as_ref()
    }

    /// Whether it is still open for as long as the work takes. For the moment of the claim: the chain may have been slow to answer.
    ///
    /// # Errors
    /// [`PaymentError::ValidBefore`], as when it is verified.
    pub fn check_open(&self, now: UnixSeconds, generation_seconds: u64) -> Result<(), PaymentError> {
        check_valid_before(&self.authorization, now, generation_seconds)
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
pub fn verify_exact(payload: &PaymentPayload, context: &VerifyContext<'_>) -> Result<VerifiedPayment, PaymentError> {
    check_context(context)?;
    if payload.x402_version != X402_VERSION {
        return Err(PaymentError::Version { expected: X402_VERSION, got: payload.x402_version });
    }
    check_accepted(&payload.accepted, context.requirements)?;
    let echo = check_echo(payload.extensions.as_ref(), context)?;
    let (authorization, signature) = check_signature(&payload.payload, context)?;
    check_authorization(&authorization, context)?;
    let binding = check_binding(&authorization, echo.as_ref().map(|(echo, _)| echo), context.now)?;
    check_boot(&authorization, binding, context)?;
    let (chain_id, asset) = (context.requirements.network.0, context.requirements.asset);
    let payment_id = authorization.payment_id(chain_id, &asset);
    let answers = echo.map(|(_, candidate)| candidate.clone());
    Ok(VerifiedPayment { authorization, signature, payment_id, chain_id, asset, binding, answers })
}

/// Our own offers must be for our own requirements; a contradiction is a bug of the caller and accepts nothing.
fn check_context(context: &VerifyContext<'_>) -> Result<(), PaymentError> {
    if MAX_CANDIDATES < context.candidates.len() {
        return Err(PaymentError::Misuse { what: "more offers than buckets" });
    }
    let requirements = context.requirements;
    let consistent = |offer: &Offer| {
        offer.scheme == Scheme::ExactEip3009
            && offer.payee == requirements.pay_to
            && offer.asset == requirements.asset
            && offer.chain_id == requirements.network.0
            && offer.amount == requirements.amount
            && offer.settler.is_zero()
    };
    if context.candidates.iter().all(|candidate| consistent(&candidate.offer)) {
        Ok(())
    } else {
        Err(PaymentError::Misuse { what: "an offer contradicts the requirements" })
    }
}

/// Checks 1 to 3 with their own strings, then the rest of the chosen requirements.
fn check_accepted(accepted: &PaymentRequirements, requirements: &ExactRequirements) -> Result<(), PaymentError> {
    let extra = accepted.extra.as_ref();
    let flow = protocol::payment_flow(extra);
    if flow != Some(protocol::FLOW_AUTHORIZATION) {
        return Err(PaymentError::PaymentFlow { expected: protocol::FLOW_AUTHORIZATION, got: flow.map(excerpt) });
    }
    if accepted.scheme != protocol::SCHEME_EXACT {
        return Err(PaymentError::Scheme { expected: protocol::SCHEME_EXACT, got: excerpt(&accepted.scheme) });
    }
    let method = protocol::transfer_method(extra);
    if method != Some(protocol::METHOD_EIP3009) {
        return Err(PaymentError::TransferMethod { expected: protocol::METHOD_EIP3009, got: method.map(excerpt) });
    }
    for field in ["name", "version"] {
        if extra.and_then(|extra| extra.text(field)).is_none() {
            return Err(PaymentError::MissingDomain { field });
        }
    }
    let offered = requirements.to_requirements();
    if accepted.network != offered.network {
        return Err(PaymentError::Network { expected: requirements.network, got: excerpt(&accepted.network) });
    }
    match protocol::accepted_mismatch(&offered, accepted) {
        None => Ok(()),
        Some(field) => Err(PaymentError::Accepted { field }),
    }
}

/// The echoed offer must be one of ours for this request. That alone binds a stock client's payment to the request on our side.
///
/// The echoed *signature* is not compared: the offer's bytes are our own recomputation, so a client that changed it fools nobody.
fn check_echo<'a>(
    extensions: Option<&JsonObject>,
    context: &VerifyContext<'a>,
) -> Result<Option<(OfferEcho, &'a Candidate)>, PaymentError> {
    let candidates = context.candidates;
    let Some(echo) = OfferEcho::parse(extensions).map_err(PaymentError::Echo)? else { return Ok(None) };
    if echo.answer_salt.is_some() && !context.keeps_answer {
        return Err(PaymentError::Echo(ExtensionError::NotOffered { field: "answerSalt" }));
    }
    let is_ours = |candidate: &Candidate| candidate.offer == echo.signed.offer && candidate.request_salt == echo.signed.request_salt;
    if let Some(candidate) = candidates.iter().find(|candidate| is_ours(candidate)) {
        return Ok(Some((echo, candidate)));
    }
    let expected = candidates.iter().map(|candidate| candidate.offer.digest()).collect();
    Err(PaymentError::OtherOffer { expected, got: echo.signed.offer.digest() })
}

/// Check 4. The object is parsed only now: a payment under other requirements may have another shape, and the error should say so.
fn check_signature(payload: &JsonObject, context: &VerifyContext<'_>) -> Result<(Authorization, Signature65), PaymentError> {
    let (authorization, signature) = (parse_authorization(payload)?, parse_signature(payload)?);
    // Low s and v of 27 or 28 only: the token's own rule (USDC and ours), so anything else could not be settled.
    let signer = eip712::signer(context.recover, &authorization.digest(&context.requirements.domain()), &signature);
    if signer != Some(authorization.from) {
        return Err(PaymentError::Signature { expected: authorization.from, got: signer });
    }
    Ok((authorization, signature))
}

/// Checks 5 to 8.
fn check_authorization(authorization: &Authorization, context: &VerifyContext<'_>) -> Result<(), PaymentError> {
    if authorization.to != context.requirements.pay_to {
        return Err(PaymentError::Recipient { expected: context.requirements.pay_to, got: authorization.to });
    }
    let now = context.now;
    check_valid_before(authorization, now, context.generation_seconds)?;
    if now < authorization.valid_after {
        return Err(PaymentError::ValidAfter { at_most: now, got: authorization.valid_after });
    }
    if authorization.value != context.requirements.amount {
        return Err(PaymentError::Value { expected: context.requirements.amount, got: authorization.value });
    }
    Ok(())
}

/// Open for the whole work, and not for longer than a payment may be.
fn check_valid_before(authorization: &Authorization, now: UnixSeconds, generation_seconds: u64) -> Result<(), PaymentError> {
    let at_least = now.saturating_add(SETTLE_MARGIN_SECONDS).saturating_add(generation_seconds);
    let at_most = now.saturating_add(MAX_TIMEOUT_SECONDS).saturating_add(MAX_SKEW_SECONDS);
    if (at_least..=at_most).contains(&authorization.valid_before) {
        return Ok(());
    }
    Err(PaymentError::ValidBefore { at_least, at_most, got: authorization.valid_before })
}

/// Which offer the nonce commits to, if the client says that it commits.
fn check_binding(authorization: &Authorization, echo: Option<&OfferEcho>, now: UnixSeconds) -> Result<Binding, PaymentError> {
    let Some(echo) = echo else { return Ok(Binding::EqualPriceOnly) };
    let (valid_until, now) = (echo.signed.offer.valid_until, now.ms());
    if valid_until < now {
        return Err(PaymentError::OfferExpired { valid_until, got: now });
    }
    let Some(client_salt) = echo.client_salt else { return Ok(Binding::EqualPriceOnly) };
    let offer_digest = echo.signed.offer.digest();
    let expected = payment::offer_nonce(&offer_digest, &client_salt);
    if authorization.nonce != expected {
        return Err(PaymentError::Nonce { expected, got: authorization.nonce });
    }
    Ok(Binding::Offer { client_salt, offer_digest })
}

/// The boot epoch (ADR 0005): whatever an earlier boot could have executed is refused, without any memory of it.
///
/// An earlier boot accepted at most `its now + T + s`, and its now was before this boot. So later than `boot + T + s` was never good
/// for it. A nonce that commits to an offer of this K_sig was made in this boot, because the key was.
fn check_boot(authorization: &Authorization, binding: Binding, context: &VerifyContext<'_>) -> Result<(), PaymentError> {
    if matches!(binding, Binding::Offer { .. }) {
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

/// The payment in a client's object, as a bundle keeps it, and the offer that the client echoed, if it echoed one. Believes nothing; for
/// whoever has what was paid with.
///
/// # Errors
/// `Echo`, `Malformed`, `SignatureForm`.
pub fn parse_payment(payload: &PaymentPayload) -> Result<(Payment, Option<SignedOffer>), PaymentError> {
    let echo = OfferEcho::parse(payload.extensions.as_ref()).map_err(PaymentError::Echo)?;
    let (signed, client_salt) = echo.map_or((None, None), |echo| (Some(echo.signed), echo.client_salt));
    let (authorization, signature) = (parse_authorization(&payload.payload)?, parse_signature(&payload.payload)?);
    Ok((Payment { authorization, signature, client_salt }, signed))
}

fn parse_signature(payload: &JsonObject) -> Result<Signature65, PaymentError> {
    let text = payload.text("signature").ok_or(PaymentError::Malformed { field: "payload.signature" })?;
    let form = || PaymentError::SignatureForm { expected: 65, got: candor_verify::bytes::from_hex(text).map(|bytes| bytes.len()) };
    Signature65::from_hex(text).ok_or_else(form)
}

/// The members of `payload.authorization`, all strings, as the reference has them.
pub(crate) fn parse_authorization(payload: &JsonObject) -> Result<Authorization, PaymentError> {
    let Some(Value::Object(members)) = payload.member("authorization") else {
        return Err(PaymentError::Malformed { field: "payload.authorization" });
    };
    let text = |field: &'static str| members.get(field).and_then(Value::as_str);
    let malformed = |field| PaymentError::Malformed { field };
    let address = |field, name| text(field).and_then(Address::from_hex).ok_or(malformed(name));
    let amount = |field, name| text(field).and_then(Amount::from_decimal).ok_or(malformed(name));
    let seconds = |field, name| amount(field, name).and_then(|value| u64::try_from(value.0).map(UnixSeconds).map_err(|_| malformed(name)));
    Ok(Authorization {
        from: address("from", "authorization.from")?,
        to: address("to", "authorization.to")?,
        value: amount("value", "authorization.value")?,
        valid_after: seconds("validAfter", "authorization.validAfter")?,
        valid_before: seconds("validBefore", "authorization.validBefore")?,
        nonce: text("nonce").and_then(Hash32::from_hex).ok_or(malformed("authorization.nonce"))?,
    })
}
