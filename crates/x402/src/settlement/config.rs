//! How a settlement machine behaves: its times, its limits, its chain.

use candor_verify::bytes::Address;

/// How a machine behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value works")]
pub struct MachineConfig {
    /// Chain it settles on.
    pub chain_id: u64,
    /// Account of the gas key.
    pub gas_account: Address,
    /// Blocks on top of a transaction before it counts. Zero on a chain that does not reorganise.
    pub confirmations: u64,
    /// Time between questions about one settlement.
    pub poll_ms: u64,
    /// Time without a receipt after which the same transaction is sent again at a higher price.
    pub bump_after_ms: u64,
    /// Highest gas price class.
    pub max_gas_level: u8,
    /// Time after which [`Action::StillPending`](super::Action::StillPending) is told.
    pub pending_after_ms: u64,
    /// Time after which a write that was not confirmed is repeated.
    pub persist_retry_ms: u64,
    /// Time after which a question that was not answered may be asked again.
    pub question_timeout_ms: u64,
    /// Pause after the first [`ChainAnswer::RpcDown`](super::ChainAnswer::RpcDown); doubles up to 64 times this.
    pub rpc_backoff_ms: u64,
    /// Time after the end of a used authorization for its log to be found.
    pub lookup_grace_ms: u64,
    /// Time after its end for which a finished settlement is remembered, to answer a second intent for it.
    pub retention_ms: u64,
    /// From sending to a block, at most, as a rule. A settlement with less time left gets no account nonce: under load the first in the queue
    /// would always be the one that comes too late, its transaction would revert, and nothing would settle any more.
    pub inclusion_ms: u64,
    /// Account nonces given out and not yet in a block.
    pub max_in_flight: usize,
    /// Account nonces given out, also those in a block that is not as deep as it must be: on some chains that takes minutes. One payer has
    /// half of them at most.
    pub max_unsafe: usize,
    /// Settlements open at once. One payer has three quarters of them at most.
    pub max_open: usize,
    /// Account nonces that one settlement may use up without effect.
    pub max_attempts: u8,
}

impl MachineConfig {
    /// Values for a public chain with blocks of a few seconds; the dev chain does with shorter times and no confirmations.
    #[must_use]
    pub fn new(chain_id: u64, gas_account: Address) -> Self {
        Self {
            chain_id,
            gas_account,
            confirmations: 2,
            poll_ms: 1_000,
            bump_after_ms: 15_000,
            max_gas_level: 8,
            pending_after_ms: 30_000,
            persist_retry_ms: 1_000,
            question_timeout_ms: 60_000,
            rpc_backoff_ms: 250,
            lookup_grace_ms: 600_000,
            retention_ms: 3_600_000,
            inclusion_ms: 4_000,
            max_in_flight: 16,
            max_unsafe: 512,
            max_open: 16_384,
            max_attempts: 3,
        }
    }

    /// Account nonces that one payer may hold: whoever has many payments leaves as many places to the others, also where a block is deep
    /// only after minutes.
    pub(super) fn max_seats_of_payer(&self) -> usize {
        (self.max_unsafe / 2).max(1)
    }

    /// Settlements that one payer may have open. The rest is room in which all others can be taken.
    pub(super) fn max_open_of_payer(&self) -> usize {
        self.max_open.saturating_sub(self.max_open / 4)
    }
}
