//! A verdict on one bundle as one HTML page: to print, to attach, to hand to somebody who has no terminal. Spec: policy.md §3.
//!
//! ```text
//! bundle, verdict ──▶ questions   four answers, each with its grade and who is still trusted
//!                 ──▶ picture     the chain of proof
//!                 ──▶ talk        what was asked and answered
//!                 ──▶ money       what it cost
//!                 ──▶ folds       every check, full values, words
//! ```
//!
//! Read in this order: how it ended, the questions, the chain, the conversation and the money, who could still forge it, how to check it
//! oneself. A page is a drawing, which anybody can draw, and says so: the file is the evidence.
//!
//! - **Invariant:** one file. No script, no picture, font or style from elsewhere, no link out; a policy in the page forbids them too.
//! - **Invariant:** what is said of the verdict comes from its typed values; no sentence of one is taken apart.
//! - **Invariant:** what the bundle says is called a claim unless the verdict on it is *verified*, and SIMULATED is said whenever the
//!   document names a root that is no hardware root.
//! - **Invariant:** the same content gives the same page, and no bundle makes a large one.

mod folds;
mod live;
mod money;
mod picture;
mod questions;
mod said;
mod talk;
mod values;

use candor_verify::attest::{TrustRoot, parse_document};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Hash32;
use candor_verify::hash::sha256;
use candor_verify::receipt::Channel;
use candor_verify::step::Step;
use candor_verify::time::UnixMs;
use candor_verify::verdict::{Assurance, Check, LogLevel, Outcome, Status, Verdict};

pub use self::live::{LIVE_REQUESTS_MAX, LiveEnd, LiveNode, LivePage, LiveRequest, LiveSpend, live_page};
use self::picture::{Link, Node, State, icon};
pub use self::values::ends;
use self::values::{Unit, brief, moment, time_of_day};
use crate::verdict::{SIMULATED, qualities};

/// How every page begins, and nothing else: by this one is told from a file that must not be written over.
pub const PAGE_BEGINNING: &str = "<!doctype html>\n<html lang=\"en\" data-candor=\"verdict\">";

/// What a page shows.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever makes a page says all of it")]
pub struct PageContent<'a> {
    /// Name of the file, for the reader to find it again; without its folders, which are nobody else's business.
    pub name: &'a str,
    /// The file: the page shows its SHA-256.
    pub bytes: &'a [u8],
    /// What the file holds.
    pub bundle: &'a Bundle,
    /// The verdict on this very bundle.
    pub verdict: &'a Verdict,
    /// The least level of the log that the policy calls verified.
    pub required: LogLevel,
    /// Transaction of the transfer, as hints beside the file name it: shown as a hint, judged by nobody.
    pub transfer_tx: Option<Hash32>,
    /// The chain that was asked, if one was. Never the address of an endpoint: those hold keys.
    pub asked_chain: Option<u64>,
    /// Whether the program that draws held the connection of this answer, pinned to the attested key: no file shows that.
    pub is_live: bool,
}

/// The page. Whole and by itself, for a browser or a printer.
///
/// # Security
/// It holds the prompt and the answer in clear, as the bundle does. The verdict must be of this very bundle: a page of two halves that do
/// not belong together lies.
#[must_use]
pub fn verdict_page(content: &PageContent<'_>) -> String {
    let page = Page::new(content);
    let (head, banner, top, proof) = (page.head(), page.banner(), page.top(), page.proof());
    let (needs, talk, money) = (page.needs(), talk::section(&page), money::section(&page));
    let (forge, check, folds, footer) = (page.forge(), page.check_yourself(), folds::section(&page), page.footer());
    format!(
        "{PAGE_BEGINNING}{head}<body>\n{glyphs}{banner}<main>\n{top}{needs}{proof}<div class=\"two\">\n{talk}{money}</div>\n\
         <div class=\"two\">\n{forge}{check}</div>\n{folds}{footer}</main></body></html>\n",
        glyphs = picture::glyphs()
    )
}

/// The content, and what several sections read off it.
struct Page<'a> {
    content: &'a PageContent<'a>,
    bundle: &'a Bundle,
    verdict: &'a Verdict,
    /// The token that the receipt is about.
    unit: Unit<'a>,
}

impl<'a> Page<'a> {
    fn new(content: &'a PageContent<'a>) -> Self {
        let (bundle, verdict) = (content.bundle, content.verdict);
        let money = &bundle.delivery.receipt.money;
        let unit = Unit::of(&bundle.evidence.terms.terms, money.chain_id, &money.asset);
        Self { content, bundle, verdict, unit }
    }

