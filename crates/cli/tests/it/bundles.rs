//! Whoever paid with a stock x402 client keeps and verifies: what they saved becomes a bundle, and the verdict says *equal price only*.
//! Over the real program; one chain and one node for the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candor_verify::bundle::Bundle;
use serde_json::{Map, Value, json};

use crate::support::http::{CHAT, Reply, chat};
use crate::support::payer::{Offered, Payer, buy, is_pending, question};
use crate::support::process::{new_directory, run};
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

        let listed = world.candor(&["bundles", "list", "--policy", &lenient]);
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
