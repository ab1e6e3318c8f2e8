//! The four questions: the grade of each, one or two sentences that say what it means here, and who is still trusted for it.
//!
//! In: the grades and checks of a verdict. Not here: deciding any of them.

use candor_verify::attest::TrustRoot;
use candor_verify::grade::Grade;
use candor_verify::receipt::{Money, Outcome, UsageSource};
use candor_verify::step::Step;
use candor_verify::terms::Trust;
use candor_verify::verdict::{Check, PaymentBinding, Question, Status};

use super::picture::{Link, State, icon};
use super::values::{brief, grouped, is_digest, moment};
use super::{NAME_MAX, Page, said};

/// The grade of a private answer for whoever held the connection.
const PROVEN_LIVE: &str = "PROVEN TO YOU";

/// What is said under a question.
struct Answer {
    text: String,
    /// Who is still trusted; empty if that is said by the text.
    trust: String,
}

pub(super) fn section(page: &Page<'_>) -> String {
    let [first @ .., last] = Question::ALL.map(|question| block(page, question));
    format!("<div class=\"qs\">\n{}</div>\n{last}", first.concat())
}

fn block(page: &Page<'_>, question: Question) -> String {
    let grade = page.verdict.grade(question).unwrap_or(Grade::NotReached);
    let is_proven_live = page.content.is_live && grade == Grade::NotProvenHere;
    let (state, word) = match is_proven_live {
        true => (State::InPart, PROVEN_LIVE),
        false => (State::of_question(page.verdict, question), grade.as_str()),
    };
    let Answer { text, trust } = answer(page, question, grade);
    let class = if question == Question::Logged { "q4" } else { "q" };
    let trust = if trust.is_empty() { trust } else { format!("<p class=\"trust\"><b>Still trusted:</b> {trust}</p>") };
    format!(
        "<section class=\"{class}\"><h2>{}</h2><p class=\"grade s-{}\">{}{}</p><p class=\"text\">{text}</p>{trust}</section>\n",
        question.as_str(),
        state.key(),
        icon(state),
        word
    )
}

fn answer(page: &Page<'_>, question: Question, grade: Grade) -> Answer {
    match (grade, question, page.verdict.refused()) {
        (Grade::Refused, _, Some(check)) => Answer { text: refusal(check), trust: String::new() },
        (Grade::Refused | Grade::NotReached, ..) => {
            Answer { text: "A check before it refused, so this was not judged.".into(), trust: String::new() }
        }
        (_, Question::Ran, _) => ran(page, grade),
        (_, Question::Private, _) => private(page, grade),
        (_, Question::Paid, _) => paid(page, grade),
        _ => logged(page),
    }
}

/// What was expected and found, where each is one value; else the rule.
fn refusal(check: &Check) -> String {
    let found = if is_digest(&check.expected) && is_digest(&check.got) {
        let is_signed_for = matches!(check.step, Step::RequestCommitment | Step::ResponseCommitment);
        let expected = if is_signed_for { "Signed for" } else { "Expected" };
        format!("{expected} {}, found {}.", brief(&check.expected), brief(&check.got))
    } else {
        format!("Rule: {}. It did not hold.", check.step.title())
    };
    format!("{found} Refused by <a class=\"bad\" href=\"#c-{}\"><code>{}</code></a>.", check.step.id(), check.id)
}

