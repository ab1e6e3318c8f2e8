//! Tests of the ledger: groups that are cut by bytes, against a host that stores whatever comes.

use candor_link::{CheckpointStored, FrameDecoder, LogState, ToEnclave, ToHost};
use candor_log::tree::FullTree;
use candor_x402::scheme::Calldata;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::control::serve;

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
    let mut draft = tests::draft(Hash32([11; 32]));
    draft.receipt.money.payment_id = Hash32([number; 32]);
    draft.settle = Some(Arc::new(|receipt, _| ContractCall { to: receipt.money.asset, calldata: Calldata(vec![0; CALLDATA_MAX]) }));
    Draft { leaf_salt: Hash32([number; 32]), frame_leaf_hashes: vec![Hash32([12; 32]); frames], ..draft }
}

/// A ledger that is open, and the lengths of the appends that its host gets.
async fn open() -> (Arc<Ledger>, mpsc::UnboundedReceiver<usize>) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (sender, appends) = mpsc::unbounded_channel();
    let (port, keys) = (HostPort::new(), Arc::new(BootKeys::generate().unwrap()));
    let manifest = Manifest { k_sig: keys.k_sig(), k_log: keys.k_log(), ..Manifest::default() };
    tokio::spawn(host(theirs, sender));
    tokio::spawn(serve(ours, port.clone(), Arc::new(tests::NoCommands)));
    let ledger = Ledger::start(&tokio::runtime::Handle::current(), port, keys, &manifest, &crate::Config::default());
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
