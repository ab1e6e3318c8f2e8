//! HTTP/1.1 to an enclave over one pinned TLS connection, and the SSE frames in it. Every read has a limit and a time.

use std::sync::Arc;
use std::time::Duration;

use candor_verify::Hash32;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;

use crate::boot::VerifiedBoot;
use crate::error::ClientError;
use crate::tls::{self, Endpoint};

/// Largest whole body read, in bytes.
pub(crate) const BODY_MAX: usize = 16 << 20;

/// Longest silence in an answer.
const SILENCE: Duration = Duration::from_secs(120);

/// One connection to a node, with the key it is with.
#[derive(Debug)]
pub(crate) struct Http {
    endpoint: Endpoint,
    sender: SendRequest<Full<Bytes>>,
    // Held against every response; none before somebody was verified.
    boot: Option<Arc<VerifiedBoot>>,
    pub(crate) spki_hash: Hash32,
    pub(crate) certificate: Vec<u8>,
}

impl Http {
    /// Connects, pinned or as a probe (see `tls`).
    pub(crate) async fn connect(endpoint: &Endpoint, pinned: Option<Hash32>) -> Result<Self, ClientError> {
        let connection = tls::connect(endpoint, pinned).await?;
        let (sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(connection.stream)).await.map_err(|error| broken(endpoint, &error))?;
        // Ends with the connection; its errors surface on the request that waits.
        tokio::spawn(async move { drop(driver.await) });
        let (spki_hash, certificate) = (connection.spki_hash, connection.certificate);
        Ok(Self { endpoint: endpoint.clone(), sender, boot: None, spki_hash, certificate })
    }

    /// Another connection to a boot that was verified, pinned to its attested key.
    pub(crate) async fn to_boot(endpoint: &Endpoint, pinned: Hash32, boot: &Arc<VerifiedBoot>) -> Result<Self, ClientError> {
        boot.check()?;
        Ok(Self { boot: Some(Arc::clone(boot)), ..Self::connect(endpoint, Some(pinned)).await? })
    }

    /// From here on only this boot may answer.
    pub(crate) fn is_of(&mut self, boot: &Arc<VerifiedBoot>) {
        self.boot = Some(Arc::clone(boot));
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether another request can go out.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and reads the response head, which must be of the boot that was verified.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        if let Some(boot) = &self.boot {
            boot.check()?;
        }
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.endpoint.authority());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| ClientError::Usage(error.to_string()))?;
        self.sender.ready().await.map_err(|error| broken(&self.endpoint, &error))?;
        let response = match tokio::time::timeout(SILENCE, self.sender.send_request(request)).await {
            Ok(response) => response.map_err(|error| broken(&self.endpoint, &error))?,
            Err(_) => return Err(self.silent()),
        };
        // What it says is dropped with it: its body is never read.
        self.boot.as_ref().map_or(Ok(()), |boot| boot.check_response(response.headers()))?;
        Ok(response)
    }

    /// GET of a whole body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(hyper::StatusCode, Bytes), ClientError> {
        let response = self.send(Method::GET, path, &HeaderMap::new(), Bytes::new()).await?;
        let status = response.status();
        Ok((status, self.body(response).await?))
    }

    /// Reads a whole body.
    pub(crate) async fn body(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let limited = Limited::new(response.into_body(), BODY_MAX).collect();
        match tokio::time::timeout(SILENCE, limited).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(ClientError::Unreachable { endpoint: self.endpoint.authority(), what: error.to_string() }),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> ClientError {
        ClientError::Unreachable { endpoint: self.endpoint.authority(), what: format!("silent for {} s", SILENCE.as_secs()) }
    }
}

fn broken(endpoint: &Endpoint, error: &hyper::Error) -> ClientError {
    ClientError::Unreachable { endpoint: endpoint.authority(), what: error.to_string() }
}

/// Whether a body is a stream of events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| value.starts_with("text/event-stream"))
}

/// The next piece of a streamed body; `None` at its end.
pub(crate) async fn next_chunk(body: &mut Incoming) -> Result<Option<Bytes>, String> {
    loop {
        match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(None) => return Ok(None),
            // Trailers carry nothing of ours.
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Err(_) => return Err(format!("silent for {} s", SILENCE.as_secs())),
        }
    }
}

/// Cuts a stream of bytes into the values of its `data:` fields. Comments and other fields are not frames (transcript.md §2).
#[derive(Debug, Default)]
pub(crate) struct SseSplitter {
    buffer: Vec<u8>,
}

/// What one event of the stream is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum SseEvent {
    /// The value of a `data:` field.
    Frame(Vec<u8>),
    /// `[DONE]`.
    Done,
}

impl SseSplitter {
    /// Takes bytes and returns the events they complete.
    ///
    /// # Errors
    /// An event longer than the limit.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.buffer.drain(..at.saturating_add(2)).collect();
            for line in event.split(|byte| *byte == b'\n') {
                match line.strip_prefix(b"data: ") {
                    Some(b"[DONE]") => events.push(SseEvent::Done),
                    Some(value) => events.push(SseEvent::Frame(value.to_vec())),
                    None => {}
                }
            }
        }
        if candor_verify::bundle::FRAME_MAX < self.buffer.len() {
            return Err("an event of the stream is longer than the limit".into());
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_the_bytes_are_cut() {
        let stream = b"data: {\"a\":1}\n\n: candor {\"delivery\":\"AAEC\"}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n";
        let expected = vec![SseEvent::Frame(b"{\"a\":1}".to_vec()), SseEvent::Frame(b"{\"b\":2}".to_vec()), SseEvent::Done];
        for size in 1..stream.len() {
            let mut splitter = SseSplitter::default();
            let events: Vec<_> = stream.chunks(size).flat_map(|chunk| splitter.push(chunk).unwrap()).collect();
            assert_eq!(events, expected, "chunks of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_rejected() {
        let mut splitter = SseSplitter::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..8).any(|_| splitter.push(&piece).is_err()));
    }
}
