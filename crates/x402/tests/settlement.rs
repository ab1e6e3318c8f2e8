//! The settlement machine, one story per test.

#[path = "common/chain.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod chain;

use candor_verify::time::UnixSeconds;
use candor_x402::settlement::*;
use chain::{CHAIN, Host, START_S, config, down, intent, intent_of_many, persisted};

const ENDS: u64 = START_S + 300;

#[test]
fn a_payment_is_settled_and_told_once() {
    let mut host = Host::new(config());
    let payment = intent(1, ENDS);
    host.tell(payment.clone());
    host.settle_down();
    assert!(matches!(host.status(&payment), Some(SettlementStatus::Pending { tx_hash: Some(_) })));
    host.mine();
    host.wait(1_000);
    let status = host.status(&payment).unwrap();
    assert!(matches!(status, SettlementStatus::Settled { by: SettledBy::Us, block: 1, .. }));
    assert_eq!(host.machine.open_count(), 0);
    // Told again, it gives the same outcome and does nothing.
    host.tell(payment);
    assert!(host.actions.is_empty());
}

#[test]
fn nothing_is_sent_before_its_record_is_durable() {
    let mut host = Host::new(config());
    host.tell(intent(1, ENDS));
    for _ in 0..5 {
        // Everything but the writes is run.
        let (writes, rest): (Vec<_>, Vec<_>) = host.actions.drain(..).partition(|action| matches!(action, Action::Persist(_)));
        for action in rest {
            let event = host.run(&action).unwrap();
            host.step(event);
        }
        for write in &writes {
            let Action::Persist(record) = write else { unreachable!() };
            host.step(persisted(record, PersistResult::Failed));
        }
        host.now_ms += 1_000;
        host.step(Event::Tick);
    }
    assert!(host.sent.is_empty() && host.chain.mempool.is_empty());
    host.settle_down();
    assert_eq!(host.sent.len(), 1);
}

#[test]
fn a_timeout_is_pending_with_its_hash_and_only_raises_the_price() {
    let mut host = Host::new(config());
    let payment = intent(1, ENDS);
    host.tell(payment.clone());
    host.settle_down();
    for _ in 0..60 {
        host.wait(1_000);
    }
    let (id, hash) = host.pending[0];
    assert_eq!((host.pending.len(), id), (1, payment.payment_id()));
    assert!(hash.is_some());
    assert!(matches!(host.status(&payment), Some(SettlementStatus::Pending { tx_hash: Some(_) })));
    // All twins have one account nonce.
    assert_eq!(host.sent[&id].len(), 1);
    assert_eq!(host.chain.mempool.len(), 1);
    assert_eq!(host.chain.mempool[&0].len(), 4, "one per price class");
    host.mine();
    host.wait(1_000);
    assert!(matches!(host.status(&payment), Some(SettlementStatus::Settled { by: SettledBy::Us, .. })));
}

#[test]
fn a_settlement_by_a_third_party_is_money_received() {
    // Front-run, before and after our own broadcast.
    for ours_is_out in [false, true] {
        let mut host = Host::new(config());
        let payment = intent(1, ENDS);
        if ours_is_out {
            host.tell(payment.clone());
            host.settle_down();
            host.third_party(&payment);
        } else {
            host.third_party(&payment);
            host.tell(payment.clone());
            host.settle_down();
        }
        host.wait(6_000);
        assert!(matches!(host.status(&payment), Some(SettlementStatus::Settled { by: SettledBy::ThirdParty, .. })), "{ours_is_out}");
        assert!(host.finished.len() == 1);
    }
}

#[test]
fn our_revert_because_somebody_was_first_is_still_money_received() {
    let mut host = Host::new(config());
    let payment = intent(1, ENDS);
    host.tell(payment.clone());
    host.settle_down();
    host.third_party(&payment);
    host.mine();
    host.wait(1_000);
    assert!(matches!(host.status(&payment), Some(SettlementStatus::Settled { by: SettledBy::ThirdParty, .. })));
}

