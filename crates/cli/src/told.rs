//! A verdict on a terminal, in three lengths: three lines, the four questions, every check. The demo, `ask`, `chat`, `verify` and `replay` tell it.
//!
//! What is said comes from the verdict's typed values; of a bundle that is not verified it is called a claim. Not here: its JSON and its page
//! (`candor-report`).

use candor_report::{Charge, ends, headline};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Amount;
use candor_verify::grade::Grade;
use candor_verify::receipt;
use candor_verify::step::Step;
use candor_verify::text::one_line;
use candor_verify::verdict::{Assurance, Check, LogLevel, Outcome, PaymentBinding, Question, Status, Verdict};

use crate::calendar;
use crate::output::say;
use crate::paint::{Ink, Line};

/// A verdict and what it is of.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) verdict: &'a Verdict,
    /// The policy's least level of the log.
    pub(crate) required: LogLevel,
    /// Whether whoever is told held the connection, pinned to the attested key: no file shows that.
    pub(crate) is_live: bool,
}

impl Told<'_> {
    /// How it ended, what it is about, and who could still forge it, or what is wrong.
    pub(crate) fn brief(&self) -> [Line; 3] {
        let forge = || Line::new().dim(format!("who could still forge this? {}", self.verdict.assurance().as_str()));
        [self.headline(), self.about(), self.what_is_wrong().unwrap_or_else(forge)]
    }

    /// The same, with each question in one line.
    pub(crate) fn say(&self) {
        [Some(self.headline()), Some(self.about()), self.what_is_wrong()].iter().flatten().for_each(Line::say);
        say!();
        self.questions();
    }

    /// Of a bundle that is not verified: what refused it, or what would have to be shown.
    fn what_is_wrong(&self) -> Option<Line> {
        match self.verdict.outcome() {
            Outcome::Verified => None,
            Outcome::Refused => Some(Line::new().put(Ink::Bad, refusal(self.verdict).unwrap_or_default())),
            _ => Some(Line::new().put(Ink::Warn, why_not_told(self.verdict, self.required))),
        }
    }

    /// The outcome with its grades, and how many checks say so.
    pub(crate) fn headline(&self) -> Line {
        let count = |status| self.verdict.checks().iter().filter(|check| check.status == status).count();
        let (passed, all, refused) = (count(Status::Passed), self.verdict.checks().len(), count(Status::Refused));
        let ink = match self.verdict.outcome() {
            Outcome::Verified => Ink::Good,
            Outcome::Refused => Ink::Bad,
            _ => Ink::Warn,
        };
        Line::new().put(ink, headline(self.verdict)).dim(format!("   {passed} of {all} checks, {refused} refused"))
    }

    /// Model, tokens, money, time.
    fn about(&self) -> Line {
        let (receipt, terms) = (&self.bundle.delivery.receipt, &self.bundle.evidence.terms.terms);
        let model =
            terms.model(&receipt.work.model_id).map_or_else(|| format!("{:#}", receipt.work.model_id), |model| one_line(&model.id).into());
        let paid = match self.bundle.sale {
            Some(_) => format!("{} to {}", charged(self.bundle), ends(&receipt.money.payee.to_string())),
            None => charged(self.bundle),
        };
        let tokens = format!("{} + {} tokens", receipt.work.prompt_tokens, receipt.work.completion_tokens);
        let claimed = if self.verdict.outcome() == Outcome::Verified { "" } else { "as the file claims: " };
        Line::new().plain(format!("{claimed}{model}, {tokens}, {paid}, {}", calendar::utc(receipt.work.finished_at.0)))
    }

    /// Each question in one line, and who could forge the answer to all of them.
    pub(crate) fn questions(&self) {
        for question in Question::ALL {
            let (grade, note) = self.answer(question);
            let ink = match self.verdict.grade(question) {
                Some(Grade::Refused | Grade::NotReached) | None => Ink::Bad,
                _ => Ink::Good,
            };
            row(question.as_str(), ink, grade, &note);
        }
        let ink = if self.verdict.is_simulated() == Some(false) { Ink::Plain } else { Ink::Warn };
        let (word, who) = match self.verdict.assurance() {
            Assurance::Simulated => ("SIMULATED", "whoever holds the software root’s key"),
            assurance => ("", assurance.as_str()),
        };
        row("Who could forge it?", ink, word, who);
    }

    /// Whether the verdict knows anything that a chain said.
    fn asked_a_chain(&self) -> bool {
        self.verdict.checks().iter().any(|check| check.step == Step::RegistryListed && check.status != Status::NotChecked)
    }

    fn answer(&self, question: Question) -> (&'static str, String) {
        let (receipt, terms) = (&self.bundle.delivery.receipt, &self.bundle.evidence.terms.terms);
        let model = terms.model(&receipt.work.model_id).map_or("the model", |model| model.id.as_str());
        let grade = self.verdict.grade(question);
        let note = match grade {
            Some(Grade::Refused) => self.verdict.refused().map(|check| format!("by {}", check.id)).unwrap_or_default(),
            Some(Grade::NotReached) | None => String::new(),
            Some(Grade::Replayable) => format!("{model}; run it again: same bytes"),
            Some(Grade::Local | Grade::Relayed) => model.to_owned(),
            // This client pinned the attested key when it connected, which no file shows.
            Some(Grade::NotProvenHere) if self.is_live => return ("PROVEN TO YOU", "you pinned its key; no file shows that".into()),
            Some(Grade::NotProvenHere) => "no file shows who held the connection".into(),
            Some(Grade::Sealed) => "to a key that only the enclave has".into(),
            Some(Grade::Settled) => "the signed price, to the attested payee".into(),
            Some(Grade::Signed) if !self.asked_a_chain() => "signed; no chain was asked (--rpc URL)".into(),
            Some(Grade::Signed) => "signed; no chain shows the transfer yet".into(),
            Some(Grade::NobodyPaid) if receipt.work.outcome == receipt::Outcome::RefusedByGuard => {
                "a guard refused it, and that costs nothing".into()
            }
            Some(Grade::NobodyPaid) => "it was free".into(),
            Some(Grade::Anchored) => {
                let at = self.verdict.anchored().map(|tree| calendar::utc(tree.at.0.saturating_mul(1000))).unwrap_or_default();
                // The time of day alone where it was a moment ago.
                let at = if self.is_live { at.get(11..19).unwrap_or_default().to_owned() + " UTC" } else { at };
                format!("entry {} of a log, fixed at {at}", receipt.sequence)
            }
            Some(Grade::Witnessed | Grade::SelfLogged) if !self.asked_a_chain() => {
                format!("entry {} of a log; no chain was asked for its anchor (--rpc URL)", receipt.sequence)
            }
            Some(Grade::Witnessed | Grade::SelfLogged) => format!("entry {} of a log, not anchored yet", receipt.sequence),
        };
        (grade.map_or("", Grade::as_str), note)
    }

    /// Everything: the questions, each with the checks that answer it, and what is not proven.
    pub(crate) fn whole(&self) {
        let Self { verdict, required, .. } = *self;
        self.headline().say();
        for question in Question::ALL {
            match verdict.grade(question) {
                Some(grade) => say!("\n{}  {}", question.as_str(), grade.as_str()),
                None => say!("\n{}", question.as_str()),
            }
            verdict.checks().iter().filter(|check| check.step.question() == question).for_each(check);
        }
        say!();
        if let Some(refusal) = refusal(verdict) {
            Line::new().put(Ink::Bad, refusal).say();
        }
        if verdict.outcome() == Outcome::CannotTell {
            Line::new().put(Ink::Warn, why_not_told(verdict, required)).say();
        }
        if verdict.refused().is_none() {
            say!("who could still forge this? {}", verdict.assurance().as_str());
        }
        for item in verdict.not_proven() {
            say!("not proven: {item}");
        }
    }

    /// What no short form leaves out: a payment that names no offer.
    pub(crate) fn caveat(&self) -> Option<&'static str> {
        let is_loose = self.verdict.payment_binding() == Some(PaymentBinding::EqualPriceOnly);
        is_loose.then_some(
            "payment: equal price only (to the attested payee; its nonce names no offer, so it may have been meant for another request)",
        )
    }
}

