//! Runs the settlement machine of one chain: one task owns it, its actions are tasks of their own, their outcomes its events.
//!
//! Intents come from checkpoints, after these are durable; the database keeps them until they are over, so a restart goes on where this
//! stopped. Transactions are sent one after another in the order of their account nonces; questions run at the same time, a few of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use candor_chain::{ChainClient, Finality, Signer};
use candor_link::{SettlementFailure, SettlementState};
use candor_verify::Hash32;
use candor_x402::settlement::{
    Action, ChainPort, ChainRequest, Event, FailureCode, Intent, MAX_QUESTIONS, Machine, MachineConfig, Outcome, PersistResult, Progress,
    RefuseReason, SettledBy, SettlementStatus, StoredIntent,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::config::SettlementConfig;
use crate::ends::{Ends, Waiting};
use crate::notice::{Notice, NoticeSink};
use crate::port::{CONFIRMATIONS, GasPort};
use crate::store::Store;

/// Intents and transactions that may wait in memory; the database has them all.
const QUEUE: usize = 4096;

/// One chain's settlements.
#[derive(Clone, Debug)]
pub(crate) struct Settler {
    intents: mpsc::Sender<Intent>,
    ends: Ends,
    // Set when an intent found no room here; the runner then takes it from the database.
    has_backlog: Arc<AtomicBool>,
    open: Arc<Open>,
}

/// How many settlements are not over, and how many of them were sent, as of the last tick. For the operator.
#[derive(Debug, Default)]
struct Open {
    all: AtomicUsize,
    sent: AtomicUsize,
}

impl Settler {
    /// A settler and the task that runs it.
    pub(crate) fn new(
        client: ChainClient,
        signer: &Signer,
        (config, finality): (&SettlementConfig, Finality),
        store: Store,
        notices: NoticeSink,
        stopped: watch::Receiver<bool>,
        resets: watch::Receiver<u64>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (intents, queue) = mpsc::channel(QUEUE);
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let machine = MachineConfig {
            confirmations: CONFIRMATIONS,
            poll_ms: ms(config.poll),
            bump_after_ms: ms(config.bump_after),
            ..MachineConfig::new(client.chain_id(), signer.address())
        };
        let port = Arc::new(GasPort::new(client, signer.clone(), finality));
        let has_backlog = Arc::new(AtomicBool::new(false));
        let (ends, asking) = (Ends::default(), Arc::new(Semaphore::new(MAX_QUESTIONS)));
        let open = Arc::<Open>::default();
        let settler = Self { intents, ends: ends.clone(), has_backlog: Arc::clone(&has_backlog), open: Arc::clone(&open) };
        let told = VecDeque::new();
        let runner = Runner { config: machine, port, asking, store, notices, ends, has_backlog, queue, stopped, resets, open, told };
        (settler, runner.run())
    }

    /// Hands over an intent that is durable. If the queue is full the database still has it, and it is offered again from there.
    pub(crate) fn offer(&self, intent: Intent) {
        if self.intents.try_send(intent).is_err() {
            self.has_backlog.store(true, Ordering::Relaxed);
        }
    }

    /// How many are not over, and how many of them were sent.
    pub(crate) fn open(&self) -> (usize, usize) {
        (self.open.all.load(Ordering::Relaxed), self.open.sent.load(Ordering::Relaxed))
    }

    /// Waits from now on for the end of one, or for its transfer in a block.
    pub(crate) fn end_of(&self, payment_id: Hash32) -> Waiting {
        self.ends.wait(payment_id)
    }

    /// The transfer of one that is in a block, and may be taken back.
    pub(crate) fn included(&self, payment_id: &Hash32) -> Option<SettlementState> {
        self.ends.included(payment_id)
    }
}

struct Runner<P> {
    config: MachineConfig,
    port: Arc<P>,
    /// Questions at once. The machine asks no more than so many either, but asks again what takes too long to be answered.
    asking: Arc<Semaphore>,
    store: Store,
    notices: NoticeSink,
    ends: Ends,
    has_backlog: Arc<AtomicBool>,
    queue: mpsc::Receiver<Intent>,
    stopped: watch::Receiver<bool>,
    /// Another chain came in the place of this one.
    resets: watch::Receiver<u64>,
    open: Arc<Open>,
    /// Payments whose end the operator was told, newest last: of one that is offered again he is not told twice.
    told: VecDeque<Hash32>,
}

/// Ends that are remembered for [`Runner::told`]. What is offered again is of the last minutes.
const TOLD: usize = 1024;

impl<P: ChainPort + Send + Sync + 'static> Runner<P> {
    /// Account nonces begin anew on a chain that was reset. So does the machine, as it does after a crash.
    async fn run(mut self) {
        while self.until_reset().await {}
    }

    /// False if this is the end.
    // Crash: whatever is in memory here is either in the database (intents, account nonces, hashes) or asked again (everything else).
    async fn until_reset(&mut self) -> bool {
        let Some(stored) = self.load().await else { return false };
        let mut machine = Machine::new(self.config, stored);
        let mut tasks = JoinSet::new();
        let (to_send, mut sending) = mpsc::channel::<ChainRequest>(QUEUE);
        let (sent, mut answers) = mpsc::channel::<Event>(QUEUE);
        let port = Arc::clone(&self.port);
        // A set of this one task: when the runner is dropped, the set ends its sender with it.
        let mut sender = JoinSet::new();
        sender.spawn(async move {
            while let Some(request) = sending.recv().await {
                if sent.send(Event::Chain(port.run(request).await)).await.is_err() {
                    break;
                }
            }
        });
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(self.config.poll_ms.clamp(10, 1_000) / 2));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut waited = false;
        let was_reset = loop {
            let event = tokio::select! {
                _ = self.stopped.changed() => break false,
                Ok(()) = self.resets.changed() => break true,
                // Without it nothing is ever sent again: this task ends too, and with it the host, which is started again.
                Some(ended) = sender.join_next() => {
                    let how = ended.map_or_else(|error| error.to_string(), |()| "nobody reads its answers".to_owned());
                    self.trouble(format!("the sender has ended: {how}"));
                    break false;
                }
                Some(intent) = self.queue.recv() => Event::Intent(intent),
                Some(event) = answers.recv() => event,
                Some(done) = tasks.join_next() => match done {
                    Ok(event) => event,
                    // A task that panicked is our bug; the machine asks again by itself.
                    Err(error) => { self.trouble(error.to_string()); Event::Tick }
                },
                _ = tick.tick() => {
                    if machine.open_count() < self.config.max_open / 4 * 3 && self.has_backlog.swap(false, Ordering::Relaxed) {
                        let is_open = |record: &StoredIntent| !matches!(record.progress, Progress::Done { .. });
                        for record in self.load().await.unwrap_or_default().into_iter().filter(is_open) {
                            for action in machine.step(Event::Intent(record.intent), clock::now().0) {
                                self.act(action, &mut tasks, &to_send);
                            }
                        }
                    }
                    let waits = machine.waits_for_depth();
                    if waits && !waited {
                        let most = self.config.max_unsafe;
                        self.trouble(format!("{most} transfers are in no block that stays: no further one is sent until some are; is the chain standing still?"));
                    }
                    waited = (waited || waits) && !machine.has_depth_again();
                    self.open.all.store(machine.open_count(), Ordering::Relaxed);
                    self.open.sent.store(machine.sent_count(), Ordering::Relaxed);
                    Event::Tick
                }
            };
            for action in machine.step(event, clock::now().0) {
                self.act(action, &mut tasks, &to_send);
            }
        };
        sender.abort_all();
        tasks.abort_all();
        was_reset
    }

    /// Stored records, as soon as the database can be read. `None` if the host stops before.
    async fn load(&mut self) -> Option<Vec<StoredIntent>> {
        loop {
            // Finished ones of the last hour, so that a late twin of their intent is answered.
            match self.store.intents(self.config.chain_id, clock::now().seconds().saturating_sub(3_600)).await {
                Ok(records) => return Some(records),
                Err(error) => self.trouble(error.to_string()),
            }
            tokio::select! {
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                _ = self.stopped.changed() => return None,
            }
        }
    }

    /// Does one thing.
    fn act(&mut self, action: Action, tasks: &mut JoinSet<Event>, to_send: &mpsc::Sender<ChainRequest>) {
        match action {
            Action::Persist(record) => {
                let store = self.store.clone();
                tasks.spawn(persist(store, record));
            }
            Action::Chain(request @ ChainRequest::SignAndBroadcast { .. }) => {
                // A full queue loses the request; the machine sends again when no receipt comes.
                let _full = to_send.try_send(request);
            }
            Action::Chain(request) => {
                let (port, asking) = (Arc::clone(&self.port), Arc::clone(&self.asking));
                tasks.spawn(async move {
                    // Never closed: it only ends with everybody who holds it.
                    let _turn = asking.acquire().await;
                    Event::Chain(port.run(request).await)
                });
            }
            Action::Finished(outcome) => self.finish(&outcome),
            Action::Included { payment_id, tx_hash, block, by } => {
                let by_third_party = by == SettledBy::ThirdParty;
                self.ends.include(payment_id, SettlementState::Settled { tx_hash, block_number: block, by_third_party });
            }
            Action::StillPending { .. } => {}
            Action::Refused { reason: RefuseReason::Full { .. } | RefuseReason::OtherOpen, .. } => {
                self.has_backlog.store(true, Ordering::Relaxed)
            }
            Action::Refused { payment_id, reason } => self.trouble(format!("payment {payment_id:#} not taken: {reason}")),
        }
    }

    fn finish(&mut self, outcome: &Outcome) {
        let Outcome { payment_id, asset, amount, .. } = *outcome;
        let chain_id = self.config.chain_id;
        let notice = match outcome.status {
            SettlementStatus::Settled { tx_hash, .. } => Some(Notice::Settled { payment_id, tx_hash, chain_id, asset, amount }),
            SettlementStatus::Failed { code } => Some(Notice::SettlementFailed { payment_id, code: code.as_str() }),
            SettlementStatus::Expired => Some(Notice::SettlementFailed { payment_id, code: EXPIRED }),
            SettlementStatus::Pending { .. } => None,
        };
        if let Some(notice) = notice.filter(|_| !self.told.contains(&payment_id)) {
            self.told.push_back(payment_id);
            if TOLD < self.told.len() {
                self.told.pop_front();
            }
            (self.notices)(&notice);
        }
        self.ends.tell(&payment_id);
    }

    fn trouble(&self, message: String) {
        (self.notices)(&Notice::Trouble { part: "settlement", message });
    }
}

