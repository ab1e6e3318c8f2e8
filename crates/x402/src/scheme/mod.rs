//! How an answer is paid, as far as the wire and the chain are concerned: the five questions of `candor_verify::scheme`, answered once for each way.
//!
//! | question | answered by |
//! |---|---|
//! | what is verified | [`verify_payment`] ⇒ [`VerifiedPayment`] |
//! | when it is claimed | [`crate::claims::ClaimSet::claim`], before anything runs |
//! | what may be charged | [`Scheme::charge`](candor_verify::scheme::Scheme::charge) |
//! | what settles it | [`VerifiedPayment::settlement`] ⇒ [`ContractCall`], which says what it moves: [`read_call`] ⇒ [`Transfer`] |
//! | what ends it | the [`Transfer`], which says what a chain is asked, and its end |
//!
//! A further scheme is one more file beside `eip3009` and `permit2`, and one arm in each function here. Nobody else tells one from another
//! (`cargo xtask tidy`). Not here: money that moves (`settlement`), headers (`protocol`).

mod eip3009;
mod permit2;
pub(crate) mod requirements;
mod verify;

use std::fmt;

use candor_verify::abi::AbiError;
use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::payment::{Authorization, TokenDomain};
use candor_verify::receipt::Receipt;
use candor_verify::scheme::{Scheme, Through, Transfer};

use serde_json::{Map, Value, json};

pub use eip3009::{TRANSFER_SELECTOR, decode_transfer, encode_transfer};
pub use permit2::{Allowance, EIP2612_KEY, TokenPermit};
pub use requirements::{FLOW_AUTHORIZATION, Requirements, RequirementsError, payment_flow};
pub use verify::{Binding, Candidate, VerifiedPayment, VerifyContext, parse_payment, verify_payment};

pub(crate) use verify::parse_authorization;

use crate::protocol::JsonObject;

/// Bytes of a call. `Debug` shows the length only: they hold the payer's signature.
#[derive(Clone, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a newtype: any value is valid")]
pub struct Calldata(pub Vec<u8>);

impl fmt::Debug for Calldata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calldata({} bytes, not shown)", self.0.len())
    }
}

/// Why bytes are not a call that settles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CalldataError {
    /// Another function, or none.
    Selector,
    /// The arguments are not those of the function.
    Arguments(AbiError),
    /// Two of the arguments contradict each other.
    Contradiction {
        /// Which.
        what: &'static str,
    },
}

impl fmt::Display for CalldataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selector => f.write_str("not a call that settles a payment"),
            Self::Arguments(error) => write!(f, "arguments of a settlement: {error}"),
            Self::Contradiction { what } => write!(f, "a settlement that contradicts itself: {what}"),
        }
    }
}

impl std::error::Error for CalldataError {}

/// A call that settles one payment. Anyone may make it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a transaction says")]
pub struct ContractCall {
    /// The contract.
    pub to: Address,
    /// What it is called with.
    pub calldata: Calldata,
}

/// Reads a call back: what it moves. Believes nothing; the chain will.
///
/// # Errors
/// See [`CalldataError`].
pub fn read_call(chain_id: u64, to: &Address, calldata: &Calldata) -> Result<Transfer, CalldataError> {
    match calldata.0.first_chunk::<4>() {
        Some(&TRANSFER_SELECTOR) => eip3009::read(chain_id, to, calldata),
        Some(selector) if permit2::is_settle(selector) => permit2::read(chain_id, to, calldata),
        Some(_) | None => Err(CalldataError::Selector),
    }
}

/// Gas of a transaction that does nothing.
const GAS_OF_NOTHING: u64 = 21_000;

/// Gas that a transaction with this call is given. Fixed, because an estimate fails when a race is lost.
#[must_use]
pub fn gas_limit(calldata: &Calldata) -> u64 {
    match calldata.0.first_chunk::<4>() {
        Some(selector) if permit2::is_settle(selector) => permit2::GAS,
        Some(_) => eip3009::GAS,
        None => GAS_OF_NOTHING,
    }
}

/// Whether a call that came back with this did what it is for. A settler goes on when one of its charges fails, and says how many did.
#[must_use]
pub fn has_settled(calldata: &Calldata, returned: &[u8]) -> bool {
    !calldata.0.starts_with(&permit2::SETTLE_SELECTOR) || returned == [0; 32]
}

/// A call that a chain can be asked about before anything runs: it passes if the payment would move by its maximum. It settles nothing, because
/// nobody can send a transaction as `from`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a chain is asked")]
pub struct Trial {
    /// Who would call.
    pub from: Address,
    /// The call.
    pub call: ContractCall,
}

impl VerifiedPayment {
    /// What a chain can be asked about it, if its signature may be shown for that: it is worth nothing without a receipt of the key.
    #[must_use]
    pub fn trial(&self) -> Option<Trial> {
        match self.authorization().through {
            // Anyone who sees it can submit it.
            Through::Token => None,
            Through::UptoProxy { spender, facilitator } => {
                Some(Trial { from: facilitator, call: ContractCall { to: spender, calldata: permit2::encode_trial(self, &facilitator) } })
            }
        }
    }

