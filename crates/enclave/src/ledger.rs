//! The ledger: receipts into the log, group by group, then settlements out (ADR 0004).
//!
//! The shell around `candor_log::Sequencer`: it signs what the sequencer names, carries its actions to the host, and tells each caller
//! where their receipt stands once it is stored under a signed, stored checkpoint. One task owns all of it.
//!
//! ```text
//! receipts signed in their places, answers sealed with them ─▶ append ─▶ answers stored ─▶ checkpoint with its settlements
//! ```
//!
//! Invariant: the calldata of an answer that is to be kept never leaves without its blob: it goes after the host has confirmed the blob, and
//! names it.
//! Crash: an enclave that dies loses what is in flight. Its log ends at the last stored checkpoint, and settlements leave only beside a
//! checkpoint, so nothing was charged for what was lost; and from the moment that a checkpoint is stored, whoever echoed a salt can get the
//! answer from the next boot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use candor_link::{
    AnswerRef, AppendRequest, CheckpointRequest, EnclaveEvent, EnclaveRequest, HostReply, LoggedReceipt, MAX_FRAME_HASHES, MAX_GROUP_BYTES,
    RefusalCode, Settlement,
};
use candor_log::host::{Anchored, CheckpointAck, HostState};
use candor_log::sequencer::{Action, Config, Event, Refused, Released, ReleasedLeaf, Sequencer};
use candor_log::{LeafData, Ticket};
use candor_verify::bytes::{Amount, Hash32, Signature65};
use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::delivery::AnchorLink;
use candor_verify::manifest::Manifest;
use candor_verify::receipt::{Money, Receipt, Unplaced, receipt_id};
use candor_verify::tlog::{Tree, empty_root, leaf_data};
use candor_x402::scheme::{CALLDATA_MAX, ContractCall};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::control::{AskError, HostPort};
use crate::kept::{Blob, Unsealed};
use crate::keys::BootKeys;

/// Receipts waiting for a place at most; callers are refused before they run anything.
const QUEUE: usize = 1024;

/// How long the host may take for one durable step before it is asked again.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before asking again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// What is to be logged: a receipt and its settlement, both without their place, and what goes beside them.
pub(crate) struct Draft {
    pub(crate) receipt: Unplaced,
    pub(crate) leaf_salt: Hash32,
    pub(crate) frame_leaf_hashes: Vec<Hash32>,
    /// `None` if nobody pays.
    pub(crate) settle: Option<Settle>,
    /// The answer, if it is to be kept.
    pub(crate) unsealed: Option<Unsealed>,
}

/// Makes the call that settles a payment by its receipt, which is not made yet. It holds the payer's signature.
pub(crate) type Settle = Arc<dyn Fn(&Receipt, &Signature65) -> ContractCall + Send + Sync>;

/// The settlement by this receipt. `None` if it charges nothing: then nothing is to move.
fn settlement(settle: &Settle, receipt: &Receipt, signature: &Signature65, answer: Option<AnswerRef>) -> Option<Settlement> {
    let Money { scheme, payment_id, chain_id, charged, .. } = receipt.money;
    if charged == Amount::ZERO {
        return None;
    }
    let ContractCall { to, calldata } = settle(receipt, signature);
    Some(Settlement { scheme, payment_id, chain_id, to, calldata: calldata.0, sequence: receipt.sequence, answer })
}

impl Draft {
    /// Bytes of its record, its settlement and its blob on the link, at most; more than any group has if the host would refuse its transcript.
    fn encoded_len_max(&self) -> usize {
        let frames = self.frame_leaf_hashes.len();
        if MAX_FRAME_HASHES < frames {
            return usize::MAX;
        }
        let blob = self.unsealed.as_ref().map_or(0, Unsealed::len_max);
        let record = LoggedReceipt::encoded_len_max(frames).saturating_add(blob);
        let settlement = self.settle.as_ref().map_or(0, |_| Settlement::encoded_len_max(CALLDATA_MAX));
        record.saturating_add(settlement)
    }
}

