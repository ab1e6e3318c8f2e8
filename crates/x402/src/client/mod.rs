//! The paying side: choosing what to pay, being allowed to, and signing it once.
//!
//! Steps, each a value that the next asks for: [`Ledger::resume`] finds the payment that this request already has; [`choose()`] reads a 402
//! and finds requirements that policy and offer agree on; [`Ledger::reserve`] makes sure that the day's budget holds, and says what is
//! to be signed; [`build_payment`] puts signature and offer together.
//! Not here: whether the enclave is attested (`candor-verify`), HTTP, keys, files.

mod choose;
mod ledger;
mod pay;
mod policy;
mod statement;

pub use choose::{Choice, ChooseError, SkipReason, choose};
pub use ledger::{DAY_SECONDS, Ledger, LedgerError, Purchase, Reservation, Resolution, Seller, Spend, SpendState};
pub use pay::{PayError, SentPayment, build_payment};
pub use policy::{AssetLimit, PolicyError, SpendPolicy};
pub use statement::{StatementError, check_statement};
