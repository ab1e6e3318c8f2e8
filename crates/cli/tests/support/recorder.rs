//! A TLS server with a key of its own in front of a real node: it relays evidence, which it cannot forge, and remembers every byte that
//! it was sent. What a dishonest host could put in the enclave's place.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::http;

/// The server, until the runtime ends.
pub(crate) struct Recorder {
    /// `https://` of it.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// In front of this node.
    pub(crate) async fn start(api: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(own_key()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, api, record) = (acceptor.clone(), api.clone(), Arc::clone(&record));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| answer(api.clone(), Arc::clone(&record), request));
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await);
                });
            }
        });
        Self { url, requests }
    }

    /// Every request so far: method, path, headers and body in one text each.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Panics if anything but questions for evidence came.
    pub(crate) fn assert_only_evidence(&self) {
        for request in self.requests() {
            assert!(request.starts_with("GET /candor/evidence"), "it was sent {request}");
        }
    }
}

async fn answer(api: String, record: Arc<Mutex<Vec<String>>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.to_string();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = format!("{} {path} {:?} {}", head.method, head.headers, String::from_utf8_lossy(&body));
    record.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    if head.method != Method::GET {
        return Ok(Response::builder().status(500).body(Full::default()).unwrap());
    }
    let reply = http::get(&api, &path).await;
    Ok(Response::builder().status(reply.status).body(Full::new(reply.body)).unwrap())
}

/// TLS with a key that nobody attested.
pub(crate) fn own_key() -> rustls::ServerConfig {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap()
}
