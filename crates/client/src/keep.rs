//! Where bundles go: every answer that was paid for is kept, the refused ones as evidence against the node.
//!
//! An accepted answer becomes `NAME.candor`. A refused one becomes `NAME.refused.candor` beside it, whole, so that anybody can judge it
//! again. Same atomic write, same mode: a bundle holds prompt and answer in clear. Not here: the verdict.

use std::path::{Path, PathBuf};

use candor_verify::bundle::Bundle;

use crate::error::ClientError;
use crate::files::{file_error, private_directory, write_private};

/// Where an ask keeps its bundle.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: named by the receipt, or by the caller")]
pub enum Keep {
    /// In this directory, under the receipt's id.
    In(PathBuf),
    /// In this file.
    At(PathBuf),
}

impl Keep {
    /// Whether what the caller named is free: a bundle is evidence of a payment, and is written over nothing. To be asked before anything
    /// is paid.
    ///
    /// # Errors
    /// `File` if the file, or one that would lie beside it, is there already, or its directory is not.
    pub fn check_free(&self) -> Result<(), ClientError> {
        let Self::At(path) = self else { return Ok(()) };
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

    /// Keeps an answer that was not refused.
    pub(crate) fn accepted(&self, receipt_id: &str, bundle: &Bundle) -> Result<PathBuf, ClientError> {
        let path = self.path(receipt_id)?;
        write_private(&path, &bundle.encode())?;
        Ok(path)
    }

    /// Keeps a refused answer; if that fails, says why, because the refusal is what the caller must hear.
    pub(crate) fn refused(&self, receipt_id: &str, bundle: &Bundle) -> Result<PathBuf, String> {
        let path = refused_path(&self.path(receipt_id).map_err(|error| error.to_string())?);
        write_private(&path, &bundle.encode()).map_err(|error| error.to_string())?;
        Ok(path)
    }

    /// The file, in a directory that is there.
    fn path(&self, receipt_id: &str) -> Result<PathBuf, ClientError> {
        match self {
            Self::In(directory) => private_directory(directory).map(|()| directory.join(format!("{receipt_id}.candor"))),
            Self::At(path) => Ok(path.clone()),
        }
    }
}

/// Moves a kept bundle to where refused ones are: the chain refused what offline checks had accepted.
///
/// # Errors
/// `File`.
pub fn keep_as_refused(path: &Path, bundle: &Bundle) -> Result<PathBuf, ClientError> {
    let refused = refused_path(path);
    // Crash: both files are there, never neither.
    write_private(&refused, &bundle.encode())?;
    std::fs::remove_file(path).map_err(|error| file_error(path, &error))?;
    Ok(refused)
}

/// `NAME.refused.candor` beside `NAME.candor`.
fn refused_path(path: &Path) -> PathBuf {
    path.with_extension("refused.candor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_bundle_is_beside_the_accepted_ones() {
        assert_eq!(refused_path(Path::new("bundles/0a1b.candor")), Path::new("bundles/0a1b.refused.candor"));
        assert_eq!(refused_path(Path::new("answer")), Path::new("answer.refused.candor"));
    }

    #[test]
    fn a_named_file_is_free_only_if_nothing_would_be_written_over_and_its_directory_is_there() {
        let directory = std::env::temp_dir().join(format!("candor-keep-{}", std::process::id()));
        let keep = Keep::At(directory.join("answer.candor"));
        assert!(keep.check_free().unwrap_err().to_string().contains("no directory"));
        assert!(!directory.exists(), "none is made");
        private_directory(&directory).unwrap();
        assert!(keep.check_free().is_ok());
        for name in ["answer.candor", "answer.refused.candor", "answer.hints.json"] {
            std::fs::write(directory.join(name), "evidence").unwrap();
            let error = keep.check_free().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("not touched"), "{error}");
            std::fs::remove_file(directory.join(name)).unwrap();
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
