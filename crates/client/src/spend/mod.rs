//! The book of payments that outlives the process.
//!
//! The book is durable *before* a payment is signed, and again with the payment itself before it is sent: a payment that left is never
//! forgotten, whatever stops next, and can be sent again. Payments that nobody can move any more are found on the chain and freed. What was
//! charged stays in the book for good, as the record of what was spent.
//!
//! The rules are x402's [`Ledger`], which is pure. A change reads what it needs of the book, asks the ledger, and writes what became other, in
//! one transaction, which is also what keeps two processes apart.
//!
//! | file | what |
//! |---|---|
//! | here | the book: what is asked of it, and the chain's word on old payments |
//! | `rows` | its table in the client's database (`database`) |
//! | `waiting` | who waits for which payment |

mod rows;
mod waiting;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use candor_chain::ChainClient;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::scheme::NonceQuestion;
use candor_x402::client::{Choice, Ledger, LedgerError, Purchase, Reservation, Resolution, Seller, SentPayment, Spend, SpendState};
use candor_x402::protocol::Eip155;
use rusqlite::Connection;

use crate::caller::{Budget, Spent};
use crate::clock;
use crate::database::{Database, Stop};
use crate::error::ClientError;
use crate::left::Left;

pub(crate) use self::rows::SCHEMA;
pub(crate) use self::waiting::InFlight;
use self::waiting::Waiting;

/// How long a start waits for the chain to say what became of old payments.
const SETTLE_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// The book of payments, in the client's database; beside it a directory of locks, one per payment that an ask is waiting for.
#[derive(Debug)]
pub struct SpendBook {
    database: Database,
    waiting: Waiting,
    refusals: PathBuf,
}

/// What counts against the budget of a key, of one asset in its smallest unit: what was charged, and what may still be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: of what, and how much in each time that a budget is of")]
pub struct SpentBy {
    /// Chain of the asset.
    pub network: Eip155,
    /// Token contract.
    pub asset: Address,
    /// In the last hour.
    pub in_hour: Amount,
    /// In the last 24 hours.
    pub in_day: Amount,
}

/// What it means that a payment is in the book and, after a change, in the ledger no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gone {
    /// It moved nothing, and never will.
    Unused,
    /// It counts as charged, and nothing can be had for it any more.
    Over,
}

/// A ledger, and what was read from the book to make it.
struct Loaded {
    ledger: Ledger,
    before: BTreeMap<Hash32, Spend>,
}

