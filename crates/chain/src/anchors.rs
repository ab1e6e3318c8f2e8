//! Part two of `CandorRegistry`: the trees of logs that the chain saw.
//!
//! The contract keeps a hash of each anchor; what was anchored is in the events, which link back from the last.

use std::ops::RangeInclusive;

use alloy::sol_types::{SolCall, SolEvent};
use candor_verify::checkpoint::{Checkpoint, SignedCheckpoint};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::Tree;
use candor_verify::{Address, Hash32, Signature65};

use crate::bindings::{self, CandorRegistry};
use crate::client::ChainClient;
use crate::convert::{b256, evm_address, hash, hashes, signature_bytes};
use crate::error::ChainError;
use crate::registry::{KeyStatus, Record, decode, key_filter};

/// An anchored tree of a log, and the checkpoint that was anchored.
///
/// # Security
/// As the endpoint says. The signature is not checked here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what the event shows")]
pub struct Anchor {
    /// Size and root.
    pub tree: Tree,
    /// Block time in Unix seconds.
    pub anchored_at: UnixSeconds,
    /// Of the checkpoint, by the enclave's clock.
    pub timestamp: UnixMs,
    /// K_sig's, over the checkpoint.
    pub signature: Signature65,
}

/// Calldata of `observe`: whoever holds a checkpoint keeps the time of its tree, and needs nobody for it.
#[must_use]
pub fn observe_calldata(record: &Record, checkpoint: &Checkpoint, signature: &Signature65) -> Vec<u8> {
    let Checkpoint { log_id, tree, timestamp } = checkpoint;
    CandorRegistry::observeCall {
        record: record.into(),
        checkpoint: bindings::Checkpoint { logId: b256(log_id), size: tree.size, root: b256(&tree.root), timestamp: timestamp.0 },
        signature: signature_bytes(signature),
    }
    .abi_encode()
}

/// An anchor with its place among the events.
struct AnchoredEvent {
    anchor: Anchor,
    block: u64,
    // Of the anchor before; zero for the first.
    previous_block: u64,
}

/// Calldata of `anchor`: the checkpoint continues `last`, by the proof.
#[must_use]
pub fn anchor_calldata(record: &Record, signed: &SignedCheckpoint, last: Option<&Anchor>, consistency: &[Hash32]) -> Vec<u8> {
    let Checkpoint { log_id, tree, timestamp } = &signed.checkpoint;
    let (last_root, last_anchored_at) = last.map_or((Hash32::ZERO, 0), |last| (last.tree.root, last.anchored_at.0));
    CandorRegistry::anchorCall {
        record: record.into(),
        checkpoint: bindings::Checkpoint { logId: b256(log_id), size: tree.size, root: b256(&tree.root), timestamp: timestamp.0 },
        signature: signature_bytes(&signed.signature),
        lastRoot: b256(&last_root),
        lastAnchoredAt: last_anchored_at,
        consistency: hashes(consistency),
    }
    .abi_encode()
}

impl ChainClient {
    /// The last anchor of a key; `None` if it has none or is not registered.
    ///
    /// # Errors
    /// As [`Self::last_anchor`].
    pub async fn latest_anchor(&self, registry: &Address, k_sig: &Address) -> Result<Option<Anchor>, ChainError> {
        match self.key_status(registry, k_sig).await? {
            Some(status) => self.last_anchor(registry, k_sig, &status).await,
            None => Ok(None),
        }
    }

    /// The last anchor of a key whose status was read; `None` if it has none.
    ///
    /// # Errors
    /// `Malformed` if the registry names an anchor that no event shows.
    pub async fn last_anchor(&self, registry: &Address, k_sig: &Address, status: &KeyStatus) -> Result<Option<Anchor>, ChainError> {
        let (size, block) = (status.last_size, status.anchored_block);
        if size == 0 {
            return Ok(None);
        }
        let found = self.anchored_in(registry, k_sig, &[size], block..=block).await?;
        let malformed = || ChainError::Malformed { what: "Anchored event", detail: format!("none of size {size} in block {block}") };
        found.last().map(|event| Some(event.anchor)).ok_or_else(malformed)
    }

    /// The anchors of a key at exactly these sizes, as many of them as the endpoint shows, smallest first.
    ///
    /// # Errors
    /// As the transport.
    pub async fn anchors_at(
        &self,
        registry: &Address,
        k_sig: &Address,
        status: &KeyStatus,
        sizes: &[u64],
    ) -> Result<Vec<Anchor>, ChainError> {
        // What is larger than the last is not anchored, and need not be looked for.
        let sizes: Vec<u64> = sizes.iter().copied().filter(|size| *size <= status.last_size).collect();
        if sizes.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.anchored_in(registry, k_sig, &sizes, status.registered_block..=status.anchored_block).await?;
        Ok(found.into_iter().map(|event| event.anchor).collect())
    }