/// Why a settlement failed whose time is over.
const EXPIRED: &str = "expired";

/// Every code of [`Notice::SettlementFailed`].
pub(crate) fn failure_codes() -> impl Iterator<Item = &'static str> {
    FailureCode::ALL.into_iter().map(FailureCode::as_str).chain([EXPIRED])
}

async fn persist(store: Store, record: StoredIntent) -> Event {
    let (payment_id, revision) = (record.intent.payment_id(), record.revision);
    let result = match store.put_intent(record).await {
        Ok(()) => PersistResult::Durable,
        Err(_) => PersistResult::Failed,
    };
    Event::Persisted { payment_id, revision, result }
}

/// How a stored settlement stands, in the words of the link.
pub(crate) fn state_of(record: Option<&StoredIntent>) -> SettlementState {
    let Some(record) = record else { return SettlementState::Failed { code: SettlementFailure::Unknown } };
    match &record.progress {
        Progress::AwaitingNonce { .. } => SettlementState::Pending { tx_hash: None },
        Progress::AwaitingReceipt(slot) => SettlementState::Pending { tx_hash: slot.hashes.last().copied() },
        Progress::Done { status, .. } => match *status {
            SettlementStatus::Settled { tx_hash, block, by } => {
                SettlementState::Settled { tx_hash, block_number: block, by_third_party: by == SettledBy::ThirdParty }
            }
            SettlementStatus::Pending { tx_hash } => SettlementState::Pending { tx_hash },
            SettlementStatus::Failed { code } => SettlementState::Failed { code: failure(code) },
            SettlementStatus::Expired => SettlementState::Failed { code: SettlementFailure::Expired },
        },
    }
}

