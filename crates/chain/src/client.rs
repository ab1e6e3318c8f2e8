//! One connection to one chain: reading blocks, calling views, and a timeout around everything.
//!
//! The chain id is asked once at [`ChainClient::connect`] and compared with what the caller expects, because a transaction signed for
//! one chain and an address of another is money lost. Not here: meaning of contracts (`registry`, `contracts`), transactions (`submit`).

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use alloy::consensus::BlockHeader;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::Ethereum;
use alloy::primitives::{Bytes, TxKind};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::client::{BatchRequest, ClientBuilder, Waiter};
use alloy::rpc::types::{Filter, Log, TransactionRequest};
use alloy::sol_types::SolCall;
use alloy::transports::TransportResult;
use candor_verify::hash::keccak256;
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Amount, Hash32};
use tokio::task::JoinSet;

use crate::convert::{address, evm_address, hash, saturating_amount};
use crate::endpoint::Endpoint;
use crate::error::{ChainError, from_rpc};
use crate::health::EndpointHealth;
use crate::pool::Pool;
use crate::ranges::Width;
use crate::rpc::{Reach, Rpc};

/// Per request. A node that takes longer is as good as down, and the caller has retries of its own.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the start waits for further endpoints once enough have answered.
const LATECOMERS: Duration = Duration::from_millis(500);

/// A block's identity and time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: identity and time of a block")]
pub struct Head {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: Hash32,
    /// Unix seconds.
    pub timestamp: UnixSeconds,
}

/// Where rollups of the OP stack say what they take for data.
pub(crate) const GAS_PRICE_ORACLE: Address = {
    let mut bytes = [0; 20];
    (bytes[0], bytes[19]) = (0x42, 0x0f);
    Address(bytes)
};

/// Which blocks a chain is not expected to take back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: by depth, or as the chain says")]
pub enum Finality {
    /// So many blocks below the newest; 0 on a chain that takes none back.
    Depth(u64),
    /// What the chain calls `safe`.
    Tag,
}

/// Up to where transactions count for [`ChainClient::nonce`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: what is asked of a node")]
pub enum NonceAt {
    /// Those that wait for a block count too.
    Pending,
    /// The newest block.
    Latest,
    /// This block.
    Block(u64),
    /// What the chain calls `safe`.
    Safe,
}

/// A chain behind an RPC endpoint. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct ChainClient {
    provider: DynProvider<Ethereum>,
    endpoint: Arc<Endpoint>,
    chain_id: u64,
    timeout: Duration,
    // Addresses at which `has_code_for_good` saw code. Guarded for moments.
    with_code: Arc<Mutex<BTreeSet<Address>>>,
    width: Arc<Width>,
    // None for a provider that the caller made.
    pool: Option<Pool>,
    fee_ceiling: Option<u128>,
    // Whether the chain takes a fee for data; asked once.
    has_data_fee: Arc<OnceLock<bool>>,
    // Each endpoint alone, if there are several.
    each: Arc<[Self]>,
}

impl ChainClient {
    /// Connects over HTTP and checks the chain id: of one endpoint, or of each of several that answers. Of several it is enough that one does,
    /// or as many as must agree; the others are asked for their chain before anything else, once they answer.
    ///
    /// # Errors
    /// `Misuse` for a malformed URL, one that is not HTTP, or another chain than expected; else what the first request says. None shows
    /// more of the URL than scheme, host and port: the rest may be a key.
    pub async fn connect(rpc: impl Into<Rpc>, expected_chain_id: Option<u64>) -> Result<Self, ChainError> {
        let rpc = rpc.into();
        let reaches = rpc.reach()?;
        let alone = |reach: Reach| {
            let pool = Pool::new(std::slice::from_ref(&reach), 1, &Arc::default());
            Self::over(pool, reach.endpoint, reach.is_local)
        };
        if reaches.len() == 1 {
            let client = reaches.into_iter().next().map(alone).ok_or(ChainError::Misuse { what: "connect", detail: String::new() })?;
            return client.of_chain(expected_chain_id).await;
        }
        let chain_id = Arc::new(OnceLock::new());
        let pool = Pool::new(&reaches, rpc.agree, &chain_id);
        let endpoint = Endpoint::all(reaches.iter().map(|reach| &reach.endpoint));
        let is_local = reaches.iter().all(|reach| reach.is_local);
        let mut each: Vec<Self> = reaches.into_iter().map(alone).collect();
        let got = one_chain(&each, rpc.agree, expected_chain_id).await?;
        each.iter_mut().for_each(|client| client.chain_id = got);
        let _first = chain_id.set(got);
        let client = Self::over(pool, endpoint, is_local);
        Ok(Self { chain_id: got, each: each.into(), ..client })
    }

