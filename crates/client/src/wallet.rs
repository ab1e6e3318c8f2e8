//! The key that pays.

use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::eip712::{address_of, recoverable};
use k256::ecdsa::SigningKey;

use crate::error::ClientError;

/// A key that pays. `Debug` shows its address only.
pub struct Wallet {
    key: SigningKey,
    address: Address,
}

impl Wallet {
    /// A wallet from a secret key.
    ///
    /// # Errors
    /// `Usage` if it is no secp256k1 key.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, ClientError> {
        let key = SigningKey::from_slice(secret).map_err(|_| ClientError::Usage("not a secp256k1 secret key".into()))?;
        let point = key.verifying_key().to_sec1_point(false);
        let address = point.as_bytes().get(1..).and_then(address_of);
        let address = address.ok_or_else(|| ClientError::Usage("this key has no address".into()))?;
        Ok(Self { key, address })
    }

    /// Who pays.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// A low-s recoverable signature over a digest.
    #[must_use]
    pub fn sign(&self, digest: &Hash32) -> Signature65 {
        let (rs, id) = self.key.sign_prehash_recoverable(&digest.0);
        recoverable(rs.to_bytes().into(), id.to_byte())
    }
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wallet({})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_signs_as_its_address_and_never_prints_its_key() {
        let wallet = Wallet::from_bytes(&[7; 32]).unwrap();
        let signature = wallet.sign(&Hash32([1; 32]));
        let signer = candor_verify::eip712::signer(&candor_verify::eip712::K256, &Hash32([1; 32]), &signature);
        assert_eq!(signer, Some(wallet.address()));
        assert!(!format!("{wallet:?}").contains("0707"));
        assert!(Wallet::from_bytes(&[0; 32]).is_err());
    }
}
