//! Attestors over sockets: what one answers, and what a registrar makes of the answers of many, liars among them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candor_attestor::*;
use candor_chain::{ChainClient, DeployConfig, Deployment, Signer, Verdict};
use candor_devchain::{Config, DevChain, SharedChain, provider};
use candor_devtee::Hypervisor;
use candor_testkit::forge::Forge;
use candor_testkit::honest;
use candor_verify::bytes::{Address, Hash32, to_hex};
use candor_verify::evidence::Evidence;
use candor_verify::manifest::{Freshness, Manifest};
use candor_verify::policy::{Accept, Policy};
use candor_verify::time::{UnixMs, UnixSeconds};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A chain with contracts, a quorum of 2 of 3, and evidence of a moment ago.
struct World {
    chain: ChainClient,
    quorum: Quorum,
    members: Vec<Signer>,
    policy: Policy,
    evidence: Evidence,
    directory: PathBuf,
    // Attestors serve until it is dropped.
    stopping: watch::Sender<bool>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl World {
    async fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("candor-quorum-{name}-{}", std::process::id()));
        let hypervisor = Hypervisor::open_or_create(&directory).unwrap();
        let payer = Signer::random();
        let config = Config::default().with_deterministic_deployer().with_funded(payer.address().0);
        let shared = SharedChain::new(DevChain::new(config).unwrap());
        let chain = ChainClient::from_provider(provider(&shared), None).await.unwrap();
        let mut members: Vec<Signer> = (0..3).map(|_| Signer::random()).collect();
        members.sort_by_key(Signer::address);
        let addresses: Vec<Address> = members.iter().map(Signer::address).collect();
        let config = DeployConfig { attestors: addresses.clone(), threshold: 2, with_play_money: false };
        let contracts = Deployment::deploy(&chain, &payer, &config).await.unwrap();
        let (chain_id, registry) = (chain.chain_id(), contracts.registry);
        let quorum = Quorum { chain_id, verifier: contracts.quorum_verifier, registry, threshold: 2, members: addresses };
        let mut terms = honest::terms();
        (terms.registry, terms.not_after) = (registry, UnixMs(now_ms() + 86_400_000));
        terms.chains[0].registry = registry;
        let boot = Manifest {
            k_sig: Signer::random().address(),
            k_log: Hash32([3; 32]),
            tls_spki_hash: Hash32([4; 32]),
            booted_at: UnixSeconds(now_ms() / 1000 - 60),
            ..Manifest::default()
        };
        let head = chain.head().await.unwrap();
        let freshness = Freshness { chain_id, block_number: head.number, block_hash: head.hash, nonce: Hash32::ZERO };
        let (manifest, terms) = (boot.under(&terms), honest::sign_terms(terms, &candor_testkit::forge::Key::of(0x11)));
        let evidence = honest::evidence(&hypervisor, now_ms(), manifest, freshness, terms);
        let policy = Policy { registries: Accept::Only(vec![(chain_id, registry)]), ..Forge::new(hypervisor).policy() };
        Self { chain, quorum, members, policy, evidence, directory, stopping: watch::Sender::new(false) }
    }

    fn attestor(&self, key: &Signer, policy: &Policy) -> Attestor {
        Attestor::new(key.clone(), policy.clone(), self.quorum.clone(), self.chain.clone())
    }

    /// A member that serves; what it told its operator.
    async fn serve(&self, key: &Signer, policy: &Policy) -> (String, Arc<Mutex<Vec<Told>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        let watch: Watch = Arc::new(move |what: &Told| kept.lock().unwrap().push(what.clone()));
        tokio::spawn(serve(listener, Arc::new(self.attestor(key, policy)), watch, self.stopping.subscribe()));
        (format!("http://{address}"), told)
    }

    fn expected(&self) -> Verdict {
        *judge(&self.evidence, &self.policy, &self.quorum, UnixSeconds(now_ms() / 1000)).unwrap().verdict()
    }

    async fn collect(&self, urls: &[String]) -> Result<Collected, NoQuorum> {
        let urls: Vec<AttestorUrl> = urls.iter().map(|url| AttestorUrl::parse(url).unwrap()).collect();
        collect(&urls, &self.quorum, &self.evidence.encode(), &self.expected()).await
    }

    fn question(&self) -> Value {
        json!({"chain_id": self.quorum.chain_id, "verifier": self.quorum.verifier.to_string(), "evidence": to_hex(&self.evidence.encode())})
    }

    /// An answer with the signature of this key over this verdict.
    fn signed(&self, key: &Signer, verdict: &Verdict) -> String {
        let signature = key.sign_digest(&self.quorum.digest(verdict)).unwrap();
        json!({"attestor": key.address().to_string(), "signature": to_hex(&signature.0)}).to_string()
    }
}

