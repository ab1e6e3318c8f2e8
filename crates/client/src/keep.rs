//! Where answers are kept, and what of them: every answer that was paid for, the refused ones as evidence against the node.
//!
//! | [`KeepMode`] | file | holds |
//! |---|---|---|
//! | `Full` | `ID.candor` | the bundle |
//! | `Proof` | `ID.proof.candor` | the bundle without prompt and answer; its evidence, one file for all of the same, in `evidence/` |
//! | `None` | none | nothing: a row of the index |
//! | any, refused | `ID.refused.candor` | the bundle, whole, so that anybody can judge it again |
//!
//! One mode for all files: a bundle holds prompt and answer in clear, and its owner alone may read it. Nothing is written over another
//! answer. Not here: the verdict, and finding a file again (`index`).

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::cbor::CborError;
use candor_verify::check::{ChainFacts, verify_bundle, verify_without_texts};
use candor_verify::eip712::K256;
use candor_verify::evidence::Evidence;
use candor_verify::policy::Policy;
use candor_verify::proof::{Kept, Proof, ProofEvidence, evidence_hash};
use candor_verify::receipt::{Receipt, receipt_id};
use candor_verify::verdict::Verdict;

use crate::error::ClientError;
use crate::files::{file_error, private_directory, write_new, write_private};
use crate::index::{BundleIndex, IndexedAnswer, WhenKept, ensure};

/// Files with one receipt id, at most: a node that gives many answers one id fills no disk.
const SAME_ID_MAX: usize = 100;

/// What is kept of an answer that is not refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: all, what verifies, nothing")]
pub enum KeepMode {
    /// The bundle.
    #[default]
    Full,
    /// What verifies against the caller's own copy of request and answer, and neither of them.
    Proof,
    /// The row of the index: ids and money.
    None,
}

impl KeepMode {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Full, Self::Proof, Self::None];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Proof => "proof",
            Self::None => "none",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// Where an ask keeps its answer, and what of it.
#[derive(Debug)]
pub struct Keep {
    index: BundleIndex,
    mode: KeepMode,
    // In this file; else in the directory of the index, under the receipt's id.
    at: Option<PathBuf>,
}

impl Keep {
    /// In the directory of the index, under the receipt's id.
    #[must_use]
    pub fn new(index: BundleIndex, mode: KeepMode) -> Self {
        Self { index, mode, at: None }
    }

    /// In this file, which then holds its evidence too.
    #[must_use]
    pub fn at(index: BundleIndex, mode: KeepMode, file: PathBuf) -> Self {
        Self { index, mode, at: Some(file) }
    }

    /// Keeps an answer whole that nobody has read, whatever is kept of others: its texts are nowhere else. Where it is.
    pub(crate) fn unread(&self, bundle: &Bundle, verdict: &Verdict) -> Result<PathBuf, ClientError> {
        self.keep_whole("candor", bundle, WhenKept::of(verdict))
    }

    /// The file of an answer in the directory, if one is there.
    pub(crate) fn find(&self, receipt_id: &str) -> Option<PathBuf> {
        let names = ["candor", "proof.candor"].map(|extension| self.index.directory().join(format!("{receipt_id}.{extension}")));
        names.into_iter().find(|path| path.exists())
    }

    /// Whether what the caller named is free: a bundle is evidence of a payment, and is written over nothing. To be asked before anything
    /// is paid.
    ///
    /// # Errors
    /// `File` if the file, or one that would lie beside it, is there already, or its directory is not.
    pub fn check_free(&self) -> Result<(), ClientError> {
        let Some(path) = &self.at else { return Ok(()) };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.is_dir() {
            return Err(file_error(path, &format!("there is no directory {}; nothing was paid", directory.display())));
        }
        let all = [path.clone(), refused_path(path), path.with_extension("hints.json")];
        // A link to nowhere is somebody's file too.
        match all.iter().find(|path| path.symlink_metadata().is_ok()) {
            Some(taken) => Err(file_error(taken, &"is there already and was not touched; nothing was paid")),
            None => Ok(()),
        }
    }

    /// Keeps an answer that was not refused; where, unless nothing is kept of it.
    pub(crate) fn accepted(&self, bundle: &Bundle, verdict: &Verdict) -> Result<Option<PathBuf>, ClientError> {
        let when_kept = WhenKept::of(verdict);
        if self.mode == KeepMode::None {
            // The row is all there is: without it the answer was not kept, and its payment stays as it is.
            self.index.put(&IndexedAnswer::of(bundle, None, self.mode, 0, when_kept))?;
            return Ok(None);
        }
        let extension = if self.mode == KeepMode::Proof { "proof.candor" } else { "candor" };
        if self.names_evidence() {
            // Crash: evidence that no proof names, which `erase_leftovers` finds; never a proof without its evidence.
            ensure(&self.evidence_path(bundle), &bundle.evidence.encode())?;
        }
        let bytes = self.bytes(bundle);
        let path = self.write(extension, bundle, &bytes)?;
        self.index_file(&path, bundle, &bytes, when_kept)?;
        Ok(Some(path))
    }

