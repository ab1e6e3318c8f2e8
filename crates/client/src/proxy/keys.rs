//! The keys of a proxy, by which it knows who asks. They can come and go while it runs: the file is read again when it is another.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use candor_report::{ProxyKeyText, ProxyKeysText};
use candor_verify::bytes::Hash32;
use candor_verify::hash::sha256;

use crate::caller::Caller;
use crate::error::ClientError;
use crate::files::{file_error, read_text};

/// The keys of a proxy, in a file.
#[derive(Debug)]
pub struct ProxyKeys {
    path: PathBuf,
    // What was read last. Held for one look.
    read: Mutex<Option<Read>>,
}

#[derive(Debug)]
struct Read {
    // Of the file, when it was read: its time, and how long it was. `None` if it was gone.
    made: Option<(SystemTime, u64)>,
    keys: Arc<Vec<ProxyKeyText>>,
}

impl ProxyKeys {
    /// The keys in this file, which need not be there yet.
    ///
    /// # Errors
    /// `File` if it cannot be read: nobody is admitted by guessing.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let keys = Self { path: path.to_owned(), read: Mutex::default() };
        keys.now()?;
        Ok(keys)
    }

    /// Those that count now; `None` if there never was a file. A file that went away, or that names no key, admits nobody.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn now(&self) -> Result<Option<Arc<Vec<ProxyKeyText>>>, ClientError> {
        let made = match std::fs::metadata(&self.path).and_then(|file| Ok((file.modified()?, file.len()))) {
            Ok(made) => Some(made),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(file_error(&self.path, &error)),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            None if made.is_none() => return Ok(None),
            Some(last) if last.made == made => {}
            _ => *read = Some(Read { made, keys: Arc::new(self.keys(made.is_some())?) }),
        }
        Ok(read.as_ref().map(|last| Arc::clone(&last.keys)))
    }

    fn keys(&self, is_there: bool) -> Result<Vec<ProxyKeyText>, ClientError> {
        if !is_there {
            return Ok(Vec::new());
        }
        let text = read_text(&self.path, ProxyKeysText::BYTES_MAX)?;
        ProxyKeysText::parse(&text).map(|text| text.keys).map_err(|error| file_error(&self.path, &error))
    }
}

/// Whose key this is.
pub(super) fn holder(keys: &[ProxyKeyText], key: &[u8]) -> Option<Caller> {
    let hash = sha256(&[key]);
    keys.iter().find(|known| is_equal(&known.hash, &hash)).cloned().map(Caller::of)
}

/// How long two hashes take to compare says nothing about a key.
pub(super) fn is_equal(ours: &Hash32, theirs: &Hash32) -> bool {
    ours.0.iter().zip(theirs.0).fold(0, |differing, (ours, theirs)| differing | (ours ^ theirs)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, text: &str) -> ProxyKeyText {
        ProxyKeyText {
            name: name.into(),
            hash: sha256(&[text.as_bytes()]),
            per_request: None,
            per_hour: None,
            per_day: None,
            models: Vec::new(),
            payees: Vec::new(),
        }
    }

    #[test]
    fn keys_come_and_go_with_their_file_and_a_file_that_went_away_admits_nobody() {
        let path = std::env::temp_dir().join(format!("candor-proxy-keys-{}.toml", std::process::id()));
        let keys = ProxyKeys::open(&path).unwrap();
        assert!(keys.now().unwrap().is_none(), "there never was one");
        let names = |keys: &ProxyKeys| keys.now().unwrap().unwrap().iter().map(|key| key.name.clone()).collect::<Vec<_>>();
        let write = |keys: Vec<ProxyKeyText>| crate::files::write_private(&path, ProxyKeysText { keys }.to_toml().as_bytes()).unwrap();
        write(vec![key("a", "one")]);
        assert_eq!(names(&keys), ["a"]);
        write(vec![key("a", "one"), key("b", "two")]);
        assert_eq!(names(&keys), ["a", "b"]);
        write(Vec::new());
        assert!(names(&keys).is_empty());
        write(vec![key("b", "two")]);
        assert_eq!(names(&keys), ["b"]);
        std::fs::write(&path, "[[key]]\n").unwrap();
        assert!(keys.now().is_err() && ProxyKeys::open(&path).is_err(), "half a file admits nobody");
        std::fs::remove_file(&path).unwrap();
        assert!(names(&keys).is_empty());
    }

    #[test]
    fn a_caller_is_whoever_has_the_key() {
        let keys = [key("a", "one"), key("b", "two")];
        assert_eq!(holder(&keys, b"two").unwrap().name(), "b");
        assert!(holder(&keys, b"two ").is_none() && holder(&keys, b"").is_none() && holder(&[], b"one").is_none());
    }
}
