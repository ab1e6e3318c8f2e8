//! What can go wrong with a chain: it does not answer, it refuses, it answers nonsense, or we asked for nonsense.
//!
//! Variants by what to do next. Nothing of a request is quoted: calldata of settlements holds payment signatures. Nothing of the endpoint's
//! URL is either, and nothing that the HTTP library says, because it says URLs: they hold keys (`endpoint`).

use std::fmt;
use std::time::Duration;

use alloy::sol_types::SolInterface;
use alloy::transports::http::reqwest;
use alloy::transports::{RpcError, TransportErrorKind};
use candor_verify::bytes::to_hex;

use crate::bindings::{AnswerTaker, CandorRegistry, Libraries, QuorumVerifier, WorkloadPolicy};
use crate::client::DEFAULT_TIMEOUT;
use crate::endpoint::Endpoint;
use crate::pool::Differ;

/// Why a chain operation did not give a value.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChainError {
    /// The endpoint cannot be reached or fails. Try again later; a transaction that was being sent may or may not have arrived.
    Unavailable {
        /// What was asked.
        what: &'static str,
        /// The endpoint's name: scheme, host and port.
        endpoint: String,
        /// In which way.
        outage: Outage,
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
        /// The node's text, cut and without its URL; differs between nodes, so decisions are not made on it.
        message: String,
        /// Revert data.
        data: Vec<u8>,
    },
    /// Endpoints that must agree give different answers, also after some moments. One of them lies, or is on another fork.
    Differ {
        /// What was asked.
        what: &'static str,
        /// Their names: scheme, host and port.
        endpoints: String,
    },
    /// The next block asks for more per gas than the ceiling of this client. Nothing was sent.
    TooDear {
        /// Wei per gas, about.
        asked: u128,
        /// Wei per gas at most.
        ceiling: u128,
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

/// In which way an endpoint fails. What it or the HTTP library says of that is not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outage {
    /// There is no connection, or it broke.
    Connection,
    /// An HTTP status that is no success, without a JSON-RPC error.
    Status(u16),
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("no connection"),
            Self::Status(status) => write!(f, "HTTP status {status}"),
        }
    }
}

impl ChainError {
    /// What kind of error this is, in a word that stays the same and that strangers may read: it says nothing of the endpoint.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable { outage: Outage::Connection, .. } => "unreachable",
            Self::Unavailable { outage: Outage::Status(_), .. } => "http_error",
            Self::Timeout { .. } => "timeout",
            Self::Rejected { .. } => "rpc_error",
            Self::Differ { .. } => "differ",
            Self::TooDear { .. } => "too_dear",
            Self::Malformed { .. } => "malformed",
            Self::Misuse { .. } => "misuse",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Timeout { .. } | Self::Differ { .. } | Self::TooDear { .. })
    }

    /// Whether a contract said no, and not the endpoint: one that is over its limits refuses every call. Nodes agree on no one code (geth and
    /// anvil 3, Nethermind -32015, others -32000), so data and words count too.
    #[must_use]
    pub fn is_revert(&self) -> bool {
        let Self::Rejected { code, message, data, .. } = self else { return false };
        is_revert(*code, message, !data.is_empty())
    }

    /// Whether a node says that another transaction of this account with the same nonce pays more. There is no state to read that from, so
    /// its words count.
    #[must_use]
    pub fn is_underpriced(&self) -> bool {
        matches!(self, Self::Rejected { message, .. } if message.to_ascii_lowercase().contains("underpriced"))
    }

    /// Whether a node says that it has no such block tag. Codes differ; the texts of those we know do not say more.
    pub(crate) fn is_of_tag(&self) -> bool {
        let Self::Rejected { code, message, .. } = self else { return false };
        is_of_tag(*code, message)
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
    inner::<CandorRegistry::CandorRegistryErrors>(data)
        .or_else(|| inner::<WorkloadPolicy::WorkloadPolicyErrors>(data))
        .or_else(|| inner::<QuorumVerifier::QuorumVerifierErrors>(data))
        .or_else(|| inner::<Libraries::LibrariesErrors>(data))
        .or_else(|| inner::<AnswerTaker::AnswerTakerErrors>(data))
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { what, endpoint, outage } => write!(f, "{what}: the chain at {endpoint} cannot be reached: {outage}"),
            Self::Timeout { what, after } => write!(f, "{what}: no answer from the chain within {after:?}"),
            Self::Rejected { what, code, message, data } => {
                write!(f, "{what}: refused by the chain ({code}): {message}")?;
                match (self.revert(), data.is_empty()) {
                    // Text of a contract, or of whoever says that it is one.
                    (Some(text), _) => write!(f, ": {text:.300}"),
                    (None, true) => Ok(()),
                    (None, false) => write!(f, ": {:.10}", to_hex(data)),
                }
            }
            Self::Differ { what, endpoints } => {
                write!(
                    f,
                    "{what}: {endpoints} give different answers; one of them lies or is on a fork: leave out the one that you do not trust"
                )
            }
            Self::TooDear { asked, ceiling } => {
                write!(
                    f,
                    "nothing was sent: the chain asks about {asked} wei per gas, the ceiling is {ceiling}; wait, or raise the ceiling"
                )
            }
            Self::Malformed { what, detail } => write!(f, "{what}: an answer that makes no sense: {detail}"),
            Self::Misuse { what, detail } => write!(f, "{what}: {detail}"),
        }
    }
}

