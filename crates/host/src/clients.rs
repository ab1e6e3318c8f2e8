//! Carries clients' bytes: one TCP connection, one connection to the enclave, a copy in both directions, unchanged.
//!
//! TLS ends in the enclave, so what passes here is ciphertext. This file bounds what clients can make host and enclave hold: connections in
//! all and per address, idle time, half-open time. It looks at no byte, so it cannot see who pays: who has to go when the enclave is full is
//! decided there, by the [`Party`] that is told here, and a place is free here as soon as the enclave ends a connection.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candor_link::{Hello, Party, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::config::ClientLimits;
use crate::metrics::{HostCounts, Turned};
use crate::notice::{Notice, NoticeSink};
use crate::slot::Slot;

/// Bytes copied at a time and direction.
const BUFFER: usize = 16 << 10;

/// Connections that the enclave has ended and whose client may still take the last bytes. More are cut at once.
const LINGERING: usize = 256;

/// Where clients are led to: nowhere before the registration of a boot is in a block that stays, because what it sells could turn out to be
/// unprovable.
pub(crate) type Door = watch::Receiver<Option<Arc<Slot>>>;

/// A connection that leads to a slot's enclave, counted there.
struct Led(Arc<Slot>);

impl Led {
    fn to(slot: Arc<Slot>) -> Self {
        slot.connected();
        Self(slot)
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}

/// Accepts clients until stopped.
pub(crate) async fn serve(
    listener: TcpListener,
    door: Door,
    limits: ClientLimits,
    notices: NoticeSink,
    counts: Arc<HostCounts>,
    mut stopped: watch::Receiver<bool>,
) {
    let gate = Gate::new(&limits);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
            // Joined as they end, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Beyond a limit the connection is closed by dropping it: cheaper than an answer, and TLS has none to give.
                let pass = match gate.enter(peer) {
                    Ok(pass) => pass,
                    Err(why) => {
                        counts.turned(why);
                        continue;
                    }
                };
                let (door, counts) = (door.clone(), Arc::clone(&counts));
                connections.spawn(async move {
                    counts.connections.one();
                    let _open = Open(Arc::clone(&counts));
                    // Broken connections are clients' daily life and nobody's news.
                    let _outcome = carry(stream, door, &limits, pass, &counts).await;
                });
            }
            Err(error) => {
                // Out of file descriptors, for example: nothing is lost, and a loop without a pause would burn a core.
                notices(&Notice::Trouble { part: "clients", message: error.to_string() });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // On a stop, streams in flight are cut with the process; whoever stops gently stops the enclave first.
    connections.abort_all();
}

/// Whose connections are counted together: an IPv4 address, or the 64 bits of an IPv6 address that a provider gives to one customer, who
/// has every address below them.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A connection that is counted as open.
struct Open(Arc<HostCounts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_ended.one();
    }
}

/// Counts connections, in all and per customer. Also the log's (`http`).
pub(crate) struct Gate {
    total: Arc<Semaphore>,
    lingering: Arc<Semaphore>,
    // Guarded for the moment of one update; entries go when their count is zero.
    per_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max_per_address: usize,
    // Keyed anew by each process: the enclave is told who comes again, and not from where.
    parties: RandomState,
}

/// A connection that was let in. Leaves by being dropped.
#[must_use]
pub(crate) struct Pass {
    _permit: OwnedSemaphorePermit,
    lingering: Arc<Semaphore>,
    party: Party,
    address: IpAddr,
    per_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Gate {
    pub(crate) fn new(limits: &ClientLimits) -> Self {
        Self {
            total: Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS))),
            lingering: Arc::new(Semaphore::new(LINGERING)),
            per_address: Arc::default(),
            max_per_address: limits.max_per_address,
            parties: RandomState::new(),
        }
    }

    pub(crate) fn enter(&self, peer: SocketAddr) -> Result<Pass, Turned> {
        let permit = Arc::clone(&self.total).try_acquire_owned().map_err(|_| Turned::Full)?;
        let address = customer(peer.ip());
        let mut counts = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if self.max_per_address <= *count {
            return Err(Turned::Address);
        }
        *count += 1;
        drop(counts);
        let party = Party(self.parties.hash_one(address).to_be_bytes());
        Ok(Pass { _permit: permit, lingering: Arc::clone(&self.lingering), party, address, per_address: Arc::clone(&self.per_address) })
    }
}

