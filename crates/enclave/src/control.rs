//! The control connection: requests in both directions over one framed stream, matched by id (spec/link.md).
//!
//! [`HostPort`] is how the rest of the enclave asks the host for something. A new control connection supersedes the old one (the host
//! restarted); whatever was in flight then fails with [`HostError::LinkLost`], which means *unknown*, never *no*.
//! Trust: everything the host answers is unbelieved; each caller says what a lie would cost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candor_link::{
    EnclaveReply, EnclaveRequest, FrameDecoder, FrameError, HostReply, HostRequest, Phase, RefusalCode, Refused, ToEnclave, ToHost,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

/// Requests of ours in flight at most; more are refused at once.
const IN_FLIGHT_MAX: usize = 4096;

/// Frames waiting to be written at most.
const OUTBOX: usize = 256;

/// Why the host gave no answer that can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub(crate) enum HostError {
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

/// The way to the host. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct HostPort(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next_id: AtomicU64,
    // Guards the current connection; held only to insert or remove, never across an await.
    link: Mutex<Link>,
    generation: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Link {
    generation: u64,
    outbox: Option<mpsc::Sender<Vec<u8>>>,
    waiting: HashMap<u64, oneshot::Sender<HostReply>>,
}

impl HostPort {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { next_id: AtomicU64::new(1), link: Mutex::default(), generation: watch::Sender::new(0) }))
    }

    /// Counts control connections: changes when the host reconnects.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        self.0.generation.subscribe()
    }

    /// Asks the host and waits for its answer.
    pub(crate) async fn request(&self, request: EnclaveRequest, timeout: Duration) -> Result<HostReply, HostError> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = ToHost::Request { id, request }.encode().map_err(HostError::TooLong)?;
        let (sender, receiver) = oneshot::channel();
        let outbox = {
            let mut link = self.lock();
            let outbox = link.outbox.clone().ok_or(HostError::LinkLost)?;
            if IN_FLIGHT_MAX <= link.waiting.len() {
                return Err(HostError::Busy);
            }
            link.waiting.insert(id, sender);
            outbox
        };
        // Whoever waits may be dropped with its client's connection: its entry must go with it.
        let _entry = Entry { port: self, id };
        let exchange = async {
            outbox.send(frame).await.map_err(|_| HostError::LinkLost)?;
            receiver.await.map_err(|_| HostError::LinkLost)
        };
        let result = tokio::time::timeout(timeout, exchange).await;
        match result {
            Ok(Ok(HostReply::Refused(refused))) => Err(HostError::Refused(refused)),
            Ok(result) => result,
            Err(_) => Err(HostError::TimedOut),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Link> {
        // A panic while holding the lock leaves the map usable: entries are only ever inserted or removed whole.
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attach(&self, outbox: mpsc::Sender<Vec<u8>>) -> u64 {
        let generation = {
            let mut link = self.lock();
            link.generation = link.generation.saturating_add(1);
            link.outbox = Some(outbox);
            // Dropping the senders wakes every waiter with LinkLost.
            link.waiting.clear();
            link.generation
        };
        // Two that come at once must not leave the older one's number.
        self.0.generation.send_modify(|newest| *newest = generation.max(*newest));
        generation
    }

    fn detach(&self, generation: u64) {
        let mut link = self.lock();
        if link.generation == generation {
            link.outbox = None;
            link.waiting.clear();
        }
    }

    fn deliver(&self, id: u64, reply: HostReply) {
        // An answer nobody waits for any more (it timed out) is dropped; an invented id likewise.
        if let Some(sender) = self.lock().waiting.remove(&id) {
            drop(sender.send(reply));
        }
    }
}

/// A request that waits for its answer.
struct Entry<'a> {
    port: &'a HostPort,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.port.lock().waiting.remove(&self.id);
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
    let generation = port.attach(outbox.clone());
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
        _ = newest.wait_for(|newest| generation < *newest) => {}
        () = read(reader, &port, &commands, &outbox) => {}
    }
    port.detach(generation);
    write.abort();
}

/// Reads messages and acts on them until the connection ends or says what is no message.
async fn read(mut reader: impl AsyncRead + Unpin, port: &HostPort, commands: &Arc<dyn Commands>, outbox: &mpsc::Sender<Vec<u8>>) {
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
                    Ok(message) => dispatch(message, port, commands, outbox).await,
                    Err(_) => return,
                },
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

async fn dispatch(message: ToEnclave, port: &HostPort, commands: &Arc<dyn Commands>, outbox: &mpsc::Sender<Vec<u8>>) {
    match message {
        ToEnclave::Reply { id, reply } => port.deliver(id, reply),
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
                drop(outbox.send(frame).await);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candor_link::{AppendRequest, BlockHead, Entry, MAX_EVIDENCE, MAX_FRAME, MAX_FRAME_HASHES, ToEnclave};
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
            EnclaveReply::Evidence(vec![0; MAX_FRAME + MAX_EVIDENCE])
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

        let entry = Entry {
            leaf_data: Hash32::ZERO,
            receipt_id: [0; 16],
            receipt: [0; Entry::RECEIPT_LEN],
            signature: Signature65([0; 65]),
            frame_leaf_hashes: vec![Hash32::ZERO; MAX_FRAME_HASHES],
        };
        let append = EnclaveRequest::Append(AppendRequest { first_index: 0, entries: vec![entry; 8] });
        let refused = port.request(append, PATIENCE).await.unwrap_err();
        assert!(matches!(refused, HostError::TooLong(FrameError::TooLong { limit: MAX_FRAME, .. })), "{refused:?}");

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
        let (ours, mut newer) = tokio::io::duplex(1 << 16);
        tokio::spawn(serve(ours, port.clone(), Arc::new(Verbose)));
        assert!(matches!(next(&mut newer, &mut FrameDecoder::new()).await, ToHost::Welcome(_)));

        tokio::time::timeout(PATIENCE, serving).await.expect("it ends").unwrap();
        let ended = tokio::time::timeout(PATIENCE, older.read(&mut [0; 16])).await.expect("it is closed").unwrap();
        assert_eq!(ended, 0);
        // And the newer one is served.
        newer.write_all(&ToEnclave::Request { id: 7, request: HostRequest::Ping }.encode().unwrap()).await.unwrap();
        assert!(matches!(next(&mut newer, &mut decoder).await, ToHost::Reply { id: 7, .. }));
    }
}
