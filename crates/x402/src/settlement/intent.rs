//! What is to be settled: one authorization, on one chain, as the call that moves it.
//!
//! Read by the host from the three fields that travel (chain, token, calldata). Every other field is read out of the calldata, so nothing
//! can disagree with it.

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::Authorization;
use candor_verify::time::UnixSeconds;

use super::calldata::{Calldata, CalldataError, decode_transfer};

/// A settlement to be made. Identity = payment id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Intent {
    chain_id: u64,
    asset: Address,
    calldata: Calldata,
    // Invariant: the two below are read from the three above.
    authorization: Authorization,
    payment_id: Hash32,
}

impl Intent {
    /// Reads a settlement as it travels. Believes nothing; the chain will.
    ///
    /// # Errors
    /// The calldata is not a transfer with authorization.
    pub fn parse(chain_id: u64, to: Address, calldata: Calldata) -> Result<Self, CalldataError> {
        let (authorization, _) = decode_transfer(&calldata)?;
        let payment_id = authorization.payment_id(chain_id, &to);
        Ok(Self { chain_id, asset: to, calldata, authorization, payment_id })
    }

    /// Identity of the payment.
    #[must_use]
    pub fn payment_id(&self) -> Hash32 {
        self.payment_id
    }

    /// Chain of the token.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Token contract, which is also the contract to call.
    #[must_use]
    pub fn asset(&self) -> Address {
        self.asset
    }

    /// Contract to call.
    #[must_use]
    pub fn to(&self) -> Address {
        self.asset
    }

    /// Bytes of the call. They hold the payer's signature.
    #[must_use]
    pub fn calldata(&self) -> &Calldata {
        &self.calldata
    }

    /// What the payer signed. A payment may have a second one after the first has ended unused: same nonce, another amount or end.
    #[must_use]
    pub fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// Who pays.
    #[must_use]
    pub fn payer(&self) -> Address {
        self.authorization.from
    }

    /// Who is paid.
    #[must_use]
    pub fn payee(&self) -> Address {
        self.authorization.to
    }

    /// What moves, in the asset's smallest unit.
    #[must_use]
    pub fn amount(&self) -> Amount {
        self.authorization.value
    }

    /// Nonce of the authorization.
    #[must_use]
    pub fn nonce(&self) -> Hash32 {
        self.authorization.nonce
    }

    /// Unix seconds before which a block must include it.
    #[must_use]
    pub fn valid_before(&self) -> UnixSeconds {
        self.authorization.valid_before
    }

    pub(super) fn ends_at_ms(&self) -> u64 {
        self.authorization.valid_before.ms().0
    }
}
