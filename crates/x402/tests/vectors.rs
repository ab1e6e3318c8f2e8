//! The EIP-3009 vectors of the reference, and the two recovery back ends against each other.

mod common;

use candor_verify::bytes::{Address, Amount, Hash32, Signature65};
use candor_verify::eip712::{K256, Recover};
use candor_verify::payment::{Authorization, TokenDomain};
use candor_verify::scheme::Through;
use candor_verify::time::UnixSeconds;
use candor_x402::Libsecp;
use common::Key;
use proptest::prelude::*;
use serde_json::Value;

fn read(vector: &Value) -> (Authorization, TokenDomain, Hash32, Signature65) {
    let text = |pointer: &str| vector.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let number = |pointer: &str| UnixSeconds(text(pointer).parse().unwrap());
    let authorization = Authorization {
        through: Through::Token,
        from: Address::from_hex(&text("/message/from")).unwrap(),
        to: Address::from_hex(&text("/message/to")).unwrap(),
        value: Amount::from_decimal(&text("/message/value")).unwrap(),
        valid_after: number("/message/validAfter"),
        valid_before: number("/message/validBefore"),
        nonce: Hash32::from_hex(&text("/message/nonce")).unwrap(),
    };
    let domain = TokenDomain {
        name: text("/domain/name"),
        version: text("/domain/version"),
        chain_id: vector["domain"]["chainId"].as_u64().unwrap(),
        asset: Address::from_hex(&text("/domain/verifyingContract")).unwrap(),
    };
    (authorization, domain, Hash32::from_hex(&text("/digest")).unwrap(), Signature65::from_hex(&text("/signature")).unwrap())
}

#[test]
fn the_vectors_of_the_reference_come_out() {
    let file: Value = serde_json::from_str(include_str!("fixtures/eip3009.json")).unwrap();
    let key = candor_verify::bytes::from_hex(file["client"]["priv"].as_str().unwrap()).unwrap();
    let key = Key::from_bytes(key.try_into().unwrap());
    let mut transfers = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let (authorization, domain, digest, signature) = read(vector);
        for recover in [&K256 as &dyn Recover, &Libsecp] {
            assert_eq!(recover.recover(&digest, &signature), Some(key.address()));
        }
        if vector["primaryType"] == "TransferWithAuthorization" {
            assert_eq!(authorization.digest(&domain), digest);
            assert_eq!(key.sign(&digest), signature, "both sign by RFC 6979");
            transfers += 1;
        } else {
            // A deposit is `Receive…`: another type, so its signature is no transfer.
            assert_ne!(authorization.digest(&domain), digest);
        }
    }
    assert_eq!(transfers, 1);
}

#[test]
fn both_back_ends_refuse_the_same_malformed_signatures() {
    let (key, digest) = (Key::new(3), Hash32([4; 32]));
    let good = key.sign(&digest);
    let order = hex32("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let field = hex32("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f");
    let words = [[0; 32], [0xff; 32], order, below(order), field, hex32(&format!("{:064x}", 1)), hex32(&format!("{:064x}", 5))];
    for v in 0..=255 {
        for at in [0, 32] {
            for word in &words {
                let mut signature = good;
                signature.0[64] = v;
                assert_agree(&digest, &signature);
                signature.0[at..at + 32].copy_from_slice(word);
                assert_agree(&digest, &signature);
            }
        }
    }
    let mut both_zero = Signature65([0; 65]);
    both_zero.0[64] = 27;
    assert_eq!(Libsecp.recover(&digest, &both_zero), None);
    assert_agree(&digest, &both_zero);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn both_back_ends_agree_on_random_signatures(digest: [u8; 32], rs: [[u8; 32]; 2], v in 26u8..30) {
        let mut signature = [0; 65];
        signature[..32].copy_from_slice(&rs[0]);
        signature[32..64].copy_from_slice(&rs[1]);
        signature[64] = v;
        assert_agree(&Hash32(digest), &Signature65(signature));
    }

    #[test]
    fn both_back_ends_find_the_signer_also_by_the_high_s_twin(digest: [u8; 32], secret in 1u8..=254, flip: bool) {
        let (key, digest) = (Key::new(secret), Hash32(digest));
        let mut signature = key.sign(&digest);
        if flip {
            let s = secp256k1::SecretKey::from_secret_bytes(signature.0[32..64].try_into().unwrap()).unwrap();
            signature.0[32..64].copy_from_slice(&s.negate().to_secret_bytes());
            signature.0[64] = 55 - signature.0[64];
        }
        prop_assert_eq!(Libsecp.recover(&digest, &signature), Some(key.address()));
        assert_agree(&digest, &signature);
    }
}

fn assert_agree(digest: &Hash32, signature: &Signature65) {
    assert_eq!(Libsecp.recover(digest, signature), K256.recover(digest, signature), "{:02x?}", signature.0);
}

fn hex32(text: &str) -> [u8; 32] {
    Hash32::from_hex(&format!("0x{text}")).unwrap().0
}

fn below(mut word: [u8; 32]) -> [u8; 32] {
    word[31] -= 1;
    word
}
