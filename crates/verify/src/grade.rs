//! The grade of each question: how far a verdict answers it, in one word.
//!
//! A grade is read off the checks that were made, and says no more than they do. It is a word for people and programs that sort; the
//! outcome decides. Spec: policy.md §3. Not here: any check.

use crate::bundle::Bundle;
use crate::decoding::REPLAYED_ENGINES;
use crate::receipt::Kinds;
use crate::step::Step;
use crate::verdict::{Check, LogLevel, Question, Status};

/// How far one question is answered. Of each question the strongest comes first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "whoever shows grades must know what each means")]
pub enum Grade {
    /// What ran: the enclave's own model, in an engine that gives the same bytes again to whoever has the weights.
    Replayable,
    /// What ran: the enclave's own model; it cannot be run again byte for byte.
    Local,
    /// What ran: whatever a provider says. The enclave passed on its answer and can prove no model.
    Relayed,
    /// Who saw it: it was sealed to a key that exists only in the enclave.
    Sealed,
    /// Who saw it: nothing in a file proves that. A live client that pinned the attested key knows more.
    NotProvenHere,
    /// Was the payment fair: the chain saw exactly this transfer.
    Settled,
    /// Was the payment fair: the payer signed it; no chain was asked, or none saw it yet.
    Signed,
    /// Was the payment fair: there was none.
    NobodyPaid,
    /// Can it be denied: a chain saw a tree that holds the receipt.
    Anchored,
    /// Can it be denied: enough witnesses of the policy saw one.
    Witnessed,
    /// Can it be denied: only the enclave itself says that it is logged.
    SelfLogged,
    /// A check of this question refused.
    Refused,
    /// A check of this question was not made, because another one refused before it.
    NotReached,
}

impl Grade {
    /// The word for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayable => "REPLAYABLE",
            Self::Local => "LOCAL",
            Self::Relayed => "RELAYED",
            Self::Sealed => "SEALED",
            Self::NotProvenHere => "NOT PROVEN HERE",
            Self::Settled => "SETTLED",
            Self::Signed => "SIGNED",
            Self::NobodyPaid => "NOBODY PAID",
            Self::Anchored => LogLevel::Anchored.as_str(),
            Self::Witnessed => LogLevel::Witnessed.as_str(),
            Self::SelfLogged => LogLevel::SelfLogged.as_str(),
            Self::Refused => "REFUSED",
            Self::NotReached => "NOT REACHED",
        }
    }

    /// The grade of a question, by the checks of a whole bundle.
    pub(crate) fn of(question: Question, bundle: &Bundle, checks: &[Check], log_level: LogLevel) -> Self {
        let is_any = |status| checks.iter().any(|check| check.step.question() == question && check.status == status);
        if is_any(Status::Refused) {
            return Self::Refused;
        }
        if is_any(Status::NotReached) {
            return Self::NotReached;
        }
        let has_passed = |step| checks.iter().any(|check| check.step == step && check.status == Status::Passed);
        match question {
            Question::Ran => Self::of_work(bundle),
            Question::Private if has_passed(Step::PrivacyChannel) => Self::Sealed,
            Question::Private => Self::NotProvenHere,
            Question::Paid if bundle.sale.is_none() => Self::NobodyPaid,
            Question::Paid if has_passed(Step::PaymentTransfer) => Self::Settled,
            Question::Paid => Self::Signed,
            Question::Logged => match log_level {
                LogLevel::Anchored => Self::Anchored,
                LogLevel::Witnessed => Self::Witnessed,
                LogLevel::SelfLogged => Self::SelfLogged,
                LogLevel::None => Self::NotReached,
            },
        }
    }

    /// Body, decoding record and seed are in every bundle, and passed. Of an answer without a frame nothing can be compared.
    fn of_work(bundle: &Bundle) -> Self {
        let kinds = bundle.delivery.receipt.work.kinds;
        let has_frames = !bundle.response.frames.is_empty();
        let is_replayed = REPLAYED_ENGINES.contains(&bundle.delivery.decoding.engine.as_str());
        match (kinds.contains(Kinds::LOCAL), kinds.contains(Kinds::REEXEC) && is_replayed && has_frames) {
            (false, _) => Self::Relayed,
            (true, false) => Self::Local,
            (true, true) => Self::Replayable,
        }
    }
}