/// A receipt in its place, under a checkpoint that the host has stored.
#[derive(Clone)]
pub(crate) struct Logged {
    pub(crate) receipt: Receipt,
    pub(crate) signature: Signature65,
    pub(crate) checkpoint: SignedCheckpoint,
    pub(crate) inclusion: Vec<Hash32>,
    pub(crate) earlier_anchor: Option<AnchorLink>,
}

/// Why a receipt has no place. Nothing was charged, unless it is `Unknown`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LedgerError {
    /// No room in the queue, no host, or a host that does not store now.
    NotNow,
    /// Its transcript fits in no message to the host.
    TooLong,
    /// The log is over; this enclave must boot again.
    Closed,
    /// The log ended while the checkpoint with this settlement was on its way: it may be charged. Only the chain or the deadline tells.
    Unknown,
}

/// The way to the ledger's task.
pub(crate) struct Ledger {
    jobs: mpsc::Sender<Job>,
    closed: watch::Receiver<bool>,
    open: watch::Receiver<bool>,
}

struct Job {
    draft: Draft,
    // From the moment that the sequencer gave it a place.
    sealed: Option<Sealed>,
    // Whether its calldata was sent beside a checkpoint.
    sent: bool,
    answer: oneshot::Sender<Result<Logged, LedgerError>>,
}

/// A receipt in its place, signed there, and what goes with it.
struct Sealed {
    receipt: Receipt,
    signature: Signature65,
    // `None` if nobody pays, or if the answer was to be kept and could not be sealed: then it is not charged.
    settlement: Option<Settlement>,
    blob: Option<Arc<Blob>>,
}

impl Ledger {
    pub(crate) fn start(
        runtime: &tokio::runtime::Handle,
        port: HostPort,
        keys: Arc<BootKeys>,
        manifest: &Manifest,
        limits: &crate::Config,
    ) -> Self {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let (closed_sender, closed) = watch::channel(false);
        let (open_sender, open) = watch::channel(false);
        let config = Config {
            group_max: limits.max_group,
            group_bytes_max: MAX_GROUP_BYTES,
            queue_max: QUEUE,
            confirm_max_ms: u64::try_from(limits.confirm_max.as_millis()).unwrap_or(u64::MAX),
            ..Config::default()
        };
        let (events, event_receiver) = mpsc::unbounded_channel();
        let task = Task {
            log_id: manifest.log_id(),
            sequencer: Sequencer::new(config, manifest.log_id()),
            keys,
            port,
            jobs: HashMap::new(),
            next_ticket: 0,
            generation: 0,
            events,
            link_up: false,
            in_doubt: false,
            closed: closed_sender,
            open: open_sender,
        };
        runtime.spawn(task.run(receiver, event_receiver));
        Self { jobs, closed, open }
    }

    /// Logs a receipt and waits until it is stored under a stored checkpoint.
    pub(crate) async fn log(&self, draft: Draft) -> Result<Logged, LedgerError> {
        let (answer, receiver) = oneshot::channel();
        self.jobs.try_send(Job { draft, sealed: None, sent: false, answer }).map_err(|_| self.refusal())?;
        receiver.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Whether a receipt would be taken now and the host is there to store it. Asked before anything runs, so that no answer is made that
    /// cannot be logged.
    pub(crate) fn has_room(&self) -> Result<(), LedgerError> {
        let open = *self.open.borrow() && !*self.closed.borrow() && self.jobs.capacity() != 0;
        if open { Ok(()) } else { Err(self.refusal()) }
    }

    /// Whether the log is over: nothing can be sold any more.
    pub(crate) fn is_over(&self) -> bool {
        *self.closed.borrow()
    }

    /// Resolves when the log is over.
    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.clone()
    }

    fn refusal(&self) -> LedgerError {
        if *self.closed.borrow() { LedgerError::Closed } else { LedgerError::NotNow }
    }
}

