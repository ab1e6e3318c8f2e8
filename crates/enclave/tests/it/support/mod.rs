//! An enclave in this process, a host that does as it is told, and a client that may be rude.

pub(crate) mod client;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candor_enclave::{Attester, AttesterError, Config};
use candor_link::{
    AnchoredProof, AnswerPage, AnswerPiece, BlockHead, BootRequest, CheckpointStored, EnclaveReply, EnclaveRequest, FrameDecoder,
    HELLO_LEN, Hello, HostReply, HostRequest, LogState, LoggedReceipt, MAX_ANSWER_PART, ModelPart, Party, PayerState, RefusalCode, Refused,
    Role, Settlement, SettlementState, StoredReceipt, ToEnclave, ToHost,
};
use candor_log::LeafData;
use candor_log::tree::FullTree;
use candor_testhttp::PATIENCE;
pub(crate) use candor_testkit::forge::Key;
use candor_testkit::forge::{CHAIN_ID, OPERATOR};
use candor_testkit::honest::{sign_terms, terms_for};
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::receipt::Receipt;
use candor_verify::scheme::Transfer;
use candor_verify::terms::{Model, OperatorTerms, SignedTerms};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_x402::scheme::{Calldata, read_call};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// Whom a client is that does not say.
pub(crate) const SOMEBODY: Party = Party([1; 8]);

/// Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A device that takes its time.
struct NoTee(Duration);

impl Attester for NoTee {
    fn attest(&self, _: &[u8; 64]) -> Result<Vec<u8>, AttesterError> {
        std::thread::sleep(self.0);
        Ok(vec![0; 32])
    }

    fn now(&self) -> Result<UnixMs, AttesterError> {
        Ok(UnixMs(1_790_000_000_000))
    }

    fn check_chain(&self, _: u64) -> Result<(), AttesterError> {
        Ok(())
    }
}

/// What the host was told, and how it behaves.
#[derive(Default)]
pub(crate) struct Host {
    entries: Mutex<Vec<LoggedReceipt>>,
    /// Settlements that came beside checkpoints.
    pub(crate) settlements: Mutex<Vec<Settlement>>,
    /// How long it takes to ask its chain about a payer.
    pub(crate) payer_delay: Mutex<Duration>,
    /// What it says of payers; that they have all there is, and allowed Permit2 all of it, if nothing else.
    pub(crate) payer: Mutex<Option<PayerState>>,
    /// What it says of settlements; that they are settled if nothing else.
    pub(crate) settlement: Mutex<Option<SettlementState>>,
    /// Kept answers, by id.
    pub(crate) answers: Mutex<HashMap<Hash32, Vec<u8>>>,
    /// Whether it says that it has no receipt.
    pub(crate) hides_receipts: AtomicBool,
    /// Whether it has no room for more.
    pub(crate) is_full: AtomicBool,
    /// Whether it says, after a second, that its log is another, which ends the enclave's.
    pub(crate) contradicts: AtomicBool,
}

/// A node under test.
pub(crate) struct World {
    socket: PathBuf,
    control: tokio::sync::Mutex<Control>,
    /// What it was booted with.
    pub(crate) terms: OperatorTerms,
    pub(crate) host: Arc<Host>,
}

impl World {
    /// Boots an enclave that sells the fixture.
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_with(config, Duration::ZERO).await
    }

    /// Boots one whose device takes so long for each document.
    pub(crate) async fn start_with(config: Config, attest: Duration) -> Self {
        Self::boot(config, attest, |_| {}).await
    }

    /// Boots one under other terms.
    pub(crate) async fn start_under(config: Config, change: impl FnOnce(&mut OperatorTerms)) -> Self {
        Self::boot(config, Duration::ZERO, change).await
    }

    async fn boot(config: Config, attest: Duration, change: impl FnOnce(&mut OperatorTerms)) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("candor-enclave-{}-{}.sock", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let socket = std::env::temp_dir().join(name);
        drop(std::fs::remove_file(&socket));
        let path = socket.clone();
        // A runtime of its own: what runs in it ends when the enclave does, as it would with its process.
        std::thread::spawn(move || {
            let enclave = tokio::runtime::Runtime::new().unwrap();
            drop(enclave.block_on(candor_enclave::run(&path, config, Arc::new(NoTee(attest)))));
            enclave.shutdown_background();
        });
        let host = Arc::new(Host::default());
        let mut control = Control::connect(&socket, Arc::clone(&host)).await;
        let model = model();
        let digest = Hash32(candor_engine::merkle_root(&model));
        let head = BlockHead { chain_id: CHAIN_ID, number: 1, hash: Hash32([1; 32]), timestamp: UnixSeconds(now()) };
        let signed_terms = terms(digest, change);
        let boot = BootRequest { signed_terms: signed_terms.encode(), head, predecessor: None };
        control.ask(HostRequest::Boot(Box::new(boot))).await;
        for bytes in [model, candor_engine::fixture::guard()] {
            let (digest, total) = (Hash32(candor_engine::merkle_root(&bytes)), u64::try_from(bytes.len()).unwrap());
            if signed_terms.terms.model(&digest).is_some() {
                control.ask(HostRequest::ModelPart(ModelPart { digest, offset: 0, total, bytes })).await;
            }
        }
        let EnclaveReply::Ready(_) = control.ask(HostRequest::Start).await else { panic!("not ready") };
        // The connection lives in its tasks.
        let world = Self { socket, host, control: tokio::sync::Mutex::new(control), terms: signed_terms.terms };
        world.eventually("the log is open", async || world.get("/health").await.status == 200).await;
        world
    }

    /// A connection of a client, before TLS.
    pub(crate) async fn connect(&self, party: Party) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(&Hello { role: Role::Client(party) }.encode()).await.unwrap();
        stream
    }

    /// What the enclave says to a request of the host.
    pub(crate) async fn say(&self, request: HostRequest) -> EnclaveReply {
        self.control.lock().await.exchange(request).await
    }

    /// The receipts that the host holds.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.host.entries.lock().unwrap().iter().map(|entry| Receipt::parse(&entry.receipt).unwrap()).collect()
    }

    /// Waits until something is so.
    pub(crate) async fn eventually(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: not in time"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.socket));
    }
}

