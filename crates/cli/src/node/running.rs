//! A node that runs: who starts whom again, and how one boot takes over from another (ADR 0016).
//!
//! Here are processes; which boot sells is decided in the host, which says so on its standard output. A host that was started again is told
//! what this file knows, and goes on from there.
//! - **Invariant:** there are at most two enclaves: the one that sells, and one beside it that is to take over or has handed over. Only the
//!   first is started again when it ends.
//! - **Invariant:** a host is started only after everything that the one before it said was heard: what it is told follows from that.

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candor_host::{DRAIN_MAX, Stage};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::ChildStdout;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::halves::Beside as Order;
use super::reach::Reach;
use super::setup::{Place, Setup};
use super::upgrade::{Door, Request};
use super::{BOOT, DRAINED, HANDED_OVER, HANDING_OVER, REFUSED, REGISTERED};
use crate::config::Settings;
use crate::lifetime::Child;
use crate::logging;
use crate::output::{Done, Failure, say};

/// Pause before a half that ended is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How often a host may end in a row before that is an error of its own: a full disk does not go away by trying.
const HOST_ENDS_MAX: u32 = 5;

/// A host that ran this long was well; what ends it now is something new.
const HOST_IS_WELL: Duration = Duration::from_secs(60);

/// Time for a half to end by itself; less than the demo gives `serve`.
const HALF_GRACE: Duration = Duration::from_secs(3);

/// How long a boot may take until it is registered in a block that stays: on a main chain a quarter of an hour, and time for a chain in
/// trouble. Then it is given up, and the one that sells goes on.
const COMING_MAX: Duration = Duration::from_secs(45 * 60);

/// How long a boot that has handed over may take to end, if its host does not say that it has: what the host gives it, and time for its last
/// anchor.
const DRAINING_MAX: Duration = DRAIN_MAX.saturating_add(Duration::from_secs(2 * 60));

/// Between two tries to write a file.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

/// What node.toml and the options say now.
pub(super) type SettingsNow = Arc<dyn Fn() -> Result<Settings, Failure> + Send + Sync>;

/// A node.
struct Node {
    // The boot that sells.
    setup: Setup,
    enclave: Child,
    beside: Option<Beside>,
    preparing: Option<Preparing>,
    host: Child,
    host_ends: u32,
    host_started: Instant,
    // What hosts say of two boots.
    says: (mpsc::UnboundedSender<Value>, mpsc::UnboundedReceiver<Value>),
    forwarding: JoinHandle<()>,
    // Ends only if the node must not go on.
    reach: Reach,
    door: Door,
    settings: SettingsNow,
    json_output: bool,
}

/// A boot that is to begin beside the one that sells.
struct Preparing {
    task: JoinHandle<Result<Setup, Failure>>,
    asker: mpsc::Sender<Value>,
}

/// The boot beside the one that sells.
struct Beside {
    setup: Setup,
    enclave: Child,
    stage: Stage,
    since: Instant,
    // Whether the boot that sells was told that this one does: it may have heard it, and sells nothing more then.
    seller_is_told: bool,
    // Who asked for it, and is told how it goes.
    asker: mpsc::Sender<Value>,
}

impl Beside {
    fn order(&self) -> Order {
        Order::Begin(self.stage, self.setup.config())
    }

    /// When it has had its time.
    fn late(&self) -> Instant {
        self.since
            + match self.stage {
                Stage::Coming => COMING_MAX,
                Stage::Selling | Stage::Draining => DRAINING_MAX,
            }
    }

    fn tell(&self, said: Value) {
        // Whoever asked may have heard enough.
        drop(self.asker.try_send(said));
    }
}

/// Something that happened.
enum Event {
    Stop,
    HostEnded(String),
    EnclaveEnded(String),
    BesideEnded(String),
    HostSays(Value),
    Asked(Request),
    Prepared(Box<Result<Setup, Failure>>),
    TooLate,
    WriteAgain,
    Unreachable(Failure),
}

