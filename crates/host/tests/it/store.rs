//! The store: durable when answered, idempotent, and refusing every contradiction.

use crate::support::*;
use candor_host::store::{AnchorRow, Store, StoreError, StoreOptions};
use candor_link::*;
use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::scheme::Scheme;
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::{Tree, verify_consistency, verify_inclusion};
use candor_verify::{Address, Hash32};
use candor_x402::settlement::{FailureCode, Intent, Progress, SettledBy, SettlementStatus, Slot, StoredIntent};

const ASSET: Address = Address([0xaa; 20]);

async fn open(scratch: &Scratch, boot: &Boot) -> Store {
    let store = Store::open(&scratch.path().join("host.db"), StoreOptions::default()).unwrap();
    store.open_log(&boot.manifest, b"evidence".to_vec()).await.unwrap();
    store
}

async fn append(store: &Store, boot: &Boot, first_index: u64, entries: &[LoggedReceipt]) -> Result<u64, StoreError> {
    let request = AppendRequest { first_index, entries: entries.to_vec() };
    store.append(boot.log_id(), request).await.unwrap().wait().await
}

async fn checkpoint(
    store: &Store,
    boot: &Boot,
    first_index: u64,
    checkpoint: SignedCheckpoint,
    settlements: &[Settlement],
) -> Result<CheckpointStored, StoreError> {
    let request = CheckpointRequest { first_index, checkpoint, settlements: settlements.to_vec() };
    store.checkpoint(boot.log_id(), Box::new(request)).await.unwrap().wait().await.map(|(stored, _)| stored)
}

/// A payment and the receipt about it, at the next leaf.
fn paid(boot: &mut Boot, nonce: u8) -> (LoggedReceipt, Settlement) {
    let settlement = settlement(&world::dev_signer(5), Address([0x77; 20]), ASSET, nonce, UnixSeconds(2_000_000_000), boot.tree.size());
    (boot.entry(settlement.payment_id), settlement)
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let (scratch, mut boot) = (Scratch::new("restart"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (one, settlement) = paid(&mut boot, 1);
    let two = boot.entry(Hash32([2; 32]));
    assert_eq!(append(&store, &boot, 0, &[one.clone(), two]).await, Ok(2));
    let signed = boot.checkpoint();
    let stored = checkpoint(&store, &boot, 0, signed.clone(), std::slice::from_ref(&settlement)).await.unwrap();
    assert_eq!((stored.size, stored.first_index, stored.inclusions.len()), (2, 0, 2));
    drop(store);

    let store = open(&scratch, &boot).await;
    let log = store.log(&boot.log_id()).await.unwrap().unwrap();
    assert_eq!(log.read().state().tree, boot.tree.now().tree());
    assert_eq!(log.read().checkpoint(), Some(&signed));
    // The enclave cannot know whether its last append arrived: offered again, it is confirmed and changes nothing.
    assert_eq!(append(&store, &boot, 0, std::slice::from_ref(&one)).await, Ok(2));
    let row = store.receipt(one.receipt_id).await.unwrap().unwrap();
    assert_eq!((row.sequence, row.receipt, row.frame_leaf_hashes), (0, one.receipt, one.frame_leaf_hashes));
    assert_eq!(store.receipt([0; 16]).await.unwrap(), None);
    let open = store.intents(31337, UnixSeconds(0)).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].intent.payment_id(), settlement.payment_id);
    assert_eq!(open[0].intent.calldata().0, settlement.calldata);
}

