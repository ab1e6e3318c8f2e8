//! A server that says what a test wants: a dishonest node with a key of its own, or a dishonest chain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use candor_verify::bytes::Hash32;
use candor_verify::hash::sha256;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers on a port of loopback until the process ends, over TLS if there is a key. A request whose body breaks off has an empty one; an
/// answer that is an error closes the connection.
///
/// The server has a thread of its own, so that a test that waits for a process does not keep it from answering.
pub fn serve<F, A>(key: Option<ServerConfig>, answer: F) -> SocketAddr
where
    F: Fn(Request<Bytes>) -> A + Clone + Send + 'static,
    A: Future<Output = io::Result<Response<Full<Bytes>>>> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(accept(listener, key, answer));
    });
    address
}

async fn accept<F, A>(listener: std::net::TcpListener, key: Option<ServerConfig>, answer: F)
where
    F: Fn(Request<Bytes>) -> A + Clone + Send + 'static,
    A: Future<Output = io::Result<Response<Full<Bytes>>>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).unwrap();
    let tls = key.map(|key| TlsAcceptor::from(Arc::new(key)));
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answer) = (tls.clone(), answer.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(stream, answer).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, answer).await;
                    }
                }
            }
        });
    }
}

async fn converse<F, A>(stream: impl AsyncRead + AsyncWrite + Unpin, answer: F)
where
    F: Fn(Request<Bytes>) -> A + Clone,
    A: Future<Output = io::Result<Response<Full<Bytes>>>>,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let answered = answer(Request::from_parts(head, body));
            answered.await
        }
    });
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// TLS with a key that nobody attested, and the hash by which evidence would name it.
#[must_use]
pub fn own_key() -> (ServerConfig, Hash32) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let spki_hash = sha256(&[&rcgen::PublicKeyData::subject_public_key_info(&key)]);
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (config, spki_hash)
}
