//! Quotes: what this request costs, signed, and found again without being stored (ADR 0005).
//!
//! An offer depends on the boot, the request and a 60-second bucket only, so the payment that comes back is checked against the offers
//! of the current and the previous bucket, recomputed. Work for someone who has not paid is bounded: parse, tokenise once and no further
//! than the context, long requests two at a time and beside the async workers, one signature. Spec: payment.md §3.

use std::sync::Arc;

use candor_engine::chat::{ApiError, ChatRequest};
use candor_verify::bundle::{FRAME_MAX, FRAMES_MAX};
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::decoding::seed_commitment;
use candor_verify::eip712::signer;
use candor_verify::offer::{BUCKET_SECONDS, HONOURED_SECONDS, Offer};
use candor_verify::payment::MAX_TIMEOUT_SECONDS;
use candor_verify::public;
use candor_verify::recovery::{BLOB_MAX, blob_len_max};
use candor_verify::scheme::{Scheme, Through};
use candor_verify::terms::{Classes, storage};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::transcript::{question_hash, request_commitment};
use candor_x402::Libsecp;
use candor_x402::extension::{AnswerRecovery, SignedOffer, SignedOffers};
use candor_x402::protocol::{Eip155, PaymentRequired, ResourceInfo, X402_VERSION};
use candor_x402::scheme::{Candidate, Requirements, with_permits};
use hyper::body::Bytes;

use crate::clock;
use crate::guard::Conversation;
use crate::keys::{BootKeys, random32};
use crate::prices::{InForce, Taken};
use crate::receipt::Publicly;
use crate::refusal::Refusal;
use crate::serving::{Served, Serving};
use crate::source::Prompt;

/// Bytes of a request that is read on the spot: a fraction of a millisecond, less than it would wait behind long ones.
const SHORT_MAX: usize = 8 << 10;

/// The bucket of a moment.
fn bucket_of(now: UnixSeconds) -> u64 {
    now.0 / BUCKET_SECONDS
}

/// The bucket in which an offer of this end was made.
fn bucket_of_offer(valid_until: UnixMs) -> u64 {
    bucket_of(valid_until.seconds()).saturating_sub(HONOURED_SECONDS / BUCKET_SECONDS)
}

/// A request that was parsed, counted and priced.
pub(crate) struct Quote {
    pub(crate) counted: Counted,
    /// One for each way to pay, the preferred one first.
    pub(crate) requirements: Vec<Requirements>,
    /// The offers of the current bucket, in the same order.
    current: Vec<Candidate>,
    /// What the work is metered by.
    pub(crate) classes: Classes,
    /// G of payment.md §5: seconds that the engine may take. The settle margin is added where the payment is checked.
    pub(crate) generation_seconds: u64,
    /// Bytes of the answer's blob, at most; `None` if it could be longer than one that is kept, or the terms let none be kept.
    pub(crate) blob_max: Option<u64>,
    /// The list that says the price; the ceiling of the terms without one.
    list: Option<Arc<Taken>>,
    bucket: u64,
}

/// A request that was parsed and counted: all that is known of it without a price.
pub(crate) struct Counted {
    /// For no more tokens than there is time for: what is offered, priced, run and replayed.
    pub(crate) request: ChatRequest,
    /// Whether those are fewer than were asked for.
    pub(crate) is_capped: bool,
    /// If the answer is to be one that a contract can read.
    pub(crate) public: Option<Publicly>,
    pub(crate) prompt: Prompt,
    /// What the guard is to judge first, if there is one.
    pub(crate) guarded: Option<Conversation>,
    pub(crate) served: Arc<Served>,
    pub(crate) asked: Asked,
}

impl Quote {
    /// What a payment may answer: the offers of the current bucket and of the one before. The others are made here, because whoever does not
    /// pay needs no second ones.
    /// None outlives the list that it names.
    pub(crate) fn candidates(&self, serving: &Serving) -> Vec<Candidate> {
        let offers = self.current.iter().map(|candidate| candidate.offer.clone()).collect();
        let previous = self.counted.asked.offered(serving.keys(), self.bucket.saturating_sub(1), offers);
        let until = self.list.as_ref().map_or(UnixMs(u64::MAX), |taken| taken.signed.list.until);
        self.current.iter().cloned().chain(previous).filter(|candidate| candidate.offer.valid_until <= until).collect()
    }

