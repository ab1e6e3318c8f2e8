//! `upto` over Permit2: the settler of the enclave's key moves what the receipt charges, at most what the payer signed.
//!
//! The payer's permit names the settler as the only one who may use it, and the settler takes no receipt but the key's own. The call is
//! `SettlerFactory.settle` with one row, or `settleWithPermit` if the payer allows Permit2 in the same breath (EIP-2612, which x402 calls
//! `eip2612GasSponsoring`). It is read back strictly: one encoding per call. Spec: contracts.md §6, §7. Reference: x402 v2, `upto` on EVM.

use candor_verify::abi::{AbiError, WordReader, Words};
use candor_verify::bytes::{Address, Amount, Hash32, Signature65, to_hex};
use candor_verify::eip712::{self, Recover, signer};
use candor_verify::payment::{Authorization, MAX_SKEW_SECONDS, TokenDomain};
use candor_verify::receipt::Half;
use candor_verify::scheme::{Keeper, PERMIT2, Through, Transfer, UPTO_PROXY, settler_of};
use candor_verify::time::UnixSeconds;
use serde_json::{Map, Value, json};

use super::requirements::{RequirementsError, transfer_method};
use super::{Calldata, CalldataError, TypedData, VerifiedPayment};
use crate::error::{PaymentError, PermitError};
use crate::protocol::JsonObject;

/// x402's name of the scheme.
pub(super) const SCHEME: &str = "upto";

/// The transfer method, the only one of this scheme.
pub(super) const METHOD: &str = "permit2";

/// Key of x402's extension by which a payer who holds no ETH allows Permit2.
pub const EIP2612_KEY: &str = "eip2612GasSponsoring";

/// Member of `extra` that says who alone may submit.
const FACILITATOR: &str = "facilitatorAddress";

/// `settle(address,(…)[])`.
pub(super) const SETTLE_SELECTOR: [u8; 4] = [0x57, 0xb5, 0xcd, 0x4a];

/// `settleWithPermit(address,(…),(…))`.
const SETTLE_WITH_PERMIT_SELECTOR: [u8; 4] = [0x22, 0xb7, 0xcc, 0x73];

/// The proxy's `settle((…),uint256,address,(…),bytes)`.
const PROXY_SETTLE_SELECTOR: [u8; 4] = [0xff, 0x11, 0xe7, 0xb4];

/// Arguments of it before the signature: permit, amount, owner, witness, offset.
const TRIAL_WORDS: usize = 10;

/// With the five of a permit of the token.
const TRIAL_WITH_PERMIT_WORDS: usize = TRIAL_WORDS + 5;

/// The proxy's `settleWithPermit((…),(…),uint256,address,(…),bytes)`.
const PROXY_SETTLE_WITH_PERMIT_SELECTOR: [u8; 4] = [0x01, 0x6c, 0x17, 0x48];

/// Gas of either call: what the factory keeps for a row (contracts.md §6), the first settlement's clone, and the calldata.
pub(super) const GAS: u64 = 750_000;

/// Words of a row up to its two signatures, whose offsets they hold.
const ROW_HEAD: usize = Half::WORDS + 5;

/// A signature of 65 bytes among words: its length, and three words.
const SIGNATURE_WORDS: usize = 4;

const ROW_WORDS: usize = ROW_HEAD + 2 * SIGNATURE_WORDS;

/// Key, offset of the rows, their number, offset of the one.
const SETTLE_WORDS: usize = 4 + ROW_WORDS;

/// Key, five of the permit, offset of the row.
const SETTLE_WITH_PERMIT_WORDS: usize = 7 + ROW_WORDS;

pub(super) const CALLDATA_MAX: usize = 4 + SETTLE_WITH_PERMIT_WORDS * 32;

/// An EIP-2612 permit: the payer lets Permit2 move so much of the token, without a transaction of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by EIP-2612")]
pub struct TokenPermit {
    /// How much; what the Permit2 permit permits, or its proxy refuses.
    pub value: Amount,
    /// The payer's next nonce at the token.
    pub nonce: u64,
    /// The last good second.
    pub deadline: UnixSeconds,
    /// By the payer, in the token's domain.
    pub signature: Signature65,
}

