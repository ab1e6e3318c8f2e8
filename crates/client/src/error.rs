//! What can go wrong for a buyer, by whose fault it is and what to do next. Exit codes: 1 refused, 2 cannot tell or usage.

use std::fmt;
use std::path::{Path, PathBuf};

use candor_verify::Hash32;
use candor_verify::evidence::Evidence;
use candor_verify::time::UnixSeconds;
use candor_verify::verdict::Verdict;

use crate::chain_health::ChainTrouble;
use crate::signer::SignerError;

/// Code of every failure whose cause is the chain: the word of nodes, of the proxy and of `--json`.
pub(crate) const CHAIN_UNAVAILABLE: &str = "chain_unavailable";

/// Why a client stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The caller asked for something that makes no sense.
    Usage(String),
    /// A file of ours cannot be read or written.
    File {
        /// Which.
        path: String,
        /// Why.
        what: String,
    },
    /// The node cannot be reached, or the connection broke.
    Unreachable {
        /// Host and port.
        endpoint: String,
        /// What happened.
        what: String,
    },
    /// The chain cannot be asked.
    Chain(String),
    /// The chain was asked before a payment, and is not to be relied on: nothing was signed.
    ChainTrouble(Box<ChainTrouble>),
    /// The server's TLS key is not the attested one. It was sent nothing.
    WrongKey {
        /// Attested.
        expected: Hash32,
        /// Shown.
        got: Hash32,
    },
    /// A boot was verified, and another one answers in its place. Whoever that is was sent nothing since, and is to be verified first.
    AnotherBoot {
        /// The manifest that was verified.
        expected: Hash32,
        /// What the response said.
        got: String,
    },
    /// Evidence was judged and refused.
    Refused(Box<RefusedEvidence>),
    /// Nodes are registered, and the policy refuses every one of them.
    Untrusted {
        /// Where was looked, and what refused.
        what: String,
        /// The newest of them.
        newest: Box<RefusedEvidence>,
    },
    /// The answer verified as far as it could be checked, but the policy asks for more.
    CannotTell(Box<Verdict>),
    /// The node said something that its own evidence contradicts, before any verdict.
    Dishonest {
        /// Which check.
        check: &'static str,
        /// In words.
        what: String,
    },
    /// The node answered with an error.
    Node {
        /// HTTP status.
        status: u16,
        /// `error.code`, or empty.
        code: String,
        /// `error.message`, cut to 300 characters.
        message: String,
        /// `error.param`: the field at fault.
        param: Option<String>,
    },
    /// The spend policy says no.
    Spend(String),
    /// What a proxy's key may spend in an hour or a day is spent: how much of it is left.
    Budget(String),
    /// A payment was sent and nobody knows yet whether it will be charged. Not paid again before its deadline.
    Unresolved {
        /// Payment id.
        payment_id: Hash32,
        /// Unix seconds.
        until: UnixSeconds,
        /// What happened.
        what: String,
    },
    /// An earlier payment for this very request may still be charged, and is not this boot's: nothing was paid.
    Held {
        /// Until when, Unix seconds.
        until: UnixSeconds,
        /// In words.
        what: String,
    },
    /// An answer was paid for, came, and was refused. Its payment is held like any unresolved one, and is not made again.
    RefusedAnswer {
        /// Which check.
        check: &'static str,
        /// In words.
        what: String,
        /// The bundle that shows it, or why there is none.
        kept: Result<PathBuf, String>,
        /// Payment id.
        payment_id: Hash32,
        /// Unix seconds.
        until: UnixSeconds,
    },
    /// An answer that nobody paid for came, and was refused.
    RefusedGift {
        /// Which check.
        check: &'static str,
        /// In words.
        what: String,
        /// The bundle that shows it, or why there is none.
        kept: Result<PathBuf, String>,
    },
    /// No node is registered, or none that the policy accepts answers.
    NoNode(String),
    /// The program that signs for the wallet did not: nothing was paid.
    Signer(SignerError),
}

/// Evidence that a policy refused, for whoever explains it. Nothing in it is believed.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain data: a refusal and what was refused")]
pub struct RefusedEvidence {
    /// What was shown.
    pub evidence: Evidence,
    /// By which check it was refused.
    pub verdict: Verdict,
}

impl fmt::Display for RefusedEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict.refused() {
            Some(check) => write!(f, "refused {}: expected {}, got {}", check.id, check.expected, check.got),
            None => f.write_str("refused"),
        }
    }
}

