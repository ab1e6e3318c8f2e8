//! What a browser is shown: the page of the proxy, and the page of one answer's verdict, made of its kept bundle when somebody looks.
//!
//! Reading only: nothing here spends, signs or changes anything. Whose requests get here is decided before (`admission`).
//! Not here: what the pages look like (`candor-report`), which judge nothing.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use candor_report::{LIVE_REQUESTS_MAX, LiveEnd, LivePage, LiveRequest, LiveSpend, PageContent, live_page, verdict_page};
use candor_verify::bundle::BUNDLE_MAX;
use candor_verify::check::ChainFacts;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::errors::refusal;
use super::record::{ProxyAnswer, ProxyEnd, ProxyRecord};
use super::{ProxyBody, Shared};
use crate::clock;
use crate::keep::load_kept;

/// Where the pages of answers are, by the id of their receipt.
pub(super) const ANSWERS_PATH: &str = "/answers/";

/// Seconds after which a browser asks again, unless it is told not to.
const REFRESH_S: u64 = 5;

/// Requests that are remembered, newest first.
#[derive(Debug, Default)]
pub(super) struct Records {
    // Guards the list; held for one step, never across an await.
    newest: Mutex<VecDeque<ProxyRecord>>,
}

impl Records {
    pub(super) fn add(&self, record: ProxyRecord) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.truncate(LIVE_REQUESTS_MAX.saturating_sub(1));
        newest.push_front(record);
    }

    fn shown(&self) -> Vec<LiveRequest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).iter().map(shown).collect()
    }

    /// Where the bundle of a remembered answer is.
    fn bundle(&self, id: &str) -> Option<PathBuf> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.iter().find_map(|record| match &record.end {
            ProxyEnd::Answered(answer) if answer.receipt_id == id => answer.bundle.clone(),
            _ => None,
        })
    }
}

/// Whether a request is a browser's: programs get JSON.
pub(super) fn is_browser(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

impl Shared {
    /// The page, which the browser asks for again after some seconds, unless its query says `still`.
    pub(super) fn live_page(&self, query: Option<&str>) -> Response<ProxyBody> {
        let refreshes_s = (query != Some("still")).then_some(REFRESH_S);
        let (requests, nodes) = (self.records.shown(), self.nodes.shown());
        let spend: Vec<LiveSpend> = match self.spent() {
            Ok(spent) => spent
                .iter()
                .map(|(limit, spent)| {
                    let listed = nodes.iter().flat_map(|node| &node.prices).map(|(_, _, asset)| asset);
                    let mut known = listed.filter(|asset| (asset.chain_id, asset.asset) == (limit.network.0, limit.asset));
                    LiveSpend {
                        chain_id: limit.network.0,
                        asset: limit.asset,
                        known: known.next().map(|asset| (asset.name.clone(), asset.decimals)),
                        spent: *spent,
                        max_per_day: limit.max_per_day,
                        max_per_request: limit.max_per_request,
                    }
                })
                .collect(),
            Err(error) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, None, &error.to_string()),
        };
        let page = LivePage { at: clock::now(), requests: &requests, spend: &spend, nodes: &nodes, refreshes_s };
        let mut response = html(live_page(&page));
        if let Some(Ok(value)) = refreshes_s.map(|seconds| HeaderValue::from_str(&seconds.to_string())) {
            // A header, and no script: the page's policy forbids those.
            response.headers_mut().insert(HeaderName::from_static("refresh"), value);
        }
        response
    }

    /// The page of the verdict on one kept answer, judged now, offline.
    pub(super) fn answer_page(&self, id: &str) -> Response<ProxyBody> {
        let missing = || refusal(StatusCode::NOT_FOUND, None, "no answer with this receipt is kept here");
        // It becomes a file name: nothing but an id does.
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return missing();
        }
        // Of this run: then the connection of this answer was ours.
        let remembered = self.records.bundle(id);
        let is_live = remembered.is_some();
        let Some(path) = remembered.or_else(|| self.config.token.as_ref().and_then(|_| self.config.keep.find(id))) else {
            return missing();
        };
        let is_small = std::fs::metadata(&path).is_ok_and(|file| file.len() <= BUNDLE_MAX as u64);
        if !is_small {
            return missing();
        }
        let Ok(kept) = load_kept(&path) else {
            return refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                None,
                "the kept file cannot be read any more; candor verify says what is wrong with it",
            );
        };
        let policy = &self.config.policy.policy;
        // Of a proof what needs the texts is not checked, and the page says so.
        let verdict = kept.judge(policy, ChainFacts::default());
        let bytes = kept.whole();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let content = PageContent {
            name: &name,
            bytes: &bytes,
            bundle: &kept.bundle,
            verdict: &verdict,
            required: policy.require_level,
            transfer_tx: None,
            asked_chain: None,
            is_live,
        };
        html(verdict_page(&content))
    }
}

/// A page for this browser alone: not kept, not framed, told to nobody.
fn html(page: String) -> Response<ProxyBody> {
    let body = http_body_util::Full::new(Bytes::from(page)).map_err(|never: std::convert::Infallible| match never {});
    let mut response = Response::new(BodyExt::boxed(body));
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("content-security-policy"), POLICY),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// That of the page itself, and what only a header can say: nobody frames it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn shown(record: &ProxyRecord) -> LiveRequest {
    let end = match &record.end {
        ProxyEnd::Answered(ProxyAnswer { receipt_id, prompt_tokens, completion_tokens, charge, verdict, outcome, .. }) => {
            LiveEnd::Answered {
                receipt_id: receipt_id.clone(),
                tokens: (*prompt_tokens, *completion_tokens),
                charge: charge.clone(),
                verdict: verdict.clone(),
                outcome: (*outcome).to_owned(),
            }
        }
        ProxyEnd::Failed(code) => LiveEnd::Failed { status: record.status, code: code.clone() },
        ProxyEnd::Served => LiveEnd::Failed { status: record.status, code: String::new() },
    };
    LiveRequest { at: record.at, took_ms: record.took_ms, model: record.model.clone(), node: record.node.clone(), end }
}
