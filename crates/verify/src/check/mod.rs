//! Checking a bundle: the steps of bundle.md §4, in the order of [`Step::BUNDLE`].
//!
//! In: a bundle nobody believes, a policy, and what the caller read from a chain (possibly nothing). Out: a verdict with one check per
//! step, and a [`VerifiedBundle`] if none refused.
//!
//! | file | steps |
//! |---|---|
//! | here | evidence, registry, receipt |
//! | `work` | request, response, model, decoding, channel |
//! | `paid` | offer, payment, charge |
//! | `logged` | inclusion, checkpoint, witnesses, anchors |
//! | `time` | the time rule, as functions |
//!
//! Parsing is `bundle`.

mod logged;
mod paid;
mod time;
mod work;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use time::{CLOCK_SKEW_SECONDS, MAX_ANCHOR_DELAY_SECONDS, MAX_EVIDENCE_AGE_SECONDS};

use self::time::Revocation;
use crate::bundle::Bundle;
use crate::bytes::Hash32;
use crate::eip712::{Recover, signer};
use crate::evidence::{self, Moment, VerifiedEnclave};
use crate::grade::Grade;
use crate::manifest::{Freshness, Manifest};
use crate::policy::{KnownTree, Policy, RegistryRecord};
use crate::receipt::{Channel, Receipt};
use crate::step::Step;
use crate::time::UnixSeconds;
use crate::tlog::Included;
use crate::verdict::{Assurance, Check, LogLevel, Outcome, Question, Recorded, Recorder, Status, Stop, Verdict};

/// What the caller read from a chain, over an RPC of their own. Empty offline.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "any value is valid")]
pub struct ChainFacts<'a> {
    /// Anchors of the log.
    pub anchors: &'a [KnownTree],
    /// Trees of the log that were observed: they are as old as their block, and need be no part of what is anchored.
    pub observations: &'a [KnownTree],
    /// The registry's record of K_sig.
    pub registry: Option<&'a RegistryRecord>,
    /// Whether the block that the receipt names exists with that hash; `None` if not asked.
    pub receipt_block_known: Option<bool>,
    /// Whether the block that the evidence names exists with that hash; `None` if not asked.
    pub evidence_block_known: Option<bool>,
    /// What became of this payment's nonce; `None` if not asked.
    pub transfer: Option<TransferFact>,
}

/// What a chain says about a payment's nonce.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: unused, or used in one way or another")]
pub enum TransferFact {
    /// Used, and `Transfer(payer, payee, charged)` of the asset is the event right after its own.
    Seen,
    /// Not used so far: nothing was charged, and a receipt does not become false by that.
    NotYet,
    /// Cancelled, or used for something else.
    Otherwise,
}

/// A bundle that a policy accepts. Only [`verify_bundle`] and [`verify_bundle_at`] make one:
///
/// ```compile_fail,E0451
/// fn forge(real: candor_verify::check::VerifiedBundle, receipt: candor_verify::receipt::Receipt) -> candor_verify::check::VerifiedBundle {
///     candor_verify::check::VerifiedBundle { receipt, ..real }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn make<T: Default>() -> T { T::default() }
/// let forged: candor_verify::check::VerifiedBundle = make();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedBundle {
    enclave: VerifiedEnclave,
    receipt: Receipt,
    included: Included,
}

impl VerifiedBundle {
    /// The enclave that signed.
    pub fn enclave(&self) -> &VerifiedEnclave {
        &self.enclave
    }

    /// The receipt.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Where in which tree it is logged.
    pub fn included(&self) -> &Included {
        &self.included
    }
}

/// Judges a bundle. The verdict has one check per step, whatever happens; the verified bundle is there only if none refused.
///
/// # Security
/// Not proven, and said in the verdict: delivery (only hand-over to the host), that the TEE vendor is honest, and offline everything
/// that needs a chain: registration, blocks, transfer, anchor.
pub fn verify_bundle(bundle: &Bundle, policy: &Policy, chain: ChainFacts<'_>, recover: &dyn Recover) -> (Verdict, Option<VerifiedBundle>) {
    verify_bundle_at(bundle, policy, policy.require_level, chain, recover)
}

