//! Puts checkpoints on the chain, with a consistency proof: a new one at once, unless the last anchor is younger than an interval.
//!
//! Anyone may anchor; this is the host doing it for its clients. Logs of former boots come first: what their enclaves signed and nobody
//! anchored yet is still worth anchoring, and a successor needs an anchored size. The chain is asked what it holds at each look at the
//! current log, and the database is not believed about it: a lost answer, a crash or somebody else's anchor cost one question, and an
//! anchor that the chain took back, or lost when it was reset, is made again. One of a former log, once seen, is not looked at again while the
//! current log stays the same: what a reorganisation takes of it then is lost (SECURITY.md).

use std::sync::Arc;
use std::time::Duration;

use candor_chain::{Anchor, ChainClient, ChainError, KeyStatus, NonceAt, Signer, Transaction, TransactionReceipt, anchor_calldata};
use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::{Address, Amount, Hash32};
use tokio::sync::watch;

use crate::notice::Notice;
use crate::publish;
use crate::shared::Shared;
use crate::store::{AnchorRow, OpenLog, Store};

/// An anchor is in a block by then, or it is sent again at a higher price.
const WAIT_FOR_BLOCK: Duration = Duration::from_secs(30);

/// When an anchor may be made and nothing is new, the chain is looked at after this all the same: it may have lost one.
const LOOK: Duration = Duration::from_secs(1);

