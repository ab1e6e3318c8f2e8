//! The chain of proof: every check belongs to one node, and a node's glyph says how its checks ended.
//!
//! In: a verdict, and one short value for each node. Out: SVG, three times the same chain (one row, two rows, a column), of which the style
//! sheet shows the one that fits. The nodes stand in the order in which checks are made, so whatever follows a refusal is hollow.
//! Not here: what the values are, and the words about them.

use candor_verify::step::Step;
use candor_verify::verdict::{Check, Question, Status, Verdict};

/// How the checks of a node, or of a question, ended. Each has a shape of its own besides its colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// All that were asked for passed.
    Passed,
    /// Some passed, and others were not made.
    InPart,
    /// None was made.
    NotChecked,
    /// One refused.
    Refused,
    /// None was made, because one before them refused.
    NotReached,
    /// The policy, or the way in which the answer was got, asks for none.
    NotAsked,
}

impl State {
    pub(super) const ALL: [Self; 6] = [Self::Passed, Self::InPart, Self::NotChecked, Self::Refused, Self::NotReached, Self::NotAsked];

    /// Its classes and the id of its glyph.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::InPart => "part",
            Self::NotChecked => "grey",
            Self::Refused => "red",
            Self::NotReached => "none",
            Self::NotAsked => "na",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::InPart => "passed in part",
            Self::NotChecked => "not checked",
            Self::Refused => "refused",
            Self::NotReached => "not reached",
            Self::NotAsked => "not asked",
        }
    }

    pub(super) fn of_check(check: &Check) -> Self {
        match check.status {
            Status::Passed => Self::Passed,
            Status::Refused => Self::Refused,
            Status::NotChecked => Self::NotChecked,
            Status::NotAsked => Self::NotAsked,
            _ => Self::NotReached,
        }
    }

    /// Of a node: what was not asked counts neither as missing nor as passed.
    fn of_node(states: &[Self]) -> Self {
        let is_any = |state| states.contains(&state);
        if is_any(Self::Refused) {
            Self::Refused
        } else if is_any(Self::Passed) {
            if is_any(Self::NotChecked) || is_any(Self::NotReached) { Self::InPart } else { Self::Passed }
        } else if is_any(Self::NotChecked) {
            Self::NotChecked
        } else if is_any(Self::NotReached) || states.is_empty() {
            Self::NotReached
        } else {
            Self::NotAsked
        }
    }

    /// Of a question: not reached if one of its checks was not, and in part while one of them is not made. Witnesses that did not all cosign
    /// are no gap once a chain saw the tree.
    pub(super) fn of_question(verdict: &Verdict, question: Question) -> Self {
        let checks = || verdict.checks().iter().filter(move |check| check.step.question() == question);
        let is_anchored = checks().any(|check| check.step == Step::LogAnchored && check.status == Status::Passed);
        let is_gap = |check: &&Check| !(is_anchored && check.step == Step::LogWitnesses && check.status == Status::NotChecked);
        let states: Vec<Self> = checks().filter(is_gap).map(Self::of_check).collect();
        match Self::of_node(&states) {
            Self::InPart if states.contains(&Self::NotReached) => Self::NotReached,
            state => state,
        }
    }
}

/// Where a node stands in the chain, and what it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Link {
    Root,
    Document,
    Manifest,
    Measurement,
    Keys,
    Receipt,
    Answer,
    Channel,
    Offer,
    Payment,
    Log,
    Anchor,
}