    /// Every anchor of a key, smallest first. The contract names the last, and each event the block of the one before: an endpoint that hides
    /// an anchor is an error, and not a log with fewer anchors.
    ///
    /// # Errors
    /// As the transport; `Malformed` if the events are not linked from the last back to the first.
    pub async fn anchors(&self, registry: &Address, k_sig: &Address, status: &KeyStatus) -> Result<Vec<Anchor>, ChainError> {
        if status.last_size == 0 {
            return Ok(Vec::new());
        }
        let mut found = self.anchored_in(registry, k_sig, &[], status.registered_block..=status.anchored_block).await?;
        // The block of the last may hold one that is newer than what the contract said: it grows while we read.
        found.retain(|event| event.anchor.tree.size <= status.last_size);
        let malformed = |detail| Err(ChainError::Malformed { what: "Anchored events", detail });
        if found.last().is_none_or(|last| last.anchor.tree.size != status.last_size) {
            return malformed(format!("expected one for size {}, the endpoint shows {} others", status.last_size, found.len()));
        }
        let mut before = (0, 0);
        for AnchoredEvent { anchor, block, previous_block } in &found {
            if *previous_block != before.0 || anchor.tree.size <= before.1 {
                let (size, shown) = (anchor.tree.size, before.0);
                return malformed(format!("the one before size {size} is in block {previous_block}, the endpoint shows {shown}"));
            }
            before = (*block, anchor.tree.size);
        }
        Ok(found.into_iter().map(|event| event.anchor).collect())
    }

    /// Whether the registry holds exactly this anchor of a key, at the newest block.
    ///
    /// # Errors
    /// As the transport.
    pub async fn is_anchored(
        &self,
        registry: &Address,
        k_sig: &Address,
        tree: &Tree,
        anchored_at: UnixSeconds,
    ) -> Result<bool, ChainError> {
        let (k_sig, root) = (evm_address(k_sig), b256(&tree.root));
        let call = CandorRegistry::anchoredCall { kSig: k_sig, size: tree.size, root, anchoredAt: anchored_at.0 };
        self.view(registry, &call).await
    }

    /// When the chain first saw this tree of a key as an observation; `None` if it never did.
    ///
    /// # Errors
    /// As the transport.
    pub async fn observed(&self, registry: &Address, k_sig: &Address, tree: &Tree) -> Result<Option<UnixSeconds>, ChainError> {
        let call = CandorRegistry::observedCall { kSig: evm_address(k_sig), size: tree.size, root: b256(&tree.root) };
        let time = self.view(registry, &call).await?;
        Ok((time != 0).then_some(UnixSeconds(time)))
    }

    /// The anchors of a key in these blocks, in their order; of all sizes if none is named.
    async fn anchored_in(
        &self,
        registry: &Address,
        k_sig: &Address,
        sizes: &[u64],
        blocks: RangeInclusive<u64>,
    ) -> Result<Vec<AnchoredEvent>, ChainError> {
        let mut filter = key_filter(registry, CandorRegistry::Anchored::SIGNATURE_HASH, k_sig);
        if !sizes.is_empty() {
            let topics: Vec<_> = sizes.iter().map(|size| alloy::primitives::B256::from(alloy::primitives::U256::from(*size))).collect();
            filter = filter.topic2(topics);
        }
        let mut found = Vec::new();
        for log in self.logs_in(&filter, blocks).await? {
            // A node that ignores the filter must not slip in another.
            let Some(event) = decode::<CandorRegistry::Anchored>(registry, &log) else { continue };
            if event.kSig != evm_address(k_sig) || !(sizes.is_empty() || sizes.contains(&event.size)) {
                continue;
            }
            let malformed = |detail| ChainError::Malformed { what: "Anchored event", detail };
            let length = |_| malformed(format!("{} signature bytes", event.signature.len()));
            let anchor = Anchor {
                tree: Tree { size: event.size, root: hash(event.root) },
                anchored_at: UnixSeconds(event.anchoredAt),
                timestamp: UnixMs(event.timestamp),
                signature: Signature65(<[u8; 65]>::try_from(event.signature.as_ref()).map_err(length)?),
            };
            let block = log.block_number.ok_or_else(|| malformed("without a block".to_owned()))?;
            found.push(AnchoredEvent { anchor, block, previous_block: event.previousBlock });
        }
        Ok(found)
    }
}
