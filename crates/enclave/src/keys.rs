//! The keys of one boot: made here, in RAM, gone with the process (ADR 0002).
//!
//! K_sig signs receipts, offers and checkpoints (a closed list of EIP-712 types; never a transaction, token, permit or batch domain).
//! K_log signs C2SP notes. The TLS key ends TLS. The boot secret salts commitments. Nothing here is ever written, logged or sent.

use std::fmt;

use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::checkpoint::{Checkpoint, Ed25519Signature, SignedCheckpoint};
use candor_verify::eip712::{address_of, recoverable};
use candor_verify::hash::{hmac_sha256, sha256};
use candor_verify::manifest::Manifest;
use candor_verify::offer::Offer;
use candor_verify::receipt::Receipt;
use candor_verify::refusal::Refusal;
use candor_verify::{tags, transcript};
use ed25519_dalek::Signer as _;
use k256::ecdsa::SigningKey;
use zeroize::Zeroizing;

/// The keys of one boot. `Debug` shows public parts only.
pub(crate) struct BootKeys {
    k_sig: SigningKey,
    address: Address,
    k_log: ed25519_dalek::SigningKey,
    boot_secret: Zeroizing<[u8; 32]>,
}

impl BootKeys {
    /// Fresh keys from the operating system's randomness.
    pub(crate) fn generate() -> Result<Self, String> {
        // A uniform 32-byte string is a valid scalar but for about 2^-128 of them: try again then.
        let k_sig = loop {
            if let Ok(key) = SigningKey::from_slice(&*random32()?) {
                break key;
            }
        };
        let point = k_sig.verifying_key().to_sec1_point(false);
        // An address that is not the key's own would go into the manifest: no boot rather than that.
        let address = point.as_bytes().get(1..).and_then(address_of).ok_or("the signing key has no address")?;
        let k_log = ed25519_dalek::SigningKey::from_bytes(&*random32()?);
        Ok(Self { k_sig, address, k_log, boot_secret: random32()? })
    }

    /// Address of K_sig.
    pub(crate) fn k_sig(&self) -> Address {
        self.address
    }

    /// Public key of K_log.
    pub(crate) fn k_log(&self) -> Hash32 {
        Hash32(self.k_log.verifying_key().to_bytes())
    }

    /// Says that a manifest is this key's own. The manifest of this boot is the only one that is ever made here.
    pub(crate) fn sign_boot(&self, manifest: &Manifest) -> Signature65 {
        self.sign(&manifest.boot_digest())
    }

    pub(crate) fn sign_offer(&self, offer: &Offer) -> Signature65 {
        self.sign(&offer.digest())
    }

    pub(crate) fn sign_refusal(&self, refusal: &Refusal) -> Signature65 {
        self.sign(&refusal.digest())
    }

    pub(crate) fn sign_receipt(&self, receipt: &Receipt) -> Signature65 {
        self.sign(&receipt.digest())
    }

    pub(crate) fn sign_checkpoint(&self, checkpoint: Checkpoint) -> SignedCheckpoint {
        let note_signature = Ed25519Signature(self.k_log.sign(checkpoint.note_body().as_bytes()).to_bytes());
        SignedCheckpoint { checkpoint, note_signature, signature: self.sign(&checkpoint.digest()), cosignatures: Vec::new() }
    }

    /// Private, so that only the closed list above can be signed.
    fn sign(&self, digest: &Hash32) -> Signature65 {
        let (rs, id) = self.k_sig.sign_prehash_recoverable(&digest.0);
        recoverable(rs.to_bytes().into(), id.to_byte())
    }

    fn secret(&self) -> Hash32 {
        Hash32(*self.boot_secret)
    }

    /// Salt of a request commitment in a 60-second bucket.
    pub(crate) fn request_salt(&self, bucket: u64, method: &str, path: &str, body: &[u8]) -> Hash32 {
        transcript::request_salt(&self.secret(), bucket, method, path, body)
    }

    /// The server's share of the sampling seed for a request.
    pub(crate) fn seed_share(&self, request_commitment: &Hash32) -> Hash32 {
        hmac_sha256(&self.secret(), &[tags::SEED_SHARE, &request_commitment.0])
    }

    /// What blinds the answer to one payment.
    ///
    /// From what was signed and not from the payment id: that leaves out amount and end, so after its end a payer can sign the same
    /// nonce again, and two answers under one salt would share the id of their receipts.
    pub(crate) fn blinding(&self, signed_digest: &Hash32) -> Blinding {
        let derive = |tag: &[u8]| hmac_sha256(&self.secret(), &[tag, &signed_digest.0]);
        Blinding { transcript_seed: derive(tags::TRANSCRIPT_SEED), leaf_salt: derive(tags::LEAF_SALT) }
    }
}

/// Seed and salt of one answer: no two answers have the same.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Blinding {
    /// Of the transcript; the client is told before the first frame.
    pub(crate) transcript_seed: Hash32,
    /// Of the log leaf; the id of the receipt follows from it.
    pub(crate) leaf_salt: Hash32,
}

