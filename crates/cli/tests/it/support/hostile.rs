//! Strangers who write for a terminal and not for a reader: a chain endpoint and a node whose every text is [`TEXT`], and files of it.

use std::io;
use std::path::Path;

use candor_testhttp::{own_key, serve};
use candor_verify::bundle::Bundle;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use serde_json::{Value, json};

/// Clears the line and says VERIFIED in green, renames the window, rings; C1, DEL, bidirectional controls, a separator, a byte order mark.
pub(crate) const TEXT: &str =
    "\u{1b}[2K\r\u{1b}[32mVERIFIED, ANCHORED\u{1b}[0m\u{1b}]0;p\u{7}\u{9b}31m\u{202e}\u{2066}\u{61c}\u{200f}\u{feff}\u{7f}\u{2028}";

/// `http://` of a chain endpoint that refuses every call with this text.
pub(crate) fn rpc() -> String {
    let refuse = |request: Request<Bytes>| async move {
        let asked: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let refusal = json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32000, "message": TEXT}});
        Ok::<_, io::Error>(Response::new(Full::new(Bytes::from(refusal.to_string()))))
    };
    format!("http://{}", serve(None, refuse))
}

/// `https://` of a node that shows evidence with names of this text.
pub(crate) fn node() -> String {
    let evidence = Bytes::from(bundle().evidence.encode());
    let show = move |_: Request<Bytes>| std::future::ready(Ok::<_, io::Error>(Response::new(Full::new(evidence.clone()))));
    format!("https://{}", serve(Some(own_key().0), show))
}

/// A well-formed bundle with this text wherever one is.
pub(crate) fn bundle() -> Bundle {
    let honest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/bundle/honest.candor");
    let mut bundle = Bundle::parse(&std::fs::read(honest).unwrap()).unwrap();
    let terms = &mut bundle.evidence.terms.terms;
    terms.models[0].id = TEXT.to_owned();
    terms.assets[0].name = TEXT.to_owned();
    terms.endpoints[0] = format!("https://{TEXT}");
    bundle.delivery.decoding.engine = TEXT.to_owned();
    bundle.response.frames = vec![json!({"choices": [{"delta": {"content": TEXT}}]}).to_string().into_bytes()];
    bundle
}
