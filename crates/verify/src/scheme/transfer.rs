//! What is to be seen of a payment on its chain: which contract keeps its nonce, what that is asked, and which logs show that the money moved.
//!
//! Sans I/O: questions are values, and whoever has an endpoint asks them. The five ways of a lie of an endpoint are its caller's concern.

use alloc::vec::Vec;

use super::{Form, Scheme, Through, eip3009, permit2};
use crate::abi::Words;
use crate::bytes::{Address, Amount, Hash32};
use crate::payment::Authorization;
use crate::receipt::Money;
use crate::time::UnixSeconds;

/// A log of a transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by the EVM")]
pub struct Log {
    /// Contract.
    pub address: Address,
    /// Topics, the event's first.
    pub topics: Vec<Hash32>,
    /// The rest.
    pub data: Vec<u8>,
}

/// Which contract keeps the nonce, and tells of the transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a way more is another version")]
pub enum Keeper {
    /// The token, for an EIP-3009 authorization.
    Token,
    /// Permit2, for a permit that this settler charges.
    Permit2 {
        /// The settler of the enclave's key.
        settler: Address,
    },
}

/// What a settlement moves, as its call says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what is looked for on a chain")]
pub struct Transfer {
    /// Which contract keeps the nonce.
    pub keeper: Keeper,
    /// Identity of the payment.
    pub payment_id: Hash32,
    /// Token contract.
    pub asset: Address,
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// What moves, in the asset's smallest unit.
    pub amount: Amount,
    /// Nonce of the payer's signature.
    pub nonce: Hash32,
    /// Valid from then on.
    pub valid_after: UnixSeconds,
    /// A block must include it before.
    pub valid_before: UnixSeconds,
}

/// A view of a contract that says whether a nonce is used: it is if a bit of the mask is set in the word that comes back.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what is asked, and what of the answer counts")]
pub struct NonceQuestion {
    /// Name of the view, for errors.
    pub what: &'static str,
    /// The contract.
    pub to: Address,
    /// What it is called with.
    pub calldata: Vec<u8>,
    /// The bits of the answer that say so.
    pub mask: Hash32,
    /// The bits that an answer may have at all: a `bool` has one.
    pub possible: Hash32,
}

impl NonceQuestion {
    /// Whether this payer's nonce is used, by a scheme whose signatures pay for one answer each; `None` for another.
    #[must_use]
    pub fn of(scheme: Scheme, asset: &Address, payer: &Address, nonce: &Hash32) -> Option<Self> {
        match Form::of(scheme)? {
            Form::Token => Some(eip3009::nonce_question(asset, payer, nonce)),
            Form::UptoProxy => Some(permit2::nonce_question(payer, nonce)),
        }
    }

    /// Whether this answer says that the nonce is used or cancelled; `None` if the view cannot have answered so.
    #[must_use]
    pub fn is_used(&self, answer: &[u8]) -> Option<bool> {
        let word: &[u8; 32] = answer.try_into().ok()?;
        let is_possible = word.iter().zip(self.possible.0).all(|(byte, possible)| byte & !possible == 0);
        is_possible.then(|| word.iter().zip(self.mask.0).any(|(byte, mask)| byte & mask != 0))
    }
}

/// A search for logs: those of this contract with these topics, `None` for any.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what nodes can search for")]
pub struct LogQuestion {
    /// The contract.
    pub address: Address,
    /// Topics, the event's first.
    pub topics: [Option<Hash32>; 3],
}

impl Transfer {
    /// What is to be seen of the payment of a receipt.
    #[must_use]
    pub fn of(money: &Money, authorization: &Authorization) -> Self {
        let keeper = match authorization.through {
            Through::Token => Keeper::Token,
            Through::UptoProxy { facilitator, .. } => Keeper::Permit2 { settler: facilitator },
        };
        Self {
            keeper,
            payment_id: money.payment_id,
            asset: money.asset,
            payer: authorization.from,
            payee: authorization.to,
            amount: money.charged,
            nonce: authorization.nonce,
            valid_after: authorization.valid_after,
            valid_before: authorization.through.scheme().over_at(authorization.valid_before),
        }
    }

    /// Whether its nonce is used.
    #[must_use]
    pub fn nonce_question(&self) -> NonceQuestion {
        match self.keeper {
            Keeper::Token => eip3009::nonce_question(&self.asset, &self.payer, &self.nonce),
            Keeper::Permit2 { .. } => permit2::nonce_question(&self.payer, &self.nonce),
        }
    }

    /// Where the transaction may be found that used its nonce. Whatever is found is held against [`Self::is_ended_by`].
    #[must_use]
    pub fn end_questions(&self) -> [LogQuestion; 2] {
        match self.keeper {
            Keeper::Token => eip3009::end_questions(self),
            Keeper::Permit2 { settler } => permit2::end_questions(self, &settler),
        }
    }

    /// Whether this log says that its nonce was used, or cancelled.
    #[must_use]
    pub fn is_ended_by(&self, log: &Log) -> bool {
        match self.keeper {
            Keeper::Token => eip3009::is_ended_by(self, log),
            Keeper::Permit2 { settler } => permit2::is_ended_by(self, &settler, log),
        }
    }

    /// Whether these logs, of one successful transaction, show that the money moved.
    ///
    /// A successful transaction proves nothing: a fake token moves nothing, one that takes a fee moves less. And a transaction of somebody else
    /// may hold several payments at once, so the transfer must be *this* payment's.
    #[must_use]
    pub fn is_shown_by(&self, logs: &[Log]) -> bool {
        match self.keeper {
            Keeper::Token => eip3009::shows(self, logs),
            Keeper::Permit2 { settler } => permit2::shows(self, &settler, logs),
        }
    }

    /// Whether a transaction that succeeded with these logs may have left the payment as it was, though it made its call: a settler goes on when
    /// one of its charges fails. Then the nonce tells.
    #[must_use]
    pub fn may_be_untouched_by(&self, logs: &[Log]) -> bool {
        match self.keeper {
            Keeper::Token => false,
            Keeper::Permit2 { .. } => !logs.iter().any(|log| self.is_ended_by(log)),
        }
    }

    /// Topics and data of the token's own event.
    pub(super) fn moved(&self) -> ([Hash32; 3], Vec<u8>) {
        ([TRANSFER_TOPIC, topic(&self.payer), topic(&self.payee)], Words::new().amount(self.amount).into_vec())
    }
}

/// `Transfer(address indexed,address indexed,uint256)`.
pub const TRANSFER_TOPIC: Hash32 = Hash32([
    0xdd, 0xf2, 0x52, 0xad, 0x1b, 0xe2, 0xc8, 0x9b, 0x69, 0xc2, 0xb0, 0x68, 0xfc, 0x37, 0x8d, 0xaa, 0x95, 0x2b, 0xa7, 0xf1, 0x63, 0xc4,
    0xa1, 0x16, 0x28, 0xf5, 0x5a, 0x4d, 0xf5, 0x23, 0xb3, 0xef,
]);

/// An address as a topic.
pub(super) fn topic(address: &Address) -> Hash32 {
    Hash32::from_slice(Words::new().address(address).as_slice()).unwrap_or_default()
}
