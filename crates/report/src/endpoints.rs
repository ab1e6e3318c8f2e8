//! The TOML form of a list of endpoints of one chain, for those whose key is a header. Not here: the file, and whoever asks them
//! (`candor-chain`).
//!
//! Unknown fields are refused: a slip must not lose a header. No error quotes the text, because it holds keys.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// What such a file says.
///
/// ```
/// use candor_report::EndpointsText;
///
/// let text = EndpointsText::parse("agree = 1\n[[endpoint]]\nurl = \"https://one.example\"\nheaders = { x-api-key = \"KEY\" }").unwrap();
/// assert_eq!((text.agree, text.endpoints[0].headers["x-api-key"].as_str()), (1, "KEY"));
///
/// let error = EndpointsText::parse("[[endpoint]]\nurl = \"https://one.example/KEY\"\nheader = { x-api-key = \"KEY\" }").unwrap_err();
/// assert!(!error.to_string().contains("KEY"), "{error}");
/// ```
#[derive(Clone, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "any value is tried by the caller")]
pub struct EndpointsText {
    /// How many of them must give the same answer; 1 if not said.
    #[serde(default = "one")]
    pub agree: usize,
    /// In the order in which they are asked.
    #[serde(rename = "endpoint")]
    pub endpoints: Vec<EndpointText>,
}

/// One of them.
#[derive(Clone, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "any value is tried by the caller")]
pub struct EndpointText {
    /// Where it is.
    pub url: String,
    /// Header names and values that go with each request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

const fn one() -> usize {
    1
}

/// Why a text is no such list.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: where, and what the TOML reader says of the form")]
pub struct EndpointsTextError {
    /// Line, from 1.
    pub line: usize,
    /// Of the form and not of the values.
    pub message: String,
}

impl fmt::Display for EndpointsTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = "expected agree = N and, for each, [[endpoint]] with url = \"…\" and headers = { name = \"…\" }";
        write!(f, "line {}: {}; {expected}", self.line, self.message)
    }
}

impl std::error::Error for EndpointsTextError {}

/// Without URLs and headers, which hold keys.
impl fmt::Debug for EndpointsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointsText({} endpoints, of which {} must agree)", self.endpoints.len(), self.agree)
    }
}

impl fmt::Debug for EndpointText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointText({} headers)", self.headers.len())
    }
}

impl EndpointsText {
    /// Reads the text of such a file.
    ///
    /// # Errors
    /// [`EndpointsTextError`].
    pub fn parse(text: &str) -> Result<Self, EndpointsTextError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            // A message of the reader names fields and kinds; one of a broken text could name what stands there.
            let is_of_form = ["unknown field", "missing field", "invalid type"].iter().any(|part| error.message().starts_with(part));
            let message = match is_of_form {
                true => error.message().split(':').next().unwrap_or_default().to_owned(),
                false => "no TOML".to_owned(),
            };
            EndpointsTextError { line: before.matches('\n').count().saturating_add(1), message }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_quotes_what_may_be_a_key() {
        for text in [
            "url = \"SECRET\"",
            "[[endpoint]]\nurl = SECRET",
            "[[endpoint]]\nurl = \"https://SECRET\"\nheaders = \"SECRET\"",
            "[[endpoint]]\nurl = \"https://SECRET\nheaders",
            "agree = \"SECRET\"",
            "agree = -1",
            "[[endpoint]]\nheaders = { a = \"SECRET\" }",
        ] {
            let error = EndpointsText::parse(text).unwrap_err();
            assert!(!error.to_string().contains("SECRET"), "{error}");
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        }
    }
}
