//! Terms and models that are not ones to boot with: the enclave refuses each by name, makes no key, serves nobody, and the host that
//! offered it ends and says why. Over the real program; the test is the host where it must lie.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use candor_chain::Signer;
use candor_devchain::{DEFAULT_CHAIN_ID, dev_accounts};
use candor_engine::{Config, Model as Weights, fixture};
use candor_link::*;
use candor_testkit::honest::terms_for;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::terms::{
    Asset, Egress, Model, OperatorTerms, Pricing, SealedVersion, Secret, SignedTerms, Trust, Upstream, UpstreamKind, storage,
};
use candor_verify::time::{UnixMs, UnixSeconds};

use crate::support::payer::now;
use crate::support::process::{self, Process, new_directory};
use crate::support::split::Split;
use crate::support::{PATIENCE, eventually};

/// Index of the well-known account that signs terms in development set-ups.
const OPERATOR: usize = 1;

/// A model that loads at once.
fn weights(seed: u64) -> Vec<u8> {
    let shape = Config { dim: 64, layers: 1, heads: 4, kv_heads: 2, head_dim: 16, ffn: 128, context: 256, norm_eps: 1e-5, tied: false };
    fixture::random(shape, seed)
}

fn digest(weights: &[u8]) -> Hash32 {
    Hash32(Weights::load(weights).unwrap().digest())
}

fn operator() -> Signer {
    Signer::from_bytes(&dev_accounts::ALL[OPERATOR].private_key.0).unwrap()
}

fn sign(terms: OperatorTerms) -> SignedTerms {
    let signature = operator().sign_digest(&terms.digest()).unwrap();
    SignedTerms { terms, signature }
}

/// Terms that an enclave boots with.
fn terms(weights: &[u8]) -> OperatorTerms {
    OperatorTerms {
        operator: operator().address(),
        not_after: UnixMs((now() + 3_600) * 1000),
        ..terms_for(Model::local("m", digest(weights), 256))
    }
}

/// The other end of an enclave's control connection.
struct FakeHost {
    stream: UnixStream,
    decoder: FrameDecoder,
    next_id: u64,
}

impl FakeHost {
    /// Connects as soon as the enclave listens, and reads where it stands.
    fn connect(socket: &Path) -> (Self, Phase) {
        let mut stream = dial(socket);
        stream.write_all(&Hello { role: Role::Control }.encode()).unwrap();
        let mut host = Self { stream, decoder: FrameDecoder::new(), next_id: 1 };
        let ToHost::Welcome(phase) = host.next() else { panic!("no welcome") };
        (host, phase)
    }

    fn next(&mut self) -> ToHost {
        let mut buffer = [0; 4096];
        loop {
            if let Some(payload) = self.decoder.next_frame().unwrap() {
                return ToHost::parse(&payload).unwrap();
            }
            let read = self.stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the enclave closed the connection");
            self.decoder.push(&buffer[..read]);
        }
    }

