//! What a chain says about a bundle, read over the caller's own RPC, in the form that `verify` takes.
//!
//! Everything here that cannot be asked is left `None` or empty, and the verdict then says `not checked`; an RPC that is down is an
//! error, never a silent "not checked". What a bundle still waits for is `awaited`.

use candor_chain::{ChainClient, KeyStatus};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::check::{ChainFacts, TransferFact, VerifiedBundle, verify_bundle, verify_without_texts};
use candor_verify::eip712::K256;
use candor_verify::manifest::Manifest;
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS};
use candor_verify::policy::{KnownTree, Policy, RegistryRecord};
use candor_verify::scheme::{self, Log};
use candor_verify::tlog::Tree;
use candor_verify::verdict::Outcome;

use crate::error::ClientError;
use crate::resolve::chain_error;

/// Facts about one bundle.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    anchors: Vec<KnownTree>,
    observations: Vec<KnownTree>,
    registry: Option<RegistryRecord>,
    receipt_block_known: Option<bool>,
    evidence_block_known: Option<bool>,
    transfer: Option<TransferFact>,
    /// Transaction that moved the money, for hints.
    pub transfer_tx: Option<Hash32>,
}

impl Facts {
    /// The form that `verify` takes.
    #[must_use]
    pub fn as_chain_facts(&self) -> ChainFacts<'_> {
        ChainFacts {
            anchors: &self.anchors,
            observations: &self.observations,
            registry: self.registry.as_ref(),
            receipt_block_known: self.receipt_block_known,
            evidence_block_known: self.evidence_block_known,
            transfer: self.transfer,
        }
    }
}

/// Reads everything a chain can say about a bundle. The chain must be the bundle's anchor chain; a transfer on another chain stays
/// unchecked.
///
/// # Errors
/// `Chain`, `Usage` if this is another chain.
pub async fn chain_facts(chain: &ChainClient, bundle: &Bundle, policy: &Policy) -> Result<Facts, ClientError> {
    check_chain(chain, bundle)?;
    // Nothing is read for what is refused anyway: a forged bundle must not send anybody through a whole chain.
    if verify_bundle(bundle, policy, ChainFacts::default(), &K256).0.outcome() == Outcome::Refused {
        return Ok(Facts::default());
    }
    read_facts(chain, bundle, policy).await
}

/// The same for a proof, of which nobody has brought request and answer.
///
/// # Errors
/// As [`chain_facts`].
pub async fn facts_without_texts(chain: &ChainClient, bundle: &Bundle, policy: &Policy) -> Result<Facts, ClientError> {
    check_chain(chain, bundle)?;
    if verify_without_texts(bundle, policy, ChainFacts::default(), &K256).outcome() == Outcome::Refused {
        return Ok(Facts::default());
    }
    read_facts(chain, bundle, policy).await
}

/// The same for a bundle that was judged when it arrived, without judging it once more.
///
/// # Errors
/// As [`chain_facts`].
pub async fn verified_facts(
    chain: &ChainClient,
    bundle: &Bundle,
    verified: &VerifiedBundle,
    policy: &Policy,
) -> Result<Facts, ClientError> {
    if *verified.receipt() != bundle.delivery.receipt {
        // The fact is about another bundle.
        return chain_facts(chain, bundle, policy).await;
    }
    check_chain(chain, bundle)?;
    read_facts(chain, bundle, policy).await
}

fn check_chain(chain: &ChainClient, bundle: &Bundle) -> Result<(), ClientError> {
    let (expected, got) = (bundle.evidence.manifest.anchor_chain_id, chain.chain_id());
    if expected != got {
        return Err(ClientError::Usage(format!("the bundle is anchored on chain {expected}; this RPC is of chain {got}")));
    }
    Ok(())
}

async fn read_facts(chain: &ChainClient, bundle: &Bundle, policy: &Policy) -> Result<Facts, ClientError> {
    let manifest = &bundle.evidence.manifest;
    let work = &bundle.delivery.receipt.work;
    let freshness = &bundle.evidence.freshness;
    let (transfer, transfer_tx) = find_transfer(chain, bundle).await?;
    let mut facts = Facts {
        receipt_block_known: Some(block_is(chain, work.block_number, work.block_hash).await?),
        evidence_block_known: Some(block_is(chain, freshness.block_number, freshness.block_hash).await?),
        transfer,
        transfer_tx,
        ..Facts::default()
    };
    // The registry's address comes out of the bundle: an operator's own contract would answer whatever its operator likes. Only a
    // registry that the policy names is asked.
    if !policy.registries.named().contains(&(manifest.anchor_chain_id, manifest.registry)) {
        return Ok(facts);
    }
    let status = chain.key_status(&manifest.registry, &manifest.k_sig).await.map_err(chain_error)?;
    let Some(status) = status else {
        // Not registered is an answer too, and it must refuse: a record of nobody. But not of an endpoint that is behind, or a chain that went
        // back behind the answer: such a one knows nothing of it.
        facts.registry = (facts.receipt_block_known == Some(true)).then(RegistryRecord::default);
        return Ok(facts);
    };
    let record = chain.registered(&manifest.registry, &manifest.k_sig, &status).await.map_err(chain_error)?.record;
    let (has_gap, predecessor_anchored) = edge(chain, manifest, &record.log_id).await?;
    facts.registry = Some(RegistryRecord {
        k_sig: record.k_sig,
        manifest_hash: record.manifest_hash,
        valid_until: status.valid_until,
        invalid_from: status.invalid_from,
        revoked_at: status.revoked_at,
        is_forked: status.is_forked,
        has_gap,
        predecessor_anchored,
    });
    facts.anchors = anchors(chain, bundle, &status).await?;
    facts.observations = observations(chain, bundle).await?;
    Ok(facts)
}

