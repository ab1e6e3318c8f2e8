//! The settlement machine beside a slow and simple one (`common/reference.rs`), under the same plan: the same payments at the same times,
//! the same outages, crashes, crowds and front-runs. How each payment ends must be the same, and nobody who can pay may wait much longer for the machine
//! than for one that asks everything about everybody at every poll. That nothing is sent before it is durable, that one authorization has
//! one live account nonce, and that outcomes agree with the chain is checked at every action of both (`common/chain.rs`).

#[path = "common/chain.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod chain;
#[path = "common/reference.rs"]
#[allow(unreachable_pub, reason = "as the others")]
mod reference;
#[path = "common/sim.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod sim;

use candor_x402::settlement::*;
use chain::{Host, START_S, Settles, config, intent, intent_of_payer};
use proptest::prelude::*;
use reference::Reference;
use sim::{FAULTS, Fault, Plan, STEP_MS, Sim};

/// Payments are told and things go wrong until then. Honest ones end long after it, so that how they end does not depend on who is faster.
const TROUBLE_MS: u64 = 60_000;

/// What is known of a payment before: so also how it must end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Payer {
    /// Has the money.
    Good,
    /// Never has it.
    Poor,
    /// Has none for a while, and pays long before the end.
    Late { from_ms: u64, to_ms: u64 },
    /// Somebody else submits it.
    FrontRun { at_ms: u64 },
}

#[derive(Debug)]
struct Scene {
    plan: Plan,
    config: MachineConfig,
    no_pool: bool,
    latency_ms: u64,
    /// When it is told, by whom, what.
    payments: Vec<(u64, Payer, Intent)>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut state = seed | 1;
        // xorshift64*, as in the other model.
        let mut below = move |bound: u64| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
        };
        let config = MachineConfig { confirmations: below(3), ..config() };
        let (no_pool, latency_ms) = (below(3) == 0, STEP_MS * (1 + below(6)));
        let mut faults = vec![];
        for _ in 0..below(4) {
            let fault = FAULTS[usize::try_from(below(8)).unwrap()];
            let from_ms = below(TROUBLE_MS);
            faults.push((fault, from_ms..from_ms + 500 + below(4_000)));
        }
        let crashes = (0..below(3)).map(|_| STEP_MS * below(TROUBLE_MS / STEP_MS)).collect();
        let mut payments = vec![];
        for n in 0..(2 + below(9)) {
            let n = u8::try_from(n + 1).unwrap();
            let told_ms = STEP_MS * below(TROUBLE_MS / STEP_MS);
            let payer = match below(6) {
                0 | 1 => Payer::Poor,
                2 => Payer::Late { from_ms: STEP_MS * below(TROUBLE_MS / STEP_MS), to_ms: TROUBLE_MS },
                3 => Payer::FrontRun { at_ms: told_ms + STEP_MS * below(100) },
                _ => Payer::Good,
            };
            let ends_s = START_S + if payer == Payer::Poor { 75 + below(100) } else { 300 };
            // Some pay more than once.
            let payment = if n % 3 == 0 { intent_of_payer(n, 0, ends_s) } else { intent(n, ends_s) };
            payments.push((told_ms, payer, payment));
            if n % 3 == 0 {
                payments.push((told_ms, payer, intent_of_payer(n, 1, ends_s)));
            }
        }
        if below(8) == 0 {
            // A crowd, half of which is one payer.
            let told_ms = STEP_MS * below(TROUBLE_MS / STEP_MS);
            let poor = |n: u8| if n.is_multiple_of(2) { intent_of_payer(100, n.into(), START_S + 80) } else { intent(n, START_S + 80) };
            payments.extend((100..160).map(|n| (told_ms, Payer::Poor, poor(n))));
        }
        Self { plan: Plan { seed, faults, crashes }, config, no_pool, latency_ms, payments }
    }

    /// Lives through it.
    fn run<M: Settles>(&self) -> Sim<M> {
        let mut host = Host::<M>::of(self.config);
        host.chain.no_pool = self.no_pool;
        let mut sim = Sim::new(host, self.plan.clone());
        sim.latency_ms = self.latency_ms;
        while sim.elapsed_ms() < 400_000 && !(TROUBLE_MS * 2 < sim.elapsed_ms() && self.is_over(&sim)) {
            let elapsed_ms = sim.elapsed_ms();
            for (told_ms, payer, payment) in &self.payments {
                match *payer {
                    Payer::Poor if elapsed_ms == 0 => drop(sim.host.chain.drained.insert(payment.payer())),
                    Payer::Late { from_ms, .. } if elapsed_ms == from_ms => drop(sim.host.chain.drained.insert(payment.payer())),
                    Payer::Late { to_ms, .. } if elapsed_ms == to_ms => drop(sim.host.chain.drained.remove(&payment.payer())),
                    Payer::FrontRun { at_ms } if elapsed_ms == at_ms && sim.host.chain.moved(payment).is_none() => {
                        sim.host.third_party(payment);
                    }
                    _ => {}
                }
                if elapsed_ms == *told_ms {
                    sim.tell(payment.clone());
                }
            }
            sim.pass(STEP_MS);
        }
        sim
    }

    fn is_over<M: Settles>(&self, sim: &Sim<M>) -> bool {
        self.payments.iter().all(|(_, _, payment)| sim.host.finished.contains_key(&payment.payment_id()))
    }
}