/// As [`verify_bundle`], with the least log level that counts as verified given apart from the policy: an answer that just arrived cannot
/// be anchored yet, and is judged again when it is. Where the caller knows only sightings that came too late, the end is *cannot tell*
/// whatever is required: a lapsed key could have written it then.
pub fn verify_bundle_at(
    bundle: &Bundle,
    policy: &Policy,
    required: LogLevel,
    chain: ChainFacts<'_>,
    recover: &dyn Recover,
) -> (Verdict, Option<VerifiedBundle>) {
    judge(Texts::Shown, bundle, policy, required, chain, recover)
}

/// Judges a proof alone, as [`Proof::to_bundle`](crate::proof::Proof::to_bundle) gives it without body and frames: every check that needs neither. The
/// others are *not checked*, so the outcome is *cannot tell* at best. With the caller's copy a proof is a bundle again, and judged as one.
pub fn verify_without_texts(bundle: &Bundle, policy: &Policy, chain: ChainFacts<'_>, recover: &dyn Recover) -> Verdict {
    judge(Texts::Missing, bundle, policy, policy.require_level, chain, recover).0
}

/// Whether body and frames of a bundle are there, or are left empty because a proof holds neither.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Texts {
    Shown,
    Missing,
}

fn judge(
    texts: Texts,
    bundle: &Bundle,
    policy: &Policy,
    required: LogLevel,
    chain: ChainFacts<'_>,
    recover: &dyn Recover,
) -> (Verdict, Option<VerifiedBundle>) {
    let mut run = Run { checks: Recorder::new(Step::BUNDLE), texts, bundle, policy, chain, recover };
    let result = run.all();
    let is_open = run.is_open();
    let anchor = run.earliest(chain.anchors);
    let Recorded { checks, complete } = run.checks.finish();
    let (verified, log_level) = match result {
        Ok((verified, level)) if complete => (Some(verified), level),
        Ok(_) | Err(Stop) => (None, LogLevel::None),
    };
    let outcome = match &verified {
        None => Outcome::Refused,
        Some(_) if log_level < required || is_open || texts == Texts::Missing => Outcome::CannotTell,
        Some(_) => Outcome::Verified,
    };
    let assurance = verified.as_ref().map_or(Assurance::None, |v| v.enclave.assurance());
    let not_proven = not_proven(texts, bundle, chain.registry, &checks, log_level);
    let grades = Some(Question::ALL.map(|question| Grade::of(question, bundle, &checks, log_level)));
    let anchored = anchor.filter(|_| log_level == LogLevel::Anchored);
    let claimed_root = bundle.evidence.claimed_root();
    let verdict = Verdict { checks, outcome, grades, claimed_root, log_level, anchored, assurance, not_proven };
    (verdict, verified.filter(|_| outcome == Outcome::Verified))
}

