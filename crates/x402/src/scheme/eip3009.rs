//! `exact` over EIP-3009: the token itself moves what the payer signed, all of it, for whoever submits it.
//!
//! The call is `transferWithAuthorization` with (v, r, s), which every EIP-3009 token has. Everything about the payment can be read back from
//! its 292 bytes, so the link and the database carry them and nothing beside them that could disagree. Reference: EIP-3009; x402 v2.

use candor_verify::abi::{AbiError, WordReader, Words};
use candor_verify::bytes::{Address, Amount, Hash32, Signature65, to_hex};
use candor_verify::payment::{Authorization, TokenDomain};
use candor_verify::scheme::{Keeper, Through, Transfer};
use candor_verify::time::UnixSeconds;
use serde_json::{Map, Value, json};

use super::requirements::{Requirements, RequirementsError, transfer_method};
use super::{Calldata, CalldataError, TypedData};
use crate::error::PaymentError;
use crate::protocol::JsonObject;

/// x402's name of the scheme.
pub(super) const SCHEME: &str = "exact";

/// The transfer method, and the default when `extra` names none.
pub(super) const METHOD: &str = "eip3009";

/// First four bytes of the call.
pub const TRANSFER_SELECTOR: [u8; 4] = [0xe3, 0xee, 0x16, 0x0e];

/// Gas of the call; USDC needs 60,000 to 90,000.
pub(super) const GAS: u64 = 150_000;

/// Arguments of the call, in words.
const ARGUMENT_WORDS: usize = 9;

pub(super) fn through(extra: Option<&JsonObject>) -> Result<Through, RequirementsError> {
    if transfer_method(extra, METHOD) == Some(METHOD) { Ok(Through::Token) } else { Err(RequirementsError::TransferMethod) }
}

/// The members of `payload.authorization`, all strings, as the reference has them.
pub(super) fn parse(payload: &JsonObject) -> Result<Authorization, PaymentError> {
    let Some(Value::Object(members)) = payload.member("authorization") else {
        return Err(PaymentError::Malformed { field: "payload.authorization" });
    };
    let text = |field: &'static str| members.get(field).and_then(Value::as_str);
    let malformed = |field| PaymentError::Malformed { field };
    let address = |field, name| text(field).and_then(Address::from_hex).ok_or(malformed(name));
    let amount = |field, name| text(field).and_then(Amount::from_decimal).ok_or(malformed(name));
    let seconds = |field, name| amount(field, name).and_then(|value| u64::try_from(value.0).map(UnixSeconds).map_err(|_| malformed(name)));
    Ok(Authorization {
        through: Through::Token,
        from: address("from", "authorization.from")?,
        to: address("to", "authorization.to")?,
        value: amount("value", "authorization.value")?,
        valid_after: seconds("validAfter", "authorization.validAfter")?,
        valid_before: seconds("validBefore", "authorization.validBefore")?,
        nonce: text("nonce").and_then(Hash32::from_hex).ok_or(malformed("authorization.nonce"))?,
    })
}

/// Check 5.
pub(super) fn check(authorization: &Authorization, required: &Requirements) -> Result<(), PaymentError> {
    if authorization.to == required.pay_to {
        return Ok(());
    }
    Err(PaymentError::Recipient { expected: required.pay_to, got: authorization.to })
}

/// Check 8: neither less nor more.
pub(super) fn check_value(authorization: &Authorization, required: &Requirements) -> Result<(), PaymentError> {
    if authorization.value == required.amount {
        return Ok(());
    }
    Err(PaymentError::Value { expected: required.amount, got: authorization.value })
}

pub(super) fn payload(authorization: &Authorization, signature: &Signature65) -> JsonObject {
    let members = [
        ("from", authorization.from.to_string()),
        ("to", authorization.to.to_string()),
        ("value", authorization.value.to_string()),
        ("validAfter", authorization.valid_after.to_string()),
        ("validBefore", authorization.valid_before.to_string()),
        ("nonce", authorization.nonce.to_string()),
    ];
    let members: Map<String, Value> = members.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    [("signature".to_owned(), Value::from(to_hex(&signature.0))), ("authorization".to_owned(), Value::Object(members))]
        .into_iter()
        .collect()
}

/// The transfer as `eth_signTypedData_v4` takes it.
pub(super) fn typed_data(authorization: &Authorization, token: &TokenDomain) -> TypedData {
    let Authorization { from, to, value, valid_after, valid_before, nonce, through: _ } = authorization;
    let fields = [
        ("address", "from"),
        ("address", "to"),
        ("uint256", "value"),
        ("uint256", "validAfter"),
        ("uint256", "validBefore"),
        ("bytes32", "nonce"),
    ];
    let message = json!({
        "from": from.to_string(), "to": to.to_string(), "value": value.to_string(), "validAfter": valid_after.to_string(),
        "validBefore": valid_before.to_string(), "nonce": nonce.to_string(),
    });
    let types = vec![("TransferWithAuthorization", fields.to_vec())];
    TypedData { types, domain: TypedData::of_token(token), message, digest: authorization.digest(token) }
}

