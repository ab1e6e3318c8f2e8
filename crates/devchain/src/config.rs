//! What a development chain starts from: its chain id, its clock, how it makes blocks and what exists at genesis.
//!
//! A development chain must never be mistaken for a real one, so the chain id is checked against a closed list: the usual
//! local id, and public *test* networks whose id a payment test may need (x402 interoperability wants 84532). Main networks
//! are refused by name. Nothing is read from files or the environment here.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use alloy::primitives::{Address, Bytes, U256, address, hex};
use revm::bytecode::Bytecode;

use crate::dev_accounts;

/// The chain id of local development chains everywhere.
pub const DEFAULT_CHAIN_ID: u64 = 31337;

/// How a [`DevChain`](crate::DevChain) starts.
///
/// Any combination of values is well formed; [`DevChain::new`](crate::DevChain::new) decides whether it is allowed.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain id that transactions must be signed for; see [`check_chain_id`].
    pub chain_id: u64,
    /// Timestamp of block 0 in Unix seconds; `None` takes it from the clock.
    pub genesis_timestamp: Option<u64>,
    /// Accounts that exist in block 0.
    pub genesis: Vec<GenesisAccount>,
    /// Where later block times come from.
    pub clock: Clock,
    /// When blocks are made.
    pub mining: Mining,
    /// How the base fee goes on from block to block.
    pub base_fee: BaseFee,
    /// How far `safe` and `finalized` are behind the head.
    pub finality: FinalityLag,
    /// Whether HTTP requests with `Origin: null` are answered: from pages opened from files, and from sandboxed frames in any page.
    pub lets_in_null_origin: bool,
}

/// Where nearly every chain has it.
const DETERMINISTIC_DEPLOYER: Address = address!("4e59b44847b379578588920ca78fbf26c0b4956c");

/// Its 69 bytes.
const DEPLOYER_CODE: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// 10,000 ether, in wei.
const FUNDS: U256 = U256::from_limbs([0x19e0_c9ba_b240_0000, 0x21e, 0, 0]);

impl Config {
    /// Adds the ten [`dev_accounts`], each with 10,000 ether, and the deterministic deployer, which other development chains have from the
    /// first block on too (github.com/Arachnid/deterministic-deployment-proxy: CREATE2 of the calldata behind its first word, the salt).
    ///
    /// # Security
    /// Their private keys are public knowledge.
    #[must_use]
    pub fn with_dev_accounts(mut self) -> Self {
        self.genesis.extend(dev_accounts::ALL.map(|account| GenesisAccount::funded(account.address, FUNDS)));
        self.with_deterministic_deployer()
    }

    /// Adds the deterministic deployer alone, as test networks have it.
    #[must_use]
    pub fn with_deterministic_deployer(self) -> Self {
        self.with_contract(DETERMINISTIC_DEPLOYER, Bytes::from_static(&DEPLOYER_CODE), Vec::new())
    }

    /// Adds an account of the caller's with 10,000 ether.
    #[must_use]
    pub fn with_funded(mut self, account: [u8; 20]) -> Self {
        self.genesis.push(GenesisAccount::funded(account.into(), FUNDS));
        self
    }

    /// Adds a contract: code and storage at a fixed address, with no constructor run.
    #[must_use]
    pub fn with_contract(mut self, address: Address, code: Bytes, storage: Vec<(U256, U256)>) -> Self {
        self.genesis.push(GenesisAccount { address, balance: U256::ZERO, code, storage });
        self
    }
}

impl Default for Config {
    /// Chain 31337 on the system clock with nothing in it; each transaction is a final block at once, at 1 gwei.
    fn default() -> Self {
        Self {
            chain_id: DEFAULT_CHAIN_ID,
            genesis_timestamp: None,
            genesis: Vec::new(),
            clock: Clock::System,
            mining: Mining::Instant,
            base_fee: BaseFee::Fixed,
            finality: FinalityLag::default(),
            lets_in_null_origin: false,
        }
    }
}

/// One account of block 0. An account with code starts with nonce 1, as a deployed contract does (EIP-161).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GenesisAccount {
    /// Where.
    pub address: Address,
    /// In wei.
    pub balance: U256,
    /// Runtime code; empty for a plain account.
    pub code: Bytes,
    /// Storage slots and their values.
    pub storage: Vec<(U256, U256)>,
}

