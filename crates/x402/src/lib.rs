//! x402 payments without I/O: what is said on the wire, what makes a payment good, and how it reaches the chain.
//!
//! x402 is HTTP's "402 Payment Required" made usable: the server answers 402 with its requirements, the client signs a payment and sends the
//! request again. In Candor the enclave checks the payment itself, with nobody in between, and hands finished calldata to the host.
//!
//! ```text
//! client                        enclave                               host
//! client::choose ◀── 402 ────── protocol, extension
//! client::Ledger::reserve
//! client::pay ── payment ─────▶ scheme::verify_payment ⇒ VerifiedPayment
//!                               claims::ClaimSet::claim ⇒ Claim ⇒ Execution ─▶ engine
//!                               scheme::ContractCall ────────────────▶ settlement::Machine ─▶ chain
//! ```
//!
//! No clock, no randomness, no sockets, no async: time and random bytes are parameters, the shells are elsewhere (ADR 0007).
//! Not here: the price (`enclave`), what a verdict says about a payment (`candor-verify`), RPC (`chain`), v1 of the protocol.
//!
//! **Invariants:** no panic is reachable from input; every size has a limit; money is integers; no signature appears in `Debug`,
//! `Display` or an error.

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

pub mod claims;
pub mod client;
pub mod discovery;
pub mod error;
pub mod extension;
pub mod libsecp;
mod poor;
pub mod protocol;
pub mod recovery;
pub mod scheme;
pub mod settlement;

pub use claims::{Claim, ClaimSet, Execution};
pub use error::PaymentError;
pub use libsecp::Libsecp;
pub use scheme::{VerifiedPayment, verify_payment};
