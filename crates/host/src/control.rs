//! The control connection: dialled, kept, and dialled again; frames in both directions.
//!
//! ```text
//! session ── Hello ─▶            reads: replies to our `calls`, requests to `answer`
//!         ◀─ Welcome ──          drives: `boot`, then registration, heads and attestations
//! ```
//!
//! When the connection ends, what was in flight is neither done nor undone: the store keeps what was queued, and the enclave asks
//! `LogState` and offers again (link.md §7). Spec: link.md.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use candor_link::{EnclaveRequest, FrameDecoder, Hello, HostReply, MAX_IN_FLIGHT, Phase, RefusalCode, Refused, Role, ToHost};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::boot::DriveError;
use crate::calls::{CallError, Link};
use crate::notice::Notice;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::{answer, boot};

/// Frames that may wait to be written; beyond it answers wait, which is back-pressure.
const OUTGOING: usize = 256;

/// Bytes read at a time.
const BUFFER: usize = 64 << 10;

/// Time for the enclave to say where it stands.
const WELCOME: Duration = Duration::from_secs(10);

/// Dials that may fail in silence before the first success: host and enclave start together, and the enclave makes its socket when it
/// is ready. The pause between dials grows, so these take some seconds.
const QUIET_DIALS: u32 = 4;

/// Why a slot is driven no more.
pub(crate) enum Over {
    /// The host stops.
    Stopped,
    /// The slot is gone.
    SlotEnded,
    /// The enclave refuses what this host has to offer, and would again.
    Refused(Refused),
}

/// Keeps a control connection to the enclave of a slot.
pub(crate) async fn run(shared: &Arc<Shared>, slot: &Arc<Slot>, mut stopped: watch::Receiver<bool>) -> Over {
    let (mut attempts, mut ended) = (Attempts::default(), slot.ended.subscribe());
    loop {
        let session = tokio::select! {
            session = session(shared, slot) => session,
            _ = stopped.changed() => return Over::Stopped,
            _ = ended.wait_for(|ended| *ended) => return Over::SlotEnded,
        };
        shared.set_current(slot, None);
        slot.set_link(None);
        slot.update(|status| (status.phase, status.is_registered) = ("enclave not connected", false));
        let reason = match session.ended {
            Ended::Lost(reason) => reason,
            Ended::Refused(refused) => {
                shared.trouble("enclave", CallError::Refused(refused.clone()).to_string());
                return Over::Refused(refused);
            }
        };
        if let Some(news) = attempts.ended(session.reached, reason) {
            shared.notice(&news);
        }
        tokio::select! {
            () = tokio::time::sleep(attempts.pause(shared.config.timing.retry)) => {}
            _ = stopped.changed() => return Over::Stopped,
            _ = ended.wait_for(|ended| *ended) => return Over::SlotEnded,
        }
    }
}

/// The connections until now: how many failed since the enclave last served, and what the operator was told of them.
#[derive(Debug, Default)]
struct Attempts {
    failures: u32,
    // An enclave that was never there cannot be lost.
    was_there: bool,
    told: String,
}

impl Attempts {
    /// Takes note of how far a connection came and why it ended. Gives what the operator is to be told: a loss always, other reasons once
    /// and not per attempt.
    fn ended(&mut self, reached: Reached, reason: String) -> Option<Notice> {
        self.was_there |= Reached::Nothing < reached;
        if reached == Reached::Service {
            self.failures = 0;
        }
        if self.was_there && self.failures == 0 {
            self.told.clear();
            return Some(Notice::EnclaveLost { reason });
        }
        let is_start = !self.was_there && self.failures < QUIET_DIALS;
        if is_start || self.told == reason {
            return None;
        }
        self.told.clone_from(&reason);
        Some(Notice::Trouble { part: "enclave", message: reason })
    }

