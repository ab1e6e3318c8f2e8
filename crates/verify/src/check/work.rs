//! The steps about the work: what was asked and answered, by which model, from which seed, in which channel. Spec: transcript.md, receipt.md §4-6.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Run, Texts};
use crate::bytes::Hash32;
use crate::decoding::{self, SeedSource};
use crate::evidence::VerifiedEnclave;
use crate::public::{self, PublicWords};
use crate::receipt::{Channel, Kinds, Outcome, UsageSource};
use crate::source::{Account, SourceRecord};
use crate::step::Step;
use crate::terms::{Model, ModelSource, Route, Trust, Upstream, upstream_flags};
use crate::text::is_control;
use crate::transcript;
use crate::verdict::Stop;

/// What a source record says that the terms do not, if anything. Only what the enclave saw itself is held against them; model served,
/// request id and usage are the provider's words. Spec: receipt.md §6.
fn contradiction(record: &SourceRecord, model: &Model, upstreams: &[Upstream], outcome: Outcome) -> Option<&'static str> {
    let Some(upstream) = upstreams.iter().find(|upstream| upstream.name == record.upstream) else {
        return Some("the source names an upstream that the terms do not list");
    };
    // Routes are asked in their order: what was tried before comes before.
    let is_route = |(route, before): (&Route, &[Route])| {
        let mut before = before.iter();
        let is_this = route.upstream == record.upstream && route.model == record.model_asked;
        is_this && record.tried.iter().all(|name| before.any(|route| route.upstream == *name))
    };
    let mut routes = model.routes.iter().enumerate().filter_map(|(at, route)| Some((route, model.routes.get(..at)?)));
    let is_plain = upstream.trust == Trust::Plaintext;
    let has_key = !record.spki_hash.is_zero();
    // An upstream that was not reached showed no key.
    let needs_key = !is_plain && outcome != Outcome::UpstreamError;
    let rows = [
        (record.texts().any(|text| text.chars().any(is_control)), "the source has a control character in a text"),
        (!routes.any(is_route), "the source names no route of the model, or others that were tried than those before it"),
        (record.host != upstream.host || record.port != upstream.port, "the source names another host or port than the terms"),
        (is_plain && has_key || needs_key && !has_key, "the source names a key in plaintext, or none under TLS"),
        (
            has_key && upstream.trust == Trust::Key && record.spki_hash != upstream.trust_anchor,
            "the source names another key than the terms trust",
        ),
        (record.account == Account::Operator && upstream.account.is_empty(), "the source names an account that the terms do not have"),
        (
            record.account == Account::Buyer && upstream.flags & upstream_flags::TAKES_BUYERS_KEYS == 0,
            "the source names a buyer's key, which the terms do not let the upstream be asked with",
        ),
    ];
    rows.into_iter().find_map(|(is_so, what)| is_so.then_some(what))
}

