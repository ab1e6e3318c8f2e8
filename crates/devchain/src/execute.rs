//! One run of the EVM under Osaka rules over a state as of some revision. Pure: changes are returned, not written.

use std::convert::Infallible;

use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::primitives::{TxKind, U256};
use alloy::rpc::types::TransactionRequest;
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState};
use revm::context::transaction::SignedAuthorization;
use revm::context::{BlockEnv, Context, TxEnv};
use revm::context_interface::ContextSetters;
use revm::context_interface::either::Either;
use revm::handler::{EthFrame, Handler, MainnetContext, MainnetHandler};
use revm::primitives::hardfork::SpecId;
use revm::{ExecuteEvm, MainBuilder, MainContext, MainnetEvm};

use crate::error::ChainError;
use crate::ledger::{BLOCK_GAS_LIMIT, BlockPlan};
use crate::state::StateView;

/// The most gas a transaction may ask for (EIP-7825).
pub const TRANSACTION_GAS_CAP: u64 = 16_777_216;

/// The most gas an `eth_call` may use, as in geth: a view may do more than a transaction can.
pub const CALL_GAS_CAP: u64 = 50_000_000;

/// The rules a run is under.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rules {
    /// Signed: nonce, fee and balance are checked and gas is paid.
    Transaction,
    /// Simulated: anyone may be the sender, contracts too; the nonce is ignored and gas is free.
    Call,
    /// Signed, on its way into the pool: it may come too early, and bid less than the base fee of now.
    Door,
}

/// Runs `tx` in the block that `plan` describes.
pub(crate) fn execute(view: StateView<'_>, chain_id: u64, plan: &BlockPlan, tx: TxEnv, rules: Rules) -> Result<ResultAndState, ChainError> {
    evm(view, chain_id, plan, rules).transact(tx).map_err(|error| chain_error(error, plan))
}

/// Whether `tx` could be in a block at all: every rule but those of the nonce and the base fee. Nothing is run.
pub(crate) fn check(view: StateView<'_>, chain_id: u64, plan: &BlockPlan, tx: TxEnv) -> Result<(), ChainError> {
    let mut evm = evm(view, chain_id, plan, Rules::Door);
    evm.ctx.set_tx(tx);
    let handler = MainnetHandler::<_, EVMError<Infallible>, EthFrame>::default();
    handler.validate(&mut evm).map(drop).map_err(|error| chain_error(error, plan))
}

fn evm<'a>(view: StateView<'a>, chain_id: u64, plan: &BlockPlan, rules: Rules) -> MainnetEvm<MainnetContext<StateView<'a>>> {
    let block = BlockEnv {
        number: U256::from(plan.number),
        timestamp: U256::from(plan.timestamp),
        gas_limit: BLOCK_GAS_LIMIT,
        basefee: match rules {
            Rules::Transaction => plan.base_fee,
            Rules::Call | Rules::Door => 0,
        },
        prevrandao: Some(plan.prevrandao()),
        beneficiary: Default::default(),
        ..BlockEnv::default()
    };
    Context::mainnet()
        .with_db(view)
        .with_block(block)
        .modify_cfg_chained(|cfg| {
            cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
            cfg.chain_id = chain_id;
            match rules {
                Rules::Transaction => {}
                Rules::Door => cfg.disable_nonce_check = true,
                Rules::Call => {
                    cfg.disable_nonce_check = true;
                    cfg.disable_eip3607 = true;
                    cfg.tx_gas_limit_cap = Some(CALL_GAS_CAP);
                }
            }
        })
        .build_mainnet()
}

/// The EVM's input for a signed transaction.
pub(crate) fn signed_tx(transaction: &Recovered<TxEnvelope>) -> TxEnv {
    let authorizations = transaction.authorization_list().unwrap_or_default();
    TxEnv {
        tx_type: transaction.tx_type() as u8,
        caller: transaction.signer(),
        gas_limit: transaction.gas_limit(),
        gas_price: transaction.max_fee_per_gas(),
        gas_priority_fee: transaction.max_priority_fee_per_gas(),
        kind: transaction.kind(),
        value: transaction.value(),
        data: transaction.input().clone(),
        nonce: transaction.nonce(),
        chain_id: transaction.chain_id(),
        access_list: transaction.access_list().cloned().unwrap_or_default(),
        authorization_list: signed_authorizations(authorizations.to_vec()),
        ..TxEnv::default()
    }
}

/// The EVM's input for a simulated call with `gas_limit`. Fee fields of the request are ignored: gas is free in calls.
pub(crate) fn call_tx(request: TransactionRequest, chain_id: u64, gas_limit: u64) -> Result<TxEnv, ChainError> {
    match request.chain_id {
        Some(got) if got != chain_id => {
            return Err(ChainError::WrongChain { expected: chain_id, got });
        }
        _ => {}
    }
    let authorizations = request.authorization_list.clone().unwrap_or_default();
    let access_list = request.access_list.clone().unwrap_or_default();
    let tx_type = match (authorizations.is_empty(), access_list.is_empty()) {
        (false, _) => 4,
        (true, false) => 1,
        (true, true) => 0,
    };
    Ok(TxEnv {
        tx_type,
        caller: request.from.unwrap_or_default(),
        gas_limit,
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        chain_id: Some(chain_id),
        access_list,
        authorization_list: signed_authorizations(authorizations),
        data: request
            .input
            .try_into_unique_input()
            .map_err(|error| ChainError::InvalidParams { reason: error.to_string() })?
            .unwrap_or_default(),
        ..TxEnv::default()
    })
}

/// The call's output, or the error its failure becomes.
pub(crate) fn output(result: ExecutionResult) -> Result<alloy::primitives::Bytes, ChainError> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(ChainError::Reverted { data: output }),
        ExecutionResult::Halt { reason, .. } => Err(ChainError::Halted(reason)),
    }
}

fn signed_authorizations<R>(list: Vec<SignedAuthorization>) -> Vec<Either<SignedAuthorization, R>> {
    list.into_iter().map(Either::Left).collect()
}

fn chain_error(error: EVMError<Infallible>, plan: &BlockPlan) -> ChainError {
    match error {
        EVMError::Transaction(InvalidTransaction::GasPriceLessThanBasefee) => ChainError::FeeTooLow { base_fee: plan.base_fee },
        EVMError::Transaction(invalid) => invalid.into(),
        other => ChainError::Bug { what: other.to_string() },
    }
}
