//! The delivery: what an enclave sends with the last frame of an answer, so that the client can check it at once.
//!
//! Receipt, decoding record, leaf salt, checkpoint, proof of inclusion, and a proof from the last anchored tree. Its bytes are spliced
//! into the final frame; a bundle keeps them as they came. Spec: bundle.md §2. Nothing here is believed; `check` judges every byte.

use alloc::vec::Vec;

use crate::VERSION;
use crate::bytes::{Hash32, Signature65};
use crate::cbor::{CborError, Reader, Writer};
use crate::checkpoint::{COSIGNATURES_MAX, Checkpoint, Cosignature, Ed25519Signature, SignedCheckpoint};
use crate::decoding::{Decoding, SeedSource};
use crate::receipt::Receipt;
use crate::source::SourceRecord;
use crate::time::{UnixMs, UnixSeconds};
use crate::tlog::{PATH_MAX, Tree};

/// An older tree and the consistency proof from it to the bundle's checkpoint, which binds its size too.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct AnchorLink {
    /// The anchored tree, as whoever made the bundle claims it.
    pub tree: Tree,
    /// RFC 9162 consistency proof from that tree to the checkpoint's.
    pub consistency: Vec<Hash32>,
}

/// What arrives with the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Delivery {
    /// The receipt.
    pub receipt: Receipt,
    /// By K_sig over the receipt's digest.
    pub signature: Signature65,
    /// Salt of the log leaf. With it the holder can show which leaf is theirs; without it nobody can.
    pub leaf_salt: Hash32,
    /// How tokens were chosen.
    pub decoding: Decoding,
    /// The server's share of the seed; `None` if the request named the seed.
    pub seed_share: Option<Hash32>,
    /// Where PROXY work came from; `None` for LOCAL.
    pub source: Option<SourceRecord>,
    /// Salt of the request commitment, if nobody paid: there was no 402 that told it.
    pub request_salt: Option<Hash32>,
    /// A checkpoint of a tree that holds the receipt.
    pub checkpoint: SignedCheckpoint,
    /// From the leaf to that tree's root.
    pub inclusion: Vec<Hash32>,
    /// The last tree anchored before, if any: so that the client alone can anchor this one.
    pub earlier_anchor: Option<AnchorLink>,
}

impl Delivery {
    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(11).u64(VERSION.into()).bytes(&self.receipt.encode()).bytes(&self.signature.0).bytes(&self.leaf_salt.0);
        write_decoding(&mut w, &self.decoding);
        w.hashes(self.seed_share.as_slice()).array(usize::from(self.source.is_some()));
        if let Some(source) = &self.source {
            source.write(&mut w);
        }
        w.hashes(self.request_salt.as_slice());
        write_checkpoint(&mut w, &self.checkpoint);
        w.hashes(&self.inclusion);
        write_link(&mut w, self.earlier_anchor.as_ref());
        w.into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// Where and why the bytes are not a delivery.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.versioned_array_of(11, VERSION)?;
        let receipt = r.words(Receipt::parse)?;
        let delivery = Self {
            receipt,
            signature: r.signature()?,
            leaf_salt: r.hash()?,
            decoding: read_decoding(&mut r)?,
            seed_share: r.optional(Reader::hash)?,
            source: r.optional(SourceRecord::read)?,
            request_salt: r.optional(Reader::hash)?,
            checkpoint: read_checkpoint(&mut r)?,
            inclusion: r.hashes(PATH_MAX)?,
            earlier_anchor: read_link(&mut r)?,
        };
        r.end()?;
        Ok(delivery)
    }
}

pub(crate) fn write_decoding(w: &mut Writer, d: &Decoding) {
    w.array(8).text(&d.engine).bytes(&d.seed.0).u64(d.seed_source.code().into()).u64(d.temperature_e6.into());
    w.u64(d.top_p_e6.into()).u64(d.top_k.into()).u64(d.max_tokens.into()).bytes(&d.stop_hash.0);
}

pub(crate) fn read_decoding(r: &mut Reader<'_>) -> Result<Decoding, CborError> {
    r.array_of(8)?;
    Ok(Decoding {
        engine: r.text(64)?.into(),
        seed: r.hash()?,
        seed_source: r.code(SeedSource::from_code)?,
        temperature_e6: r.u32()?,
        top_p_e6: r.u32()?,
        top_k: r.u32()?,
        max_tokens: r.u32()?,
        stop_hash: r.hash()?,
    })
}

/// Writes a signed checkpoint: log id, size, root, timestamp, both signatures, cosignatures.
pub fn write_checkpoint(w: &mut Writer, signed: &SignedCheckpoint) {
    let c = &signed.checkpoint;
    w.array(7).bytes(&c.log_id.0).u64(c.tree.size).bytes(&c.tree.root.0).u64(c.timestamp.0);
    w.bytes(&signed.note_signature.0).bytes(&signed.signature.0).array(signed.cosignatures.len());
    for cosignature in &signed.cosignatures {
        w.array(3).bytes(&cosignature.witness.0).u64(cosignature.time.0).bytes(&cosignature.signature.0);
    }
}

/// Reads what [`write_checkpoint`] writes. Believes nothing.
///
/// # Errors
/// Where and why the bytes are not a signed checkpoint.
pub fn read_checkpoint(r: &mut Reader<'_>) -> Result<SignedCheckpoint, CborError> {
    r.array_of(7)?;
    let checkpoint = Checkpoint { log_id: r.hash()?, tree: Tree { size: r.u64()?, root: r.hash()? }, timestamp: UnixMs(r.u64()?) };
    Ok(SignedCheckpoint {
        checkpoint,
        note_signature: Ed25519Signature(r.fixed()?),
        signature: r.signature()?,
        cosignatures: r.list(COSIGNATURES_MAX, |r| {
            r.array_of(3)?;
            Ok(Cosignature { witness: r.hash()?, time: UnixSeconds(r.u64()?), signature: Ed25519Signature(r.fixed()?) })
        })?,
    })
}

fn write_link(w: &mut Writer, link: Option<&AnchorLink>) {
    w.array(usize::from(link.is_some()));
    if let Some(link) = link {
        w.array(3).u64(link.tree.size).bytes(&link.tree.root.0).hashes(&link.consistency);
    }
}

fn read_link(r: &mut Reader<'_>) -> Result<Option<AnchorLink>, CborError> {
    r.optional(|r| {
        r.array_of(3)?;
        Ok(AnchorLink { tree: Tree { size: r.u64()?, root: r.hash()? }, consistency: r.hashes(PATH_MAX.saturating_add(1))? })
    })
}