/// A server that answers every question with this status and body; none: it hangs.
async fn canned(answer: Option<(u16, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let Some((status, body)) = answer else { return tokio::time::sleep(Duration::from_secs(600)).await };
                read_request(&mut stream).await;
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            });
        }
    });
    format!("http://{address}")
}

async fn read_request(stream: &mut tokio::net::TcpStream) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse().ok()));
        if read == 0 || length.unwrap_or(0) <= body.len() {
            return;
        }
    }
}

/// One request by hand; status and body.
async fn ask(url: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let address: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // A server that has read enough may close before the end.
    drop(stream.write_all(request.as_bytes()).await);
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).unwrap_or_default())
}

#[tokio::test]
async fn two_of_three_attestors_are_enough_in_the_order_of_the_contract() {
    let world = World::start("enough").await;
    let mut urls = Vec::new();
    for key in world.members.iter().rev().take(2) {
        urls.push(world.serve(key, &world.policy).await.0);
    }
    // The third hangs, and is not waited for.
    urls.push(canned(None).await);
    let collected = tokio::time::timeout(Duration::from_secs(10), world.collect(&urls)).await.expect("not waited for").unwrap();
    assert_eq!(collected.signers, world.quorum.members[1..]);
    let signatures = world.members[1..].iter().map(|key| key.sign_digest(&world.quorum.digest(&world.expected())).unwrap());
    assert_eq!(collected.verifier_data, world.expected().verifier_data(&signatures.collect::<Vec<_>>()));
}

#[tokio::test]
async fn whoever_does_not_sign_rightly_does_not_count_and_is_named_with_the_reason() {
    let world = World::start("liars").await;
    let (expected, stranger) = (world.expected(), Signer::random());
    let other = Verdict { document_time: expected.document_time + 1, ..expected };
    let (good, _) = world.serve(&world.members[0], &world.policy).await;
    let refusing = Policy { roots: Vec::new(), ..world.policy.clone() };
    let (strict, _) = world.serve(&world.members[1], &refusing).await;
    let answers = [
        // A member over another verdict, a stranger over this one, the good one's own signature again, and noise.
        (200, world.signed(&world.members[2], &other)),
        (200, world.signed(&stranger, &expected)),
        (200, "hello".to_owned()),
        (500, world.signed(&world.members[2], &expected)),
        (200, "x".repeat(20_000)),
        (429, json!({"error": {"code": "rate_limited", "message": "later\u{1b}[2J"}}).to_string()),
    ];
    let mut urls = vec![good.clone(), strict.clone()];
    for answer in answers {
        urls.push(canned(Some(answer)).await);
    }
    let error = world.collect(&urls).await.unwrap_err();
    assert_eq!((error.expected, error.got, error.others.len()), (2, 1, 7));
    let why = |url: &str| error.others.iter().find(|other| other.endpoint == url).map(|other| other.why.clone()).unwrap();
    assert!(
        matches!(why(&strict), Why::Refused { code, message, is_temporary: false } if code == "refused" && message.contains("attest.root"))
    );
    assert_eq!((why(&urls[2]), why(&urls[3])), (Why::NoMember, Why::NoMember));
    assert_eq!(
        (why(&urls[4]), why(&urls[5]), why(&urls[6])),
        (Why::Malformed { status: 200 }, Why::Malformed { status: 500 }, Why::Malformed { status: 200 })
    );
    assert!(matches!(why(&urls[7]), Why::Refused { is_temporary: true, .. }));
    assert!(error.is_temporary(), "one that is down may come back");
    assert!(!error.to_string().contains('\u{1b}'));
}

#[tokio::test]
async fn one_member_at_two_urls_is_one_member() {
    let world = World::start("twice").await;
    let answer = world.signed(&world.members[0], &world.expected());
    let urls = [canned(Some((200, answer.clone()))).await, canned(Some((200, answer))).await];
    let error = world.collect(&urls).await.unwrap_err();
    assert_eq!((error.got, &error.others[0].why), (1, &Why::Twice(world.quorum.members[0])));
    assert!(!error.is_temporary(), "asking again changes nothing");
}

