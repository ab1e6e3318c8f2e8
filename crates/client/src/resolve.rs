//! From a registry and a policy to an enclave one may talk to.
//!
//! registry (own RPC) → evidence of a registered key → judged by the policy → connect pinned to its TLS key → fresh evidence for our own
//! challenge over that connection → judged live → the block it names looked up on our own RPC. Only then is there a [`VerifiedNode`], and only a
//! [`VerifiedNode`] is ever sent a prompt.

use candor_chain::{ChainClient, EnclaveRecord, EnclaveStatus};
use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, VerifiedEnclave, verify_evidence};
use candor_verify::policy::Policy;
use candor_verify::terms::SignedTerms;
use candor_verify::verdict::Verdict;

use crate::clock;
use crate::error::ClientError;
use crate::http::Http;
use crate::tls::Endpoint;

/// A verified enclave, where it is, and the evidence that a bundle keeps.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifiedNode {
    /// What was verified.
    pub enclave: VerifiedEnclave,
    /// The live verdict that says so.
    pub verdict: Verdict,
    /// The evidence it was verified from.
    pub evidence: Evidence,
    /// Where it is.
    pub endpoint: Endpoint,
    pub(crate) http: Http,
}

impl VerifiedNode {
    /// Where its host serves the log, if the signed terms say so.
    #[must_use]
    pub fn log_url(&self) -> Option<&str> {
        self.enclave.terms().endpoints.iter().map(String::as_str).find(|url| url.starts_with("http://"))
    }

    /// The same verified enclave over a connection of its own, pinned to the attested key.
    ///
    /// # Errors
    /// `Unreachable`, `WrongKey`.
    pub async fn another(&self) -> Result<Self, ClientError> {
        let http = Http::connect(&self.endpoint, Some(self.enclave.manifest().tls_spki_hash)).await?;
        Ok(Self {
            enclave: self.enclave.clone(),
            verdict: self.verdict.clone(),
            evidence: self.evidence.clone(),
            endpoint: self.endpoint.clone(),
            http,
        })
    }

    /// Reconnects, pinned to the attested key, if the connection has closed.
    pub(crate) async fn reconnect(&mut self) -> Result<(), ClientError> {
        if !self.http.is_open() {
            self.http = Http::connect(&self.endpoint, Some(self.enclave.manifest().tls_spki_hash)).await?;
        }
        Ok(())
    }
}

/// One registered enclave, as the chain shows it. Nothing is believed yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The registry's record.
    pub record: EnclaveRecord,
    /// Whether it is valid now, by the registry.
    pub status: EnclaveStatus,
    /// Evidence rebuilt from the chain alone; `Err` says what is wrong with it.
    pub evidence: Result<Evidence, String>,
}

/// Every enclave of a registry, oldest first, with its evidence from the chain.
///
/// # Errors
/// `Chain`.
pub async fn candidates(chain: &ChainClient, registry: &Address) -> Result<Vec<Candidate>, ClientError> {
    let mut out = Vec::new();
    for k_sig in keys(chain, registry).await? {
        out.extend(candidate(chain, registry, &k_sig).await?);
    }
    Ok(out)
}

/// Every registered key, oldest first.
async fn keys(chain: &ChainClient, registry: &Address) -> Result<Vec<Address>, ClientError> {
    let mut out = Vec::new();
    loop {
        let start = u64::try_from(out.len()).unwrap_or(u64::MAX);
        let page = chain.enclaves(registry, start).await.map_err(chain_error)?;
        if page.is_empty() {
            return Ok(out);
        }
        out.extend(page);
    }
}

async fn candidate(chain: &ChainClient, registry: &Address, k_sig: &Address) -> Result<Option<Candidate>, ClientError> {
    let Some(record) = chain.enclave(registry, k_sig).await.map_err(chain_error)? else { return Ok(None) };
    let status = chain.status_at(registry, k_sig, clock::now().seconds()).await.map_err(chain_error)?;
    let evidence = from_chain(chain, registry, &record).await?;
    Ok(Some(Candidate { record, status, evidence }))
}

async fn from_chain(chain: &ChainClient, registry: &Address, record: &EnclaveRecord) -> Result<Result<Evidence, String>, ClientError> {
    let registered = chain.registered(registry, record).await.map_err(chain_error)?;
    let renewal = chain.newest_renewal(registry, record, &registered).await.map_err(chain_error)?;
    let (document, freshness) = match renewal {
        Some(renewal) => (renewal.document, renewal.freshness),
        None => (registered.document, registered.freshness),
    };
    let terms = match SignedTerms::parse(&registered.terms_data) {
        Ok(terms) => terms,
        Err(error) => return Ok(Err(format!("the terms beside the registration are unreadable: {error}"))),
    };
    // The registry checked this signature; the one inside the terms data is only what the submitter sent.
    let signature = Signature65::from_slice(&registered.operator_signature).unwrap_or(terms.signature);
    let terms = SignedTerms { signature, ..terms };
    Ok(Ok(Evidence { document, manifest: registered.manifest, freshness, terms }))
}

