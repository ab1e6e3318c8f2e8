//! Prices: by class, between a floor and a ceiling that the operator signed, and the lists that move them between the two.
//!
//! A registrar signs a list without a human and without a reboot of the enclave; it can make nothing dearer than the terms say, and nothing
//! cheaper than their floor. Spec: terms-and-manifest.md §4, payment.md §3. Not here: which list an offer may use (`offer`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::OperatorTerms;
use crate::abi::Words;
use crate::bytes::{Address, Amount, Hash32, Signature65};
use crate::cbor::{CborError, Reader, Writer};
use crate::eip712::{self, Recover, Structured, TypedMessage, TypedStruct, signer};
use crate::time::UnixMs;

/// Longest time that one list is in force, in milliseconds (7 days): so long an old one can be put to a new boot.
pub const PRICE_LIST_MAX_MS: u64 = 7 * 86_400_000;

/// Prices of one model in one asset, in its smallest unit. Tokens are priced per million, images and requests each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Classes {
    /// Prompt tokens that are read anew.
    pub input: Amount,
    /// Prompt tokens that a cache already held.
    pub cache_read: Amount,
    /// Prompt tokens that are put into a cache.
    pub cache_write: Amount,
    /// Completion tokens.
    pub output: Amount,
    /// Completion tokens that are not shown.
    pub reasoning: Amount,
    /// Images, each.
    pub image: Amount,
    /// The request itself.
    pub request: Amount,
}

impl Classes {
    /// Words of a struct of classes.
    pub(super) const COUNT: usize = 7;

    fn all(&self) -> [Amount; Self::COUNT] {
        [self.input, self.cache_read, self.cache_write, self.output, self.reasoning, self.image, self.request]
    }

    fn of(all: [Amount; Self::COUNT]) -> Self {
        let [input, cache_read, cache_write, output, reasoning, image, request] = all;
        Self { input, cache_read, cache_write, output, reasoning, image, request }
    }

    /// The floor that an operator who says nothing has: a tenth of each ceiling, rounded down, and not nothing where the ceiling is
    /// something: else a list could give away what a cautious operator priced at a few units.
    #[must_use]
    pub fn default_floor(&self) -> Self {
        Self::of(self.all().map(|ceiling| Amount((ceiling.0 / 10).max(ceiling.0.min(1)))))
    }

    /// Whether nothing is charged.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.all().iter().all(|amount| *amount == Amount::ZERO)
    }

    /// Whether no class is above the other's.
    #[must_use]
    pub fn is_within(&self, ceiling: &Self) -> bool {
        self.all().iter().zip(ceiling.all()).all(|(amount, ceiling)| *amount <= ceiling)
    }

    /// Whether classes are priced that an answer of a LOCAL model cannot have.
    pub(super) fn has_upstream_classes(&self) -> bool {
        [self.cache_read, self.cache_write, self.reasoning, self.image].iter().any(|amount| *amount != Amount::ZERO)
    }

    /// The price of so many tokens in and out, rounded up to the smallest unit; `None` past 2^128 − 1.
    #[must_use]
    pub fn amount(&self, prompt_tokens: u64, completion_tokens: u64) -> Option<Amount> {
        let prompt = self.input.0.checked_mul(prompt_tokens.into())?;
        let completion = self.output.0.checked_mul(completion_tokens.into())?;
        let metered = prompt.checked_add(completion)?.div_ceil(1_000_000);
        self.request.0.checked_add(metered).map(Amount)
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.array(Self::COUNT);
        for amount in self.all() {
            w.amount(amount);
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.array_of(7)?;
        let mut all = [Amount::ZERO; Self::COUNT];
        for amount in &mut all {
            *amount = r.amount()?;
        }
        Ok(Self::of(all))
    }
}

/// Between which prices a model is sold in an asset.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Price {
    /// Digest of the model.
    pub model: Hash32,
    /// Chain of the token.
    pub chain_id: u64,
    /// Token contract.
    pub asset: Address,
    /// What is charged while no list is in force, and never more.
    pub ceiling: Classes,
    /// What a list may go down to.
    pub floor: Classes,
}

impl Price {
    /// A price with this ceiling and the floor that follows from it.
    #[must_use]
    pub fn at_most(model: Hash32, chain_id: u64, asset: Address, ceiling: Classes) -> Self {
        Self { model, chain_id, asset, ceiling, floor: ceiling.default_floor() }
    }
}

impl Structured for Classes {
    fn to_struct(&self) -> TypedStruct {
        TypedStruct::new(CLASSES_TYPE, self.all().into_iter().fold(Words::new(), Words::amount))
    }
}

impl Structured for Price {
    fn to_struct(&self) -> TypedStruct {
        let data = Words::new().hash(&self.model).u64(self.chain_id).address(&self.asset);
        let data = data.hash(&self.ceiling.struct_hash()).hash(&self.floor.struct_hash());
        TypedStruct::new([PRICE_TYPE, CLASSES_TYPE].concat(), data)
    }
}

/// What a model costs in an asset while a list is in force.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct ListedPrice {
    /// Digest of the model.
    pub model: Hash32,
    /// Chain of the token.
    pub chain_id: u64,
    /// Token contract.
    pub asset: Address,
    /// The prices.
    pub classes: Classes,
}

impl Structured for ListedPrice {
    fn to_struct(&self) -> TypedStruct {
        let data = Words::new().hash(&self.model).u64(self.chain_id).address(&self.asset).hash(&self.classes.struct_hash());
        TypedStruct::new([LISTED_TYPE, CLASSES_TYPE].concat(), data)
    }
}

