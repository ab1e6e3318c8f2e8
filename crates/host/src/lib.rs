//! The untrusted half of a node: carries bytes, stores receipts, submits payments, anchors and publishes the log.
//!
//! Everything here is for availability. The host sees ciphertext, salted digests and finished calldata; it has no key that anyone but its
//! gas money depends on, and a host that lies can stop the service or lose its operator's income, never a client's money, privacy or
//! verdict (ADR 0008; link.md says so for each message).
//!
//! ```text
//! clients ──TCP──▶ clients ──unix socket──▶ enclave
//!                  control ◀─requests, replies─▶ enclave      boot: terms, models, registration, heads, attestations
//!                    └─ answer ─▶ store (SQLite, one writer) ─▶ settle ─▶ port ─▶ chain
//!                                   └─▶ publish ─▶ data/log/… ◀─ http ── readers of the log
//!                                   └─▶ anchor ─▶ CandorRegistry
//! the operator ◀─ notices (a log elsewhere), metrics ◀─ all of these
//! ```
//!
//! [`Host::start`] runs all of it until [`Host::stop`]. Not here: TLS, prompts, receipts' contents, registration itself ([`Registrar`]).
//!
//! **Invariants:** `Append` and `Checkpoint` are answered only after a commit with `synchronous=FULL`; memory never holds what the
//! database does not; an account nonce is durable before its transaction is sent; nothing in a log of ours holds calldata or signatures.

mod accounts;
mod anchor;
mod answer;
mod boot;
mod calls;
mod clients;
mod clock;
mod config;
mod control;
mod ends;
mod http;
mod metrics;
mod notice;
mod overlap;
mod port;
mod prices;
mod publish;
mod registrar;
mod registration;
mod run;
mod settle;
mod shared;
mod slot;
pub mod store;

pub use config::{BootConfig, ClientLimits, GasKeys, HostConfig, ModelFile, SettlementConfig, Timing};
pub use notice::{Notice, NoticeSink, PARTS};
pub use overlap::DRAIN_MAX;
pub use registrar::{NoRegistrar, Registering, Registrar, RegistrarError, Renewed, Renewing};
pub use run::{Host, HostError};
pub use slot::Stage;
