//! Refusals: what goes wrong, as an OpenAI client expects to be told, and when it may come again.
//!
//! Every error of the API is one of these. Its status decides its type; codes are stable. `Display` texts of other crates become messages
//! here and nowhere else. Not here: what is beside an error in a response (`reply`).

use candor_engine::chat::ApiError;
use candor_verify::bytes::Hash32;
use candor_verify::refusal::{Refusal as SignedRefusal, code_hash};
use candor_x402::claims::ClaimError;
use candor_x402::protocol::{PaymentPayload, ProtocolError};
use candor_x402::recovery::signed_by_payer;
use candor_x402::{Libsecp, PaymentError};

use crate::clock;
use crate::ledger::LedgerError;
use crate::serving::Ended;
use crate::session::Session;

/// An error to send back, and after how many seconds the same request may do better.
#[derive(Debug)]
pub(crate) struct Refusal {
    error: ApiError,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
}

/// Of a boot that sells no more because another one of its node does.
const HANDED_OVER: &str = "candor_boot_handed_over";

/// Seconds after which a node that is busy may have room.
const BUSY_SECONDS: u64 = 5;

impl Refusal {
    /// A refusal without a code. The type follows from the status.
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        let kind = match status {
            402 => "payment_required",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let error = ApiError { status, kind, code: None, param: None, message: message.into() };
        Self { error, retry_after_s: None, allow: None }
    }

    /// 405: these methods are allowed there.
    pub(crate) fn not_allowed(methods: &'static str) -> Self {
        Self { allow: Some(methods), ..Self::new(405, format!("This method is not allowed here: {methods}.")) }
    }

    /// 429: this client asked for more than its share.
    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        Self::new(429, message).after(Some(1))
    }

    /// 429: the node has no room for it, whoever asks.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(429, message).after(Some(BUSY_SECONDS))
    }

    /// 401: a key is needed, or another one.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, message)
    }

    /// 409: the same is under way already.
    pub(crate) fn under_way(message: impl Into<String>) -> Self {
        Self::new(409, message).after(Some(1))
    }

    /// 503: something that this node needs is not there now.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, message).after(Some(2))
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.error.code = Some(code);
        self
    }

    pub(crate) fn param(mut self, param: &str) -> Self {
        self.error.param = Some(param.to_owned());
        self
    }

    /// After how many seconds the same may do better.
    pub(crate) fn in_seconds(self, seconds: u64) -> Self {
        self.after(Some(seconds))
    }

    fn after(mut self, seconds: Option<u64>) -> Self {
        self.retry_after_s = seconds;
        self
    }

    pub(crate) fn error(&self) -> &ApiError {
        &self.error
    }

    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    /// Whether its connection can be of no more use.
    pub(crate) fn is_last(&self) -> bool {
        self.error.code == Some(HANDED_OVER)
    }

    pub(crate) fn allow(&self) -> Option<&'static str> {
        self.allow
    }

    /// Whether the payment was taken before: there may be an answer for it.
    pub(crate) fn is_taken(&self) -> bool {
        self.error.status == 409
    }

    /// Whether another payment would do: then the refusal comes with fresh requirements.
    pub(crate) fn wants_payment(&self) -> bool {
        // 412 is x402's for a payer who has not allowed Permit2 yet.
        matches!(self.error.status, 402 | 412)
    }
}

/// An error of the request itself.
impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error, retry_after_s: None, allow: None }
    }
}

/// No new work.
impl From<Ended> for Refusal {
    fn from(why: Ended) -> Self {
        match why {
            Ended::Key => {
                let message =
                    "The operator of this node ended its key, so what it answers from now on could not be proven. Nothing was charged.";
                Self::new(503, message).code("candor_node_ended")
            }
            Ended::HandedOver => {
                let message = "Another boot of this node sells now. Nothing was charged; send the request again over another connection, without \
                               this payment if it carried one.";
                Self::unavailable(message).code(HANDED_OVER).after(Some(1))
            }
            Ended::Terms => {
                let message = "The operator's terms end before an answer would. Nothing was charged; ask another node.";
                Self::new(503, message).code("candor_terms_ended")
            }
        }
    }
}

