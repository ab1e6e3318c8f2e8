//! The one thing kept: the root's private key, in a file only its owner may read.
//!
//! Text of two lines: what it is, and 96 hex digits. Everything else about the root follows from the
//! key. SIMULATED: the file is plain, because what it protects has no value.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use p384::ecdsa::SigningKey;

use crate::error::DevteeError;

/// The root's key in `dir`; made now if there is none. Two processes that start at once get the same.
pub(crate) fn load_or_create(dir: &Path) -> Result<SigningKey, DevteeError> {
    let path = dir.join(FILE);
    match load(&path)? {
        Some(key) => Ok(key),
        None => {
            create(dir, &path)?;
            // Read back what is there: our key, or that of whoever was first.
            load(&path)?.ok_or(DevteeError::StateMalformed { path })
        }
    }
}

/// A fresh key.
pub(crate) fn random_key() -> Result<SigningKey, DevteeError> {
    // All but one in 2^190 numbers are below the group order.
    for _ in 0..KEY_ATTEMPTS_MAX {
        if let Ok(key) = SigningKey::from_slice(&random::<48>()?) {
            return Ok(key);
        }
    }
    Err(DevteeError::Randomness)
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], DevteeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| DevteeError::Randomness)?;
    Ok(bytes)
}

fn load(path: &Path) -> Result<Option<SigningKey>, DevteeError> {
    let failed = |action: &'static str| move |error: io::Error| state_error(action, path, &error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(state_error("open", path, &error)),
    };
    let mode = file.metadata().map_err(failed("examine"))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DevteeError::StateReadable { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed("read"))?;
    let key = text.strip_prefix(HEADER).and_then(|rest| rest.strip_suffix(b"\n")).and_then(parse_hex);
    match key.and_then(|key| SigningKey::from_slice(&key).ok()) {
        Some(key) => Ok(Some(key)),
        None => Err(DevteeError::StateMalformed { path: path.to_owned() }),
    }
}

fn create(dir: &Path, path: &Path) -> Result<(), DevteeError> {
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| state_error(action, &path, &error)
    };
    let key = random_key()?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))?;

    let temporary = dir.join(format!("{FILE}.{}", hex(&random::<8>()?)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&temporary).map_err(failed("create", &temporary))?;
    let text = [HEADER, hex(&key.to_bytes()).as_bytes(), b"\n"].concat();
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed("write", &temporary))?;
    // Crash: a temporary file is left behind, nobody reads it, and the next run makes another key.
    let linked = match fs::hard_link(&temporary, path) {
        // Someone else was first; their key counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked.map_err(failed("create", path)),
    };
    // Crash: the key is whole under its name, with a second name that does no harm.
    fs::remove_file(&temporary).map_err(failed("remove", &temporary))?;
    linked?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

fn state_error(action: &'static str, path: &Path, error: &io::Error) -> DevteeError {
    DevteeError::State { action, path: path.to_owned(), kind: error.kind() }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hex(text: &[u8]) -> Option<[u8; 48]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<Vec<_>>>()?;
    bytes.try_into().ok()
}

const FILE: &str = "devtee-root.key";
const HEADER: &[u8] = b"candor-devtee-root/1 SIMULATED\n";
/// The header, 96 digits and a line end have 128.
const FILE_BYTES_MAX: u64 = 256;
/// A second attempt is already never needed.
const KEY_ATTEMPTS_MAX: u8 = 8;
