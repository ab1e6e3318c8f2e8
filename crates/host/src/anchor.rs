//! Puts checkpoints on the chain, with a consistency proof: a new one at once, unless the last anchor is younger than an interval and little was
//! charged since.
//!
//! Anyone may anchor; this is the host doing it for its clients. Logs of former boots come first: what their enclaves signed and nobody
//! anchored yet is still worth anchoring, and a successor needs an anchored size. The chain is asked what it holds at each look at the
//! current log, and the database is not believed about it: a lost answer, a crash or somebody else's anchor cost one question, and an
//! anchor that the chain took back, or lost when it was reset, is made again; a former log is looked at until its last anchor is in a block that
//! stays. Only such an anchor is written down, and is one that clients' proofs begin at.

use std::sync::Arc;
use std::time::Duration;

use candor_chain::{Anchor, ChainClient, ChainError, Finality, KeyStatus, Signer, anchor_calldata, link_calldata};
use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::{Address, Hash32};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock;
use crate::notice::Notice;
use crate::publish;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::store::{AnchorRow, OpenLog, Store, StoreError};

/// Between looks for an edge that is missing.
const LOOK_FOR_GAP: Duration = Duration::from_secs(30);

/// Most anchors that are waited for: a chain that makes none safe for so long has other troubles.
const SEEN_MAX: usize = 64;

/// When an anchor may be made and nothing is new, the chain is looked at after this all the same: it may have lost one.
const LOOK: Duration = Duration::from_secs(1);

/// Anchors until stopped.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let (interval, mut stored) = (shared.config.timing.anchor, shared.stored.subscribe());
    let mut rounds = Rounds { shared, former: None, linked: Vec::new(), looked: None, open: Vec::new() };
    loop {
        tokio::select! {
            changed = stored.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
            _ = stopped.changed() => return,
        }
        // A chain that does not answer is told of already.
        let is_away = rounds.shared.head.borrow().is_none();
        let open = rounds.shared.open_logs();
        if !open.is_empty() && !is_away {
            // Crash: what was sent is found on the chain by the next round, of this process or another.
            tokio::select! {
                () = rounds.round(&open) => {}
                _ = stopped.changed() => return,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = rounds.shared.worth.notified() => {}
            _ = stopped.changed() => return,
        }
    }
}

/// One look after another at every log that may hold something to anchor.
struct Rounds {
    shared: Arc<Shared>,
    // Former logs that may; `None` until the store has said which.
    former: Option<Vec<Hash32>>,
    // Whose edges to a predecessor there is nothing more to do for, and when they were looked for last.
    linked: Vec<Hash32>,
    looked: Option<Instant>,
    // The open logs of the last round: one that is none any more became a former log, and may hold more than was anchored.
    open: Vec<Hash32>,
}

impl Rounds {
    /// First what former logs still hold, then the open ones.
    async fn round(&mut self, open: &[(Arc<Slot>, OpenLog)]) {
        let ids: Vec<_> = open.iter().map(|(_, open)| open.row().manifest.log_id()).collect();
        let before = std::mem::replace(&mut self.open, ids.clone());
        if before != ids {
            self.former = None;
            self.linked.retain(|linked| ids.contains(linked));
            for (slot, _) in open.iter().zip(&ids).filter(|(_, id)| !before.contains(id)).map(|(row, _)| row) {
                slot.update(|status| (status.anchored_size, status.anchored_at) = (0, None));
            }
        }
        if self.former.is_none() {
            // Without an answer the next round asks again.
            self.former = self.shared.store.unanchored().await.ok();
        }
        if let Some(former) = self.former.take() {
            let mut left = Vec::new();
            for log_id in former.into_iter().filter(|log_id| !ids.contains(log_id)) {
                if !self.anchor_former(&log_id).await {
                    left.push(log_id);
                }
            }
            self.former = Some(left);
        }
        let mut trouble = None;
        for (slot, open) in open {
            trouble = self.anchor_open(slot, open).await.or(trouble);
        }
        self.close_gaps(open).await;
        match trouble {
            Some(message) => self.shared.trouble_once("anchor", message),
            None => self.shared.clear_trouble("anchor"),
        }
    }

