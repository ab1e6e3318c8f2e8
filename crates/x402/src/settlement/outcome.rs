//! How a settlement stands.

use candor_verify::bytes::{Address, Amount, Hash32};

use super::intent::Intent;

/// How a settlement stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: callers must decide for each")]
pub enum SettlementStatus {
    /// The money moved, by the logs of this transaction.
    Settled {
        /// Transaction.
        tx_hash: Hash32,
        /// Its block.
        block: u64,
        /// Who submitted it.
        by: SettledBy,
    },
    /// Not known yet. With a hash it may land at any moment; nothing else will be submitted in its place.
    Pending {
        /// Latest transaction of ours, if one is known.
        tx_hash: Option<Hash32>,
    },
    /// It had not moved when we stopped trying. Until `validBefore` somebody else could still move it; nobody watches for that.
    Failed {
        /// Why.
        code: FailureCode,
    },
    /// A block past `validBefore` shows the authorization unused: it can never move.
    Expired,
}

/// Who submitted the transaction that moved the money.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum SettledBy {
    /// Our gas key.
    Us,
    /// Anybody else. The payee has the money all the same.
    ThirdParty,
}

/// Why a settlement failed for good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FailureCode {
    /// Our transaction was included and reverted (the payer's balance, for example).
    TransactionFailed,
    /// The call reverts, so it was never sent.
    SimulationFailed,
    /// A transaction succeeded without the transfer it should have made: a fake token, or one that takes a fee.
    TransferEventMismatch,
    /// The payer used or cancelled the nonce otherwise.
    NonceAlreadyUsed,
}

/// A settlement that is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete")]
pub struct Outcome {
    /// Identity of the payment.
    pub payment_id: Hash32,
    /// `Settled`, `Failed` or `Expired`.
    pub status: SettlementStatus,
    /// Token contract.
    pub asset: Address,
    /// What moved, or should have.
    pub amount: Amount,
}

impl Outcome {
    /// How the settlement of this ended.
    pub(super) fn of(intent: &Intent, status: SettlementStatus) -> Self {
        Self { payment_id: intent.payment_id(), status, asset: intent.asset(), amount: intent.amount() }
    }
}

impl FailureCode {
    /// Every code.
    pub const ALL: [Self; 4] = [Self::TransactionFailed, Self::SimulationFailed, Self::TransferEventMismatch, Self::NonceAlreadyUsed];

    /// The x402 error string.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransactionFailed => "invalid_exact_evm_transaction_failed",
            Self::SimulationFailed => "invalid_exact_evm_transaction_simulation_failed",
            Self::TransferEventMismatch => "invalid_exact_evm_transfer_event_mismatch",
            Self::NonceAlreadyUsed => "invalid_exact_evm_nonce_already_used",
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::TransactionFailed => 1,
            Self::SimulationFailed => 2,
            Self::TransferEventMismatch => 3,
            Self::NonceAlreadyUsed => 4,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Self::TransactionFailed, Self::SimulationFailed, Self::TransferEventMismatch, Self::NonceAlreadyUsed]
            .into_iter()
            .find(|failure| failure.code() == code)
    }
}

impl SettlementStatus {
    /// Over, and no money moved: the payer can sign the same nonce again, and that is a settlement of its own.
    #[must_use]
    pub fn is_unsettled_end(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Expired)
    }
}
