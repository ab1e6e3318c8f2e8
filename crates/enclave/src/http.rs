//! Routes of the API, inside TLS that ends here.
//!
//! | route | what |
//! |---|---|
//! | `POST /v1/chat/completions` | an answer, paid with x402, or for nothing where the terms say so |
//! | `GET /v1/models` | what is served, at which price |
//! | `GET /v1/receipts/{id}[?prefix=k]` | a receipt from the host's store, with proofs |
//! | `GET /candor/evidence[?nonce=0x…]` | evidence of this enclave |
//! | `GET /candor/evidence/{manifest hash}[?at=ms]` | evidence of a former boot |
//! | `GET /candor/price-list[/{hash}]` | the price list in force, or one that an offer named lately |
//! | `DELETE /candor/answer` | the client has the answer to the payment beside it: it need not be kept any longer |
//! | `GET /health` | whether a receipt could be stored |
//!
//! HEAD is answered as GET without its body, OPTIONS as browsers want it. Errors have OpenAI's shape. Nothing here logs. Every read has a
//! limit and a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use candor_engine::chat::MAX_BODY_BYTES;
use candor_link::{EnclaveCounter, EnclaveRequest, HostReply};
use candor_verify::bytes::Hash32;
use candor_x402::Libsecp;
use candor_x402::discovery::{CANDOR_PATH, EVIDENCE_PATH, X402_PATH, candor_document, x402_document};
use candor_x402::protocol::{HEADER_PAYMENT_SIGNATURE, PaymentPayload, ProtocolError, parse_payment_payload, parse_single_header};
use candor_x402::recovery::signed_by_payer;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use tokio::sync::{mpsc, oneshot};

use crate::access::{self, Brings};
use crate::answer::{Gift, Job, Right, Whole};
use crate::body::ApiBody;
use crate::caps::Whom;
use crate::clock;
use crate::handout::{self, Found};
use crate::kept::{Keep, Sought};
use crate::keys::Salts;
use crate::ledger::LedgerError;
use crate::pay::{self, Paid};
use crate::queue::Pays;
use crate::quote::{self, Counted, Quote};
use crate::refusal::{self, Quoted, Refusal};
use crate::reply::{self, ApiResponse};
use crate::serving::{Ended, Serving};
use crate::session::Session;
use crate::shares::Who;
use crate::views;

/// A body that trickles is cut off.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

const CHAT: &str = candor_verify::public::PATH;

const ANSWER: &str = "/candor/answer";

/// Before the name of a price list.
const PRICE_LISTS: &str = "/candor/price-list/";

/// How long the host may take to erase an answer.
const ERASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers one request.
pub(crate) async fn route(session: Arc<Session>, request: Request<Incoming>) -> Result<ApiResponse, Infallible> {
    session.serving().metrics().count(EnclaveCounter::Requests);
    let answered = dispatch(&session, request).await;
    let response = reply::for_any_origin(answered.unwrap_or_else(|refusal| reply::refused(&refusal)));
    Ok(reply::of_boot(response, &session.serving().manifest_hash()))
}

