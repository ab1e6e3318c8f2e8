//! The operator terms: what an operator allows an enclave to do, signed once by the operator's key.
//!
//! Payee, registrar, chains and contracts, assets, models, prices, upstreams, endpoints. An enclave boots only with signed terms, and
//! whatever affects privacy or money and is not a field here is fixed in the image. Lists enter the signed struct as digests, so a
//! contract can check terms from 14 words without reading a list. Spec: terms-and-manifest.md §1.
//! Not here: whether anybody should trust this operator (`policy`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::abi::Words;
use crate::bytes::{Address, Amount, Hash32, Signature65};
use crate::cbor::{CborError, Reader, Writer};
use crate::eip712;
use crate::text::is_control;
use crate::time::UnixMs;

/// Version of [`OperatorTerms`] that this code reads and writes.
pub const VERSION: u8 = 1;

/// At most this many entries in any list of terms: a node with more is several nodes.
pub const MAX_LIST: usize = 64;

/// At most this many bytes in any text of terms.
pub const MAX_TEXT: usize = 256;

/// At most this many bytes of signed terms. `EnclaveRegistry.MAX_BYTES`: with longer ones an enclave would boot that no registry takes.
/// Full lists of full texts are longer, so this is a limit of its own.
pub const SIGNED_TERMS_MAX: usize = 65_536;

/// Flag bits that this version knows.
pub mod flags {
    /// `upfront` payments are allowed: settle first, then run. A death then is charged without an answer.
    pub const ALLOW_UPFRONT: u32 = 1;
    /// Every known bit; terms with another are refused.
    pub const ALL: u32 = ALLOW_UPFRONT;
}

/// Contracts of one chain. Zero means "not offered there".
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Chain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// `LogAnchor`.
    pub log_anchor: Address,
    /// `SettlerFactory`.
    pub settler_factory: Address,
    /// x402 batch settlement contract.
    pub batch: Address,
    /// x402 upto Permit2 proxy.
    pub upto_proxy: Address,
    /// Policy that channels on this chain are bound to.
    pub channel_policy: Hash32,
}

/// A token that prices may name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Asset {
    /// Chain of the token.
    pub chain_id: u64,
    /// Token contract.
    pub asset: Address,
    /// EIP-712 domain name of the token on that chain ("USDC" and "USD Coin" are both right somewhere).
    pub name: String,
    /// EIP-712 domain version of the token.
    pub version: String,
    /// Decimals, for people only.
    pub decimals: u8,
}

/// A model on offer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Model {
    /// The name clients ask for.
    pub id: String,
    /// Digest of the weights and everything beside them. Unique in terms.
    pub digest: Hash32,
    /// Context length in tokens.
    pub context_tokens: u32,
}

/// A price: amount = per_request + ceil((prompt × per_million_prompt + completion × per_million_completion) / 1,000,000).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Price {
    /// Digest of the model.
    pub model: Hash32,
    /// Chain of the token.
    pub chain_id: u64,
    /// Token contract.
    pub asset: Address,
    /// Smallest units per million prompt tokens.
    pub per_million_prompt: Amount,
    /// Smallest units per million completion tokens.
    pub per_million_completion: Amount,
    /// Smallest units per request.
    pub per_request: Amount,
}

/// A provider that the enclave may call.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Upstream {
    /// Name in receipts.
    pub name: String,
    /// Base URL.
    pub url: String,
    /// SHA-256 of the trust anchor (SPKI) that its TLS chain must end in.
    pub trust_anchor: Hash32,
}

/// What the operator signs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct OperatorTerms {
    /// Who signs these terms.
    pub operator: Address,
    /// Who is paid.
    pub payee: Address,
    /// Key that may register boots under these terms without a human.
    pub registrar: Address,
    /// `EnclaveRegistry`.
    pub registry: Address,
    /// Chain of the registry and of the anchors.
    pub anchor_chain_id: u64,
    /// Unix milliseconds after which the terms allow nothing more.
    pub not_after: UnixMs,
    /// [`flags`].
    pub flags: u32,
    /// Contracts by chain.
    pub chains: Vec<Chain>,
    /// Tokens.
    pub assets: Vec<Asset>,
    /// Models.
    pub models: Vec<Model>,
    /// Prices.
    pub prices: Vec<Price>,
    /// Providers.
    pub upstreams: Vec<Upstream>,
    /// Where clients reach the node, for example `https://node.example:8443`.
    pub endpoints: Vec<String>,
}