    /// Anchors the log of a slot. What the operator is to be told of it, if it is trouble.
    async fn anchor_open(&self, slot: &Slot, open: &OpenLog) -> Option<String> {
        let outcome = self.anchor(open).await;
        match outcome {
            Ok(Anchoring::Anchored { size, .. }) => {
                slot.count_anew();
                let now = clock::now().seconds();
                slot.update(|status| (status.anchored_size, status.anchored_at) = (size, Some(now)));
            }
            Ok(Anchoring::NotRegistered) => {
                // A key that the registry does not know has no anchor.
                slot.update(|status| status.anchored_size = 0);
                slot.look.notify_one();
            }
            Ok(Anchoring::UpToDate(Some(anchor))) => {
                slot.update(|status| (status.anchored_size, status.anchored_at) = (anchor.tree.size, Some(anchor.anchored_at)));
            }
            Ok(Anchoring::UpToDate(None)) | Err(_) => {}
        }
        note_unanchored(slot, open);
        // A registration that is not made yet is trouble of its own, and told there.
        let is_early = outcome == Ok(Anchoring::NotRegistered) && !slot.status().is_registered;
        trouble_of(&open.row().manifest.log_id(), &outcome).filter(|_| !is_early)
    }

    /// Makes the edge to the log that an open one continues, if its registration could not: the chain had lost what it needs, for a moment.
    async fn close_gaps(&mut self, open: &[(Arc<Slot>, OpenLog)]) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_FOR_GAP) {
            return;
        }
        for (_, open) in open {
            let log_id = open.row().manifest.log_id();
            if self.linked.contains(&log_id) {
                continue;
            }
            self.looked = Some(Instant::now());
            match self.shared.anchorer.lock().await.close_gap(open).await {
                Ok(true) => self.linked.push(log_id),
                Ok(false) => {}
                Err(message) => {
                    self.shared.notice(&Notice::Trouble { part: "anchor", message: format!("the edge to the former log: {message}") })
                }
            }
        }
    }

    /// Anchors what a former log still holds. False if the next round is to look again.
    async fn anchor_former(&mut self, log_id: &Hash32) -> bool {
        let open = match self.shared.store.log(log_id).await {
            Ok(Some(open)) => open,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let (m, seller) = (&open.row().manifest, self.shared.seller());
        let terms = &seller.terms.terms;
        if (m.registry, m.anchor_chain_id) != (terms.registry, terms.anchor_chain_id) {
            // Its anchors are on a chain that this host does not write to.
            return true;
        }
        let outcome = self.anchor(&open).await;
        if let Some(message) = trouble_of(log_id, &outcome) {
            // Beside the status, which is about the current log.
            self.shared.notice(&Notice::Trouble { part: "anchor", message });
        }
        if matches!(outcome, Ok(Anchoring::Anchored { .. })) {
            // The edge of its successor may have waited for that.
            self.looked = None;
        }
        match outcome {
            Ok(Anchoring::NotRegistered) => true,
            // In a block that may be taken back it is not anchored for good.
            Ok(Anchoring::UpToDate(_) | Anchoring::Anchored { .. }) => {
                let signed = open.read().checkpoint().map_or(0, |signed| signed.checkpoint.tree.size);
                let kept = self.shared.store.newest_anchor(*log_id).await;
                kept.is_ok_and(|kept| signed <= kept.map_or(0, |anchor| anchor.tree.size))
            }
            Err(_) => false,
        }
    }

    /// Anchors a log and tells the operator of an anchor.
    async fn anchor(&self, open: &OpenLog) -> Result<Anchoring, String> {
        let outcome = anchor(&self.shared, open).await;
        if outcome.is_err() {
            self.shared.counts.anchor_failures.one();
        }
        if let Ok(Anchoring::Anchored { size, tx_hash, gas_used }) = outcome {
            let log_id = open.row().manifest.log_id();
            self.shared.notice(&Notice::Anchored { log_id, size, tx_hash, gas_used });
        }
        outcome
    }
}

/// Since when the newest checkpoint is not anchored.
fn note_unanchored(slot: &Slot, open: &OpenLog) {
    let signed = open.read().checkpoint().map_or(0, |signed| signed.checkpoint.tree.size);
    slot.update(|status| match status.anchored_size < signed {
        true => drop(status.unanchored_since.get_or_insert_with(|| clock::now().seconds())),
        false => status.unanchored_since = None,
    });
}

/// Publishes a log, then anchors it.
///
/// # Errors
/// As [`Anchorer::anchor`].
pub(crate) async fn anchor(shared: &Shared, open: &OpenLog) -> Result<Anchoring, String> {
    publish::before_anchor(shared, open).await;
    shared.anchorer.lock().await.anchor(open).await
}

