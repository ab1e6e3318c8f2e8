//! Puts checkpoints on the chain: at an interval, if there is a larger one than what is anchored, with a consistency proof.
//!
//! Anyone may anchor; this is the host doing it for its clients. Logs of former boots come first: what their enclaves signed and nobody
//! anchored yet is still worth anchoring, and a successor needs an anchored size. The chain is asked what it holds before each anchor,
//! so a lost answer, a crash or somebody else's anchor cost one question.

use std::time::Duration;

use candor_chain::{Anchor, ChainClient, ChainError, NonceAt, Signer, Transaction, TransactionReceipt, anchor_calldata};
use candor_verify::terms::OperatorTerms;
use candor_verify::tlog::Tree;
use candor_verify::{Address, Amount, Hash32};

use crate::notice::{Notice, NoticeSink};
use crate::store::{AnchorRow, OpenLog, Store};

/// An anchor is in a block by then, or it is sent again at a higher price.
const WAIT_FOR_BLOCK: Duration = Duration::from_secs(30);

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

    /// Reads what the chain holds of a log and remembers it.
    ///
    /// # Errors
    /// The chain, the store, or a fork: the chain holds a tree that is not this log's.
    pub(crate) async fn refresh(&self, log_anchor: &Address, open: &OpenLog, tx_hash: Option<Hash32>) -> Result<Option<Anchor>, String> {
        let log_id = open.row().manifest.log_id();
        let Some(anchor) = self.client.latest_anchor(log_anchor, &log_id).await.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let known = self.store.newest_anchor(log_id).await.map_err(|error| error.to_string())?;
        if known.is_none_or(|known| known.tree.size < anchor.size) {
            let tree = Tree { size: anchor.size, root: anchor.root };
            let row = AnchorRow { tree, anchored_at_s: anchor.anchored_at_s, tx_hash };
            self.store.put_anchor(log_id, row).await.map_err(|error| error.to_string())?;
        }
        Ok(Some(anchor))
    }

    /// Anchors the newest checkpoint of a log if it is larger than what the chain holds.
    ///
    /// # Errors
    /// For the operator; trying again later is right.
    // Crash: after sending and before recording: the next `refresh` finds the anchor on the chain.
    pub(crate) async fn anchor(&mut self, log_anchor: &Address, open: &OpenLog) -> Result<Anchoring, String> {
        let Some(newest) = open.read().checkpoint().map(|signed| signed.checkpoint.tree.size) else { return Ok(Anchoring::UpToDate) };
        let known = self.store.newest_anchor(open.row().manifest.log_id()).await.map_err(|error| error.to_string())?;
        if known.is_some_and(|known| newest <= known.tree.size) {
            return Ok(Anchoring::UpToDate);
        }
        let anchored = self.refresh(log_anchor, open, None).await?;
        let anchored_size = anchored.map_or(0, |anchor| anchor.size);
        let Some((size, calldata)) = anchor_call(open, anchored_size) else { return Ok(Anchoring::UpToDate) };
        let gas = match self.client.estimate_gas(&self.signer.address(), Some(log_anchor), &calldata).await {
            Ok(gas) => gas,
            Err(error) => {
                return match error.revert_name().as_deref() {
                    Some("SignerNotRegistered") => Ok(Anchoring::NotRegistered),
                    // Somebody was faster: the next look finds it.
                    Some("SizeNotGreater") => Ok(Anchoring::UpToDate),
                    _ => Err(error.to_string()),
                };
            }
        };
        let sent = self.send(log_anchor, calldata, gas).await.map_err(|error| error.to_string())?;
        self.refresh(log_anchor, open, Some(sent.hash)).await?;
        Ok(Anchoring::Anchored { size, tx_hash: sent.hash, gas_used: sent.gas_used })
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

/// The call that anchors the newest checkpoint; `None` if there is none that is larger.
fn anchor_call(open: &OpenLog, anchored_size: u64) -> Option<(u64, Vec<u8>)> {
    let log = open.read();
    let signed = log.checkpoint().filter(|signed| anchored_size < signed.checkpoint.tree.size)?;
    let consistency = log.tree().at(signed.checkpoint.tree.size)?.consistency_from(anchored_size)?;
    Some((signed.checkpoint.tree.size, anchor_calldata(signed, &consistency)))
}

/// The anchors' contract that the terms name.
pub(crate) fn log_anchor_of(terms: &OperatorTerms) -> Option<Address> {
    let chain = terms.chains.iter().find(|chain| chain.chain_id == terms.anchor_chain_id)?;
    Some(chain.log_anchor).filter(|address| !address.is_zero())
}

/// Tells the operator, once per change: a registration that is missing for an hour is one line.
pub(crate) fn report(
    notices: &NoticeSink,
    open: &OpenLog,
    outcome: &Result<Anchoring, String>,
    is_registered: bool,
    last_trouble: &mut Option<String>,
) {
    let log_id = open.row().manifest.log_id();
    let trouble = match outcome {
        Ok(Anchoring::Anchored { size, tx_hash, gas_used }) => {
            notices(&Notice::Anchored { log_id, size: *size, tx_hash: *tx_hash, gas_used: *gas_used });
            None
        }
        Ok(Anchoring::UpToDate) => None,
        // Before the registration that is its own trouble, and told there.
        Ok(Anchoring::NotRegistered) if !is_registered => None,
        Ok(Anchoring::NotRegistered) => Some(format!("log {log_id:#} cannot be anchored: its key is not registered")),
        Err(message) => Some(message.clone()),
    };
    if let Some(message) = trouble.clone().filter(|_| *last_trouble != trouble) {
        notices(&Notice::Trouble { part: "anchor", message });
    }
    *last_trouble = trouble;
}
