//! The paying side: choosing what to pay, being allowed to, and signing it once.
//!
//! Three steps, each a value that the next asks for: [`choose()`] reads a 402 and finds terms that policy and offer agree on;
//! [`Ledger::reserve`] makes sure that this request is paid at most once and that the day's budget holds; [`build_payment`] signs.
//! Not here: whether the enclave is attested (`candor-verify`), HTTP, keys, files.

mod choose;
mod ledger;
mod pay;
mod policy;

pub use choose::{Choice, ChooseError, SkipReason, choose};
pub use ledger::{Ledger, LedgerError, Reservation, Resolution, Spend, SpendState};
pub use pay::{PayError, build_payment};
pub use policy::{AssetLimit, PolicyError, SpendPolicy};