/// Starts a node and runs it until it is stopped.
pub(super) async fn run(setup: Setup, mut stop: Pin<&mut impl Future<Output = ()>>, settings: SettingsNow, json_output: bool) -> Done {
    let mut enclave = setup.start_enclave()?;
    let mut host = setup.start_host(None).await?;
    let mut lines = BufReader::new(host.stdout()?).lines();
    let reach = tokio::select! {
        biased;
        () = &mut stop => return Ok(ExitCode::SUCCESS),
        ended = enclave.ended() => return Err(Failure::cannot(format!("the enclave ended before the node was registered ({ended})"))),
        announced = announce(&mut lines, json_output) => {
            setup.say(&announced?, &enclave, &host, json_output);
            setup.reach()
        }
    };
    let (says, door) = (mpsc::unbounded_channel(), Door::open(setup.directory())?);
    let forwarding = tokio::spawn(forward(lines, says.0.clone(), json_output));
    let (host_ends, host_started, beside, preparing) = (0, Instant::now(), None, None);
    let mut node =
        Node { setup, enclave, beside, preparing, host, host_ends, host_started, says, forwarding, reach, door, settings, json_output };
    loop {
        let event = node.event(stop.as_mut()).await;
        if matches!(event, Event::Stop) {
            break;
        }
        if matches!(event, Event::HostEnded(_) | Event::EnclaveEnded(_)) {
            // On Ctrl-C the halves end with us, not before us.
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = tokio::time::sleep(RESTART_PAUSE) => {}
            }
        }
        node.take(event).await?;
    }
    node.end().await;
    Ok(ExitCode::SUCCESS)
}

