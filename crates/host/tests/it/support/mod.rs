//! An enclave that is only its side of the link: real keys, a real tree, a real socket, and answers that the test writes.

#[path = "../../../../chain/tests/support/mod.rs"]
pub(crate) mod world;

pub(crate) mod running;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use candor_chain::{Finality, Signer};
use candor_host::*;
use candor_link::*;
use candor_log::tree::FullTree;
use candor_testkit::forge::Key;
use candor_testkit::honest::sign_checkpoint;
use candor_verify::checkpoint::{Checkpoint, SignedCheckpoint};
use candor_verify::manifest::Manifest;
use candor_verify::payment::{Authorization, TokenDomain};
use candor_verify::receipt::Receipt;
use candor_verify::scheme::{Scheme, Through};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::{leaf_data, leaf_hash};
use candor_verify::{Address, Amount, Hash32, Signature65};
use candor_x402::scheme::encode_transfer;
use ed25519_dalek::SigningKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use world::{MODEL, World};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that is gone with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("candor-host-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// The keys and the log of one boot.
pub(crate) struct Boot {
    pub(crate) k_sig: Signer,
    pub(crate) k_log: SigningKey,
    pub(crate) manifest: Manifest,
    pub(crate) tree: FullTree,
    number: u8,
    salts: u64,
    asset: Address,
}

impl Boot {
    pub(crate) fn new(world: &World, number: u8) -> Self {
        let k_sig = Signer::from_bytes(&[number; 32]).unwrap();
        let k_log = SigningKey::from_bytes(&[number; 32]);
        let manifest = world.manifest(&k_sig, Hash32(k_log.verifying_key().to_bytes()));
        Self { k_sig, k_log, manifest, tree: FullTree::new(), number, salts: 0, asset: world.contracts.test_usd }
    }

    /// A boot that needs no chain.
    pub(crate) fn offline(number: u8) -> Self {
        let k_sig = Signer::from_bytes(&[number; 32]).unwrap();
        let k_log = SigningKey::from_bytes(&[number; 32]);
        let k_log_public = Hash32(k_log.verifying_key().to_bytes());
        let manifest = Manifest { k_sig: k_sig.address(), k_log: k_log_public, ..Manifest::default() };
        Self { k_sig, k_log, manifest, tree: FullTree::new(), number, salts: 0, asset: Address([7; 20]) }
    }

    pub(crate) fn ready(&self) -> Ready {
        let boot_signature = self.k_sig.sign_digest(&self.manifest.boot_digest()).unwrap();
        Ready { manifest: self.manifest.clone(), evidence: b"evidence".to_vec(), boot_signature }
    }

    pub(crate) fn log_id(&self) -> Hash32 {
        self.manifest.log_id()
    }

    /// A signed receipt for the next leaf, which is pushed.
    pub(crate) fn entry(&mut self, payment_id: Hash32) -> LoggedReceipt {
        let sequence = self.tree.size();
        self.salts = self.salts.wrapping_add(1);
        let mut receipt = receipt(&self.manifest, sequence, payment_id);
        receipt.money.asset = self.asset;
        let signature = self.k_sig.sign_digest(&receipt.digest()).unwrap();
        let mut salt = Hash32::ZERO;
        salt.0[0] = self.number;
        salt.0[24..].copy_from_slice(&self.salts.to_be_bytes());
        let leaf_data = leaf_data(&salt, &receipt.digest(), &signature);
        self.tree.push(leaf_hash(&leaf_data.0)).unwrap();
        LoggedReceipt {
            leaf_data,
            receipt_id: candor_verify::receipt::receipt_id(&salt),
            receipt: receipt.encode().try_into().unwrap(),
            signature,
            frame_leaf_hashes: vec![Hash32([1; 32]), salt],
        }
    }

    pub(crate) fn checkpoint(&self) -> SignedCheckpoint {
        let checkpoint = Checkpoint { log_id: self.log_id(), tree: self.tree.now().tree(), timestamp: UnixMs(1_700_000_000_000) };
        sign_checkpoint(checkpoint, &Key::of(self.number), &self.k_log)
    }
}

pub(crate) fn receipt(manifest: &Manifest, sequence: u64, payment_id: Hash32) -> Receipt {
    let mut receipt = candor_testkit::honest::receipt(manifest, sequence);
    receipt.money.payment_id = payment_id;
    receipt
}

/// A payment of 1000 units, signed by `payer` for `asset` on the development chain.
pub(crate) fn settlement(
    payer: &Signer,
    payee: Address,
    asset: Address,
    nonce: u8,
    valid_before: UnixSeconds,
    sequence: u64,
) -> Settlement {
    settlement_of(payer, payee, asset, Hash32([nonce; 32]), valid_before, sequence)
}

/// The same with any nonce.
pub(crate) fn settlement_of(
    payer: &Signer,
    payee: Address,
    asset: Address,
    nonce: Hash32,
    valid_before: UnixSeconds,
    sequence: u64,
) -> Settlement {
    let (through, from, value) = (Through::Token, payer.address(), Amount(1000));
    let authorization = Authorization { through, from, to: payee, value, valid_after: UnixSeconds(0), valid_before, nonce };
    let domain = TokenDomain { name: "USDC".into(), version: "2".into(), chain_id: 31337, asset };
    let signature: Signature65 = payer.sign_digest(&authorization.digest(&domain)).unwrap();
    Settlement {
        scheme: Scheme::ExactEip3009,
        payment_id: authorization.payment_id(31337, &asset),
        chain_id: 31337,
        to: asset,
        calldata: encode_transfer(&authorization, &signature).0,
        sequence,
        answer: None,
    }
}

/// The listening side of the link.
pub(crate) struct FakeEnclave {
    pub(crate) listener: UnixListener,
    pub(crate) socket: PathBuf,
}

/// One control connection, seen from the enclave.
pub(crate) struct Control {
    stream: UnixStream,
    decoder: FrameDecoder,
    next_id: u64,
}

impl FakeEnclave {
    pub(crate) fn listen(scratch: &Scratch) -> Self {
        Self::listen_at(scratch, "enclave.sock")
    }

    /// Another one beside it.
    pub(crate) fn listen_at(scratch: &Scratch, name: &str) -> Self {
        let socket = scratch.path().join(name);
        let _old = std::fs::remove_file(&socket);
        Self { listener: UnixListener::bind(&socket).unwrap(), socket }
    }

    /// The next connection of any role.
    pub(crate) async fn accept(&self) -> (Role, UnixStream) {
        let (mut stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("the host connects").unwrap();
        let mut hello = [0; HELLO_LEN];
        stream.read_exact(&mut hello).await.unwrap();
        (Hello::parse(&hello).unwrap().role, stream)
    }

    /// A control connection that was told where the boot stands.
    pub(crate) async fn control(&self, phase: Phase) -> Control {
        let (role, stream) = self.accept().await;
        assert_eq!(role, Role::Control);
        let mut control = Control { stream, decoder: FrameDecoder::new(), next_id: 1 };
        control.send(&ToHost::Welcome(phase)).await;
        control
    }

    /// A whole boot from terms to service. Returns what was asked on the way.
    pub(crate) async fn boot(&self, boot: &Boot) -> (Control, BootRequest, Vec<u8>) {
        let mut control = self.control(Phase::AwaitingTerms).await;
        let HostRequest::Boot(request) = control.serve_one(EnclaveReply::Done).await else { panic!("expected Boot") };
        let mut model = Vec::new();
        loop {
            let (id, request) = control.next_request().await;
            match request {
                HostRequest::ModelPart(part) => {
                    assert_eq!(part.offset, model.len() as u64);
                    model.extend(part.bytes);
                    control.reply(id, EnclaveReply::Done).await;
                }
                HostRequest::Start => {
                    control.reply(id, EnclaveReply::Ready(Box::new(boot.ready()))).await;
                    break;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        (control, *request, model)
    }
}

impl Control {
    pub(crate) async fn send(&mut self, message: &ToHost) {
        self.stream.write_all(&message.encode().unwrap()).await.unwrap();
    }

    /// The next frame; `None` if the host closed the connection.
    pub(crate) async fn next(&mut self) -> Option<ToEnclave> {
        let mut buffer = [0; 65536];
        loop {
            if let Some(payload) = self.decoder.next_frame().unwrap() {
                return Some(ToEnclave::parse(&payload).unwrap());
            }
            let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("the host says something").ok()?;
            if read == 0 {
                return None;
            }
            self.decoder.push(&buffer[..read]);
        }
    }

    /// The next request that is not a ping, nor a question for counts.
    pub(crate) async fn next_request(&mut self) -> (u64, HostRequest) {
        loop {
            match self.next().await.expect("the connection is open") {
                ToEnclave::Request { id, request: HostRequest::Ping } => self.reply(id, EnclaveReply::Done).await,
                ToEnclave::Request { id, request: HostRequest::Metrics } => self.reply(id, EnclaveReply::Metrics(Box::default())).await,
                ToEnclave::Request { id, request } => return (id, request),
                ToEnclave::HeadUpdate(_) => {}
                ToEnclave::Reply { .. } => panic!("a reply to nothing"),
            }
        }
    }

    pub(crate) async fn reply(&mut self, id: u64, reply: EnclaveReply) {
        self.send(&ToHost::Reply { id, reply }).await;
    }

    pub(crate) async fn serve_one(&mut self, reply: EnclaveReply) -> HostRequest {
        let (id, request) = self.next_request().await;
        self.reply(id, reply).await;
        request
    }

    /// Asks the host and waits, serving pings and attestations on the way.
    pub(crate) async fn call(&mut self, request: EnclaveRequest) -> HostReply {
        let wanted = self.next_id;
        self.next_id += 1;
        self.send(&ToHost::Request { id: wanted, request }).await;
        loop {
            match self.next().await.expect("the connection is open") {
                ToEnclave::Reply { id, reply } if id == wanted => return reply,
                ToEnclave::Reply { .. } | ToEnclave::HeadUpdate(_) => {}
                ToEnclave::Request { id, request } => {
                    let reply = match request {
                        HostRequest::Attest { .. } => EnclaveReply::Evidence(b"newer evidence".to_vec()),
                        _ => EnclaveReply::Done,
                    };
                    self.reply(id, reply).await;
                }
            }
        }
    }

    /// As [`Self::call`], again and again while the host says that it is a matter of time.
    pub(crate) async fn call_until_done(&mut self, request: EnclaveRequest) -> HostReply {
        for _ in 0..200 {
            match self.call(request.clone()).await {
                HostReply::Refused(refused) if refused.code.is_temporary() => tokio::time::sleep(Duration::from_millis(50)).await,
                reply => return reply,
            }
        }
        panic!("refused for ever");
    }

    pub(crate) async fn append(&mut self, first_index: u64, entries: Vec<LoggedReceipt>) -> HostReply {
        self.call_until_done(EnclaveRequest::Append(AppendRequest { first_index, entries })).await
    }

    pub(crate) async fn checkpoint(&mut self, first_index: u64, checkpoint: SignedCheckpoint, settlements: Vec<Settlement>) -> HostReply {
        let request = CheckpointRequest { first_index, checkpoint, settlements };
        self.call_until_done(EnclaveRequest::Checkpoint(Box::new(request))).await
    }
}

/// Registers on the world's chain with the attestor's signature, as `candor serve` does.
/// Remembers what it is given to renew a boot that has gone.
pub(crate) struct WorldRegistrar(pub Arc<World>, pub Arc<Mutex<Vec<Vec<u8>>>>);

impl Registrar for WorldRegistrar {
    fn submit<'a>(&'a self, ready: &'a Ready) -> Registering<'a> {
        Box::pin(async move {
            let world = &self.0;
            let k_sig = ready.manifest.k_sig;
            let temporary = |error: candor_chain::ChainError| RegistrarError { is_temporary: true, message: error.to_string() };
            if world.client.key_status(&world.contracts.registry, &k_sig).await.map_err(temporary)?.is_none() {
                let head = world.client.head().await.map_err(temporary)?;
                let mut submission = world.submission(&ready.manifest, &ready.evidence, &head, ready.boot_signature);
                let m = &ready.manifest;
                if !m.predecessor_log.is_zero() {
                    let found = world.client.predecessor(&m.registry, &m.predecessor_log, m.predecessor_size).await;
                    submission.predecessor = found.map_err(temporary)?;
                }
                let calldata = submission.calldata().map_err(temporary)?;
                world.client.send_and_wait(&world.registrar, Some(&world.contracts.registry), &calldata).await.map_err(temporary)?;
            }
            Ok(())
        })
    }

    /// Sent at the first look, and standing from then on.
    fn renew<'a>(&'a self, evidence: &'a [u8]) -> Renewing<'a> {
        let mut shown = self.1.lock().unwrap();
        let is_new = !shown.iter().any(|before| before == evidence);
        shown.push(evidence.to_vec());
        Box::pin(async move { Ok(if is_new { Renewed::Sent } else { Renewed::Stands }) })
    }
}

/// A configuration for tests: fast, on the world's chain, with one model file of `model` bytes.
pub(crate) fn config(world: &Arc<World>, scratch: &Scratch, socket: &Path, model: &[u8]) -> HostConfig {
    let path = scratch.path().join("model.bin");
    std::fs::write(&path, model).unwrap();
    let keys = GasKeys { gas: world.gas.clone(), anchor: world::dev_signer(6) };
    let mut config = HostConfig::new(socket.to_owned(), scratch.path().join("host"), world.terms().encode(), world.client.clone(), keys);
    config.boot.models = vec![ModelFile { digest: MODEL, path }];
    config.boot.registrar = Arc::new(WorldRegistrar(Arc::clone(world), Arc::default()));
    (config.head_depth, config.finality) = (0, Finality::Depth(0));
    config.serve_unregistered = true;
    config.timing = Timing {
        head: Duration::from_millis(50),
        head_max: Duration::from_millis(50),
        anchor: Duration::from_millis(100),
        retry: Duration::from_millis(20),
        gone: Duration::from_millis(200),
        stays: Duration::from_millis(300),
        ..Timing::default()
    };
    config.settlement = SettlementConfig { poll: Duration::from_millis(50), bump_after: Duration::from_millis(500) };
    if std::env::var_os("HOST_TEST_NOTICES").is_some() {
        config.notices = Arc::new(|notice| eprintln!("{notice}"));
    }
    config
}
