//! The page of a running proxy: what it answered, what was spent of what may be, and which nodes it may ask. Each answer leads to the page of its
//! verdict.
//!
//! In: facts as values, from whoever runs it. Out: one HTML page, of the same style and under the same rules as a verdict's: no script, nothing from
//! elsewhere, words of others through `said` alone. Not here: HTTP, how often it is looked at, and the verdict of an answer, whose words are passed
//! in as they were when the answer came.

use candor_verify::bytes::{Address, Amount};
use candor_verify::terms::{Asset, Classes};
use candor_verify::time::UnixMs;

use super::picture::{State, glyphs, icon};
use super::said;
use super::values::{brief, chain, grouped, moment, time_of_day};
use super::{NAME_MAX, STYLE, squeezed};
use crate::decimal_text;
use crate::verdict::SIMULATED;

/// What the page shows.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever makes a page says all of it")]
pub struct LivePage<'a> {
    /// When.
    pub at: UnixMs,
    /// Newest first.
    pub requests: &'a [LiveRequest],
    /// By asset, in the order of the policy.
    pub spend: &'a [LiveSpend],
    /// Those that may be asked.
    pub nodes: &'a [LiveNode],
    /// Seconds after which the browser asks for it again; `None` if it stands still.
    pub refreshes_s: Option<u64>,
}

/// One request that is over.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever makes a page says all of it")]
pub struct LiveRequest {
    /// When it came.
    pub at: UnixMs,
    /// How long it took.
    pub took_ms: u64,
    /// Model, as it was asked for.
    pub model: Option<String>,
    /// Host and port.
    pub node: Option<String>,
    /// How it ended.
    pub end: LiveEnd,
}

/// How a request ended.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum LiveEnd {
    /// With a verified answer.
    Answered {
        /// Id of its receipt, 32 hex digits.
        receipt_id: String,
        /// Tokens read and written.
        tokens: (u64, u64),
        /// What it cost.
        charge: String,
        /// The verdict's words.
        verdict: Vec<String>,
        /// How the answer ended, by its receipt.
        outcome: String,
    },
    /// With an error.
    Failed {
        /// Status.
        status: u16,
        /// Its code.
        code: String,
    },
}

/// What was spent of one asset in the last 24 hours.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever makes a page says all of it")]
pub struct LiveSpend {
    /// Chain of the token.
    pub chain_id: u64,
    /// Token contract.
    pub asset: Address,
    /// Name and decimals, if a node's terms say them.
    pub known: Option<(String, u8)>,
    /// Unresolved payments included.
    pub spent: Amount,
    /// The policy's cap.
    pub max_per_day: Amount,
    /// The policy's cap for one request.
    pub max_per_request: Amount,
}

/// A verified node.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever makes a page says all of it")]
pub struct LiveNode {
    /// Host and port.
    pub authority: String,
    /// Who runs it.
    pub operator: Address,
    /// Whether its evidence is SIMULATED.
    pub is_simulated: bool,
    /// When it was verified.
    pub verified_at: UnixMs,
    /// What it sells, at which prices now, in which token.
    pub prices: Vec<(String, Classes, Asset)>,
    /// How long it takes to name a price.
    pub latency_ms: Option<u64>,
    /// Answers so far.
    pub answers: u64,
    /// Why it is asked after the others, if it is.
    pub failing: Option<String>,
}

/// Requests that a page shows, at most.
pub const LIVE_REQUESTS_MAX: usize = 500;

/// Prices of one node that are shown.
const PRICES_MAX: usize = 8;

/// Characters of a reason.
const REASON_MAX: usize = 120;