pub(super) const CLASSES_TYPE: &str =
    "Classes(uint256 input,uint256 cacheRead,uint256 cacheWrite,uint256 output,uint256 reasoning,uint256 image,uint256 request)";
pub(super) const PRICE_TYPE: &str = "Price(bytes32 model,uint256 chainId,address asset,Classes ceiling,Classes floor)";
const LISTED_TYPE: &str = "ListedPrice(bytes32 model,uint256 chainId,address asset,Classes classes)";
const LIST_TYPE: &str = "PriceList(bytes32 termsHash,uint64 number,uint64 from,uint64 until,bytes32 pricesHash)";

/// Prices for a while, signed by the registrar of the terms that they stay within.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct PriceList {
    /// The terms that it stays within.
    pub terms_hash: Hash32,
    /// Higher than that of every list before; not zero, which means *no list* in an offer.
    pub number: u64,
    /// Unix milliseconds from which it is in force.
    pub from: UnixMs,
    /// Unix milliseconds until which it is.
    pub until: UnixMs,
    /// The prices: one for each that the terms have.
    pub prices: Vec<ListedPrice>,
}

impl PriceList {
    /// `pricesHash`: the EIP-712 encoding of the array of prices.
    #[must_use]
    pub fn prices_hash(&self) -> Hash32 {
        eip712::array(self.prices.iter().map(ListedPrice::struct_hash))
    }

    /// The EIP-712 digest that the registrar signs, and that an offer names.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        self.message().digest()
    }

    /// What the registrar signs.
    #[must_use]
    pub fn message(&self) -> TypedMessage {
        let data = Words::new().hash(&self.terms_hash).u64(self.number).u64(self.from.0).u64(self.until.0).hash(&self.prices_hash());
        TypedMessage::candor(TypedStruct::new(LIST_TYPE, data))
    }

    /// What this list says of a model in an asset.
    #[must_use]
    pub fn price(&self, model: &Hash32, chain_id: u64, asset: &Address) -> Option<&Classes> {
        let mut prices = self.prices.iter();
        prices.find(|price| price.model == *model && price.chain_id == chain_id && price.asset == *asset).map(|price| &price.classes)
    }
}

/// A list with its signature, as it travels.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct SignedPriceList {
    /// What is signed.
    pub list: PriceList,
    /// By the registrar of the terms.
    pub signature: Signature65,
}

impl SignedPriceList {
    /// Deterministic CBOR: [version, terms hash, number, from, until, prices, signature].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let list = &self.list;
        let mut w = Writer::new();
        w.array(7).u64(crate::VERSION.into()).bytes(&list.terms_hash.0).u64(list.number).u64(list.from.0).u64(list.until.0);
        w.array(list.prices.len());
        for price in &list.prices {
            w.array(4).bytes(&price.model.0).u64(price.chain_id).bytes(&price.asset.0);
            price.classes.write(&mut w);
        }
        w.bytes(&self.signature.0);
        w.into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// Where and why the bytes are not a price list.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.versioned_array_of(7, crate::VERSION)?;
        let (terms_hash, number, from, until) = (r.hash()?, r.u64()?, UnixMs(r.u64()?), UnixMs(r.u64()?));
        let prices = r.list(super::MAX_LIST, |r| {
            r.array_of(4)?;
            Ok(ListedPrice { model: r.hash()?, chain_id: r.u64()?, asset: r.address()?, classes: Classes::read(r)? })
        })?;
        let signature = r.signature()?;
        r.end()?;
        Ok(Self { list: PriceList { terms_hash, number, from, until, prices }, signature })
    }

    /// Why this list is none under these terms. It needs no clock: when it is in force is for an offer to say.
    ///
    /// # Errors
    /// The rule that is broken, with what was expected and what was found.
    pub fn check(&self, terms: &OperatorTerms, recover: &dyn Recover) -> Result<(), (String, String)> {
        let list = &self.list;
        let broken = |expected: &str, got: String| Err((expected.to_string(), got));
        if list.terms_hash != terms.digest() {
            return Err((alloc::format!("a list under terms {}", terms.digest()), alloc::format!("under terms {}", list.terms_hash)));
        }
        match signer(recover, &list.digest(), &self.signature) {
            Some(address) if address == terms.registrar => {}
            Some(other) => return Err((alloc::format!("a list signed by the registrar {}", terms.registrar), other.to_string())),
            None => return broken("a list signed by the terms' registrar", "no valid signature".into()),
        }
        if list.number == 0 || list.until <= list.from || PRICE_LIST_MAX_MS < list.until.since(list.from) {
            let got = alloc::format!("number {}, from {} to {} ms", list.number, list.from, list.until);
            return broken("a numbered list in force for at most 7 days", got);
        }
        if list.prices.len() != terms.prices.len() {
            return broken("one price for each of the terms", alloc::format!("{} of {}", list.prices.len(), terms.prices.len()));
        }
        for price in &terms.prices {
            let Some(classes) = list.price(&price.model, price.chain_id, &price.asset) else {
                return broken("one price for each of the terms", alloc::format!("none for model {}", price.model));
            };
            if !classes.is_within(&price.ceiling) || !price.floor.is_within(classes) {
                return broken("each price between the floor and the ceiling of the terms", alloc::format!("model {}", price.model));
            }
        }
        Ok(())
    }
}