/// The call that moves the money.
#[must_use]
pub fn encode_transfer(authorization: &Authorization, signature: &Signature65) -> Calldata {
    let (r, s, v) = signature.split();
    let words = Words::new()
        .address(&authorization.from)
        .address(&authorization.to)
        .amount(authorization.value)
        .u64(authorization.valid_after.0)
        .u64(authorization.valid_before.0)
        .hash(&authorization.nonce)
        .u64(v.into())
        .hash(&r)
        .hash(&s);
    let mut bytes = TRANSFER_SELECTOR.to_vec();
    bytes.extend_from_slice(words.as_slice());
    Calldata(bytes)
}

/// Reads the call back. Believes nothing.
///
/// # Errors
/// See [`CalldataError`].
pub fn decode_transfer(calldata: &Calldata) -> Result<(Authorization, Signature65), CalldataError> {
    let arguments = calldata.0.strip_prefix(&TRANSFER_SELECTOR).ok_or(CalldataError::Selector)?;
    let mut r = WordReader::new(arguments, ARGUMENT_WORDS).map_err(CalldataError::Arguments)?;
    read_arguments(&mut r).map_err(CalldataError::Arguments)
}

fn read_arguments(r: &mut WordReader<'_>) -> Result<(Authorization, Signature65), AbiError> {
    let authorization = Authorization {
        through: Through::Token,
        from: r.address()?,
        to: r.address()?,
        value: r.amount()?,
        valid_after: UnixSeconds(r.u64()?),
        valid_before: UnixSeconds(r.u64()?),
        nonce: r.hash()?,
    };
    let v = r.u8()?;
    let (r_word, s_word) = (r.hash()?, r.hash()?);
    let mut signature = [0; 65];
    for (to, from) in signature.iter_mut().zip(r_word.0.iter().chain(&s_word.0).chain(std::iter::once(&v))) {
        *to = *from;
    }
    Ok((authorization, Signature65(signature)))
}

pub(super) fn read(chain_id: u64, to: &Address, calldata: &Calldata) -> Result<Transfer, CalldataError> {
    decode_transfer(calldata).map(|(authorization, _)| transfer(chain_id, to, &authorization))
}

fn transfer(chain_id: u64, asset: &Address, authorization: &Authorization) -> Transfer {
    Transfer {
        keeper: Keeper::Token,
        payment_id: authorization.payment_id(chain_id, asset),
        asset: *asset,
        payer: authorization.from,
        payee: authorization.to,
        amount: authorization.value,
        nonce: authorization.nonce,
        valid_after: authorization.valid_after,
        valid_before: authorization.valid_before,
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::{Address, Amount};
    use candor_verify::hash::keccak256;

    use super::*;

    fn sample() -> (Authorization, Signature65) {
        let authorization = Authorization {
            through: Through::Token,
            from: Address([1; 20]),
            to: Address([2; 20]),
            value: Amount(1000),
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(2_000_000_000),
            nonce: Hash32([3; 32]),
        };
        let mut signature = [0; 65];
        signature[..32].fill(4);
        signature[32..64].fill(5);
        signature[64] = 28;
        (authorization, Signature65(signature))
    }

    #[test]
    fn the_selector_is_that_of_the_signature() {
        let name = b"transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)";
        assert_eq!(keccak256(&[name]).0[..4], TRANSFER_SELECTOR);
    }

    #[test]
    fn a_call_reads_back_and_other_lengths_and_functions_are_refused() {
        let (authorization, signature) = sample();
        let calldata = encode_transfer(&authorization, &signature);
        assert_eq!(calldata.0.len(), 292);
        assert_eq!(decode_transfer(&calldata), Ok((authorization, signature)));
        let mut longer = calldata.clone();
        longer.0.push(0);
        assert!(matches!(decode_transfer(&longer), Err(CalldataError::Arguments(AbiError::Length { .. }))));
        let mut other = calldata.clone();
        other.0[0] ^= 1;
        assert_eq!(decode_transfer(&other), Err(CalldataError::Selector));
        assert_eq!(decode_transfer(&Calldata(vec![])), Err(CalldataError::Selector));
        let mut wide = calldata;
        wide.0[4] = 1;
        assert_eq!(decode_transfer(&wide), Err(CalldataError::Arguments(AbiError::Range { word: 0 })));
    }

    #[test]
    fn debug_does_not_show_the_signature() {
        let (authorization, signature) = sample();
        assert_eq!(format!("{:?}", encode_transfer(&authorization, &signature)), "Calldata(292 bytes, not shown)");
    }
}
