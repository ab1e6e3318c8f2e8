//! What people and programs read and write around a verdict: policy and deployment text in, verdicts as JSON and as one page out.
//!
//! ```text
//! policy.toml ──▶ PolicyText ──▶ candor-verify ──▶ Verdict ──▶ verdict_json, bundle_json
//!                                                         └──▶ verdict_page: HTML with its picture, for people
//! rpc.toml ──▶ EndpointsText                  endpoints of a chain, with their headers
//! known.toml ──▶ KnownText                   what is suggested to whoever has no policy
//! wallet.toml ◀─▶ WalletText                  a wallet whose key is elsewhere
//! deployment.toml ◀─▶ DeploymentText          addresses, and what they follow from
//! node.toml ◀─▶ NodeText                      everything an operator decides
//!                                candor-verify ──▶ Explained ──▶ explained_json
//! a case of the vectors as JSON ──▶ conformance ──▶ how it ends, as JSON
//! ```
//!
//! The client reads policy files and the command prints verdicts through this crate, and a web page can do both through it too: so one
//! text is one policy, and one verdict one JSON value and one page, wherever they are read.
//! Not here: any check (`candor-verify`), files (`candor-client`), the words for a terminal (`candor-cli`).
//!
//! - **Invariant:** no I/O, clock or environment. Texts and values come in, texts and values go out.
//! - **Invariant:** nothing here decides. What a bundle says is called facts only if the verdict on it is *verified*.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod charge;
pub mod conformance;
mod deployment;
mod endpoints;
mod explain;
mod known;
mod node;
mod page;
mod policy;
mod proxy_keys;
mod toml_text;
mod verdict;
mod wallet;

pub use charge::{Charge, is_dollar, money_text};
pub use deployment::{ContractText, DeploymentText, DeploymentTextError};
pub use endpoints::{EndpointText, EndpointsText, EndpointsTextError};
pub use explain::explained_json;
pub use known::{KnownDeployment, KnownPlace, KnownRelease, KnownSpend, KnownText, KnownTextError};
pub use node::{
    AccessPart, AnchorPart, AssetPart, ChainPart, CheckUrls, Decimal, DecimalError, GuardPart, KeysPart, LimitsPart, LogFormat, LogPart,
    MetricsPart, NODE_VERSION, NodeModel, NodePart, NodeText, NodeTextError, PricePart, RenewalPart, StoragePart, TermsPart, decimal_text,
    node_fields,
};
pub use page::{
    LIVE_REQUESTS_MAX, LiveEnd, LiveNode, LivePage, LiveRequest, LiveSpend, PAGE_BEGINNING, PageContent, ends, live_page, verdict_page,
};
pub use policy::{PolicyText, PolicyTextError, SpendLimit};
pub use proxy_keys::{PROXY_KEYS_MAX, ProxyKeyText, ProxyKeysError, ProxyKeysText, is_key_name};
pub use verdict::{bundle_json, headline, headline_words, verdict_json};
pub use wallet::{WalletText, WalletTextError};
