//! After an answer: the transfer is looked for and the anchor waited for, the bundle is upgraded and judged again.

use std::time::{Duration, Instant};

use candor_chain::ChainClient;
use candor_client::{Awaited, ClientError, Facts, Keep, VerifiedResponse, api_url, log_url, verified_facts, write_private};
use candor_verify::bytes::Hash32;
use candor_verify::check::{ChainFacts, VerifiedBundle, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::policy::Policy;
use candor_verify::terms::OperatorTerms;
use candor_verify::verdict::{LogLevel, Verdict};
use serde_json::{Value, json};

use crate::output::Failure;

/// Between two looks for them: short at first, because a transfer takes one block, and never longer than a person notices.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(50);
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Before what is there is judged again.
const JUDGE_PAUSE: Duration = Duration::from_secs(1);

/// What the chain says once the money has moved and the log is anchored, and the verdict with it.
#[derive(Debug)]
pub(crate) struct Settled {
    /// For further verdicts.
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
    /// `None` if the verdict refuses.
    pub(crate) verified: Option<VerifiedBundle>,
    /// Why the chain, or the log on the way to its anchor, was not asked to the end; then the verdict is the one without them.
    pub(crate) trouble: Option<String>,
}

/// Follows a kept answer to its end: settles it, and keeps it upgraded, or, if the chain refuses it, whole as evidence.
///
/// # Errors
/// What was paid for is on disk, whatever is said of it from here on; the error names the file.
pub(crate) async fn finish(
    chain: &ChainClient,
    response: &mut VerifiedResponse,
    policy: &Policy,
    keep: &Keep,
    wait: Duration,
) -> Result<Settled, Failure> {
    let done = settle(chain, response, policy, wait).await;
    let settled = done.map_err(|failure| response.path.iter().fold(failure, |failure, path| failure.about(path)))?;
    match settled.verdict.refused() {
        Some(check) => response.path = Some(keep.turn_refused(response.path.as_deref(), &response.bundle, check.id)?),
        None => keep_upgraded(keep, response, &settled.verdict, settled.facts.transfer_tx)?,
    }
    Ok(settled)
}

/// Waits until the transfer is seen and a tree that holds the receipt is anchored, upgrades the bundle to it, and judges it. A chain that
/// cannot be asked ends the waiting and not the command: the answer is paid for and there.
pub(crate) async fn settle(
    chain: &ChainClient,
    response: &mut VerifiedResponse,
    policy: &Policy,
    wait: Duration,
) -> Result<Settled, Failure> {
    match settled(chain, response, policy, wait).await {
        Err(error @ (ClientError::Chain(_) | ClientError::Unreachable { .. })) => {
            let (verdict, verified) = verify_bundle(&response.bundle, policy, ChainFacts::default(), &K256);
            Ok(Settled { facts: Facts::default(), verdict, verified, trouble: Some(error.to_string()) })
        }
        done => Ok(done?),
    }
}

async fn settled(chain: &ChainClient, response: &mut VerifiedResponse, policy: &Policy, wait: Duration) -> Result<Settled, ClientError> {
    let deadline = Instant::now() + wait;
    // Of the boot that answered: the node may have another by now.
    let log_url = log_url(&response.bundle.evidence.terms.terms).map(str::to_owned);
    let mut awaited = Awaited::of(chain, &response.bundle);
    let mut pause = LOOK_PAUSE_MIN;
    loop {
        let is_over = deadline <= Instant::now();
        if awaited.look(chain, &response.bundle).await? || is_over {
            if response.bundle.later_trees.is_empty()
                && let Some(url) = &log_url
            {
                awaited.add(&mut response.bundle, url).await?;
            }
            // With a log to ask, the bundle is upgraded even if its own tree is the anchored one: then it says so by itself.
            if !response.bundle.later_trees.is_empty() || log_url.is_none() || is_over {
                let facts = verified_facts(chain, &response.bundle, &response.verified, policy).await?;
                let (verdict, verified) = verify_bundle(&response.bundle, policy, facts.as_chain_facts(), &K256);
                let is_settled = facts.transfer_tx.is_some() || response.bundle.sale.is_none();
                if is_over || (is_settled && verdict.log_level() == LogLevel::Anchored) {
                    return Ok(Settled { facts, verdict, verified, trouble: None });
                }
                // The endpoint shows one thing and not yet the other, or never will.
                pause = JUDGE_PAUSE;
            }
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(LOOK_PAUSE_MAX);
    }
}

/// Writes what is kept again with what settlement added, and the hints beside it that no verdict reads.
pub(crate) fn keep_upgraded(keep: &Keep, response: &VerifiedResponse, verdict: &Verdict, transfer: Option<Hash32>) -> Result<(), Failure> {
    let Some(path) = &response.path else { return Ok(()) };
    keep.upgrade(path, &response.bundle, verdict)?;
    let hints = hints(&response.bundle.evidence.terms.terms, transfer);
    write_private(&path.with_extension("hints.json"), hints.to_string().as_bytes())?;
    Ok(())
}

/// Where the boot is that answered, and its log.
fn hints(terms: &OperatorTerms, transfer: Option<Hash32>) -> Value {
    json!({
        "node": api_url(terms), "log": log_url(terms), "transfer": transfer.map(|hash| hash.to_string()),
        "note": "locations only; no verdict reads this file",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_answer_is_looked_for_later_is_what_the_terms_of_its_own_boot_say() {
        let endpoints = ["https://api.example:8443", "http://log.example:8090"].map(str::to_owned).to_vec();
        let shown = hints(&OperatorTerms { endpoints, ..OperatorTerms::default() }, Some(Hash32([1; 32])));
        assert_eq!((&shown["node"], &shown["log"]), (&"https://api.example:8443".into(), &"http://log.example:8090".into()));
        assert_eq!(shown["transfer"], Hash32([1; 32]).to_string());
    }
}
