//! Settlements: how often the host is asked what became of a payment, and how much of its answer is believed.
//!
//! Trust: *settled* is believed; a lie gives an answer away, at the operator's cost. *Failed* is believed only when by this enclave's own
//! clock the payment can no longer be executed, and is then passed on as the host's word: before that, a client told "not charged" could
//! pay again and be charged twice. The client asks the chain itself (spec/link.md §5).

use std::time::Duration;

use candor_link::{EnclaveRequest, HostReply, SettlementFailure, SettlementState};
use candor_verify::bytes::Hash32;
use candor_verify::check::CLOCK_SKEW_SECONDS;
use candor_verify::time::{UnixMs, UnixSeconds};
use tokio::sync::Semaphore;

use crate::clock;
use crate::control::HostPort;

/// Questions at once about transfers; a small part of what the link carries, so that they never crowd out the ledger's.
const ASKED_MAX: usize = 256;

/// How long an answer that is kept waits for its transfer before its client is told to come again.
const SETTLE_WAIT: Duration = Duration::from_secs(20);

/// How long the host may hold one question about a settlement.
const SETTLE_POLL: Duration = Duration::from_secs(5);

/// First and longest pause before the same is asked again; each is twice the one before.
const PAUSE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(15)];

/// A transfer that pays for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) payment_id: Hash32,
    pub(crate) chain_id: u64,
    /// Unix seconds; after this it can no longer happen.
    pub(crate) valid_before: UnixSeconds,
}

/// How long an answer waits for its transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// For as long as a chain mostly takes: the answer is kept, and its client comes again.
    AWhile,
    /// Until it is seen or can no longer happen: the answer is nowhere else.
    ToTheEnd,
}

/// Where the payment of an answer stands.
pub(crate) enum Standing {
    /// The transfer is in a block.
    Settled { tx_hash: Hash32 },
    /// Not final, or not known.
    Pending { tx_hash: Option<Hash32> },
    /// The payment is over, and as the host says the transfer did not happen; the answer is not given.
    Failed(SettlementFailure),
}

/// What another boot of this node does with a payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Elsewhere {
    /// It may be at work for it, or its transfer is on its way.
    AtWork,
    /// It was charged.
    Charged,
}

/// What became of transfers, as the host says.
pub(crate) struct Transfers {
    port: HostPort,
    // Turns of those who wait for a transfer.
    asking: Semaphore,
}

impl Transfers {
    pub(crate) fn new(port: HostPort) -> Self {
        Self { port, asking: Semaphore::new(ASKED_MAX) }
    }