impl std::error::Error for ChainError {}

pub(crate) fn from_rpc(what: &'static str, error: RpcError<TransportErrorKind>, endpoint: &Endpoint) -> ChainError {
    match error {
        RpcError::ErrorResp(payload) => ChainError::Rejected {
            what,
            code: payload.code,
            data: payload.as_revert_data().map(|data| data.to_vec()).unwrap_or_default(),
            message: endpoint.redact(&payload.message),
        },
        RpcError::Transport(TransportErrorKind::MissingBatchResponse(_)) => ChainError::Malformed {
            what,
            detail: "no answer to a batch; this endpoint must take JSON-RPC batches (JSON-RPC 2.0 §6)".to_owned(),
        },
        RpcError::Transport(kind) if custom::<Differ>(&kind).is_some() => {
            let endpoints = custom::<Differ>(&kind).map(|differ| differ.endpoints.clone()).unwrap_or_default();
            ChainError::Differ { what, endpoints }
        }
        RpcError::Transport(kind) if is_timeout(&kind) => ChainError::Timeout { what, after: DEFAULT_TIMEOUT },
        RpcError::Transport(kind) => {
            let outage = kind.as_http_error().map_or(Outage::Connection, |error| Outage::Status(error.status));
            ChainError::Unavailable { what, endpoint: endpoint.name().to_owned(), outage }
        }
        RpcError::NullResp => ChainError::Malformed { what, detail: "null".to_owned() },
        // The library's message quotes the answer.
        RpcError::DeserError { err, .. } => {
            let detail = if err.is_data() { "not what this call returns" } else { "not JSON" };
            ChainError::Malformed { what, detail: detail.to_owned() }
        }
        RpcError::UnsupportedFeature(text) => ChainError::Misuse { what, detail: text.to_owned() },
        RpcError::LocalUsageError(error) => ChainError::Misuse { what, detail: endpoint.redact(&error.to_string()) },
        RpcError::SerError(error) => ChainError::Misuse { what, detail: endpoint.redact(&error.to_string()) },
    }
}

fn is_timeout(kind: &TransportErrorKind) -> bool {
    custom(kind).is_some_and(reqwest::Error::is_timeout)
}

fn custom<E: std::error::Error + 'static>(kind: &TransportErrorKind) -> Option<&E> {
    kind.as_custom()?.downcast_ref()
}

/// [`ChainError::is_revert`] of what an endpoint said.
pub(crate) fn is_revert(code: i64, message: &str, has_data: bool) -> bool {
    matches!(code, 3 | -32015) || has_data || message.to_ascii_lowercase().contains("revert")
}

/// [`ChainError::is_of_tag`] of what an endpoint said.
pub(crate) fn is_of_tag(code: i64, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    matches!(code, -32601 | -32602) || ["safe", "block tag", "unsupported", "not supported"].iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_over_its_limits_is_no_contract_that_reverts() {
        let said = |code: i64, message: &str, data: &[u8]| ChainError::Rejected {
            what: "eth_call",
            code,
            message: message.into(),
            data: data.into(),
        };
        for reverted in [
            said(3, "", &[]),
            said(-32000, "execution reverted", &[]),
            said(-32015, "VM execution error.", &[]),
            said(-32603, "?", &[8, 0xc3]),
        ] {
            assert!(reverted.is_revert(), "{reverted}");
        }
        for refused in [said(-32005, "limit exceeded", &[]), said(429, "Too Many Requests", &[]), said(-32000, "header not found", &[])] {
            assert!(!refused.is_revert(), "{refused}");
        }
        assert!(!ChainError::Malformed { what: "eth_call", detail: "reverted".into() }.is_revert());
    }
}
