//! One question: quote, check the quote, pay once, read the answer, verify everything, keep the bundle. What costs nothing comes at once
//! (`free`).
//!
//! The offer is checked against the verified evidence before anything is signed; the answer is shown as it streams but is not called
//! verified before the last frame's delivery has been judged with the rest. Every answer is kept, a refused one as evidence. A payment that
//! was sent and not answered, or answered with what was refused, is *unresolved* until its deadline:
//! whoever asks the same again sends that payment again, to the boot that it names, and makes no other (ADR 0005). If it echoed the salt of
//! its answer, any boot of the same payee that passes the policy may have the answer, and is asked too: it cannot run the request, and what it
//! hands out is judged by the evidence of the boot that made it (recovery.md).
//! A chain that is in trouble is found out before: then nothing is signed, and nothing is unresolved.

use std::path::PathBuf;
use std::time::Duration;

use candor_verify::bundle::{Bundle, Request, Response, Sale};
use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::check::{ChainFacts, VerifiedBundle, verify_bundle_at};
use candor_verify::delivery::Delivery;
use candor_verify::eip712::K256;
use candor_verify::evidence::Evidence;
use candor_verify::hash::sha256;
use candor_verify::offer::Offer;
use candor_verify::policy::Policy;
use candor_verify::receipt::{Outcome, Receipt};
use candor_verify::terms::SignedPriceList;
use candor_verify::text::one_line;
use candor_verify::time::UnixSeconds;
use candor_verify::transcript::unsplice;
use candor_verify::verdict::{LogLevel, Verdict};
use candor_x402::Libsecp;
use candor_x402::client::{Choice, Purchase, Resolution, Seller, SentPayment, SpendPolicy, build_payment, check_statement};
use candor_x402::discovery::EVIDENCE_PATH;
use candor_x402::protocol::{HEADER_PAYMENT_RESPONSE, HEADER_PAYMENT_SIGNATURE, parse_single_header};
use candor_x402::scheme::ToSign;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::Instant;

use crate::caller::{Budget, Caller};
use crate::clock;
use crate::error::ClientError;
use crate::free::{self, AccessKey};
use crate::http::{SseEvent, SseSplitter, is_event_stream, next_chunk};
use crate::keep::Keep;
use crate::left::Left;
use crate::own_chain::{ChainIsWell, OwnChain};
use crate::quote::{Told, ask_unpaid, named_list, no_wallet};
use crate::resolve::{VerifiedNode, random32};
use crate::send::{PENDING_SECONDS, Paid, Tries, send_paid};
use crate::signer::SignerError;
use crate::spend::{By, InFlight, SpendBook};
use crate::wallet::Wallet;

/// Seconds after the payment's end from which a node that knows of no answer is believed: no chain's clock is so far behind that it could still
/// wait for the transfer.
const GONE_SECONDS: u64 = 180;

/// An offer that somebody thought about for so long is asked for anew: its end is near.
const APPROVAL_MAX: Duration = Duration::from_secs(5);

/// Where an answer is said to have arrived.
const RECEIVED_PATH: &str = "/candor/answer";

/// The one route that is paid for.
pub const CHAT_PATH: &str = candor_verify::public::PATH;

