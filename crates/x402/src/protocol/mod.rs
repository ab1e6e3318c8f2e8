//! The x402 v2 wire: JSON objects, the headers they travel in, and the rules for comparing them.
//!
//! First thing that touches a client's bytes. Everything here is *parsed, not believed*: a [`PaymentPayload`] says what somebody
//! claims, [`crate::scheme::verify_payment`] says what is so. Reference: x402 v2, HTTP transport.
//! Not here: schemes (`scheme`), our extension (`extension.rs`), v1.
//!
//! **Invariants:** null is absent; unknown fields of foreign objects are ignored; a header is at most [`MAX_HEADER_BYTES`]; JSON text
//! never enters an error, because it may hold a signature.

mod header;
mod matching;
mod network;
mod types;

use std::fmt;

pub use header::{
    CACHE_CONTROL_UNPAID, HEADER_PAYMENT_REQUIRED, HEADER_PAYMENT_RESPONSE, HEADER_PAYMENT_SIGNATURE, MAX_HEADER_BYTES, cache_control_paid,
    decode_header, encode_header, parse_payment_payload, parse_payment_required, parse_settle_response, parse_single_header,
};
pub use matching::{EchoMismatch, accepted_mismatch, check_echo};
pub use network::Eip155;
pub use types::{JsonObject, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse};

/// Version of x402 that this crate speaks.
pub const X402_VERSION: u64 = 2;

/// At most this many entries of `accepts` are looked at: a server with more is not helping its clients.
pub const MAX_ACCEPTS: usize = 32;

/// Why bytes are not the x402 object that was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The header is longer than we read.
    TooLong {
        /// Limit in bytes.
        limit: usize,
        /// Length in bytes.
        got: usize,
    },
    /// The header came more than once.
    Duplicate,
    /// Two headers were merged into one by somebody between us and the client (a comma is in no base64 alphabet).
    Merged,
    /// Not base64, neither standard nor URL-safe.
    Base64,
    /// Not JSON, or not of the expected shape. Says where and never what, because the text may hold a signature.
    Json {
        /// The object that was expected.
        expected: &'static str,
        /// Line, from one.
        line: usize,
        /// Column, from one.
        column: usize,
    },
    /// Another version of x402.
    Version {
        /// [`X402_VERSION`].
        expected: u64,
        /// What the object says.
        got: u64,
    },
    /// `accepts` is empty, or has more than [`MAX_ACCEPTS`] entries.
    Accepts {
        /// Limit.
        limit: usize,
        /// Entries.
        got: usize,
    },
}

impl ProtocolError {
    /// The x402 error string.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version { .. } => "invalid_x402_version",
            Self::TooLong { .. } | Self::Duplicate | Self::Merged | Self::Base64 | Self::Json { .. } | Self::Accepts { .. } => {
                "invalid_payload"
            }
        }
    }

    /// The HTTP status for whoever sent it: 431 for a header that is too long, otherwise 400.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLong { .. } => 431,
            Self::Duplicate | Self::Merged | Self::Base64 | Self::Json { .. } | Self::Version { .. } | Self::Accepts { .. } => 400,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit, got } => write!(f, "the payment header has {got} bytes; at most {limit} are read"),
            Self::Duplicate => f.write_str("the payment header came more than once"),
            Self::Merged => f.write_str("the payment header holds several values"),
            Self::Base64 => f.write_str("the payment header is not base64"),
            Self::Json { expected, line, column } => write!(f, "not a {expected}: line {line}, column {column}"),
            Self::Version { expected, got } => write!(f, "x402 version {expected} expected, got {got}"),
            Self::Accepts { limit, got } => write!(f, "accepts must have 1 to {limit} entries, got {got}"),
        }
    }
}

impl std::error::Error for ProtocolError {}
