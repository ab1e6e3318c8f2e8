//! A ledger over the real control connection, against a host that this test writes: honest but for one answer.

mod groups;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use candor_link::{CheckpointStored, EnclaveReply, FrameDecoder, HostRequest, LogState, Phase, Refused, ToEnclave, ToHost};
use candor_verify::tlog::leaf_hash;
use candor_x402::scheme::Calldata;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::control::{self, Commands};

/// Long enough for every answer of a host in memory and some repetitions: how long a test looks that a receipt is not released.
const LOOK: Duration = Duration::from_secs(3);

/// For what comes: it says "never", not "slow".
const PATIENCE: Duration = Duration::from_secs(60);

/// After which a log closes by itself: not while a test waits.
const CONFIRM_MAX: Duration = Duration::from_secs(3600);

/// Changes what the host would say, or withholds it.
type Lie = fn(&EnclaveRequest, HostReply) -> Option<HostReply>;

/// A boot that is asked nothing.
pub(super) struct NoCommands;

impl Commands for NoCommands {
    fn phase(&self) -> Phase {
        Phase::AwaitingTerms
    }

    fn handle(&self, _: HostRequest) -> EnclaveReply {
        EnclaveReply::Done
    }

    fn head(&self, _: candor_link::BlockHead) {}
}

/// A host with room for one receipt.
struct Host {
    stream: DuplexStream,
    state: LogState,
    lie: Lie,
}