const ASSET_TYPE: &str = "Asset(uint256 chainId,address asset,string name,string version,uint8 decimals)";
const CHAIN_TYPE: &str =
    "Chain(uint256 chainId,address logAnchor,address settlerFactory,address batch,address uptoProxy,bytes32 channelPolicy)";
const MODEL_TYPE: &str = "Model(string id,bytes32 digest,uint32 contextTokens)";
const PRICE_TYPE: &str =
    "Price(bytes32 model,uint256 chainId,address asset,uint256 perMillionPrompt,uint256 perMillionCompletion,uint256 perRequest)";
const UPSTREAM_TYPE: &str = "Upstream(string name,string url,bytes32 trustAnchor)";
const TERMS_TYPE: &str = "OperatorTerms(uint8 version,address operator,address payee,address registrar,address registry,uint256 anchorChainId,uint64 notAfter,uint32 flags,Chain[] chains,Asset[] assets,Model[] models,Price[] prices,Upstream[] upstreams,string[] endpoints)Asset(uint256 chainId,address asset,string name,string version,uint8 decimals)Chain(uint256 chainId,address logAnchor,address settlerFactory,address batch,address uptoProxy,bytes32 channelPolicy)Model(string id,bytes32 digest,uint32 contextTokens)Price(bytes32 model,uint256 chainId,address asset,uint256 perMillionPrompt,uint256 perMillionCompletion,uint256 perRequest)Upstream(string name,string url,bytes32 trustAnchor)";

impl OperatorTerms {
    /// Words of encodeData; `contracts/` reads terms in this form.
    pub const WORDS: usize = 14;

    /// encodeData: fixed fields as words, lists as digests.
    #[must_use]
    pub fn words(&self) -> Words {
        Words::new()
            .u64(VERSION.into())
            .address(&self.operator)
            .address(&self.payee)
            .address(&self.registrar)
            .address(&self.registry)
            .u64(self.anchor_chain_id)
            .u64(self.not_after.0)
            .u64(self.flags.into())
            .hash(&self.contracts_hash())
            .hash(&self.assets_hash())
            .hash(&self.model_set_root())
            .hash(&self.price_table_hash())
            .hash(&eip712::array(self.upstreams.iter().map(Upstream::struct_hash)))
            .hash(&eip712::array(self.endpoints.iter().map(|url| eip712::string(url))))
    }

