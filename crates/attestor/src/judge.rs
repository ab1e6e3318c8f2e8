//! The judgement: evidence in, a verdict that may be signed or a typed refusal out. Pure: time, policy and what a chain said are parameters.
//!
//! Two steps, because the first tells what to ask a chain, and nobody asks about evidence that does not pass. Spec: attestor.md §2.

use std::fmt;

use candor_chain::{ChainError, Signer, Verdict};
use candor_verify::attest;
use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::check::{CLOCK_SKEW_SECONDS, MAX_ANCHOR_DELAY_SECONDS, MAX_EVIDENCE_AGE_SECONDS};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, verify_evidence};
use candor_verify::hash::keccak256;
use candor_verify::manifest::{Freshness, TeeKind, attested_bytes};
use candor_verify::policy::Policy;
use candor_verify::time::{UnixMs, UnixSeconds};

/// The contract for which verdicts are signed, who may sign, and the registry that it is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a deployment says of its quorum")]
pub struct Quorum {
    /// EIP-155 chain id of contract and registry.
    pub chain_id: u64,
    /// `QuorumVerifier`.
    pub verifier: Address,
    /// `CandorRegistry`.
    pub registry: Address,
    /// How many members must sign.
    pub threshold: u64,
    /// Who may.
    pub members: Vec<Address>,
}

impl Quorum {
    /// What a member signs of a verdict.
    #[must_use]
    pub fn digest(&self, verdict: &Verdict) -> Hash32 {
        verdict.digest(self.chain_id, &self.verifier)
    }

    /// What the contract says of a verdict that enough members signed.
    #[must_use]
    pub fn workload_id(&self, verdict: &Verdict) -> Hash32 {
        verdict.workload_id(self.threshold, &self.members)
    }
}

/// Why an attestor signs nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NotAttested {
    /// The bytes are no evidence.
    Malformed(String),
    /// The question is about another contract than the one this attestor signs for.
    AnotherQuorum {
        /// Chain id and contract.
        expected: (u64, Address),
        /// As asked.
        got: (u64, Address),
    },
    /// The evidence is for another registry than the one this attestor looks at.
    AnotherRegistry {
        /// Chain id and registry.
        expected: (u64, Address),
        /// As the manifest says.
        got: (u64, Address),
    },
    /// It did not pass this attestor's policy.
    Refused {
        /// The check that refused it.
        check: &'static str,
    },
    /// The document is of a moment that has not come.
    FromTheFuture {
        /// Its own signed time.
        made: UnixSeconds,
        /// By the attestor's clock.
        now: UnixSeconds,
    },
    /// The document is older than the registry would take it.
    TooOld {
        /// Its own signed time.
        made: UnixSeconds,
        /// By the attestor's clock.
        now: UnixSeconds,
        /// Most that is taken, in seconds.
        most: u64,
    },
    /// The block that the evidence names is none of this chain.
    UnknownBlock {
        /// Its number.
        number: u64,
        /// What the attestor's chain has there.
        expected: Hash32,
        /// What the evidence says.
        got: Hash32,
    },
    /// The attestor's endpoint does not have that block yet.
    BlockNotYet {
        /// Its number.
        number: u64,
        /// The newest block there.
        newest: u64,
    },
    /// The attestor's endpoint did not answer.
    Chain(ChainError),
    /// The key did not sign.
    Signing(ChainError),
}

impl NotAttested {
    /// A stable word for programs. Spec: attestor.md §3.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_evidence",
            Self::AnotherQuorum { .. } => "another_quorum",
            Self::AnotherRegistry { .. } => "another_registry",
            Self::Refused { .. } => "refused",
            Self::FromTheFuture { .. } => "from_the_future",
            Self::TooOld { .. } => "too_old",
            Self::UnknownBlock { .. } => "unknown_block",
            Self::BlockNotYet { .. } => "block_not_yet",
            Self::Chain(_) => "chain_unavailable",
            Self::Signing(_) => "internal",
        }
    }

    /// Whether the same question, or one with evidence made anew, may get another answer soon: a chain that took back a block has others.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::UnknownBlock { .. } | Self::BlockNotYet { .. } | Self::Chain(_) | Self::Signing(_))
    }
}