impl GenesisAccount {
    /// A plain account with `balance` wei.
    #[must_use]
    pub const fn funded(address: Address, balance: U256) -> Self {
        Self { address, balance, code: Bytes::new(), storage: Vec::new() }
    }
}

/// Where block times come from. This list is complete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Clock {
    /// The machine's clock plus whatever time travel added; never earlier than the previous block.
    #[default]
    System,
    /// Stands still at the genesis timestamp until `evm_increaseTime` or `evm_setNextBlockTimestamp`: for tests that must give
    /// the same hashes on each run.
    Manual,
}

/// When blocks are made. This list is complete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mining {
    /// Each accepted transaction is a block at once; there is nothing to wait for, and no pool.
    #[default]
    Instant,
    /// Transactions wait in a pool until [`DevChain::mine`](crate::DevChain::mine) or `evm_mine`: for tests, which then wait on no clock.
    Manual,
    /// As [`Mining::Manual`], and [`serve`](crate::serve) makes a block each time this has passed (at least [`MIN_BLOCK_INTERVAL`]). A chain
    /// that is not served makes none by itself: [`SharedChain::make_blocks`](crate::SharedChain::make_blocks) does.
    Every(Duration),
}

/// The shortest time between blocks made by the clock: shorter ones would keep the chain's lock for themselves.
pub const MIN_BLOCK_INTERVAL: Duration = Duration::from_millis(10);

/// How the base fee goes on from block to block. This list is complete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BaseFee {
    /// Each block has that of the block before it.
    #[default]
    Fixed,
    /// By EIP-1559: up to an eighth more after a block that is more than half full, up to an eighth less after one that is less.
    Moving,
}

/// How many blocks the tags `safe` and `finalized` are behind the head, in every method that takes a tag.
///
/// Any numbers are well formed; `finalized` may not be ahead of `safe`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FinalityLag {
    /// Blocks from the head to `safe`.
    pub safe_lag: u64,
    /// Blocks from the head to `finalized`.
    pub finalized_lag: u64,
}

/// Whether a development chain may use `chain_id`.
///
/// # Errors
/// [`ConfigError::Mainnet`] for a network where coins have value, [`ConfigError::UnknownChain`] for an id not listed.
///
/// # Examples
/// ```
/// use candor_devchain::{ConfigError, check_chain_id};
/// assert!(check_chain_id(31337).is_ok());
/// assert_eq!(check_chain_id(8453), Err(ConfigError::Mainnet { chain_id: 8453, name: "Base" }));
/// ```
pub fn check_chain_id(chain_id: u64) -> Result<(), ConfigError> {
    if let Some((_, name)) = MAINNETS.iter().find(|(id, _)| *id == chain_id) {
        return Err(ConfigError::Mainnet { chain_id, name });
    }
    if chain_id == DEFAULT_CHAIN_ID || TESTNETS.iter().any(|(id, _)| *id == chain_id) {
        return Ok(());
    }
    Err(ConfigError::UnknownChain { chain_id })
}

/// Why a development chain did not start. All are the caller's to correct.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The id belongs to a network where coins have value.
    Mainnet {
        /// The id asked for.
        chain_id: u64,
        /// Whose it is.
        name: &'static str,
    },
    /// The id is neither 31337 nor a listed test network.
    UnknownChain {
        /// The id asked for.
        chain_id: u64,
    },
    /// Two genesis entries name one address.
    DuplicateAccount {
        /// The address named twice.
        address: Address,
    },
    /// The code starts like an EIP-7702 delegation and is not one.
    InvalidCode {
        /// Whose code.
        address: Address,
    },
    /// `finalized` would be ahead of `safe`.
    FinalizedBeforeSafe {
        /// What was asked for.
        got: FinalityLag,
    },
    /// The genesis timestamp is later than [`MAX_TIMESTAMP`](crate::MAX_TIMESTAMP).
    TimestampTooLate {
        /// The latest allowed, in Unix seconds.
        latest: u64,
        /// The one asked for.
        got: u64,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mainnet { chain_id, name } => {
                write!(f, "chain id {chain_id} is {name}, a main network; a development chain must not pretend to be it")
            }
            Self::UnknownChain { chain_id } => {
                write!(f, "chain id {chain_id} is not allowed; use {DEFAULT_CHAIN_ID} or one of")?;
                for (id, name) in TESTNETS {
                    write!(f, " {id} ({name})")?;
                }
                Ok(())
            }
            Self::DuplicateAccount { address } => write!(f, "genesis names {address} twice"),
            Self::InvalidCode { address } => {
                write!(f, "genesis code of {address} is a malformed EIP-7702 delegation")
            }
            Self::FinalizedBeforeSafe { got } => {
                write!(f, "finalized cannot be {} blocks behind the head if safe is {} behind", got.finalized_lag, got.safe_lag)
            }
            Self::TimestampTooLate { latest, got } => {
                write!(f, "genesis timestamp {got} is later than {latest}")
            }
        }
    }
}