    /// The offer of the current bucket that is paid by this scheme.
    pub(crate) fn current(&self, scheme: Scheme) -> Option<&Candidate> {
        self.current.iter().find(|candidate| candidate.offer.scheme == scheme)
    }

    /// The request, as the offers of the current bucket commit to it.
    pub(crate) fn request_commitment(&self) -> Hash32 {
        self.current.first().map(|candidate| candidate.offer.request_commitment).unwrap_or_default()
    }

    /// Whether the price is of this list, or of none.
    pub(crate) fn is_by(&self, list: Option<&Arc<Taken>>) -> bool {
        self.list.as_ref().map(|taken| taken.digest) == list.map(|taken| taken.digest)
    }
}

impl Quote {
    /// Whether this offer is ours and of this very request, whenever it was made.
    // The signature comes first: an offer that this key did not sign names whatever a stranger likes, and by it they could test guesses of
    // somebody's old prompt for as long as the boot lasts.
    pub(crate) fn is_answered_by(&self, keys: &BootKeys, signed: &SignedOffer) -> bool {
        self.counted.asked.is_of(keys, signed)
    }
}

/// The request as it was sent: what an offer, or a receipt, commits to.
pub(crate) struct Asked {
    method: String,
    path: String,
    body: Bytes,
    names_seed: bool,
}

impl Asked {
    /// The commitment to it under this salt.
    pub(crate) fn commitment(&self, salt: &Hash32) -> Hash32 {
        request_commitment(salt, &self.method, &self.path, &self.body)
    }

    fn is_of(&self, keys: &BootKeys, signed: &SignedOffer) -> bool {
        let offer = &signed.offer;
        if signer(&Libsecp, &offer.digest(), &signed.signature) != Some(keys.k_sig()) {
            return false;
        }
        let salt = keys.request_salt(bucket_of_offer(offer.valid_until), &self.method, &self.path, &self.body);
        self.commitment(&salt) == offer.request_commitment
    }

    /// These offers with what depends on the bucket.
    fn offered(&self, keys: &BootKeys, bucket: u64, offers: Vec<Offer>) -> Vec<Candidate> {
        let request_salt = keys.request_salt(bucket, &self.method, &self.path, &self.body);
        let request_commitment = self.commitment(&request_salt);
        let seed_commitment = match self.names_seed {
            true => Hash32::ZERO,
            false => seed_commitment(&keys.seed_share(&request_commitment)),
        };
        let valid_until = UnixSeconds(bucket.saturating_mul(BUCKET_SECONDS)).saturating_add(HONOURED_SECONDS).ms();
        let of_bucket = |offer| Candidate { offer: Offer { request_commitment, seed_commitment, valid_until, ..offer }, request_salt };
        offers.into_iter().map(of_bucket).collect()
    }
}

/// Reads and counts a request. Nothing is priced here.
pub(crate) async fn count(serving: &Arc<Serving>, method: &str, path: &str, body: &Bytes) -> Result<Counted, Refusal> {
    let Read { request, public, served, prompt, guarded } =
        if body.len() <= SHORT_MAX { read(serving, body)? } else { read_long(serving, body).await? };
    // The same for this request as long as the boot lasts: the offer that a payment answers is made again.
    let asked_tokens = request.max_tokens;
    let judging_ms = serving.guard().zip(guarded.as_ref()).map_or(0, |(guard, conversation)| guard.milliseconds(conversation));
    let cap_ms = serving.config().generation_cap_s.saturating_mul(1000).saturating_sub(judging_ms);
    if cap_ms == 0 {
        let message =
            "The guard of this node would need all the time of an answer for this conversation. Please reduce the length of the messages.";
        return Err(Refusal::new(400, message).code("context_length_exceeded").param("messages"));
    }
    let request = request.capped(served.speed.tokens_within(cap_ms, prompt.tokens()));
    let is_capped = request.max_tokens < asked_tokens;
    let public = public.map(|asked| Publicly { task_hash: asked.task, question_hash: question_hash(method, path, body) });
    let asked = Asked { method: method.to_owned(), path: path.to_owned(), body: body.clone(), names_seed: request.seed.is_some() };
    Ok(Counted { request, is_capped, public, prompt, guarded, served, asked })
}

