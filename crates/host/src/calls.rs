//! What the host says to the enclave over one control connection: its calls, its answers, the newest block.
//!
//! Which answer belongs to which call, and how many may wait, is `candor_link::Calls`. Spec: link.md §4.
//! Not here: the connection itself (`control`), when to call for what (`boot`), what to answer (`answer`).

use std::fmt;
use std::time::Duration;

use candor_link::{BlockHead, Calls, EnclaveReply, HostReply, HostRequest, Lost, NotBegun, RefusalCode, Refused, ToEnclave};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Why a call to the enclave gave nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum CallError {
    /// The connection ended.
    Lost,
    /// Too many calls wait for the enclave already.
    TooMany,
    /// No answer in time.
    Timeout,
    /// It answered no.
    Refused(Refused),
    /// It answered something else.
    Unexpected,
    /// The message fits no frame: it was not sent.
    TooLong,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection to the enclave ended"),
            Self::TooMany => f.write_str("too many calls wait for the enclave"),
            Self::Timeout => f.write_str("the enclave did not answer in time"),
            Self::Refused(refused) => write!(f, "the enclave refused: {refused}"),
            Self::Unexpected => f.write_str("the enclave answered something else than was asked"),
            Self::TooLong => f.write_str("a message to the enclave is longer than a frame"),
        }
    }
}

impl From<NotBegun> for CallError {
    fn from(error: NotBegun) -> Self {
        match error {
            NotBegun::Lost => Self::Lost,
            NotBegun::TooMany => Self::TooMany,
        }
    }
}

impl From<Lost> for CallError {
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

/// Our side of one control connection. A clone is the same connection.
#[derive(Clone)]
pub(crate) struct Link {
    outgoing: mpsc::Sender<Vec<u8>>,
    calls: Calls<EnclaveReply>,
}

impl Link {
    /// Frames go into `outgoing`, in the order of the calls.
    pub(crate) fn new(outgoing: mpsc::Sender<Vec<u8>>) -> Self {
        Self { outgoing, calls: Calls::new() }
    }

    /// Asks the enclave and waits for its answer. A caller that is dropped leaves nothing behind.
    pub(crate) async fn call(&self, request: HostRequest, within: Duration) -> Result<EnclaveReply, CallError> {
        let call = self.calls.begin()?;
        let exchange = async {
            self.send(&ToEnclave::Request { id: call.id(), request }).await?;
            match call.await? {
                EnclaveReply::Refused(refused) => Err(CallError::Refused(refused)),
                reply => Ok(reply),
            }
        };
        timeout(within, exchange).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Hands in what the enclave answered.
    pub(crate) fn answered(&self, id: u64, reply: EnclaveReply) {
        self.calls.answer(id, reply);
    }

    /// The connection is over: whoever waits for an answer has lost it.
    pub(crate) fn end(&self) {
        self.calls.end();
    }

    /// Answers the enclave.
    pub(crate) async fn reply(&self, id: u64, reply: HostReply) -> Result<(), CallError> {
        match self.send(&ToEnclave::Reply { id, reply }).await {
            // The paths of thousands of leaves at once: the enclave asks for fewer.
            Err(CallError::TooLong) => {
                let refused = Refused::new(RefusalCode::Malformed, "the answer is longer than a frame");
                self.send(&ToEnclave::Reply { id, reply: HostReply::Refused(refused) }).await
            }
            other => other,
        }
    }

    /// Tells the enclave of a newer block.
    pub(crate) async fn head(&self, head: BlockHead) -> Result<(), CallError> {
        self.send(&ToEnclave::HeadUpdate(head)).await
    }

    async fn send(&self, message: &ToEnclave) -> Result<(), CallError> {
        let frame = message.encode().map_err(|_too_long| CallError::TooLong)?;
        self.outgoing.send(frame).await.map_err(|_| CallError::Lost)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use candor_link::{FrameDecoder, MAX_IN_FLIGHT};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(600);

    /// Runs a call until its request is out and it waits for the answer.
    async fn sent(mut call: Pin<&mut impl Future<Output = Result<EnclaveReply, CallError>>>, frames: &mut mpsc::Receiver<Vec<u8>>) -> u64 {
        // Channels of tokio make a task wait that does not pause by itself for a hundred steps.
        tokio::task::yield_now().await;
        let polled = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        assert_eq!(polled, Poll::Pending);
        let mut decoder = FrameDecoder::new();
        decoder.push(&frames.try_recv().unwrap());
        match ToEnclave::parse(&decoder.next_frame().unwrap().unwrap()).unwrap() {
            ToEnclave::Request { id, request: HostRequest::Ping } => id,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_caller_that_is_dropped_leaves_nothing_behind() {
        let (outgoing, mut frames) = mpsc::channel(1);
        let link = Link::new(outgoing);
        // More than may be in flight, so that one that stayed would be in the way of the last.
        for _ in 0..=MAX_IN_FLIGHT {
            let mut call = Box::pin(link.call(HostRequest::Ping, PATIENCE));
            let id = sent(call.as_mut(), &mut frames).await;
            assert_eq!(link.calls.in_flight(), 1);
            drop(call);
            assert_eq!(link.calls.in_flight(), 0);
            link.answered(id, EnclaveReply::Done);
        }
        let mut call = Box::pin(link.call(HostRequest::Ping, PATIENCE));
        let id = sent(call.as_mut(), &mut frames).await;
        link.answered(id, EnclaveReply::Done);
        assert_eq!(call.await, Ok(EnclaveReply::Done));
        assert_eq!(link.calls.in_flight(), 0);
    }

    #[tokio::test]
    async fn calls_are_bounded_and_all_of_them_are_lost_with_the_connection() {
        let (outgoing, mut frames) = mpsc::channel(1);
        let link = Link::new(outgoing);
        let mut calls: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| Box::pin(link.call(HostRequest::Ping, PATIENCE))).collect();
        for call in &mut calls {
            sent(call.as_mut(), &mut frames).await;
        }
        assert_eq!(link.call(HostRequest::Ping, PATIENCE).await, Err(CallError::TooMany));
        link.end();
        for call in calls {
            assert_eq!(call.await, Err(CallError::Lost));
        }
        assert_eq!(link.call(HostRequest::Ping, PATIENCE).await, Err(CallError::Lost));
    }
}
