//! How to reach a chain: a list of endpoints, what each wants to be told, and how many of them must say the same.

use std::collections::BTreeSet;
use std::fmt;

use alloy::transports::http::Http;
use alloy::transports::http::reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use alloy::transports::http::reqwest::{Client, Url, redirect};

use crate::client::DEFAULT_TIMEOUT;
use crate::endpoint::Endpoint;
use crate::error::ChainError;

/// Most endpoints of one chain: each costs a question at the start.
pub const ENDPOINTS_MAX: usize = 16;

/// The endpoints of one chain.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: where, and how much they are believed")]
pub struct Rpc {
    /// In the order in which they are asked: the first that is well answers.
    pub endpoints: Vec<RpcEndpoint>,
    /// So many of them must give the same answer to each question, or there is none. One believes whoever answers.
    pub agree: usize,
}

/// One endpoint.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: an HTTP endpoint")]
pub struct RpcEndpoint {
    /// `http://` or `https://`.
    pub url: String,
    /// Header names and values that go with each request, for providers that take their key so.
    pub headers: Vec<(String, String)>,
}

impl Rpc {
    /// Endpoints without headers.
    #[must_use]
    pub fn of(urls: &[String], agree: usize) -> Self {
        Self { endpoints: urls.iter().map(|url| RpcEndpoint { url: url.clone(), headers: Vec::new() }).collect(), agree }
    }
}

impl From<&str> for Rpc {
    /// One endpoint without headers.
    fn from(url: &str) -> Self {
        Self::of(&[url.to_owned()], 1)
    }
}

impl From<&String> for Rpc {
    fn from(url: &String) -> Self {
        url.as_str().into()
    }
}

impl From<&Self> for Rpc {
    fn from(rpc: &Self) -> Self {
        rpc.clone()
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({:?}, of which {} must agree)", self.endpoints, self.agree)
    }
}

/// Without what may be a key.
impl fmt::Debug for RpcEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(&self.url) {
            Ok(url) => f.write_str(Endpoint::of(&self.url, &url, &self.headers).name()),
            Err(_) => f.write_str("no URL"),
        }
    }
}

/// An endpoint as it is asked.
pub(crate) struct Reach {
    pub(crate) http: Http<Client>,
    pub(crate) endpoint: Endpoint,
    /// Whether it is on this machine, and may be asked more often.
    pub(crate) is_local: bool,
}

impl Rpc {
    /// Reads every URL and header.
    ///
    /// # Errors
    /// `Misuse`, which quotes no part of them that may be a key.
    pub(crate) fn reach(&self) -> Result<Vec<Reach>, ChainError> {
        let (got, agree) = (self.endpoints.len(), self.agree);
        if !(1..=ENDPOINTS_MAX).contains(&got) {
            return Err(misuse(format!("expected 1 to {ENDPOINTS_MAX} endpoints, got {got}")));
        }
        if !(1..=got).contains(&agree) {
            return Err(misuse(format!("{agree} endpoints cannot agree where {got} are named; name more, or let fewer agree")));
        }
        let reaches: Vec<Reach> = self.endpoints.iter().map(RpcEndpoint::reach).collect::<Result<_, _>>()?;
        // One that is named twice, however it is spelled, would agree with itself.
        let mut seen = BTreeSet::new();
        match reaches.iter().find(|reach| !seen.insert(reach.http.url().to_owned())) {
            Some(twice) => Err(misuse(format!("{} is named twice", twice.endpoint.name()))),
            None => Ok(reaches),
        }
    }
}

impl RpcEndpoint {
    fn reach(&self) -> Result<Reach, ChainError> {
        let url = Url::parse(&self.url).map_err(|error| misuse(format!("RPC URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(misuse("RPC URL: expected http:// or https://".to_owned()));
        }
        let endpoint = Endpoint::of(&self.url, &url, &self.headers);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let of = || format!("a header of {}", endpoint.name());
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| misuse(format!("{}: its name is none", of())))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| misuse(format!("{}: the value of {name} is none", of())))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let http = Client::builder()
            .timeout(DEFAULT_TIMEOUT)
            // A redirect could lead a transaction anywhere; a node that redirects is misconfigured.
            .redirect(redirect::Policy::none())
            .default_headers(headers)
            .build()
            .map_err(|error| misuse(error.without_url().to_string()))?;
        let is_local = url.host_str().is_some_and(|host| matches!(host, "127.0.0.1" | "localhost" | "[::1]"));
        Ok(Reach { http: Http::with_client(http, url), endpoint, is_local })
    }
}

fn misuse(detail: String) -> ChainError {
    ChainError::Misuse { what: "connect", detail }
}
