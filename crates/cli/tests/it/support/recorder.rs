//! A TLS server with a key of its own in front of a real node: it relays evidence, which it cannot forge, and remembers every byte that
//! it was sent. What a dishonest host could put in the enclave's place.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use candor_testhttp::{get, own_key, serve};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, Response};

/// The server, until the process ends.
pub(crate) struct Recorder {
    /// `https://` of it.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// In front of this node.
    pub(crate) fn start(api: String) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&requests);
        let address = serve(Some(own_key().0), move |request| answer(api.clone(), Arc::clone(&record), request));
        Self { url: format!("https://{address}"), requests }
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

async fn answer(api: String, record: Arc<Mutex<Vec<String>>>, request: Request<Bytes>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let path = head.uri.to_string();
    let text = format!("{} {path} {:?} {}", head.method, head.headers, String::from_utf8_lossy(&body));
    record.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    if head.method != Method::GET {
        return Ok(Response::builder().status(500).body(Full::default()).unwrap());
    }
    let reply = get(&api, &path).await;
    Ok(Response::builder().status(reply.status).body(Full::new(reply.body)).unwrap())
}
