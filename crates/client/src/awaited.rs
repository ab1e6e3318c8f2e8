//! What a bundle waits for once its answer has arrived: that its payment moves, and that a tree which holds its receipt is anchored.
//!
//! Waiting is one cheap question at a time. What is found is judged once, when all of it is there, and not at each look: a judgement costs
//! some milliseconds of signatures and a dozen questions.

use candor_chain::{Anchor, ChainClient, ChainError, KeyStatus};
use candor_verify::bundle::{Bundle, LaterTree};
use candor_verify::bytes::{Address, Amount};
use candor_verify::checkpoint::Checkpoint;
use candor_verify::eip712::{K256, signer};
use candor_verify::scheme::Transfer;
use candor_verify::tlog::verify_consistency;

use crate::error::ClientError;
use crate::plain;
use crate::resolve::chain_error;

/// What is there so far. No evidence: that is for a verdict.
#[derive(Debug)]
pub struct Awaited {
    registry: Address,
    k_sig: Address,
    anchor: Option<Anchor>,
    is_used: bool,
}

impl Awaited {
    /// Begins to wait for a bundle.
    #[must_use]
    pub fn of(chain: &ChainClient, bundle: &Bundle) -> Self {
        // No payment, or one on another chain, cannot be waited for here.
        let money = &bundle.delivery.receipt.money;
        let is_used = bundle.sale.is_none() || money.charged == Amount::ZERO || money.chain_id != chain.chain_id();
        let manifest = &bundle.evidence.manifest;
        Self { registry: manifest.registry, k_sig: manifest.k_sig, anchor: None, is_used }
    }

    /// Looks for what is missing: first for an anchor of a tree with the receipt, which comes later, then whether the payment was used.
    /// True if nothing is. To be called with the same bundle each time.
    ///
    /// # Errors
    /// `Chain`.
    pub async fn look(&mut self, chain: &ChainClient, bundle: &Bundle) -> Result<bool, ClientError> {
        if self.anchor.is_none() {
            let size = bundle.delivery.checkpoint.checkpoint.tree.size;
            let status = chain.key_status(&self.registry, &self.k_sig).await.map_err(chain_error)?;
            if let Some(status) = status.filter(|status| size <= status.last_size) {
                self.anchor = self.last_anchor(chain, &status).await?;
            }
        }
        if let (true, false, Some(sale)) = (self.anchor.is_some(), self.is_used, &bundle.sale) {
            let transfer = Transfer::of(&bundle.delivery.receipt.money, &sale.payment.authorization);
            self.is_used = chain.is_nonce_used(&transfer.nonce_question()).await.map_err(chain_error)?;
        }
        Ok(self.anchor.is_some() && self.is_used)
    }

    /// The event may show later than the state does: then there is none yet.
    async fn last_anchor(&self, chain: &ChainClient, status: &KeyStatus) -> Result<Option<Anchor>, ClientError> {
        match chain.last_anchor(&self.registry, &self.k_sig, status).await {
            Err(ChainError::Malformed { .. }) => Ok(None),
            other => other.map_err(chain_error),
        }
    }

    /// Adds the way to the anchored tree, if one was found. Returns whether the bundle changed.
    ///
    /// # Errors
    /// `Unreachable`, and `Dishonest` (`log.consistency`) if the log cannot show that it only grew, which is evidence of a fork,
    /// or if K_sig did not sign what the chain says is anchored.
    pub async fn add(&self, bundle: &mut Bundle, log_url: &str) -> Result<bool, ClientError> {
        let Some(anchor) = &self.anchor else { return Ok(false) };
        let (tree, log_id) = (bundle.delivery.checkpoint.checkpoint.tree, bundle.delivery.checkpoint.checkpoint.log_id);
        let anchored = anchor.tree;
        let consistency =
            if anchored.size == tree.size { Vec::new() } else { plain::consistency(log_url, &log_id, tree.size, anchored.size).await? };
        if let Err(error) = verify_consistency(&tree, &anchored, &consistency) {
            let what = format!("from size {} to the anchored {}: {error}", tree.size, anchored.size);
            return Err(ClientError::Dishonest { check: "log.consistency", what });
        }
        let later = LaterTree {
            checkpoint: Checkpoint { log_id, tree: anchored, timestamp: anchor.timestamp },
            signature: anchor.signature,
            consistency,
        };
        let (k_sig, got) = (bundle.evidence.manifest.k_sig, signer(&K256, &later.checkpoint.digest(), &later.signature));
        if got != Some(k_sig) {
            let got = got.map_or_else(|| "nobody".to_owned(), |address| address.to_string());
            let what = format!("the anchored checkpoint of size {} is signed by {got}, not by {k_sig}", anchored.size);
            return Err(ClientError::Dishonest { check: "log.consistency", what });
        }
        bundle.later_trees = vec![later];
        Ok(true)
    }
}
