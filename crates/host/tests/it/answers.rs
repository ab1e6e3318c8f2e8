//! Kept answers in the store: whole before they are named, given only when they are, and gone when they are not needed (link.md LINK-18 to 21).

use crate::support::*;
use candor_host::store::{Store, StoreError, StoreOptions};
use candor_link::*;
use candor_verify::hash::sha256;
use candor_verify::recovery::{BlobHead, KEPT_SECONDS};
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Hash32};
use candor_x402::settlement::{Progress, SettlementStatus, StoredIntent};

const ASSET: Address = Address([0xaa; 20]);
const END: u64 = 2_000_000_000;

async fn open(scratch: &Scratch, boot: &Boot) -> Store {
    let store = Store::open(&scratch.path().join("host.db"), StoreOptions::default()).unwrap();
    store.open_log(&boot.manifest, b"evidence".to_vec()).await.unwrap();
    store
}

/// A receipt, the settlement that pays for it, and the blob that it names: of so many bytes after the head.
pub(crate) fn kept(boot: &mut Boot, nonce: u8, answer_id: u8, len: usize) -> (LoggedReceipt, Settlement, Vec<u8>) {
    kept_until(boot, nonce, answer_id, len, END)
}

/// The same with another end of the payment.
fn kept_until(boot: &mut Boot, nonce: u8, answer_id: u8, len: usize, end: u64) -> (LoggedReceipt, Settlement, Vec<u8>) {
    let mut settlement = settlement(&world::dev_signer(5), Address([0x77; 20]), ASSET, nonce, UnixSeconds(end), boot.tree.size());
    let entry = boot.entry(settlement.payment_id);
    let head = BlobHead { n: Hash32([answer_id; 32]), payment_id: settlement.payment_id, chain_id: 31337, receipt_id: entry.receipt_id };
    let blob = [head.encode(), vec![answer_id; len]].concat();
    settlement.answer = Some(AnswerRef { answer_id: Hash32([answer_id; 32]), sha256: sha256(&[&blob]) });
    (entry, settlement, blob)
}

pub(crate) fn piece(answer_id: u8, blob: &[u8], from: usize, to: usize) -> AnswerPart {
    let (offset, total) = (u64::try_from(from).unwrap(), u64::try_from(blob.len()).unwrap());
    AnswerPart { answer_id: Hash32([answer_id; 32]), offset, total, bytes: blob[from..to].to_vec() }
}

async fn store_whole(store: &Store, answer_id: u8, blob: &[u8]) {
    let stored = store.store_answer(piece(answer_id, blob, 0, blob.len())).await;
    assert_eq!(stored, Ok(u64::try_from(blob.len()).unwrap()));
}

/// What the store gives of an answer.
async fn given(store: &Store, answer_id: u8) -> Option<Vec<u8>> {
    let mut blob = Vec::new();
    loop {
        let page = store.answer(Hash32([answer_id; 32]), u64::try_from(blob.len()).unwrap()).await.unwrap();
        let AnswerPiece { total, bytes } = page.piece?;
        blob.extend(bytes);
        if u64::try_from(blob.len()).unwrap() == total {
            return Some(blob);
        }
    }
}

async fn append(store: &Store, boot: &Boot, first_index: u64, entry: LoggedReceipt) {
    let request = AppendRequest { first_index, entries: vec![entry] };
    store.append(boot.log_id(), request).await.unwrap().wait().await.unwrap();
}

/// Stores a receipt with its answer, and the settlement that names both.
async fn sell(store: &Store, boot: &mut Boot, index: u64, nonce: u8, answer_id: u8) -> Settlement {
    let (entry, settlement, blob) = kept(boot, nonce, answer_id, 300);
    append(store, boot, index, entry).await;
    store_whole(store, answer_id, &blob).await;
    checkpoint(store, boot, index, &settlement).await.unwrap();
    settlement
}

async fn checkpoint(store: &Store, boot: &Boot, first_index: u64, settlement: &Settlement) -> Result<CheckpointStored, StoreError> {
    let request = CheckpointRequest { first_index, checkpoint: boot.checkpoint(), settlements: vec![settlement.clone()] };
    store.checkpoint(boot.log_id(), Box::new(request)).await.unwrap().wait().await.map(|(stored, _)| stored)
}

