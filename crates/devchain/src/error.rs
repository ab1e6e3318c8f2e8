//! Everything a chain request can be refused for, and the one place where that becomes a JSON-RPC error.
//!
//! Codes and wording follow geth where clients match on them: viem and alloy recognise a revert by code 3 with `data`, and
//! "nonce too low", "nonce too high", "insufficient funds", "intrinsic gas too low", "already known", "replacement transaction
//! underpriced" and "txpool is full" by their text.

use std::error::Error;
use std::fmt;

use alloy::primitives::{B256, Bytes, U256};
use alloy::sol_types::{GenericContractError, SolInterface};
use revm::context::result::{HaltReason, InvalidTransaction};

/// Why a request to the chain failed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChainError {
    /// The request is not JSON. (Malformed)
    NotJson,
    /// The request is JSON but not JSON-RPC 2.0. (Malformed)
    InvalidRequest {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No such method. (Malformed)
    UnknownMethod {
        /// The method asked for.
        method: String,
    },
    /// A parameter is missing, of the wrong type or not supported. (Malformed)
    InvalidParams {
        /// What is wrong, quoting the JSON reader where it noticed.
        reason: String,
    },
    /// The bytes are not a signed transaction. (Malformed)
    UndecodableTransaction,
    /// The signature recovers to no one. (Malformed)
    InvalidSignature,
    /// Blob transactions are not supported here. (Rejected)
    UnsupportedTransactionType {
        /// The EIP-2718 type byte.
        got: u8,
    },
    /// The transaction is signed for another chain. (Rejected)
    WrongChain {
        /// This chain's id.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// The nonce was used already. (Rejected)
    NonceTooLow {
        /// The account's next nonce.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// There is a gap before this nonce, and blocks are made at once: nothing is queued then. (Rejected)
    NonceTooHigh {
        /// The account's next nonce.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// The sender cannot pay for gas and value. (Rejected)
    InsufficientFunds {
        /// The most the transaction may cost, in wei.
        needed: U256,
        /// What the sender has, in wei.
        balance: U256,
    },
    /// The gas limit does not even cover the transaction's own bytes. (Rejected)
    IntrinsicGasTooLow {
        /// Gas needed before any code runs.
        needed: u64,
        /// The transaction's gas limit.
        limit: u64,
    },
    /// The same transaction waits already. (Rejected)
    AlreadyKnown,
    /// Another transaction of this sender and nonce waits, and this one does not bid a tenth more on both fee cap and tip. (Rejected)
    ReplacementUnderpriced,
    /// The pool, or this sender's part of it, is full. (Unavailable: after the next block there may be room)
    PoolFull {
        /// Of what there are too many.
        what: &'static str,
        /// The most.
        limit: usize,
    },
    /// The transaction is too large to wait in the pool. (Rejected)
    OversizedTransaction {
        /// The most, in bytes.
        limit: usize,
        /// Its size.
        got: usize,
    },
    /// The fee cap is below the base fee, and blocks are made at once. (Rejected)
    FeeTooLow {
        /// The base fee, in wei per gas.
        base_fee: u64,
    },
    /// The tip is above the fee cap. (Rejected)
    TipAboveFeeCap,
    /// The gas limit is above what one transaction may use (EIP-7825). (Rejected)
    GasLimitTooHigh {
        /// The most allowed.
        cap: u64,
        /// The transaction's.
        got: u64,
    },
    /// Another rule of the EVM refuses the transaction. (Rejected)
    InvalidTransaction(InvalidTransaction),
    /// The call reverted. (Rejected)
    Reverted {
        /// What it reverted with: usually an ABI-encoded error.
        data: Bytes,
    },
    /// The call stopped without revert data: out of gas, bad opcode and the like. (Rejected)
    Halted(HaltReason),
    /// The call does not succeed with the most gas it may have. (Rejected)
    GasRequiredExceedsAllowance {
        /// The gas it was given.
        allowance: u64,
    },
    /// No block has this number yet. (Rejected)
    UnknownBlockNumber {
        /// The last block that is visible.
        head: u64,
        /// The one asked for.
        got: u64,
    },
    /// No block has this hash. (Rejected)
    UnknownBlockHash {
        /// The one asked for.
        got: B256,
    },
    /// `fromBlock` is after `toBlock`. (Malformed)
    InvalidBlockRange {
        /// First block.
        from: u64,
        /// Last block.
        to: u64,
    },
    /// The log query matches too much. (Rejected)
    TooManyLogs {
        /// The most a query may return.
        limit: usize,
    },
    /// The batch has too many requests. (Rejected)
    BatchTooLong {
        /// The most a batch may hold.
        limit: usize,
        /// How many it holds.
        got: usize,
    },
    /// The request body is too large. (Rejected)
    RequestTooLarge {
        /// The most, in bytes.
        limit: usize,
    },
    /// The answers of a batch got too large; this request was not executed. (Rejected)
    ResponseTooLarge {
        /// The most, in bytes.
        limit: usize,
    },
    /// More blocks asked for at once than allowed. (Rejected)
    TooManyBlocks {
        /// The most.
        limit: u64,
        /// How many.
        got: u64,
    },
    /// The chain holds as many blocks or snapshots as it may. (Unavailable: start a new one)
    Full {
        /// Of what there are too many.
        what: &'static str,
        /// The most.
        limit: usize,
    },
    /// A block time before the previous block. (Rejected)
    TimestampTooEarly {
        /// The time of the head, in Unix seconds.
        earliest: u64,
        /// The one asked for.
        got: u64,
    },
    /// A block time past [`MAX_TIMESTAMP`](crate::MAX_TIMESTAMP). (Rejected)
    TimestampTooLate {
        /// The latest allowed, in Unix seconds.
        latest: u64,
        /// The one asked for.
        got: u64,
    },
    /// More blocks to be replaced than there are, or than may be at once. (Rejected)
    ReorgTooDeep {
        /// The most that can be replaced now.
        deepest: u64,
        /// How many.
        got: u64,
    },
    /// A base fee above [`MAX_BASE_FEE`](crate::MAX_BASE_FEE). (Rejected)
    BaseFeeTooHigh {
        /// The highest allowed, in wei per gas.
        limit: u64,
        /// The one asked for.
        got: u64,
    },
    /// A test asked for this answer; see [`Fault::Refuse`](crate::Fault::Refuse).
    Injected {
        /// JSON-RPC code.
        code: i64,
        /// Message.
        message: String,
    },
    /// Our own bug: a value that should always be writable as JSON was not.
    Bug {
        /// What the library said.
        what: String,
    },
}

impl ChainError {
    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::NotJson => -32700,
            Self::InvalidRequest { .. } | Self::BatchTooLong { .. } | Self::RequestTooLarge { .. } => -32600,
            Self::UnknownMethod { .. } => -32601,
            Self::InvalidParams { .. } | Self::InvalidBlockRange { .. } => -32602,
            Self::Bug { .. } => -32603,
            Self::Reverted { .. } => 3,
            Self::Injected { code, .. } => *code,
            _ => -32000,
        }
    }

    /// The JSON-RPC error data: what a call reverted with.
    #[must_use]
    pub const fn data(&self) -> Option<&Bytes> {
        match self {
            Self::Reverted { data } => Some(data),
            _ => None,
        }
    }
}

impl From<InvalidTransaction> for ChainError {
    fn from(error: InvalidTransaction) -> Self {
        match error {
            InvalidTransaction::NonceTooLow { tx, state } => Self::NonceTooLow { expected: state, got: tx },
            InvalidTransaction::NonceTooHigh { tx, state } => Self::NonceTooHigh { expected: state, got: tx },
            InvalidTransaction::LackOfFundForMaxFee { fee, balance } => Self::InsufficientFunds { needed: *fee, balance: *balance },
            InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas: needed, gas_limit: limit }
            | InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor: needed, gas_limit: limit } => {
                Self::IntrinsicGasTooLow { needed, limit }
            }
            InvalidTransaction::PriorityFeeGreaterThanMaxFee => Self::TipAboveFeeCap,
            InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, cap } => Self::GasLimitTooHigh { cap, got: gas_limit },
            other => Self::InvalidTransaction(other),
        }
    }
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("parse error: the request is not JSON"),
            Self::InvalidRequest { reason } => write!(f, "invalid request: {reason}"),
            Self::UnknownMethod { method } => {
                write!(f, "the method {method} does not exist on this development chain")
            }
            Self::InvalidParams { reason } => write!(f, "invalid params: {reason}"),
            Self::UndecodableTransaction => f.write_str("the bytes are not a signed transaction"),
            Self::InvalidSignature => f.write_str("invalid transaction signature"),
            Self::UnsupportedTransactionType { got } => {
                write!(f, "transaction type {got} is not supported on this development chain")
            }
            Self::WrongChain { expected, got } => {
                write!(f, "invalid chain id for signer: have {got} want {expected}")
            }
            Self::NonceTooLow { expected, got } => {
                write!(f, "nonce too low: next nonce {expected}, tx nonce {got}")
            }
            Self::NonceTooHigh { expected, got } => {
                write!(f, "nonce too high: next nonce {expected}, tx nonce {got}")
            }
            Self::InsufficientFunds { needed, balance } => {
                write!(f, "insufficient funds for gas * price + value: balance {balance}, tx cost {needed}")
            }
            Self::IntrinsicGasTooLow { needed, limit } => {
                write!(f, "intrinsic gas too low: gas {limit}, minimum needed {needed}")
            }
            Self::AlreadyKnown => f.write_str("already known"),
            Self::ReplacementUnderpriced => f.write_str("replacement transaction underpriced"),
            Self::PoolFull { what, limit } => write!(f, "txpool is full: no more than {limit} {what}"),
            Self::OversizedTransaction { limit, got } => {
                write!(f, "oversized data: transaction size {got}, limit {limit}")
            }
            Self::FeeTooLow { base_fee } => {
                write!(f, "max fee per gas less than block base fee: baseFee {base_fee}")
            }
            Self::TipAboveFeeCap => f.write_str("max priority fee per gas higher than max fee per gas"),
            Self::GasLimitTooHigh { cap, got } => {
                write!(f, "transaction gas limit too high (cap: {cap}, tx: {got})")
            }
            Self::InvalidTransaction(error) => write!(f, "invalid transaction: {error}"),
            Self::Reverted { data } => match GenericContractError::abi_decode(data) {
                Ok(GenericContractError::Revert(error)) => {
                    write!(f, "execution reverted: {}", error.reason())
                }
                Ok(GenericContractError::Panic(panic)) => {
                    write!(f, "execution reverted: panic code {:#x}", panic.code)
                }
                Err(_) => f.write_str("execution reverted"),
            },
            Self::Halted(reason) => write!(f, "execution stopped: {reason}"),
            Self::GasRequiredExceedsAllowance { allowance } => {
                write!(f, "gas required exceeds allowance ({allowance})")
            }
            Self::UnknownBlockNumber { head, got } => {
                write!(f, "block {got} not found: the head is {head}")
            }
            Self::UnknownBlockHash { got } => write!(f, "block {got} not found"),
            Self::InvalidBlockRange { from, to } => {
                write!(f, "invalid block range: from {from} to {to}")
            }
            Self::TooManyLogs { limit } => write!(f, "query returned more than {limit} results"),
            Self::BatchTooLong { limit, got } => {
                write!(f, "batch too long: {got} requests, at most {limit}")
            }
            Self::RequestTooLarge { limit } => write!(f, "request too large: at most {limit} bytes"),
            Self::ResponseTooLarge { limit } => {
                write!(f, "response too large: at most {limit} bytes; not executed")
            }
            Self::TooManyBlocks { limit, got } => write!(f, "{got} blocks at once, at most {limit}"),
            Self::Full { what, limit } => {
                write!(f, "this development chain holds no more than {limit} {what}")
            }
            Self::TimestampTooEarly { earliest, got } => {
                write!(f, "timestamp {got} is before the previous block's {earliest}")
            }
            Self::TimestampTooLate { latest, got } => {
                write!(f, "timestamp {got} is later than {latest}")
            }
            Self::ReorgTooDeep { deepest, got } => write!(f, "cannot replace {got} blocks: at most {deepest} now"),
            Self::BaseFeeTooHigh { limit, got } => write!(f, "base fee {got} is higher than {limit}"),
            Self::Injected { message, .. } => f.write_str(message),
            Self::Bug { what } => write!(f, "internal error: {what}"),
        }
    }
}

impl Error for ChainError {}
