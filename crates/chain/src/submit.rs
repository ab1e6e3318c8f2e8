//! The primitives of sending a transaction: key, nonce, fees, signing, broadcast, receipt. Each does one thing and returns.
//!
//! When to send, how long to wait, how to replace: the settlement machine and the host decide, because only they persist intents.
//! [`ChainClient::send_and_wait`] puts the steps together for deployments and registrations, where losing track costs a retry only.
//! "Failed" means "unknown" until read back by hash.

use std::fmt;
use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::Encodable2718;
use alloy::network::{ReceiptResponse, TransactionResponse};
use alloy::primitives::{Bytes, TxKind, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use candor_verify::{Address, Amount, Hash32, Signature65};

use crate::bindings::GasPriceOracle;
use crate::client::{ChainClient, GAS_PRICE_ORACLE, NonceAt};
use crate::convert::{address, b256, evm_address, hash, saturating_amount, u256};
use crate::error::ChainError;

/// A local secp256k1 key that pays for gas or signs as a payer. Zeroized on drop by its implementation; never printed.
#[derive(Clone)]
pub struct Signer(PrivateKeySigner);

impl Signer {
    /// A key from its 32 bytes; `None` if they are not a valid scalar.
    #[must_use]
    pub fn from_bytes(key: &[u8; 32]) -> Option<Self> {
        PrivateKeySigner::from_bytes(&(*key).into()).ok().map(Self)
    }

    /// A new random key.
    #[must_use]
    pub fn random() -> Self {
        Self(PrivateKeySigner::random())
    }

    /// The key's bytes, for storing it. The caller zeroizes them.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes().0
    }

    /// The account.
    #[must_use]
    pub fn address(&self) -> Address {
        address(self.0.address())
    }

    /// Signs a digest (EIP-712 and the like) as r ‖ s ‖ v with low s and v in {27, 28}.
    ///
    /// # Errors
    /// Only what the signing library says; a valid key does not fail.
    pub fn sign_digest(&self, digest: &Hash32) -> Result<Signature65, ChainError> {
        let signature = self.0.sign_hash_sync(&b256(digest)).map_err(signing)?;
        Ok(Signature65(signature.as_bytes()))
    }

    /// Signs a transaction.
    ///
    /// # Errors
    /// As [`Self::sign_digest`].
    pub fn sign_transaction(&self, tx: &Transaction) -> Result<SignedTransaction, ChainError> {
        let unsigned = TxEip1559 {
            chain_id: tx.chain_id,
            nonce: tx.nonce,
            gas_limit: tx.gas_limit,
            max_fee_per_gas: tx.fees.max_fee_per_gas,
            max_priority_fee_per_gas: tx.fees.max_priority_fee_per_gas,
            to: tx.to.as_ref().map_or(TxKind::Create, |to| TxKind::Call(evm_address(to))),
            value: u256(tx.value),
            access_list: alloy::eips::eip2930::AccessList::default(),
            input: Bytes::copy_from_slice(&tx.calldata),
        };
        let signature = self.0.sign_hash_sync(&unsigned.signature_hash()).map_err(signing)?;
        let envelope = TxEnvelope::from(unsigned.into_signed(signature));
        Ok(SignedTransaction { hash: hash(*envelope.tx_hash()), raw: envelope.encoded_2718() })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.address())
    }
}

fn signing(error: alloy::signers::Error) -> ChainError {
    ChainError::Misuse { what: "sign", detail: error.to_string() }
}

/// EIP-1559 fees in wei per gas.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by EIP-1559")]
pub struct Fees {
    /// At most this in total.
    pub max_fee_per_gas: u128,
    /// Of it, at most this to the block's producer.
    pub max_priority_fee_per_gas: u128,
}

impl Fees {
    /// What a replacement must pay at least: nodes ask for 10 % more on both; 12.5 % and one wei is enough for all of them.
    #[must_use]
    pub fn bumped(self) -> Self {
        let bump = |fee: u128| fee.saturating_add(fee.div_ceil(8)).saturating_add(1);
        Self { max_fee_per_gas: bump(self.max_fee_per_gas), max_priority_fee_per_gas: bump(self.max_priority_fee_per_gas) }
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            max_fee_per_gas: self.max_fee_per_gas.max(other.max_fee_per_gas),
            max_priority_fee_per_gas: self.max_priority_fee_per_gas.max(other.max_priority_fee_per_gas),
        }
    }
}

