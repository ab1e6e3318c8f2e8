//! An HTTPS client that takes any certificate, so that tests can be anybody: a stock client, a rude one, one that breaks off.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::PATIENCE;

/// The one paid route.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// `error.code`, empty if it is null. Checks the shape that OpenAI's clients expect.
    pub(crate) fn error_code(&self) -> String {
        let json = self.json();
        let error = json["error"].as_object().unwrap_or_else(|| panic!("no error: {self:?}"));
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        assert!(error["type"].is_string() && error.contains_key("param") && error.contains_key("code"), "{self:?}");
        error["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// One connection.
pub(crate) struct Https {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Https {
    /// Connects, or says why not.
    pub(crate) async fn connect(api: &str) -> std::io::Result<Self> {
        let authority = api.trim_start_matches("https://").to_owned();
        let (sender, driver) = handshake(TokioIo::new(tls(api).await?)).await.map_err(std::io::Error::other)?;
        tokio::spawn(async move { drop(driver.await) });
        Ok(Self { sender, authority })
    }

    /// Sends a request and reads the head of the answer.
    pub(crate) async fn open(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body.into())).unwrap());
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        whole(self.open(method, path, headers, body).await.unwrap()).await
    }
}

async fn whole(response: Response<Incoming>) -> Reply {
    let (head, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a body in time").unwrap().to_bytes();
    Reply { status: head.status.as_u16(), headers: head.headers, body }
}

/// A raw TLS connection.
pub(crate) async fn tls(api: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let tcp = TcpStream::connect(api.trim_start_matches("https://")).await?;
    tcp.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await
}

/// GET on a connection of its own.
pub(crate) async fn get(api: &str, path: &str) -> Reply {
    Https::connect(api).await.unwrap().send(Method::GET, path, &[], Vec::new()).await
}

/// POST of a chat request on a connection of its own, with a payment or without.
pub(crate) async fn chat(api: &str, body: &Value, payment: Option<&str>) -> Reply {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(payment.map(|payment| ("payment-signature", payment)));
    Https::connect(api).await.unwrap().send(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await
}

/// POST of JSON over plain HTTP.
pub(crate) async fn post(url: &str, path: &str, body: &Value) -> Reply {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let (mut sender, driver) = handshake(TokioIo::new(TcpStream::connect(authority).await.unwrap())).await.unwrap();
    tokio::spawn(async move { drop(driver.await) });
    let request = Request::post(path).header(HOST, authority).header("content-type", "application/json");
    whole(sender.send_request(request.body(Full::new(Bytes::from(body.to_string()))).unwrap()).await.unwrap()).await
}

/// One JSON-RPC call.
pub(crate) async fn rpc(url: &str, method: &str, params: Value) -> Value {
    let json = post(url, "/", &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await.json();
    assert!(json["error"].is_null(), "{json}");
    json["result"].clone()
}

/// Cuts a stream into the values of its `data:` fields.
#[derive(Default)]
pub(crate) struct Frames(Vec<u8>);

impl Frames {
    /// Takes bytes and returns the values they complete, `[DONE]` included.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.0.extend_from_slice(bytes);
        let mut values = Vec::new();
        while let Some(at) = self.0.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.0.drain(..at + 2).collect();
            values.extend(event.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: ")).map(<[u8]>::to_vec));
        }
        values
    }
}

/// The first frames of a streamed answer, whose body is then dropped with its connection.
pub(crate) async fn first_frames(mut body: Incoming, count: usize) -> Vec<Vec<u8>> {
    let (mut frames, mut splitter) = (Vec::new(), Frames::default());
    while frames.len() < count {
        let piece = tokio::time::timeout(PATIENCE, body.frame()).await.expect("a frame in time").expect("a frame").unwrap();
        frames.extend(splitter.push(&piece.into_data().unwrap()));
    }
    frames
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