/// An account that is empty for one block is no way to have an answer for nothing.
#[test]
fn a_payer_who_has_the_money_again_pays() {
    for drain_first in [true, false] {
        let mut host = Host::new(config());
        let payment = intent(1, ENDS);
        if drain_first {
            host.chain.drained.insert(payment.payer());
        }
        host.tell(payment.clone());
        host.settle_down();
        host.chain.drained.insert(payment.payer());
        host.mine();
        host.wait(1_000);
        host.wait(1_000);
        assert!(matches!(host.status(&payment), Some(SettlementStatus::Pending { .. })));
        host.chain.drained.remove(&payment.payer());
        for _ in 0..5 {
            host.wait(2_000);
            host.mine();
        }
        host.wait(1_000);
        assert!(matches!(host.status(&payment), Some(SettlementStatus::Settled { .. })), "{drain_first}: {:?}", host.status(&payment));
    }
}

/// A payer can cancel, or use up itself, what it signed: seen before it is sent, that holds up nobody else's settlement.
#[test]
fn an_authorization_that_its_payer_used_up_gives_its_account_nonce_back() {
    let mut host = Host::new(MachineConfig { confirmations: 2, ..config() });
    let payments: Vec<_> = (1..=5).map(|n| intent(n, ENDS)).collect();
    for payment in &payments {
        host.tell(payment.clone());
    }
    for payment in &payments[..4] {
        host.third_party(payment);
    }
    host.settle_down();
    let sent: Vec<_> = host.chain.mempool.values().flatten().map(|tx| &tx.calldata).collect();
    assert!(sent.contains(&payments[4].calldata()), "{:?}", host.machine);
    // The account nonces below it are used up by transactions that do nothing.
    assert!(sent.iter().all(|calldata| *calldata == payments[4].calldata() || calldata.0.is_empty()), "{sent:?}");
}

/// An RPC that does not answer while a transaction is made ready: nothing was sent, and it is tried again soon, at the same price.
#[test]
fn what_could_not_be_sent_is_sent_soon() {
    let mut host = Host::new(config());
    let payment = intent(1, ENDS);
    host.tell(payment.clone());
    let (purpose, gas_level) = take_broadcast(&mut host);
    let outcome = BroadcastOutcome::NotSent;
    host.step(Event::Chain(ChainAnswer::Broadcast { purpose, account_nonce: 0, gas_level, outcome }));
    host.now_ms += host.config.poll_ms;
    host.step(Event::Tick);
    assert_eq!(take_broadcast(&mut host), (purpose, gas_level));
}

/// Sends that fail are no sign that the RPC is back.
#[test]
fn an_rpc_that_sends_nothing_is_asked_less_and_less() {
    let mut host = Host::new(config());
    host.tell(intent(1, ENDS));
    let (purpose, gas_level) = take_broadcast(&mut host);
    let failed = || Event::Chain(ChainAnswer::Broadcast { purpose, account_nonce: 0, gas_level, outcome: BroadcastOutcome::NotSent });
    for _ in 0..6 {
        host.step(down(&ChainRequest::QueryAccountNonce));
        host.step(failed());
    }
    host.actions.clear();
    host.now_ms += host.config.poll_ms;
    host.step(Event::Tick);
    assert!(!host.actions.iter().any(|action| matches!(action, Action::Chain(_))), "{:?}", host.actions);
}

/// Every revert on chain costs gas: after some, the payer's account is taken for what it is.
#[test]
fn transactions_that_revert_on_chain_are_counted() {
    let mut host = Host::new(config());
    let payment = intent(1, ENDS);
    host.tell(payment.clone());
    for _ in 0..config().max_attempts {
        host.settle_down();
        host.chain.drained.insert(payment.payer());
        host.mine();
        host.chain.drained.remove(&payment.payer());
        host.wait(1_000);
        host.wait(4_000);
    }
    assert_eq!(host.status(&payment), Some(SettlementStatus::Failed { code: FailureCode::TransactionFailed }));
}

#[test]
fn a_fee_on_transfer_token_is_no_settlement() {
    let mut host = Host::new(config());
    host.chain.fee = true;
    let payment = intent(1, ENDS);
    host.tell(payment.clone());
    host.settle_down();
    host.mine();
    host.wait(1_000);
    assert_eq!(host.status(&payment), Some(SettlementStatus::Failed { code: FailureCode::TransferEventMismatch }));
}

