//! Payments on their chain: what a payer has, whether a nonce is used, and in which transaction the money moved. What is asked for which scheme
//! `candor_verify::scheme` says.
//!
//! Anyone may submit a signed transfer, so a used nonce is not a failure until the event says who moved what.

use std::ops::RangeInclusive;

use alloy::eips::BlockId;
use alloy::rpc::types::Filter;
use alloy::sol_types::{SolCall, SolEvent};
use candor_verify::scheme::{Log, LogQuestion, NonceQuestion, PERMIT2, Scheme, Transfer};
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Amount, Hash32};

use crate::bindings::{ForwarderFactory, TestUSD};
use crate::client::{ChainClient, Head};
use crate::convert::{address, b256, evm_address, hash, saturating_amount, u256};
use crate::error::ChainError;
use crate::submit::TransactionReceipt;

/// Newest blocks that are looked at first: most authorizations were used a moment ago.
const NEWEST: u64 = 1_000;

/// What the chain says about a payer, each at the block that was newest when it was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: one answer")]
pub struct PayerState {
    /// Whether there is code at the token's address. Without code the rest is zero.
    pub asset_has_code: bool,
    /// Token balance, at most 2^128 − 1.
    pub balance: Amount,
    /// How much of it Permit2 may move, at most 2^128 − 1; zero if the scheme has no use for it.
    pub allowance: Amount,
    /// The payer's next nonce for EIP-2612 permits; `None` if the scheme has no use for it, or the token takes none.
    pub permit_nonce: Option<u64>,
    /// Whether the nonce is used or cancelled.
    pub nonce_used: bool,
}

/// What a token says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: one answer")]
pub struct TokenWords {
    /// `name()`.
    pub name: String,
    /// `symbol()`.
    pub symbol: String,
    /// `decimals()`.
    pub decimals: u8,
}

/// Longest name or symbol of a token that is passed on, in characters: theirs fill no screen.
const WORD_CHARS_MAX: usize = 64;

/// Where an event is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a transaction and its block")]
pub struct LogPosition {
    /// Transaction hash.
    pub tx_hash: Hash32,
    /// Block number.
    pub block_number: u64,
}

