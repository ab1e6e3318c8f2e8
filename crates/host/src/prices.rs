//! Price lists: picked up from the file that the operator's tool writes, kept, published beside the log, and given to the enclave.
//!
//! ```text
//! price-list.cbor ─ read at each look ─▶ price-lists/{terms}/{number} ─▶ GET /price-lists ─▶ PutPriceList to the enclave
//! ```
//!
//! The enclave judges; here a list is only kept under its number. One number has one list for good: another one under it would be evidence
//! against the registrar, and is told to the operator instead of published. A new boot is given the newest list that is in force, which
//! is why a list lasts seven days at most. Spec: terms-and-manifest.md §4, http.md §7.
//!
//! Crash: a list is renamed into its place before it is given; one that was not given yet is given at the next look.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candor_link::{HostRequest, PRICE_LIST_MAX};
use candor_verify::Hash32;
use candor_verify::terms::SignedPriceList;

use crate::boot::DriveError;
use crate::calls::{CallError, Link};
use crate::clock;
use crate::shared::Shared;
use crate::slot::{Slot, Stage};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Lists of one set of terms that are kept, and named in one answer: one an hour for forty days.
pub(crate) const LISTS_MAX: usize = 1_000;

/// Looks for new lists and gives the enclave the newest, until the connection ends.
pub(crate) async fn keep_priced(shared: &Arc<Shared>, slot: &Arc<Slot>, link: &Link) -> DriveError {
    // Of this connection. An enclave that has it already says so.
    let mut given = 0;
    loop {
        match look(shared, slot).await {
            Ok(Some(newest)) if given < newest.list.number => {
                given = newest.list.number;
                let call = link.call(HostRequest::PutPriceList { signed: newest.encode() }, shared.config.timing.request).await;
                match call {
                    Ok(_) => shared.clear_trouble("prices"),
                    Err(CallError::Refused(refused)) => shared.trouble_once("prices", format!("list {given}: {}", refused.message)),
                    Err(error) => return error.into(),
                }
            }
            Ok(_) => {}
            Err(message) => shared.trouble_once("prices", message),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes what lies in the file, and says which of the kept lists is in force now.
async fn look(shared: &Arc<Shared>, slot: &Slot) -> Result<Option<SignedPriceList>, String> {
    // What the operator's tool writes is for the boot that sells; one of the same terms beside it is given what is kept.
    let file = shared.config.price_list.clone().filter(|_| slot.stage() == Stage::Selling);
    let (directory, terms) = (directory(shared, slot), slot.terms.terms.digest());
    let looked = tokio::task::spawn_blocking(move || {
        if let Some(file) = &file {
            pick_up(&directory, file, &terms)?;
        }
        Ok(newest(&directory))
    });
    looked.await.map_err(|error| error.to_string())?
}

/// Where the lists of a slot's terms are kept.
pub(crate) fn directory(shared: &Shared, slot: &Slot) -> PathBuf {
    shared.config.data_dir.join("price-lists").join(slot.terms.terms.digest().to_string())
}

fn pick_up(directory: &Path, file: &Path, terms: &Hash32) -> Result<(), String> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let bytes = match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(&error)),
        Ok(found) if PRICE_LIST_MAX as u64 <= found.len() => {
            return Err(at(&format!("expected less than {PRICE_LIST_MAX} bytes, got {}", found.len())));
        }
        Ok(_) => std::fs::read(file).map_err(|error| at(&error))?,
    };
    let signed = SignedPriceList::parse(&bytes).map_err(|error| at(&format!("no price list: {error}")))?;
    if signed.list.terms_hash != *terms {
        return Err(at(&format!("expected a list under terms {terms}, got one under {}", signed.list.terms_hash)));
    }
    let place = directory.join(signed.list.number.to_string());
    match std::fs::read(&place) {
        Ok(kept) if kept == bytes => return Ok(()),
        Ok(_) => {
            return Err(at(&format!(
                "another list has the number {}, and was shown to others; sign this one with a higher one",
                signed.list.number
            )));
        }
        Err(_) => {}
    }
    if LISTS_MAX <= numbers(directory).len() {
        return Err(at(&format!("{LISTS_MAX} lists are kept of these terms, and no more; sign new terms")));
    }
    let write = || {
        std::fs::create_dir_all(directory)?;
        let temporary = directory.join("new.tmp");
        std::fs::write(&temporary, &bytes)?;
        std::fs::File::open(&temporary)?.sync_all()?;
        std::fs::rename(&temporary, &place)
    };
    write().map_err(|error| at(&error))
}

/// The numbers of the kept lists, lowest first.
pub(crate) fn numbers(directory: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// A kept list.
pub(crate) fn read(directory: &Path, number: u64) -> Option<SignedPriceList> {
    SignedPriceList::parse(&std::fs::read(directory.join(number.to_string())).ok()?).ok()
}

/// The list of the highest number that is in force by our clock.
fn newest(directory: &Path) -> Option<SignedPriceList> {
    let now = clock::now();
    let mut lists = numbers(directory).into_iter().rev().filter_map(|number| read(directory, number));
    lists.find(|signed| signed.list.from <= now && now < signed.list.until)
}

#[cfg(test)]
mod tests {
    use candor_verify::Signature65;
    use candor_verify::terms::PriceList;
    use candor_verify::time::UnixMs;

    use super::*;

    #[test]
    fn one_number_has_one_list_and_what_is_in_force_with_the_highest_is_given() {
        let root = std::env::temp_dir().join(format!("candor-price-lists-{}", std::process::id()));
        let (directory, file, terms) = (root.join("kept"), root.join("price-list.cbor"), Hash32([1; 32]));
        std::fs::create_dir_all(&root).unwrap();
        let now = clock::now().0;
        let list = |number, from, until| PriceList { terms_hash: terms, number, from: UnixMs(from), until: UnixMs(until), prices: vec![] };
        let put = |list: PriceList| {
            std::fs::write(&file, SignedPriceList { list, signature: Signature65([7; 65]) }.encode()).unwrap();
            pick_up(&directory, &file, &terms)
        };
        assert_eq!((pick_up(&directory, &file, &terms), newest(&directory)), (Ok(()), None), "no file is no list");
        for (number, from, until) in
            [(7, now - 9, now + 90_000), (9, now + 80_000, now + 90_000), (8, now - 9, now + 90_000), (3, now - 9, now + 9)]
        {
            assert_eq!(put(list(number, from, until)), Ok(()));
        }
        assert_eq!((numbers(&directory), newest(&directory).unwrap().list.number), (vec![3, 7, 8, 9], 8));
        assert_eq!(put(list(8, now - 9, now + 90_000)), Ok(()), "the same again");
        assert!(put(list(8, now - 9, now + 90_001)).unwrap_err().contains("another list has the number 8"));
        assert!(put(PriceList { terms_hash: Hash32::ZERO, ..list(10, now, now + 9) }).unwrap_err().contains("expected a list under terms"));
        std::fs::write(&file, vec![0; PRICE_LIST_MAX]).unwrap();
        assert!(pick_up(&directory, &file, &terms).unwrap_err().contains("expected less than"));
        std::fs::write(&file, b"no list").unwrap();
        assert!(pick_up(&directory, &file, &terms).unwrap_err().contains("no price list"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
