//! The verifier: the ground floor of Candor, and the only place where anything becomes believed.
//!
//! Bytes come in, an opinion with reasons comes out. No I/O, no clock, no randomness, no logging: time, policy and trust roots are
//! parameters (ADR 0001). `no_std` + alloc, builds to wasm; the command line, the client, the page and the tests all get every verdict
//! from here.
//!
//! ```text
//! evidence ──▶ attest ──▶ manifest, terms ──▶ VerifiedEnclave ─┐
//! bundle ──▶ offer, payment, receipt, transcript, tlog ────────┴──▶ Verdict: one Check per step of the spec
//! ```
//!
//! Two kinds of names: `parse…` gives a well-formed value that nobody believes; `verify…` takes such a value and a [`policy::Policy`]
//! and gives a `Verified…` value, which has private fields and no other constructor.
//!
//! What a verdict does *not* say is part of the verdict: see [`verdict::Verdict::not_proven`].
//!
//! **Invariant:** no panic is reachable from input; the lints below are denied in this crate.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::wildcard_enum_match_arm
    )
)]

extern crate alloc;

#[macro_use]
mod codes;
mod json;

pub mod abi;
pub mod attest;
pub mod bundle;
pub mod bytes;
pub mod cbor;
pub mod check;
pub mod checkpoint;
pub mod decoding;
pub mod delivery;
pub mod eip712;
pub mod evidence;
pub mod explain;
pub mod grade;
pub mod hash;
pub mod manifest;
pub mod offer;
pub mod payment;
pub mod policy;
pub mod proof;
pub mod public;
pub mod receipt;
pub mod recovery;
pub mod refusal;
pub mod registration;
pub mod scheme;
pub mod source;
pub mod step;
pub mod tags;
pub mod terms;
pub mod text;
pub mod time;
pub mod tlog;
pub mod transcript;
pub mod verdict;

/// Version of every wire and every signed structure of ours: one generation. Those of another version are refused by name.
pub const VERSION: u8 = 2;

pub use bytes::{Address, Amount, Hash32, Signature65};
pub use time::{UnixMs, UnixSeconds};
