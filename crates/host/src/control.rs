//! The control connection: dialled, kept, and dialled again; frames in both directions; requests matched with replies.
//!
//! ```text
//! session ── Hello ─▶            reads: replies to our calls, requests to `answer`
//!         ◀─ Welcome ──          drives: `boot`, then registration, heads and attestations
//! ```
//!
//! When the connection ends, what was in flight is neither done nor undone: the store keeps what was queued, and the enclave asks
//! `LogState` and offers again (link.md §7). Spec: link.md.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candor_link::{
    BlockHead, EnclaveReply, EnclaveRequest, FrameDecoder, Hello, HostReply, HostRequest, MAX_IN_FLIGHT, Phase, RefusalCode, Refused, Role,
    ToEnclave, ToHost,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::boot::DriveError;
use crate::node::Node;
use crate::notice::Notice;
use crate::{answer, boot};

/// Frames that may wait to be written; beyond it answers wait, which is back-pressure.
const OUTGOING: usize = 256;

/// Bytes read at a time.
const BUFFER: usize = 64 << 10;

/// Time for the enclave to say where it stands.
const WELCOME: Duration = Duration::from_secs(10);

/// Dials that may fail in silence before the first success: host and enclave start together, and the enclave makes its socket when it
/// is ready. With the growing pause between them, some seconds.
const QUIET_DIALS: u32 = 4;

/// Why a call to the enclave gave nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum CallError {
    /// The connection ended.
    Lost,
    /// No answer in time.
    Timeout,
    /// It answered no.
    Refused(Refused),
    /// It answered something else.
    Unexpected,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection to the enclave ended"),
            Self::Timeout => f.write_str("the enclave did not answer in time"),
            Self::Refused(refused) => write!(f, "the enclave refused: {refused}"),
            Self::Unexpected => f.write_str("the enclave answered something else than was asked"),
        }
    }
}

/// Our side of one control connection.
#[derive(Clone)]
pub(crate) struct Link {
    outgoing: mpsc::Sender<Vec<u8>>,
    // Calls that wait, by id. Guarded for moments; an entry goes with its answer or with the connection.
    pending: Arc<Mutex<HashMap<u64, oneshot::Sender<EnclaveReply>>>>,
    next_id: Arc<AtomicU64>,
}

impl Link {
    fn new(outgoing: mpsc::Sender<Vec<u8>>) -> Self {
        Self { outgoing, pending: Arc::default(), next_id: Arc::new(AtomicU64::new(1)) }
    }

    /// Asks the enclave and waits for its answer.
    pub(crate) async fn call(&self, request: HostRequest, within: Duration) -> Result<EnclaveReply, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(id, reply);
        let outcome = async {
            self.send(&ToEnclave::Request { id, request }).await?;
            match answer.await {
                Ok(EnclaveReply::Refused(refused)) => Err(CallError::Refused(refused)),
                Ok(reply) => Ok(reply),
                Err(_) => Err(CallError::Lost),
            }
        };
        let outcome = timeout(within, outcome).await.unwrap_or(Err(CallError::Timeout));
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        outcome
    }

    pub(crate) async fn reply(&self, id: u64, reply: HostReply) -> Result<(), CallError> {
        let message = ToEnclave::Reply { id, reply };
        match self.send(&message).await {
            // An answer that fits no frame: paths of thousands of leaves at once. The enclave asks for fewer.
            Err(CallError::Unexpected) => {
                let refused = Refused::new(RefusalCode::Malformed, "the answer is longer than a frame");
                self.send(&ToEnclave::Reply { id, reply: HostReply::Refused(refused) }).await
            }
            other => other,
        }
    }

    pub(crate) async fn head(&self, head: BlockHead) -> Result<(), CallError> {
        self.send(&ToEnclave::HeadUpdate(head)).await
    }

    async fn send(&self, message: &ToEnclave) -> Result<(), CallError> {
        let frame = message.encode().map_err(|_too_long| CallError::Unexpected)?;
        self.outgoing.send(frame).await.map_err(|_| CallError::Lost)
    }

    fn resolve(&self, id: u64, reply: EnclaveReply) {
        let waiting = self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(waiting) = waiting {
            // Whoever asked may have given up: LINK-6.
            let _given_up = waiting.send(reply);
        }
    }
}

/// Keeps a control connection until stopped, or until the enclave refuses what this host has to offer: then the refusal.
pub(crate) async fn run(node: Arc<Node>, mut stopped: watch::Receiver<bool>) -> Option<Refused> {
    let mut failures = 0_u32;
    let mut told = String::new();
    // An enclave that was never there cannot be lost.
    let mut was_there = false;
    loop {
        let ended = tokio::select! {
            ended = session(&node, &mut failures, &mut was_there) => ended,
            _ = stopped.changed() => return None,
        };
        node.current.send_replace(None);
        node.update(|status| (status.phase, status.is_registered) = ("enclave not connected", false));
        let ended = match ended {
            Ended::Lost(reason) => reason,
            Ended::Refused(refused) => {
                node.trouble("enclave", CallError::Refused(refused.clone()).to_string());
                return Some(refused);
            }
        };
        if failures == 0 && was_there {
            node.notice(&Notice::EnclaveLost { reason: ended });
        } else if ended != told && (was_there || QUIET_DIALS <= failures) {
            // Once per reason, and not per attempt.
            node.trouble("enclave", ended.clone());
            told = ended;
        }
        if failures == 0 {
            told.clear();
        }
        let pause = node.config.timing.retry.saturating_mul(1 << failures.min(6));
        failures = failures.saturating_add(1);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.changed() => return None,
        }
    }
}