    /// The EIP-712 digest that the operator signs; the manifest carries it as the terms hash.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        eip712::digest(&eip712::candor_domain(), &eip712::hash_struct(TERMS_TYPE, &self.words()))
    }

    /// The manifest's `contractsHash`.
    #[must_use]
    pub fn contracts_hash(&self) -> Hash32 {
        eip712::array(self.chains.iter().map(Chain::struct_hash))
    }

    fn assets_hash(&self) -> Hash32 {
        eip712::array(self.assets.iter().map(Asset::struct_hash))
    }

    /// The manifest's `modelSetRoot`.
    #[must_use]
    pub fn model_set_root(&self) -> Hash32 {
        eip712::array(self.models.iter().map(Model::struct_hash))
    }

    /// The manifest's `priceTableHash`.
    #[must_use]
    pub fn price_table_hash(&self) -> Hash32 {
        eip712::array(self.prices.iter().map(Price::struct_hash))
    }

    /// The model with this digest.
    #[must_use]
    pub fn model(&self, digest: &Hash32) -> Option<&Model> {
        self.models.iter().find(|model| model.digest == *digest)
    }

    /// The price of a model in an asset.
    #[must_use]
    pub fn price(&self, model: &Hash32, chain_id: u64, asset: &Address) -> Option<&Price> {
        self.prices.iter().find(|price| price.model == *model && price.chain_id == chain_id && price.asset == *asset)
    }

    /// The token with this address on this chain.
    #[must_use]
    pub fn asset(&self, chain_id: u64, asset: &Address) -> Option<&Asset> {
        self.assets.iter().find(|entry| entry.chain_id == chain_id && entry.asset == *asset)
    }

    /// Why an enclave must not boot with these terms, if there is a reason that needs no clock and no signature.
    ///
    /// # Errors
    /// The name of the rule that is broken.
    pub fn check_consistent(&self) -> Result<(), String> {
        let lists =
            [self.chains.len(), self.assets.len(), self.models.len(), self.prices.len(), self.upstreams.len(), self.endpoints.len()];
        if lists.iter().any(|len| *len > MAX_LIST) {
            return Err(format!("a list of the terms is longer than {MAX_LIST} entries"));
        }
        match self.broken_rule() {
            Some(rule) => Err(rule.into()),
            None => Ok(()),
        }
    }

    /// The first rule that the terms break, besides the lengths of their lists.
    fn broken_rule(&self) -> Option<&'static str> {
        if self.flags & !flags::ALL != 0 {
            return Some("the terms have a flag that this version does not know");
        }
        if [self.operator, self.payee, self.registrar, self.registry].iter().any(Address::is_zero) {
            return Some("operator, payee, registrar and registry must not be zero");
        }
        if self.models.is_empty() || self.prices.is_empty() || self.endpoints.is_empty() {
            return Some("terms need a model, a price and an endpoint");
        }
        if !self.chains.iter().any(|chain| chain.chain_id == self.anchor_chain_id && !chain.log_anchor.is_zero()) {
            return Some("the anchor chain has no log anchor in the list of chains");
        }
        if has_duplicate(self.models.iter().map(|m| m.digest)) || has_duplicate(self.models.iter().map(|m| &m.id)) {
            return Some("two models share a digest or an id");
        }
        if has_duplicate(self.chains.iter().map(|c| c.chain_id)) || has_duplicate(self.assets.iter().map(|a| (a.chain_id, a.asset))) {
            return Some("a chain or an asset is listed twice");
        }
        if has_duplicate(self.prices.iter().map(|p| (p.model, p.chain_id, p.asset))) {
            return Some("a model has two prices in one asset");
        }
        for price in &self.prices {
            if self.model(&price.model).is_none() || self.asset(price.chain_id, &price.asset).is_none() {
                return Some("a price names a model or an asset that the terms do not list");
            }
        }
        // They are shown beside verdicts: a name must not be able to write one.
        if self.texts().any(|text| text.chars().any(is_control)) {
            return Some("a text of the terms has a control character");
        }
        None
    }

    /// Every text that somebody chose.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let assets = self.assets.iter().flat_map(|asset| [asset.name.as_str(), asset.version.as_str()]);
        let upstreams = self.upstreams.iter().flat_map(|upstream| [upstream.name.as_str(), upstream.url.as_str()]);
        let models = self.models.iter().map(|model| model.id.as_str());
        assets.chain(upstreams).chain(models).chain(self.endpoints.iter().map(String::as_str))
    }
}

fn has_duplicate<T: PartialEq>(items: impl Iterator<Item = T> + Clone) -> bool {
    let mut rest = items;
    while let Some(item) = rest.next() {
        if rest.clone().any(|other| other == item) {
            return true;
        }
    }
    false
}

impl Price {
    /// The price of so many tokens, rounded up to the smallest unit; `None` past 2^128 − 1.
    #[must_use]
    pub fn amount(&self, prompt_tokens: u64, completion_tokens: u64) -> Option<Amount> {
        let prompt = self.per_million_prompt.0.checked_mul(prompt_tokens.into())?;
        let completion = self.per_million_completion.0.checked_mul(completion_tokens.into())?;
        let metered = prompt.checked_add(completion)?.div_ceil(1_000_000);
        self.per_request.0.checked_add(metered).map(Amount)
    }

    fn struct_hash(&self) -> Hash32 {
        let data = Words::new()
            .hash(&self.model)
            .u64(self.chain_id)
            .address(&self.asset)
            .amount(self.per_million_prompt)
            .amount(self.per_million_completion)
            .amount(self.per_request);
        eip712::hash_struct(PRICE_TYPE, &data)
    }
}

impl Chain {
    fn struct_hash(&self) -> Hash32 {
        let data = Words::new()
            .u64(self.chain_id)
            .address(&self.log_anchor)
            .address(&self.settler_factory)
            .address(&self.batch)
            .address(&self.upto_proxy)
            .hash(&self.channel_policy);
        eip712::hash_struct(CHAIN_TYPE, &data)
    }
}

impl Asset {
    fn struct_hash(&self) -> Hash32 {
        let data = Words::new()
            .u64(self.chain_id)
            .address(&self.asset)
            .hash(&eip712::string(&self.name))
            .hash(&eip712::string(&self.version))
            .u64(self.decimals.into());
        eip712::hash_struct(ASSET_TYPE, &data)
    }
}

