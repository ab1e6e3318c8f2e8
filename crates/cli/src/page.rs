//! A verdict as a page, in a file: what is put on it besides the verdict, and what is never overwritten by it.
//!
//! Not here: the page itself (`candor-report`).

use std::io::Read as _;
use std::path::Path;

use candor_client::write_private;
use candor_report::{PAGE_BEGINNING, PageContent, verdict_page};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Hash32;
use candor_verify::verdict::{LogLevel, Verdict};
use serde_json::Value;

use crate::output::Failure;

/// Hints beside a bundle, in bytes: a few addresses.
const HINTS_MAX: u64 = 65_536;

/// Whether a page may be written there: nothing is there, or an older page. So no slip of the pen costs a bundle.
pub(crate) fn may_be_written(out: &Path) -> Result<(), Failure> {
    let mut beginning = vec![0; PAGE_BEGINNING.len()];
    let is_page = match std::fs::File::open(out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::cannot(format!("{}: {error}", out.display()))),
        Ok(mut file) => file.read_exact(&mut beginning).is_ok() && beginning == PAGE_BEGINNING.as_bytes(),
    };
    let what =
        || format!("{} is there and is no page of a verdict: nothing is written over it; name another file with --html", out.display());
    if is_page { Ok(()) } else { Err(Failure::cannot(what())) }
}

/// A bundle in a file, and the verdict on it.
pub(crate) struct Shown<'a> {
    pub(crate) file: &'a Path,
    pub(crate) bytes: &'a [u8],
    pub(crate) bundle: &'a Bundle,
    pub(crate) verdict: &'a Verdict,
    /// The policy's level of the log.
    pub(crate) required: LogLevel,
    /// The transaction that moved the money, if a chain showed it.
    pub(crate) transfer_tx: Option<Hash32>,
    /// The chain that was asked, if one was.
    pub(crate) asked_chain: Option<u64>,
    /// Whether this program held the connection of this answer, pinned to the attested key.
    pub(crate) is_live: bool,
}

/// Writes the page, for its owner alone: it holds the prompt and the answer.
pub(crate) fn write(out: &Path, shown: &Shown<'_>) -> Result<(), Failure> {
    may_be_written(out)?;
    let Shown { file, bytes, bundle, verdict, required, transfer_tx, asked_chain, is_live } = *shown;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let transfer_tx = transfer_tx.or_else(|| transfer_hint(file));
    let content = PageContent { name: &name, bytes, bundle, verdict, required, transfer_tx, asked_chain, is_live };
    write_private(out, verdict_page(&content).as_bytes())?;
    Ok(())
}

/// The transaction that the hints beside a bundle name. Nothing is decided by it, so a file that makes no sense is none.
fn transfer_hint(file: &Path) -> Option<Hash32> {
    let mut text = String::new();
    let hints = std::fs::File::open(file.with_extension("hints.json")).ok()?;
    hints.take(HINTS_MAX).read_to_string(&mut text).ok()?;
    Hash32::from_hex(serde_json::from_str::<Value>(&text).ok()?["transfer"].as_str()?)
}
