//! The log's public half over plain HTTP: proofs from the host. Unbelieved; whoever asks verifies them.

use std::time::Duration;

use candor_verify::bytes::Hash32;
use candor_verify::text::one_line;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::ClientError;

/// Largest answer read, in bytes.
const BODY_MAX: usize = 1 << 20;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// GET of a small body.
///
/// # Errors
/// `Unreachable`, `Node` for another status than 200, `Usage` for a URL that is not `http://`.
pub async fn get(url: &str) -> Result<Bytes, ClientError> {
    let rest = url.strip_prefix("http://").ok_or_else(|| ClientError::Usage(format!("expected an http:// URL, got {url:?}")))?;
    let (authority, path) = rest.split_once('/').map_or((rest, String::from("/")), |(authority, path)| (authority, format!("/{path}")));
    let unreachable = |what: String| ClientError::Unreachable { endpoint: authority.to_owned(), what };
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let exchange = async {
        let tcp = TcpStream::connect(&address).await.map_err(|error| unreachable(error.to_string()))?;
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.map_err(|error| unreachable(error.to_string()))?;
        tokio::spawn(async move { drop(driver.await) });
        let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| ClientError::Usage(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| unreachable(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(|error| unreachable(error.to_string()))?.to_bytes();
        if status != hyper::StatusCode::OK {
            let message = one_line(&String::from_utf8_lossy(&body).chars().take(300).collect::<String>()).into_owned();
            return Err(ClientError::Node { status: status.as_u16(), code: String::new(), message, param: None });
        }
        Ok(body)
    };
    tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| unreachable(format!("silent for {} s", TIMEOUT.as_secs())))?
}

/// Consistency path between two sizes of a log.
///
/// # Errors
/// As [`get`]; `Dishonest` if the answer is not a list of hashes.
pub async fn consistency(log_url: &str, log_id: &Hash32, from: u64, to: u64) -> Result<Vec<Hash32>, ClientError> {
    let url = format!("{}/log/{}/consistency?from={from}&to={to}", log_url.trim_end_matches('/'), hex(log_id));
    hashes(&get(&url).await?)
}

fn hex(log_id: &Hash32) -> String {
    log_id.to_string().trim_start_matches("0x").to_owned()
}

fn hashes(body: &[u8]) -> Result<Vec<Hash32>, ClientError> {
    #[derive(serde::Deserialize)]
    struct Proof {
        hashes: Vec<String>,
    }
    let proof: Option<Proof> = serde_json::from_slice(body).ok();
    let hashes = proof.and_then(|proof| proof.hashes.iter().map(|text| Hash32::from_hex(text)).collect());
    hashes.ok_or_else(|| ClientError::Dishonest { check: "log.proof", what: "the log's answer is not a proof".into() })
}
