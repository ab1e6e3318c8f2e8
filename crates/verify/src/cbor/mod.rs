//! CBOR, strict in both directions: one encoding per value, and a bound on everything.
//!
//! [`values`] reads the values of any strict CBOR, also of what others write (attestation documents). On it stands our own deterministic
//! encoding, with [`Writer`] and [`Reader`]: operator terms, evidence, bundles, link messages. Spec: bundle.md §1. Not here: what the
//! values mean.

mod reader;
pub mod values;

pub use reader::{CborError, Reader, Writer};