/// What stands in a request.
struct Read {
    request: ChatRequest,
    public: Option<public::PublicRequest>,
    served: Arc<Served>,
    prompt: Prompt,
    guarded: Option<Conversation>,
}

/// Not on an async worker: others' answers would wait for it.
async fn read_long(serving: &Arc<Serving>, body: &Bytes) -> Result<Read, Refusal> {
    // The place is held until the work is over, also if whoever asked has left: else leaving would be a way to have many done at once.
    let place = serving.reader().await;
    let (serving, body) = (Arc::clone(serving), body.clone());
    let counting = tokio::task::spawn_blocking(move || {
        let _place = place;
        read(&serving, &body)
    });
    counting.await.unwrap_or_else(|_| Err(Refusal::new(500, "The request could not be read.")))
}

fn read(serving: &Serving, body: &[u8]) -> Result<Read, Refusal> {
    let request = ChatRequest::parse(body)?;
    let public = match request.has_candor {
        false => None,
        true => public::asked(body).map_err(|error| ApiError::invalid_value("candor", &error.to_string()))?,
    };
    let served = Arc::clone(serving.model(&request.model).ok_or_else(|| ApiError::model_not_found(&request.model))?);
    let prompt = served.source.prompt(&request)?;
    let guarded = serving.guard().map(|guard| guard.read(&request)).transpose()?;
    Ok(Read { request, public, served, prompt, guarded })
}

/// Prices a request by what its model is sold at. Nothing is signed here.
pub(crate) fn price(serving: &Serving, counted: Counted, in_force: InForce, now: UnixSeconds) -> Result<Quote, Refusal> {
    let InForce { price, list } = in_force;
    let Counted { request, served, prompt, asked, .. } = &counted;
    let prompt_tokens = prompt.tokens();
    let amount = price.ceiling.amount(prompt_tokens, request.max_tokens.into());
    // An offer of nothing is never made: what costs nothing is given without one.
    let amount = amount.filter(|amount| *amount != Amount::ZERO);
    let amount = amount.ok_or_else(|| Refusal::new(400, "The price of this request is larger than any amount, or nothing."))?;
    let terms = serving.terms();
    // check_consistent at boot: every price names a listed asset.
    let asset = terms.asset(price.chain_id, &price.asset).ok_or_else(|| Refusal::new(500, "the terms' price names no asset"))?;
    let (chain, k_sig) = (terms.chain(price.chain_id), serving.keys().k_sig());
    let ways = Through::all_of_terms(&chain, &k_sig);
    let required = |through| Requirements {
        through,
        network: Eip155(price.chain_id),
        asset: price.asset,
        pay_to: terms.payee,
        amount,
        max_timeout_seconds: MAX_TIMEOUT_SECONDS,
        token_name: asset.name.clone(),
        token_version: asset.version.clone(),
    };
    let requirements: Vec<Requirements> = ways.map(required).collect();
    let offer = |required: &Requirements| Offer {
        manifest_hash: serving.manifest_hash(),
        request_commitment: Hash32::ZERO,
        model_id: served.digest,
        scheme: required.through.scheme(),
        payee: required.pay_to,
        asset: required.asset,
        chain_id: required.network.0,
        settler: required.through.settler(),
        amount: required.amount,
        prompt_tokens,
        max_tokens: request.max_tokens.into(),
        seed_commitment: Hash32::ZERO,
        valid_until: UnixMs(0),
        price_list_hash: list.as_ref().map(|taken| taken.digest).unwrap_or_default(),
        price_list_number: list.as_ref().map_or(0, |taken| taken.signed.list.number),
    };
    let bucket = bucket_of(now);
    let current = asked.offered(serving.keys(), bucket, requirements.iter().map(offer).collect());
    let (frames, bytes) = served.source.answer_max(request);
    // A frame that no bundle holds is in no blob either.
    let is_kept = terms.storage & storage::KEEPS_ANSWERS != 0;
    let fits = is_kept && frames <= FRAMES_MAX && (request.stream || bytes <= FRAME_MAX);
    let blob_max = Some(blob_len_max(frames, bytes)).filter(|len| fits && *len <= BLOB_MAX).and_then(|len| u64::try_from(len).ok());
    let generation_seconds = serving.config().generation_cap_s;
    Ok(Quote { blob_max, list, classes: price.ceiling, counted, requirements, current, generation_seconds, bucket })
}

