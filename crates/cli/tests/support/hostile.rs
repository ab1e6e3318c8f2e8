//! Strangers who write for a terminal and not for a reader: a chain endpoint and a node whose every text is [`TEXT`], and files of it.
//!
//! The servers run on threads of their own, so that a test that waits for a process does not keep them from answering.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::Arc;

use candor_verify::bundle::Bundle;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::recorder::own_key;

/// Clears the line and says VERIFIED in green, renames the window, rings; C1, DEL, bidirectional controls, a separator, a byte order mark.
pub(crate) const TEXT: &str =
    "\u{1b}[2K\r\u{1b}[32mVERIFIED, ANCHORED\u{1b}[0m\u{1b}]0;p\u{7}\u{9b}31m\u{202e}\u{2066}\u{61c}\u{200f}\u{feff}\u{7f}\u{2028}";

type Answer = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// `http://` of a chain endpoint that refuses every call with this text.
pub(crate) fn rpc() -> String {
    let refuse = |asked: &[u8]| {
        let asked: Value = serde_json::from_slice(asked).unwrap_or_default();
        json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32000, "message": TEXT}}).to_string().into_bytes()
    };
    format!("http://{}", serve(None, Arc::new(refuse)))
}

/// `https://` of a node that shows evidence with names of this text.
pub(crate) fn node() -> String {
    let evidence = bundle().evidence.encode();
    format!("https://{}", serve(Some(TlsAcceptor::from(Arc::new(own_key()))), Arc::new(move |_: &[u8]| evidence.clone())))
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

fn serve(tls: Option<TlsAcceptor>, answer: Answer) -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, answer).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            connection(stream, answer).await;
                        }
                    }
                });
            }
        });
    });
    address
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, answer: Answer) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = Arc::clone(&answer);
        async move {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer(&body[..])))))
        }
    });
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
