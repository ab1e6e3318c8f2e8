//! A real node as its operator sees it: its log, its metrics, and the dashboard and rules that use them (packaging/).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candor_client::plain;
use candor_verify::bytes::to_hex;
use serde_json::Value;

use crate::support::http::chat;
use crate::support::payer::{Offered, Payer, question};
use crate::support::split::{Split, metrics_url};
use crate::support::{World, eventually};

/// Quotes, braces, a backslash, a line of the format and what a page would obey. Terms refuse controls, so there is none.
const HOSTILE_MODEL: &str = r#"a"} 1 # TYPE candor_ready \n\ {x="</script><img src=x onerror=alert(1)>"#;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name)
}

async fn page(url: &str) -> String {
    String::from_utf8(plain::get(url).await.unwrap().to_vec()).unwrap()
}

/// Families of a page, each with its type and the names of its samples. Panics unless each has one HELP and one TYPE before its samples.
fn families(page: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::<String, (String, BTreeSet<String>)>::new();
    let (mut helped, mut current) = (BTreeSet::new(), String::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()) && !text.is_empty(), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(helped.contains(name), "{line}");
            assert!(families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new())).is_none(), "{line}");
            current = name.to_owned();
        } else {
            let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let (kind, samples) = families.get_mut(&current).unwrap_or_else(|| panic!("a sample before any family: {line}"));
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} is below {current}"));
            let is_fit = if kind == "histogram" { ["_bucket", "_sum", "_count"].contains(&suffix) } else { suffix.is_empty() };
            assert!(is_fit, "{line} in a {kind}");
            let value = line.rsplit(' ').next().unwrap();
            assert!(value == "+Inf" || value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            samples.insert(name);
        }
    }
    families
}

/// Names of metrics of ours that a text uses.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c)).filter(|word| word.starts_with("candor_"));
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn dashboard_and_rules_name_what_a_node_serves_and_nothing_else() {
    let world = World::start(&["--metrics-listen", "127.0.0.1:0", "--model-id", HOSTILE_MODEL]);
    let url = world.node.text("metrics");
    eventually("the chain is asked and an account is read", || async {
        let page = page(&url).await;
        (page.contains("candor_account_balance_wei{") && page.contains("candor_rpc_requests_total{")).then_some(())
    })
    .await;
    let page = page(&url).await;
    // For promtool, which the project's tasks run on it.
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("metrics.prom"), &page).unwrap();

    let families = families(&page);
    assert_eq!(families["candor_ready"].0, "gauge", "the model's name is a value and no line");
    let told = page.lines().find(|line| line.starts_with("candor_model_info")).unwrap();
    assert!(told.contains(r#"model="a\"} 1 # TYPE candor_ready \\n\\ {x=\"</script>"#), "{told}");
    for (name, (kind, samples)) in &families {
        assert!(!samples.is_empty(), "{name} has no sample on a node that runs");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    }
    let served: BTreeSet<&String> = families.values().flat_map(|(_, samples)| samples).collect();
    for file in ["grafana/candor.json", "prometheus/alerts.yml", "prometheus/alerts_test.yml"] {
        let text = std::fs::read_to_string(packaging(file)).unwrap();
        let used = names(&text);
        assert!(10 < used.len(), "{file} names {used:?}");
        let unknown: Vec<&String> = used.iter().filter(|name| !served.contains(name)).collect();
        assert!(unknown.is_empty(), "{file} names what no node serves: {unknown:?}");
    }
}

/// The parts of an alert that this test reads, line by line: the file is ours.
fn alerts() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(packaging("prometheus/alerts.yml")).unwrap();
    let mut alerts = Vec::<(String, Vec<String>)>::new();
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("- alert: ") {
            Some(name) => alerts.push((name.to_owned(), Vec::new())),
            None => alerts.last_mut().into_iter().for_each(|(_, lines)| lines.push(line.to_owned())),
        }
    }
    alerts
}

#[test]
fn every_alert_waits_has_a_severity_says_what_to_do_and_is_tested() {
    let tests = std::fs::read_to_string(packaging("prometheus/alerts_test.yml")).unwrap();
    let manual = std::fs::read_to_string(packaging("../docs/operators.md")).unwrap();
    let headings = manual.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let anchors: BTreeSet<String> = headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
    let alerts = alerts();
    assert!(15 < alerts.len());
    for (name, lines) in alerts {
        let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
        assert!(has("expr: ") && has("for: ") && has("summary: ") && has("description: "), "{name}");
        assert!(has("labels: {severity: page}") || has("labels: {severity: ticket}"), "{name}");
        let kebab: String = name.chars().flat_map(|c| [c.is_uppercase().then_some('-'), Some(c.to_ascii_lowercase())]).flatten().collect();
        let runbook = format!("runbook: \"docs/operators.md#alert{kebab}\"");
        assert!(lines.contains(&runbook), "{name} lacks {runbook}");
        assert!(anchors.contains(&format!("alert{kebab}")), "docs/operators.md has no heading for {name}");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "alerts_test.yml has no node with {name}");
    }
}

