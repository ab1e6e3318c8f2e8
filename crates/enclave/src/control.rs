//! The control connection: requests in both directions over one framed stream, matched by id (spec/link.md).
//!
//! [`HostPort`] is how the rest of the enclave asks the host for something. A new control connection supersedes the old one (the host
//! restarted); whatever was in flight then fails with [`AskError::LinkLost`], which means *unknown*, never *no*. Which answer belongs to
//! which question, and how many may wait, is `candor_link::Calls`.
//! Trust: everything the host answers is unbelieved; each caller says what a lie would cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candor_link::{
    Calls, EnclaveEvent, EnclaveReply, EnclaveRequest, FrameDecoder, FrameError, HostReply, HostRequest, LogEvent, Lost, NotBegun, Phase,
    RefusalCode, Refused, ToEnclave, ToHost,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use crate::events::Events;

/// Frames waiting to be written at most.
const OUTBOX: usize = 256;

/// Why the host gave no answer that can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub(crate) enum AskError {
    /// No connection, or it broke while waiting: what was asked may or may not have happened.
    LinkLost,
    /// No answer in time: unknown as well.
    TimedOut,
    /// Too many requests in flight.
    Busy,
    /// Longer than a frame: it was not sent.
    TooLong(FrameError),
    /// The host understood and did not do it.
    Refused(Refused),
}

impl From<NotBegun> for AskError {
    fn from(error: NotBegun) -> Self {
        match error {
            NotBegun::Lost => Self::LinkLost,
            NotBegun::TooMany => Self::Busy,
        }
    }
}

impl From<Lost> for AskError {
    fn from(_: Lost) -> Self {
        Self::LinkLost
    }
}

/// The way to the host. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct HostPort(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // Guards the current connection; held for moments, never across an await.
    current: Mutex<Option<Connection>>,
    // Number of the newest connection; zero before the first.
    newest: watch::Sender<u64>,
    events: Events,
}

/// Our side of one control connection.
#[derive(Clone, Debug)]
struct Connection {
    number: u64,
    outbox: mpsc::Sender<Vec<u8>>,
    calls: Calls<HostReply>,
}

impl HostPort {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { current: Mutex::default(), newest: watch::Sender::new(0), events: Events::default() }))
    }

    /// Counts control connections: changes when the host reconnects.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// Asks the host and waits for its answer. A caller that is dropped, with its client's connection, leaves nothing behind.
    pub(crate) async fn request(&self, request: EnclaveRequest, timeout: Duration) -> Result<HostReply, AskError> {
        let connection = self.lock().clone().ok_or(AskError::LinkLost)?;
        let call = connection.calls.begin()?;
        let frame = ToHost::Request { id: call.id(), request }.encode().map_err(AskError::TooLong)?;
        let exchange = async {
            connection.outbox.send(frame).await.map_err(|_| AskError::LinkLost)?;
            match call.await? {
                HostReply::Refused(refused) => Err(AskError::Refused(refused)),
                reply => Ok(reply),
            }
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(AskError::TimedOut))
    }

    /// Where what happens is noted for the operator.
    pub(crate) fn events(&self) -> &Events {
        &self.0.events
    }

    /// Tells the operator what is noted, for ever.
    pub(crate) async fn tell_events(self) {
        let events = self.0.events.clone();
        events.run(move |event| self.tell(event)).await;
    }

    /// False if there is no host, or it has enough to read.
    fn tell(&self, event: &LogEvent) -> bool {
        let Some(connection) = self.lock().clone() else { return false };
        ToHost::Log(event.clone()).encode().is_ok_and(|frame| connection.outbox.try_send(frame).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A panic while holding the lock leaves a whole connection or none.
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a connection the current one. Calls over the one before are lost, and who serves it is told by the higher number.
    fn attach(&self, outbox: mpsc::Sender<Vec<u8>>) -> Connection {
        let (connection, older) = {
            let mut current = self.lock();
            // Counted under the lock: of two connections that begin at once, the one that stays current has the higher number. Otherwise
            // both could end: the current one as superseded, the other as closed by its host.
            let number = self.0.newest.borrow().saturating_add(1);
            self.0.newest.send_replace(number);
            let connection = Connection { number, outbox, calls: Calls::new() };
            (connection.clone(), current.replace(connection))
        };
        if let Some(older) = older {
            older.calls.end();
            self.events().note(EnclaveEvent::LinkSuperseded);
        }
        connection
    }

    /// Ends a connection, which may be superseded already.
    fn detach(&self, connection: &Connection) {
        let ended = self.lock().take_if(|current| current.number == connection.number);
        drop(ended);
        connection.calls.end();
    }
}

/// What answers the host's requests.
pub(crate) trait Commands: Send + Sync + 'static {
    /// Where the boot stands. Must not block: it is asked on an async worker.
    fn phase(&self) -> Phase;
    /// One request; may block for as long as a model load takes.
    fn handle(&self, request: HostRequest) -> EnclaveReply;
    /// There is a newer block.
    fn head(&self, head: candor_link::BlockHead);
}