pub(crate) fn row(question: &str, ink: Ink, grade: &str, note: &str) {
    Line::new().plain(format!("  {question:<24}")).put(ink, format!("{grade:<13} ")).plain(note).say();
}

/// What was charged, in the token's own decimals and by its own name, as the signed terms have them.
pub(crate) fn charged(bundle: &Bundle) -> String {
    Charge::of(bundle).text()
}

/// An amount of the money that an answer was paid with.
pub(crate) fn money(bundle: &Bundle, amount: Amount) -> String {
    Charge::of(bundle).amount(amount)
}

fn refusal(verdict: &Verdict) -> Option<String> {
    let check = verdict.refused()?;
    Some(format!("REFUSED by {} ({}): expected {}, got {}", check.id, check.step.spec(), check.expected, check.got))
}

/// What would have to be shown for more than *cannot tell*.
fn why_not_told(verdict: &Verdict, required: LogLevel) -> String {
    if required <= verdict.log_level() {
        return "what is marked \"not checked\" (-v) says what else would have to be shown".to_owned();
    }
    let is_unasked = verdict.checks().iter().any(|check| check.id == "log.anchored" && check.status == Status::NotChecked);
    let why = match required {
        LogLevel::Anchored if is_unasked => "only a chain shows anchors; name your own with --rpc URL",
        LogLevel::Anchored => "the chain shows no anchor of a tree that holds this receipt (yet)",
        _ => "too few witnesses of the policy cosigned its checkpoint",
    };
    format!("the policy requires {}: {why}", required.as_str())
}

/// One check on one line; a refusal shows what was expected.
pub(crate) fn check(check: &Check) {
    let (ink, mark) = match check.status {
        Status::Passed => (Ink::Good, "ok         "),
        Status::Refused => (Ink::Bad, "REFUSED    "),
        Status::NotChecked => (Ink::Warn, "not checked"),
        Status::NotAsked => (Ink::Dim, "not asked  "),
        _ => (Ink::Dim, "not reached"),
    };
    Line::new().plain("  ").put(ink, mark).plain(format!(" {:<20} {}", check.id, check.step.title())).say();
    match check.status {
        Status::Refused => say!("               expected {}\n               got      {}", check.expected, check.got),
        Status::NotChecked => Line::new().dim(format!("               needs {}", check.expected)).say(),
        _ => {}
    }
}
