//! The steps about the log: the leaf, the checkpoint, who cosigned it, and what a chain saw of it. Spec: log.md, bundle.md §5-6.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::Run;
use super::time::{self, CLOCK_SKEW_SECONDS};
use crate::bytes::Hash32;
use crate::checkpoint::Checkpoint;
use crate::eip712::signer;
use crate::evidence::VerifiedEnclave;
use crate::policy::KnownTree;
use crate::step::Step;
use crate::tlog::{self, Included, Tree};
use crate::verdict::{LogLevel, Stop};

impl Run<'_> {
    pub(super) fn inclusion(&mut self) -> Result<Included, Stop> {
        let delivery = &self.bundle.delivery;
        let data = tlog::leaf_data(&delivery.leaf_salt, &delivery.receipt.digest(), &delivery.signature);
        let leaf = tlog::leaf_hash(&data.0);
        let tree = delivery.checkpoint.checkpoint.tree;
        let result = tlog::verify_inclusion(leaf, delivery.receipt.sequence, &delivery.inclusion, &tree);
        let expected = format!("leaf {} in tree {:#} of {}", delivery.receipt.sequence, tree.root, tree.size);
        let got = result.map_or_else(|error| error.to_string(), |_| "included".into());
        self.checks.require(Step::LogInclusion, result.is_ok(), expected, got)?;
        result.map_err(|_| Stop)
    }

    pub(super) fn log(&mut self, enclave: &VerifiedEnclave) -> Result<LogLevel, Stop> {
        let signed = &self.bundle.delivery.checkpoint;
        let checkpoint = &signed.checkpoint;
        let manifest = enclave.manifest();
        let body = checkpoint.note_body();
        let note_ok = crate::checkpoint::verify_ed25519(&manifest.k_log, body.as_bytes(), &signed.note_signature);
        let recovered = signer(self.recover, &checkpoint.digest(), &signed.signature);
        let ok = checkpoint.log_id == manifest.log_id() && note_ok && recovered == Some(manifest.k_sig);
        let expected = format!("log {:#} signed by K_log and {}", manifest.log_id(), manifest.k_sig);
        let got = format!(
            "log {:#}, note signature {}, signer {}",
            checkpoint.log_id,
            if note_ok { "right" } else { "wrong" },
            recovered.map_or("none".into(), |address| address.to_string())
        );
        self.checks.require(Step::LogCheckpoint, ok, expected, got)?;
        let witnessed = self.witnesses(&body)?;
        self.consistency(enclave, checkpoint)?;
        let anchored = self.anchored()?;
        Ok(if anchored {
            LogLevel::Anchored
        } else if witnessed {
            LogLevel::Witnessed
        } else {
            LogLevel::SelfLogged
        })
    }

    fn witnesses(&mut self, note_body: &str) -> Result<bool, Stop> {
        let cosignatures = &self.bundle.delivery.checkpoint.cosignatures;
        let mut seen: Vec<Hash32> = Vec::new();
        for cosignature in cosignatures {
            // A key outside the policy is refused, not skipped: nobody would have checked its bytes.
            let known = self.policy.witnesses.contains(&cosignature.witness);
            if !known || seen.contains(&cosignature.witness) || !cosignature.is_valid(note_body) {
                let expected = "each cosignature valid, by a witness of the policy, once";
                return self.checks.require(Step::LogWitnesses, false, expected, cosignature.witness.to_string()).map(|()| false);
            }
            seen.push(cosignature.witness);
        }
        let threshold = self.policy.witness_threshold;
        if threshold == 0 {
            self.checks.not_asked(Step::LogWitnesses, "a policy that names witnesses")?;
            return Ok(false);
        }
        let reached = threshold <= seen.len();
        if reached {
            self.checks.require(Step::LogWitnesses, true, format!("{threshold} witnesses"), format!("{} witnesses", seen.len()))?;
        } else {
            self.checks.not_checked(Step::LogWitnesses, format!("{threshold} witnesses, {} cosigned so far", seen.len()))?;
        }
        Ok(reached)
    }

    /// All trees must hold, and any anchor or observation that the caller knows at the same size must have the same root.
    fn consistency(&mut self, enclave: &VerifiedEnclave, checkpoint: &Checkpoint) -> Result<(), Stop> {
        let (tree, bundle) = (checkpoint.tree, self.bundle);
        let earlier = bundle.delivery.earlier_anchor.as_ref();
        if let Some(earlier) = earlier {
            self.extends(&earlier.tree, &tree, &earlier.consistency)?;
        }
        for later in &bundle.later_trees {
            // No proof binds the size of the newer tree (RFC 9162): K_sig's signature does.
            let signed = &later.checkpoint;
            let recovered = signer(self.recover, &signed.digest(), &later.signature);
            let k_sig = enclave.manifest().k_sig;
            if signed.log_id != checkpoint.log_id || recovered != Some(k_sig) {
                let expected = format!("the later tree, size {} of log {:#}, signed by {k_sig}", signed.tree.size, checkpoint.log_id);
                let who = recovered.map_or("none".into(), |address| address.to_string());
                return self.checks.require(Step::LogConsistency, false, expected, format!("log {:#}, signer {who}", signed.log_id));
            }
            self.extends(&tree, &signed.tree, &later.consistency)?;
        }
        // Both are signed by K_sig, or no registry would have taken them.
        let seen = self.chain.anchors.iter().chain(self.chain.observations).filter(|known| known.log_id == checkpoint.log_id);
        let fork = seen.into_iter().find_map(|known| {
            let mut ours = earlier.map(|earlier| earlier.tree).into_iter().chain(self.holding());
            let tree = ours.find(|tree| tree.size == known.tree.size && tree.root != known.tree.root)?;
            Some((known.tree, tree))
        });
        if let Some((known, tree)) = fork {
            let expected = format!("root {} at size {}, which a chain saw", known.root, known.size);
            return self.checks.require(Step::LogConsistency, false, expected, format!("{} (a fork)", tree.root));
        }
        self.checks.require(Step::LogConsistency, true, "append-only", "append-only")
    }

    /// Refuses unless `new` begins with all of `old`, which is not empty: an empty one would carry bytes that nothing checks.
    fn extends(&mut self, old: &Tree, new: &Tree, proof: &[Hash32]) -> Result<(), Stop> {
        let reason = match tlog::verify_consistency(old, new, proof) {
            _ if old.size == 0 => "a tree without leaves".into(),
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        };
        let expected = format!("tree {:#} of {} extends {:#} of {}", new.root, new.size, old.root, old.size);
        self.checks.require(Step::LogConsistency, false, expected, reason)
    }

    /// Lines 3 and 4 of the time rule, and that one of the trees is anchored.
    fn anchored(&mut self) -> Result<bool, Stop> {
        let Some(seen) = self.seen() else {
            self.checks.not_checked(Step::LogAnchored, "a chain, and a bundle upgraded to an anchored tree")?;
            return Ok(false);
        };
        let (finished, at) = (self.finished(), seen.at);
        // In true time an answer is finished before the block that sees its tree.
        if !time::is_before_seen(finished, at) {
            let expected = format!("a tree that holds the receipt, seen no earlier than {CLOCK_SKEW_SECONDS} s before {finished}");
            let got = format!("size {} seen at {at}", seen.tree.size);
            return self.checks.require(Step::LogAnchored, false, expected, got).map(|()| false);
        }
        if self.is_seen_too_late() {
            // The receipt may be honest: whoever has the log can show the anchor before this one.
            let needs = format!("an earlier anchor, if there is one: this one is of {at}, more than 7 days after {finished}");
            self.checks.not_checked(Step::LogAnchored, needs)?;
            return Ok(false);
        }
        let Some(anchor) = self.earliest(self.chain.anchors) else {
            self.checks.not_checked(Step::LogAnchored, format!("an anchored tree; size {} was observed at {at}", seen.tree.size))?;
            return Ok(false);
        };
        let got = format!("size {} anchored at {}, seen first at {at}", anchor.tree.size, anchor.at);
        self.checks.require(Step::LogAnchored, true, "an anchored tree that holds the receipt, seen in time", got)?;
        Ok(true)
    }

    /// Whether a chain saw the bundle's trees, and none in time (line 4), as far as the caller knows.
    pub(super) fn is_seen_too_late(&self) -> bool {
        self.seen().is_some_and(|seen| !time::is_seen_in_time(self.finished(), seen.at))
    }

    /// The first moment that the caller knows at which a chain saw a tree that holds the receipt: an observation or an anchor.
    pub(super) fn seen(&self) -> Option<KnownTree> {
        let seen = [self.earliest(self.chain.anchors), self.earliest(self.chain.observations)];
        seen.into_iter().flatten().min_by_key(|tree| tree.at)
    }

    /// The first of these that is one of the bundle's trees with the receipt in it.
    pub(super) fn earliest(&self, known: &[KnownTree]) -> Option<KnownTree> {
        let log_id = self.bundle.delivery.checkpoint.checkpoint.log_id;
        let holds = |tree: &Tree| self.holding().any(|held| held == *tree);
        known.iter().filter(|tree| tree.log_id == log_id && holds(&tree.tree)).min_by_key(|tree| tree.at).copied()
    }

    /// The bundle's trees that hold the receipt: its checkpoint's, and those that it was upgraded to.
    fn holding(&self) -> impl Iterator<Item = Tree> {
        let later = self.bundle.later_trees.iter().map(|later| later.checkpoint.tree);
        core::iter::once(self.bundle.delivery.checkpoint.checkpoint.tree).chain(later)
    }
}
