//! What is to be settled: one payment, on one chain, as the call that moves it.
//!
//! Read by the host from the three fields that travel (chain, contract, calldata). Every other field is read out of the calldata, so nothing
//! can disagree with it.

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::scheme::Transfer;
use candor_verify::time::UnixSeconds;

use crate::scheme::{Calldata, CalldataError, read_call};

/// A settlement to be made. Identity = payment id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Intent {
    chain_id: u64,
    to: Address,
    calldata: Calldata,
    // Invariant: read from the three above.
    transfer: Transfer,
}

impl Intent {
    /// Reads a settlement as it travels. Believes nothing; the chain will.
    ///
    /// # Errors
    /// The calldata settles no payment.
    pub fn parse(chain_id: u64, to: Address, calldata: Calldata) -> Result<Self, CalldataError> {
        let transfer = read_call(chain_id, &to, &calldata)?;
        Ok(Self { chain_id, to, calldata, transfer })
    }

    /// Identity of the payment.
    #[must_use]
    pub fn payment_id(&self) -> Hash32 {
        self.transfer.payment_id
    }

    /// Chain of the token.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Token contract.
    #[must_use]
    pub fn asset(&self) -> Address {
        self.transfer.asset
    }

    /// Contract to call.
    #[must_use]
    pub fn to(&self) -> Address {
        self.to
    }

    /// Bytes of the call. They hold the payer's signature.
    #[must_use]
    pub fn calldata(&self) -> &Calldata {
        &self.calldata
    }

    /// What it moves. A payment may have a second one after the first has ended unused: same nonce, another amount or end.
    #[must_use]
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// Who pays.
    #[must_use]
    pub fn payer(&self) -> Address {
        self.transfer.payer
    }

    /// Who is paid.
    #[must_use]
    pub fn payee(&self) -> Address {
        self.transfer.payee
    }

    /// What moves, in the asset's smallest unit.
    #[must_use]
    pub fn amount(&self) -> Amount {
        self.transfer.amount
    }

    /// Nonce of the payer's signature.
    #[must_use]
    pub fn nonce(&self) -> Hash32 {
        self.transfer.nonce
    }

    /// Unix seconds before which a block must include it.
    #[must_use]
    pub fn valid_before(&self) -> UnixSeconds {
        self.transfer.valid_before
    }

    pub(super) fn ends_at_ms(&self) -> u64 {
        self.transfer.valid_before.ms().0
    }
}
