//! Reading and writing the parts that several messages share. Deterministic CBOR through `candor_verify::cbor`.
//!
//! Lists of hashes are one byte string of 32 bytes each: a transcript of 65,536 frames is one item, not 65,536.
//! An optional value is an array of no or one member, as in every CBOR of ours. Spec: link.md §4.

use std::fmt;

use candor_verify::Hash32;
use candor_verify::cbor::{CborError, Reader, Writer};
use candor_verify::delivery::{read_checkpoint, write_checkpoint};
use candor_verify::manifest::Manifest;
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::Tree;

use crate::limits::{EVIDENCE_MAX, MAX_ANSWER, MAX_MESSAGE, MAX_PATH};
use crate::message::{AnchoredProof, BlockHead, Ready, RefusalCode, Refused};

/// Why a frame is not a message of its direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// Not the CBOR that its kind demands.
    Cbor(CborError),
    /// A kind that this direction does not have.
    Kind {
        /// The kind.
        got: u64,
    },
    /// A field is well-formed CBOR with a value that is not allowed.
    Field {
        /// Its name in link.md.
        name: &'static str,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cbor(error) => write!(f, "link message: {error}"),
            Self::Kind { got } => write!(f, "link message of kind {got}, which this direction does not have"),
            Self::Field { name } => write!(f, "link message: {name} has a value that is not allowed"),
        }
    }
}

impl std::error::Error for MessageError {}

impl From<CborError> for MessageError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

pub(crate) type Parsed<T> = Result<T, MessageError>;

/// Reads `[kind, id, fields…]`: what a kind needs is read by `body`, which must read exactly its fields.
pub(crate) fn parse_message<T>(
    payload: &[u8],
    fields_of: impl FnOnce(u64) -> Option<u64>,
    body: impl FnOnce(u64, u64, &mut Reader<'_>) -> Parsed<T>,
) -> Parsed<T> {
    // The head says how many fields follow, so the kind is read from a copy first.
    let mut peek = Reader::new(payload);
    let kind = peek_kind(&mut peek)?;
    let fields = fields_of(kind).ok_or(MessageError::Kind { got: kind })?;
    let mut r = Reader::new(payload);
    r.array_of(fields.saturating_add(2))?;
    r.exactly(kind)?;
    let id = r.u64()?;
    let message = body(kind, id, &mut r)?;
    r.end()?;
    Ok(message)
}

/// Most fields of any message, head included.
const MAX_ITEMS: usize = 32;

fn peek_kind(r: &mut Reader<'_>) -> Parsed<u64> {
    let mut kind = None;
    // A list reader that stops at its first member: the rest is read by the real pass.
    let stop = CborError::Value { offset: 0 };
    let outcome = r.list::<()>(MAX_ITEMS, |r| {
        kind = Some(r.u64()?);
        Err(stop)
    });
    match (kind, outcome) {
        (Some(kind), _) => Ok(kind),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(_)) => Err(MessageError::Field { name: "kind" }),
    }
}

/// Starts `[kind, id, fields…]`.
pub(crate) fn message(kind: u64, id: u64, fields: usize) -> Writer {
    let mut w = Writer::new();
    w.array(fields.saturating_add(2)).u64(kind).u64(id);
    w
}

pub(crate) fn field<T>(name: &'static str, value: Option<T>) -> Parsed<T> {
    value.ok_or(MessageError::Field { name })
}

pub(crate) fn read_bool(r: &mut Reader<'_>, name: &'static str) -> Parsed<bool> {
    match r.u64()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(MessageError::Field { name }),
    }
}

pub(crate) fn write_hash_run(w: &mut Writer, hashes: &[Hash32]) {
    let mut bytes = Vec::with_capacity(hashes.len().saturating_mul(32));
    for hash in hashes {
        bytes.extend_from_slice(&hash.0);
    }
    w.bytes(&bytes);
}

