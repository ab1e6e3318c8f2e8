//! The operator terms: what an operator allows an enclave to do, signed once by the operator's key.
//!
//! Payee, registrar, chains and contracts, assets, models, prices, upstreams, secrets, storage, access, guard, endpoints. An enclave boots
//! only with signed terms, and whatever affects privacy or money and is not a field here is fixed in the image. Lists and nested parts enter
//! the signed struct as digests, so a contract can check terms from 20 words without reading a list. Spec: terms-and-manifest.md §1.
//!
//! | file | what |
//! |---|---|
//! | here | the struct, its digest, which rules terms obey |
//! | `parts` | what its lists hold |
//! | `prices` | prices by class, and the lists that move them |
//! | `codec` | signed terms as they travel |
//!
//! Not here: whether anybody should trust this operator (`policy`), and whether a build does all that terms can allow (the enclave).

mod codec;
mod parts;
mod prices;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub use codec::{MAX_LIST, MAX_TEXT, SIGNED_TERMS_MAX, SignedTerms};
pub use parts::{
    Access, Asset, Chain, Egress, Guard, Model, ModelSource, Pricing, Route, SealedVersion, Secret, Trust, Upstream, UpstreamKind, storage,
    upstream_flags, ways,
};
pub use prices::{Classes, ListedPrice, PRICE_LIST_MAX_MS, Price, PriceList, SignedPriceList};

use crate::abi::Words;
use crate::bytes::{Address, Hash32};
use crate::eip712::{self, Structured, TypedMessage, TypedStruct};
use crate::hash::keccak256;
use crate::text::is_control;
use crate::time::{UnixMs, UnixSeconds};

/// Flag bits that this version knows.
pub mod flags {
    /// `upfront` payments are allowed: settle first, then run. A death then is charged without an answer.
    pub const ALLOW_UPFRONT: u32 = 1;
    /// Every known bit; terms with another are refused.
    pub const ALL: u32 = ALLOW_UPFRONT;
}

/// What the operator signs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct OperatorTerms {
    /// Who signs these terms.
    pub operator: Address,
    /// Who is paid.
    pub payee: Address,
    /// Key that may register boots, and sign price lists, under these terms without a human.
    pub registrar: Address,
    /// Registry of the boots.
    pub registry: Address,
    /// Chain of the registry and of the anchors.
    pub anchor_chain_id: u64,
    /// Unix milliseconds after which the terms allow nothing more.
    pub not_after: UnixMs,
    /// [`flags`].
    pub flags: u32,
    /// [`storage`].
    pub storage: u32,
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
    /// Secrets that may be sealed to the enclave.
    pub secrets: Vec<Secret>,
    /// Forms of sealed requests.
    pub sealed: Vec<SealedVersion>,
    /// Where else the enclave may connect to.
    pub egress: Vec<Egress>,
    /// Who gets answers.
    pub access: Access,
    /// What stands before the models.
    pub guard: Guard,
    /// Where clients reach the node, for example `https://node.example:8443`.
    pub endpoints: Vec<String>,
}

const HEAD_TYPE: &str = "OperatorTerms(uint8 version,address operator,address payee,address registrar,address registry,uint256 anchorChainId,uint64 notAfter,uint32 flags,uint32 storage,Chain[] chains,Asset[] assets,Model[] models,Price[] prices,Upstream[] upstreams,Secret[] secrets,SealedVersion[] sealed,Egress[] egress,Access access,Guard guard,string[] endpoints)";

/// The type's head, and then every type that it names, by name (EIP-712).
const TERMS_TYPE: &[&str] = &[
    HEAD_TYPE,
    parts::ACCESS_TYPE,
    parts::ASSET_TYPE,
    parts::CHAIN_TYPE,
    prices::CLASSES_TYPE,
    parts::EGRESS_TYPE,
    parts::GUARD_TYPE,
    parts::MODEL_TYPE,
    prices::PRICE_TYPE,
    parts::ROUTE_TYPE,
    parts::SEALED_TYPE,
    parts::SECRET_TYPE,
    parts::UPSTREAM_TYPE,
];

impl OperatorTerms {
    /// Words of encodeData; `contracts/` reads terms in this form.
    pub const WORDS: usize = 20;

