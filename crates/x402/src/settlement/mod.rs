//! Settlement: how a verified payment becomes money, and how the host knows that it did.
//!
//! The enclave makes finished calldata ([`VerifiedPayment::settlement`](crate::VerifiedPayment::settlement): nothing in it can be altered) and hands it out in the same message as the first
//! checkpoint that covers the receipt (ADR 0005). The host reads it as an [`Intent`]; its [`Machine`] submits it, or notices that somebody else did, or that it expired.
//! Anyone may submit; a submitter can delay, never alter.
//!
//! ```text
//! VerifiedPayment ─▶ Call ── link ──────▶ Intent ─▶ Machine ── Action ──▶ database, ChainPort
//!                                                      ▲────── Event ─────────┘
//! ```
//!
//! The chain is read through whatever RPC the host has; a lie costs the operator, never the client (ADR 0008).
//! Not here: RPC, keys, storage (`host`, `chain`).

mod agenda;
mod done;
mod entry;
mod event;
mod intent;
mod machine;
mod nonces;
mod outcome;
mod store;

pub use crate::scheme::{Calldata, CalldataError, decode_transfer, encode_transfer};
pub use candor_verify::scheme::{Log, TRANSFER_TOPIC};
pub use event::{
    Action, AuthorizationState, BlockRef, BroadcastOutcome, ChainAnswer, ChainPort, ChainRequest, Event, PersistResult, Purpose,
    RefuseReason, Simulation, TxReceipt, TxStatus,
};
pub use intent::Intent;
pub use machine::{MAX_QUESTIONS, Machine, MachineConfig};
pub use outcome::{FailureCode, Outcome, SettledBy, SettlementStatus};
pub use store::{Progress, Slot, StoreError, StoredIntent};
