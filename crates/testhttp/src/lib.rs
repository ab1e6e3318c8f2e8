//! For tests only: an HTTP client that believes nothing and can misbehave, servers that say what a test wants, payments that are right or
//! wrong in one place.
//!
//! | room | what |
//! |---|---|
//! | `client` | [`Http`], [`tls`] and what came back: a stock client, a rude one, one that breaks off |
//! | `payment` | [`Offered`] and [`Draft`]: from a 402 to a `PAYMENT-SIGNATURE` |
//! | `server` | [`serve`]: a dishonest node or chain |
//!
//! Nothing of the product depends on this crate. Not here: keys, terms and receipts (`testkit`).

mod client;
mod payment;
mod server;

use std::time::Duration;

pub use client::{CHAT, Frames, Http, Reply, chat, chat_bytes, first_frames, get, post, rest, rpc, tls, tls_over};
pub use payment::{Draft, Offered};
pub use server::{own_key, serve};

/// How long anything may take before a test gives up. Generous: it says "never", not "slow".
pub const PATIENCE: Duration = Duration::from_secs(90);
