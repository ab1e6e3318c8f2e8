//! Attestors: independent parties that judge evidence and sign what they found, for a contract that cannot judge it itself.
//!
//! ```text
//! evidence ─▶ judge ─▶ Judged ─(what the attestor's own chain says)─▶ Signable ─▶ signature      judge.rs
//! Attestor ── key, policy, quorum and chain of one member             attestor.rs
//! serve ───── POST /v1/attest, bounded                                server.rs, form.rs
//! collect ─── the registrar's side: asks all, takes t that are right  collect.rs
//! ```
//!
//! A quorum *could* forge: t of its members together. That is what the kind QUORUM says of itself, and its members are in the workload id
//! (ADR 0006). An attestor signs nothing that it did not verify. Spec: attestor.md, attestation.md §4.
//!
//! Not here: verification (`candor-verify`), the contract's words (`candor-chain`), keystores and command lines (`candor-cli`), and what a
//! registrar does with the signatures.
//!
//! - **Invariant:** nothing is signed but a [`Signable`], which only a judgement together with a look at a chain makes.
//! - **Invariant:** no chain is asked about evidence that did not pass: a stranger's bytes cost an attestor no request.
//! - **Invariant:** whatever an attestor answers, a signature counts only if it recovers to a member over the verdict that the registrar
//!   found itself.

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

mod attestor;
mod collect;
mod form;
mod judge;
mod rate;
mod server;

pub use attestor::{Attestor, SignedVerdict};
pub use collect::{AttestorUrl, Collected, NoQuorum, NotAUrl, Silent, Why, collect};
pub use judge::{BlockSeen, Judged, NotAttested, Quorum, Seen, Signable, document_time, is_takeable, judge};
pub use server::{Told, Watch, serve};