/// Whoever can pay lands at most so many polls later than with the reference. Nothing goes wrong: two. The reference asks on while the endpoint is
/// down and does not wait for what gets lost, so each fault adds what the machine does not do before it tries again.
fn most_polls_later(scene: &Scene) -> u64 {
    let config = &scene.config;
    let added_ms = |fault: Fault| match fault {
        // The longest pause.
        Fault::Down | Fault::DownButDone => 64 * config.rpc_backoff_ms,
        Fault::Lost => config.question_timeout_ms,
        Fault::Unknown => config.bump_after_ms,
        Fault::NotSent | Fault::NotWritten | Fault::WrittenButFailed | Fault::Doubled => 0,
    };
    let polls = |(fault, _): &(Fault, _)| 1 + added_ms(*fault).div_ceil(config.poll_ms);
    2 + scene.plan.faults.iter().map(polls).sum::<u64>()
}

/// What two that settle the same must agree on. Who submitted it is a matter of moments, and so is for which of its reasons it failed.
fn has_money(status: Option<&SettlementStatus>) -> Option<bool> {
    status.map(|status| matches!(status, SettlementStatus::Settled { .. }))
}

fn compare(seed: u64) {
    let scene = Scene::new(seed);
    let (machine, reference) = (scene.run::<Machine>(), scene.run::<Reference>());
    let most = most_polls_later(&scene);
    for (_, payer, payment) in &scene.payments {
        let id = payment.payment_id();
        let (ours, theirs) = (machine.host.finished.get(&id), reference.host.finished.get(&id));
        assert_eq!(has_money(theirs), Some(*payer != Payer::Poor), "the reference is wrong: {payer:?} {theirs:?} of {scene:#?}");
        assert_eq!(has_money(ours), has_money(theirs), "{payer:?}: {ours:?} and {theirs:?} of {scene:#?}");
        if *payer == Payer::Good {
            let later_ms = machine.landed_ms[&id].saturating_sub(reference.landed_ms[&id]);
            let polls = later_ms.div_ceil(scene.config.poll_ms);
            assert!(polls <= most, "{polls} polls later than the reference: {payment:?} of {scene:#?}");
        }
    }
    assert_eq!(machine.host.machine.open_count(), 0, "nothing is left");
    // What got lost is asked again, and a doubled answer passes for that of the next question: more are out then than the machine counts.
    let miscounts = |(fault, _): &(Fault, _)| matches!(fault, Fault::Lost | Fault::Doubled);
    assert!(machine.most_questions <= MAX_QUESTIONS || scene.plan.faults.iter().any(miscounts), "{scene:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_payment_ends_as_with_the_reference_and_hardly_later(seed: u64) {
        compare(seed);
    }
}