    /// Whether nobody has to believe what the bundle says.
    fn is_claim(&self) -> bool {
        self.verdict.outcome() != Outcome::Verified
    }

    fn check(&self, step: Step) -> Option<&'a Check> {
        self.verdict.checks().iter().find(|check| check.step == step)
    }

    fn status(&self, step: Step) -> Status {
        self.check(step).map_or(Status::NotReached, |check| check.status)
    }

    fn count(&self, status: Status) -> usize {
        self.verdict.checks().iter().filter(|check| check.status == status).count()
    }

    /// The name that clients ask the model by, as the signed terms have it.
    fn model_name(&self) -> Option<&'a str> {
        let model = &self.bundle.delivery.receipt.work.model_id;
        self.bundle.evidence.terms.terms.model(model).map(|model| model.id.as_str())
    }

    fn title(&self) -> (&'static str, State) {
        match self.verdict.outcome() {
            Outcome::Verified => ("Verified", State::Passed),
            Outcome::Refused => ("Refused", State::Refused),
            _ => ("Cannot tell", State::NotChecked),
        }
    }

    fn is_simulated(&self) -> bool {
        self.verdict.is_simulated() == Some(true)
    }

    fn head(&self) -> String {
        let simulated = if self.is_simulated() { "SIMULATED · " } else { "" };
        let (title, name) = (self.title().0, said::plain(self.content.name, NAME_MAX));
        format!(
            "<head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"referrer\" content=\"no-referrer\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{simulated}{title}: {name}</title>\n<style>{}</style></head>\n",
            squeezed(STYLE)
        )
    }

    fn banner(&self) -> &'static str {
        if self.is_simulated() {
            "<aside class=\"sim\" aria-label=\"Simulated evidence\"><p><strong>SIMULATED</strong><span>No protected hardware took part. \
             Whoever holds the software root’s key could have made all of this up.</span></p></aside>\n"
        } else {
            ""
        }
    }

    /// How it ended, what it is about, and the four questions.
    fn top(&self) -> String {
        let (title, state) = self.title();
        let lead = self.lead();
        let chip = |word: &str| format!("<li{}>{word}</li>", if word == SIMULATED { " class=\"simchip\"" } else { "" });
        let chips: String = qualities(self.verdict).into_iter().map(chip).collect();
        let chips = if chips.is_empty() { chips } else { format!("<ul class=\"chips\">{chips}</ul>\n") };
        format!(
            "<div class=\"top\">\n<header><p class=\"eyebrow\">Candor · verdict on one AI answer</p>\n<h1>{}<span>{title}</span></h1>\n{chips}<p>{lead}</p></header>\n\
             {}{}</div>\n",
            icon(state),
            questions::section(self),
            self.case_data()
        )
    }

    fn lead(&self) -> String {
        let [passed, missing, unasked, unreached] =
            [Status::Passed, Status::NotChecked, Status::NotAsked, Status::NotReached].map(|status| self.count(status));
        let all = self.verdict.checks().len();
        let mut counts = vec![format!("{passed} of {all} checks passed")];
        let mut tell = |count: usize, what: &str| {
            if count != 0 {
                counts.push(format!("{count}\u{a0}{what}"));
            }
        };
        let refused = self.verdict.refused();
        if refused.is_some() {
            tell(1, "refused");
            tell(unreached, "after it were not made");
        }
        tell(missing, "could not be made here");
        tell(unasked, if unasked == 1 { "was not asked for" } else { "were not asked for" });
        if refused.is_none() {
            counts.push("none refused".to_owned());
        }
        let (counts, required, reached) = (counts.join(", "), self.content.required, self.verdict.log_level());
        match (self.verdict.outcome(), refused) {
            (Outcome::Verified, _) => format!("Everything in this file holds together: {counts}."),
            (_, Some(check)) => format!("{} {counts}.", questions::why(check.step)),
            _ if self.lacks_texts() => {
                format!("A proof holds neither question nor answer, so that nothing was compared with them: {counts}.")
            }
            _ if reached < required => {
                format!("The policy asks for {}, and what was shown is {}: {counts}.", required.as_str(), reached.as_str())
            }
            _ => format!("What was read from a chain leaves something open: {counts}."),
        }
    }

    /// A proof: the texts that it speaks of are somewhere else.
    fn lacks_texts(&self) -> bool {
        self.check(Step::RequestCommitment).is_some_and(|check| check.status == Status::NotChecked)
    }

    fn case_data(&self) -> String {
        let receipt = &self.bundle.delivery.receipt;
        let model = self.model_name().map(|model| said::name(model, NAME_MAX)).unwrap_or_default();
        let checked = match self.content.asked_chain {
            Some(chain) => format!("against chain {chain}"),
            None => "offline, no chain asked".to_owned(),
        };
        let rows = [
            ("Answered", moment(receipt.work.finished_at)),
            ("Model", format!("{model} {}", brief(receipt.work.model_id))),
            ("File", format!("{} {}", said::name(self.content.name, NAME_MAX), brief(sha256(&[self.content.bytes])))),
            ("Receipt", format!("no. {} of log {}", receipt.sequence, brief(receipt.log_id))),
            ("Checked", checked),
        ];
        let rows: String = rows.map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>")).concat();
        let claim = if self.is_claim() { "<p class=\"as\">As the file claims</p>" } else { "" };
        format!("<div class=\"case\">{claim}<dl>{rows}</dl></div>\n")
    }

    /// What would have to be shown, where a verdict cannot tell.
    fn needs(&self) -> String {
        if self.verdict.outcome() != Outcome::CannotTell {
            return String::new();
        }
        let open = self.verdict.checks().iter().filter(|check| check.status == Status::NotChecked);
        let rows: String = open
            .map(|check| format!("<li><code>{}</code> needs {}</li>", check.step.id(), said::said(&check.expected, EVIDENCE_MAX)))
            .collect();
        let (required, reached) = (self.content.required, self.verdict.log_level());
        let words = format!("Required: <b>{}</b>. Shown: <b>{}</b>.", required.as_str(), reached.as_str());
        let level = match (required, self.content.asked_chain) {
            _ if self.lacks_texts() => {
                "Your own copy of both: <code>candor verify PROOF --request FILE --response FILE --html PAGE</code>.".to_owned()
            }
            _ if required <= reached => {
                "What the chain showed so far leaves something open, whatever level is required; more of it may settle that.".to_owned()
            }
            (LogLevel::Anchored, None) => format!("{words} Only a chain shows an anchor: name your own with <code>--rpc</code>."),
            (LogLevel::Anchored, Some(_)) => {
                format!("{words} The chain that was asked shows no anchor in time of a tree that holds this receipt.")
            }
            _ => format!("{words} More witnesses of the policy have to cosign."),
        };
        format!(
            "<section class=\"needs\"><h2>What would be needed</h2><p>{level}</p>\n\
             <p class=\"small\">Not checked:</p><ul class=\"small gaps\">{rows}</ul></section>\n"
        )
    }

    fn proof(&self) -> String {
        let nodes = picture::nodes(self.verdict, |link| self.value_of(link));
        let is_there = |state: &State| nodes.iter().any(|node: &Node| node.state == *state);
        let legend: String =
            State::ALL.iter().filter(|state| is_there(state)).map(|state| format!("<li>{}{}</li>", icon(*state), state.word())).collect();
        format!(
            "<section class=\"proof\"><div class=\"bar\"><h2>Chain of proof</h2><ul class=\"legend\">{legend}</ul></div>\n{}</section>\n",
            picture::chain(&nodes)
        )
    }

    /// What a node of the picture is about here. Numbers and words of ours only.
    fn value_of(&self, link: Link) -> String {
        let (evidence, delivery) = (&self.bundle.evidence, &self.bundle.delivery);
        let (money, work) = (&delivery.receipt.money, &delivery.receipt.work);
        match link {
            Link::Root => match self.verdict.root() {
                _ if self.is_simulated() => "SIMULATED".to_owned(),
                Some(root) if root == TrustRoot::AWS_NITRO_G1 => "AWS Nitro".to_owned(),
                Some(root) => ends(&Hash32(root.fingerprint).to_string()),
                None => String::new(),
            },
            Link::Document => {
                let document = parse_document(evidence.document());
                document.map(|document| time_of_day(UnixMs(document.claimed_timestamp_ms()))).unwrap_or_default()
            }
            Link::Manifest => ends(&evidence.manifest.hash().to_string()),
            Link::Measurement => self.workload().map(|workload| ends(&workload.to_string())).unwrap_or_default(),
            Link::Keys => ends(&evidence.manifest.k_sig.to_string()),
            Link::Receipt => format!("no. {}", delivery.receipt.sequence),
            Link::Answer => format!("{} + {} tok.", work.prompt_tokens, work.completion_tokens),
            Link::Channel => if work.channel == Channel::Sealed { "sealed" } else { "TLS" }.to_owned(),
            Link::Offer => self.unit.number(self.bundle.sale.as_ref().map_or(money.max_amount, |sale| sale.offer.amount)),
            Link::Payment if self.bundle.sale.is_none() => "nobody paid".to_owned(),
            Link::Payment => self.unit.number(money.charged),
            Link::Log => {
                let size = delivery.checkpoint.checkpoint.tree.size;
                format!("{size} {}", if size == 1 { "entry" } else { "entries" })
            }
            Link::Anchor => match self.verdict.anchored() {
                Some(known) => time_of_day(known.at.ms()),
                None if self.content.asked_chain.is_some() => "none seen".to_owned(),
                None => "no chain".to_owned(),
            },
        }
    }

    /// What was measured: the check shows the id and nothing else.
    fn workload(&self) -> Option<Hash32> {
        self.check(Step::PolicyWorkload).and_then(|check| Hash32::from_hex(&check.got))
    }

    /// PCR0 to PCR2, as the document says; whether it is genuine the verdict says.
    fn measurements(&self) -> Option<[u8; 144]> {
        parse_document(self.bundle.evidence.document()).ok()?.claimed_measurements().ok()
    }

    fn forge(&self) -> String {
        let who = match self.verdict.assurance() {
            Assurance::None => "Nothing was verified, so the question does not arise.",
            Assurance::Simulated => "<b>Whoever holds the software root’s key</b> can forge everything here. This is SIMULATED evidence.",
            Assurance::NitroVendorAndCloudOperator => {
                "<b>AWS</b> could: it makes the hardware and runs the cloud. Who can touch the machine is kept out by its walls alone."
            }
            other => other.as_str(),
        };
        let gaps: String = self.verdict.not_proven().iter().map(|gap| format!("<li>{}</li>", said::said(gap, EVIDENCE_MAX))).collect();
        let gaps = if self.verdict.refused().is_some() || gaps.is_empty() {
            String::new()
        } else {
            format!("\n<p class=\"small\">Not proven:</p><ul class=\"small gaps\">{gaps}</ul>")
        };
        format!("<section><h2>Who could still forge this?</h2><p>{who}</p>{gaps}</section>\n")
    }

    fn check_yourself(&self) -> String {
        let name = Some(self.content.name).filter(|name| is_plain_name(name)).unwrap_or("FILE");
        let rpc = if self.verdict.refused().is_some() { "" } else { " --rpc YOUR_RPC" };
        let root = if self.is_simulated() { "the root of this simulation" } else { "the root" };
        format!(
            "<section><h2>Check it yourself</h2><pre><code>candor verify {name}{rpc}</code></pre><p class=\"small\">This page is a drawing; anybody can draw one. \
             The file is the evidence. Your policy must name {root} (<code>--policy</code>).</p></section>\n"
        )
    }

    fn footer(&self) -> String {
        let chain = match self.content.asked_chain {
            Some(chain) => format!("Chain {chain} was asked."),
            None => "No chain was asked.".to_owned(),
        };
        format!("<footer>Made by <code>candor verify --html</code>. No script, no network. {chain}</footer>\n")
    }
}