/// Why a connection is over.
enum Ended {
    /// Another one is tried.
    Lost(String),
    /// The terms or a model is not one to boot with. Another connection would offer the same bytes, so there is none.
    Refused(Refused),
}

impl From<DriveError> for Ended {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Call(CallError::Refused(refused))
                if matches!(refused.code, RefusalCode::TermsRefused | RefusalCode::ModelRefused) =>
            {
                Self::Refused(refused)
            }
            other => Self::Lost(other.to_string()),
        }
    }
}

/// One connection from hello to end. Returns why it ended.
async fn session(node: &Arc<Node>, failures: &mut u32, was_there: &mut bool) -> Ended {
    let (mut reader, writer, phase) = match timeout(WELCOME, dial(node)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Ended::Lost(error.to_string()),
        Err(_) => return Ended::Lost("the enclave did not say where it stands".to_owned()),
    };
    *was_there = true;
    node.notice(&Notice::EnclaveConnected);
    node.clear_trouble("enclave");
    let (outgoing, frames) = mpsc::channel(OUTGOING);
    let link = Link::new(outgoing);
    // Dropped, and so ended, with this session; what must not be cut short is spawned on its own (see `answer`).
    let mut tasks = JoinSet::new();
    tokio::select! {
        ended = read(node, &link, &mut reader, &mut tasks) => Ended::Lost(ended),
        error = write(writer, frames) => Ended::Lost(format!("writing to the enclave: {error}")),
        reason = boot::drive(node, &link, phase, failures) => reason.into(),
    }
}

async fn dial(node: &Node) -> io::Result<(Frames, OwnedWriteHalf, Phase)> {
    let stream = UnixStream::connect(&node.config.enclave_socket).await?;
    let (read, mut write) = stream.into_split();
    write.write_all(&Hello { role: Role::Control }.encode()).await?;
    let mut frames = Frames { stream: read, decoder: FrameDecoder::new(), buffer: vec![0; BUFFER] };
    match frames.next().await? {
        Some(ToHost::Welcome(phase)) => Ok((frames, write, phase)),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the enclave did not begin with a welcome")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Frames of one connection.
struct Frames {
    stream: OwnedReadHalf,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl Frames {
    /// The next message; `None` at the end of the stream. Not safe to cancel in the middle of a frame's bytes, and never is: the session
    /// ends with it.
    async fn next(&mut self) -> io::Result<Option<ToHost>> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        loop {
            if let Some(payload) = self.decoder.next_frame().map_err(|error| invalid(error.to_string()))? {
                return ToHost::parse(&payload).map(Some).map_err(|error| invalid(error.to_string()));
            }
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Ok(None);
            }
            self.decoder.push(self.buffer.get(..read).unwrap_or_default());
        }
    }
}

async fn write(mut stream: OwnedWriteHalf, mut frames: mpsc::Receiver<Vec<u8>>) -> io::Error {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = stream.write_all(&frame).await {
            return error;
        }
    }
    io::ErrorKind::BrokenPipe.into()
}

async fn read(node: &Arc<Node>, link: &Link, frames: &mut Frames, tasks: &mut JoinSet<()>) -> String {
    let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    loop {
        // Joined as they end, so that the set does not grow.
        while tasks.try_join_next().is_some() {}
        let message = match frames.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return "it closed the connection".to_owned(),
            Err(error) => return error.to_string(),
        };
        match message {
            ToHost::Reply { id, reply } => link.resolve(id, reply),
            ToHost::Welcome(_) => return "it sent a second welcome".to_owned(),
            ToHost::Request { id, request } => {
                let Ok(permit) = Arc::clone(&in_flight).try_acquire_owned() else {
                    let refused = Refused::new(RefusalCode::TooMany, format!("more than {MAX_IN_FLIGHT} requests in flight"));
                    if link.reply(id, HostReply::Refused(refused)).await.is_err() {
                        return CallError::Lost.to_string();
                    }
                    continue;
                };
                take(node, link, id, request, permit, tasks).await;
            }
        }
    }
}

/// Starts the answer to one request. Writes to the log enter the store's queue here, in the order in which they came (LINK-8).
async fn take(
    node: &Arc<Node>,
    link: &Link,
    id: u64,
    request: EnclaveRequest,
    permit: tokio::sync::OwnedSemaphorePermit,
    tasks: &mut JoinSet<()>,
) {
    let (node, link) = (Arc::clone(node), link.clone());
    match request {
        EnclaveRequest::Append(append) => {
            let queued = answer::queue_append(&node, append).await;
            tasks.spawn(async move {
                let reply = answer::appended(queued).await;
                let _connection_gone = link.reply(id, reply).await;
                drop(permit);
            });
        }
        EnclaveRequest::Checkpoint(checkpoint) => {
            let queued = answer::queue_checkpoint(&node, checkpoint).await;
            // On its own and not in `tasks`: once durable its intents must reach the settler, whatever becomes of this connection.
            tokio::spawn(async move {
                let reply = answer::checkpoint_stored(&node, queued).await;
                let _connection_gone = link.reply(id, reply).await;
                drop(permit);
            });
        }
        other => {
            tasks.spawn(async move {
                let reply = answer::answer(&node, other).await;
                let _connection_gone = link.reply(id, reply).await;
                drop(permit);
            });
        }
    }
}
