//! The control connection: requests in both directions over one framed stream, matched by id (spec/link.md).
//!
//! [`HostPort`] is how the rest of the enclave asks the host for something. A new control connection supersedes the old one (the host
//! restarted); whatever was in flight then fails with [`HostError::LinkLost`], which means *unknown*, never *no*.
//! Trust: everything the host answers is unbelieved; each caller says what a lie would cost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candor_link::{EnclaveReply, EnclaveRequest, FrameDecoder, HostReply, HostRequest, Phase, RefusalCode, Refused, ToEnclave, ToHost};
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
    outbox: Option<mpsc::Sender<ToHost>>,
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
            outbox.send(ToHost::Request { id, request }).await.map_err(|_| HostError::LinkLost)?;
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

    fn attach(&self, outbox: mpsc::Sender<ToHost>) -> u64 {
        let generation = {
            let mut link = self.lock();
            link.generation = link.generation.saturating_add(1);
            link.outbox = Some(outbox);
            // Dropping the senders wakes every waiter with LinkLost.
            link.waiting.clear();
            link.generation
        };
        self.0.generation.send_replace(generation);
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
    /// Where the boot stands.
    fn phase(&self) -> Phase;
    /// One request; may block for as long as a model load takes.
    fn handle(&self, request: HostRequest) -> EnclaveReply;
    /// There is a newer block.
    fn head(&self, head: candor_link::BlockHead);
}

/// Serves one control connection until it ends.
pub(crate) async fn serve<S>(stream: S, port: HostPort, commands: Arc<dyn Commands>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (outbox, mut outgoing) = mpsc::channel::<ToHost>(OUTBOX);
    // The welcome goes first, before any request of ours can be queued.
    if outbox.try_send(ToHost::Welcome(commands.phase())).is_err() {
        return;
    }
    let generation = port.attach(outbox.clone());
    let write = tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            let Ok(bytes) = message.encode() else { continue };
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
    });
    let mut decoder = FrameDecoder::new();
    let mut buffer = vec![0; 64 * 1024];
    'connection: loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        decoder.push(buffer.get(..read).unwrap_or_default());
        loop {
            match decoder.next_frame() {
                Ok(Some(payload)) => match ToEnclave::parse(&payload) {
                    Ok(message) => dispatch(message, &port, &commands, &outbox).await,
                    Err(_) => break 'connection,
                },
                Ok(None) => break,
                Err(_) => break 'connection,
            }
        }
    }
    port.detach(generation);
    write.abort();
}

async fn dispatch(message: ToEnclave, port: &HostPort, commands: &Arc<dyn Commands>, outbox: &mpsc::Sender<ToHost>) {
    match message {
        ToEnclave::Reply { id, reply } => port.deliver(id, reply),
        ToEnclave::HeadUpdate(head) => commands.head(head),
        // In order and one at a time: model parts of one model must not overtake each other. The boot is the only heavy user.
        ToEnclave::Request { id, request } => {
            let commands = Arc::clone(commands);
            let reply = tokio::task::spawn_blocking(move || commands.handle(request)).await;
            let reply = reply.unwrap_or_else(|_| EnclaveReply::Refused(Refused::new(RefusalCode::Internal, "the command panicked")));
            drop(outbox.send(ToHost::Reply { id, reply }).await);
        }
    }
}
