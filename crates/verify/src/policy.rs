//! The policy: what the relying party accepts. Plain data; its commented TOML form lives in `candor-report`.
//!
//! Genuine, fresh and allowed are three questions: `attest` answers the first, `max_age_ms` bounds the second, this answers the third.
//! Only a policy names roots (Invariant 2). An empty list accepts nothing. Spec: policy.md §1-2.

use alloc::vec::Vec;
use core::fmt;

use crate::attest::TrustRoot;
use crate::bytes::{Address, Hash32};
use crate::time::UnixSeconds;
use crate::verdict::LogLevel;

/// What a policy accepts in one respect. An empty list accepts nothing: a typing error must not turn "none" into "any".
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: all, or those that are named")]
pub enum Accept<T> {
    /// Whatever there is.
    Any,
    /// These and no others.
    Only(Vec<T>),
}

impl<T: PartialEq> Accept<T> {
    /// Whether this one is accepted.
    #[must_use]
    pub fn accepts(&self, item: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Only(items) => items.contains(item),
        }
    }

    /// Those that are named; none if any is accepted.
    #[must_use]
    pub fn named(&self) -> &[T] {
        match self {
            Self::Any => &[],
            Self::Only(items) => items,
        }
    }
}

impl<T: fmt::Display> fmt::Display for Accept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Only(items) => write_list(f, items),
        }
    }
}

/// Which measured workloads a policy accepts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: all, or those that are named")]
pub enum Workloads {
    /// Any measurement under an accepted root. For development only; the verdict records it.
    DangerousAny,
    /// These and no others.
    Only(Vec<Hash32>),
}

impl Workloads {
    /// Whether this one is accepted.
    #[must_use]
    pub fn accepts(&self, workload: &Hash32) -> bool {
        match self {
            Self::DangerousAny => true,
            Self::Only(listed) => listed.contains(workload),
        }
    }
}

impl fmt::Display for Workloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DangerousAny => f.write_str("any workload (dangerous-any)"),
            Self::Only(listed) => write_list(f, listed),
        }
    }
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    let Some((first, rest)) = items.split_first() else { return f.write_str("none (the policy's list is empty)") };
    write!(f, "{first}")?;
    rest.iter().try_for_each(|item| write!(f, ", {item}"))
}

/// What a relying party accepts. `Default` accepts nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "any value is valid; a new field must be considered by every caller")]
pub struct Policy {
    /// Roots of attestation. Empty accepts no evidence.
    pub roots: Vec<TrustRoot>,
    /// Accepted workload ids ([`crate::manifest::workload_id`]).
    pub workloads: Workloads,
    /// Accepted operators. The operator is shown, and an attested enclave cannot be told to lie by one.
    pub operators: Accept<Address>,
    /// Accepted (chain id, registry).
    pub registries: Accept<(u64, Address)>,
    /// Accepted model digests; `Any` accepts those that the operator's signed terms list.
    pub models: Accept<Hash32>,
    /// Oldest attestation document accepted live, and longest distance from document to receipt in a bundle, in milliseconds.
    pub max_age_ms: u64,
    /// Clock skew tolerated, in milliseconds.
    pub skew_ms: u64,
    /// Ed25519 keys of witnesses. A cosignature by another key is refused.
    pub witnesses: Vec<Hash32>,
    /// How many of them make a receipt WITNESSED. Zero means the level is never reached.
    pub witness_threshold: usize,
    /// The least log level that counts as verified.
    pub require_level: LogLevel,
    /// Refuse payments whose nonce does not commit to the offer. Stock x402 clients do not commit: for them only the equal price is shown.
    pub require_offer_binding: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            workloads: Workloads::Only(Vec::new()),
            operators: Accept::Any,
            registries: Accept::Any,
            models: Accept::Any,
            max_age_ms: 2 * 3_600_000,
            skew_ms: 120_000,
            witnesses: Vec::new(),
            witness_threshold: 0,
            require_level: LogLevel::SelfLogged,
            require_offer_binding: true,
        }
    }
}

impl Policy {
    /// Accepts genuine hardware under the compiled-in roots, and still no workload until one is added.
    #[must_use]
    pub fn hardware() -> Self {
        Self { roots: alloc::vec![TrustRoot::AWS_NITRO_G1], ..Self::default() }
    }
}

/// A tree of a log that a chain saw, as the caller read it over its own RPC. The verifier cannot read a chain; it believes this parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct KnownTree {
    /// Log.
    pub log_id: Hash32,
    /// Size and root that were anchored or observed.
    pub tree: crate::tlog::Tree,
    /// Time of that block, Unix seconds.
    pub at: UnixSeconds,
}

/// What the registry says about a K_sig, as the caller read it over its own RPC. From when the key is valid is in its manifest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct RegistryRecord {
    /// The key.
    pub k_sig: Address,
    /// Manifest registered for it.
    pub manifest_hash: Hash32,
    /// End of its validity by the newest document that the registry was shown, Unix seconds.
    pub valid_until: UnixSeconds,
    /// From when its operator retired it, with notice; `None` if it did not.
    pub invalid_from: Option<UnixSeconds>,
    /// When its operator revoked it as stolen; `None` if it did not.
    pub revoked_at: Option<UnixSeconds>,
    /// Whether somebody showed the registry two trees of one size that the key signed.
    pub is_forked: bool,
    /// Whether the registry does not link this log to the predecessor that its manifest names.
    pub has_gap: bool,
    /// Leaves in the newest anchored tree of the predecessor that the manifest names; `None` if the registry has no such log.
    pub predecessor_anchored: Option<u64>,
}
