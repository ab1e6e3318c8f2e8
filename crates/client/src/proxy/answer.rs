//! One request: read, asked, paid, forwarded frame by frame, and its last frame held back until the whole answer is verified.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use candor_engine::chat::MAX_BODY_BYTES;
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;

use super::errors::{error_body, failure, refusal, whole};
use super::{ProxyBody, Shared};
use crate::ask::{Buyer, Progress, VerifiedResponse, ask};
use crate::cut::cut_notice;
use crate::error::ClientError;
use crate::unknown::Dropped;

/// Longest wait for a request's body, which comes from this machine.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Id of the receipt, as nodes name it too.
const RECEIPT_ID: HeaderName = HeaderName::from_static("x-receipt-id");

/// Where the bundle of the answer is kept.
const BUNDLE: HeaderName = HeaderName::from_static("x-candor-bundle");

/// How the answer ended, in a word of its receipt.
const OUTCOME: HeaderName = HeaderName::from_static("x-candor-outcome");

/// Fields that were taken out of the request.
const DROPPED: HeaderName = HeaderName::from_static("x-candor-dropped");

/// Between the word of an error in a stream and its cut.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn chat(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<ProxyBody>, ClientError> {
    let body = match read_body(request.into_body(), BODY_TIMEOUT).await {
        Ok(body) => body,
        Err((status, message)) => return Ok(refusal(status, Some("candor_proxy"), &message)),
    };
    let dropped = Dropped::default();
    let mut response = forwarded(shared, body, dropped.clone()).await.unwrap_or_else(|error| failure(&error));
    if let Some(Ok(names)) = dropped.listed().map(|names| HeaderValue::from_str(&names)) {
        response.headers_mut().insert(DROPPED, names);
    }
    Ok(response)
}

/// The answer, or its head: by then it is known what was taken out.
async fn forwarded(shared: Arc<Shared>, body: Bytes, dropped: Dropped) -> Result<Response<ProxyBody>, ClientError> {
    let streamed = serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|json| json["stream"].as_bool()).unwrap_or(false);
    let (sender, mut events) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move { answer(&shared, &body, &dropped, &sender).await });
    if !streamed {
        let response = join(task).await?;
        let body = response.bundle.response.frames.first().cloned().unwrap_or_default();
        let mut answer = whole(StatusCode::OK, body.into());
        answer.headers_mut().extend(kept_headers(&response));
        return Ok(answer);
    }
    // An error before the first frame is an HTTP error; after it, only the stream can be cut.
    let Some(first) = events.recv().await else {
        return match join(task).await {
            Ok(_) => Err(ClientError::Usage("an answer without frames".into())),
            Err(error) => Err(error),
        };
    };
    let (out, items) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(16);
    tokio::spawn(async move {
        let mut held = first;
        while let Some(next) = events.recv().await {
            // One frame is always held: the last must not go out before the verdict.
            if out.send(Ok(sse(&held))).await.is_err() {
                return;
            }
            held = next;
        }
        let end = match join(task).await {
            // A comment, which SDKs skip: the head was sent before there was a receipt.
            Ok(response) => vec![Ok(sse(&held)), Ok(kept_comment(&response)), Ok(Frame::data(Bytes::from_static(b"data: [DONE]\n\n")))],
            // SDKs raise an `error` member as it is; the cut after it says to everybody else that this is no end.
            Err(error) => {
                let (_, body) = error_body(&error);
                drop(out.send(Ok(sse(body.to_string().as_bytes()))).await);
                // The server drops what it has not sent yet when a body fails.
                tokio::time::sleep(FLUSH_PAUSE).await;
                vec![Err(std::io::Error::other(error.to_string()))]
            }
        };
        for item in end {
            if out.send(item).await.is_err() {
                return;
            }
        }
    });
    let body = StreamBody::new(ReceiverStream(items));
    let mut response = Response::new(BodyExt::boxed(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// Its own task: a payment that was made is followed to its end even if the SDK hangs up.
async fn answer(
    shared: &Shared,
    body: &[u8],
    dropped: &Dropped,
    frames: &mpsc::UnboundedSender<Vec<u8>>,
) -> Result<VerifiedResponse, ClientError> {
    let _permit = shared.running.acquire().await.map_err(|_| ClientError::Usage("the proxy is closing".into()))?;
    let mut node = shared.connection().await?;
    let config = &shared.config;
    let buyer = Buyer {
        chain: &config.chain,
        wallet: config.wallet.as_ref(),
        key: config.key.as_ref(),
        book: &config.book,
        spend: &config.policy.spend,
        policy: &config.policy.policy,
        keep: &config.keep,
        pay_again: false,
    };
    let mut forward = |progress: Progress<'_>| {
        if let Progress::Frame(frame) = progress {
            drop(frames.send(frame.to_vec()));
        }
    };
    let mut body = Cow::Borrowed(body);
    let mut is_moved = false;
    let response = loop {
        match ask(&mut node, &buyer, &body, &mut forward).await {
            Ok(response) => break response,
            // Before anything was paid: what is found out after a payment was sent is not `AnotherBoot`. Its connections are closed by itself.
            Err(ClientError::AnotherBoot { .. }) if !is_moved => {
                shared.tell("another boot answered in the place of the verified one: it is verified before it is asked".into());
                is_moved = true;
                node = shared.connection().await?;
            }
            // Refused before anything was paid: what is refused after a payment was sent is not `Node`.
            Err(error) => match config.drops_unknown.then(|| dropped.without(&body, &error)).flatten() {
                Some((name, shorter)) => {
                    if shared.told.is_new(&name) {
                        shared.tell(format!("dropped {name:?} from a request: the node refuses it as unknown (said once)"));
                    }
                    body = Cow::Owned(shorter);
                }
                None => {
                    if matches!(error, ClientError::ChainTrouble(_)) {
                        // When the chain is back it may be another one, on which this node was never verified.
                        *shared.node.lock().await = None;
                    }
                    return Err(error);
                }
            },
        }
    };
    if let Some(notice) = cut_notice(&response.bundle) {
        shared.tell(format!("receipt {}: {notice}", response.receipt_id));
    }
    Ok(response)
}

/// How an answer ended, as its receipt says.
fn outcome(response: &VerifiedResponse) -> &'static str {
    response.bundle.delivery.receipt.work.outcome.as_str()
}

