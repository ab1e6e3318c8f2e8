//! Why a payment is refused: one variant per check, the string that x402 clients match on, and the HTTP status.
//!
//! The strings are those of the reference code, not of its specification. Those that start with `candor_` are ours,
//! for checks that nobody else makes. No decision depends on the human text of `Display`.

use std::fmt;

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::time::{UnixMs, UnixSeconds};

use crate::extension::ExtensionError;
use crate::protocol::Eip155;

/// Why a payment is refused, in the order of the checks.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PaymentError {
    /// Another version of x402.
    Version {
        /// What we speak.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The chosen requirements name a payment flow that was not offered.
    PaymentFlow {
        /// The flow that was offered.
        expected: &'static str,
        /// What came, at most 64 characters; `None` if it is not a string.
        got: Option<String>,
    },
    /// The chosen requirements name a transfer method that was not offered.
    TransferMethod {
        /// The method that was offered.
        expected: &'static str,
        /// What came, at most 64 characters; `None` if it is not a string.
        got: Option<String>,
    },
    /// Check 1: another scheme.
    Scheme {
        /// The scheme that was offered.
        expected: &'static str,
        /// What came, at most 64 characters.
        got: String,
    },
    /// Check 2: the token's EIP-712 name or version is missing.
    MissingDomain {
        /// Member of `extra`.
        field: &'static str,
    },
    /// Check 3: another chain.
    Network {
        /// The chain that was offered.
        expected: Eip155,
        /// What came, at most 64 characters.
        got: String,
    },
    /// The chosen requirements are not among those offered for this request (the price may have changed).
    Accepted {
        /// The first field that differs.
        field: &'static str,
    },
    /// The echoed `candor` extension is malformed or incomplete.
    Echo(ExtensionError),
    /// The echoed offer is not one that this enclave makes for this request now: another request, another boot, or too old.
    OtherOffer {
        /// Digests of the offers that would do.
        expected: Vec<Hash32>,
        /// Digest of the echoed offer.
        got: Hash32,
    },
    /// The payment object is malformed.
    Malformed {
        /// The member.
        field: &'static str,
    },
    /// The signature is not one of an externally owned account (65 bytes in hex). Smart wallets are not supported.
    SignatureForm {
        /// Bytes of a signature.
        expected: usize,
        /// Bytes that came; `None` if it is not hex.
        got: Option<usize>,
    },
    /// Check 4: somebody else signed, or something else was signed.
    Signature {
        /// `authorization.from`.
        expected: Address,
        /// Who signed; `None` if the signature recovers to nobody, or has a high s (tokens refuse those).
        got: Option<Address>,
    },
    /// Check 5: it pays somebody else.
    Recipient {
        /// The payee that was offered.
        expected: Address,
        /// What was signed.
        got: Address,
    },
    /// Check 6: it ends too soon to settle, or stays open for longer than the protocol allows. Unix seconds.
    ValidBefore {
        /// Earliest end.
        at_least: UnixSeconds,
        /// Latest end.
        at_most: UnixSeconds,
        /// What was signed.
        got: UnixSeconds,
    },
    /// Check 7: it is not valid yet. Unix seconds.
    ValidAfter {
        /// Latest start.
        at_most: UnixSeconds,
        /// What was signed.
        got: UnixSeconds,
    },
    /// Check 8: another amount. Equality, in both directions.
    Value {
        /// The price.
        expected: Amount,
        /// What was signed.
        got: Amount,
    },
    /// A check of a Permit2 permit.
    Permit(PermitError),
    /// The client says which offer it answers, but its nonce says otherwise.
    Nonce {
        /// The nonce that commits to the echoed offer.
        expected: Hash32,
        /// What was signed.
        got: Hash32,
    },
    /// The offer is no longer honoured. Unix milliseconds.
    OfferExpired {
        /// End of the offer.
        valid_until: UnixMs,
        /// Now.
        got: UnixMs,
    },
    /// The payment could have been signed for an earlier boot, which may have executed it. Only clients that do not commit to an offer
    /// get this, and only shortly after a boot: sign again after the wait. Unix seconds.
    NotThisBoot {
        /// `validBefore` must be later than this.
        later_than: UnixSeconds,
        /// What was signed.
        got: UnixSeconds,
        /// Seconds to wait before a new payment will do: HTTP `Retry-After`. At most twice the skew.
        retry_after_seconds: u64,
    },
    /// The caller contradicts itself; our bug, not the client's.
    Misuse {
        /// What is inconsistent.
        what: &'static str,
    },
}

