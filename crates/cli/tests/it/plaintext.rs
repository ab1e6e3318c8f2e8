//! Prompts and answers in clear exist in client and enclave only: everything else that a node writes, prints, publishes, sends to the
//! chain or holds in the memory of its host is searched for them, in the spellings that data takes on its way. Over the real program.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use candor_client::{frame_text, plain};
use candor_verify::bytes::{from_hex, to_hex};
use hyper::Method;
use serde_json::{Value, json};

use crate::support::http::{CHAT, Frames, Http, chat, get};
use crate::support::payer::{Offered, Payer, buy, question};
use crate::support::process::{Process, is_alive};
use crate::support::split::Split;
use crate::support::{World, eventually};

/// An answer with fewer characters could be anywhere by chance.
const TELLING: usize = 16;

/// Bytes of a mapping that are read at a time.
const CHUNK: usize = 1 << 20;

/// What must not be found, in one spelling.
struct Needle {
    // Of which text, in which spelling.
    name: String,
    bytes: Vec<u8>,
}

/// All spellings of all texts, found in one pass.
struct Search {
    needles: Vec<Needle>,
    // By the first two bytes, so that most places of a haystack cost one look.
    begins: Vec<bool>,
}

impl Search {
    fn new(texts: &[(String, String)]) -> Self {
        let mut needles = Vec::new();
        for (name, text) in texts {
            let mut spell = |spelling: &str, bytes: &[u8]| {
                needles.push(Needle { name: format!("{name} as {spelling}"), bytes: bytes.to_vec() });
            };
            spell("UTF-8", text.as_bytes());
            let escaped = json!(text).to_string();
            spell("JSON", escaped.trim_matches('"').as_bytes());
            spell("JSON in ASCII", ascii_json(text).as_bytes());
            let hex = to_hex(text.as_bytes());
            spell("hex", hex.trim_start_matches("0x").as_bytes());
            spell("upper hex", hex.trim_start_matches("0x").to_ascii_uppercase().as_bytes());
            for alphabet in [STANDARD, URL_SAFE] {
                (0..3).for_each(|before| spell("base64", base64_inside(&alphabet, before, text.as_bytes()).as_bytes()));
            }
        }
        let mut begins = vec![false; 1 << 16];
        needles.iter().for_each(|needle| begins[usize::from(u16::from_be_bytes([needle.bytes[0], needle.bytes[1]]))] = true);
        Self { needles, begins }
    }

    /// Names of what is in there.
    fn find(&self, haystack: &[u8]) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for (at, pair) in haystack.windows(2).enumerate() {
            if self.begins[usize::from(u16::from_be_bytes([pair[0], pair[1]]))] {
                found.extend(self.needles.iter().filter(|needle| haystack[at..].starts_with(&needle.bytes)).map(|needle| &needle.name[..]));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn assert_absent(&self, place: &str, haystack: &[u8]) {
        let found = self.find(haystack);
        assert!(found.is_empty(), "{place} holds {found:?}");
    }

    fn longest(&self) -> usize {
        self.needles.iter().map(|needle| needle.bytes.len()).max().unwrap()
    }
}

/// JSON with everything but ASCII escaped, as some encoders write it.
fn ascii_json(text: &str) -> String {
    let escaped = json!(text).to_string();
    let mut ascii = String::new();
    for unit in escaped.trim_matches('"').encode_utf16() {
        match u8::try_from(unit).ok().filter(u8::is_ascii) {
            Some(byte) => ascii.push(byte.into()),
            None => write!(ascii, "\\u{unit:04x}").unwrap(),
        }
    }
    ascii
}

/// The characters that this text alone decides, when this many bytes of something else come before it.
fn base64_inside(alphabet: &Alphabet, before: usize, text: &[u8]) -> String {
    let engine = GeneralPurpose::new(alphabet, GeneralPurposeConfig::new());
    let encoded = engine.encode([&vec![0; before], text].concat());
    let (from, to) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
    encoded[from..to].to_owned()
}

/// Every file below a directory.
fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), into);
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
}

