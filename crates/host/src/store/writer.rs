//! The one thread that writes: takes what waits, makes it one transaction, applies it to memory, answers.
//!
//! A group holds at most one write to a log (append or checkpoint), because `candor_log` plans each against the state after the one
//! before, and any number of intents and anchors. Inside the group every job has a savepoint, so that a refused one does not harm the
//! others. If the transaction fails, its outcome is unknown: the log is loaded again from the database, as after a restart.

use std::sync::Arc;
use std::time::Instant;

use candor_link::{AnswerPart, AppendRequest, CheckpointRequest, CheckpointStored, LoggedReceipt, Settlement};
use candor_log::LeafData;
use candor_log::host::{AppendPlan, AppendRefused, CheckpointPlan};
use candor_verify::Hash32;
use candor_verify::receipt::Receipt;
use candor_verify::time::UnixSeconds;
use candor_x402::Libsecp;
use candor_x402::scheme::Calldata;
use candor_x402::settlement::{Intent, Progress, StoredIntent};
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use super::health::StoreHealth;
use super::logs::Logs;
use super::rows::{self, integer, join};
use super::{AnchorRow, LogRow, OpenLog, StoreError, answers, read};

/// Jobs of one transaction at most: bounds how long the first of them waits.
const GROUP: usize = 256;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A write, and where its outcome goes.
#[derive(Debug)]
pub(super) enum Job {
    OpenLog { row: Box<LogRow>, beside: Option<Vec<Hash32>>, reply: Reply<OpenLog> },
    Append { log_id: Hash32, request: AppendRequest, reply: Reply<u64> },
    Checkpoint { log_id: Hash32, request: Box<CheckpointRequest>, reply: Reply<(CheckpointStored, Vec<Intent>)> },
    PutIntent { record: Box<StoredIntent>, reply: Reply<()> },
    PutAnchor { open: OpenLog, anchor: AnchorRow, reply: Reply<()> },
    SetQuota { quota_bytes: Option<u64>, reply: Reply<()> },
    Probe { reply: Reply<()> },
    StoreAnswer { part: AnswerPart, reply: Reply<u64> },
    EraseAnswer { answer_id: Hash32, reply: Reply<()> },
    EraseEnded { now: UnixSeconds, reply: Reply<u64> },
    PutEvidence { manifest_hash: Hash32, made_at_ms: u64, evidence: Vec<u8>, reply: Reply<()> },
}

impl Job {
    /// Jobs that are planned against the state of a log, or replace it: one of them per group.
    fn is_about_a_log(&self) -> bool {
        matches!(self, Self::OpenLog { .. } | Self::Append { .. } | Self::Checkpoint { .. })
    }
}

/// What is left to do for a job when its transaction is durable.
enum After {
    Append {
        open: OpenLog,
        plan: AppendPlan,
        reply: Reply<u64>,
    },
    Checkpoint {
        open: OpenLog,
        plan: CheckpointPlan,
        first_index: u64,
        intents: Vec<Intent>,
        reply: Reply<(CheckpointStored, Vec<Intent>)>,
    },
    OpenLog {
        open: OpenLog,
        is_new_boot: bool,
        beside: Option<Vec<Hash32>>,
        reply: Reply<OpenLog>,
    },
    PutAnchor {
        open: OpenLog,
        anchor: AnchorRow,
        reply: Reply<()>,
    },
    Counted {
        count: u64,
        reply: Reply<u64>,
    },
    Probed {
        reply: Reply<()>,
    },
    Done {
        reply: Reply<()>,
    },
}

