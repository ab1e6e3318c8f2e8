//! # An EVM chain inside the program
//!
//! The embedded development chain: revm under Osaka rules, in memory, one block per transaction unless asked otherwise, behind as
//! much JSON-RPC as alloy, viem and cast use. It is what `candor demo` and most tests run on, so that the first command needs no service
//! (ARCHITECTURE.md). anvil is the second, independent chain of the test suite.
//!
//! Two doors lead to the same chain: [`provider`] is an alloy provider with no socket in between, [`serve`] is HTTP on the
//! loopback interface. Both go through [`SharedChain::answer`], so a [`Fault`] set by a test hits both.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use alloy::providers::Provider;
//! use candor_devchain::{Config, DevChain, SharedChain, provider};
//!
//! let chain = SharedChain::new(DevChain::new(Config::default().with_dev_accounts())?);
//! assert_eq!(provider(&chain).get_chain_id().await?, 31337);
//! # Ok(())
//! # }
//! ```
//!
//! **It must be impossible to mistake it for a real chain**: chain ids of main networks are refused by name, it binds to
//! loopback only, refuses web pages that are not local, and its accounts are the ones whose keys everybody has
//! ([`dev_accounts`]).
//!
//! By default each transaction is a block at once, a nonce gap is an error, the base fee is 1 gwei for ever, and `safe` and `finalized`
//! are the head: whatever a program gets wrong about waiting is not seen. [`Config`] makes it behave as a real chain does there:
//! [`Mining`] (blocks that come later, and a pool), [`BaseFee`], [`FinalityLag`]; [`DevChain::reorg`] takes blocks back.
//!
//! ```
//! # use candor_devchain::{Config, DevChain, Fate, FinalityLag, Mining};
//! let finality = FinalityLag { safe_lag: 1, finalized_lag: 3 };
//! let mut chain = DevChain::new(Config { mining: Mining::Manual, finality, ..Config::default() })?;
//! let first = chain.mine()?; // whatever waits in the pool is in it
//! let other = chain.reorg(1, Fate::Pooled)?; // and waits again
//! assert_ne!(first.hash, other.hash);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! How it differs from a real node:
//! - Without slow blocks the head may be old. `eth_call` and `eth_estimateGas` at `latest` therefore see the head's number but the
//!   *clock's* time. As on real nodes `BLOCKHASH(head)` is zero there; use `pending` (alloy's provider does so by itself, viem and
//!   geth's default do not), or name an earlier block.
//! - `pending` is the head's state, one number later, without what waits in the pool: as on OP chains by default. Only
//!   `eth_getTransactionCount` counts the pool. A full pool evicts nobody, and asks for no least tip.
//! - The state root is zero. There are no blobs, filters, subscriptions, traces or state overrides, no EIP-2935 and EIP-4788
//!   system contracts.
//! - Nothing is persisted: when the process ends, the chain is gone.

mod chain;
mod clock;
mod config;
pub mod dev_accounts;
mod error;
mod execute;
mod fault;
mod http;
mod ledger;
mod pool;
mod rpc;
mod shared;
mod state;
mod transport;

pub use chain::{BlockInfo, DevChain, Fate, MAX_BASE_FEE, MAX_BLOCKS, MAX_REORG_DEPTH, MAX_SNAPSHOTS, SnapshotId};
pub use clock::MAX_TIMESTAMP;
pub use config::{
    BaseFee, Clock, Config, ConfigError, DEFAULT_CHAIN_ID, FinalityLag, GenesisAccount, MIN_BLOCK_INTERVAL, Mining, TESTNETS,
    check_chain_id,
};
pub use error::ChainError;
pub use execute::{CALL_GAS_CAP, TRANSACTION_GAS_CAP};
pub use fault::Fault;
pub use http::{MAX_CONNECTIONS, MAX_REQUEST_BYTES, ServeError, Server, serve};
pub use ledger::{BASE_FEE, BLOCK_GAS_LIMIT};
pub use pool::{MAX_POOL_SLOTS, MAX_QUEUED_PER_SENDER, PoolStatus};
pub use rpc::{MAX_LOGS, MAX_MINED_AT_ONCE};
pub use shared::{MAX_BATCH, MAX_RESPONSE_BYTES, Reply, SharedChain};
pub use transport::{InProcess, client, provider, provider_with_wallet};
