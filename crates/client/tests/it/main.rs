//! Tests of the client against nodes and chains that lie.
//!
//! One program: apart, each file would be compiled and linked with everything that all of them use. `cargo test --test it FILE::` runs a file's.

mod chain_trouble;
mod full_disk;
mod kept;
mod lying_rpc;
mod proxy;
mod refused;
mod said_by_the_node;
mod signing;
mod support;
mod unresolved;