impl ClientError {
    /// 1 for what was judged and refused, 2 for what could not be judged or was asked wrongly.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::WrongKey { .. }
            | Self::AnotherBoot { .. }
            | Self::Refused(_)
            | Self::Untrusted { .. }
            | Self::RefusedAnswer { .. }
            | Self::RefusedGift { .. }
            | Self::Dishonest { .. }
            | Self::Spend(_)
            | Self::Budget(_)
            | Self::Signer(SignerError::TooLong { .. } | SignerError::Malformed | SignerError::OtherKey { .. }) => 1,
            Self::Usage(_)
            | Self::File { .. }
            | Self::Unreachable { .. }
            | Self::Chain(_)
            | Self::ChainTrouble(_)
            | Self::CannotTell(_)
            | Self::Node { .. }
            | Self::Unresolved { .. }
            | Self::Held { .. }
            | Self::NoNode(_)
            | Self::Signer(_) => 2,
        }
    }

    /// The check that refused, if one did.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        match self {
            Self::WrongKey { .. } => Some("tls.key"),
            Self::AnotherBoot { .. } => Some("node.boot"),
            Self::Refused(refused) | Self::Untrusted { newest: refused, .. } => refused.verdict.refused().map(|check| check.id),
            Self::Dishonest { check, .. } | Self::RefusedAnswer { check, .. } | Self::RefusedGift { check, .. } => Some(check),
            Self::Signer(error) => error.check(),
            _ => None,
        }
    }

    /// A stable word for what went wrong, where there is one that is no check.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Chain(_) | Self::ChainTrouble(_) => Some(CHAIN_UNAVAILABLE),
            _ => None,
        }
    }

    /// The bundle that was kept of a refused answer.
    #[must_use]
    pub fn kept(&self) -> Option<&Path> {
        match self {
            Self::RefusedAnswer { kept: Ok(path), .. } | Self::RefusedGift { kept: Ok(path), .. } => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => f.write_str(what),
            Self::File { path, what } => write!(f, "{path}: {what}"),
            Self::Unreachable { endpoint, what } => write!(f, "{endpoint} cannot be reached: {what}"),
            Self::Chain(what) => write!(f, "the chain cannot be asked: {what}"),
            Self::ChainTrouble(trouble) => write!(f, "nothing was paid: {trouble}"),
            Self::WrongKey { expected, got } => {
                write!(f, "refused tls.key: expected the attested key {expected}, the server has {got}; it was sent nothing")
            }
            Self::AnotherBoot { expected, got } => {
                write!(f, "refused node.boot: verified manifest {expected}, the response says {got}; ask again to have it verified first")
            }
            Self::Refused(refused) => write!(f, "{refused}"),
            Self::Untrusted { what, .. } => write!(f, "no node that the policy accepts: {what}"),
            Self::CannotTell(verdict) => {
                write!(f, "cannot tell: the log level is {}, the policy asks for more", verdict.log_level().as_str())
            }
            Self::Dishonest { check, what } => write!(f, "refused {check}: {what}"),
            Self::Node { status, code, message, .. } if code.is_empty() => write!(f, "the node answered {status}: {message}"),
            Self::Node { status, code, message, .. } => write!(f, "the node answered {status} {code}: {message}"),
            Self::Spend(what) | Self::Budget(what) => write!(f, "not paid: {what}"),
            Self::Unresolved { payment_id, until, what } => {
                write!(f, "{what}; payment {payment_id:#} is unresolved until {until} (Unix seconds) and is not paid again before that")
            }
            Self::Held { what, .. } => write!(f, "not paid: {what}; ask again later, or say that it may be paid again"),
            Self::RefusedGift { check, what, kept } => {
                write!(f, "the answer, which nobody paid for, is refused by {check}: {what}; ")?;
                say_kept(f, kept)
            }
            Self::RefusedAnswer { check, what, kept, payment_id, until } => {
                write!(f, "the paid answer is refused by {check}: {what}; ")?;
                say_kept(f, kept)?;
                write!(f, "; payment {payment_id:#} is unresolved until {until} (Unix seconds) and is not paid again before that")
            }
            Self::NoNode(what) => write!(f, "no node: {what}"),
            Self::Signer(error) => write!(f, "nothing was paid: {error}"),
        }
    }
}

fn say_kept(f: &mut fmt::Formatter<'_>, kept: &Result<PathBuf, String>) -> fmt::Result {
    match kept {
        Ok(path) => write!(f, "kept as evidence in {}", path.display()),
        Err(why) => write!(f, "nothing could be kept: {why}"),
    }
}

impl std::error::Error for ClientError {}

impl From<SignerError> for ClientError {
    fn from(error: SignerError) -> Self {
        Self::Signer(error)
    }
}

impl From<ChainTrouble> for ClientError {
    fn from(trouble: ChainTrouble) -> Self {
        Self::ChainTrouble(Box::new(trouble))
    }
}