/// Whether a name can stand in a command that people copy: nothing in it means anything to a shell, and it is no option.
fn is_plain_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_MAX && !name.starts_with('-') && name.bytes().all(is_plain)
}

/// Characters of a name: of a file, a model, a host.
const NAME_MAX: usize = 80;

/// Characters of what a check expected or found.
const EVIDENCE_MAX: usize = 240;

const STYLE: &str = include_str!("page.css");

/// A style sheet without its comments and its margins.
fn squeezed(style: &str) -> String {
    let mut out = String::new();
    let mut rest = style;
    while let Some((before, comment)) = rest.split_once("/*") {
        out.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    let lines = out.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n").replace(": ", ":").replace(" {", "{").replace("{\n", "{").replace(";\n", ";").replace(";}", "}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_squeezed_style_has_no_comment_and_what_it_says_is_the_same() {
        assert_eq!(
            squeezed("/* why */\na {\n  color: red;\n  margin: 0;\n}\n\n@media print {\n  b { c: d }\n}\n"),
            "a{color:red;margin:0}\n@media print{b{ c:d }\n}"
        );
        let style = squeezed(STYLE);
        assert!(!style.contains("/*") && !style.contains("<") && style.matches('{').count() == style.matches('}').count());
        assert!(!style.contains("url(") && !style.contains("@import"), "a page loads nothing");
    }

    #[test]
    fn a_name_that_means_something_to_a_shell_is_not_in_a_command() {
        assert!(["answer.candor", "a-b_c.1"].into_iter().all(is_plain_name));
        for name in ["", "--json", "a b", "a;b", "$(a)", "a\nb", "é", &"a".repeat(81)] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
