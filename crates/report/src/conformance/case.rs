//! One case of the vectors as a program reads it: every value by its key, and a name for what is missing.
//!
//! Two things end a judgement early: a check refuses ([`End::Refused`]), or the case is not one ([`UnfitCase`]). They are never mixed up:
//! a case that cannot be read says nothing about anybody's implementation.

use candor_verify::bytes::{Address, Amount, Hash32, Signature65, from_hex};
use candor_verify::eip712::{K256, signer};
use candor_verify::terms::SignedTerms;
use core::fmt;
use serde_json::{Map, Value};

use super::hex;

/// The refusal of bytes that their reader must not take, in the word of the vectors.
pub(super) const PARSE: &str = "parse";

/// What was given is no case that can be judged: the caller's fault, and no word about what it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnfitCase {
    /// Whether the kind is one that this program does not have.
    pub is_unknown_kind: bool,
    /// What was expected and what came.
    pub message: String,
}

impl UnfitCase {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { is_unknown_kind: false, message: message.into() }
    }

    pub(super) fn unknown(kind: &str) -> Self {
        Self { is_unknown_kind: true, message: format!("kind {kind:?} is not known: it is the name of a file of vectors/, without .json") }
    }
}

impl fmt::Display for UnfitCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for UnfitCase {}

/// Why a judgement ended before everything was right.
#[derive(Debug)]
pub(super) enum End {
    /// This check refuses.
    Refused { check: &'static str, why: String },
    /// It is no case.
    Unfit(UnfitCase),
}

impl From<UnfitCase> for End {
    fn from(unfit: UnfitCase) -> Self {
        Self::Unfit(unfit)
    }
}

/// The reader refuses these bytes.
pub(super) fn parse(error: impl fmt::Display) -> End {
    End::Refused { check: PARSE, why: error.to_string() }
}

/// Goes on only if this holds.
pub(super) fn require(holds: bool, check: &'static str, why: impl Into<String>) -> Result<(), End> {
    if holds { Ok(()) } else { Err(End::Refused { check, why: why.into() }) }
}

/// The members of a case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a>(&'a Map<String, Value>);

impl<'a> Case<'a> {
    pub(super) fn new(members: &'a Map<String, Value>) -> Self {
        Self(members)
    }

    /// The members of a value, which must be an object.
    pub(super) fn of(value: &'a Value, what: &str) -> Result<Self, UnfitCase> {
        value.as_object().map(Self).ok_or_else(|| UnfitCase::new(format!("{what} must be a JSON object, got {}", brief(value))))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn get(&self, key: &str) -> Result<&'a Value, UnfitCase> {
        self.0.get(key).ok_or_else(|| UnfitCase::new(format!("the case must have {key:?}; it has {}", self.keys())))
    }

    fn keys(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    fn read<T>(&self, key: &str, what: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<T, UnfitCase> {
        let value = self.get(key)?;
        read(value).ok_or_else(|| UnfitCase::new(format!("{key:?} must be {what}, got {}", brief(value))))
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str, UnfitCase> {
        self.read(key, "text", Value::as_str)
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, UnfitCase> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn bytes(&self, key: &str) -> Result<Vec<u8>, UnfitCase> {
        self.read(key, "bytes as 0x hex", as_bytes)
    }

    pub(super) fn array<const N: usize>(&self, key: &str) -> Result<[u8; N], UnfitCase> {
        self.read(key, &format!("{N} bytes as 0x hex"), |value| as_bytes(value)?.try_into().ok())
    }

    pub(super) fn hash(&self, key: &str) -> Result<Hash32, UnfitCase> {
        self.read(key, "32 bytes as 0x hex", as_hash)
    }

    pub(super) fn address(&self, key: &str) -> Result<Address, UnfitCase> {
        self.read(key, "20 bytes as 0x hex", as_address)
    }

    pub(super) fn signature(&self, key: &str) -> Result<Signature65, UnfitCase> {
        self.read(key, "65 bytes as 0x hex", |value| Signature65::from_hex(value.as_str()?))
    }

    pub(super) fn number(&self, key: &str) -> Result<u64, UnfitCase> {
        self.read(key, "an integer of 64 bits", as_number)
    }

    pub(super) fn small<T: TryFrom<u64>>(&self, key: &str) -> Result<T, UnfitCase> {
        self.read(key, "a small integer", |value| T::try_from(as_number(value)?).ok())
    }

    pub(super) fn amount(&self, key: &str) -> Result<Amount, UnfitCase> {
        self.read(key, "an amount as decimal text", |value| Amount::from_decimal(value.as_str()?))
    }

    pub(super) fn list<T>(&self, key: &str, item: impl FnMut(&'a Value) -> Option<T>) -> Result<Vec<T>, UnfitCase> {
        self.read(key, "a list of its kind", |value| value.as_array()?.iter().map(item).collect())
    }

    pub(super) fn hashes(&self, key: &str) -> Result<Vec<Hash32>, UnfitCase> {
        self.list(key, as_hash)
    }

    /// The signed terms under this key, which are given and not judged.
    pub(super) fn signed_terms(&self, key: &str) -> Result<SignedTerms, UnfitCase> {
        SignedTerms::parse(&self.bytes(key)?).map_err(|error| UnfitCase::new(format!("{key:?} must be signed terms: {error}")))
    }

    /// Goes on if the case says this of the key, or says nothing of it.
    pub(super) fn says(&self, key: &str, computed: impl fmt::Display, check: &'static str) -> Result<(), End> {
        let computed = computed.to_string();
        let Some(said) = self.0.get(key) else { return Ok(()) };
        let same = match said {
            Value::String(said) => *said == computed,
            Value::Number(said) => said.to_string() == computed,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        };
        require(same, check, format!("{key}: the case says {}, computed {computed}", brief(said)))
    }

    /// [`Case::says`] of bytes.
    pub(super) fn says_bytes(&self, key: &str, computed: &[u8], check: &'static str) -> Result<(), End> {
        self.says(key, hex(computed), check)
    }

    /// Goes on if the signature over this digest is that of this signer.
    pub(super) fn signed(&self, digest: &Hash32, who: Address, check: &'static str) -> Result<(), End> {
        let signature = self.signature("signature")?;
        let recovered = signer(&K256, digest, &signature);
        let got = recovered.map_or("nobody".to_owned(), |address| address.to_string());
        require(recovered == Some(who), check, format!("digest {digest} is signed by {got}, not by {who}"))
    }
}

pub(super) fn as_bytes(value: &Value) -> Option<Vec<u8>> {
    from_hex(value.as_str()?)
}

pub(super) fn as_hash(value: &Value) -> Option<Hash32> {
    Hash32::from_hex(value.as_str()?)
}

pub(super) fn as_address(value: &Value) -> Option<Address> {
    Address::from_hex(value.as_str()?)
}

/// A JSON integer, or decimal text: above 2^53 − 1 the flat files write text.
pub(super) fn as_number(value: &Value) -> Option<u64> {
    match value.as_str() {
        None => value.as_u64(),
        Some(text) => text.parse().ok().filter(|number: &u64| number.to_string() == text),
    }
}

/// The beginning of a value.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(BRIEF) {
        None => text,
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
    }
}

/// Characters of a value that a message quotes: a hash in quotes, and a little.
const BRIEF: usize = 80;