impl Run<'_> {
    pub(super) fn work(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        let bundle = self.bundle;
        let work = &bundle.delivery.receipt.work;
        let request = &bundle.request;
        let commitment = transcript::request_commitment(&request.salt, &request.method, &request.path, &request.body);
        // A salt that came with the delivery, and not with a 402, is the one that the bundle says.
        let told = if bundle.sale.is_some() { None } else { Some(request.salt) };
        if bundle.delivery.request_salt != told {
            let show =
                |salt: Option<Hash32>| salt.map_or("no salt in the delivery".into(), |salt| format!("the salt {salt} in the delivery"));
            return self.checks.require(Step::RequestCommitment, false, show(told), show(bundle.delivery.request_salt));
        }
        match self.texts {
            Texts::Missing => {
                self.checks.not_checked(Step::RequestCommitment, "your copy of the request's body")?;
                self.checks.not_checked(Step::ResponseCommitment, "your copy of the answer")?;
            }
            Texts::Shown => {
                self.checks.equal(Step::RequestCommitment, work.request_commitment, commitment)?;
                let frames = bundle.response.frames.iter().map(Vec::as_slice);
                let commitment = transcript::commitment_of(&bundle.response.seed, frames);
                self.checks.equal(Step::ResponseCommitment, work.response_commitment, commitment)?;
            }
        }

        let listed = enclave.terms().model(&work.model_id).is_some();
        let allowed = self.policy.models.accepts(&work.model_id);
        let expected = if allowed { "a model of the signed terms" } else { "a model of the policy" };
        self.checks.require(Step::WorkModel, listed && allowed, expected, work.model_id.to_string())?;

        self.claim(enclave)?;
        self.decoding()
    }

    /// What the receipt claims about the making of the answer, held against the terms and against what was offered.
    fn claim(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        let bundle = self.bundle;
        let (work, source) = (&bundle.delivery.receipt.work, bundle.delivery.source.as_ref());
        let is_local = work.kinds.contains(Kinds::LOCAL);
        let known = work.kinds.is_well_formed();
        let counted = !is_local || work.usage_source == UsageSource::Counted;
        let has_upstream = !is_local || work.outcome != Outcome::UpstreamError;
        let model = enclave.terms().model(&work.model_id);
        // What a guard refused no model answered: nothing was made, and nothing of it can be run again.
        let by_guard = enclave.terms().guard.judges() && work.completion_tokens == 0 && work.kinds == Kinds::LOCAL;
        if work.outcome == Outcome::RefusedByGuard && !by_guard {
            let guard = if enclave.terms().guard.judges() { "a guard" } else { "no guard" };
            let got = format!("{guard}, kinds {}, {} tokens", work.kinds.0, work.completion_tokens);
            return self.checks.require(Step::WorkClaim, false, "LOCAL work without a token, under terms that name a guard", got);
        }
        if let (Some(model), Some(record)) = (model, source)
            && model.source == ModelSource::Upstream
            && let Some(what) = contradiction(record, model, &enclave.terms().upstreams, work.outcome)
        {
            return self.checks.require(Step::WorkClaim, false, "a source record of a route of the terms", what);
        }
        let of_terms = model.is_some_and(|model| match (model.source, source) {
            // Refused by a model of the enclave; no route was asked.
            (_, None) if work.outcome == Outcome::RefusedByGuard => is_local && work.source_hash.is_zero(),
            (ModelSource::Local, None) => is_local && work.source_hash.is_zero(),
            (ModelSource::Upstream, Some(record)) => !is_local && work.source_hash == record.struct_hash(),
            (ModelSource::Local, Some(_)) | (ModelSource::Upstream, None) => false,
        });
        let request = &bundle.request;
        let frames = bundle.response.frames.iter().map(Vec::as_slice);
        let public = public::words(&request.method, &request.path, &request.body, frames);
        let words = PublicWords { task_hash: work.task_hash, question_hash: work.question_hash, answer_hash: work.answer_hash };
        let is_public_as_asked = public == words || self.texts == Texts::Missing;
        let max_tokens: u64 = bundle.delivery.decoding.max_tokens.into();
        let offered = bundle.sale.as_ref().map(|sale| (sale.offer.prompt_tokens, sale.offer.max_tokens));
        let (prompt_tokens, max_tokens) = offered.unwrap_or((work.prompt_tokens, max_tokens));
        let tokens = work.prompt_tokens == prompt_tokens && work.completion_tokens <= max_tokens;
        let ended = work.outcome != Outcome::Length || work.completion_tokens == max_tokens;
        let expected = "LOCAL, LOCAL with REEXEC, or PROXY with its source record, as the terms say of the model; LOCAL work counted by the \
                        enclave, without an upstream; tokens within what was offered; task, question and answer of a public answer, \
                        as the request asks, or zeros";
        let got = format!(
            "kinds {}, usage {}, source {:#}, {} + {} tokens of {prompt_tokens} + {max_tokens}, {}, public {}",
            work.kinds.0,
            work.usage_source.as_str(),
            work.source_hash,
            work.prompt_tokens,
            work.completion_tokens,
            work.outcome.as_str(),
            if is_public_as_asked { "as asked" } else { "not as asked" }
        );
        let ok = known && counted && has_upstream && of_terms && is_public_as_asked && tokens && ended;
        if ok && self.texts == Texts::Missing {
            return self
                .checks
                .not_checked(Step::WorkClaim, "your copy of request and answer: whether it is public as asked; the rest of it holds");
        }
        self.checks.require(Step::WorkClaim, ok, expected, got)
    }

    fn decoding(&mut self) -> Result<(), Stop> {
        let bundle = self.bundle;
        let decoding = &bundle.delivery.decoding;
        self.checks.equal(Step::WorkDecoding, bundle.delivery.receipt.work.decoding_hash, decoding.struct_hash())?;
        let committed = bundle.sale.as_ref().map(|sale| (sale.offer.seed_commitment, sale.payment.authorization.nonce));
        let (expected, ok) = match (decoding.seed_source, &bundle.delivery.seed_share, committed) {
            (SeedSource::Request, None, committed) => {
                let is_uncommitted = committed.is_none_or(|(commitment, _)| commitment.is_zero());
                (Hash32::ZERO, decoding::requested_seed(&decoding.seed).is_some() && is_uncommitted)
            }
            (SeedSource::ServerAndPayment, Some(share), Some((commitment, nonce))) => {
                let seed = decoding::seed_from_share(share, &nonce);
                (seed, seed == decoding.seed && decoding::seed_commitment(share) == commitment)
            }
            (SeedSource::Server, Some(share), None) => {
                let seed = decoding::seed_of_server(share);
                (seed, seed == decoding.seed)
            }
            (SeedSource::Request, Some(_), _) | (SeedSource::ServerAndPayment | SeedSource::Server, _, _) => (Hash32::ZERO, false),
        };
        let wanted = match decoding.seed_source {
            SeedSource::Request => "an integer as the seed, named by the request, and no share committed in the offer".to_string(),
            SeedSource::ServerAndPayment => format!("{expected} from the share committed in the offer and the payment's nonce"),
            SeedSource::Server => format!("{expected} from the server's share, of work that nobody paid for"),
        };
        self.checks.require(Step::WorkSeed, ok, wanted, decoding.seed.to_string())
    }

    /// What a bundle can say about privacy. A live client that pinned the attested key knows more, and says so itself.
    pub(super) fn privacy(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        match self.bundle.delivery.receipt.work.channel {
            Channel::Sealed => {
                let key = enclave.manifest().k_hpke;
                let at = self.bundle.delivery.receipt.work.started_at;
                let taken = enclave.terms().sealed.iter().filter(|form| at <= form.not_after).count();
                let ok = !key.is_zero() && taken != 0;
                let expected = format!("SEALED to an attested K_hpke, in a form that the terms take at {at} ms");
                self.checks.require(Step::PrivacyChannel, ok, expected, format!("SEALED, K_hpke {key}, {taken} forms taken then"))
            }
            Channel::Tls => {
                self.checks.not_checked(Step::PrivacyChannel, "a sealed request (this one travelled in TLS)")?;
                Ok(())
            }
        }
    }
}
