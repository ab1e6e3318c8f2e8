//! The members of a JSON object: each once, each known by name or refused.
//!
//! Spec: det-1.md §9. serde's own structs ignore what they do not know; here nothing is ignored that is not said to be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number::is_zero;

/// Characters of an unknown field's name that are said back to whoever sent it.
const MAX_NAME_CHARS: usize = 64;

/// A field's JSON text.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// What is done with a field.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// It is read, by whoever asks for it.
    Read,
    /// It changes nothing, whatever it says.
    Ignored,
    /// It changes nothing if it is one of these JSON texts, and is refused otherwise.
    IgnoredIf(&'static [&'static str]),
    /// What is done anyway if it is one of these JSON texts, and refused otherwise.
    Only(&'static [&'static str]),
    /// What is done anyway if it is zero, and refused otherwise.
    Zero,
}

/// The members of an object by name. `null` is absent, as in OpenAI's API.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// A field, if it is there.
    pub(super) fn get(&self, name: &str) -> Raw<'a> {
        self.0.get(name).copied()
    }

    /// The fields that are ignored; or the name of the first one that is refused.
    pub(super) fn judge(&self, rules: &[(&str, Field)]) -> Result<BTreeSet<String>, String> {
        let mut ignored = BTreeSet::new();
        for (name, raw) in &self.0 {
            let says = |texts: &[&str]| texts.contains(&compact(raw).as_str());
            let known = rules.iter().find(|(known, _)| *known == name.as_str());
            let (is_taken, is_ignored) = match known.map(|(_, rule)| *rule) {
                Some(Field::Read) => (true, false),
                Some(Field::Ignored) => (true, true),
                Some(Field::IgnoredIf(texts)) => (says(texts), true),
                Some(Field::Only(texts)) => (says(texts), false),
                Some(Field::Zero) => (is_zero(raw.get()), false),
                None => (false, false),
            };
            if !is_taken {
                return Err(name.chars().take(MAX_NAME_CHARS).collect());
            }
            if is_ignored {
                ignored.insert(name.clone());
            }
        }
        Ok(ignored)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without repeated fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            if members.insert(name, raw).is_some() {
                return Err(A::Error::custom("a field occurs twice"));
            }
        }
        members.retain(|_, raw| raw.get() != "null");
        Ok(Members(members))
    }
}

/// The JSON text without white space; only compared with constants that have none inside strings.
fn compact(raw: &RawValue) -> String {
    raw.get().split_ascii_whitespace().collect()
}