async fn dispatch(session: &Session, request: Request<Incoming>) -> Result<ApiResponse, Refusal> {
    let serving = session.serving();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    // The body of an answer to HEAD is left out by hyper.
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    match (&method, path.as_str()) {
        (&Method::OPTIONS, _) => Ok(reply::preflight()),
        (&Method::POST, CHAT) => chat(session, request).await,
        (&Method::GET, "/v1/models") => Ok(views::models(serving)),
        (&Method::GET, "/candor/price-list") => views::price_list(serving, None),
        (&Method::GET, EVIDENCE_PATH) => evidence(session, &query).await,
        (&Method::GET, "/health") => Ok(views::health(serving)),
        (&Method::GET, CANDOR_PATH) => Ok(reply::json(&candor_document(serving.terms(), serving.manifest()))),
        (&Method::GET, X402_PATH) => Ok(reply::json(&x402_document(serving.terms()))),
        (&Method::DELETE, ANSWER) => received(session, request.headers()).await,
        (_, CHAT) => Err(Refusal::not_allowed("OPTIONS, POST")),
        (_, ANSWER) => Err(Refusal::not_allowed("DELETE, OPTIONS")),
        (_, "/v1/models" | EVIDENCE_PATH | "/candor/price-list" | "/health" | CANDOR_PATH | X402_PATH) => {
            Err(Refusal::not_allowed("GET, HEAD, OPTIONS"))
        }
        (&Method::GET, path) if path.starts_with(PRICE_LISTS) => views::price_list(serving, path.strip_prefix(PRICE_LISTS)),
        (&Method::GET, path) => {
            match (path.strip_prefix("/v1/receipts/"), path.strip_prefix(EVIDENCE_PATH).and_then(|rest| rest.strip_prefix('/'))) {
                (Some(id), _) => views::receipt(serving, id, &query).await,
                (None, Some(manifest)) => views::former_evidence(serving, manifest, &query).await,
                (None, None) => Err(unknown_url()),
            }
        }
        _ => Err(unknown_url()),
    }
}

fn unknown_url() -> Refusal {
    Refusal::new(404, "Unknown request URL.")
}

/// Current evidence, or evidence made for a challenge.
async fn evidence(session: &Session, query: &str) -> Result<ApiResponse, Refusal> {
    let Some(nonce) = query.strip_prefix("nonce=") else {
        return Ok(views::evidence(session.serving()));
    };
    let Some(nonce) = Hash32::from_hex(nonce).filter(|nonce| !nonce.is_zero()) else {
        return Err(Refusal::new(400, "nonce must be 0x and 64 hex digits, not all zero."));
    };
    session.challenged()?;
    views::fresh_evidence(session.boot(), session.serving(), nonce).await
}

/// A chat request, read to its end.
struct Asked {
    path: String,
    body: Bytes,
    /// What opens the node without a payment; not looked at beside one.
    brings: Brings,
    /// The payment header, believed in nothing. Whoever pays badly is quoted like whoever does not pay.
    payment: Option<Result<PaymentPayload, ProtocolError>>,
}

/// A request and what became of it; if it carried a payment and is refused, with a word of the enclave that says so.
async fn chat(session: &Session, request: Request<Incoming>) -> Result<ApiResponse, Refusal> {
    let asked = read(session, request).await?;
    let paid = asked.payment.as_ref().and_then(|payment| payment.as_ref().ok()).cloned();
    let mut quoted = None;
    let response = answer(session, asked, &mut quoted).await.unwrap_or_else(|refusal| reply::refused(&refusal));
    Ok(match (paid, quoted, reply::refusal_of(&response)) {
        (Some(payment), Some(quoted), Some(said)) => match refusal::sign(session, &quoted, &payment, said) {
            Some(signed) => reply::with_refusal(response, &signed),
            None => response,
        },
        _ => response,
    })
}