    /// Keeps a refused answer, whole; if that fails, says why, because the refusal is what the caller must hear.
    pub(crate) fn refused(&self, bundle: &Bundle, check: &str) -> Result<PathBuf, String> {
        self.keep_whole("refused.candor", bundle, WhenKept::refused(check)).map_err(|error| error.to_string())
    }

    fn keep_whole(&self, extension: &str, bundle: &Bundle, when_kept: WhenKept) -> Result<PathBuf, ClientError> {
        let bytes = bundle.encode();
        let path = self.write(extension, bundle, &bytes)?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // The file is there, and the index is made from the files.
        drop(self.index.put(&IndexedAnswer::of(bundle, Some(path.clone()), KeepMode::Full, size, when_kept)));
        Ok(path)
    }

    /// Writes a kept answer again with what was added to its bundle since, and the verdict on it.
    ///
    /// # Errors
    /// `File`.
    pub fn upgrade(&self, path: &Path, bundle: &Bundle, verdict: &Verdict) -> Result<(), ClientError> {
        let bytes = self.bytes(bundle);
        // What is there may have been upgraded by somebody else, to more.
        let there = load_kept(path).ok().filter(|there| is_same(&there.bundle, bundle));
        let is_less = there.is_some_and(|there| bundle.later_trees.len() < there.bundle.later_trees.len());
        if !is_less {
            write_private(path, &bytes)?;
            self.index_file(path, bundle, &bytes, WhenKept::of(verdict))?;
        }
        Ok(())
    }

    /// Keeps an answer as a refused one: the chain refused what offline checks had accepted.
    ///
    /// # Errors
    /// `File`.
    pub fn turn_refused(&self, path: Option<&Path>, bundle: &Bundle, check: &str) -> Result<PathBuf, ClientError> {
        // Crash: both files are there, never neither.
        let refused = self.keep_whole("refused.candor", bundle, WhenKept::refused(check))?;
        if let Some(path) = path {
            fs::remove_file(path).map_err(|error| file_error(path, &error))?;
            self.index.forget(path)?;
        }
        Ok(refused)
    }

    /// Whether its files name evidence that lies beside them.
    fn names_evidence(&self) -> bool {
        self.mode == KeepMode::Proof && self.at.is_none()
    }

    fn evidence_path(&self, bundle: &Bundle) -> PathBuf {
        evidence_path(self.index.directory(), Some(&evidence_hash(&bundle.evidence)))
    }

    /// A file by this mode.
    fn bytes(&self, bundle: &Bundle) -> Vec<u8> {
        match (self.mode, &self.at) {
            (KeepMode::Proof, None) => Proof::of(bundle).naming().encode(),
            (KeepMode::Proof, Some(_)) => Proof::of(bundle).encode(),
            (KeepMode::Full | KeepMode::None, _) => bundle.encode(),
        }
    }

    /// The row of a file, and the evidence that it names.
    fn index_file(&self, path: &Path, bundle: &Bundle, bytes: &[u8], when_kept: WhenKept) -> Result<(), ClientError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let answer = IndexedAnswer::of(bundle, Some(path.to_owned()), self.mode, size, when_kept);
        if self.names_evidence() {
            // Without its evidence the proof is none: this must not fail unheard.
            let answer = answer.naming(Some(evidence_hash(&bundle.evidence)));
            return self.index.put_proof(&answer, &self.evidence_path(bundle), &bundle.evidence.encode());
        }
        // The file is there, and the index is made from the files.
        drop(self.index.put(&answer));
        Ok(())
    }

    /// Writes a file over nothing; where. One that is there already may be of this very answer, kept before somebody stopped.
    fn write(&self, extension: &str, bundle: &Bundle, bytes: &[u8]) -> Result<PathBuf, ClientError> {
        let named = self.at.as_ref().map(|path| if extension == "refused.candor" { refused_path(path) } else { path.clone() });
        if named.is_none() {
            private_directory(self.index.directory())?;
        }
        let id = to_hex(&receipt_id(&bundle.delivery.leaf_salt));
        let id = id.trim_start_matches("0x");
        for number in 1..=SAME_ID_MAX {
            let more = if number == 1 { String::new() } else { format!("-{number}") };
            let path = named.clone().unwrap_or_else(|| self.index.directory().join(format!("{id}{more}.{extension}")));
            if write_new(&path, bytes)? || load_kept(&path).is_ok_and(|there| is_same(&there.bundle, bundle)) {
                return Ok(path);
            }
            if named.is_some() {
                return Err(file_error(&path, &"is there already and was not touched"));
            }
        }
        Err(file_error(self.index.directory(), &format!("{SAME_ID_MAX} other answers with receipt id {id} are there")))
    }
}

