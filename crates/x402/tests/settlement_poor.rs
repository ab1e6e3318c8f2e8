//! Payers who cannot pay, as many as they like and with whatever deadlines they choose, over a chain that takes its time: whoever can pay
//! is settled soon all the same, and no more is asked of the chain at once than may be.

#[path = "common/chain.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod chain;

use candor_x402::settlement::*;
use chain::{Host, START_S, config, intent, intent_of_many};

/// From question to answer.
const LATENCY_MS: u64 = 100;

/// Actions of one step at most: the questions, and what those have to write or to tell that one step takes up.
const MOST_ACTIONS: usize = 256;

/// A host whose chain answers late and mines once a second.
struct Slow {
    host: Host,
    /// Requests with the time of their answers.
    on_the_way: Vec<(u64, Action)>,
    /// Calls that were tried.
    tried: usize,
    /// Whether time passes on the chain.
    mines: bool,
    block_ms: u64,
}

impl Slow {
    fn new() -> Self {
        let host = Host::new(MachineConfig { max_open: 1 << 14, ..config() });
        Self { host, on_the_way: vec![], tried: 0, mines: true, block_ms: 1_000 }
    }

    fn tell_poor(&mut self, count: u32, ends_s: u64) {
        for n in 0..count {
            let poor = intent_of_many(n, ends_s);
            self.host.chain.drained.insert(poor.payer());
            self.host.tell(poor);
            self.start();
        }
    }

    /// Polls until this payment has landed.
    fn polls_until_landed(&mut self, payment: &Intent, most: u64) -> u64 {
        for polls in 0..most {
            if self.host.chain.moved(payment).is_some() {
                return polls;
            }
            self.pass(self.host.config.poll_ms);
        }
        panic!("not settled after {most} polls")
    }

    fn pass(&mut self, ms: u64) {
        let until_ms = self.host.now_ms + ms;
        while self.host.now_ms < until_ms {
            self.host.now_ms += 50;
            if self.mines && self.host.now_ms.is_multiple_of(self.block_ms) {
                self.host.mine();
            }
            self.step(Event::Tick);
            while let Some(at) = self.on_the_way.iter().position(|(at_ms, _)| *at_ms <= self.host.now_ms) {
                let (_, request) = self.on_the_way.remove(at);
                let answer = self.host.run(&request).unwrap();
                self.step(answer);
            }
        }
    }

    fn step(&mut self, event: Event) {
        self.host.step(event);
        assert!(self.host.actions.len() <= MOST_ACTIONS, "{} actions of one step", self.host.actions.len());
        self.start();
    }

    /// Writes at once, and sends requests on their way.
    fn start(&mut self) {
        while !self.host.actions.is_empty() {
            for action in std::mem::take(&mut self.host.actions) {
                if let Action::Chain(request) = &action {
                    self.tried += usize::from(matches!(request, ChainRequest::Simulate { .. }));
                    self.on_the_way.push((self.host.now_ms + LATENCY_MS, action));
                } else if let Some(event) = self.host.run(&action) {
                    self.host.step(event);
                }
            }
        }
        let is_question = |action: &Action| !matches!(action, Action::Chain(ChainRequest::SignAndBroadcast { .. }));
        let questions = self.on_the_way.iter().filter(|(_, action)| is_question(action)).count();
        assert!(questions <= MAX_QUESTIONS, "{questions} questions at once");
    }
}

/// Ends of the poor ones: long before the good one's, the same, and long after it.
const DEADLINES_S: [u64; 3] = [START_S + 75, START_S + 300, START_S + 100_000];

#[test]
fn sixty_four_payers_without_money_keep_nobody_from_being_settled() {
    for ends_s in DEADLINES_S {
        let mut slow = Slow::new();
        slow.tell_poor(64, ends_s);
        let good = intent(1, START_S + 300);
        slow.host.tell(good.clone());
        let polls = slow.polls_until_landed(&good, 10);
        assert!(polls <= 3, "{polls} polls, with poor ones until {ends_s}");
    }
}