#[test]
fn an_authorization_that_ended_unused_is_expired_by_the_clock_of_the_chain() {
    let mut host = Host::new(config());
    let payment = intent(1, START_S + 20);
    host.tell(payment.clone());
    host.settle_down();
    let sent = host.chain.mempool[&0].len();
    host.wait(30_000);
    // Our clock is past the end, the chain's is not: it may still land.
    assert!(matches!(host.status(&payment), Some(SettlementStatus::Pending { .. })));
    assert_eq!(host.chain.mempool[&0].len(), sent, "nothing is sent after the end");
    host.chain.mempool.clear();
    host.mine();
    host.wait(1_000);
    assert_eq!(host.status(&payment), Some(SettlementStatus::Expired));
}

#[test]
fn a_payment_that_expired_and_is_signed_again_is_settled() {
    let mut host = Host::new(config());
    let first = intent(1, START_S + 20);
    host.tell(first.clone());
    host.settle_down();
    host.chain.mempool.clear();
    host.wait(30_000);
    host.mine();
    host.wait(1_000);
    assert_eq!(host.status(&first), Some(SettlementStatus::Expired));
    let last = StoredIntent::parse(&host.database[&first.payment_id()]).unwrap().revision;

    // The database has put the new one in the old one's place.
    host.database.clear();
    host.intents.clear();
    host.finished.clear();
    host.sent.clear();
    let again = intent(1, ENDS);
    assert_eq!(again.payment_id(), first.payment_id());
    host.tell(again.clone());
    // Late reports about records of the first must not pass for reports about records of the second.
    let is_later = |action: &Action| matches!(action, Action::Persist(record) if last < record.revision);
    assert!(host.actions.iter().any(is_later), "{:?}", host.actions);
    for _ in 0..10 {
        host.settle_down();
        host.mine();
        host.wait(1_000);
    }
    assert!(matches!(host.status(&again), Some(SettlementStatus::Settled { by: SettledBy::Us, .. })));
    // A settled payment stays settled, whatever is signed under its id.
    host.tell(intent(1, ENDS + 100));
    assert!(host.actions.is_empty() && host.machine.open_count() == 0);
}

#[test]
fn a_payment_signed_again_while_the_first_is_open_is_kept_by_its_sender() {
    let mut machine = Machine::new(config(), vec![]);
    let _opened = machine.step(Event::Intent(intent(1, ENDS)), 0);
    assert!(machine.step(Event::Intent(intent(1, ENDS)), 0).iter().all(|action| !matches!(action, Action::Refused { .. })));
    let refused = Action::Refused { payment_id: intent(1, ENDS).payment_id(), reason: RefuseReason::OtherOpen };
    assert!(machine.step(Event::Intent(intent(1, ENDS + 1)), 0).contains(&refused));
}

#[test]
fn settlements_of_one_key_never_share_a_nonce_and_a_moot_one_is_filled() {
    let mut host = Host::new(config());
    let payments: Vec<Intent> = (1..=5).map(|n| intent(n, ENDS)).collect();
    for payment in &payments {
        host.tell(payment.clone());
    }
    host.settle_down();
    let nonces: Vec<u64> = host.sent.values().flat_map(|used| used.keys().copied()).collect();
    assert_eq!(host.chain.mempool.len(), 5, "{nonces:?}");
    // The first is settled by somebody else and its transaction gets lost: the others wait for its nonce.
    let first = payments.iter().find(|payment| host.sent[&payment.payment_id()].contains_key(&0)).unwrap();
    host.third_party(first);
    host.chain.mempool.remove(&0);
    for _ in 0..20 {
        host.wait(1_000);
        host.mine();
    }
    assert!(payments.iter().all(|payment| matches!(host.status(payment), Some(SettlementStatus::Settled { .. }))));
    assert!(0 < host.fillers);
}

/// A chain without a pool, and `k` settlements of one key: their writes and answers come in the order of the payment ids.
fn without_a_pool(k: u8) -> Host {
    let mut host = Host::new(config());
    host.chain.no_pool = true;
    for n in 1..=k {
        host.tell(intent(n, ENDS));
    }
    host
}

#[test]
fn no_gap_is_offered_to_a_chain_without_a_pool() {
    let mut host = without_a_pool(8);
    // The lowest account nonce is the last to become durable.
    host.settle_down_but(|action| matches!(action, Action::Persist(record) if lowest(record)));
    assert!(host.sent.is_empty(), "nothing is sent above what is not durable");
    let started_ms = host.now_ms;
    host.settle_down();
    host.wait(1_000);
    assert!(host.intents.iter().all(|payment| matches!(host.status(payment), Some(SettlementStatus::Settled { .. }))));
    assert_eq!((host.chain.gaps, host.now_ms - started_ms), (0, 1_000));
}