/// The page. Whole and by itself.
///
/// # Security
/// It holds no prompt and no answer; the pages that it leads to do.
#[must_use]
pub fn live_page(page: &LivePage<'_>) -> String {
    let simulated = page.nodes.iter().any(|node| node.is_simulated);
    let banner = if simulated { SIMULATED_STRIP } else { "" };
    let style = squeezed(&[STYLE, LIVE_STYLE].concat());
    let (requests, spend, nodes) = (requests(page), spend(page.spend), nodes(page.nodes));
    let (at, live) = (moment(page.at), refreshing(page.refreshes_s));
    format!(
        "<!doctype html>\n<html lang=\"en\" data-candor=\"proxy\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Candor proxy</title>\n<style>{style}</style></head><body>\n{glyphs}{banner}<main>\n\
         <header class=\"live\"><p class=\"eyebrow\">Candor · proxy on this machine</p>\n<h1>Answers</h1>\n<p>As of {at}. {live}</p></header>\n\
         {requests}<div class=\"two\">\n{spend}{nodes}</div>\n\
         <footer>Nothing is bought from here. Each verdict is of the moment when its answer came; its page judges the kept file again.</footer>\n\
         </main></body></html>\n",
        glyphs = glyphs()
    )
}

fn refreshing(seconds: Option<u64>) -> String {
    match seconds {
        Some(seconds) => format!("Looks again every {seconds} seconds; <a href=\"/?still\">stop that</a>."),
        None => "Stands still; <a href=\"/\">look again and again</a>.".to_owned(),
    }
}

fn requests(page: &LivePage<'_>) -> String {
    if page.requests.is_empty() {
        return "<section><h2>Requests</h2><p>None yet. Whatever asks through this proxy is listed here.</p></section>\n".to_owned();
    }
    let rows: String = page.requests.iter().take(LIVE_REQUESTS_MAX).map(request).collect();
    format!(
        "<section><h2>Requests</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Requests, newest first\"><table class=\"rows\">\
         <thead><tr><th scope=\"col\">Time, UTC</th><th scope=\"col\">Verdict</th><th scope=\"col\">Model</th><th scope=\"col\">Tokens</th>\
         <th scope=\"col\">Charge</th><th scope=\"col\">Node</th><th scope=\"col\">Took</th></tr></thead><tbody>\n{rows}</tbody></table></div></section>\n"
    )
}

fn request(request: &LiveRequest) -> String {
    let named = |name: &Option<String>| {
        name.as_deref().map_or_else(|| "<span class=\"mut\">none</span>".to_owned(), |name| said::name(name, NAME_MAX))
    };
    let (state, verdict, tokens, charge) = match &request.end {
        LiveEnd::Answered { receipt_id, tokens: (read, written), charge, verdict, outcome } => {
            let is_verified = verdict.first().is_some_and(|word| word == "VERIFIED");
            let words: Vec<String> = verdict.iter().map(|word| word_of(word)).collect();
            let words = words.join(" · ");
            // Whatever else stands there: a link goes to an id of ours or nowhere.
            let link = if is_id(receipt_id) { format!("<a href=\"/answers/{receipt_id}\">{words}</a>") } else { words };
            let cut = if outcome == "complete" {
                String::new()
            } else {
                format!("<br><span class=\"mut\">{}</span>", said::name(outcome, NAME_MAX))
            };
            let state = if is_verified { State::Passed } else { State::NotChecked };
            let tokens = format!("{} + {}", grouped((*read).into()), grouped((*written).into()));
            (state, format!("{link}{cut}"), tokens, charged(charge))
        }
        LiveEnd::Failed { status, code } => {
            (State::Refused, format!("NO ANSWER · {status} {}", said::name(code, NAME_MAX)), String::new(), String::new())
        }
    };
    let (time, took) = (time_of_day(request.at), grouped(request.took_ms.into()));
    let (model, node) = (named(&request.model), named(&request.node));
    format!(
        "<tr><td><span title=\"{}\">{time}</span></td><td class=\"st\">{} {verdict}</td><td>{model}</td><td class=\"num\">{tokens}</td><td>{charge}</td><td>{node}</td><td class=\"num\">{took} ms</td></tr>\n",
        moment(request.at),
        icon(state)
    )
}