impl Model {
    fn struct_hash(&self) -> Hash32 {
        let data = Words::new().hash(&eip712::string(&self.id)).hash(&self.digest).u64(self.context_tokens.into());
        eip712::hash_struct(MODEL_TYPE, &data)
    }
}

impl Upstream {
    fn struct_hash(&self) -> Hash32 {
        let data = Words::new().hash(&eip712::string(&self.name)).hash(&eip712::string(&self.url)).hash(&self.trust_anchor);
        eip712::hash_struct(UPSTREAM_TYPE, &data)
    }
}

/// The terms with the operator's signature, as they travel.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct SignedTerms {
    /// What is signed.
    pub terms: OperatorTerms,
    /// By `terms.operator`.
    pub signature: Signature65,
}

impl SignedTerms {
    /// Deterministic CBOR: an array of every field in the order of the struct, the signature last.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let o = &self.terms;
        let mut w = Writer::new();
        w.array(15).u64(VERSION.into()).bytes(&o.operator.0).bytes(&o.payee.0).bytes(&o.registrar.0).bytes(&o.registry.0);
        w.u64(o.anchor_chain_id).u64(o.not_after.0).u64(o.flags.into());
        w.array(o.chains.len());
        for c in &o.chains {
            w.array(6).u64(c.chain_id).bytes(&c.log_anchor.0).bytes(&c.settler_factory.0).bytes(&c.batch.0).bytes(&c.upto_proxy.0);
            w.bytes(&c.channel_policy.0);
        }
        w.array(o.assets.len());
        for a in &o.assets {
            w.array(5).u64(a.chain_id).bytes(&a.asset.0).text(&a.name).text(&a.version).u64(a.decimals.into());
        }
        w.array(o.models.len());
        for m in &o.models {
            w.array(3).text(&m.id).bytes(&m.digest.0).u64(m.context_tokens.into());
        }
        w.array(o.prices.len());
        for p in &o.prices {
            w.array(6).bytes(&p.model.0).u64(p.chain_id).bytes(&p.asset.0).amount(p.per_million_prompt);
            w.amount(p.per_million_completion).amount(p.per_request);
        }
        w.array(o.upstreams.len());
        for u in &o.upstreams {
            w.array(3).text(&u.name).text(&u.url).bytes(&u.trust_anchor.0);
        }
        w.array(o.endpoints.len());
        for e in &o.endpoints {
            w.text(e);
        }
        w.bytes(&self.signature.0);
        w.into_vec()
    }

    /// Reads the one encoding. Unknown fields, trailing bytes, over-long lists and more than [`SIGNED_TERMS_MAX`] bytes are refused.
    /// Believes nothing.
    ///
    /// # Errors
    /// Where and why the bytes are not terms.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        if SIGNED_TERMS_MAX < bytes.len() {
            return Err(CborError::Value { offset: SIGNED_TERMS_MAX });
        }
        let mut r = Reader::new(bytes);
        let signed = Self::read(&mut r)?;
        r.end()?;
        Ok(signed)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.array_of(15)?;
        r.exactly(VERSION.into())?;
        let terms = OperatorTerms {
            operator: r.address()?,
            payee: r.address()?,
            registrar: r.address()?,
            registry: r.address()?,
            anchor_chain_id: r.u64()?,
            not_after: UnixMs(r.u64()?),
            flags: r.u32()?,
            chains: r.list(MAX_LIST, |r| {
                r.array_of(6)?;
                Ok(Chain {
                    chain_id: r.u64()?,
                    log_anchor: r.address()?,
                    settler_factory: r.address()?,
                    batch: r.address()?,
                    upto_proxy: r.address()?,
                    channel_policy: r.hash()?,
                })
            })?,
            assets: r.list(MAX_LIST, |r| {
                r.array_of(5)?;
                Ok(Asset {
                    chain_id: r.u64()?,
                    asset: r.address()?,
                    name: r.text(MAX_TEXT)?.into(),
                    version: r.text(MAX_TEXT)?.into(),
                    decimals: r.u8()?,
                })
            })?,
            models: r.list(MAX_LIST, |r| {
                r.array_of(3)?;
                Ok(Model { id: r.text(MAX_TEXT)?.into(), digest: r.hash()?, context_tokens: r.u32()? })
            })?,
            prices: r.list(MAX_LIST, |r| {
                r.array_of(6)?;
                Ok(Price {
                    model: r.hash()?,
                    chain_id: r.u64()?,
                    asset: r.address()?,
                    per_million_prompt: r.amount()?,
                    per_million_completion: r.amount()?,
                    per_request: r.amount()?,
                })
            })?,
            upstreams: r.list(MAX_LIST, |r| {
                r.array_of(3)?;
                Ok(Upstream { name: r.text(MAX_TEXT)?.into(), url: r.text(MAX_TEXT)?.into(), trust_anchor: r.hash()? })
            })?,
            endpoints: r.list(MAX_LIST, |r| Ok(r.text(MAX_TEXT)?.into()))?,
        };
        Ok(Self { terms, signature: r.signature()? })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> OperatorTerms {
        let asset = Address([7; 20]);
        OperatorTerms {
            operator: Address([1; 20]),
            payee: Address([2; 20]),
            registrar: Address([3; 20]),
            registry: Address([4; 20]),
            anchor_chain_id: 31337,
            not_after: UnixMs(5),
            flags: 0,
            chains: alloc::vec![Chain { chain_id: 31337, log_anchor: Address([6; 20]), ..Chain::default() }],
            assets: alloc::vec![Asset { chain_id: 31337, asset, name: "USDC".into(), version: "2".into(), decimals: 6 }],
            models: alloc::vec![Model { id: "m".into(), digest: Hash32([8; 32]), context_tokens: 512 }],
            prices: alloc::vec![Price {
                model: Hash32([8; 32]),
                chain_id: 31337,
                asset,
                per_million_prompt: Amount(1_000_000),
                per_million_completion: Amount(2_500_000),
                per_request: Amount(10),
            }],
            upstreams: alloc::vec![Upstream { name: "u".into(), url: "https://u.example".into(), trust_anchor: Hash32([9; 32]) }],
            endpoints: alloc::vec!["https://127.0.0.1:8443".into()],
        }
    }

    #[test]
    fn the_terms_type_is_its_parts() {
        let head = TERMS_TYPE.split_once(')').unwrap().0;
        assert_eq!(TERMS_TYPE, alloc::format!("{head}){ASSET_TYPE}{CHAIN_TYPE}{MODEL_TYPE}{PRICE_TYPE}{UPSTREAM_TYPE}"));
    }

    #[test]
    fn terms_read_back_as_written_and_any_flip_changes_it() {
        let signed = SignedTerms { terms: sample(), signature: Signature65([5; 65]) };
        let bytes = signed.encode();
        assert_eq!(SignedTerms::parse(&bytes), Ok(signed.clone()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            if let Ok(other) = SignedTerms::parse(&flipped) {
                let same = other.terms.digest() == signed.terms.digest() && other.signature == signed.signature;
                assert!(!same, "byte {at} is not covered");
            }
        }
    }

    #[test]
    fn prices_round_up() {
        let price = &sample().prices[0];
        assert_eq!(price.amount(0, 0), Some(Amount(10)));
        assert_eq!(price.amount(3, 1), Some(Amount(10 + 6))); // 3 + 2.5 rounds up
        let dear = Price { per_million_prompt: Amount(u128::MAX), ..price.clone() };
        assert_eq!(dear.amount(2, 0), None);
    }

    #[test]
    fn inconsistent_terms_are_named() {
        assert_eq!(sample().check_consistent(), Ok(()));
        type Break = fn(&mut OperatorTerms);
        let broken: [(Break, &str); 13] = [
            (|o| o.flags = 2, "flag"),
            (|o| o.payee = Address::ZERO, "zero"),
            (|o| o.models.clear(), "need a model"),
            (|o| o.chains.clear(), "log anchor"),
            (|o| o.models.push(o.models[0].clone()), "share a digest"),
            (|o| o.assets.push(o.assets[0].clone()), "listed twice"),
            (|o| o.prices.push(o.prices[0].clone()), "two prices"),
            (|o| o.prices[0].model = Hash32([1; 32]), "do not list"),
            (|o| o.models[0].id = "\u{1b}[2K\rVERIFIED".into(), "control"),
            (|o| o.assets[0].name.push('\u{202e}'), "control"),
            (|o| o.assets[0].version.push('\u{9b}'), "control"),
            (|o| o.upstreams[0].url.push('\n'), "control"),
            (|o| o.endpoints[0].push('\u{feff}'), "control"),
        ];
        for (break_it, word) in broken {
            let mut terms = sample();
            break_it(&mut terms);
            assert!(terms.check_consistent().unwrap_err().contains(word), "{word}");
        }
    }
}