/// From a request to its answer: the one that is kept for it, or a quote, or a claim and a new answer. Says if it came as far as a quote.
async fn answer(session: &Session, asked: Asked, quoted: &mut Option<Quoted>) -> Result<ApiResponse, Refusal> {
    let serving = session.serving();
    let sought = asked.payment.iter().flatten().find_map(|payment| Sought::of(payment, &asked.path, &asked.body));
    // Equal requests are dealt with one at a time, until the payment is claimed or refused.
    let look = sought.as_ref().map(|sought| serving.answers().look_for(sought.answer_id()).ok_or_else(in_flight));
    let look = look.transpose()?;
    // Before any other check: whoever paid for this answer gets it, whatever has changed since.
    let room = match &sought {
        None => 0,
        Some(sought) => match handout::find(serving, sought).await? {
            // Who has an answer may have it again, and not without end.
            Found::Response(response) => {
                session.quoted()?;
                return Ok(reply::held(*response, look));
            }
            Found::Nothing { room } => {
                // Strangers make up headers.
                session.quoted()?;
                serving.answers().has_room(room, clock::now());
                room
            }
        },
    };
    if let Err(why) = serving.takes_work(pay::names_own_offer(serving, asked.payment.as_ref())) {
        return Err(ended(session, asked.payment.as_ref(), why));
    }
    if serving.ledger().is_over() {
        return Err(LedgerError::Closed.into());
    }
    // A request that is refused was read all the same, so it counts like one that is quoted.
    let refused = |refusal| session.quoted().err().unwrap_or(refusal);
    let counted = quote::count(serving, "POST", &asked.path, &asked.body).await.map_err(refused)?;
    let price = serving.price(&counted.served, pay::list_echoed(asked.payment.as_ref()));
    let costs_nothing = price.as_ref().is_some_and(|in_force| in_force.price.ceiling.is_free());
    let granted = access::grant(session, asked.brings, costs_nothing);
    let price = match (granted, price.filter(|_| !costs_nothing)) {
        (Some(_), _) if asked.payment.is_some() => return Err(refused(access::not_sold())),
        (Some(who), _) => return free(session, counted, who).await,
        (None, Some(price)) => price,
        (None, None) if asked.payment.is_some() => return Err(refused(access::not_sold())),
        (None, None) => return Err(refused(access::key_needed())),
    };
    let quote = quote::price(serving, counted, price, clock::now().seconds()).map_err(refused)?;
    *quoted = Some(Quoted { request_commitment: pay::offer_named(serving, &quote, asked.payment.as_ref()) });
    let Some(payment) = asked.payment else {
        let refusal = Refusal::new(402, "This request must be paid for.").code("payment_required");
        return unpaid(session, &quote, &asked.path, &refusal);
    };
    serving.ledger().has_room()?;
    let elsewhere = pay::perhaps_elsewhere(serving, &payment);
    match pay::claim(serving, &quote, payment, || reserve(serving, &quote, sought.as_ref(), room)).await {
        // The connection was ended for another one while the chain was asked: a claim would charge for an answer that nobody reads.
        Ok((paid, _)) if !session.paid() => {
            serving.release(paid.claim);
            Err(LedgerError::NotNow.into())
        }
        Ok((paid, keep)) if quote.counted.request.stream => Ok(stream(session, quote, paid, keep).await),
        Ok((paid, keep)) => Ok(whole(session, quote, paid, keep).await),
        Err(refusal) => {
            // Taken before: it may have been finished since it was looked for above.
            if refusal.is_taken()
                && let Some(sought) = &sought
                && let Found::Response(response) = handout::find(serving, sought).await?
            {
                return Ok(reply::held(*response, look));
            }
            if refusal.wants_payment() {
                pay::check_elsewhere(serving, elsewhere).await?;
            }
            match refusal.wants_payment() {
                // An offer would promise what another boot sells now.
                true if serving.takes_work(false) == Err(Ended::HandedOver) => Err(Ended::HandedOver.into()),
                true => unpaid(session, &anew(serving, quote)?, &asked.path, &refusal),
                false => Err(refusal),
            }
        }
    }
}

/// At the price that is in force: what was refused may have been offered by a list that no other offer is made by.
fn anew(serving: &Serving, quote: Quote) -> Result<Quote, Refusal> {
    match serving.price(&quote.counted.served, None) {
        Some(in_force) if !quote.is_by(in_force.list.as_ref()) => quote::price(serving, quote.counted, in_force, clock::now().seconds()),
        Some(_) | None => Ok(quote),
    }
}

/// No new work: a payment that was taken before is told so, and no other is asked for.
fn ended(session: &Session, payment: Option<&Result<PaymentPayload, ProtocolError>>, why: Ended) -> Refusal {
    if let Err(refusal) = session.quoted() {
        return refusal;
    }
    let signed = payment.and_then(|payment| signed_by_payer(payment.as_ref().ok()?, &Libsecp));
    match signed.map(|signed| session.serving().check_taken(&signed.payment_id)) {
        Some(Err(taken)) => taken.into(),
        Some(Ok(())) | None => why.into(),
    }
}