async fn join(task: tokio::task::JoinHandle<Result<VerifiedResponse, ClientError>>) -> Result<VerifiedResponse, ClientError> {
    task.await.unwrap_or_else(|error| Err(ClientError::Usage(format!("the proxy's task ended: {error}"))))
}

/// From an answer to its evidence.
fn kept_headers(response: &VerifiedResponse) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let path = response.path.as_ref().map(|path| path.display().to_string());
    // A path that no header can carry is left out.
    let values = [
        (RECEIPT_ID, HeaderValue::from_str(&response.receipt_id).ok()),
        (BUNDLE, path.and_then(|path| HeaderValue::from_bytes(path.as_bytes()).ok())),
        (OUTCOME, HeaderValue::from_str(outcome(response)).ok()),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

fn kept_comment(response: &VerifiedResponse) -> Frame<Bytes> {
    let path = response.path.as_ref().map(|path| path.display().to_string());
    let kept = json!({"receipt_id": response.receipt_id, "bundle": path, "outcome": outcome(response)});
    Frame::data(format!(": candor {kept}\n\n").into())
}

fn sse(frame: &[u8]) -> Frame<Bytes> {
    Frame::data([b"data: ".as_slice(), frame, b"\n\n"].concat().into())
}

/// A whole body, in time; or with which status and words it is refused.
async fn read_body<B>(body: B, within: Duration) -> Result<Bytes, (StatusCode, String)>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(within, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("the request's body is longer than {MAX_BODY_BYTES} bytes")))
        }
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the request's body: {error}"))),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time".to_owned())),
    }
}

/// A receiver as a stream, for `StreamBody`.
struct ReceiverStream(mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>);

impl futures_core::Stream for ReceiverStream {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_is_too_long_or_never_ends_is_refused_as_what_it_is() {
        let long = http_body_util::Full::new(Bytes::from(vec![b' '; MAX_BODY_BYTES + 1]));
        assert_eq!(read_body(long, BODY_TIMEOUT).await.unwrap_err().0, StatusCode::PAYLOAD_TOO_LARGE);
        let (_open, items) = mpsc::channel(1);
        let endless = StreamBody::new(ReceiverStream(items));
        assert_eq!(read_body(endless, Duration::ZERO).await.unwrap_err().0, StatusCode::REQUEST_TIMEOUT);
        let whole = http_body_util::Full::new(Bytes::from_static(b"{}"));
        assert_eq!(read_body(whole, BODY_TIMEOUT).await.unwrap(), "{}");
    }
}
