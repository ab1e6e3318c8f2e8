//! A software hypervisor. What it signs is SIMULATED: IT PROVES NOTHING ABOUT HARDWARE.
//!
//! [`Hypervisor`] signs attestation documents in the format of AWS Nitro (same fields, same encoding,
//! same chain of five certificates, same lifetimes) under a root of its own, made at first run in a
//! state directory. Demo and tests use it where a node on AWS would ask its security module, so that
//! every check runs on the same code path. Only the root differs, and only the root makes the
//! difference: a verifier calls evidence SIMULATED because its root is no compiled-in hardware root,
//! never because of a word in it.
//!
//! WHOEVER READS THE STATE DIRECTORY CAN FORGE ANYTHING UNDER ITS ROOT. There is no isolation, no
//! measured boot, and no secret from the host. So it serves only chains on which nothing has value
//! ([`permitted_chain`]), and it is not linked into the enclave image (checked in CI).
//!
//! Differences from AWS that remain: names say `O=not-Amazon, OU=SIMULATED`; the intermediate
//! certificates are made anew for each document; the distribution points lead nowhere.
//!
//! Not here: verification (`candor_verify::attest`), the port through which an enclave asks for
//! evidence (`candor-enclave`).

mod certificate;
mod chain;
mod der;
mod document;
mod error;
mod hypervisor;
mod measurements;
mod state;

pub use chain::{PERMITTED_CHAINS, PermittedChain, permitted_chain};
pub use error::DevteeError;
pub use hypervisor::{Hypervisor, Request};
pub use measurements::Measurements;