/// What a caller sees while an answer arrives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The quote was checked and is about to be paid.
    Paying(&'a Choice),
    /// A frame as the node sent it, for whoever forwards them. The last one comes without the delivery.
    Frame(&'a [u8]),
    /// The whole body of an answer that was not streamed.
    Body(&'a [u8]),
    /// This payment is about to be sent. From here on it may be charged.
    Sent(&'a SentPayment),
    /// What was paid is not answered: the same payment is sent again.
    Troubled(&'a ClientError),
    /// It is being answered, or worked on: the trouble is over, if there was any.
    Reached,
}

/// Whether a request may be paid for while an earlier payment for it is unresolved. Both may be charged.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum Again<'a> {
    /// Never: whoever may have the answer is sent the earlier payment.
    No,
    /// Beside payments that were left unanswered, as many as the policy allows (`max_unresolved`).
    Beside(&'a Left),
    /// Always: the caller knows what it costs.
    Always,
}

/// An answer that was verified, with everything that shows it. The fact is in `verified`; only this crate puts one together:
///
/// ```compile_fail,E0639
/// fn forge(real: candor_client::VerifiedResponse, text: String) -> candor_client::VerifiedResponse {
///     candor_client::VerifiedResponse { text, ..real }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn make<T: Default>() -> T { T::default() }
/// let forged: candor_client::VerifiedResponse = make();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifiedResponse {
    /// The bundle to keep.
    pub bundle: Bundle,
    /// Every check.
    pub verdict: Verdict,
    /// What was verified.
    pub verified: VerifiedBundle,
    /// Text of the answer.
    pub text: String,
    /// Id under which the node gives the receipt again.
    pub receipt_id: String,
    /// Where it is kept; `None` if nothing is.
    pub path: Option<PathBuf>,
}

/// Several asks for one answer, of which one is enough.
pub trait Race: std::fmt::Debug + Sync {
    /// Whether another ask has the answer, so that this one must pay for nothing.
    fn is_lost(&self) -> bool;
}

/// Who pays, how much at most, and what counts as verified.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "what an ask needs")]
pub struct Buyer<'a> {
    /// Asked before anything is signed.
    pub chain: &'a OwnChain,
    /// Signs payments. `None` gets what costs nothing.
    pub wallet: Option<&'a Wallet>,
    /// Opens nodes whose terms list it. Who shows one does not pay.
    pub key: Option<&'a AccessKey>,
    /// Remembers payments across runs.
    pub book: &'a SpendBook,
    /// Assets and caps. Only the attested payee is ever paid.
    pub spend: &'a SpendPolicy,
    /// What counts as verified.
    pub policy: &'a Policy,
    /// Where answers are kept.
    pub keep: &'a Keep,
    /// Whether to pay while an earlier payment for the same request is unresolved.
    pub again: Again<'a>,
    /// Who asks through a proxy that has keys, and may spend so much; `None` is bound by `spend` alone.
    pub caller: Option<&'a Caller>,
    /// What this ask is one of, if others are asked for the same answer.
    pub race: Option<&'a dyn Race>,
}

/// Asks a verified node and verifies the answer.
///
/// # Errors
/// Every variant of [`ClientError`] says whether anything was paid.
pub async fn ask(
    node: &mut VerifiedNode,
    buyer: &Buyer<'_>,
    body: &[u8],
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<VerifiedResponse, ClientError> {
    ask_if(node, buyer, body, &mut |_| Ok(()), on_progress).await
}

/// The same, if the price is approved. Whoever approves may take their time: of an offer that grew old meanwhile another is asked for, and is
/// shown again if it is dearer.
///
/// # Errors
/// As of [`ask`]; what `approve` says, and then nothing was paid.
pub async fn ask_if(
    node: &mut VerifiedNode,
    buyer: &Buyer<'_>,
    body: &[u8],
    approve: &mut (dyn FnMut(&Offer) -> Result<(), ClientError> + Send),
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<VerifiedResponse, ClientError> {
    node.reconnect().await?;
    let key = free::shown_to(node, buyer.key)?;
    let request = request_key(body, buyer.caller);
    let seller = Seller { boot: node.enclave.manifest().hash(), payee: node.enclave.manifest().payee };
    // The lock says to everybody else that this payment is waited for; it lasts as long as this function.
    let resumed = match buyer.again {
        Again::Always => None,
        Again::No => buyer.book.resume(&request, &seller)?,
        // What holds the request counts as left when another payment is reserved.
        Again::Beside(_) => match buyer.book.resume(&request, &seller) {
            Err(ClientError::Held { .. }) => None,
            resumed => resumed?,
        },
    };
    if let Some((sent, _in_flight)) = &resumed {
        // It may have been written down and never sent: then this is the first time that its price counts.
        approve(&sent.signed_offer().offer)?;
    }
    if let Some((sent, _in_flight)) = &resumed
        && let Some(response) = redeem(node, buyer, sent, None, body, Tries::UntilItsEnd, on_progress).await?
    {
        return Ok(response);
    }
    let mut approved: Option<Offer> = None;
    let (choice, price_list, wallet, well) = loop {
        let (asked, well) = tokio::join!(ask_unpaid(node, buyer, body, key.clone()), buyer.chain.check());
        let (choice, price_list) = match asked? {
            // Nothing is signed, so no chain needs to be well.
            Told::Given(response) => return free::take(node, buyer, response, body, on_progress).await,
            Told::Priced(priced) => *priced,
        };
        let (wallet, well) = (buyer.wallet.ok_or_else(no_wallet)?, well?);
        let offer = &choice.signed_offer().offer;
        if approved.as_ref().is_some_and(|approved| is_no_dearer(offer, approved)) {
            break (choice, price_list, wallet, well);
        }
        let shown = Instant::now();
        approve(offer)?;
        if shown.elapsed() < APPROVAL_MAX {
            break (choice, price_list, wallet, well);
        }
        approved = Some(offer.clone());
        node.reconnect().await?;
    };
    let budget = buyer.caller.map(|caller| caller.budget(decimals(node, &choice)));
    on_progress(Progress::Paying(&choice));
    let (sent, _in_flight) = sign(buyer, wallet, choice, request, budget.as_ref(), well).await?;
    let given_up = || ClientError::Usage("a payment that was just made is long over: look at the clock of this machine".into());
    redeem(node, buyer, &sent, price_list, body, Tries::UntilItsEnd, on_progress).await?.ok_or_else(given_up)
}

/// Sends a payment for this request once more that nobody waits for and this boot may answer. `None` if there is none, or its answer is not to be
/// had here any more.
pub(crate) async fn take_up(node: &mut VerifiedNode, buyer: &Buyer<'_>, body: &[u8]) -> Result<Option<VerifiedResponse>, ClientError> {
    node.reconnect().await?;
    let seller = Seller { boot: node.enclave.manifest().hash(), payee: node.enclave.manifest().payee };
    let Some((sent, _in_flight)) = buyer.book.resume(&request_key(body, buyer.caller), &seller)? else { return Ok(None) };
    redeem(node, buyer, &sent, None, body, Tries::Once, &mut |_| {}).await
}

/// Decimals of what is paid, by the signed terms.
fn decimals(node: &VerifiedNode, choice: &Choice) -> u8 {
    let requirements = choice.requirements();
    node.enclave.terms().asset(requirements.network.0, &requirements.asset).map_or(0, |asset| asset.decimals)
}

/// Whether an offer asks no more than the one that was approved, of the same money, by the same scheme and for the same payee.
fn is_no_dearer(offer: &Offer, approved: &Offer) -> bool {
    let same = |offer: &Offer| (offer.chain_id, offer.asset, offer.scheme, offer.payee, offer.max_tokens);
    same(offer) == same(approved) && offer.amount <= approved.amount
}

/// Sends a payment until its answer is there, and judges it. `None` if the payment is over and its answer is not to be had here.
async fn redeem(
    node: &mut VerifiedNode,
    buyer: &Buyer<'_>,
    sent: &SentPayment,
    price_list: Option<SignedPriceList>,
    body: &[u8],
    tries: Tries,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Option<VerifiedResponse>, ClientError> {
    let payment = *sent.payment();
    let mut headers = json_headers();
    let value = HeaderValue::from_str(sent.header()).map_err(|_| ClientError::Usage("the payment does not fit a header".into()))?;
    headers.insert(HeaderName::from_static(HEADER_PAYMENT_SIGNATURE), value);
    let (payment_id, until) = (sent.payment_id(), payment.authorization.valid_before);
    let refused = |check, what, kept| ClientError::RefusedAnswer { check, what, kept, payment_id, until };
    // The payment is out: whatever is said from here on, only the chain or the deadline tells whether it is charged.
    let mut signed_refusal = None;
    on_progress(Progress::Sent(sent));
    let paid = Paid { headers: &headers, body, sent, book: buyer.book, tries };
    let answer = match send_paid(node, &paid, &mut signed_refusal, on_progress).await {
        Ok(response) => {
            // A node that gives a byte now and then must not hold its client for ever.
            let left = Duration::from_secs(until.saturating_add(PENDING_SECONDS).0.saturating_sub(clock::now().seconds().0));
            let endpoint = node.endpoint.authority();
            let slow = |_| Err(ClientError::Unreachable { endpoint, what: "the answer did not end in the time of its payment".into() });
            tokio::time::timeout(left, read_answer(node, response, on_progress)).await.unwrap_or_else(slow)
        }
        Err(error) if is_gone(until, clock::now().seconds(), &error) => {
            buyer.book.resolve(&payment.authorization.nonce, Resolution::GivenUp)?;
            return Ok(None);
        }
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(ClientError::Dishonest { check, what }) => return Err(refused(check, what, Err("no bundle can be made of it".into()))),
        Err(error) => {
            // Often one cause for both: the chain that the node cannot ask is ours too.
            let trouble = buyer.chain.check().await.err().map(|trouble| format!("; {trouble}")).unwrap_or_default();
            let signed = signed_refusal.map(|said| format!("; {said}")).unwrap_or_default();
            return Err(ClientError::Unresolved { payment_id, until, what: format!("{error}{signed}{trouble}") });
        }
    };
    let (receipt_id, misnamed) = (answer.receipt_id(), answer.misnamed());
    let signed = sent.signed_offer();
    // What the node's guard refused nobody pays for, whatever was sent with it: the verdict judges it so. Nothing else is given for nothing to whoever
    // paid, so nothing else is judged without its payment.
    let is_refused = answer.delivery.receipt.work.outcome == Outcome::RefusedByGuard;
    let (salt, sale) = match answer.delivery.request_salt.filter(|_| is_refused) {
        Some(salt) => (salt, None),
        None => {
            let price_list = match price_list {
                Some(list) => Some(list),
                // Signed for earlier: if it is nowhere to be had any more, the verdict says that the price was not above the ceiling.
                None => named_list(node, &signed.offer).await,
            };
            (signed.request_salt, Some(Sale { offer: signed.offer.clone(), offer_signature: signed.signature, payment, price_list }))
        }
    };
    let bundle = Bundle {
        evidence: evidence_of(node, &answer.delivery.receipt).await,
        request: Request { salt, method: "POST".into(), path: CHAT_PATH.into(), body: body.to_vec() },
        response: Response { seed: answer.seed, frames: answer.frames },
        sale,
        delivery: answer.delivery,
        later_trees: Vec::new(),
    };
    let judged = judge(&bundle, buyer.policy).and_then(|judged| misnamed.map_or(Ok(judged), |what| Err(("response.form", what))));
    let judged = judged.and_then(|judged| match answer.statement.map(|value| check_statement(&value, sent.network())) {
        Some(Err(error)) => Err(("payment.response", error.to_string())),
        Some(Ok(_)) | None => Ok(judged),
    });
    // A refused answer resolves nothing: the payment is as it would be without it, and is held until its deadline.
    let (verdict, verified) = judged.map_err(|(check, what)| refused(check, what, buyer.keep.refused(&bundle, check)))?;
    // Kept before it is resolved: while the answer is not on disk, the same payment can be sent again for it.
    let path = buyer.keep.accepted(&bundle, &verdict)?;
    // What is charged to nobody may still move until its end, if the enclave is not what it was shown to be: it counts until the chain says otherwise.
    let resolution = match bundle.sale {
        Some(_) => Resolution::Charged { amount: Some(bundle.delivery.receipt.money.charged) },
        None => Resolution::TurnedAway,
    };
    buyer.book.resolve(&payment.authorization.nonce, resolution)?;
    if sent.echoes_salt() && bundle.sale.is_some() {
        say_received(node, &headers).await;
    }
    let Some(verified) = verified else { return Err(ClientError::CannotTell(Box::new(verdict))) };
    let text = answer_text(&bundle.response.frames);
    Ok(Some(VerifiedResponse { bundle, verdict, verified, text, receipt_id, path }))
}

/// Whether a payment can move no more and this boot of its payee does not have its answer: then it is counted as charged, and its request may be
/// paid for anew. Not on a 409: that says that the answer is there, or is being looked for.
fn is_gone(valid_before: UnixSeconds, now: UnixSeconds, error: &ClientError) -> bool {
    valid_before.saturating_add(GONE_SECONDS) <= now && matches!(error, ClientError::Node { status: 402, .. })
}

/// Evidence that was current when the receipt was made: the node's own, or for an answer that was kept, what the node has of that time.
/// Nothing is believed here; the bundle's verdict judges it.
pub(crate) async fn evidence_of(node: &mut VerifiedNode, receipt: &Receipt) -> Evidence {
    let manifest = receipt.manifest_hash;
    let is_current = manifest == node.enclave.manifest().hash() && node.enclave.document_time() <= receipt.work.started_at;
    if is_current || node.reconnect().await.is_err() {
        return node.evidence.clone();
    }
    let path = format!("{EVIDENCE_PATH}/{manifest}?at={}", receipt.work.started_at);
    match node.http.get(&path).await {
        Ok((StatusCode::OK, body)) => Evidence::parse(&body).unwrap_or_else(|_| node.evidence.clone()),
        // Then the verdict names what is wrong with ours.
        Ok(_) | Err(_) => node.evidence.clone(),
    }
}

/// The bundle is on disk: the node need not keep the answer. Best effort; otherwise it is erased after its week.
async fn say_received(node: &mut VerifiedNode, headers: &HeaderMap) {
    if node.reconnect().await.is_ok() {
        drop(node.http.send(Method::DELETE, RECEIVED_PATH, headers, Bytes::new()).await);
    }
}

/// A verdict that does not refuse, and what it verified; or the check that refuses, in words.
pub(crate) type Judged = Result<(Verdict, Option<VerifiedBundle>), (&'static str, String)>;

/// The verdict on what just arrived. The policy's log level is judged later, when the bundle is upgraded: nothing is anchored yet.
pub(crate) fn judge(bundle: &Bundle, policy: &Policy) -> Judged {
    let (verdict, verified) = verify_bundle_at(bundle, policy, LogLevel::SelfLogged, ChainFacts::default(), &K256);
    match verdict.refused() {
        Some(check) => Err((check.id, format!("expected {}, got {}", check.expected, check.got))),
        None => Ok((verdict, verified)),
    }
}

/// Names a request in the book: the same each time the same is asked, by the same caller. One caller's payment, its answer, and that it asked, are
/// nothing to another.
pub(crate) fn request_key(body: &[u8], caller: Option<&Caller>) -> Hash32 {
    let request = sha256(&[b"POST ", CHAT_PATH.as_bytes(), b"\n", body]);
    caller.map_or(request, |caller| sha256(&[&request.0, caller.name().as_bytes()]))
}

async fn sign(
    buyer: &Buyer<'_>,
    wallet: &Wallet,
    choice: Choice,
    request: Hash32,
    budget: Option<&Budget>,
    _well: ChainIsWell,
) -> Result<(SentPayment, InFlight), ClientError> {
    let purchase = Purchase { request, payer: wallet.address(), client_salt: random32()? };
    // Crash: the reservation is on disk before the signature exists, and the payment before it is sent. Stopped in between, the next ask
    // for the same finds a reservation that nobody waits for and nobody was sent, and forgets it.
    let left = match buyer.again {
        Again::Beside(left) => Some(left),
        Again::No | Again::Always => None,
    };
    let (reservation, in_flight) = buyer.book.reserve(purchase, choice, &By { left, budget })?;
    let (nonce, (authorization, domain)) = (reservation.nonce(), reservation.to_sign());
    let offer_ends = reservation.offer_ends();
    let allowance = reservation.allowance_to_sign();
    let signing = async {
        let allowing = match &allowance {
            Some(allowance) => Some(wallet.sign(ToSign::Allowance(allowance), &domain).await?),
            None => None,
        };
        Ok((wallet.sign(ToSign::Payment(&authorization), &domain).await?, allowing))
    };
    let signed = signing.await.and_then(|(signature, allowing)| {
        // Whoever signs elsewhere takes its time: a payment for an offer that is over would buy nothing and be held for minutes.
        if offer_ends <= clock::now() {
            return Err(SignerError::OfferEnded.into());
        }
        if buyer.race.is_some_and(Race::is_lost) {
            return Err(ClientError::Spend("another node answered while this payment was being signed".into()));
        }
        build_payment(reservation, &Libsecp, &signature, allowing.as_ref()).map_err(|error| ClientError::Usage(error.to_string()))
    });
    match signed {
        Ok(sent) => {
            buyer.book.sent(sent.clone())?;
            Ok((sent, in_flight))
        }
        Err(error) => {
            buyer.book.resolve(&nonce, Resolution::NeverSent)?;
            Err(error)
        }
    }
}

pub(crate) struct Answer {
    pub(crate) seed: Hash32,
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) delivery: Delivery,
    // As the node says it: anything at all.
    said_receipt_id: String,
    // `PAYMENT-RESPONSE`, if it came.
    statement: Option<Vec<u8>>,
}

impl Answer {
    /// The id that follows from the salt. It becomes a file name, so it is ours to compute.
    pub(crate) fn receipt_id(&self) -> String {
        to_hex(&candor_verify::receipt::receipt_id(&self.delivery.leaf_salt)).trim_start_matches("0x").to_owned()
    }

    /// What is wrong with the id that the node says: under another one it would not give the receipt again.
    pub(crate) fn misnamed(&self) -> Option<String> {
        let (expected, got) = (self.receipt_id(), &self.said_receipt_id);
        (*got != expected).then(|| format!("expected receipt id {expected}, got {got:?}"))
    }
}

pub(crate) async fn read_answer(
    node: &VerifiedNode,
    response: hyper::Response<Incoming>,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Answer, ClientError> {
    let dishonest = |what: &str| ClientError::Dishonest { check: "response.form", what: what.to_owned() };
    let seed = transcript_seed(response.headers()).ok_or_else(|| dishonest("no transcript seed"))?;
    let statements = response.headers().get_all(HEADER_PAYMENT_RESPONSE).iter().map(HeaderValue::as_bytes);
    let statement = parse_single_header(statements).map_err(|error| dishonest(&error.to_string()))?.map(<[u8]>::to_vec);
    let mut frames = if is_event_stream(response.headers()) {
        read_stream(node, response.into_body(), on_progress).await?
    } else {
        let body = node.http.body(response).await?;
        vec![body.to_vec()]
    };
    let streamed = 1 < frames.len();
    let last = frames.pop().ok_or_else(|| dishonest("an answer without frames"))?;
    let (value, member) = unsplice(&last).ok_or_else(|| dishonest("the last frame carries no delivery"))?;
    let (said_receipt_id, delivery) = read_member(member).ok_or_else(|| dishonest("the delivery in the last frame is unreadable"))?;
    on_progress(if streamed { Progress::Frame(&value) } else { Progress::Body(&value) });
    frames.push(value);
    Ok(Answer { seed, frames, delivery, said_receipt_id, statement })
}

/// Reads frames until `[DONE]`. All but the last are reported at once: the last one holds the delivery.
async fn read_stream(
    node: &VerifiedNode,
    mut body: Incoming,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Vec<Vec<u8>>, ClientError> {
    let broken = |what: String| ClientError::Unreachable { endpoint: node.endpoint.authority(), what };
    let mut splitter = SseSplitter::default();
    let (mut frames, mut bytes) = (Vec::<Vec<u8>>::new(), 0_usize);
    while let Some(chunk) = next_chunk(&mut body).await.map_err(broken)? {
        for event in splitter.push(&chunk).map_err(broken)? {
            match event {
                SseEvent::Done => return Ok(frames),
                SseEvent::Frame(frame) => {
                    if unsplice(&frame).is_none() {
                        on_progress(Progress::Frame(&frame));
                    }
                    bytes = bytes.saturating_add(frame.len());
                    frames.push(frame);
                }
            }
            if candor_verify::bundle::FRAMES_MAX < frames.len() || candor_verify::bundle::BUNDLE_MAX < bytes {
                return Err(broken("more than an answer can have".into()));
            }
        }
    }
    // The node cut the stream: it could not store a receipt, and then it charges nothing; but only the chain knows.
    Err(broken("the answer was cut before its receipt".into()))
}

/// The blinding seed of the transcript, as the head of an answer names it.
pub(crate) fn transcript_seed(headers: &HeaderMap) -> Option<Hash32> {
    Hash32::from_hex(headers.get("x-candor-transcript-seed")?.to_str().ok()?)
}

/// Receipt id and delivery out of the member that rides in the last frame.
pub(crate) fn read_member(member: &[u8]) -> Option<(String, Delivery)> {
    use base64::Engine as _;
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Member {
        receipt_id: String,
        delivery: String,
    }
    let json = [b"{", member, b"}"].concat();
    let member: Member = serde_json::from_slice(&json).ok()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(member.delivery).ok()?;
    Some((member.receipt_id, Delivery::parse(&bytes).ok()?))
}

pub(crate) async fn node_error(node: &VerifiedNode, response: hyper::Response<Incoming>) -> ClientError {
    let status = response.status().as_u16();
    let body = match node.http.body(response).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let field = |name: &str| {
        let short = json["error"][name].as_str().unwrap_or_default().chars().take(300).collect::<String>();
        one_line(&short).into_owned()
    };
    let param = Some(field("param")).filter(|param| !param.is_empty());
    ClientError::Node { status, code: field("code"), message: field("message"), param }
}

pub(crate) fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// The text that a frame adds, for people. Never used for a verdict.
#[must_use]
pub fn frame_text(frame: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(frame).unwrap_or_default();
    let choice = &json["choices"][0];
    let text = choice["delta"]["content"].as_str().or_else(|| choice["message"]["content"].as_str());
    text.unwrap_or_default().to_owned()
}

pub(crate) fn answer_text(frames: &[Vec<u8>]) -> String {
    frames.iter().map(|frame| frame_text(frame)).collect()
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Amount;
    use candor_verify::scheme::Scheme;

    use super::*;

    #[test]
    fn the_same_asked_by_two_callers_is_two_requests() {
        let caller = |name: &str| {
            let text = format!("[[key]]\nname = \"{name}\"\nhash = \"{}\"\n", Hash32([1; 32]));
            Caller::of(candor_report::ProxyKeysText::parse(&text).unwrap().keys.remove(0))
        };
        let keys = [None, Some(&caller("a")), Some(&caller("b"))].map(|caller| request_key(b"{}", caller));
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        assert_eq!(keys[1], request_key(b"{}", Some(&caller("a"))));
        assert_ne!(keys[1], request_key(b"{ }", Some(&caller("a"))));
    }

    #[test]
    fn an_offer_by_another_scheme_is_another_offer_even_for_less() {
        let approved = candor_testkit::honest::offer();
        let less = Offer { amount: Amount(approved.amount.0 - 1), ..approved.clone() };
        assert!(is_no_dearer(&approved, &approved) && is_no_dearer(&less, &approved) && !is_no_dearer(&approved, &less));
        // Of one the whole price moves, of the other what comes.
        let other = Scheme::from_code(3).filter(|scheme| *scheme != approved.scheme).unwrap();
        assert!(!is_no_dearer(&Offer { scheme: other, ..less }, &approved));
    }

    #[test]
    fn an_answer_is_given_up_when_its_payment_is_long_over_and_the_node_has_none_and_not_while_it_is_waited_for() {
        let said = |status: u16, code: &str| ClientError::Node { status, code: code.into(), message: String::new(), param: None };
        let over = UnixSeconds(1000);
        for (now, error, gone) in [
            (1000 + GONE_SECONDS, said(402, "extension_echo_mismatch"), true),
            (999 + GONE_SECONDS, said(402, "extension_echo_mismatch"), false),
            (1000 + GONE_SECONDS, said(409, "settlement_pending"), false),
            (9_000, said(409, "candor_payment_in_flight"), false),
            (9_000, said(503, "receipt_unavailable"), false),
            (9_000, ClientError::Unreachable { endpoint: "e".into(), what: "w".into() }, false),
        ] {
            assert_eq!(is_gone(over, UnixSeconds(now), &error), gone, "{now} {error}");
        }
    }
}