/// Whether the registry does not link this log to the one that its manifest names, and how many receipts of that one are anchored.
async fn edge(chain: &ChainClient, manifest: &Manifest, log_id: &Hash32) -> Result<(bool, Option<u64>), ClientError> {
    let (registry, predecessor) = (&manifest.registry, &manifest.predecessor_log);
    if predecessor.is_zero() {
        return Ok((false, None));
    }
    let has_gap = chain.successor_of(registry, predecessor).await.map_err(chain_error)? != Some(*log_id);
    let Some(key) = chain.key_of(registry, predecessor).await.map_err(chain_error)? else { return Ok((has_gap, None)) };
    let status = chain.key_status(registry, &key).await.map_err(chain_error)?;
    Ok((has_gap, status.map(|status| status.last_size)))
}

async fn block_is(chain: &ChainClient, number: u64, hash: Hash32) -> Result<bool, ClientError> {
    Ok(chain.block_by_number(number).await.map_err(chain_error)?.is_some_and(|block| block.hash == hash))
}

/// What became of this payment's nonce, and in which transaction.
async fn find_transfer(chain: &ChainClient, bundle: &Bundle) -> Result<(Option<TransferFact>, Option<Hash32>), ClientError> {
    // Nobody paid: there is nothing to ask for.
    let Some(sale) = &bundle.sale else { return Ok((None, None)) };
    let (money, authorization) = (&bundle.delivery.receipt.money, &sale.payment.authorization);
    if money.chain_id != chain.chain_id() {
        return Ok((None, None));
    }
    // Nothing was charged: nothing moves.
    if money.charged == Amount::ZERO {
        return Ok((None, None));
    }
    // The receipt's charge is what the scheme says (`receipt.charge`), so the two together say what must have moved.
    let expected = scheme::Transfer::of(money, authorization);
    if !chain.is_nonce_used(&expected.nonce_question()).await.map_err(chain_error)? {
        return Ok((Some(TransferFact::NotYet), None));
    }
    let since = authorization.valid_before.saturating_sub(MAX_TIMEOUT_SECONDS).saturating_sub(MAX_SKEW_SECONDS);
    let ended = chain.nonce_ended(&expected, since..=authorization.valid_before).await.map_err(chain_error)?;
    // The state says that it ended, and no event shows how: an endpoint whose events are late, or pruned, says nothing against the payment.
    let Some(end) = ended else { return Ok((None, None)) };
    let receipt = chain.transaction_receipt(&end.tx_hash).await.map_err(chain_error)?;
    // An endpoint that has the event and not the receipt says nothing against the payment either.
    let Some(receipt) = receipt else { return Ok((None, None)) };
    let logs = if receipt.is_success { receipt.logs } else { Vec::new() };
    let logs: Vec<Log> = logs.into_iter().map(|log| Log { address: log.address, topics: log.topics, data: log.data }).collect();
    if expected.is_shown_by(&logs) { Ok((Some(TransferFact::Seen), Some(end.tx_hash))) } else { Ok((Some(TransferFact::Otherwise), None)) }
}

/// The anchors of the bundle's log at the sizes that the bundle speaks of.
async fn anchors(chain: &ChainClient, bundle: &Bundle, status: &KeyStatus) -> Result<Vec<KnownTree>, ClientError> {
    let manifest = &bundle.evidence.manifest;
    let earlier = bundle.delivery.earlier_anchor.as_ref().map(|link| link.tree.size);
    let mut sizes: Vec<u64> = earlier.into_iter().chain(trees(bundle).map(|tree| tree.size)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let anchors = chain.anchors_at(&manifest.registry, &manifest.k_sig, status, &sizes).await.map_err(chain_error)?;
    let log_id = manifest.log_id();
    Ok(anchors.iter().map(|anchor| KnownTree { log_id, tree: anchor.tree, at: anchor.anchored_at }).collect())
}

/// Those trees of the bundle that the chain saw as observations.
async fn observations(chain: &ChainClient, bundle: &Bundle) -> Result<Vec<KnownTree>, ClientError> {
    let manifest = &bundle.evidence.manifest;
    let mut out = Vec::new();
    for tree in trees(bundle) {
        let seen = chain.observed(&manifest.registry, &manifest.k_sig, &tree).await.map_err(chain_error)?;
        out.extend(seen.map(|at| KnownTree { log_id: manifest.log_id(), tree, at }));
    }
    Ok(out)
}

/// The trees that hold the receipt.
fn trees(bundle: &Bundle) -> impl Iterator<Item = Tree> {
    let later = bundle.later_trees.iter().map(|later| later.checkpoint.tree);
    std::iter::once(bundle.delivery.checkpoint.checkpoint.tree).chain(later)
}
