//! Fields that a node refuses because it does not know them, taken out of a request for whoever said so beforehand.
//!
//! SDKs and frameworks send fields of their own, and a node refuses what it does not implement, because to ignore it would be to answer
//! another question than the one paid for. The node itself says which: it is asked without a payment, and asked again without the field.
//! Never without being told to, and never in silence: who asked is told each name.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ClientError;
use crate::members::Members;

/// Fields taken out of one request, at most: each costs a round trip.
const DROPPED_MAX: usize = 32;

/// Names that are remembered: a program may send new ones without end.
const TOLD_MAX: usize = 256;

/// Fields that no node is believed to refuse. Without a limit on tokens an answer costs more, and without the others it is another question.
const NEEDED: [&str; 6] = ["max_completion_tokens", "max_tokens", "messages", "model", "n", "stream"];

/// The names that were taken out of one request.
#[derive(Clone, Default)]
pub(crate) struct Dropped {
    // Guards the names; held for one step, never across an await.
    names: Arc<Mutex<Vec<String>>>,
}

impl Dropped {
    /// The body without the field that the node refused, whose name is kept; `None` if it refused something else, or enough was taken out.
    pub(crate) fn without(&self, body: &[u8], error: &ClientError) -> Option<(String, Vec<u8>)> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() == DROPPED_MAX {
            return None;
        }
        let (name, shorter) = without(body, error)?;
        names.push(name.clone());
        Some((name, shorter))
    }

    /// The names, separated by commas, as far as a header can carry them; `None` if there is none.
    pub(crate) fn listed(&self) -> Option<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let plain = |name: &String| name.chars().filter(|c| c.is_ascii_graphic() && *c != ',').collect::<String>();
        (!names.is_empty()).then(|| names.iter().map(plain).collect::<Vec<_>>().join(", "))
    }
}

/// The names that somebody was told of.
#[derive(Debug, Default)]
pub(crate) struct Told {
    // Guards the names; held for one step, never across an await.
    names: Mutex<BTreeSet<String>>,
}

impl Told {
    /// True the first time that a name comes, for as many names as are remembered.
    pub(crate) fn is_new(&self, name: &str) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.len() < TOLD_MAX && names.insert(name.to_owned())
    }
}

/// Every other field stays as its bytes are.
fn without(body: &[u8], error: &ClientError) -> Option<(String, Vec<u8>)> {
    let ClientError::Node { status: 400, code, param: Some(name), .. } = error else { return None };
    if code != "unsupported_parameter" || NEEDED.contains(&name.as_str()) {
        return None;
    }
    let mut members = Members::parse(body)?;
    members.remove(name).then(|| (name.clone(), members.encode().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str, param: &str) -> ClientError {
        ClientError::Node { status, code: code.to_owned(), message: "m".to_owned(), param: Some(param.to_owned()) }
    }

    #[test]
    fn only_the_field_that_was_refused_goes_and_the_rest_keeps_its_bytes() {
        let body = br#"{"temperature":0.70000000000000000001,"min_p":{"a":[1]},"seed":9223372036854775807,"model":"m"}"#;
        let dropped = Dropped::default();
        let (name, shorter) = dropped.without(body, &refused(400, "unsupported_parameter", "min_p")).unwrap();
        assert_eq!(name, "min_p");
        let expected = r#"{"temperature":0.70000000000000000001,"seed":9223372036854775807,"model":"m"}"#;
        assert_eq!(String::from_utf8(shorter).unwrap(), expected);
        assert_eq!(dropped.listed().as_deref(), Some("min_p"));
    }

    #[test]
    fn nothing_goes_that_was_not_refused_as_unknown_or_is_the_question_itself() {
        let body = br#"{"temperature":9,"max_tokens":4,"messages":[{"name":"n"}],"x":1}"#;
        let dropped = Dropped::default();
        for error in [
            refused(400, "invalid_value", "temperature"),
            refused(402, "unsupported_parameter", "x"),
            refused(400, "unsupported_parameter", "max_tokens"),
            refused(400, "unsupported_parameter", "messages"),
            refused(400, "unsupported_parameter", "messages[0].name"),
            refused(400, "unsupported_parameter", "absent"),
            ClientError::Usage("no".into()),
        ] {
            assert_eq!(dropped.without(body, &error), None, "{error}");
        }
        assert_eq!(dropped.without(b"[]", &refused(400, "unsupported_parameter", "x")), None);
        assert_eq!(dropped.listed(), None);
    }

    #[test]
    fn a_node_that_never_has_enough_is_asked_so_often_and_names_break_no_header() {
        let dropped = Dropped::default();
        let error = refused(400, "unsupported_parameter", "a,\r\nb");
        let body = br#"{"a,\r\nb":1}"#;
        for _ in 0..DROPPED_MAX {
            assert!(dropped.without(body, &error).is_some());
        }
        assert_eq!(dropped.without(body, &error), None);
        assert!(dropped.listed().unwrap().starts_with("ab, ab"));
    }

    #[test]
    fn each_name_is_told_once_and_of_endless_names_no_more_than_are_remembered() {
        let told = Told::default();
        assert!(told.is_new("a") && !told.is_new("a"));
        assert_eq!((0..1000).filter(|number| told.is_new(&number.to_string())).count(), TOLD_MAX - 1);
    }
}
