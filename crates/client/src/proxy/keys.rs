//! Who asks through a proxy, if it has keys: a name, budgets, and lists of models and payees. Keys can come and go while it runs: the file is read again when it
//! is another.
//!
//! What was spent by whom is in the book of payments, counted in the step that reserves one: two that ask at once cannot exceed a budget together.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use candor_report::{Decimal, ProxyKeyText, ProxyKeysText, decimal_text};
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::hash::sha256;

use crate::error::ClientError;
use crate::files::file_error;

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
        let text = std::fs::read_to_string(&self.path).map_err(|error| file_error(&self.path, &error))?;
        ProxyKeysText::parse(&text).map(|text| text.keys).map_err(|error| file_error(&self.path, &error))
    }
}

/// Whose key this is.
pub(super) fn holder(keys: &[ProxyKeyText], key: &[u8]) -> Option<Caller> {
    let hash = sha256(&[key]);
    keys.iter().find(|known| is_equal(&known.hash, &hash)).cloned().map(Caller)
}

/// How long two hashes take to compare says nothing about a key.
pub(super) fn is_equal(ours: &Hash32, theirs: &Hash32) -> bool {
    ours.0.iter().zip(theirs.0).fold(0, |differing, (ours, theirs)| differing | (ours ^ theirs)) == 0
}

/// Who asks through a proxy, with a key of its own.
#[derive(Clone, Debug)]
pub struct Caller(ProxyKeyText);

/// What a caller may spend of one asset, in its smallest unit.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Whose, as the book has it.
    pub(crate) caller: String,
    /// Most in any hour, and in any day.
    pub(crate) per_hour: Option<Amount>,
    pub(crate) per_day: Option<Amount>,
    pub(crate) decimals: u8,
}

impl Caller {
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn may_ask(&self, model: Option<&str>) -> bool {
        self.0.models.is_empty() || model.is_some_and(|model| self.0.models.iter().any(|known| known == model))
    }

    pub(super) fn may_pay(&self, payee: &Address) -> bool {
        self.0.payees.is_empty() || self.0.payees.contains(payee)
    }

    /// What it may spend of an asset with so many decimals, if this much may be paid for one request at all.
    ///
    /// # Errors
    /// `Spend`: another node may be cheaper.
    pub(crate) fn budget(&self, amount: Amount, decimals: u8) -> Result<Budget, ClientError> {
        let ProxyKeyText { name, per_request, per_hour, per_day, .. } = &self.0;
        // A limit finer than the asset's money is below it; one that cannot be counted is no limit.
        let units = |limit: &Option<Decimal>| limit.map(|limit| limit.units(decimals).unwrap_or(Amount::ZERO));
        if units(per_request).is_some_and(|limit| limit < amount) {
            let (limit, price) = (per_request.map_or_else(String::new, |limit| limit.to_string()), decimal_text(amount, decimals));
            return Err(ClientError::Spend(format!("key {name:?} may pay {limit} for one request, and this one costs {price}")));
        }
        Ok(Budget { caller: name.clone(), per_hour: units(per_hour), per_day: units(per_day), decimals })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, text: &str) -> ProxyKeyText {
        ProxyKeyText {
            name: name.into(),
            hash: sha256(&[text.as_bytes()]),
            per_request: Some(Decimal::parse("0.001").unwrap()),
            per_hour: None,
            per_day: Some(Decimal::parse("2").unwrap()),
            models: vec!["mini".into()],
            payees: vec![Address([7; 20])],
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
    fn a_caller_is_whoever_has_the_key_and_is_held_to_its_lists_and_limits() {
        let keys = [key("a", "one"), key("b", "two")];
        let caller = holder(&keys, b"two").unwrap();
        assert_eq!(caller.name(), "b");
        assert!(holder(&keys, b"two ").is_none() && holder(&keys, b"").is_none() && holder(&[], b"one").is_none());
        assert!(caller.may_ask(Some("mini")) && !caller.may_ask(Some("maxi")) && !caller.may_ask(None));
        assert!(caller.may_pay(&Address([7; 20])) && !caller.may_pay(&Address([8; 20])));
        let budget = caller.budget(Amount(1_000), 6).unwrap();
        assert_eq!((budget.per_hour, budget.per_day), (None, Some(Amount(2_000_000))));
        let dear = caller.budget(Amount(1_001), 6).unwrap_err().to_string();
        assert!(dear.contains("may pay 0.001 for one request, and this one costs 0.001001"), "{dear}");
        assert!(caller.budget(Amount(1), 0).is_err(), "a limit below the smallest unit is below any price");
        let open = Caller(ProxyKeyText { per_request: None, per_day: None, models: Vec::new(), payees: Vec::new(), ..key("c", "three") });
        assert!(open.may_ask(None) && open.may_pay(&Address([8; 20])));
        assert_eq!(open.budget(Amount(u128::MAX), 6).unwrap().per_day, None);
    }
}