fn not_proven(texts: Texts, bundle: &Bundle, registry: Option<&RegistryRecord>, checks: &[Check], log_level: LogLevel) -> Vec<String> {
    let mut out = Vec::new();
    if texts == Texts::Missing {
        out.push("what was asked and what was answered: a proof holds neither; whoever has a copy of both shows it".into());
    }
    if registry.is_some_and(|record| record.is_forked) {
        out.push("one history: the registry was shown two trees of one size that this key signed (FORKED)".into());
    }
    if registry.is_some_and(|record| record.has_gap) {
        let log = &bundle.evidence.manifest.predecessor_log;
        out.push(format!("that this log continues {log:#}, which its manifest names: the registry does not link them (a gap)"));
    }
    out.extend(left_behind(&bundle.evidence.manifest, registry));
    out.push("delivery: a receipt proves production and hand-over to the host, not that the client read it".into());
    if bundle.sale.is_none() {
        out.push("that anybody paid: this answer was free".into());
        if bundle.evidence.terms.terms.is_free_by_list_only(&bundle.delivery.receipt.work.model_id) {
            out.push("that it could be free: only a price list can set this model to nothing, and none is shown".into());
        }
    }
    let is_price_open = |check: &Check| check.step == Step::OfferPrice && check.status == Status::NotChecked;
    if checks.iter().any(is_price_open) {
        out.push("the price: the list that the offer names is not shown, so it is only not above the ceiling".into());
    }
    if bundle.delivery.receipt.work.channel == Channel::Tls {
        out.push("privacy after the fact: TLS is private only to a client that pinned the attested key when it connected".into());
    }
    if matches!(log_level, LogLevel::SelfLogged | LogLevel::Witnessed) {
        let level = log_level.as_str();
        out.push(format!("when it was signed: {level} does not bound that, and whoever holds a lapsed key can write any time"));
    }
    let waiting = checks.iter().filter(|check| check.status == Status::NotChecked && check.step.needs_chain());
    let waiting: Vec<&str> = waiting.map(|check| check.step.id()).collect();
    if !waiting.is_empty() {
        out.push(format!("what needs a chain: {}", waiting.join(", ")));
    }
    out
}

/// What the log that this one continues holds, or may hold, beyond the tree that the manifest names. Receipts there stay as provable as they
/// were; only *one history* ends at that tree.
fn left_behind(manifest: &Manifest, registry: Option<&RegistryRecord>) -> Option<String> {
    let (log, size) = (&manifest.predecessor_log, manifest.predecessor_size);
    if log.is_zero() {
        return None;
    }
    let anchored = registry.and_then(|record| record.predecessor_anchored);
    match anchored {
        Some(anchored) if size < anchored => Some(format!(
            "that this log continues all of {log:#}: it names the first {size} of {anchored} receipts that are anchored there"
        )),
        None if size == 0 => Some(format!("that this log continues anything of {log:#}: it names none of its receipts")),
        Some(_) | None => None,
    }
}

