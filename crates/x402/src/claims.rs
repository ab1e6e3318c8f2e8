//! The claim set: one payment, one execution.
//!
//! Between "this payment is good" and "the engine runs" stands one act: claiming it. The set lives in the enclave's RAM and forgets a
//! payment once it could not be accepted again (`validBefore` + s); the boot epoch covers restarts (ADR 0005). Who holds a
//! [`Claim`] may start; who holds an [`Execution`] may run the engine; neither can be made or copied any other way.
//!
//! ```text
//! VerifiedPayment ─ claim ─▶ Claim ─ start ─▶ Execution ─ finish ─▶ executed, until validBefore + s
//!                              └─ release ─▶ as if never claimed
//! ```
//!
//! It also bounds the operator's risk: how many answers one payer can have run before the chain has shown the money, and that the payer has
//! the money for all of them together: one balance does not pay for eight answers at once, and neither does one allowance. A payment counts as *open* from its claim until
//! [`ClaimSet::settled`] (or forgiveness, or expiry): a payer who emptied the account stays capped.
//! Not here: the answers kept for a retry (`enclave`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::{MAX_SKEW_SECONDS, SETTLE_MARGIN_SECONDS};
use candor_verify::scheme::Scheme;
use candor_verify::time::UnixSeconds;

use crate::poor::{POOR_SECONDS, PoorPayers};
use crate::scheme::{VerifiedPayment, balance_code, end_code};

/// Bounds of a claim set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value is valid")]
pub struct ClaimLimits {
    /// Payments remembered at once.
    pub max_claims: usize,
    /// Open payments of one payer in one asset. By number, not by amount: what is at risk is the compute of so many answers, and an amount
    /// that suits one asset suits no other.
    pub max_open_per_payer: u32,
}

/// Why a payment cannot be claimed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClaimError {
    /// Claimed and not finished: the same payment was sent twice at once.
    InFlight,
    /// Executed before. A kept answer may be given again; the engine does not run again.
    AlreadyExecuted {
        /// Unix seconds until which it is remembered.
        until: UnixSeconds,
    },
    /// It ended between verification and claim. Unix seconds.
    Expired {
        /// How it would have paid.
        scheme: Scheme,
        /// End of the payment.
        valid_before: UnixSeconds,
        /// Now.
        got: UnixSeconds,
    },
    /// The set is full: try later.
    Full {
        /// Limit.
        limit: usize,
    },
    /// The payer has too many unsettled payments.
    PayerOpen {
        /// Limit.
        limit: u32,
        /// Open now.
        got: u32,
    },
    /// The payer's balance does not cover this payment and those of the payer that are still open.
    InsufficientBalance {
        /// How it would have paid.
        scheme: Scheme,
        /// What they come to.
        needed: Amount,
        /// What the payer has.
        got: Amount,
    },
    /// Permit2 may not move so much of the payer's: this payment and the open ones that it moves too.
    AllowanceRequired {
        /// What they come to.
        needed: Amount,
        /// What Permit2 may move.
        got: Amount,
    },
    /// An open payment of this payer sets what Permit2 may move, or this one would: which of the two comes first on the chain, nobody knows.
    AllowanceChanges,
    /// The payer's next nonce at the token is another, so the token would not take the permit.
    AllowanceNonce {
        /// The token's; `None` if it takes no permits.
        expected: Option<u64>,
        /// What was signed.
        got: u64,
    },
}