#[tokio::test]
async fn an_append_offered_again_is_confirmed_again_in_whole_and_in_part() {
    let (scratch, mut boot) = (Scratch::new("again"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let entries: Vec<_> = (0..5).map(|i| boot.entry(Hash32([i; 32]))).collect();
    assert_eq!(append(&store, &boot, 0, &entries[..3]).await, Ok(3));
    assert_eq!(append(&store, &boot, 0, &entries[..3]).await, Ok(3));
    assert_eq!(append(&store, &boot, 1, &entries[1..2]).await, Ok(3));
    assert_eq!(append(&store, &boot, 1, &entries[1..]).await, Ok(5));
}

#[tokio::test]
async fn contradictions_are_refused_and_change_nothing() {
    let (scratch, mut boot) = (Scratch::new("contradiction"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let entries: Vec<_> = (0..2).map(|i| boot.entry(Hash32([i; 32]))).collect();
    append(&store, &boot, 0, &entries).await.unwrap();

    let mut other_leaf = entries.clone();
    other_leaf[1].leaf_data = Hash32([9; 32]);
    assert!(matches!(append(&store, &boot, 0, &other_leaf).await, Err(StoreError::Contradiction(_))));
    // The same leaf with another receipt, signature, id or frames must not change what is served.
    let same_leaf: [fn(&mut LoggedReceipt); 3] =
        [|entry| entry.signature.0[0] ^= 1, |entry| entry.receipt_id[0] ^= 1, |entry| entry.frame_leaf_hashes.clear()];
    for change in same_leaf {
        let mut other = entries.clone();
        change(&mut other[0]);
        assert!(matches!(append(&store, &boot, 0, &other).await, Err(StoreError::Contradiction(_))));
    }
    // A new leaf under an id that is taken.
    let mut taken = boot.entry(Hash32([5; 32]));
    taken.receipt_id = entries[0].receipt_id;
    assert!(matches!(append(&store, &boot, 2, &[taken]).await, Err(StoreError::Contradiction(_))));
    let state = store.log(&boot.log_id()).await.unwrap().unwrap().read().state();
    assert_eq!(state.tree.size, 2);
}

#[tokio::test]
async fn gaps_and_receipts_of_other_places_are_refused() {
    let (scratch, mut boot) = (Scratch::new("gap"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let one = boot.entry(Hash32([1; 32]));
    let two = boot.entry(Hash32([2; 32]));
    assert!(matches!(append(&store, &boot, 1, std::slice::from_ref(&two)).await, Err(StoreError::Gap(_))));
    // Sequence 1 at leaf 0.
    assert!(matches!(append(&store, &boot, 0, std::slice::from_ref(&two)).await, Err(StoreError::Malformed(_))));
    let mut broken = one.clone();
    broken.receipt[31] = 9;
    assert!(matches!(append(&store, &boot, 0, &[broken]).await, Err(StoreError::Malformed(_))));
    let foreign = Boot::offline(2).entry(Hash32([1; 32]));
    assert!(matches!(append(&store, &boot, 0, &[foreign]).await, Err(StoreError::Malformed(_))));
    let unknown = store.append(Hash32([7; 32]), AppendRequest { first_index: 0, entries: vec![one.clone()] }).await.unwrap();
    assert!(matches!(unknown.wait().await, Err(StoreError::Malformed(_))));
    // A refused one in the middle leaves nothing of the entries before it.
    let mut second = two.clone();
    second.receipt[31] = 9;
    assert!(append(&store, &boot, 0, &[one.clone(), second]).await.is_err());
    assert_eq!(append(&store, &boot, 0, &[one, two]).await, Ok(2));
}

#[tokio::test]
async fn a_checkpoint_offered_again_is_answered_again_and_another_one_is_refused() {
    let (scratch, mut boot) = (Scratch::new("checkpoint"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (entry, paid) = paid(&mut boot, 1);
    append(&store, &boot, 0, &[entry]).await.unwrap();
    let signed = boot.checkpoint();
    let first = checkpoint(&store, &boot, 0, signed.clone(), std::slice::from_ref(&paid)).await.unwrap();
    assert_eq!(checkpoint(&store, &boot, 0, signed.clone(), std::slice::from_ref(&paid)).await, Ok(first));

    let mut unsigned = signed.clone();
    unsigned.note_signature.0[0] ^= 1;
    assert!(matches!(checkpoint(&store, &boot, 0, unsigned, &[]).await, Err(StoreError::Contradiction(_))));
    let mut other = Boot::offline(1);
    other.entry(Hash32([9; 32]));
    assert!(matches!(checkpoint(&store, &boot, 0, other.checkpoint(), &[]).await, Err(StoreError::Contradiction(_))));
    boot.entry(Hash32([2; 32]));
    assert!(matches!(checkpoint(&store, &boot, 0, boot.checkpoint(), &[]).await, Err(StoreError::Contradiction(_))));
}

#[tokio::test]
async fn settlements_that_are_not_of_their_checkpoint_are_refused() {
    let (scratch, mut boot) = (Scratch::new("settlement"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (first, first_paid) = paid(&mut boot, 1);
    append(&store, &boot, 0, &[first]).await.unwrap();
    checkpoint(&store, &boot, 0, boot.checkpoint(), std::slice::from_ref(&first_paid)).await.unwrap();
    let (second, second_paid) = paid(&mut boot, 2);
    append(&store, &boot, 1, &[second]).await.unwrap();

    let broken: [fn(&mut Settlement); 6] = [
        |s| s.scheme = Scheme::UptoPermit2,
        |s| s.to = Address([1; 20]),
        |s| s.chain_id = 1,
        |s| s.calldata.push(0),
        |s| s.sequence = 0,
        |s| s.sequence = 2,
    ];
    for change in broken {
        let mut other = second_paid.clone();
        change(&mut other);
        let refused = checkpoint(&store, &boot, 1, boot.checkpoint(), &[other]).await;
        assert!(matches!(refused, Err(StoreError::Malformed(_))), "{refused:?}");
    }
    // Nothing of the refused checkpoints is there; the right one is taken.
    let stored = checkpoint(&store, &boot, 1, boot.checkpoint(), &[second_paid]).await.unwrap();
    assert_eq!((stored.size, stored.first_index), (2, 1));
    assert_eq!(store.intents(31337, UnixSeconds(0)).await.unwrap().len(), 2);
}

/// The payment of `paid(boot, 1)` signed again: the same nonce, a later end.
fn paid_again(boot: &mut Boot) -> (LoggedReceipt, Settlement) {
    let again = settlement(&world::dev_signer(5), Address([0x77; 20]), ASSET, 1, UnixSeconds(2_000_000_500), boot.tree.size());
    (boot.entry(again.payment_id), again)
}

/// Stores a payment, its end, and then its nonce signed again. Gives what is stored and offered for settlement after that.
async fn signed_again(name: &str, end: Option<SettlementStatus>) -> (Settlement, StoredIntent, Vec<Intent>) {
    let (scratch, mut boot) = (Scratch::new(name), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (entry, first) = paid(&mut boot, 1);
    append(&store, &boot, 0, &[entry]).await.unwrap();
    checkpoint(&store, &boot, 0, boot.checkpoint(), std::slice::from_ref(&first)).await.unwrap();
    let held = store.intent(first.payment_id).await.unwrap().unwrap();
    let ended = end.map(|status| StoredIntent { revision: 7, progress: Progress::Done { status, slot: None }, ..held });
    if let Some(ended) = &ended {
        store.put_intent(ended.clone()).await.unwrap();
    }

    let (entry, again) = paid_again(&mut boot);
    assert_eq!(again.payment_id, first.payment_id);
    assert_eq!(append(&store, &boot, 1, &[entry]).await, Ok(2));
    let request = CheckpointRequest { first_index: 1, checkpoint: boot.checkpoint(), settlements: vec![again.clone()] };
    let (stored, offered) = store.checkpoint(boot.log_id(), Box::new(request)).await.unwrap().wait().await.unwrap();
    assert_eq!((stored.size, stored.first_index), (2, 1));
    // The end of the earlier one, written once more by a machine that did not hear that it was.
    if let Some(ended) = ended {
        store.put_intent(ended).await.unwrap();
    }
    (again, store.intent(first.payment_id).await.unwrap().unwrap(), offered)
}

#[tokio::test]
async fn a_payment_that_ended_unsettled_and_is_signed_again_has_a_new_settlement() {
    for end in [SettlementStatus::Expired, SettlementStatus::Failed { code: FailureCode::SimulationFailed }] {
        let (again, held, offered) = signed_again("signed-again", Some(end)).await;
        assert_eq!((held.revision, held.progress), (0, Progress::AwaitingNonce { attempts: 0 }));
        assert_eq!(held.intent.calldata().0, again.calldata);
        assert_eq!(offered, [held.intent]);
    }
}

#[tokio::test]
async fn a_payment_signed_again_while_the_first_is_open_or_settled_is_logged_and_changes_no_settlement() {
    let settled = SettlementStatus::Settled { tx_hash: Hash32([1; 32]), block: 3, by: SettledBy::Us };
    for end in [None, Some(settled)] {
        let (_, held, offered) = signed_again("signed-twice", end).await;
        assert_eq!((held.intent.valid_before(), held.revision), (UnixSeconds(2_000_000_000), end.map_or(0, |_| 7)));
        assert_eq!(offered, []);
    }
}

#[tokio::test]
async fn a_checkpoint_offered_again_with_another_signature_of_its_payment_keeps_the_first() {
    let (scratch, mut boot) = (Scratch::new("twin"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (entry, first) = paid(&mut boot, 1);
    append(&store, &boot, 0, &[entry]).await.unwrap();
    checkpoint(&store, &boot, 0, boot.checkpoint(), std::slice::from_ref(&first)).await.unwrap();
    let mut twin = first.clone();
    twin.calldata[250] ^= 1;
    assert!(checkpoint(&store, &boot, 0, boot.checkpoint(), &[twin]).await.is_ok());
    assert_eq!(store.intent(first.payment_id).await.unwrap().unwrap().intent.calldata().0, first.calldata);
}

#[tokio::test]
async fn proofs_of_an_answer_verify_from_the_last_anchor() {
    let (scratch, mut boot) = (Scratch::new("proofs"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let mut anchored: Option<Tree> = None;
    for round in 0..6_u8 {
        let first_index = boot.tree.size();
        let entries: Vec<_> = (0..=round).map(|i| boot.entry(Hash32([i; 32]))).collect();
        append(&store, &boot, first_index, &entries).await.unwrap();
        let signed = boot.checkpoint();
        let stored = checkpoint(&store, &boot, first_index, signed.clone(), &[]).await.unwrap();
        let tree = signed.checkpoint.tree;
        assert_eq!(stored.anchored, anchored);
        for (index, (entry, path)) in (first_index..).zip(entries.iter().zip(&stored.inclusions)) {
            let hash = candor_verify::tlog::leaf_hash(&entry.leaf_data.0);
            assert_eq!(verify_inclusion(hash, index, path, &tree).unwrap().index(), index);
        }
        if let Some(old) = anchored {
            let extends = verify_consistency(&old, &tree, &stored.consistency).unwrap();
            assert_eq!(extends.new_tree(), tree);
        }
        if round % 2 == 0 {
            let row = AnchorRow { tree, anchored_at: UnixSeconds(5), tx_hash: None };
            store.put_anchor(boot.log_id(), row).await.unwrap();
            anchored = Some(tree);
        }
    }
    let foreign = AnchorRow { tree: Tree { size: 1, root: Hash32([1; 32]) }, anchored_at: UnixSeconds(5), tx_hash: None };
    assert!(matches!(store.put_anchor(boot.log_id(), foreign).await, Err(StoreError::Contradiction(_))));
    assert_eq!(store.newest_anchor(boot.log_id()).await.unwrap().map(|anchor| Some(anchor.tree)), Some(anchored));
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_recovers() {
    let (scratch, mut boot) = (Scratch::new("full"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let first = boot.entry(Hash32([1; 32]));
    append(&store, &boot, 0, &[first]).await.unwrap();
    store.set_quota(Some(1)).await.unwrap();
    let before = boot.tree.size();
    let many: Vec<_> = (0..60).map(|i| boot.entry(Hash32([i; 32]))).collect();
    assert_eq!(append(&store, &boot, before, &many).await, Err(StoreError::Full));
    // Again, while it is full; then with room.
    assert_eq!(append(&store, &boot, before, &many).await, Err(StoreError::Full));
    assert_eq!(store.log(&boot.log_id()).await.unwrap().unwrap().read().state().tree.size, before);
    store.set_quota(None).await.unwrap();
    assert_eq!(append(&store, &boot, before, &many).await, Ok(61));
    drop(store);
    let store = open(&scratch, &boot).await;
    assert_eq!(store.log(&boot.log_id()).await.unwrap().unwrap().read().state().tree, boot.tree.now().tree());
}

#[tokio::test]
async fn a_higher_revision_of_an_intent_is_not_replaced_by_a_lower() {
    let (scratch, mut boot) = (Scratch::new("revision"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (entry, paid) = paid(&mut boot, 1);
    append(&store, &boot, 0, &[entry]).await.unwrap();
    checkpoint(&store, &boot, 0, boot.checkpoint(), std::slice::from_ref(&paid)).await.unwrap();
    let stored = store.intent(paid.payment_id).await.unwrap().unwrap();
    let slot = Slot { account_nonce: 3, gas_level: 0, attempts: 0, hashes: vec![] };
    let newer = StoredIntent { revision: 2, progress: Progress::AwaitingReceipt(slot), ..stored.clone() };
    store.put_intent(newer.clone()).await.unwrap();
    store.put_intent(StoredIntent { revision: 1, ..stored }).await.unwrap();
    assert_eq!(store.intent(paid.payment_id).await.unwrap(), Some(newer));
}

#[tokio::test]
async fn a_record_of_a_settlement_that_no_checkpoint_released_is_refused() {
    let (scratch, mut boot) = (Scratch::new("unreleased"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let (entry, paid) = paid(&mut boot, 1);
    append(&store, &boot, 0, &[entry]).await.unwrap();
    let intent =
        candor_x402::settlement::Intent::parse(paid.chain_id, paid.to, candor_x402::scheme::Calldata(paid.calldata.clone())).unwrap();
    let record = StoredIntent { intent, revision: 0, progress: Progress::AwaitingNonce { attempts: 0 } };
    assert!(matches!(store.put_intent(record).await, Err(StoreError::Malformed(_))));
}

#[tokio::test]
async fn many_writers_at_once_are_grouped_and_all_answered() {
    let (scratch, mut boot) = (Scratch::new("group"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let entries: Vec<_> = (0..100).map(|i| boot.entry(Hash32([i; 32]))).collect();
    let mut waiting = Vec::new();
    for (index, entry) in (0..).zip(&entries) {
        let request = AppendRequest { first_index: index, entries: vec![entry.clone()] };
        waiting.push(store.append(boot.log_id(), request).await.unwrap());
    }
    for (size, waiting) in (1..).zip(waiting) {
        assert_eq!(waiting.wait().await, Ok(size));
    }
}

#[tokio::test]
async fn a_new_boot_ends_the_former_log_at_its_checkpoint() {
    let (scratch, mut boot) = (Scratch::new("former"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let one = boot.entry(Hash32([1; 32]));
    append(&store, &boot, 0, &[one]).await.unwrap();
    checkpoint(&store, &boot, 0, boot.checkpoint(), &[]).await.unwrap();
    let two = boot.entry(Hash32([2; 32]));
    append(&store, &boot, 1, std::slice::from_ref(&two)).await.unwrap();
    let next = Boot::offline(2);
    store.open_log(&next.manifest, vec![]).await.unwrap();
    assert_eq!(store.log_ids().await.unwrap(), [boot.log_id(), next.log_id()]);
    assert_eq!(store.log(&boot.log_id()).await.unwrap().unwrap().read().state().tree.size, 1);
    drop(store);
    let store = open(&scratch, &next).await;
    assert_eq!(store.log(&boot.log_id()).await.unwrap().unwrap().read().state().tree.size, 1);
    // The row behind the checkpoint was promised to nobody, and is kept all the same.
    assert!(store.receipt(two.receipt_id).await.unwrap().is_some());
}

#[tokio::test]
async fn two_logs_grow_beside_each_other_also_after_a_restart_in_any_order() {
    let scratch = Scratch::new("beside");
    let (mut older, mut newer) = (Boot::offline(1), Boot::offline(2));
    let store = open(&scratch, &older).await;
    let grow = async |store: &Store, boot: &mut Boot, index: u64, name: u8| {
        let entry = boot.entry(Hash32([name; 32]));
        assert_eq!(append(store, boot, index, &[entry]).await, Ok(index + 1));
        checkpoint(store, boot, index, boot.checkpoint(), &[]).await.unwrap();
    };
    grow(&store, &mut older, 0, 1).await;
    // A leaf that is under no checkpoint yet, and is offered again.
    let open_leaf = older.entry(Hash32([2; 32]));
    append(&store, &older, 1, std::slice::from_ref(&open_leaf)).await.unwrap();
    store.open_log_beside(&newer.manifest, vec![], Some(vec![older.log_id()])).await.unwrap();
    grow(&store, &mut newer, 0, 3).await;
    assert_eq!(append(&store, &older, 1, std::slice::from_ref(&open_leaf)).await, Ok(2));
    checkpoint(&store, &older, 1, older.checkpoint(), &[]).await.unwrap();
    drop(store);

    // The later log first: the earlier one has not ended by it.
    let store = open(&scratch, &newer).await;
    assert_eq!(store.log(&older.log_id()).await.unwrap().unwrap().read().state().checkpoint_size, 2);
    store.open_log_beside(&older.manifest, vec![], Some(vec![newer.log_id()])).await.unwrap();
    grow(&store, &mut older, 2, 4).await;
    grow(&store, &mut newer, 1, 5).await;
    // Alone again, the other has ended.
    let next = Boot::offline(3);
    store.open_log(&next.manifest, vec![]).await.unwrap();
    let late = newer.entry(Hash32([6; 32]));
    assert!(matches!(append(&store, &newer, 2, &[late]).await, Err(StoreError::Malformed(_))));
}

#[tokio::test]
async fn reading_former_logs_asks_nothing_of_the_writer() {
    let (scratch, mut boot) = (Scratch::new("readers"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let one = boot.entry(Hash32([1; 32]));
    append(&store, &boot, 0, &[one]).await.unwrap();
    let signed = boot.checkpoint();
    checkpoint(&store, &boot, 0, signed.clone(), &[]).await.unwrap();
    store.open_log(&Boot::offline(2).manifest, vec![]).await.unwrap();
    // While nothing can be written, a log that is not in memory is loaded all the same.
    let holder = rusqlite::Connection::open(scratch.path().join("host.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let former = store.log(&boot.log_id()).await.unwrap().unwrap();
    assert_eq!(former.read().checkpoint(), Some(&signed));
    assert!(store.log(&Hash32([9; 32])).await.unwrap().is_none());
    holder.execute_batch("ROLLBACK").unwrap();
    // What the chain holds of a former log can still be recorded.
    let row = AnchorRow { tree: signed.checkpoint.tree, anchored_at: UnixSeconds(5), tx_hash: None };
    store.put_anchor(boot.log_id(), row).await.unwrap();
    assert_eq!(store.newest_anchor(boot.log_id()).await.unwrap(), Some(row));
}

#[tokio::test]
async fn logs_without_an_anchor_of_their_newest_checkpoint_are_known_without_being_loaded() {
    let (scratch, mut boot, empty) = (Scratch::new("unanchored"), Boot::offline(1), Boot::offline(2));
    let store = open(&scratch, &boot).await;
    for (index, is_anchored) in [(0, false), (1, true), (2, false)] {
        let entry = boot.entry(Hash32([1; 32]));
        append(&store, &boot, index, &[entry]).await.unwrap();
        let signed = boot.checkpoint();
        checkpoint(&store, &boot, index, signed.clone(), &[]).await.unwrap();
        assert_eq!(store.unanchored().await.unwrap(), [boot.log_id()]);
        if is_anchored {
            let row = AnchorRow { tree: signed.checkpoint.tree, anchored_at: UnixSeconds(5), tx_hash: None };
            store.put_anchor(boot.log_id(), row).await.unwrap();
            assert_eq!(store.unanchored().await.unwrap(), []);
        }
    }
    store.open_log(&empty.manifest, vec![]).await.unwrap();
    assert_eq!(store.unanchored().await.unwrap(), [boot.log_id()]);
}

#[tokio::test]
async fn the_former_log_that_is_read_most_stays_in_memory() {
    let (scratch, boots) = (Scratch::new("lru"), (1..=12).map(Boot::offline).collect::<Vec<_>>());
    let store = open(&scratch, &boots[0]).await;
    for boot in &boots[1..] {
        store.open_log(&boot.manifest, vec![]).await.unwrap();
    }
    let read = async |boot: &Boot| store.log(&boot.log_id()).await.unwrap().unwrap();
    let (first, second) = (read(&boots[0]).await, read(&boots[1]).await);
    for boot in &boots[2..] {
        read(boot).await;
        assert!(std::ptr::eq(first.row(), read(&boots[0]).await.row()), "not loaded again");
    }
    assert!(!std::ptr::eq(second.row(), read(&boots[1]).await.row()), "memory is bounded");
}

#[tokio::test]
async fn another_database_and_another_manifest_are_refused() {
    let scratch = Scratch::new("foreign");
    let path = scratch.path().join("host.db");
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE t (a); PRAGMA user_version = 7;").unwrap();
    drop(foreign);
    assert!(matches!(Store::open(&path, StoreOptions::default()), Err(StoreError::Contradiction(_))));

    let (scratch, boot) = (Scratch::new("manifest"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let mut other = boot.manifest.clone();
    other.payee = Address([9; 20]);
    assert!(matches!(store.open_log(&other, vec![]).await, Err(StoreError::Contradiction(_))));
}

#[tokio::test]
async fn a_second_host_on_one_database_is_refused() {
    let (scratch, boot) = (Scratch::new("second"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let path = scratch.path().join("host.db");
    assert!(matches!(Store::open(&path, StoreOptions::default()), Err(StoreError::Locked)));
    drop(store);
    assert!(Store::open(&path, StoreOptions::default()).is_ok());
}

#[tokio::test]
async fn a_database_that_somebody_holds_is_unavailable_and_then_goes_on() {
    let (scratch, mut boot) = (Scratch::new("held"), Boot::offline(1));
    let store = open(&scratch, &boot).await;
    let holder = rusqlite::Connection::open(scratch.path().join("host.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let entry = boot.entry(Hash32([1; 32]));
    let refused = append(&store, &boot, 0, std::slice::from_ref(&entry)).await.unwrap_err();
    assert_eq!(refused.refusal().code, RefusalCode::Unavailable);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(append(&store, &boot, 0, &[entry]).await, Ok(1));
}

#[tokio::test]
async fn the_database_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (scratch, boot) = (Scratch::new("mode"), Boot::offline(1));
    let _store = open(&scratch, &boot).await;
    for entry in std::fs::read_dir(scratch.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
    }
}
