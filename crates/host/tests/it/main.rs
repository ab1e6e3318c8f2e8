//! Tests of the host against a real chain and a disk that fails.
//!
//! One program: apart, each file would be compiled and linked with everything that all of them use. `cargo test --test it FILE::` runs a file's.

mod answers;
mod crash;
mod finality;
mod node;
mod observed;
mod overlap;
mod renewal;
mod reset;
mod store;
mod support;