impl SpendBook {
    /// Opens the book in this database, which is made if there is none yet.
    ///
    /// # Errors
    /// `File` if it is there and unreadable: guessing it empty could pay twice.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let database = Database::open(path)?;
        drop(database.read(rows::open)?);
        Ok(Self { database, waiting: Waiting(path.with_extension("waiting")), refusals: path.with_file_name("refusals") })
    }

    /// What counts now against the budget of the key of this name, of each asset that was paid with in 24 hours.
    ///
    /// # Errors
    /// `File`.
    pub fn spent_by(&self, caller: &str) -> Result<Vec<SpentBy>, ClientError> {
        self.database.read(|book| {
            let now = clock::now().seconds();
            let mut spent = Vec::new();
            for (network, asset) in rows::assets_of(book, caller, now)? {
                let (in_hour, in_day) = rows::spent_by(book, caller, network, &asset, now)?;
                spent.push(SpentBy { network, asset, in_hour, in_day });
            }
            Ok(spent)
        })
    }

    /// The payment that was sent for this request, nobody waits for any more, and this boot may answer; it is the caller's now.
    ///
    /// # Errors
    /// `Held` if it was sent to another boot, which alone can answer it, or has passed its deadline; `File`.
    pub(crate) fn resume(&self, request: &Hash32, seller: &Seller) -> Result<Option<(SentPayment, InFlight)>, ClientError> {
        self.database.change(|book| {
            let mut loaded = Loaded::open(book)?;
            let in_flight = self.waiting.among(loaded.before.keys())?;
            let sent = loaded.ledger.resume(request, seller, &in_flight, clock::now().seconds()).map_err(refusal)?;
            loaded.store(book, Gone::Unused)?;
            let Some(sent) = sent else { return Ok(None) };
            let lock = self.waiting.hold(&sent.payment().authorization.nonce)?;
            // Nobody else can have taken it: the book is ours.
            Ok(lock.map(|lock| (sent, lock)))
        })
    }

    /// Reserves a payment, durably, and says that somebody waits for it: beside payments that were left unanswered, those of this process and those
    /// for which nobody waits any more, and within the budget of whoever asks, if `by` says so.
    ///
    /// # Errors
    /// `Spend` if the ledger says no; `File` if it cannot be written, and then nothing is reserved.
    pub(crate) fn reserve(&self, purchase: Purchase, choice: Choice, by: &By<'_>) -> Result<(Reservation, InFlight), ClientError> {
        self.database.change(|book| {
            let now = clock::now().seconds();
            let (network, asset) = (choice.requirements().network, choice.requirements().asset);
            let charged = rows::charged_in_day(book, network, &asset, now)?;
            let Loaded { ledger, before } = Loaded::open(book)?;
            let mut loaded = Loaded { ledger: ledger.with_charged(network, asset, charged), before };
            let (request, amount) = (purchase.request, choice.requirements().amount);
            let reserved = match by.left {
                None => loaded.ledger.reserve(purchase, choice, now),
                Some(left) => {
                    let in_flight = self.waiting.among(loaded.before.keys())?;
                    let abandoned = loaded.ledger.open().map(|spend| spend.nonce).filter(|nonce| !in_flight.contains(nonce));
                    let left = left.now().into_iter().chain(abandoned).collect();
                    loaded.ledger.reserve_beside(purchase, choice, &left, now)
                }
            };
            let reservation = reserved.map_err(refusal)?;
            let nonce = reservation.nonce();
            if rows::one(book, &nonce)?.is_some() {
                return Err(refusal(LedgerError::AlreadyPaid).into());
            }
            if let Some(budget) = by.budget {
                let same = |spend: &&Spend| (spend.request, spend.network, spend.asset) == (request, network, asset);
                let open = loaded.before.values().filter(same).map(|spend| spend.amount);
                let for_request = open.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap_or(Amount(u128::MAX)));
                let (in_hour, in_day) = rows::spent_by(book, &budget.caller, network, &asset, now)?;
                budget.check(amount, Spent { for_request, in_hour, in_day })?;
                rows::put_caller(book, &nonce, &budget.caller, (network, &asset), amount, now)?;
            }
            loaded.store(book, Gone::Over)?;
            let lock = self.waiting.hold(&nonce)?.ok_or_else(|| refusal(LedgerError::AlreadyPaid))?;
            let lock = match by.left {
                Some(left) => lock.beside(left.add(nonce)),
                None => lock,
            };
            Ok((reservation, lock))
        })
    }

    /// Records a payment that is about to be sent, durably and whole: it can be sent again, whatever stops next.
    ///
    /// # Errors
    /// `Spend`, `File`.
    pub(crate) fn sent(&self, sent: SentPayment) -> Result<(), ClientError> {
        self.database.change(|book| {
            let mut loaded = Loaded::one(book, &sent.payment().authorization.nonce)?;
            loaded.ledger.sent(sent).map_err(refusal)?;
            loaded.store(book, Gone::Unused)
        })
    }

    /// Records what became of a payment, durably.
    ///
    /// # Errors
    /// `Spend`, `File`.
    pub(crate) fn resolve(&self, nonce: &Hash32, resolution: Resolution) -> Result<(), ClientError> {
        self.database.change(|book| {
            let mut loaded = Loaded::one(book, nonce)?;
            loaded.ledger.resolve(nonce, resolution).map_err(refusal)?;
            loaded.store(book, Gone::Unused)
        })?;
        self.waiting.forget(nonce);
        Ok(())
    }

    /// Asks the chain what became of the payments whose deadline has passed. Best effort, within some seconds: what cannot be told, or
    /// not yet, stays as it is. Before the deadline nothing is asked: an unused authorization may still move. One that moved stays as it is
    /// while its answer may still be had for it.
    pub async fn settle_up(&self, chain: &ChainClient) {
        let work = async {
            let Ok(ended) = self.ended(chain.chain_id()) else { return };
            if ended.is_empty() {
                return;
            }
            let Ok(head) = chain.finalized().await else { return };
            for spend in ended {
                // Trust: our own endpoint. If it lies, the worst is that the day's budget counts too little, or that a request asked
                // for again after its payment's deadline is paid again; it cannot make a payment.
                let Some(question) = NonceQuestion::of(spend.scheme, &spend.asset, &spend.payer, &spend.nonce) else { continue };
                let resolution = match chain.is_nonce_used_at(&question, &head).await {
                    Ok(true) if spend.may_have_answer(clock::now().seconds()) => continue,
                    Ok(true) => Resolution::Charged { amount: None },
                    Ok(false) => Resolution::UnusedAt { block_time: head.timestamp },
                    // One that cannot be asked about (a token without code) must not hide those after it.
                    Err(_) => continue,
                };
                // A block from before the deadline shows nothing yet.
                drop(self.resolve(&spend.nonce, resolution));
            }
        };
        drop(tokio::time::timeout(SETTLE_UP_TIMEOUT, work).await);
    }

    /// The open payments on this chain whose deadline has passed, and that nobody waits for.
    fn ended(&self, chain_id: u64) -> Result<Vec<Spend>, ClientError> {
        // Alone, and nothing is written: see `Waiting::among`.
        self.database.change(|book| {
            let spends = rows::open(book)?;
            let (in_flight, now) = (self.waiting.among(spends.iter().map(|spend| &spend.nonce))?, clock::now().seconds());
            let is_ended = |spend: &Spend| spend.valid_before <= now && spend.network.0 == chain_id && !in_flight.contains(&spend.nonce);
            Ok(spends.into_iter().filter(is_ended).collect())
        })
    }

    /// The payments of this payer that Permit2 moves and whose time is not over. The chain knows which of them have moved.
    ///
    /// # Errors
    /// `File`.
    pub(crate) fn open_by_permit(&self, network: Eip155, asset: &Address, payer: &Address) -> Result<Vec<Spend>, ClientError> {
        let now = clock::now().seconds();
        let mut spends = self.database.read(|book| rows::ending_after(book, now))?;
        spends.retain(|spend| {
            let is_of = spend.network == network && spend.asset == *asset && spend.payer == *payer;
            is_of && spend.scheme.needs_allowance()
        });
        Ok(spends)
    }

    /// Ids of the payments of which nobody knows yet what became of them, or whose answer may still be had.
    ///
    /// # Errors
    /// `File`.
    pub fn unresolved(&self) -> Result<Vec<Hash32>, ClientError> {
        let spends = self.database.read(rows::open)?;
        let sent = spends.iter().filter_map(|spend| match &spend.state {
            SpendState::Unresolved(sent) | SpendState::GivenUp(sent) => Some(sent.payment_id()),
            SpendState::Reserved | SpendState::TurnedAway | SpendState::Charged => None,
        });
        Ok(sent.collect())
    }

    /// What was, or may have been, spent of an asset in the last 24 hours, in its smallest unit.
    ///
    /// # Errors
    /// `File`.
    pub(crate) fn day_total(&self, network: Eip155, asset: &Address) -> Result<Amount, ClientError> {
        self.database.read(|book| {
            let now = clock::now().seconds();
            let charged = rows::charged_in_day(book, network, asset, now)?;
            let ledger = Loaded::open(book)?.ledger.with_charged(network, *asset, charged);
            Ok(ledger.day_total(network, asset, now))
        })
    }

    /// Whether nobody knows yet what became of a payment. What cannot be read may be open.
    pub(crate) fn is_open(&self, nonce: &Hash32) -> bool {
        let is_open = |spend: &Spend| spend.state != SpendState::Charged;
        self.database.read(|book| rows::one(book, nonce)).map_or(true, |spend| spend.as_ref().is_some_and(is_open))
    }

    /// Where the refusals of its payments are kept, beside it.
    pub(crate) fn refusals(&self) -> &Path {
        &self.refusals
    }
}