pub(super) struct Writer {
    connection: Connection,
    logs: Arc<Logs>,
    recover: Libsecp,
    health: Arc<StoreHealth>,
    // Whether a transaction failed and memory has not been loaded again since.
    is_stale: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, logs: Arc<Logs>, health: Arc<StoreHealth>) -> Self {
        Self { connection, logs, recover: Libsecp, health, is_stale: false }
    }

    /// Until the queue is closed.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut carried = None;
        while let Some(first) = carried.take().or_else(|| queue.blocking_recv()) {
            let mut has_log_job = first.is_about_a_log();
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                if has_log_job && job.is_about_a_log() {
                    carried = Some(job);
                    break;
                }
                has_log_job |= job.is_about_a_log();
                group.push(job);
            }
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<Job>) {
        if self.is_stale {
            let reloaded = self.logs.open().iter().try_for_each(|open| open.reload(&self.connection));
            match reloaded {
                Ok(()) => self.is_stale = false,
                Err(error) => return group.into_iter().for_each(|job| refuse(job, error.clone())),
            }
        }
        if !self.connection.is_autocommit() {
            // An earlier rollback failed. If it fails again, BEGIN says so.
            let _said_below = self.connection.execute_batch("ROLLBACK");
        }
        let (began, writes) = (Instant::now(), group.len());
        if let Err(error) = self.connection.execute_batch("BEGIN IMMEDIATE") {
            let error = StoreError::from(error);
            self.health.outcome(&Err::<(), _>(error.clone()));
            return group.into_iter().for_each(|job| refuse(job, error.clone()));
        }
        let mut after = Vec::with_capacity(group.len());
        let mut lost = None;
        for job in group {
            if let Some(error) = &lost {
                refuse(job, StoreError::clone(error));
                continue;
            }
            if let Some(next) = self.write(job) {
                after.push(next);
            }
            // A full disk may end the whole transaction inside one statement.
            if self.connection.is_autocommit() {
                lost = Some(StoreError::Full);
            }
        }
        // Crash: before COMMIT returns nothing of the group is promised; the enclave offers it again and the settlement machine writes it
        // again. After it everything of the group is there, and an offer of the same bytes is found to be held.
        let committed = match lost {
            Some(error) => Err(error),
            None => self.connection.execute_batch("COMMIT").map_err(StoreError::from),
        };
        self.health.outcome(&committed);
        match committed {
            Ok(()) => {
                self.health.group(writes, began.elapsed());
                after.into_iter().for_each(|next| self.apply(next));
            }
            Err(error) => {
                // The outcome is unknown. Roll back if there is something to roll back, and load again before the next write.
                if !self.connection.is_autocommit() {
                    let _nothing_to_do_about_it = self.connection.execute_batch("ROLLBACK");
                }
                self.is_stale = true;
                after.into_iter().for_each(|next| refuse_after(next, error.clone()));
            }
        }
    }

    /// Writes one job inside a savepoint. A refused job is answered here and leaves nothing.
    fn write(&self, job: Job) -> Option<After> {
        if let Err(error) = self.connection.execute_batch("SAVEPOINT job") {
            refuse(job, error.into());
            return None;
        }
        let (written, is_ok) = match self.write_inner(job) {
            Ok(after) => (Some(after), true),
            Err(()) => (None, false),
        };
        let end = if is_ok { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
        // Fails only if the transaction is gone, which `commit` notices.
        let _transaction_gone = self.connection.execute_batch(end);
        written
    }

    fn write_inner(&self, job: Job) -> Result<After, ()> {
        match job {
            Job::OpenLog { row, beside, reply } => match self.open_log(*row, beside.is_some()) {
                Ok((open, is_new_boot)) => Ok(After::OpenLog { open, is_new_boot, beside, reply }),
                Err(error) => self.answer(reply, error),
            },
            Job::Append { log_id, request, reply } => match self.append(&log_id, &request) {
                Ok((open, plan)) => Ok(After::Append { open, plan, reply }),
                Err(error) => self.answer(reply, error),
            },
            Job::Checkpoint { log_id, request, reply } => match self.checkpoint(&log_id, &request) {
                Ok((open, plan, intents)) => Ok(After::Checkpoint { open, plan, first_index: request.first_index, intents, reply }),
                Err(error) => self.answer(reply, error),
            },
            Job::PutIntent { record, reply } => self.done(reply, self.put_intent(&record)),
            Job::PutAnchor { open, anchor, reply } => match self.put_anchor(&open, &anchor) {
                Ok(()) => Ok(After::PutAnchor { open, anchor, reply }),
                Err(error) => self.answer(reply, error),
            },
            Job::Probe { reply } => match rows::probe(&self.connection) {
                Ok(()) => Ok(After::Probed { reply }),
                Err(error) => self.answer(reply, error),
            },
            Job::SetQuota { quota_bytes, reply } => self.done(reply, rows::set_quota(&self.connection, quota_bytes)),
            Job::StoreAnswer { part, reply } => match answers::store(&self.connection, &part) {
                Ok(size) => Ok(After::Counted { count: size, reply }),
                Err(error) => self.answer(reply, error),
            },
            Job::EraseAnswer { answer_id, reply } => self.done(reply, answers::erase(&self.connection, &answer_id)),
            Job::EraseEnded { now, reply } => match answers::erase_ended(&self.connection, now) {
                Ok(count) => Ok(After::Counted { count, reply }),
                Err(error) => self.answer(reply, error),
            },
            Job::PutEvidence { manifest_hash, made_at_ms, evidence, reply } => {
                self.done(reply, answers::put_evidence(&self.connection, &manifest_hash, made_at_ms, &evidence))
            }
        }
    }

    /// Answers a job that is refused.
    fn answer<T, U>(&self, reply: Reply<T>, error: StoreError) -> Result<U, ()> {
        let outcome = Err(error);
        self.health.outcome(&outcome);
        send(reply, outcome);
        Err(())
    }

    /// A write after whose commit there is nothing left to do.
    fn done(&self, reply: Reply<()>, written: Result<(), StoreError>) -> Result<After, ()> {
        match written {
            Ok(()) => Ok(After::Done { reply }),
            Err(error) => self.answer(reply, error),
        }
    }

    /// The log of a boot, and whether the boot is new: then the logs before it have ended, but for those that are open beside it.
    fn open_log(&self, row: LogRow, has_others: bool) -> Result<(OpenLog, bool), StoreError> {
        let log_id = row.manifest.log_id();
        let (row, is_new_boot) = match read::log_row(&self.connection, &log_id)? {
            Some(held) if held.manifest != row.manifest => {
                return Err(StoreError::Contradiction("this log has another manifest in the database".to_owned()));
            }
            Some(held) => (held, false),
            None => {
                let sql = "INSERT INTO logs (log_id, manifest, evidence) VALUES (?1, ?2, ?3)";
                self.connection.prepare_cached(sql)?.execute(params![&log_id.0[..], row.manifest.encode(), row.evidence])?;
                if !has_others {
                    // The boot before is gone: what no checkpoint of it names was never charged. Which of two it is of is not known.
                    answers::erase_unnamed(&self.connection)?;
                }
                (row, true)
            }
        };
        let open = self.get(&log_id).or_else(|_| OpenLog::load(&self.connection, row))?;
        Ok((open, is_new_boot))
    }

    /// Only an open log grows.
    fn get(&self, log_id: &Hash32) -> Result<OpenLog, StoreError> {
        let open = self.logs.open().into_iter().find(|open| open.row().manifest.log_id() == *log_id);
        open.ok_or_else(|| StoreError::Malformed(format!("log {log_id:#} is not open")))
    }

    fn append(&self, log_id: &Hash32, request: &AppendRequest) -> Result<(OpenLog, AppendPlan), StoreError> {
        let open = self.get(log_id)?;
        let leaves: Vec<LeafData> = request.entries.iter().map(|entry| LeafData(entry.leaf_data)).collect();
        let plan = open.read().plan_append(request.first_index, &leaves).map_err(append_refused)?;
        let held = plan.held();
        for (sequence, (position, entry)) in (request.first_index..).zip(request.entries.iter().enumerate()) {
            check_receipt(log_id, sequence, entry)?;
            if position < held { self.check_held(log_id, sequence, entry)? } else { self.insert(log_id, sequence, entry)? }
        }
        Ok((open, plan))
    }

    fn insert(&self, log_id: &Hash32, sequence: u64, entry: &LoggedReceipt) -> Result<(), StoreError> {
        let sql = "INSERT INTO receipts (log_id, sequence, leaf_data, receipt_id, receipt, signature, frame_leaf_hashes)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.connection.prepare_cached(sql)?.execute(params![
            &log_id.0[..],
            integer("sequence", sequence)?,
            &entry.leaf_data.0[..],
            &entry.receipt_id[..],
            &entry.receipt[..],
            &entry.signature.0[..],
            join(&entry.frame_leaf_hashes),
        ])?;
        Ok(())
    }

    /// The same leaf must come with the same receipt: all of it is compared, so that a second offer cannot change what is served.
    fn check_held(&self, log_id: &Hash32, sequence: u64, entry: &LoggedReceipt) -> Result<(), StoreError> {
        let held = read::receipt_at(&self.connection, log_id, integer("sequence", sequence)?)?;
        let is_same = held.is_some_and(|(id, row)| {
            id == entry.receipt_id
                && row.leaf_data == entry.leaf_data
                && row.receipt == entry.receipt
                && row.signature == entry.signature
                && row.frame_leaf_hashes == entry.frame_leaf_hashes
        });
        if is_same { Ok(()) } else { Err(StoreError::Contradiction(format!("receipt {sequence} is stored with other bytes"))) }
    }

    fn checkpoint(&self, log_id: &Hash32, request: &CheckpointRequest) -> Result<(OpenLog, CheckpointPlan, Vec<Intent>), StoreError> {
        let open = self.get(log_id)?;
        let plan = open
            .read()
            .plan_checkpoint(&self.recover, request.first_index, &request.checkpoint)
            .map_err(|error| StoreError::Contradiction(format!("checkpoint: {error}")))?;
        if let Some(signed) = plan.new_checkpoint() {
            let sql =
                "INSERT INTO checkpoints (log_id, size, root, timestamp_ms, note_signature, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let c = &signed.checkpoint;
            self.connection.prepare_cached(sql)?.execute(params![
                &log_id.0[..],
                integer("size", c.tree.size)?,
                &c.tree.root.0[..],
                integer("time", c.timestamp.0)?,
                &signed.note_signature.0[..],
                &signed.signature.0[..],
            ])?;
        }
        let mut intents = Vec::with_capacity(request.settlements.len());
        for settlement in &request.settlements {
            intents.extend(self.insert_settlement(log_id, request.first_index, settlement)?);
        }
        Ok((open, plan, intents))
    }

    /// Stores one settlement and gives what is to be settled, if it is.
    ///
    /// A payment id leaves out amount and end, so a payer can have two authorizations under one. That must never refuse a checkpoint: the
    /// enclave could only close its log over it, and any payer could end any boot. The chain moves one of the two at most.
    fn insert_settlement(&self, log_id: &Hash32, first_index: u64, s: &Settlement) -> Result<Option<Intent>, StoreError> {
        let malformed = |what: &str| StoreError::Malformed(format!("settlement of receipt {}: {what}", s.sequence));
        let intent = Intent::parse(s.chain_id, s.to, Calldata(s.calldata.clone())).map_err(|error| malformed(&error.to_string()))?;
        if intent.payment_id() != s.payment_id {
            return Err(malformed("its calldata settles another payment"));
        }
        let sequence = integer("sequence", s.sequence)?;
        let is_about_it = |receipt: &[u8]| {
            Receipt::parse(receipt).is_ok_and(|Receipt { money, .. }| (money.payment_id, money.scheme) == (s.payment_id, s.scheme))
        };
        let about_it = read::receipt_at(&self.connection, log_id, sequence)?
            .filter(|(_, row)| first_index <= s.sequence && is_about_it(&row.receipt))
            .map(|(receipt_id, _)| receipt_id);
        let receipt_id = about_it.ok_or_else(|| malformed("no new receipt under this checkpoint is about this payment"))?;
        // Before anything is decided about the payment: calldata is not taken without the answer that it pays for.
        if let Some(kept) = &s.answer {
            answers::name(&self.connection, &intent, kept, &receipt_id)?;
        }
        if let Some(held) = read::intent(&self.connection, &s.payment_id)? {
            // A re-offer, which may be far on its way already.
            if held.intent.transfer() == intent.transfer() {
                return Ok(Some(held.intent));
            }
            // The earlier one is money received or may still become it; then this one can never settle.
            if !matches!(held.progress, Progress::Done { status, .. } if status.is_unsettled_end()) {
                // A transfer under this id would pay for the earlier one's answer, not for this.
                if let Some(kept) = &s.answer {
                    answers::erase(&self.connection, &kept.answer_id)?;
                }
                return Ok(None);
            }
        }
        // From now on a transfer under this payment id pays for this answer, and for none that was kept before.
        answers::erase_others(&self.connection, &s.payment_id, s.answer.as_ref().map(|kept| &kept.answer_id))?;
        let record = StoredIntent { intent: intent.clone(), revision: 0, progress: Progress::AwaitingNonce { attempts: 0 } };
        let sql = "INSERT OR REPLACE INTO intents (payment_id, chain_id, valid_before, revision, is_done, log_id, sequence, record)
                   VALUES (?1, ?2, ?3, 0, 0, ?4, ?5, ?6)";
        self.connection.prepare_cached(sql)?.execute(params![
            &s.payment_id.0[..],
            integer("chain id", s.chain_id)?,
            integer("validBefore", intent.valid_before().0)?,
            &log_id.0[..],
            sequence,
            record.encode(),
        ])?;
        Ok(Some(intent))
    }

    fn put_intent(&self, record: &StoredIntent) -> Result<(), StoreError> {
        let id = record.intent.payment_id();
        let Some(held) = read::intent(&self.connection, &id)? else {
            return Err(StoreError::Malformed("a record of a settlement that no checkpoint released".to_owned()));
        };
        // A late write about an authorization that ended and was replaced: whatever it says is over.
        if held.intent.transfer() != record.intent.transfer() {
            return Ok(());
        }
        let is_done = matches!(record.progress, Progress::Done { .. });
        let sql = "UPDATE intents SET revision = ?2, is_done = ?3, record = ?4 WHERE payment_id = ?1 AND revision <= ?2";
        let revision = integer("revision", record.revision)?;
        self.connection.prepare_cached(sql)?.execute(params![&id.0[..], revision, is_done, record.encode()])?;
        if let Progress::Done { status, .. } = record.progress
            && status.is_unsettled_end()
        {
            answers::unpaid(&self.connection, &id, record.intent.valid_before())?;
        }
        Ok(())
    }

    fn put_anchor(&self, open: &OpenLog, anchor: &AnchorRow) -> Result<(), StoreError> {
        let is_ours = open.read().tree().at(anchor.tree.size).is_some_and(|at| at.tree() == anchor.tree);
        if !is_ours {
            return Err(StoreError::Contradiction("the chain holds a tree that is not this log's".to_owned()));
        }
        let log_id = open.row().manifest.log_id();
        let sql = "INSERT OR IGNORE INTO anchors (log_id, size, root, anchored_at_s, tx_hash) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.connection.prepare_cached(sql)?.execute(params![
            &log_id.0[..],
            integer("size", anchor.tree.size)?,
            &anchor.tree.root.0[..],
            integer("time", anchor.anchored_at.0)?,
            anchor.tx_hash.map(|hash| hash.0.to_vec()),
        ])?;
        Ok(())
    }
}