#[tokio::test]
async fn an_attestor_answers_what_it_found_and_tells_its_operator() {
    let world = World::start("answer").await;
    let (url, told) = world.serve(&world.members[0], &world.policy).await;
    let (status, answer) = ask(&url, "POST", "/v1/attest", &world.question().to_string()).await;
    assert_eq!((status, answer["attestor"].as_str()), (200, Some(world.quorum.members[0].to_string().as_str())), "{answer}");
    let verdict = world.expected();
    assert_eq!(answer["verdict"]["evidence_hash"], verdict.evidence_hash.to_string());
    assert_eq!(answer["verdict"]["document_time"], verdict.document_time);
    let told = told.lock().unwrap().clone();
    assert!(matches!(&told[..], [Told::Signed { k_sig, .. }] if *k_sig == world.evidence.manifest.k_sig), "{told:?}");
}

#[tokio::test]
async fn each_refusal_has_its_status_and_code() {
    let world = World::start("codes").await;
    let (url, told) = world.serve(&world.members[0], &world.policy).await;
    let changed = |key: &str, value: Value| {
        let mut question = world.question();
        question[key] = value;
        question.to_string()
    };
    let foreign = {
        let mut evidence = world.evidence.clone();
        evidence.freshness.block_hash = Hash32([9; 32]);
        to_hex(&evidence.encode())
    };
    let mut elsewhere = world.evidence.clone();
    elsewhere.manifest.registry = Address([9; 20]);
    let (question, attest) = (world.question().to_string(), "/v1/attest");
    let too_long = "x".repeat(1 << 20);
    let cases = [
        ("POST", "/", question.clone(), 404, "not_found"),
        ("GET", attest, String::new(), 405, "method_not_allowed"),
        ("POST", attest, "{}".to_owned(), 400, "malformed"),
        ("POST", attest, changed("more", 1.into()), 400, "malformed"),
        ("POST", attest, changed("evidence", "0x00".into()), 400, "malformed_evidence"),
        ("POST", attest, changed("chain_id", 1.into()), 409, "another_quorum"),
        ("POST", attest, changed("verifier", Address([9; 20]).to_string().into()), 409, "another_quorum"),
        ("POST", attest, changed("evidence", to_hex(&elsewhere.encode()).into()), 409, "another_registry"),
        // The tag in the document is of another block.
        ("POST", attest, changed("evidence", foreign.into()), 422, "refused"),
        ("POST", attest, too_long, 413, "too_large"),
    ];
    for (method, path, body, status, code) in cases {
        let (got, answer) = ask(&url, method, path, &body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &code.into()), "{method} {path}: {answer}");
    }
    assert!(told.lock().unwrap().iter().all(|told| matches!(told, Told::Refused { .. })));
}

#[tokio::test]
async fn a_chain_that_says_otherwise_or_nothing_is_no_ground_to_sign() {
    let world = World::start("chain").await;
    // A chain of its own on which the registry is not: its answer is none, and strangers are not told what it said.
    let empty = SharedChain::new(DevChain::new(Config::default()).unwrap());
    let chain = ChainClient::from_provider(provider(&empty), None).await.unwrap();
    let attestor = Attestor::new(world.members[0].clone(), world.policy.clone(), world.quorum.clone(), chain);
    let now = UnixSeconds(now_ms() / 1000);
    let refused = attestor.attest(&world.evidence, now).await.unwrap_err();
    assert!(matches!(refused, NotAttested::Chain(_)) && refused.is_temporary(), "{refused:?}");
}

#[tokio::test]
async fn one_address_asks_so_often_in_a_minute() {
    let world = World::start("rate").await;
    let (url, _) = world.serve(&world.members[0], &world.policy).await;
    let mut last = 0;
    for _ in 0..130 {
        last = ask(&url, "POST", "/v1/attest", "{}").await.0;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
}

#[test]
fn what_is_no_url_of_an_attestor_is_refused_and_no_more_of_one_is_shown_than_its_host() {
    for text in ["", "127.0.0.1:8446", "ftp://a", "http://a?x=1", "http://a#x"] {
        assert_eq!(AttestorUrl::parse(text), Err(NotAUrl), "{text}");
    }
    let url = AttestorUrl::parse("https://user:secret@a.example/key/").unwrap();
    assert_eq!((url.to_string().as_str(), format!("{url:?}").contains("secret")), ("https://a.example", false));
}