fn failure(code: FailureCode) -> SettlementFailure {
    match code {
        FailureCode::NonceAlreadyUsed => SettlementFailure::NonceUsed,
        FailureCode::SimulationFailed => SettlementFailure::SimulationFailed,
        FailureCode::TransferEventMismatch => SettlementFailure::TransferMismatch,
        // Also what a later version may add: it was tried and did not work.
        _ => SettlementFailure::TransactionFailed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use candor_verify::payment::Authorization;
    use candor_verify::scheme::Through;
    use candor_verify::time::UnixSeconds;
    use candor_verify::{Address, Amount, Signature65};
    use candor_x402::scheme::encode_transfer;
    use candor_x402::settlement::{BlockRef, ChainAnswer};
    use rusqlite::params;

    use super::*;
    use crate::store::StoreOptions;

    const CHAIN: u64 = 31337;

    /// A chain whose door breaks at the first transaction.
    struct Breaks;

    impl ChainPort for Breaks {
        async fn run(&self, request: ChainRequest) -> ChainAnswer {
            match request {
                ChainRequest::SignAndBroadcast { .. } => panic!("a bug of ours"),
                ChainRequest::QueryAccountNonce => {
                    ChainAnswer::AccountNonce { next: 0, at: BlockRef { number: 1, timestamp: UnixSeconds(0) } }
                }
                ChainRequest::Simulate { payment_id, .. } => ChainAnswer::Simulated { payment_id, reverts_at: None },
                _ => ChainAnswer::RpcDown { about: request.about() },
            }
        }
    }

    #[tokio::test]
    async fn a_settlement_ends_when_its_sender_does() {
        let path = std::env::temp_dir().join(format!("candor-host-sender-{}", std::process::id())).join("host.db");
        let store = Store::open(&path, StoreOptions::default()).unwrap();
        let authorization = Authorization {
            through: Through::Token,
            from: Address([1; 20]),
            to: Address([2; 20]),
            value: Amount(1),
            valid_after: UnixSeconds(0),
            valid_before: clock::now().seconds().saturating_add(300),
            nonce: Hash32([3; 32]),
        };
        let intent = Intent::parse(CHAIN, Address([4; 20]), encode_transfer(&authorization, &Signature65([5; 65]))).unwrap();
        let record = StoredIntent { intent, revision: 0, progress: Progress::AwaitingNonce { attempts: 0 } };
        let sql = "INSERT INTO intents VALUES (?1, ?2, ?3, 0, 0, x'', 0, ?4)";
        let row = params![&record.intent.payment_id().0[..], CHAIN as i64, authorization.valid_before.0 as i64, record.encode()];
        rusqlite::Connection::open(&path).unwrap().execute(sql, row).unwrap();

        let (_intents, queue) = mpsc::channel(1);
        let (_stop, stopped) = watch::channel(false);
        let (_reset, resets) = watch::channel(0);
        let runner = Runner {
            config: MachineConfig { poll_ms: 20, ..MachineConfig::new(CHAIN, Address([6; 20])) },
            port: Arc::new(Breaks),
            asking: Arc::new(Semaphore::new(1)),
            store,
            notices: Arc::new(|_| {}),
            ends: Ends::default(),
            has_backlog: Arc::default(),
            queue,
            stopped,
            resets,
            open: Arc::default(),
            told: VecDeque::new(),
        };
        tokio::time::timeout(Duration::from_secs(10), runner.run()).await.expect("it ends");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
