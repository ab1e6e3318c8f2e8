//! From a registry and a policy to an enclave one may talk to.
//!
//! registry (own RPC) → evidence of a registered key → judged by the policy → connect pinned to its TLS key → fresh evidence for our own
//! challenge over that connection → judged live → the block it names looked up on our own RPC. Only then is there a [`VerifiedNode`], and only a
//! [`VerifiedNode`] is ever sent a prompt.

use std::sync::Arc;
use std::time::Duration;

use candor_chain::{ChainClient, Registered, RegistrationList, Standing};
use candor_verify::bytes::{Address, Hash32};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, VerifiedEnclave, verify_evidence};
use candor_verify::policy::Policy;
use candor_verify::terms::OperatorTerms;
use candor_verify::verdict::Verdict;
use candor_x402::discovery::EVIDENCE_PATH;
use tokio::time::Instant;

use crate::boot::VerifiedBoot;
use crate::clock;
use crate::error::{ClientError, RefusedEvidence};
use crate::http::Http;
use crate::registered::{Walk, from_chain};
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
    boot: Arc<VerifiedBoot>,
}

impl VerifiedNode {
    /// The same verified enclave over a connection of its own, pinned to the attested key.
    ///
    /// # Errors
    /// `Unreachable`, `WrongKey`; `AnotherBoot` if another one has answered on any connection to this one.
    pub async fn another(&self) -> Result<Self, ClientError> {
        let http = Http::to_boot(&self.endpoint, self.enclave.manifest().tls_spki_hash, &self.boot).await?;
        Ok(Self {
            enclave: self.enclave.clone(),
            verdict: self.verdict.clone(),
            evidence: self.evidence.clone(),
            endpoint: self.endpoint.clone(),
            http,
            boot: Arc::clone(&self.boot),
        })
    }

    /// It said that another boot of its node sells now: it is asked nothing more, and whoever asks there looks for the other one.
    pub(crate) fn has_handed_over(&self) -> ClientError {
        self.boot.has_handed_over()
    }

    /// Reconnects, pinned to the attested key, if the connection has closed.
    ///
    /// # Errors
    /// As of [`Self::another`].
    pub(crate) async fn reconnect(&mut self) -> Result<(), ClientError> {
        if !self.http.is_open() {
            self.http = Http::to_boot(&self.endpoint, self.enclave.manifest().tls_spki_hash, &self.boot).await?;
        }
        self.boot.check()
    }
}

/// Where an enclave is reached, if its terms say so.
#[must_use]
pub fn api_url(terms: &OperatorTerms) -> Option<&str> {
    terms.endpoints.iter().map(String::as_str).find(|url| url.starts_with("https://"))
}

/// Where its host serves its log, if its terms say so. Of a kept answer only its own evidence knows: another boot may have other terms by now.
#[must_use]
pub fn log_url(terms: &OperatorTerms) -> Option<&str> {
    terms.endpoints.iter().map(String::as_str).find(|url| url.starts_with("http://"))
}

/// Where a verified enclave is connected to.
pub(crate) fn endpoint_of(enclave: &VerifiedEnclave) -> Result<Endpoint, ClientError> {
    Endpoint::parse(api_url(enclave.terms()).ok_or_else(|| ClientError::NoNode("the terms have no https endpoint".into()))?)
}

/// Enclaves whose evidence is read from the chain before giving up. Anybody can register keys, through a verifier contract of their own, for
/// about 360,000 gas each, and a client that names no operator looks at all of them: so what the policy refuses is cheap to pass over, and
/// there may be much of it. Somewhere it must end: each costs some calls. A client that names operators or listed ids reads those only.
const JUDGED_MAX: usize = 1_024;

/// Enclaves that are connected to, or at whose turn the chain failed, before giving up: each costs a connection or its timeout. Only those
/// count here that the policy accepts, so that no others can stand in front of them.
const TRIES_MAX: usize = 64;

/// Registrations of others that are counted for an error's words: each block of them is a call.
const OTHERS_MAX: usize = 32;

/// How long is searched. Endpoints that answer nothing, and a registry full of keys that the policy does not want, take time each.
const SEARCH_MAX: Duration = Duration::from_secs(90);

/// How long an enclave may take to attest for our challenge.
const EVIDENCE_WAIT: Duration = Duration::from_secs(20);

