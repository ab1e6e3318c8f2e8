//! The file `checkpoint`: one C2SP note that carries both signatures, so that they can never be about two trees.
//!
//! Line 1 of the signatures is K_log's (Ed25519, type 0x01), which witnesses and C2SP clients read. Line 2 is K_sig's over the EIP-712
//! `Checkpoint` (own type 0xff), which contracts read: key id ‖ u64 Unix milliseconds ‖ r ‖ s ‖ v. C2SP clients skip it, as they must
//! skip every line of a key they do not know. One file and not two, because one rename is atomic and two are not. Spec: log.md §3.
//! Not here: cosignature lines; witnesses are a later part, and lines of unknown keys are skipped here too.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candor_verify::checkpoint::{Checkpoint, NoteError, SignedCheckpoint, open_note, origin, verify_ed25519};
use candor_verify::eip712::{Recover, signer};
use candor_verify::hash::sha256;
use candor_verify::time::UnixMs;
use candor_verify::tlog::Tree;
use candor_verify::{Address, Signature65};

use crate::LogKeys;

/// What follows the type byte 0xff in the key id of K_sig's line (c2sp.org/signed-note asks for a long identifier there).
const EIP712_LINE: &[u8] = b"candor/checkpoint-eip712/1";

/// A tree that both keys of its log signed. Only [`verify_note`] and [`verify_checkpoint`] make one:
///
/// ```compile_fail,E0451
/// use candor_log::note::VerifiedCheckpoint;
/// fn forge(real: VerifiedCheckpoint, checkpoint: candor_verify::checkpoint::Checkpoint) -> VerifiedCheckpoint {
///     VerifiedCheckpoint { checkpoint, ..real }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn make<T: Default>() -> T { T::default() }
/// let forged: candor_log::note::VerifiedCheckpoint = make();
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    // Kept for whoever calls a contract.
    signature: Signature65,
}

impl VerifiedCheckpoint {
    /// What K_sig signed.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// The tree that K_log and K_sig signed.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.checkpoint.tree
    }

    /// K_sig's signature, for contracts.
    #[must_use]
    pub fn signature(&self) -> Signature65 {
        self.signature
    }
}

/// Why a checkpoint is not one of this log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note or K_log's signature is wrong.
    Note(NoteError),
    /// There is not exactly one line by K_sig, or it is not 77 bytes of base64.
    Eip712Line,
    /// K_sig's line is by another key, or about another tree or time.
    Eip712Signer {
        /// K_sig.
        expected: Address,
        /// Who signed, if anybody did.
        got: Option<Address>,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(error) => error.fmt(f),
            Self::Eip712Line => f.write_str("not exactly one signature line of 77 bytes by K_sig"),
            Self::Eip712Signer { expected, got: Some(got) } => write!(f, "expected a signature by K_sig {expected}, got one by {got}"),
            Self::Eip712Signer { expected, got: None } => write!(f, "expected a signature by K_sig {expected}, got one by nobody"),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// The text of the file for a checkpoint. Cosignatures are not written.
#[must_use]
pub fn write_note(keys: &LogKeys, signed: &SignedCheckpoint) -> String {
    let mut line = eip712_key_id(keys).to_vec();
    line.extend_from_slice(&signed.checkpoint.timestamp.0.to_be_bytes());
    line.extend_from_slice(&signed.signature.0);
    let note = signed.checkpoint.note(&keys.k_log(), &signed.note_signature);
    format!("{note}\u{2014} {} {}\n", origin(&keys.log_id()), STANDARD.encode(line))
}

/// Reads the file and verifies both signatures.
///
/// # Security
/// Proves that the keys signed this tree, not that the keys are attested, that the tree is the newest, or that it is the only one.
///
/// # Errors
/// The first of the two signatures that fails.
pub fn verify_note(recover: &dyn Recover, keys: &LogKeys, text: &str) -> Result<VerifiedCheckpoint, CheckpointError> {
    let tree = open_note(text, &keys.log_id(), &keys.k_log()).map_err(CheckpointError::Note)?;
    let (timestamp, signature) = eip712_line(keys, text).ok_or(CheckpointError::Eip712Line)?;
    verify_eip712(recover, keys, Checkpoint { log_id: keys.log_id(), tree, timestamp: UnixMs(timestamp) }, signature)
}

/// The same for a checkpoint that did not travel as a note.
///
/// # Errors
/// As [`verify_note`]; another log id is `Note(Origin)`.
pub fn verify_checkpoint(recover: &dyn Recover, keys: &LogKeys, signed: &SignedCheckpoint) -> Result<VerifiedCheckpoint, CheckpointError> {
    if signed.checkpoint.log_id != keys.log_id() {
        return Err(CheckpointError::Note(NoteError::Origin));
    }
    if !verify_ed25519(&keys.k_log(), signed.checkpoint.note_body().as_bytes(), &signed.note_signature) {
        return Err(CheckpointError::Note(NoteError::Signature));
    }
    verify_eip712(recover, keys, signed.checkpoint, signed.signature)
}

fn verify_eip712(
    recover: &dyn Recover,
    keys: &LogKeys,
    checkpoint: Checkpoint,
    signature: Signature65,
) -> Result<VerifiedCheckpoint, CheckpointError> {
    let got = signer(recover, &checkpoint.digest(), &signature);
    if got == Some(keys.k_sig()) {
        Ok(VerifiedCheckpoint { checkpoint, signature })
    } else {
        Err(CheckpointError::Eip712Signer { expected: keys.k_sig(), got })
    }
}

/// Time and signature of K_sig's line.
fn eip712_line(keys: &LogKeys, text: &str) -> Option<(u64, Signature65)> {
    let bytes = one_line(keys, text, eip712_key_id(keys))?;
    let (timestamp, signature) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*timestamp), Signature65::from_slice(signature)?))
}

/// What follows the key id in the only signature line of that key. Two lines of one key are no line: which would count?
fn one_line(keys: &LogKeys, text: &str, key_id: [u8; 4]) -> Option<Vec<u8>> {
    let name = origin(&keys.log_id());
    let (_, signatures) = text.split_once("\n\n")?;
    let mut found = signatures.lines().filter_map(|line| {
        let (signer, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok().filter(|_| signer == name)?;
        bytes.strip_prefix(&key_id).map(<[u8]>::to_vec)
    });
    let line = found.next()?;
    found.next().is_none().then_some(line)
}

/// Key id of K_sig's line: sha256(name ‖ "\n" ‖ 0xff ‖ identifier ‖ address), first four bytes.
fn eip712_key_id(keys: &LogKeys) -> [u8; 4] {
    let name = origin(&keys.log_id());
    let hash = sha256(&[name.as_bytes(), b"\n", &[0xff], EIP712_LINE, &keys.k_sig().0]);
    hash.0.first_chunk::<4>().copied().unwrap_or_default()
}