/// What blinds one answer that nobody pays for: there is no authorization from which it could follow.
pub(crate) struct Salts {
    pub(crate) request_salt: Hash32,
    pub(crate) blinding: Blinding,
}

impl Salts {
    /// Fresh ones. Who asks the same again gets others.
    pub(crate) fn random() -> Result<Self, String> {
        let random = || random32().map(|bytes| Hash32(*bytes));
        Ok(Self { request_salt: random()?, blinding: Blinding { transcript_seed: random()?, leaf_salt: random()? } })
    }
}

impl fmt::Debug for BootKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootKeys").field("k_sig", &self.address).field("k_log", &self.k_log()).finish_non_exhaustive()
    }
}

/// 32 bytes of the operating system's randomness.
pub(crate) fn random32() -> Result<Zeroizing<[u8; 32]>, String> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The TLS identity of one boot: a fresh P-256 key and a self-signed certificate for the terms' hosts.
#[derive(Debug)]
pub(crate) struct TlsIdentity {
    /// For rustls.
    pub(crate) config: std::sync::Arc<rustls::ServerConfig>,
    /// SHA-256 of the SubjectPublicKeyInfo, which the manifest carries.
    pub(crate) spki_hash: Hash32,
}

impl TlsIdentity {
    /// A fresh identity for these endpoint URLs.
    pub(crate) fn generate(endpoints: &[String]) -> Result<Self, String> {
        let hosts: Vec<String> = endpoints.iter().filter_map(|url| host_of(url)).collect();
        if hosts.is_empty() {
            return Err("no endpoint of the terms is an https:// URL".into());
        }
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
        let mut params = rcgen::CertificateParams::new(hosts).map_err(|error| error.to_string())?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "candor enclave (trust its attested key, not this name)");
        let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
        let spki_hash = sha256(&[&rcgen::PublicKeyData::subject_public_key_info(&key)]);
        let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .map_err(|error| error.to_string())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: std::sync::Arc::new(config), spki_hash })
    }
}

/// Host of an `https://` URL, without port or brackets.
fn host_of(url: &str) -> Option<String> {
    let authority = url.strip_prefix("https://")?.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use candor_verify::payment::{Authorization, TokenDomain};

    use super::*;
    use candor_verify::bytes::Amount;
    use candor_verify::eip712::{K256, signer};
    use candor_verify::time::UnixSeconds;

    #[test]
    fn signatures_recover_to_the_boot_key_in_their_one_form() {
        let keys = BootKeys::generate().unwrap();
        for byte in 0..32 {
            let digest = Hash32([byte; 32]);
            assert_eq!(signer(&K256, &digest, &keys.sign(&digest)), Some(keys.k_sig()));
        }
    }

    #[test]
    fn two_boots_share_nothing_and_nothing_secret_is_printed() {
        let (a, b) = (BootKeys::generate().unwrap(), BootKeys::generate().unwrap());
        assert_ne!((a.k_sig(), a.k_log()), (b.k_sig(), b.k_log()));
        let signed = authorization().digest(&token());
        let (mine, theirs) = (a.blinding(&signed), b.blinding(&signed));
        assert!(mine.leaf_salt != theirs.leaf_salt && mine.transcript_seed != theirs.transcript_seed);
        assert_ne!(mine.leaf_salt, mine.transcript_seed);
        let printed = format!("{a:?}");
        assert!(!printed.contains(&candor_verify::bytes::to_hex(&*a.boot_secret)[2..]));
    }

    /// The attack: an authorization that ended unsettled, signed again with the same nonce, must not give the id of a stored receipt.
    #[test]
    fn two_authorizations_of_one_nonce_share_neither_salt_nor_seed() {
        let keys = BootKeys::generate().unwrap();
        let first = authorization();
        let again = [
            Authorization { valid_before: first.valid_before.saturating_add(300), ..first },
            Authorization { value: Amount(2), ..first },
            Authorization { valid_after: UnixSeconds(1), ..first },
        ];
        let held = keys.blinding(&first.digest(&token()));
        for other in again {
            assert_eq!(other.payment_id(31337, &token().asset), first.payment_id(31337, &token().asset));
            let blinding = keys.blinding(&other.digest(&token()));
            assert!(blinding.leaf_salt != held.leaf_salt && blinding.transcript_seed != held.transcript_seed);
        }
    }

    fn authorization() -> Authorization {
        let nonce = Hash32([3; 32]);
        Authorization {
            from: Address([1; 20]),
            to: Address([2; 20]),
            value: Amount(1),
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(9),
            nonce,
            ..Authorization::default()
        }
    }

    fn token() -> TokenDomain {
        TokenDomain { name: "USDC".into(), version: "2".into(), chain_id: 31337, asset: Address([4; 20]) }
    }

    #[test]
    fn hosts_come_out_of_endpoints() {
        assert_eq!(host_of("https://127.0.0.1:8443"), Some("127.0.0.1".into()));
        assert_eq!(host_of("https://node.example/x"), Some("node.example".into()));
        assert_eq!(host_of("https://[::1]:8443/"), Some("::1".into()));
        assert_eq!(host_of("http://node.example"), None);
        assert_eq!(host_of("https:///x"), None);
    }
}
