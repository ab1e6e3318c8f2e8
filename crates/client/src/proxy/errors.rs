//! What a request is answered when it has no answer, in the shape that OpenAI's SDKs read.

use std::convert::Infallible;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::ProxyBody;
use super::buy::Tried;
use crate::error::{CHAIN_UNAVAILABLE, ClientError};

/// Code of what the proxy itself refuses.
pub(super) const PROXY_CODE: &str = "candor_proxy";

/// A whole JSON body.
pub(super) fn whole(status: StatusCode, body: Bytes) -> Response<ProxyBody> {
    let body = http_body_util::Full::new(body).map_err(|never: Infallible| match never {});
    let mut response = Response::new(BodyExt::boxed(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A refusal of the proxy's own, in OpenAI's shape.
pub(super) fn refusal(status: StatusCode, code: Option<&str>, message: &str) -> Response<ProxyBody> {
    let body = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}});
    whole(status, body.to_string().into())
}

/// The same of a member of the request that makes no sense.
pub(super) fn refusal_of(param: &str, message: &str) -> Response<ProxyBody> {
    let body = json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": "invalid_value"}});
    whole(StatusCode::BAD_REQUEST, body.to_string().into())
}

/// Errors in OpenAI's shape: what the node refused as it said it, everything else as a bad gateway with the refusing check.
pub(super) fn failure(error: &ClientError, tried: &[Tried]) -> Response<ProxyBody> {
    let (status, body) = error_body(error, tried);
    let mut response = whole(status, body.to_string().into());
    // OpenAI's SDKs obey this header; what is safe to send again was sent again here already. But a node that is busy with what nobody pays for
    // asked whoever wants it to come again, and has charged nothing.
    let is_busy = matches!(error, ClientError::Node { status: 429, code, .. } if code.starts_with("candor_free_"));
    if !is_busy {
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

/// Codes that say what the proxy did.
const OURS: [&str; 3] = ["candor_unresolved", "candor_answer_refused", PROXY_CODE];

/// Status and body of an error, with the nodes that were asked if there were several.
pub(super) fn error_body(error: &ClientError, tried: &[Tried]) -> (StatusCode, serde_json::Value) {
    let (status, code) = match error {
        // A node's word for something of ours would be taken for ours.
        ClientError::Node { status, code, .. } if (400..600).contains(status) && !OURS.contains(&code.as_str()) => (*status, code.clone()),
        ClientError::Node { .. } => (502, "candor_node".to_owned()),
        // 402 is not retried by SDKs: a second try would be a second payment while the first may still be charged.
        ClientError::Unresolved { .. } | ClientError::Held { .. } => (402, "candor_unresolved".to_owned()),
        ClientError::RefusedAnswer { .. } => (402, "candor_answer_refused".to_owned()),
        // As OpenAI says it of an account whose money is spent.
        ClientError::Budget(_) => (429, "insufficient_quota".to_owned()),
        ClientError::RefusedGift { .. } => (502, "candor_answer_refused".to_owned()),
        ClientError::Chain(_) | ClientError::ChainTrouble(_) => (503, CHAIN_UNAVAILABLE.to_owned()),
        other => (502, other.check().unwrap_or(PROXY_CODE).to_owned()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let message = match error {
        ClientError::Node { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let kind = if status.is_client_error() { "invalid_request_error" } else { "server_error" };
    let param = match error {
        ClientError::Node { param, .. } => param.as_deref(),
        _ => None,
    };
    let code = Some(code).filter(|code| !code.is_empty());
    let mut body = json!({"error": {"message": message, "type": kind, "param": param, "code": code}});
    if let ClientError::RefusedAnswer { check, kept, .. } | ClientError::RefusedGift { check, kept, .. } = error {
        let file = kept.as_ref().ok().map(|path| path.display().to_string());
        body["error"]["candor"] = json!({"check": check, "bundle": file});
    }
    if let ClientError::ChainTrouble(trouble) = error {
        body["error"]["candor"] = json!({"chain": trouble.kind()});
    }
    if 1 < tried.len() {
        let rows: Vec<_> = tried.iter().map(|tried| json!({"node": tried.node, "why": tried.why})).collect();
        body["error"]["candor"]["tried"] = rows.into();
    }
    (status, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain_health::ChainTrouble;
    use candor_verify::time::UnixSeconds;

    #[test]
    fn what_a_node_says_of_a_field_is_passed_on_and_no_code_is_null() {
        let param = Some("temperature".to_owned());
        let refused = ClientError::Node { status: 400, code: "invalid_value".into(), message: "m".into(), param };
        assert_eq!(error_body(&refused, &[]).1["error"]["param"], "temperature");
        let silent = ClientError::Node { status: 500, code: String::new(), message: "m".into(), param: None };
        let body = error_body(&silent, &[]).1;
        assert!(body["error"]["code"].is_null() && body["error"]["param"].is_null(), "{body}");
    }

    #[test]
    fn a_chain_in_trouble_is_a_503_that_names_it_and_no_sdk_tries_again() {
        let trouble = ChainTrouble::WentBack { endpoint: "http://127.0.0.1:1".into(), from: 9, to: 7 };
        let (status, body) = error_body(&trouble.clone().into(), &[]);
        let error = &body["error"];
        assert_eq!((status.as_u16(), error["code"].as_str()), (503, Some("chain_unavailable")));
        assert_eq!(error["candor"], json!({"chain": "went_back"}));
        assert_eq!(failure(&trouble.into(), &[]).headers()["x-should-retry"].to_str().unwrap(), "false");
        assert_eq!(error_body(&ClientError::Chain("w".into()), &[]).0.as_u16(), 503);
    }

    #[test]
    fn what_may_have_been_charged_is_told_so_that_no_sdk_tries_again() {
        let kept = Ok("bundles/0a.refused.candor".into());
        let payment_id = candor_verify::Hash32::ZERO;
        let refused = ClientError::RefusedAnswer { check: "receipt.signature", what: "w".into(), kept, payment_id, until: UnixSeconds(1) };
        let (status, body) = error_body(&refused, &[]);
        assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (402, Some("candor_answer_refused")));
        assert_eq!(body["error"]["candor"], json!({"check": "receipt.signature", "bundle": "bundles/0a.refused.candor"}));
        let unresolved = ClientError::Unresolved { payment_id, until: UnixSeconds(1), what: "w".into() };
        for error in [refused, unresolved] {
            let response = failure(&error, &[]);
            assert_eq!((response.status().as_u16(), response.headers()["x-should-retry"].to_str().unwrap()), (402, "false"));
        }
    }
}
