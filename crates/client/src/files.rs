//! Files of the state: for their owner only, and never half written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::error::ClientError;

/// Makes a directory of the state, with those above it, for its owner only. One that is there stays as it is.
///
/// # Errors
/// `File`.
pub fn private_directory(path: &Path) -> Result<(), ClientError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| file_error(path, &format!("this directory cannot be made: {error}")))
}

/// Writes a file that only its owner can read, in a directory that is there: temporary file, sync, rename, sync of the directory.
///
/// # Errors
/// `File`.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Err(file_error(path, &format!("there is no directory {}", directory.display())));
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| {
        // Half a file is of no use to anybody, and on a full disk it takes the place of a whole one.
        drop(fs::remove_file(&temporary));
        file_error(path, &error)
    })
}

pub(crate) fn file_error(path: &Path, what: &dyn std::fmt::Display) -> ClientError {
    ClientError::File { path: path.display().to_string(), what: what.to_string() }
}