impl Error for ConfigError {}

/// Refuses genesis lists that name an address twice or carry code that cannot run.
pub(crate) fn check_genesis(genesis: &[GenesisAccount]) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for account in genesis {
        let address = account.address;
        if !seen.insert(address) {
            return Err(ConfigError::DuplicateAccount { address });
        }
        if Bytecode::new_raw_checked(account.code.clone()).is_err() {
            return Err(ConfigError::InvalidCode { address });
        }
    }
    Ok(())
}

/// Refuses a chain that is final before it is safe.
pub(crate) const fn check_finality(got: FinalityLag) -> Result<(), ConfigError> {
    if got.finalized_lag < got.safe_lag {
        return Err(ConfigError::FinalizedBeforeSafe { got });
    }
    Ok(())
}

/// Public test networks whose id a development chain may take, with their names.
pub const TESTNETS: [(u64, &str); 12] = [
    (97, "BNB testnet"),
    (1328, "Sei testnet"),
    (1337, "geth and ganache development"),
    (10200, "Gnosis Chiado"),
    (11124, "Abstract testnet"),
    (43113, "Avalanche Fuji"),
    (80002, "Polygon Amoy"),
    (84532, "Base Sepolia"),
    (421614, "Arbitrum Sepolia"),
    (560048, "Hoodi"),
    (11155111, "Sepolia"),
    (11155420, "OP Sepolia"),
];

/// Networks refused by name. The list need not be complete: ids in neither list are refused as unknown.
const MAINNETS: [(u64, &str); 18] = [
    (1, "Ethereum"),
    (10, "OP Mainnet"),
    (56, "BNB Chain"),
    (100, "Gnosis"),
    (130, "Unichain"),
    (137, "Polygon"),
    (324, "zkSync Era"),
    (480, "World Chain"),
    (1329, "Sei"),
    (2741, "Abstract"),
    (5000, "Mantle"),
    (8453, "Base"),
    (42161, "Arbitrum One"),
    (42220, "Celo"),
    (43114, "Avalanche"),
    (59144, "Linea"),
    (81457, "Blast"),
    (534352, "Scroll"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_networks_are_refused_by_name() {
        for (chain_id, name) in MAINNETS {
            assert_eq!(check_chain_id(chain_id), Err(ConfigError::Mainnet { chain_id, name }));
        }
    }

    #[test]
    fn listed_test_networks_are_allowed_and_others_are_not() {
        for (chain_id, _) in TESTNETS {
            assert_eq!(check_chain_id(chain_id), Ok(()));
        }
        assert_eq!(check_chain_id(0), Err(ConfigError::UnknownChain { chain_id: 0 }));
    }

    #[test]
    fn an_address_named_twice_in_genesis_is_refused() {
        let account = GenesisAccount::funded(Address::with_last_byte(1), U256::ONE);
        assert_eq!(check_genesis(&[account.clone(), account]), Err(ConfigError::DuplicateAccount { address: Address::with_last_byte(1) }));
    }

    #[test]
    fn malformed_delegation_code_in_genesis_is_refused() {
        let address = Address::with_last_byte(1);
        let config = Config::default().with_contract(address, Bytes::from_static(&[0xef, 0x01, 0x00]), vec![]);
        assert_eq!(check_genesis(&config.genesis), Err(ConfigError::InvalidCode { address }));
    }
}
