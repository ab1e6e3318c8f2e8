//! TLS to an enclave: the key is what counts, never the name or a certificate authority.
//!
//! The host owns the DNS name and could get any certificate; only the enclave has the key whose hash its evidence carries. A connection
//! is made either *pinned* (the key is already known from verified evidence) or as a *probe* (to fetch evidence, nothing else); a probe
//! reports the key it saw, and no prompt ever travels on it. Spec: attestation.md §5.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candor_verify::Hash32;
use candor_verify::hash::sha256;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::ClientError;

/// How long connecting may take, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An `https://host:port` endpoint. Plain HTTP is refused: it could not be pinned.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads an endpoint URL; a path is ignored.
    ///
    /// # Errors
    /// `Usage` if it is not `https://`.
    pub fn parse(url: &str) -> Result<Self, ClientError> {
        let usage = || ClientError::Usage(format!("expected an endpoint like https://127.0.0.1:8443, got {url:?}"));
        let rest = url.strip_prefix("https://").ok_or_else(usage)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| usage())?),
            _ => (authority, 443),
        };
        if host.is_empty() {
            return Err(usage());
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// `host:port`, for the Host header.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A connected stream, the key it is with, and the certificate that was shown.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) spki_hash: Hash32,
    pub(crate) certificate: Vec<u8>,
}

/// Connects. With `pinned`, a server with another key gets no byte after its handshake; without, the caller must send nothing secret.
pub(crate) async fn connect(endpoint: &Endpoint, pinned: Option<Hash32>) -> Result<Connection, ClientError> {
    let unreachable = |what: String| ClientError::Unreachable { endpoint: endpoint.authority(), what };
    let seen = Arc::new(Mutex::new(None));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = KeyVerifier { pinned, seen: Arc::clone(&seen), provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unreachable(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let host = endpoint.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| ClientError::Usage(format!("{host:?} is not a host name")))?;
    let handshake = async {
        let tcp = TcpStream::connect((host.as_str(), endpoint.port)).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    };
    let result = tokio::time::timeout(CONNECT_TIMEOUT, handshake).await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (result, seen) {
        (Ok(Ok(stream)), Some((spki_hash, certificate))) => Ok(Connection { stream, spki_hash, certificate }),
        (_, Some((got, _))) if pinned.is_some_and(|expected| expected != got) => {
            Err(ClientError::WrongKey { expected: pinned.unwrap_or_default(), got })
        }
        (Ok(Err(error)), _) if is_no_tls(&error) => {
            Err(unreachable("expected TLS, got something else; is this the node's https port? (its log speaks plain HTTP)".into()))
        }
        (Ok(Err(error)), _) => Err(unreachable(error.to_string())),
        (Ok(Ok(_)), None) => Err(unreachable("the server showed no certificate".into())),
        (Err(_), _) => Err(unreachable(format!("no TLS connection within {} s", CONNECT_TIMEOUT.as_secs()))),
    }
}

/// Whether the other side answered a TLS hello with bytes that are no TLS.
fn is_no_tls(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

/// Accepts exactly one key, or (probing) any, and remembers which it saw. Handshake signatures are always checked: a copied
/// certificate without its key ends here.
#[derive(Debug)]
struct KeyVerifier {
    pinned: Option<Hash32>,
    seen: Arc<Mutex<Seen>>,
    provider: Arc<CryptoProvider>,
}

/// Hash of the key that was shown, and its certificate.
type Seen = Option<(Hash32, Vec<u8>)>;

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let bad = || rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding);
        let spki = spki_of(end_entity).ok_or_else(bad)?;
        let spki_hash = sha256(&[spki]);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((spki_hash, end_entity.to_vec()));
        match self.pinned {
            Some(expected) if expected != spki_hash => {
                Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The SubjectPublicKeyInfo of a certificate, as bytes: seventh field of TBSCertificate (sixth without a version). RFC 5280 §4.1.
///
/// Only finds where it lies: rustls checks the handshake signature with the same bytes, so a wrong cut cannot match a pinned key.
fn spki_of(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = der_item(certificate)?;
    let (_, mut fields, _) = der_item(certificate)?;
    // [0] version is optional; then serial, signature, issuer, validity, subject.
    if fields.first() == Some(&0xa0) {
        fields = der_item(fields)?.2;
    }
    for _ in 0..5 {
        fields = der_item(fields)?.2;
    }
    let (whole, _, _) = der_item(fields)?;
    Some(whole)
}

/// The first item: its whole encoding, its content, and what follows it.
fn der_item(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*bytes.get(1)?);
    let (header, len) = if first < 0x80 {
        (2, first)
    } else {
        let count = first & 0x7f;
        let digits = bytes.get(2..2_usize.checked_add(count)?).filter(|_| (1..=4).contains(&count))?;
        (2_usize.checked_add(count)?, digits.iter().try_fold(0_usize, |len, byte| len.checked_mul(256)?.checked_add(usize::from(*byte)))?)
    };
    let end = header.checked_add(len)?;
    Some((bytes.get(..end)?, bytes.get(header..end)?, bytes.get(end..)?))
}

/// A certificate in PEM, for clients that must be told whom to trust (`NODE_EXTRA_CA_CERTS`).
pub(crate) fn to_pem(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_only() {
        assert_eq!(Endpoint::parse("https://127.0.0.1:8443/v1").unwrap().authority(), "127.0.0.1:8443");
        assert_eq!(Endpoint::parse("https://node.example").unwrap().authority(), "node.example:443");
        assert_eq!(Endpoint::parse("https://[::1]:8443").unwrap().authority(), "[::1]:8443");
        for bad in ["http://127.0.0.1:8443", "127.0.0.1:8443", "https://", "https://:1", "https://a:b"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn items_that_are_cut_short_are_rejected() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 0x05, 1, 2], &[0x30, 0x80], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(der_item(bytes), None, "{bytes:?}");
            assert_eq!(spki_of(bytes), None, "{bytes:?}");
        }
    }
}