impl ClaimError {
    /// The string for clients: that of x402 where it has one; ours start with `candor_`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InFlight => "candor_payment_in_flight",
            Self::AlreadyExecuted { .. } => "candor_payment_already_executed",
            Self::Expired { scheme, .. } => end_code(*scheme),
            Self::Full { .. } => "candor_too_many_payments",
            Self::PayerOpen { .. } => "candor_payer_has_unsettled_payments",
            Self::AllowanceChanges => "candor_payer_has_unsettled_payments",
            Self::InsufficientBalance { scheme, .. } => balance_code(*scheme),
            Self::AllowanceRequired { .. } | Self::AllowanceNonce { .. } => "permit2_allowance_required",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::InFlight | Self::AlreadyExecuted { .. } => 409,
            Self::Expired { .. } | Self::InsufficientBalance { .. } => 402,
            Self::Full { .. } => 503,
            Self::PayerOpen { .. } | Self::AllowanceChanges => 429,
            // x402: the status by which its clients know that an approval is missing.
            Self::AllowanceRequired { .. } | Self::AllowanceNonce { .. } => 412,
        }
    }

    /// HTTP `Retry-After` in seconds, if the same payment may do later.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::InsufficientBalance { .. } => Some(POOR_SECONDS),
            Self::InFlight | Self::Full { .. } | Self::PayerOpen { .. } | Self::AllowanceChanges => Some(1),
            Self::AlreadyExecuted { .. } | Self::Expired { .. } | Self::AllowanceRequired { .. } | Self::AllowanceNonce { .. } => None,
        }
    }
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight => f.write_str("this payment is being executed"),
            Self::AlreadyExecuted { until } => write!(f, "this payment was executed; it is remembered until {until}"),
            Self::Expired { valid_before, got, .. } => write!(f, "the payment ended at {valid_before}, it is {got}"),
            Self::Full { limit } => write!(f, "{limit} payments are open; try later"),
            Self::PayerOpen { limit, got } => write!(f, "the payer has {got} unsettled payments; at most {limit} are allowed"),
            Self::InsufficientBalance { needed, got, .. } => {
                write!(f, "the payer has {got} units, this payment and the payer's unsettled ones come to {needed}")
            }
            Self::AllowanceRequired { needed, got } => {
                write!(f, "Permit2 may move {got} units of the payer's, this payment and the unsettled ones by Permit2 come to {needed}")
            }
            Self::AllowanceChanges => f.write_str(
                "an unsettled payment of the payer, or this one, sets what Permit2 may move; one at a time, or approve Permit2 once",
            ),
            Self::AllowanceNonce { expected: Some(expected), got } => {
                write!(f, "the payer's next nonce at the token is {expected}, the EIP-2612 permit has {got}")
            }
            Self::AllowanceNonce { expected: None, .. } => f.write_str("the token takes no EIP-2612 permits: approve Permit2 there once"),
        }
    }
}

impl std::error::Error for ClaimError {}

/// A question for what a payer has, that may go to the chain: [`ClaimSet::ask_balance`]. It knows what was settled before it was asked.
#[derive(Debug)]
#[must_use = "ask the chain, and say what it answered"]
pub struct BalanceQuestion {
    settled_before: Sums,
}

impl BalanceQuestion {
    /// What the chain answered.
    #[must_use]
    pub fn answered(self, funds: Funds) -> Balance {
        Balance::new(funds, self.settled_before)
    }
}

/// What a payer has of one asset.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a chain is asked")]
pub struct Funds {
    /// Token balance.
    pub balance: Amount,
    /// How much of it Permit2 may move.
    pub allowance: Amount,
    /// The payer's next nonce for EIP-2612 permits; `None` if the token takes none.
    pub permit_nonce: Option<u64>,
}

/// A payer's funds in the payment's asset.
///
/// What was seen to be settled after the question left may or may not be gone from them, so it is reserved as if it were still open.
/// Trust: an endpoint whose answer is older than a settlement that it showed before is believed; that costs the operator an answer.
#[derive(Clone, Copy, Debug)]
pub struct Balance {
    funds: Funds,
    settled_before: Sums,
}

impl Balance {
    pub(crate) fn new(funds: Funds, settled_before: Sums) -> Self {
        Self { funds, settled_before }
    }
}

/// What payments come to: all of them, and those that Permit2 moves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sums {
    all: Amount,
    by_permit: Amount,
}

impl Sums {
    fn of(value: Amount, allowance: Allowance) -> Self {
        Self { all: value, by_permit: if allowance == Allowance::NotNeeded { Amount::ZERO } else { value } }
    }

    fn plus(self, other: Self) -> Self {
        Self { all: sum(self.all, other.all), by_permit: sum(self.by_permit, other.by_permit) }
    }

    fn minus(self, other: Self) -> Self {
        let less = |one: Amount, other: Amount| Amount(one.0.saturating_sub(other.0));
        Self { all: less(self.all, other.all), by_permit: less(self.by_permit, other.by_permit) }
    }
}

