//! The page of a verdict, over the bundles of vectors/: what it says, that nobody's words act in it, and that no bundle breaks it.

use std::fs;
use std::path::Path;

use candor_report::conformance::{JudgedBundle, Surroundings, judge_bundle};
use candor_report::{PageContent, verdict_page};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::hash::sha256;
use candor_verify::policy::Policy;
use candor_verify::step::Step;
use candor_verify::verdict::{Question, Status};
use serde_json::Value;

/// Nothing larger is a page.
const PAGE_MAX: usize = 64 * 1024;

fn vectors(folder: &str, name: &str) -> Option<Vec<u8>> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors").join(folder).join(name)).ok()
}

fn around() -> Surroundings<'static> {
    Surroundings { file: &vectors, unseal: &|_, _, _, _| None }
}

fn cases() -> Vec<Value> {
    serde_json::from_slice(&vectors("bundle", "cases.json").unwrap()).unwrap()
}

fn case(name: &str) -> Value {
    cases().into_iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no case {name}"))
}

fn judged(name: &str) -> JudgedBundle {
    judge_bundle(&case(name), around()).unwrap().unwrap()
}

/// A bundle that somebody changed, judged as the honest one is.
fn judged_as(name: &str, change: impl FnOnce(&mut Bundle)) -> JudgedBundle {
    let mut bundle = judged(name).bundle;
    change(&mut bundle);
    let mut case = case(name);
    case["bytes"] = to_hex(&bundle.encode()).into();
    judge_bundle(&case, around()).unwrap().unwrap()
}

fn content(judged: &JudgedBundle) -> PageContent<'_> {
    PageContent {
        name: "answer.candor",
        bytes: &judged.bytes,
        bundle: &judged.bundle,
        verdict: &judged.verdict,
        required: judged.required,
        transfer_tx: None,
        asked_chain: judged.asked_chain,
        is_live: false,
    }
}

fn page(name: &str) -> String {
    verdict_page(&content(&judged(name)))
}

/// What no page has, whoever wrote the words in it.
fn assert_inert(page: &str) {
    let lower = page.to_lowercase();
    for start in ["<script", "<img", "<link", "<iframe", "<object", "<embed", "<base", "<form", "<input", "<audio", "<video", "javascript:"]
    {
        assert!(!lower.contains(start), "{start}");
    }
    for attribute in ["src=", "srcset=", "url(", "@import", "http://", "https://", "xlink:", "onload", "onerror", "onclick"] {
        assert!(!lower.contains(attribute), "{attribute}");
    }
    assert!(lower.matches("href=\"").count() == lower.matches("href=\"#").count(), "a link out");
    assert!(lower.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\""));
}

/// The part of a page from here to there.
fn part<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let start = page.find(from).unwrap_or_else(|| panic!("no {from}"));
    let rest = &page[start..];
    &rest[..rest.find(to).unwrap_or_else(|| panic!("no {to} after {from}"))]
}

/// The text under a question.
fn under(page: &str, question: Question) -> &str {
    part(page, &format!("<h2>{}</h2>", question.as_str()), "</section>")
}

#[test]
fn every_bundle_of_the_vectors_has_a_page_that_is_small_and_inert_and_names_each_step_once() {
    let mut pages = 0;
    for case in cases() {
        let Some(judged) = judge_bundle(&case, around()).unwrap() else { continue };
        let page = verdict_page(&content(&judged));
        pages += 1;
        assert!(page.len() < PAGE_MAX, "{}: {} bytes", case["name"], page.len());
        assert_inert(&page);
        for step in Step::BUNDLE {
            assert_eq!(page.matches(&format!("id=\"c-{}\"", step.id())).count(), 1, "{}: {}", case["name"], step.id());
        }
        for question in Question::ALL {
            let grade = judged.verdict.grade(question).unwrap().as_str();
            assert!(under(&page, question).contains(&format!("</svg>{grade}</p>")), "{}: {grade}", case["name"]);
        }
        if judged.verdict.refused().is_some() {
            let (before, behind) = part(&page, "<desc", "</desc>").split_once(": refused by ").unwrap();
            assert!(!before.contains("not reached"), "{}: {before}", case["name"]);
            assert!(behind.split("; ").skip(1).all(|node| node.contains(": not reached")), "{}: {behind}", case["name"]);
        }
        assert_eq!(page, verdict_page(&content(&judged)), "one content, one page");
        assert!(page.contains(&sha256(&[&judged.bytes]).to_string()), "whose page it is");
    }
    assert!(250 < pages, "the folder lost its cases: {pages}");
}

