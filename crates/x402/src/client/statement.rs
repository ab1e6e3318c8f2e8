//! What a node says about a settlement, in `PAYMENT-RESPONSE`. Only the chain shows that money moved; what is checked here is that the
//! statement can be meant for this payment at all. Reference: x402 v2, HTTP transport.

use std::fmt;

use crate::error::excerpt;
use crate::protocol::{Eip155, ProtocolError, SettleResponse, parse_settle_response};

/// Why a settlement statement is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StatementError {
    /// It cannot be read.
    Malformed(ProtocolError),
    /// It speaks of another chain than the payment.
    Network {
        /// The payment's chain.
        expected: Eip155,
        /// What it says.
        got: String,
    },
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "a PAYMENT-RESPONSE that cannot be read: {error}"),
            Self::Network { expected, got } => write!(f, "a settlement on {expected} expected, the node says {got:?}"),
        }
    }
}

impl std::error::Error for StatementError {}

/// Reads a `PAYMENT-RESPONSE` value for a payment on this chain. Whether money moved is not believed.
///
/// # Errors
/// See [`StatementError`].
pub fn check_statement(value: &[u8], network: Eip155) -> Result<SettleResponse, StatementError> {
    let statement = parse_settle_response(value).map_err(StatementError::Malformed)?;
    if Eip155::parse(&statement.network) != Some(network) {
        return Err(StatementError::Network { expected: network, got: excerpt(&statement.network) });
    }
    Ok(statement)
}