/// A transaction to be signed.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by EIP-1559, without an access list")]
pub struct Transaction {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Of the sender.
    pub nonce: u64,
    /// Gas at most.
    pub gas_limit: u64,
    /// What it pays.
    pub fees: Fees,
    /// Contract or account; `None` creates a contract.
    pub to: Option<Address>,
    /// Wei sent along.
    pub value: Amount,
    /// The call, or the creation code.
    pub calldata: Vec<u8>,
}

/// Calldata may hold a payment signature, so it is not shown.
impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction(nonce {}, to {:?}, {} bytes of calldata)", self.nonce, self.to, self.calldata.len())
    }
}

/// A transaction ready for broadcast. Its hash is known before it is sent, so that it can be persisted first.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: bytes and their hash")]
pub struct SignedTransaction {
    /// Transaction hash.
    pub hash: Hash32,
    /// EIP-2718 bytes. Holds the calldata: never logged.
    pub raw: Vec<u8>,
}

impl fmt::Debug for SignedTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedTransaction({:#})", self.hash)
    }
}

/// What became of a transaction that is in a block.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransactionReceipt {
    /// Transaction hash.
    pub hash: Hash32,
    /// Who signed it.
    pub from: Address,
    /// Block number.
    pub block_number: u64,
    /// Block hash.
    pub block_hash: Hash32,
    /// Whether it succeeded; a reverted transaction is in a block too and paid its gas.
    pub is_success: bool,
    /// Gas used.
    pub gas_used: u64,
    /// Wei per gas paid.
    pub effective_gas_price: u128,
    /// Contract that it created.
    pub contract: Option<Address>,
    /// Its events.
    pub logs: Vec<LogEntry>,
}

/// One event.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogEntry {
    /// Contract that emitted it.
    pub address: Address,
    /// Topics, the event's signature hash first.
    pub topics: Vec<Hash32>,
    /// Unindexed part.
    pub data: Vec<u8>,
}

impl ChainClient {
    /// Fees that the node thinks will do, at most the ceiling of this client.
    ///
    /// # Errors
    /// `TooDear` if the next block takes nothing at the ceiling; as the transport.
    pub async fn fees(&self) -> Result<Fees, ChainError> {
        let estimate = self.within("eth_feeHistory", self.provider().estimate_eip1559_fees()).await?;
        // The base fee is the chain's, whatever an endpoint says of it; a tip is paid as it is signed.
        let tip = estimate.max_priority_fee_per_gas.min(TIP_MAX);
        let fees = Fees { max_fee_per_gas: estimate.max_fee_per_gas.max(tip), max_priority_fee_per_gas: tip };
        let Some(ceiling) = self.fee_ceiling() else { return Ok(fees) };
        // The estimate is twice the base fee and the tip: what the next block asks for is less.
        let asked = fees.max_priority_fee_per_gas.saturating_add(fees.max_fee_per_gas.saturating_sub(fees.max_priority_fee_per_gas) / 2);
        if ceiling < asked {
            return Err(ChainError::TooDear { asked, ceiling });
        }
        Ok(self.capped(fees))
    }

    /// These fees, at most the ceiling.
    #[must_use]
    pub fn capped(&self, fees: Fees) -> Fees {
        let ceiling = self.fee_ceiling().unwrap_or(u128::MAX);
        Fees { max_fee_per_gas: fees.max_fee_per_gas.min(ceiling), max_priority_fee_per_gas: fees.max_priority_fee_per_gas.min(ceiling) }
    }

    /// What a rollup takes for the data of a transaction beside its gas, in wei; zero on other chains.
    /// Source: the `GasPriceOracle` of OP-stack chains, at 0x420000000000000000000000000000000000000F.
    ///
    /// # Errors
    /// As the transport.
    pub async fn data_fee(&self, raw: &[u8]) -> Result<Amount, ChainError> {
        if !self.has_data_fee().await? {
            return Ok(Amount::ZERO);
        }
        let call = GasPriceOracle::getL1FeeCall { data: Bytes::copy_from_slice(raw) };
        self.view(&GAS_PRICE_ORACLE, &call).await.map(saturating_amount)
    }

