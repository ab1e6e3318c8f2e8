//! A node that runs: who starts whom again, and how one boot takes over from another (ADR 0016).
//!
//! Here are processes; which boot sells is decided in the host, which says so on its standard output. A host that was started again is told
//! what this file knows, and goes on from there.
//! - **Invariant:** there are at most two enclaves: the one that sells, and one beside it that is to take over or has handed over. Only the
//!   first is started again when it ends.

use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use candor_host::Stage;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;
use tokio::sync::mpsc;

use super::halves::Beside as Order;
use super::reach::Reach;
use super::setup::{Place, Setup};
use super::upgrade::{Door, Request};
use super::{BOOT, DRAINED, HANDED_OVER, REFUSED, REGISTERED};
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

/// A node.
struct Node<'a> {
    // The boot that sells.
    setup: Setup,
    enclave: Child,
    beside: Option<Beside>,
    host: Child,
    host_ends: u32,
    host_started: Instant,
    // What hosts say of two boots.
    says: (mpsc::UnboundedSender<Value>, mpsc::UnboundedReceiver<Value>),
    forwarding: tokio::task::JoinHandle<()>,
    // Ends only if the node must not go on.
    reach: Reach,
    door: Door,
    // What node.toml and the options say now.
    settings: &'a (dyn Fn() -> Result<Settings, Failure> + Sync),
    json_output: bool,
}

/// The boot beside the one that sells.
struct Beside {
    setup: Setup,
    enclave: Child,
    stage: Stage,
    since: Instant,
    // Who asked for it, and is told how it goes.
    asker: mpsc::Sender<Value>,
}

impl Beside {
    fn order(&self) -> Order {
        Order::Begin(self.stage, self.setup.config())
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
    TooLate,
    Unreachable(Failure),
}

/// Starts a node and runs it until it is stopped.
pub(super) async fn run(
    setup: Setup,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    settings: &(dyn Fn() -> Result<Settings, Failure> + Sync),
    json_output: bool,
) -> Done {
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
    let (host_ends, host_started, beside) = (0, Instant::now(), None);
    let mut node = Node { setup, enclave, beside, host, host_ends, host_started, says, forwarding, reach, door, settings, json_output };
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

impl Node<'_> {
    async fn event(&mut self, stop: Pin<&mut impl Future<Output = ()>>) -> Event {
        let late = self.beside.as_ref().filter(|beside| beside.stage == Stage::Coming).map(|beside| beside.since + COMING_MAX);
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
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            ended = self.host.ended() => Event::HostEnded(ended),
            Some(said) = self.says.1.recv() => Event::HostSays(said),
            ended = self.enclave.ended() => Event::EnclaveEnded(ended),
            ended = beside_ended => Event::BesideEnded(ended),
            failure = &mut self.reach => Event::Unreachable(failure),
            request = self.door.asked() => Event::Asked(request),
            () = too_late => Event::TooLate,
        }
    }

