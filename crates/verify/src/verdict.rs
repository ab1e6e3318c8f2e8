//! The verdict: every step of the spec as one [`Check`], with what was expected, what was found, and where the rule is written.
//!
//! A verdict is never a bool. It says which checks passed, which one refused, which were not reached, which need a chain and were not
//! made, how strongly the log holds, who could still forge all this ([`Assurance`]), and what is not proven at all.
//! Spec: policy.md §3. Not here: making any check. Those are in `evidence`, `offer` and `check`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::attest::TrustRoot;
use crate::bytes::Address;
use crate::grade::Grade;
use crate::policy::KnownTree;
use crate::step::Step;

/// The four questions that a verdict answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Question {
    /// What ran?
    Ran,
    /// Who saw it?
    Private,
    /// Was the payment fair?
    Paid,
    /// Can it be denied later?
    Logged,
}

impl Question {
    /// All of them, in the order in which a verdict answers them.
    pub const ALL: [Self; 4] = [Self::Ran, Self::Private, Self::Paid, Self::Logged];

    /// The question in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ran => "What ran?",
            Self::Private => "Who saw it?",
            Self::Paid => "Was the payment fair?",
            Self::Logged => "Can it be denied later?",
        }
    }

    /// Its name in JSON.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Private => "private",
            Self::Paid => "paid",
            Self::Logged => "logged",
        }
    }
}

/// How one check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// Made, and it held.
    Passed,
    /// Made, and it did not hold.
    Refused,
    /// Not made: it needs a chain or a live connection that was not given. Says so; never counts as passed.
    NotChecked,
    /// Not made, because the policy does not ask for it.
    NotAsked,
    /// Not reached, because an earlier check refused.
    NotReached,
}

impl Status {
    /// The word for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::NotChecked => "not checked",
            Self::NotAsked => "not asked",
            Self::NotReached => "not reached",
        }
    }
}

/// One step, made or not.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data for readers")]
pub struct Check {
    /// Stable dotted id; more specific than the step's where an attestation names its own inner check, and [`BUG`] where a step was not
    /// made as the table says.
    pub id: &'static str,
    /// The step.
    pub step: Step,
    /// How it ended.
    pub status: Status,
    /// What the rule asks for.
    pub expected: String,
    /// What was found.
    pub got: String,
}

impl Check {
    /// A step that was not made as its table says.
    pub(crate) fn bug(step: Step) -> Self {
        Self { id: BUG, step, status: Status::Refused, expected: String::new(), got: String::new() }
    }
}

/// How strongly the log holds. Levels are never merged.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum LogLevel {
    /// Not in a log at all (nothing verified).
    None,
    /// A checkpoint by the same enclave: adds nothing if the TEE is broken.
    SelfLogged,
    /// Enough witnesses of the policy cosigned a tree that holds the receipt.
    Witnessed,
    /// A tree that holds the receipt is anchored on chain, as the caller read it over its own RPC.
    Anchored,
}

impl LogLevel {
    /// The word for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NOT LOGGED",
            Self::SelfLogged => "SELF-LOGGED",
            Self::Witnessed => "WITNESSED",
            Self::Anchored => "ANCHORED",
        }
    }
}

/// Who could still forge what the verdict says, computed from the root and never from a field the enclave signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Assurance {
    /// Nothing was verified.
    None,
    /// SIMULATED: whoever holds the software root's key can forge everything.
    Simulated,
    /// AWS Nitro: the vendor, who is also the cloud operator. Physical attackers are excluded only by the operator's building.
    NitroVendorAndCloudOperator,
}

impl Assurance {
    /// For people and JSON: who could still forge this.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "nothing was verified",
            Self::Simulated => "SIMULATED: whoever holds the software root's key can forge everything",
            Self::NitroVendorAndCloudOperator => {
                "AWS could forge this (vendor and cloud operator are one); physical access is excluded by the operator only"
            }
        }
    }
}

/// What a payment says about the request that it was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PaymentBinding {
    /// The payer's nonce commits to the offer: their own signature names request, price and boot.
    Offer,
    /// The payer signed this price to this payee, and nothing that names the request. Stock x402 clients pay so.
    EqualPriceOnly,
}

impl PaymentBinding {
    /// The words for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::EqualPriceOnly => "equal price only",
        }
    }
}

/// How a verdict ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Every check that could be made passed.
    Verified,
    /// A check refused.
    Refused,
    /// The policy asks for something that could not be checked here (for example ANCHORED without a chain).
    CannotTell,
}

