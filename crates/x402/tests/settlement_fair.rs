//! Payers take turns: however many payments one payer has, good ones or such that cannot be paid, and however many strangers came before, the
//! one payment of another is settled within a few polls. In simulated time; what is counted is polls.

#[path = "common/chain.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod chain;
#[path = "common/sim.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod sim;

use candor_x402::settlement::*;
use chain::{Host, START_S, config, intent, intent_of_many, intent_of_payer};
use sim::{Plan, Sim};

/// Until a payment has landed that nobody delays: try, write, send, block.
const FEW_POLLS: u64 = 4;

/// The payer of many payments.
const MANY: u8 = 200;

/// Ends of the many: long before the one's, the same, and long after it.
const DEADLINES_S: [u64; 3] = [START_S + 75, START_S + 300, START_S + 100_000];

fn sim(config: MachineConfig) -> Sim {
    Sim::new(Host::new(config), Plan::default())
}

fn tell_poor(sim: &mut Sim, poor: impl Iterator<Item = Intent>) {
    for payment in poor {
        sim.host.chain.drained.insert(payment.payer());
        sim.tell(payment);
    }
}

/// Tells a payment of a payer of its own, and sees it land.
fn lands_soon(sim: &mut Sim, n: u8, why: &str) {
    let elapsed_s = sim.elapsed_ms() / 1_000;
    let good = intent(n, START_S + elapsed_s + 300);
    sim.tell(good.clone());
    let polls = sim.polls_until_landed(&good, 100);
    assert!(polls <= FEW_POLLS, "{polls} polls, {why}");
    assert!(sim.most_questions <= MAX_QUESTIONS, "{} questions at once", sim.most_questions);
}

#[test]
fn ten_thousand_payments_of_one_payer_without_money_delay_nobody() {
    for ends_s in DEADLINES_S {
        let mut sim = sim(config());
        tell_poor(&mut sim, (0..10_000).map(|n| intent_of_payer(MANY, n, ends_s)));
        // Never tried, being tried, tried again, and over.
        for (n, seconds) in [(1, 0), (2, 10), (3, 40), (4, 60)] {
            sim.pass(seconds * 1_000);
            lands_soon(&mut sim, n, &format!("{seconds} s on, with poor ones until {ends_s}"));
        }
    }
}

#[test]
fn ten_thousand_payers_without_money_delay_nobody_who_comes_after_them() {
    for ends_s in DEADLINES_S {
        let mut sim = sim(config());
        tell_poor(&mut sim, (0..10_000).map(|n| intent_of_many(n, ends_s)));
        for (n, seconds) in [(1, 0), (2, 10), (3, 40), (4, 60)] {
            sim.pass(seconds * 1_000);
            lands_soon(&mut sim, n, &format!("{seconds} s on, with poor ones until {ends_s}"));
        }
    }
}

#[test]
fn ten_thousand_payers_without_money_delay_nobody_who_came_before_them() {
    let mut sim = sim(config());
    let good = intent(1, START_S + 300);
    tell_poor(&mut sim, (0..100).map(|n| intent_of_many(n, START_S + 75)));
    sim.tell(good.clone());
    tell_poor(&mut sim, (100..10_000).map(|n| intent_of_many(n, START_S + 75)));
    let polls = sim.polls_until_landed(&good, 100);
    assert!(polls <= FEW_POLLS, "{polls} polls");
}

#[test]
fn five_thousand_good_payments_of_one_payer_do_not_delay_the_one_of_another() {
    for ends_s in [START_S + 200, START_S + 300, START_S + 100_000] {
        let mut sim = sim(config());
        for n in 0..5_000 {
            sim.tell(intent_of_payer(MANY, n, ends_s));
        }
        for (n, seconds) in [(1, 0), (2, 5), (3, 30)] {
            sim.pass(seconds * 1_000);
            lands_soon(&mut sim, n, &format!("{seconds} s on, with good ones until {ends_s}"));
        }
        let settled = sim.landed_ms.len();
        assert!(16 * 20 < settled, "the many are settled all the while: {settled}");
    }
}

/// Where a block is deep only after minutes, account nonces are what there is too little of.
#[test]
fn a_payer_whose_transfers_wait_for_depth_leaves_account_nonces_to_others() {
    let config = MachineConfig { confirmations: 1_000, max_unsafe: 64, ..config() };
    let mut sim = sim(config);
    for _ in 0..1_000 {
        sim.host.mine();
    }
    for n in 0..5_000 {
        sim.tell(intent_of_payer(MANY, n, START_S + 100_000));
    }
    sim.pass(60_000);
    assert_eq!((sim.landed_ms.len(), sim.host.machine.sent_count()), (32, 32), "half of them");
    for n in 1..=16 {
        lands_soon(&mut sim, n, "with one payer's transfers in blocks that are not deep");
    }
    assert!(!sim.host.machine.waits_for_depth());
}

#[test]
fn one_payer_cannot_have_all_open_settlements() {
    let mut machine = Machine::new(MachineConfig { max_open: 100, ..config() }, vec![]);
    let mut refused = vec![];
    let payments = (0..80).map(|n| intent_of_payer(MANY, n, START_S + 300)).chain((1..=25).map(|n| intent(n, START_S + 300)));
    for (at, payment) in payments.enumerate() {
        for action in machine.step(Event::Intent(payment), START_S * 1_000) {
            if let Action::Refused { reason, .. } = action {
                refused.push((at, reason));
            }
        }
    }
    let expected: Vec<_> = (75..80).map(|at| (at, RefuseReason::Full { limit: 75 })).collect();
    assert_eq!((refused, machine.open_count()), (expected, 100));
}
