//! What may be said of an RPC endpoint: where it is, never how one gets in.
//!
//! Providers put the key of an account into the URL: path, query, user, sometimes a label of the host. The HTTP library and the endpoints
//! themselves quote URLs in their errors. So no error of this crate holds one: it names an [`Endpoint`] by scheme, host and port, and text
//! that the endpoint wrote passes [`Endpoint::redact`]. Does not hide a key that an endpoint sends in another spelling: it knows the key.

use alloy::transports::http::reqwest::Url;
use candor_verify::text::is_control;

/// One endpoint. No `Debug`: it holds what must not be shown.
pub(crate) struct Endpoint {
    name: String,
    // Longest first, so that a whole URL becomes one mark.
    secrets: Vec<String>,
}

impl Endpoint {
    /// The endpoint at a URL, `given` as the operator wrote it, and what it is sent in headers.
    pub(crate) fn of(given: &str, url: &Url, headers: &[(String, String)]) -> Self {
        let labels = || url.host_str().unwrap_or_default().split('.');
        let host = labels().map(|label| if is_like_a_key(label) { "…" } else { label }).collect::<Vec<_>>().join(".");
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty() && url.password().is_none();
        let rest = if is_bare { "" } else { "/…" };

        let mut secrets = spellings(given.trim());
        secrets.extend(spellings(url.as_str()));
        secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        // A value may be a scheme and a key.
        secrets.extend(headers.iter().flat_map(|(_, value)| value.split(' ').chain([value.as_str()])).map(str::to_owned));
        secrets.extend(labels().filter(|label| is_like_a_key(label)).map(str::to_owned));
        secrets.retain(|secret| SECRET_BYTES_MIN <= secret.len());
        Self::new(format!("{}://{host}{port}{rest}", url.scheme()), secrets)
    }

    fn new(name: String, mut secrets: Vec<String>) -> Self {
        secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self { name, secrets }
    }

    /// Several as one: each may repeat what it knows of itself.
    pub(crate) fn all<'a>(endpoints: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let name = endpoints.clone().map(Self::name).collect::<Vec<_>>().join(", ");
        Self::new(name, endpoints.flat_map(|endpoint| endpoint.secrets.iter().cloned()).collect())
    }

    /// Behind a provider that the caller made, and may describe.
    pub(crate) fn given() -> Self {
        Self { name: "a given provider".to_owned(), secrets: Vec::new() }
    }

    /// What it is called in front of people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Text that the endpoint wrote, on one line, cut, and without any part of its URL that may be a key. One walk: a text that is cut
    /// first could end in half a key.
    pub(crate) fn redact(&self, text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        for _ in 0..MESSAGE_CHARS_MAX {
            if let Some(secret) = self.secrets.iter().find(|secret| begins_with(rest, secret)) {
                out.push_str(MARK);
                rest = rest.get(secret.len()..).unwrap_or_default();
                continue;
            }
            let mut chars = rest.chars();
            let Some(next) = chars.next() else { return out };
            out.push(if is_control(next) { ' ' } else { next });
            rest = chars.as_str();
        }
        if !rest.is_empty() {
            out.push('…');
        }
        out
    }
}

/// Hosts and gateways change the case of what they repeat.
fn begins_with(text: &str, secret: &str) -> bool {
    text.get(..secret.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(secret))
}

/// A URL as a whole, and each part of it that may be a key by itself.
fn spellings(url: &str) -> Vec<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let whole = [url, url.trim_end_matches('/'), path, user];
    let parts = path.split(['?', '#']).chain(path.split(['/', '?', '&', '=', '#'])).chain(user.split(':'));
    whole.into_iter().chain(parts).map(str::to_owned).collect()
}

/// Some providers give each account a host: a long label with digits.
fn is_like_a_key(label: &str) -> bool {
    let is_plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    KEY_LABEL_BYTES <= label.len() && is_plain && label.bytes().any(|byte| byte.is_ascii_digit())
}

/// What stands for a part of a URL.
const MARK: &str = "<rpc>";

/// Characters of an endpoint's text that are shown; enough for every message of the nodes we know.
const MESSAGE_CHARS_MAX: usize = 200;

/// What is shorter is no key (`v2`, `rpc`), and would be found in every text.
const SECRET_BYTES_MIN: usize = 4;

/// Shorter labels are names.
const KEY_LABEL_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::of(url, &Url::parse(url).unwrap(), &[])
    }

    #[test]
    fn an_endpoint_is_named_without_path_query_user_and_keys_in_the_host() {
        for (url, name) in [
            ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
            ("http://[::1]:8545/", "http://[::1]:8545"),
            ("https://eth-mainnet.g.alchemy.com/v2/SECRET", "https://eth-mainnet.g.alchemy.com/…"),
            ("https://mainnet.infura.io:8443/?SECRET", "https://mainnet.infura.io:8443/…"),
            ("https://name:SECRET@rpc.example.org", "https://rpc.example.org/…"),
            ("https://0123456789abcdefSECRET.eth.rpc.rivet.cloud/", "https://….eth.rpc.rivet.cloud"),
        ] {
            assert_eq!(endpoint(url).name(), name);
        }
    }

    #[test]
    fn every_part_of_a_url_that_may_be_a_key_is_marked_in_any_case() {
        let rpc = endpoint("https://name:passWORD@0123456789abcdefX.rpc.example.org/v2/SecretKey/x?token=a%2Fsecret&bare");
        for (said, shown) in [
            ("bad https://name:passWORD@0123456789abcdefX.rpc.example.org/v2/SecretKey/x?token=a%2Fsecret&bare", "bad <rpc>"),
            ("no such path /v2/SecretKey/x", "no such path <rpc>"),
            ("key SECRETKEY is over its limit", "key <rpc> is over its limit"),
            ("value a/secret, or a%2fsecret", "value <rpc>, or <rpc>"),
            ("user name:passWORD or password alone", "user <rpc> or <rpc> alone"),
            ("host 0123456789ABCDEFx.rpc.example.org", "host <rpc>.rpc.example.org"),
            ("two\nlines\u{1b}[2K", "two lines [2K"),
            ("turned \u{202e}round", "turned  round"),
            ("v2 is not hidden", "v2 is not hidden"),
        ] {
            assert_eq!(rpc.redact(said), shown);
        }
    }

    #[test]
    fn a_cut_leaves_no_part_of_a_key() {
        let rpc = endpoint("https://rpc.example.org/v2/SECRETKEY123");
        for before in 0..250 {
            let shown = rpc.redact(&format!("{}SECRETKEY123{}", "é".repeat(before), "é".repeat(300)));
            assert!(!shown.contains("SECR"), "{shown}");
            assert!(shown.chars().count() <= MESSAGE_CHARS_MAX + MARK.len() && shown.ends_with('…'), "{shown}");
        }
        assert_eq!(rpc.redact(&"SECRETKEY123".repeat(1000)).matches(MARK).count(), MESSAGE_CHARS_MAX);
    }
}
