//! `/.well-known/candor.json` of a host: where its node is. Material to judge: nothing of it is believed, and no verdict reads it (http.md §5).

use serde::Deserialize;

use crate::error::ClientError;
use crate::plain;
use crate::tls::Endpoint;

/// Where it is, on the host's log port and on the node itself.
const PATH: &str = "/.well-known/candor.json";

/// Of the document, what says where evidence is to be had.
#[derive(Deserialize)]
struct Document {
    endpoints: Vec<String>,
}

/// The first https endpoint that a host at `http://…` names. Whoever connects judges the evidence there, as of any other node.
///
/// # Errors
/// `Usage` for a URL that is not `http://`, `Unreachable`, `Node`; `Dishonest` if there is no such document, or no endpoint in it.
pub async fn discover(url: &str) -> Result<String, ClientError> {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let authority = rest.split('/').next().filter(|authority| !authority.is_empty());
    let expected = "expected https://NODE, or http://HOST that serves /.well-known/candor.json";
    let authority = authority.ok_or_else(|| ClientError::Usage(format!("{expected}, got {url:?}")))?;
    let body = plain::get(&format!("http://{authority}{PATH}")).await?;
    endpoint(&body)
        .ok_or_else(|| ClientError::Dishonest { check: "well-known.form", what: format!("{authority}{PATH} names no https endpoint") })
}

fn endpoint(body: &[u8]) -> Option<String> {
    let document: Document = serde_json::from_slice(body).ok()?;
    // Of what it says only a place: the text around one could be anything.
    let place = |url: &String| Some(url).filter(|url| url.starts_with("https://")).and_then(|url| Endpoint::parse(url).ok());
    document.endpoints.iter().find_map(place).map(|endpoint| format!("https://{}", endpoint.authority()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_https_endpoint_is_taken_and_nothing_else_of_the_document_is_read() {
        let body = br#"{"endpoints": ["http://a/", "https://b:1", "https://c"], "operator": "anything"}"#;
        assert_eq!(endpoint(body).as_deref(), Some("https://b:1"));
        for none in ["", "{}", "[]", r#"{"endpoints": []}"#, r#"{"endpoints": ["http://a"]}"#, r#"{"endpoints": "https://a"}"#] {
            assert_eq!(endpoint(none.as_bytes()), None, "{none}");
        }
    }

    #[tokio::test]
    async fn a_url_that_is_no_host_is_refused_before_anything_is_sent() {
        for url in ["example.org", "http://", "ftp://a/", ""] {
            assert!(matches!(discover(url).await, Err(ClientError::Usage(_))), "{url}");
        }
    }
}