#[test]
fn the_dashboard_has_its_data_source_and_its_node_as_variables_and_nothing_of_a_machine() {
    let text = std::fs::read_to_string(packaging("grafana/candor.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let variables: Vec<&str> = dashboard["templating"]["list"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(variables, ["datasource", "instance"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut count) = (BTreeSet::new(), 0);
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            count += 1;
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(target["expr"].as_str().unwrap().contains("instance=~\"$instance\""), "{target}");
        }
    }
    assert!(30 < count, "{count}");
    assert!(!text.contains("http://") && !text.contains("https://"), "it names no server");
}

/// Every event that a line may be of, but those of the enclave.
const EVENTS: [&str; 28] = [
    "listening",
    "metrics_listening",
    "enclave_connected",
    "enclave_lost",
    "enclave_ready",
    "registered",
    "open",
    "anchored",
    "payment_settled",
    "payment_failed",
    "trouble",
    "recovered",
    "notice",
    "handing_over",
    "handed_over",
    "drained",
    "boot_refused",
    "enclave_ended",
    "enclave_beside_ended",
    "upgrading",
    "begins_anew",
    "files_not_written",
    "files_written",
    "host_ended",
    "policy_written",
    "terms_end",
    "address_unreachable",
    "stopping",
];

#[tokio::test]
async fn a_log_of_json_is_one_object_for_each_event_and_holds_nothing_of_a_paid_answer() {
    let mut world = World::start(&["--log-format", "json", "--log-level", "debug"]);
    let prompt = "an elephant in zanzibar 4711";
    let (texts, settled) = {
        let world = Arc::new(world);
        let payer = Payer::funded(&world).await;
        let body = question(prompt, true);
        let offered = Offered::of(&world.api(), &body).await;
        let signed = payer.pay(&offered);
        let reply = chat(&world.api(), &body, Some(&signed.header)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let signature = to_hex(&signed.signature.0).trim_start_matches("0x").to_owned();
        let settled =
            eventually("the payment is settled", || async { world.node.log().into_iter().find(|line| line.contains("payment_settled")) })
                .await;
        eventually("the log is anchored", || async { world.node.log().into_iter().find(|line| line.contains("\"anchored\"")) }).await;
        // Its settlement goes by the same bytes in calldata: r alone would be enough to find it.
        let texts = [prompt.to_owned(), signature[..64].to_owned(), signed.header, world.rpc(), payer.address().to_string()];
        drop(payer);
        (texts, (Arc::into_inner(world).unwrap(), settled))
    };
    let settled_line;
    (world, settled_line) = settled;
    world.node.signal("INT");
    assert_eq!(world.node.wait(), Some(0));
    let log = world.node.log();
    let mut seen = BTreeSet::new();
    for line in &log {
        let read: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| read[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}"));
        let (time, event) = (text("time"), text("event"));
        assert!(time.len() == 24 && time.ends_with('Z') && &time[10..11] == "T" && &time[19..20] == ".", "{line}");
        assert!(["debug", "info", "warn", "error"].contains(&text("level")), "{line}");
        let is_enclaves = candor_link::EnclaveEvent::ALL.iter().any(|known| known.name() == event);
        assert!(if text("target") == "enclave" { is_enclaves } else { EVENTS.contains(&event) }, "{line}");
        seen.insert(event.to_owned());
    }
    for event in ["listening", "enclave_connected", "terms_taken", "model_taken", "serving", "registered", "open", "anchored", "stopping"] {
        assert!(seen.contains(event), "{event} is not among {seen:?}");
    }
    let settled: Value = serde_json::from_str(&settled_line).unwrap();
    assert_eq!((settled["target"].as_str(), settled["level"].as_str()), (Some("host::settle"), Some("info")));
    assert!(
        settled["payment_id"].as_str().unwrap().len() == 66 && settled["amount"].as_str().unwrap().parse::<u128>().is_ok(),
        "{settled}"
    );
    let all = log.join("\n").to_ascii_lowercase();
    for hidden in texts {
        assert!(!all.contains(&hidden.to_ascii_lowercase()), "the log holds {hidden}");
    }
}

#[tokio::test]
async fn ready_follows_the_enclave_and_the_log_says_when() {
    let mut split = Split::start_over(|mut arguments, _| {
        arguments.extend(["--metrics-listen", "127.0.0.1:0"].map(str::to_owned));
        arguments
    })
    .await;
    let ready = metrics_url(&split.host).replace("/metrics", "/ready");
    let is_ready = |wanted: bool| {
        let ready = &ready;
        async move { (plain::get(ready).await.is_ok() == wanted).then_some(()) }
    };
    eventually("the node is ready", || is_ready(true)).await;
    split.enclave.signal("KILL");
    eventually("the node is not ready", || is_ready(false)).await;
    split.next_enclave().await;
    eventually("the node is ready again", || is_ready(true)).await;
    let log = split.host.log();
    let at = |part: &str| log.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in {log:#?}"));
    assert!(at(" WARN  host::link  enclave lost") < log.iter().rposition(|line| line.contains(" enclave  keys are made")).unwrap());
    // What the enclave says is said by its host: it prints nothing itself.
    assert_eq!((split.enclave.said(), split.enclave.log()), (vec![], vec![]));
}