/// An EIP-2612 permit for Permit2 that nobody has signed yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by EIP-2612")]
pub struct Allowance {
    /// Whose token it is.
    pub owner: Address,
    /// How much Permit2 may move.
    pub value: Amount,
    /// The owner's next nonce at the token.
    pub nonce: u64,
    /// The last good second.
    pub deadline: UnixSeconds,
}

impl Allowance {
    /// What the owner signs.
    #[must_use]
    pub fn digest(&self, token: &TokenDomain) -> Hash32 {
        const TYPE: &str = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
        let words = Words::new().address(&self.owner).address(&PERMIT2).amount(self.value).u64(self.nonce).u64(self.deadline.0);
        eip712::digest(&token.to_struct().hash(), &eip712::hash_struct(TYPE, &words))
    }

    pub(super) fn typed_data(&self, token: &TokenDomain) -> TypedData {
        let fields = [("address", "owner"), ("address", "spender"), ("uint256", "value"), ("uint256", "nonce"), ("uint256", "deadline")];
        let message = json!({
            "owner": self.owner.to_string(), "spender": PERMIT2.to_string(), "value": self.value.to_string(),
            "nonce": self.nonce.to_string(), "deadline": self.deadline.to_string(),
        });
        TypedData { types: vec![("Permit", fields.to_vec())], domain: TypedData::of_token(token), message, digest: self.digest(token) }
    }

    /// Client: adds the signed permit to the echo of a 402's extensions.
    pub(crate) fn add_to(&self, extensions: &mut JsonObject, token: &TokenDomain, signature: &Signature65) {
        let info = json!({
            "from": self.owner.to_string(), "asset": token.asset.to_string(), "spender": PERMIT2.to_string(),
            "amount": self.value.to_string(), "nonce": self.nonce.to_string(), "deadline": self.deadline.to_string(),
            "signature": to_hex(&signature.0), "version": "1",
        });
        let Some(ours) = extensions.0.get_mut(EIP2612_KEY).and_then(|ours| ours.get_mut("info")).and_then(Value::as_object_mut) else {
            extensions.0.insert(EIP2612_KEY.to_owned(), json!({"info": info}));
            return;
        };
        if let Value::Object(members) = info {
            ours.extend(members);
        }
    }
}

/// A permit in Permit2's own type, as `eth_signTypedData_v4` takes it.
pub(super) fn typed_data(authorization: &Authorization, token: &TokenDomain, (spender, facilitator): (&Address, &Address)) -> TypedData {
    let message = json!({
        "permitted": {"token": token.asset.to_string(), "amount": authorization.value.to_string()},
        "spender": spender.to_string(), "nonce": decimal(&authorization.nonce), "deadline": authorization.valid_before.to_string(),
        "witness": {
            "to": authorization.to.to_string(), "facilitator": facilitator.to_string(), "validAfter": authorization.valid_after.to_string(),
        },
    });
    let permit =
        [("TokenPermissions", "permitted"), ("address", "spender"), ("uint256", "nonce"), ("uint256", "deadline"), ("Witness", "witness")];
    let types = vec![
        ("PermitWitnessTransferFrom", permit.to_vec()),
        ("TokenPermissions", vec![("address", "token"), ("uint256", "amount")]),
        ("Witness", vec![("address", "to"), ("address", "facilitator"), ("uint256", "validAfter")]),
    ];
    let domain = json!({"name": "Permit2", "chainId": token.chain_id, "verifyingContract": PERMIT2.to_string()});
    TypedData { types, domain, message, digest: authorization.digest(token) }
}

pub(super) fn through(extra: Option<&JsonObject>) -> Result<Through, RequirementsError> {
    if transfer_method(extra, METHOD) != Some(METHOD) {
        return Err(RequirementsError::TransferMethod);
    }
    let facilitator = extra.and_then(|extra| extra.text(FACILITATOR)).and_then(Address::from_hex);
    Ok(Through::UptoProxy { spender: UPTO_PROXY, facilitator: facilitator.ok_or(RequirementsError::Facilitator)? })
}