impl Loaded {
    /// With every payment of which nobody knows yet what became of it.
    fn open(book: &Connection) -> Result<Self, Stop> {
        Ok(Self::new(rows::open(book)?))
    }

    /// With one payment.
    fn one(book: &Connection, nonce: &Hash32) -> Result<Self, Stop> {
        Ok(Self::new(rows::one(book, nonce)?))
    }

    fn new(spends: impl IntoIterator<Item = Spend>) -> Self {
        let before: BTreeMap<Hash32, Spend> = spends.into_iter().map(|spend| (spend.nonce, spend)).collect();
        Self { ledger: Ledger::new(before.values().cloned()), before }
    }

    /// Writes what became other.
    fn store(&self, book: &Connection, gone: Gone) -> Result<(), Stop> {
        let mut before = self.before.clone();
        for spend in self.ledger.spends() {
            if before.remove(&spend.nonce).as_ref() != Some(spend) {
                rows::put(book, spend)?;
            }
        }
        for (nonce, spend) in before {
            match gone {
                Gone::Unused => rows::delete(book, &nonce)?,
                Gone::Over => rows::put(book, &Spend { state: SpendState::Charged, ..spend })?,
            }
        }
        Ok(())
    }
}

/// For whom a payment is made, and beside which.
#[derive(Debug, Default)]
pub(crate) struct By<'a> {
    /// Payments that were left unanswered.
    pub(crate) left: Option<&'a Left>,
    /// What whoever asks may spend.
    pub(crate) budget: Option<&'a Budget>,
}

/// What the ledger refuses, by what to do next.
fn refusal(error: LedgerError) -> ClientError {
    match error {
        LedgerError::Unresolved { until } | LedgerError::AskTheChain { valid_before: until } => {
            ClientError::Held { until, what: error.to_string() }
        }
        error => ClientError::Spend(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
