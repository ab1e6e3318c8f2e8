//! A payment on its way: sent with its request until it is answered, the same each time and never another (ADR 0005).
//!
//! Not here: signing it, and judging what comes (`ask`).

use std::time::Duration;

use candor_verify::time::UnixSeconds;
use candor_x402::client::SentPayment;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

use crate::ask::{CHAT_PATH, Progress, node_error};
use crate::clock;
use crate::error::{CHAIN_UNAVAILABLE, ClientError};
use crate::refusals;
use crate::resolve::VerifiedNode;
use crate::spend::SpendBook;

/// Seconds before the payment's end at which it is not sent again: a node could not run it any more.
const RESEND_MARGIN_SECONDS: u64 = 90;

/// Seconds after the payment's end for which an answer that waits for its transfer is still asked for.
pub(crate) const PENDING_SECONDS: u64 = 60;

/// Pause before the same payment is sent again.
const RESEND_PAUSE: Duration = Duration::from_secs(1);

/// How often a payment goes to a node that says that it has no chain, before whoever waits is told. The next ask sends it again.
const CHAINLESS_TRIES: u32 = 5;

/// How often a payment is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tries {
    /// Whoever waits looks elsewhere then.
    Once,
    /// Until it is too late for the node to run it.
    UntilItsEnd,
}

/// A request with its payment.
pub(crate) struct Paid<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    pub(crate) sent: &'a SentPayment,
    pub(crate) book: &'a SpendBook,
    pub(crate) tries: Tries,
}

/// Sends the paid request until it is answered: on a broken connection or a pending settlement the *same* payment again, never another.
/// `signed_refusal` is what is to be said of the last refusal's own signature.
pub(crate) async fn send_paid(
    node: &mut VerifiedNode,
    paid: &Paid<'_>,
    signed_refusal: &mut Option<String>,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<hyper::Response<Incoming>, ClientError> {
    let Paid { headers, body, sent: sent_payment, book, tries } = *paid;
    let valid_before = sent_payment.payment().authorization.valid_before;
    let mut chainless = 0_u32;
    loop {
        let sent = match node.reconnect().await {
            Ok(()) => node.http.send(Method::POST, CHAT_PATH, headers, Bytes::copy_from_slice(body)).await,
            Err(error) => Err(error),
        };
        let error = match sent {
            Ok(response) if response.status() == StatusCode::OK => {
                on_progress(Progress::Reached);
                return Ok(response);
            }
            Ok(response) => {
                let shown = refusals::Shown::of(response.status().as_u16(), response.headers());
                let error = node_error(node, response).await;
                if let ClientError::Node { code, .. } = &error {
                    *signed_refusal = shown.keep(code, sent_payment, node, book);
                }
                error
            }
            Err(error) => error,
        };
        // Refused for good, or no time left. 409: it is running, or waits for its transfer; 429: asked for too often on this connection; 503:
        // receipt or chain not there yet.
        let until = match &error {
            ClientError::Node { status: 409, code, .. } if code == "settlement_pending" => valid_before.saturating_add(PENDING_SECONDS),
            ClientError::Node { code, .. } if matches!(code.as_str(), "candor_payment_in_flight" | "too_many_quotes") => {
                resend_until(valid_before)
            }
            ClientError::Unreachable { .. } | ClientError::Node { status: 503, .. } => resend_until(valid_before),
            _ => return Err(error),
        };
        let is_chainless = matches!(&error, ClientError::Node { status: 503, code, .. } if code == CHAIN_UNAVAILABLE);
        chainless = chainless.saturating_add(u32::from(is_chainless));
        if tries == Tries::Once || CHAINLESS_TRIES <= chainless || until <= clock::now().seconds() {
            return Err(error);
        }
        if matches!(&error, ClientError::Unreachable { .. } | ClientError::Node { status: 503, .. }) {
            on_progress(Progress::Troubled(&error));
        }
        if matches!(&error, ClientError::Node { status: 409, .. }) {
            on_progress(Progress::Reached);
        }
        tokio::time::sleep(RESEND_PAUSE).await;
    }
}

fn resend_until(valid_before: UnixSeconds) -> UnixSeconds {
    valid_before.saturating_sub(RESEND_MARGIN_SECONDS)
}