impl Writer {
    /// Makes a durable job visible and answers it. A stale plan cannot be: one log job per group, and only this thread applies.
    fn apply(&mut self, after: After) {
        match after {
            After::Append { open, plan, reply } => {
                let applied = open.update(|log| log.apply_append(plan).map(|()| log.state().tree.size));
                send(reply, applied.map_err(stale));
            }
            After::Checkpoint { open, plan, first_index, intents, reply } => {
                let applied = open.update(|log| log.apply_checkpoint(plan)).map_err(stale);
                let stored = applied.map(|ack| CheckpointStored {
                    size: ack.tree.size,
                    first_index,
                    inclusions: ack.inclusions,
                    anchored: Some(ack.anchored.tree).filter(|tree| 0 < tree.size),
                    consistency: ack.anchored.consistency,
                });
                send(reply, stored.map(|stored| (stored, intents)));
            }
            After::OpenLog { open, is_new_boot, beside, reply } => {
                self.logs.set_open(&open, is_new_boot, beside.as_deref().unwrap_or_default());
                send(reply, Ok(open));
            }
            After::PutAnchor { open, anchor, reply } => {
                let set = open.update(|log| log.set_anchored(anchor.tree));
                send(reply, set.map_err(|error| StoreError::Contradiction(format!("anchor: {error}"))));
            }
            After::Counted { count, reply } => send(reply, Ok(count)),
            After::Probed { reply } => {
                self.health.is_well();
                send(reply, Ok(()));
            }
            After::Done { reply } => send(reply, Ok(())),
        }
    }
}

