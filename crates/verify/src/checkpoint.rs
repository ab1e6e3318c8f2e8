//! Checkpoints: a log's size and root, signed twice and cosigned by witnesses.
//!
//! K_log (Ed25519) signs a C2SP note for the witness world; K_sig (secp256k1) signs the same tree as EIP-712 for contracts. A
//! checkpoint by the same enclave adds nothing if the TEE is broken; witnesses and anchors do, and levels never merge.
//! Spec: log.md §3 (c2sp.org/tlog-checkpoint, c2sp.org/signed-note, c2sp.org/tlog-cosignature).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::abi::Words;
use crate::bytes::{Hash32, Signature65};
use crate::eip712::{TypedMessage, TypedStruct};
use crate::hash::sha256;
use crate::time::{UnixMs, UnixSeconds};
use crate::tlog::Tree;

/// At most this many cosignatures on one checkpoint.
pub const COSIGNATURES_MAX: usize = 32;

/// The most leaves that one checkpoint adds to the one before: a group of the log, and so the most proofs that a host makes for it.
pub const GROUP_MAX: usize = 4096;

/// What K_sig signs about a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Checkpoint {
    /// Which log.
    pub log_id: Hash32,
    /// Its size and root.
    pub tree: Tree,
    /// Unix milliseconds by the enclave's clock.
    pub timestamp: UnixMs,
}

impl Checkpoint {
    /// The EIP-712 digest.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        self.message().digest()
    }

    /// What K_sig signs.
    #[must_use]
    pub fn message(&self) -> TypedMessage {
        const TYPE: &str = "Checkpoint(bytes32 logId,uint64 size,bytes32 root,uint64 timestamp)";
        let data = Words::new().hash(&self.log_id).u64(self.tree.size).hash(&self.tree.root).u64(self.timestamp.0);
        TypedMessage::candor(TypedStruct::new(TYPE, data))
    }

    /// The text of the C2SP note, which K_log signs: origin, size, root, each on its line. No extension lines.
    #[must_use]
    pub fn note_body(&self) -> String {
        format!("{}\n{}\n{}\n", origin(&self.log_id), self.tree.size, base64(&self.tree.root.0))
    }

    /// The whole signed note, as served at `checkpoint`.
    #[must_use]
    pub fn note(&self, k_log: &Hash32, signature: &Ed25519Signature) -> String {
        let name = origin(&self.log_id);
        let mut line = key_id(&name, NOTE_ED25519, k_log).to_vec();
        line.extend_from_slice(&signature.0);
        format!("{}\n\u{2014} {name} {}\n", self.note_body(), base64(&line))
    }
}

/// A checkpoint with everything that vouches for it, as it travels. Nothing is believed yet.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// By K_log over the note body.
    pub note_signature: Ed25519Signature,
    /// By K_sig over the digest.
    pub signature: Signature65,
    /// By witnesses.
    pub cosignatures: Vec<Cosignature>,
}

/// A witness's statement: at this time this tree was consistent with everything I had seen of this log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Cosignature {
    /// Ed25519 public key of the witness. A key outside the policy is refused, not ignored.
    pub witness: Hash32,
    /// Unix seconds by the witness's clock.
    pub time: UnixSeconds,
    /// Over the cosignature message.
    pub signature: Ed25519Signature,
}

impl Cosignature {
    /// What a witness signs (c2sp.org/tlog-cosignature v1).
    #[must_use]
    pub fn message(time: UnixSeconds, note_body: &str) -> String {
        format!("cosignature/v1\ntime {time}\n{note_body}")
    }

    /// Whether the witness's signature is right for this note body.
    #[must_use]
    pub fn is_valid(&self, note_body: &str) -> bool {
        verify_ed25519(&self.witness, Self::message(self.time, note_body).as_bytes(), &self.signature)
    }
}

/// An Ed25519 signature, R ‖ S.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Ed25519Signature(pub [u8; 64]);

impl core::fmt::Debug for Ed25519Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ed25519Signature(64 bytes, not shown)")
    }
}

/// Whether `signature` is right, by the strict rule (RFC 8032 with canonical S, no small-order keys): one form per signature.
#[must_use]
pub fn verify_ed25519(public_key: &Hash32, message: &[u8], signature: &Ed25519Signature) -> bool {
    use ed25519_dalek::{Signature, VerifyingKey};
    let Ok(key) = VerifyingKey::from_bytes(&public_key.0) else { return false };
    key.verify_strict(message, &Signature::from_bytes(&signature.0)).is_ok()
}

/// First line of a log's checkpoints, and the name of its note key.
#[must_use]
pub fn origin(log_id: &Hash32) -> String {
    let hex = format!("{log_id}");
    format!("candor/log/{}", hex.trim_start_matches("0x"))
}

/// Signature type byte of a plain Ed25519 note signature (c2sp.org/signed-note).
pub const NOTE_ED25519: u8 = 1;

/// Key id of a note key: the first four bytes of sha256(name ‖ "\n" ‖ type ‖ public key).
#[must_use]
pub fn key_id(name: &str, kind: u8, public_key: &Hash32) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[kind], &public_key.0]);
    hash.0.first_chunk::<4>().copied().unwrap_or_default()
}

/// Why a text is not a checkpoint note of this log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NoteError {
    /// Not the four parts of a note: origin, size, root, empty line, signature lines.
    Shape,
    /// The origin line names another log.
    Origin,
    /// The size is not a plain decimal, or the root is not 32 bytes of base64.
    Tree,
    /// No signature line by K_log, or its signature is wrong.
    Signature,
}

