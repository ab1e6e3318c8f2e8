//! What the tests share: keys, a world in which a good payment is good, and payments made by our own client.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::sync::OnceLock;

use candor_testkit::forge::{Forge, K_SIG, Lie};
use candor_testkit::fresh_hypervisor;
use candor_testkit::honest::classes;
use candor_verify::bytes::{Address, Amount, Hash32, Signature65};
use candor_verify::eip712::address_of;
use candor_verify::evidence::VerifiedEnclave;
use candor_verify::offer::{Asked, MaxTokens, Offer, Shown, VerifiedOffer, verify_offer};
use candor_verify::payment::{Authorization, MAX_TIMEOUT_SECONDS};
use candor_verify::policy::Policy;
use candor_verify::scheme::{SETTLER_FACTORY, Through, UPTO_PROXY};
use candor_verify::terms::{OperatorTerms, Price};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::verdict::Check;
use candor_x402::Libsecp;
use candor_x402::client::{AssetLimit, Choice, Ledger, PayError, Purchase, Reservation, SentPayment, SpendPolicy, build_payment, choose};
use candor_x402::error::PaymentError;
use candor_x402::extension::{AnswerRecovery, SignedOffer, SignedOffers};
use candor_x402::protocol::{Eip155, JsonObject, PaymentPayload, PaymentRequired, ResourceInfo, X402_VERSION, parse_payment_payload};
use candor_x402::scheme::{Candidate, Requirements, VerifiedPayment, VerifyContext, verify_payment, with_permits};
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, SecretKey};
use serde_json::Value;

pub const NOW: u64 = 1_800_000_000;
pub const BOOT: u64 = NOW - 3600;
pub const CHAIN: u64 = 31337;

pub struct Key(SecretKey);

impl Key {
    pub fn new(byte: u8) -> Self {
        Self::from_bytes([byte; 32])
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(SecretKey::from_secret_bytes(bytes).unwrap())
    }

    pub fn address(&self) -> Address {
        let point = secp256k1::PublicKey::from_secret_key(&self.0).serialize_uncompressed();
        address_of(&point[1..]).unwrap()
    }

    pub fn sign(&self, digest: &Hash32) -> Signature65 {
        let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest.0), &self.0);
        let (id, rs) = signature.serialize_compact();
        let mut out = [0; 65];
        out[..64].copy_from_slice(&rs);
        out[64] = 27 + id.to_u8();
        Signature65(out)
    }
}

fn enclave(terms: fn(&mut OperatorTerms)) -> VerifiedEnclave {
    Forge::new(fresh_hypervisor("x402 tests")).enclave(&Lie { terms, ..Lie::default() })
}

/// One answer costs this, whatever it holds.
fn price(terms: &mut OperatorTerms, units: u128) {
    terms.payee = Address([0xb2; 20]);
    terms.assets[0].asset = Address([0xa7; 20]);
    let model = terms.models[0].digest;
    terms.prices = vec![Price::at_most(model, CHAIN, Address([0xa7; 20]), classes(0, 0, units))];
}

pub struct World {
    pub k_sig: Key,
    pub enclave: VerifiedEnclave,
    pub payer: Key,
    pub requirements: Requirements,
    pub candidate: Candidate,
    pub now: u64,
    pub boot: u64,
    pub generation: u64,
    pub recovery: AnswerRecovery,
}

/// The payment that was reserved, signed by this key.
pub fn paid_by(key: &Key, reservation: Reservation) -> Result<SentPayment, PayError> {
    let (authorization, domain) = reservation.to_sign();
    let allowing = reservation.allowance_to_sign().map(|allowance| key.sign(&allowance.digest(&domain)));
    build_payment(reservation, &Libsecp, &key.sign(&authorization.digest(&domain)), allowing.as_ref())
}

/// The other signature of the same key over the same digest: s in the upper half of the order.
pub fn high_s_twin(signature: &Signature65) -> Signature65 {
    let mut bytes = signature.0;
    let s = SecretKey::from_secret_bytes(bytes[32..64].try_into().unwrap()).unwrap();
    bytes[32..64].copy_from_slice(&s.negate().to_secret_bytes());
    bytes[64] = 55 - bytes[64];
    Signature65(bytes)
}