impl PaymentError {
    /// The x402 error string.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version { .. } => "invalid_x402_version",
            Self::PaymentFlow { .. } => "unsupported_payment_flow",
            Self::TransferMethod { .. } => "unsupported_asset_transfer_method",
            Self::Scheme { .. } => "invalid_exact_evm_scheme",
            Self::MissingDomain { .. } => "invalid_exact_evm_missing_eip712_domain",
            Self::Network { .. } => "invalid_exact_evm_network_mismatch",
            // The reference server's words, not a code; clients match on them.
            Self::Accepted { .. } => "No matching payment requirements",
            Self::Echo(_) | Self::OtherOffer { .. } => "extension_echo_mismatch",
            Self::Malformed { .. } => "invalid_payload",
            Self::SignatureForm { .. } => "invalid_exact_evm_failed_to_parse_signature",
            Self::Signature { .. } => "invalid_exact_evm_signature",
            Self::Recipient { .. } => "invalid_exact_evm_recipient_mismatch",
            Self::ValidBefore { .. } => "invalid_exact_evm_payload_authorization_valid_before",
            Self::ValidAfter { .. } => "invalid_exact_evm_payload_authorization_valid_after",
            Self::Value { .. } => "invalid_exact_evm_payload_authorization_value_mismatch",
            Self::Permit(error) => error.code(),
            Self::Nonce { .. } => "candor_nonce_mismatch",
            Self::OfferExpired { .. } => "candor_offer_expired",
            Self::NotThisBoot { .. } => "candor_not_this_boot",
            Self::Misuse { .. } => "unexpected_verify_error",
        }
    }

    /// The HTTP status: 400 for what is malformed, 500 for our own fault, otherwise 402 with fresh requirements.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Version { .. } | Self::Malformed { .. } => 400,
            Self::Misuse { .. } => 500,
            Self::PaymentFlow { .. }
            | Self::TransferMethod { .. }
            | Self::Scheme { .. }
            | Self::MissingDomain { .. }
            | Self::Network { .. }
            | Self::Accepted { .. }
            | Self::Echo(_)
            | Self::OtherOffer { .. }
            | Self::SignatureForm { .. }
            | Self::Signature { .. }
            | Self::Recipient { .. }
            | Self::ValidBefore { .. }
            | Self::ValidAfter { .. }
            | Self::Value { .. }
            | Self::Permit(_)
            | Self::Nonce { .. }
            | Self::OfferExpired { .. }
            | Self::NotThisBoot { .. } => 402,
        }
    }

    /// HTTP `Retry-After` in seconds, if waiting helps.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        if let Self::NotThisBoot { retry_after_seconds, .. } = self { Some(*retry_after_seconds) } else { None }
    }
}

impl fmt::Display for PaymentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { expected, got } => write!(f, "x402 version {expected} expected, got {got}"),
            Self::PaymentFlow { expected, got } => write!(f, "payment flow {expected} expected, got {}", Text(got)),
            Self::TransferMethod { expected, got } => write!(f, "transfer method {expected} expected, got {}", Text(got)),
            Self::Scheme { expected, got } => write!(f, "scheme {expected} expected, got '{got}'"),
            Self::MissingDomain { field } => write!(f, "accepted.extra.{field} is missing"),
            Self::Network { expected, got } => write!(f, "network {expected} expected, got '{got}'"),
            Self::Accepted { field } => write!(f, "accepted.{field} is not what is offered for this request"),
            Self::Echo(error) => error.fmt(f),
            Self::OtherOffer { got, .. } => write!(f, "offer {got:#} is for another request or no longer current"),
            Self::Malformed { field } => write!(f, "{field} is missing or malformed"),
            Self::SignatureForm { expected, got: Some(got) } => write!(f, "a signature of {expected} bytes expected, got {got}"),
            Self::SignatureForm { expected, got: None } => write!(f, "a signature of {expected} bytes in hex expected, got no hex"),
            Self::Signature { expected, got: Some(got) } => write!(f, "signature of {expected} expected, got one of {got}"),
            Self::Signature { expected, got: None } => write!(f, "signature of {expected} expected, got nobody's"),
            Self::Recipient { expected, got } => write!(f, "payment to {expected} expected, got {got}"),
            Self::ValidBefore { at_least, at_most, got } => write!(f, "validBefore from {at_least} to {at_most} expected, got {got}"),
            Self::ValidAfter { at_most, got } => write!(f, "validAfter of at most {at_most} expected, got {got}"),
            Self::Value { expected, got } => write!(f, "value {expected} expected, got {got}"),
            Self::Permit(error) => error.fmt(f),
            Self::Nonce { expected, got } => write!(f, "nonce {expected:#} commits to the echoed offer, got {got:#}"),
            Self::OfferExpired { valid_until, got } => write!(f, "the offer ended at {valid_until} ms, it is {got}"),
            Self::NotThisBoot { later_than, got, retry_after_seconds } => {
                write!(f, "validBefore after {later_than} expected so soon after a boot, got {got}; retry in {retry_after_seconds} s")
            }
            Self::Misuse { what } => write!(f, "internal error: {what}"),
        }
    }
}