/// Serves one control connection until it ends, or a newer one supersedes it (spec/link.md LINK-5).
pub(crate) async fn serve<S>(stream: S, port: HostPort, commands: Arc<dyn Commands>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let (outbox, mut outgoing) = mpsc::channel::<Vec<u8>>(OUTBOX);
    // The welcome goes first, before any request of ours can be queued.
    let Ok(welcome) = ToHost::Welcome(commands.phase()).encode() else { return };
    if outbox.try_send(welcome).is_err() {
        return;
    }
    let connection = port.attach(outbox);
    let write = tokio::spawn(async move {
        while let Some(frame) = outgoing.recv().await {
            if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
    });
    let mut newest = port.connections();
    tokio::select! {
        // Also in the middle of a command or of a frame that the old host does not take: what was in flight is neither done nor undone.
        _ = newest.wait_for(|newest| connection.number < *newest) => {}
        () = read(reader, &connection, &commands) => {}
    }
    port.detach(&connection);
    write.abort();
}

/// Reads messages and acts on them until the connection ends or says what is no message.
async fn read(mut reader: impl AsyncRead + Unpin, connection: &Connection, commands: &Arc<dyn Commands>) {
    let mut decoder = FrameDecoder::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        decoder.push(buffer.get(..read).unwrap_or_default());
        loop {
            match decoder.next_frame() {
                Ok(Some(payload)) => match ToEnclave::parse(&payload) {
                    Ok(message) => dispatch(message, connection, commands).await,
                    Err(_) => return,
                },
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

async fn dispatch(message: ToEnclave, connection: &Connection, commands: &Arc<dyn Commands>) {
    match message {
        ToEnclave::Reply { id, reply } => connection.calls.answer(id, reply),
        ToEnclave::HeadUpdate(head) => commands.head(head),
        // In order and one at a time: model parts of one model must not overtake each other. The boot is the only heavy user.
        ToEnclave::Request { id, request } => {
            let commands = Arc::clone(commands);
            let reply = tokio::task::spawn_blocking(move || commands.handle(request)).await;
            let reply = reply.unwrap_or_else(|_| EnclaveReply::Refused(Refused::new(RefusalCode::Internal, "the command panicked")));
            let too_long = |error: FrameError| {
                let reply = EnclaveReply::Refused(Refused::new(RefusalCode::Internal, error.to_string()));
                ToHost::Reply { id, reply }.encode()
            };
            // A refusal always fits; without one the host would wait for ever.
            if let Ok(frame) = (ToHost::Reply { id, reply }).encode().or_else(too_long) {
                drop(connection.outbox.send(frame).await);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candor_link::{AppendRequest, BlockHead, EVIDENCE_MAX, LoggedReceipt, MAX_FRAME, MAX_FRAME_HASHES};
    use candor_verify::{Hash32, Signature65};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Answers `Ping` with more bytes than a frame has.
    struct Verbose;

    impl Commands for Verbose {
        fn phase(&self) -> Phase {
            Phase::AwaitingTerms
        }

        fn handle(&self, _: HostRequest) -> EnclaveReply {
            EnclaveReply::Evidence(vec![0; MAX_FRAME + EVIDENCE_MAX])
        }

        fn head(&self, _: BlockHead) {}
    }

    /// The next frame that the enclave sends.
    async fn next(stream: &mut tokio::io::DuplexStream, decoder: &mut FrameDecoder) -> ToHost {
        let mut buffer = vec![0; 4096];
        loop {
            if let Some(frame) = decoder.next_frame().unwrap() {
                return ToHost::parse(&frame).unwrap();
            }
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("a frame in time").unwrap();
            decoder.push(&buffer[..read]);
        }
    }

    #[tokio::test]
    async fn what_is_longer_than_a_frame_is_an_error_for_whoever_waits_and_the_connection_goes_on() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let port = HostPort::new();
        tokio::spawn(serve(ours, port.clone(), Arc::new(Verbose)));
        let mut decoder = FrameDecoder::new();
        assert!(matches!(next(&mut theirs, &mut decoder).await, ToHost::Welcome(Phase::AwaitingTerms)));

        let entry = LoggedReceipt {
            leaf_data: Hash32::ZERO,
            receipt_id: [0; 16],
            receipt: [0; LoggedReceipt::RECEIPT_LEN],
            signature: Signature65([0; 65]),
            frame_leaf_hashes: vec![Hash32::ZERO; MAX_FRAME_HASHES],
        };
        let append = EnclaveRequest::Append(AppendRequest { first_index: 0, entries: vec![entry; 8] });
        let refused = port.request(append, PATIENCE).await.unwrap_err();
        assert!(matches!(refused, AskError::TooLong(FrameError::TooLong { limit: MAX_FRAME, .. })), "{refused:?}");

        // A reply likewise.
        theirs.write_all(&ToEnclave::Request { id: 7, request: HostRequest::Ping }.encode().unwrap()).await.unwrap();
        let ToHost::Reply { id: 7, reply: EnclaveReply::Refused(refused) } = next(&mut theirs, &mut decoder).await else {
            panic!("a refusal was expected")
        };
        assert_eq!(refused.code, RefusalCode::Internal);

        // And the connection still carries what fits.
        let asked = tokio::spawn(async move { port.request(EnclaveRequest::Head, PATIENCE).await });
        let ToHost::Request { id, request: EnclaveRequest::Head } = next(&mut theirs, &mut decoder).await else { panic!("a question") };
        let head = BlockHead::default();
        theirs.write_all(&ToEnclave::Reply { id, reply: HostReply::Head(head) }.encode().unwrap()).await.unwrap();
        assert_eq!(asked.await.unwrap(), Ok(HostReply::Head(head)));
    }

    #[tokio::test]
    async fn a_newer_control_connection_ends_the_older_one() {
        let (port, mut decoder) = (HostPort::new(), FrameDecoder::new());
        let (ours, mut older) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(serve(ours, port.clone(), Arc::new(Verbose)));
        assert!(matches!(next(&mut older, &mut decoder).await, ToHost::Welcome(_)));
        let asking = port.clone();
        let asked = tokio::spawn(async move { asking.request(EnclaveRequest::Head, PATIENCE).await });
        assert!(matches!(next(&mut older, &mut decoder).await, ToHost::Request { .. }));
        let (ours, mut newer) = tokio::io::duplex(1 << 16);
        tokio::spawn(serve(ours, port.clone(), Arc::new(Verbose)));
        assert!(matches!(next(&mut newer, &mut FrameDecoder::new()).await, ToHost::Welcome(_)));

        tokio::time::timeout(PATIENCE, serving).await.expect("it ends").unwrap();
        assert_eq!(asked.await.unwrap(), Err(AskError::LinkLost));
        let ended = tokio::time::timeout(PATIENCE, older.read(&mut [0; 16])).await.expect("it is closed").unwrap();
        assert_eq!(ended, 0);
        // And the newer one is served.
        newer.write_all(&ToEnclave::Request { id: 7, request: HostRequest::Ping }.encode().unwrap()).await.unwrap();
        assert!(matches!(next(&mut newer, &mut decoder).await, ToHost::Reply { id: 7, .. }));
    }
}
