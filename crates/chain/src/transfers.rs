//! Tokens with EIP-3009: what a payer has, whether a nonce is used, and in which transaction the money moved.
//!
//! Anyone may submit a signed transfer, so a used nonce is not a failure until the event says who moved what.

use std::ops::RangeInclusive;

use alloy::eips::BlockId;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::{SolCall, SolEvent};
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
    /// Code, until some was seen there; then balance and nonce in one request.
    ///
    /// # Errors
    /// As the transport; `Malformed` if the token answers otherwise than EIP-3009 tokens do.
    pub async fn payer_state(&self, asset: &Address, payer: &Address, nonce: &Hash32) -> Result<PayerState, ChainError> {
        if !self.has_code_for_good(asset).await? {
            return Ok(PayerState { asset_has_code: false, balance: Amount::ZERO, nonce_used: false });
        }
        let balance = TestUSD::balanceOfCall { account: evm_address(payer) };
        let used = TestUSD::authorizationStateCall { authorizer: evm_address(payer), nonce: b256(nonce) };
        let (balance, nonce_used) = self.two_views(asset, (&balance, &used)).await?;
        Ok(PayerState { asset_has_code: true, balance: saturating_amount(balance), nonce_used })
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

    /// Whether an EIP-3009 nonce is used or cancelled.
    ///
    /// # Errors
    /// As the transport.
    pub async fn is_authorization_used(&self, asset: &Address, payer: &Address, nonce: &Hash32) -> Result<bool, ChainError> {
        self.view(asset, &TestUSD::authorizationStateCall { authorizer: evm_address(payer), nonce: b256(nonce) }).await
    }

    /// Whether an EIP-3009 nonce was used or cancelled at a block.
    ///
    /// # Errors
    /// As the transport; nodes that keep no old states refuse old blocks.
    pub async fn is_authorization_used_at(&self, asset: &Address, payer: &Address, nonce: &Hash32, at: &Head) -> Result<bool, ChainError> {
        let call = TestUSD::authorizationStateCall { authorizer: evm_address(payer), nonce: b256(nonce) };
        self.view_at(asset, &call, BlockId::number(at.number)).await
    }

    /// The transaction that ended a nonce (`AuthorizationUsed` or `AuthorizationCanceled`), searched in the newest blocks and in those of
    /// `time`, outside of which the authorization cannot have been used, however long the chain is.
    ///
    /// # Errors
    /// As the transport.
    pub async fn authorization_ended(
        &self,
        asset: &Address,
        payer: &Address,
        nonce: &Hash32,
        time: RangeInclusive<UnixSeconds>,
    ) -> Result<Option<LogPosition>, ChainError> {
        let head = self.head().await?.number;
        let newest = head.saturating_sub(NEWEST - 1);
        if let Some(found) = self.authorization_ended_in(asset, payer, nonce, newest..=head).await? {
            return Ok(Some(found));
        }
        let first = self.first_block_from(*time.start(), newest).await?;
        let after = self.first_block_from(time.end().saturating_add(1), newest).await?;
        match after.checked_sub(1) {
            Some(last) if first <= last => self.authorization_ended_in(asset, payer, nonce, first..=last).await,
            _ => Ok(None),
        }
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

    async fn authorization_ended_in(
        &self,
        asset: &Address,
        payer: &Address,
        nonce: &Hash32,
        blocks: RangeInclusive<u64>,
    ) -> Result<Option<LogPosition>, ChainError> {
        let events = [TestUSD::AuthorizationUsed::SIGNATURE_HASH, TestUSD::AuthorizationCanceled::SIGNATURE_HASH];
        let (payer, nonce) = (evm_address(payer).into_word(), b256(nonce));
        let filter = Filter::new().address(evm_address(asset)).event_signature(events.to_vec()).topic1(payer).topic2(nonce);
        let logs = self.logs_in(&filter, blocks).await?;
        // A node that ignores the filter must not make us believe somebody else's transfer.
        let is_wanted = |log: &&Log| {
            let topics = log.topics();
            log.address() == evm_address(asset) && events.iter().any(|event| topics == [*event, payer, nonce])
        };
        Ok(logs
            .iter()
            .filter(is_wanted)
            .find_map(|log| Some(LogPosition { tx_hash: hash(log.transaction_hash?), block_number: log.block_number? })))
    }
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