fn lowest(record: &StoredIntent) -> bool {
    matches!(&record.progress, Progress::AwaitingReceipt(slot) if slot.account_nonce == 0)
}

#[test]
fn what_was_refused_because_of_a_gap_is_sent_right_after_the_lower_one() {
    let mut host = without_a_pool(2);
    let is_broadcast = |action: &Action| matches!(action, Action::Chain(ChainRequest::SignAndBroadcast { .. }));
    // The lower one is lost on its way, and nobody knows.
    host.settle_down_but(is_broadcast);
    let Action::Chain(ChainRequest::SignAndBroadcast { purpose, account_nonce: 0, gas_level, .. }) = host.actions.remove(0) else {
        panic!("the lowest first: {:?}", host.actions)
    };
    let outcome = BroadcastOutcome::Unknown { hash: candor_verify::bytes::Hash32([9; 32]) };
    host.step(Event::Chain(ChainAnswer::Broadcast { purpose, account_nonce: 0, gas_level, outcome }));
    let started_ms = host.now_ms;
    host.settle_down();
    host.wait(1_000);
    assert_eq!(host.chain.gaps, 1);
    assert!(
        host.intents.iter().all(|payment| matches!(host.status(payment), Some(SettlementStatus::Settled { .. }))),
        "{:?}",
        host.machine
    );
    assert!(host.now_ms - started_ms < host.config.bump_after_ms);
}

#[test]
fn a_node_that_always_sees_a_gap_is_not_asked_in_a_loop() {
    let mut host = without_a_pool(1);
    let (purpose, gas_level) = take_broadcast(&mut host);
    let refused = || Event::Chain(ChainAnswer::Broadcast { purpose, account_nonce: 0, gas_level, outcome: BroadcastOutcome::NonceTooHigh });
    host.step(refused());
    host.step(refused());
    assert!(!host.actions.iter().any(|action| matches!(action, Action::Chain(ChainRequest::SignAndBroadcast { .. }))));
    host.now_ms += host.config.poll_ms;
    host.step(Event::Tick);
    assert_eq!(take_broadcast(&mut host), (purpose, gas_level));
}

#[test]
fn kill_9_between_broadcast_and_receipt_pays_once_and_loses_nothing() {
    // After each action of the story, for each kind of death of the write.
    for cut in 0..14 {
        for written_anyway in [false, true] {
            let mut host = Host::new(config());
            let payment = intent(1, ENDS);
            host.tell(payment.clone());
            for at in 0..14 {
                let Some(action) = (!host.actions.is_empty()).then(|| host.actions.remove(0)) else { break };
                if at == cut {
                    if let (Action::Persist(record), true) = (&action, written_anyway) {
                        host.store(record);
                    } else if let (Action::Chain(request), true) = (&action, written_anyway) {
                        // Sent, and the answer is lost.
                        host.chain.run(request, 0);
                    }
                    host.restart();
                    break;
                }
                let event = host.run(&action).unwrap();
                host.step(event);
            }
            for _ in 0..20 {
                host.settle_down();
                host.mine();
                host.wait(1_000);
            }
            assert!(matches!(host.status(&payment), Some(SettlementStatus::Settled { by: SettledBy::Us, .. })), "{cut} {written_anyway}");
            assert_eq!(host.chain.receipts.values().filter(|r| r.status == TxStatus::Success && !r.logs.is_empty()).count(), 1);
        }
    }
}

#[test]
fn a_write_that_failed_is_repeated_with_the_same_record() {
    let mut host = Host::new(config());
    host.tell(intent(1, ENDS));
    let record = |host: &mut Host| match host.actions.iter().position(|a| matches!(a, Action::Persist(_))).map(|at| host.actions.remove(at))
    {
        Some(Action::Persist(record)) => record,
        _ => panic!("nothing to write"),
    };
    let first = record(&mut host);
    // Failed but persisted.
    host.store(&first);
    host.step(persisted(&first, PersistResult::Failed));
    host.now_ms += 1_000;
    host.step(Event::Tick);
    assert_eq!(record(&mut host), first);
}

