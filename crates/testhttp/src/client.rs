//! A client that takes any certificate, so that tests can be anybody.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::PATIENCE;

/// The one paid route.
pub const CHAT: &str = "/v1/chat/completions";

/// What came back.
#[derive(Debug)]
#[expect(missing_docs, reason = "HTTP's own words")]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Out of all that a raw connection said. The body is as it came, in its chunks.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {text}"));
        let header = |line: &str| -> Option<(HeaderName, HeaderValue)> {
            let (name, value) = line.split_once(": ")?;
            Some((name.parse().ok()?, value.parse().ok()?))
        };
        Self { status, headers: rest.lines().filter_map(header).collect(), body: body.to_owned().into() }
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// `error.code`, empty if it is null. Checks the shape that OpenAI's clients expect.
    #[must_use]
    pub fn error_code(&self) -> String {
        let json = self.json();
        let error = json["error"].as_object().unwrap_or_else(|| panic!("no error: {self:?}"));
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        assert!(error["type"].is_string() && error.contains_key("param") && error.contains_key("code"), "{self:?}");
        error["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// One connection.
#[derive(Debug)]
pub struct Http {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Http {
    /// Connects to `https://`, whatever its key, or to `http://`.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(url: &str) -> io::Result<Self> {
        let sender = if url.starts_with("http://") { speak(tcp(url).await?).await? } else { speak(tls(url).await?).await? };
        Ok(Self { sender, authority: authority(url).to_owned() })
    }

    /// Sends a request and reads the head of the answer.
    ///
    /// # Errors
    /// The connection ended before it.
    pub async fn open(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body.into())).unwrap());
        timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection ended before it.
    pub async fn try_send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> hyper::Result<Reply> {
        let (head, body) = self.open(method, path, headers, body).await?.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("a body in time")?.to_bytes();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// The same where an answer must come.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        self.try_send(method, path, headers, body).await.unwrap()
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<SendRequest<Full<Bytes>>> {
    let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move { drop(driver.await) });
    Ok(sender)
}

fn authority(url: &str) -> &str {
    url.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/')
}

async fn tcp(url: &str) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(authority(url)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// A raw TLS connection to `https://`.
///
/// # Errors
/// Why there is none.
pub async fn tls(url: &str) -> io::Result<TlsStream<TcpStream>> {
    tls_over(tcp(url).await?).await
}

/// TLS over a connection that is there.
///
/// # Errors
/// The handshake failed.
pub async fn tls_over<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> io::Result<TlsStream<S>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
}

/// Everything until the other side ends the connection, which it must, however it does: without TLS's goodbye too.
pub async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends in time");
    drop(read);
    bytes
}

/// A chat request as it is written on a raw connection, with these further header lines.
#[must_use]
pub fn chat_bytes(headers: &str, body: &Value, payment: Option<&str>) -> Vec<u8> {
    let body = body.to_string();
    let payment = payment.map(|payment| format!("payment-signature: {payment}\r\n")).unwrap_or_default();
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\n");
    format!("{head}{headers}{payment}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// GET on a connection of its own.
pub async fn get(url: &str, path: &str) -> Reply {
    Http::connect(url).await.unwrap().send(Method::GET, path, &[], Vec::new()).await
}

/// POST of a chat request on a connection of its own, with a payment or without.
pub async fn chat(url: &str, body: &Value, payment: Option<&str>) -> Reply {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(payment.map(|payment| ("payment-signature", payment)));
    Http::connect(url).await.unwrap().send(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await
}

/// POST of JSON on a connection of its own.
pub async fn post(url: &str, path: &str, body: &Value) -> Reply {
    let headers = [("content-type", "application/json")];
    Http::connect(url).await.unwrap().send(Method::POST, path, &headers, body.to_string().into_bytes()).await
}

/// One JSON-RPC call.
pub async fn rpc(url: &str, method: &str, params: Value) -> Value {
    let json = post(url, "/", &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await.json();
    assert!(json["error"].is_null(), "{json}");
    json["result"].clone()
}

/// Cuts a stream into the values of its `data:` fields.
#[derive(Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// Takes bytes and returns the values they complete, `[DONE]` included.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
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
pub async fn first_frames(mut body: Incoming, count: usize) -> Vec<Vec<u8>> {
    let (mut frames, mut splitter) = (Vec::new(), Frames::default());
    while frames.len() < count {
        let piece = timeout(PATIENCE, body.frame()).await.expect("a frame in time").expect("a frame").unwrap();
        frames.extend(splitter.push(&piece.into_data().unwrap()));
    }
    frames
}

/// Believes every certificate, but not a signature that its key did not make.
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