    fn call(&mut self, request: HostRequest) -> EnclaveReply {
        let wanted = self.next_id;
        self.next_id += 1;
        self.stream.write_all(&ToEnclave::Request { id: wanted, request }.encode().unwrap()).unwrap();
        loop {
            match self.next() {
                ToHost::Reply { id, reply } if id == wanted => return reply,
                // What a booted enclave asks and tells its host is not this test's matter.
                ToHost::Request { .. } | ToHost::Log(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn boot(&mut self, signed_terms: Vec<u8>, chain_id: u64) -> EnclaveReply {
        let head = BlockHead { chain_id, number: 1, hash: Hash32([1; 32]), timestamp: UnixSeconds(now()) };
        self.call(HostRequest::Boot(Box::new(BootRequest { signed_terms, head, predecessor: None })))
    }

    fn part(&mut self, digest: Hash32, offset: u64, bytes: &[u8], total: u64) -> EnclaveReply {
        self.call(HostRequest::ModelPart(ModelPart { digest, offset, total, bytes: bytes.to_vec() }))
    }
}

fn dial(socket: &Path) -> UnixStream {
    let deadline = std::time::Instant::now() + PATIENCE;
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client's connection ends without a byte: there is no key yet that could answer it.
fn assert_no_client_is_served(socket: &Path) {
    let mut stream = dial(socket);
    stream.write_all(&Hello { role: Role::Client(Party([1; 8])) }.encode()).unwrap();
    let mut bytes = Vec::new();
    // Closed or reset, but not a byte.
    drop(stream.read_to_end(&mut bytes));
    assert!(bytes.is_empty(), "{bytes:?}");
}

fn assert_refused(name: &str, reply: &EnclaveReply, code: RefusalCode, says: &str) {
    match reply {
        EnclaveReply::Refused(refused) if refused.code == code && refused.message.contains(says) => {}
        other => panic!("{name}: expected {code:?} that says {says:?}, got {other:?}"),
    }
}

struct Enclave {
    _process: Process,
    directory: std::path::PathBuf,
    socket: std::path::PathBuf,
}

impl Enclave {
    fn start() -> Self {
        let directory = new_directory();
        let (socket, config) = (directory.join("e.sock"), directory.join("node.toml"));
        std::fs::write(&config, "version = 1\n").unwrap();
        let arguments = ["enclave", "--config", config.to_str().unwrap(), "--socket", socket.to_str().unwrap()];
        let process = Process::spawn(&directory, "enclave", &arguments);
        Self { _process: process, directory, socket }
    }
}

impl Drop for Enclave {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// One deviation of signed terms, and what the refusal says.
type Deviation = (&'static str, fn(SignedTerms) -> Vec<u8>, &'static str);

pub(crate) fn changed(signed: SignedTerms, change: impl FnOnce(&mut OperatorTerms)) -> Vec<u8> {
    let mut terms = signed.terms;
    change(&mut terms);
    sign(terms).encode()
}

const DEVIATIONS: &[Deviation] = &[
    (
        "a field more",
        |signed| {
            let mut bytes = signed.encode();
            // An array of 16 whose last member is 0: what a later version might look like.
            bytes[0] += 1;
            bytes.push(0);
            bytes
        },
        "before byte 2: a value that is not allowed here",
    ),
    ("a byte more", |signed| [signed.encode(), vec![0]].concat(), "after the end"),
    (
        "another version",
        |signed| {
            let mut bytes = signed.encode();
            bytes[1] += 1;
            bytes
        },
        "version 3, this program reads version 2 only",
    ),
    ("an unknown flag", |signed| changed(signed, |terms| terms.flags = 2), "a flag that this version does not know"),
    ("a flag that is not served", |signed| changed(signed, |terms| terms.flags = 1), "upfront payments"),
    (
        "a broken signature",
        |mut signed| {
            signed.signature.0[7] ^= 1;
            signed.encode()
        },
        "not signed by their operator",
    ),
    (
        "a signature over other terms",
        |mut signed| {
            signed.terms.payee = Address([9; 20]);
            signed.encode()
        },
        "not signed by their operator",
    ),
    ("over", |signed| changed(signed, |terms| terms.not_after = UnixMs(now() * 1000 - 1)), "the terms ended at"),
    (
        "another registry on the anchor chain",
        |signed| changed(signed, |terms| terms.chains[0].registry = Address([9; 20])),
        "does not name the registry",
    ),
    ("no registry", |signed| changed(signed, |terms| terms.registry = Address::ZERO), "must not be zero"),
    ("an upstream", |signed| changed(signed, |terms| terms.upstreams = vec![upstream("up")]), "list upstreams"),
    ("a secret", |signed| changed(signed, |terms| terms.secrets = vec![Secret { name: "s".into(), min_version: 0 }]), "list secrets"),
    (
        "sealed requests",
        |signed| changed(signed, |terms| terms.sealed = vec![SealedVersion { version: 1, not_after: UnixMs(1) }]),
        "offer sealed requests",
    ),
    (
        "an egress",
        |signed| changed(signed, |terms| terms.egress = vec![Egress { host: "h".into(), port: 1, purpose: "p".into() }]),
        "allow connections to others",
    ),
    ("cached prompts", |signed| changed(signed, |terms| terms.storage |= storage::CACHES_PROMPTS), "let prompts be cached"),
    ("a proxy without settlers", |signed| changed(signed, |terms| terms.chains[0].upto_proxy = Address([9; 20])), "without the other"),
    ("a contract of channels", |signed| changed(signed, |terms| terms.chains[0].batch = Address([9; 20])), "contracts of channels"),
    ("no model", |signed| changed(signed, |terms| terms.models.clear()), "need a model"),
    ("a price of another model", |signed| changed(signed, |terms| terms.prices[0].model = Hash32([9; 32])), "do not list"),
    (
        "another anchor chain",
        |signed| {
            changed(signed, |terms| {
                terms.anchor_chain_id = 31338;
                terms.chains[0].chain_id = 31338;
            })
        },
        "the anchor chain is 31338, the host's head is of 31337",
    ),
    (
        "money of a main network",
        |signed| {
            changed(signed, |terms| {
                terms.assets[0].chain_id = 1;
                terms.prices[0].chain_id = 1;
            })
        },
        "chain 1",
    ),
];

fn upstream(name: &str) -> Upstream {
    Upstream {
        name: name.to_owned(),
        kind: UpstreamKind::OpenAi,
        host: name.to_owned(),
        port: 443,
        path: name.to_owned(),
        trust: Trust::Key,
        trust_anchor: Hash32([9; 32]),
        account: String::new(),
        pricing: Pricing::Fixed,
        markup: 0,
        flags: 0,
    }
}

#[test]
fn terms_that_are_not_ones_to_boot_with_is_refused_by_name_and_changes_nothing() {
    let enclave = Enclave::start();
    let weights = weights(1);
    let (mut host, phase) = FakeHost::connect(&enclave.socket);
    assert_eq!(phase, Phase::AwaitingTerms);
    for (name, deviate, says) in DEVIATIONS {
        let reply = host.boot(deviate(sign(terms(&weights))), DEFAULT_CHAIN_ID);
        assert_refused(name, &reply, RefusalCode::TermsRefused, says);
        assert_refused(name, &host.call(HostRequest::Start), RefusalCode::WrongPhase, "awaiting terms");
        assert_no_client_is_served(&enclave.socket);
    }
    let (mut host, phase) = FakeHost::connect(&enclave.socket);
    assert_eq!(phase, Phase::AwaitingTerms);
    // The one without a deviation, so that it was the deviation that was refused.
    assert_eq!(host.boot(sign(terms(&weights)).encode(), DEFAULT_CHAIN_ID), EnclaveReply::Done);
    let again = host.boot(sign(terms(&weights)).encode(), DEFAULT_CHAIN_ID);
    assert_refused("second terms", &again, RefusalCode::WrongPhase, "has terms");
}

#[test]
fn a_model_that_the_terms_do_not_name_is_refused_and_no_key_is_made() {
    let enclave = Enclave::start();
    let (named, other) = (weights(1), weights(2));
    let (mut host, _) = FakeHost::connect(&enclave.socket);
    assert_eq!(host.boot(sign(terms(&named)).encode(), DEFAULT_CHAIN_ID), EnclaveReply::Done);
    let (id, total) = (digest(&named), named.len() as u64);
    let refused = |name: &str, reply: &EnclaveReply, says: &str| {
        assert_refused(name, reply, RefusalCode::ModelRefused, says);
        assert_no_client_is_served(&enclave.socket);
    };
    refused("none", &host.call(HostRequest::Start), "has not arrived");
    refused("unlisted", &host.part(digest(&other), 0, &other, other.len() as u64), "the terms list no model");
    refused("others' bytes", &host.part(id, 0, &other, other.len() as u64), "expected model");
    let mut flipped = named.clone();
    *flipped.last_mut().unwrap() ^= 1;
    refused("one bit", &host.part(id, 0, &flipped, total), "expected model");
    refused("a gap", &host.part(id, 1, &named[1..], total), "was expected");
    refused("cut", &host.part(id, 0, &named[..named.len() - 1], total - 1), "expected model");
    refused("after all that", &host.call(HostRequest::Start), "has not arrived");
    assert_eq!(host.part(id, 0, &named, total), EnclaveReply::Done);
    let EnclaveReply::Ready(ready) = host.call(HostRequest::Start) else { panic!("the right model starts") };
    assert_eq!(ready.manifest.terms_hash, terms_hash(&ready));
}

/// The digest of the terms that the evidence carries.
fn terms_hash(ready: &Ready) -> Hash32 {
    candor_verify::evidence::Evidence::parse(&ready.evidence).unwrap().terms.terms.digest()
}

#[tokio::test]
async fn a_host_whose_terms_are_refused_ends_says_why_and_never_served() {
    let world = Split::ended();
    let node = world.state.join("node");
    let written = SignedTerms::parse(&std::fs::read(node.join("terms.cbor")).unwrap()).unwrap();
    let _enclave = Split::enclave(&world);
    let path = node.join("changed.cbor");
    let mut arguments = Split::host_arguments(&world);
    let at = arguments.iter().position(|argument| argument == "--terms").unwrap();
    arguments[at + 1] = path.to_str().unwrap().to_owned();
    let unknown_model: Deviation = (
        "a model that is not there",
        |signed| {
            changed(signed, |terms| {
                terms.models[0].digest = Hash32([9; 32]);
                terms.prices[0].model = Hash32([9; 32]);
            })
        },
        "no file is given for it",
    );
    let too_long: Deviation = (
        "longer than a registry takes",
        |signed| {
            changed(signed, |terms| {
                let text = "t".repeat(256);
                let asset = Asset { name: text.clone(), version: text.clone(), ..terms.assets[0].clone() };
                terms.assets = vec![asset; 64];
                terms.upstreams = vec![upstream(&text); 64];
            })
        },
        "before byte 65536: a value that is not allowed here",
    );
    let settlers: Deviation = (
        "settlers that its network does not have",
        |signed| {
            changed(signed, |terms| (terms.chains[0].settler_factory, terms.chains[0].upto_proxy) = (Address([9; 20]), Address([8; 20])))
        },
        "which has no SettlerFactory at",
    );
    for (name, deviate, says) in DEVIATIONS.iter().chain([&unknown_model, &too_long, &settlers]) {
        std::fs::write(&path, deviate(written.clone())).unwrap();
        let directory = new_directory();
        let mut host = Split::host(&directory, &arguments);
        while process::is_alive(host.pid()) {
            assert!(crate::support::http::tls(&world.api()).await.is_err(), "{name}: a client is served");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(host.wait(), Some(2), "{name}");
        // The host judges what needs no enclave in the same words, but for chains, where it has an endpoint to compare with.
        let says = if name.contains("chain") || name.contains("network") { "chain" } else { says };
        // What it refuses itself is an error; what the enclave refuses is a notice, and is said once.
        let said = || std::fs::read_to_string(directory.join("host.err")).unwrap() + &host.said().join("\n");
        eventually(says, || async { said().contains(says).then_some(()) }).await;
        let times = said().lines().filter(|line| line.contains(says)).count();
        assert!(times == 1 || says == "chain", "{name}: {}", said());
        std::fs::remove_dir_all(directory).unwrap();
    }
    // The enclave that refused them is as good as new.
    std::fs::write(&path, written.encode()).unwrap();
    let host = Split::host(&world.state, &arguments);
    host.line(|line| line.starts_with("registered "));
}

#[tokio::test]
async fn a_node_whose_terms_name_another_registry_is_never_registered_and_clients_refuse_it() {
    let world = Split::ended();
    let path = world.state.join("node/terms.cbor");
    let written = SignedTerms::parse(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::write(
        &path,
        changed(written, |terms| {
            terms.registry = Address([0xe9; 20]);
            terms.chains[0].registry = terms.registry;
        }),
    )
    .unwrap();
    let _enclave = Split::enclave(&world);
    // An honest host leads nobody there.
    let host = Split::host(&world.state, &Split::host_arguments(&world));
    host.logged(|line| line.contains(" WARN  host::registration  registration: "));
    assert!(!host.said().iter().any(|line| line.starts_with("registered ")), "{:?}", host.said());
    assert_eq!(world.candor(&["inspect", &world.api()]).code, 2);
    drop(host);
    let host = Split::host(&world.state, &[Split::host_arguments(&world), vec!["--serve-unregistered".into()]].concat());
    host.logged(|line| line.contains(" WARN  host::registration  registration: "));
    let inspected = world.candor(&["inspect", &world.api()]);
    assert_eq!(inspected.code, 1, "{inspected:?}");
    let asked = world.candor(&["ask", "Hi", "--rpc", &world.rpc(), "--node", &world.api()]);
    assert_eq!((asked.code, asked.json["check"].is_string()), (1, true), "{asked:?}");
}

#[tokio::test]
async fn serve_whose_host_cannot_start_ends_and_says_why() {
    let world = Split::ended();
    let state = new_directory();
    // Where the host's directory should be.
    assert_eq!(process::run(&state, &["policy", "new", "--dev"]).code, 0);
    std::fs::create_dir(state.join("node")).unwrap();
    std::fs::write(state.join("node/host"), "a file").unwrap();
    let arguments = ["serve", "--rpc", &world.rpc(), "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"];
    let ran = process::run(&state, &arguments);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.json["error"].as_str().unwrap().contains("the host ended before the node was registered"), "{ran:?}");
    assert!(ran.stderr.contains("cannot make"), "{ran:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[tokio::test]
async fn serve_with_terms_with_which_no_enclave_boots_starts_nothing_and_names_the_rule() {
    let world = Split::ended();
    let state = new_directory();
    std::fs::write(state.join("m.cnd1"), candor_engine::fixture::model()).unwrap();
    let models = ["a", "b"].map(|id| format!("[[model]]\nid = \"{id}\"\nfile = \"m.cnd1\"\n")).concat();
    std::fs::write(state.join("node.toml"), format!("version = 1\n{models}")).unwrap();
    let arguments = ["serve", "--rpc", &world.rpc(), "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"];
    let ran = process::run(&state, &arguments);
    let error = ran.json["error"].as_str().unwrap();
    assert!(ran.code == 2 && error.contains("two models share a digest or an id"), "{ran:?}");
    assert!(!state.join("node/host").exists() && !state.join("node/terms.cbor").exists());
    std::fs::remove_dir_all(state).unwrap();
}
