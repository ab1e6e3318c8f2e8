//! Who pays: a key in memory, or a program that signs with one elsewhere (`signer`).
//!
//! A wallet signs one thing: the transfer that pays for one answer. It moves nothing by itself, and needs no ether: whoever submits pays the gas.

use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::eip712::{address_of, recoverable};
use candor_verify::payment::TokenDomain;
use candor_x402::scheme::ToSign;
use k256::ecdsa::SigningKey;

use crate::error::ClientError;
use crate::signer::SignerProgram;

/// Who pays. `Debug` shows the address only.
pub struct Wallet {
    address: Address,
    signing: Signing,
}

enum Signing {
    Key(SigningKey),
    Program(SignerProgram),
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
        Ok(Self { address, signing: Signing::Key(key) })
    }

    /// A wallet whose key is elsewhere. That the program signs as this address is seen with each signature.
    #[must_use]
    pub fn of_program(address: Address, program: SignerProgram) -> Self {
        Self { address, signing: Signing::Program(program) }
    }

    /// Who pays.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// A low-s recoverable signature over a transfer, by this wallet's address. A program may ask somebody, and take a minute.
    ///
    /// # Errors
    /// `Signer`, of a program only: then there is no signature that moves anything.
    pub async fn sign(&self, what: ToSign<'_>, domain: &TokenDomain) -> Result<Signature65, ClientError> {
        match &self.signing {
            Signing::Key(key) => Ok(sign_with(key, &what.digest(domain))),
            Signing::Program(program) => Ok(program.sign(&self.address, what, domain).await?),
        }
    }
}

fn sign_with(key: &SigningKey, digest: &Hash32) -> Signature65 {
    let (rs, id) = key.sign_prehash_recoverable(&digest.0);
    recoverable(rs.to_bytes().into(), id.to_byte())
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wallet({})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::payment::Authorization;

    use super::*;

    #[tokio::test]
    async fn a_wallet_signs_as_its_address_and_never_prints_its_key() {
        let wallet = Wallet::from_bytes(&[7; 32]).unwrap();
        let (authorization, domain) = (Authorization { from: wallet.address(), ..Authorization::default() }, TokenDomain::default());
        let signature = wallet.sign(ToSign::Payment(&authorization), &domain).await.unwrap();
        let signer = candor_verify::eip712::signer(&candor_verify::eip712::K256, &authorization.digest(&domain), &signature);
        assert_eq!(signer, Some(wallet.address()));
        assert!(!format!("{wallet:?}").contains("0707"));
        assert!(Wallet::from_bytes(&[0; 32]).is_err());
    }
}