impl Node {
    async fn event(&mut self, stop: Pin<&mut impl Future<Output = ()>>) -> Event {
        let late = self.beside.as_ref().map(Beside::late);
        let too_late = async {
            match late {
                Some(late) => tokio::time::sleep_until(late.into()).await,
                None => std::future::pending().await,
            }
        };
        let beside_ended = async {
            match &mut self.beside {
                Some(beside) => beside.enclave.ended().await,
                None => std::future::pending().await,
            }
        };
        let prepared = async {
            match &mut self.preparing {
                Some(Preparing { task, .. }) => task.await.unwrap_or_else(|error| Err(Failure::cannot(error.to_string()))),
                None => std::future::pending().await,
            }
        };
        let write_again = async {
            match self.setup.is_at(Place::InForce) {
                true => std::future::pending().await,
                false => tokio::time::sleep(WRITE_AGAIN).await,
            }
        };
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            ended = self.host.ended() => Event::HostEnded(ended),
            Some(said) = self.says.1.recv() => Event::HostSays(said),
            ended = self.enclave.ended() => Event::EnclaveEnded(ended),
            ended = beside_ended => Event::BesideEnded(ended),
            failure = &mut self.reach => Event::Unreachable(failure),
            request = self.door.asked() => Event::Asked(request),
            prepared = prepared => Event::Prepared(Box::new(prepared)),
            () = too_late => Event::TooLate,
            () = write_again => Event::WriteAgain,
        }
    }

    async fn take(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::HostEnded(how) => self.restart_host(&how).await?,
            Event::EnclaveEnded(how) => {
                logging::half_ended(logging::Half::Enclave, &how);
                self.enclave = self.setup.start_enclave()?;
                if let Some(beside) = &mut self.beside {
                    beside.seller_is_told = false;
                }
                // Another boot has another key.
                self.reach = self.setup.reach();
            }
            Event::BesideEnded(how) => self.beside_ended(&how).await,
            Event::HostSays(said) => self.host_says(&said).await,
            Event::Asked(request) => self.asked(request),
            Event::Prepared(prepared) => self.prepared(*prepared).await,
            Event::TooLate => self.too_late().await,
            Event::WriteAgain => {
                if self.write_files().is_ok() {
                    logging::files_written();
                }
            }
            Event::Unreachable(failure) => return Err(failure),
            Event::Stop => {}
        }
        Ok(())
    }

    async fn restart_host(&mut self, how: &str) -> Result<(), Failure> {
        self.host_ends = if self.host_started.elapsed() < HOST_IS_WELL { self.host_ends + 1 } else { 1 };
        let ends = self.host_ends;
        if HOST_ENDS_MAX < ends {
            return Err(Failure::cannot(format!(
                "the host ended {ends} times in a row, at last with {how}; what it said is above. Nothing acknowledged is lost: start `candor \
                 serve` again when the cause is gone"
            )));
        }
        logging::half_ended(logging::Half::Host, &format!("{how}; {ends} of at most {HOST_ENDS_MAX} in a row"));
        for said in heard(&mut self.forwarding, &mut self.says.1).await {
            self.host_says(&said).await;
        }
        self.host = self.setup.start_host(self.beside.as_ref().map(Beside::order)).await?;
        self.host_started = Instant::now();
        let lines = BufReader::new(self.host.stdout()?).lines();
        self.forwarding = tokio::spawn(forward(lines, self.says.0.clone(), self.json_output));
        Ok(())
    }

    /// The boot that sold sells nothing more, or may not, and none takes over: both halves end, and are started again as after any death.
    async fn begin_anew(&mut self, why: &str) {
        logging::begins_anew(why);
        tokio::join!(self.host.end(HALF_GRACE), self.enclave.end(HALF_GRACE));
    }

    /// Prepares a second boot, if there is none. Not here: models are read, keys opened and chains asked for it, and the node goes on meanwhile.
    fn asked(&mut self, request: Request) {
        let Request { asked, asker } = request;
        let busy = match &self.beside {
            _ if self.preparing.is_some() => Some("one is being prepared: wait until it sells, or is refused".to_owned()),
            None => None,
            Some(beside) => {
                let minutes = beside.since.elapsed().as_secs() / 60;
                let what = match beside.stage {
                    Stage::Coming => "a boot is on its way to take over already: wait until it sells, or is given up",
                    _ => "the boot that has handed over is not done yet: wait until it has ended",
                };
                Some(format!("{what} (for {minutes} minutes now; candor status shows for what it waits)"))
            }
        };
        if let Some(busy) = busy {
            return drop(asker.try_send(json!({"error": format!("one upgrade at a time; {busy}"), "code": 2})));
        }
        // The files of the boot that sells may still be at the place of the next one.
        if let Err(failure) = self.write_files() {
            return drop(asker.try_send(json!({"error": failure.message(), "code": 2})));
        }
        let (setup, settings, runtime) = (self.setup.clone(), Arc::clone(&self.settings), Handle::current());
        let task = tokio::task::spawn_blocking(move || runtime.block_on(async { setup.next(settings()?, asked).await }));
        self.preparing = Some(Preparing { task, asker });
    }

    /// Starts the second enclave.
    async fn prepared(&mut self, prepared: Result<Setup, Failure>) {
        let Some(Preparing { asker, .. }) = self.preparing.take() else { return };
        let started = prepared.and_then(|setup| Ok((setup.start_enclave()?, setup)));
        let (enclave, setup) = match started {
            Ok(started) => started,
            Err(failure) => return drop(asker.try_send(json!({"error": failure.message(), "code": 2}))),
        };
        logging::upgrading(setup.program());
        let beside = Beside { setup, enclave, stage: Stage::Coming, since: Instant::now(), seller_is_told: false, asker };
        beside.tell(json!({"said": "started", "enclave_pid": beside.enclave.pid(), "terms": beside.setup.terms_digest().to_string()}));
        self.order(&beside.order()).await;
        self.beside = Some(beside);
    }

    /// A host that does not take it has ended, and is told when it is started again.
    async fn order(&mut self, order: &Order) {
        drop(self.host.hand_over(&order.to_line()).await);
    }

    async fn host_says(&mut self, said: &Value) {
        match (said["said"].as_str(), self.beside.take()) {
            (Some(HANDING_OVER), Some(beside)) if beside.stage == Stage::Coming => {
                self.beside = Some(Beside { seller_is_told: true, ..beside });
            }
            (Some(HANDED_OVER), Some(Beside { setup: next, enclave, stage: Stage::Coming, asker, .. })) => {
                let (former, former_enclave) = (std::mem::replace(&mut self.setup, next), std::mem::replace(&mut self.enclave, enclave));
                let (stage, since) = (Stage::Draining, Instant::now());
                let beside = Beside { setup: former, enclave: former_enclave, stage, since, seller_is_told: false, asker };
                self.reach = self.setup.reach();
                beside.tell(json!({
                    "said": HANDED_OVER, "log_id": said["log_id"], "enclave_pid": self.enclave.pid(), "former_pid": beside.enclave.pid(),
                }));
                self.beside = Some(beside);
                if let Err(failure) = self.write_files() {
                    logging::files_not_written(&failure);
                }
            }
            (Some(DRAINED), Some(Beside { enclave, asker, stage: Stage::Draining, .. })) => {
                enclave.stop(HALF_GRACE).await;
                self.setup.clear(Place::Former);
                // Whoever asked may have heard enough.
                drop(asker.try_send(json!({"said": DRAINED, "still": said["still"]})));
            }
            (Some(REFUSED), Some(beside)) => {
                let why = said["why"].as_str().unwrap_or_default();
                match beside.stage {
                    Stage::Coming => self.give_up(beside, why, true).await,
                    Stage::Selling | Stage::Draining => self.let_go(beside, why).await,
                }
            }
            // It ended in the moment in which it took over, before we knew that it would: the other one was told that it sells no more.
            (Some(HANDING_OVER | HANDED_OVER), None) => self.begin_anew("the boot that took over ended in that moment").await,
            // Said a second time, by a host that was started again.
            (_, beside) => self.beside = beside,
        }
    }

    /// Writes the files of both boots to their places, if they are not there: after a hand-over. The former one's first, so that no boot's files are
    /// overwritten before they are elsewhere.
    // Crash: `serve` ends with its enclaves, so nobody reads these files of a hand-over that was not written to its end. What cannot be written now
    // is written later: both boots go on, and a host that is started again finds the files of each where they were.
    fn write_files(&mut self) -> Result<(), Failure> {
        if self.setup.is_at(Place::InForce) {
            return Ok(());
        }
        if let Some(former) = self.beside.as_mut().filter(|beside| beside.setup.is_at(Place::InForce)) {
            former.setup.write(Place::Former)?;
        }
        self.setup.write(Place::InForce)?;
        self.setup.clear(Place::Next);
        Ok(())
    }

    async fn beside_ended(&mut self, how: &str) {
        let Some(beside) = self.beside.take() else { return };
        match beside.stage {
            Stage::Coming => {
                let why = format!("its enclave ended ({how}); what it said is in the log of `candor serve`");
                self.give_up(beside, &why, false).await;
            }
            Stage::Selling | Stage::Draining => self.let_go(beside, how).await,
        }
    }

    async fn too_late(&mut self) {
        let Some(beside) = self.beside.take() else { return };
        match beside.stage {
            Stage::Coming => {
                let why = format!("it was not registered in a block that stays within {} minutes", COMING_MAX.as_secs() / 60);
                self.give_up(beside, &why, false).await;
            }
            Stage::Selling | Stage::Draining => {
                let why = format!("its host did not say that it was done within {} minutes", DRAINING_MAX.as_secs() / 60);
                self.let_go(beside, &why).await;
            }
        }
    }

    /// The boot that was to take over does not.
    async fn give_up(&mut self, beside: Beside, why: &str, is_refused: bool) {
        logging::beside_ended("the enclave that was to take over", why);
        let goes_on = match beside.seller_is_told {
            true => "the old boot may have handed over already, so the node begins anew, as before",
            false => "the node sells on as before",
        };
        let code = if is_refused { 1 } else { 2 };
        self.order(&Order::Nobody).await;
        self.setup.clear(Place::Next);
        // Last: whoever is told finds nothing of it.
        beside.tell(json!({"error": format!("the new boot does not take over: {why}; {goes_on}"), "code": code}));
        let told = beside.seller_is_told;
        beside.enclave.stop(HALF_GRACE).await;
        if told {
            self.begin_anew("the boot that was to take over ended, and the other may have handed over to it").await;
        }
    }

    /// The boot that has handed over ends before it was done.
    async fn let_go(&mut self, beside: Beside, why: &str) {
        let what = "the enclave that has handed over, before it was done: what it was making is lost and was not charged";
        logging::beside_ended(what, why);
        self.order(&Order::Nobody).await;
        self.setup.clear(Place::Former);
        beside.tell(json!({"said": DRAINED, "ended": why}));
        beside.enclave.stop(HALF_GRACE).await;
    }

    /// Ends every process.
    async fn end(self) {
        logging::stopping();
        let beside = async {
            if let Some(beside) = self.beside {
                beside.enclave.stop(HALF_GRACE).await;
            }
        };
        tokio::join!(self.host.stop(HALF_GRACE), self.enclave.stop(HALF_GRACE), beside);
        drop(self.forwarding.await);
    }
}

