//! Whether the addresses that the terms publish lead to this very enclave: tried by connecting there, as clients will.
//!
//! Nothing is trusted for it: the key at the other end has to be the one that was attested a moment ago.

use std::pin::Pin;
use std::time::Duration;

use candor_client::{Endpoint, inspect, plain};
use candor_report::{CheckUrls, NodeText};
use serde_json::Value;

use crate::logging;
use crate::output::Failure;

/// Between two looks whether clients are served.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest time for one address.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives a reason why the node must not go on, if there is one; otherwise it never ends.
pub(super) type Reach = Pin<Box<dyn Future<Output = Failure> + Send>>;

/// Tries each published address as soon as clients are served.
pub(super) fn check(text: NodeText) -> Reach {
    Box::pin(async move {
        if text.node.urls.is_empty() {
            return std::future::pending().await;
        }
        let k_sig = loop {
            match open_key(&text).await {
                Some(k_sig) => break k_sig,
                None => tokio::time::sleep(PAUSE).await,
            }
        };
        match tried(&text, &k_sig).await {
            Ok(()) => std::future::pending().await,
            Err(failure) => failure,
        }
    })
}

/// The key of the boot for which the host lets clients in; `None` before, until its registration is in a block that stays.
async fn open_key(text: &NodeText) -> Option<String> {
    let url = format!("http://{}/status", crate::status::reachable(text.node.log_listen));
    let status: Value = serde_json::from_slice(&plain::get(&url).await.ok()?).ok()?;
    (status["open"] == true).then(|| status["log"]["k_sig"].as_str().map(str::to_owned)).flatten()
}

async fn tried(text: &NodeText, k_sig: &str) -> Result<(), Failure> {
    for url in &text.node.urls {
        let found = match tokio::time::timeout(PATIENCE, key_at(url)).await {
            Ok(Ok(key)) if key == k_sig => continue,
            // Another of the same key? There is no such: whoever answers there is somebody else.
            Ok(Ok(key)) => {
                return Err(Failure::cannot(format!(
                    "node.urls: {url} leads to another node: expected the key {k_sig}, got {key}; mend name or forwarding"
                )));
            }
            Ok(Err(failure)) => failure.message().to_owned(),
            Err(_) => format!("no answer in {} s", PATIENCE.as_secs()),
        };
        match text.node.check_urls {
            CheckUrls::Require => return Err(Failure::cannot(format!("node.urls: {url}: {found} (node.check_urls is \"require\")"))),
            CheckUrls::Warn => logging::unreachable(url, &found),
        }
    }
    Ok(())
}

/// The attested key of whoever answers, if the connection ends in it.
async fn key_at(url: &str) -> Result<String, Failure> {
    let (evidence, spki_hash, _) = inspect(&Endpoint::parse(url)?).await?;
    if evidence.manifest.tls_spki_hash != spki_hash {
        return Ok(format!("of another connection (TLS key {spki_hash})"));
    }
    Ok(evidence.manifest.k_sig.to_string())
}