impl std::error::Error for PaymentError {}

/// Why a Permit2 permit is refused, with the strings that the reference has for `upto`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PermitError {
    /// It was signed for another scheme.
    Form,
    /// Somebody else may submit it.
    Facilitator {
        /// The settler of this enclave's key.
        expected: Address,
        /// What was signed.
        got: Address,
    },
    /// It is for another contract than x402's proxy.
    Spender {
        /// The proxy of the terms.
        expected: Address,
        /// What was signed.
        got: Address,
    },
    /// It pays somebody else.
    Recipient {
        /// The payee that was offered.
        expected: Address,
        /// What was signed.
        got: Address,
    },
    /// It ends too soon to settle, or stays open for longer than the protocol allows. Unix seconds.
    Deadline {
        /// Earliest end.
        at_least: UnixSeconds,
        /// Latest end.
        at_most: UnixSeconds,
        /// What was signed.
        got: UnixSeconds,
    },
    /// It is not valid yet. Unix seconds.
    NotYetValid {
        /// Latest start.
        at_most: UnixSeconds,
        /// What was signed.
        got: UnixSeconds,
    },
    /// Another maximum. Equality, in both directions.
    Amount {
        /// The ceiling of the price.
        expected: Amount,
        /// What was signed.
        got: Amount,
    },
    /// It permits another token.
    Token {
        /// The asset that was offered.
        expected: Address,
        /// What was signed.
        got: Address,
    },
    /// Somebody else signed it, something else was signed, or the signature has a high s.
    Signature {
        /// The payer.
        expected: Address,
        /// Who signed, if anybody can be recovered.
        got: Option<Address>,
    },
    /// The EIP-2612 permit beside it has a member that is missing or malformed.
    TokenPermitForm,
    /// The EIP-2612 permit is another payer's.
    TokenPermitFrom,
    /// The EIP-2612 permit is for another token.
    TokenPermitAsset,
    /// The EIP-2612 permit is not for Permit2.
    TokenPermitSpender,
    /// The EIP-2612 permit is for another amount than the Permit2 permit, which x402's proxy refuses.
    TokenPermitAmount {
        /// What the Permit2 permit permits.
        expected: Amount,
        /// What the EIP-2612 permit permits.
        got: Amount,
    },
    /// The EIP-2612 permit ends before the payment.
    TokenPermitDeadline,
    /// The EIP-2612 permit is not signed by the payer.
    TokenPermitSignature,
}

impl PermitError {
    /// The x402 error string.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form => "invalid_upto_evm_scheme",
            Self::Facilitator { .. } => "upto_facilitator_mismatch",
            Self::Spender { .. } => "invalid_permit2_spender",
            Self::Recipient { .. } => "invalid_permit2_recipient_mismatch",
            Self::Deadline { .. } => "permit2_deadline_expired",
            Self::NotYetValid { .. } => "permit2_not_yet_valid",
            Self::Amount { .. } => "permit2_amount_mismatch",
            Self::Token { .. } => "permit2_token_mismatch",
            Self::Signature { .. } => "invalid_permit2_signature",
            Self::TokenPermitForm | Self::TokenPermitSignature => "invalid_eip2612_extension_format",
            Self::TokenPermitFrom => "eip2612_from_mismatch",
            Self::TokenPermitAsset => "eip2612_asset_mismatch",
            Self::TokenPermitSpender => "eip2612_spender_not_permit2",
            Self::TokenPermitAmount { .. } => "permit2_2612_amount_mismatch",
            Self::TokenPermitDeadline => "eip2612_deadline_expired",
        }
    }
}

