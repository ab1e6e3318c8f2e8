//! A client over a raw connection: it takes any certificate, and reads when and what it likes.

use std::sync::Arc;

use candor_link::Party;
use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::payment::{Authorization, offer_nonce};
use candor_x402::extension::SignedOffer;
use candor_x402::protocol::{ExactRequirements, encode_header, parse_payment_required};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Key, PATIENCE, SOMEBODY, World};

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Head and body, as they came.
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {text}"));
        Self { status, text }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A question; the name makes it one of its own.
pub(crate) fn question(name: &str, max_tokens: u32, stream: bool) -> Value {
    json!({"model": "fixture", "messages": [{"role": "user", "content": name}], "max_tokens": max_tokens, "temperature": 0, "seed": 1, "stream": stream})
}

impl World {
    /// A client's TLS.
    pub(crate) async fn tls(&self) -> TlsStream<UnixStream> {
        self.tls_of(SOMEBODY).await
    }

    /// TLS of a client at this address.
    pub(crate) async fn tls_of(&self, party: Party) -> TlsStream<UnixStream> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.connect(party).await).await.unwrap()
    }

    /// GET on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        let mut tls = self.tls().await;
        tls.write_all(format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        Reply::of(&rest(&mut tls).await)
    }

    /// Sends a question, with a payment or without, and reads nothing yet.
    pub(crate) async fn send(&self, body: &Value, payment: Option<&str>) -> TlsStream<UnixStream> {
        let mut tls = self.tls().await;
        post(&mut tls, "connection: close\r\n", body, payment).await;
        tls
    }

    /// Sends a question and reads the whole answer.
    pub(crate) async fn ask(&self, body: &Value, payment: Option<&str>) -> Reply {
        Reply::of(&rest(&mut self.send(body, payment).await).await)
    }

    /// Says that the answer to this payment was received.
    pub(crate) async fn received(&self, payment: &str) -> Reply {
        let mut tls = self.tls().await;
        let head = format!("DELETE /candor/answer HTTP/1.1\r\nhost: node\r\nconnection: close\r\npayment-signature: {payment}\r\n\r\n");
        tls.write_all(head.as_bytes()).await.unwrap();
        Reply::of(&rest(&mut tls).await)
    }

    /// A payment for this question, bound to its offer.
    pub(crate) async fn pay(&self, payer: &Key, body: &Value, valid_before: u64) -> String {
        sign(payer, &self.ask(body, None).await, valid_before)
    }
}

/// A payment for what a 402 asks for, bound to its offer, by a client that does not want its answer kept.
pub(crate) fn without_salt(unpaid: &Reply, payer: &Key) -> String {
    sign_with(payer, unpaid, super::now_s() + 300, |info| drop(info.as_object_mut().unwrap().remove("answerSalt")))
}

/// A payment for what a 402 asks for, bound to its offer.
pub(crate) fn sign(payer: &Key, unpaid: &Reply, valid_before: u64) -> String {
    sign_with(payer, unpaid, valid_before, |_| {})
}

fn sign_with(payer: &Key, unpaid: &Reply, valid_before: u64, change: impl FnOnce(&mut Value)) -> String {
    assert_eq!(unpaid.status, 402, "{unpaid:?}");
    let required = parse_payment_required(unpaid.header("payment-required").unwrap().as_bytes()).unwrap();
    let requirements = ExactRequirements::parse(&required.accepts[0]).unwrap();
    let signed = SignedOffer::parse(required.extensions.as_ref()).unwrap().unwrap();
    let salt = Hash32([5; 32]);
    let mut extensions = serde_json::to_value(&required.extensions).unwrap();
    extensions["candor"]["info"]["clientSalt"] = salt.to_string().into();
    change(&mut extensions["candor"]["info"]);
    let a = Authorization {
        from: payer.address(),
        to: requirements.pay_to,
        value: requirements.amount,
        valid_after: 0,
        valid_before,
        nonce: offer_nonce(&signed.offer.digest(), &salt),
    };
    let signature = payer.sign(&a.digest(&requirements.domain()));
    encode_header(&json!({
        "x402Version": 2, "resource": required.resource, "accepted": required.accepts[0], "extensions": extensions,
        "payload": {
            "signature": to_hex(&signature.0),
            "authorization": {
                "from": a.from.to_string(), "to": a.to.to_string(), "value": a.value.to_string(), "nonce": a.nonce.to_string(),
                "validAfter": a.valid_after.to_string(), "validBefore": a.valid_before.to_string(),
            },
        },
    }))
}

async fn post(tls: &mut TlsStream<UnixStream>, headers: &str, body: &Value, payment: Option<&str>) {
    let body = body.to_string();
    let payment = payment.map(|payment| format!("payment-signature: {payment}\r\n")).unwrap_or_default();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\n";
    let request = format!("{head}{headers}{payment}content-length: {}\r\n\r\n{body}", body.len());
    tls.write_all(request.as_bytes()).await.unwrap();
}

/// Sends a question on a connection that is kept, and reads the whole answer.
pub(crate) async fn ask_on(tls: &mut TlsStream<UnixStream>, body: &Value, payment: Option<&str>) -> Reply {
    post(tls, "", body, payment).await;
    next_answer(tls).await
}

/// GET on a connection that is kept.
pub(crate) async fn get_on(tls: &mut TlsStream<UnixStream>, path: &str) -> Reply {
    tls.write_all(format!("GET {path} HTTP/1.1\r\nhost: node\r\n\r\n").as_bytes()).await.unwrap();
    next_answer(tls).await
}

/// The next answer on a connection that is kept.
async fn next_answer(tls: &mut TlsStream<UnixStream>) -> Reply {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    // The last piece of a body of unknown length.
    while !bytes.ends_with(b"\r\n0\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, tls.read(&mut piece)).await.expect("an answer in time").unwrap();
        assert_ne!(read, 0, "it ends: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..read]);
    }
    Reply::of(&bytes)
}

/// Everything until the other side ends the connection, however it ends it.
pub(crate) async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends in time");
    drop(read);
    bytes
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