    /// Gas that a call would use at the newest block.
    ///
    /// # Errors
    /// `Rejected` with the revert data if it would revert.
    pub async fn estimate_gas(&self, from: &Address, to: Option<&Address>, calldata: &[u8]) -> Result<u64, ChainError> {
        let request = TransactionRequest {
            from: Some(evm_address(from)),
            to: Some(to.map_or(TxKind::Create, |to| TxKind::Call(evm_address(to)))),
            input: Bytes::copy_from_slice(calldata).into(),
            value: Some(U256::ZERO),
            ..TransactionRequest::default()
        };
        self.within("eth_estimateGas", async { self.provider().estimate_gas(request).await }).await
    }

    /// Hands raw bytes to the node. A transaction that the node knows already counts as handed over.
    ///
    /// # Errors
    /// `Rejected` if the node refuses it (nonce used, no gas money); otherwise its fate is unknown until read back by hash.
    pub async fn broadcast(&self, signed: &SignedTransaction) -> Result<(), ChainError> {
        let what = "eth_sendRawTransaction";
        let sent = self.within(what, async { self.provider().send_raw_transaction(&signed.raw).await.map(|_pending| ()) }).await;
        match sent {
            Err(ChainError::Rejected { .. }) if self.knows(&signed.hash).await? => Ok(()),
            other => other,
        }
    }

    /// Whether the node has a transaction, in a block or waiting.
    ///
    /// # Errors
    /// As the transport.
    pub async fn knows(&self, tx_hash: &Hash32) -> Result<bool, ChainError> {
        let tx_hash = b256(tx_hash);
        let found = self.within("eth_getTransactionByHash", self.provider().get_transaction_by_hash(tx_hash)).await?;
        Ok(found.is_some_and(|tx| tx.tx_hash() == tx_hash))
    }

    /// The receipt of a transaction, or `None` while it is in no block.
    ///
    /// # Errors
    /// As the transport.
    pub async fn transaction_receipt(&self, tx_hash: &Hash32) -> Result<Option<TransactionReceipt>, ChainError> {
        let what = "eth_getTransactionReceipt";
        let Some(receipt) = self.within(what, self.provider().get_transaction_receipt(b256(tx_hash))).await? else { return Ok(None) };
        let (Some(block_number), Some(block_hash)) = (receipt.block_number(), receipt.block_hash()) else { return Ok(None) };
        Ok(Some(TransactionReceipt {
            hash: hash(receipt.transaction_hash()),
            from: address(receipt.from()),
            block_number,
            block_hash: hash(block_hash),
            is_success: receipt.status(),
            gas_used: receipt.gas_used(),
            effective_gas_price: receipt.effective_gas_price(),
            contract: receipt.contract_address().map(address),
            logs: receipt
                .logs()
                .iter()
                .map(|log| LogEntry {
                    address: address(log.address()),
                    topics: log.topics().iter().copied().map(hash).collect(),
                    data: log.data().data.to_vec(),
                })
                .collect(),
        }))
    }

    /// Estimates, signs, sends and waits for the block: for deployments, registrations, anchors and tests, one at a time per key.
    ///
    /// The account's next nonce at the newest block is taken, so that a transaction that got stuck is replaced and not queued behind; this one is
    /// replaced too, at a higher price, as long as no block takes it.
    ///
    /// # Errors
    /// `Rejected` if it would revert or did; `Timeout` if it is in no block after some minutes, when its fate is unknown; `TooDear`.
    pub async fn send_and_wait(&self, signer: &Signer, to: Option<&Address>, calldata: &[u8]) -> Result<TransactionReceipt, ChainError> {
        self.send_until_mined(signer, to, Amount::ZERO, calldata).await
    }

    /// The same for so much ether, in wei.
    ///
    /// # Errors
    /// As of [`Self::send_and_wait`]; `Rejected` too if the account has not that much and its gas.
    pub async fn transfer_and_wait(&self, signer: &Signer, to: &Address, wei: Amount) -> Result<TransactionReceipt, ChainError> {
        self.send_until_mined(signer, Some(to), wei, &[]).await
    }