impl fmt::Display for PermitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("a permit of the scheme upto expected"),
            Self::Facilitator { expected, got } => write!(f, "a permit for {expected} alone to submit expected, got one for {got}"),
            Self::Spender { expected, got } => write!(f, "a permit for the proxy {expected} expected, got one for {got}"),
            Self::Recipient { expected, got } => write!(f, "payment to {expected} expected, got {got}"),
            Self::Deadline { at_least, at_most, got } => write!(f, "deadline from {at_least} to {at_most} expected, got {got}"),
            Self::NotYetValid { at_most, got } => write!(f, "validAfter of at most {at_most} expected, got {got}"),
            Self::Amount { expected, got } => write!(f, "a permit of {expected} expected, got {got}"),
            Self::Token { expected, got } => write!(f, "a permit of token {expected} expected, got {got}"),
            Self::Signature { expected, got: Some(got) } => write!(f, "signature of {expected} expected, got one of {got}"),
            Self::Signature { expected, got: None } => write!(f, "signature of {expected} expected, got nobody's"),
            Self::TokenPermitForm => f.write_str("extensions.eip2612GasSponsoring.info is malformed"),
            Self::TokenPermitFrom => f.write_str("the EIP-2612 permit is of another payer"),
            Self::TokenPermitAsset => f.write_str("the EIP-2612 permit is for another token"),
            Self::TokenPermitSpender => f.write_str("the EIP-2612 permit is not for Permit2"),
            Self::TokenPermitAmount { expected, got } => write!(f, "an EIP-2612 permit of {expected} expected, got {got}"),
            Self::TokenPermitDeadline => f.write_str("the EIP-2612 permit ends before the payment"),
            Self::TokenPermitSignature => f.write_str("the EIP-2612 permit is not signed by the payer"),
        }
    }
}

impl From<PermitError> for PaymentError {
    fn from(error: PermitError) -> Self {
        Self::Permit(error)
    }
}

/// A member that should have been a text, for people.
struct Text<'a>(&'a Option<String>);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, "'{text}'"),
            None => f.write_str("no text"),
        }
    }
}

/// At most 64 characters of foreign text, printable ASCII only: errors are logged and sent back.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stranger reads these, in any language: no `Some(…)`, no `Address(…)`, no escaped quotes.
    #[test]
    fn no_message_shows_how_rust_prints_a_value() {
        let (text, none) = (Some("upto".to_owned()), None);
        let errors = [
            PaymentError::PaymentFlow { expected: "authorization", got: text.clone() },
            PaymentError::PaymentFlow { expected: "authorization", got: none.clone() },
            PaymentError::TransferMethod { expected: "eip3009", got: text },
            PaymentError::TransferMethod { expected: "eip3009", got: none },
            PaymentError::Scheme { expected: "exact", got: "upto".into() },
            PaymentError::Network { expected: Eip155(1), got: "eip155:2".into() },
            PaymentError::SignatureForm { expected: 65, got: Some(64) },
            PaymentError::SignatureForm { expected: 65, got: None },
            PaymentError::Signature { expected: Address([1; 20]), got: Some(Address([2; 20])) },
            PaymentError::Signature { expected: Address([1; 20]), got: None },
            PaymentError::Echo(ExtensionError::Version { expected: 1, got: Some(2) }),
            PaymentError::Echo(ExtensionError::Version { expected: 1, got: None }),
        ];
        for error in errors {
            let message = error.to_string();
            assert!(!["Some", "None", "Address(", "\""].iter().any(|debug| message.contains(debug)), "{message}");
        }
        let upto = PaymentError::Scheme { expected: "exact", got: "upto".into() };
        assert_eq!(upto.to_string(), "scheme exact expected, got 'upto'");
    }
}
