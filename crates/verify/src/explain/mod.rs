//! How each check comes to its digest: preimages, digests and signers, so that a stranger can find where another implementation differs.
//!
//! In: a bundle that nobody believes. Out: for every step of bundle.md §4 what is hashed and what is signed, byte for byte. The bytes and the
//! digests come from the functions that the checks themselves use; nothing is computed a second way.
//!
//! | file | steps |
//! |---|---|
//! | here | the values, and how they are written down |
//! | `evidence` | attestation, manifest, terms, workload |
//! | `work` | receipt, request, response, decoding, source |
//! | `money` | offer, price, payment |
//! | `logged` | leaf, checkpoint, witnesses, consistency |
//!
//! Nothing here judges, and nothing is left out of a bundle that some check refuses: a wrong signature is shown with the signer that it
//! recovers to. Not here: policy, time and chain, which have no preimage; how it looks (`candor-report`, `candor-cli`).

mod evidence;
mod logged;
mod money;
mod work;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::bundle::Bundle;
use crate::bytes::{Address, Hash32, Signature65};
use crate::eip712::{Recover, Structured, TypedMessage, TypedStruct, array_preimage, candor_domain_struct, signer};
use crate::step::Step;

/// What one step compares, in the order in which it is computed. Empty for a step that hashes nothing and asks for no signature.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Explained {
    /// The step.
    pub step: Step,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// One part of an explanation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// Something is hashed.
    Hashed(Hashed),
    /// Somebody signed something.
    Signed(Signed),
    /// A value or a calculation, in words.
    Told {
        /// What it is.
        name: String,
        /// How it is.
        text: String,
    },
}

/// A hash with what it is of.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Hashed {
    /// What it is.
    pub name: String,
    /// By which function.
    pub function: HashFunction,
    /// For an EIP-712 struct: its type, whose hash the preimage begins with.
    pub type_string: Option<String>,
    /// Exactly the bytes that are hashed.
    pub preimage: Vec<u8>,
    /// Names and lengths of the pieces of the preimage, in order; empty if it is one piece.
    pub layout: Vec<(String, usize)>,
    /// What comes out, whole.
    pub digest: Vec<u8>,
}

/// The hash functions of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HashFunction {
    /// SHA-256.
    Sha256,
    /// SHA-384: attestation documents and their certificates.
    Sha384,
    /// Keccak-256, as the EVM has it.
    Keccak256,
    /// HMAC-SHA-256 with this key.
    HmacSha256 {
        /// The key.
        key: Hash32,
    },
}

impl HashFunction {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Keccak256 => "keccak256",
            Self::HmacSha256 { .. } => "hmac-sha256",
        }
    }
}

/// A signature, what it is over, and by whom it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Signed {
    /// What it is.
    pub name: String,
    /// How it is made.
    pub scheme: SignatureScheme,
    /// What is signed: the digest, or with Ed25519 the message itself.
    pub message: Vec<u8>,
    /// The signature as it travels.
    pub signature: Vec<u8>,
    /// The address or the public key that should have signed.
    pub expected: String,
    /// Who did: for secp256k1 the address that it recovers to, otherwise the expected key if it holds; `None` if nobody can be told.
    pub got: Option<String>,
}

/// The signatures of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// ECDSA on secp256k1 over an EIP-712 digest, 65 bytes, low s.
    Secp256k1,
    /// Ed25519 by the strict rule.
    Ed25519,
    /// ECDSA on P-384 over a SHA-384 digest.
    P384,
}

impl SignatureScheme {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secp256k1 => "secp256k1",
            Self::Ed25519 => "ed25519",
            Self::P384 => "ecdsa-p384",
        }
    }
}

/// Every step of a bundle with what it compares.
///
/// # Security
/// No verdict: of a forged bundle this explains the forgery. Whoever needs to know whether to believe it calls
/// [`verify_bundle`](crate::check::verify_bundle).
#[must_use]
pub fn explain(bundle: &Bundle, recover: &dyn Recover) -> Vec<Explained> {
    let explained = |step: Step| {
        let mut sheet = Sheet { parts: Vec::new(), recover };
        explain_step(step, bundle, &mut sheet);
        Explained { step, parts: sheet.parts }
    };
    Step::BUNDLE.iter().copied().map(explained).collect()
}

