//! Checking a bundle: the steps of bundle.md §4, in the order of [`Step::BUNDLE`].
//!
//! In: a bundle nobody believes, a policy, and what the caller read from a chain (possibly nothing). Out: a verdict with one check per
//! step, and a [`VerifiedBundle`] if none refused. Parsing is `bundle`; the parts are `evidence`, `offer`, `receipt`,
//! `payment`, `tlog`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::bundle::Bundle;
use crate::bytes::{Amount, Hash32};
use crate::checkpoint::Checkpoint;
use crate::eip712::{Recover, signer};
use crate::evidence::{self, Moment, VerifiedEnclave};
use crate::manifest::Freshness;
use crate::offer::{self, Asked, MaxTokens, VerifiedOffer};
use crate::payment::{self, MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS};
use crate::policy::{EnclaveStatus, KnownAnchor, Policy, RegistryRecord};
use crate::receipt::{self, Channel, Kinds, Outcome as WorkOutcome, Receipt, SeedSource};
use crate::step::Step;
use crate::time::UnixSeconds;
use crate::tlog::{self, Included, Tree};
use crate::transcript;
use crate::verdict::{Assurance, Check, LogLevel, Outcome, Recorded, Recorder, Status, Stop, Verdict};

/// How far the clocks of an enclave and of a chain may differ, in seconds; the same number as in `ReceiptVerifier.CLOCK_SKEW`.
pub const ANCHOR_SKEW_SECONDS: u64 = 120;

/// What the caller read from a chain, over an RPC of their own. Empty offline.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "any value is valid")]
pub struct ChainFacts<'a> {
    /// Anchors of the log.
    pub anchors: &'a [KnownAnchor],
    /// The registry's record of K_sig.
    pub registry: Option<&'a RegistryRecord>,
    /// Whether the block that the receipt names exists with that hash; `None` if not asked.
    pub receipt_block_known: Option<bool>,
    /// Whether the block that the evidence names exists with that hash; `None` if not asked.
    pub evidence_block_known: Option<bool>,
    /// What became of this payment's nonce; `None` if not asked.
    pub transfer: Option<Transfer>,
}