/// Anchors until stopped.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let (interval, mut stored) = (shared.config.timing.anchor, shared.stored.subscribe());
    let mut rounds = Rounds { shared, former: None, current: None };
    loop {
        tokio::select! {
            changed = stored.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
            _ = stopped.changed() => return,
        }
        // A chain that does not answer is told of already.
        let is_away = rounds.shared.head.borrow().is_none();
        if let Some(current) = rounds.shared.current().filter(|_| !is_away) {
            rounds.round(&current).await;
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// One look after another at every log that may hold something to anchor.
struct Rounds {
    shared: Arc<Shared>,
    // Former logs that may; `None` until the store has said which.
    former: Option<Vec<Hash32>>,
    // The current log of the last round: with another one, that became a former log, and may hold more than was anchored.
    current: Option<Hash32>,
}

impl Rounds {
    /// First what former logs still hold, then the current one.
    async fn round(&mut self, current: &OpenLog) {
        let current_id = current.row().manifest.log_id();
        if self.current.replace(current_id) != Some(current_id) {
            self.former = None;
        }
        if self.former.is_none() {
            // Without an answer the next round asks again.
            self.former = self.shared.store.unanchored().await.ok();
        }
        if let Some(former) = self.former.take() {
            let mut left = Vec::new();
            for log_id in former.into_iter().filter(|log_id| *log_id != current_id) {
                if !self.anchor_former(&log_id).await {
                    left.push(log_id);
                }
            }
            self.former = Some(left);
        }
        let outcome = self.anchor(current).await;
        match outcome {
            Ok(Anchoring::Anchored { size, .. }) => self.shared.update(|status| status.anchored_size = size),
            Ok(Anchoring::NotRegistered) => {
                // A key that the registry does not know has no anchor.
                self.shared.update(|status| status.anchored_size = 0);
                self.shared.look.notify_one();
            }
            Ok(Anchoring::UpToDate) | Err(_) => {}
        }
        // A registration that is not made yet is trouble of its own, and told there.
        let is_early = outcome == Ok(Anchoring::NotRegistered) && !self.shared.status().is_registered;
        match trouble_of(&current_id, &outcome).filter(|_| !is_early) {
            Some(message) => self.shared.trouble_once("anchor", message),
            None => self.shared.clear_trouble("anchor"),
        }
    }

    /// Anchors what a former log still holds. False if the next round is to look again.
    async fn anchor_former(&self, log_id: &Hash32) -> bool {
        let open = match self.shared.store.log(log_id).await {
            Ok(Some(open)) => open,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let (m, terms) = (&open.row().manifest, &self.shared.terms.terms);
        if (m.registry, m.anchor_chain_id) != (terms.registry, terms.anchor_chain_id) {
            // Its anchors are on a chain that this host does not write to.
            return true;
        }
        let outcome = self.anchor(&open).await;
        if let Some(message) = trouble_of(log_id, &outcome) {
            // Beside the status, which is about the current log.
            self.shared.notice(&Notice::Trouble { part: "anchor", message });
        }
        outcome.is_ok()
    }

    /// Anchors a log and tells the operator of an anchor.
    async fn anchor(&self, open: &OpenLog) -> Result<Anchoring, String> {
        let outcome = anchor(&self.shared, open).await;
        if let Ok(Anchoring::Anchored { size, tx_hash, gas_used }) = outcome {
            let log_id = open.row().manifest.log_id();
            self.shared.notice(&Notice::Anchored { log_id, size, tx_hash, gas_used });
        }
        outcome
    }
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
        Ok(Anchoring::Anchored { .. } | Anchoring::UpToDate) => None,
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
    // Anchors sent in a row without a block: each raises the price of the next, which replaces it.
    failures: u8,
}

/// What became of one look at a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Anchoring {
    /// Nothing to do: the newest checkpoint is anchored, or there is none.
    UpToDate,
    /// The registry does not know the key yet (or any more).
    NotRegistered,
    /// Done now.
    Anchored { size: u64, tx_hash: Hash32, gas_used: u64 },
}

impl Anchorer {
    pub(crate) fn new(client: ChainClient, signer: Signer, store: Store) -> Self {
        Self { client, signer, store, failures: 0 }
    }

    /// Reads what the chain holds of a log and remembers it. `None` if the registry does not know its key.
    ///
    /// # Errors
    /// The chain, or the store.
    pub(crate) async fn refresh(&self, open: &OpenLog, tx_hash: Option<Hash32>) -> Result<Option<(KeyStatus, Option<Anchor>)>, String> {
        let m = &open.row().manifest;
        let status = self.client.key_status(&m.registry, &m.k_sig).await.map_err(|error| error.to_string())?;
        let Some(status) = status else { return Ok(None) };
        let anchor = self.client.last_anchor(&m.registry, &m.k_sig, &status).await.map_err(|error| error.to_string())?;
        if let Some(anchor) = anchor {
            let log_id = m.log_id();
            let known = self.store.newest_anchor(log_id).await.map_err(|error| error.to_string())?;
            if known.is_none_or(|known| known.tree.size < anchor.tree.size) {
                let row = AnchorRow { tree: anchor.tree, anchored_at: anchor.anchored_at, tx_hash };
                self.store.put_anchor(log_id, row).await.map_err(|error| error.to_string())?;
            }
        }
        Ok(Some((status, anchor)))
    }

    /// Anchors the newest checkpoint of a log if it is larger than what the chain holds.
    ///
    /// # Errors
    /// For the operator; trying again later is right.
    // Crash: after sending and before recording: the next `refresh` finds the anchor on the chain.
    async fn anchor(&mut self, open: &OpenLog) -> Result<Anchoring, String> {
        if open.read().checkpoint().is_none() {
            return Ok(Anchoring::UpToDate);
        }
        let Some((status, last)) = self.refresh(open, None).await? else { return Ok(Anchoring::NotRegistered) };
        let Some((signed, consistency)) = newer(open, last.map_or(0, |anchor| anchor.tree.size)) else { return Ok(Anchoring::UpToDate) };
        let m = &open.row().manifest;
        let registered = self.client.registered(&m.registry, &m.k_sig, &status).await.map_err(|error| error.to_string())?;
        let calldata = anchor_calldata(&registered.record, &signed, last.as_ref(), &consistency);
        let gas = match self.client.estimate_gas(&self.signer.address(), Some(&m.registry), &calldata).await {
            Ok(gas) => gas,
            Err(error) => {
                return match error.revert_name().as_deref() {
                    Some("NotRegistered") => Ok(Anchoring::NotRegistered),
                    // Somebody was faster: the next look finds it.
                    Some("SizeNotGreater" | "NotTheLastAnchor") => Ok(Anchoring::UpToDate),
                    _ => Err(error.to_string()),
                };
            }
        };
        let sent = self.send(&m.registry, calldata, gas).await.map_err(|error| error.to_string())?;
        self.refresh(open, Some(sent.hash)).await?;
        Ok(Anchoring::Anchored { size: signed.checkpoint.tree.size, tx_hash: sent.hash, gas_used: sent.gas_used })
    }

    /// Sends with the account's next nonce at the newest block, so that a transaction that got stuck is replaced and not queued behind.
    async fn send(&mut self, to: &Address, calldata: Vec<u8>, gas: u64) -> Result<TransactionReceipt, ChainError> {
        let fees = self.client.fees().await?;
        let tx = Transaction {
            chain_id: self.client.chain_id(),
            nonce: self.client.nonce(&self.signer.address(), NonceAt::Latest).await?,
            gas_limit: gas.saturating_add(gas / 4),
            fees: (0..self.failures).fold(fees, |fees, _| fees.bumped()),
            to: Some(*to),
            value: Amount::ZERO,
            calldata,
        };
        let signed = self.signer.sign_transaction(&tx)?;
        let outcome = async {
            self.client.broadcast(&signed).await?;
            self.client.wait_for(&signed.hash, WAIT_FOR_BLOCK).await
        };
        let outcome = outcome.await;
        // At most 16 levels: seven times the price the chain asks for.
        self.failures = if outcome.is_ok() { 0 } else { self.failures.saturating_add(1).min(16) };
        outcome
    }
}

/// The newest checkpoint and the proof that it continues the anchored size; `None` if there is none that is larger.
fn newer(open: &OpenLog, anchored_size: u64) -> Option<(SignedCheckpoint, Vec<Hash32>)> {
    let log = open.read();
    let signed = log.checkpoint().filter(|signed| anchored_size < signed.checkpoint.tree.size)?;
    let consistency = log.tree().at(signed.checkpoint.tree.size)?.consistency_from(anchored_size)?;
    Some((signed.clone(), consistency))
}
