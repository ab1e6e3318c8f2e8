//! Tests of the program, started as users start it.
//!
//! One program: apart, each file would be compiled and linked with everything that all of them use. `cargo test --test it FILE::` runs a file's.

mod asking;
mod bad_boots;
mod bad_payments;
mod bad_requests;
mod bundles;
mod chain_trouble;
mod commands;
mod completions;
mod conformance;
mod demo;
mod faults;
mod free;
mod funds;
mod guarded;
mod kept;
mod lying_chain;
mod metered;
mod misuse;
mod observed;
mod one_payment;
mod operator;
mod overlap;
mod page;
mod plaintext;
mod policies;
mod prices;
mod proxy;
mod replay;
mod rpc_secret;
mod state;
mod support;
mod terminal;
mod test_network;
mod trust;
mod version;
mod wallet;