fn in_flight() -> Refusal {
    Refusal::under_way("This payment is being dealt with. Send the same request with it again.").code("candor_payment_in_flight")
}

/// A place for the answer, before anything runs: one that cannot be kept could be paid for and lost.
fn reserve(serving: &Serving, quote: &Quote, sought: Option<&Sought>, room: u64) -> Result<Option<Keep>, Refusal> {
    let (Some(sought), Some(bytes)) = (sought, quote.blob_max) else { return Ok(None) };
    let Some(place) = serving.answers().reserve(bytes, room) else {
        let message = "There is no room to keep another answer now. Nothing was charged; try again later.";
        return Err(Refusal::new(402, message).code("answer_store_full"));
    };
    Keep::new(sought.clone(), place).map(Some).map_err(|_| Refusal::new(500, "The system gives no randomness."))
}

/// 402 with a signed offer; bounded per connection.
fn unpaid(session: &Session, quote: &Quote, path: &str, refusal: &Refusal) -> Result<ApiResponse, Refusal> {
    session.quoted()?;
    session.serving().metrics().count(EnclaveCounter::Quotes);
    Ok(reply::unpaid(session.serving(), quote, path, refusal))
}

/// An answer that nobody pays for: let in as a share of such work, in its turn, and made at once.
async fn free(session: &Session, counted: Counted, who: Who) -> Result<ApiResponse, Refusal> {
    let serving = session.serving();
    // Not ended for another one while it waits and is answered.
    let is_there = match who {
        // Whom the terms name may come back for as long as they like.
        Who::Key(_) => session.paid(),
        Who::Address(_) => {
            session.quoted()?;
            session.serves_free()
        }
    };
    serving.ledger().has_room()?;
    let share = access::enter(session, who)?;
    let whom = match who {
        Who::Key(number) => Whom::Key(number),
        Who::Address(party) => Whom::At(party),
    };
    serving.caps().enter(whom, clock::now())?;
    let waited = tokio::time::timeout(serving.config().free_wait_max, serving.place(Pays::Nobody)).await;
    let place = waited.ok().flatten().filter(|_| is_there).ok_or_else(access::busy)?;
    // Again: its turn may have come late.
    if let Err(why) = serving.takes_work(false) {
        return Err(ended(session, None, why));
    }
    let salts = Salts::random().map_err(|_| Refusal::new(500, "The system gives no randomness."))?;
    serving.metrics().count(EnclaveCounter::Free);
    let (is_stream, capped) = (counted.request.stream, counted.is_capped.then_some(counted.request.max_tokens));
    let (job, right) = Job::free(Arc::clone(serving), session.channel(), Gift { counted, place, share, salts, whom });
    let ids = job.ids();
    if is_stream {
        return Ok(match streaming(job, right).await {
            Ok(body) => reply::free_stream(body, &ids, capped),
            Err(ended) => reply::free_whole(serving, ended, &ids, capped),
        });
    }
    // Held here, and not by the task: if the client hangs up, the engine stops. It has lost nothing, and nobody waits for it.
    let (heartbeats, _held) = mpsc::channel(1);
    let ended = tokio::spawn(job.judged_whole(right, heartbeats)).await.unwrap_or(Whole::NotLogged);
    Ok(reply::free_whole(serving, ended, &ids, capped))
}

async fn stream(session: &Session, quote: Quote, paid: Paid, keep: Option<Keep>) -> ApiResponse {
    let is_kept = keep.is_some();
    let (job, right) = Job::paid(Arc::clone(session.serving()), session.channel(), quote, paid, keep);
    let ids = job.ids();
    match streaming(job, right).await {
        Ok(body) => reply::stream(body, &ids, is_kept),
        Err(ended) => reply::whole(session.serving(), ended, &ids),
    }
}