impl Link {
    pub(super) const ALL: [Self; 12] = [
        Self::Root,
        Self::Document,
        Self::Manifest,
        Self::Measurement,
        Self::Keys,
        Self::Receipt,
        Self::Answer,
        Self::Channel,
        Self::Offer,
        Self::Payment,
        Self::Log,
        Self::Anchor,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Root => "Root",
            Self::Document => "Document",
            Self::Manifest => "Manifest",
            Self::Measurement => "Measurement",
            Self::Keys => "Keys",
            Self::Receipt => "Receipt",
            Self::Answer => "Answer",
            Self::Channel => "Channel",
            Self::Offer => "Offer",
            Self::Payment => "Payment",
            Self::Log => "Log",
            Self::Anchor => "Anchor",
        }
    }

    /// The checks that it stands for.
    pub(super) fn steps(self) -> &'static [Step] {
        match self {
            Self::Root => &[Step::AttestDocument],
            Self::Document => &[Step::EvidenceBinding],
            Self::Manifest => &[Step::EvidenceTerms, Step::EvidenceOperator, Step::EvidenceManifest],
            Self::Measurement => &[Step::PolicyWorkload, Step::PolicyOperator, Step::PolicyRegistry],
            Self::Keys => &[Step::EvidenceBlock, Step::RegistryListed],
            Self::Receipt => &[Step::ReceiptSignature, Step::ReceiptBoot, Step::ReceiptTime, Step::ReceiptBlock],
            Self::Answer => {
                &[Step::RequestCommitment, Step::ResponseCommitment, Step::WorkModel, Step::WorkClaim, Step::WorkDecoding, Step::WorkSeed]
            }
            Self::Channel => &[Step::PrivacyChannel],
            Self::Offer => &[Step::OfferSignature, Step::OfferTerms, Step::OfferPrice],
            Self::Payment => &[
                Step::PaymentSignature,
                Step::PaymentTerms,
                Step::PaymentBinding,
                Step::ReceiptPayment,
                Step::ReceiptCharge,
                Step::PaymentTransfer,
            ],
            Self::Log => &[Step::LogInclusion, Step::LogCheckpoint, Step::LogWitnesses, Step::LogConsistency],
            Self::Anchor => &[Step::LogAnchored],
        }
    }

    /// The node that a check belongs to.
    pub(super) fn of(step: Step) -> Option<Self> {
        Self::ALL.into_iter().find(|link| link.steps().contains(&step))
    }

    fn question(self) -> Question {
        self.steps().first().map_or(Question::Ran, |step| step.question())
    }
}

/// One node as it is drawn.
pub(super) struct Node {
    link: Link,
    pub(super) state: State,
    passed: usize,
    asked: usize,
    /// The check that refused.
    refused: Option<&'static str>,
    /// In a few characters, what it is about here; empty where nothing was reached. No word of others: it is not escaped.
    value: String,
    is_simulated: bool,
}

/// Every node of a verdict, with its value.
pub(super) fn nodes(verdict: &Verdict, value: impl Fn(Link) -> String) -> Vec<Node> {
    let node = |link: Link| {
        let checks: Vec<&Check> = verdict.checks().iter().filter(|check| link.steps().contains(&check.step)).collect();
        let states: Vec<State> = checks.iter().map(|check| State::of_check(check)).collect();
        let state = State::of_node(&states);
        let is_simulated = link == Link::Root && verdict.is_simulated() == Some(true);
        // What a root is not has to be said also where the check of the root refused.
        let is_shown = is_simulated || !matches!(state, State::NotReached | State::NotAsked);
        Node {
            link,
            state,
            passed: states.iter().filter(|state| **state == State::Passed).count(),
            asked: states.iter().filter(|state| **state != State::NotAsked).count(),
            refused: checks.iter().find(|check| check.status == Status::Refused).map(|check| check.id),
            value: if is_shown { fitted(&value(link)) } else { String::new() },
            is_simulated,
        }
    };
    Link::ALL.into_iter().map(node).collect()
}

/// The width of a node in its row.
const VALUE_MAX: usize = 13;

fn fitted(value: &str) -> String {
    if value.chars().count() <= VALUE_MAX { value.to_owned() } else { value.chars().take(VALUE_MAX - 1).chain(['…']).collect() }
}

impl Node {
    fn count(&self) -> String {
        match self.state {
            State::Passed | State::InPart => format!("{} of {}", self.passed, self.asked),
            state => state.word().to_owned(),
        }
    }

    fn in_words(&self) -> String {
        let Self { link, state, passed, asked, .. } = self;
        match (state, self.refused) {
            (State::Refused, Some(id)) => format!("{}: refused by {id}", link.label()),
            (State::Passed | State::InPart, _) => format!("{}: {}, {passed} of {asked} checks", link.label(), state.word()),
            _ => format!("{}: {}", link.label(), state.word()),
        }
    }

    fn dim(&self) -> &'static str {
        if matches!(self.state, State::NotReached | State::NotAsked) { " dim" } else { "" }
    }

    fn value_class(&self) -> &'static str {
        if self.is_simulated { " sim" } else { "" }
    }

    /// The connector that leads to this node: drawn as what was known when it was walked.
    fn connector(&self) -> &'static str {
        match self.state {
            State::Passed | State::InPart | State::Refused => "l-ok",
            State::NotChecked => "l-grey",
            State::NotReached | State::NotAsked => "l-none",
        }
    }

    /// Below a label: the value and how many checks passed; for a refusal the check's name, on two lines.
    fn below(&self, x: usize, top: usize) -> String {
        let line = |class: &str, y: usize, text: &str| {
            format!("<text class=\"{class} m\" x=\"{x}\" y=\"{}\">{text}</text>", top.saturating_add(y))
        };
        let simulated = if self.is_simulated { line("v sim", 99, &self.value) } else { String::new() };
        if let Some(id) = self.refused {
            let (first, second) = id.split_once('.').unwrap_or(("", id));
            let down = if self.is_simulated { 16 } else { 0 };
            let first = line("c c-red", 99_usize.saturating_add(down), &format!("{first}."));
            return simulated + &first + &line("c c-red", 114_usize.saturating_add(down), second);
        }
        if self.value.is_empty() {
            return line("c", 99, &self.count());
        }
        let value = if self.is_simulated { simulated } else { line("v", 99, &self.value) };
        value + &line("c", 116, &self.count())
    }
}

