//! Whoever paid with a stock x402 client keeps and verifies: what they saved becomes a bundle, and the verdict says *equal price only*.
//! Over the real program; one chain and one node for the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candor_verify::bundle::Bundle;
use serde_json::{Map, Value, json};

use crate::support::http::{CHAT, Reply, chat};
use crate::support::payer::{Offered, Payer, buy, is_pending, question};
use crate::support::process::{at_terminal, new_directory, run};
use crate::support::{World, eventually};

/// What a stock client sent and got, in files, as somebody would save it.
struct SavedFiles {
    directory: PathBuf,
    evidence: String,
}

impl SavedFiles {
    async fn buy(world: &Arc<World>, name: &str, stream: bool) -> Self {
        let payer = Payer::funded(world).await;
        let body = question(name, stream);
        let offered = Offered::of(&world.api(), &body).await;
        // A boot of this very second could be the earlier one; then the node says how long to wait, and a new payment is taken.
        let (signed, reply) = eventually("the payment is taken", || async {
            let signed = payer.pay_stock(&offered);
            let reply = chat(&world.api(), &body, Some(&signed.header)).await;
            (reply.status != 402).then_some((signed, reply))
        })
        .await;
        let reply = if is_pending(&reply) { buy(&world.api(), &body, &signed.header).await } else { reply };
        assert_eq!(reply.status, 200, "{reply:?}");
        let saved = Self { directory: new_directory(), evidence: world.api() };
        saved.write("request", body.to_string().as_bytes());
        saved.write("response", &reply.body);
        saved.write("payment", signed.header.as_bytes());
        saved.write("required", candor_x402::protocol::encode_header(&offered.required).as_bytes());
        saved.write("head.json", json!({"status": reply.status, "headers": json_headers(&reply)}).to_string().as_bytes());
        saved.write("head", text_head(&reply).as_bytes());
        saved
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.directory.join(name), bytes).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    /// Imports with this head, and whatever else.
    fn import(&self, state: &Path, head: &str, more: &[&str]) -> crate::support::Ran {
        let files = ["request", head, "response", "payment", "required"].map(|name| self.path(name));
        let [request, head, response, payment, required] = files.each_ref().map(String::as_str);
        let arguments = ["bundles", "import", "--request", request, "--head", head, "--response", response, "--payment", payment];
        let further = ["--payment-required", required, "--evidence", &self.evidence];
        run(state, &[&arguments[..], &further, more].concat())
    }
}

impl Drop for SavedFiles {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn json_headers(reply: &Reply) -> Map<String, Value> {
    reply.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect()
}

/// As `curl -D` writes it.
fn text_head(reply: &Reply) -> String {
    let lines = reply.headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.collect::<String>())
}