    async fn take(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::HostEnded(how) => self.restart_host(&how).await?,
            Event::EnclaveEnded(how) => {
                logging::half_ended(logging::Half::Enclave, &how);
                self.enclave = self.setup.start_enclave()?;
                // Another boot has another key.
                self.reach = self.setup.reach();
            }
            Event::BesideEnded(how) => self.beside_ended(&how).await,
            Event::HostSays(said) => self.host_says(&said).await?,
            Event::Asked(request) => self.asked(request).await,
            Event::TooLate => {
                let why = format!("it was not registered in a block that stays within {} minutes", COMING_MAX.as_secs() / 60);
                self.give_up(&why, false).await;
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
        self.host = self.setup.start_host(self.beside.as_ref().map(Beside::order)).await?;
        self.host_started = Instant::now();
        let lines = BufReader::new(self.host.stdout()?).lines();
        self.forwarding = tokio::spawn(forward(lines, self.says.0.clone(), self.json_output));
        Ok(())
    }

    /// Both halves, by the files that are in force: a boot as after an enclave's death.
    async fn begin_anew(&mut self) -> Result<(), Failure> {
        let what = "handed over to one that ended";
        logging::half_ended(logging::Half::Enclave, what);
        tokio::join!(self.host.end(HALF_GRACE), self.enclave.end(HALF_GRACE));
        self.enclave = self.setup.start_enclave()?;
        self.restart_host(what).await
    }

    /// Starts a second enclave, if there is none.
    async fn asked(&mut self, request: Request) {
        let Request { asked, asker } = request;
        if let Some(beside) = &self.beside {
            let minutes = beside.since.elapsed().as_secs() / 60;
            let what = match beside.stage {
                Stage::Coming => "a boot is on its way to take over already: wait until it sells, or is given up",
                _ => "the boot that has handed over is not done yet: wait until it has ended",
            };
            let error = format!("one upgrade at a time; {what} (for {minutes} minutes now; candor status shows for what it waits)");
            return drop(asker.try_send(json!({"error": error, "code": 2})));
        }
        let started = async {
            let setup = self.setup.next((self.settings)()?, asked).await?;
            let enclave = setup.start_enclave()?;
            Ok::<_, Failure>((setup, enclave))
        };
        let (setup, enclave) = match started.await {
            Ok(started) => started,
            Err(failure) => return drop(asker.try_send(json!({"error": failure.message(), "code": 2}))),
        };
        logging::upgrading(setup.program());
        let beside = Beside { setup, enclave, stage: Stage::Coming, since: Instant::now(), asker };
        beside.tell(json!({"said": "started", "enclave_pid": beside.enclave.pid(), "terms": beside.setup.terms_digest().to_string()}));
        self.order(&beside.order()).await;
        self.beside = Some(beside);
    }

    /// A host that does not take it has ended, and is told when it is started again.
    async fn order(&mut self, order: &Order) {
        drop(self.host.hand_over(&order.to_line()).await);
    }

    async fn host_says(&mut self, said: &Value) -> Result<(), Failure> {
        match (said["said"].as_str(), self.beside.take()) {
            (Some(HANDED_OVER), Some(Beside { setup: next, enclave, stage: Stage::Coming, asker, .. })) => {
                let (former, former_enclave) = (std::mem::replace(&mut self.setup, next), std::mem::replace(&mut self.enclave, enclave));
                let mut beside = Beside { setup: former, enclave: former_enclave, stage: Stage::Draining, since: Instant::now(), asker };
                // Crash: `serve` ends with its enclaves, so nobody reads these files of a hand-over that was not written to its end.
                beside.setup.write(Place::Former)?;
                self.setup.write(Place::InForce)?;
                self.setup.clear(Place::Next);
                self.reach = self.setup.reach();
                beside.tell(json!({
                    "said": HANDED_OVER, "log_id": said["log_id"], "enclave_pid": self.enclave.pid(), "former_pid": beside.enclave.pid(),
                }));
                self.beside = Some(beside);
            }
            (Some(DRAINED), Some(Beside { enclave, asker, stage: Stage::Draining, .. })) => {
                enclave.stop(HALF_GRACE).await;
                self.setup.clear(Place::Former);
                // Whoever asked may have heard enough.
                drop(asker.try_send(json!({"said": DRAINED})));
            }
            (Some(REFUSED), Some(beside)) if beside.stage == Stage::Coming => {
                self.beside = Some(beside);
                self.give_up(said["why"].as_str().unwrap_or_default(), true).await;
            }
            // It ended in the moment in which it took over, before we knew that it had: the other one was told that it sells no more.
            (Some(HANDED_OVER), None) => self.begin_anew().await?,
            // Said a second time, by a host that was started again.
            (_, beside) => self.beside = beside,
        }
        Ok(())
    }

    async fn beside_ended(&mut self, how: &str) {
        let Some(beside) = self.beside.take() else { return };
        match beside.stage {
            Stage::Coming => {
                self.beside = Some(beside);
                self.give_up(&format!("its enclave ended ({how}); what it said is in the log of `candor serve`"), false).await;
            }
            Stage::Selling | Stage::Draining => {
                let what = "the enclave that has handed over, before it was done: what it was making is lost and was not charged";
                logging::beside_ended(what, how);
                beside.tell(json!({"said": DRAINED, "ended": how}));
                self.setup.clear(Place::Former);
                self.order(&Order::Nobody).await;
            }
        }
    }

    /// The boot that was to take over does not.
    async fn give_up(&mut self, why: &str, is_refused: bool) {
        let Some(beside) = self.beside.take() else { return };
        logging::beside_ended("the enclave that was to take over", why);
        beside.tell(json!({"error": format!("the new boot does not take over: {why}; the node sells on as before"), "code": if is_refused { 1 } else { 2 }}));
        self.order(&Order::Nobody).await;
        self.setup.clear(Place::Next);
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

/// Passes on what the host announces, until it ends: registrations for people, the rest for us. What it logs goes to standard error by itself.
async fn forward(mut lines: Lines<BufReader<ChildStdout>>, says: mpsc::UnboundedSender<Value>, json_output: bool) {
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
