//! Resolve, verify, pay, stream, verify again, keep the bundle.
//!
//! ```text
//! registry ──▶ resolve ──▶ VerifiedNode (verified, TLS key pinned) ──▶ ask ──▶ VerifiedResponse + Bundle ──▶ awaited, facts
//! ```
//!
//! Every verdict comes from `candor-verify`; this crate carries bytes to it. A prompt is sent only over a connection whose key is in
//! verified evidence, a payment is signed only for an offer that evidence confirms and while the chain is well, and no request is paid
//! twice.
//! What somebody bought with another client becomes a bundle in `import`.
//! Not here: keys of nodes, the log's writing side, and any opinion of a server about itself.

mod ask;
mod awaited;
mod boot;
mod caller;
mod chain_health;
mod clock;
mod cut;
mod database;
mod error;
mod facts;
mod files;
mod free;
mod http;
mod import;
mod index;
mod keep;
mod left;
mod members;
mod own_chain;
pub mod plain;
mod policy_file;
mod prices;
mod prove;
mod proxy;
mod quote;
mod refusals;
mod registered;
mod resolve;
mod send;
mod signer;
mod spend;
mod tls;
mod unknown;
mod wallet;
mod well_known;

pub use ask::{Again, Buyer, CHAT_PATH, Progress, Race, VerifiedResponse, ask, ask_if, frame_text};
pub use awaited::Awaited;
pub use caller::Caller;
pub use chain_health::ChainTrouble;
pub use cut::cut_notice;
pub use error::{ClientError, RefusedEvidence};
pub use facts::{Facts, chain_facts, facts_without_texts, verified_facts};
pub use files::{private_directory, read_text, text_of, write_new, write_private};
pub use free::{AccessKey, needs_wallet};
pub use import::{Exchange, ImportError, Saved, assemble, saved_frames};
pub use index::{BundleIndex, IndexedAnswer, Synced, WhenKept};
pub use keep::{Keep, KeepMode, KeptError, KeptFile, load_kept};
pub use left::Left;
pub use own_chain::{ChainIsWell, OwnChain};
pub use policy_file::{PolicyFile, template};
pub use prices::{is_in_force, price_list, price_now};
pub use prove::{Provable, public_answer};
pub use proxy::{Proxy, ProxyAnswer, ProxyConfig, ProxyEnd, ProxyEvent, ProxyKeys, ProxyRecord, ProxyToken, proxied_request};
pub use quote::{Quote, quote};
pub use registered::{Candidate, candidates};
pub use resolve::{VerifiedNode, api_url, inspect, log_url, resolve, verify_live};
pub use signer::{SignerError, SignerProgram};
pub use spend::{SpendBook, SpentBy};
pub use tls::Endpoint;
pub use wallet::Wallet;
pub use well_known::discover;
