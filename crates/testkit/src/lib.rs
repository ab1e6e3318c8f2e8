//! For tests only: a forge that signs honest and lying bundles, and the generator of `vectors/`.
//!
//! [`forge::Forge`] holds every key of the story (operator, enclave, payer, hypervisor) and builds a bundle stage by stage; a [`forge::Lie`]
//! changes one thing at one stage, and every later stage is signed honestly over the lie. So each vector has one deviation. [`honest`] has
//! the parts that the forge and the tests of other crates begin with. [`cases`] lists the lies with the check that must refuse each;
//! [`flat`] makes the deterministic vectors that other languages read; [`json`] writes both. The program `vectors` puts them on disk.
//! [`proofs`] are made of the bundles that are there. Nothing of the product depends on this crate. Not here: HTTP (`testhttp`), so that the verifier's tests stay light.

use std::sync::atomic::{AtomicU64, Ordering};

pub mod cases;
pub mod flat;
pub mod forge;
pub mod honest;
pub mod json;
mod lies;
pub mod live;
pub mod malformed;
mod metered;
pub mod proofs;

/// A hypervisor with a fresh SIMULATED root that is kept nowhere.
///
/// # Panics
/// Without a temporary directory that can be written.
#[must_use]
pub fn fresh_hypervisor(name: &str) -> candor_devtee::Hypervisor {
    // Tests of one program run at the same time, and may call theirs the same.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(format!("candor-testkit-{process}-{number}-{name}"));
    let hypervisor = candor_devtee::Hypervisor::open_or_create(&dir).expect("a temporary root");
    std::fs::remove_dir_all(&dir).expect("the directory was just made");
    hypervisor
}