impl From<PaymentError> for Refusal {
    fn from(error: PaymentError) -> Self {
        Self::new(error.status(), error.to_string()).code(error.code()).after(error.retry_after_seconds())
    }
}

impl From<ProtocolError> for Refusal {
    fn from(error: ProtocolError) -> Self {
        Self::new(error.status(), error.to_string()).code(error.code())
    }
}

impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        Self::new(error.status(), error.to_string()).code(error.code()).after(error.retry_after_seconds())
    }
}

impl From<LedgerError> for Refusal {
    fn from(refused: LedgerError) -> Self {
        let message = match refused {
            LedgerError::NotNow => "No receipt can be stored now. Nothing was charged; send the same again.",
            // What is unknown is answered as pending (`Whole::Lost`), or cuts its stream; it does not come here.
            LedgerError::TooLong | LedgerError::Closed | LedgerError::Unknown => {
                "No receipt could be stored, so nothing is answered and nothing was charged; try again."
            }
        };
        Self::unavailable(message).code("receipt_unavailable")
    }
}

/// A request that was quoted: what a refusal of it may name.
pub(crate) struct Quoted {
    /// Of the offer that the payment echoes, if it is one of ours and of this request: the client has its salt. Else of the current bucket's.
    pub(crate) request_commitment: Hash32,
}

/// K_sig's word that a quoted request which carried a payment was refused: evidence for its payer, and nothing else. `None` unless the payment is
/// signed by its payer, and the connection had not too many. Spec: payment.md §7.
pub(crate) fn sign(session: &Session, quoted: &Quoted, payment: &PaymentPayload, (status, code): (u16, &str)) -> Option<Vec<u8>> {
    let serving = session.serving();
    if !session.signs_refusal() {
        return None;
    }
    let signed_digest = signed_by_payer(payment, &Libsecp)?.signed_digest;
    let refusal = SignedRefusal {
        request_commitment: quoted.request_commitment,
        manifest_hash: serving.manifest_hash(),
        status,
        code_hash: code_hash(code),
        signed_digest,
        at: clock::now(),
    };
    Some([refusal.encode().as_slice(), &serving.keys().sign_refusal(&refusal).0].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_verify::time::UnixSeconds;

    #[test]
    fn status_type_code_and_wait_are_those_that_clients_know() {
        let not_this_boot = PaymentError::NotThisBoot { later_than: UnixSeconds(9), got: UnixSeconds(8), retry_after_seconds: 7 };
        let rows = [
            (Refusal::new(404, "."), 404, "invalid_request_error", None, None),
            (Refusal::new(500, "."), 500, "server_error", None, None),
            (Refusal::too_many(".").code("too_many_quotes"), 429, "rate_limit_error", Some("too_many_quotes"), Some(1)),
            (LedgerError::NotNow.into(), 503, "server_error", Some("receipt_unavailable"), Some(2)),
            (not_this_boot.into(), 402, "payment_required", Some("candor_not_this_boot"), Some(7)),
            (PaymentError::Misuse { what: "." }.into(), 500, "server_error", Some("unexpected_verify_error"), None),
            (ProtocolError::Duplicate.into(), 400, "invalid_request_error", Some("invalid_payload"), None),
            (ClaimError::InFlight.into(), 409, "invalid_request_error", Some("candor_payment_in_flight"), Some(1)),
            (
                ClaimError::PayerOpen { limit: 8, got: 8 }.into(),
                429,
                "rate_limit_error",
                Some("candor_payer_has_unsettled_payments"),
                Some(1),
            ),
        ];
        for (refusal, status, kind, code, retry_after_s) in rows {
            let error = refusal.error();
            assert_eq!((error.status, error.kind, error.code, refusal.retry_after_s()), (status, kind, code, retry_after_s));
            assert_eq!(refusal.wants_payment(), status == 402);
        }
    }
}