/// The newest enclave of the registry that the policy accepts and that answers, verified live. Only those under these listed ids are read; if none
/// is named, those of the policy's operators; if it names none either, all.
///
/// # Errors
/// `Untrusted` if the policy refuses every one, `NoNode` with the reason for each that was passed over; `Chain`.
pub async fn resolve(chain: &ChainClient, registry: &Address, policy: &Policy, listed: &[Hash32]) -> Result<VerifiedNode, ClientError> {
    let mut newest = None;
    let place = Place { chain, registry, policy, listed };
    resolve_each(&place, 1, &|_| Before::Unknown, &mut |_, node| newest = node.ok()).await?;
    newest.ok_or_else(|| ClientError::NoNode(format!("registry {registry}: none was found")))
}

/// Where nodes are looked for, and by which policy they are judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) chain: &'a ChainClient,
    pub(crate) registry: &'a Address,
    pub(crate) policy: &'a Policy,
    pub(crate) listed: &'a [Hash32],
}

/// What whoever looks knows of a key beforehand.
pub(crate) enum Before {
    Unknown,
    /// It is verified, and counts as found.
    Found,
    /// It failed a moment ago, for this reason: it is passed over.
    Failed(String),
}

/// The newest enclaves that the policy accepts and that answer, `most` of them at most, each as soon as it is verified live. Whoever could not be
/// verified is told too, with the reason.
///
/// # Errors
/// As [`resolve`], if none was found.
pub(crate) async fn resolve_each(
    place: &Place<'_>,
    most: usize,
    before: &(dyn Fn(&Address) -> Before + Sync),
    found: &mut (dyn FnMut(Address, Result<VerifiedNode, String>) + Send),
) -> Result<(), ClientError> {
    let mut search = Search::default();
    let mut count = look(place, most, before, found, &mut search).await?;
    if count == 0 && search.has_moved() {
        // The newer of two boots was asked while the older one still answered there, and the older one when it did not any more.
        search = Search::default();
        count = look(place, most, before, found, &mut search).await?;
    }
    match count {
        0 => Err(search.nothing(&format!("registry {} on chain {}", place.registry, place.chain.chain_id()))),
        _ => Ok(()),
    }
}

/// One search; how many were found.
async fn look(
    place: &Place<'_>,
    most: usize,
    before: &(dyn Fn(&Address) -> Before + Sync),
    found: &mut (dyn FnMut(Address, Result<VerifiedNode, String>) + Send),
    search: &mut Search,
) -> Result<usize, ClientError> {
    let Place { chain, registry, policy, listed } = *place;
    let mut count = 0_usize;
    let deadline = Instant::now() + SEARCH_MAX;
    let lists = match (listed, policy.operators.named()) {
        ([], []) => vec![RegistrationList::All],
        ([], operators) => operators.iter().copied().map(RegistrationList::Operator).collect(),
        (listed, _) => listed.iter().copied().map(RegistrationList::Listed).collect(),
    };
    // Newest first: anyone may register, so a registry only grows. Whoever names where to look reads no registration of others.
    let mut walk = Walk::begin(chain, registry, lists).await?;
    while count < most {
        let registered = match walk.next().await {
            Ok(Some(registered)) => registered,
            Ok(None) => break,
            // Those that were found stay found.
            Err(_) if 0 < count => break,
            Err(error) => return Err(error),
        };
        search.late = deadline <= Instant::now();
        if search.is_over() {
            break;
        }
        let k_sig = registered.record.k_sig;
        match before(&k_sig) {
            Before::Unknown => {}
            Before::Found => {
                count = count.saturating_add(1);
                continue;
            }
            Before::Failed(why) => {
                search.passed.push((k_sig, why));
                continue;
            }
        }
        let evidence = match good_evidence(chain, registry, &registered, policy).await {
            Ok(Some(evidence)) => evidence,
            Ok(None) => {
                search.unwanted();
                continue;
            }
            Err(error) => {
                search.failed(&k_sig, &error);
                continue;
            }
        };
        let Some(enclave) = search.judge(&k_sig, &registered.record.manifest_hash, evidence, policy) else { continue };
        match open(chain, policy, registry, &enclave).await {
            Ok(node) => {
                found(k_sig, Ok(node));
                count = count.saturating_add(1);
            }
            Err(error) => {
                search.failed(&k_sig, &error);
                found(k_sig, Err(error.to_string()));
            }
        }
    }
    search.broken = walk.broken.first().map(ToString::to_string);
    if count == 0 && search.has_seen_nobody() && !walk.is_of_all() {
        search.others = count_others(chain, registry).await;
    }
    Ok(count)
}

/// How many others are registered, for who finds nobody among those that the policy names.
async fn count_others(chain: &ChainClient, registry: &Address) -> usize {
    let Ok(mut walk) = Walk::begin(chain, registry, vec![RegistrationList::All]).await else { return 0 };
    let mut count = 0_usize;
    while count < OTHERS_MAX && matches!(walk.next().await, Ok(Some(_))) {
        count = count.saturating_add(1);
    }
    count
}