struct Run<'a> {
    checks: Recorder,
    texts: Texts,
    bundle: &'a Bundle,
    policy: &'a Policy,
    chain: ChainFacts<'a>,
    recover: &'a dyn Recover,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(VerifiedBundle, LogLevel), Stop> {
        let bundle = self.bundle;
        let enclave = evidence::check_evidence(&mut self.checks, &bundle.evidence, self.policy, Moment::OwnTime, self.recover)?;
        self.evidence_block(enclave.freshness())?;
        self.registry(&enclave)?;
        self.receipt(&enclave)?;
        self.work(&enclave)?;
        self.privacy(&enclave)?;
        match &bundle.sale {
            Some(sale) => self.paid(&enclave, sale)?,
            None => self.unpaid(&enclave)?,
        }
        let included = self.inclusion()?;
        let level = self.log(&enclave)?;
        Ok((VerifiedBundle { enclave, receipt: bundle.delivery.receipt.clone(), included }, level))
    }

    /// When the answer was finished, as a chain counts.
    fn finished(&self) -> UnixSeconds {
        self.bundle.delivery.receipt.work.finished_at.seconds()
    }

    fn evidence_block(&mut self, freshness: &Freshness) -> Result<(), Stop> {
        let expected = format!("block {} {:#} of chain {}", freshness.block_number, freshness.block_hash, freshness.chain_id);
        self.block(Step::EvidenceBlock, self.chain.evidence_block_known, expected)
    }

    fn block(&mut self, step: Step, known: Option<bool>, expected: String) -> Result<(), Stop> {
        match known {
            None => self.checks.not_checked(step, "a chain"),
            Some(true) => self.checks.require(step, true, expected, "it exists"),
            // A reorganisation may have taken it since, from an honest node too.
            Some(false) => self.checks.not_checked(step, format!("a chain that has {expected}: this one has another, or none yet")),
        }
    }

    fn registry(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        let Some(record) = self.chain.registry else {
            self.checks.not_checked(Step::RegistryListed, "a chain")?;
            return Ok(());
        };
        let finished = self.finished();
        let manifest = enclave.manifest();
        let same = record.k_sig == manifest.k_sig && record.manifest_hash == manifest.hash();
        // Whoever has this document may show it to the registry, also later: it covers what it covers.
        let document_until = enclave.document_time().seconds().saturating_add(MAX_EVIDENCE_AGE_SECONDS).min(enclave.terms().until());
        let seen_at = self.seen().map(|seen| seen.at);
        let revocation = time::revocation(finished, seen_at, record);
        let in_time = time::is_within_validity(finished, record.valid_until, document_until)
            && time::is_before_retirement(finished, record)
            && revocation != Revocation::After;
        let moment = |at: Option<UnixSeconds>| at.map_or("never".into(), |at| at.to_string());
        let expected =
            format!("{} with manifest {:#}, valid at {finished}, seen on chain before it was revoked", manifest.k_sig, manifest.hash());
        let got = format!(
            "{} with manifest {:#}, valid until {} (by this document until {document_until}), retired from {}, revoked {}, seen {}",
            record.k_sig,
            record.manifest_hash,
            record.valid_until,
            moment(record.invalid_from),
            moment(record.revoked_at),
            moment(seen_at)
        );
        if same && in_time && revocation == Revocation::Open {
            let at = moment(record.revoked_at);
            let needs = format!("a tree that holds the receipt, seen before the key was revoked at {at}; a bundle names some trees only");
            return self.checks.not_checked(Step::RegistryListed, needs);
        }
        self.checks.require(Step::RegistryListed, same && in_time, expected, got)
    }

    /// Whether something that the caller read from a chain speaks against the receipt, and more of the chain may speak for it: then the
    /// verdict can be no more than *cannot tell*, whatever the policy requires.
    fn is_open(&self) -> bool {
        let chain = &self.chain;
        let is_revoked = |record| time::revocation(self.finished(), self.seen().map(|seen| seen.at), record) != Revocation::Before;
        self.is_seen_too_late()
            || chain.registry.is_some_and(is_revoked)
            || [chain.evidence_block_known, chain.receipt_block_known].contains(&Some(false))
    }

    fn receipt(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        let delivery = &self.bundle.delivery;
        let receipt = &delivery.receipt;
        let recovered = signer(self.recover, &receipt.digest(), &delivery.signature);
        self.checks.signed(Step::ReceiptSignature, enclave.manifest().k_sig, recovered)?;

        let expected = (enclave.manifest().hash(), enclave.manifest().log_id());
        let got = (receipt.manifest_hash, receipt.log_id);
        let show = |pair: (Hash32, Hash32)| format!("manifest {} log {}", pair.0, pair.1);
        self.checks.require(Step::ReceiptBoot, expected == got, show(expected), show(got))?;

        self.receipt_time(enclave, receipt)?;
        let expected = format!("block {} {:#}", receipt.work.block_number, receipt.work.block_hash);
        self.block(Step::ReceiptBlock, self.chain.receipt_block_known, expected)
    }

    /// A bundle keeps the document that was current at receipt time: not newer than the receipt, and not older than the policy's age.
    /// No receipt of a boot is older than the boot.
    fn receipt_time(&mut self, enclave: &VerifiedEnclave, receipt: &Receipt) -> Result<(), Stop> {
        let document = enclave.document_time();
        let (started, finished) = (receipt.work.started_at, receipt.work.finished_at);
        let earliest = document.saturating_sub(self.policy.skew_ms);
        let latest = document.saturating_add(self.policy.max_age_ms).saturating_add(self.policy.skew_ms);
        let booted_at = enclave.manifest().booted_at;
        let in_boot = time::is_after_boot(finished.seconds(), booted_at);
        let ok = started <= finished && earliest <= started && finished <= latest && finished <= enclave.terms().not_after && in_boot;
        let until = enclave.terms().not_after;
        let expected = format!("between {earliest} and {latest} ms, booted at {booted_at} s, terms in force until {until} ms");
        self.checks.require(Step::ReceiptTime, ok, expected, format!("started {started}, finished {finished} ms"))
    }
}
