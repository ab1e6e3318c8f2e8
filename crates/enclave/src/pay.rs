//! Payments: from a header to a claim, or to an error that says what to do.
//!
//! Order of work: verify the authorization against recomputed offers, ask the host about balance and nonce,
//! look at the time again, claim. Only then may anything run (Invariant: no response byte before the claim).

use std::time::Duration;

use candor_link::{EnclaveCounter, EnclaveEvent, EnclaveRequest, HostReply, PayerQuery, PayerState, PayerTrial};
use candor_verify::bytes::Hash32;
use candor_x402::claims::{Balance, Funds};
use candor_x402::extension::SignedOffer;
use candor_x402::protocol::{PaymentPayload, ProtocolError};
use candor_x402::recovery::signed_by_payer;
use candor_x402::scheme::{Candidate, VerifiedPayment, VerifyContext, parse_payment, trial_code, used_code, verify_payment};
use candor_x402::{Claim, Libsecp};

use crate::caps::Whom;
use crate::clock;
use crate::control::AskError;
use crate::quote::Quote;
use crate::refusal::Refusal;
use crate::serving::Serving;
use crate::settle::Elsewhere;

/// How long the host may take to ask its chain about a payer.
const PAYER_TIMEOUT: Duration = Duration::from_secs(5);

/// A payment that is claimed, and the offer it answers.
pub(crate) struct Paid {
    pub(crate) payment: VerifiedPayment,
    pub(crate) claim: Claim,
    pub(crate) candidate: Candidate,
}

/// Verifies and claims, in a place that is reserved for the answer once its payer is known to have the price: a stranger's promise holds none.
pub(crate) async fn claim<T>(
    serving: &Serving,
    quote: &Quote,
    payment: Result<PaymentPayload, ProtocolError>,
    reserve: impl FnOnce() -> Result<T, Refusal>,
) -> Result<(Paid, T), Refusal> {
    let payment = match payment {
        Ok(payload) => match verify(serving, quote, &payload) {
            Ok(payment) => Ok(payment),
            // A payment that this boot took is told so (409), though its offer or its time is over by now: 402 would ask for another one.
            Err(refused) => {
                check_taken(serving, quote, &payload)?;
                Err(refused)
            }
        },
        Err(error) => Err(error.into()),
    };
    let payment = payment.inspect_err(|_: &Refusal| serving.metrics().count(EnclaveCounter::PaymentsRefused))?;
    // The offer that was echoed, of this bucket or the one before: the receipt names what the client was told. A client that echoes no offer
    // paid the price of the current bucket.
    let candidate = payment.answers().or_else(|| quote.current(payment.scheme())).cloned();
    let candidate = candidate.ok_or_else(|| Refusal::new(500, "no offer is of the scheme of the payment"))?;
    // A payment that this boot took is told so (409), whatever the chain says of it by now: "nonce already used" comes with fresh
    // requirements, and a client that only lost its connection would pay for the same request a second time. It also spares the chain the
    // question.
    serving.check_claim(&payment)?;
    let (balance, passes) = match check_payer(serving, &payment).await {
        Ok(answered) => answered,
        Err(refused) => {
            // Again: while the chain was asked, another copy may have been claimed, run and settled.
            serving.check_claim(&payment)?;
            return Err(refused);
        }
    };
    // After the chain: whoever has no money uses up nobody's share.
    let now = clock::now().seconds();
    // Again: the host took its time, and an answer that cannot be settled any more is work for nothing.
    payment.check_open(now, quote.generation_seconds).inspect_err(|_| serving.metrics().count(EnclaveCounter::PaymentsRefused))?;
    let claim = serving.claim(&payment, balance, now)?;
    if !passes {
        serving.release(claim);
        let message = "The payment would not move: tried on the chain, it reverts. Nothing was charged.";
        return Err(Refusal::new(402, message).code(trial_code(payment.scheme())));
    }
    let entered = serving.caps().enter(Whom::Payer(payment.authorization().from), clock::now()).map_err(Refusal::from);
    let place = match entered.and_then(|()| reserve()) {
        Ok(place) => place,
        Err(refusal) => {
            serving.release(claim);
            return Err(refusal);
        }
    };
    serving.metrics().count(EnclaveCounter::Claims);
    Ok((Paid { payment, claim, candidate }, place))
}

fn verify(serving: &Serving, quote: &Quote, payload: &PaymentPayload) -> Result<VerifiedPayment, Refusal> {
    let candidates = quote.candidates(serving);
    let context = VerifyContext {
        requirements: &quote.requirements,
        candidates: &candidates,
        now: clock::now().seconds(),
        boot: serving.epoch(),
        generation_seconds: quote.generation_seconds,
        keeps_answer: quote.blob_max.is_some(),
        recover: &Libsecp,
    };
    Ok(verify_payment(payload, &context)?)
}

/// That this boot did not take a payment for this very request before. With an offer of another request it is a mistake, and another payment
/// mends that; without an offer nobody can tell.
fn check_taken(serving: &Serving, quote: &Quote, payload: &PaymentPayload) -> Result<(), Refusal> {
    let is_of_this = echoed(payload).is_none_or(|offer| quote.is_answered_by(serving.keys(), &offer));
    match signed_by_payer(payload, &Libsecp).filter(|_| is_of_this) {
        Some(signed) => Ok(serving.check_taken(&signed.payment_id)?),
        None => Ok(()),
    }
}

