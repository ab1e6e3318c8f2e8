//! Between `candor-verify`'s newtypes and alloy's. Total in one direction, checked in the other.
//!
//! The signed structures are static ABI words on both sides, so they cross as those words: one encoding, nothing to mistype.

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U256};
use alloy::sol_types::SolValue;
use candor_verify::abi::AbiError;
use candor_verify::manifest::{Freshness, Manifest};
use candor_verify::{Address, Amount, Hash32, Signature65};

use crate::bindings;
use crate::error::ChainError;

pub(crate) fn evm_address(address: &Address) -> EvmAddress {
    EvmAddress::from(address.0)
}

pub(crate) fn address(address: EvmAddress) -> Address {
    Address(address.into_array())
}

pub(crate) fn b256(hash: &Hash32) -> B256 {
    B256::from(hash.0)
}

pub(crate) fn hash(hash: B256) -> Hash32 {
    Hash32(hash.0)
}

pub(crate) fn u256(amount: Amount) -> U256 {
    U256::from(amount.0)
}

/// Balances may exceed what an [`Amount`] holds; for "enough or not" the largest amount says the same.
pub(crate) fn saturating_amount(value: U256) -> Amount {
    Amount(u128::try_from(value).unwrap_or(u128::MAX))
}

fn narrow(what: &'static str, value: U256) -> Result<u64, ChainError> {
    u64::try_from(value).map_err(|_| ChainError::Malformed { what, detail: format!("{value} does not fit 64 bits") })
}

pub(crate) fn signature_bytes(signature: &Signature65) -> Bytes {
    Bytes::copy_from_slice(&signature.0)
}

pub(crate) fn hashes(hashes: &[Hash32]) -> Vec<B256> {
    hashes.iter().map(b256).collect()
}

/// A static struct of a contract from the words that `candor-verify` encodes.
pub(crate) fn from_words<T>(what: &'static str, words: &[u8]) -> Result<T, ChainError>
where
    T: SolValue + From<<T::SolType as alloy::sol_types::SolType>::RustType>,
{
    T::abi_decode_validate(words).map_err(|error| ChainError::Misuse { what, detail: error.to_string() })
}

/// From the registry's events; `Manifest::parse` refuses other versions.
pub(crate) fn manifest(manifest: &bindings::Manifest) -> Result<Manifest, ChainError> {
    Manifest::parse(&manifest.abi_encode())
        .map_err(|error: AbiError| ChainError::Malformed { what: "manifest of an event", detail: error.to_string() })
}

pub(crate) fn registry_freshness(f: &Freshness) -> bindings::Freshness {
    bindings::Freshness {
        chainId: U256::from(f.chain_id),
        blockNumber: U256::from(f.block_number),
        blockHash: b256(&f.block_hash),
        nonce: b256(&f.nonce),
    }
}

pub(crate) fn freshness(f: &bindings::Freshness) -> Result<Freshness, ChainError> {
    Ok(Freshness {
        chain_id: narrow("freshness of an event", f.chainId)?,
        block_number: narrow("freshness of an event", f.blockNumber)?,
        block_hash: hash(f.blockHash),
        nonce: hash(f.nonce),
    })
}
