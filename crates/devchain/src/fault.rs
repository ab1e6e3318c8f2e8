//! Failures on demand: what a caller sees when its RPC provider is down, slow, behind or lying.
//!
//! A fault lies between the chain and its JSON-RPC clients, in process and over HTTP alike. The Rust methods of
//! [`DevChain`](crate::DevChain) are never affected, so a test can look at the truth while the client is being lied to.

use serde_json::Value;

/// What goes wrong for JSON-RPC clients.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// No answer: HTTP connections close, the in-process transport fails.
    Down,
    /// Every answer comes late.
    Slow {
        /// By how many milliseconds.
        delay_ms: u64,
    },
    /// Reads see the chain as it was some blocks ago, as behind a load balancer with a node that lags. Transactions are still
    /// executed on the real head.
    Lag {
        /// How many blocks behind.
        blocks: u64,
    },
    /// Transactions are checked and acknowledged with their hash, and never mined.
    DropTransactions,
    /// Transactions are mined, and the connection fails before the caller learns so: "failed" means "unknown".
    LoseSendReply,
    /// One method gets this answer whatever is true.
    Answer {
        /// The method.
        method: String,
        /// Its `result`.
        result: Value,
    },
    /// One method gets this error.
    Refuse {
        /// The method.
        method: String,
        /// JSON-RPC error code.
        code: i64,
        /// Error message.
        message: String,
    },
    /// `eth_getLogs` over more blocks than this is refused, as by most providers.
    NarrowLogs {
        /// How many blocks at once.
        blocks: u64,
    },
}