/// The glyphs, once for a page; whoever shows one refers to it.
pub(super) fn glyphs() -> String {
    let symbol = |state: State| {
        let mark = match state {
            State::Passed => "<path class=\"k\" d=\"M8 14.5l4 4 8-9\"/>",
            State::InPart => "<path class=\"k kp\" d=\"M8 14.5l4 4 8-9\"/>",
            State::NotChecked => "<path class=\"k kg\" d=\"M9 14h10\"/>",
            State::Refused => "<path class=\"k\" d=\"M9 9l10 10m0-10L9 19\"/>",
            State::NotAsked => "<circle class=\"dot\" cx=\"14\" cy=\"14\" r=\"2\"/>",
            State::NotReached => "",
        };
        let key = state.key();
        format!("<symbol id=\"g-{key}\" viewBox=\"0 0 28 28\"><circle class=\"d d-{key}\" cx=\"14\" cy=\"14\" r=\"13\"/>{mark}</symbol>")
    };
    format!("<svg class=\"glyphs\" aria-hidden=\"true\">{}</svg>", State::ALL.map(symbol).concat())
}

/// A glyph in text.
pub(super) fn icon(state: State) -> String {
    format!("<svg class=\"i\" aria-hidden=\"true\"><use href=\"#g-{}\"/></svg>", state.key())
}

/// The chain in its three forms.
pub(super) fn chain(nodes: &[Node]) -> String {
    [rows(nodes, &WIDE), rows(nodes, &MID), column(nodes)].concat()
}

struct Rows {
    name: &'static str,
    pitch: usize,
    each: usize,
}

const WIDE: Rows = Rows { name: "wide", pitch: 90, each: 12 };
const MID: Rows = Rows { name: "mid", pitch: 100, each: 7 };

/// Height of a row, and the space before the next.
const ROW_HEIGHT: usize = 120;
const ROW_GAP: usize = 16;

fn rows(nodes: &[Node], form: &Rows) -> String {
    let Rows { name, pitch, each } = form;
    let width = pitch.saturating_mul(*each);
    let mut out = String::new();
    let mut height = 0_usize;
    for (row, part) in nodes.chunks(*each).enumerate() {
        let top = row.saturating_mul(ROW_HEIGHT.saturating_add(ROW_GAP));
        height = top.saturating_add(ROW_HEIGHT);
        out.push_str(&brackets(part, *pitch, top));
        for (at, node) in part.iter().enumerate() {
            let x = pitch.saturating_mul(at).saturating_add(pitch / 2);
            let from = if at == 0 { 0 } else { x.saturating_sub(*pitch).saturating_add(16) };
            if row != 0 || at != 0 {
                out.push_str(&line(node, (from, x.saturating_sub(16)), top));
            }
            let (key, label, y) = (node.state.key(), node.link.label(), top.saturating_add(34));
            out.push_str(&format!(
                "<use href=\"#g-{key}\" x=\"{}\" y=\"{y}\" width=\"28\" height=\"28\"/><text class=\"n m{}\" x=\"{x}\" y=\"{}\">{label}</text>{}",
                x.saturating_sub(14),
                node.dim(),
                top.saturating_add(82),
                node.below(x, top)
            ));
        }
        // The chain goes on in the next row.
        if let Some(next) = nodes.get(row.saturating_add(1).saturating_mul(*each)) {
            let last = pitch.saturating_mul(part.len()).saturating_sub(pitch / 2);
            out.push_str(&line(next, (last.saturating_add(16), width), top));
        }
    }
    svg(name, nodes, (width, height), &out)
}

fn line(node: &Node, (from, to): (usize, usize), top: usize) -> String {
    let y = top.saturating_add(48);
    format!("<path class=\"{}\" d=\"M{from} {y}H{to}\"/>", node.connector())
}

