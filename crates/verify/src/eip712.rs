//! EIP-712: digests that wallets and contracts compute the same way, and who signed them.
//!
//! Our own types live in one domain, `{name: "Candor", version: "2"}`: no chain id and no contract, because each struct that needs a
//! replay scope carries it as a field. Payments use the token's domain. Spec: receipt.md §1, payment.md §2.
//! Recovery is a value passed in ([`Recover`]): `K256` here, a C library in servers; no feature chooses.
//! Not proven by a signature: that its key is attested. That is `attest` and `manifest`.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::abi::Words;
use crate::bytes::{Address, Hash32, Signature65};
use crate::hash::keccak256;

/// secp256k1 public-key recovery to an EVM address.
///
/// Implementations must agree on every input; a test holds the two we have equal.
pub trait Recover {
    /// The address whose key signed `digest`, or `None`: v not 27 or 28, r or s out of range, no such point.
    /// Both low and high s recover; [`signer`] is the function that refuses high s.
    fn recover(&self, digest: &Hash32, signature: &Signature65) -> Option<Address>;
}

/// Recovery in pure Rust (crate `k256`). The default; builds to wasm.
#[derive(Clone, Copy, Debug, Default)]
pub struct K256;

impl Recover for K256 {
    fn recover(&self, digest: &Hash32, signature: &Signature65) -> Option<Address> {
        use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
        let (v, rs) = signature.0.split_last()?;
        let id = RecoveryId::from_byte(v.checked_sub(27).filter(|id| *id < 2)?)?;
        let rs = Signature::from_slice(rs).ok()?;
        let key = VerifyingKey::recover_from_prehash(&digest.0, &rs, id).ok()?;
        let point = key.to_sec1_point(false);
        let (_, coordinates) = point.as_bytes().split_first()?;
        address_of(coordinates)
    }
}

/// The EVM address of an uncompressed secp256k1 point without its 0x04 prefix (64 bytes).
#[must_use]
pub fn address_of(coordinates: &[u8]) -> Option<Address> {
    if coordinates.len() != 64 {
        return None;
    }
    let hash = keccak256(&[coordinates]);
    hash.0.split_first_chunk::<12>().and_then(|(_, low)| Address::from_slice(low))
}

/// The 65 bytes of a signature, from r ‖ s and the recovery id (0 or 1) that a signing library gives: v is 27 or 28.
#[must_use]
pub fn recoverable(rs: [u8; 64], recovery_id: u8) -> Signature65 {
    let mut out = [27_u8.saturating_add(recovery_id); 65];
    for (to, from) in out.iter_mut().zip(rs) {
        *to = from;
    }
    Signature65(out)
}

/// Who signed `digest`, under our own rule for signatures: low s only, so each of ours has one form (EIP-2).
#[must_use]
pub fn signer(recover: &dyn Recover, digest: &Hash32, signature: &Signature65) -> Option<Address> {
    if is_low_s(signature) { recover.recover(digest, signature) } else { None }
}

/// Whether s is in the lower half of the group order.
#[must_use]
fn is_low_s(signature: &Signature65) -> bool {
    signature.0.get(32..64).is_some_and(|s| s <= HALF_ORDER.as_slice())
}

/// n / 2 of secp256k1 (SEC 2, §2.4.1).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4,
    0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// A struct on its way to its hash. What is explained and what is checked come from this one value.
#[derive(Clone, Debug)]
pub struct TypedStruct {
    /// The type, and behind it every type that it names.
    type_string: Cow<'static, str>,
    /// encodeData.
    data: Words,
}

impl TypedStruct {
    /// A struct of this type with these words.
    #[must_use]
    pub fn new(type_string: impl Into<Cow<'static, str>>, data: Words) -> Self {
        Self { type_string: type_string.into(), data }
    }

    /// The type, and behind it every type that it names.
    #[must_use]
    pub fn type_string(&self) -> &str {
        &self.type_string
    }

    /// Names of the words of encodeData, by the type.
    pub fn word_names(&self) -> impl Iterator<Item = &str> {
        let members = self.type_string.split(['(', ')']).nth(1).unwrap_or_default();
        members.split(',').filter_map(|member| member.rsplit(' ').next())
    }

    /// What is hashed: the hash of the type, then encodeData.
    #[must_use]
    pub fn preimage(&self) -> Vec<u8> {
        [&keccak256(&[self.type_string.as_bytes()]).0, self.data.as_slice()].concat()
    }

    /// hashStruct.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        hash_struct(&self.type_string, &self.data)
    }
}

/// A struct in the domain in which somebody signs it.
#[derive(Clone, Debug)]
pub struct TypedMessage {
    domain: Hash32,
    body: TypedStruct,
}

impl TypedMessage {
    /// In our own domain.
    #[must_use]
    pub fn candor(body: TypedStruct) -> Self {
        Self { domain: candor_domain(), body }
    }

    /// In the domain with this separator.
    #[must_use]
    pub fn of_domain(domain: Hash32, body: TypedStruct) -> Self {
        Self { domain, body }
    }

    /// The struct.
    #[must_use]
    pub fn body(&self) -> &TypedStruct {
        &self.body
    }

    /// What is hashed to the digest: 0x1901, domain separator, hashStruct.
    #[must_use]
    pub fn preimage(&self) -> Vec<u8> {
        [[0x19, 0x01].as_slice(), &self.domain.0, &self.body.hash().0].concat()
    }

