//! Files of the state: for their owner only, and never half written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

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
    let temporary = path.with_extension(format!("{}.tmp", unique()));
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

/// Writes a file as [`write_private`] does, unless there is one: what is there is left as it is, whatever it is. Whether it was written.
///
/// # Errors
/// `File`.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<bool, ClientError> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let whole = path.with_extension(format!("{}.new", unique()));
    write_private(&whole, bytes)?;
    // A link takes a name only if nobody has it; somebody may have taken it since we looked.
    let linked = match fs::hard_link(&whole, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        // A file system without links: then the name is taken first, and a crash leaves half a file, which no reader takes for a whole one.
        Err(_) => write_under(path, bytes),
    };
    // Crash: a second name of a whole file, which nobody reads.
    drop(fs::remove_file(&whole));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    linked.and_then(|is_ours| File::open(directory)?.sync_all().map(|()| is_ours)).map_err(|error| file_error(path, &error))
}

/// A name that no other write of this machine has, also of the same file at the same time.
fn unique() -> String {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed))
}

/// Writes under a name that nobody has. Whether it was ours to take.
fn write_under(path: &Path, bytes: &[u8]) -> std::io::Result<bool> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path))).map(|()| true)
}

/// Reads a text of this many bytes at most: what somebody names may be any file, and a file without an end.
///
/// # Errors
/// `File`: it cannot be read, is longer, or is no UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String, ClientError> {
    text_of(File::open(path).map_err(|error| file_error(path, &error))?, path, most)
}

/// The same of what is open already; `name` is what an error calls it.
///
/// # Errors
/// As of [`read_text`].
pub fn text_of(from: impl Read, name: &Path, most: u64) -> Result<String, ClientError> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| file_error(name, &error))?;
    if most < bytes.len() as u64 {
        return Err(file_error(name, &format!("expected at most {most} bytes, got more")));
    }
    String::from_utf8(bytes).map_err(|_| file_error(name, &"expected text in UTF-8"))
}

pub(crate) fn file_error(path: &Path, what: &dyn std::fmt::Display) -> ClientError {
    ClientError::File { path: path.display().to_string(), what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_up_to_its_limit_and_a_longer_one_is_refused_with_it() {
        let path = std::env::temp_dir().join(format!("candor-text-{}", std::process::id()));
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        let long = read_text(&path, 4).unwrap_err().to_string();
        assert!(long.contains("expected at most 4 bytes") && long.contains("candor-text-"), "{long}");
        assert!(read_text(Path::new("/dev/zero"), 4).is_err(), "a file without an end");
        fs::write(&path, [0xff]).unwrap();
        assert!(read_text(&path, 4).unwrap_err().to_string().contains("UTF-8"));
        fs::remove_file(path).unwrap();
    }
}