impl fmt::Display for NotAttested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "the bytes are no evidence: {what}"),
            Self::AnotherQuorum { expected, got } => {
                write!(f, "expected a question for contract {} on chain {}, got {} on chain {}", expected.1, expected.0, got.1, got.0)
            }
            Self::AnotherRegistry { expected, got } => {
                write!(f, "expected evidence for registry {} on chain {}, got {} on chain {}", expected.1, expected.0, got.1, got.0)
            }
            Self::Refused { check } => write!(f, "the evidence did not pass this attestor's policy: {check}"),
            Self::FromTheFuture { made, now } => write!(f, "the document is of {made}, and now is {now}"),
            Self::TooOld { made, now, most } => {
                write!(f, "the document is of {made}, now is {now}, and expected are at most {most} seconds")
            }
            Self::UnknownBlock { number, expected, got } => {
                write!(f, "the evidence names block {number}: expected {expected}, got {got}; of another chain, or taken back")
            }
            Self::BlockNotYet { number, newest } => write!(f, "the evidence names block {number}, and the newest here is {newest}"),
            Self::Chain(error) => write!(f, "this attestor's chain endpoint: {error}"),
            Self::Signing(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotAttested {}

/// Evidence that passed: what would be said of it, and what is still to be asked of a chain.
#[derive(Clone, Debug)]
#[must_use]
pub struct Judged {
    verdict: Verdict,
    k_sig: Address,
    freshness: Freshness,
    made: UnixSeconds,
}

/// What a chain of the attestor's own says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a registry knows a key or not")]
pub enum Seen {
    /// The registry knows the key: this document can only renew it, for which no block counts.
    Registered,
    /// It does not: this would be its first document.
    New(BlockSeen),
}

/// The block whose number the evidence names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what decides")]
pub struct BlockSeen {
    /// Its hash; `None` if there is no such block.
    pub hash: Option<Hash32>,
    /// Number of the newest block.
    pub newest: u64,
}

/// A verdict that may be signed.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Signable(Verdict);

/// Judges evidence by a policy, at its own time: whoever kept a document may show it for as long as the registry takes one.
///
/// # Errors
/// [`NotAttested`].
///
/// # Security
/// Not proven: that the block in the freshness tag is of any chain ([`Judged::seen`]), that what was measured deserves trust (the policy
/// says so).
pub fn judge(evidence: &Evidence, policy: &Policy, quorum: &Quorum, now: UnixSeconds) -> Result<Judged, NotAttested> {
    let (expected, got) = ((quorum.chain_id, quorum.registry), (evidence.manifest.anchor_chain_id, evidence.manifest.registry));
    if expected != got {
        return Err(NotAttested::AnotherRegistry { expected, got });
    }
    let (verdict, enclave) = verify_evidence(evidence, policy, Moment::OwnTime, &K256);
    let Some(enclave) = enclave else {
        return Err(NotAttested::Refused { check: verdict.refused().map_or("evidence", |check| check.id) });
    };
    let malformed = |error: &dyn fmt::Display| NotAttested::Malformed(error.to_string());
    let document = attest::parse_document(evidence.document()).map_err(|error| malformed(&error))?;
    let at = document.claimed_timestamp_ms();
    let made = UnixMs(at).seconds();
    if now.saturating_add(CLOCK_SKEW_SECONDS) < made {
        return Err(NotAttested::FromTheFuture { made, now });
    }
    if !is_takeable(made, now) {
        return Err(NotAttested::TooOld { made, now, most: MAX_ANCHOR_DELAY_SECONDS });
    }
    let verified =
        attest::verify_document(&document, &policy.roots, at, attest::Freshness::Historical).map_err(|error| malformed(&error))?;
    let manifest = enclave.manifest();
    let attested = attested_bytes(&manifest.k_sig, &manifest.hash(), &evidence.freshness);
    // Kinds whose documents have no time of their own would need that of a pinned block (BYTES §2). None is judged in this version: what is
    // not in Nitro's format was refused above (`attest.kind`).
    let verdict = Verdict {
        evidence_hash: keccak256(&[evidence.document()]),
        inner_kind: TeeKind::Nitro.code().into(),
        inner_root: Hash32(verified.root_fingerprint()),
        inner_measurements: keccak256(&[verified.measurements()]),
        attested_hash: keccak256(&[&attested]),
        document_time: made.0,
    };
    Ok(Judged { verdict, k_sig: manifest.k_sig, freshness: evidence.freshness, made })
}

impl Judged {
    /// What would be signed.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The key whose evidence it is, to ask the registry about.
    #[must_use]
    pub fn k_sig(&self) -> &Address {
        &self.k_sig
    }

    /// Number of the block that the evidence names, to ask a chain about.
    #[must_use]
    pub fn block_number(&self) -> u64 {
        self.freshness.block_number
    }

    /// Takes what a chain of the attestor's own says. A first document must name a block of it, and be of the last two hours: a boot that
    /// nobody heard of for longer may be gone.
    ///
    /// # Errors
    /// `UnknownBlock`, `BlockNotYet`, `TooOld`, `AnotherRegistry` for a block of another chain.
    pub fn seen(self, seen: Seen, quorum: &Quorum, now: UnixSeconds) -> Result<Signable, NotAttested> {
        let Seen::New(block) = seen else { return Ok(Signable(self.verdict)) };
        let Freshness { chain_id, block_number: number, block_hash, .. } = self.freshness;
        if chain_id != quorum.chain_id {
            return Err(NotAttested::AnotherRegistry { expected: (quorum.chain_id, quorum.registry), got: (chain_id, quorum.registry) });
        }
        if is_old_for_a_first(self.made, now) {
            return Err(NotAttested::TooOld { made: self.made, now, most: MAX_EVIDENCE_AGE_SECONDS });
        }
        match block.hash {
            Some(hash) if hash == block_hash => Ok(Signable(self.verdict)),
            Some(expected) => Err(NotAttested::UnknownBlock { number, expected, got: block_hash }),
            None => Err(NotAttested::BlockNotYet { number, newest: block.newest }),
        }
    }
}

impl Signable {
    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.0
    }

    /// Signs it for a quorum.
    ///
    /// # Errors
    /// What the signing library says; a valid key does not fail.
    pub fn sign(&self, key: &Signer, quorum: &Quorum) -> Result<Signature65, ChainError> {
        key.sign_digest(&quorum.digest(&self.0))
    }
}

/// Whether a registry still takes a document of this time, as a renewal. Spec: bundle.md §6.
#[must_use]
pub fn is_takeable(made: UnixSeconds, now: UnixSeconds) -> bool {
    now <= made.saturating_add(MAX_ANCHOR_DELAY_SECONDS)
}

/// The clocks of an enclave and of an attestor may differ by the skew.
fn is_old_for_a_first(made: UnixSeconds, now: UnixSeconds) -> bool {
    made.saturating_add(MAX_EVIDENCE_AGE_SECONDS).saturating_add(CLOCK_SKEW_SECONDS) < now
}

/// When a document was made, by its own signed time.
///
/// # Errors
/// `Malformed`.
pub fn document_time(evidence: &Evidence) -> Result<UnixSeconds, NotAttested> {
    let document = attest::parse_document(evidence.document()).map_err(|error| NotAttested::Malformed(error.to_string()))?;
    Ok(UnixMs(document.claimed_timestamp_ms()).seconds())
}