/// What a spawned exchange with the host reports, and on which connection it was made.
struct Report {
    generation: u64,
    what: What,
}

enum What {
    Event(Box<Event>),
    /// Refused for now, timed out or lost: ask the host where it stands and go on from there.
    Resync,
    /// Longer than a frame: asking again would not help.
    Unsendable,
}

struct Task {
    log_id: Hash32,
    sequencer: Sequencer,
    keys: Arc<BootKeys>,
    port: HostPort,
    jobs: HashMap<Ticket, Job>,
    next_ticket: u64,
    generation: u64,
    events: mpsc::UnboundedSender<Report>,
    closed: watch::Sender<bool>,
    // Whether the host is connected and in step.
    link_up: bool,
    // Whether a group was offered before and the host has not taken it since: it is there, its disk may not be.
    in_doubt: bool,
    // Whether a receipt would be stored now as far as one can tell: link up, nothing in doubt, and room in the sequencer.
    open: watch::Sender<bool>,
}

impl Task {
    async fn run(mut self, mut receiver: mpsc::Receiver<Job>, mut events: mpsc::UnboundedReceiver<Report>) {
        let mut connections = self.port.connections();
        connections.mark_changed();
        while !self.sequencer.is_closed() {
            let tick = self.next_tick();
            tokio::select! {
                biased;
                changed = connections.changed() => {
                    if changed.is_err() { break }
                    self.resync(Duration::ZERO);
                }
                Some(report) = events.recv() => self.report(report),
                Some(job) = receiver.recv() => {
                    self.submit(job);
                    // Whoever is waiting already joins the same group.
                    while let Ok(job) = receiver.try_recv() { self.submit(job) }
                    self.step(Event::Tick);
                }
                () = tokio::time::sleep(tick) => self.step(Event::Tick),
            }
        }
        self.closed.send_replace(true);
        for (_, job) in self.jobs.drain() {
            drop(job.answer.send(Err(LedgerError::Closed)));
        }
    }

    fn next_tick(&self) -> Duration {
        let due = self.sequencer.next_tick_ms().map(|at| at.saturating_sub(clock::now().0));
        Duration::from_millis(due.unwrap_or(1_000).clamp(1, 60_000))
    }

