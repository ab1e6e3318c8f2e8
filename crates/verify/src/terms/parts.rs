//! What terms consist of: one struct for each list and each nested part, with its EIP-712 hash. Spec: terms-and-manifest.md §1.
//!
//! A part says what is allowed and nothing of whether this build does it: an enclave that does not refuses the terms by name.

use alloc::string::String;
use alloc::vec::Vec;

use crate::abi::Words;
use crate::bytes::{Address, Hash32};
use crate::eip712::{self, Structured, TypedStruct};
use crate::hash::sha256;
use crate::time::UnixMs;

/// Contracts of one chain. Zero means "not offered there".
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Chain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Registry of keys and anchors; on the anchor chain the one that the terms name.
    pub registry: Address,
    /// `SettlerFactory`.
    pub settler_factory: Address,
    /// Factory of the forwarders that may stand in for the payee.
    pub forwarder_factory: Address,
    /// Factory of the authorizers by which enclaves speak for channels.
    pub authorizer_factory: Address,
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

codes! {
    /// Where the answers of a model come from.
    ModelSource {
        /// The enclave runs it.
        Local = 1 "LOCAL",
        /// The enclave calls one of its routes.
        Upstream = 2 "UPSTREAM",
    }
}

/// A model on offer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Model {
    /// The name clients ask for.
    pub id: String,
    /// Where its answers come from.
    pub source: ModelSource,
    /// LOCAL: digest of the weights as they run, and of everything beside them. UPSTREAM: keccak256 of `id`. Unique in terms.
    pub digest: Hash32,
    /// LOCAL: digest of the published files that the weights were made of, so that anybody can make them again; zero if nobody says.
    pub source_digest: Hash32,
    /// Context length in tokens.
    pub context_tokens: u32,
    /// UPSTREAM: where it is asked for, in the order in which it is tried.
    pub routes: Vec<Route>,
}

impl Model {
    /// A model that the enclave runs, without a word about where its weights were published.
    #[must_use]
    pub fn local(id: &str, digest: Hash32, context_tokens: u32) -> Self {
        let source = ModelSource::Local;
        Self { id: id.into(), source, digest, source_digest: Hash32::ZERO, context_tokens, routes: Vec::new() }
    }
}

/// One place where a model is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Route {
    /// Name of the upstream.
    pub upstream: String,
    /// What the model is called there.
    pub model: String,
}

codes! {
    /// Which protocol, and which proof, an upstream speaks.
    UpstreamKind {
        /// OpenAI's chat completions, as vLLM, llama-server and many providers speak them.
        OpenAiCompatible = 1 "openai-compatible",
        /// OpenAI itself: chat completions and responses.
        OpenAi = 2 "openai",
        /// Anthropic: messages.
        Anthropic = 3 "anthropic",
        /// An ACI service, whose attestation is verified before a prompt leaves.
        Aci = 16 "aci",
        /// Tinfoil, verified likewise.
        Tinfoil = 17 "tinfoil",
        /// NEAR AI or Phala, verified likewise.
        Near = 18 "near",
    }
}

impl UpstreamKind {
    /// Whether it attests its own key, which is then the one that its TLS must end in: verified before a prompt leaves.
    #[must_use]
    pub const fn is_attested(self) -> bool {
        matches!(self, Self::Aci | Self::Tinfoil | Self::Near)
    }
}

codes! {
    /// What the TLS chain of an upstream must end in.
    Trust {
        /// Nothing: the bytes travel in clear.
        Plaintext = 0 "plaintext",
        /// A root of the set with this SHA-256 (the Mozilla roots, as a list of them was frozen in the image).
        RootSet = 1 "root set",
        /// The one certificate with this SHA-256 (DER).
        Authority = 2 "authority",
        /// The key with this SHA-256 (SubjectPublicKeyInfo): that of the upstream's own certificate.
        Key = 3 "key",
        /// The key that the upstream's own attestation names; the anchor is the digest of the policy that judges it.
        Attested = 4 "attested",
    }
}

codes! {
    /// What a payer is charged for the work of an upstream.
    Pricing {
        /// The price classes of the terms.
        Fixed = 1 "fixed",
        /// What the upstream charges the account, and so many hundredths of a percent more; never above the ceilings.
        CostPlus = 2 "cost plus",
    }
}

/// Bits of [`Upstream::flags`].
pub mod upstream_flags {
    /// Tokens that the provider bills and does not show are charged, as it declares them.
    pub const CHARGES_UNDECLARED_REASONING: u32 = 1;
    /// A request may bring a key of the buyer's own.
    pub const TAKES_BUYERS_KEYS: u32 = 2;
    /// Every known bit; terms with another are refused.
    pub const ALL: u32 = CHARGES_UNDECLARED_REASONING | TAKES_BUYERS_KEYS;
}