#[test]
fn simulated_is_said_in_title_banner_chip_and_picture_also_of_what_was_refused() {
    for name in ["anchored", "honest", "answer_altered", "offline_where_an_anchor_is_required", "proxied_work"] {
        let page = page(name);
        assert!(page.contains("<title>SIMULATED · "), "{name}");
        assert!(page.contains("<aside class=\"sim\"") && page.contains("<li class=\"simchip\">SIMULATED</li>"), "{name}");
        assert_eq!(page.matches("sim m\"").count() + page.matches("v e sim\"").count(), 3, "{name}: in each form of the picture");
    }
    // Nothing can be said of a document that cannot be read.
    let page = page("document_of_nothing");
    assert!(!page.contains("<aside") && page.contains("<title>Refused: "));
}

#[test]
fn what_a_chain_showed_is_verified_in_every_respect() {
    let page = page("anchored");
    assert!(page.contains("<span>Verified</span>") && page.contains("<li>REPLAYABLE</li><li>ANCHORED</li>"));
    assert!(page.contains("33 of 35 checks passed, 1\u{a0}could not be made here, 1\u{a0}was not asked for, none refused."));
    // The witnesses that nobody asked for take nothing away: log and question are whole.
    assert!(page.contains("Log: passed, 3 of 3 checks; Anchor: passed, 1 of 1 checks."), "{}", part(&page, "<desc", "</desc>"));
    assert!(under(&page, Question::Logged).contains("s-ok") && under(&page, Question::Ran).contains("s-ok"));
    assert!(under(&page, Question::Private).contains("s-grey"));
    assert!(under(&page, Question::Logged).contains("fixed on chain 31337 on 21 September 2026, 14:14:22 UTC"));
    assert!(under(&page, Question::Paid).contains("0.000304 <bdi>USDC</bdi></b>: the signed price for up to 64 tokens (4 came)"));
    assert!(page.contains("12 × 1.00 + 64 × 3.00 per million tokens, + 0.0001 per request = 0.000304."));
    assert!(page.contains("<dt>Checked</dt><dd>against chain 31337</dd>") && page.contains("Chain 31337 was asked."));
    assert!(!page.contains("As the file claims") && !page.contains("What would be needed"));
}

#[test]
fn offline_a_question_is_outlined_while_one_of_its_checks_is_not_made() {
    let page = page("honest");
    for question in [Question::Ran, Question::Paid, Question::Logged] {
        assert!(under(&page, question).contains("s-part"), "{}", question.as_str());
    }
    assert!(under(&page, Question::Ran).contains("Not looked up: whether its key is registered."));
    assert!(page.contains("offline, no chain asked") && page.contains("No chain was asked."));
}

#[test]
fn a_refused_page_claims_and_whatever_follows_the_refusal_is_hollow() {
    let page = page("answer_altered");
    assert!(page.contains("<title>SIMULATED · Refused: answer.candor</title>") && page.contains("As the file claims"));
    assert!(page.contains("The money <span class=\"mut\">as claimed</span>") && !page.contains(" attested</span>"));
    assert!(page.contains("12 of 35 checks passed, 1\u{a0}refused, 19\u{a0}after it were not made, 3\u{a0}could not be made here."));
    assert!(page.contains("<dt class=\"bad\">Claimed answer</dt>") && page.contains("Not what was signed. Do not quote."));
    assert!(under(&page, Question::Ran).contains("href=\"#c-response.commitment\""));
    let picture = part(&page, "<desc", "</desc>");
    let order = "Receipt: passed in part, 3 of 4 checks; Answer: refused by response.commitment; Channel: not reached; Offer: not reached; \
                 Payment: not reached; Log: not reached; Anchor: not reached.";
    assert!(picture.contains(order), "{picture}");
    assert!(!page.contains("<li>REPLAYABLE</li>"), "a refused page has no grade beside its verdict");
}

#[test]
fn what_passed_before_a_refusal_still_names_who_could_forge_it() {
    let page = page("stock_client_where_binding_is_required");
    assert!(page.contains("<span>Refused</span>") && under(&page, Question::Paid).contains("REFUSED"));
    assert!(under(&page, Question::Ran).contains("whoever holds the software root’s key."), "the root is no hardware");
    // The answer is the one that was signed, though the payment is not.
    assert!(page.contains("class=\"quote ans\"") && !page.contains("Do not quote."));
    let stranger = self::page("receipt_signed_by_a_stranger");
    assert!(!stranger.contains("class=\"quote ans\"") && stranger.contains("Not judged: whether anybody signed this. Do not quote."));
}