fn stale(error: candor_log::host::PlanStale) -> StoreError {
    StoreError::Io(format!("the log changed under a plan: {error}"))
}

fn append_refused(error: AppendRefused) -> StoreError {
    match error {
        AppendRefused::Gap { .. } => StoreError::Gap(error.to_string()),
        AppendRefused::Contradiction { .. } => StoreError::Contradiction(error.to_string()),
        AppendRefused::Full => StoreError::Full,
        _ => StoreError::Malformed(format!("append: {error}")),
    }
}

fn check_receipt(log_id: &Hash32, sequence: u64, entry: &LoggedReceipt) -> Result<(), StoreError> {
    let receipt = Receipt::parse(&entry.receipt).map_err(|error| StoreError::Malformed(format!("receipt {sequence}: {error}")))?;
    if receipt.log_id == *log_id && receipt.sequence == sequence {
        return Ok(());
    }
    Err(StoreError::Malformed(format!("receipt {sequence} is of another log or has another number")))
}

/// A receiver that is gone has given up; what was written stays written, and is found to be held when it asks again.
fn send<T>(reply: Reply<T>, outcome: Result<T, StoreError>) {
    let _receiver_gone = reply.send(outcome);
}

fn refuse(job: Job, error: StoreError) {
    match job {
        Job::OpenLog { reply, .. } => send(reply, Err(error)),
        Job::Append { reply, .. } | Job::StoreAnswer { reply, .. } | Job::EraseEnded { reply, .. } => send(reply, Err(error)),
        Job::Checkpoint { reply, .. } => send(reply, Err(error)),
        Job::PutIntent { reply, .. }
        | Job::PutAnchor { reply, .. }
        | Job::SetQuota { reply, .. }
        | Job::Probe { reply }
        | Job::EraseAnswer { reply, .. }
        | Job::PutEvidence { reply, .. } => send(reply, Err(error)),
    }
}

fn refuse_after(after: After, error: StoreError) {
    match after {
        After::Append { reply, .. } | After::Counted { reply, .. } => send(reply, Err(error)),
        After::Checkpoint { reply, .. } => send(reply, Err(error)),
        After::OpenLog { reply, .. } => send(reply, Err(error)),
        After::PutAnchor { reply, .. } | After::Probed { reply } | After::Done { reply } => send(reply, Err(error)),
    }
}
