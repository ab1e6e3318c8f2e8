//! What the settlement machine is told and what it asks for: the whole language between it and its shell.
//!
//! A shell runs actions in any order, at its own pace, and reports what came of them. A report may be late, doubled or lost; the machine
//! asks again. Only [`Action::Persist`] has an order (see there); transactions need none, because the machine does not hand one out
//! before it was told that the one below it was sent.

use std::fmt;
use std::future::Future;

use candor_verify::bytes::{Address, Hash32};
use candor_verify::scheme::{Log, Transfer};
use candor_verify::time::UnixSeconds;

use super::intent::Intent;
use super::outcome::{Outcome, SettledBy};
use super::store::StoredIntent;
use crate::scheme::Calldata;

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: both sides are ours")]
pub enum Event {
    /// A settlement to be made. Telling twice is harmless. For a payment that ended unsettled, another authorization begins anew.
    Intent(Intent),
    /// What became of a [`Action::Persist`].
    Persisted {
        /// Key.
        payment_id: Hash32,
        /// Revision that was to be written.
        revision: u64,
        /// What became of it.
        result: PersistResult,
    },
    /// What the chain answered.
    Chain(ChainAnswer),
    /// Time passed. Send one at least every `poll_ms`.
    Tick,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum PersistResult {
    /// It is durable: it survives a crash of process and machine.
    Durable,
    /// Reported as failed, which means unknown. It is written again.
    Failed,
}

/// Something to do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: the shell must do each")]
pub enum Action {
    /// Store this record under its payment id, unless a higher revision is there, and report when it is durable.
    Persist(StoredIntent),
    /// Ask the chain, and report the answer.
    Chain(ChainRequest),
    /// The settlement is over and that is durable.
    Finished(Outcome),
    /// A transfer is in a block, and that block is not yet as deep as it must be: good enough to hand over an answer, not for the books. Told at
    /// each look that finds it there: what is not told again was taken back.
    Included {
        /// Identity of the payment.
        payment_id: Hash32,
        /// The transaction that moved the money.
        tx_hash: Hash32,
        /// Its block.
        block: u64,
        /// Who submitted it.
        by: SettledBy,
    },
    /// It takes long. Told once per settlement and process; x402 calls it `settlement_pending`.
    StillPending {
        /// Identity of the payment.
        payment_id: Hash32,
        /// Latest transaction of ours, if one is known.
        tx_hash: Option<Hash32>,
    },
    /// The settlement was not taken; the sender keeps it.
    Refused {
        /// Identity of the payment.
        payment_id: Hash32,
        /// Why.
        reason: RefuseReason,
    },
}

/// Why a settlement is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RefuseReason {
    /// Too many are open: offer it again later.
    Full {
        /// Limit.
        limit: usize,
    },
    /// Another authorization of the same payment is still open here: offer it again later.
    OtherOpen,
    /// It is for another chain than this machine's.
    WrongChain {
        /// Chain of the machine.
        expected: u64,
        /// Chain of the settlement.
        got: u64,
    },
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "{limit} settlements are open"),
            Self::OtherOpen => f.write_str("another authorization of the same payment is open"),
            Self::WrongChain { expected, got } => write!(f, "it is for chain {got}, this machine is for chain {expected}"),
        }
    }
}

/// A question to the chain, or a transaction for it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: the shell must do each")]
pub enum ChainRequest {
    /// Sign a transaction with the gas key and send it. Answer: `Broadcast`.
    SignAndBroadcast {
        /// What it is for.
        purpose: Purpose,
        /// Account nonce to sign with; never another.
        account_nonce: u64,
        /// Gas price class. The fees of a class must be a valid replacement (at least an eighth more in both fees) of every lower class
        /// and at least what the chain asks now. The gas *limit* is [`gas_limit`](crate::scheme::gas_limit), not an estimate.
        gas_level: u8,
        /// Whether to try the call first.
        simulation: Simulation,
        /// Contract to call.
        to: Address,
        /// Call; empty for a filler.
        calldata: Calldata,
    },
    /// Try the call of a settlement, from the gas account and with the gas that it would have, at the latest block (not the pending one). It passes
    /// if it comes back, and [`has_settled`](crate::scheme::has_settled) says so of what it returns. Answer: `Simulated`.
    Simulate {
        /// For the answer.
        payment_id: Hash32,
        /// Contract to call.
        to: Address,
        /// Call.
        calldata: Calldata,
    },
    /// The receipt of whichever of these landed. Answer: `ReceiptFound` or `ReceiptMissing`.
    QueryReceipt {
        /// For the answer.
        payment_id: Hash32,
        /// Transactions of one slot: at most one can land.
        hashes: Vec<Hash32>,
    },
    /// Whether the nonce of the payment is used at the latest block ([`Transfer::nonce_question`]), and if it is, the transaction that used or
    /// cancelled it ([`Transfer::end_questions`]). Answer: `AuthorizationState`.
    QueryAuthorization {
        /// What is to move. Log searches need go back no further than T before its end.
        transfer: Transfer,
    },
    /// Transactions of the gas key that are included, at the machine's depth of confirmations, and the latest block. Answer:
    /// `AccountNonce`.
    QueryAccountNonce,
}