    /// Takes any alloy provider, for example the in-process development chain, and checks the chain id.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn from_provider(provider: impl Provider<Ethereum> + 'static, expected_chain_id: Option<u64>) -> Result<Self, ChainError> {
        Self::new(provider, Endpoint::given(), None).of_chain(expected_chain_id).await
    }

    fn over(pool: Pool, endpoint: Endpoint, is_local: bool) -> Self {
        let client = ClientBuilder::default().transport(pool.clone(), is_local);
        Self::new(ProviderBuilder::default().connect_client(client), endpoint, Some(pool))
    }

    fn new(provider: impl Provider<Ethereum> + 'static, endpoint: Endpoint, pool: Option<Pool>) -> Self {
        Self {
            provider: provider.erased(),
            endpoint: Arc::new(endpoint),
            chain_id: 0,
            timeout: DEFAULT_TIMEOUT,
            with_code: Arc::default(),
            width: Arc::default(),
            pool,
            fee_ceiling: None,
            has_data_fee: Arc::default(),
            each: Arc::default(),
        }
    }

    async fn of_chain(self, expected: Option<u64>) -> Result<Self, ChainError> {
        let chain_id = one_chain(std::slice::from_ref(&self), 1, expected).await?;
        Ok(Self { chain_id, ..self })
    }

    /// Each endpoint alone, in the order in which they were named.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Self> {
        if self.each.is_empty() { vec![self.clone()] } else { self.each.to_vec() }
    }

    /// How many endpoints must give the same answer.
    #[must_use]
    pub fn agree(&self) -> usize {
        self.pool.as_ref().map_or(1, Pool::agree)
    }

    /// How many endpoints there are, and how many of them are not left out for a while because they failed.
    #[must_use]
    pub fn health(&self) -> (usize, usize) {
        self.pool.as_ref().map_or((1, 1), Pool::health)
    }

    /// How each endpoint does, in the order in which they were named; none for a provider that the caller made.
    #[must_use]
    pub fn endpoints_health(&self) -> Vec<EndpointHealth> {
        self.pool.as_ref().map(Pool::each).unwrap_or_default()
    }

    /// The same connection with another timeout per request.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same connection, with transactions that pay at most so many wei per gas.
    #[must_use]
    pub fn with_fee_ceiling(self, wei_per_gas: u128) -> Self {
        Self { fee_ceiling: Some(wei_per_gas), ..self }
    }

    pub(crate) fn fee_ceiling(&self) -> Option<u128> {
        self.fee_ceiling
    }

    pub(crate) async fn has_data_fee(&self) -> Result<bool, ChainError> {
        if let Some(known) = self.has_data_fee.get() {
            return Ok(*known);
        }
        let found = self.has_code(&GAS_PRICE_ORACLE).await?;
        Ok(*self.has_data_fee.get_or_init(|| found))
    }

    /// EIP-155 chain id, as checked at the start.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The chain id as the endpoint says it now: what it leads to may have changed since the start.
    ///
    /// # Errors
    /// As the transport.
    pub async fn chain_id_now(&self) -> Result<u64, ChainError> {
        self.within("eth_chainId", self.provider.get_chain_id()).await
    }

    /// What the endpoint is called in front of people: scheme, host and port. The rest of its URL may be a key.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.endpoint.name()
    }

    /// The newest block.
    ///
    /// # Errors
    /// As the transport.
    pub async fn head(&self) -> Result<Head, ChainError> {
        self.block(BlockNumberOrTag::Latest).await?.ok_or(ChainError::Malformed { what: "newest block", detail: "none".to_owned() })
    }

    /// A block by its number, or `None` if the chain has none such.
    ///
    /// # Errors
    /// As the transport.
    pub async fn block_by_number(&self, number: u64) -> Result<Option<Head>, ChainError> {
        self.block(BlockNumberOrTag::Number(number)).await
    }

    /// The newest block that the chain will not take back.
    ///
    /// # Errors
    /// As the transport; chains without finality refuse.
    pub async fn finalized(&self) -> Result<Head, ChainError> {
        self.block(BlockNumberOrTag::Finalized).await?.ok_or(ChainError::Malformed { what: "finalized block", detail: "none".to_owned() })
    }

    /// The newest block that the chain is not expected to take back.
    ///
    /// # Errors
    /// As the transport; chains without the tag refuse.
    pub async fn safe(&self, finality: Finality) -> Result<Head, ChainError> {
        let none = |what| ChainError::Malformed { what, detail: "none".to_owned() };
        match finality {
            Finality::Depth(0) => self.head().await,
            Finality::Depth(depth) => {
                let number = self.head().await?.number.saturating_sub(depth);
                self.block_by_number(number).await?.ok_or_else(|| none("block"))
            }
            Finality::Tag => self.block(BlockNumberOrTag::Safe).await?.ok_or_else(|| none("safe block")),
        }
    }

    /// By what this chain says which blocks are safe: its own word, or this depth where it has none.
    ///
    /// # Errors
    /// As the transport.
    pub async fn finality(&self, depth: u64) -> Result<Finality, ChainError> {
        match self.block(BlockNumberOrTag::Safe).await {
            Ok(Some(_)) => Ok(Finality::Tag),
            Ok(None) => Ok(Finality::Depth(depth)),
            Err(error) if error.is_of_tag() => Ok(Finality::Depth(depth)),
            // Whatever else is said must not make the chain less final for as long as this program runs.
            Err(error) => Err(error),
        }
    }

    async fn block(&self, at: BlockNumberOrTag) -> Result<Option<Head>, ChainError> {
        let block = self.within("eth_getBlockByNumber", async { self.provider.get_block_by_number(at).await }).await?;
        Ok(block.map(|block| Head {
            chain_id: self.chain_id,
            number: block.header.number(),
            hash: hash(block.header.hash),
            timestamp: UnixSeconds(block.header.timestamp()),
        }))
    }

    /// Wei of an account.
    ///
    /// # Errors
    /// As the transport.
    pub async fn native_balance(&self, who: &Address) -> Result<Amount, ChainError> {
        let who = evm_address(who);
        self.within("eth_getBalance", async { self.provider.get_balance(who).await }).await.map(saturating_amount)
    }

    /// Whether there is code at an address.
    ///
    /// # Errors
    /// As the transport.
    pub async fn has_code(&self, at: &Address) -> Result<bool, ChainError> {
        let at = evm_address(at);
        let code = self.within("eth_getCode", async { self.provider.get_code_at(at).await }).await?;
        Ok(!code.is_empty())
    }

    /// keccak256 of the code at an address; `None` if there is none.
    ///
    /// # Errors
    /// As the transport.
    pub async fn code_hash(&self, at: &Address) -> Result<Option<Hash32>, ChainError> {
        let at = evm_address(at);
        let code = self.within("eth_getCode", async { self.provider.get_code_at(at).await }).await?;
        Ok((!code.is_empty()).then(|| keccak256(&[&code])))
    }

    /// The same for a contract that is asked about again and again: code that was seen once is not asked for any more. For addresses of the
    /// operator's choice, which are few; a token that destroys itself would be noticed by its views.
    pub(crate) async fn has_code_for_good(&self, at: &Address) -> Result<bool, ChainError> {
        let seen = || self.with_code.lock().unwrap_or_else(PoisonError::into_inner);
        if seen().contains(at) {
            return Ok(true);
        }
        let has_code = self.has_code(at).await?;
        if has_code {
            seen().insert(*at);
        }
        Ok(has_code)
    }

    /// Calls a contract at the newest block without changing it.
    ///
    /// # Errors
    /// `Rejected` with the revert data if it reverts.
    pub async fn call(&self, to: &Address, calldata: &[u8]) -> Result<Vec<u8>, ChainError> {
        self.call_at(to, calldata, BlockId::latest()).await
    }

    /// Tries a call at the newest block with so much gas; what it returns, `None` if it reverts.
    ///
    /// # Errors
    /// As the transport.
    pub async fn try_call(&self, from: &Address, to: &Address, calldata: &[u8], gas: u64) -> Result<Option<Vec<u8>>, ChainError> {
        let request = TransactionRequest { gas: Some(gas), ..call_request(Some(from), to, calldata) };
        match self.within("eth_call", async { self.provider.call(request).block(BlockId::latest()).await }).await {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(error) if error.is_revert() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn call_at(&self, to: &Address, calldata: &[u8], at: BlockId) -> Result<Vec<u8>, ChainError> {
        let request = call_request(None, to, calldata);
        self.within("eth_call", async { self.provider.call(request).block(at).await }).await.map(|bytes| bytes.to_vec())
    }

    /// Calls a view at the newest block and decodes what it returns.
    pub(crate) async fn view<C: SolCall>(&self, to: &Address, call: &C) -> Result<C::Return, ChainError> {
        self.view_at(to, call, BlockId::latest()).await
    }

    /// Calls a view at a block and decodes what it returns.
    pub(crate) async fn view_at<C: SolCall>(&self, to: &Address, call: &C, at: BlockId) -> Result<C::Return, ChainError> {
        let bytes = self.call_at(to, &call.abi_encode(), at).await?;
        self.returned::<C>(to, &bytes)
    }

    /// Calls two views of one contract at the newest block, in one batch.
    pub(crate) async fn two_views<A: SolCall, B: SolCall>(
        &self,
        to: &Address,
        (first, second): (&A, &B),
    ) -> Result<(A::Return, B::Return), ChainError> {
        let mut answers = self.views(&[(to, first.abi_encode()), (to, second.abi_encode())]).await?.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Ok(Vec::new()));
        let (first, second) = (next()?, next()?);
        Ok((self.returned::<A>(to, &first)?, self.returned::<B>(to, &second)?))
    }

    /// Calls views at the newest block, in one batch (JSON-RPC 2.0 §6). Each has an answer or an error of its own.
    pub(crate) async fn views(&self, calls: &[(&Address, Vec<u8>)]) -> Result<Vec<Result<Vec<u8>, ChainError>>, ChainError> {
        let (what, mut batch) = ("eth_call", BatchRequest::new(self.provider.client()));
        let mut waiting: Vec<Waiter<Bytes>> = Vec::with_capacity(calls.len());
        for (to, calldata) in calls {
            let added = batch.add_call(what, &(call_request(None, to, calldata), BlockId::latest()));
            waiting.push(added.map_err(|error| from_rpc(what, error, &self.endpoint))?);
        }
        let sending = batch.send();
        let answers = async {
            sending.await?;
            let mut answers = Vec::with_capacity(waiting.len());
            for answer in waiting {
                answers.push(answer.await);
            }
            TransportResult::Ok(answers)
        };
        let answers = self.within(what, answers).await?;
        Ok(answers
            .into_iter()
            .map(|answer| answer.map(|bytes| bytes.to_vec()).map_err(|error| from_rpc(what, error, &self.endpoint)))
            .collect())
    }

    /// What a view returned.
    pub(crate) fn returned<C: SolCall>(&self, to: &Address, bytes: &[u8]) -> Result<C::Return, ChainError> {
        C::abi_decode_returns_validate(bytes).map_err(|error| ChainError::Malformed {
            what: C::SIGNATURE,
            // An address without code answers every call with nothing.
            detail: match bytes.is_empty() {
                true => format!("nothing; is there a contract at {to}?"),
                false => self.endpoint.redact(&error.to_string()),
            },
        })
    }

    /// Blocks per question about events, as far as this endpoint is known.
    pub(crate) fn width(&self) -> &Width {
        &self.width
    }

    pub(crate) async fn logs(&self, filter: &Filter) -> Result<Vec<Log>, ChainError> {
        self.within("eth_getLogs", async { self.provider.get_logs(filter).await }).await
    }

    pub(crate) fn provider(&self) -> &DynProvider<Ethereum> {
        &self.provider
    }

    /// Runs one request within the timeout.
    pub(crate) async fn within<T>(&self, what: &'static str, request: impl Future<Output = TransportResult<T>>) -> Result<T, ChainError> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(from_rpc(what, error, &self.endpoint)),
            Err(_elapsed) => Err(ChainError::Timeout { what, after: self.timeout }),
        }
    }

    /// How many transactions an account has sent: its next nonce.
    ///
    /// # Errors
    /// As the transport.
    pub async fn nonce(&self, who: &Address, at: NonceAt) -> Result<u64, ChainError> {
        let who = evm_address(who);
        let at = match at {
            NonceAt::Pending => BlockId::pending(),
            NonceAt::Latest => BlockId::latest(),
            NonceAt::Block(number) => BlockId::number(number),
            NonceAt::Safe => BlockId::safe(),
        };
        self.within("eth_getTransactionCount", async { self.provider.get_transaction_count(who).block_id(at).await }).await
    }

    /// The node's own accounts are never used: what it says here is only shown.
    ///
    /// # Errors
    /// As the transport.
    pub async fn accounts(&self) -> Result<Vec<Address>, ChainError> {
        let accounts = self.within("eth_accounts", async { self.provider.get_accounts().await }).await?;
        Ok(accounts.into_iter().map(address).collect())
    }
}