impl core::fmt::Display for NoteError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Shape => "not a checkpoint note: origin, size, root, an empty line and signatures are expected",
            Self::Origin => "the note is of another log",
            Self::Tree => "the note's size is no plain decimal, or its root is not 32 bytes of base64",
            Self::Signature => "the note has no valid signature by K_log",
        })
    }
}

impl core::error::Error for NoteError {}

/// Reads a served note and checks K_log's signature. Other signature lines are skipped: they are for witnesses' own readers.
///
/// # Errors
/// What is wrong with it.
pub fn open_note(text: &str, log_id: &Hash32, k_log: &Hash32) -> Result<Tree, NoteError> {
    let (body, signatures) = text.split_once("\n\n").ok_or(NoteError::Shape)?;
    let mut lines = body.split('\n');
    let (Some(name), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next()) else {
        return Err(NoteError::Shape);
    };
    if name != origin(log_id) {
        return Err(NoteError::Origin);
    }
    let plain = size == "0" || (!size.starts_with('0') && size.bytes().all(|b| b.is_ascii_digit()));
    let size = size.parse().ok().filter(|_| plain).ok_or(NoteError::Tree)?;
    let root = unbase64(root).and_then(|bytes| Hash32::from_slice(&bytes)).ok_or(NoteError::Tree)?;
    let id = key_id(name, NOTE_ED25519, k_log);
    let found = signatures.lines().filter_map(|line| line.strip_prefix("\u{2014} ")?.split_once(' ')).any(|(signer, encoded)| {
        let Some(bytes) = unbase64(encoded).filter(|_| signer == name) else { return false };
        let Some((line_id, signature)) = bytes.split_first_chunk::<4>() else { return false };
        let Ok(signature) = <[u8; 64]>::try_from(signature) else { return false };
        *line_id == id && verify_ed25519(k_log, format!("{body}\n").as_bytes(), &Ed25519Signature(signature))
    });
    if found { Ok(Tree { size, root }) } else { Err(NoteError::Signature) }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding (RFC 4648 §4). Twenty lines here instead of a dependency of the verifier.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let (a, b, c) = (chunk.first(), chunk.get(1), chunk.get(2));
        let word = [a, b, c].into_iter().fold(0u32, |word, byte| (word << 8) | u32::from(byte.copied().unwrap_or(0)));
        for (position, shift) in [18u32, 12, 6, 0].into_iter().enumerate() {
            let symbol = usize::try_from((word >> shift) & 63).ok().and_then(|at| ALPHABET.get(at)).copied().unwrap_or(b'=');
            out.push(if position <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    out
}

/// Strict inverse of [`base64`]: canonical padding and zero spare bits, nothing else.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let pad = chunk.iter().rev().take_while(|b| **b == b'=').count();
        let mut word = 0u32;
        for byte in chunk {
            let value = if *byte == b'=' { 0 } else { ALPHABET.iter().position(|symbol| symbol == byte)? };
            word = (word << 6) | u32::try_from(value).ok()?;
        }
        let [_, a, b, c] = word.to_be_bytes();
        out.extend([a, b, c].into_iter().take(3_usize.checked_sub(pad)?));
    }
    (base64(&out) == text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    fn signed() -> (Checkpoint, Hash32, Ed25519Signature) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let checkpoint = Checkpoint { log_id: Hash32([1; 32]), tree: Tree { size: 12, root: Hash32([2; 32]) }, timestamp: UnixMs(3) };
        let signature = Ed25519Signature(key.sign(checkpoint.note_body().as_bytes()).to_bytes());
        (checkpoint, Hash32(key.verifying_key().to_bytes()), signature)
    }

    #[test]
    fn a_note_opens_and_every_changed_byte_is_rejected() {
        let (checkpoint, key, signature) = signed();
        let note = checkpoint.note(&key, &signature);
        assert_eq!(open_note(&note, &checkpoint.log_id, &key), Ok(checkpoint.tree));
        for at in 0..note.len() - 1 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(open_note(&text, &checkpoint.log_id, &key).is_err(), "byte {at}");
            }
        }
        assert_eq!(open_note(&note, &Hash32([9; 32]), &key), Err(NoteError::Origin));
        assert_eq!(open_note(&note, &checkpoint.log_id, &Hash32([9; 32])), Err(NoteError::Signature));
        assert_eq!(open_note("", &checkpoint.log_id, &key), Err(NoteError::Shape));
    }

    #[test]
    fn a_cosignature_is_bound_to_its_time_and_note() {
        let witness = SigningKey::from_bytes(&[8; 32]);
        let body = signed().0.note_body();
        let signature = Ed25519Signature(witness.sign(Cosignature::message(UnixSeconds(5), &body).as_bytes()).to_bytes());
        let cosignature = Cosignature { witness: Hash32(witness.verifying_key().to_bytes()), time: UnixSeconds(5), signature };
        assert!(cosignature.is_valid(&body));
        assert!(!Cosignature { time: UnixSeconds(6), ..cosignature }.is_valid(&body));
        assert!(!cosignature.is_valid("other"));
    }

    #[test]
    fn base64_is_standard_and_strict() {
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        assert_eq!(base64(b"fooba"), "Zm9vYmE=");
        assert_eq!(base64(b"foob"), "Zm9vYg==");
        assert_eq!(unbase64("Zm9vYg=="), Some(b"foob".to_vec()));
        for bad in ["Zm9vYg", "Zm9vYh==", "Zm9v Yg=", "====", "Zm9vY===", "-m9v"] {
            assert_eq!(unbase64(bad), None, "{bad}");
        }
    }
}
