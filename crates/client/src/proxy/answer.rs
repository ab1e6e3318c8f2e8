//! One request over HTTP: read, bought, forwarded frame by frame, and its last frame held back until the whole answer is verified.

use std::sync::Arc;
use std::time::Duration;

use candor_engine::chat::MAX_BODY_BYTES;
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::buy::{Bought, NotBought, Order, buy};
use super::carried::{Carried, NODE, forwardable};
use super::errors::{PROXY_CODE, error_body, failure, refusal, refusal_of, whole};
use super::record::{Begun, ProxyEnd, short};
use super::wishes::{WishError, Wishes};
use super::{ProxyBody, Shared};
use crate::ask::VerifiedResponse;
use crate::caller::Caller;
use crate::error::ClientError;
use crate::unknown::Dropped;

/// Longest wait for a request's body, which comes from this machine.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Fields that were taken out of the request.
const DROPPED: HeaderName = HeaderName::from_static("x-candor-dropped");

/// Between the word of an error in a stream and its cut.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn chat(shared: Arc<Shared>, request: Request<Incoming>, mut begun: Begun, caller: Option<Caller>) -> Response<ProxyBody> {
    let refused =
        |begun: Begun, status: StatusCode, code: &str| shared.over(begun.over(status.as_u16(), ProxyEnd::Failed(code.to_owned())));
    let body = match read_body(request.into_body(), BODY_TIMEOUT).await {
        Ok(body) => body,
        Err((status, message)) => {
            refused(begun, status, PROXY_CODE);
            return refusal(status, Some(PROXY_CODE), &message);
        }
    };
    let (mut wishes, body) = match Wishes::take(body) {
        Ok(taken) => taken,
        Err(WishError { param, expected }) => {
            refused(begun, StatusCode::BAD_REQUEST, "invalid_value");
            return refusal_of(&param, &format!("Invalid value for '{param}': expected {expected}."));
        }
    };
    begun.model = wishes.model.as_deref().map(short);
    if let Some(caller) = caller.as_ref().filter(|caller| !caller.may_ask(wishes.model.as_deref())) {
        refused(begun, StatusCode::FORBIDDEN, "model_not_allowed");
        let message = format!("key {:?} may not ask this model", caller.name());
        return refusal(StatusCode::FORBIDDEN, Some("model_not_allowed"), &message);
    }
    wishes.payees = caller.as_ref().map(|caller| caller.payees().to_vec()).unwrap_or_default();
    let dropped = Dropped::default();
    let order = Order::new(body, wishes, dropped.clone(), caller);
    let mut response = forwarded(shared, order, begun).await.unwrap_or_else(|failed| failure(&failed.error, &failed.tried));
    if let Some(Ok(names)) = dropped.listed().map(|names| HeaderValue::from_str(&names)) {
        response.headers_mut().insert(DROPPED, names);
    }
    response
}

/// A verified answer, and what is said of it.
struct Answered {
    response: VerifiedResponse,
    carried: Carried,
}