impl ChainClient {
    /// Code, until some was seen there; then balance, nonce and what the scheme needs besides in one request.
    ///
    /// # Errors
    /// As the transport; `Malformed` if the token answers otherwise than tokens do; `Misuse` for a scheme without nonces.
    pub async fn payer_state(&self, scheme: Scheme, asset: &Address, payer: &Address, nonce: &Hash32) -> Result<PayerState, ChainError> {
        let nothing =
            PayerState { asset_has_code: false, balance: Amount::ZERO, allowance: Amount::ZERO, permit_nonce: None, nonce_used: false };
        let question = NonceQuestion::of(scheme, asset, payer, nonce)
            .ok_or(ChainError::Misuse { what: "scheme", detail: format!("{} has no nonces", scheme.as_str()) })?;
        if !self.has_code_for_good(asset).await? {
            return Ok(nothing);
        }
        let balance = TestUSD::balanceOfCall { account: evm_address(payer) };
        let mut calls = vec![(asset, balance.abi_encode()), (&question.to, question.calldata.clone())];
        if scheme.needs_allowance() {
            let allowance = TestUSD::allowanceCall { owner: evm_address(payer), spender: evm_address(&PERMIT2) };
            calls.extend([(asset, allowance.abi_encode()), (asset, TestUSD::noncesCall { owner: evm_address(payer) }.abi_encode())]);
        }
        let mut answers = self.views(&calls).await?.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Ok(Vec::new()));
        let balance = saturating_amount(self.returned::<TestUSD::balanceOfCall>(asset, &next()?)?);
        let nonce_used = is_used(&question, &next()?)?;
        let (mut allowance, mut permit_nonce) = (Amount::ZERO, None);
        if scheme.needs_allowance() {
            allowance = saturating_amount(self.returned::<TestUSD::allowanceCall>(asset, &next()?)?);
            // A token without permits has no such function.
            permit_nonce = match next() {
                Ok(word) => self.returned::<TestUSD::noncesCall>(asset, &word).ok().and_then(|nonce| nonce.try_into().ok()),
                Err(error) if error.is_revert() => None,
                Err(error) => return Err(error),
            };
        }
        Ok(PayerState { asset_has_code: true, balance, allowance, permit_nonce, nonce_used })
    }

    /// Token balance, at most 2^128 − 1.
    ///
    /// # Errors
    /// As the transport.
    pub async fn token_balance(&self, asset: &Address, who: &Address) -> Result<Amount, ChainError> {
        self.view(asset, &TestUSD::balanceOfCall { account: evm_address(who) }).await.map(saturating_amount)
    }

    /// Where payments to a payee's forwarder lie, by the factory that makes it; whether it is made yet or not.
    ///
    /// # Errors
    /// As the transport; `Malformed` if there is no such factory.
    pub async fn forwarder_of(&self, factory: &Address, payee: &Address) -> Result<Address, ChainError> {
        self.view(factory, &ForwarderFactory::forwarderOfCall { payee: evm_address(payee) }).await.map(address)
    }

    /// The hash of a token's EIP-712 domain, and its decimals.
    ///
    /// # Errors
    /// As the transport; `Malformed` if the token answers otherwise than EIP-3009 tokens do.
    pub async fn token_domain(&self, asset: &Address) -> Result<(Hash32, u8), ChainError> {
        let (separator, decimals) = self.two_views(asset, (&TestUSD::DOMAIN_SEPARATORCall {}, &TestUSD::decimalsCall {})).await?;
        Ok((hash(separator), decimals))
    }

    /// What a token calls itself, and its decimals: its own words, which anybody can give a token of theirs. Cut to 64 characters.
    ///
    /// # Errors
    /// As the transport; `Malformed` if the token answers otherwise than tokens do.
    pub async fn token_words(&self, asset: &Address) -> Result<TokenWords, ChainError> {
        let short = |text: String| text.chars().take(WORD_CHARS_MAX).collect::<String>();
        let (name, symbol) = self.two_views(asset, (&TestUSD::nameCall {}, &TestUSD::symbolCall {})).await?;
        let decimals = self.view(asset, &TestUSD::decimalsCall {}).await?;
        Ok(TokenWords { name: short(name), symbol: short(symbol), decimals })
    }

    /// Whether a nonce is used or cancelled.
    ///
    /// # Errors
    /// As the transport; `Malformed` if the contract answers no word.
    pub async fn is_nonce_used(&self, question: &NonceQuestion) -> Result<bool, ChainError> {
        is_used(question, &self.call(&question.to, &question.calldata).await?)
    }

    /// Whether a nonce was used or cancelled at a block.
    ///
    /// # Errors
    /// As [`Self::is_nonce_used`]; nodes that keep no old states refuse old blocks.
    pub async fn is_nonce_used_at(&self, question: &NonceQuestion, at: &Head) -> Result<bool, ChainError> {
        is_used(question, &self.call_at(&question.to, &question.calldata, BlockId::number(at.number)).await?)
    }

    /// The transaction that used or cancelled the nonce of a payment, searched in the newest blocks and in those of `time`, outside of which it
    /// cannot have been used, however long the chain is.
    ///
    /// # Errors
    /// As the transport.
    pub async fn nonce_ended(&self, transfer: &Transfer, time: RangeInclusive<UnixSeconds>) -> Result<Option<LogPosition>, ChainError> {
        let head = self.head().await?.number;
        let newest = head.saturating_sub(NEWEST - 1);
        let [used, cancelled] = transfer.end_questions();
        if let Some(found) = self.nonce_ended_in(transfer, &used, newest..=head).await? {
            return Ok(Some(found));
        }
        let first = self.first_block_from(*time.start(), newest).await?;
        let after = self.first_block_from(time.end().saturating_add(1), newest).await?;
        let older = after.checked_sub(1).filter(|last| first <= *last).map(|last| first..=last);
        // Attack: an owner can tell Permit2 to cancel a nonce that was used long ago, and it says that it did. So what uses goes before.
        for (question, blocks) in [(&used, older.clone()), (&cancelled, Some(newest..=head)), (&cancelled, older)] {
            if let Some(blocks) = blocks
                && let Some(found) = self.nonce_ended_in(transfer, question, blocks).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first block of this time or later, at most `highest`: a question per bit of the block number.
    async fn first_block_from(&self, time: UnixSeconds, highest: u64) -> Result<u64, ChainError> {
        let (mut low, mut high) = (0, highest);
        while low < high {
            let middle = low + (high - low) / 2;
            let is_before = self.block_by_number(middle).await?.is_some_and(|block| block.timestamp < time);
            if is_before { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    async fn nonce_ended_in(
        &self,
        transfer: &Transfer,
        question: &LogQuestion,
        blocks: RangeInclusive<u64>,
    ) -> Result<Option<LogPosition>, ChainError> {
        let LogQuestion { address, topics: [event, second, third] } = question;
        let mut filter = Filter::new().address(evm_address(address));
        if let Some(event) = event {
            filter = filter.event_signature(b256(event));
        }
        if let Some(topic) = second {
            filter = filter.topic1(b256(topic));
        }
        if let Some(topic) = third {
            filter = filter.topic2(b256(topic));
        }
        let logs = self.logs_in(&filter, blocks).await?;
        // A node that ignores the filter must not make us believe somebody else's transfer.
        let is_wanted = |log: &&alloy::rpc::types::Log| transfer.is_ended_by(&plain(log));
        let position =
            |log: &alloy::rpc::types::Log| Some(LogPosition { tx_hash: hash(log.transaction_hash?), block_number: log.block_number? });
        Ok(logs.iter().filter(is_wanted).find_map(position))
    }
}

fn is_used(question: &NonceQuestion, answer: &[u8]) -> Result<bool, ChainError> {
    let malformed = || ChainError::Malformed { what: question.what, detail: format!("{} bytes of {}", answer.len(), question.to) };
    question.is_used(answer).ok_or_else(malformed)
}

fn plain(log: &alloy::rpc::types::Log) -> Log {
    Log { address: address(log.address()), topics: log.topics().iter().map(|topic| hash(*topic)).collect(), data: log.data().data.to_vec() }
}

impl TransactionReceipt {
    /// Whether this successful transaction emitted `Transfer(from, to, value)` of `asset`.
    #[must_use]
    pub fn has_transfer(&self, asset: &Address, from: &Address, to: &Address, value: Amount) -> bool {
        let topics = [Hash32(TestUSD::Transfer::SIGNATURE_HASH.0), hash(evm_address(from).into_word()), hash(evm_address(to).into_word())];
        let data = u256(value).to_be_bytes::<32>();
        self.is_success && self.logs.iter().any(|log| log.address == *asset && log.topics == topics && log.data == data)
    }
}

/// Calldata for a forwarder's factory: what lies at the payee's forwarder goes to the payee. Makes the forwarder if need be.
#[must_use]
pub fn sweep_calldata(payee: &Address, token: &Address) -> Vec<u8> {
    ForwarderFactory::sweepCall { payee: evm_address(payee), token: evm_address(token) }.abi_encode()
}

/// Calldata of `mint(to, value)` of the development token, which anyone may call.
#[must_use]
pub fn mint_calldata(to: &Address, value: Amount) -> Vec<u8> {
    TestUSD::mintCall { to: evm_address(to), value: u256(value) }.abi_encode()
}