pub(super) fn registered_prose(registered: &Value) -> String {
    let text = |key: &str| registered[key].as_str().unwrap_or_default().to_owned();
    format!("registered {} through {}, log {}, gas {}", text("k_sig"), text("attested_by"), text("log_id"), registered["gas"])
}

/// Waits for the host's word that the boot is registered.
async fn announce(lines: &mut Lines<BufReader<ChildStdout>>, json_output: bool) -> Result<Value, Failure> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let why = if json_output { "why is on standard error" } else { "why is above" };
    loop {
        let line = tokio::time::timeout_at(deadline, lines.next_line()).await;
        let cannot = |what: &str| Failure::cannot(format!("{what}; {why}"));
        let line = line.map_err(|_| cannot("the node was not registered within a minute"))?;
        let line = line.ok().flatten().ok_or_else(|| cannot("the host ended before the node was registered"))?;
        if let Some(json) = line.strip_prefix(REGISTERED) {
            return Ok(serde_json::from_str(json).unwrap_or_default());
        }
    }
}

/// Everything that a host said which has ended, and was not taken yet: also what is still on the way.
async fn heard(forwarding: &mut JoinHandle<()>, says: &mut mpsc::UnboundedReceiver<Value>) -> Vec<Value> {
    // It ends with the host's output, which nobody else holds.
    drop(tokio::time::timeout(HALF_GRACE, forwarding).await);
    std::iter::from_fn(|| says.try_recv().ok()).collect()
}