impl Outcome {
    /// The word for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Refused => "refused",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// Every check, and what follows from them. Made by the functions that make the checks, and changed by nobody:
///
/// ```compile_fail,E0616
/// fn whitewash(mut verdict: candor_verify::verdict::Verdict) {
///     verdict.outcome = candor_verify::verdict::Outcome::Verified;
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Verdict {
    pub(crate) checks: Vec<Check>,
    pub(crate) outcome: Outcome,
    // In the order of `Question::ALL`; none in a verdict on evidence alone.
    pub(crate) grades: Option<[Grade; 4]>,
    /// UNVERIFIED.
    pub(crate) claimed_root: Option<TrustRoot>,
    pub(crate) log_level: LogLevel,
    pub(crate) anchored: Option<KnownTree>,
    pub(crate) assurance: Assurance,
    pub(crate) not_proven: Vec<String>,
}

impl Verdict {
    /// The checks in the order of the spec.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// How it ends.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The check that refused, if one did.
    #[must_use]
    pub fn refused(&self) -> Option<&Check> {
        self.checks.iter().find(|check| check.status == Status::Refused)
    }

    /// How far a question is answered; `None` in a verdict on evidence alone, which answers none.
    #[must_use]
    pub fn grade(&self, question: Question) -> Option<Grade> {
        Question::ALL.iter().zip(self.grades?).find_map(|(asked, grade)| (*asked == question).then_some(grade))
    }

    /// The root that the attestation document stands under; `None` unless that was checked and held.
    #[must_use]
    pub fn root(&self) -> Option<TrustRoot> {
        let is_genuine = |check: &Check| check.step == Step::AttestDocument && check.status == Status::Passed;
        self.claimed_root.filter(|_| self.checks.iter().any(is_genuine))
    }

    /// Whether the evidence is SIMULATED. `Some(true)` also if a document that was refused names a root that is no hardware root; `Some(false)` only
    /// of one that holds under a hardware root; `None` if nobody can say.
    #[must_use]
    pub fn is_simulated(&self) -> Option<bool> {
        match self.claimed_root {
            Some(root) if !root.is_hardware() => Some(true),
            _ => self.root().map(|_| false),
        }
    }

    /// The first anchored tree that holds the receipt, as the caller knows it; only where the level is ANCHORED.
    #[must_use]
    pub fn anchored(&self) -> Option<&KnownTree> {
        self.anchored.as_ref()
    }

    /// How strongly the log holds.
    #[must_use]
    pub fn log_level(&self) -> LogLevel {
        self.log_level
    }

    /// Who could still forge this.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// What the payment says about the request; `None` if a check refused, or if no payment was judged.
    #[must_use]
    pub fn payment_binding(&self) -> Option<PaymentBinding> {
        if self.refused().is_some() {
            return None;
        }
        let check = self.checks.iter().find(|check| check.step == Step::PaymentBinding)?;
        match check.status {
            Status::Passed => Some(PaymentBinding::Offer),
            Status::NotChecked => Some(PaymentBinding::EqualPriceOnly),
            Status::Refused | Status::NotAsked | Status::NotReached => None,
        }
    }

    /// What this verdict does not prove, in words.
    #[must_use]
    pub fn not_proven(&self) -> &[String] {
        &self.not_proven
    }
}

/// A check refused; the details are in the recorder. Only says "stop here".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stop;

/// The id under which a verdict refuses when its own steps were not made as the table says: a fault of this crate, never of a bundle.
pub const BUG: &str = "verify.bug";

/// Writes down checks as they are made. It knows which row of the table comes next and refuses every other.
///
/// Invariant: `finish` says *complete* only if every row was made and none refused. Without it "no check refused" would count as verified,
/// and a step that was forgotten would be an open door.
#[derive(Debug)]
pub(crate) struct Recorder {
    steps: &'static [Step],
    checks: Vec<Check>,
}

/// Every check of a table, and whether all of them were made.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) checks: Vec<Check>,
    /// Every row was made, in order, and none refused.
    pub(crate) complete: bool,
}

impl Recorder {
    pub(crate) fn new(steps: &'static [Step]) -> Self {
        Self { steps, checks: Vec::with_capacity(steps.len()) }
    }

    fn record(&mut self, check: Check) -> Result<(), Stop> {
        let next = self.steps.get(self.checks.len());
        if next != Some(&check.step) || self.has_refused() {
            let expected = next.map_or("no further step".into(), |step| step.id().into());
            self.checks.push(Check { id: BUG, status: Status::Refused, expected, got: check.step.id().into(), ..check });
            return Err(Stop);
        }
        let refused = check.status == Status::Refused;
        self.checks.push(check);
        if refused { Err(Stop) } else { Ok(()) }
    }