#[test]
fn a_page_that_cannot_tell_says_what_would_be_needed() {
    let judged = judged("offline_where_an_anchor_is_required");
    let page = verdict_page(&content(&judged));
    assert!(page.contains("<span>Cannot tell</span>") && page.contains("As the file claims"), "nothing is a fact yet");
    let needs = part(&page, "What would be needed", "</section>");
    assert!(needs.contains("Required: <b>ANCHORED</b>. Shown: <b>SELF-LOGGED</b>."), "{needs}");
    for check in judged.verdict.checks() {
        assert_eq!(needs.contains(check.step.id()), check.status == Status::NotChecked, "{}", check.id);
    }
}

#[test]
fn relayed_work_names_who_answered_and_who_saw_it() {
    let page = page("proxied_work");
    assert!(page.contains("<li>RELAYED</li>"));
    assert!(under(&page, Question::Ran).contains("Relayed from <b><bdi>up.example</bdi></b>, model not proven."));
    assert!(under(&page, Question::Private).contains("<b><bdi>up.example</bdi></b> and the owner of the account there saw it in full."));
    let plain = under(&page, Question::Private).contains("unencrypted");
    assert!(!plain && self::page("proxied_work_in_plaintext").contains("It went there unencrypted."));
    assert!(page.contains("It says it served"), "the provider's words are its own");
}

#[test]
fn an_answer_that_nobody_paid_for_says_so() {
    let page = page("nobody_paid");
    assert!(under(&page, Question::Paid).contains("NOBODY PAID") && under(&page, Question::Paid).contains("s-ok"));
    let money = part(&page, "The money", "</section>");
    assert!(money.contains("Nobody paid for this answer.") && !money.contains("Payer"), "{money}");
    assert!(part(&page, "<desc", "</desc>").contains("Offer: not asked; Payment: passed, 2 of 2 checks"));
    assert!(!part(&page, "class=\"legend\"", "</ul>").contains("not reached"));
}

#[test]
fn a_sealed_request_was_seen_by_the_enclave_alone() {
    let page = page("sealed_to_an_attested_key");
    assert!(under(&page, Question::Private).contains("SEALED") && under(&page, Question::Private).contains("s-ok"));
    assert!(page.contains(">sealed</text>"));
}

#[test]
fn equal_price_and_public_answers_are_told_where_they_matter() {
    assert!(under(&page("stock_client_where_binding_is_not_required"), Question::Paid).contains("it may have been meant for another one"));
    assert!(under(&page("public_answer"), Question::Private).contains("public answer"));
    assert!(page("cut_by_the_node").contains("not whole: the node cut it"));
}

#[test]
fn a_transaction_is_a_hint_and_no_address_of_an_endpoint_is_ever_shown() {
    let judged = judged("anchored");
    let hint = Hash32([0xab; 32]);
    let page = verdict_page(&PageContent { transfer_tx: Some(hint), ..content(&judged) });
    assert!(page.contains("ababab…abab</span> <span class=\"mut\">a hint, not judged</span>") && page.contains("<code>0xabab"));
    assert!(!verdict_page(&content(&judged)).contains("a hint, not judged"));
}

/// Words that want to act: on a browser, on a terminal, on the order in which a line is read.
const HOSTILE: &str = "</dd></dl><script>alert(1)</script><img src=x onerror=alert(1)>\u{1b}[2K\rVERIFIED \u{202e}deifirev\u{2066}\u{200b}\u{feff}\
                       \" ' & <style>*{display:none}</style> &lt; ]]> --> \u{e0041}\u{0}";

/// None of it acts: no markup of theirs, no character that is an instruction, and the page ends where ours does.
fn assert_tamed(page: &str) {
    let lower = page.to_lowercase();
    for raw in ["<script", "<img", "<style>*", "\u{1b}", "\r", "\u{202e}", "\u{2066}", "\u{200b}", "\u{feff}", "\u{e0041}", "\0"] {
        assert!(!lower.contains(raw), "{raw:?}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("<span class=\"ctl\">U+202E</span>"));
    assert_eq!(page.matches("</dl>").count(), page.matches("<dl").count());
    assert_eq!((page.matches("<style>").count(), page.matches("</main>").count(), page.matches("</html>").count()), (1, 1, 1));
}

fn frame(text: &str) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({"choices": [{"delta": {"content": text}}]})).unwrap()
}

#[test]
fn a_hostile_answer_is_read_and_does_nothing() {
    for frames in [vec![frame(HOSTILE)], vec![HOSTILE.as_bytes().to_vec()], vec![b"\xff\xfe".to_vec(), HOSTILE.into()]] {
        let page = verdict_page(&content(&judged_as("honest", |bundle| bundle.response.frames = frames)));
        assert_tamed(&page);
        assert!(page.len() < PAGE_MAX && page.contains("Do not quote."));
    }
}