/// Passes on what the host announces, until it ends: registrations for people, the rest for us. What it logs goes to standard error by itself.
async fn forward(mut lines: Lines<BufReader<impl AsyncRead + Unpin>>, says: mpsc::UnboundedSender<Value>, json_output: bool) {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(Ok(registered)) = line.strip_prefix(REGISTERED).map(serde_json::from_str)
            && !json_output
        {
            say!("{}", registered_prose(&registered));
        }
        if let Some(Ok(said)) = line.strip_prefix(BOOT).map(serde_json::from_str) {
            drop(says.send(said));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn what_a_host_said_before_it_ended_is_heard_before_another_one_is_told_anything() {
        let (host, mut says) = tokio::io::duplex(1 << 16);
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut forwarding = tokio::spawn(forward(BufReader::new(host).lines(), sender, true));
        // It says all of it in one breath, and is gone.
        let lines = format!("{REGISTERED}{{}}\n{BOOT}{{\"said\":\"{HANDING_OVER}\"}}\n{BOOT}{{\"said\":\"{HANDED_OVER}\"}}\n{BOOT}{{\"sai");
        says.write_all(lines.as_bytes()).await.unwrap();
        drop(says);
        let said = heard(&mut forwarding, &mut receiver).await;
        assert_eq!(said, [json!({"said": HANDING_OVER}), json!({"said": HANDED_OVER})]);
    }
}