/// What the chain shows of a key that is good now by its registry, and of an operator that the policy accepts; `None` if it is not.
async fn good_evidence(
    chain: &ChainClient,
    registry: &Address,
    registered: &Registered,
    policy: &Policy,
) -> Result<Option<Result<Evidence, String>>, ClientError> {
    if !policy.operators.accepts(&registered.record.operator) {
        return Ok(None);
    }
    let status = chain.key_status(registry, &registered.record.k_sig).await.map_err(chain_error)?;
    match status.filter(|status| status.standing(clock::now().seconds()) == Standing::Valid) {
        Some(status) => from_chain(chain, registry, registered, &status).await.map(Some),
        None => Ok(None),
    }
}

/// How far a search has come, and why nothing was good so far.
#[derive(Debug, Default)]
struct Search {
    judged: usize,
    tried: usize,
    unwanted: u64,
    // Its time ran out before the last key.
    late: bool,
    passed: Vec<(Address, String)>,
    // The chain alone failed at so many of them.
    chainless: usize,
    // Keys of servers where another one was expected.
    met: Vec<Hash32>,
    // Keys of the boots that were tried, each where it was expected.
    expected: Vec<Hash32>,
    // Why a list was not walked to its end, if one was not.
    broken: Option<String>,
    // Registered by operators, or under ids, that the policy does not name.
    others: usize,
    // The newest that the policy refuses.
    refused: Option<Box<RefusedEvidence>>,
}

impl Search {
    /// Whether it has looked at as much as it may.
    fn is_over(&self) -> bool {
        self.late || JUDGED_MAX <= self.judged || TRIES_MAX <= self.tried
    }

    /// Whether the lists that were walked are empty, as far as they are shown.
    fn has_seen_nobody(&self) -> bool {
        self.passed.is_empty() && self.unwanted == 0 && self.broken.is_none() && !self.late
    }

    /// Ended, lapsed or of another operator: its evidence is not asked for.
    fn unwanted(&mut self) {
        self.unwanted = self.unwanted.saturating_add(1);
    }

    /// Judges what the chain shows of a key; the enclave is there if it may be connected to.
    fn judge(
        &mut self,
        k_sig: &Address,
        manifest_hash: &Hash32,
        evidence: Result<Evidence, String>,
        policy: &Policy,
    ) -> Option<VerifiedEnclave> {
        self.judged = self.judged.saturating_add(1);
        let evidence = match evidence {
            Ok(evidence) => evidence,
            Err(what) => return self.pass(k_sig, &ClientError::Dishonest { check: "evidence.form", what }),
        };
        let (verdict, enclave) = verify_evidence(&evidence, policy, Moment::OwnTime, &K256);
        let Some(enclave) = enclave else {
            let refused = Box::new(RefusedEvidence { evidence, verdict });
            self.passed.push((*k_sig, refused.to_string()));
            self.refused.get_or_insert(refused);
            return None;
        };
        let got = enclave.manifest().hash();
        if got != *manifest_hash {
            let what = format!("expected manifest {manifest_hash}, got {got}");
            return self.pass(k_sig, &ClientError::Dishonest { check: "registry.listed", what });
        }
        Some(enclave)
    }

    /// The chain failed at this key, or its enclave, which the policy accepts, could not be talked to.
    fn failed(&mut self, k_sig: &Address, error: &ClientError) {
        self.tried = self.tried.saturating_add(1);
        self.chainless = self.chainless.saturating_add(usize::from(matches!(error, ClientError::Chain(_))));
        // Not more of them than tries.
        if let ClientError::WrongKey { expected, got } = error {
            self.met.push(*got);
            self.expected.push(*expected);
        }
        drop(self.pass(k_sig, error));
    }

    /// Whether one boot answered where another was expected, and did not where it was: it took over, or was taken over from, meanwhile.
    fn has_moved(&self) -> bool {
        self.met.iter().any(|met| self.expected.contains(met))
    }

    fn pass(&mut self, k_sig: &Address, error: &ClientError) -> Option<VerifiedEnclave> {
        self.passed.push((*k_sig, error.to_string()));
        None
    }

