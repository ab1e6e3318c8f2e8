//! Where bundles go: every answer that was paid for is kept, the refused ones as evidence against the node.
//!
//! An accepted answer becomes `NAME.candor`. A refused one becomes `NAME.refused.candor` beside it, whole, so that anybody can judge it
//! again. Same atomic write, same mode: a bundle holds prompt and answer in clear. Not here: the verdict.

use std::path::{Path, PathBuf};

use candor_verify::bundle::Bundle;

use crate::error::ClientError;
use crate::spend::write_private;

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
    /// Keeps an answer that was not refused.
    pub(crate) fn accepted(&self, receipt_id: &str, bundle: &Bundle) -> Result<PathBuf, ClientError> {
        let path = self.path(receipt_id);
        write_private(&path, &bundle.encode())?;
        Ok(path)
    }

    /// Keeps a refused answer; if that fails, says why, because the refusal is what the caller must hear.
    pub(crate) fn refused(&self, receipt_id: &str, bundle: &Bundle) -> Result<PathBuf, String> {
        let path = refused_path(&self.path(receipt_id));
        write_private(&path, &bundle.encode()).map_err(|error| error.to_string())?;
        Ok(path)
    }

    fn path(&self, receipt_id: &str) -> PathBuf {
        match self {
            Self::In(directory) => directory.join(format!("{receipt_id}.candor")),
            Self::At(path) => path.clone(),
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
    std::fs::remove_file(path).map_err(|error| crate::spend::file_error(path, &error))?;
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
}