/// The answer, or its head: by then it is known what was taken out.
async fn forwarded(shared: Arc<Shared>, order: Arc<Order>, mut begun: Begun) -> Result<Response<ProxyBody>, NotBought> {
    let (sender, mut events) = mpsc::unbounded_channel();
    let is_streamed = order.wishes.is_streamed;
    // Its own task: a payment that was made is followed to its end even if the SDK hangs up.
    let task = tokio::spawn(async move {
        let result = buy(&shared, &order, &sender).await;
        begun.node = match &result {
            Ok(bought) => Some(bought.node.clone()),
            Err(failed) => failed.tried.last().map(|tried| tried.node.clone()),
        };
        // Told here, where it ends, whether or not the SDK is still there.
        shared.over(begun.ended(result.as_ref().map(|bought| &bought.response).map_err(|failed| &*failed.error)));
        match result {
            // Whoever asked is gone, and may ask the same again.
            Ok(bought) if sender.is_closed() => {
                shared.unread(&bought.response, &bought.node);
                shared.late.deliver(order.request, bought);
                Err(own(ClientError::Usage("whoever asked is gone".into())))
            }
            result => result.map(|Bought { response, node }| Answered { carried: Carried::of(&response, &node), response }),
        }
    });
    if !is_streamed {
        let Answered { response, carried } = join(task).await?;
        let body = response.bundle.response.frames.first().cloned().unwrap_or_default();
        let body = carried.put_into(&body).ok_or_else(|| own(unreadable(&response)))?;
        let mut answer = whole(StatusCode::OK, body.into());
        answer.headers_mut().extend(carried.headers());
        return Ok(answer);
    }
    // An error before the first frame is an HTTP error; after it, only the stream can be cut.
    let Some((node, first)) = events.recv().await else {
        return match join(task).await {
            Ok(_) => Err(own(ClientError::Usage("an answer without frames".into()))),
            Err(failed) => Err(failed),
        };
    };
    let (out, items) = mpsc::channel(16);
    tokio::spawn(async move { stream(first, &mut events, task, &out).await });
    let body = StreamBody::new(ReceiverStream(items));
    let mut response = Response::new(BodyExt::boxed(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    if let Ok(node) = HeaderValue::from_str(&node) {
        response.headers_mut().insert(NODE, node);
    }
    Ok(response)
}

/// Gives frames on, all but the last at once, and the last with what is said of the answer, or an error in its place. Ends when nobody reads.
async fn stream(
    first: Vec<u8>,
    events: &mut mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    task: JoinHandle<Result<Answered, NotBought>>,
    out: &mpsc::Sender<Item>,
) {
    let mut held = first;
    while let Some((_, next)) = events.recv().await {
        // One frame is always held: the last must not go out before the verdict.
        if let Some(frame) = forwardable(&held)
            && out.send(Ok(sse(&frame))).await.is_err()
        {
            return;
        }
        held = next;
    }
    let end = match join(task).await {
        // A comment, which SDKs skip, for readers of lines.
        Ok(Answered { carried, response }) => match carried.put_into(&held) {
            Some(last) => {
                vec![Ok(sse(&last)), Ok(Frame::data(carried.comment().into())), Ok(Frame::data(Bytes::from_static(b"data: [DONE]\n\n")))]
            }
            None => cut(&own(unreadable(&response)), out).await,
        },
        // SDKs raise an `error` member as it is; the cut after it says to everybody else that this is no end.
        Err(failed) => cut(&failed, out).await,
    };
    for item in end {
        if out.send(item).await.is_err() {
            return;
        }
    }
}

/// The error of a stream, and its cut.
async fn cut(failed: &NotBought, out: &mpsc::Sender<Item>) -> Vec<Item> {
    let (_, body) = error_body(&failed.error, &failed.tried);
    drop(out.send(Ok(sse(body.to_string().as_bytes()))).await);
    // The server drops what it has not sent yet when a body fails.
    tokio::time::sleep(FLUSH_PAUSE).await;
    vec![Err(std::io::Error::other(failed.error.to_string()))]
}

/// An answer that verified, and that no SDK could be given without being told a node's word as ours.
fn unreadable(response: &VerifiedResponse) -> ClientError {
    let kept = response.path.as_ref().map_or_else(String::new, |path| format!("; it is kept in {}", path.display()));
    ClientError::Dishonest { check: "response.form", what: format!("the answer was paid for, and its end is no JSON object{kept}") }
}

fn own(error: ClientError) -> NotBought {
    NotBought { error: Box::new(error), tried: Vec::new() }
}

async fn join(task: JoinHandle<Result<Answered, NotBought>>) -> Result<Answered, NotBought> {
    task.await.unwrap_or_else(|error| Err(own(ClientError::Usage(format!("the proxy's task ended: {error}")))))
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
struct ReceiverStream(mpsc::Receiver<Item>);

type Item = Result<Frame<Bytes>, std::io::Error>;

impl futures_core::Stream for ReceiverStream {
    type Item = Item;

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