/// The body of a stream, once the guard lets it pass; or what became of it. One task judges and answers: a client that hangs up meanwhile ends the
/// work, and what was claimed for it.
async fn streaming(job: Job, right: Right) -> Result<ApiBody, Whole> {
    let (sender, items) = mpsc::channel(1);
    let (passes, passed) = oneshot::channel();
    let taken = Arc::new(AtomicU64::new(0));
    let body = ApiBody::Stream { items, taken: Arc::clone(&taken) };
    tokio::spawn(async move {
        match job.judged(right).await {
            Ok((job, right)) => {
                drop(passes.send(Ok(())));
                job.stream(right, sender, taken).await;
            }
            Err(ended) => drop(passes.send(Err(ended))),
        }
    });
    passed.await.unwrap_or(Err(Whole::NotLogged)).map(|()| body)
}

async fn whole(session: &Session, quote: Quote, paid: Paid, keep: Option<Keep>) -> ApiResponse {
    let serving = session.serving();
    let (job, right) = Job::paid(Arc::clone(serving), session.channel(), quote, paid, keep);
    let ids = job.ids();
    // Its own task: a client that hangs up does not undo a claim or lose an answer that will be charged.
    let ended = tokio::spawn(async move {
        let (heartbeats, _held) = mpsc::channel(1);
        job.judged_whole(right, heartbeats).await
    });
    let ended = ended.await.unwrap_or(Whole::NotLogged);
    reply::whole(serving, ended, &ids)
}

/// The client has the answer to this payment. Whoever knows its salt may say so.
async fn received(session: &Session, headers: &HeaderMap) -> Result<ApiResponse, Refusal> {
    session.quoted()?;
    let payment = payment_header(headers)?.and_then(Result::ok);
    let answer_id = payment.as_ref().and_then(Sought::id_of);
    let answer_id = answer_id.ok_or_else(|| Refusal::new(400, "The payment header names no answer."))?;
    match session.serving().port().request(EnclaveRequest::AckAnswer { answer_id }, ERASE_TIMEOUT).await {
        Ok(HostReply::AnswerErased) => Ok(reply::done()),
        Ok(_) | Err(_) => Err(Refusal::unavailable("The answer could not be erased now; it will be after its time.")),
    }
}

async fn read(session: &Session, request: Request<Incoming>) -> Result<Asked, Refusal> {
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        return Err(Refusal::new(415, "The content type must be application/json."));
    }
    // Before the body: who has the wrong key sends no more than that.
    let brings = match head.headers.contains_key(HEADER_PAYMENT_SIGNATURE) {
        true => Brings::Nothing,
        false => {
            access::key_of(&session.serving().terms().access, &head.headers).map_err(|refusal| session.quoted().err().unwrap_or(refusal))?
        }
    };
    let path = head.uri.path_and_query().map_or(CHAT, |path| path.as_str()).to_owned();
    let body = read_body(body).await?;
    let payment = payment_header(&head.headers)?;
    Ok(Asked { path, body, brings, payment })
}

fn payment_header(headers: &HeaderMap) -> Result<Option<Result<PaymentPayload, ProtocolError>>, Refusal> {
    let header = parse_single_header(headers.get_all(HEADER_PAYMENT_SIGNATURE).iter().map(HeaderValue::as_bytes))?;
    Ok(header.map(parse_payment_payload))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
    let limited = Limited::new(body, MAX_BODY_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(refused)) if refused.is::<http_body_util::LengthLimitError>() => {
            Err(Refusal::new(413, format!("The request body has more than {MAX_BODY_BYTES} bytes.")))
        }
        Ok(Err(_)) => Err(Refusal::new(400, "The request body could not be read to its end.")),
        Err(_) => Err(Refusal::new(408, "The request body took too long.")),
    }
}