/// Who could forge the attestation, which all else stands on: by its root and not by the verdict's assurance, which is none where a later
/// check refused.
fn root_holder(page: &Page<'_>) -> &'static str {
    match page.verdict.root() {
        Some(root) if root == TrustRoot::AWS_NITRO_G1 => "AWS, which makes the hardware and runs the cloud.",
        Some(root) if root.is_hardware() => "whoever made the hardware.",
        Some(_) => "whoever holds the software root’s key.",
        None => "whoever holds the root’s key.",
    }
}

fn ran(page: &Page<'_>, grade: Grade) -> Answer {
    let model =
        page.model_name().map_or_else(|| "that the receipt names".to_owned(), |model| format!("<b>{}</b>", said::name(model, NAME_MAX)));
    let host = page.bundle.delivery.source.as_ref().map_or_else(|| "a provider".to_owned(), |source| said::name(&source.host, NAME_MAX));
    let mut trust = root_holder(page).to_owned();
    if grade == Grade::Relayed {
        trust = format!("{host}, for the model and for its words; for the rest, {trust}");
    }
    let text = match (page.bundle.delivery.receipt.work.outcome, grade) {
        (Outcome::RefusedByGuard, _) => {
            format!(
                "A guard before the model {model} refused, so that it was not asked. This is exactly what the measured program answered."
            )
        }
        (Outcome::UpstreamError, _) => {
            format!("<b>{host}</b> was asked for {model} and failed. This is exactly what the measured program answered.")
        }
        (_, Grade::Relayed) => format!(
            "Relayed from <b>{host}</b>, model not proven. The measured program asked there for {model} and passed on exactly this answer."
        ),
        (_, Grade::Replayable) => {
            trust.push_str(" Replaying it needs no trust.");
            format!(
                "The model {model} gave exactly this answer to exactly this request, inside the measured program. Run it again: every byte comes out the same."
            )
        }
        (_, Grade::Local) => format!(
            "The model {model} gave exactly this answer to exactly this request, inside the measured program. It cannot be run again byte for byte."
        ),
        // Grades of other questions, and those that are told without a sentence of this one.
        (
            _,
            Grade::Sealed
            | Grade::NotProvenHere
            | Grade::Settled
            | Grade::Signed
            | Grade::NobodyPaid
            | Grade::Anchored
            | Grade::Witnessed
            | Grade::SelfLogged
            | Grade::Refused
            | Grade::NotReached,
        ) => String::new(),
    };
    if page.status(Step::RegistryListed) == Status::NotChecked {
        trust.push_str(match page.content.asked_chain {
            None => " Not looked up: whether its key is registered.",
            Some(_) => " Left open by the chain: whether its key was good at that time.",
        });
    }
    Answer { text, trust }
}

fn private(page: &Page<'_>, grade: Grade) -> Answer {
    let (mut text, mut trust) = if grade == Grade::Sealed {
        (
            "The request was sealed to a key that exists only in the measured program. Whoever carried it saw its size, and when."
                .to_owned(),
            root_holder(page).to_owned(),
        )
    } else if page.content.is_live {
        (
            "The request travelled over TLS that ends inside the enclave, and the program that drew this page held that connection, pinned to \
             the attested key. No file shows that: to anybody else it is that program’s word."
                .to_owned(),
            "the program that drew this page.".to_owned(),
        )
    } else {
        (
            "The request travelled over TLS that ends inside the enclave. The caller could see that while connected; a file cannot show it afterwards.".to_owned(),
            "what the caller’s own program checked at that moment.".to_owned(),
        )
    };
    if let Some(source) = &page.bundle.delivery.source {
        let host = said::name(&source.host, NAME_MAX);
        let upstreams = &page.bundle.evidence.terms.terms.upstreams;
        let is_plain = upstreams.iter().any(|upstream| upstream.name == source.upstream && upstream.trust == Trust::Plaintext);
        text.push_str(&format!(" <b>{host}</b> and the owner of the account there saw it in full."));
        if is_plain {
            text.push_str(" It went there unencrypted.");
        }
        trust = format!("{host}, with all that was asked and answered; {trust}");
    }
    if !page.bundle.delivery.receipt.work.question_hash.is_zero() {
        text.push_str(" The caller asked for a public answer: anybody who guesses question or text can recognise it.");
    }
    Answer { text, trust }
}

fn paid(page: &Page<'_>, grade: Grade) -> Answer {
    let receipt = &page.bundle.delivery.receipt;
    let Money { charged, chain_id, .. } = &receipt.money;
    let Some(sale) = page.bundle.sale.as_ref().filter(|_| grade != Grade::NobodyPaid) else {
        let text = "Nobody paid. The signed terms give this model away, and the receipt charges nothing.";
        return Answer { text: text.into(), trust: String::new() };
    };
    let (most, came) = (grouped(sale.offer.max_tokens.into()), grouped(receipt.work.completion_tokens.into()));
    let declared = if receipt.work.usage_source == UsageSource::UpstreamDeclared { ", as the provider counts" } else { "" };
    let mut text = format!(
        "Charged <b>{} {}</b>: the signed price for up to {most} tokens ({came} came{declared}), to the attested payee.",
        page.unit.number(*charged),
        page.unit.symbol()
    );
    text.push_str(match (grade, page.content.asked_chain) {
        (Grade::Settled, _) => " The chain shows the transfer.",
        (_, Some(_)) => " The chain does not show the transfer so far.",
        (_, None) => " The transfer was not looked up on a chain.",
    });
    if page.verdict.payment_binding() == Some(PaymentBinding::EqualPriceOnly) {
        text.push_str(" What the payer signed names the price and no request: it may have been meant for another one.");
    }
    if page.status(Step::OfferPrice) == Status::NotChecked {
        text.push_str(" The price list is not shown; the price is within the signed bounds.");
    }
    let ask = if grade == Grade::Settled { "as your own RPC tells it." } else { "once you ask it." };
    Answer { text, trust: format!("chain {chain_id}, {ask}") }
}

fn logged(page: &Page<'_>) -> Answer {
    let delivery = &page.bundle.delivery;
    let chain = page.bundle.evidence.manifest.anchor_chain_id;
    let entry = format!("Entry {} of a log that only grows", grouped(delivery.receipt.sequence.into()));
    let unseen = match page.content.asked_chain {
        Some(_) => "The chain that was asked shows no anchor of it in time.",
        None => "Ask a chain (<code>--rpc</code>) to see it anchored.",
    };
    let text = match page.verdict.anchored() {
        Some(known) => format!("{entry}, fixed on chain {chain} on {}. A later change would show.", moment(known.at.ms())),
        None if page.status(Step::LogWitnesses) == Status::Passed => {
            format!("{entry}, cosigned by {} witnesses of the policy. {unseen}", delivery.checkpoint.cosignatures.len())
        }
        None => format!("{entry}, signed by the enclave alone. {unseen}"),
    };
    Answer { text, trust: String::new() }
}

/// What a refusal means, in one sentence.
pub(super) fn why(step: Step) -> &'static str {
    match step {
        Step::RequestCommitment => return "The question in this file is not the one that the enclave signed for.",
        Step::ResponseCommitment => return "The answer in this file is not the one that the enclave signed for.",
        Step::ReceiptSignature => return "The receipt is not signed by the attested key.",
        _ => {}
    }
    match Link::of(step) {
        Some(Link::Root) => "The attestation is not genuine under a root that the policy accepts.",
        Some(Link::Document) => "The attestation is not about this key and this manifest.",
        Some(Link::Manifest) => "The manifest and the operator’s signed terms do not belong together.",
        Some(Link::Measurement) => "The policy does not accept this program, this operator or this registry.",
        Some(Link::Keys) => "The chain does not show the enclave’s key as valid at that time.",
        Some(Link::Receipt) => "The receipt is not one of this enclave at that time.",
        Some(Link::Answer) => "What the receipt says about the work does not hold.",
        Some(Link::Channel) => "The request was not sealed as the receipt says.",
        Some(Link::Offer) => "The offer is not one that the enclave and the signed terms make.",
        Some(Link::Payment) => "Payment, offer and charge do not belong together.",
        Some(Link::Log) => "The log does not hold this receipt as it should.",
        Some(Link::Anchor) => "The anchor does not fit the receipt.",
        None => "This file does not prove what it claims.",
    }
}
