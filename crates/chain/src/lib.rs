//! The only door to an EVM chain: contract bindings, reads, and the primitives of submitting, over alloy.
//!
//! Everybody else speaks in `candor-verify`'s words (`Address`, `Hash32`, `Amount`, `Receipt`, `Manifest`); alloy's types do not leave
//! this crate, but for [`ChainClient::from_provider`], where a caller injects a transport (the in-process development chain).
//!
//! ```text
//! ChainClient ── head, payer_state, balances, receipts, logs            client.rs, transfers.rs
//!             ── enclaves, evidence, statusAt, anchors, prove, policies  registry.rs, contracts.rs
//!             ── nonce, fees, estimate, broadcast                        submit.rs
//! Signer ─────── signs EIP-1559 transactions with a local key            submit.rs
//! Deployment ─── every contract in one fixed order (development)         deploy.rs
//! ```
//!
//! **Invariant:** no error and no `Debug` of this crate shows more of an endpoint than scheme, host and port: the rest is a key.
//!
//! Trust: an RPC endpoint may lie. What the host reads here costs the operator at most (ADR 0008); what a client reads here it reads
//! from an endpoint of its own choice. Nothing in this crate is a verdict.
//!
//! Not here: when and how often to submit, nonce management over time, replacement (`candor-x402`'s settlement machine, `candor-host`);
//! verifying evidence or receipts (`candor-verify`).

mod bindings;
mod client;
mod contracts;
mod convert;
mod deploy;
mod endpoint;
mod error;
mod keystore;
mod registry;
mod submit;
mod transfers;

pub use candor_verify::policy::EnclaveStatus;
pub use client::{ChainClient, DEFAULT_TIMEOUT, Head, NonceAt};
pub use contracts::{
    Anchor, ProveRequest, Proven, QUORUM_KIND, Verdict, anchor_calldata, create_policy_calldata, policy_id, propose_workload_calldata,
};
pub use deploy::{DeployConfig, DeployError, Deployment, log_anchor_at};
pub use error::{ChainError, Outage};
pub use keystore::{KeystoreError, keystore_address};
pub use registry::{EnclaveRecord, Registered, Renewal, Submission, renew_calldata};
pub use submit::{Fees, LogEntry, SignedTransaction, Signer, Transaction, TransactionReceipt};
pub use transfers::{LogPosition, PayerState, mint_calldata};
