//! Where a published log lies: two traits, and a directory that implements them with nothing but the file system.
//!
//! [`LogReader`] is all that [`crate::check`] needs, so that it works over HTTP too. [`LogStore`] adds what [`crate::publish`] needs;
//! its contract is the one that the order of publication relies on. Spec: log.md §4.
//!
//! **Trust:** a store is not trusted by anybody who verifies. To its operator it promises durability, as stated below; the worst it can do
//! is lose or change files, which `check` finds.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::tiles::Resource;

/// Reads a published log.
pub trait LogReader {
    /// The file, or `None` if there is none. Reads at most [`Resource::bytes_max`] bytes and refuses a longer file.
    ///
    /// # Errors
    /// What kept it from being read. "Not there" is not an error, and an error is not "not there".
    fn fetch(&self, resource: Resource) -> Result<Option<Vec<u8>>, StoreError>;
}

/// Writes a published log. One writer at a time.
///
/// *Failed means unknown*: after an error the file may or may not be there. Callers repeat the call with the same bytes, in this process
/// or the next; every call is idempotent.
pub trait LogStore: LogReader {
    /// Creates a file that never changes. Durable on return: it survives a power cut. Readers see all of it or nothing.
    ///
    /// # Errors
    /// `Conflict` if it exists with other bytes, and nothing was written: the log forked or the disk rotted. Otherwise as [`LogReader`].
    fn put(&self, resource: Resource, bytes: &[u8]) -> Result<(), StoreError>;

    /// Creates or replaces the checkpoint. Atomic for readers, durable on return, and ordered: no power cut shows it without every file
    /// whose `put` returned before.
    ///
    /// # Errors
    /// As [`LogReader`].
    fn replace_checkpoint(&self, text: &str) -> Result<(), StoreError>;

    /// Deletes the partial widths of a tile or bundle that is complete. Not durable, and none being there is success.
    ///
    /// # Errors
    /// As [`LogReader`].
    fn remove_partials(&self, full: Resource) -> Result<(), StoreError>;
}

/// What went wrong at a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused an operation; try again.
    Io {
        /// On what.
        resource: Resource,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The file exists with other bytes, and files never change.
    Conflict {
        /// Which.
        resource: Resource,
    },
    /// The file is longer than it may be.
    TooLong {
        /// Which.
        resource: Resource,
        /// The most bytes it may have.
        max: usize,
    },
    /// Another process writes to this directory.
    Locked,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { resource, operation, kind } => write!(f, "{resource}: cannot {operation}: {kind}"),
            Self::Conflict { resource } => write!(f, "{resource}: exists with other bytes"),
            Self::TooLong { resource, max } => write!(f, "{resource}: longer than {max} bytes"),
            Self::Locked => f.write_str("another process writes to this directory"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A log in a directory, for reading.
#[derive(Clone, Debug)]
pub struct DirReader {
    root: PathBuf,
}

/// A log in a directory, for writing. Holds a lock on it for as long as it lives.
#[derive(Debug)]
pub struct DirStore {
    reader: DirReader,
    // The lock goes with the file; the system drops it when the process dies.
    _lock: File,
}

impl DirReader {
    /// The log in this directory. Nothing is read yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    fn path(&self, resource: Resource) -> PathBuf {
        self.root.join(resource.to_string())
    }
}

impl LogReader for DirReader {
    fn fetch(&self, resource: Resource) -> Result<Option<Vec<u8>>, StoreError> {
        let failed = |operation| move |error: io::Error| StoreError::Io { resource, operation, kind: error.kind() };
        let file = match File::open(self.path(resource)) {
            Ok(file) => file,
            // A path through a file (`000` where `000.p/` should be) is not there either.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(failed("open")(error)),
        };
        let max = resource.bytes_max();
        let mut bytes = Vec::new();
        file.take(crate::count(max).saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read"))?;
        if max < bytes.len() {
            return Err(StoreError::TooLong { resource, max });
        }
        Ok(Some(bytes))
    }
}

impl DirStore {
    /// Opens or creates the directory and locks it.
    ///
    /// # Errors
    /// `Locked` if another process has it, else `Io` about the checkpoint, which is the first thing that would be read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let failed = |operation| move |error: io::Error| StoreError::Io { resource: Resource::Checkpoint, operation, kind: error.kind() };
        create_dirs(root).map_err(failed("create directory"))?;
        let lock = File::create(root.join(".lock")).map_err(failed("create lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { reader: DirReader::new(root), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
            Err(TryLockError::Error(error)) => Err(failed("lock")(error)),
        }
    }

    fn write(&self, resource: Resource, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.reader.path(resource);
        write_file(&path, bytes).map_err(|(operation, error)| StoreError::Io { resource, operation, kind: error.kind() })
    }
}

impl LogReader for DirStore {
    fn fetch(&self, resource: Resource) -> Result<Option<Vec<u8>>, StoreError> {
        self.reader.fetch(resource)
    }
}

impl LogStore for DirStore {
    fn put(&self, resource: Resource, bytes: &[u8]) -> Result<(), StoreError> {
        // The checkpoint changes, so it is never put; and a file that is there with these bytes is written again all the same, because
        // an earlier process may have died between its rename and the sync of the directory.
        match self.fetch(resource)? {
            Some(held) if held != bytes => Err(StoreError::Conflict { resource }),
            Some(_) | None => self.write(resource, bytes),
        }
    }

    fn replace_checkpoint(&self, text: &str) -> Result<(), StoreError> {
        self.write(Resource::Checkpoint, text.as_bytes())
    }

    fn remove_partials(&self, full: Resource) -> Result<(), StoreError> {
        let mut path = self.reader.path(full.completed()).into_os_string();
        path.push(".p");
        match fs::remove_dir_all(PathBuf::from(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Io { resource: full, operation: "remove partials", kind: error.kind() })
            }
            // Crash: some or all partials are left. Readers accept both, and nothing depends on their absence.
            _ => Ok(()),
        }
    }
}

/// Replaces a file so that no reader and no power cut ever sees half of it. Errors say what was tried.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), (&'static str, io::Error)> {
    let parent = path.parent().unwrap_or(Path::new("."));
    create_dirs(parent).map_err(|error| ("create directory", error))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary).map_err(|error| ("create", error))?;
    file.write_all(bytes).map_err(|error| ("write", error))?;
    // Crash: a `.tmp` file is left, perhaps empty or torn. No path of a log ends so; the next write of this file truncates it.
    file.sync_all().map_err(|error| ("sync", error))?;
    fs::rename(&temporary, path).map_err(|error| ("rename", error))?;
    // Crash: the new file is there now, and after a power cut perhaps the old one again. The write has not returned, so nothing was
    // built on it, and it is repeated.
    sync_dir(parent).map_err(|error| ("sync directory", error))
}

/// Creates a directory and its ancestors, each durable in its own parent.
fn create_dirs(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    create_dirs(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Crash: after a power cut the directory may be gone, and with it only files whose writes had not returned.
    sync_dir(parent)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}
