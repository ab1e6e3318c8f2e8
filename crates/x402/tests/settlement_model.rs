//! The settlement machine under random orders of events, faults and crashes. The invariants are checked by the host model at every
//! action (`common/chain.rs`): sent only as durable, one live account nonce per authorization, outcomes that agree with the chain and
//! never change. Here: that nothing is ever lost. On failure proptest prints the seed.

#[path = "common/chain.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod chain;

use candor_verify::time::UnixSeconds;
use candor_x402::settlement::*;
use chain::{Host, START_S, config, down, intent, persisted};
use proptest::prelude::*;

/// xorshift64*: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

struct Run {
    host: Host,
    random: Random,
    /// Events on their way to the machine; they come in any order, some twice.
    inbox: Vec<Event>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed | 1);
        let confirmations = u64::try_from(random.below(3)).unwrap();
        let config = MachineConfig { confirmations, max_in_flight: 1 + random.below(4), ..config() };
        let mut host = Host::new(config);
        host.chain.no_pool = random.one_in(3);
        Self { host, random, inbox: vec![] }
    }

    fn act(&mut self) {
        let host = &mut self.host;
        match self.random.below(12) {
            0..=4 if !host.actions.is_empty() => self.run_one(),
            5..=7 if !self.inbox.is_empty() => {
                let at = self.random.below(self.inbox.len());
                let event = if self.random.one_in(8) { self.inbox[at].clone() } else { self.inbox.swap_remove(at) };
                host.step(event);
            }
            8 => {
                let pick = self.random.below(4);
                host.chain.mine(UnixSeconds(host.now_ms / 1000), pick);
            }
            9 if self.random.one_in(6) => {
                let n = u8::try_from(1 + self.random.below(6)).unwrap();
                let ends = START_S + 40 + u64::try_from(self.random.below(200)).unwrap();
                if !host.intents.iter().any(|known| known.payer() == intent(n, 0).payer()) {
                    host.tell(intent(n, ends));
                }
            }
            10 if self.random.one_in(12) => {
                self.inbox.clear();
                host.restart();
            }
            11 if self.random.one_in(6) && !host.intents.is_empty() => {
                let payment = host.intents[self.random.below(host.intents.len())].clone();
                match self.random.below(3) {
                    0 => host.third_party(&payment),
                    1 => {
                        host.chain.drained.insert(payment.payer());
                    }
                    _ => {
                        host.chain.drained.remove(&payment.payer());
                    }
                }
            }
            _ => {
                host.now_ms += u64::try_from(self.random.below(900)).unwrap();
                host.step(Event::Tick);
            }
        }
    }

    /// Runs one action, perhaps badly.
    fn run_one(&mut self) {
        let at = self.random.below(self.host.actions.len());
        let action = self.host.actions.swap_remove(at);
        let fault = self.random.below(10);
        let event = match (&action, fault) {
            // Failed; failed but persisted; done and the answer lost.
            (Action::Persist(record), 0) => Some(persisted(record, PersistResult::Failed)),
            (Action::Persist(record), 1) => {
                self.host.store(record);
                Some(persisted(record, PersistResult::Failed))
            }
            (Action::Persist(record), 2) => {
                self.host.store(record);
                None
            }
            // Not done; done and reported as down; done and the answer lost.
            (Action::Chain(request), 0) => Some(down(request)),
            (Action::Chain(request), 1) => {
                self.host.run(&action);
                Some(down(request))
            }
            (Action::Chain(_), 2) => {
                self.host.run(&action);
                None
            }
            (Action::Chain(ChainRequest::SignAndBroadcast { purpose, account_nonce, gas_level, .. }), 3) => {
                let outcome = if self.random.one_in(2) { BroadcastOutcome::Underpriced } else { BroadcastOutcome::NoGasFunds };
                let (purpose, account_nonce, gas_level) = (*purpose, *account_nonce, *gas_level);
                Some(Event::Chain(ChainAnswer::Broadcast { purpose, account_nonce, gas_level, outcome }))
            }
            _ => self.host.run(&action),
        };
        self.inbox.extend(event);
    }

    /// The faults end; everything must come to an end that the chain confirms.
    fn finish(&mut self) {
        self.inbox.clear();
        for _ in 0..400 {
            self.host.settle_down();
            self.host.mine();
            self.host.wait(1_000);
        }
        for payment in &self.host.intents {
            let status = self.host.status(payment);
            let over = status.is_some_and(|status| !matches!(status, SettlementStatus::Pending { .. }));
            assert!(over, "lost: {status:?}\n{:?}", self.host.machine);
            assert!(self.host.finished.contains_key(&payment.payment_id()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_sent_twice_and_nothing_is_lost(seed: u64) {
        let mut run = Run::new(seed);
        for _ in 0..600 {
            run.act();
        }
        run.finish();
    }

    /// Many at once on a chain that refuses what comes after a gap: in whatever order writes and answers come, all are settled before
    /// anything is late, and no transaction is ever refused.
    #[test]
    fn on_a_chain_without_a_pool_all_are_settled_with_no_bump_interval_passing(seed: u64, k in 1..=20u8) {
        let mut run = Run::new(seed);
        run.host = Host::new(MachineConfig { confirmations: 0, ..config() });
        run.host.chain.no_pool = true;
        for n in 1..=k {
            run.host.tell(intent(n, START_S + 300));
        }
        let ends_ms = run.host.now_ms + run.host.config.bump_after_ms;
        while run.host.now_ms < ends_ms && run.host.machine.open_count() != 0 {
            let (waiting, inbox) = (run.host.actions.len(), run.inbox.len());
            if waiting + inbox == 0 {
                run.host.now_ms += 100;
                run.host.step(Event::Tick);
            } else if run.random.below(waiting + inbox) < waiting {
                let at = run.random.below(waiting);
                let action = run.host.actions.swap_remove(at);
                run.inbox.extend(run.host.run(&action));
            } else {
                let at = run.random.below(inbox);
                let event = run.inbox.swap_remove(at);
                run.host.step(event);
            }
        }
        assert_eq!((run.host.machine.open_count(), run.host.chain.gaps, run.host.fillers), (0, 0, 0));
        let all_settled = |payment| matches!(run.host.status(payment), Some(SettlementStatus::Settled { by: SettledBy::Us, .. }));
        assert!(run.host.intents.iter().all(all_settled));
    }
}
