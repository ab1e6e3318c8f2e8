//! No code. Only the dependencies of this crate matter, and only `cli` depends on it.
//!
//! The libraries of tests and benches turn on features in crates that the product is built on too. Cargo compiles a crate once per set of
//! features, with everything above it, so `cargo demo` and `cargo test` would each build alloy, revm and hyper. This crate turns the same
//! features on for the program `candor`, and the second build of the day is a no-op. `cargo xtask tidy` compares the two sets.
//!
//! Not here: features of what macros and build scripts are built with. A dependency cannot say those, so a minute and a half of the
//! five remains.
