//! The hook through which a boot gets into a registry. The host has the evidence; who signs the registration and pays is the caller's.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use candor_link::Ready;

/// A future that a [`Registrar`] returns.
pub type Registering<'a> = Pin<Box<dyn Future<Output = Result<(), RegistrarError>> + Send + 'a>>;

/// The same of a renewal.
pub type Renewing<'a> = Pin<Box<dyn Future<Output = Result<Renewed, RegistrarError>> + Send + 'a>>;

/// What a renewal came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: something was sent, or not")]
pub enum Renewed {
    /// One is in a block now.
    Sent,
    /// There was nothing to raise.
    Stands,
}

/// Brings a registry up to date with an enclave's evidence.
///
/// **Contract.** Idempotent. **Trust:** none: the registry checks every field against evidence and signatures.
pub trait Registrar: Send + Sync {
    /// Registers a key that the registry does not know, renews one that it does. Called after each boot, when a renewal is due, and again
    /// after a failure, each time with fresh evidence (a registry takes a first document about its last blocks only).
    fn submit<'a>(&'a self, ready: &'a Ready) -> Registering<'a>;

    /// Renews a key by the last evidence of its boot, which has gone, if that raises anything. Nothing to do for a key that the registry does
    /// not know, and for a document of which it takes no renewal any more. Asked again when no chain takes its block back any more, until there is nothing to do or three were sent.
    fn renew<'a>(&'a self, evidence: &'a [u8]) -> Renewing<'a>;
}

/// Why a registration was not made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: when to try again, and what to show")]
pub struct RegistrarError {
    /// Whether trying again soon can help. If not, the host tries at its attestation interval only.
    pub is_temporary: bool,
    /// For the operator.
    pub message: String,
}

impl fmt::Display for RegistrarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RegistrarError {}

/// Registers nothing: for nodes that somebody else registers.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: it has no state")]
pub struct NoRegistrar;

impl Registrar for NoRegistrar {
    fn submit<'a>(&'a self, _: &'a Ready) -> Registering<'a> {
        Box::pin(async { Ok(()) })
    }

    fn renew<'a>(&'a self, _: &'a [u8]) -> Renewing<'a> {
        Box::pin(async { Ok(Renewed::Stands) })
    }
}