pub(super) fn extra(facilitator: &Address) -> Vec<(String, Value)> {
    let text = |key: &str, value: String| (key.to_owned(), Value::from(value));
    vec![text("assetTransferMethod", METHOD.to_owned()), text(FACILITATOR, facilitator.to_string())]
}

/// The members of `payload.permit2Authorization`, as the reference has them: the token that it permits, and the rest.
pub(super) fn parse(payload: &JsonObject) -> Result<(Address, Authorization), PaymentError> {
    let malformed = |field| PaymentError::Malformed { field };
    let Some(Value::Object(permit)) = payload.member("permit2Authorization") else {
        return Err(malformed("payload.permit2Authorization"));
    };
    let object = |field: &str, name| permit.get(field).and_then(Value::as_object).ok_or(malformed(name));
    let (permitted, witness) = (object("permitted", "permit2Authorization.permitted")?, object("witness", "permit2Authorization.witness")?);
    let address = |of: &Map<String, Value>, field: &str, name| {
        of.get(field).and_then(Value::as_str).and_then(Address::from_hex).ok_or(malformed(name))
    };
    let amount = |of: &Map<String, Value>, field: &str, name| {
        of.get(field).and_then(Value::as_str).and_then(Amount::from_decimal).ok_or(malformed(name))
    };
    let seconds = |of: &Map<String, Value>, field: &str, name| {
        amount(of, field, name).and_then(|value| u64::try_from(value.0).map(UnixSeconds).map_err(|_| malformed(name)))
    };
    let token = address(permitted, "token", "permitted.token")?;
    let authorization = Authorization {
        through: Through::UptoProxy {
            spender: address(permit, "spender", "permit2Authorization.spender")?,
            facilitator: address(witness, "facilitator", "witness.facilitator")?,
        },
        from: address(permit, "from", "permit2Authorization.from")?,
        to: address(witness, "to", "witness.to")?,
        value: amount(permitted, "amount", "permitted.amount")?,
        valid_after: seconds(witness, "validAfter", "witness.validAfter")?,
        valid_before: seconds(permit, "deadline", "permit2Authorization.deadline")?,
        nonce: permit.get("nonce").and_then(Value::as_str).and_then(uint256).ok_or(malformed("permit2Authorization.nonce"))?,
    };
    Ok((token, authorization))
}

pub(super) fn payload(
    authorization: &Authorization,
    asset: &Address,
    (spender, facilitator): (&Address, &Address),
    signature: &Signature65,
) -> JsonObject {
    let permit = json!({
        "permitted": {"token": asset.to_string(), "amount": authorization.value.to_string()},
        "from": authorization.from.to_string(),
        "spender": spender.to_string(),
        "nonce": decimal(&authorization.nonce),
        "deadline": authorization.valid_before.to_string(),
        "witness": {
            "to": authorization.to.to_string(),
            "facilitator": facilitator.to_string(),
            "validAfter": authorization.valid_after.to_string(),
        },
    });
    [("signature".to_owned(), Value::from(to_hex(&signature.0))), ("permit2Authorization".to_owned(), permit)].into_iter().collect()
}

/// A plain decimal below 2^256.
fn uint256(text: &str) -> Option<Hash32> {
    const DIGITS_MAX: usize = 78;
    if text.is_empty() || DIGITS_MAX < text.len() || (1 < text.len() && text.starts_with('0')) {
        return None;
    }
    let mut word = [0_u8; 32];
    for digit in text.bytes() {
        let mut carry = u16::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        for byte in word.iter_mut().rev() {
            carry = u16::from(*byte).checked_mul(10)?.checked_add(carry)?;
            let [high, low] = carry.to_be_bytes();
            (*byte, carry) = (low, high.into());
        }
        if carry != 0 {
            return None;
        }
    }
    Some(Hash32(word))
}

fn decimal(word: &Hash32) -> String {
    let (mut word, mut digits) = (word.0, Vec::new());
    while word != [0; 32] {
        let mut rest = 0_u16;
        for byte in &mut word {
            let value = rest.saturating_mul(256).saturating_add((*byte).into());
            (*byte, rest) = (u8::try_from(value / 10).unwrap_or_default(), value % 10);
        }
        digits.push(char::from(b'0'.saturating_add(u8::try_from(rest).unwrap_or_default())));
    }
    if digits.is_empty() { "0".to_owned() } else { digits.into_iter().rev().collect() }
}