/// One bracket over the nodes of each question.
fn brackets(part: &[Node], pitch: usize, top: usize) -> String {
    let mut out = String::new();
    let mut first = 0_usize;
    for run in part.chunk_by(|a, b| a.link.question() == b.link.question()) {
        let end = first.saturating_add(run.len());
        let left = pitch.saturating_mul(first).saturating_add(if first == 0 { 0 } else { 8 });
        let right = pitch.saturating_mul(end).saturating_sub(if end == part.len() { 0 } else { 8 });
        let question = run.first().map_or("", |node| node.link.question().as_str());
        out.push_str(&format!(
            "<text class=\"g\" x=\"{left}\" y=\"{}\">{question}</text><path class=\"br\" d=\"M{left} {}H{right}\"/>",
            top.saturating_add(10),
            top.saturating_add(20)
        ));
        first = end;
    }
    out
}

/// The width of a phone, less the space beside it.
const COLUMN_WIDTH: usize = 358;

fn column(nodes: &[Node]) -> String {
    let mut out = String::new();
    let (mut y, mut center_before) = (0_usize, None);
    for run in nodes.chunk_by(|a, b| a.link.question() == b.link.question()) {
        y = y.saturating_add(if center_before.is_some() { 12 } else { 0 });
        let question = run.first().map_or("", |node| node.link.question().as_str());
        out.push_str(&format!(
            "<text class=\"g\" x=\"44\" y=\"{}\">{question}</text><path class=\"br\" d=\"M44 {}H{COLUMN_WIDTH}\"/>",
            y.saturating_add(12),
            y.saturating_add(22)
        ));
        y = y.saturating_add(28);
        for node in run {
            let (center, key, label) = (y.saturating_add(20), node.state.key(), node.link.label());
            if let Some(before) = center_before.replace(center) {
                let (from, to) = (before.saturating_add(16), center.saturating_sub(16));
                out.push_str(&format!("<path class=\"{}\" d=\"M16 {from}V{to}\"/>", node.connector()));
            }
            let text = y.saturating_add(25);
            let count = node.refused.map_or_else(|| node.count(), str::to_owned);
            out.push_str(&format!(
                "<use href=\"#g-{key}\" x=\"2\" y=\"{}\" width=\"28\" height=\"28\"/><text class=\"n{}\" x=\"44\" y=\"{text}\">{label}</text>\
                 <text class=\"c c-{key}\" x=\"156\" y=\"{text}\">{count}</text>",
                y.saturating_add(6),
                node.dim()
            ));
            if !node.value.is_empty() && (node.refused.is_none() || node.is_simulated) {
                let (class, value) = (node.value_class(), &node.value);
                out.push_str(&format!("<text class=\"v e{class}\" x=\"{COLUMN_WIDTH}\" y=\"{text}\">{value}</text>"));
            }
            y = y.saturating_add(44);
        }
    }
    svg("tall", nodes, (COLUMN_WIDTH, y), &out)
}

fn svg(name: &str, nodes: &[Node], (width, height): (usize, usize), inside: &str) -> String {
    let words: Vec<String> = nodes.iter().map(Node::in_words).collect();
    format!(
        "<svg class=\"chain {name}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{name}-t {name}-d\">\
         <title id=\"{name}-t\">Chain of proof</title><desc id=\"{name}-d\">{}.</desc>{inside}</svg>",
        words.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_a_bundle_has_one_node_and_the_nodes_stand_in_the_order_of_the_steps() {
        let steps: Vec<Step> = Link::ALL.iter().flat_map(|link| link.steps()).copied().collect();
        assert_eq!(steps, Step::BUNDLE);
        for link in Link::ALL {
            assert!(link.steps().iter().all(|step| step.question() == link.question() && Link::of(*step) == Some(link)), "{link:?}");
        }
    }

    #[test]
    fn what_is_not_asked_counts_neither_as_missing_nor_as_passed() {
        use State::{InPart, NotAsked, NotChecked, NotReached, Passed, Refused};
        for (states, node) in [
            (vec![Passed, NotAsked, Passed], Passed),
            (vec![NotAsked, NotAsked], NotAsked),
            (vec![NotAsked, NotChecked], NotChecked),
            (vec![Passed, NotChecked], InPart),
            (vec![Passed, NotReached], InPart),
            (vec![NotChecked, NotReached], NotChecked),
            (vec![Passed, Refused, NotReached], Refused),
            (vec![NotReached, NotReached], NotReached),
            (vec![], NotReached),
        ] {
            assert_eq!(State::of_node(&states), node, "{states:?}");
        }
    }
}
