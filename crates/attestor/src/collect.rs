//! The registrar's side: asks every attestor at once and takes the first t signatures that are right. Spec: attestor.md §4.
//!
//! **Trust:** none. A signature counts if it recovers to a member over the verdict that the registrar found itself; what else an attestor
//! says is shown and decides nothing. An attestor can delay, for [`ASK_TIMEOUT`] at most, and refuse.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use candor_chain::Verdict;
use candor_verify::bytes::{Address, Signature65};
use candor_verify::eip712::{K256, signer};
use candor_verify::text::one_line;
use tokio::task::JoinSet;

use crate::form::{ANSWER_MAX, Answer, PATH, Question};
use crate::judge::Quorum;

/// Time for one attestor to answer: a few signatures of work and three questions to a chain.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// Where an attestor is asked.
#[derive(Clone, Eq, PartialEq)]
pub struct AttestorUrl {
    url: reqwest::Url,
    // As given, for a child that is to parse it again.
    given: String,
}

/// A text is no URL of an attestor. It is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what is expected is said in its text")]
pub struct NotAUrl;

impl fmt::Display for NotAUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected http://HOST:PORT or https://HOST, without query")
    }
}

impl std::error::Error for NotAUrl {}

impl AttestorUrl {
    /// Reads a URL; the route is added here.
    ///
    /// # Errors
    /// [`NotAUrl`].
    pub fn parse(text: &str) -> Result<Self, NotAUrl> {
        let mut url = reqwest::Url::parse(text).map_err(|_| NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.query().is_some() || url.fragment().is_some() {
            return Err(NotAUrl);
        }
        let path = format!("{}{PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self { url, given: text.to_owned() })
    }

    /// The text that it was parsed from. It may hold a key: not for people.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }
}

/// Scheme, host and port: the rest may be a key.
impl fmt::Display for AttestorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

impl fmt::Debug for AttestorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttestorUrl({self})")
    }
}

/// Signatures of enough members.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Collected {
    /// The verdict and its signatures, as the contract takes them.
    pub verifier_data: Vec<u8>,
    /// Who signed, ascending.
    pub signers: Vec<Address>,
}

/// Too few members signed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: how many there are, and why no more")]
pub struct NoQuorum {
    /// How many must sign.
    pub expected: u64,
    /// How many did.
    pub got: u64,
    /// Everybody else, in the order in which they answered.
    pub others: Vec<Silent>,
}

/// An attestor whose signature does not count.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: who and why")]
pub struct Silent {
    /// Scheme, host and port.
    pub endpoint: String,
    /// Why.
    pub why: Why,
}

/// Why it does not count.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// It was not reached, or did not answer in time.
    Unreachable,
    /// It answered neither a signature nor an error.
    Malformed {
        /// HTTP status.
        status: u16,
    },
    /// It refused.
    Refused {
        /// Its word for why (attestor.md §3).
        code: String,
        /// Its sentence.
        message: String,
        /// Whether it may be another answer soon, by the status.
        is_temporary: bool,
    },
    /// Its signature over this verdict is no member's: it is none, or it signed something else.
    NoMember,
    /// The member had signed already, at another URL.
    Twice(Address),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no answer"),
            Self::Malformed { status } => write!(f, "status {status} without signature or error"),
            Self::Refused { code, message, .. } => write!(f, "{}: {}", one_line(code), one_line(message)),
            Self::NoMember => f.write_str("no signature of a member over this verdict"),
            Self::Twice(member) => write!(f, "the member {member} again"),
        }
    }
}

impl fmt::Display for NoQuorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} attestors to sign, got {}", self.expected, self.got)?;
        self.others.iter().try_for_each(|other| write!(f, "; {}: {}", other.endpoint, other.why))
    }
}

impl std::error::Error for NoQuorum {}

impl NoQuorum {
    /// Whether trying again soon can help: enough of the others may answer otherwise.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let may_change = |other: &&Silent| match &other.why {
            Why::Unreachable | Why::Malformed { .. } => true,
            Why::Refused { is_temporary, .. } => *is_temporary,
            Why::NoMember | Why::Twice(_) => false,
        };
        let hopeful = u64::try_from(self.others.iter().filter(may_change).count()).unwrap_or(u64::MAX);
        self.expected <= self.got.saturating_add(hopeful)
    }
}

/// Asks every attestor, and returns as soon as enough members have signed.
///
/// # Errors
/// [`NoQuorum`], which says why of each.
///
/// # Security
/// `expected` is what is registered. It has to be the caller's own finding: attestors are asked to agree, and not what to agree to.
pub async fn collect(attestors: &[AttestorUrl], quorum: &Quorum, evidence: &[u8], expected: &Verdict) -> Result<Collected, NoQuorum> {
    let (question, digest) = (Question::write(quorum, evidence), quorum.digest(expected));
    let mut asking = JoinSet::new();
    // A redirect would ask somebody who was not named.
    let client = reqwest::Client::builder().timeout(ASK_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
    for url in attestors {
        let (client, url, question) = (client.as_ref().ok().cloned(), url.clone(), question.clone());
        asking.spawn(async move {
            let answer = match client {
                Some(client) => ask(&client, &url, question).await,
                None => Err(Why::Unreachable),
            };
            (url, answer)
        });
    }
    let (mut signed, mut others) = (BTreeMap::new(), Vec::new());
    while let Some(asked) = asking.join_next().await {
        // A task of ours does not panic; one that did has no name to be told by.
        let Ok((url, answer)) = asked else { continue };
        let counted = answer.and_then(|signature| {
            let member = signer(&K256, &digest, &signature).filter(|member| quorum.members.contains(member)).ok_or(Why::NoMember)?;
            match signed.contains_key(&member) {
                true => Err(Why::Twice(member)),
                false => Ok((member, signature)),
            }
        });
        match counted {
            Ok((member, signature)) => drop(signed.insert(member, signature)),
            Err(why) => others.push(Silent { endpoint: url.to_string(), why }),
        }
        if quorum.threshold <= count(&signed) {
            // Ascending, as the contract takes them. Whoever is still asked is not waited for.
            let signatures: Vec<Signature65> = signed.values().copied().collect();
            return Ok(Collected { verifier_data: expected.verifier_data(&signatures), signers: signed.into_keys().collect() });
        }
    }
    Err(NoQuorum { expected: quorum.threshold, got: count(&signed), others })
}

fn count(signed: &BTreeMap<Address, Signature65>) -> u64 {
    u64::try_from(signed.len()).unwrap_or(u64::MAX)
}

async fn ask(client: &reqwest::Client, url: &AttestorUrl, question: String) -> Result<Signature65, Why> {
    let sent = client.post(url.url.clone()).header("content-type", "application/json").body(question).send().await;
    let mut response = sent.map_err(|_| Why::Unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Why::Unreachable)? {
        body.extend_from_slice(&chunk);
        if ANSWER_MAX < body.len() {
            return Err(Why::Malformed { status: status.as_u16() });
        }
    }
    match Answer::parse(&body) {
        Some(Answer::Signed(signature)) if status.is_success() => Ok(signature),
        Some(Answer::Refused { code, message }) if !status.is_success() => {
            let is_temporary = status.is_server_error() || status.as_u16() == 429;
            Err(Why::Refused { code, message, is_temporary })
        }
        _ => Err(Why::Malformed { status: status.as_u16() }),
    }
}