    fn submit(&mut self, job: Job) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.saturating_add(1);
        let bytes = job.draft.encoded_len_max();
        self.jobs.insert(ticket, job);
        // Queued only: the group is sealed on the tick after the last of those who wait.
        let actions = self.sequencer.step(Event::Submit { ticket, bytes }, clock::now().0);
        self.perform(actions);
    }

    fn report(&mut self, report: Report) {
        if report.generation != self.generation {
            return;
        }
        match report.what {
            What::Event(event) => self.step(*event),
            What::Resync => {
                self.port.events().note(EnclaveEvent::HostOutOfStep);
                self.resync(RETRY_PAUSE);
            }
            What::Unsendable => self.step(Event::Unsendable),
        }
    }

    fn step(&mut self, event: Event) {
        match &event {
            Event::LinkRestored(_) => (self.link_up, self.in_doubt) = (true, self.sequencer.in_flight() != 0),
            Event::LinkLost => self.link_up = false,
            Event::Contradicted => self.port.events().note(EnclaveEvent::HostContradicts),
            Event::AppendAcked { .. } | Event::CheckpointStored(_) => self.in_doubt = false,
            _ => {}
        }
        let actions = self.sequencer.step(event, clock::now().0);
        let open = self.link_up && !self.in_doubt && self.sequencer.room() != 0;
        self.open.send_if_modified(|was| std::mem::replace(was, open) != open);
        self.perform(actions);
    }

    /// Runs actions in order; `Seal` and `SignCheckpoint` are answered in the same turn.
    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Seal { first_index, tickets } => {
                    let leaves = self.seal(first_index, &tickets);
                    self.step(Event::Sealed { leaves });
                }
                Action::SignCheckpoint { checkpoint } => {
                    let signed = self.keys.sign_checkpoint(checkpoint);
                    self.step(Event::Signed { note_signature: signed.note_signature, signature: signed.signature });
                }
                Action::SendAppend { first_index, leaves } => self.send_append(first_index, &leaves),
                Action::SendCheckpoint { first_index, tickets, signed } => self.send_checkpoint(first_index, &tickets, signed),
                Action::Release(released) => self.release(&released),
                Action::Refuse { ticket, reason: Refused::TooLong { .. } } => {
                    self.port.events().note(EnclaveEvent::ReceiptTooLong);
                    self.answer(ticket, Err(LedgerError::TooLong));
                }
                Action::Refuse { ticket, .. } => self.answer(ticket, Err(LedgerError::NotNow)),
                Action::Close { abandoned, .. } => {
                    self.port.events().note_with(EnclaveEvent::LogClosed, &[], Some(self.log_id));
                    for ticket in abandoned {
                        let sent = self.jobs.get(&ticket).is_some_and(|job| job.sent);
                        self.answer(ticket, Err(if sent { LedgerError::Unknown } else { LedgerError::Closed }));
                    }
                }
                // A future action of the sequencer would be a bug here; doing nothing closes the log by its own deadline.
                _ => {}
            }
        }
    }

    /// Signs one receipt per ticket over its place.
    fn seal(&mut self, first_index: u64, tickets: &[Ticket]) -> Vec<LeafData> {
        let mut leaves = Vec::with_capacity(tickets.len());
        for (ticket, index) in tickets.iter().zip(first_index..) {
            let Some(job) = self.jobs.get_mut(ticket) else { continue };
            let receipt = job.draft.receipt.clone().placed(self.log_id, index);
            let signature = self.keys.sign_receipt(&receipt);
            let leaf_salt = job.draft.leaf_salt;
            leaves.push(LeafData(leaf_data(&leaf_salt, &receipt.digest(), &signature)));
            let settle = |answer| job.draft.settle.as_ref().and_then(|settle| settlement(settle, &receipt, &signature, answer));
            let (settlement, blob) = match job.draft.unsealed.take().map(|answer| answer.seal(&receipt, &signature, &leaf_salt)) {
                None => (settle(None), None),
                // What is not charged needs no keeping: its payment is free to run again.
                Some(Some(blob)) => match settle(Some(blob.named)) {
                    Some(settlement) => (Some(settlement), Some(Arc::new(blob))),
                    None => (None, None),
                },
                Some(None) => (None, None),
            };
            job.sealed = Some(Sealed { receipt, signature, settlement, blob });
        }
        leaves
    }

    fn send_append(&mut self, first_index: u64, leaves: &[(Ticket, LeafData)]) {
        let entries = leaves.iter().filter_map(|(ticket, leaf)| {
            let job = self.jobs.get(ticket)?;
            let sealed = job.sealed.as_ref()?;
            Some(LoggedReceipt {
                leaf_data: leaf.0,
                receipt_id: receipt_id(&job.draft.leaf_salt),
                receipt: sealed.receipt.encode().try_into().ok()?,
                signature: sealed.signature,
                frame_leaf_hashes: job.draft.frame_leaf_hashes.clone(),
            })
        });
        let request = EnclaveRequest::Append(AppendRequest { first_index, entries: entries.collect() });
        self.ask(Vec::new(), request, move |reply| match reply {
            HostReply::Appended { size } => Some(Event::AppendAcked { first_index, count: size.saturating_sub(first_index) }),
            _ => None,
        });
    }

    fn send_checkpoint(&mut self, first_index: u64, tickets: &[Ticket], signed: SignedCheckpoint) {
        for ticket in tickets {
            if let Some(job) = self.jobs.get_mut(ticket) {
                // From here on it may leave at any moment, as soon as the answers are stored.
                job.sent = true;
            }
        }
        let sealed: Vec<&Sealed> = tickets.iter().filter_map(|ticket| self.jobs.get(ticket)?.sealed.as_ref()).collect();
        let settlements = sealed.iter().filter_map(|sealed| sealed.settlement.clone()).collect();
        let blobs = sealed.iter().filter_map(|sealed| sealed.blob.clone()).collect();
        let tree = signed.checkpoint.tree;
        let request = EnclaveRequest::Checkpoint(Box::new(CheckpointRequest { first_index, checkpoint: signed, settlements }));
        self.ask(blobs, request, move |reply| match reply {
            HostReply::CheckpointStored(stored) if stored.size == tree.size => Some(Event::CheckpointStored(CheckpointAck {
                tree,
                inclusions: stored.inclusions,
                anchored: Anchored {
                    tree: stored.anchored.unwrap_or(Tree { size: 0, root: empty_root() }),
                    consistency: stored.consistency,
                },
            })),
            _ => None,
        });
    }

    /// Has the host store these answers, then asks it, and reports its answer on this connection's generation.
    fn ask(&self, blobs: Vec<Arc<Blob>>, request: EnclaveRequest, read: impl FnOnce(HostReply) -> Option<Event> + Send + 'static) {
        let (port, events, generation) = (self.port.clone(), self.events.clone(), self.generation);
        tokio::spawn(async move {
            for blob in blobs {
                // Crash: here the host has answers that no checkpoint names. They are given to nobody and were not paid for.
                if !blob.store(&port).await {
                    return drop(events.send(Report { generation, what: What::Resync }));
                }
            }
            let event = match port.request(request, STEP_TIMEOUT).await {
                Ok(reply) => read(reply),
                // Asking again cannot help: one of the two sides has forked or lost something (link.md, LINK-15).
                Err(AskError::Refused(refused)) if refused.code == RefusalCode::Contradiction => Some(Event::Contradicted),
                Err(AskError::TooLong(_)) => return drop(events.send(Report { generation, what: What::Unsendable })),
                Err(_) => None,
            };
            let what = event.map_or(What::Resync, |event| What::Event(Box::new(event)));
            drop(events.send(Report { generation, what }));
        });
    }

    /// Forgets the connection and asks the host where it stands: what it did not acknowledge is then offered again, the same bytes.
    ///
    /// Trust: a host that lies about its state closes the log (the sequencer compares trees); it cannot fork it.
    fn resync(&mut self, pause: Duration) {
        self.generation = self.generation.saturating_add(1);
        self.step(Event::LinkLost);
        let (port, events, generation, log_id) = (self.port.clone(), self.events.clone(), self.generation, self.log_id);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let what = match port.request(EnclaveRequest::LogState { log_id }, STEP_TIMEOUT).await {
                Ok(HostReply::LogState(state)) => {
                    What::Event(Box::new(Event::LinkRestored(HostState { tree: state.durable, checkpoint_size: state.checkpointed })))
                }
                // No connection: the next one resyncs by itself.
                Err(AskError::LinkLost) => return,
                Ok(_) | Err(_) => What::Resync,
            };
            drop(events.send(Report { generation, what }));
        });
    }

    fn release(&mut self, released: &Released) {
        let anchored = &released.anchored;
        let earlier_anchor =
            (anchored.tree.size != 0).then(|| AnchorLink { tree: anchored.tree, consistency: anchored.consistency.clone() });
        for ReleasedLeaf { ticket, inclusion, .. } in &released.leaves {
            let Some(job) = self.jobs.remove(ticket) else { continue };
            let Some(sealed) = job.sealed else { continue };
            let logged = Logged {
                receipt: sealed.receipt,
                signature: sealed.signature,
                checkpoint: released.signed.clone(),
                inclusion: inclusion.clone(),
                earlier_anchor: earlier_anchor.clone(),
            };
            drop(job.answer.send(Ok(logged)));
        }
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Logged, LedgerError>) {
        if let Some(job) = self.jobs.remove(&ticket) {
            drop(job.answer.send(result));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
