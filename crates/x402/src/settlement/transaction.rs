//! One transaction of the gas key: an account nonce at a price, what it carries, and how far it is on its way.
//!
//! It carries *rows*: payments that it is to settle. Now it has one row, or none if all it does is to use up its account nonce (a
//! *filler*). Here is only what is true of the transaction, whatever its rows are; what a row still needs is `payment.rs`.
//!
//! ```text
//! Turn ── handed out ──▶ Block ── a receipt ──▶ Depth ──▶ over
//!  ▲ ▲                    │ ▲                     │
//!  │ └ late, gap, refused ┘ └── taken out again ──┘
//! Word (after a restart)
//! ```
//!
//! A timeout never makes another transaction of it: it is sent again with the same account nonce, at the same price or a higher one, and of
//! these twins at most one can land.

use candor_verify::bytes::Hash32;

use super::config::MachineConfig;
use super::event::{BroadcastOutcome, Simulation};
use super::store::{MAX_HASHES, Slot};

/// A transaction that is not over.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Gas price class at which it was last handed out, or is to be.
    gas_level: u8,
    /// Its twins that are known by hash, the latest last.
    hashes: Vec<Hash32>,
    row: Option<Hash32>,
    reach: Reach,
    awaits: Awaits,
}

/// What it awaits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Awaits {
    /// What the chain says of it, before it is sent again: it was found in the database after a restart.
    Word,
    /// Its turn to be sent, not before this time: its rows' records must be durable, and a node reached with every lower account nonce.
    Turn { from_ms: u64 },
    /// A block. It was handed to the shell at this time, to be tried first or not; if it is late, its price is raised or not.
    Block { since_ms: u64, simulation: Simulation, raises: bool },
    /// The depth of its block.
    Depth,
}

/// Who may have it; grows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    /// Nobody: it was never handed to the shell, or the shell said that it was not sent. Its call passed at this time.
    Nobody { passed_ms: u64 },
    /// The shell, and whoever that gave it to.
    Shell,
    /// A node, perhaps: the outcome of sending is not known.
    NodePerhaps,
    /// A node.
    Node,
}

/// What the outcome of sending means to the rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    Nothing,
    /// Price or hashes are others than in the rows' records.
    Changed,
    /// The account nonce is used: the chain knows by what.
    NonceUsed,
    /// The call reverts at this block, and nothing was sent.
    WouldRevert {
        block: u64,
    },
}

impl Transaction {
    /// One that is to be sent as soon as its row's record is durable. Its call passed at `passed_ms`, or a moment later.
    pub(super) fn new(row: Hash32, passed_ms: u64) -> Self {
        let (reach, awaits) = (Reach::Nobody { passed_ms }, Awaits::Turn { from_ms: 0 });
        Self { gas_level: 0, hashes: Vec::new(), row: Some(row), reach, awaits }
    }

    /// After a restart: whatever a record names may be out.
    pub(super) fn restored(row: Hash32, slot: &Slot) -> Self {
        let reach = if slot.hashes.is_empty() { Reach::Shell } else { Reach::NodePerhaps };
        Self { gas_level: slot.gas_level, hashes: slot.hashes.clone(), row: Some(row), reach, awaits: Awaits::Word }
    }

    /// One that does nothing but use up its account nonce.
    pub(super) fn filler(gas_level: u8) -> Self {
        Self { gas_level, hashes: Vec::new(), row: None, reach: Reach::Shell, awaits: Awaits::Turn { from_ms: 0 } }
    }

    /// Payments that it is to settle.
    pub(super) fn rows(&self) -> impl Iterator<Item = Hash32> {
        self.row.into_iter()
    }

    pub(super) fn has_rows(&self) -> bool {
        self.row.is_some()
    }

    pub(super) fn gas_level(&self) -> u8 {
        self.gas_level
    }

    pub(super) fn hashes(&self) -> &[Hash32] {
        &self.hashes
    }

    /// Whether somebody else may have it. If not, its account nonce is free as soon as it is dropped.
    pub(super) fn may_be_out(&self) -> bool {
        !matches!(self.reach, Reach::Nobody { .. })
    }

    /// Whether a node has, or perhaps has, a transaction with its account nonce: the next higher one makes no gap.
    pub(super) fn has_reached_node(&self) -> bool {
        matches!(self.reach, Reach::NodePerhaps | Reach::Node)
    }

    pub(super) fn is_in_block(&self) -> bool {
        self.awaits == Awaits::Depth
    }

    /// After a restart, with no hash to ask for: only the authorizations of its rows can tell.
    pub(super) fn awaits_word_of_rows(&self) -> bool {
        self.awaits == Awaits::Word && self.hashes.is_empty()
    }

    /// Sent long ago, and in no block.
    pub(super) fn is_late(&self, now_ms: u64, config: &MachineConfig) -> bool {
        matches!(self.awaits, Awaits::Block { since_ms, .. } if since_ms.saturating_add(config.bump_after_ms) <= now_ms)
    }

    /// Whether it is to be sent now, as far as it is concerned.
    pub(super) fn awaits_turn(&self, now_ms: u64) -> bool {
        matches!(self.awaits, Awaits::Turn { from_ms } if from_ms <= now_ms)
    }

    /// Hands it to the shell if it is its turn; gives whether the call is to be tried before.
    pub(super) fn hand_out(&mut self, now_ms: u64, config: &MachineConfig) -> Option<Simulation> {
        if !self.awaits_turn(now_ms) {
            return None;
        }
        // The call passed before there was an account nonce for it. If it waited for its turn since, it is tried once more; if a twin may be
        // out, a revert would mean nothing.
        let simulation = match self.reach {
            Reach::Nobody { passed_ms } if passed_ms.saturating_add(config.poll_ms) <= now_ms => Simulation::First,
            Reach::Nobody { .. } | Reach::Shell | Reach::NodePerhaps | Reach::Node => Simulation::Skip,
        };
        if !self.may_be_out() {
            self.reach = Reach::Shell;
        }
        self.awaits = Awaits::Block { since_ms: now_ms, simulation, raises: true };
        Some(simulation)
    }