    /// The call that settles it by this receipt, for an enclave of this key on a chain where settlers have this factory.
    #[must_use]
    pub fn settlement(&self, receipt: &Receipt, signature: &Signature65, (factory, k_sig): (&Address, &Address)) -> ContractCall {
        match self.authorization().through {
            Through::Token => ContractCall { to: self.asset(), calldata: encode_transfer(self.authorization(), self.signature()) },
            Through::UptoProxy { .. } => {
                ContractCall { to: *factory, calldata: permit2::encode(k_sig, (&receipt.half(), signature), self) }
            }
        }
    }
}

/// The extensions of a 402, and x402's own by which a payer without ETH allows Permit2, if one of these ways needs that.
#[must_use]
pub fn with_permits(mut extensions: JsonObject, requirements: &[Requirements]) -> JsonObject {
    if requirements.iter().any(|required| required.through.scheme().needs_allowance()) {
        let (key, offer) = permit2::offer_of_permits();
        extensions.0.insert(key, offer);
    }
    extensions
}

/// x402's words for a payer who has too little.
#[must_use]
pub fn balance_code(scheme: Scheme) -> &'static str {
    if scheme == Scheme::UptoPermit2 { "permit2_insufficient_balance" } else { "invalid_exact_evm_insufficient_balance" }
}

/// x402's words for a payment that would not move.
#[must_use]
pub fn trial_code(scheme: Scheme) -> &'static str {
    if scheme == Scheme::UptoPermit2 { "permit2_simulation_failed" } else { "invalid_exact_evm_transaction_simulation_failed" }
}

/// x402's words for a payment whose time is over.
#[must_use]
pub fn end_code(scheme: Scheme) -> &'static str {
    if scheme == Scheme::UptoPermit2 { "permit2_deadline_expired" } else { "invalid_exact_evm_payload_authorization_valid_before" }
}

/// x402's words for a nonce that is used.
#[must_use]
pub fn used_code(scheme: Scheme) -> &'static str {
    if scheme == Scheme::UptoPermit2 { "permit2_invalid_nonce" } else { "invalid_exact_evm_nonce_already_used" }
}

/// Bytes of a call that settles one payment, at most.
pub const CALLDATA_MAX: usize = permit2::CALLDATA_MAX;

/// What a payer is asked to sign.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete: callers must sign each")]
pub enum ToSign<'a> {
    /// A payment.
    Payment(&'a Authorization),
    /// That Permit2 may move so much of the token.
    Allowance(&'a Allowance),
}

impl ToSign<'_> {
    /// The EIP-712 digest.
    #[must_use]
    pub fn digest(self, token: &TokenDomain) -> Hash32 {
        match self {
            Self::Payment(authorization) => authorization.digest(token),
            Self::Allowance(allowance) => allowance.digest(token),
        }
    }

    /// The same as `eth_signTypedData_v4` takes it, and its digest for signers that sign digests.
    #[must_use]
    pub fn typed_data(self, token: &TokenDomain) -> Value {
        let data = match self {
            Self::Allowance(allowance) => allowance.typed_data(token),
            Self::Payment(authorization) => match authorization.through {
                Through::Token => eip3009::typed_data(authorization, token),
                Through::UptoProxy { spender, facilitator } => permit2::typed_data(authorization, token, (&spender, &facilitator)),
            },
        };
        data.to_json()
    }
}

/// A typed message: its types with the names of their fields, the primary one first. Numbers are decimal text: one of 18 decimals does not fit
/// those of JavaScript.
struct TypedData {
    types: Vec<(&'static str, Vec<(&'static str, &'static str)>)>,
    domain: Value,
    message: Value,
    digest: Hash32,
}

impl TypedData {
    fn of_token(token: &TokenDomain) -> Value {
        json!({
            "name": token.name, "version": token.version, "chainId": token.chain_id, "verifyingContract": token.asset.to_string(),
        })
    }

    fn to_json(&self) -> Value {
        const DOMAIN: [(&str, &str); 4] =
            [("string", "name"), ("string", "version"), ("uint256", "chainId"), ("address", "verifyingContract")];
        let field = |(kind, name): &(&str, &str)| json!({"name": name, "type": kind});
        let fields = |members: &[(&str, &str)]| members.iter().map(field).collect::<Vec<Value>>();
        let domain: Vec<(&str, &str)> = DOMAIN.into_iter().filter(|(_, name)| self.domain.get(name).is_some()).collect();
        let types =
            [("EIP712Domain", domain.as_slice())].into_iter().chain(self.types.iter().map(|(name, members)| (*name, members.as_slice())));
        let types: Map<String, Value> = types.map(|(name, members)| (name.to_owned(), Value::from(fields(members)))).collect();
        json!({
            "types": types,
            "primaryType": self.types.first().map(|(name, _)| *name),
            "domain": self.domain,
            "message": self.message,
            "digest": self.digest.to_string(),
        })
    }
}

/// The scheme's object in a client's payload.
#[must_use]
pub(crate) fn payload(authorization: &Authorization, asset: &Address, signature: &Signature65) -> JsonObject {
    match authorization.through {
        Through::Token => eip3009::payload(authorization, signature),
        Through::UptoProxy { spender, facilitator } => permit2::payload(authorization, asset, (&spender, &facilitator), signature),
    }
}
