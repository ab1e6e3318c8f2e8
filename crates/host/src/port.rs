//! The chain as the settlement machine sees it: [`ChainPort`] over `candor-chain` with the gas key.
//!
//! Every call ends in an answer. Decisions are made on state read back from the chain (nonce, balance, the transaction itself) and not
//! on the text of errors, which differs between nodes; the one text that is looked for is "underpriced", which has no state.
//! A wrong answer of an endpoint costs the operator time or gas, never the client.

use std::collections::BTreeMap;
use std::time::Duration;

use candor_chain::{ChainClient, ChainError, Fees, Finality, Head, NonceAt, SignedTransaction, Signer, Transaction, TransactionReceipt};
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS};
use candor_verify::scheme::{Log, Transfer};
use candor_verify::{Address, Amount, Hash32};
use candor_x402::scheme::{Calldata, gas_limit, has_settled};
use candor_x402::settlement::{
    AuthorizationState, BlockRef, BroadcastOutcome, ChainAnswer, ChainPort, ChainRequest, Purpose, Simulation, TxReceipt, TxStatus,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Fees of the chain are asked again after this.
const FEES_FRESH: Duration = Duration::from_secs(3);

/// What the machine waits for: the chain has one notion of blocks that stay, and not a number.
pub(crate) const CONFIRMATIONS: u64 = 1;

/// Account nonces whose fees are remembered, so that a replacement pays enough more.
const REMEMBERED: usize = 1_024;

/// One gas key on one chain.
#[derive(Debug)]
pub(crate) struct GasPort {
    client: ChainClient,
    signer: Signer,
    finality: Finality,
    state: Mutex<FeeState>,
}

#[derive(Debug, Default)]
struct FeeState {
    asked: Option<(Instant, Fees)>,
    // By account nonce: the highest level sent and its fees.
    sent: BTreeMap<u64, (u8, Fees)>,
}

impl GasPort {
    pub(crate) fn new(client: ChainClient, signer: Signer, finality: Finality) -> Self {
        Self { client, signer, finality, state: Mutex::default() }
    }

    /// Fees of a class: what the chain asks now, a quarter more per level, and at least a valid replacement of what this nonce paid.
    async fn fees(&self, account_nonce: u64, gas_level: u8) -> Result<Fees, ChainError> {
        let mut state = self.state.lock().await;
        let now = match state.asked {
            Some((at, fees)) if at.elapsed() < FEES_FRESH => fees,
            _ => {
                let fees = self.client.fees().await?;
                state.asked = Some((Instant::now(), fees));
                fees
            }
        };
        let asked = (0..gas_level).fold(now, |fees, _| fees.bumped().bumped());
        let fees = match state.sent.get(&account_nonce) {
            // The same class is the same transaction, byte for byte: sending it again changes nothing.
            Some((level, fees)) if *level == gas_level => *fees,
            Some((_, fees)) => fees.bumped().max(asked),
            None => asked,
        };
        let fees = self.client.capped(fees);
        state.sent.insert(account_nonce, (gas_level, fees));
        while REMEMBERED < state.sent.len() {
            state.sent.pop_first();
        }
        Ok(fees)
    }

    async fn broadcast(
        &self,
        simulation: Simulation,
        (account_nonce, gas_level): (u64, u8),
        to: &Address,
        calldata: Calldata,
    ) -> Result<BroadcastOutcome, ChainError> {
        if simulation == Simulation::First
            && let Some(block) = self.reverts_at(to, &calldata).await?
        {
            return Ok(BroadcastOutcome::WouldRevert { block });
        }
        let fees = self.fees(account_nonce, gas_level).await?;
        let tx = Transaction {
            chain_id: self.client.chain_id(),
            nonce: account_nonce,
            gas_limit: gas_limit(&calldata),
            fees,
            to: Some(*to),
            value: Amount::ZERO,
            calldata: calldata.0,
        };
        let signed = self.signer.sign_transaction(&tx)?;
        match self.client.broadcast(&signed).await {
            Ok(()) => Ok(BroadcastOutcome::Sent { hash: signed.hash }),
            Err(error @ ChainError::Rejected { .. }) => Ok(self.explain(&tx, &signed, &error).await),
            Err(_) => Ok(BroadcastOutcome::Unknown { hash: signed.hash }),
        }
    }

    /// A block at or after the one at which the call reverts, or settles nothing; `None` if it does what it is for.
    async fn reverts_at(&self, to: &Address, calldata: &Calldata) -> Result<Option<u64>, ChainError> {
        let tried = self.client.try_call(&self.signer.address(), to, &calldata.0, gas_limit(calldata)).await?;
        let passes = tried.is_some_and(|returned| has_settled(calldata, &returned));
        if passes { Ok(None) } else { Ok(Some(self.client.head().await?.number)) }
    }

    /// Why a node refused a transaction, from the chain's state where there is one.
    async fn explain(&self, tx: &Transaction, signed: &SignedTransaction, error: &ChainError) -> BroadcastOutcome {
        let from = self.signer.address();
        if self.client.nonce(&from, NonceAt::Latest).await.is_ok_and(|next| tx.nonce < next) {
            return BroadcastOutcome::NonceTooLow;
        }
        // A rollup takes the data's price too. What it is now is not known if it cannot be asked; then gas alone decides.
        let data_fee = self.client.data_fee(&signed.raw).await.unwrap_or(Amount::ZERO);
        let gas = u128::from(tx.gas_limit).saturating_mul(tx.fees.max_fee_per_gas);
        let cost = Amount(gas.saturating_add(data_fee.0));
        if self.client.native_balance(&from).await.is_ok_and(|balance| balance < cost) {
            return BroadcastOutcome::NoGasFunds;
        }
        if error.is_underpriced() {
            return BroadcastOutcome::Underpriced;
        }
        match error {
            // Of a node that keeps nothing that waits, the dev chain for one.
            ChainError::Rejected { message, .. } if message.to_ascii_lowercase().contains("nonce too high") => {
                BroadcastOutcome::NonceTooHigh
            }
            _ => BroadcastOutcome::Unknown { hash: signed.hash },
        }
    }

    async fn receipt_of(&self, hashes: &[Hash32]) -> Result<Option<TxReceipt>, ChainError> {
        for hash in hashes.iter().rev() {
            if let Some(receipt) = self.client.transaction_receipt(hash).await? {
                let safe = self.client.safe(self.finality).await?;
                return Ok(Some(tx_receipt(receipt, &safe)));
            }
        }
        Ok(None)
    }

    async fn authorization(&self, transfer: &Transfer) -> Result<(AuthorizationState, BlockRef), ChainError> {
        // The head first: "unused at a block past the end" must not be said of a state that is older than the block.
        let head = self.client.head().await?;
        let at = block_ref(&head);
        if !self.client.is_nonce_used(&transfer.nonce_question()).await? {
            return Ok((AuthorizationState::Unused, at));
        }
        let ends = transfer.valid_before;
        let since = ends.saturating_sub(MAX_TIMEOUT_SECONDS).saturating_sub(MAX_SKEW_SECONDS);
        let transaction = match self.client.nonce_ended(transfer, since..=ends).await? {
            Some(end) => self.receipt_of(&[end.tx_hash]).await?,
            None => None,
        };
        Ok((AuthorizationState::Used { transaction }, at))
    }

    async fn account_nonce(&self) -> Result<ChainAnswer, ChainError> {
        let head = self.client.head().await?;
        let deep = match self.finality {
            Finality::Depth(0) => NonceAt::Latest,
            Finality::Depth(depth) => NonceAt::Block(head.number.saturating_sub(depth)),
            Finality::Tag => NonceAt::Safe,
        };
        let next = self.client.nonce(&self.signer.address(), deep).await?;
        Ok(ChainAnswer::AccountNonce { next, at: block_ref(&head) })
    }
}

impl ChainPort for GasPort {
    async fn run(&self, request: ChainRequest) -> ChainAnswer {
        let about = request.about();
        let answer = match request {
            ChainRequest::SignAndBroadcast { purpose, account_nonce, gas_level, simulation, to, calldata } => {
                let purpose: Purpose = purpose;
                // An error comes before anything is handed to a node; after that it is `Unknown`.
                let sent = self.broadcast(simulation, (account_nonce, gas_level), &to, calldata).await;
                let outcome = sent.unwrap_or(BroadcastOutcome::NotSent);
                Ok(ChainAnswer::Broadcast { purpose, account_nonce, gas_level, outcome })
            }
            ChainRequest::Simulate { payment_id, to, calldata } => {
                self.reverts_at(&to, &calldata).await.map(|reverts_at| ChainAnswer::Simulated { payment_id, reverts_at })
            }
            ChainRequest::QueryReceipt { payment_id, hashes } => self.receipt_of(&hashes).await.map(|found| match found {
                Some(receipt) => ChainAnswer::ReceiptFound { payment_id, receipt },
                None => ChainAnswer::ReceiptMissing { payment_id },
            }),
            ChainRequest::QueryAuthorization { transfer } => {
                let (payment_id, found) = (transfer.payment_id, self.authorization(&transfer).await);
                found.map(|(state, at)| ChainAnswer::AuthorizationState { payment_id, state, at })
            }
            ChainRequest::QueryAccountNonce => self.account_nonce().await,
        };
        // "Could not" has one name; nothing was sent, or the outcome would have said so.
        answer.unwrap_or(ChainAnswer::RpcDown { about })
    }
}

fn block_ref(head: &Head) -> BlockRef {
    BlockRef { number: head.number, timestamp: head.timestamp }
}

/// One confirmation is a block that stays ([`CONFIRMATIONS`]).
fn tx_receipt(receipt: TransactionReceipt, safe: &Head) -> TxReceipt {
    TxReceipt {
        hash: receipt.hash,
        from: receipt.from,
        status: if receipt.is_success { TxStatus::Success } else { TxStatus::Reverted },
        logs: receipt.logs.into_iter().map(|log| Log { address: log.address, topics: log.topics, data: log.data }).collect(),
        block: receipt.block_number,
        confirmations: u64::from(receipt.block_number <= safe.number),
    }
}