#[test]
fn ten_thousand_payers_without_money_delay_others_by_one_try_of_each_and_then_by_nothing() {
    for ends_s in DEADLINES_S {
        let mut slow = Slow::new();
        slow.tell_poor(10_000, ends_s);
        let first = intent(1, START_S + 300);
        slow.host.tell(first.clone());
        // At worst each poor one is tried once before it, sixteen at a time.
        slow.polls_until_landed(&first, 75);
        while slow.tried <= 10_000 {
            slow.pass(1_000);
        }
        // Looked at, tried again or over: none of it is in front of one that was never tried.
        for n in 2..=4 {
            let good = intent(n, START_S + 600);
            slow.host.tell(good.clone());
            let polls = slow.polls_until_landed(&good, 10);
            assert!(polls <= 3, "{polls} polls, with poor ones until {ends_s}");
            slow.pass(20_000);
        }
    }
}

#[test]
fn what_is_over_is_asked_about_once_when_the_chain_says_so_and_not_while_its_clock_stands() {
    let mut slow = Slow::new();
    slow.tell_poor(200, START_S + 75);
    slow.pass(70_000);
    slow.mines = false;
    // By our own clock all are over: nothing is tried, and nobody's end is asked for.
    slow.pass(10_000);
    let tried = slow.tried;
    slow.host.unused_at.clear();
    slow.pass(60_000);
    assert_eq!((slow.tried, slow.host.unused_at.len()), (tried, 0));
    assert_eq!(slow.host.machine.open_count(), 200);
    slow.mines = true;
    slow.pass(5_000);
    assert_eq!((slow.tried, slow.host.unused_at.len(), slow.host.machine.open_count()), (tried, 200, 0));
}

#[test]
fn a_drained_payer_is_asked_again_until_the_authorization_ends() {
    let mut host = Host::new(config());
    let payment = intent(1, START_S + 20);
    host.chain.drained.insert(payment.payer());
    host.tell(payment.clone());
    host.settle_down();
    for _ in 0..10 {
        host.mine();
        host.wait(1_000);
    }
    assert!(matches!(host.status(&payment), Some(SettlementStatus::Pending { .. })));
    assert!(host.chain.mempool.values().all(Vec::is_empty), "nothing is sent that would revert");
    host.wait(15_000);
    host.mine();
    host.wait(1_000);
    assert_eq!(host.status(&payment), Some(SettlementStatus::Failed { code: FailureCode::SimulationFailed }));
}

/// A try in vain is repeated after seconds, ever more of them, also on a chain that is polled often.
#[test]
fn how_often_a_poor_payer_is_tried_does_not_depend_on_how_often_the_chain_is_polled() {
    let mut slow = Slow::new();
    slow.host = Host::new(MachineConfig { poll_ms: 50, ..config() });
    slow.tell_poor(1, START_S + 300);
    slow.pass(60_000);
    // At 0, 1, 3, 7, 15 and 31 seconds, and a little later each for the answers.
    assert_eq!(slow.tried, 6);
}

/// Payers who all can pay, and more of them than the chain takes: some are too late, but no transaction is.
#[test]
fn more_payments_than_fit_into_blocks_waste_no_transaction_and_leave_the_chain_busy() {
    let mut slow = Slow::new();
    slow.host = Host::new(MachineConfig { confirmations: 2, inclusion_ms: 5_000, max_open: 1 << 14, ..config() });
    slow.block_ms = 4_000;
    for second in 0..240_u64 {
        for n in 0..5 {
            let number = u32::try_from(second * 5 + n).unwrap();
            slow.host.tell(intent_of_many(number, START_S + second + 75));
            slow.start();
        }
        slow.pass(1_000);
    }
    let count = |status: TxStatus| slow.host.chain.receipts.values().filter(|receipt| receipt.status == status).count();
    assert_eq!(count(TxStatus::Reverted), 0);
    // Sixteen at once, three blocks each: 320 in 240 seconds at most. Nine tenths of it, with the first seconds and the questions.
    assert!(250 < count(TxStatus::Success), "{} settled", count(TxStatus::Success));
}