    /// Why it ends with nothing: a refusal if the policy refused all there was, an absence otherwise.
    fn nothing(self, place: &str) -> ClientError {
        let mut reasons = grouped(&self.passed);
        if self.unwanted != 0 {
            reasons.push(format!("{} ended, lapsed or of an operator that the policy does not name", self.unwanted));
        }
        if JUDGED_MAX <= self.judged {
            reasons.push(format!(
                "the {JUDGED_MAX} newest were looked at, and older ones were not; name operators or listed ids in the policy"
            ));
        }
        if self.late {
            let seconds = SEARCH_MAX.as_secs();
            reasons.push(format!(
                "the search ended after {seconds} s, and older ones were not looked at; name operators or listed ids in the policy"
            ));
        }
        if let Some(what) = &self.broken {
            reasons.push(format!("older ones are not shown by this endpoint ({what})"));
        }
        let found = match (reasons.is_empty(), self.others) {
            (true, 0) => "none is registered".to_owned(),
            (true, others) => {
                let count = if others < OTHERS_MAX { others.to_string() } else { format!("{OTHERS_MAX} or more") };
                format!(
                    "{count} registered, none by an operator or under a listed id that the policy names (accept.operators, find.listed); \
                     `candor nodes` shows who they are"
                )
            }
            (false, _) => reasons.join("; "),
        };
        let what = format!("{place}: {found}");
        match self.refused {
            Some(newest) if self.tried == 0 => ClientError::Untrusted { what, newest },
            None if self.chainless != 0 && self.chainless == self.passed.len() => ClientError::Chain(what),
            _ => ClientError::NoNode(what),
        }
    }
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

/// Connects to an enclave that the chain shows, and verifies it live.
async fn open(chain: &ChainClient, policy: &Policy, registry: &Address, enclave: &VerifiedEnclave) -> Result<VerifiedNode, ClientError> {
    let pinned = enclave.manifest().tls_spki_hash;
    let node = live(chain, policy, endpoint_of(enclave)?, Some(pinned)).await?;
    if node.enclave.manifest().hash() != enclave.manifest().hash() {
        let what = format!("expected manifest {}, got {}", enclave.manifest().hash(), node.enclave.manifest().hash());
        return Err(ClientError::Dishonest { check: "registry.listed", what });
    }
    // This registry has just said so of this very manifest.
    if enclave.manifest().registry != *registry {
        check_listed(chain, policy, &node.enclave).await?;
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
    let node = live(chain, policy, endpoint, pinned).await?;
    check_listed(chain, policy, &node.enclave).await?;
    Ok(node)
}

/// Evidence over a connection, judged live; nobody has asked whether it is registered.
async fn live(chain: &ChainClient, policy: &Policy, endpoint: Endpoint, pinned: Option<Hash32>) -> Result<VerifiedNode, ClientError> {
    let mut http = Http::connect(&endpoint, pinned).await?;
    let nonce = random32()?;
    let silent =
        |_| ClientError::Unreachable { endpoint: endpoint.authority(), what: format!("no evidence within {} s", EVIDENCE_WAIT.as_secs()) };
    let evidence = tokio::time::timeout(EVIDENCE_WAIT, fetch_evidence(&mut http, Some(nonce))).await.map_err(silent)??;
    let moment = Moment::Live { now: clock::now(), nonce: Some(nonce) };
    let (verdict, enclave) = verify_evidence(&evidence, policy, moment, &K256);
    let Some(enclave) = enclave else { return Err(ClientError::Refused(Box::new(RefusedEvidence { evidence, verdict }))) };
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
    let boot = Arc::new(VerifiedBoot::new(enclave.manifest().hash()));
    http.is_of(&boot);
    Ok(VerifiedNode { enclave, verdict, evidence, endpoint, http, boot })
}

/// Genuine is not registered: a retired key is genuine for ever. Asked of the registry that the policy names, if it names one.
async fn check_listed(chain: &ChainClient, policy: &Policy, enclave: &VerifiedEnclave) -> Result<(), ClientError> {
    let manifest = enclave.manifest();
    if !policy.registries.named().contains(&(manifest.anchor_chain_id, manifest.registry)) {
        return Ok(());
    }
    let status = chain.key_status(&manifest.registry, &manifest.k_sig).await.map_err(chain_error)?;
    let dishonest =
        |says: &str| ClientError::Dishonest { check: "registry.listed", what: format!("the registry says {says} of {}", manifest.k_sig) };
    let Some(status) = status else { return Err(dishonest("unregistered")) };
    let record = chain.registered(&manifest.registry, &manifest.k_sig, &status).await.map_err(chain_error)?.record;
    if record.manifest_hash != manifest.hash() {
        return Err(dishonest(&format!("manifest {}", record.manifest_hash)));
    }
    match status.standing(clock::now().seconds()) {
        Standing::Valid => Ok(()),
        standing => Err(dishonest(standing.as_str())),
    }
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
    let path = nonce.map_or(EVIDENCE_PATH.to_owned(), |nonce| format!("{EVIDENCE_PATH}?nonce={nonce}"));
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
    use candor_testkit::forge::{Forge, Lie};
    use candor_testkit::fresh_hypervisor;

    use super::*;

    #[test]
    fn enclaves_that_the_policy_refuses_hide_no_other() {
        let [honest, other] = ["search-honest", "search-other"].map(|name| Forge::new(fresh_hypervisor(name)));
        // Genuine by the policy's own roots; what runs there is not what the policy names.
        let policy = Policy { roots: [honest.policy().roots, other.policy().roots].concat(), ..honest.policy() };
        let [good, spam] = [&honest, &other].map(|forge| forge.bundle(&Lie::default()).evidence);
        let mut search = Search::default();
        for _ in 0..70 {
            assert!(search.judge(&spam.manifest.k_sig, &spam.manifest.hash(), Ok(spam.clone()), &policy).is_none());
        }
        let refused = search.refused.as_ref().and_then(|refused| refused.verdict.refused()).map(|check| check.id);
        assert_eq!((refused, search.is_over()), (Some("policy.workload"), false));
        let enclave = search.judge(&good.manifest.k_sig, &good.manifest.hash(), Ok(good.clone()), &policy);
        assert_eq!(enclave.map(|enclave| enclave.manifest().hash()), Some(good.manifest.hash()));
        // A record that names another manifest, and terms that nobody can read, are passed over too.
        assert!(search.judge(&good.manifest.k_sig, &Hash32::ZERO, Ok(good.clone()), &policy).is_none());
        assert!(search.judge(&good.manifest.k_sig, &Hash32::ZERO, Err("unreadable".into()), &policy).is_none());
        assert!(!search.is_over());
    }

    #[test]
    fn a_search_ends_and_says_whether_the_policy_or_the_world_had_nothing() {
        let forge = Forge::new(fresh_hypervisor("search-end"));
        let evidence = forge.bundle(&Lie::default()).evidence;
        let (k_sig, hash) = (evidence.manifest.k_sig, evidence.manifest.hash());
        let silent = ClientError::Unreachable { endpoint: "e".into(), what: "w".into() };
        assert!(matches!(Search::default().nothing("here"), ClientError::NoNode(what) if what == "here: none is registered"));
        let others = Search { others: 2, ..Search::default() };
        assert!(matches!(others.nothing("here"), ClientError::NoNode(what) if what.starts_with("here: 2 registered, none by an operator")));

        let mut refused = Search { judged: JUDGED_MAX - 1, ..Search::default() };
        assert!(refused.judge(&k_sig, &hash, Ok(evidence), &Policy::hardware()).is_none());
        assert!(refused.is_over());
        let error = refused.nothing("here");
        assert_eq!((error.exit_code(), error.check()), (1, Some("attest.root")), "{error}");
        assert!(matches!(&error, ClientError::Untrusted { what, .. } if what.contains("name operators")), "{error}");

        let late = Search { late: true, ..Search::default() };
        assert!(late.is_over());
        assert!(matches!(late.nothing("here"), ClientError::NoNode(what) if what.starts_with("here: the search ended after 90 s")));

        let mut down = Search::default();
        (0..TRIES_MAX).for_each(|_| down.failed(&k_sig, &silent));
        assert!(down.is_over() && matches!(down.nothing("here"), ClientError::NoNode(_)));
    }

    #[test]
    fn a_boot_that_was_met_elsewhere_than_where_it_was_expected_has_moved() {
        let wrong = |expected: u8, got: u8| ClientError::WrongKey { expected: Hash32([expected; 32]), got: Hash32([got; 32]) };
        let k_sig = Address([1; 20]);
        for (errors, has_moved) in [(vec![], false), (vec![wrong(1, 9), wrong(2, 9)], false), (vec![wrong(2, 1), wrong(1, 2)], true)] {
            let mut search = Search::default();
            errors.iter().for_each(|error| search.failed(&k_sig, error));
            assert_eq!(search.has_moved(), has_moved, "{errors:?}");
        }
    }

    #[test]
    fn reasons_are_told_once_newest_first_and_never_more_than_a_few() {
        let of = |byte: u8, reason: &str| (Address([byte; 20]), reason.to_owned());
        assert!(grouped(&[]).is_empty());
        let told = grouped(&[of(9, "a"), of(8, "b"), of(7, "a"), of(6, "a"), of(5, "c"), of(4, "d"), of(3, "e")]);
        assert_eq!(told, ["0x09090909… and 2 older: a", "0x08080808…: b", "0x05050505…: c", "2 more reasons"]);
    }
}
