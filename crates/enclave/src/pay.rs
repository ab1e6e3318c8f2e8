//! Payments: from a header to a claim, or to an error that says what to do.
//!
//! Order of work: read the header (cheap), verify the authorization against recomputed offers, ask the host about balance and nonce,
//! look at the time again, claim. Only then may anything run (Invariant: no response byte before the claim).

use std::time::Duration;

use candor_engine::chat::ApiError;
use candor_link::{EnclaveRequest, HostReply, PayerQuery};
use candor_x402::claims::{Balance, ClaimError};
use candor_x402::exact::{Candidate, VerifiedPayment, VerifyContext, verify_exact};
use candor_x402::protocol::{ProtocolError, parse_payment_payload};
use candor_x402::{Claim, Libsecp, PaymentError};

use crate::clock;
use crate::control::HostError;
use crate::metrics::count;
use crate::node::Node;
use crate::quote::Quote;

/// How long the host may take to ask its chain about a payer.
const PAYER_TIMEOUT: Duration = Duration::from_secs(5);

/// A payment that is claimed, and the offer it answers.
pub(crate) struct Paid {
    pub(crate) payment: VerifiedPayment,
    pub(crate) claim: Claim,
    pub(crate) candidate: Candidate,
}

/// Why there is no claim.
pub(crate) enum PayError {
    /// 402 again, with fresh requirements and this code.
    Refused { code: String, message: String, retry_after: Option<u64> },
    /// Another status, in the shape of the API.
    Api(ApiError, Option<u64>),
}

impl From<PaymentError> for PayError {
    fn from(error: PaymentError) -> Self {
        refusal(error.status(), error.code(), error.to_string(), error.retry_after_seconds())
    }
}

impl From<ProtocolError> for PayError {
    fn from(error: ProtocolError) -> Self {
        refusal(error.status(), error.code(), error.to_string(), None)
    }
}

impl From<ClaimError> for PayError {
    fn from(error: ClaimError) -> Self {
        refusal(error.status(), error.code(), error.to_string(), error.retry_after_seconds())
    }
}

fn refusal(status: u16, code: &'static str, message: String, retry_after: Option<u64>) -> PayError {
    if status == 402 {
        return PayError::Refused { code: code.to_owned(), message, retry_after };
    }
    let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
    PayError::Api(ApiError { status, kind, code: Some(code), param: None, message }, retry_after)
}

/// Verifies and claims.
pub(crate) async fn claim(node: &Node, quote: &Quote, header: &[u8]) -> Result<Paid, PayError> {
    let payment = verify(node, quote, header).inspect_err(|_| count(&node.metrics.payments_refused))?;
    // The offer that was echoed, of this bucket or the one before: the receipt names what the client was told. Who echoes nothing paid the
    // price of the current one.
    let [current, _] = &quote.candidates;
    let candidate = payment.answers().unwrap_or(current).clone();
    refuse_taken(node, &payment)?;
    let balance = match check_payer(node, &payment).await {
        Ok(balance) => balance,
        Err(refused) => {
            // Again: while the chain was asked, another copy may have been claimed, run and settled.
            refuse_taken(node, &payment)?;
            return Err(refused);
        }
    };
    let now_s = clock::now_ms() / 1000;
    // Again: the host took its time, and an answer that cannot be settled any more is work for nothing.
    payment.check_open(now_s, quote.generation_seconds).inspect_err(|_| count(&node.metrics.payments_refused))?;
    let claim = node.claims().claim(&payment, balance, now_s)?;
    count(&node.metrics.claims);
    Ok(Paid { payment, claim, candidate })
}

/// A payment that this boot took is told so (409), whatever the chain says of it by now: "nonce already used" comes with fresh requirements,
/// and a client that only lost its connection would pay for the same request a second time. It also spares the chain the question.
fn refuse_taken(node: &Node, payment: &VerifiedPayment) -> Result<(), PayError> {
    node.claims().check(payment, clock::now_ms() / 1000).map_err(PayError::from)
}

fn verify(node: &Node, quote: &Quote, header: &[u8]) -> Result<VerifiedPayment, PayError> {
    let payload = parse_payment_payload(header)?;
    let context = VerifyContext {
        requirements: &quote.requirements,
        candidates: &quote.candidates,
        now_seconds: clock::now_ms() / 1000,
        boot_seconds: node.boot_seconds(),
        generation_seconds: quote.generation_seconds,
        recover: &Libsecp,
    };
    Ok(verify_exact(&payload, &context)?)
}

/// Asks the host what the payer has and whether the authorization is unused. No signature leaves here. Whether the balance is enough is
/// decided with the claim, in one step: of two payments at once each would pass on its own.
///
/// Trust: a lie costs the operator an unpaid answer, or service; the client's own RPC shows the transfer.
async fn check_payer(node: &Node, payment: &VerifiedPayment) -> Result<Balance, PayError> {
    let authorization = payment.authorization();
    let asked = node.claims().ask_balance(payment, clock::now_ms() / 1000)?;
    let query = PayerQuery { chain_id: payment.chain_id(), asset: payment.asset(), payer: authorization.from, nonce: authorization.nonce };
    let state = match node.port().request(EnclaveRequest::PayerState(query), PAYER_TIMEOUT).await {
        Ok(HostReply::PayerState(state)) => state,
        Ok(_) | Err(HostError::LinkLost | HostError::TimedOut | HostError::Busy | HostError::TooLong(_) | HostError::Refused(_)) => {
            count(&node.metrics.host_unavailable);
            let message = "The chain cannot be asked about this payment now. Nothing was charged; send the same payment again.";
            return Err(PayError::Api(
                ApiError { status: 503, kind: "server_error", code: Some("chain_unavailable"), param: None, message: message.into() },
                Some(2),
            ));
        }
    };
    let refuse = |code: &str, message: String| PayError::Refused { code: code.into(), message, retry_after: None };
    if !state.asset_has_code {
        return Err(refuse("asset_not_deployed_contract", format!("there is no contract at {}", payment.asset())));
    }
    if state.nonce_used {
        return Err(refuse("invalid_exact_evm_nonce_already_used", "the authorization was used or cancelled".into()));
    }
    Ok(asked.answered(state.balance))
}
