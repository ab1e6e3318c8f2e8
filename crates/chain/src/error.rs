//! What can go wrong with a chain: it does not answer, it refuses, it answers nonsense, or we asked for nonsense.
//!
//! Variants by what to do next. Nothing of a request is quoted: calldata of settlements holds payment signatures.

use std::fmt;
use std::time::Duration;

use alloy::sol_types::SolInterface;
use alloy::transports::{RpcError, TransportErrorKind};
use candor_verify::bytes::to_hex;

use crate::bindings::{EnclaveRegistry, Libraries, LogAnchor, QuorumVerifier, ReceiptVerifier, WorkloadPolicy};

/// Why a chain operation did not give a value.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChainError {
    /// The endpoint cannot be reached or fails. Try again later; a transaction that was being sent may or may not have arrived.
    Unavailable {
        /// What was asked.
        what: &'static str,
        /// What the transport says.
        detail: String,
    },
    /// No answer in time. As [`ChainError::Unavailable`].
    Timeout {
        /// What was asked.
        what: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The chain answered with an error: a revert, a used nonce, too little gas money.
    Rejected {
        /// What was asked.
        what: &'static str,
        /// JSON-RPC code.
        code: i64,
        /// The node's text; differs between nodes, so decisions are not made on it.
        message: String,
        /// Revert data.
        data: Vec<u8>,
    },
    /// The answer is not what this call returns: another contract, another chain, a broken node.
    Malformed {
        /// What was asked.
        what: &'static str,
        /// What is wrong with the answer.
        detail: String,
    },
    /// The caller's argument cannot be meant.
    Misuse {
        /// What was asked.
        what: &'static str,
        /// What is wrong with the argument.
        detail: String,
    },
}

impl ChainError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Timeout { .. })
    }

    /// A revert of one of our contracts in words, for example `SizeNotGreater { latest: 4, got: 4 }`; also `Error(string)` texts.
    #[must_use]
    pub fn revert(&self) -> Option<String> {
        let Self::Rejected { data, .. } = self else { return None };
        decode_revert(data)
    }

    /// The name of the custom error alone, for example `AlreadyRegistered`: what decisions are made on.
    #[must_use]
    pub fn revert_name(&self) -> Option<String> {
        let text = self.revert()?;
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        text.get(..end).map(str::to_owned)
    }
}

fn decode_revert(data: &[u8]) -> Option<String> {
    if let Some(text) = alloy::sol_types::decode_revert_reason(data) {
        return Some(text);
    }
    fn inner<E: SolInterface + fmt::Debug>(data: &[u8]) -> Option<String> {
        // `Debug` of the generated enum is `Variant(Variant { fields })`; the inner part is the useful one.
        let text = format!("{:?}", E::abi_decode(data).ok()?);
        let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        Some(inner.unwrap_or(&text).to_owned())
    }
    inner::<EnclaveRegistry::EnclaveRegistryErrors>(data)
        .or_else(|| inner::<LogAnchor::LogAnchorErrors>(data))
        .or_else(|| inner::<ReceiptVerifier::ReceiptVerifierErrors>(data))
        .or_else(|| inner::<WorkloadPolicy::WorkloadPolicyErrors>(data))
        .or_else(|| inner::<QuorumVerifier::QuorumVerifierErrors>(data))
        .or_else(|| inner::<Libraries::LibrariesErrors>(data))
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { what, detail } => write!(f, "{what}: the chain cannot be reached: {detail}"),
            Self::Timeout { what, after } => write!(f, "{what}: no answer from the chain within {after:?}"),
            Self::Rejected { what, code, message, data } => {
                write!(f, "{what}: refused by the chain ({code}): {message}")?;
                match (self.revert(), data.is_empty()) {
                    (Some(text), _) => write!(f, ": {text}"),
                    (None, true) => Ok(()),
                    (None, false) => write!(f, ": {:.10}", to_hex(data)),
                }
            }
            Self::Malformed { what, detail } => write!(f, "{what}: an answer that makes no sense: {detail}"),
            Self::Misuse { what, detail } => write!(f, "{what}: {detail}"),
        }
    }
}

impl std::error::Error for ChainError {}

pub(crate) fn from_rpc(what: &'static str, error: RpcError<TransportErrorKind>) -> ChainError {
    match error {
        RpcError::ErrorResp(payload) => ChainError::Rejected {
            what,
            code: payload.code,
            data: payload.as_revert_data().map(|data| data.to_vec()).unwrap_or_default(),
            message: payload.message.into_owned(),
        },
        RpcError::Transport(kind) => ChainError::Unavailable { what, detail: kind.to_string() },
        RpcError::NullResp => ChainError::Malformed { what, detail: "null".to_owned() },
        RpcError::DeserError { err, .. } => ChainError::Malformed { what, detail: err.to_string() },
        RpcError::UnsupportedFeature(text) => ChainError::Misuse { what, detail: text.to_owned() },
        RpcError::LocalUsageError(error) => ChainError::Misuse { what, detail: error.to_string() },
        RpcError::SerError(error) => ChainError::Misuse { what, detail: error.to_string() },
    }
}