impl World {
    pub fn new() -> Self {
        // Its evidence is judged once: a P-384 chain takes milliseconds, and each test makes many worlds.
        static ENCLAVE: OnceLock<VerifiedEnclave> = OnceLock::new();
        Self::under(ENCLAVE.get_or_init(|| enclave(|terms| price(terms, 1000))), 1000)
    }

    /// The same node with lower prices: an answer costs 900 units.
    pub fn cheap() -> Self {
        Self::under(&enclave(|terms| price(terms, 900)), 900)
    }

    /// A node on a chain with settlers, where an answer costs at most 1000 units: what is offered first.
    pub fn metered() -> Self {
        static ENCLAVE: OnceLock<VerifiedEnclave> = OnceLock::new();
        let settlers = |terms: &mut OperatorTerms| {
            price(terms, 1000);
            (terms.chains[0].settler_factory, terms.chains[0].upto_proxy) = (SETTLER_FACTORY, UPTO_PROXY);
        };
        Self::under(ENCLAVE.get_or_init(|| enclave(settlers)), 1000)
    }

    fn under(enclave: &VerifiedEnclave, amount: u128) -> Self {
        let through = Through::all_of_terms(&enclave.terms().chain(CHAIN), &enclave.manifest().k_sig).next().unwrap();
        let requirements = Requirements {
            through,
            network: Eip155(CHAIN),
            asset: Address([0xa7; 20]),
            pay_to: Address([0xb2; 20]),
            amount: Amount(amount),
            max_timeout_seconds: MAX_TIMEOUT_SECONDS,
            token_name: "USDC".into(),
            token_version: "2".into(),
        };
        let candidate = Self::candidate(enclave, &requirements, 1);
        Self {
            k_sig: Key::new(K_SIG),
            enclave: enclave.clone(),
            payer: Key::new(9),
            requirements,
            candidate,
            now: NOW,
            recovery: AnswerRecovery::None,
            boot: BOOT,
            generation: 60,
        }
    }

    /// The offer for another request is one with another commitment.
    pub fn candidate(enclave: &VerifiedEnclave, requirements: &Requirements, request: u8) -> Candidate {
        let offer = Offer {
            manifest_hash: enclave.manifest().hash(),
            request_commitment: Hash32([request; 32]),
            model_id: enclave.terms().models[0].digest,
            scheme: requirements.through.scheme(),
            payee: requirements.pay_to,
            asset: requirements.asset,
            chain_id: requirements.network.0,
            settler: requirements.through.settler(),
            amount: requirements.amount,
            prompt_tokens: 7,
            max_tokens: 64,
            seed_commitment: Hash32([9; 32]),
            valid_until: UnixMs((NOW + 120) * 1000),
            price_list_hash: Hash32::ZERO,
            price_list_number: 0,
        };
        Candidate { offer, request_salt: Hash32([6; 32]) }
    }

    pub fn signed_offer(&self) -> SignedOffer {
        SignedOffer {
            offer: self.candidate.offer.clone(),
            signature: self.k_sig.sign(&self.candidate.offer.digest()),
            request_salt: self.candidate.request_salt,
        }
    }

    pub fn extensions(&self) -> JsonObject {
        SignedOffers::from(self.signed_offer()).to_extensions(&self.recovery)
    }

    pub fn required(&self) -> PaymentRequired {
        PaymentRequired {
            x402_version: X402_VERSION,
            error: None,
            resource: ResourceInfo { url: "https://node.example/v1/chat/completions".into(), ..ResourceInfo::default() },
            accepts: vec![self.requirements.to_entry()],
            extensions: Some(with_permits(self.extensions(), std::slice::from_ref(&self.requirements))),
        }
    }

    pub fn policy(&self) -> SpendPolicy {
        let limit = AssetLimit {
            network: self.requirements.network,
            asset: self.requirements.asset,
            max_per_request: Amount(5000),
            max_per_day: Amount(20_000),
            max_unresolved: candor_verify::payment::MAX_UNRESOLVED,
        };
        SpendPolicy { assets: vec![limit] }
    }

