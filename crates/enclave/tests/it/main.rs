//! Tests of the enclave over real sockets, with a host that the test plays.
//!
//! One program: apart, each file would be compiled and linked with everything that all of them use. `cargo test --test it FILE::` runs a file's.

mod browsers;
mod caps;
mod challenges;
mod connections;
mod cut;
mod descriptors;
mod free;
mod guard;
mod hand_over;
mod payments;
mod places;
mod prices;
mod quotes;
mod support;
mod upto;