    fn has_refused(&self) -> bool {
        self.checks.iter().any(|check| check.status == Status::Refused)
    }

    /// The check held if `expected == got`; both are shown.
    pub(crate) fn equal<T: PartialEq + core::fmt::Display>(&mut self, step: Step, expected: T, got: T) -> Result<(), Stop> {
        let ok = expected == got;
        self.require(step, ok, alloc::format!("{expected}"), alloc::format!("{got}"))
    }

    /// The check held if `ok`.
    pub(crate) fn require(&mut self, step: Step, ok: bool, expected: impl Into<String>, got: impl Into<String>) -> Result<(), Stop> {
        let status = if ok { Status::Passed } else { Status::Refused };
        self.record(Check { id: step.id(), step, status, expected: expected.into(), got: got.into() })
    }

    /// Who signed must be who is expected; `recovered` is `None` if the signature is none.
    pub(crate) fn signed(&mut self, step: Step, expected: Address, recovered: Option<Address>) -> Result<(), Stop> {
        let got = recovered.map_or("no valid signature".into(), |address| address.to_string());
        self.require(step, recovered == Some(expected), expected.to_string(), got)
    }

    /// The check refused under a more specific name.
    pub(crate) fn refuse(&mut self, step: Step, inner: &'static str, expected: impl Into<String>, got: impl Into<String>) -> Stop {
        let check = Check { id: inner, step, status: Status::Refused, expected: expected.into(), got: got.into() };
        self.record(check).err().unwrap_or(Stop)
    }

    /// The check could not be made here, for this reason.
    pub(crate) fn not_checked(&mut self, step: Step, needs: impl Into<String>) -> Result<(), Stop> {
        self.record(Check { id: step.id(), step, status: Status::NotChecked, expected: needs.into(), got: "not checked".into() })
    }

    /// The policy does not ask for this check; `would` says what would.
    pub(crate) fn not_asked(&mut self, step: Step, would: impl Into<String>) -> Result<(), Stop> {
        self.record(Check { id: step.id(), step, status: Status::NotAsked, expected: would.into(), got: "not asked".into() })
    }

    /// Rows that were not made are *not reached*, behind the check that refused. If none refused, the first of them is the refusal.
    pub(crate) fn finish(mut self) -> Recorded {
        let made = self.checks.len();
        let mut complete = !self.has_refused();
        for step in self.steps.iter().skip(made).copied() {
            let missing = Check { id: step.id(), status: Status::NotReached, ..Check::bug(step) };
            self.checks.push(if complete { Check::bug(step) } else { missing });
            complete = false;
        }
        Recorded { checks: self.checks, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(recorder: &mut Recorder, steps: &[Step]) -> Result<(), Stop> {
        steps.iter().try_for_each(|step| recorder.require(*step, true, "", ""))
    }

    #[test]
    fn a_table_is_complete_only_if_every_row_was_made() {
        let mut recorder = Recorder::new(Step::EVIDENCE);
        assert_eq!(pass(&mut recorder, Step::EVIDENCE), Ok(()));
        assert!(recorder.finish().complete);

        let mut recorder = Recorder::new(Step::EVIDENCE);
        assert_eq!(pass(&mut recorder, &Step::EVIDENCE[..7]), Ok(()));
        let recorded = recorder.finish();
        assert!(!recorded.complete);
        assert_eq!(recorded.checks.iter().find(|check| check.status == Status::Refused).map(|check| check.id), Some(BUG));
    }

    #[test]
    fn a_step_out_of_its_place_refuses_and_so_does_whatever_follows_a_refusal() {
        let mut recorder = Recorder::new(Step::EVIDENCE);
        assert_eq!(recorder.require(Step::EvidenceBinding, true, "", ""), Err(Stop));
        assert_eq!(pass(&mut recorder, Step::EVIDENCE), Err(Stop));
        let recorded = recorder.finish();
        assert!(!recorded.complete);
        assert_eq!(recorded.checks[0].id, BUG);

        let mut recorder = Recorder::new(Step::EVIDENCE);
        assert_eq!(recorder.not_checked(Step::AttestDocument, "a chain"), Ok(()));
        assert_eq!(recorder.require(Step::EvidenceBinding, false, "", ""), Err(Stop));
        assert_eq!(recorder.require(Step::EvidenceTerms, true, "", ""), Err(Stop));
        assert!(!recorder.finish().complete);
    }
}