    /// The digest that is signed.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        digest(&self.domain, &self.body.hash())
    }
}

/// What is hashed as a struct.
pub(crate) trait Structured {
    /// Its type and words.
    fn to_struct(&self) -> TypedStruct;

    /// hashStruct.
    fn struct_hash(&self) -> Hash32 {
        self.to_struct().hash()
    }
}

/// hashStruct of EIP-712: keccak256(typeHash ‖ encodeData).
#[must_use]
pub fn hash_struct(type_string: &str, data: &Words) -> Hash32 {
    keccak256(&[&keccak256(&[type_string.as_bytes()]).0, data.as_slice()])
}

/// The digest that is signed: keccak256(0x1901 ‖ domain ‖ hashStruct).
#[must_use]
pub fn digest(domain: &Hash32, struct_hash: &Hash32) -> Hash32 {
    keccak256(&[&[0x19, 0x01], &domain.0, &struct_hash.0])
}

/// The domain of every type that K_sig, the operator and the registrar sign: `{name: "Candor", version: "2"}`.
#[must_use]
pub const fn candor_domain() -> Hash32 {
    CANDOR_DOMAIN
}

/// Written out, because four hashes at each signature are a tenth of an unpaid quote.
const CANDOR_DOMAIN: Hash32 = Hash32([
    0x23, 0xec, 0x41, 0x9d, 0xac, 0x55, 0x0b, 0xe1, 0x05, 0x6d, 0x7e, 0xb9, 0xf2, 0x53, 0x7c, 0xe4, 0xf4, 0xb4, 0x5b, 0x52, 0x45, 0x58,
    0xa6, 0x21, 0x9c, 0x04, 0x80, 0xf2, 0xf6, 0x6e, 0xb0, 0xff,
]);

/// The struct of [`candor_domain`].
#[must_use]
pub fn candor_domain_struct() -> TypedStruct {
    TypedStruct::new("EIP712Domain(string name,string version)", Words::new().hash(&string("Candor")).hash(&string("2")))
}

/// A domain with all four usual members, for tokens.
#[must_use]
pub fn contract_domain(name: &str, version: &str, chain_id: u64, contract: &Address) -> Hash32 {
    contract_domain_struct(name, version, chain_id, contract).hash()
}

/// The struct of [`contract_domain`].
#[must_use]
pub fn contract_domain_struct(name: &str, version: &str, chain_id: u64, contract: &Address) -> TypedStruct {
    let words = Words::new().hash(&string(name)).hash(&string(version)).u64(chain_id).address(contract);
    TypedStruct::new("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)", words)
}

/// encodeData of a `string`: its keccak256.
#[must_use]
pub fn string(text: &str) -> Hash32 {
    keccak256(&[text.as_bytes()])
}

/// encodeData of an array of structs or strings: keccak256 of the members' 32-byte hashes, in order.
#[must_use]
pub fn array(members: impl IntoIterator<Item = Hash32>) -> Hash32 {
    keccak256(&[&array_preimage(members)])
}

/// What [`array()`] hashes.
#[must_use]
pub fn array_preimage(members: impl IntoIterator<Item = Hash32>) -> Vec<u8> {
    members.into_iter().fold(Words::new(), |words, member| words.hash(&member)).into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::ecdsa::SigningKey;

    fn sign(key: &SigningKey, digest: &Hash32) -> Signature65 {
        let (rs, id) = key.sign_prehash_recoverable(&digest.0);
        recoverable(rs.to_bytes().into(), id.to_byte())
    }

    #[test]
    fn published_type_hashes_come_out() {
        let transfer = keccak256(&[crate::scheme::TRANSFER_TYPE.as_bytes()]);
        assert_eq!(transfer.0[..4], [0x7c, 0x7c, 0x6c, 0xdb]);
        let domain = keccak256(&[b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"]);
        assert_eq!(domain.0[..4], [0x8b, 0x73, 0xc3, 0xc6]);
    }

    #[test]
    fn the_domain_is_the_hash_of_name_and_version() {
        assert_eq!(candor_domain(), candor_domain_struct().hash());
    }

    #[test]
    fn a_high_s_twin_recovers_but_is_not_accepted_as_ours() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let address = address_of(&key.verifying_key().to_sec1_point(false).as_bytes()[1..]).unwrap();
        let digest = Hash32([3; 32]);
        let low = sign(&key, &digest);
        assert_eq!(signer(&K256, &digest, &low), Some(address));
        // s' = n − s, v flipped: the same signature by arithmetic.
        let rs = k256::ecdsa::Signature::from_slice(&low.0[..64]).unwrap();
        let high = k256::ecdsa::Signature::from_scalars(rs.r().to_bytes(), (-*rs.s()).to_bytes()).unwrap();
        let mut twin = [0; 65];
        twin[..64].copy_from_slice(&high.to_bytes());
        twin[64] = 55 - low.0[64];
        assert_eq!(K256.recover(&digest, &Signature65(twin)), Some(address));
        assert_eq!(signer(&K256, &digest, &Signature65(twin)), None);
    }

    #[test]
    fn recovery_ids_other_than_27_and_28_are_rejected() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let mut signature = sign(&key, &Hash32([3; 32]));
        for v in (0..=255u8).filter(|v| *v != 27 && *v != 28) {
            signature.0[64] = v;
            assert_eq!(K256.recover(&Hash32([3; 32]), &signature), None, "v = {v}");
        }
    }
}