/// What a chain says about a payment's nonce.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: unused, or used in one way or another")]
pub enum Transfer {
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
/// be anchored yet, and is judged again when it is.
pub fn verify_bundle_at(
    bundle: &Bundle,
    policy: &Policy,
    required: LogLevel,
    chain: ChainFacts<'_>,
    recover: &dyn Recover,
) -> (Verdict, Option<VerifiedBundle>) {
    let mut run = Run { checks: Recorder::new(Step::BUNDLE), bundle, policy, chain, recover };
    let result = run.all();
    let Recorded { checks, complete } = run.checks.finish();
    let (verified, log_level) = match result {
        Ok((verified, level)) if complete => (Some(verified), level),
        Ok(_) | Err(Stop) => (None, LogLevel::None),
    };
    let outcome = match &verified {
        None => Outcome::Refused,
        Some(_) if log_level < required => Outcome::CannotTell,
        Some(_) => Outcome::Verified,
    };
    let assurance = verified.as_ref().map_or(Assurance::None, |v| v.enclave.assurance());
    let not_proven = not_proven(bundle, &checks);
    let verdict = Verdict { checks, outcome, log_level, assurance, not_proven };
    (verdict, verified.filter(|_| outcome == Outcome::Verified))
}

fn not_proven(bundle: &Bundle, checks: &[Check]) -> Vec<String> {
    let mut out = Vec::new();
    out.push("delivery: a receipt proves production and hand-over to the host, not that the client read it".into());
    if bundle.delivery.receipt.work.channel == Channel::Tls {
        out.push("privacy after the fact: TLS is private only to a client that pinned the attested key when it connected".into());
    }
    let waiting = checks.iter().filter(|check| check.status == Status::NotChecked && check.step.needs_chain());
    let waiting: Vec<&str> = waiting.map(|check| check.step.id()).collect();
    if !waiting.is_empty() {
        out.push(format!("what needs a chain: {}", waiting.join(", ")));
    }
    out
}

struct Run<'a> {
    checks: Recorder,
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
        let offer = self.offer(&enclave)?;
        self.payment(&offer)?;
        self.charge(&offer)?;
        let included = self.inclusion()?;
        let level = self.log(&enclave)?;
        Ok((VerifiedBundle { enclave, receipt: bundle.delivery.receipt.clone(), included }, level))
    }

    fn evidence_block(&mut self, freshness: &Freshness) -> Result<(), Stop> {
        let expected = format!("block {} {:#} of chain {}", freshness.block_number, freshness.block_hash, freshness.chain_id);
        self.block(Step::EvidenceBlock, self.chain.evidence_block_known, expected)
    }

    fn block(&mut self, step: Step, known: Option<bool>, expected: String) -> Result<(), Stop> {
        match known {
            None => self.checks.not_checked(step, "a chain"),
            Some(known) => self.checks.require(step, known, expected, if known { "it exists" } else { "no such block" }),
        }
    }

    fn registry(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        let Some(record) = self.chain.registry else {
            self.checks.not_checked(Step::RegistryListed, "a chain")?;
            return Ok(());
        };
        let finished = self.bundle.delivery.receipt.work.finished_at.seconds();
        let manifest = enclave.manifest();
        let same = record.k_sig == manifest.k_sig && record.manifest_hash == manifest.hash();
        // Whoever stole an invalid key can write any time into a receipt; only an anchor from before shows that it is older than that.
        let anchored_at = self.known_anchor().map(|anchor| anchor.anchored_at);
        let not_backdated = record.invalid_from == UnixSeconds::default() || anchored_at.is_some_and(|at| at < record.invalid_from);
        let listed_then = record.status_at_finish == EnclaveStatus::Valid;
        let in_time = listed_then && record.valid_from <= finished && finished <= record.valid_until && not_backdated;
        let expected =
            format!("{} with manifest {:#}, valid at {finished}, anchored before it became invalid", manifest.k_sig, manifest.hash());
        let got = format!(
            "{} with manifest {:#}, {} at {finished}, valid from {} until {}, invalid from {}, anchored at {}",
            record.k_sig,
            record.manifest_hash,
            record.status_at_finish.as_str(),
            record.valid_from,
            record.valid_until,
            record.invalid_from,
            anchored_at.map_or("no known time".into(), |at| at.to_string())
        );
        self.checks.require(Step::RegistryListed, same && in_time, expected, got)
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
    fn receipt_time(&mut self, enclave: &VerifiedEnclave, receipt: &Receipt) -> Result<(), Stop> {
        let document = enclave.document_time();
        let (started, finished) = (receipt.work.started_at, receipt.work.finished_at);
        let earliest = document.saturating_sub(self.policy.skew_ms);
        let latest = document.saturating_add(self.policy.max_age_ms).saturating_add(self.policy.skew_ms);
        let ok = started <= finished && earliest <= started && finished <= latest && finished <= enclave.terms().not_after;
        let expected = format!("between {earliest} and {latest} ms, terms in force until {} ms", enclave.terms().not_after);
        self.checks.require(Step::ReceiptTime, ok, expected, format!("started {started}, finished {finished} ms"))
    }

    fn work(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        let bundle = self.bundle;
        let work = &bundle.delivery.receipt.work;
        let request = &bundle.request;
        let commitment = transcript::request_commitment(&request.salt, &request.method, &request.path, &request.body);
        self.checks.equal(Step::RequestCommitment, work.request_commitment, commitment)?;
        let frames = bundle.response.frames.iter().map(Vec::as_slice);
        let commitment = transcript::commitment_of(&bundle.response.seed, frames);
        self.checks.equal(Step::ResponseCommitment, work.response_commitment, commitment)?;

        let listed = enclave.terms().model(&work.model_id).is_some();
        let allowed = self.policy.models.accepts(&work.model_id);
        let expected = if allowed { "a model of the signed terms" } else { "a model of the policy" };
        self.checks.require(Step::WorkModel, listed && allowed, expected, work.model_id.to_string())?;

        let known = work.kinds.is_well_formed();
        let counted = !work.kinds.contains(Kinds::LOCAL) || work.usage_source == receipt::UsageSource::Counted;
        let has_upstream = !work.kinds.contains(Kinds::LOCAL) || work.outcome != WorkOutcome::UpstreamError;
        let expected =
            "LOCAL, LOCAL with REEXEC, or PROXY; LOCAL work counted by the enclave, without an upstream; tokens within the offer";
        let tokens = work.prompt_tokens == bundle.offer.prompt_tokens && work.completion_tokens <= bundle.offer.max_tokens;
        let ended = work.outcome != WorkOutcome::Length || work.completion_tokens == bundle.offer.max_tokens;
        let got = format!(
            "kinds {}, usage {}, {} + {} tokens of {} + {}, {}",
            work.kinds.0,
            work.usage_source.as_str(),
            work.prompt_tokens,
            work.completion_tokens,
            bundle.offer.prompt_tokens,
            bundle.offer.max_tokens,
            work.outcome.as_str()
        );
        self.checks.require(Step::WorkClaim, known && counted && has_upstream && tokens && ended, expected, got)?;
        self.decoding()
    }

    fn decoding(&mut self) -> Result<(), Stop> {
        let bundle = self.bundle;
        let decoding = &bundle.delivery.decoding;
        self.checks.equal(Step::WorkDecoding, bundle.delivery.receipt.work.decoding_hash, decoding.struct_hash())?;
        let (expected, ok) = match (decoding.seed_source, &bundle.delivery.seed_share) {
            (SeedSource::Request, None) => {
                (Hash32::ZERO, receipt::requested_seed(&decoding.seed).is_some() && bundle.offer.seed_commitment.is_zero())
            }
            (SeedSource::ServerAndPayment, Some(share)) => {
                let seed = receipt::seed_from_share(share, &bundle.payment.authorization.nonce);
                (seed, seed == decoding.seed && receipt::seed_commitment(share) == bundle.offer.seed_commitment)
            }
            (SeedSource::Request, Some(_)) | (SeedSource::ServerAndPayment, None) => (Hash32::ZERO, false),
        };
        let wanted = match decoding.seed_source {
            SeedSource::Request => "an integer as the seed, named by the request, and no share committed in the offer".to_string(),
            SeedSource::ServerAndPayment => format!("{expected} from the share committed in the offer and the payment's nonce"),
        };
        self.checks.require(Step::WorkSeed, ok, wanted, decoding.seed.to_string())
    }

    /// What a bundle can say about privacy. A live client that pinned the attested key knows more, and says so itself.
    fn privacy(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        match self.bundle.delivery.receipt.work.channel {
            Channel::Sealed => {
                let key = enclave.manifest().k_hpke;
                self.checks.require(Step::PrivacyChannel, !key.is_zero(), "SEALED to an attested K_hpke", format!("SEALED, K_hpke {key}"))
            }
            Channel::Tls => {
                self.checks.not_checked(Step::PrivacyChannel, "a sealed request (this one travelled in TLS)")?;
                Ok(())
            }
        }
    }

    fn offer(&mut self, enclave: &VerifiedEnclave) -> Result<VerifiedOffer, Stop> {
        let (bundle, work) = (self.bundle, &self.bundle.delivery.receipt.work);
        let asked = Asked {
            request_commitment: work.request_commitment,
            model_id: work.model_id,
            max_tokens: MaxTokens::Exactly(bundle.delivery.decoding.max_tokens.into()),
        };
        offer::check_offer(&mut self.checks, &bundle.offer, &bundle.offer_signature, enclave, &asked, self.policy, self.recover)
    }

    fn payment(&mut self, verified: &VerifiedOffer) -> Result<(), Stop> {
        let (offer, payment) = (verified.offer(), &self.bundle.payment);
        let authorization = &payment.authorization;
        // A payer's wallet may sign high s (the token would refuse it, or not); here one form counts, so that no flip goes unnoticed.
        let recovered = signer(self.recover, &authorization.digest(verified.token()), &payment.signature);
        self.checks.signed(Step::PaymentSignature, authorization.from, recovered)?;

        let (finished, started) =
            (self.bundle.delivery.receipt.work.finished_at.seconds(), self.bundle.delivery.receipt.work.started_at.seconds());
        let open = authorization.valid_after <= started
            && finished < authorization.valid_before
            && authorization.valid_before <= started.saturating_add(MAX_TIMEOUT_SECONDS).saturating_add(MAX_SKEW_SECONDS);
        let ok = authorization.to == offer.payee && authorization.value == offer.amount && open;
        let expected = format!("{} units to {}, open from {started} to {finished}", offer.amount, offer.payee);
        let got = format!(
            "{} units to {}, open from {} to {}",
            authorization.value, authorization.to, authorization.valid_after, authorization.valid_before
        );
        self.checks.require(Step::PaymentTerms, ok, expected, got)?;
        self.binding()
    }

    fn binding(&mut self) -> Result<(), Stop> {
        let payment = &self.bundle.payment;
        let Some(salt) = payment.client_salt else {
            if self.policy.require_offer_binding {
                let got = "a nonce without a client salt (equal price only)";
                return self.checks.require(Step::PaymentBinding, false, "a nonce that commits to the offer", got);
            }
            self.checks.not_checked(Step::PaymentBinding, "a client that commits to the offer (equal price only)")?;
            return Ok(());
        };
        let expected = payment::offer_nonce(&self.bundle.offer.digest(), &salt);
        self.checks.equal(Step::PaymentBinding, expected, payment.authorization.nonce)
    }

    fn charge(&mut self, verified: &VerifiedOffer) -> Result<(), Stop> {
        let (offer, money) = (verified.offer(), &self.bundle.delivery.receipt.money);
        let authorization = &self.bundle.payment.authorization;
        let pairs = [
            ("payment id", authorization.payment_id(offer.chain_id, &offer.asset).to_string(), money.payment_id.to_string()),
            ("offer", offer.digest().to_string(), money.offer_digest.to_string()),
            ("payer", authorization.from.to_string(), money.payer.to_string()),
            ("asset", offer.asset.to_string(), money.asset.to_string()),
            ("chain", offer.chain_id.to_string(), money.chain_id.to_string()),
            ("scheme", offer.scheme.as_str().to_string(), money.scheme.as_str().to_string()),
            ("settler", offer.settler.to_string(), money.settler.to_string()),
        ];
        for (name, expected, got) in pairs {
            if expected != got {
                return self.checks.require(Step::ReceiptPayment, false, format!("{name} {expected}"), format!("{name} {got}"));
            }
        }
        self.checks.require(Step::ReceiptPayment, true, "this payment", money.payment_id.to_string())?;

        // `exact` moves the whole signed price: signed = offered = charged, to the offer's payee, which is the attested one; no channel fields.
        let ok = money.max_amount == authorization.value
            && money.charged == authorization.value
            && money.payee == offer.payee
            && money.cumulative_before == Amount::ZERO
            && money.cumulative_after == Amount::ZERO;
        let expected = format!("{} units to {}", authorization.value, offer.payee);
        let got = format!("{} of at most {} units to {}", money.charged, money.max_amount, money.payee);
        self.checks.require(Step::ReceiptCharge, ok, expected, got)?;
        let (amount, asset, chain_id) = (money.charged, money.asset, money.chain_id);
        let expected = format!("Transfer of {amount} units of {asset} on chain {chain_id} from {} to {}", money.payer, money.payee);
        match self.chain.transfer {
            None => self.checks.not_checked(Step::PaymentTransfer, "a chain")?,
            Some(Transfer::NotYet) => {
                self.checks
                    .not_checked(Step::PaymentTransfer, "the transfer itself (the authorization is unused so far: nothing was charged)")?;
            }
            Some(Transfer::Seen) => self.checks.require(Step::PaymentTransfer, true, expected, "seen")?,
            Some(Transfer::Otherwise) => {
                self.checks.require(
                    Step::PaymentTransfer,
                    false,
                    expected,
                    "the authorization was cancelled, or used for something else",
                )?;
            }
        }
        Ok(())
    }

    fn inclusion(&mut self) -> Result<Included, Stop> {
        let delivery = &self.bundle.delivery;
        let data = tlog::leaf_data(&delivery.leaf_salt, &delivery.receipt.digest(), &delivery.signature);
        let leaf = tlog::leaf_hash(&data.0);
        let tree = delivery.checkpoint.checkpoint.tree;
        let result = tlog::verify_inclusion(leaf, delivery.receipt.sequence, &delivery.inclusion, &tree);
        let expected = format!("leaf {} in tree {:#} of {}", delivery.receipt.sequence, tree.root, tree.size);
        let got = result.map_or_else(|error| error.to_string(), |_| "included".into());
        self.checks.require(Step::LogInclusion, result.is_ok(), expected, got)?;
        result.map_err(|_| Stop)
    }

    fn log(&mut self, enclave: &VerifiedEnclave) -> Result<LogLevel, Stop> {
        let signed = &self.bundle.delivery.checkpoint;
        let checkpoint = &signed.checkpoint;
        let manifest = enclave.manifest();
        let body = checkpoint.note_body();
        let note_ok = crate::checkpoint::verify_ed25519(&manifest.k_log, body.as_bytes(), &signed.note_signature);
        let recovered = signer(self.recover, &checkpoint.digest(), &signed.signature);
        let ok = checkpoint.log_id == manifest.log_id() && note_ok && recovered == Some(manifest.k_sig);
        let expected = format!("log {:#} signed by K_log and {}", manifest.log_id(), manifest.k_sig);
        let got = format!(
            "log {:#}, note signature {}, signer {}",
            checkpoint.log_id,
            if note_ok { "right" } else { "wrong" },
            recovered.map_or("none".into(), |address| address.to_string())
        );
        self.checks.require(Step::LogCheckpoint, ok, expected, got)?;
        let witnessed = self.witnesses(&body)?;
        self.consistency(enclave, checkpoint)?;
        let anchored = self.anchored()?;
        Ok(if anchored {
            LogLevel::Anchored
        } else if witnessed {
            LogLevel::Witnessed
        } else {
            LogLevel::SelfLogged
        })
    }

    fn witnesses(&mut self, note_body: &str) -> Result<bool, Stop> {
        let cosignatures = &self.bundle.delivery.checkpoint.cosignatures;
        let mut seen: Vec<Hash32> = Vec::new();
        for cosignature in cosignatures {
            // A key outside the policy is refused, not skipped: nobody would have checked its bytes.
            let known = self.policy.witnesses.contains(&cosignature.witness);
            if !known || seen.contains(&cosignature.witness) || !cosignature.is_valid(note_body) {
                let expected = "each cosignature valid, by a witness of the policy, once";
                return self.checks.require(Step::LogWitnesses, false, expected, cosignature.witness.to_string()).map(|()| false);
            }
            seen.push(cosignature.witness);
        }
        let threshold = self.policy.witness_threshold;
        if threshold == 0 {
            self.checks.not_asked(Step::LogWitnesses, "a policy that names witnesses")?;
            return Ok(false);
        }
        let reached = threshold <= seen.len();
        if reached {
            self.checks.require(Step::LogWitnesses, true, format!("{threshold} witnesses"), format!("{} witnesses", seen.len()))?;
        } else {
            self.checks.not_checked(Step::LogWitnesses, format!("{threshold} witnesses, {} cosigned so far", seen.len()))?;
        }
        Ok(reached)
    }

    /// Both anchors must hold, and any anchor that the caller knows at the same size must have the same root.
    fn consistency(&mut self, enclave: &VerifiedEnclave, checkpoint: &Checkpoint) -> Result<(), Stop> {
        let (tree, bundle) = (checkpoint.tree, self.bundle);
        if let Some(earlier) = &bundle.delivery.earlier_anchor {
            self.extends(&earlier.tree, &tree, &earlier.consistency)?;
        }
        if let Some(later) = &bundle.later_anchor {
            // No proof binds the size of the newer tree (RFC 9162): K_sig's signature does.
            let signed = &later.checkpoint;
            let recovered = signer(self.recover, &signed.digest(), &later.signature);
            let k_sig = enclave.manifest().k_sig;
            if signed.log_id != checkpoint.log_id || recovered != Some(k_sig) {
                let expected = format!("the later anchor, size {} of log {:#}, signed by {k_sig}", signed.tree.size, checkpoint.log_id);
                let who = recovered.map_or("none".into(), |address| address.to_string());
                return self.checks.require(Step::LogConsistency, false, expected, format!("log {:#}, signer {who}", signed.log_id));
            }
            self.extends(&tree, &signed.tree, &later.consistency)?;
        }
        let ours = [
            bundle.delivery.earlier_anchor.as_ref().map(|earlier| earlier.tree),
            Some(tree),
            bundle.later_anchor.as_ref().map(|later| later.checkpoint.tree),
        ];
        let fork = self.chain.anchors.iter().filter(|anchor| anchor.log_id == checkpoint.log_id).find_map(|known| {
            let tree = ours.into_iter().flatten().find(|tree| tree.size == known.tree.size && tree.root != known.tree.root)?;
            Some((known.tree, tree))
        });
        if let Some((known, tree)) = fork {
            let expected = format!("anchored root {} at size {}", known.root, known.size);
            return self.checks.require(Step::LogConsistency, false, expected, format!("{} (a fork)", tree.root));
        }
        self.checks.require(Step::LogConsistency, true, "append-only", "append-only")
    }

    /// Refuses unless `new` begins with all of `old`, which is not empty: an empty one would carry bytes that nothing checks.
    fn extends(&mut self, old: &Tree, new: &Tree, proof: &[Hash32]) -> Result<(), Stop> {
        let reason = match tlog::verify_consistency(old, new, proof) {
            _ if old.size == 0 => "a tree without leaves".into(),
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        };
        let expected = format!("tree {:#} of {} extends {:#} of {}", new.root, new.size, old.root, old.size);
        self.checks.require(Step::LogConsistency, false, expected, reason)
    }

    fn anchored(&mut self) -> Result<bool, Stop> {
        match self.known_anchor() {
            Some(anchor) => {
                // In true time an answer is finished before its anchor's block.
                let finished = self.bundle.delivery.receipt.work.finished_at.seconds();
                let latest = anchor.anchored_at.saturating_add(ANCHOR_SKEW_SECONDS);
                let expected =
                    format!("an anchored tree that holds the receipt, no earlier than {ANCHOR_SKEW_SECONDS} s before {finished}");
                let got = format!("size {} anchored at {}", anchor.tree.size, anchor.anchored_at);
                self.checks.require(Step::LogAnchored, finished <= latest, expected, got)?;
                Ok(true)
            }
            None => {
                self.checks.not_checked(Step::LogAnchored, "a chain, and a bundle upgraded to an anchored tree")?;
                Ok(false)
            }
        }
    }

    /// The anchor, among those the caller knows, of the checkpoint's tree or of the later one that the bundle was upgraded to.
    fn known_anchor(&self) -> Option<KnownAnchor> {
        let checkpoint = &self.bundle.delivery.checkpoint.checkpoint;
        let later = self.bundle.later_anchor.as_ref().map(|later| later.checkpoint.tree);
        [Some(checkpoint.tree), later]
            .into_iter()
            .flatten()
            .find_map(|tree| self.chain.anchors.iter().find(|anchor| anchor.log_id == checkpoint.log_id && anchor.tree == tree).copied())
    }
}