fn explain_step(step: Step, bundle: &Bundle, sheet: &mut Sheet<'_>) {
    match step {
        Step::AttestDocument => evidence::document(bundle, sheet),
        Step::EvidenceBinding => evidence::binding(bundle, sheet),
        Step::EvidenceTerms => evidence::terms(bundle, sheet),
        Step::EvidenceOperator => evidence::operator(bundle, sheet),
        Step::EvidenceManifest => evidence::manifest(bundle, sheet),
        Step::PolicyWorkload => evidence::workload(bundle, sheet),
        Step::ReceiptSignature => work::receipt(bundle, sheet),
        Step::ReceiptBoot => work::boot(bundle, sheet),
        Step::RequestCommitment => work::request(bundle, sheet),
        Step::ResponseCommitment => work::response(bundle, sheet),
        Step::WorkClaim => work::claim(bundle, sheet),
        Step::WorkDecoding => work::decoding(bundle, sheet),
        Step::WorkSeed => work::seed(bundle, sheet),
        Step::OfferSignature => money::offer(bundle, sheet),
        Step::OfferPrice => money::price(bundle, sheet),
        Step::PaymentSignature => money::payment(bundle, sheet),
        Step::PaymentBinding => money::binding(bundle, sheet),
        Step::ReceiptPayment => money::payment_id(bundle, sheet),
        Step::LogInclusion => logged::inclusion(bundle, sheet),
        Step::LogCheckpoint => logged::checkpoint(bundle, sheet),
        Step::LogWitnesses => logged::witnesses(bundle, sheet),
        Step::LogConsistency => logged::consistency(bundle, sheet),
        // They compare fields, times and lists, which the verdict shows as they are.
        Step::PolicyOperator
        | Step::PolicyRegistry
        | Step::EvidenceBlock
        | Step::RegistryListed
        | Step::ReceiptTime
        | Step::ReceiptBlock
        | Step::WorkModel
        | Step::PrivacyChannel
        | Step::OfferTerms
        | Step::PaymentTerms
        | Step::ReceiptCharge
        | Step::PaymentTransfer
        | Step::LogAnchored => {}
    }
}

/// Where the parts of one step are written down.
pub(crate) struct Sheet<'a> {
    parts: Vec<Part>,
    recover: &'a dyn Recover,
}

/// Names and lengths of pieces.
pub(crate) type Layout<'a> = &'a [(&'a str, usize)];

impl Sheet<'_> {
    pub(crate) fn hashed(&mut self, name: &str, function: HashFunction, preimage: Vec<u8>, digest: &[u8], layout: Layout<'_>) {
        let layout = layout.iter().map(|(name, length)| ((*name).to_string(), *length)).collect();
        self.parts.push(Part::Hashed(Hashed { name: name.into(), function, type_string: None, preimage, layout, digest: digest.to_vec() }));
    }

    pub(crate) fn keccak256(&mut self, name: &str, preimage: Vec<u8>, digest: &Hash32, layout: Layout<'_>) {
        self.hashed(name, HashFunction::Keccak256, preimage, &digest.0, layout);
    }

    pub(crate) fn sha256(&mut self, name: &str, preimage: Vec<u8>, digest: &Hash32, layout: Layout<'_>) {
        self.hashed(name, HashFunction::Sha256, preimage, &digest.0, layout);
    }

    /// A struct, word by word.
    fn typed(&mut self, name: &str, value: &TypedStruct) {
        let words = core::iter::once("typeHash").chain(value.word_names());
        self.parts.push(Part::Hashed(Hashed {
            name: name.into(),
            function: HashFunction::Keccak256,
            type_string: Some(value.type_string().into()),
            preimage: value.preimage(),
            layout: words.map(|word| (word.to_string(), 32)).collect(),
            digest: value.hash().0.to_vec(),
        }));
    }

    /// Each member, and the array of their hashes.
    fn list<T: Structured>(&mut self, name: &str, members: &[T], digest: &Hash32) {
        for (member, at) in members.iter().zip(0_usize..) {
            self.typed(&alloc::format!("{name}, member {at}"), &member.to_struct());
        }
        self.keccak256(name, array_preimage(members.iter().map(Structured::struct_hash)), digest, &[]);
    }

    /// A message of our own domain: the domain, the struct, the digest.
    fn message(&mut self, name: &str, message: &TypedMessage) {
        self.message_in(&candor_domain_struct(), name, message);
    }

    fn message_in(&mut self, domain: &TypedStruct, name: &str, message: &TypedMessage) {
        self.typed("domain separator", domain);
        self.typed(&alloc::format!("{name}, struct"), message.body());
        self.digest(name, message);
    }

    fn digest(&mut self, name: &str, message: &TypedMessage) {
        let layout: Layout<'_> = &[("0x1901", 2), ("domain separator", 32), ("struct", 32)];
        self.keccak256(&alloc::format!("{name}, digest"), message.preimage(), &message.digest(), layout);
    }

    /// A signature by an address, over the digest of a message.
    fn signed(&mut self, name: &str, digest: &Hash32, signature: &Signature65, expected: &Address) {
        let got = signer(self.recover, digest, signature).map(|address| address.to_string());
        self.parts.push(Part::Signed(Signed {
            name: name.into(),
            scheme: SignatureScheme::Secp256k1,
            message: digest.0.to_vec(),
            signature: signature.0.to_vec(),
            expected: expected.to_string(),
            got,
        }));
    }

    /// A signature by a public key, which holds or does not.
    pub(crate) fn signed_by_key(
        &mut self,
        name: &str,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
        key: String,
        holds: bool,
    ) {
        let got = holds.then(|| key.clone());
        let (message, signature) = (message.to_vec(), signature.to_vec());
        self.parts.push(Part::Signed(Signed { name: name.into(), scheme, message, signature, expected: key, got }));
    }

    pub(crate) fn told(&mut self, name: &str, text: impl Into<String>) {
        self.parts.push(Part::Told { name: name.into(), text: text.into() });
    }
}