impl Host {
    async fn serve(mut self) {
        let (mut decoder, mut buffer) = (FrameDecoder::new(), [0; 4096]);
        while let Ok(read @ 1..) = self.stream.read(&mut buffer).await {
            decoder.push(&buffer[..read]);
            while let Some(payload) = decoder.next_frame().unwrap() {
                let ToHost::Request { id, request } = ToHost::parse(&payload).unwrap() else { continue };
                let (honest, after) = self.answer(&request);
                let reply = (self.lie)(&request, honest.clone());
                // What it does not confirm it has not stored.
                if reply.as_ref() == Some(&honest) {
                    self.state = after;
                }
                let Some(reply) = reply else { continue };
                let bytes = ToEnclave::Reply { id, reply }.encode().unwrap();
                if self.stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    }

    /// The honest answer, and what is stored with it.
    fn answer(&self, request: &EnclaveRequest) -> (HostReply, LogState) {
        match request {
            EnclaveRequest::LogState { .. } => (HostReply::LogState(self.state), self.state),
            EnclaveRequest::Append(append) => {
                assert_eq!((append.first_index, append.entries.len()), (0, 1));
                let durable = Tree { size: 1, root: leaf_hash(&append.entries[0].leaf_data.0) };
                (HostReply::Appended { size: 1 }, LogState { durable, checkpointed: 0 })
            }
            EnclaveRequest::Checkpoint(_) => (HostReply::CheckpointStored(stored()), LogState { checkpointed: 1, ..self.state }),
            EnclaveRequest::StoreAnswer(part) => (HostReply::AnswerStored { size: part.total }, self.state),
            other => panic!("{other:?}"),
        }
    }
}

/// One leaf is its own tree.
fn stored() -> CheckpointStored {
    CheckpointStored { size: 1, first_index: 0, inclusions: vec![vec![]], anchored: None, consistency: vec![] }
}

/// What becomes of one receipt with this host; `None` if it still waits after this time.
async fn logged(lie: Lie, within: Duration) -> Option<Result<Logged, LedgerError>> {
    logged_with(None, lie, within).await
}

/// The same of one whose answer is to be kept.
async fn logged_with(unsealed: Option<Unsealed>, lie: Lie, within: Duration) -> Option<Result<Logged, LedgerError>> {
    let keys = Arc::new(BootKeys::generate().unwrap());
    let manifest = Manifest { k_sig: keys.k_sig(), k_log: keys.k_log(), ..Manifest::default() };
    let port = HostPort::new();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let limits = crate::Config { confirm_max: CONFIRM_MAX, ..crate::Config::default() };
    let ledger = Ledger::start(&tokio::runtime::Handle::current(), port.clone(), Arc::clone(&keys), &manifest, &limits);
    let state = LogState { durable: Tree { size: 0, root: empty_root() }, checkpointed: 0 };
    tokio::spawn(Host { stream: theirs, state, lie }.serve());
    tokio::spawn(control::serve(ours, port, Arc::new(NoCommands)));
    tokio::time::timeout(within, ledger.log(Draft { unsealed, ..draft(manifest.hash()) })).await.ok()
}

pub(crate) fn draft(manifest_hash: Hash32) -> Draft {
    let Receipt { money, work, .. } = candor_testkit::honest::receipt(&Manifest::default(), 0);
    let settle: Settle = Arc::new(|receipt, signature| ContractCall { to: receipt.money.asset, calldata: Calldata(signature.0.to_vec()) });
    let receipt = Unplaced { manifest_hash, anchor_chain_id: 31337, money, work };
    Draft { receipt, leaf_salt: Hash32([13; 32]), frame_leaf_hashes: vec![Hash32([14; 32])], settle: Some(settle), unsealed: None }
}

fn refused(code: RefusalCode) -> Option<HostReply> {
    Some(HostReply::Refused(Refused::new(code, "")))
}

fn falsified(change: impl FnOnce(&mut CheckpointStored)) -> Option<HostReply> {
    let mut stored = stored();
    change(&mut stored);
    Some(HostReply::CheckpointStored(stored))
}

#[test]
fn a_settlement_is_made_by_its_receipt_and_names_its_place_and_there_is_none_of_nothing() {
    let Draft { receipt, settle, .. } = draft(Hash32([1; 32]));
    let mut receipt = receipt.placed(Hash32([2; 32]), 7);
    let settle = |receipt: &Receipt| settlement(settle.as_ref().unwrap(), receipt, &Signature65([9; 65]), None);
    let made = settle(&receipt).unwrap();
    let money = &receipt.money;
    assert_eq!((made.sequence, made.payment_id, made.scheme), (7, money.payment_id, money.scheme));
    assert_eq!((made.to, made.chain_id, made.calldata), (money.asset, money.chain_id, vec![9; 65]));
    receipt.money.charged = Amount::ZERO;
    assert!(settle(&receipt).is_none());
}

#[tokio::test]
async fn a_receipt_is_released_by_an_honest_host() {
    let logged = logged(|_, honest| Some(honest), PATIENCE).await.unwrap().unwrap();
    assert_eq!((logged.receipt.sequence, logged.checkpoint.checkpoint.tree.size), (0, 1));
}

/// The attack: a host that charges for an answer and cannot give it back.
#[tokio::test]
async fn no_calldata_leaves_before_the_host_has_confirmed_the_answer_that_it_is_for() {
    static CHECKPOINTS: AtomicUsize = AtomicUsize::new(0);
    let unsealed = || Some(crate::kept::tests::unsealed(vec![vec![b'a'; 100_000]]));
    let full: Lie = |request, honest| match request {
        EnclaveRequest::StoreAnswer(_) => refused(RefusalCode::StorageFull),
        EnclaveRequest::Checkpoint(_) => {
            CHECKPOINTS.fetch_add(1, Ordering::Relaxed);
            Some(honest)
        }
        _ => Some(honest),
    };
    assert!(logged_with(unsealed(), full, LOOK).await.is_none());
    assert_eq!(CHECKPOINTS.load(Ordering::Relaxed), 0);
    // One that says it has a part of it.
    let partly: Lie = |request, honest| match request {
        EnclaveRequest::StoreAnswer(part) => Some(HostReply::AnswerStored { size: part.total - 1 }),
        EnclaveRequest::Checkpoint(_) => {
            CHECKPOINTS.fetch_add(1, Ordering::Relaxed);
            Some(honest)
        }
        _ => Some(honest),
    };
    assert!(logged_with(unsealed(), partly, LOOK).await.is_none());
    assert_eq!(CHECKPOINTS.load(Ordering::Relaxed), 0);
    // An honest one is told which answer the settlement is for.
    let honest: Lie = |request, honest| match request {
        EnclaveRequest::Checkpoint(request) => request.settlements[0].answer.map(|_| honest),
        _ => Some(honest),
    };
    assert!(logged_with(unsealed(), honest, PATIENCE).await.unwrap().is_ok());
}

/// Without this a payer could have an enclave try for 90 seconds what can never succeed, and clients wait for nothing.
#[tokio::test]
async fn a_contradiction_closes_the_log_at_once() {
    let append: Lie = |request, honest| match request {
        EnclaveRequest::Append(_) => refused(RefusalCode::Contradiction),
        _ => Some(honest),
    };
    let appended = logged(append, PATIENCE);
    assert_eq!(appended.await.expect("closed at once").err(), Some(LedgerError::Closed));
    // The calldata is out: only the chain knows whether it was charged.
    let checkpoint: Lie = |request, honest| match request {
        EnclaveRequest::Checkpoint(_) => refused(RefusalCode::Contradiction),
        _ => Some(honest),
    };
    let checkpointed = logged(checkpoint, PATIENCE);
    assert_eq!(checkpointed.await.expect("closed at once").err(), Some(LedgerError::Unknown));
}

#[tokio::test]
async fn no_wrong_answer_of_a_host_releases_a_receipt() {
    let lies: [(&str, Lie); 17] = [
        ("append withheld", |request, honest| (!matches!(request, EnclaveRequest::Append(_))).then_some(honest)),
        ("append refused for now", |request, honest| match request {
            EnclaveRequest::Append(_) => refused(RefusalCode::Unavailable),
            _ => Some(honest),
        }),
        ("append refused as a gap", |request, honest| match request {
            EnclaveRequest::Append(_) => refused(RefusalCode::Gap),
            _ => Some(honest),
        }),
        ("append acknowledged with no leaf", |request, honest| match request {
            EnclaveRequest::Append(_) => Some(HostReply::Appended { size: 0 }),
            _ => Some(honest),
        }),
        ("append acknowledged with one leaf more", |request, honest| match request {
            EnclaveRequest::Append(_) => Some(HostReply::Appended { size: 2 }),
            _ => Some(honest),
        }),
        ("append answered as a checkpoint", |request, honest| match request {
            EnclaveRequest::Append(_) => falsified(|_| {}),
            _ => Some(honest),
        }),
        ("checkpoint withheld", |request, honest| (!matches!(request, EnclaveRequest::Checkpoint(_))).then_some(honest)),
        ("checkpoint refused for now", |request, honest| match request {
            EnclaveRequest::Checkpoint(_) => refused(RefusalCode::StorageFull),
            _ => Some(honest),
        }),
        ("checkpoint refused as malformed", |request, honest| match request {
            EnclaveRequest::Checkpoint(_) => refused(RefusalCode::Malformed),
            _ => Some(honest),
        }),
        ("checkpoint answered as an append", |request, honest| match request {
            EnclaveRequest::Checkpoint(_) => Some(HostReply::Appended { size: 1 }),
            _ => Some(honest),
        }),
        ("checkpoint of no leaf", |request, honest| match request {
            EnclaveRequest::Checkpoint(_) => falsified(|stored| stored.size = 0),
            _ => Some(honest),
        }),
        ("checkpoint of one leaf more", |request, honest| match request {
            EnclaveRequest::Checkpoint(_) => falsified(|stored| stored.size = 2),
            _ => Some(honest),
        }),
        ("no inclusion proof", |request, honest| match request {
            EnclaveRequest::Checkpoint(_) => falsified(|stored| stored.inclusions.clear()),
            _ => Some(honest),
        }),
        ("another inclusion proof", |request, honest| match request {
            EnclaveRequest::Checkpoint(_) => falsified(|stored| stored.inclusions = vec![vec![Hash32([1; 32])]]),
            _ => Some(honest),
        }),
        ("an anchor that is not ours", |request, honest| match request {
            EnclaveRequest::Checkpoint(_) => falsified(|stored| stored.anchored = Some(Tree { size: 1, root: Hash32([1; 32]) })),
            _ => Some(honest),
        }),
        ("leaves that nobody sent", |request, honest| match request {
            EnclaveRequest::LogState { .. } => {
                Some(HostReply::LogState(LogState { durable: Tree { size: 1, root: Hash32([1; 32]) }, checkpointed: 0 }))
            }
            _ => Some(honest),
        }),
        ("state withheld", |request, honest| (!matches!(request, EnclaveRequest::LogState { .. })).then_some(honest)),
    ];
    let outcomes = lies.map(|(name, lie)| (name, tokio::spawn(logged(lie, LOOK))));
    for (name, outcome) in outcomes {
        assert!(!matches!(outcome.await.unwrap(), Some(Ok(_))), "{name}");
    }
}