/// The checks of a permit that another scheme has not, in the reference's order; its signature comes after them.
pub(super) fn check(token: &Address, authorization: &Authorization, required: &super::Requirements) -> Result<(), PermitError> {
    let (Through::UptoProxy { spender, facilitator }, Through::UptoProxy { spender: our_proxy, facilitator: settler }) =
        (authorization.through, required.through)
    else {
        return Err(PermitError::Form);
    };
    if facilitator != settler {
        return Err(PermitError::Facilitator { expected: settler, got: facilitator });
    }
    if spender != our_proxy {
        return Err(PermitError::Spender { expected: our_proxy, got: spender });
    }
    if authorization.to != required.pay_to {
        return Err(PermitError::Recipient { expected: required.pay_to, got: authorization.to });
    }
    if authorization.value != required.amount {
        return Err(PermitError::Amount { expected: required.amount, got: authorization.value });
    }
    if *token != required.asset {
        return Err(PermitError::Token { expected: required.asset, got: *token });
    }
    Ok(())
}

/// What a 402 says of the extension: its description and the schema of what a client adds, as the reference declares them.
pub(super) fn offer_of_permits() -> (String, Value) {
    let address = json!({"type": "string", "pattern": "^0x[a-fA-F0-9]{40}$"});
    let number = json!({"type": "string", "pattern": "^[0-9]+$"});
    let properties = json!({
        "from": address, "asset": address, "spender": address, "amount": number, "nonce": number, "deadline": number,
        "signature": {"type": "string", "pattern": "^0x[a-fA-F0-9]+$"},
        "version": {"type": "string", "pattern": "^[0-9]+$"},
    });
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": ["from", "asset", "spender", "amount", "nonce", "deadline", "signature", "version"],
    });
    let info = json!({"description": "An EIP-2612 permit for Permit2, submitted with the payment.", "version": "1"});
    (EIP2612_KEY.to_owned(), json!({"info": info, "schema": schema}))
}

/// The EIP-2612 permit beside a payment, if there is one: for this payment's payer, token and amount, and signed by the payer.
pub(super) fn token_permit(
    extensions: Option<&JsonObject>,
    authorization: &Authorization,
    token: &TokenDomain,
    now: UnixSeconds,
    recover: &dyn Recover,
) -> Result<Option<TokenPermit>, PermitError> {
    let info = extensions.and_then(|extensions| extensions.member(EIP2612_KEY)).and_then(|ours| ours.get("info"));
    let Some(info) = info.and_then(Value::as_object) else { return Ok(None) };
    let text = |field: &str| info.get(field).and_then(Value::as_str);
    // What the 402 said of the extension comes back as an echo. Only with a signature is it a permit.
    let Some(signature) = text("signature") else { return Ok(None) };
    let address = |field| text(field).and_then(Address::from_hex).ok_or(PermitError::TokenPermitForm);
    let number = |field| text(field).and_then(Amount::from_decimal).ok_or(PermitError::TokenPermitForm);
    let small = |field| number(field).and_then(|number| u64::try_from(number.0).map_err(|_| PermitError::TokenPermitForm));
    if address("from")? != authorization.from {
        return Err(PermitError::TokenPermitFrom);
    }
    if address("asset")? != token.asset {
        return Err(PermitError::TokenPermitAsset);
    }
    if address("spender")? != PERMIT2 {
        return Err(PermitError::TokenPermitSpender);
    }
    let value = number("amount")?;
    if value != authorization.value {
        return Err(PermitError::TokenPermitAmount { expected: authorization.value, got: value });
    }
    let (nonce, deadline) = (small("nonce")?, UnixSeconds(small("deadline")?));
    // Attack: one that outlives the payment can be submitted later by anybody, and undo what Permit2 was allowed then.
    if deadline < authorization.valid_before || deadline < now || authorization.valid_before.saturating_add(MAX_SKEW_SECONDS) < deadline {
        return Err(PermitError::TokenPermitDeadline);
    }
    let signature = Signature65::from_hex(signature).ok_or(PermitError::TokenPermitForm)?;
    let digest = Allowance { owner: authorization.from, value, nonce, deadline }.digest(token);
    if signer(recover, &digest, &signature) != Some(authorization.from) {
        return Err(PermitError::TokenPermitSignature);
    }
    Ok(Some(TokenPermit { value, nonce, deadline, signature }))
}

