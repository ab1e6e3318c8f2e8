//! Groups that are cut by bytes: against a host that stores whatever comes.

use candor_link::{BlockHead, CheckpointStored, EnclaveReply, FrameDecoder, HostRequest, LogState, Phase, ToEnclave, ToHost};
use candor_log::tree::FullTree;
use candor_verify::bytes::{Address, Amount};
use candor_verify::receipt::{Channel, Kinds, Money, Outcome, Scheme, UsageSource, Work};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::control::{Commands, serve};

/// A boot that is asked nothing.
struct Idle;

impl Commands for Idle {
    fn phase(&self) -> Phase {
        Phase::AwaitingModels
    }

    fn handle(&self, _: HostRequest) -> EnclaveReply {
        EnclaveReply::Done
    }

    fn head(&self, _: BlockHead) {}
}

/// Stores whatever comes and says how long each append was.
async fn host(mut stream: DuplexStream, appends: mpsc::UnboundedSender<usize>) {
    let (mut decoder, mut tree, mut checkpointed) = (FrameDecoder::new(), FullTree::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        decoder.push(&buffer[..read]);
        while let Some(frame) = decoder.next_frame().unwrap() {
            let ToHost::Request { id, request } = ToHost::parse(&frame).unwrap() else { continue };
            let reply = match request {
                EnclaveRequest::Append(append) => {
                    appends.send(append.entries.len()).unwrap();
                    append.entries.iter().for_each(|entry| tree.push(LeafData(entry.leaf_data).hash()).unwrap());
                    HostReply::Appended { size: tree.size() }
                }
                EnclaveRequest::Checkpoint(request) => {
                    checkpointed = tree.size();
                    let proof = |index| tree.now().inclusion(index).unwrap();
                    HostReply::CheckpointStored(CheckpointStored {
                        size: checkpointed,
                        first_index: request.first_index,
                        inclusions: (request.first_index..checkpointed).map(proof).collect(),
                        anchored: None,
                        consistency: vec![],
                    })
                }
                EnclaveRequest::LogState { .. } => HostReply::LogState(LogState { durable: tree.now().tree(), checkpointed }),
                other => panic!("{other:?}"),
            };
            stream.write_all(&ToEnclave::Reply { id, reply }.encode().unwrap()).await.unwrap();
        }
    }
}

fn draft(number: u8, frames: usize) -> Draft {
    let money = Money {
        payment_id: Hash32([number; 32]),
        scheme: Scheme::ExactEip3009,
        payer: Address([1; 20]),
        payee: Address([2; 20]),
        asset: Address([3; 20]),
        chain_id: 31337,
        settler: Address::ZERO,
        max_amount: Amount(1),
        charged: Amount(1),
        cumulative_before: Amount::ZERO,
        cumulative_after: Amount::ZERO,
        offer_digest: Hash32([4; 32]),
    };
    let work = Work {
        kinds: Kinds::LOCAL,
        channel: Channel::Tls,
        usage_source: UsageSource::Counted,
        outcome: Outcome::Complete,
        model_id: Hash32([5; 32]),
        request_commitment: Hash32([6; 32]),
        response_commitment: Hash32([7; 32]),
        decoding_hash: Hash32([8; 32]),
        prompt_tokens: 1,
        completion_tokens: 1,
        started_at: 1,
        finished_at: 2,
        block_number: 1,
        block_hash: Hash32([9; 32]),
    };
    let settlement = Settlement {
        payment_id: money.payment_id,
        chain_id: money.chain_id,
        to: money.asset,
        calldata: vec![0; 292],
        payer: money.payer,
        payee: money.payee,
        asset: money.asset,
        amount: money.charged,
        nonce: Hash32([10; 32]),
        valid_before_s: 1,
        sequence: 0,
    };
    let receipt = Receipt { manifest_hash: Hash32([11; 32]), log_id: Hash32::ZERO, sequence: 0, money, work };
    Draft { receipt, leaf_salt: Hash32([number; 32]), frame_leaf_hashes: vec![Hash32([12; 32]); frames], settlement }
}

/// A ledger that is open, and the lengths of the appends that its host gets.
async fn open() -> (Arc<Ledger>, mpsc::UnboundedReceiver<usize>) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (sender, appends) = mpsc::unbounded_channel();
    let (port, keys) = (HostPort::new(), Arc::new(BootKeys::generate().unwrap()));
    let manifest = Manifest { k_sig: keys.k_sig(), k_log: keys.k_log(), ..Manifest::default() };
    tokio::spawn(host(theirs, sender));
    tokio::spawn(serve(ours, port.clone(), Arc::new(Idle)));
    let ledger = Ledger::start(&tokio::runtime::Handle::current(), port, keys, &manifest, 64);
    while ledger.has_room().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (Arc::new(ledger), appends)
}

#[tokio::test]
async fn the_longest_transcripts_are_logged_in_groups_that_are_one_frame_each() {
    let (ledger, mut appends) = open().await;
    let log = |number| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.log(draft(number, MAX_FRAME_HASHES)).await })
    };
    for logging in (0..16).map(log).collect::<Vec<_>>() {
        let logged = tokio::time::timeout(Duration::from_secs(60), logging).await.expect("in time").unwrap();
        assert!(logged.is_ok(), "{:?}", logged.err());
    }
    let groups: Vec<usize> = std::iter::from_fn(|| appends.try_recv().ok()).collect();
    assert_eq!(groups.iter().sum::<usize>(), 16);
    assert!(groups.iter().any(|group| 1 < *group), "they are still groups: {groups:?}");
}

#[tokio::test]
async fn a_transcript_that_no_message_holds_is_refused_and_the_log_goes_on() {
    let (ledger, _appends) = open().await;
    assert_eq!(ledger.log(draft(1, MAX_FRAME_HASHES + 1)).await.err(), Some(LedgerError::TooLong));
    assert!(ledger.log(draft(2, 3)).await.is_ok());
}
