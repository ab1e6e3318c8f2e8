//! Writes a page for each kind of verdict that people meet, from the bundles of `vectors/`: `cargo run -p candor-report --example pages -- DIR`.
//!
//! You will see one HTML file each: verified against a chain, verified offline, refused, not to be told, relayed, free, sealed, drawn by whoever held the connection; and one in
//! which every word of others wants to act. The suite of `tests/pages/` opens them in a browser.

use std::error::Error;
use std::fs;
use std::path::Path;

use candor_report::conformance::{JudgedBundle, Surroundings, judge_bundle};
use candor_report::{PageContent, verdict_page};
use candor_verify::bytes::Hash32;
use serde_json::{Value, json};

/// What a page is called, and its case in `vectors/bundle/cases.json`.
const PAGES: [(&str, &str); 7] = [
    ("verified", "anchored"),
    ("offline", "honest"),
    ("refused", "answer_altered"),
    ("cannot-tell", "offline_where_an_anchor_is_required"),
    ("relayed", "proxied_work"),
    ("free", "nobody_paid"),
    ("sealed", "sealed_to_an_attested_key"),
];

/// Drawn by whoever held the connection.
const LIVE: (&str, &str) = ("live", "anchored");

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args().nth(1).ok_or("where to? name a directory")?;
    fs::create_dir_all(&out)?;
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(vectors.join("bundle/cases.json"))?)?;
    let file = |folder: &str, name: &str| fs::read(vectors.join(folder).join(name)).ok();
    let around = Surroundings { file: &file, unseal: &|_, _, _, _| None };
    for (page, name) in PAGES.into_iter().chain([LIVE]) {
        let case = cases.iter().find(|case| case["name"] == name).ok_or(name)?;
        let mut judged = judge_bundle(case, around)?.ok_or(name)?;
        let shown = PageContent { is_live: page == LIVE.0, ..content(&judged, "answer.candor") };
        fs::write(Path::new(&out).join(format!("{page}.html")), verdict_page(&shown))?;
        if page == "relayed" {
            // With the verdict that was on the words before: all of them get into their sentences.
            make_hostile(&mut judged)?;
            fs::write(Path::new(&out).join("hostile.html"), verdict_page(&content(&judged, &hostile())))?;
        }
    }
    Ok(())
}

fn content<'a>(judged: &'a JudgedBundle, name: &'a str) -> PageContent<'a> {
    PageContent {
        name,
        bytes: &judged.bytes,
        bundle: &judged.bundle,
        verdict: &judged.verdict,
        required: judged.required,
        transfer_tx: judged.asked_chain.map(|_| Hash32([0xb5; 32])),
        asked_chain: judged.asked_chain,
        is_live: false,
    }
}

/// Markup, a picture from elsewhere, what turns a line around, what is not seen, marks piled on a letter, and a word without an end.
fn hostile() -> String {
    let markup = "</dd></dl></main><script>document.title = 'owned'</script><img src=https://elsewhere.invalid/x onerror=alert(1)>";
    let marks = "\u{202e}deifirev\u{2066}\u{200b}\u{1b}[2K\u{feff}";
    format!("{markup}{marks} a{}{}", "\u{0301}".repeat(60), "W".repeat(400))
}

fn make_hostile(judged: &mut JudgedBundle) -> Result<(), Box<dyn Error>> {
    let turn = json!({"role": hostile(), "content": format!("{}\n{}", hostile(), "\n".repeat(40))});
    judged.bundle.request.body = serde_json::to_vec(&json!({"messages": vec![turn; 40]}))?;
    judged.bundle.request.path = hostile();
    judged.bundle.response.frames = vec![serde_json::to_vec(&json!({"choices": [{"delta": {"content": hostile().repeat(9)}}]}))?];
    judged.bundle.delivery.decoding.engine = hostile();
    let terms = &mut judged.bundle.evidence.terms.terms;
    terms.models.iter_mut().for_each(|model| model.id = hostile());
    terms.assets.iter_mut().for_each(|asset| asset.name = hostile());
    let source = judged.bundle.delivery.source.as_mut().ok_or("no source")?;
    for text in [&mut source.host, &mut source.upstream, &mut source.model_asked, &mut source.model_served, &mut source.request_id] {
        *text = hostile();
    }
    Ok(())
}