/// The call that charges a permit by a receipt of this key.
pub(super) fn encode(k_sig: &Address, receipt: (&Half, &Signature65), payment: &VerifiedPayment) -> Calldata {
    let head = Words::new().address(k_sig);
    let (selector, head) = match payment.token_permit() {
        None => (SETTLE_SELECTOR, head.u64(bytes_of(2)).u64(1).u64(bytes_of(1))),
        Some(permit) => (SETTLE_WITH_PERMIT_SELECTOR, token_permit_words(head, permit).u64(bytes_of(7))),
    };
    let (half, receipt_signature) = receipt;
    let authorization = payment.authorization();
    let head = half.words(head).u64(bytes_of(ROW_HEAD)).hash(&authorization.nonce).u64(authorization.valid_before.0);
    let head = head.u64(authorization.valid_after.0).u64(bytes_of(ROW_HEAD.saturating_add(SIGNATURE_WORDS)));
    let all = signature_words(signature_words(head, receipt_signature), payment.signature());
    Calldata([selector.as_slice(), all.as_slice()].concat())
}

/// Bytes of so many words, as an offset.
fn bytes_of(words: usize) -> u64 {
    u64::try_from(words.saturating_mul(32)).unwrap_or_default()
}

/// The settler's own call of the proxy, for the whole maximum.
pub(super) fn encode_trial(payment: &VerifiedPayment, facilitator: &Address) -> Calldata {
    let (authorization, asset) = (payment.authorization(), payment.asset());
    let (selector, words, head) = match payment.token_permit() {
        None => (PROXY_SETTLE_SELECTOR, Words::new(), TRIAL_WORDS),
        Some(permit) => (PROXY_SETTLE_WITH_PERMIT_SELECTOR, token_permit_words(Words::new(), permit), TRIAL_WITH_PERMIT_WORDS),
    };
    let words = words.address(&asset).amount(authorization.value).hash(&authorization.nonce).u64(authorization.valid_before.0);
    let words = words.amount(authorization.value).address(&authorization.from);
    let words = words.address(&authorization.to).address(facilitator).u64(authorization.valid_after.0).u64(bytes_of(head));
    let all = signature_words(words, payment.signature());
    Calldata([selector.as_slice(), all.as_slice()].concat())
}

fn token_permit_words(words: Words, permit: &TokenPermit) -> Words {
    let (r, s, v) = permit.signature.split();
    words.amount(permit.value).u64(permit.deadline.0).hash(&r).hash(&s).u64(v.into())
}

fn signature_words(words: Words, signature: &Signature65) -> Words {
    let (r, s, v) = signature.split();
    let mut last = Hash32::ZERO;
    if let Some(first) = last.0.first_mut() {
        *first = v;
    }
    words.u64(65).hash(&r).hash(&s).hash(&last)
}

pub(super) fn is_settle(selector: &[u8; 4]) -> bool {
    [SETTLE_SELECTOR, SETTLE_WITH_PERMIT_SELECTOR].contains(selector)
}

