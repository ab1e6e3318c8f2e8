//! The measured half of a node: keys, evidence, TLS, API, quotes, receipts.
//!
//! The enclave listens on one socket; the host connects (spec/link.md). Client connections carry TLS that ends here, so the host sees
//! ciphertext; one control connection carries everything the host is asked to do. Nothing is stored here: what must outlive this
//! process is signed and handed to the host, which is trusted for availability only.
//!
//! | room | what |
//! |---|---|
//! | `boot` | terms and models in, keys, manifest and evidence out |
//! | `serving` | everything one boot serves with |
//! | `server`, `stall`, `session` | connections, their time limits, TLS, what one connection gets for nothing |
//! | `places`, `seat` | who may stay connected |
//! | `access`, `shares`, `queue` | who gets an answer for nothing, how much of that at once, and whose turn it is |
//! | `http`, `views` | routes; what can be read without paying |
//! | `reply`, `refusal`, `body` | how answers and errors are said in HTTP |
//! | `caps` | what one payer may have, and who is not served |
//! | `guard` | who judges a conversation before a model answers it |
//! | `prices` | what a model costs now |
//! | `quote`, `pay` | signed offers; payments checked and claimed |
//! | `source`, `speed` | where an answer comes from; how fast |
//! | `answer`, `chunks`, `receipt` | have it made, stream it, log it; what its receipt says |
//! | `settle` | what became of a payment |
//! | `kept`, `handout` | answers sealed for who echoed a salt, and given to who comes for them |
//! | `ledger` | receipts into the log, group by group, then settlements out |
//! | `control` | the way to the host |
//! | `events`, `metrics` | what the operator is told: events of a fixed list, sums over many requests |
//!
//! **Invariant:** no response byte before the claim; no terminal frame before the receipt is under a signed, stored checkpoint; a payment
//! signature leaves only as calldata beside that checkpoint (ARCHITECTURE.md, invariants; ADR 0005).

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

mod access;
mod answer;
mod attester;
mod body;
mod boot;
mod caps;
mod chunks;
mod clock;
mod control;
mod events;
mod guard;
mod handout;
mod http;
mod kept;
mod keys;
mod ledger;
mod metrics;
mod pay;
mod places;
mod prices;
mod queue;
mod quote;
mod receipt;
mod refusal;
mod reply;
mod seat;
mod server;
mod serving;
mod session;
mod settle;
mod shares;
mod source;
mod speed;
mod stall;
mod views;

use std::time::Duration;

pub use attester::{Attester, AttesterError};
pub use boot::not_done_here;
pub use guard::check_guard;
pub use server::run;
pub use speed::Speed;

/// What an operator may set without changing what is proven: limits only.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Client connections at once. For one more, the one that is longest without a payment is closed; a quarter is kept for addresses with no
    /// other connection.
    pub max_connections: usize,
    /// A connection is closed when nothing was paid on it for this long.
    pub unpaid_max: Duration,
    /// Requests that a connection may make until it pays for one.
    pub unpaid_requests_max: u32,
    /// Answers generated at once; more wait.
    pub max_running: usize,
    /// Requests at once that nobody pays for, waiting or being answered. More are told to come again.
    pub max_free: usize,
    /// Of them, requests of one key.
    pub max_free_per_key: usize,
    /// Of them, requests of one address.
    pub max_free_per_address: usize,
    /// How long one of them waits for its turn, which comes when nobody waits who pays.
    pub free_wait_max: Duration,
    /// Receipts in one group at most.
    pub max_group: usize,
    /// A group that the host has not confirmed in this time ends the log (spec/log.md §7).
    pub confirm_max: Duration,
    /// Claimed payments of one payer in one asset whose transfer was not seen: the operator's credit to a stranger.
    pub max_unsettled_per_payer: usize,
    /// Seconds the engine spends on one answer at most, and how long a payment must at least stay valid beside the settle margin. What it
    /// cuts is owed like what the payment's own deadline cuts, so it is published with the models.
    pub generation_cap_s: u64,
    /// How fast answers are made: no more tokens are offered than the cap has time for. Measured at boot, for each model, if not said.
    pub speed: Option<Speed>,
    /// A client that does not finish its TLS handshake in this time is cut off.
    pub handshake_max: Duration,
    /// A client that does not finish its request head in this time is cut off, also the next one on a connection that is kept.
    pub idle_max: Duration,
    /// Whether this process prints nothing of a panic, and tells its operator the line. For a process that is an enclave and nothing else.
    pub tells_panics: bool,
    /// A client that takes nothing of what is sent to it for this long is cut off; a paid stream then ends as aborted.
    pub stall_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            max_connections: 1024,
            // Longer than a person needs to say yes to a price.
            unpaid_max: Duration::from_secs(60),
            // More than the 64 quotes and 8 challenges of one connection.
            unpaid_requests_max: 100,
            max_running: cores,
            // A small part of the connections, so that they never fill the house; their prompts are in memory while they wait.
            max_free: 64,
            // An agent with its tools; and still there are eight such.
            max_free_per_key: 8,
            // A person with two programs.
            max_free_per_address: 4,
            free_wait_max: Duration::from_secs(30),
            max_group: 64,
            // Outlives a host's restart, not its loss; shorter than what a payment must stay valid after its answer.
            confirm_max: Duration::from_secs(90),
            max_unsettled_per_payer: 8,
            generation_cap_s: 60,
            speed: None,
            handshake_max: Duration::from_secs(10),
            idle_max: Duration::from_secs(15),
            tells_panics: false,
            // Longer than a phone needs to find its network again, shorter than a payment stays open.
            stall_max: Duration::from_secs(30),
        }
    }
}