#[test]
fn a_dead_rpc_is_asked_less_and_less_and_everything_goes_on_after() {
    let mut host = Host::new(config());
    let payment = intent(1, ENDS);
    host.tell(payment.clone());
    let mut asked = 0;
    for _ in 0..40 {
        for action in std::mem::take(&mut host.actions) {
            if let Action::Chain(request) = &action {
                asked += 1;
                host.step(down(request));
            } else if let Some(event) = host.run(&action) {
                host.step(event);
            }
        }
        host.now_ms += 1_000;
        host.step(Event::Tick);
    }
    assert!(asked < 12, "{asked}");
    host.settle_down();
    for _ in 0..20 {
        host.mine();
        host.wait(1_000);
    }
    assert!(matches!(host.status(&payment), Some(SettlementStatus::Settled { .. })));
}

#[test]
fn what_is_too_much_or_for_another_chain_is_refused_by_name() {
    let mut machine = Machine::new(MachineConfig { max_open: 1, ..config() }, vec![]);
    let refusal = |actions: Vec<Action>| match actions.as_slice() {
        [Action::Refused { reason, .. }, ..] => *reason,
        other => panic!("{other:?}"),
    };
    let _taken = machine.step(Event::Intent(intent(1, ENDS)), 0);
    assert_eq!(refusal(machine.step(Event::Intent(intent(2, ENDS)), 0)), RefuseReason::Full { limit: 1 });
    let first = intent(3, ENDS);
    let foreign = Intent::parse(1, first.asset(), first.calldata().clone()).unwrap();
    assert_eq!(refusal(machine.step(Event::Intent(foreign), 0)), RefuseReason::WrongChain { expected: CHAIN, got: 1 });
}

/// The one transaction that the machine handed out, not run.
fn take_broadcast(host: &mut Host) -> (Purpose, u8) {
    loop {
        let action = host.actions.remove(0);
        if let Action::Chain(ChainRequest::SignAndBroadcast { purpose, gas_level, .. }) = action {
            return (purpose, gas_level);
        }
        let event = host.run(&action).unwrap();
        host.step(event);
    }
}

fn unused_at(payment: &Intent, number: u64) -> Event {
    let at = BlockRef { number, timestamp: UnixSeconds(START_S) };
    let (payment_id, state) = (payment.payment_id(), AuthorizationState::Unused);
    Event::Chain(ChainAnswer::AuthorizationState { payment_id, state, at })
}

#[test]
fn an_answer_from_before_a_revert_does_not_explain_it() {
    let answer = |purpose, gas_level, outcome| Event::Chain(ChainAnswer::Broadcast { purpose, account_nonce: 0, gas_level, outcome });
    for simulated in [true, false] {
        let mut host = Host::new(config());
        let payment = intent(1, ENDS);
        host.tell(payment.clone());
        // It waits for its turn, so that its call is tried once more.
        host.settle_down_but(|action| matches!(action, Action::Persist(record) if lowest(record)));
        host.now_ms += host.config.poll_ms;
        let (purpose, gas_level) = take_broadcast(&mut host);
        if simulated {
            host.step(answer(purpose, gas_level, BroadcastOutcome::WouldRevert { block: 7 }));
        } else {
            let hash = candor_verify::bytes::Hash32([1; 32]);
            host.step(answer(purpose, gas_level, BroadcastOutcome::Sent { hash }));
            let receipt = TxReceipt { hash, from: chain::GAS, status: TxStatus::Reverted, logs: vec![], block: 7, confirmations: 0 };
            host.step(Event::Chain(ChainAnswer::ReceiptFound { payment_id: payment.payment_id(), receipt }));
        }
        // Whether the slot was given up, to be tried again with another.
        let given_up = |host: &mut Host| {
            let mut given_up = false;
            for action in std::mem::take(&mut host.actions) {
                if let Action::Persist(record) = &action {
                    given_up |= matches!(record.progress, Progress::AwaitingNonce { .. });
                    host.store(record);
                    host.step(persisted(record, PersistResult::Durable));
                }
            }
            given_up
        };
        given_up(&mut host);
        // Somebody may have settled it between block 6 and block 7.
        host.step(unused_at(&payment, 6));
        assert!(!given_up(&mut host));
        host.unused_at.clear();
        host.step(unused_at(&payment, 7));
        assert!(given_up(&mut host));
    }
}