/// Reads the call back. Every offset must be that of the one encoding.
pub(super) fn read(chain_id: u64, factory: &Address, calldata: &Calldata) -> Result<Transfer, CalldataError> {
    let arguments = calldata.0.get(4..).unwrap_or_default();
    let has_permit = calldata.0.starts_with(&SETTLE_WITH_PERMIT_SELECTOR);
    let mut r =
        WordReader::new(arguments, if has_permit { SETTLE_WITH_PERMIT_WORDS } else { SETTLE_WORDS }).map_err(CalldataError::Arguments)?;
    let row = read_row(&mut r, has_permit).map_err(CalldataError::Arguments)?;
    let money = &row.half.money;
    let contradiction = |what| Err(CalldataError::Contradiction { what });
    if money.settler != settler_of(factory, &row.k_sig) {
        return contradiction("its receipt is of another settler");
    }
    let authorization = Authorization {
        through: Through::UptoProxy { spender: UPTO_PROXY, facilitator: money.settler },
        from: money.payer,
        nonce: row.nonce,
        ..Authorization::default()
    };
    if money.payment_id != authorization.payment_id(chain_id, &money.asset) {
        return contradiction("its receipt is of another permit");
    }
    if money.chain_id != chain_id {
        return contradiction("its receipt is of another chain");
    }
    if money.charged == Amount::ZERO || money.max_amount < money.charged {
        return contradiction("its receipt charges nothing, or more than was signed");
    }
    Ok(Transfer {
        keeper: Keeper::Permit2 { settler: money.settler },
        payment_id: money.payment_id,
        asset: money.asset,
        payer: money.payer,
        payee: money.payee,
        amount: money.charged,
        nonce: row.nonce,
        valid_after: row.valid_after,
        valid_before: authorization.through.scheme().over_at(row.deadline),
    })
}

struct Row {
    k_sig: Address,
    half: Half,
    nonce: Hash32,
    deadline: UnixSeconds,
    valid_after: UnixSeconds,
}

fn read_row(r: &mut WordReader<'_>, has_permit: bool) -> Result<Row, AbiError> {
    let offset = |r: &mut WordReader<'_>, words: usize| r.exactly(bytes_of(words));
    let k_sig = r.address()?;
    if has_permit {
        let _permit = (r.amount()?, r.u64()?, r.hash()?, r.hash()?, r.u8()?);
        offset(r, 7)?;
    } else {
        offset(r, 2)?;
        r.exactly(1)?;
        offset(r, 1)?;
    }
    let half = Half::read(r)?;
    offset(r, ROW_HEAD)?;
    let (nonce, deadline, valid_after) = (r.hash()?, UnixSeconds(r.u64()?), UnixSeconds(r.u64()?));
    offset(r, ROW_HEAD.saturating_add(SIGNATURE_WORDS))?;
    for _receipt_and_permit in 0..2 {
        r.exactly(65)?;
        let _skipped = (r.hash()?, r.hash()?);
        r.first_byte()?;
    }
    Ok(Row { k_sig, half, nonce, deadline, valid_after })
}

#[cfg(test)]
mod tests {
    use candor_verify::hash::keccak256;

    use super::*;

    #[test]
    fn the_selectors_are_those_of_the_signatures() {
        let money = "(bytes32,uint8,address,address,address,uint256,address,uint256,uint256,uint256,uint256,bytes32)";
        let row = format!("((uint8,bytes32,bytes32,uint64,{money},bytes32),bytes,uint256,uint256,uint256,bytes)");
        let selector = |text: String| keccak256(&[text.as_bytes()]).0[..4].to_vec();
        assert_eq!(selector(format!("settle(address,{row}[])")), SETTLE_SELECTOR);
        let (token_permit, permit) = ("(uint256,uint256,bytes32,bytes32,uint8)", "((address,uint256),uint256,uint256)");
        let rest = "uint256,address,(address,address,uint256),bytes";
        assert_eq!(selector(format!("settle({permit},{rest})")), PROXY_SETTLE_SELECTOR);
        assert_eq!(selector(format!("settleWithPermit({token_permit},{permit},{rest})")), PROXY_SETTLE_WITH_PERMIT_SELECTOR);
        assert_eq!(
            selector(format!("settleWithPermit(address,(uint256,uint256,bytes32,bytes32,uint8),{row})")),
            SETTLE_WITH_PERMIT_SELECTOR
        );
    }

    #[test]
    fn a_nonce_is_a_plain_decimal_of_256_bits() {
        let most = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        for (text, word) in [("0", Hash32::ZERO), (most, Hash32([0xff; 32]))] {
            let read = uint256(text).unwrap();
            assert_eq!(decimal(&read), text);
            assert_eq!(read, word);
        }
        assert_eq!(uint256("258").unwrap().0[30..], [1, 2]);
        for text in ["", "01", "-1", "+1", " 1", "1e3", "0x10", &most.replace("935", "936"), &format!("{most}0")] {
            assert_eq!(uint256(text), None, "{text}");
        }
    }
}