fn call_request(from: Option<&Address>, to: &Address, calldata: &[u8]) -> TransactionRequest {
    TransactionRequest {
        from: from.map(evm_address),
        to: Some(TxKind::Call(evm_address(to))),
        input: Bytes::copy_from_slice(calldata).into(),
        ..TransactionRequest::default()
    }
}

/// The chain of these endpoints: the expected one, or that of the first that answers.
async fn one_chain(each: &[ChainClient], agree: usize, expected: Option<u64>) -> Result<u64, ChainError> {
    let mut asked = JoinSet::new();
    for client in each.iter().cloned() {
        asked.spawn(async move { (client.chain_id_now().await, client) });
    }
    let (mut chain_id, mut answered, mut failed) = (expected, 0, None);
    loop {
        // Whoever is slow while enough have answered is asked later.
        let next = match answered < agree {
            true => asked.join_next().await,
            false => tokio::time::timeout(LATECOMERS, asked.join_next()).await.ok().flatten(),
        };
        let Some(Ok((got, client))) = next else { break };
        match got {
            Ok(got) => {
                answered += 1;
                let expected = *chain_id.get_or_insert(got);
                if expected != got {
                    let detail = format!("expected chain {expected}, {} is of chain {got}", client.endpoint());
                    return Err(ChainError::Misuse { what: "connect", detail });
                }
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match (chain_id, failed) {
        (Some(chain_id), _) if agree <= answered => Ok(chain_id),
        (_, Some(error)) => Err(error),
        (_, None) => Err(ChainError::Misuse { what: "connect", detail: "no endpoint is named".to_owned() }),
    }
}

/// The provider would show its URL.
impl fmt::Debug for ChainClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainClient(chain {} at {})", self.chain_id, self.endpoint.name())
    }
}