/// A call that would revert costs no account nonce and no write, and an answer from before does not say why it would.
#[test]
fn a_call_that_would_revert_is_tried_again_when_the_chain_has_said_that_the_authorization_is_unused() {
    let mut host = Host::new(config());
    let payment = intent(1, ENDS);
    let payment_id = payment.payment_id();
    host.chain.drained.insert(payment.payer());
    host.tell(payment.clone());
    let is_try = |action: &Action| matches!(action, Action::Chain(ChainRequest::Simulate { .. }));
    host.settle_down_but(is_try);
    host.actions.clear();
    host.step(Event::Chain(ChainAnswer::Simulated { payment_id, reverts_at: Some(7) }));
    for (block, tried) in [(6, false), (7, true)] {
        host.actions.clear();
        host.step(unused_at(&payment, block));
        host.now_ms += 1_000;
        host.step(Event::Tick);
        assert_eq!(host.actions.iter().any(is_try), tried, "{block}: {:?}", host.actions);
        let writes = host.actions.iter().any(|action| matches!(action, Action::Persist(_)));
        assert!(!writes && host.sent.is_empty(), "{:?}", host.actions);
    }
}

#[test]
fn a_nonce_that_may_be_out_is_not_given_to_another_also_after_restarts() {
    let mut host = Host::new(config());
    let (first, second) = (intent(1, ENDS), intent(2, ENDS));
    host.tell(first.clone());
    // It is sent, and the host dies before it knows the hash; then somebody else settles it.
    let (purpose, gas_level) = take_broadcast(&mut host);
    let (to, calldata, simulation) = (first.to(), first.calldata().clone(), Simulation::First);
    let sent = ChainRequest::SignAndBroadcast { purpose, account_nonce: 0, gas_level, simulation, to, calldata };
    host.chain.run(&sent, 0);
    host.third_party(&first);
    host.restart();
    host.wait(1_000);
    assert!(matches!(host.status(&first), Some(SettlementStatus::Settled { by: SettledBy::ThirdParty, .. })));
    host.restart();
    host.tell(second.clone());
    host.settle_down();
    assert_eq!(host.sent[&second.payment_id()].keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn confirmations_are_waited_for() {
    let mut host = Host::new(MachineConfig { confirmations: 2, ..config() });
    let payment = intent(1, ENDS);
    host.mine();
    host.mine();
    host.tell(payment.clone());
    host.settle_down();
    for expected_open in [true, true, false] {
        host.mine();
        host.wait(1_000);
        assert_eq!(matches!(host.status(&payment), Some(SettlementStatus::Pending { .. })), expected_open);
        assert!(host.included.contains_key(&payment.payment_id()), "told at its first block");
    }
    let Some(SettlementStatus::Settled { tx_hash, block, .. }) = host.status(&payment) else { panic!("settled") };
    assert_eq!(host.included[&payment.payment_id()], (tx_hash, block));
}

#[test]
fn a_chain_whose_blocks_are_deep_late_holds_up_nobody() {
    let mut host = Host::new(MachineConfig { confirmations: 1_000, max_in_flight: 4, max_unsafe: 12, ..config() });
    for _ in 0..1_000 {
        host.mine();
    }
    for n in 0..16 {
        host.tell(intent_of_many(n, ENDS));
    }
    assert!(!host.machine.waits_for_depth() && host.machine.has_depth_again());
    let mut most = 0;
    for _ in 0..40 {
        host.settle_down();
        most = host.sent.len().max(most);
        host.mine();
        host.wait(1_000);
    }
    assert_eq!(most, 12, "four at a time, as many as may be in blocks that are not deep");
    assert!(host.machine.waits_for_depth() && !host.machine.has_depth_again());
}

#[test]
fn no_signature_is_in_the_debug_of_any_action() {
    let mut host = Host::new(config());
    host.tell(intent(0xab, ENDS));
    let mut shown = format!("{:?} {:?}", host.actions, host.machine);
    host.settle_down();
    shown.push_str(&format!("{:?}", host.machine));
    // The signature is 65 times 0xab = 171; the nonce and payer, which are public, are shown as hex.
    assert!(!shown.contains("171, 171"), "{shown}");
}