/// The fixture, with a context long enough for answers that no socket buffers.
pub(crate) fn model() -> Vec<u8> {
    let shape = candor_engine::Config {
        dim: 64,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        ffn: 128,
        context: 8192,
        norm_eps: 1e-5,
        tied: false,
    };
    candor_engine::fixture::random(shape, 1)
}

/// Terms by which the fixture's guard judges requests first.
pub(crate) fn guarded(terms: &mut OperatorTerms) {
    let digest = Hash32(candor_engine::merkle_root(&candor_engine::fixture::guard()));
    terms.models.insert(0, Model::local("guard", digest, 512));
    terms.guard.model = "guard".into();
}

fn terms(model: Hash32, change: impl FnOnce(&mut OperatorTerms)) -> SignedTerms {
    let mut terms = OperatorTerms { not_after: UnixMs((now() + 86_400) * 1000), ..terms_for(Model::local("fixture", model, 8192)) };
    change(&mut terms);
    sign_terms(terms, &Key::of(OPERATOR))
}

/// The control connection of the host.
struct Control {
    to_enclave: mpsc::UnboundedSender<ToEnclave>,
    replies: mpsc::UnboundedReceiver<EnclaveReply>,
    next_id: u64,
}

impl Control {
    async fn connect(socket: &PathBuf, host: Arc<Host>) -> Self {
        let mut stream = loop {
            match UnixStream::connect(socket).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let hello: [u8; HELLO_LEN] = Hello { role: Role::Control }.encode();
        stream.write_all(&hello).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let (to_enclave, mut outgoing) = mpsc::unbounded_channel::<ToEnclave>();
        let (sender, replies) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                writer.write_all(&message.encode().unwrap()).await.unwrap();
            }
        });
        let answers = to_enclave.clone();
        tokio::spawn(async move {
            let (mut decoder, mut buffer, mut log) = (FrameDecoder::new(), vec![0; 1 << 16], Log::default());
            while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                decoder.push(&buffer[..read]);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    match ToHost::parse(&frame).unwrap() {
                        ToHost::Welcome(_) | ToHost::Log(_) => {}
                        ToHost::Reply { reply, .. } => drop(sender.send(reply)),
                        ToHost::Request { id, request } => serve(&host, &mut log, id, request, answers.clone()),
                    }
                }
            }
        });
        Self { to_enclave, replies, next_id: 1 }
    }

    async fn ask(&mut self, request: HostRequest) -> EnclaveReply {
        let reply = self.exchange(request).await;
        assert!(!matches!(reply, EnclaveReply::Refused(_)), "{reply:?}");
        reply
    }

    async fn exchange(&mut self, request: HostRequest) -> EnclaveReply {
        let id = self.next_id;
        self.next_id += 1;
        self.to_enclave.send(ToEnclave::Request { id, request }).unwrap();
        tokio::time::timeout(PATIENCE, self.replies.recv()).await.expect("a reply in time").unwrap()
    }
}

#[derive(Default)]
struct Log {
    tree: FullTree,
    checkpointed: u64,
    checkpoint: Option<SignedCheckpoint>,
}