    /// encodeData: fixed fields as words, lists and nested parts as digests.
    #[must_use]
    pub fn words(&self) -> Words {
        Words::new()
            .u64(crate::VERSION.into())
            .address(&self.operator)
            .address(&self.payee)
            .address(&self.registrar)
            .address(&self.registry)
            .u64(self.anchor_chain_id)
            .u64(self.not_after.0)
            .u64(self.flags.into())
            .u64(self.storage.into())
            .hash(&self.contracts_hash())
            .hash(&eip712::array(self.assets.iter().map(Asset::struct_hash)))
            .hash(&self.model_set_root())
            .hash(&self.price_table_hash())
            .hash(&eip712::array(self.upstreams.iter().map(Upstream::struct_hash)))
            .hash(&eip712::array(self.secrets.iter().map(Secret::struct_hash)))
            .hash(&eip712::array(self.sealed.iter().map(SealedVersion::struct_hash)))
            .hash(&eip712::array(self.egress.iter().map(Egress::struct_hash)))
            .hash(&self.access.struct_hash())
            .hash(&self.guard.struct_hash())
            .hash(&eip712::array(self.endpoints.iter().map(|url| eip712::string(url))))
    }

    /// The EIP-712 digest that the operator signs; the manifest carries it as the terms hash.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        self.message().digest()
    }

    /// What the operator signs.
    #[must_use]
    pub fn message(&self) -> TypedMessage {
        TypedMessage::candor(TypedStruct::new(TERMS_TYPE.concat(), self.words()))
    }

    /// The manifest's `contractsHash`.
    #[must_use]
    pub fn contracts_hash(&self) -> Hash32 {
        eip712::array(self.chains.iter().map(Chain::struct_hash))
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

    /// The last second in which they allow anything, as contracts count.
    #[must_use]
    pub fn until(&self) -> UnixSeconds {
        self.not_after.seconds()
    }

    /// The model with this digest.
    #[must_use]
    pub fn model(&self, digest: &Hash32) -> Option<&Model> {
        self.models.iter().find(|model| model.digest == *digest)
    }

    /// The models that answer, in the order of the terms: all but the guard that judges conversations for them.
    pub fn answering_models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter().filter(|model| model.id != self.guard.model)
    }

    /// The price of a model in an asset.
    #[must_use]
    pub fn price(&self, model: &Hash32, chain_id: u64, asset: &Address) -> Option<&Price> {
        self.prices.iter().find(|price| price.model == *model && price.chain_id == chain_id && price.asset == *asset)
    }

    /// Whether these terms can give this model away: to anybody, to whoever has a key, or at a price that a list may set to nothing.
    #[must_use]
    pub fn may_be_free(&self, model: &Hash32) -> bool {
        let is_given = self.access.has(ways::KEYS | ways::OPEN);
        is_given || self.prices.iter().any(|price| price.model == *model && price.floor.is_free())
    }

    /// Whether anybody gets this model for nothing while no price list says otherwise.
    #[must_use]
    pub fn is_given_away(&self, model: &Hash32) -> bool {
        let is_free = |price: &Price| price.model == *model && price.ceiling.is_free();
        self.access.has(ways::OPEN) || (self.access.has(ways::PAID) && self.prices.iter().any(is_free))
    }

    /// Whether this model is free only while a price list says so: nobody gets it for nothing by these terms alone.
    #[must_use]
    pub fn is_free_by_list_only(&self, model: &Hash32) -> bool {
        let is_given = self.access.has(ways::KEYS | ways::OPEN);
        !is_given && !self.prices.iter().any(|price| price.model == *model && price.ceiling.is_free())
    }

    /// What the terms say of a chain; of one that they do not list, that nothing is there.
    #[must_use]
    pub fn chain(&self, chain_id: u64) -> Chain {
        let listed = self.chains.iter().find(|chain| chain.chain_id == chain_id);
        listed.cloned().unwrap_or(Chain { chain_id, ..Chain::default() })
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
        let routes = self.models.iter().map(|model| model.routes.len()).max().unwrap_or_default();
        let lists = [
            self.chains.len(),
            self.assets.len(),
            self.models.len(),
            self.prices.len(),
            self.upstreams.len(),
            self.secrets.len(),
            self.sealed.len(),
            self.egress.len(),
            self.access.keys.len(),
            self.endpoints.len(),
            routes,
        ];
        if lists.iter().any(|len| *len > MAX_LIST) {
            return Err(format!("a list of the terms is longer than {MAX_LIST} entries"));
        }
        let broken = self.broken_rule().or_else(|| self.broken_model()).or_else(|| self.broken_price()).or_else(|| self.broken_upstream());
        match broken.or_else(|| self.broken_access()) {
            Some(rule) => Err(rule.into()),
            None => Ok(()),
        }
    }

    /// The first rule that the terms break as a whole.
    fn broken_rule(&self) -> Option<&'static str> {
        if self.flags & !flags::ALL != 0 || self.storage & !storage::ALL != 0 {
            return Some("the terms have a flag that this version does not know");
        }
        if [self.operator, self.payee, self.registrar, self.registry].iter().any(Address::is_zero) {
            return Some("operator, payee, registrar and registry must not be zero");
        }
        if self.models.is_empty() || self.endpoints.is_empty() {
            return Some("terms need a model and an endpoint");
        }
        if !self.chains.iter().any(|chain| chain.chain_id == self.anchor_chain_id && chain.registry == self.registry) {
            return Some("the list of chains does not name the registry on the anchor chain");
        }
        if has_duplicate(self.chains.iter().map(|c| c.chain_id)) || has_duplicate(self.assets.iter().map(|a| (a.chain_id, a.asset))) {
            return Some("a chain or an asset is listed twice");
        }
        if has_duplicate(self.sealed.iter().map(|sealed| sealed.version)) {
            return Some("a form of sealed requests is listed twice");
        }
        if self.egress.iter().any(|egress| egress.host.is_empty() || egress.port == 0) {
            return Some("an egress names no host or no port");
        }
        // They are shown beside verdicts: a name must not be able to write one.
        if self.texts().any(|text| text.chars().any(is_control)) {
            return Some("a text of the terms has a control character");
        }
        None
    }

    fn broken_model(&self) -> Option<&'static str> {
        if has_duplicate(self.models.iter().map(|m| m.digest)) || has_duplicate(self.models.iter().map(|m| &m.id)) {
            return Some("two models share a digest or an id");
        }
        for model in &self.models {
            let has_routes = !model.routes.is_empty();
            match model.source {
                ModelSource::Local if has_routes => return Some("a LOCAL model has a route"),
                ModelSource::Upstream if !has_routes => return Some("a model of an upstream has no route"),
                ModelSource::Upstream if model.digest != keccak256(&[model.id.as_bytes()]) || !model.source_digest.is_zero() => {
                    return Some("the digest of an upstream's model is not that of its id, or names published weights");
                }
                ModelSource::Local | ModelSource::Upstream => {}
            }
            if model.routes.iter().any(|route| !self.upstreams.iter().any(|upstream| upstream.name == route.upstream)) {
                return Some("a route names an upstream that the terms do not list");
            }
        }
        None
    }

    fn broken_price(&self) -> Option<&'static str> {
        if has_duplicate(self.prices.iter().map(|p| (p.model, p.chain_id, p.asset))) {
            return Some("a model has two prices in one asset");
        }
        for price in &self.prices {
            let Some(model) = self.model(&price.model) else {
                return Some("a price names a model or an asset that the terms do not list");
            };
            if self.asset(price.chain_id, &price.asset).is_none() {
                return Some("a price names a model or an asset that the terms do not list");
            }
            if !price.floor.is_within(&price.ceiling) {
                return Some("a price has a floor above its ceiling");
            }
            if model.source == ModelSource::Local && price.ceiling.has_upstream_classes() {
                return Some("a LOCAL model is priced by classes that its answers do not have");
            }
        }
        None
    }

    fn broken_upstream(&self) -> Option<&'static str> {
        let names = self.upstreams.iter().map(|upstream| &upstream.name);
        if has_duplicate(names) || has_duplicate(self.secrets.iter().map(|secret| &secret.name)) {
            return Some("two upstreams or two secrets share a name");
        }
        if self.secrets.iter().any(|secret| secret.name.is_empty()) {
            return Some("a secret has no name");
        }
        for upstream in &self.upstreams {
            if upstream.name.is_empty() || upstream.host.is_empty() || upstream.port == 0 {
                return Some("an upstream has no name, no host or no port");
            }
            if upstream.flags & !upstream_flags::ALL != 0 {
                return Some("an upstream has a flag that this version does not know");
            }
            if (upstream.trust == Trust::Plaintext) != upstream.trust_anchor.is_zero() {
                return Some("an upstream has a trust anchor in plaintext, or none under TLS");
            }
            if upstream.kind.is_attested() != (upstream.trust == Trust::Attested) {
                return Some(
                    "an upstream is trusted by an attestation that its kind does not have, or has one and is trusted by something else",
                );
            }
            if upstream.pricing == Pricing::Fixed && upstream.markup != 0 {
                return Some("an upstream of fixed prices has a markup");
            }
            if !upstream.account.is_empty() && !self.secrets.iter().any(|secret| secret.name == upstream.account) {
                return Some("an upstream's account is a secret that the terms do not list");
            }
        }
        None
    }

    fn broken_access(&self) -> Option<&'static str> {
        let ways = self.access.ways;
        if ways == 0 || ways & !ways::ALL != 0 {
            return Some("access has no way, or one that this version does not know");
        }
        if (ways & ways::KEYS != 0) == self.access.keys.is_empty() || has_duplicate(self.access.keys.iter()) {
            return Some("keys are listed and give no access, or give access and are not listed, or are listed twice");
        }
        if ways & ways::PAID != 0 && self.prices.is_empty() {
            return Some("terms that let people pay need a price");
        }
        let names_model = self.guard.model.is_empty() || self.models.iter().any(|model| model.id == self.guard.model);
        let names_upstream = self.guard.upstream.is_empty() || self.upstreams.iter().any(|upstream| upstream.name == self.guard.upstream);
        if !names_model || !names_upstream {
            return Some("the guard is a model or an upstream that the terms do not list");
        }
        None
    }

    /// Every text that somebody chose.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let assets = self.assets.iter().flat_map(|asset| [asset.name.as_str(), asset.version.as_str()]);
        let upstreams = self.upstreams.iter().flat_map(|up| [up.name.as_str(), up.host.as_str(), up.path.as_str(), up.account.as_str()]);
        let models = self.models.iter().map(|model| model.id.as_str());
        let routes = self.models.iter().flat_map(|model| &model.routes).flat_map(|route| [route.upstream.as_str(), route.model.as_str()]);
        let egress = self.egress.iter().flat_map(|egress| [egress.host.as_str(), egress.purpose.as_str()]);
        let guard = [self.guard.model.as_str(), self.guard.upstream.as_str()];
        let secrets = self.secrets.iter().map(|secret| secret.name.as_str());
        let rest = egress.chain(secrets).chain(guard).chain(self.endpoints.iter().map(String::as_str));
        assets.chain(upstreams).chain(models).chain(routes).chain(rest)
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bytes::{Amount, Signature65};

    /// Terms with something in every field.
    pub(crate) fn sample() -> OperatorTerms {
        let asset = Address([7; 20]);
        let classes = |input, output, request| Classes { input, output, request, ..Classes::default() };
        let ceiling = classes(Amount(1_000_000), Amount(2_500_000), Amount(10));
        let proxied = keccak256(&[b"gpt"]);
        OperatorTerms {
            operator: Address([1; 20]),
            payee: Address([2; 20]),
            registrar: Address([3; 20]),
            registry: Address([4; 20]),
            anchor_chain_id: 31337,
            not_after: UnixMs(5),
            flags: 0,
            storage: storage::KEEPS_ANSWERS,
            chains: alloc::vec![Chain { chain_id: 31337, registry: Address([4; 20]), ..Chain::default() }],
            assets: alloc::vec![Asset { chain_id: 31337, asset, name: "USDC".into(), version: "2".into(), decimals: 6 }],
            models: alloc::vec![
                Model::local("m", Hash32([8; 32]), 512),
                Model {
                    id: "gpt".into(),
                    source: ModelSource::Upstream,
                    digest: proxied,
                    source_digest: Hash32::ZERO,
                    context_tokens: 1024,
                    routes: alloc::vec![Route { upstream: "u".into(), model: "gpt-x".into() }],
                },
            ],
            prices: alloc::vec![
                Price::at_most(Hash32([8; 32]), 31337, asset, ceiling),
                Price::at_most(proxied, 31337, asset, Classes { reasoning: Amount(9), ..ceiling }),
            ],
            upstreams: alloc::vec![Upstream {
                name: "u".into(),
                kind: UpstreamKind::OpenAiCompatible,
                host: "u.example".into(),
                port: 443,
                path: "/v1".into(),
                trust: Trust::Key,
                trust_anchor: Hash32([9; 32]),
                account: "u-key".into(),
                pricing: Pricing::CostPlus,
                markup: 500,
                flags: upstream_flags::TAKES_BUYERS_KEYS,
            }],
            secrets: alloc::vec![Secret { name: "u-key".into(), min_version: 3 }],
            sealed: alloc::vec![SealedVersion { version: 1, not_after: UnixMs(6) }],
            egress: alloc::vec![Egress { host: "w.example".into(), port: 443, purpose: "witness".into() }],
            access: Access { ways: ways::PAID | ways::KEYS, keys: alloc::vec![Hash32([11; 32])] },
            guard: Guard { model: "m".into(), upstream: "u".into(), payer_requests_per_minute: 60, payer_tokens_per_day: 1 << 20 },
            endpoints: alloc::vec!["https://127.0.0.1:8443".into()],
        }
    }

    #[test]
    fn the_terms_type_names_each_part_once_in_the_order_of_eip_712() {
        let names: Vec<&str> = TERMS_TYPE[1..].iter().map(|part| part.split_once('(').unwrap().0).collect();
        assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for name in names {
            let used = |part: &&str| part.contains(&format!("{name} ")) || part.contains(&format!("{name}[] "));
            assert!(TERMS_TYPE.iter().any(used), "{name}");
        }
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
    fn a_floor_that_nobody_wrote_is_nothing_only_under_a_ceiling_of_nothing() {
        let ceiling = Classes {
            input: Amount(0),
            cache_read: Amount(1),
            cache_write: Amount(9),
            output: Amount(10),
            reasoning: Amount(19),
            image: Amount(20),
            request: Amount(u128::MAX),
        };
        let floor = ceiling.default_floor();
        let tokens = [floor.input, floor.cache_read, floor.cache_write, floor.output, floor.reasoning];
        assert_eq!(tokens, [Amount(0), Amount(1), Amount(1), Amount(1), Amount(1)]);
        assert_eq!((floor.image, floor.request), (Amount(2), Amount(u128::MAX / 10)));
        assert!(floor.is_within(&ceiling));
    }

    #[test]
    fn prices_round_up() {
        let price = &sample().prices[0].ceiling;
        assert_eq!(price.amount(0, 0), Some(Amount(10)));
        assert_eq!(price.amount(3, 1), Some(Amount(10 + 6))); // 3 + 2.5 rounds up
        assert_eq!(Classes { input: Amount(u128::MAX), ..*price }.amount(2, 0), None);
    }

    #[test]
    fn inconsistent_terms_are_named() {
        assert_eq!(sample().check_consistent(), Ok(()));
        type Break = fn(&mut OperatorTerms);
        let broken: [(Break, &str); 38] = [
            (|o| o.flags = 2, "flag"),
            (|o| o.storage = 4, "flag"),
            (|o| o.payee = Address::ZERO, "zero"),
            (|o| o.models.clear(), "need a model"),
            (|o| o.endpoints.clear(), "need a model"),
            (|o| o.chains.clear(), "registry"),
            (|o| o.chains[0].registry = Address([5; 20]), "registry"),
            (|o| o.models.push(o.models[0].clone()), "share a digest"),
            (|o| o.models[0].routes = o.models[1].routes.clone(), "LOCAL model has a route"),
            (|o| o.models[1].routes.clear(), "no route"),
            (|o| o.models[1].routes[0].upstream = "v".into(), "route names"),
            (|o| o.models[1].digest = Hash32([1; 32]), "of its id"),
            (|o| o.models[1].source_digest = Hash32([1; 32]), "of its id"),
            (|o| o.assets.push(o.assets[0].clone()), "listed twice"),
            (|o| o.sealed.push(o.sealed[0]), "listed twice"),
            (|o| o.egress[0].port = 0, "egress"),
            (|o| o.prices.push(o.prices[0].clone()), "two prices"),
            (|o| o.prices[0].model = Hash32([1; 32]), "do not list"),
            (|o| o.prices[0].floor.output = Amount(2_500_001), "floor"),
            (|o| o.prices[0].ceiling.reasoning = Amount(1), "classes"),
            (|o| o.prices.clear(), "need a price"),
            (|o| o.upstreams.push(o.upstreams[0].clone()), "share a name"),
            (|o| o.upstreams[0].port = 0, "no port"),
            (|o| o.upstreams[0].flags = 4, "flag"),
            (|o| o.upstreams[0].trust = Trust::Plaintext, "plaintext"),
            (|o| o.upstreams[0].kind = UpstreamKind::Aci, "attestation"),
            (|o| o.upstreams[0].kind = UpstreamKind::Near, "attestation"),
            (|o| o.upstreams[0].trust = Trust::Attested, "attestation"),
            (|o| o.upstreams[0].pricing = Pricing::Fixed, "markup"),
            (|o| o.secrets.clear(), "account"),
            (|o| o.access.ways = 0, "no way"),
            (|o| o.access.keys.clear(), "keys"),
            (|o| o.guard.model = "n".into(), "guard"),
            (|o| o.models[0].id = "\u{1b}[2K\rVERIFIED".into(), "control"),
            (|o| o.assets[0].name.push('\u{202e}'), "control"),
            (|o| o.upstreams[0].host.push('\n'), "control"),
            (|o| o.egress[0].purpose.push('\u{9b}'), "control"),
            (|o| o.endpoints[0].push('\u{feff}'), "control"),
        ];
        for (break_it, word) in broken {
            let mut terms = sample();
            break_it(&mut terms);
            assert!(terms.check_consistent().unwrap_err().contains(word), "{word}");
        }
    }
}
