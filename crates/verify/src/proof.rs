//! The proof: a bundle without what was asked and what was answered. Whoever has a copy of both makes the very same bundle of it again.
//!
//! It is for whoever must be able to prove answers and must not keep them. Judged alone, every check is made that needs no text, and the
//! others are *not checked*: a proof alone is never *verified*. The evidence of a boot is large and the same in all of its proofs of an hour, so a
//! proof may name it by its hash. Spec: bundle.md §8.
//!
//! Not here: the checks ([`crate::check::verify_without_texts`]), and where evidence lies that is only named.
//!
//! # Security
//! A proof holds the salts and the seed of the commitments, without which nobody could hold a copy against them: its holder can test guesses of
//! prompt and answer.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::VERSION;
use crate::bundle::{BUNDLE_MAX, Bundle, LaterTree, Request, Response, Sale, read_tail, write_tail};
use crate::bytes::Hash32;
use crate::cbor::{CborError, Reader, Writer};
use crate::delivery::Delivery;
use crate::evidence::Evidence;
use crate::hash::sha256;
use crate::tags;
use crate::transcript::{commitment_of, unsplice};

/// The word behind the version, so that no proof is taken for anything else.
const WORD: &str = "proof";

/// First byte of a proof: an array of eight. A bundle begins with an array of seven.
const FIRST: u8 = 0x88;

/// The evidence of a proof, or its name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a form more is another version")]
pub enum ProofEvidence {
    /// By [`evidence_hash`]; it lies elsewhere.
    Named(Hash32),
    /// In the proof itself.
    Held(Box<Evidence>),
}

/// A bundle without body and frames.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Proof {
    /// Evidence current when the receipt was signed.
    pub evidence: ProofEvidence,
    /// Salt of the request's commitment.
    pub salt: Hash32,
    /// HTTP method of the request.
    pub method: String,
    /// Path and query of the request.
    pub path: String,
    /// Blinding seed of the transcript.
    pub seed: Hash32,
    /// How it was sold; `None` if nobody paid.
    pub sale: Option<Sale>,
    /// What came with the answer.
    pub delivery: Delivery,
    /// As in a bundle.
    pub later_trees: Vec<LaterTree>,
}

/// A file of one answer, whole or without its texts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: the two forms in which an answer is kept")]
pub enum Kept {
    /// With request and answer.
    Bundle(Box<Bundle>),
    /// Without.
    Proof(Box<Proof>),
}

impl Kept {
    /// Reads either form. Believes nothing.
    ///
    /// # Errors
    /// As the reader of the form that the bytes begin like.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        match bytes.first() {
            Some(&FIRST) => Proof::parse(bytes).map(|proof| Self::Proof(Box::new(proof))),
            _ => Bundle::parse(bytes).map(|bundle| Self::Bundle(Box::new(bundle))),
        }
    }
}

/// Why a proof cannot be judged, or made a bundle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProofEvidenceError {
    /// It only names its evidence, by this hash.
    NoEvidence {
        /// Of the evidence that is missing.
        expected: Hash32,
    },
    /// The evidence that was brought is not the one that it names.
    OtherEvidence {
        /// Of the evidence that it names.
        expected: Hash32,
        /// Of the evidence that was brought.
        got: Hash32,
    },
}

impl fmt::Display for ProofEvidenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEvidence { expected } => write!(f, "the proof names evidence {expected} and does not hold it"),
            Self::OtherEvidence { expected, got } => write!(f, "the proof names evidence {expected}, and this is {got}"),
        }
    }
}

impl core::error::Error for ProofEvidenceError {}

/// The name of evidence: sha256(tag ‖ its encoding).
#[must_use]
pub fn evidence_hash(evidence: &Evidence) -> Hash32 {
    sha256(&[tags::EVIDENCE, &evidence.encode()])
}

impl Proof {
    /// The proof of a bundle, with its evidence in it.
    #[must_use]
    pub fn of(bundle: &Bundle) -> Self {
        let Bundle { evidence, request, response, sale, delivery, later_trees } = bundle.clone();
        let Request { salt, method, path, .. } = request;
        Self { evidence: ProofEvidence::Held(Box::new(evidence)), salt, method, path, seed: response.seed, sale, delivery, later_trees }
    }