/// Calls with every piece of this process's writable memory; pieces overlap by as much. How many bytes that were.
fn writable_memory(pid: u32, overlap: usize, mut piece: impl FnMut(&str, &[u8])) -> usize {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("the host is a child of this test: its memory can be read");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut read = 0;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (mut at, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut buffer = vec![0; CHUNK + overlap];
        while at < to {
            let length = buffer.len().min(usize::try_from(to - at).unwrap());
            match memory.read_at(&mut buffer[..length], at) {
                Ok(got) if got != 0 => {
                    piece(line, &buffer[..got]);
                    read += got;
                    // The whole of a short rest is looked at; a longer one goes on a little before where this ended.
                    at += if got < length || length < buffer.len() { got as u64 } else { CHUNK as u64 };
                }
                // Unmapped between the list and the look: gone, and so not there.
                _ => break,
            }
        }
    }
    read
}

/// A node whose `serve` prints what its halves say, in a world whose own `serve` has ended.
struct Spoken {
    serve: Process,
    host_pid: u32,
    metrics: String,
}

impl Spoken {
    fn start(world: &World) -> Self {
        let (state, rpc) = (world.state.to_str().unwrap(), world.rpc());
        let (listen, log_listen) = (world.api().replace("https://", ""), world.log().replace("http://", ""));
        let arguments =
            ["--state", state, "serve", "--rpc", &rpc, "--listen", &listen, "--log-listen", &log_listen, "--metrics-listen", "127.0.0.1:0"];
        let serve = Process::spawn(&world.state, "spoken", &arguments);
        let pids = serve.line(|line| line.starts_with("enclave pid "));
        let metrics = serve.line(|line| line.starts_with("metrics ")).replace("metrics ", "");
        serve.line(|line| line.starts_with("serving "));
        let host_pid = pids.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(is_alive(host_pid));
        Self { serve, host_pid, metrics }
    }
}

/// A text that nobody else has: a part that needs no escapes, and parts that do.
fn marker() -> String {
    let random = to_hex(&candor_chain::Signer::random().to_bytes()[..12]);
    format!("zanzibar {} \"é\"", random.trim_start_matches("0x"))
}

/// A request whose answer is as random as the engine can make it, so that its text is nowhere by chance.
fn telling(marker: &str, stream: bool) -> Value {
    let mut body = question(marker, stream);
    body["temperature"] = json!(1.8);
    body["max_tokens"] = json!(40);
    body
}