impl ChainRequest {
    /// The settlement that this is a question about; `None` for transactions and for the question about the gas account.
    #[must_use]
    pub fn about(&self) -> Option<Hash32> {
        match self {
            Self::Simulate { payment_id, .. } | Self::QueryReceipt { payment_id, .. } => Some(*payment_id),
            Self::QueryAuthorization { transfer } => Some(transfer.payment_id),
            Self::SignAndBroadcast { .. } | Self::QueryAccountNonce => None,
        }
    }
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum Purpose {
    /// To settle this payment.
    Settle {
        /// Identity of the payment.
        payment_id: Hash32,
        /// Which transaction of the machine it is for, counted since the start: a late or doubled "would revert" of an earlier one says
        /// nothing about this one, though the account nonce may be the same.
        attempt: u32,
    },
    /// To use up an account nonce that later ones wait for: nothing, to ourselves.
    Fill,
}

/// Whether to try a call again before sending it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum Simulation {
    /// Try it once more at the latest block (not the pending one); if it reverts, do not send and answer `WouldRevert`.
    First,
    /// Send without trying: it was tried a moment ago, or an earlier twin may be out, and then a revert would mean nothing.
    Skip,
}

/// An answer of the chain.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: both sides are ours")]
pub enum ChainAnswer {
    /// What became of a `SignAndBroadcast`.
    Broadcast {
        /// Of the request.
        purpose: Purpose,
        /// Of the request.
        account_nonce: u64,
        /// Of the request.
        gas_level: u8,
        /// What became of it.
        outcome: BroadcastOutcome,
    },
    /// What a `Simulate` showed.
    Simulated {
        /// Of the request.
        payment_id: Hash32,
        /// A block at which the call reverts; `None` if it does not.
        reverts_at: Option<u64>,
    },
    /// A transaction of the request is included.
    ReceiptFound {
        /// Of the request.
        payment_id: Hash32,
        /// Its receipt.
        receipt: TxReceipt,
    },
    /// None of the transactions of the request is included, as far as this RPC knows.
    ReceiptMissing {
        /// Of the request.
        payment_id: Hash32,
    },
    /// State of the authorization.
    AuthorizationState {
        /// Of the request.
        payment_id: Hash32,
        /// The state.
        state: AuthorizationState,
        /// The block at which it was read.
        at: BlockRef,
    },
    /// Included transactions of the gas key.
    AccountNonce {
        /// The next nonce.
        next: u64,
        /// The latest block when it was read (not the confirmed one below). Its time says which authorizations are over.
        at: BlockRef,
    },
    /// The request could not be answered; a transaction may or may not have been sent.
    RpcDown {
        /// Of the request: [`ChainRequest::about`].
        about: Option<Hash32>,
    },
}

/// What became of a transaction that was to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: both sides are ours")]
pub enum BroadcastOutcome {
    /// A node has it (also "already known").
    Sent {
        /// Transaction.
        hash: Hash32,
    },
    /// It may have been sent.
    Unknown {
        /// Transaction.
        hash: Hash32,
    },
    /// The account nonce is used up.
    NonceTooLow,
    /// A lower account nonce is missing and this node keeps nothing that waits: it was not sent.
    NonceTooHigh,
    /// It could not be made ready (the RPC does not answer, too much waits): it was not sent.
    NotSent,
    /// A pending transaction with this nonce pays more.
    Underpriced,
    /// The gas key cannot pay.
    NoGasFunds,
    /// The call reverts, so nothing was sent.
    WouldRevert {
        /// Block at which it was tried.
        block: u64,
    },
}

/// Whether an authorization is used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: both sides are ours")]
pub enum AuthorizationState {
    /// Not used, not cancelled.
    Unused,
    /// Used or cancelled.
    Used {
        /// By this transaction; `None` if the RPC does not find it.
        transaction: Option<TxReceipt>,
    },
}

/// A block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete")]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Unix seconds.
    pub timestamp: UnixSeconds,
}

/// A receipt of an included transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete for what is decided here")]
pub struct TxReceipt {
    /// Transaction.
    pub hash: Hash32,
    /// Who signed it.
    pub from: Address,
    /// Whether it succeeded.
    pub status: TxStatus,
    /// All its logs, in order.
    pub logs: Vec<Log>,
    /// Its block.
    pub block: u64,
    /// Blocks on top of it.
    pub confirmations: u64,
}

/// Whether a transaction succeeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum TxStatus {
    /// It succeeded.
    Success,
    /// It reverted.
    Reverted,
}

/// The chain, as far as settlement needs it. Implemented by the shell (alloy), run outside the machine.
///
/// **Contract.** One caller per gas key in the whole world: two writers take each other's account nonces (nothing is paid twice, but
/// both are slowed). Every call has a timeout of its own and ends in an answer; "could not" is [`ChainAnswer::RpcDown`] or
/// [`BroadcastOutcome::Unknown`]. Calls may run concurrently and be repeated; of
/// questions at most [`MAX_QUESTIONS`](super::MAX_QUESTIONS) are out at once. **Trust:** none beyond availability: a lie can cost the
/// operator money or time, never the client.
pub trait ChainPort {
    /// Runs one request to its answer.
    fn run(&self, request: ChainRequest) -> impl Future<Output = ChainAnswer> + Send;
}