    /// The same, which only names its evidence.
    #[must_use]
    pub fn naming(self) -> Self {
        Self { evidence: ProofEvidence::Named(self.evidence_hash()), ..self }
    }

    /// The same, with the evidence that it names.
    ///
    /// # Errors
    /// `OtherEvidence`.
    pub fn holding(self, evidence: Evidence) -> Result<Self, ProofEvidenceError> {
        let (expected, got) = (self.evidence_hash(), evidence_hash(&evidence));
        if expected != got {
            return Err(ProofEvidenceError::OtherEvidence { expected, got });
        }
        Ok(Self { evidence: ProofEvidence::Held(Box::new(evidence)), ..self })
    }

    /// The name of its evidence.
    #[must_use]
    pub fn evidence_hash(&self) -> Hash32 {
        match &self.evidence {
            ProofEvidence::Named(hash) => *hash,
            ProofEvidence::Held(evidence) => evidence_hash(evidence),
        }
    }

    /// The bundle that it is of, if body and frames are the caller's own copy, byte for byte. With others it is a bundle that its checks of request
    /// and answer refuse.
    ///
    /// # Errors
    /// `NoEvidence`.
    pub fn to_bundle(&self, body: Vec<u8>, frames: Vec<Vec<u8>>) -> Result<Bundle, ProofEvidenceError> {
        let ProofEvidence::Held(evidence) = &self.evidence else {
            return Err(ProofEvidenceError::NoEvidence { expected: self.evidence_hash() });
        };
        Ok(Bundle {
            evidence: (**evidence).clone(),
            request: Request { salt: self.salt, method: self.method.clone(), path: self.path.clone(), body },
            response: Response { seed: self.seed, frames },
            sale: self.sale.clone(),
            delivery: self.delivery.clone(),
            later_trees: self.later_trees.clone(),
        })
    }

    /// [`Proof::to_bundle`] of a copy that may be as it travelled, with the delivery as the last member of its last frame. Whether it is, the
    /// commitment says: an answer may end in a member of that name by itself. Spec: bundle.md §8 (BNDL-11).
    ///
    /// # Errors
    /// `NoEvidence`.
    pub fn with_copy(&self, body: Vec<u8>, mut frames: Vec<Vec<u8>>) -> Result<Bundle, ProofEvidenceError> {
        let committed = self.delivery.receipt.work.response_commitment;
        let cut = frames.split_last().and_then(|(last, before)| {
            let (value, _) = unsplice(last)?;
            let frames = before.iter().map(Vec::as_slice).chain([value.as_slice()]);
            (commitment_of(&self.seed, frames) == committed).then_some(value)
        });
        if let (Some(value), Some(last)) = (cut, frames.last_mut()) {
            *last = value;
        }
        self.to_bundle(body, frames)
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(8).u64(VERSION.into()).text(WORD).array(2);
        match &self.evidence {
            ProofEvidence::Named(hash) => w.u64(0).bytes(&hash.0),
            ProofEvidence::Held(evidence) => w.u64(1).bytes(&evidence.encode()),
        };
        w.array(3).bytes(&self.salt.0).text(&self.method).text(&self.path).bytes(&self.seed.0);
        write_tail(&mut w, self.sale.as_ref(), &self.delivery, &self.later_trees);
        w.into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// Where and why the bytes are not a proof.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        if BUNDLE_MAX < bytes.len() {
            return Err(CborError::Value { offset: BUNDLE_MAX });
        }
        let mut r = Reader::new(bytes);
        r.versioned_array_of(8, VERSION)?;
        if r.text(WORD.len())? != WORD {
            return Err(CborError::Value { offset: 2 });
        }
        r.array_of(2)?;
        let evidence = match r.u8()? {
            0 => ProofEvidence::Named(r.hash()?),
            1 => ProofEvidence::Held(Box::new(Evidence::parse(r.bytes(BUNDLE_MAX)?)?)),
            _ => return Err(CborError::Value { offset: 9 }),
        };
        r.array_of(3)?;
        let (salt, method, path) = (r.hash()?, r.text(16)?.into(), r.text(2048)?.into());
        let seed = r.hash()?;
        let (sale, delivery, later_trees) = read_tail(&mut r, bytes.len())?;
        Ok(Self { evidence, salt, method, path, seed, sale, delivery, later_trees })
    }
}
