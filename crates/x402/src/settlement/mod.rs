//! Settlement: how a verified payment becomes money, and how the host knows that it did.
//!
//! The enclave makes finished calldata ([`VerifiedPayment::settlement`](crate::scheme::VerifiedPayment::settlement): nothing in it can be altered) and hands it out in the same message as the first
//! checkpoint that covers the receipt (ADR 0005). The host reads it as an [`Intent`]; its [`Machine`] submits it, or notices that somebody else did, or that it expired.
//! Anyone may submit; a submitter can delay, never alter.
//!
//! ```text
//! VerifiedPayment ─▶ Calldata ── link ──▶ Intent ─▶ Machine ── Action ──▶ database, ChainPort
//!                                                      ▲────── Event ─────────┘
//! ```
//!
//! The chain is read through whatever RPC the host has; a lie costs the operator, never the client (ADR 0008).
//! Not here: RPC, keys, storage (`host`, `chain`).

mod account;
mod agenda;
mod config;
mod done;
mod endpoint;
mod event;
mod facts;
mod intent;
mod lane;
mod line;
mod machine;
mod outcome;
mod payment;
mod shares;
mod store;
mod transaction;
mod waiters;

pub use config::MachineConfig;
pub use event::{
    Action, AuthorizationState, BlockRef, BroadcastOutcome, ChainAnswer, ChainPort, ChainRequest, Event, PersistResult, Purpose,
    RefuseReason, Simulation, TxReceipt, TxStatus,
};
pub use intent::Intent;
pub use machine::Machine;
pub use outcome::{FailureCode, Outcome, SettledBy, SettlementStatus};
pub use store::{Progress, Slot, StoreError, StoredIntent};
pub use waiters::MAX_QUESTIONS;