    /// Whether the transfer is seen before this time. Asks again and again, ever more slowly. A turn is held for one question, not for one
    /// payment: payments that never settle must not keep those that do from being seen.
    pub(crate) async fn seen(&self, payment_id: Hash32, until: UnixSeconds) -> bool {
        let [mut pause, longest] = PAUSE;
        while clock::now().seconds() < until {
            let Some(state) = self.ask_in_turn(payment_id).await else { return false };
            if let Some(SettlementState::Settled { .. }) = state {
                return true;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(longest);
        }
        false
    }

    /// Waits for a transfer, and says where it stands.
    pub(crate) async fn standing(&self, transfer: &Transfer, wait: Wait) -> Standing {
        let Transfer { payment_id, valid_before, .. } = *transfer;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let deadline_ms = match wait {
            Wait::AWhile => clock::now().saturating_add(millis(SETTLE_WAIT)),
            // Once more after the last moment, so that the end itself is seen.
            Wait::ToTheEnd => UnixMs(over(valid_before).0.saturating_mul(1000).saturating_add(millis(SETTLE_WAIT))),
        };
        let (mut tx, [mut pause, longest]) = (None, PAUSE);
        while clock::now() < deadline_ms {
            let Some(state) = self.ask_in_turn(payment_id).await else { break };
            match state {
                Some(SettlementState::Settled { tx_hash, .. }) => return Standing::Settled { tx_hash },
                Some(SettlementState::Failed { code }) => match failed(code, valid_before, clock::now().seconds()) {
                    Standing::Pending { .. } if wait == Wait::ToTheEnd => {}
                    standing => return standing,
                },
                Some(SettlementState::Pending { tx_hash }) => tx = tx_hash,
                None => {}
            }
            // A host that holds no question is not asked without end.
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(longest);
        }
        Standing::Pending { tx_hash: tx }
    }

    /// Asks once what another boot does with a payment. Trust: a lie makes a client wait, or pay anew, as a host can in other ways.
    pub(crate) async fn elsewhere(&self, payment_id: Hash32) -> Option<Elsewhere> {
        match self.ask(payment_id, Duration::ZERO).await? {
            SettlementState::Pending { .. } => Some(Elsewhere::AtWork),
            SettlementState::Settled { .. } => Some(Elsewhere::Charged),
            SettlementState::Failed { .. } => None,
        }
    }

    /// Asks once, when it is this question's turn. `None` if there are no turns any more.
    async fn ask_in_turn(&self, payment_id: Hash32) -> Option<Option<SettlementState>> {
        // While few ask, the host may hold the question until there is news.
        let wait = if ASKED_MAX / 2 < self.asking.available_permits() { SETTLE_POLL } else { Duration::ZERO };
        let _turn = self.asking.acquire().await.ok()?;
        Some(self.ask(payment_id, wait).await)
    }

    /// Asks the host what became of a settlement; `None` if it cannot be asked.
    async fn ask(&self, payment_id: Hash32, wait: Duration) -> Option<SettlementState> {
        let timeout_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let request = EnclaveRequest::AwaitSettlement { payment_id, timeout_ms };
        match self.port.request(request, wait.saturating_add(Duration::from_secs(5))).await {
            Ok(HostReply::Settlement(state)) => Some(state),
            Ok(_) | Err(_) => None,
        }
    }
}

/// What a failure means, by the host's word, at this time.
fn failed(code: SettlementFailure, valid_before: UnixSeconds, now: UnixSeconds) -> Standing {
    if over(valid_before) <= now { Standing::Failed(code) } else { Standing::Pending { tx_hash: None } }
}

/// When a transfer can no longer happen, Unix seconds: the chain's clock may be behind by so much.
fn over(valid_before: UnixSeconds) -> UnixSeconds {
    valid_before.saturating_add(CLOCK_SKEW_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candor_link::{BlockHead, EnclaveReply, FrameDecoder, HostRequest, Phase, ToEnclave, ToHost};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::control::{Commands, serve};

    const SETTLES: Hash32 = Hash32([1; 32]);

    struct Idle;

    impl Commands for Idle {
        fn phase(&self) -> Phase {
            Phase::AwaitingTerms
        }

        fn handle(&self, _: HostRequest) -> EnclaveReply {
            EnclaveReply::Done
        }

        fn head(&self, _: BlockHead) {}
    }

    /// A host at which one payment settles, and every other stays pending for ever.
    async fn host(mut stream: tokio::io::DuplexStream) {
        let (mut decoder, mut buffer) = (FrameDecoder::new(), vec![0; 4096]);
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            decoder.push(&buffer[..read]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                let ToHost::Request { id, request: EnclaveRequest::AwaitSettlement { payment_id, .. } } = ToHost::parse(&frame).unwrap()
                else {
                    continue;
                };
                let state = if payment_id == SETTLES {
                    SettlementState::Settled { tx_hash: Hash32([7; 32]), block_number: 1, by_third_party: false }
                } else {
                    SettlementState::Pending { tx_hash: None }
                };
                let reply = ToEnclave::Reply { id, reply: HostReply::Settlement(state) };
                stream.write_all(&reply.encode().unwrap()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn payments_that_never_settle_do_not_keep_one_that_does_from_being_seen() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let port = HostPort::new();
        let transfers = Arc::new(Transfers { port: port.clone(), asking: Semaphore::new(1) });
        tokio::spawn(host(theirs));
        tokio::spawn(serve(ours, port.clone(), Arc::new(Idle)));
        while port.connections().borrow().eq(&0) {
            tokio::task::yield_now().await;
        }
        let until = clock::now().seconds().saturating_add(300);
        for other in 2..20 {
            let transfers = Arc::clone(&transfers);
            tokio::spawn(async move { transfers.seen(Hash32([other; 32]), until).await });
        }
        tokio::task::yield_now().await;
        // Whole answers that are kept nowhere wait too, and take turns with those.
        let transfer = move |payment_id: Hash32| Transfer { payment_id, chain_id: 1, valid_before: until };
        for other in 20..40 {
            let transfers = Arc::clone(&transfers);
            tokio::spawn(async move { transfers.standing(&transfer(Hash32([other; 32])), Wait::ToTheEnd).await });
        }
        tokio::task::yield_now().await;
        let seen = tokio::time::timeout(Duration::from_secs(20), transfers.seen(SETTLES, until)).await;
        assert_eq!(seen, Ok(true));
        let standing = tokio::time::timeout(Duration::from_secs(20), transfers.standing(&transfer(SETTLES), Wait::AWhile)).await;
        assert!(matches!(standing, Ok(Standing::Settled { .. })));
    }

    #[test]
    fn the_host_is_not_believed_that_a_payment_failed_while_it_could_still_be_executed() {
        let valid_before = 1_790_000_300;
        for code in [SettlementFailure::Expired, SettlementFailure::NonceUsed, SettlementFailure::Unknown] {
            for now in [0, valid_before, valid_before + 119] {
                assert!(
                    matches!(failed(code, UnixSeconds(valid_before), UnixSeconds(now)), Standing::Pending { tx_hash: None }),
                    "{code:?} at {now}"
                );
            }
            assert!(
                matches!(failed(code, UnixSeconds(valid_before), UnixSeconds(valid_before + 120)), Standing::Failed(believed) if believed == code)
            );
        }
    }
}
