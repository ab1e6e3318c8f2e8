//! What a reorganisation takes out of a block that was not deep: it was no end, and the payment is settled all the same.

#[path = "common/chain.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod chain;

use candor_x402::settlement::*;
use chain::{Host, START_S, config, intent};

/// A chain with two blocks, of which the settlement wants two on top.
fn host() -> Host {
    let mut host = Host::new(MachineConfig { confirmations: 2, ..config() });
    host.mine();
    host.mine();
    host
}

/// Takes the transfer out of its block.
fn reorganise(host: &mut Host, payment: &Intent) {
    let hash = host.chain.used.remove(&(payment.payer(), payment.nonce())).unwrap();
    host.chain.receipts.remove(&hash);
}

fn is_settled_by_us(host: &mut Host, payment: &Intent) -> bool {
    for _ in 0..20 {
        host.wait(1_000);
        host.mine();
    }
    matches!(host.status(payment), Some(SettlementStatus::Settled { by: SettledBy::Us, .. }))
}

#[test]
fn a_use_by_somebody_else_that_is_taken_out_again_is_settled_by_us() {
    // Found before there is a transaction of ours, and after.
    for ours_is_out in [false, true] {
        let mut host = host();
        let payment = intent(1, START_S + 300);
        if ours_is_out {
            host.tell(payment.clone());
            host.settle_down();
        }
        host.third_party(&payment);
        host.tell(payment.clone());
        host.wait(6_000);
        assert!(matches!(host.status(&payment), Some(SettlementStatus::Pending { .. })), "{ours_is_out}");
        assert!(host.included.contains_key(&payment.payment_id()), "{ours_is_out}");
        reorganise(&mut host, &payment);
        assert!(is_settled_by_us(&mut host, &payment), "{ours_is_out}: {:?}", host.machine);
    }
}

#[test]
fn our_transaction_that_is_taken_out_again_and_forgotten_is_sent_again() {
    let mut host = host();
    let payment = intent(1, START_S + 300);
    host.tell(payment.clone());
    host.settle_down();
    host.mine();
    host.wait(1_000);
    assert!(host.included.contains_key(&payment.payment_id()));
    reorganise(&mut host, &payment);
    *host.chain.nonce_at.last_mut().unwrap() = 0;
    assert!(is_settled_by_us(&mut host, &payment), "{:?}", host.machine);
    assert_eq!(host.sent[&payment.payment_id()].len(), 1, "with the same account nonce");
}