#[test]
fn a_long_answer_is_cut_and_says_how_much_is_left() {
    for unit in ["a", "<", "\u{202e}", "\u{1f512}", "\n"] {
        // Ten megabytes, in frames that the reader takes.
        let text = unit.repeat(3_300_000 / unit.len().max(4));
        let frames = vec![frame(&text); 3];
        let judged = judged_as("honest", |bundle| bundle.response.frames = frames);
        let page = verdict_page(&content(&judged));
        assert!(page.len() < PAGE_MAX, "{unit:?}: {} bytes", page.len());
        assert!(page.contains("more characters, in the file"), "{unit:?}");
    }
    let whole = "word ".repeat(800);
    let page = verdict_page(&content(&judged_as("honest", |bundle| bundle.response.frames = vec![frame(&whole)])));
    assert!(page.contains(&whole) && page.len() < PAGE_MAX, "4,000 characters are shown whole: {} bytes", page.len());
}

#[test]
fn a_hostile_question_is_read_and_does_nothing() {
    let turn = serde_json::json!({"role": HOSTILE, "content": HOSTILE});
    let chat = serde_json::to_vec(&serde_json::json!({"messages": vec![turn; 5_000]})).unwrap();
    for body in [chat, HOSTILE.as_bytes().to_vec()] {
        let page = verdict_page(&content(&judged_as("honest", |bundle| bundle.request.body = body)));
        assert_tamed(&page);
        assert!(page.len() < PAGE_MAX, "{} bytes", page.len());
    }
    for body in [&b""[..], b"\xff\xff", b"null", b"{\"messages\":1}", b"{\"messages\":[]}"] {
        let page = verdict_page(&content(&judged_as("honest", |bundle| bundle.request.body = body.to_vec())));
        assert!(page.contains("Claimed: asked, as sent") && page.contains("POST /v1/chat/completions"));
    }
}

#[test]
fn a_hostile_name_of_anything_is_read_and_does_nothing() {
    let judged = judged_as("proxied_work", |bundle| {
        let terms = &mut bundle.evidence.terms.terms;
        terms.models.iter_mut().for_each(|model| model.id = HOSTILE.to_owned());
        terms.assets.iter_mut().for_each(|asset| asset.name = HOSTILE.to_owned());
        bundle.request.path = HOSTILE.to_owned();
        bundle.delivery.decoding.engine = HOSTILE.chars().take(30).collect();
        let source = bundle.delivery.source.as_mut().unwrap();
        for text in [&mut source.host, &mut source.upstream, &mut source.model_served, &mut source.request_id] {
            *text = HOSTILE.to_owned();
        }
    });
    let page = verdict_page(&PageContent { name: HOSTILE, ..content(&judged) });
    assert_tamed(&page);
    assert!(page.contains("candor verify FILE"), "what means something to a shell is in no command");
    assert!(page.len() < PAGE_MAX, "{} bytes", page.len());
    // With the verdict that was on the words before, they get also into the sentences of what passed.
    let passed = self::judged("proxied_work");
    let page = verdict_page(&PageContent { bundle: &judged.bundle, ..content(&passed) });
    assert_tamed(&page);
}

#[test]
fn numbers_without_end_and_a_verdict_on_evidence_alone_break_nothing() {
    let judged = judged_as("honest", |bundle| {
        let receipt = &mut bundle.delivery.receipt;
        receipt.money.charged.0 = u128::MAX;
        receipt.money.max_amount.0 = u128::MAX;
        receipt.money.chain_id = u64::MAX;
        receipt.sequence = u64::MAX;
        (receipt.work.prompt_tokens, receipt.work.completion_tokens) = (u64::MAX, u64::MAX);
        (receipt.work.started_at.0, receipt.work.finished_at.0) = (u64::MAX, u64::MAX);
        bundle.delivery.checkpoint.checkpoint.tree.size = u64::MAX;
        if let Some(sale) = &mut bundle.sale {
            (sale.offer.amount.0, sale.offer.prompt_tokens, sale.offer.max_tokens) = (u128::MAX, u64::MAX, u64::MAX);
        }
        bundle.evidence.terms.terms.assets.iter_mut().for_each(|asset| asset.decimals = 255);
    });
    let page = verdict_page(&content(&judged));
    assert!(page.contains("18446744073709551615 ms since 1970") && page.len() < PAGE_MAX);
    let passed = self::judged("honest");
    assert!(!verdict_page(&PageContent { bundle: &judged.bundle, ..content(&passed) }).contains("0x0x"));

    let moment = candor_verify::evidence::Moment::OwnTime;
    let (alone, _) =
        candor_verify::evidence::verify_evidence(&passed.bundle.evidence, &Policy::default(), moment, &candor_verify::eip712::K256);
    let page = verdict_page(&PageContent { verdict: &alone, ..content(&passed) });
    assert!(page.contains("<span>Refused</span>") && under(&page, Question::Ran).contains("NOT REACHED"));
}