/// What an outcome means for the operator, if it is trouble.
fn trouble_of(log_id: &Hash32, outcome: &Result<Anchoring, String>) -> Option<String> {
    match outcome {
        Ok(Anchoring::Anchored { .. } | Anchoring::UpToDate(_)) => None,
        Ok(Anchoring::NotRegistered) => Some(format!("log {log_id:#} cannot be anchored: its key is not registered")),
        Err(message) => Some(message.clone()),
    }
}

/// Anchors one log after another with one key.
#[derive(Debug)]
pub(crate) struct Anchorer {
    client: ChainClient,
    signer: Signer,
    store: Store,
    finality: Finality,
    // Anchors in blocks that may be taken back, oldest first.
    seen: Vec<SeenAnchor>,
}

/// An anchor that is not written down yet.
#[derive(Clone, Copy, Debug)]
struct SeenAnchor {
    registry: Address,
    k_sig: Address,
    log_id: Hash32,
    block: u64,
    row: AnchorRow,
}

/// What became of one look at a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Anchoring {
    /// Nothing to do: the newest checkpoint is anchored, or there is none. With the newest anchor, as far as it was looked for.
    UpToDate(Option<Anchor>),
    /// The registry does not know the key yet (or any more).
    NotRegistered,
    /// Done now.
    Anchored { size: u64, tx_hash: Hash32, gas_used: u64 },
}

impl Anchorer {
    pub(crate) fn new(client: ChainClient, signer: Signer, store: Store, finality: Finality) -> Self {
        Self { client, signer, store, finality, seen: Vec::new() }
    }

    /// Reads what the chain holds of a log, and writes down what it will keep. `None` if the registry does not know its key.
    ///
    /// # Errors
    /// The chain, or the store.
    pub(crate) async fn refresh(&mut self, open: &OpenLog, tx_hash: Option<Hash32>) -> Result<Option<(KeyStatus, Option<Anchor>)>, String> {
        let m = &open.row().manifest;
        let status = self.client.key_status(&m.registry, &m.k_sig).await.map_err(|error| error.to_string())?;
        let Some(status) = status else { return Ok(None) };
        let anchor = self.client.last_anchor(&m.registry, &m.k_sig, &status).await.map_err(|error| error.to_string())?;
        if let Some(anchor) = anchor {
            let row = AnchorRow { tree: anchor.tree, anchored_at: anchor.anchored_at, tx_hash };
            let seen = SeenAnchor { registry: m.registry, k_sig: m.k_sig, log_id: m.log_id(), block: status.anchored_block, row };
            self.see(seen).await.map_err(|error| error.to_string())?;
        }
        self.keep_what_stays().await?;
        Ok(Some((status, anchor)))
    }

    /// Notes an anchor, unless it is written down.
    async fn see(&mut self, new: SeenAnchor) -> Result<(), StoreError> {
        let known = self.store.newest_anchor(new.log_id).await?;
        if known.is_some_and(|known| new.row.tree.size <= known.tree.size) {
            return Ok(());
        }
        // After a reorganisation the same tree may be in another block.
        let is_of_new = |seen: &SeenAnchor| (seen.log_id, seen.row.tree.size) == (new.log_id, new.row.tree.size);
        let tx_hash = self.seen.iter().find(|seen| is_of_new(seen)).and_then(|seen| seen.row.tx_hash);
        self.seen.retain(|seen| !is_of_new(seen));
        self.seen.push(SeenAnchor { row: AnchorRow { tx_hash: new.row.tx_hash.or(tx_hash), ..new.row }, ..new });
        // The oldest go: a later one of the same log says more, and whatever is lost here is seen again at the next start.
        let excess = self.seen.len().saturating_sub(SEEN_MAX);
        self.seen.drain(..excess);
        Ok(())
    }

    /// Writes down the anchors that are in blocks which stay.
    async fn keep_what_stays(&mut self) -> Result<(), String> {
        if self.seen.is_empty() {
            return Ok(());
        }
        let safe = self.client.safe(self.finality).await.map_err(|error| error.to_string())?;
        for seen in self.seen.clone() {
            if safe.number < seen.block {
                continue;
            }
            let SeenAnchor { registry, k_sig, log_id, row, .. } = seen;
            let stays = self.client.is_anchored(&registry, &k_sig, &row.tree, row.anchored_at).await.map_err(|error| error.to_string())?;
            if stays {
                self.store.put_anchor(log_id, row).await.map_err(|error| error.to_string())?;
            }
            self.seen.retain(|other| (other.log_id, other.row.tree.size) != (log_id, row.tree.size));
        }
        Ok(())
    }