/// A provider that the enclave may call.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Upstream {
    /// Name in routes and receipts.
    pub name: String,
    /// Which protocol it speaks.
    pub kind: UpstreamKind,
    /// DNS name or address; the only one that its pipe may lead to.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path before the API's own, for example `/v1`; may be empty.
    pub path: String,
    /// What its TLS chain must end in. `Plaintext` is shown in every verdict.
    pub trust: Trust,
    /// The anchor of that kind; zero for `Plaintext`.
    pub trust_anchor: Hash32,
    /// Name of the secret that opens the operator's account there; empty if only buyers' keys are used, or none is needed.
    pub account: String,
    /// How its work is priced.
    pub pricing: Pricing,
    /// Hundredths of a percent on top of its cost; zero if priced `Fixed`.
    pub markup: u32,
    /// [`upstream_flags`].
    pub flags: u32,
}

/// A secret that the operator may seal to an enclave under these terms.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The oldest version of it that is taken: an older one was replaced.
    pub min_version: u32,
}

/// A form of sealed requests that the node takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct SealedVersion {
    /// Its number.
    pub version: u32,
    /// Unix milliseconds after which it is no longer taken.
    pub not_after: UnixMs,
}

/// A place that the enclave may reach besides its upstreams.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Egress {
    /// DNS name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What for, in words: shown to whoever asks what leaves the enclave.
    pub purpose: String,
}

/// Bits of [`OperatorTerms::storage`](super::OperatorTerms::storage).
pub mod storage {
    /// Sealed answers lie with the host until their client has them (recovery.md).
    pub const KEEPS_ANSWERS: u32 = 1;
    /// Prompts are cached between requests, in the enclave's memory.
    pub const CACHES_PROMPTS: u32 = 2;
    /// Every known bit; terms with another are refused.
    pub const ALL: u32 = KEEPS_ANSWERS | CACHES_PROMPTS;
}

/// Bits of [`Access::ways`].
pub mod ways {
    /// Whoever pays.
    pub const PAID: u32 = 1;
    /// Whoever has one of the listed keys, without payment.
    pub const KEYS: u32 = 2;
    /// Anybody, without payment.
    pub const OPEN: u32 = 4;
    /// Every known bit; terms with another are refused.
    pub const ALL: u32 = PAID | KEYS | OPEN;
}

/// Who gets answers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Access {
    /// [`ways`].
    pub ways: u32,
    /// SHA-256 of each key that opens the node without payment.
    pub keys: Vec<Hash32>,
}

impl Access {
    /// Whether this is one of the ways ([`ways`]).
    #[must_use]
    pub fn has(&self, way: u32) -> bool {
        self.ways & way != 0
    }

    /// Which of the listed keys this is, by its place in the list. Every hash is compared to its end: how long that takes says nothing of a
    /// key.
    #[must_use]
    pub fn key_number(&self, key: &[u8]) -> Option<usize> {
        let got = sha256(&[key]);
        let mut found = None;
        for (number, listed) in self.keys.iter().enumerate().filter(|_| self.has(ways::KEYS)) {
            let differing = listed.0.iter().zip(got.0).fold(0, |differing, (ours, theirs)| differing | (ours ^ theirs));
            if differing == 0 {
                found = Some(number);
            }
        }
        found
    }
}

impl Default for Access {
    /// Whoever pays, and nobody else.
    fn default() -> Self {
        Self { ways: ways::PAID, keys: Vec::new() }
    }
}

/// What stands between strangers and the models. All empty or zero: nothing does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Guard {
    /// Model (by its id) that judges each request first; empty without one.
    pub model: String,
    /// Upstream (by its name) that does; empty without one.
    pub upstream: String,
    /// Requests of one payer a minute; zero for no cap.
    pub payer_requests_per_minute: u32,
    /// Tokens of one payer a day; zero for no cap.
    pub payer_tokens_per_day: u64,
}

impl Guard {
    /// Whether a guard judges each conversation before a model sees it.
    #[must_use]
    pub fn judges(&self) -> bool {
        !self.model.is_empty() || !self.upstream.is_empty()
    }
}

