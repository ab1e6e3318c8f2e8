//! The members of a JSON object as their bytes: one is taken out or put in, and every other value stays as it was written. A number that was
//! read and written again might be another one, and what was hashed would not be what is seen.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one object, in their order; a name may come twice.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a>(Vec<(String, Cow<'a, RawValue>)>);

impl<'a> Members<'a> {
    /// `None` if the bytes are no JSON object and nothing else.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Every value under this name.
    pub(crate) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s RawValue> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Takes out every member of this name; whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != name);
        self.0.len() != before
    }

    /// Puts a value at the end, and takes out what had its name. Nothing happens if the text is no JSON.
    pub(crate) fn put(&mut self, name: &str, json: String) {
        self.remove(name);
        if let Ok(value) = RawValue::from_string(json) {
            self.0.push((name.to_owned(), Cow::Owned(value)));
        }
    }

    /// Changes every value under this name.
    pub(crate) fn change(&mut self, name: &str, change: impl Fn(&RawValue) -> Option<String>) {
        for (_, value) in self.0.iter_mut().filter(|(known, _)| known == name) {
            if let Some(changed) = change(value).and_then(|json| RawValue::from_string(json).ok()) {
                *value = Cow::Owned(changed);
            }
        }
    }

    /// The object. Names are written anew, and values as they are.
    pub(crate) fn encode(&self) -> String {
        let members = self.0.iter().map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_str()), value.get()));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((name, Cow::Borrowed(value)));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_touched_keeps_its_bytes_and_its_place() {
        let body = br#"{"b":0.70000000000000000001,"a":{"x" : [1, 2]},"\u0062\u0063":null,"a":2}"#;
        let mut members = Members::parse(body).unwrap();
        assert_eq!(members.all("a").map(RawValue::get).collect::<Vec<_>>(), [r#"{"x" : [1, 2]}"#, "2"]);
        assert!(members.remove("bc") && !members.remove("bc"), "a name is what it means and not how it is written");
        assert_eq!(members.encode(), r#"{"b":0.70000000000000000001,"a":{"x" : [1, 2]},"a":2}"#);
        members.put("a", "3".to_owned());
        members.change("b", |_| Some("1e400".to_owned()));
        assert_eq!(members.encode(), r#"{"b":1e400,"a":3}"#);
        members.put("c", "}".to_owned());
        assert_eq!(members.encode(), r#"{"b":1e400,"a":3}"#, "what is no JSON is not put in");
        for other in ["[1]", "1", "", "{}x", "{\"a\":}"] {
            assert!(Members::parse(other.as_bytes()).is_none(), "{other}");
        }
    }
}
