//! What an operator does: from nothing to a node with keys of its own, terms signed elsewhere, published addresses, and how it is.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::process::{Process, new_directory, run};
use crate::support::{Ran, World, eventually};

/// A directory of the test, gone with it.
struct Here(PathBuf);

impl Here {
    fn new() -> Self {
        Self(new_directory())
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn candor(&self, arguments: &[&str]) -> Ran {
        run(&self.0, arguments)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}

fn error(ran: &Ran) -> &str {
    ran.json["error"].as_str().unwrap_or_else(|| panic!("no error in {ran:?}"))
}

fn assert_refused(ran: &Ran, words: &[&str]) {
    assert!(ran.code == 2 && words.iter().all(|word| error(ran).contains(word)), "expected {words:?}, got {ran:?}");
}

/// The look of `doctor` with this name, whose finding has this word.
fn look<'a>(ran: &'a Ran, name: &str, word: &str) -> &'a serde_json::Value {
    let looks = ran.json["looks"].as_array().unwrap_or_else(|| panic!("{ran:?}"));
    let fits = |look: &&serde_json::Value| look["look"] == name && look["found"].as_str().unwrap().contains(word);
    looks.iter().find(fits).unwrap_or_else(|| panic!("no {name} with {word} in {ran:?}"))
}

#[test]
fn init_makes_a_file_and_keys_of_one_owner_and_writes_over_nothing() {
    let here = Here::new();
    let made = here.candor(&["init", "--yes", "--rpc", "http://127.0.0.1:1"]);
    assert_eq!(made.code, 0, "{made:?}");
    let accounts: Vec<&str> = made.json["accounts"].as_array().unwrap().iter().map(|account| account["role"].as_str().unwrap()).collect();
    assert_eq!(accounts, ["operator", "registrar", "gas", "anchor"]);
    for name in
        ["node.toml", "passphrase", "keys/operator.json", "keys/registrar.json", "keys/gas.json", "keys/anchor.json", "keys/payee.json"]
    {
        let mode = std::fs::metadata(here.0.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let written = std::fs::read(here.0.join("node.toml")).unwrap();
    assert_refused(&here.candor(&["init", "--yes"]), &["node.toml", "written over"]);
    assert_eq!(std::fs::read(here.0.join("node.toml")).unwrap(), written);
    // What it wrote is read, and each value says where it is from.
    assert_eq!(here.candor(&["config", "check"]).code, 0);
    let shown = here.candor(&["config", "show"]);
    let field = |name: &str| {
        shown.json["fields"].as_array().unwrap().iter().find(|row| row["field"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    assert_eq!(field("chain[0].id")["from"], "file");
    assert_eq!(field("chain[0].rpc")["value"], "[http://127.0.0.1:1]");
}

#[test]
fn a_file_with_a_slip_is_refused_at_its_place_and_endpoints_are_shown_without_their_keys() {
    let here = Here::new();
    let file = here.write("node.toml", "version = 1\n[[chain]]\nid = 31337\nrpc = [\"https://rpc.example/v2/SECRETSECRETSECRET\"]\n");
    let shown = here.candor(&["config", "show", "--said"]);
    assert!(
        shown.code == 0 && !format!("{shown:?}").contains("SECRET") && format!("{shown:?}").contains("https://rpc.example"),
        "{shown:?}"
    );
    here.write("node.toml", "version = 1\n[node]\nlisten = \"127.0.0.1:0\"\nlog_lisen = \"127.0.0.1:0\"\n");
    for command in [&["config", "check"][..], &["serve"], &["doctor"], &["status"], &["terms", "draft", "x"]] {
        let refused = here.candor(command);
        assert_refused(&refused, &[&file, "line 4", "^", "did you mean `log_listen`?"]);
    }
    here.write("node.toml", "version = 1\n[keys]\ndirectory = \"nowhere\"\n");
    assert_refused(&here.candor(&["config", "check"]), &["keys.directory", "nowhere"]);
    assert!(!here.0.join("node").exists(), "nothing was begun");
}

#[test]
fn what_would_be_published_and_leads_nowhere_is_refused() {
    let world = World::shared();
    let here = Here::new();
    let rpc = world.rpc();
    let refused = here.candor(&["serve", "--rpc", &rpc, "--listen", "0.0.0.0:0", "--log-listen", "127.0.0.1:0"]);
    assert_refused(&refused, &["node.urls", "0.0.0.0", "--public-url"]);
    let refused = here.candor(&[
        "serve",
        "--rpc",
        &rpc,
        "--listen",
        "127.0.0.1:0",
        "--log-listen",
        "127.0.0.1:0",
        "--public-url",
        "https://0.0.0.0:443",
    ]);
    assert_refused(&refused, &["urls", "a name or an address under which clients reach the node"]);
}

#[tokio::test]
async fn a_published_address_is_tried_and_one_that_leads_to_another_node_ends_the_node() {
    let world = World::start(&[]);
    let rpc = world.rpc();
    let serve = |check: &str, url: &str| {
        let here = Here::new();
        here.write("node.toml", &format!("version = 1\n[node]\nlisten = \"127.0.0.1:0\"\nlog_listen = \"127.0.0.1:0\"\nurls = [{url:?}]\ncheck_urls = {check:?}\n[[chain]]\nid = 31337\nrpc = [{rpc:?}]\n"));
        here
    };
    // Another node answers there.
    let here = serve("warn", &world.api());
    let mut node = Process::start(&here.0, &["serve"]);
    node.line(|line| line.contains("leads to another node"));
    assert_eq!(node.wait(), Some(2));
    // Nobody does.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("https://{free}");
    let here = serve("require", &nowhere);
    let mut node = Process::start(&here.0, &["serve"]);
    node.line(|line| line.contains("node.check_urls is"));
    assert_eq!(node.wait(), Some(2));
    let here = serve("warn", &nowhere);
    let mut node = Process::start(&here.0, &["serve"]);
    let said = || std::fs::read_to_string(here.0.join("serve.err")).unwrap();
    eventually("the warning", || async { said().contains("cannot be reached from here").then_some(()) }).await;
    node.signal("INT");
    assert_eq!(node.wait(), Some(0), "it went on");
}

#[tokio::test]
async fn doctor_names_what_is_missing_and_what_to_do_and_status_has_the_money() {
    let world = World::start(&[]);
    let (rpc, here) = (world.rpc(), Here::new());
    // Keys of its own on the development chain: made, and not funded.
    let made = here.candor(&["init", "--yes", "--rpc", &rpc]);
    assert_eq!(made.code, 0, "{made:?}");
    let file = here.path("node.toml");
    let free = std::fs::read_to_string(&file)
        .unwrap()
        .replace("127.0.0.1:8443", "127.0.0.1:0")
        .replace("127.0.0.1:8444", "127.0.0.1:0")
        .replace("127.0.0.1:9464", "127.0.0.1:0");
    std::fs::write(&file, free).unwrap();
    let ill = here.candor(&["doctor"]);
    assert_eq!((ill.code, &ill.json["ok"]), (1, &false.into()), "{ill:?}");
    for role in ["registrar", "gas", "anchor"] {
        let look = look(&ill, "funds", role);
        assert!(look["health"] == "ill" && look["do"].as_str().unwrap().contains("send it"), "{look}");
    }
    assert_eq!(look(&ill, "token", "TestUSD")["health"], "well");
    assert_eq!(look(&ill, "contracts", "registry")["health"], "well");
    // A chain that nobody answers for.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&rpc, "http://127.0.0.1:1")).unwrap();
    assert_eq!(look(&here.candor(&["doctor"]), "chain", "cannot be reached")["health"], "ill");
    std::fs::write(&file, &text).unwrap();
    // A token that signs in another name; a port that is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    std::fs::write(&file, text.replace("name = \"USDC\"", "name = \"USD Coin\"").replacen("127.0.0.1:0", &port, 1)).unwrap();
    let ill = here.candor(&["doctor"]);
    assert_eq!(look(&ill, "token", "another EIP-712 domain")["health"], "ill");
    assert_eq!(look(&ill, "port", &port)["health"], "ill");
    std::fs::write(&file, text).unwrap();
    // Nobody answers yet.
    let down = here.candor(&["status"]);
    assert_eq!((down.code, &down.json["running"]), (2, &false.into()), "{down:?}");
    // The other node has sold one answer, and sees to its settlement in its own time.
    world.bundle();
    let up = eventually("the payment is settled", || async {
        let up = world.candor(&["status"]);
        let sum = up.json["money"]["sums"][0].clone();
        (up.code == 0 && sum["charged"] == sum["settled"]).then_some(up)
    })
    .await;
    assert_eq!((&up.json["running"], &up.json["money"]["answers"]), (&true.into(), &1.into()), "{up:?}");
    let sum = &up.json["money"]["sums"][0];
    assert!(sum["symbol"] == "TestUSD" && sum["charged"] != "0.000000", "{up:?}");
    let doctor = world.candor(&["doctor"]);
    assert!(doctor.json["running"] == true, "{doctor:?}");
    // The books of this month have one line, those of another none.
    let books = |month: &str| world.candor(&["status", "--month", month, "--csv"]);
    assert_eq!(books("2020-01").json["rows"].as_array().unwrap().len(), 0);
    assert_refused(&books("2020-13"), &["--month", "2020-13"]);
    let rows = books(&this_month()).json["rows"].clone();
    assert!(rows[0]["settlement"] == "settled" && rows[0]["transaction"].as_str().unwrap().starts_with("0x"), "{rows}");
}

/// As `date` says it.
fn this_month() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// As two units of a system start them, each under its own user.
#[tokio::test]
async fn the_halves_start_apart_from_one_file_with_keys_of_their_own_and_no_other_node_has_these() {
    let world = World::start(&[]);
    let (rpc, here) = (world.rpc(), Here::new());
    let made = here.candor(&["init", "--yes", "--rpc", &rpc]);
    for account in made.json["accounts"].as_array().unwrap() {
        crate::support::http::rpc(&rpc, "anvil_setBalance", serde_json::json!([account["address"], "0xde0b6b3a7640000"])).await;
    }
    let file = here.path("node.toml");
    let at = |name: &str| TcpListener::bind("127.0.0.1:0").map(|free| free.local_addr().unwrap().to_string()).expect(name);
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("127.0.0.1:8443", &at("clients"))
        .replace("127.0.0.1:8444", &at("log"))
        .replace("127.0.0.1:9464", &at("metrics"));
    std::fs::write(&file, text.replace("# file = \"terms.cbor\"", "file = \"terms.cbor\"")).unwrap();
    // The halves sign no terms.
    let state = here.0.to_str().unwrap();
    let host = ["--state", state, "host", "--config", &file];
    let mut unsigned = Process::spawn(&here.0, "unsigned", &host);
    assert_eq!(unsigned.wait(), Some(2));
    let renewed = here.candor(&["terms", "renew", "--yes"]);
    assert_eq!(renewed.code, 0, "{renewed:?}");
    // The built-in model is written by whoever signs; the operator's key is no longer needed.
    std::fs::remove_file(here.0.join("keys/operator.json")).unwrap();
    let enclave = Process::spawn(&here.0, "enclave", &["--state", state, "enclave", "--config", &file]);
    let running = Process::spawn(&here.0, "host", &host);
    running.line(|line| line.starts_with("registered "));
    // Another node with the same accounts is refused, in whatever directory.
    let other = Here::new();
    let config = other.write(
        "node.toml",
        &std::fs::read_to_string(&file)
            .unwrap()
            .replace("directory = \"keys\"", &format!("directory = {:?}", here.path("keys")))
            .replace("file = \"terms.cbor\"", &format!("file = {:?}", here.path("terms.cbor")))
            .replace("\"passphrase\"", &format!("{:?}", here.path("passphrase"))),
    );
    let refused =
        other.candor(&["serve", "--config", &config, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0", "--metrics-listen", "off"]);
    assert_refused(&refused, &["another node uses", "registrar.json"]);
    // Its enclave killed, another takes the socket that it left.
    let mut enclave = enclave;
    enclave.signal("KILL");
    assert_eq!(enclave.wait(), None);
    let _next = Process::spawn(&here.0, "enclave", &["--state", state, "enclave", "--config", &file]);
    running.line(|line| line.starts_with("registered "));
    drop(running);
}

/// A keystore that others can read, or whose passphrase is another, starts nothing.
#[test]
fn a_keystore_with_another_mode_or_passphrase_is_refused_by_its_name() {
    let world = World::shared();
    let (rpc, here) = (world.rpc(), Here::new());
    assert_eq!(here.candor(&["init", "--yes", "--rpc", &rpc]).code, 0);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0", "--metrics-listen", "off"];
    let gas = here.0.join("keys/gas.json");
    std::fs::set_permissions(&gas, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&here.candor(&serve), &["gas.json", "644"]);
    std::fs::set_permissions(&gas, std::fs::Permissions::from_mode(0o600)).unwrap();
    here.write("passphrase", "another\n");
    assert_refused(&here.candor(&serve), &["registrar.json", "passphrase"]);
    std::fs::remove_file(&gas).unwrap();
    assert_refused(&here.candor(&serve), &["gas", "gas.json", "candor wallet new"]);
}

/// The script that the README shows: it ends with a verified answer, or with what a command said.
#[test]
fn from_nothing_to_a_first_sale_with_keys_of_ones_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = std::process::Command::new(root.join("tools/first-sale.sh")).arg(env!("CARGO_BIN_EXE_candor")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.lines().last().unwrap().contains("commands: verified, "), "{said}");
}

#[test]
fn terms_are_signed_on_another_machine_and_a_node_without_the_operators_key_starts_with_them() {
    let world = World::shared();
    let (rpc, here, elsewhere) = (world.rpc(), Here::new(), Here::new());
    assert_eq!(here.candor(&["init", "--yes", "--rpc", &rpc]).code, 0);
    let passphrase = here.path("passphrase");
    // The operator's key leaves the machine; the draft goes after it.
    let key = elsewhere.path("operator.json");
    let (draft, operator) = (here.path("draft.cbor"), here.candor(&["terms", "draft", &here.path("draft.cbor")]));
    assert_eq!(operator.code, 0, "{operator:?}");
    std::fs::rename(here.path("keys/operator.json"), &key).unwrap();
    let other = here.path("keys/gas.json");
    let signed = elsewhere.path("terms.cbor");
    let sign = |key: &str, more: &[&str]| {
        elsewhere.candor(&[&["terms", "sign", &draft, "--key", key, "--passphrase-file", &passphrase, "--out", &signed], more].concat())
    };
    assert_refused(&sign(&key, &[]), &["nobody to ask", "--yes"]);
    assert_refused(&sign(&other, &["--yes"]), &["operator", "expected the key of"]);
    assert!(!Path::new(&signed).exists());
    let ran = sign(&key, &["--yes"]);
    assert!(ran.code == 0 && ran.json["terms"][1]["field"] == "payee", "{ran:?}");
    assert_eq!(here.candor(&["terms", "show", &draft]).json["signed_by"], serde_json::Value::Null, "a draft is not signed");
    // Without them the node has nobody's word.
    let serve = ["serve", "--listen", "127.0.0.1:8443", "--log-listen", "127.0.0.1:8444"];
    assert_refused(&here.candor(&serve), &["operator.json"]);
    let file = here.path("node.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("# file = \"terms.cbor\"", &format!("file = {signed:?}"));
    // A price that the signed terms do not have; a draft instead of terms; terms that another key signed.
    std::fs::write(&file, text.replace("output = \"3\"", "output = \"4\"")).unwrap();
    assert_refused(&here.candor(&serve), &["price", "node.toml says", "the signed terms say", "candor terms renew"]);
    std::fs::write(&file, text.replace(&signed, &draft)).unwrap();
    assert_refused(&here.candor(&serve), &["expected the signature of the operator"]);
    std::fs::write(&file, &text).unwrap();
    let ran = here.candor(&["doctor"]);
    assert_eq!(look(&ran, "terms", "until")["health"], "well");
}
