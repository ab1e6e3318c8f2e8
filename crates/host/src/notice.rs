//! What a host tells its operator: few, typed, without prompts, signatures, calldata or anything per client. Also [`Trouble`], the part of
//! it that strangers read in `/status`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use candor_chain::ChainError;
use candor_link::LogEvent;
use candor_verify::{Address, Amount, Hash32};

/// Where notices go. Called from many tasks; must not block.
pub type NoticeSink = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Something an operator wants to know.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// The two listeners are open.
    Listening {
        /// For clients.
        clients: SocketAddr,
        /// For readers of the log.
        http: SocketAddr,
    },
    /// The listener for metrics is open.
    Metrics {
        /// Where.
        address: SocketAddr,
    },
    /// The enclave answers on its control connection.
    EnclaveConnected,
    /// The control connection ended; it is opened again.
    EnclaveLost {
        /// Why.
        reason: String,
    },
    /// The enclave serves.
    Ready {
        /// Its log.
        log_id: Hash32,
    },
    /// The registry knows this boot.
    Registered {
        /// Log of the boot.
        log_id: Hash32,
    },
    /// The registration is in a block that stays: clients are served.
    Open,
    /// The boot that sells is about to be told that a newer one sells from now on: it may sell nothing more, whether it confirms it or not.
    HandingOver {
        /// Its log.
        log_id: Hash32,
    },
    /// A newer boot of this node sells from now on; the older one ends when nothing is left to do.
    HandedOver {
        /// Log of the older one; zero if its enclave had ended.
        from: Hash32,
        /// Log of the newer one.
        to: Hash32,
    },
    /// A boot that sold no more has ended.
    Drained {
        /// Its log.
        log_id: Hash32,
        /// For what it still waited when its time was over; `None` if nothing was left to do.
        still: Option<&'static str>,
    },
    /// The boot beside the one that sells cannot be driven, or its enclave refused its terms or a model. The one that sells goes on.
    BootRefused {
        /// Why.
        message: String,
    },
    /// A checkpoint is on the chain.
    Anchored {
        /// Log.
        log_id: Hash32,
        /// Its size there.
        size: u64,
        /// Our transaction.
        tx_hash: Hash32,
        /// Gas used.
        gas_used: u64,
    },
    /// A payment is settled.
    Settled {
        /// Identity of the payment.
        payment_id: Hash32,
        /// The transaction that moved the money.
        tx_hash: Hash32,
        /// Its chain.
        chain_id: u64,
        /// Token contract.
        asset: Address,
        /// What moved.
        amount: Amount,
    },
    /// A payment can no longer be settled.
    SettlementFailed {
        /// Identity of the payment.
        payment_id: Hash32,
        /// A stable code.
        code: &'static str,
    },
    /// The enclave has something to say.
    Enclave(LogEvent),
    /// Something does not work and is tried again.
    Trouble {
        /// What part.
        part: &'static str,
        /// What is wrong, for the operator: it may quote systems that were asked, so it goes nowhere else.
        message: String,
    },
    /// It works again.
    Recovered {
        /// What part.
        part: &'static str,
    },
}

/// Every part that can be in trouble, as [`Notice::Trouble`] and `/status` name it.
pub const PARTS: [&str; 13] = [
    "anchor",
    "answers",
    "attestation",
    "chain",
    "clients",
    "enclave",
    "gas",
    "payers",
    "prices",
    "publish",
    "registration",
    "settlement",
    "store",
];

/// What does not work: a word for everybody, and a message for the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trouble {
    /// Stable, and says nothing of anybody's systems: [`ChainError::kind`], or [`FAILING`].
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// Of a trouble that is nobody's business but the operator's.
pub(crate) const FAILING: &str = "failing";

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Self { code: FAILING, message }
    }
}

impl From<ChainError> for Trouble {
    fn from(error: ChainError) -> Self {
        Self { code: error.kind(), message: error.to_string() }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { clients, http } => write!(f, "clients on {clients}, log on http://{http}"),
            Self::Metrics { address } => write!(f, "metrics on http://{address}/metrics"),
            Self::EnclaveConnected => f.write_str("enclave connected"),
            Self::EnclaveLost { reason } => write!(f, "enclave lost: {reason}"),
            Self::Ready { log_id } => write!(f, "enclave ready, log {log_id:#}"),
            Self::Registered { log_id } => write!(f, "registered, log {log_id:#}"),
            Self::Open => f.write_str("clients are served"),
            Self::HandingOver { log_id } => write!(f, "log {log_id:#} is told to hand over"),
            Self::HandedOver { from, to } => write!(f, "log {from:#} has handed over to log {to:#}, which sells now"),
            Self::Drained { log_id, still: None } => write!(f, "log {log_id:#} has nothing left to do; its enclave ends"),
            Self::Drained { log_id, still: Some(still) } => {
                write!(f, "log {log_id:#} still waited for {still} when its time was over; its enclave ends")
            }
            Self::BootRefused { message } => write!(f, "the boot beside the one that sells is refused: {message}"),
            Self::Anchored { log_id, size, tx_hash, gas_used } => {
                write!(f, "anchored log {log_id:#} at size {size} in {tx_hash:#} ({gas_used} gas)")
            }
            Self::Settled { payment_id, tx_hash, asset, amount, .. } => {
                write!(f, "payment {payment_id:#} settled in {tx_hash:#}: {amount} of {asset:#}")
            }
            Self::SettlementFailed { payment_id, code } => write!(f, "payment {payment_id:#} not settled: {code}"),
            Self::Enclave(event) => event.fmt(f),
            Self::Trouble { part, message } => write!(f, "{part}: {message}"),
            Self::Recovered { part } => write!(f, "{part}: works again"),
        }
    }
}