#[tokio::test]
async fn a_checkpoint_is_refused_until_the_whole_answer_is_there_and_then_the_answer_is_given() {
    let (scratch, mut boot) = (Scratch::new("named"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (entry, settlement, blob) = kept(&mut boot, 1, 9, 300);
    append(&store, &boot, 0, entry).await;
    let before = store.answer(Hash32([9; 32]), 0).await.unwrap().room;
    // Nothing of it, a part of it, another one.
    assert!(matches!(checkpoint(&store, &boot, 0, &settlement).await, Err(StoreError::Gap(_))));
    assert_eq!(store.store_answer(piece(9, &blob, 0, 200)).await, Ok(200));
    assert!(matches!(checkpoint(&store, &boot, 0, &settlement).await, Err(StoreError::Gap(_))));
    assert!(matches!(store.store_answer(piece(9, &blob, 210, blob.len())).await, Err(StoreError::Gap(_))));
    assert_eq!(store.store_answer(piece(9, &blob, 200, blob.len())).await, Ok(u64::try_from(blob.len()).unwrap()));
    let mut other = settlement.clone();
    other.answer = Some(AnswerRef { answer_id: Hash32([9; 32]), sha256: Hash32([1; 32]) });
    let refused = checkpoint(&store, &boot, 0, &other).await.unwrap_err();
    // A code that has the enclave send again, and leaves its log open.
    assert_eq!(refused.refusal().code, RefusalCode::Gap);
    assert!(store.intents(31337, UnixSeconds(0)).await.unwrap().is_empty(), "a refused checkpoint leaves nothing");
    assert_eq!(given(&store, 9).await, None, "a checkpoint must name it first");

    assert!(checkpoint(&store, &boot, 0, &settlement).await.is_ok());
    assert_eq!(given(&store, 9).await.as_deref(), Some(blob.as_slice()));
    let room = store.answer(Hash32([9; 32]), 0).await.unwrap().room;
    assert_eq!(before - room, u64::try_from(blob.len()).unwrap());
    // Offered again, as after a broken connection.
    assert_eq!(store.store_answer(piece(9, &blob, 0, 200)).await, Ok(u64::try_from(blob.len()).unwrap()));
    assert!(checkpoint(&store, &boot, 0, &settlement).await.is_ok());
    // What is named never changes.
    let mut changed = blob.clone();
    changed[100] ^= 1;
    assert!(matches!(store.store_answer(piece(9, &changed, 0, 200)).await, Err(StoreError::Malformed(_))));
    drop(store);
    let store = open(&scratch, &boot).await;
    assert_eq!(given(&store, 9).await.as_deref(), Some(blob.as_slice()));
    assert_eq!(given(&store, 8).await, None);
}

#[tokio::test]
async fn an_answer_for_another_payment_or_receipt_is_not_the_one_that_is_named() {
    let (scratch, mut boot) = (Scratch::new("other-head"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (entry, settlement, blob) = kept(&mut boot, 1, 9, 300);
    append(&store, &boot, 0, entry).await;
    // A byte of the payment id, of the chain id, of the receipt id.
    for at in [33, 72, 80] {
        let mut other = blob.clone();
        other[at] ^= 1;
        store_whole(&store, 9, &other).await;
        let mut named = settlement.clone();
        named.answer = Some(AnswerRef { answer_id: Hash32([9; 32]), sha256: sha256(&[&other]) });
        assert!(matches!(checkpoint(&store, &boot, 0, &named).await, Err(StoreError::Gap(_))), "{at}");
    }
    let mut version = blob.clone();
    version[0] = 2;
    assert!(matches!(store.store_answer(piece(9, &version, 0, version.len())).await, Err(StoreError::Malformed(_))));
    store_whole(&store, 9, &blob).await;
    assert!(checkpoint(&store, &boot, 0, &settlement).await.is_ok());
}

#[tokio::test]
async fn an_answer_goes_when_its_client_has_it_and_a_week_after_its_end() {
    let (scratch, mut boot) = (Scratch::new("gone"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    for (index, answer_id) in (0..).zip([1, 2]) {
        sell(&store, &mut boot, index, answer_id, answer_id).await;
    }
    let full = store.answer(Hash32([7; 32]), 0).await.unwrap().room;
    store.erase_answer(Hash32([1; 32])).await.unwrap();
    store.erase_answer(Hash32([7; 32])).await.unwrap();
    assert!(given(&store, 1).await.is_none() && given(&store, 2).await.is_some());
    store.erase_ended(UnixSeconds(END + KEPT_SECONDS - 1)).await.unwrap();
    assert!(given(&store, 2).await.is_some());
    store.erase_ended(UnixSeconds(END + KEPT_SECONDS)).await.unwrap();
    assert!(given(&store, 2).await.is_none());
    assert!(full < store.answer(Hash32([7; 32]), 0).await.unwrap().room);
}

#[tokio::test]
async fn what_no_checkpoint_named_goes_with_its_boot_and_is_not_erased_by_a_client_before() {
    let (scratch, mut boot) = (Scratch::new("unnamed"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (entry, settlement, blob) = kept(&mut boot, 1, 9, 300);
    append(&store, &boot, 0, entry).await;
    store_whole(&store, 9, &blob).await;
    store.erase_answer(Hash32([9; 32])).await.unwrap();
    // The same boot, after a restart of the host, goes on with it.
    drop(store);
    let store = open(&scratch, &boot).await;
    assert!(checkpoint(&store, &boot, 0, &settlement).await.is_ok());
    let (_, _, second) = kept(&mut boot, 2, 8, 300);
    store_whole(&store, 8, &second).await;
    let room = store.answer(Hash32([8; 32]), 0).await.unwrap().room;
    // Of a boot that goes on beside another nothing is erased, also while its log is not known yet.
    store.open_log_beside(&Boot::offline(3).manifest, b"evidence".to_vec(), Some(Vec::new())).await.unwrap();
    assert_eq!(store.answer(Hash32([8; 32]), 0).await.unwrap().room, room);
    store.open_log(&Boot::offline(2).manifest, b"evidence".to_vec()).await.unwrap();
    assert_eq!(store.answer(Hash32([8; 32]), 0).await.unwrap().room - room, u64::try_from(second.len()).unwrap());
    assert!(given(&store, 9).await.is_some(), "what was charged stays");
}

#[tokio::test]
async fn a_later_answer_of_one_payment_takes_the_place_of_the_earlier_one_if_its_settlement_does() {
    for is_ended in [true, false] {
        let (scratch, mut boot) = (Scratch::new("later"), Boot::offline(1));
        let store = open(&scratch, &boot).await;
        let settlement = sell(&store, &mut boot, 0, 1, 9).await;
        if is_ended {
            expire(&store, &settlement).await;
        }
        // The same nonce signed again, with a later end.
        let (entry, again, later) = kept_until(&mut boot, 1, 8, 300, END + 500);
        assert_eq!(again.payment_id, settlement.payment_id);
        append(&store, &boot, 1, entry).await;
        store_whole(&store, 8, &later).await;
        assert!(given(&store, 9).await.is_some() && given(&store, 8).await.is_none(), "not before it is named");
        checkpoint(&store, &boot, 1, &again).await.unwrap();
        assert_eq!((given(&store, 9).await.is_some(), given(&store, 8).await.is_some()), (!is_ended, is_ended));
    }
}

/// The payment's end came, and it had not moved.
async fn expire(store: &Store, settlement: &Settlement) {
    let held = store.intent(settlement.payment_id).await.unwrap().unwrap();
    let progress = Progress::Done { status: SettlementStatus::Expired, slot: None };
    store.put_intent(StoredIntent { revision: 7, progress, ..held }).await.unwrap();
}

#[tokio::test]
async fn answers_that_nobody_paid_for_go_soon_after_the_end_a_few_at_once() {
    let (scratch, mut boot) = (Scratch::new("unpaid"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    for (index, answer_id) in (0..).zip([1, 2]) {
        let settlement = sell(&store, &mut boot, index, answer_id, answer_id).await;
        if answer_id == 1 {
            expire(&store, &settlement).await;
        }
    }
    assert_eq!(store.erase_ended(UnixSeconds(END + 599)).await, Ok(0));
    assert_eq!(store.erase_ended(UnixSeconds(END + 600)).await, Ok(1));
    assert!(given(&store, 1).await.is_none() && given(&store, 2).await.is_some());
    assert_eq!(store.erase_ended(UnixSeconds(END + 600)).await, Ok(0));
}

#[tokio::test]
async fn evidence_of_a_moment_is_the_newest_that_was_made_before() {
    let (scratch, boot) = (Scratch::new("evidence"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let manifest = boot.manifest.hash();
    for (made_at_ms, evidence) in [(1000, "first"), (2000, "second")] {
        store.put_evidence(manifest, made_at_ms, evidence.into()).await.unwrap();
    }
    for (at_ms, evidence) in [(0, "first"), (1000, "first"), (1999, "first"), (2000, "second"), (u64::MAX, "second")] {
        assert_eq!(store.evidence(manifest, at_ms).await, Ok(Some(evidence.into())), "{at_ms}");
    }
    assert_eq!(store.evidence(Hash32([1; 32]), 1000).await, Ok(None));
    // It outlives the answers that need it.
    store.erase_ended(UnixSeconds(KEPT_SECONDS + 24 * 60 * 60 + 1)).await.unwrap();
    assert_eq!(store.evidence(manifest, 0).await, Ok(Some("first".into())));
    store.erase_ended(UnixSeconds(KEPT_SECONDS + 24 * 60 * 60 + 3)).await.unwrap();
    assert_eq!(store.evidence(manifest, 0).await, Ok(None));
}