async fn fetch(url: &str) -> Vec<u8> {
    plain::get(url).await.unwrap_or_else(|error| panic!("{url}: {error}")).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_and_answers_are_in_client_and_enclave_and_nowhere_else() {
    let world = Arc::new(Split::ended());
    let node = Spoken::start(&world);
    let payer = Payer::funded(&world).await;
    let markers: Vec<String> = (0..5).map(|_| marker()).collect();
    let names = ["prompt of ask", "streamed prompt", "whole prompt", "refused prompt", "malformed prompt"];
    let mut texts: Vec<(String, String)> = names.map(str::to_owned).into_iter().zip(markers.clone()).collect();
    // Also the part that nobody escapes, alone: half a prompt is a prompt too.
    texts.extend(
        names.iter().zip(&markers).map(|(name, marker)| (format!("half the {name}"), marker.split(' ').nth(1).unwrap().to_owned())),
    );

    // Our client, whose bundle shows that the search finds what is there.
    let bundle = world.state.join("plaintext.candor");
    let arguments = ["ask", &markers[0], "--rpc", &world.rpc(), "--bundle", bundle.to_str().unwrap(), "--max-tokens", "40"];
    let (state, arguments) = (world.state.clone(), arguments.map(str::to_owned));
    let ask = move || crate::support::process::run(&state, &arguments.each_ref().map(String::as_str));
    let asked = tokio::task::spawn_blocking(ask).await.unwrap();
    assert_eq!(asked.code, 0, "{asked:?}");
    texts.push(("answer of ask".into(), asked.json["text"].as_str().unwrap().to_owned()));

    // A stock client, streamed and whole.
    let body = telling(&markers[1], true);
    let first = Offered::of(&world.api(), &body).await;
    let streamed = chat(&world.api(), &body, Some(&payer.pay(&first).header)).await;
    assert_eq!(streamed.status, 200, "{streamed:?}");
    let frames = Frames::default().push(&streamed.body);
    texts.push(("streamed answer".into(), frames.iter().map(|frame| frame_text(frame)).collect()));
    // In pieces, as it went.
    texts.push(("streamed frame".into(), String::from_utf8(frames[frames.len() / 2].clone()).unwrap()));
    let body = telling(&markers[2], false);
    let second = Offered::of(&world.api(), &body).await;
    let whole = buy(&world.api(), &body, &payer.pay(&second).header).await;
    texts.push(("whole answer".into(), frame_text(&whole.body)));

    // Refused: a payment that is wrong. Malformed: no JSON.
    let body = telling(&markers[3], true);
    let offered = Offered::of(&world.api(), &body).await;
    let wrong = payer.pay_but(&offered, |draft| draft.authorization.value.0 += 1);
    assert_eq!(chat(&world.api(), &body, Some(&wrong.header)).await.status, 402);
    let json = [("content-type", "application/json")];
    let mut connection = Http::connect(&world.api()).await.unwrap();
    let malformed = connection.send(Method::POST, CHAT, &json, format!("{{\"model\": \"{}", markers[4]).into_bytes()).await;
    assert_eq!(malformed.status, 400, "{malformed:?}");

    // Short answers are not searched for; there is at least one of each kind that is.
    for (name, text) in &texts {
        assert!(name.starts_with("answer of") || TELLING <= text.len(), "{name}: {text:?}");
    }
    texts.retain(|(_, text)| TELLING <= text.len());
    let search = Search::new(&texts);
    let kept = search.find(&std::fs::read(&bundle).unwrap());
    assert!(kept.iter().any(|name| name.starts_with("prompt of ask as")), "the client's own bundle holds its prompt: {kept:?}");
    for (name, body) in [("streamed frame as UTF-8", &streamed.body), ("whole answer as JSON", &whole.body)] {
        assert!(search.find(body).contains(&name), "what the client was sent is found");
    }

    payer.assert_pays(&[first.amount(), second.amount()]).await;
    searched_everywhere(&world, &node, &search, streamed.header("x-receipt-id").unwrap()).await;
}

async fn searched_everywhere(world: &World, node: &Spoken, search: &Search, receipt_id: &str) {
    // The published log, over HTTP, when it is complete.
    let status = eventually("three receipts are published", || async {
        let status: Value = serde_json::from_slice(&fetch(&format!("{}/status", world.log())).await).unwrap();
        (status["log"]["published"] == 3).then_some(status)
    })
    .await;
    search.assert_absent("/status", status.to_string().as_bytes());
    let log = status["log"]["id"].as_str().unwrap().trim_start_matches("0x");
    for path in ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3", "consistency?from=1&to=3", "inclusion?index=2&size=3"] {
        search.assert_absent(path, &fetch(&format!("{}/log/{log}/{path}", world.log())).await);
    }
    search.assert_absent("/logs", &fetch(&format!("{}/logs", world.log())).await);
    search.assert_absent("metrics", &fetch(&node.metrics).await);
    for path in ["/health", "/v1/models", "/candor/evidence", &format!("/v1/receipts/{receipt_id}")] {
        let reply = get(&world.api(), path).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        search.assert_absent(path, &reply.body);
    }

    // Every file of the node, its database and journal among them, and of the simulated TEE.
    let mut paths = Vec::new();
    files(&world.state.join("node"), &mut paths);
    files(&world.state.join("tee"), &mut paths);
    for name in ["host.db", "host.db-wal", "terms.cbor", "checkpoint"] {
        assert!(paths.iter().any(|path| path.ends_with(name)), "{name} is not among {paths:?}");
    }
    // What the processes said: serve in words with its halves, serve in JSON, the chain.
    paths.extend(["spoken.err", "serve.err", "chain.err"].map(|name| world.state.join(name)));
    for path in paths {
        search.assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    let said = [node.serve.said(), world.node.said(), world.chain.said()].concat();
    // The log is among the files above.
    let logged = node.serve.log();
    assert!(logged.iter().any(|line| line.contains("host::settle  payment ")), "{logged:?}");
    assert!(logged.iter().any(|line| line.contains(" enclave  ")), "{logged:?}");
    search.assert_absent("standard output", said.join("\n").as_bytes());

    // Every transaction and every event of the chain, as text and as the bytes that the text stands for.
    let calls = searched_chain(world, search).await;
    assert!(3 < calls, "{calls}");
    let listed = world.candor(&["registry", "list", "--rpc", &world.rpc()]);
    assert!(listed.json.as_array().is_some_and(|rows| !rows.is_empty()), "{listed:?}");
    search.assert_absent("the registry", listed.json.to_string().as_bytes());

    // The host's memory. It holds the log's id, so that a look that sees nothing is noticed.
    let log_id = from_hex(&format!("0x{log}")).unwrap();
    let mut is_seen = false;
    let read = writable_memory(node.host_pid, search.longest(), |mapping, bytes| {
        search.assert_absent(mapping, bytes);
        is_seen |= bytes.windows(log_id.len()).any(|window| window == log_id);
    });
    assert!(is_seen && CHUNK < read, "{read} bytes of memory, the log's id is among them: {is_seen}");
}

/// Searches blocks with their transactions, and events. How many transactions there were.
async fn searched_chain(world: &World, search: &Search) -> usize {
    let rpc = |method: &'static str, params: Value| async move { crate::support::http::rpc(&world.rpc(), method, params).await };
    let number = |value: &Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let head = number(&rpc("eth_blockNumber", json!([])).await);
    let mut count = 0;
    for at in 0..=head {
        let block = rpc("eth_getBlockByNumber", json!([format!("{at:#x}"), true])).await;
        search.assert_absent("a block", block.to_string().as_bytes());
        for transaction in block["transactions"].as_array().unwrap() {
            let input = from_hex(transaction["input"].as_str().unwrap()).unwrap();
            search.assert_absent("calldata", &input);
            count += 1;
        }
    }
    let events = rpc("eth_getLogs", json!([{"fromBlock": "0x0", "toBlock": "latest"}])).await;
    search.assert_absent("events", events.to_string().as_bytes());
    for event in events.as_array().unwrap() {
        search.assert_absent("an event", &from_hex(event["data"].as_str().unwrap()).unwrap());
    }
    count
}

#[test]
fn the_search_finds_each_spelling_wherever_it_lies() {
    let text = "zanzibar 0123 \"é\"";
    let search = Search::new(&[("it".to_owned(), text.to_owned())]);
    let hex = to_hex(text.as_bytes());
    let encoded = |before: &str| base64::engine::general_purpose::STANDARD.encode(format!("{before}{text} and more"));
    let spellings =
        [text.to_owned(), json!({"content": text}).to_string(), ascii_json(text), hex, encoded(""), encoded("a"), encoded("ab")];
    for spelling in spellings {
        let (before, after) = (b"before".repeat(3), b"after".repeat(2));
        assert!(!search.find(&[&before[..], spelling.as_bytes(), &after[..]].concat()).is_empty(), "{spelling}");
        let mut broken = spelling.into_bytes();
        let middle = broken.len() / 2;
        broken[middle] ^= 1;
        assert!(search.find(&broken).is_empty(), "{}", String::from_utf8_lossy(&broken));
    }
}