/// Enclaves that are tried before giving up. Anyone may register: each that is tried costs some calls and a connection.
const MAX_TRIES: usize = 64;

/// The newest enclave of the registry that the policy accepts and that answers, verified live.
///
/// # Errors
/// `NoNode` with the reason for each that was passed over; `Chain`.
pub async fn resolve(chain: &ChainClient, registry: &Address, policy: &Policy) -> Result<VerifiedNode, ClientError> {
    let mut passed = Vec::new();
    let mut passed_over = 0_u64;
    // Newest first, and old or foreign keys cost one call each: anyone may register, so a registry only grows.
    for k_sig in keys(chain, registry).await?.iter().rev() {
        if MAX_TRIES <= passed.len() {
            break;
        }
        let record = chain.enclave(registry, k_sig).await.map_err(chain_error)?;
        let now = clock::now().seconds();
        // An ended key is passed over whatever our clock says: it may be behind.
        let is_wanted = record.is_some_and(|record| {
            let in_force = record.invalid_from.is_none() && now <= record.valid_until;
            in_force && policy.operators.accepts(&record.operator)
        });
        if !is_wanted {
            passed_over = passed_over.saturating_add(1);
            continue;
        }
        let tried = match candidate(chain, registry, k_sig).await {
            Ok(Some(candidate)) => open(chain, policy, candidate).await,
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        match tried {
            Ok(node) => return Ok(node),
            Err(error) => passed.push((*k_sig, error.to_string())),
        }
    }
    let mut reasons = grouped(&passed);
    if passed_over != 0 {
        reasons.push(format!("{passed_over} ended, lapsed or of an operator that the policy does not name"));
    }
    let found = if reasons.is_empty() { "none is registered".to_owned() } else { reasons.join("; ") };
    Err(ClientError::NoNode(format!("registry {registry} on chain {}: {found}", chain.chain_id())))
}

/// Reasons that are told of those that were passed over; a registry holds every boot that ever was.
const REASONS_MAX: usize = 3;

/// One text per reason, newest first: the boots of one endpoint mostly fail for the same one.
fn grouped(passed: &[(Address, String)]) -> Vec<String> {
    let mut reasons: Vec<(&str, &Address, usize)> = Vec::new();
    for (k_sig, reason) in passed {
        match reasons.iter_mut().find(|(known, _, _)| known == reason) {
            Some((_, _, more)) => *more = more.saturating_add(1),
            None => reasons.push((reason, k_sig, 0)),
        }
    }
    let text = |(reason, newest, more): &(&str, &Address, usize)| match more {
        0 => format!("{newest:#}: {reason}"),
        more => format!("{newest:#} and {more} older: {reason}"),
    };
    let mut out: Vec<String> = reasons.iter().take(REASONS_MAX).map(text).collect();
    if let Some(more) = reasons.len().checked_sub(REASONS_MAX).filter(|more| 0 < *more) {
        out.push(format!("{more} more reasons"));
    }
    out
}

async fn open(chain: &ChainClient, policy: &Policy, candidate: Candidate) -> Result<VerifiedNode, ClientError> {
    if candidate.status != EnclaveStatus::Valid {
        return Err(ClientError::NoNode(format!("the registry says {}", candidate.status.as_str())));
    }
    let evidence = candidate.evidence.map_err(|what| ClientError::Dishonest { check: "evidence.form", what })?;
    let (verdict, enclave) = verify_evidence(&evidence, policy, Moment::OwnTime, &K256);
    let Some(enclave) = enclave else { return Err(ClientError::Refused(Box::new(verdict))) };
    if candidate.record.manifest_hash != enclave.manifest().hash() {
        let what = format!("expected manifest {}, got {}", candidate.record.manifest_hash, enclave.manifest().hash());
        return Err(ClientError::Dishonest { check: "registry.listed", what });
    }
    let url = enclave.terms().endpoints.iter().find(|url| url.starts_with("https://"));
    let endpoint = Endpoint::parse(url.ok_or_else(|| ClientError::NoNode("the terms have no https endpoint".into()))?)?;
    let pinned = enclave.manifest().tls_spki_hash;
    let node = verify_live(chain, policy, endpoint, Some(pinned)).await?;
    if node.enclave.manifest().hash() != enclave.manifest().hash() {
        let what = format!("expected manifest {}, got {}", enclave.manifest().hash(), node.enclave.manifest().hash());
        return Err(ClientError::Dishonest { check: "registry.listed", what });
    }
    Ok(node)
}

/// Connects to an endpoint, asks for evidence of our own challenge, judges it live, and holds the connection to its key.
///
/// # Errors
/// `WrongKey`, `Refused`, `Dishonest`, `Unreachable`, `Chain`.
pub async fn verify_live(
    chain: &ChainClient,
    policy: &Policy,
    endpoint: Endpoint,
    pinned: Option<Hash32>,
) -> Result<VerifiedNode, ClientError> {
    let mut http = Http::connect(&endpoint, pinned).await?;
    let nonce = random32()?;
    let evidence = fetch_evidence(&mut http, Some(nonce)).await?;
    let moment = Moment::Live { now: clock::now(), nonce: Some(nonce) };
    let (verdict, enclave) = verify_evidence(&evidence, policy, moment, &K256);
    let Some(enclave) = enclave else { return Err(ClientError::Refused(Box::new(verdict))) };
    // A probe saw some key; it is worth something only if it is the attested one.
    let expected = enclave.manifest().tls_spki_hash;
    if http.spki_hash != expected {
        return Err(ClientError::WrongKey { expected, got: http.spki_hash });
    }
    let freshness = enclave.freshness();
    let block = chain.block_by_number(freshness.block_number).await.map_err(chain_error)?;
    if freshness.chain_id != chain.chain_id() || block.map(|block| block.hash) != Some(freshness.block_hash) {
        let what = format!("block {} {} of chain {} is not on our chain", freshness.block_number, freshness.block_hash, freshness.chain_id);
        return Err(ClientError::Dishonest { check: "evidence.block", what });
    }
    let manifest = enclave.manifest();
    // Genuine is not registered: a retired key is genuine for ever. Asked of the registry that the policy names, if it names one.
    if policy.registries.named().contains(&(manifest.anchor_chain_id, manifest.registry)) {
        let record = chain.enclave(&manifest.registry, &manifest.k_sig).await.map_err(chain_error)?;
        let status = chain.status_at(&manifest.registry, &manifest.k_sig, clock::now().seconds()).await.map_err(chain_error)?;
        let listed = record.is_some_and(|record| record.manifest_hash == manifest.hash() && record.invalid_from.is_none());
        if !listed || status != EnclaveStatus::Valid {
            let what = format!("the registry says {} of {}", status.as_str(), manifest.k_sig);
            return Err(ClientError::Dishonest { check: "registry.listed", what });
        }
    }
    Ok(VerifiedNode { enclave, verdict, evidence, endpoint, http })
}

/// Evidence and certificate of whoever answers at an endpoint, unjudged: for `candor inspect`. Nothing else is sent.
///
/// # Errors
/// `Unreachable`, `Dishonest` if the answer is not evidence.
pub async fn inspect(endpoint: &Endpoint) -> Result<(Evidence, Hash32, String), ClientError> {
    let mut http = Http::connect(endpoint, None).await?;
    let evidence = fetch_evidence(&mut http, None).await?;
    Ok((evidence, http.spki_hash, crate::tls::to_pem(&http.certificate)))
}

async fn fetch_evidence(http: &mut Http, nonce: Option<Hash32>) -> Result<Evidence, ClientError> {
    let path = nonce.map_or("/candor/evidence".to_owned(), |nonce| format!("/candor/evidence?nonce={nonce}"));
    let (status, body) = http.get(&path).await?;
    if status != hyper::StatusCode::OK {
        let message = format!("no evidence from {}", http.endpoint().authority());
        return Err(ClientError::Node { status: status.as_u16(), code: String::new(), message, param: None });
    }
    Evidence::parse(&body).map_err(|error| ClientError::Dishonest { check: "evidence.form", what: error.to_string() })
}

pub(crate) fn chain_error(error: candor_chain::ChainError) -> ClientError {
    ClientError::Chain(error.to_string())
}

pub(crate) fn random32() -> Result<Hash32, ClientError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Usage(format!("no randomness: {error}")))?;
    Ok(Hash32(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_once_newest_first_and_never_more_than_a_few() {
        let of = |byte: u8, reason: &str| (Address([byte; 20]), reason.to_owned());
        assert!(grouped(&[]).is_empty());
        let told = grouped(&[of(9, "a"), of(8, "b"), of(7, "a"), of(6, "a"), of(5, "c"), of(4, "d"), of(3, "e")]);
        assert_eq!(told, ["0x09090909… and 2 older: a", "0x08080808…: b", "0x05050505…: c", "2 more reasons"]);
    }
}