impl Log {
    /// A receipt with its proof, once a checkpoint covers all that is there.
    fn receipt(&self, host: &Host, receipt_id: &[u8; 16]) -> Option<StoredReceipt> {
        let entries = host.entries.lock().unwrap();
        let (index, entry) = (0..).zip(entries.iter()).find(|(_, entry)| entry.receipt_id == *receipt_id)?;
        let checkpoint = self.checkpoint.clone()?;
        let inclusion = self.tree.at(checkpoint.checkpoint.tree.size)?.inclusion(index)?;
        Some(StoredReceipt {
            receipt: entry.receipt,
            signature: entry.signature,
            leaf_data: entry.leaf_data,
            frame_leaf_hashes: entry.frame_leaf_hashes.clone(),
            proof: Some(AnchoredProof { checkpoint, inclusion, anchored: None, consistency: vec![] }),
        })
    }
}

/// Answers in the order of the requests, but for a chain that takes its time.
/// What a settlement moves.
pub(crate) fn moved(settlement: &Settlement) -> Transfer {
    read_call(settlement.chain_id, &settlement.to, &Calldata(settlement.calldata.clone())).unwrap()
}

fn serve(host: &Arc<Host>, log: &mut Log, id: u64, request: EnclaveRequest, answers: mpsc::UnboundedSender<ToEnclave>) {
    let reply = match request {
        EnclaveRequest::Head => HostReply::Head(BlockHead::default()),
        EnclaveRequest::PayerState(_) => {
            let (delay, payer) = (*host.payer_delay.lock().unwrap(), *host.payer.lock().unwrap());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let all = Amount(u128::MAX);
                let rich = PayerState {
                    asset_has_code: true,
                    balance: all,
                    allowance: all,
                    permit_nonce: Some(0),
                    nonce_used: false,
                    passes: true,
                };
                let state = payer.unwrap_or(rich);
                answers.send(ToEnclave::Reply { id, reply: HostReply::PayerState(state) })
            });
            return;
        }
        EnclaveRequest::Append(_) if host.contradicts.load(Ordering::Relaxed) => {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let refused = Refused { code: RefusalCode::Contradiction, message: "another log".to_owned() };
                answers.send(ToEnclave::Reply { id, reply: HostReply::Refused(refused) })
            });
            return;
        }
        EnclaveRequest::Append(append) => {
            for entry in append.entries {
                log.tree.push(LeafData(entry.leaf_data).hash()).unwrap();
                host.entries.lock().unwrap().push(entry);
            }
            HostReply::Appended { size: log.tree.size() }
        }
        EnclaveRequest::Checkpoint(request) => {
            log.checkpointed = request.checkpoint.checkpoint.tree.size;
            log.checkpoint = Some(request.checkpoint);
            host.settlements.lock().unwrap().extend(request.settlements);
            let now = log.tree.now();
            HostReply::CheckpointStored(CheckpointStored {
                size: log.checkpointed,
                first_index: request.first_index,
                inclusions: (request.first_index..log.checkpointed).map(|index| now.inclusion(index).unwrap()).collect(),
                anchored: None,
                consistency: vec![],
            })
        }
        EnclaveRequest::AwaitSettlement { .. } => {
            let settled = SettlementState::Settled { tx_hash: Hash32([7; 32]), block_number: 1, by_third_party: false };
            HostReply::Settlement((*host.settlement.lock().unwrap()).unwrap_or(settled))
        }
        EnclaveRequest::FetchReceipt { receipt_id } => {
            let stored = log.receipt(host, &receipt_id).filter(|_| !host.hides_receipts.load(Ordering::Relaxed));
            HostReply::Receipt(stored.map(Box::new))
        }
        EnclaveRequest::StoreAnswer(part) => {
            let mut answers = host.answers.lock().unwrap();
            let blob = answers.entry(part.answer_id).or_default();
            blob.truncate(usize::try_from(part.offset).unwrap());
            blob.extend(part.bytes);
            HostReply::AnswerStored { size: u64::try_from(blob.len()).unwrap() }
        }
        EnclaveRequest::FetchAnswer { answer_id, offset } => {
            let answers = host.answers.lock().unwrap();
            let piece = answers.get(&answer_id).map(|blob| AnswerPiece {
                total: u64::try_from(blob.len()).unwrap(),
                bytes: blob[usize::try_from(offset).unwrap()..].iter().copied().take(MAX_ANSWER_PART).collect(),
            });
            let room = if host.is_full.load(Ordering::Relaxed) { 0 } else { 1 << 30 };
            HostReply::Answer(AnswerPage { room, piece })
        }
        EnclaveRequest::AckAnswer { answer_id } => {
            host.answers.lock().unwrap().remove(&answer_id);
            HostReply::AnswerErased
        }
        EnclaveRequest::FetchEvidence { .. } => HostReply::Evidence(None),
        EnclaveRequest::OpenUpstream(_) => panic!("these terms have no upstream"),
        EnclaveRequest::LogState { .. } => HostReply::LogState(LogState { durable: log.tree.now().tree(), checkpointed: log.checkpointed }),
    };
    drop(answers.send(ToEnclave::Reply { id, reply }));
}