/// The payment of a header, signed by its payer, while a boot that lives beside this one may be at work for it.
pub(crate) fn perhaps_elsewhere(serving: &Serving, payment: &Result<PaymentPayload, ProtocolError>) -> Option<Hash32> {
    let payload = payment.as_ref().ok().filter(|_| serving.may_live_beside())?;
    signed_by_payer(payload, &Libsecp).map(|signed| signed.payment_id)
}

/// Why another payment is not asked for now: the boot beside this one has this one. Who signed anew would pay twice.
pub(crate) async fn check_elsewhere(serving: &Serving, payment_id: Option<Hash32>) -> Result<(), Refusal> {
    let Some(payment_id) = payment_id else { return Ok(()) };
    match serving.elsewhere(payment_id).await {
        None => Ok(()),
        Some(Elsewhere::AtWork) => {
            let message =
                "Another boot of this node may be at work for this payment. Send the same request with it again; do not sign anew.";
            Err(Refusal::under_way(message).code("candor_payment_in_flight"))
        }
        Some(Elsewhere::Charged) => {
            let message = "Another boot of this node has executed this payment, and its answer is not kept.";
            Err(Refusal::under_way(message).code("candor_payment_already_executed"))
        }
    }
}

/// Whether a payment names an offer of this boot by its nonce, as the client says: no other boot takes it, and this one promised to.
pub(crate) fn names_own_offer(serving: &Serving, payment: Option<&Result<PaymentPayload, ProtocolError>>) -> bool {
    let parsed = payment.and_then(|payment| parse_payment(payment.as_ref().ok()?).ok());
    parsed.is_some_and(|(payment, signed)| {
        let names_one = payment.client_salt.is_some() || !payment.authorization.through.settler().is_zero();
        names_one && signed.is_some_and(|signed| signed.offer.manifest_hash == serving.manifest_hash())
    })
}

/// The price list of the offer in a payment header, as the client says; zero for the ceiling.
pub(crate) fn list_echoed(payment: Option<&Result<PaymentPayload, ProtocolError>>) -> Option<Hash32> {
    echoed(payment?.as_ref().ok()?).map(|signed| signed.offer.price_list_hash)
}

/// The offer in a payment header, as the client says.
fn echoed(payload: &PaymentPayload) -> Option<SignedOffer> {
    parse_payment(payload).ok()?.1
}

/// The request commitment that a refusal names: that of the offer which the payment echoes, if it is ours and of this request.
pub(crate) fn offer_named(serving: &Serving, quote: &Quote, payment: Option<&Result<PaymentPayload, ProtocolError>>) -> Hash32 {
    let offer = payment.and_then(|payment| echoed(payment.as_ref().ok()?)).filter(|offer| quote.is_answered_by(serving.keys(), offer));
    offer.map_or_else(|| quote.request_commitment(), |signed| signed.offer.request_commitment)
}

/// Asks the host what the payer has, whether the authorization is unused, and, where the signature is worth nothing to whoever sees it, whether
/// the payment would pass: a wallet with code, or a token, has a will of its own. No other signature leaves here. Whether the balance is enough
/// is decided with the claim, in one step: of two payments at once each would pass on its own.
///
/// Trust: a lie costs the operator an unpaid answer, or service; the client's own RPC shows the transfer.
async fn check_payer(serving: &Serving, payment: &VerifiedPayment) -> Result<(Balance, bool), Refusal> {
    let authorization = payment.authorization();
    let asked = serving.ask_balance(payment)?;
    let query = PayerQuery {
        scheme: payment.scheme(),
        chain_id: payment.chain_id(),
        asset: payment.asset(),
        payer: authorization.from,
        nonce: authorization.nonce,
        trial: payment.trial().map(|trial| PayerTrial { from: trial.from, to: trial.call.to, calldata: trial.call.calldata.0 }),
    };
    let state = match serving.port().request(EnclaveRequest::PayerState(query), PAYER_TIMEOUT).await {
        Ok(HostReply::PayerState(state)) => state,
        Ok(_) | Err(AskError::LinkLost | AskError::TimedOut | AskError::Busy | AskError::TooLong(_) | AskError::Refused(_)) => {
            serving.metrics().count(EnclaveCounter::HostUnavailable);
            serving.port().events().note(EnclaveEvent::HostUnavailable);
            let message = "The chain cannot be asked about this payment now. Nothing was charged; send the same payment again.";
            return Err(Refusal::unavailable(message).code("chain_unavailable"));
        }
    };
    if !state.asset_has_code {
        let message = format!("there is no contract at {}", payment.asset());
        return Err(Refusal::new(402, message).code("asset_not_deployed_contract"));
    }
    if state.nonce_used {
        return Err(Refusal::new(402, "the authorization was used or cancelled").code(used_code(payment.scheme())));
    }
    let PayerState { balance, allowance, permit_nonce, .. } = state;
    Ok((asked.answered(Funds { balance, allowance, permit_nonce }), state.passes))
}