/// What a payment does to the allowance of Permit2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Allowance {
    /// The token moves it.
    NotNeeded,
    /// It takes from what stands.
    Taken,
    /// It sets it, to its own amount, before it takes from it.
    Set,
}

impl Allowance {
    fn of(payment: &VerifiedPayment) -> Self {
        match (payment.scheme().needs_allowance(), payment.token_permit()) {
            (false, _) => Self::NotNeeded,
            (true, None) => Self::Taken,
            (true, Some(_)) => Self::Set,
        }
    }
}

/// The right to start one execution. Dropped without [`ClaimSet::start`] or [`ClaimSet::release`] it stays claimed until it expires:
/// that costs the payer a wait and nobody money.
#[derive(Debug)]
#[must_use = "start it or release it; dropped, the payment stays claimed until it expires"]
pub struct Claim {
    payment_id: Hash32,
    valid_before: UnixSeconds,
}

/// The right to run the engine once, for one payment. The engine asks for it by reference.
#[derive(Debug)]
#[must_use = "finish it; dropped, the payment stays in flight until it expires"]
pub struct Execution {
    payment_id: Hash32,
    valid_before: UnixSeconds,
}

/// How an execution ended, as far as the payer's cap is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: callers must decide")]
pub enum Ending {
    /// The receipt is logged, or its calldata may have left: the charge is owed, and the payment stays open until it is settled.
    Owed,
    /// Work was done by the payer's choice and nothing went out: nothing will be charged. The payment stays open until it expires, or
    /// asking for more than its time allows would buy free work without end.
    Wasted,
    /// Nothing went out: nothing will be charged. The payment is still not executed again.
    Forgiven,
}

impl Claim {
    /// Identity of the payment.
    #[must_use]
    pub fn payment_id(&self) -> Hash32 {
        self.payment_id
    }
}

impl Execution {
    /// Identity of the payment.
    #[must_use]
    pub fn payment_id(&self) -> Hash32 {
        self.payment_id
    }

    /// Unix seconds at which the engine must have stopped, so that settlement can still land.
    #[must_use]
    pub fn stop_at(&self) -> UnixSeconds {
        self.valid_before.saturating_sub(SETTLE_MARGIN_SECONDS)
    }
}

/// The payments of this boot that may still be presented. Single-threaded: the owner puts one mutex around it, so that of fifty equal
/// claims one wins, and of two payments on one balance.
#[derive(Debug)]
pub struct ClaimSet {
    limits: ClaimLimits,
    entries: BTreeMap<Hash32, Entry>,
    // Invariant: one element per entry.
    by_expiry: BTreeSet<(UnixSeconds, Hash32)>,
    // Invariant: one element per account that has an entry.
    accounts: BTreeMap<Account, Totals>,
    poor: PoorPayers,
    latest: UnixSeconds,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Account {
    pub(crate) payer: Address,
    pub(crate) chain_id: u64,
    pub(crate) asset: Address,
}

impl Account {
    fn of(payment: &VerifiedPayment) -> Self {
        Self { payer: payment.authorization().from, chain_id: payment.chain_id(), asset: payment.asset() }
    }
}

/// The entries of one account. Sums stop at 2^128 − 1, which is also what a larger balance is given as.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    entries: usize,
    open: u32,
    /// Open ones that set what Permit2 may move, and open ones that it moves.
    setting: u32,
    by_permit: u32,
    open_sum: Sums,
    /// Only grows while the account has entries.
    settled_sum: Sums,
}

#[derive(Debug)]
struct Entry {
    state: State,
    until: UnixSeconds,
    account: Account,
    value: Amount,
    allowance: Allowance,
    open: bool,
}

#[derive(Debug, Eq, PartialEq)]
enum State {
    InFlight,
    Executed,
}