impl Pass {
    /// Gives its place to the next, and stays among those that only wait for their last bytes; `None` if there are too many of them.
    fn linger(mut self) -> Option<Self> {
        self._permit = Arc::clone(&self.lingering).try_acquire_owned().ok()?;
        Some(self)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn carry(client: TcpStream, mut door: Door, limits: &ClientLimits, pass: Pass, counts: &HostCounts) -> io::Result<()> {
    client.set_nodelay(true)?;
    // A moment more may be all that is missing; whoever comes too early by more is let go.
    let open = timeout(limits.dial, door.wait_for(Option::is_some)).await.ok().and_then(|open| open.ok()?.clone());
    let Some(led) = open.map(Led::to) else {
        counts.turned(Turned::NotOpen);
        return Ok(());
    };
    let hello = Hello { role: Role::Client(pass.party) };
    let dial = async {
        let mut enclave = UnixStream::connect(&led.0.boot.enclave_socket).await?;
        enclave.write_all(&hello.encode()).await?;
        io::Result::Ok(enclave)
    };
    let Ok(Ok(enclave)) = timeout(limits.dial, dial).await else {
        counts.turned(Turned::Enclave);
        return Ok(());
    };
    let (mut client_read, client_write) = client.into_split();
    let (enclave_read, enclave_write) = enclave.into_split();
    both_ways((&mut client_read, client_write), (enclave_read, enclave_write), limits).await?;
    drop(led);
    // The client has its end. Closed while it still sends, the connection would be reset, and bytes on their way to it lost.
    if let Some(_pass) = pass.linger() {
        drop(timeout(limits.linger, swallow(client_read)).await);
    }
    Ok(())
}

/// Copies both directions until the enclave's has ended, one has broken, or nothing has moved for too long.
pub(crate) async fn both_ways<R1, W1, R2, W2>(client: (R1, W1), enclave: (R2, W2), limits: &ClientLimits) -> io::Result<()>
where
    R1: AsyncRead + Unpin,
    W1: AsyncWrite + Unpin,
    R2: AsyncRead + Unpin,
    W2: AsyncWrite + Unpin,
{
    let activity = Activity::default();
    let inward = copy(client.0, enclave.1, &activity);
    let outward = copy(enclave.0, client.1, &activity);
    tokio::select! {
        biased;
        // Whatever the client still sends, nothing answers it. A client that keeps its side open holds no place by that.
        outcome = outward => outcome,
        // An end of the client's direction ends nothing: its answer is on the way.
        Err(error) = inward => Err(error),
        () = activity.until_quiet(limits) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Reads to the end of what nobody wants.
async fn swallow(mut from: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; BUFFER];
    while from.read(&mut buffer).await.is_ok_and(|read| read != 0) {}
}

/// When something last moved, and how many directions have ended.
struct Activity {
    start: Instant,
    last_ms: AtomicU64,
    ended: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }
}

impl Activity {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn touch(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    async fn until_quiet(&self, limits: &ClientLimits) {
        loop {
            let limit = if self.ended.load(Ordering::Relaxed) == 0 { limits.idle } else { limits.half_closed };
            let quiet = Duration::from_millis(self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)));
            if limit <= quiet {
                return;
            }
            // An end may shorten the limit meanwhile; a second later is soon enough to notice.
            tokio::time::sleep((limit - quiet).min(Duration::from_secs(1))).await;
        }
    }
}

/// One direction. Its end is passed on.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, activity: &Activity) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        activity.touch();
        if read == 0 {
            activity.ended.fetch_add(1, Ordering::Relaxed);
            return to.shutdown().await;
        }
        // A receiver that does not read stops the sender here: the kernel's buffers and this one are all there is.
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        activity.touch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_with_many_ipv6_addresses_is_one_party() {
        let gate = Gate::new(&ClientLimits { max_per_address: 2, ..ClientLimits::default() });
        let enter = |ip: &str| gate.enter(SocketAddr::new(ip.parse().unwrap(), 1));
        let first = enter("2001:db8:0:1::1").unwrap();
        let _second = enter("2001:db8:0:1:ffff::2").unwrap();
        assert_eq!(enter("2001:db8:0:1::3").err(), Some(Turned::Address));
        let _neighbour = enter("2001:db8:0:2::1").unwrap();
        drop(first);
        let _again = enter("2001:db8:0:1::3").unwrap();
        // An IPv4 address is one party, also when it comes through an IPv6 socket.
        let _v4 = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_err());
        assert!(enter("192.0.2.2").is_ok());
    }
    #[test]
    fn a_party_is_one_number_for_each_customer_and_names_nobody() {
        let (gate, restarted) = (Gate::new(&ClientLimits::default()), Gate::new(&ClientLimits::default()));
        let party = |gate: &Gate, ip: &str| gate.enter(SocketAddr::new(ip.parse().unwrap(), 1)).unwrap().party;
        assert_eq!(party(&gate, "192.0.2.1"), party(&gate, "::ffff:192.0.2.1"));
        assert_eq!(party(&gate, "2001:db8:0:1::1"), party(&gate, "2001:db8:0:1::2"));
        assert_ne!(party(&gate, "192.0.2.1"), party(&gate, "192.0.2.2"));
        assert_ne!(party(&gate, "192.0.2.1"), party(&restarted, "192.0.2.1"));
    }

    #[test]
    fn who_lingers_gives_its_place_away_and_still_counts_at_its_address() {
        let gate = Gate::new(&ClientLimits { max_connections: 1, max_per_address: 2, ..ClientLimits::default() });
        let enter = |ip: &str| gate.enter(SocketAddr::new(ip.parse().unwrap(), 1));
        let first = enter("192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.2").err(), Some(Turned::Full));
        let first = first.linger().unwrap();
        let second = enter("192.0.2.1").unwrap().linger().unwrap();
        assert!(enter("192.0.2.1").is_err(), "two sockets of one address are open");
        let _other = enter("192.0.2.2").unwrap();
        drop((first, second));
    }
}