    /// An anchor was refused as if another had come first. That is so only if the chain shows another: an endpoint that says so of an estimate must
    /// not keep a log from being anchored in silence.
    async fn overtaken(&self, open: &OpenLog, before: &KeyStatus, error: &ChainError) -> Result<Anchoring, String> {
        let m = &open.row().manifest;
        let now = self.client.key_status(&m.registry, &m.k_sig).await.map_err(|error| error.to_string())?;
        match now {
            Some(now) if now.last_size != before.last_size => Ok(Anchoring::UpToDate(None)),
            _ => Err(error.to_string()),
        }
    }

    /// Sends the edge to a log's predecessor if the chain has everything that it takes and not the edge. True if nothing is left to do.
    async fn close_gap(&mut self, open: &OpenLog) -> Result<bool, String> {
        let (m, said) = (&open.row().manifest, |error: ChainError| error.to_string());
        if m.predecessor_log.is_zero() {
            return Ok(true);
        }
        match self.client.successor_of(&m.registry, &m.predecessor_log).await.map_err(said)? {
            // A reorganisation can take it: it is looked for again.
            Some(successor) if successor == m.log_id() => return Ok(false),
            Some(_) => return Ok(true),
            None => {}
        }
        let Some(status) = self.client.key_status(&m.registry, &m.k_sig).await.map_err(said)? else { return Ok(false) };
        let found = self.client.predecessor(&m.registry, &m.predecessor_log, m.predecessor_size).await.map_err(said)?;
        let Some((predecessor, anchored_at)) = found.filter(|(_, at)| m.predecessor_size == 0 || at.0 != 0) else { return Ok(false) };
        let record = self.client.registered(&m.registry, &m.k_sig, &status).await.map_err(said)?.record;
        let calldata = link_calldata(&record, m, &predecessor, anchored_at).map_err(said)?;
        match self.client.send_and_wait(&self.signer, Some(&m.registry), &calldata).await {
            Ok(_) => Ok(false),
            // The chain went on meanwhile: the next look sees how.
            Err(error) if error.revert_name().as_deref() == Some("StillAGap") => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Anchors the newest checkpoint of a log if it is larger than what the chain holds.
    ///
    /// # Errors
    /// For the operator; trying again later is right.
    // Crash: after sending and before recording: the next `refresh` finds the anchor on the chain.
    async fn anchor(&mut self, open: &OpenLog) -> Result<Anchoring, String> {
        if open.read().checkpoint().is_none() {
            return Ok(Anchoring::UpToDate(None));
        }
        let Some((status, last)) = self.refresh(open, None).await? else { return Ok(Anchoring::NotRegistered) };
        let Some((signed, consistency)) = newer(open, last.map_or(0, |anchor| anchor.tree.size)) else {
            return Ok(Anchoring::UpToDate(last));
        };
        let m = &open.row().manifest;
        let registered = self.client.registered(&m.registry, &m.k_sig, &status).await.map_err(|error| error.to_string())?;
        let calldata = anchor_calldata(&registered.record, &signed, last.as_ref(), &consistency);
        let sent = match self.client.send_and_wait(&self.signer, Some(&m.registry), &calldata).await {
            Ok(sent) => sent,
            // Reverted in its block: somebody's anchor came into the one before, or it had too little gas. No reason to pay more for the next.
            Err(error @ ChainError::Rejected { code: 0, .. }) => return self.overtaken(open, &status, &error).await,
            Err(error) => {
                return match error.revert_name().as_deref() {
                    Some("NotRegistered") => Ok(Anchoring::NotRegistered),
                    // Somebody was faster: the next look goes on from there.
                    Some("SizeNotGreater" | "NotTheLastAnchor") => self.overtaken(open, &status, &error).await,
                    _ => Err(error.to_string()),
                };
            }
        };
        self.refresh(open, Some(sent.hash)).await?;
        Ok(Anchoring::Anchored { size: signed.checkpoint.tree.size, tx_hash: sent.hash, gas_used: sent.gas_used })
    }
}

/// The newest checkpoint and the proof that it continues the anchored size; `None` if there is none that is larger.
fn newer(open: &OpenLog, anchored_size: u64) -> Option<(SignedCheckpoint, Vec<Hash32>)> {
    let log = open.read();
    let signed = log.checkpoint().filter(|signed| anchored_size < signed.checkpoint.tree.size)?;
    let consistency = log.tree().at(signed.checkpoint.tree.size)?.consistency_from(anchored_size)?;
    Some((signed.clone(), consistency))
}