    /// To be sent once more, one class higher if that makes sense; gives whether the price is another now.
    pub(super) fn send_again(&mut self, max_level: u8) -> bool {
        let raises = match self.awaits {
            Awaits::Word | Awaits::Depth => return false,
            Awaits::Turn { .. } => true,
            Awaits::Block { raises, .. } => raises,
        };
        self.awaits = Awaits::Turn { from_ms: 0 };
        let is_raised = raises && self.gas_level < max_level;
        if is_raised {
            self.gas_level = self.gas_level.saturating_add(1);
        }
        is_raised
    }

    /// What became of handing it out at this price.
    pub(super) fn on_outcome(&mut self, gas_level: u8, outcome: BroadcastOutcome, now_ms: u64, config: &MachineConfig) -> Told {
        let is_latest = self.gas_level == gas_level;
        match outcome {
            BroadcastOutcome::Sent { hash } => {
                self.reach = Reach::Node;
                self.remember(hash)
            }
            BroadcastOutcome::Unknown { hash } => {
                if self.reach != Reach::Node {
                    self.reach = Reach::NodePerhaps;
                }
                self.remember(hash)
            }
            // Somebody used the nonce: one of ours, or a second writer. The chain says which.
            BroadcastOutcome::NonceTooLow => {
                self.reach = Reach::Node;
                Told::NonceUsed
            }
            BroadcastOutcome::Underpriced => {
                self.reach = Reach::Node;
                // At the highest class there is nothing to raise: it is sent again when it is late, not in a loop.
                let again = is_latest && gas_level < config.max_gas_level;
                if again && self.send_again(config.max_gas_level) { Told::Changed } else { Told::Nothing }
            }
            BroadcastOutcome::NoGasFunds => {
                if let Awaits::Block { raises, .. } = &mut self.awaits {
                    *raises = false;
                }
                Told::Nothing
            }
            BroadcastOutcome::WouldRevert { block } => self.on_would_revert(block),
            // The node lost a lower one, or another node was asked, or none could be: again soon, at the same price.
            BroadcastOutcome::NonceTooHigh | BroadcastOutcome::NotSent => {
                if is_latest && matches!(self.awaits, Awaits::Block { .. }) {
                    self.awaits = Awaits::Turn { from_ms: now_ms.saturating_add(config.poll_ms) };
                }
                Told::Nothing
            }
        }
    }

    /// It was tried instead of sent, and would revert. A late answer about a twin that was replaced since says nothing.
    fn on_would_revert(&mut self, block: u64) -> Told {
        if !matches!(self.awaits, Awaits::Block { simulation: Simulation::First, .. }) {
            return Told::Nothing;
        }
        self.reach = Reach::Nobody { passed_ms: 0 };
        self.awaits = Awaits::Turn { from_ms: 0 };
        Told::WouldRevert { block }
    }

    fn remember(&mut self, hash: Hash32) -> Told {
        // What is sent is not tried any more: a doubled answer says nothing about it.
        if let Awaits::Block { simulation, .. } = &mut self.awaits {
            *simulation = Simulation::Skip;
        }
        if self.hashes.contains(&hash) {
            return Told::Nothing;
        }
        if MAX_HASHES <= self.hashes.len() {
            self.hashes.remove(0);
        }
        self.hashes.push(hash);
        // Crash: before this is durable: the hash is lost, the transaction is not. The authorization's own event leads to it.
        Told::Changed
    }

    /// A node took a transaction with a lower account nonce: one that was refused because of a gap need not wait any longer.
    pub(super) fn on_sent_below(&mut self) {
        if let Awaits::Turn { from_ms } = &mut self.awaits {
            *from_ms = 0;
        }
    }

    /// A higher account nonce was refused because of a gap: what is not known to have been sent is sent again, at the same price.
    pub(super) fn on_gap_above(&mut self) {
        if self.reach == Reach::NodePerhaps && matches!(self.awaits, Awaits::Block { .. }) {
            self.awaits = Awaits::Turn { from_ms: 0 };
        }
    }

    /// One of its twins is in a block.
    pub(super) fn on_in_block(&mut self) {
        self.awaits = Awaits::Depth;
        self.reach = Reach::Node;
    }

    /// None of its twins is in a block: never was, or a reorganisation took it out again.
    pub(super) fn on_in_no_block(&mut self, now_ms: u64) {
        match self.awaits {
            Awaits::Word => self.awaits = Awaits::Turn { from_ms: 0 },
            // The node that had the block puts what was in it back into its pool; late, it is sent again.
            Awaits::Depth => self.awaits = Awaits::Block { since_ms: now_ms, simulation: Simulation::Skip, raises: true },
            Awaits::Turn { .. } | Awaits::Block { .. } => {}
        }
    }

    /// The chain says that its rows are still to be settled, and it has no hash by which to look for it.
    pub(super) fn on_rows_unsettled(&mut self) {
        if self.awaits_word_of_rows() {
            self.awaits = Awaits::Turn { from_ms: 0 };
        }
    }

    /// Its row needs it no more, and it may be out. What replaces it has to pay more.
    pub(super) fn lose_row(&mut self, max_level: u8) {
        self.row = None;
        self.gas_level = self.gas_level.saturating_add(1).min(max_level);
        self.awaits = Awaits::Turn { from_ms: 0 };
    }
}
