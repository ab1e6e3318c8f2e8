//! The transparency log: an append-only list of receipts that nobody, not even its operator, can quietly rewrite.
//!
//! The **enclave** runs the [`sequencer`]: it orders leaves, keeps only the [`edge`] of the tree and signs checkpoints. The **host**
//! stores: [`host`] admits leaves and checkpoints, [`tree`] makes proofs, [`tiles`] and [`publish`] lay the log out as C2SP tiles, and
//! [`check`] re-derives every byte of a published log from its entries. Spec: log.md.
//!
//! ```text
//! enclave                                          host
//! Submit ─▶ Seal ─▶ SendAppend ──────────────────▶ plan_append, database, apply_append ─▶ ack
//!            SignCheckpoint ◀──────────────────────────────────────────────────────────────┘
//!            SendCheckpoint ─────────────────────▶ plan_checkpoint, database, apply_checkpoint ─▶ ack with proofs
//! Release ◀───────────────────────────────────────────────────────────────────────────────────────┘
//!                                                  batch ─▶ publish ─▶ tile/…, then checkpoint
//! ```
//!
//! Everything but [`store::DirStore`] is synchronous and does no I/O: events and plans in, actions and files out.
//!
//! Not here: keys (callers sign), frames on the wire (`link`), the host's database, HTTP, witnesses, anchoring.
//!
//! **Invariant:** within a boot every signed tree extends every earlier one; a leaf is released only after the host stored it and
//! a signed checkpoint over it.
//! **Trust:** the host is trusted for availability only. Its lies end in [`sequencer::CloseReason`], never in a released fork.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod check;
pub mod edge;
mod event;
pub mod host;
pub mod note;
pub mod publish;
pub mod sequencer;
pub mod store;
pub mod tiles;
pub mod tree;

pub use candor_verify::checkpoint::GROUP_MAX;
use candor_verify::manifest::log_id;
use candor_verify::tlog::leaf_hash;
use candor_verify::{Address, Hash32};

/// The most leaves one log may have: 2^40. A log lives as long as one boot, so this is never met; it bounds levels and indexes.
pub const SIZE_MAX: u64 = 1 << 40;

/// Data of one leaf: 32 public bytes that show order and count ([`candor_verify::tlog::leaf_data`]). Spec: log.md §2.
///
/// Not a hash of the tree: its leaf hash is [`LeafData::hash`], and the two types keep them apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: leaf data is 32 bytes")]
pub struct LeafData(pub Hash32);

impl LeafData {
    /// RFC 9162 leaf hash: sha256(0x00 ‖ data).
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        leaf_hash(&self.0.0)
    }
}

/// The caller's name for one record that waits for its leaf. Unique while it waits; means nothing outside the process.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "complete: an opaque number")]
pub struct Ticket(pub u64);

/// The two keys that sign a log's checkpoints, and the log id they determine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogKeys {
    // Invariant: log_id = sha256(tag ‖ k_sig ‖ k_log), so the three can never disagree.
    log_id: Hash32,
    k_sig: Address,
    k_log: Hash32,
}

impl LogKeys {
    /// The log of these two keys.
    #[must_use]
    pub fn new(k_sig: Address, k_log: Hash32) -> Self {
        Self { log_id: log_id(&k_sig, &k_log), k_sig, k_log }
    }

    /// Identity of the log.
    #[must_use]
    pub fn log_id(&self) -> Hash32 {
        self.log_id
    }

    /// Address of the secp256k1 key that signs the EIP-712 form.
    #[must_use]
    pub fn k_sig(&self) -> Address {
        self.k_sig
    }

    /// Ed25519 public key that signs the note.
    #[must_use]
    pub fn k_log(&self) -> Hash32 {
        self.k_log
    }
}

/// A length as the protocol counts. `usize` never exceeds 64 bits where we build.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A position for a lookup. What does not fit is beyond every slice, so the lookup fails, which is what it should do.
pub(crate) fn position(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