/// The 402 for a quote: requirements, and the signed offers of the current bucket.
pub(crate) fn payment_required(serving: &Serving, quote: &Quote, path: &str, error: &str) -> PaymentRequired {
    let sign = |Candidate { offer, request_salt }: &Candidate| SignedOffer {
        offer: offer.clone(),
        signature: serving.keys().sign_offer(offer),
        request_salt: *request_salt,
    };
    let signed = SignedOffers::new(quote.current.iter().map(sign).collect());
    // Without randomness no salt is told, and then nothing is kept.
    let kept = quote.blob_max.filter(|bytes| serving.answers().may_keep(*bytes, clock::now()));
    let recovery = match kept.map(|_| random32()) {
        Some(Ok(salt)) => AnswerRecovery::Echo { salt: Hash32(*salt) },
        Some(Err(_)) | None => AnswerRecovery::None,
    };
    // Absolute, and from the signed terms: never from a Host header.
    let base = serving.terms().endpoints.first().map(|url| url.trim_end_matches('/')).unwrap_or_default();
    PaymentRequired {
        x402_version: X402_VERSION,
        error: Some(error.to_owned()),
        resource: ResourceInfo {
            url: format!("{base}{path}"),
            description: Some(format!("One answer of {} with its receipt", quote.counted.served.id)),
            mime_type: Some(if quote.counted.request.stream { "text/event-stream" } else { "application/json" }.to_owned()),
        },
        accepts: quote.requirements.iter().map(Requirements::to_entry).collect(),
        extensions: Some(with_permits(signed.to_extensions(&recovery), &quote.requirements)),
    }
}

#[cfg(test)]
mod tests {
    use candor_testkit::honest::offer;

    use super::*;

    /// The attack: a made-up offer of an old bucket asks whether somebody's prompt was this one.
    #[test]
    fn an_offer_is_of_a_request_only_under_the_key_of_the_boot() {
        let keys = BootKeys::generate().unwrap();
        let asked = |body| Asked { method: "POST".into(), path: "/x".into(), body: Bytes::from_static(body), names_seed: true };
        let told = &asked(b"{}").offered(&keys, 9, vec![offer()])[0];
        let by = |keys: &BootKeys| {
            let signature = keys.sign_offer(&told.offer);
            SignedOffer { offer: told.offer.clone(), signature, request_salt: told.request_salt }
        };
        assert!(asked(b"{}").is_of(&keys, &by(&keys)));
        assert!(!asked(b"{ }").is_of(&keys, &by(&keys)), "of another body");
        assert!(!asked(b"{}").is_of(&keys, &by(&BootKeys::generate().unwrap())), "of a stranger's making");
    }

    #[test]
    fn the_offer_of_a_bucket_comes_out_again_from_that_of_the_next() {
        let keys = BootKeys::generate().unwrap();
        let asked = |names_seed| Asked { method: "POST".into(), path: "/x".into(), body: Bytes::from_static(b"{}"), names_seed };
        for names_seed in [false, true] {
            let of = |bucket, offer: Offer| asked(names_seed).offered(&keys, bucket, vec![offer]).remove(0);
            let (told, next) = (of(9, offer()), of(10, offer()));
            assert_eq!(of(9, next.offer.clone()), told);
            assert_eq!((told.offer.valid_until, next.offer.valid_until), (UnixMs(660_000), UnixMs(720_000)));
            assert!(told.request_salt != next.request_salt && told.offer.request_commitment != next.offer.request_commitment);
            assert_eq!(told.offer.seed_commitment.is_zero(), names_seed);
            let commitment = request_commitment(&told.request_salt, "POST", "/x", b"{}");
            assert_eq!(told.offer, Offer { request_commitment: commitment, ..told.offer.clone() });
        }
    }
}