/// Whether two bundles are of one receipt, as it was signed.
fn is_same(a: &Bundle, b: &Bundle) -> bool {
    let of = |bundle: &Bundle| -> (Receipt, _) { (bundle.delivery.receipt.clone(), bundle.delivery.signature) };
    of(a) == of(b)
}

/// `NAME.refused.candor` beside `NAME.candor`.
fn refused_path(path: &Path) -> PathBuf {
    path.with_extension("refused.candor")
}

/// Where evidence lies that proofs in this directory name.
pub(crate) fn evidence_path(directory: &Path, hash: Option<impl fmt::Display>) -> PathBuf {
    let evidence = directory.join("evidence");
    hash.map_or(evidence.clone(), |hash| evidence.join(format!("{hash}.cbor")))
}

/// A kept file, read whole.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeptFile {
    /// As it lies there.
    pub bytes: Vec<u8>,
    /// The bundle; of a proof without body and frames, for whoever needs neither.
    pub bundle: Bundle,
    /// The proof, with its evidence, if it is one.
    pub proof: Option<Proof>,
    /// The evidence that lies beside it.
    pub named: Option<Hash32>,
}

/// Why a file cannot be read as what is kept.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeptError {
    /// It cannot be read at all.
    File(ClientError),
    /// It is neither a bundle nor a proof.
    Form(CborError),
    /// It is a proof, and the evidence that it names is not beside it, or is another.
    Evidence {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Reads a bundle, or a proof with the evidence that it names: in the directory `evidence` beside it.
///
/// # Errors
/// [`KeptError`].
pub fn load_kept(path: &Path) -> Result<KeptFile, KeptError> {
    let bytes = fs::read(path).map_err(|error| KeptError::File(file_error(path, &error)))?;
    let (proof, named) = match Kept::parse(&bytes).map_err(KeptError::Form)? {
        Kept::Bundle(bundle) => return Ok(KeptFile { bytes, bundle: *bundle, proof: None, named: None }),
        Kept::Proof(proof) => match proof.evidence {
            ProofEvidence::Held(_) => (*proof, None),
            ProofEvidence::Named(hash) => {
                let evidence = evidence_path(path.parent().unwrap_or(Path::new(".")), Some(&hash));
                let lacks = |what: String| KeptError::Evidence { path: evidence.clone(), what };
                let found = fs::read(&evidence).map_err(|error| lacks(error.to_string()))?;
                let found = Evidence::parse(&found).map_err(|error| lacks(error.to_string()))?;
                (proof.holding(found).map_err(|error| lacks(error.to_string()))?, Some(hash))
            }
        },
    };
    let bundle = proof.to_bundle(Vec::new(), Vec::new());
    let bundle = bundle.map_err(|error| KeptError::Evidence { path: path.to_owned(), what: error.to_string() })?;
    Ok(KeptFile { bytes, bundle, proof: Some(proof), named })
}

impl KeptFile {
    /// Of a bundle that lies nowhere yet.
    #[must_use]
    pub fn of(bundle: Bundle) -> Self {
        Self { bytes: bundle.encode(), bundle, proof: None, named: None }
    }

    /// The verdict on what is there.
    pub fn judge(&self, policy: &Policy, chain: ChainFacts<'_>) -> Verdict {
        match &self.proof {
            None => verify_bundle(&self.bundle, policy, chain, &K256).0,
            Some(_) => verify_without_texts(&self.bundle, policy, chain, &K256),
        }
    }

    /// What of the answer it is.
    #[must_use]
    pub fn mode(&self) -> KeepMode {
        if self.proof.is_some() { KeepMode::Proof } else { KeepMode::Full }
    }

    /// The whole of it in one file: a proof with its evidence.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        self.proof.as_ref().map_or_else(|| self.bytes.clone(), Proof::encode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_is_free_only_if_nothing_would_be_written_over_and_its_directory_is_there() {
        let state = std::env::temp_dir().join(format!("candor-keep-{}", std::process::id()));
        let directory = state.join("named");
        let index = BundleIndex::open(&state.join("client.db"), &state.join("bundles")).unwrap();
        let keep = Keep::at(index, KeepMode::Full, directory.join("answer.candor"));
        assert!(keep.check_free().unwrap_err().to_string().contains("no directory"));
        assert!(!directory.exists(), "none is made");
        private_directory(&directory).unwrap();
        assert!(keep.check_free().is_ok());
        for name in ["answer.candor", "answer.refused.candor", "answer.hints.json"] {
            fs::write(directory.join(name), "evidence").unwrap();
            let error = keep.check_free().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("not touched"), "{error}");
            fs::remove_file(directory.join(name)).unwrap();
        }
        fs::remove_dir_all(state).unwrap();
    }
}
