//! A tar archive whose bytes follow from its files alone: sorted, with one time, owned by root, then gzip without a name or a time.
//!
//! The form is POSIX ustar, which everything reads.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::workspace::run;

/// A file in an archive. Directories are made by whoever unpacks it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Below the directory that everything is in.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    pub(super) is_program: bool,
}

const BLOCK: usize = 512;
/// The lengths of a name and of the directory before it.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// Writes `path`, which ends in `.tar.gz`, with everything in one directory.
pub(super) fn write(path: &Path, directory: &str, entries: Vec<Entry>, time: u64) -> Result<(), String> {
    let plain = path.with_extension("");
    fs::write(&plain, tar(directory, entries, time)?).map_err(|error| format!("{}: {error}", plain.display()))?;
    run(Command::new("gzip").args(["--no-name", "--best", "--force"]).arg(&plain))
}

fn tar(directory: &str, mut entries: Vec<Entry>, time: u64) -> Result<Vec<u8>, String> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(twice) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Err(format!("{} would be in the archive twice", twice[0].path));
    }
    let mut out = Vec::new();
    for entry in &entries {
        out.extend(header(directory, entry, time)?);
        out.extend_from_slice(&entry.bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    // The end is two empty blocks; GNU tar fills up to twenty.
    out.resize((out.len() + 2 * BLOCK).next_multiple_of(20 * BLOCK), 0);
    Ok(out)
}

fn header(directory: &str, entry: &Entry, time: u64) -> Result<[u8; BLOCK], String> {
    let Entry { path, bytes, is_program } = entry;
    if NAME < path.len() || PREFIX < directory.len() || !path.is_ascii() {
        return Err(format!("{directory}/{path} does not fit into an archive: {NAME} ASCII letters at most"));
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, if *is_program { "0000755" } else { "0000644" });
    put(108, "0000000");
    put(116, "0000000");
    put(124, &octal(bytes.len() as u64)?);
    put(136, &octal(time)?);
    put(156, "0");
    put(257, "ustar\x0000");
    put(265, "root");
    put(297, "root");
    put(345, directory);
    // The sum of the header with spaces where the sum will be.
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// Eleven digits: eight gigabytes, or until the year 2242.
fn octal(number: u64) -> Result<String, String> {
    let text = format!("{number:011o}");
    if text.len() == 11 { Ok(text) } else { Err(format!("{number} does not fit into an archive")) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Entry, tar, write};

    fn entry(path: &str, text: &str, is_program: bool) -> Entry {
        Entry { path: path.into(), bytes: text.as_bytes().to_vec(), is_program }
    }

    #[test]
    fn an_archive_follows_from_its_files_whatever_their_order() {
        let (a, b) = (entry("b/two", "two", false), entry("one", "1", true));
        let one = tar("x-1", vec![a.clone(), b.clone()], 1_764_300_000).unwrap();
        assert_eq!(one, tar("x-1", vec![b, a], 1_764_300_000).unwrap());
        assert_eq!(one.len() % 10_240, 0);
    }

    #[test]
    fn tar_reads_what_was_written_with_modes_owner_and_time() {
        let directory = std::env::temp_dir().join(format!("candor-archive-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("x-1.tar.gz");
        let long = "z/".repeat(40) + "long";
        let entries = vec![entry(&long, "", false), entry("candor", &"x".repeat(1000), true), entry("README.md", "hello\n", false)];
        write(&path, "x-1", entries, 1_764_300_000).unwrap();
        let mut list = Command::new("tar");
        list.args(["--list", "--verbose", "--numeric-owner", "--full-time", "--utc", "--file"]).arg(&path);
        let listed = String::from_utf8(list.output().unwrap().stdout).unwrap();
        let words: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        let long = format!("x-1/{long}");
        let time = ["2025-11-28", "03:20:00"];
        assert_eq!(
            words,
            [
                vec!["-rw-r--r--", "0/0", "6", time[0], time[1], "x-1/README.md"],
                vec!["-rwxr-xr-x", "0/0", "1000", time[0], time[1], "x-1/candor"],
                vec!["-rw-r--r--", "0/0", "0", time[0], time[1], &long],
            ]
        );
        // gzip's own header has no time in it, and no name.
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_an_archive_cannot_hold_is_refused() {
        let refused = |entries| tar("x-1", entries, 0).unwrap_err();
        assert!(refused(vec![entry("a", "", false), entry("a", "1", false)]).contains("twice"));
        assert!(refused(vec![entry(&"a".repeat(101), "", false)]).contains("does not fit"));
        assert!(refused(vec![entry("ä", "", false)]).contains("does not fit"));
        assert!(tar("x-1", vec![entry("a", "", false)], 1 << 33).unwrap_err().contains("does not fit"));
    }
}
