//! The steps about the log: the leaf, the way to the root, the checkpoint, its witnesses, and that the log only grew.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Layout, Sheet, SignatureScheme};
use crate::bundle::Bundle;
use crate::bytes::Hash32;
use crate::checkpoint::{Cosignature, verify_ed25519};
use crate::tags;
use crate::tlog::{self, Tree};

pub(super) fn inclusion(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let delivery = &bundle.delivery;
    let (salt, digest, signature) = (&delivery.leaf_salt, delivery.receipt.digest(), &delivery.signature);
    let data = tlog::leaf_data(salt, &digest, signature);
    let layout: Layout<'_> = &[("tag", tags::LEAF.len()), ("leaf salt", 32), ("receipt digest", 32), ("signature", 65)];
    sheet.sha256("leaf data", tlog::leaf_data_preimage(salt, &digest, signature), &data, layout);
    let leaf = tlog::leaf_hash(&data.0);
    sheet.sha256("leaf hash", tlog::leaf_preimage(&data.0), &leaf, &[("0x00", 1), ("leaf data", 32)]);
    let tree = &delivery.checkpoint.checkpoint.tree;
    nodes("path", &inclusion_nodes(leaf, delivery.receipt.sequence, &delivery.inclusion, tree), sheet);
    sheet.told("place", format!("leaf {} of {}, {} siblings", delivery.receipt.sequence, tree.size, delivery.inclusion.len()));
    sheet.told("root in the checkpoint", tree.root.to_string());
}

fn nodes(name: &str, joined: &[Joined], sheet: &mut Sheet<'_>) {
    for ((left, right, node), at) in joined.iter().zip(0_usize..) {
        let layout: Layout<'_> = &[("0x01", 1), ("left", 32), ("right", 32)];
        sheet.sha256(&format!("{name}, node {at}"), tlog::node_preimage(left, right), node, layout);
    }
}

pub(super) fn checkpoint(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let (signed, manifest) = (&bundle.delivery.checkpoint, &bundle.evidence.manifest);
    let checkpoint = &signed.checkpoint;
    sheet.message("checkpoint", &checkpoint.message());
    sheet.signed("K_sig's signature over the checkpoint", &checkpoint.digest(), &signed.signature, &manifest.k_sig);
    let body = checkpoint.note_body();
    let (key, signature) = (&manifest.k_log, &signed.note_signature);
    let holds = verify_ed25519(key, body.as_bytes(), signature);
    let scheme = SignatureScheme::Ed25519;
    sheet.signed_by_key("K_log's signature over the note", scheme, body.as_bytes(), &signature.0, key.to_string(), holds);
}

pub(super) fn witnesses(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let signed = &bundle.delivery.checkpoint;
    let body = signed.checkpoint.note_body();
    for cosignature in &signed.cosignatures {
        let (message, witness) = (Cosignature::message(cosignature.time, &body), cosignature.witness.to_string());
        let holds = cosignature.is_valid(&body);
        let signature = &cosignature.signature.0;
        sheet.signed_by_key("cosignature", SignatureScheme::Ed25519, message.as_bytes(), signature, witness, holds);
    }
    sheet.told("cosignatures", signed.cosignatures.len().to_string());
}

pub(super) fn consistency(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let tree = bundle.delivery.checkpoint.checkpoint.tree;
    if let Some(earlier) = &bundle.delivery.earlier_anchor {
        nodes("from the earlier anchor", &consistency_nodes(&earlier.tree, &tree, &earlier.consistency), sheet);
        ends("earlier anchor", &earlier.tree, sheet);
    }
    ends("checkpoint", &tree, sheet);
    for later in &bundle.later_trees {
        let checkpoint = &later.checkpoint;
        sheet.message("later tree", &checkpoint.message());
        sheet.signed("K_sig's signature over the later tree", &checkpoint.digest(), &later.signature, &bundle.evidence.manifest.k_sig);
        nodes("to the later tree", &consistency_nodes(&tree, &checkpoint.tree, &later.consistency), sheet);
        ends("later tree", &checkpoint.tree, sheet);
    }
}

fn ends(name: &str, tree: &Tree, sheet: &mut Sheet<'_>) {
    sheet.told(name, format!("size {}, root {}", tree.size, tree.root));
}

/// Two nodes of a tree and the hash of the one above them.
type Joined = (Hash32, Hash32, Hash32);

/// The nodes that [`tlog::verify_inclusion`] computes, in its order; none where it would not begin to walk.
fn inclusion_nodes(leaf_hash: Hash32, index: u64, siblings: &[Hash32], tree: &Tree) -> Vec<Joined> {
    let mut nodes = Vec::new();
    if let Some(last) = tree.size.checked_sub(1).filter(|last| index <= *last) {
        let (inner, border) = tlog::path_shape(index, last);
        if siblings.len() == inner.saturating_add(border) {
            tlog::walk_path(leaf_hash, index, inner, siblings, kept_in(&mut nodes));
        }
    }
    nodes
}

/// The nodes that [`tlog::verify_consistency`] computes, in its order; none where it would not begin to walk.
fn consistency_nodes(old: &Tree, new: &Tree, proof: &[Hash32]) -> Vec<Joined> {
    let mut nodes = Vec::new();
    let is_walked = old.size != 0 && old.size < new.size && proof.len() == tlog::consistency_length(old.size, new.size);
    let start = if old.size.is_power_of_two() { Some((&old.root, proof)) } else { proof.split_first() };
    if let Some((seed, rest)) = start.filter(|_| is_walked) {
        tlog::walk_consistency(old.size, new.size, *seed, rest, kept_in(&mut nodes));
    }
    nodes
}

/// [`tlog::node_hash`], and a record of what it was asked.
fn kept_in(nodes: &mut Vec<Joined>) -> impl FnMut(&Hash32, &Hash32) -> Hash32 {
    |left, right| {
        let node = tlog::node_hash(left, right);
        nodes.push((*left, *right, node));
        node
    }
}