pub(super) const ASSET_TYPE: &str = "Asset(uint256 chainId,address asset,string name,string version,uint8 decimals)";
pub(super) const ACCESS_TYPE: &str = "Access(uint32 ways,bytes32[] keys)";
pub(super) const CHAIN_TYPE: &str = "Chain(uint256 chainId,address registry,address settlerFactory,address forwarderFactory,address authorizerFactory,address batch,address uptoProxy,bytes32 channelPolicy)";
pub(super) const EGRESS_TYPE: &str = "Egress(string host,uint16 port,string purpose)";
pub(super) const GUARD_TYPE: &str = "Guard(string model,string upstream,uint32 payerRequestsPerMinute,uint64 payerTokensPerDay)";
pub(super) const MODEL_TYPE: &str = "Model(string id,uint8 source,bytes32 digest,bytes32 sourceDigest,uint32 contextTokens,Route[] routes)";
pub(super) const ROUTE_TYPE: &str = "Route(string upstream,string model)";
pub(super) const SEALED_TYPE: &str = "SealedVersion(uint32 version,uint64 notAfter)";
pub(super) const SECRET_TYPE: &str = "Secret(string name,uint32 minVersion)";
pub(super) const UPSTREAM_TYPE: &str = "Upstream(string name,uint8 kind,string host,uint16 port,string path,uint8 trust,bytes32 trustAnchor,string account,uint8 pricing,uint32 markup,uint32 flags)";

impl Structured for Chain {
    fn to_struct(&self) -> TypedStruct {
        let data = Words::new()
            .u64(self.chain_id)
            .address(&self.registry)
            .address(&self.settler_factory)
            .address(&self.forwarder_factory)
            .address(&self.authorizer_factory)
            .address(&self.batch)
            .address(&self.upto_proxy)
            .hash(&self.channel_policy);
        TypedStruct::new(CHAIN_TYPE, data)
    }
}

impl Structured for Asset {
    fn to_struct(&self) -> TypedStruct {
        let data = Words::new()
            .u64(self.chain_id)
            .address(&self.asset)
            .hash(&eip712::string(&self.name))
            .hash(&eip712::string(&self.version))
            .u64(self.decimals.into());
        TypedStruct::new(ASSET_TYPE, data)
    }
}

impl Structured for Model {
    fn to_struct(&self) -> TypedStruct {
        let data = Words::new()
            .hash(&eip712::string(&self.id))
            .u64(self.source.code().into())
            .hash(&self.digest)
            .hash(&self.source_digest)
            .u64(self.context_tokens.into())
            .hash(&eip712::array(self.routes.iter().map(Route::struct_hash)));
        // EIP-712: a type is followed by those that it names.
        TypedStruct::new([MODEL_TYPE, ROUTE_TYPE].concat(), data)
    }
}

impl Structured for Route {
    fn to_struct(&self) -> TypedStruct {
        TypedStruct::new(ROUTE_TYPE, Words::new().hash(&eip712::string(&self.upstream)).hash(&eip712::string(&self.model)))
    }
}

impl Structured for Upstream {
    fn to_struct(&self) -> TypedStruct {
        let data = Words::new()
            .hash(&eip712::string(&self.name))
            .u64(self.kind.code().into())
            .hash(&eip712::string(&self.host))
            .u64(self.port.into())
            .hash(&eip712::string(&self.path))
            .u64(self.trust.code().into())
            .hash(&self.trust_anchor)
            .hash(&eip712::string(&self.account))
            .u64(self.pricing.code().into())
            .u64(self.markup.into())
            .u64(self.flags.into());
        TypedStruct::new(UPSTREAM_TYPE, data)
    }
}

impl Structured for Secret {
    fn to_struct(&self) -> TypedStruct {
        TypedStruct::new(SECRET_TYPE, Words::new().hash(&eip712::string(&self.name)).u64(self.min_version.into()))
    }
}

impl Structured for SealedVersion {
    fn to_struct(&self) -> TypedStruct {
        TypedStruct::new(SEALED_TYPE, Words::new().u64(self.version.into()).u64(self.not_after.0))
    }
}

impl Structured for Egress {
    fn to_struct(&self) -> TypedStruct {
        let data = Words::new().hash(&eip712::string(&self.host)).u64(self.port.into()).hash(&eip712::string(&self.purpose));
        TypedStruct::new(EGRESS_TYPE, data)
    }
}

impl Structured for Access {
    fn to_struct(&self) -> TypedStruct {
        TypedStruct::new(ACCESS_TYPE, Words::new().u64(self.ways.into()).hash(&eip712::array(self.keys.iter().copied())))
    }
}

impl Structured for Guard {
    fn to_struct(&self) -> TypedStruct {
        let data = Words::new()
            .hash(&eip712::string(&self.model))
            .hash(&eip712::string(&self.upstream))
            .u64(self.payer_requests_per_minute.into())
            .u64(self.payer_tokens_per_day);
        TypedStruct::new(GUARD_TYPE, data)
    }
}
