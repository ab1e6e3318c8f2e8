//! Conformance: one case of the vectors judged, JSON in and JSON out, so that another implementation can be held against this one.
//!
//! The contract is spec/conformance.md: a request names a kind (a file of `vectors/`) and holds one case of it; the answer is *accept*,
//! *refuse* with the check that refuses, or *cannot tell*. What a case says of its own end is not looked at.
//!
//! | file | kinds |
//! |---|---|
//! | `case` | reading a case, and the two ways in which it ends early |
//! | `signed` | what somebody signs |
//! | `hashed` | what is only hashed: ids, commitments, leaves, proofs |
//! | `kept` | the kept answer |
//! | `whole` | bundles, proofs, live evidence, attestation documents |
//! | `suite` | a folder of vectors as requests, each with the end that it must have |
//!
//! Not here: processes, files and exit codes (`crates/cli/src/conformance.rs`), and any rule: those are `candor-verify`'s.

mod case;
mod hashed;
mod kept;
mod signed;
mod suite;
mod whole;

pub use case::UnfitCase;
pub use suite::{Expected, Suite, SuiteCase};
pub use whole::JudgedBundle;

use candor_verify::bytes::to_hex;
use serde_json::{Map, Value, json};

use self::case::{Case, End};

/// How a case ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: the three words of the contract")]
pub enum CaseEnd {
    /// Right in every part.
    Accept,
    /// Some check refuses it.
    Refuse,
    /// Not refused, and not verified: a chain is missing, or this program has not what it takes.
    CannotTell,
}

impl CaseEnd {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Accept, Self::Refuse, Self::CannotTell];

    /// The word of the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Refuse => "refuse",
            Self::CannotTell => "cannot_tell",
        }
    }

    /// The exit code of a program that judged one case.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Accept => 0,
            Self::Refuse => 10,
            Self::CannotTell => 20,
        }
    }
}

/// The exit code of a program that was given no case.
pub const UNFIT: u8 = 30;

/// What became of one case.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct Ruling {
    /// How it ends.
    pub ending: CaseEnd,
    /// The check that refuses, by its id or by the word that the vectors have for it.
    pub check: Option<String>,
    /// For bundles and proofs: the level of the log that the verdict names.
    pub log_level: Option<&'static str>,
    /// For bundles and proofs: the grade of each question; null of bytes that are none.
    pub grades: Option<Value>,
    /// What differs, or what is missing. For people.
    pub why: Option<String>,
}

impl Ruling {
    fn end(ending: CaseEnd) -> Self {
        Self { ending, check: None, log_level: None, grades: None, why: None }
    }

    /// The answer of the contract.
    #[must_use]
    pub fn to_json(&self) -> Value {
        answer_json(self.ending, self.check.as_deref(), self.log_level, self.grades.as_ref(), self.why.as_deref())
    }
}

fn answer_json(ending: CaseEnd, check: Option<&str>, log_level: Option<&str>, grades: Option<&Value>, why: Option<&str>) -> Value {
    let mut members = Map::from_iter([("verdict".to_owned(), json!(ending.as_str())), ("check".to_owned(), json!(check))]);
    for (name, value) in [("log_level", log_level), ("why", why)] {
        if let Some(value) = value {
            members.insert(name.to_owned(), value.into());
        }
    }
    if let Some(grades) = grades {
        members.insert("grades".to_owned(), grades.clone());
    }
    Value::Object(members)
}

/// What a judge cannot have by itself.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The bytes of a file of the vectors, by its folder and its name, for a case that does not hold them.
    pub file: &'a dyn Fn(&str, &str) -> Option<Vec<u8>>,
    /// Opens one chunk of a kept answer: ChaCha20-Poly1305 with this key, nonce and associated data; `None` if it does not open.
    pub unseal: &'a Unseal,
}

/// Key, nonce, associated data, chunk.
pub type Unseal = dyn Fn(&[u8; 32], [u8; 12], &[u8], &[u8]) -> Option<Vec<u8>>;

impl core::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Surroundings")
    }
}

/// Judges one request, `{"kind": text, "case": {…}}`.
///
/// # Errors
/// [`UnfitCase`]: the request is none, its kind is unknown, or its case lacks what a judge needs.
pub fn judge(request: &Value, around: Surroundings<'_>) -> Result<Ruling, UnfitCase> {
    let (Some(kind), Some(members)) = (request["kind"].as_str(), request["case"].as_object()) else {
        return Err(UnfitCase::new("expected {\"kind\": text, \"case\": {…}}, got another JSON value"));
    };
    let case = Case::new(members);
    if let Some(judge) = whole::judge_of(kind) {
        return judge(&case, around);
    }
    let judged = match flat_judge_of(kind) {
        Some(judge) => judge(&case),
        None if kind == kept::KIND => kept::kept_answer(&case, around),
        None => return Err(UnfitCase::unknown(kind)),
    };
    match judged {
        Ok(()) => Ok(Ruling::end(CaseEnd::Accept)),
        Err(End::Refused { check, why }) => Ok(Ruling { check: Some(check.into()), why: Some(why), ..Ruling::end(CaseEnd::Refuse) }),
        Err(End::Unfit(unfit)) => Err(unfit),
    }
}

/// The bundle of a case with the verdict on it, for programs that show verdicts; `None` if its bytes are no bundle.
///
/// # Errors
/// [`UnfitCase`]: the case lacks what a judge needs.
pub fn judge_bundle(case: &Value, around: Surroundings<'_>) -> Result<Option<JudgedBundle>, UnfitCase> {
    Ok(whole::judged_bundle(&Case::of(case, "a case")?, around)?.ok())
}

/// Makes one case right in every key, or names the check that refuses it.
type FlatJudge = fn(&Case<'_>) -> Result<(), End>;

/// The judge of a flat file, by the file's name.
fn flat_judge_of(kind: &str) -> Option<FlatJudge> {
    let judge: FlatJudge = match kind {
        "receipt" => signed::receipt,
        "offer" => signed::offer,
        "checkpoint" => signed::checkpoint,
        "note" => signed::note,
        "terms" => signed::terms,
        "registration" => signed::registration,
        "boot" => signed::boot,
        "key-end" => signed::key_end,
        "channel-authorization" => signed::channel_authorization,
        "refusal" => signed::refusal,
        "price-list" => signed::price_list,
        "payment" => signed::payment,
        "verdict" => signed::quorum_verdict,
        "manifest" => hashed::manifest,
        "freshness" => hashed::freshness,
        "workload" => hashed::workload,
        "further-keys" => hashed::further_keys,
        "source" => hashed::source,
        "payment-id" => hashed::payment_id,
        "settler" => hashed::settler,
        "price" => hashed::price,
        "amount" => hashed::amount,
        "decoding" => hashed::decoding,
        "seed" => hashed::seed,
        "receipt-id" => hashed::receipt_id,
        "request" => hashed::request,
        "question" => hashed::question,
        "response" => hashed::response,
        "splice" => hashed::splice,
        "leaf" => hashed::leaf,
        "inclusion" => hashed::inclusion,
        "consistency" => hashed::consistency,
        "domain-tags" => hashed::domain_tag,
        _ => return None,
    };
    Some(judge)
}

/// Bytes as the vectors write them.
fn hex(bytes: &[u8]) -> String {
    to_hex(bytes)
}