    pub fn choice(&self) -> Choice {
        choose(&self.required(), &self.verified_offer().unwrap(), &self.policy(), UnixMs(self.now * 1000)).unwrap()
    }

    pub fn verified_offer(&self) -> Result<VerifiedOffer, Box<Check>> {
        let SignedOffer { offer, signature, .. } = self.signed_offer();
        let asked = Asked {
            request_commitment: offer.request_commitment,
            model_id: offer.model_id,
            max_tokens: MaxTokens::AtMost(64),
            at: UnixMs(self.now * 1000),
        };
        let shown = Shown { offer: &offer, signature: &signature, price_list: None };
        verify_offer(&shown, &self.enclave, &asked, &Policy::default(), &Libsecp)
    }

    /// A payment by our own client, whose nonce commits to the offer.
    pub fn committed(&self, salt: u8) -> PaymentPayload {
        parse_payment_payload(self.sent(self.reserve(&mut Ledger::default(), salt)).header().as_bytes()).unwrap()
    }

    /// A purchase of the one request.
    pub fn purchase(&self, salt: u8) -> Purchase {
        Purchase { request: Hash32([1; 32]), payer: self.payer.address(), client_salt: Hash32([salt; 32]) }
    }

    pub fn reserve(&self, ledger: &mut Ledger, salt: u8) -> Reservation {
        ledger.reserve(self.purchase(salt), self.choice(), UnixSeconds(self.now)).unwrap()
    }

    /// What was reserved, signed.
    pub fn sent(&self, reservation: Reservation) -> SentPayment {
        paid_by(&self.payer, reservation).unwrap()
    }

    pub fn authorization(&self) -> Authorization {
        Authorization {
            through: self.requirements.through,
            from: self.payer.address(),
            to: self.requirements.pay_to,
            value: self.requirements.amount,
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(self.now + MAX_TIMEOUT_SECONDS),
            nonce: Hash32([0x55; 32]),
        }
    }

    /// A payment by a stock x402 client: a random nonce; extensions echoed or not.
    pub fn stock(&self, authorization: Authorization, echo: bool) -> PaymentPayload {
        let mut payload = self.committed(1);
        payload.extensions = if echo { Some(self.extensions()) } else { None };
        let signature = self.payer.sign(&authorization.digest(&self.requirements.token()));
        payload.payload.0.insert("signature".into(), candor_verify::bytes::to_hex(&signature.0).into());
        let members = serde_json::json!({
            "from": authorization.from.to_string(),
            "to": authorization.to.to_string(),
            "value": authorization.value.to_string(),
            "validAfter": authorization.valid_after.to_string(),
            "validBefore": authorization.valid_before.to_string(),
            "nonce": authorization.nonce.to_string(),
        });
        payload.payload.0.insert("authorization".into(), members);
        payload
    }

    pub fn set(payload: &mut PaymentPayload, field: &str, value: impl Into<Value>) {
        payload.payload.0["authorization"][field] = value.into();
    }

    pub fn verify(&self, payload: &PaymentPayload) -> Result<VerifiedPayment, PaymentError> {
        self.verify_against(payload, std::slice::from_ref(&self.candidate))
    }

    pub fn verify_against(&self, payload: &PaymentPayload, candidates: &[Candidate]) -> Result<VerifiedPayment, PaymentError> {
        let context = VerifyContext {
            requirements: std::slice::from_ref(&self.requirements),
            candidates,
            now: UnixSeconds(self.now),
            boot: UnixSeconds(self.boot),
            generation_seconds: self.generation,
            keeps_answer: self.recovery != AnswerRecovery::None,
            recover: &Libsecp,
        };
        verify_payment(payload, &context)
    }

    /// Verified payments that differ in their nonce.
    pub fn paid(&self, salt: u8) -> VerifiedPayment {
        self.verify(&self.committed(salt)).unwrap()
    }
}