/// The world's policy, accepting payments that name no offer.
fn lenient(world: &World) -> String {
    let template = fs::read_to_string(world.state.join("policy.toml")).unwrap();
    let path = world.state.join("lenient.toml");
    fs::write(&path, template.replace("require_offer_binding = true", "require_offer_binding = false")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stock_client_paid_for_is_imported_verified_and_listed() {
    let world = World::shared();
    let lenient = lenient(&world);
    for (stream, head) in [(false, "head"), (true, "head.json")] {
        let saved = SavedFiles::buy(&world, &format!("import {stream}"), stream).await;
        // The policy of a state asks for more than a stock client gives, and the advice says which field that is.
        let refused = saved.import(&world.state, head, &[]);
        assert_eq!((refused.code, &refused.json["refused"]), (1, &"payment.binding".into()), "{refused:?}");
        assert!(refused.json["advice"].as_str().unwrap().contains("require_offer_binding"), "{refused:?}");
        assert_eq!(refused.json["payment_binding"], Value::Null);
        assert!(refused.json["bundle"].as_str().unwrap().ends_with(".refused.candor"), "{refused:?}");

        let verified = saved.import(&world.state, head, &["--policy", &lenient]);
        assert_eq!((verified.code, &verified.json["outcome"]), (0, &"verified".into()), "{verified:?}");
        assert_eq!(verified.json["payment_binding"], "equal price only");
        let file = verified.json["bundle"].as_str().unwrap();
        let bundle = Bundle::parse(&fs::read(file).unwrap()).unwrap();
        assert_eq!((bundle.request.path.as_str(), bundle.sale.as_ref().unwrap().payment.client_salt), (CHAT, None));
        assert_eq!(bundle.request.body, fs::read(saved.path("request")).unwrap());
        // It is a bundle like any other.
        let online = world.candor(&["verify", file, "--policy", &lenient, "--rpc", &world.rpc()]);
        assert_eq!((online.code, &online.json["payment_binding"]), (0, &"equal price only".into()), "{online:?}");
        let replayed = world.candor(&["replay", file, "--policy", &lenient]);
        assert_eq!((replayed.code, &replayed.json["equal"]), (0, &true.into()), "{replayed:?}");

        let listed = world.candor(&["bundles", "list", "--judge", "--policy", &lenient]);
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let row = listed.json.as_array().unwrap().iter().find(|row| row["file"] == name).unwrap_or_else(|| panic!("{listed:?}"));
        assert_eq!((&row["outcome"], &row["payment_binding"]), (&"verified".into(), &"equal price only".into()));
        assert_eq!((&row["facts"]["model"], &row["claims"]), (&"candor-mini".into(), &Value::Null), "{row}");
        assert_eq!(row["facts"]["charged"], bundle.delivery.receipt.money.charged.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_names_the_file_that_lacks_something_and_writes_over_nothing() {
    let world = World::shared();
    let lenient = lenient(&world);
    let saved = SavedFiles::buy(&world, "import wrong", false).await;
    let place = saved.directory.join("mine.candor");
    let more = ["--policy", &lenient, "--bundle", place.to_str().unwrap()];
    // Another answer's head: the 402 that came before it.
    saved.write("quote", b"HTTP/1.1 402 Payment Required\r\n\r\n");
    let quoted = saved.import(&world.state, "quote", &more);
    assert!(quoted.code == 2 && quoted.json["error"].as_str().unwrap().contains("got 402"), "{quoted:?}");
    // Bytes that a parser went over: nothing in them is signed any more.
    let whole = fs::read(saved.path("response")).unwrap();
    let mut parsed: Value = serde_json::from_slice(&whole).unwrap();
    parsed.as_object_mut().unwrap().remove("candor");
    saved.write("response", parsed.to_string().as_bytes());
    let changed = saved.import(&world.state, "head", &more);
    assert!(changed.code == 2 && changed.json["error"].as_str().unwrap().contains("body of the answer"), "{changed:?}");
    assert!(!place.exists());

    saved.write("response", &whole);
    saved.write("mine.candor", b"evidence of another");
    let taken = saved.import(&world.state, "head", &more);
    assert!(taken.code == 2 && taken.json["error"].as_str().unwrap().contains("not touched"), "{taken:?}");
    assert_eq!(fs::read(&place).unwrap(), b"evidence of another");
    fs::remove_file(&place).unwrap();
    for _ in 0..2 {
        let imported = saved.import(&world.state, "head", &more);
        assert_eq!((imported.code, &imported.json["bundle"]), (0, &place.to_str().unwrap().into()), "{imported:?}");
    }
}

/// Asks something, and says where it is kept and what came with it.
fn asked(world: &World, question: &str, further: &[&str]) -> Value {
    let rpc = world.rpc();
    let limit: &[&str] = if further.contains(&"--max-tokens") { &[] } else { &["--max-tokens", "8"] };
    let ran = world.candor(&[&["ask", question, "--rpc", &rpc][..], limit, further].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn an_answer_is_found_by_what_an_sdk_a_node_and_a_chain_call_it() {
    let world = World::shared();
    let answer = asked(&world, "Find me again, please", &[]);
    let file = text(&answer, "bundle");
    let bundle = Bundle::parse(&fs::read(file).unwrap()).unwrap();
    let first: Value = serde_json::from_slice(&bundle.response.frames[0]).unwrap();
    let payment = bundle.delivery.receipt.money.payment_id.to_string();
    let receipt = text(&answer, "receipt_id");
    assert!(text(&first, "id").starts_with("chatcmpl-"), "{first}");
    for id in [text(&first, "id"), receipt, &receipt[..12], &payment, &payment[..14]] {
        let found = world.candor(&["bundles", "find", id]);
        assert_eq!((found.code, &found.json["file"]), (0, &file.into()), "{id}: {found:?}");
        // Anywhere a file is meant.
        let verified = world.candor(&["verify", id]);
        assert_eq!((verified.code, &verified.json["outcome"]), (0, &"verified".into()), "{id}: {verified:?}");
    }
    assert_eq!(world.candor(&["replay", receipt]).code, 0);
    let shown = world.candor(&["bundles", "show", receipt, "--rpc", &world.rpc()]);
    assert_eq!((shown.code, &shown.json["log_level"], &shown.json["keep"]), (0, &"ANCHORED".into(), &"full".into()), "{shown:?}");
    let page = world.state.join("opened.html");
    let opened = world.candor(&["bundles", "open", receipt, "--html", page.to_str().unwrap()]);
    assert_eq!((opened.code, &opened.json["page"]), (0, &page.to_str().unwrap().into()), "{opened:?}");
    assert!(fs::read_to_string(page).unwrap().contains("Find me again, please"));
    for (none, code) in [("00000000000000000000000000000000", 2), ("chatcmpl-nothing", 2)] {
        for command in [&["bundles", "find", none][..], &["bundles", "show", none], &["verify", none]] {
            let missing = world.candor(command);
            assert!(missing.code == code && text(&missing.json, "error").contains("is kept"), "{command:?}: {missing:?}");
        }
    }
}

#[test]
fn a_list_has_what_is_asked_for_and_says_of_when_its_verdicts_are() {
    let world = World::shared();
    let answer = asked(&world, "One for the list", &[]);
    let receipt = text(&answer, "receipt_id");
    let has = |filters: &[&str]| {
        let listed = world.candor(&[&["bundles", "list"][..], filters].concat());
        assert_eq!(listed.code, 0, "{listed:?}");
        listed.json.as_array().unwrap().iter().find(|row| row["receipt_id"] == receipt).cloned()
    };
    let row = has(&[]).unwrap();
    assert_eq!((&row["when_kept"]["outcome"], &row["when_kept"]["log_level"]), (&"verified".into(), &"ANCHORED".into()), "{row}");
    assert!(row["facts"].is_null() && row["claims"]["charge"].as_str().unwrap().ends_with(" USDC"), "{row}");
    let payee = text(&row["claims"], "payee").to_uppercase().replace("0X", "0x");
    for filters in [
        &["--since", "1h"][..],
        &["--since", "2020-01-01", "--until", "2099-12-31T23:59:59Z"],
        &["--model", "candor-mini", "--verdict", "verified", "--payee", &payee],
        &["--over", "0.000001", "--under", "1000"],
        &["--reindex"],
    ] {
        assert!(has(filters).is_some(), "{filters:?}");
    }
    for filters in [
        &["--until", "1h"][..],
        &["--model", "another"],
        &["--verdict", "refused"],
        &["--payee", "0x0000000000000000000000000000000000000001"],
        &["--over", "1000"],
        &["--under", "0.000001"],
        &["--limit", "0"],
    ] {
        assert_eq!(has(filters), None, "{filters:?}");
    }
    for wrong in [&["--since", "yesterday"][..], &["--over", "1e3"], &["--limit", "-1"]] {
        assert_eq!(world.candor(&[&["bundles", "list"][..], wrong].concat()).code, 2, "{wrong:?}");
    }
    // Somebody alters a kept file: the list says what was so when it was kept, and `--judge` what is so now.
    let file = PathBuf::from(text(&answer, "bundle"));
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(8).position(|window| window == b"One for ").unwrap();
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(has(&[]).unwrap()["when_kept"]["outcome"], "verified");
    let judged = world.candor(&["bundles", "list", "--judge"]);
    let name = file.file_name().unwrap().to_str().unwrap();
    let row = judged.json.as_array().unwrap().iter().find(|row| row["file"] == name).unwrap().clone();
    assert_eq!((&row["outcome"], &row["refused"], &row["facts"]), (&"refused".into(), &"request.commitment".into(), &Value::Null), "{row}");
    assert_eq!(has(&["--reindex"]).unwrap()["when_kept"]["refused"], "request.commitment");
}

/// Another state with the same policy.
fn state_like(world: &World) -> PathBuf {
    let state = new_directory();
    for file in ["VERSION", "policy.toml"] {
        fs::copy(world.state.join(file), state.join(file)).unwrap();
    }
    state
}

#[test]
fn an_answer_travels_in_one_file_and_is_written_over_nothing() {
    let world = World::shared();
    let (whole, proof) = (asked(&world, "Send me", &[]), asked(&world, "Send a proof of me", &["--keep", "proof"]));
    let elsewhere = state_like(&world);
    for (answer, mode) in [(&whole, "full"), (&proof, "proof")] {
        let receipt = text(answer, "receipt_id");
        let to = elsewhere.join(format!("{mode}.candor"));
        let to = to.to_str().unwrap();
        for _ in 0..2 {
            assert_eq!(world.candor(&["bundles", "export", receipt, "--to", to]).code, 0, "the same again is no other file");
        }
        let imported = run(&elsewhere, &["bundles", "import", to]);
        assert_eq!(imported.code, if mode == "full" { 0 } else { 2 }, "{imported:?}");
        let found = run(&elsewhere, &["bundles", "find", receipt]);
        assert_eq!((found.code, &found.json["keep"], &found.json["file"]), (0, &mode.into(), &imported.json["bundle"]), "{found:?}");
        fs::write(to, "evidence of another").unwrap();
        let taken = world.candor(&["bundles", "export", receipt, "--to", to]);
        assert!(taken.code == 2 && text(&taken.json, "error").contains("not touched"), "{taken:?}");
        assert_eq!(fs::read(to).unwrap(), b"evidence of another");
    }
    let all = elsewhere.join("all");
    fs::create_dir(&all).unwrap();
    let exported = run(&elsewhere, &["bundles", "export", "--all", "--to", all.to_str().unwrap()]);
    assert_eq!((exported.code, exported.json["files"].as_array().unwrap().len()), (0, 2), "{exported:?}");
    fs::remove_dir_all(elsewhere).unwrap();
}

#[test]
fn pruning_erases_what_is_old_and_nothing_that_may_still_be_needed() {
    let world = World::shared();
    let state = state_like(&world);
    let rpc = world.rpc();
    let ask = |question: &str| run(&state, &["ask", question, "--rpc", &rpc, "--max-tokens", "4"]);
    let files: Vec<PathBuf> = ["one", "two", "three"].iter().map(|question| PathBuf::from(text(&ask(question).json, "bundle"))).collect();
    // One that was refused, by its name and by its content; and one whose payment is open, in the book.
    let mut refused = Bundle::parse(&fs::read(&files[0]).unwrap()).unwrap();
    refused.request.body.push(b' ');
    let refused_file = state.join("bundles/evidence.refused.candor");
    fs::write(&refused_file, refused.encode()).unwrap();

    let prune = |further: &[&str]| run(&state, &[&["bundles", "prune"][..], further].concat());
    assert_eq!(prune(&[]).code, 2, "what goes is said");
    assert_eq!(prune(&["--quota", "1kB"]).code, 2, "and somebody agrees to it");
    let young = prune(&["--older-than", "1h", "--yes"]);
    assert_eq!((young.code, &young.json["files"]), (0, &json!([])), "{young:?}");
    let planned = prune(&["--quota", "0", "--dry-run"]);
    assert_eq!((planned.json["files"].as_array().unwrap().len(), &planned.json["erased"]), (3, &false.into()), "{planned:?}");
    assert_eq!(planned.json["above_quota"], true, "the refused one stays");
    assert!(files.iter().all(|file| file.exists()));
    // The newest of those that are small enough together stay.
    let sizes: Vec<u64> = files.iter().chain([&refused_file]).map(|file| fs::metadata(file).unwrap().len()).collect();
    let quota = sizes.iter().sum::<u64>() - 1;
    let pruned = prune(&["--quota", &quota.to_string(), "--yes"]);
    assert_eq!((pruned.code, &pruned.json["files"]), (0, &json!([files[0].to_str().unwrap()])), "{pruned:?}");
    assert!(!files[0].exists() && !files[0].with_extension("hints.json").exists() && files[1].exists() && refused_file.exists());
    assert!(sizes[0] <= pruned.json["freed"].as_u64().unwrap(), "{pruned:?}");
    let all = prune(&["--quota", "0", "--refused", "--yes"]);
    assert_eq!(all.json["files"].as_array().unwrap().len(), 3, "{all:?}");
    assert_eq!(run(&state, &["bundles", "list"]).json, json!([]));
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn what_goes_is_shown_before_anybody_is_asked() {
    let world = World::shared();
    let state = state_like(&world);
    let kept = run(&state, &["ask", "Erase me?", "--rpc", &world.rpc(), "--max-tokens", "4"]);
    let name = Path::new(text(&kept.json, "bundle")).file_name().unwrap().to_str().unwrap().to_owned();
    let (code, screen) = at_terminal(&state, &["bundles", "prune", "--quota", "0"], "n\n");
    let at = |word: &str| screen.find(word).unwrap_or_else(|| panic!("no {word}: {screen}"));
    assert!(code == 0 && at(&name) < at("[y/N]") && at("[y/N]") < at("nothing was erased"), "{screen}");
    assert!(Path::new(text(&kept.json, "bundle")).exists());
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_proof_whose_evidence_is_gone_is_a_row_that_says_so_and_hides_no_other() {
    let world = World::shared();
    let state = state_like(&world);
    let ask = |question: &str, further: &[&str]| {
        run(&state, &[&["ask", question, "--rpc", &world.rpc(), "--max-tokens", "4"][..], further].concat())
    };
    let (whole, proof) = (ask("Keep all of me", &[]), ask("Keep a proof of me", &["--keep", "proof"]));
    let (receipt, file) = (text(&proof.json, "receipt_id"), text(&proof.json, "bundle"));
    let evidence = state.join("bundles/evidence");
    fs::remove_dir_all(&evidence).unwrap();
    let row = |more: &[&str], file: &str| -> Value {
        let listed = run(&state, &[&["bundles", "list"][..], more].concat());
        assert_eq!((listed.code, listed.json.as_array().map(Vec::len)), (0, Some(2)), "{listed:?}");
        let named = |row: &&Value| [&row["file"], &row["path"]].iter().any(|name| **name == file);
        listed.json.as_array().unwrap().iter().find(named).cloned().unwrap_or_else(|| panic!("{listed:?}"))
    };
    for more in [&[][..], &["--reindex"], &["--judge"]] {
        let lost = row(more, file);
        assert!(text(&lost, "trouble").contains(evidence.to_str().unwrap()), "{more:?}: {lost}");
        let other = row(more, text(&whole.json, "bundle"));
        assert!(other["trouble"].is_null(), "{more:?}: {other}");
    }
    assert_eq!(row(&["--judge"], file)["outcome"], "cannot tell");
    let found = run(&state, &["bundles", "find", receipt]);
    assert!(found.code == 0 && text(&found.json, "trouble").contains("is gone"), "{found:?}");
    let shown = run(&state, &["bundles", "show", receipt]);
    assert!(shown.code == 2 && text(&shown.json, "error").contains(evidence.to_str().unwrap()), "{shown:?}");
    // One that no index has read yet.
    fs::remove_file(state.join("client.db")).unwrap();
    assert!(text(&row(&[], file), "trouble").contains("evidence/"));
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn whoever_only_looks_makes_no_state() {
    let state = new_directory().join("none");
    let none = run(&state, &["bundles", "list"]);
    assert_eq!((none.code, &none.json), (0, &json!([])), "{none:?}");
    assert_eq!(run(&state, &["bundles", "prune", "--quota", "0", "--yes"]).json["erased"], false);
    for looks in
        [&["bundles", "find", "chatcmpl-nothing"][..], &["bundles", "show", "0000000000"], &["proxy", "key", "list"], &["policy", "show"]]
    {
        run(&state, looks);
        assert!(!state.exists(), "{looks:?}");
    }
    // Nor a root of attestation, to see whether a policy is of this build.
    let world = World::shared();
    let policy = state.with_file_name("policy.toml");
    fs::copy(world.state.join("policy.toml"), &policy).unwrap();
    for command in [&["policy", "check", policy.to_str().unwrap()][..], &["policy", "show", "--policy", policy.to_str().unwrap()]] {
        let looked = run(&state, command);
        assert!(!looked.json["warnings"].as_array().unwrap().is_empty() && !state.exists(), "{looked:?}");
    }
    fs::remove_dir_all(state.parent().unwrap()).unwrap();
}

#[test]
fn a_proof_is_smaller_than_its_bundle_by_texts_and_evidence() {
    let world = World::shared();
    let whole = asked(&world, "What is a receipt?", &["--max-tokens", "64"]);
    let proof = asked(&world, "What is a receipt?", &["--max-tokens", "64", "--seed", "7", "--keep", "proof"]);
    let bytes = |answer: &Value| fs::metadata(text(answer, "bundle")).unwrap().len();
    let evidence: u64 = {
        let directory = world.state.join("bundles/evidence");
        let sizes = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        sizes.max().unwrap()
    };
    // The figures of docs/bundles.md.
    let tokens = &whole["completion_tokens"];
    println!("of {tokens} tokens: full {} bytes, proof {} bytes, evidence {evidence} bytes", bytes(&whole), bytes(&proof));
    assert!(bytes(&proof) + evidence / 2 < bytes(&whole), "a proof has neither text nor evidence");
}
