//! The verdict: every step of the spec as one [`Check`], with what was expected, what was found, and where the rule is written.
//!
//! A verdict is never a bool. It says which checks passed, which one refused, which were not reached, which need a chain and were not
//! made, how strongly the log holds, who could still forge all this ([`Assurance`]), and what is not proven at all.
//! Spec: policy.md §3. Not here: making any check. Those are in `evidence` and `bundle`.

use alloc::string::String;
use alloc::vec::Vec;

/// The three questions of Candor, and the log that carries the answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Question {
    /// What actually ran?
    Ran,
    /// Did my data stay private?
    Private,
    /// Was the payment fair?
    Paid,
    /// Can it be denied or rewritten later?
    Logged,
}

impl Question {
    /// The question in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ran => "What actually ran?",
            Self::Private => "Did my data stay private?",
            Self::Paid => "Was the payment fair?",
            Self::Logged => "Can it be denied or rewritten later?",
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
    /// Not made: it needs a chain, a live connection or a policy that was not given. Says so; never counts as passed.
    NotChecked,
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
            Self::NotReached => "not reached",
        }
    }
}

/// A step of the spec: its stable id, its question, its meaning and its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a table row")]
pub struct Step {
    /// Stable dotted id, for machines.
    pub id: &'static str,
    /// Which question it helps to answer.
    pub question: Question,
    /// One line for people.
    pub title: &'static str,
    /// Where the rule is written.
    pub spec: &'static str,
}

/// One step, made or not.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data for readers")]
pub struct Check {
    /// Stable dotted id; more specific than the step's where an attestation names its own inner check.
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
    pub(crate) log_level: LogLevel,
    pub(crate) assurance: Assurance,
    pub(crate) not_proven: Vec<&'static str>,
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

    /// What this verdict does not prove, in words.
    #[must_use]
    pub fn not_proven(&self) -> &[&'static str] {
        &self.not_proven
    }
}

/// A check refused; the details are in the recorder. Only says "stop here".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stop;

/// Writes down checks as they are made, in the order of a table of steps.
#[derive(Debug)]
pub(crate) struct Recorder {
    steps: &'static [Step],
    pub(crate) checks: Vec<Check>,
}

impl Recorder {
    pub(crate) fn new(steps: &'static [Step]) -> Self {
        Self { steps, checks: Vec::with_capacity(steps.len()) }
    }

    /// The next step's outcome. Steps are made in the order of the table: a step that is skipped is a bug that tests catch.
    fn record(&mut self, id: &'static str, inner: Option<&'static str>, status: Status, expected: String, got: String) {
        let step =
            self.steps.iter().find(|step| step.id == id).copied().unwrap_or(Step { id, question: Question::Ran, title: "", spec: "" });
        self.checks.push(Check { id: inner.unwrap_or(id), step, status, expected, got });
    }

    /// The check held if `expected == got`; both are shown.
    pub(crate) fn equal<T: PartialEq + core::fmt::Display>(&mut self, id: &'static str, expected: T, got: T) -> Result<(), Stop> {
        let ok = expected == got;
        self.require(id, ok, alloc::format!("{expected}"), alloc::format!("{got}"))
    }

    /// The check held if `ok`.
    pub(crate) fn require(&mut self, id: &'static str, ok: bool, expected: impl Into<String>, got: impl Into<String>) -> Result<(), Stop> {
        let status = if ok { Status::Passed } else { Status::Refused };
        self.record(id, None, status, expected.into(), got.into());
        if ok { Ok(()) } else { Err(Stop) }
    }

    /// The check refused under a more specific name.
    pub(crate) fn refuse(&mut self, id: &'static str, inner: &'static str, expected: impl Into<String>, got: impl Into<String>) -> Stop {
        self.record(id, Some(inner), Status::Refused, expected.into(), got.into());
        Stop
    }

    /// The check could not be made here, for this reason.
    pub(crate) fn not_checked(&mut self, id: &'static str, needs: impl Into<String>) {
        self.record(id, None, Status::NotChecked, needs.into(), "not checked".into());
    }

    /// Marks every step that was not recorded as not reached, in the table's order at the end.
    pub(crate) fn finish(mut self) -> Vec<Check> {
        let missing: Vec<Step> =
            self.steps.iter().filter(|step| !self.checks.iter().any(|check| check.step.id == step.id)).copied().collect();
        for step in missing {
            self.record(step.id, None, Status::NotReached, String::new(), String::new());
        }
        self.checks
    }
}
