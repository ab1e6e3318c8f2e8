//! The only door to an EVM chain: contract bindings, reads, and the primitives of submitting, over alloy.
//!
//! Everybody else speaks in `candor-verify`'s words (`Address`, `Hash32`, `Amount`, `Receipt`, `Manifest`); alloy's types do not leave
//! this crate, but for [`ChainClient::from_provider`], where a caller injects a transport (the in-process development chain).
//!
//! ```text
//! Rpc ────────── the endpoints of one chain, as one               rpc.rs, pool.rs, alike.rs, health.rs
//! ChainClient ── head, payer_state, balances, receipts, logs       client.rs, transfers.rs
//!             ── keys and their evidence, anchors, prove, policies  registry.rs, anchors.rs, proofs.rs
//!             ── nonce, fees, estimate, broadcast                   submit.rs
//! Verdict ────── what attestors sign about evidence                 verdict.rs
//! Signer ─────── signs EIP-1559 transactions with a local key       submit.rs
//! Deployment ─── every contract in one fixed order (development)    deploy.rs
//! StandIn ────── contracts of others that a development chain has    stand_ins.rs
//! ```
//!
//! **Invariant:** no error and no `Debug` of this crate shows more of an endpoint than scheme, host and port: the rest is a key.
//!
//! Trust: an RPC endpoint may lie. What the host reads here costs the operator at most (ADR 0008); what a client reads here it reads
//! from an endpoint of its own choice. Nothing in this crate is a verdict.
//!
//! Not here: when and how often to submit, nonce management over time, replacement (`candor-x402`'s settlement machine, `candor-host`);
//! verifying evidence or receipts (`candor-verify`).

mod alike;
mod anchors;
mod bindings;
mod client;
mod convert;
mod deploy;
mod endpoint;
mod error;
mod health;
mod keystore;
mod pool;
mod proofs;
mod ranges;
mod registry;
mod rpc;
mod stand_ins;
mod submit;
mod transfers;
mod verdict;

pub use anchors::{Anchor, anchor_calldata, observe_calldata};
pub use client::{ChainClient, DEFAULT_TIMEOUT, Finality, Head, NonceAt};
pub use deploy::{DETERMINISTIC_DEPLOYER, DeployConfig, DeployError, Deployment, EXACT_PROXY, MULTICALL3, Piece};
pub use error::{ChainError, Outage};
pub use health::{EndpointHealth, LATENCY_BOUNDS_MS, Latency, LatencyCounts, RpcFailure};
pub use keystore::{KeystoreError, keystore_address};
pub use proofs::{HoldingTree, NewPolicy, Proven, ReceiptProof, open_calldata};
pub use registry::{
    Boot, KeyStatus, Record, Registered, RegistrationList, Renewal, STALE_SECONDS, Standing, Submission, link_calldata, renew_calldata,
    retire_calldata, revoke_calldata,
};
pub use rpc::{ENDPOINTS_MAX, Rpc, RpcEndpoint};
pub use stand_ins::{StandIn, stand_ins};
pub use submit::{Fees, LogEntry, SignedTransaction, Signer, Transaction, TransactionReceipt};
pub use transfers::{LogPosition, PayerState, TokenWords, mint_calldata, sweep_calldata};
pub use verdict::{QUORUM_KIND, Verdict};
