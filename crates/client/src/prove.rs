//! From a bundle to what a contract is shown of it: one tree that the chain anchored, one that it observed, and the way of the receipt into both.
//!
//! Nobody is asked but the chain: the bundle has the way into its own tree, and its consistency proofs carry that into the later ones.

use candor_chain::{Anchor, ChainClient, HoldingTree, ReceiptProof, Record};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::public::answer_text;
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::{Tree, carried_inclusion, leaf_data, leaf_hash};

use crate::error::ClientError;
use crate::resolve::chain_error;

/// What the chain has of a bundle's key and trees.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Provable {
    /// The registry that the manifest names.
    pub registry: Address,
    /// The key's record, which every call brings.
    pub record: Record,
    /// The key's last anchor, which a new one must continue; `None` if it has none.
    pub last_anchor: Option<Anchor>,
    /// The earliest anchored tree that holds the receipt.
    pub anchored: Option<(HoldingTree, UnixSeconds)>,
    /// The earliest observed tree that holds it.
    pub observed: Option<(HoldingTree, UnixSeconds)>,
}

/// The trees of a bundle that hold its receipt, and the way of the receipt into each.
fn holding(bundle: &Bundle) -> Vec<(Tree, HoldingTree)> {
    let delivery = &bundle.delivery;
    let own = delivery.checkpoint.checkpoint.tree;
    let leaf = leaf_hash(&leaf_data(&delivery.leaf_salt, &delivery.receipt.digest(), &delivery.signature).0);
    let later = bundle.later_trees.iter().map(|later| (later.checkpoint.tree, later.consistency.as_slice()));
    let carried = |(tree, consistency): (Tree, &[Hash32])| {
        let path = carried_inclusion(leaf, delivery.receipt.sequence, &delivery.inclusion, (&own, &tree), consistency)?;
        Some((tree, HoldingTree { size: tree.size, inclusion: path }))
    };
    std::iter::once((own, [].as_slice())).chain(later).filter_map(carried).collect()
}

impl Provable {
    /// Reads it. Nothing is believed: the contract checks every word that it is shown.
    ///
    /// # Errors
    /// `Chain`; `Usage` if this is another chain, or the registry does not know the key.
    pub async fn read(chain: &ChainClient, bundle: &Bundle) -> Result<Self, ClientError> {
        let manifest = &bundle.evidence.manifest;
        let (registry, k_sig) = (manifest.registry, manifest.k_sig);
        if manifest.anchor_chain_id != chain.chain_id() {
            let what = format!("the bundle is of chain {}; this RPC is of chain {}", manifest.anchor_chain_id, chain.chain_id());
            return Err(ClientError::Usage(what));
        }
        let status = chain.key_status(&registry, &k_sig).await.map_err(chain_error)?;
        let Some(status) = status else {
            return Err(ClientError::Usage(format!("registry {registry} does not know the key {k_sig} of this bundle")));
        };
        let record = chain.registered(&registry, &k_sig, &status).await.map_err(chain_error)?.record;
        let trees = holding(bundle);
        let sizes: Vec<u64> = trees.iter().map(|(tree, _)| tree.size).collect();
        let anchors = chain.anchors_at(&registry, &k_sig, &status, &sizes).await.map_err(chain_error)?;
        let last_anchor = chain.last_anchor(&registry, &k_sig, &status).await.map_err(chain_error)?;
        let mut seen = (Vec::new(), Vec::new());
        for (tree, holding) in trees {
            let anchored = anchors.iter().filter(|anchor| anchor.tree == tree).map(|anchor| (holding.clone(), anchor.anchored_at));
            seen.0.extend(anchored);
            let at = chain.observed(&registry, &k_sig, &tree).await.map_err(chain_error)?;
            seen.1.extend(at.map(|at| (holding, at)));
        }
        let earliest = |seen: Vec<(HoldingTree, UnixSeconds)>| seen.into_iter().min_by_key(|(_, at)| *at);
        Ok(Self { registry, record, last_anchor, anchored: earliest(seen.0), observed: earliest(seen.1) })
    }

    /// What `prove` is called with, under this policy. An observation is shown only where it is needed: without an anchor, or if it is earlier.
    /// `None` if the chain saw no tree that holds the receipt.
    #[must_use]
    pub fn proof(&self, bundle: &Bundle, policy_id: Hash32) -> Option<ReceiptProof> {
        let (anchored, observed) = (self.anchored.clone(), self.observed.clone());
        let is_earlier = match (&anchored, &observed) {
            (None, None) => return None,
            (Some((_, anchored_at)), Some((_, observed_at))) => observed_at < anchored_at,
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        let receipt = &bundle.delivery.receipt;
        Some(ReceiptProof {
            receipt: receipt.clone(),
            signature: bundle.delivery.signature,
            log_salt: bundle.delivery.leaf_salt,
            record: self.record,
            accepts_observation: anchored.is_none(),
            anchored,
            observed: observed.filter(|_| is_earlier).map(|(tree, _)| tree),
            policy_id,
            schemes: vec![receipt.money.scheme],
            accepts_uncharged: receipt.money.charged.0 == 0,
        })
    }
}

/// The text of a bundle's answer, if it is a public one.
#[must_use]
pub fn public_answer(bundle: &Bundle) -> Option<String> {
    let is_public = !bundle.delivery.receipt.work.question_hash.is_zero();
    let frames = bundle.response.frames.iter().map(Vec::as_slice);
    is_public.then(|| answer_text(frames)).flatten()
}