/// An amount and the name of its token, which is anybody's text.
fn charged(charge: &str) -> String {
    let is_number = |text: &&str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match charge.split_once(' ') {
        Some((amount, name)) if is_number(&amount) => format!("{amount} {}", said::name(name, NAME_MAX)),
        _ => said::plain(charge, NAME_MAX),
    }
}

/// A word of a verdict; SIMULATED looks as it does everywhere.
fn word_of(word: &str) -> String {
    let shown = said::plain(word, NAME_MAX);
    if word == SIMULATED { format!("<span class=\"simword\">{shown}</span>") } else { shown }
}

fn is_id(receipt_id: &str) -> bool {
    receipt_id.len() == 32 && receipt_id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn spend(assets: &[LiveSpend]) -> String {
    let rows: String = assets.iter().map(spent).collect();
    let rows = if rows.is_empty() { "<p>The policy allows no payment on this chain.</p>".to_owned() } else { rows };
    format!(
        "<section><h2>Spent in 24 hours</h2>{rows}<p class=\"small\">Payments of which nobody knows yet whether they move are counted as spent.</p></section>\n"
    )
}

fn spent(spend: &LiveSpend) -> String {
    let unit = spend.known.as_ref().map_or_else(|| format!("units of {}", brief(spend.asset)), |(name, _)| said::name(name, NAME_MAX));
    let decimals = spend.known.as_ref().map_or(0, |(_, decimals)| *decimals).min(36);
    let number = |amount: Amount| decimal_text(amount, decimals);
    let is_over = spend.max_per_day <= spend.spent;
    let left = if is_over { " <b class=\"bad\">nothing is left</b>" } else { "" };
    format!(
        "<table class=\"kv\"><tr><th scope=\"row\">Spent</th><td><b>{}</b> of {} {unit}{left}</td></tr><tr><th scope=\"row\">At most a request</th><td>{} {unit}</td></tr>\
         <tr><th scope=\"row\">Chain</th><td>{} <span class=\"mut\">{}</span></td></tr></table>\n",
        number(spend.spent),
        number(spend.max_per_day),
        number(spend.max_per_request),
        spend.chain_id,
        chain(spend.chain_id)
    )
}

fn nodes(nodes: &[LiveNode]) -> String {
    let rows: String = nodes.iter().map(node).collect();
    let rows = if rows.is_empty() { "<p class=\"bad\">None is verified now.</p>".to_owned() } else { rows };
    format!("<section><h2>Nodes</h2>{rows}</section>\n")
}

fn node(node: &LiveNode) -> String {
    let (state, word) = match &node.failing {
        None => (State::Passed, "asked by its price".to_owned()),
        Some(why) => (State::NotChecked, format!("asked last: {}", said::name(why, REASON_MAX))),
    };
    let simulated = if node.is_simulated { " <span class=\"simword\">SIMULATED</span>" } else { "" };
    let latency = node.latency_ms.map_or_else(|| "not asked yet".to_owned(), |ms| format!("{} ms to a price", grouped(ms.into())));
    let price = |(model, classes, asset): &(String, Classes, Asset)| {
        let decimals = asset.decimals.min(36);
        let number = |amount: Amount| decimal_text(amount, decimals);
        format!(
            "<tr><th scope=\"row\">{}</th><td>{} in, {} out per million tokens, {} a request, {}</td></tr>",
            said::name(model, NAME_MAX),
            number(classes.input),
            number(classes.output),
            number(classes.request),
            said::name(&asset.name, 24)
        )
    };
    let prices: String = node.prices.iter().take(PRICES_MAX).map(price).collect();
    format!(
        "<table class=\"kv node\"><caption>{} {}{simulated}</caption><tr><th scope=\"row\">State</th><td>{word}</td></tr><tr><th scope=\"row\">Operator</th><td>{}</td></tr>\
         <tr><th scope=\"row\">Verified</th><td>{}</td></tr><tr><th scope=\"row\">Latency</th><td>{latency}</td></tr><tr><th scope=\"row\">Answers</th><td>{}</td></tr>{prices}</table>\n",
        icon(state),
        said::name(&node.authority, NAME_MAX),
        brief(node.operator),
        moment(node.verified_at),
        grouped(node.answers.into())
    )
}

const SIMULATED_STRIP: &str = "<aside class=\"sim\" aria-label=\"Simulated evidence\"><p><strong>SIMULATED</strong><span>At least one node runs without \
    protected hardware. Whoever holds its software root’s key could make its answers up.</span></p></aside>\n";

const LIVE_STYLE: &str = include_str!("live.css");

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(model: &str, receipt_id: &str) -> LiveRequest {
        LiveRequest {
            at: UnixMs(1_795_886_620_000),
            took_ms: 1_234,
            model: Some(model.to_owned()),
            node: Some("127.0.0.1:8443".to_owned()),
            end: LiveEnd::Answered {
                receipt_id: receipt_id.to_owned(),
                tokens: (15, 64),
                charge: "0.000301 USDC".to_owned(),
                verdict: ["VERIFIED", "SIMULATED", "REPLAYABLE", "SELF-LOGGED"].map(str::to_owned).to_vec(),
                outcome: "complete".to_owned(),
            },
        }
    }

    fn page(requests: &[LiveRequest]) -> String {
        live_page(&LivePage { at: UnixMs(1_795_886_620_000), requests, spend: &[], nodes: &[], refreshes_s: Some(5) })
    }

    #[test]
    fn an_answer_is_shown_with_its_words_and_leads_to_the_page_of_its_verdict() {
        let id = "0a".repeat(16);
        let html = page(&[answered("candor-mini", &id)]);
        assert!(html.contains(&format!(
            "<a href=\"/answers/{id}\">VERIFIED · <span class=\"simword\">SIMULATED</span> · REPLAYABLE · SELF-LOGGED</a>"
        )));
        assert!(html.contains("15 + 64") && html.contains("0.000301 <bdi>USDC</bdi>") && html.contains("1,234 ms"));
        assert!(!html.contains("<script") && !html.contains("http:") && !html.contains("https:") && !html.contains("http-equiv=\"refresh"));
    }

    #[test]
    fn words_of_others_are_text_and_a_link_goes_to_an_id_or_nowhere() {
        let hostile = "</td><script>alert(1)</script>\u{202e}";
        let html = page(&[
            answered(hostile, "\"><script>"),
            LiveRequest { end: LiveEnd::Failed { status: 402, code: hostile.into() }, ..answered("m", "") },
        ]);
        assert!(!html.contains("<script") && !html.contains('\u{202e}') && !html.contains("/answers/"), "{html}");
        assert!(html.contains("&lt;script&gt;") && html.contains("NO ANSWER · 402"));
    }

    #[test]
    fn a_page_has_an_end_whatever_was_asked() {
        let many: Vec<LiveRequest> = (0..2_000).map(|_| answered(&"x".repeat(10_000), &"0a".repeat(16))).collect();
        let html = page(&many);
        assert_eq!(html.matches("<tr><td>").count(), LIVE_REQUESTS_MAX);
        assert!(html.len() < 1 << 20, "{} bytes", html.len());
    }

    #[test]
    fn money_is_shown_in_the_decimals_of_its_token_and_an_empty_budget_is_said() {
        let spend = LiveSpend {
            chain_id: 8453,
            asset: Address([5; 20]),
            known: Some(("USDC".to_owned(), 6)),
            spent: Amount(1_000_000),
            max_per_day: Amount(1_000_000),
            max_per_request: Amount(301),
        };
        let html = live_page(&LivePage { at: UnixMs(0), requests: &[], spend: &[spend], nodes: &[], refreshes_s: None });
        assert!(
            html.contains("<b>1.000000</b> of 1.000000 <bdi>USDC</bdi> <b class=\"bad\">nothing is left</b>") && html.contains("0.000301")
        );
        assert!(html.contains("Stands still") && html.contains("None is verified now"));
    }
}