impl ClaimSet {
    /// An empty set. An enclave starts with one at every boot; the boot epoch makes that sound.
    #[must_use]
    pub fn new(limits: ClaimLimits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            accounts: BTreeMap::new(),
            poor: PoorPayers::default(),
            latest: UnixSeconds::default(),
        }
    }

    /// Whether the payment could be claimed now, if its payer has the money. Takes nothing; only what is over is forgotten first, or a set
    /// that was once full would refuse for ever.
    ///
    /// # Errors
    /// What [`Self::claim`] would say.
    pub fn check(&mut self, payment: &VerifiedPayment, now: UnixSeconds) -> Result<(), ClaimError> {
        self.expire(now);
        self.check_taken(&payment.payment_id())?;
        let valid_before = payment.authorization().valid_before;
        // By the latest clock ever seen: a clock that steps back must not make room for what was already forgotten.
        if valid_before <= self.latest {
            return Err(ClaimError::Expired { scheme: payment.scheme(), valid_before, got: self.latest });
        }
        if self.limits.max_claims <= self.entries.len() {
            return Err(ClaimError::Full { limit: self.limits.max_claims });
        }
        let (limit, got) = (self.limits.max_open_per_payer, self.totals(&Account::of(payment)).open);
        if limit <= got {
            return Err(ClaimError::PayerOpen { limit, got });
        }
        Ok(())
    }

    /// Whether this payment was not taken here before, whatever else may be said of it.
    ///
    /// # Errors
    /// `InFlight`, `AlreadyExecuted`.
    pub fn check_taken(&self, payment_id: &Hash32) -> Result<(), ClaimError> {
        let Some(entry) = self.entries.get(payment_id) else { return Ok(()) };
        Err(match entry.state {
            State::InFlight => ClaimError::InFlight,
            State::Executed => ClaimError::AlreadyExecuted { until: entry.until },
        })
    }

    /// Before the chain is asked for the payer's balance.
    ///
    /// # Errors
    /// `InsufficientBalance` without a question, if the chain said so a moment ago.
    pub fn ask_balance(&mut self, payment: &VerifiedPayment, now: UnixSeconds) -> Result<BalanceQuestion, ClaimError> {
        self.expire(now);
        let account = Account::of(payment);
        if let Some(balance) = self.poor.balance(&account, self.latest)
            && let Err(refused @ ClaimError::InsufficientBalance { .. }) = self.check_balance(payment, balance)
        {
            return Err(refused);
        }
        Ok(BalanceQuestion { settled_before: self.totals(&account).settled_sum })
    }

    /// Claims the payment: the one step that makes it single-use, and that takes its amount from what the payer can still spend.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn claim(&mut self, payment: &VerifiedPayment, balance: Balance, now: UnixSeconds) -> Result<Claim, ClaimError> {
        self.check(payment, now)?;
        let account = Account::of(payment);
        if let Err(refused) = self.check_balance(payment, balance) {
            // What is missing besides money the payer may have mended by the next request.
            if let ClaimError::InsufficientBalance { .. } = refused {
                self.poor.remember(account, balance, self.latest);
            }
            return Err(refused);
        }
        let (payment_id, value, valid_before) = (payment.payment_id(), payment.authorization().value, payment.authorization().valid_before);
        let allowance = Allowance::of(payment);
        let totals = self.accounts.entry(account).or_default();
        totals.entries = totals.entries.saturating_add(1);
        totals.open = totals.open.saturating_add(1);
        totals.setting = totals.setting.saturating_add((allowance == Allowance::Set).into());
        totals.by_permit = totals.by_permit.saturating_add((allowance != Allowance::NotNeeded).into());
        totals.open_sum = totals.open_sum.plus(Sums::of(value, allowance));
        let until = valid_before.saturating_add(MAX_SKEW_SECONDS);
        self.by_expiry.insert((until, payment_id));
        let entry = Entry { state: State::InFlight, until, account, value, allowance, open: true };
        self.entries.insert(payment_id, entry);
        Ok(Claim { payment_id, valid_before })
    }

    /// Gives a claim back before anything ran, as if it had never been made.
    pub fn release(&mut self, claim: Claim) {
        self.forget(&claim.payment_id);
    }

    /// Turns the claim into the right to run. From here the payment is never claimable again.
    pub fn start(&mut self, claim: Claim) -> Execution {
        Execution { payment_id: claim.payment_id, valid_before: claim.valid_before }
    }

    /// Ends the execution; the payment is remembered as executed.
    pub fn finish(&mut self, execution: Execution, ending: Ending) {
        if let Some(entry) = self.entries.get_mut(&execution.payment_id) {
            entry.state = State::Executed;
        }
        match ending {
            Ending::Owed | Ending::Wasted => {}
            Ending::Forgiven => self.close(&execution.payment_id),
        }
    }

    /// The chain has shown the money: the payment no longer counts against its payer's caps, and is gone from every balance that is asked
    /// for from now on.
    pub fn settled(&mut self, payment_id: &Hash32) {
        let Some(entry) = self.entries.get(payment_id).filter(|entry| entry.open) else { return };
        if let Some(totals) = self.accounts.get_mut(&entry.account) {
            totals.settled_sum = totals.settled_sum.plus(Sums::of(entry.value, entry.allowance));
        }
        self.close(payment_id);
    }

    /// Forgets what can no longer be presented. Claiming does this too.
    pub fn expire(&mut self, now: UnixSeconds) {
        self.latest = self.latest.max(now);
        while let Some((until, payment_id)) = self.by_expiry.first().copied() {
            if self.latest <= until {
                return;
            }
            self.by_expiry.pop_first();
            self.forget(&payment_id);
        }
    }

    /// What the open payments of this payment's payer come to, in the same asset on the same chain.
    #[must_use]
    pub fn open_sum(&self, payment: &VerifiedPayment) -> Amount {
        self.totals(&Account::of(payment)).open_sum.all
    }

    /// Payments remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no payment is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn totals(&self, account: &Account) -> Totals {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    fn check_balance(&self, payment: &VerifiedPayment, balance: Balance) -> Result<(), ClaimError> {
        let totals = self.totals(&Account::of(payment));
        let (value, allowance) = (payment.authorization().value, Allowance::of(payment));
        let settled_since = totals.settled_sum.minus(balance.settled_before);
        let needed = Sums::of(value, allowance).plus(totals.open_sum).plus(settled_since);
        let Funds { balance, allowance: allowed, permit_nonce } = balance.funds;
        if balance < needed.all {
            return Err(ClaimError::InsufficientBalance { scheme: payment.scheme(), needed: needed.all, got: balance });
        }
        match (allowance, payment.token_permit()) {
            (Allowance::NotNeeded, _) => Ok(()),
            (_, _) if 0 < totals.setting => Err(ClaimError::AllowanceChanges),
            (_, Some(_)) if 0 < totals.by_permit => Err(ClaimError::AllowanceChanges),
            (_, Some(permit)) if Some(permit.nonce) != permit_nonce => {
                Err(ClaimError::AllowanceNonce { expected: permit_nonce, got: permit.nonce })
            }
            (_, Some(_)) => Ok(()),
            (_, None) if allowed < needed.by_permit => Err(ClaimError::AllowanceRequired { needed: needed.by_permit, got: allowed }),
            (_, None) => Ok(()),
        }
    }

    fn close(&mut self, payment_id: &Hash32) {
        let Some(entry) = self.entries.get_mut(payment_id).filter(|entry| entry.open) else { return };
        entry.open = false;
        let Some(totals) = self.accounts.get_mut(&entry.account) else { return };
        totals.open = totals.open.saturating_sub(1);
        totals.setting = totals.setting.saturating_sub((entry.allowance == Allowance::Set).into());
        totals.by_permit = totals.by_permit.saturating_sub((entry.allowance != Allowance::NotNeeded).into());
        totals.open_sum = totals.open_sum.minus(Sums::of(entry.value, entry.allowance));
    }

    fn forget(&mut self, payment_id: &Hash32) {
        self.close(payment_id);
        let Some(entry) = self.entries.remove(payment_id) else { return };
        self.by_expiry.remove(&(entry.until, *payment_id));
        let Some(totals) = self.accounts.get_mut(&entry.account) else { return };
        totals.entries = totals.entries.saturating_sub(1);
        if totals.entries == 0 {
            self.accounts.remove(&entry.account);
        }
    }
}

fn sum(one: Amount, other: Amount) -> Amount {
    Amount(one.0.saturating_add(other.0))
}