/// Splits a run of hashes that was read as one byte string.
pub(crate) fn hash_run(bytes: &[u8], name: &'static str) -> Parsed<Vec<Hash32>> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(MessageError::Field { name });
    }
    Ok(chunks.iter().copied().map(Hash32).collect())
}

pub(crate) fn read_hash_run(r: &mut Reader<'_>, limit: usize, name: &'static str) -> Parsed<Vec<Hash32>> {
    hash_run(r.bytes(limit.saturating_mul(32))?, name)
}

/// A piece of a kept answer lies within it, and is not empty.
pub(crate) fn check_piece(offset: u64, total: u64, bytes: &[u8]) -> Parsed<()> {
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let limit = u64::try_from(MAX_ANSWER).unwrap_or(u64::MAX);
    let end = offset.checked_add(len).filter(|end| 0 < len && *end <= total && total <= limit);
    field("offset, total, bytes", end).map(drop)
}

pub(crate) fn write_head(w: &mut Writer, head: &BlockHead) {
    w.array(4).u64(head.chain_id).u64(head.number).bytes(&head.hash.0).u64(head.timestamp.0);
}

pub(crate) fn read_head(r: &mut Reader<'_>) -> Result<BlockHead, CborError> {
    r.array_of(4)?;
    Ok(BlockHead { chain_id: r.u64()?, number: r.u64()?, hash: r.hash()?, timestamp: UnixSeconds(r.u64()?) })
}

pub(crate) fn write_tree(w: &mut Writer, tree: &Tree) {
    w.array(2).u64(tree.size).bytes(&tree.root.0);
}

pub(crate) fn read_tree(r: &mut Reader<'_>) -> Result<Tree, CborError> {
    r.array_of(2)?;
    Ok(Tree { size: r.u64()?, root: r.hash()? })
}

pub(crate) fn write_optional<T>(w: &mut Writer, value: Option<&T>, write: impl FnOnce(&mut Writer, &T)) {
    w.array(usize::from(value.is_some()));
    if let Some(value) = value {
        write(w, value);
    }
}

pub(crate) fn write_anchored(w: &mut Writer, anchored: Option<&Tree>) {
    write_optional(w, anchored, write_tree);
}

pub(crate) fn read_anchored(r: &mut Reader<'_>) -> Result<Option<Tree>, CborError> {
    r.optional(read_tree)
}

pub(crate) fn write_proof(w: &mut Writer, proof: &AnchoredProof) {
    w.array(4);
    write_checkpoint(w, &proof.checkpoint);
    write_hash_run(w, &proof.inclusion);
    write_anchored(w, proof.anchored.as_ref());
    write_hash_run(w, &proof.consistency);
}

pub(crate) fn read_proof(r: &mut Reader<'_>) -> Parsed<AnchoredProof> {
    r.array_of(4)?;
    Ok(AnchoredProof {
        checkpoint: read_checkpoint(r)?,
        inclusion: read_hash_run(r, MAX_PATH, "inclusion")?,
        anchored: read_anchored(r)?,
        consistency: read_hash_run(r, MAX_PATH, "consistency")?,
    })
}

pub(crate) fn write_ready(w: &mut Writer, ready: &Ready) {
    w.bytes(&ready.manifest.encode()).bytes(&ready.evidence).bytes(&ready.boot_signature.0);
}

pub(crate) fn read_ready(r: &mut Reader<'_>) -> Parsed<Ready> {
    let manifest = r.bytes(Manifest::WORDS.saturating_mul(32))?;
    let manifest = field("manifest", Manifest::parse(manifest).ok())?;
    Ok(Ready { manifest, evidence: r.bytes(EVIDENCE_MAX)?.to_vec(), boot_signature: r.signature()? })
}

pub(crate) fn write_refused(w: &mut Writer, refused: &Refused) {
    w.text(refused.code.as_str()).text(&refused.message);
}

pub(crate) fn read_refused(r: &mut Reader<'_>) -> Parsed<Refused> {
    let code = field("code", RefusalCode::parse(r.text(32)?))?;
    Ok(Refused { code, message: r.text(MAX_MESSAGE)?.to_owned() })
}