    async fn send_until_mined(
        &self,
        signer: &Signer,
        to: Option<&Address>,
        value: Amount,
        calldata: &[u8],
    ) -> Result<TransactionReceipt, ChainError> {
        let from = signer.address();
        let gas = self.estimate_gas(&from, to, calldata).await?;
        let mut tx = Transaction {
            chain_id: self.chain_id(),
            nonce: self.nonce(&from, NonceAt::Latest).await?,
            // The state may change between estimate and block.
            gas_limit: gas.saturating_add(gas / 4),
            fees: self.fees().await?,
            to: to.copied(),
            value,
            calldata: calldata.to_vec(),
        };
        let mut sent: Vec<Hash32> = Vec::new();
        for _ in 0..=REPLACEMENTS {
            let signed = signer.sign_transaction(&tx)?;
            match self.broadcast(&signed).await {
                Ok(()) => sent.push(signed.hash),
                // What waits there pays more: another of this account, which this one replaces at its price.
                Err(error) if error.is_underpriced() => {}
                // One of ours is in a block already, or somebody else used the nonce: the receipts say which.
                Err(error) if !sent.is_empty() && !error.is_temporary() => {}
                Err(error) if sent.is_empty() => return Err(error),
                Err(_) => {}
            }
            let patience = if sent.is_empty() { Duration::ZERO } else { REPLACE_AFTER };
            if let Some(receipt) = self.first_receipt(&sent, patience).await? {
                return succeeded(receipt);
            }
            if tx.nonce < self.nonce(&from, NonceAt::Latest).await.unwrap_or(tx.nonce) {
                // In a block, ours or another of this account: one more look says which.
                if let Some(receipt) = self.first_receipt(&sent, SETTLED_LOOK).await? {
                    return succeeded(receipt);
                }
                let message = format!("another transaction of {from} took the nonce {}; send again", tx.nonce);
                return Err(ChainError::Rejected { what: "wait for a transaction", code: NONCE_TAKEN, message, data: Vec::new() });
            }
            // What is out stays out, whatever the chain asks now.
            let asked = self.fees().await.unwrap_or(tx.fees);
            tx.fees = self.capped(tx.fees.bumped().max(asked));
        }
        Err(ChainError::Timeout { what: "wait for a transaction", after: REPLACE_AFTER.saturating_mul(REPLACEMENTS.saturating_add(1)) })
    }

    /// The receipt of whichever of these is in a block; `None` after this time.
    async fn first_receipt(&self, hashes: &[Hash32], patience: Duration) -> Result<Option<TransactionReceipt>, ChainError> {
        let poll = async {
            loop {
                for hash in hashes.iter().rev() {
                    match self.transaction_receipt(hash).await {
                        Ok(Some(receipt)) => return Ok(receipt),
                        Ok(None) => {}
                        Err(error) if error.is_temporary() => {}
                        Err(error) => return Err(error),
                    }
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(patience, poll).await.ok().transpose()
    }

    /// Waits until a transaction is in a block and has succeeded.
    ///
    /// # Errors
    /// `Rejected` if it reverted, `Timeout` if it is in no block in time.
    pub async fn wait_for(&self, tx_hash: &Hash32, timeout: Duration) -> Result<TransactionReceipt, ChainError> {
        let found = self.first_receipt(&[*tx_hash], timeout).await?;
        succeeded(found.ok_or(ChainError::Timeout { what: "wait for a transaction", after: timeout })?)
    }
}

fn succeeded(receipt: TransactionReceipt) -> Result<TransactionReceipt, ChainError> {
    if receipt.is_success {
        return Ok(receipt);
    }
    let message = format!("transaction {} reverted", receipt.hash);
    Err(ChainError::Rejected { what: "wait for a transaction", code: 0, message, data: Vec::new() })
}

/// Longer than two blocks of any chain we know; then a transaction is sent again at a higher price.
const REPLACE_AFTER: Duration = Duration::from_secs(30);

/// Most that goes to a block's producer per gas before anything is replaced: an endpoint that invents tips must not burn an account. Where a chain
/// asks for more, it says "underpriced", and replacements get there.
const TIP_MAX: u128 = 10_000_000_000;

/// For a receipt that follows its block a moment later.
const SETTLED_LOOK: Duration = Duration::from_secs(2);

/// Of no node: a code for what this file says itself.
const NONCE_TAKEN: i64 = -1;

/// How often a transaction is replaced: an eighth more each time, four times the price in all.
const REPLACEMENTS: u32 = 12;

/// The embedded chain mines at once; a remote node is asked ten times a second at most while somebody waits.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