    /// Time until the next dial: doubles with each failure, up to 64 times `retry`.
    fn pause(&mut self, retry: Duration) -> Duration {
        let pause = retry.saturating_mul(1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// What became of one connection.
struct Session {
    reached: Reached,
    ended: Ended,
}

/// How far a connection came.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Reached {
    /// The enclave did not say where it stands.
    Nothing,
    /// It did.
    Welcome,
    /// It served.
    Service,
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

/// One connection from hello to end.
async fn session(shared: &Arc<Shared>, slot: &Arc<Slot>) -> Session {
    let (mut reader, writer, phase) = match timeout(WELCOME, dial(slot)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Session { reached: Reached::Nothing, ended: Ended::Lost(error.to_string()) },
        Err(_) => {
            let reason = "the enclave did not say where it stands".to_owned();
            return Session { reached: Reached::Nothing, ended: Ended::Lost(reason) };
        }
    };
    shared.notice(&Notice::EnclaveConnected);
    shared.clear_trouble("enclave");
    let (outgoing, frames) = mpsc::channel(OUTGOING);
    let link = Link::new(outgoing);
    // Dropped, and so ended, with this session; what must not be cut short is spawned on its own (see `take`).
    let mut tasks = JoinSet::new();
    // One future for all of the session: a request that was read is taken whole, also when the enclave comes into service meanwhile.
    let mut carry = pin!(async {
        tokio::select! {
            ended = read(shared, slot, &link, &mut reader, &mut tasks) => ended,
            error = write(writer, frames) => format!("writing to the enclave: {error}"),
        }
    });
    let booted = tokio::select! {
        reason = carry.as_mut() => Err(Ended::Lost(reason)),
        booted = boot::bring_into_service(shared, slot, &link, phase) => booted.map_err(Ended::from),
    };
    let session = match booted {
        Err(ended) => Session { reached: Reached::Welcome, ended },
        Ok(ready) => {
            let ended = tokio::select! {
                reason = carry.as_mut() => Ended::Lost(reason),
                error = boot::keep_in_service(shared, slot, &link, ready) => error.into(),
            };
            Session { reached: Reached::Service, ended }
        }
    };
    link.end();
    session
}

async fn dial(slot: &Slot) -> io::Result<(Frames, OwnedWriteHalf, Phase)> {
    let stream = UnixStream::connect(&slot.boot.enclave_socket).await?;
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

async fn read(shared: &Arc<Shared>, slot: &Arc<Slot>, link: &Link, frames: &mut Frames, tasks: &mut JoinSet<()>) -> String {
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
            ToHost::Reply { id, reply } => link.answered(id, reply),
            ToHost::Welcome(_) => return "it sent a second welcome".to_owned(),
            // For an operator who looks; nothing is decided by it.
            ToHost::Log(event) => shared.notice(&Notice::Enclave(event)),
            ToHost::Request { id, request } => {
                let Ok(permit) = Arc::clone(&in_flight).try_acquire_owned() else {
                    let refused = Refused::new(RefusalCode::TooMany, format!("more than {MAX_IN_FLIGHT} requests in flight"));
                    if link.reply(id, HostReply::Refused(refused)).await.is_err() {
                        return CallError::Lost.to_string();
                    }
                    continue;
                };
                take((shared, slot), link, id, request, permit, tasks).await;
            }
        }
    }
}

/// Starts the answer to one request. Writes to the log enter the store's queue here, in the order in which they came (LINK-8).
async fn take(
    (shared, slot): (&Arc<Shared>, &Arc<Slot>),
    link: &Link,
    id: u64,
    request: EnclaveRequest,
    permit: tokio::sync::OwnedSemaphorePermit,
    tasks: &mut JoinSet<()>,
) {
    let (shared, slot, link) = (Arc::clone(shared), Arc::clone(slot), link.clone());
    match request {
        EnclaveRequest::Append(append) => {
            let charged = if shared.config.anchor_value.is_some() { slot.charged(&append.entries) } else { 0 };
            let queued = answer::queue_append(&shared, &slot, append).await;
            tasks.spawn(async move {
                let reply = answer::appended(&shared, queued).await;
                if matches!(reply, HostReply::Appended { .. }) {
                    slot.count(charged);
                }
                let _connection_gone = link.reply(id, reply).await;
                drop(permit);
            });
        }
        EnclaveRequest::Checkpoint(checkpoint) => {
            let queued = answer::queue_checkpoint(&shared, &slot, checkpoint).await;
            // On its own and not in `tasks`: once durable its intents must reach the settler, whatever becomes of this connection.
            tokio::spawn(async move {
                let reply = answer::checkpoint_stored(&shared, queued).await;
                shared.anchor_if_worth_it(&slot);
                let _connection_gone = link.reply(id, reply).await;
                drop(permit);
            });
        }
        other => {
            tasks.spawn(async move {
                let reply = answer::answer(&shared, &slot, other).await;
                let _connection_gone = link.reply(id, reply).await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(reason: &str) -> Option<Notice> {
        Some(Notice::EnclaveLost { reason: reason.to_owned() })
    }

    fn trouble(message: &str) -> Option<Notice> {
        Some(Notice::Trouble { part: "enclave", message: message.to_owned() })
    }

    #[test]
    fn the_operator_is_told_of_a_loss_each_time_and_of_other_reasons_once() {
        let mut attempts = Attempts::default();
        let retry = Duration::from_millis(10);
        let mut ended = |reached, reason: &str| {
            let news = attempts.ended(reached, reason.to_owned());
            (news, attempts.pause(retry).as_millis())
        };
        // Host and enclave start together: the first dials may fail in silence.
        for pause in [10, 20, 40, 80] {
            assert_eq!(ended(Reached::Nothing, "no socket"), (None, pause));
        }
        assert_eq!(ended(Reached::Nothing, "no socket"), (trouble("no socket"), 160));
        assert_eq!(ended(Reached::Nothing, "no socket"), (None, 320));
        assert_eq!(ended(Reached::Welcome, "no model file"), (trouble("no model file"), 640));
        assert_eq!(ended(Reached::Welcome, "no model file"), (None, 640));
        assert_eq!(ended(Reached::Service, "closed"), (lost("closed"), 10));
        assert_eq!(ended(Reached::Nothing, "refused"), (trouble("refused"), 20));
        assert_eq!(ended(Reached::Nothing, "refused"), (None, 40));
        // A loss begins again: also the same reason is news.
        assert_eq!(ended(Reached::Service, "closed"), (lost("closed"), 10));
        assert_eq!(ended(Reached::Nothing, "refused"), (trouble("refused"), 20));
    }

    #[test]
    fn an_enclave_that_was_there_at_the_first_dial_is_lost_without_delay() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.ended(Reached::Welcome, "closed".to_owned()), lost("closed"));
    }
}
