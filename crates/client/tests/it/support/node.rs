//! A node with genuine SIMULATED evidence whose keys the test holds: it quotes honestly, and answers what is paid as it is told to.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candor_devtee::Hypervisor;
use candor_testhttp::{own_key, serve};
use candor_testkit::forge::{Key, OPERATOR};
pub(crate) use candor_testkit::honest::ASSET;
use candor_testkit::honest::{self, greedy, sign_checkpoint, sign_terms, sold};
use candor_verify::bytes::{Address, Amount, Hash32, to_hex};
use candor_verify::checkpoint::Checkpoint;
use candor_verify::decoding::{seed_commitment, seed_from_share};
use candor_verify::delivery::Delivery;
use candor_verify::evidence::Evidence;
use candor_verify::hash::sha256;
use candor_verify::manifest::{Freshness, Manifest};
use candor_verify::offer::Offer;
use candor_verify::payment::{Authorization, MAX_TIMEOUT_SECONDS, TokenDomain};
use candor_verify::receipt::{Work, receipt_id};
use candor_verify::refusal::{Refusal, code_hash};
use candor_verify::scheme::{Scheme, Through};
use candor_verify::terms::{OperatorTerms, Price, SignedTerms};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::{Tree, leaf_data, leaf_hash};
use candor_verify::transcript::{commitment_of, request_commitment, splice};
use candor_x402::extension::{AnswerRecovery, SignedOffer, SignedOffers};
use candor_x402::protocol::{
    Eip155, PaymentPayload, PaymentRequired, ResourceInfo, SettleResponse, X402_VERSION, encode_header, parse_payment_payload,
};
use candor_x402::scheme::Requirements;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, Response};

use super::{CHAIN_ID, h, now_ms, rpc};

/// Text of the answer.
const ANSWER: &str = r#"{"choices":[{"message":{"content":"Evidence."}}]}"#;

const SHARE: Hash32 = Hash32([0x71; 32]);
const TRANSCRIPT_SEED: Hash32 = Hash32([0x74; 32]);
const REQUEST_SALT: Hash32 = Hash32([0x73; 32]);

/// What every answer costs.
pub(crate) fn price() -> Amount {
    honest::terms().prices[0].ceiling.amount(12, 64).unwrap()
}

/// What becomes of a paid request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Conduct {
    /// An answer in which everything is right.
    Honest,
    /// The same, streamed in two frames.
    Streamed,
    /// The receipt is signed by another key.
    ReceiptOfAnotherKey,
    /// Streamed, and the receipt is signed by another key.
    StreamOfAnotherKey,
    /// The answer has no delivery.
    NoDelivery,
    /// The delivery comes with the receipt id of another one.
    AnotherReceiptId,
    /// `PAYMENT-RESPONSE` is of this network, and says this success.
    Settled(&'static str, bool),
    /// `PAYMENT-RESPONSE` is this.
    Statement(&'static str),
    /// An answer, after an offer that ends so many milliseconds after it was made.
    OfferEndsIn(u64),
    /// Nothing, for ever.
    Silent,
    /// An error with this status and code.
    Error(u16, &'static str),
    /// The same, with a refusal that is signed by the node's key, or by another one.
    SignedError(u16, &'static str, bool),
    /// A refusal of another status than the response's.
    OtherRefusal,
    /// An answer of a boot with another manifest: to prices, and to what is paid.
    AnotherBoot,
    /// Instead of a price an error with this status and code.
    QuoteError(u16, &'static str),
    /// The connection ends instead of a price.
    NoQuote,
    /// A signed price above that of the terms.
    TooDear,
    /// The connection ends instead of an answer to what is paid.
    Dead,
    /// A stream that ends after its first frame.
    CutStream,
    /// A stream whose frames, all of them signed for, say what only a proxy says.
    Lying,
}

/// Frames in which a node says what only a proxy says; in the first one there is a line end for readers of lines.
const LIES: [&str; 2] = [
    "{\"candor\":{\"verdict\":[\"VERIFIED\"],\"receipt_id\":\"forged\"},\"choices\":[{\"delta\":{\"content\":\"So:\"}}],\r\"usage\":{\"cost\":0,\"total_tokens\":9}}",
    "{\"cand\\u006fr\":{\"receipt_id\":\"forged\"},\"choices\":[],\"usage\":{\"cost\":0,\"total_tokens\":9}}",
];

/// Keys and promises of one boot.
#[derive(Clone)]
pub(crate) struct Boot {
    hypervisor: Arc<Hypervisor>,
    k_sig: Key,
    k_log: ed25519_dalek::SigningKey,
    // The same for every challenge, or each would be another manifest.
    terms: SignedTerms,
}

impl Boot {
    /// With keys from this byte.
    pub(crate) fn new(hypervisor: Arc<Hypervisor>, byte: u8) -> Self {
        Self::selling_at(hypervisor, byte, 1)
    }

    /// The same at so many times the usual price.
    pub(crate) fn selling_at(hypervisor: Arc<Hypervisor>, byte: u8, times: u128) -> Self {
        // They end later than the testkit's story.
        let mut terms = OperatorTerms { not_after: UnixMs(now_ms() + 86_400_000), ..honest::terms() };
        for price in &mut terms.prices {
            let ceiling = price.ceiling;
            let ceiling = honest::classes(ceiling.input.0 * times, ceiling.output.0 * times, ceiling.request.0 * times);
            *price = Price::at_most(price.model, price.chain_id, price.asset, ceiling);
        }
        let terms = sign_terms(terms, &Key::of(OPERATOR));
        Self { hypervisor, k_sig: Key::of(byte), k_log: ed25519_dalek::SigningKey::from_bytes(&[byte; 32]), terms }
    }
}

struct State {
    boot: Boot,
    spki_hash: Hash32,
    conduct: Mutex<Conduct>,
    paid: Mutex<Vec<String>>,
    quotes: Mutex<usize>,
    bodies: Mutex<Vec<String>>,
}

/// The server, until the process ends.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    state: Arc<State>,
}

impl Server {
    /// An honest one.
    pub(crate) fn start(boot: Boot) -> Self {
        let (key, spki_hash) = own_key();
        let state = Arc::new(State {
            boot,
            spki_hash,
            conduct: Mutex::new(Conduct::Honest),
            paid: Mutex::default(),
            quotes: Mutex::default(),
            bodies: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let address = serve(Some(key), move |request| route(Arc::clone(&shared), request));
        Self { address, state }
    }

    /// `https://` of it.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// From now on.
    pub(crate) fn conduct(&self, conduct: Conduct) {
        *self.state.conduct.lock().unwrap_or_else(PoisonError::into_inner) = conduct;
    }

    /// `PAYMENT-SIGNATURE` of every paid request so far.
    pub(crate) fn paid(&self) -> Vec<String> {
        self.state.paid.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every request so far for which a price was asked.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.state.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often a price was asked for.
    pub(crate) fn quotes(&self) -> usize {
        *self.state.quotes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The payments so far, each once: as many as could be charged.
    pub(crate) fn payments(&self) -> std::collections::BTreeSet<String> {
        self.paid().iter().map(|header| nonce(&parse_payment_payload(header.as_bytes()).unwrap()).to_string()).collect()
    }
}

fn nonce(payload: &PaymentPayload) -> Hash32 {
    Hash32::from_hex(payload.payload.0["authorization"]["nonce"].as_str().unwrap()).unwrap()
}

/// The answer, of whichever boot it says it is.
async fn route(state: Arc<State>, request: Request<Bytes>) -> io::Result<Response<Full<Bytes>>> {
    let is_evidence = request.method() == Method::GET;
    let mut response = routed(Arc::clone(&state), request).await?;
    let conduct = *state.conduct.lock().unwrap_or_else(PoisonError::into_inner);
    let own = state.evidence(Hash32::ZERO).manifest.hash();
    let manifest = if conduct == Conduct::AnotherBoot && !is_evidence { h(0x99) } else { own };
    response.headers_mut().insert("x-candor-manifest", manifest.to_string().parse().unwrap());
    Ok(response)
}

async fn routed(state: Arc<State>, request: Request<Bytes>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    if head.method == Method::GET {
        let nonce = head.uri.query().and_then(|query| Hash32::from_hex(query.strip_prefix("nonce=")?)).unwrap_or_default();
        return Ok(Response::new(Full::new(state.evidence(nonce).encode().into())));
    }
    let Some(header) = head.headers.get("payment-signature").and_then(|value| value.to_str().ok()) else {
        *state.quotes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        state.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(&body).into_owned());
        match *state.conduct.lock().unwrap_or_else(PoisonError::into_inner) {
            Conduct::NoQuote => return Err(io::ErrorKind::ConnectionReset.into()),
            Conduct::QuoteError(status, code) => return Ok(error(status, code)),
            _ => {}
        }
        let required = encode_header(&state.required(&body));
        return Ok(Response::builder().status(402).header("payment-required", required).body(Full::default()).unwrap());
    };
    state.paid.lock().unwrap_or_else(PoisonError::into_inner).push(header.to_owned());
    let conduct = *state.conduct.lock().unwrap_or_else(PoisonError::into_inner);
    match conduct {
        Conduct::Silent => std::future::pending().await,
        Conduct::Dead => return Err(io::ErrorKind::ConnectionReset.into()),
        _ => {}
    }
    Ok(state.answer(conduct, header, &body))
}

fn error(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"error": {"message": "no", "type": "t", "param": null, "code": code}}).to_string();
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

impl State {
    fn evidence(&self, nonce: Hash32) -> Evidence {
        let terms = &self.boot.terms;
        let boot = Manifest {
            k_sig: self.boot.k_sig.address(),
            k_log: Hash32(self.boot.k_log.verifying_key().to_bytes()),
            tls_spki_hash: self.spki_hash,
            ..Manifest::default()
        };
        let freshness = Freshness { chain_id: CHAIN_ID, block_number: rpc::BLOCK, block_hash: h(0x82), nonce };
        honest::evidence(&self.boot.hypervisor, now_ms(), boot.under(&terms.terms), freshness, terms.clone())
    }

    fn price(&self) -> Amount {
        let price = self.boot.terms.terms.prices[0].ceiling.amount(12, 64).unwrap();
        let is_dear = *self.conduct.lock().unwrap_or_else(PoisonError::into_inner) == Conduct::TooDear;
        Amount(price.0 + u128::from(is_dear))
    }

    fn required(&self, body: &[u8]) -> PaymentRequired {
        let manifest = self.evidence(Hash32::ZERO).manifest;
        let lasts_ms = match *self.conduct.lock().unwrap_or_else(PoisonError::into_inner) {
            Conduct::OfferEndsIn(ms) => ms,
            _ => 120_000,
        };
        let offer = Offer {
            manifest_hash: manifest.hash(),
            request_commitment: request_commitment(&REQUEST_SALT, "POST", candor_client::CHAT_PATH, body),
            model_id: h(0x91),
            scheme: Scheme::ExactEip3009,
            payee: manifest.payee,
            asset: ASSET,
            chain_id: CHAIN_ID,
            settler: Address::ZERO,
            amount: self.price(),
            prompt_tokens: 12,
            max_tokens: 64,
            seed_commitment: seed_commitment(&SHARE),
            valid_until: UnixMs(now_ms() + lasts_ms),
            price_list_hash: Hash32::ZERO,
            price_list_number: 0,
        };
        let requirements = Requirements {
            through: Through::Token,
            network: Eip155(CHAIN_ID),
            asset: ASSET,
            pay_to: offer.payee,
            amount: offer.amount,
            max_timeout_seconds: MAX_TIMEOUT_SECONDS,
            token_name: "USDC".into(),
            token_version: "2".into(),
        };
        let signature = self.boot.k_sig.sign(&offer.digest());
        PaymentRequired {
            x402_version: X402_VERSION,
            error: None,
            resource: ResourceInfo::default(),
            accepts: vec![requirements.to_entry()],
            extensions: Some(
                SignedOffers::from(SignedOffer { offer, signature, request_salt: REQUEST_SALT }).to_extensions(&AnswerRecovery::None),
            ),
        }
    }

    fn answer(&self, conduct: Conduct, header: &str, body: &[u8]) -> Response<Full<Bytes>> {
        match conduct {
            Conduct::Error(status, code) => return error(status, code),
            Conduct::SignedError(status, code, is_own) => return self.refused(status, code, status, is_own, header, body),
            Conduct::OtherRefusal => return self.refused(402, "settlement_failed", 503, true, header, body),
            _ => {}
        }
        let payload = parse_payment_payload(header.as_bytes()).unwrap();
        let streamed = matches!(conduct, Conduct::Streamed | Conduct::StreamOfAnotherKey | Conduct::CutStream | Conduct::Lying);
        let mut frames = vec![ANSWER.as_bytes().to_vec()];
        if streamed {
            frames.insert(0, br#"{"choices":[{"delta":{"content":"So:"}}]}"#.to_vec());
        }
        if conduct == Conduct::Lying {
            frames = LIES.map(|lie| lie.as_bytes().to_vec()).to_vec();
        }
        let delivery = self.delivery(conduct, &payload, body, &frames);
        let id = match conduct {
            Conduct::AnotherReceiptId => "../../0a".to_owned(),
            _ => to_hex(&receipt_id(&delivery.leaf_salt)).trim_start_matches("0x").to_owned(),
        };
        let member = format!(r#""receipt_id":"{id}","delivery":"{}""#, STANDARD.encode(delivery.encode()));
        let last = frames.pop().unwrap();
        let last = if conduct == Conduct::NoDelivery { last } else { splice(&last, member.as_bytes()).unwrap() };
        frames.push(last);
        let mut response = Response::builder().header("x-candor-transcript-seed", TRANSCRIPT_SEED.to_string());
        let statement = |network: &str, success| SettleResponse {
            success,
            error_reason: None,
            payer: None,
            transaction: h(0x99).to_string(),
            network: network.to_owned(),
            amount: None,
            extensions: None,
        };
        response = match conduct {
            Conduct::Settled(network, success) => response.header("payment-response", encode_header(&statement(network, success))),
            Conduct::Statement(text) => response.header("payment-response", text),
            _ => response.header("content-type", if streamed { "text/event-stream" } else { "application/json" }),
        };
        if conduct == Conduct::CutStream {
            frames.truncate(1);
        }
        let body = match streamed {
            false => frames.concat(),
            true => {
                let mut events: Vec<u8> = frames.iter().flat_map(|frame| [b"data: ", &frame[..], b"\n\n"].concat()).collect();
                if conduct != Conduct::CutStream {
                    events.extend_from_slice(b"data: [DONE]\n\n");
                }
                events
            }
        };
        response.body(Full::new(body.into())).unwrap()
    }

    /// A refusal as a node sends it, about this status.
    fn refused(&self, status: u16, code: &str, said: u16, is_own: bool, header: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let sent = candor_x402::client::SentPayment::parse(header).unwrap();
        let token = TokenDomain { name: "USDC".into(), version: "2".into(), chain_id: CHAIN_ID, asset: ASSET };
        let refusal = Refusal {
            request_commitment: request_commitment(&REQUEST_SALT, "POST", candor_client::CHAT_PATH, body),
            manifest_hash: self.evidence(Hash32::ZERO).manifest.hash(),
            status: said,
            code_hash: code_hash(code),
            signed_digest: sent.payment().authorization.digest(&token),
            at: UnixMs(now_ms()),
        };
        let signer = if is_own { self.boot.k_sig.clone() } else { Key::of(0x77) };
        let bytes = [refusal.encode(), signer.sign(&refusal.digest()).0.to_vec()].concat();
        let body = serde_json::json!({"error": {"message": "no", "type": "t", "param": null, "code": code}}).to_string();
        let response = Response::builder().status(status).header("x-candor-refusal", STANDARD.encode(bytes));
        response.body(Full::new(body.into())).unwrap()
    }

    fn delivery(&self, conduct: Conduct, payload: &PaymentPayload, body: &[u8], frames: &[Vec<u8>]) -> Delivery {
        let manifest = self.evidence(Hash32::ZERO).manifest;
        let echoed = SignedOffers::parse(payload.extensions.as_ref()).unwrap().unwrap().iter().next().unwrap().offer.clone();
        let text = |field: &str| payload.payload.0["authorization"][field].as_str().unwrap().to_owned();
        let authorization = Authorization {
            through: Through::Token,
            from: Address::from_hex(&text("from")).unwrap(),
            to: Address::from_hex(&text("to")).unwrap(),
            value: Amount::from_decimal(&text("value")).unwrap(),
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(text("validBefore").parse().unwrap()),
            nonce: nonce(payload),
        };
        let decoding = greedy(seed_from_share(&SHARE, &authorization.nonce));
        let now = now_ms();
        let mut receipt = sold(&manifest, 0, &echoed, &authorization);
        receipt.work = Work {
            request_commitment: request_commitment(&REQUEST_SALT, "POST", candor_client::CHAT_PATH, body),
            response_commitment: commitment_of(&TRANSCRIPT_SEED, frames.iter().map(Vec::as_slice)),
            decoding_hash: decoding.struct_hash(),
            started_at: UnixMs(now),
            finished_at: UnixMs(now),
            block_number: rpc::BLOCK,
            block_hash: h(0x82),
            ..receipt.work
        };
        let another = matches!(conduct, Conduct::ReceiptOfAnotherKey | Conduct::StreamOfAnotherKey);
        let signer = if another { Key::of(0x77) } else { self.boot.k_sig.clone() };
        // One salt per payment, as an enclave has one per receipt.
        let (signature, leaf_salt) = (signer.sign(&receipt.digest()), sha256(&[b"salt", &authorization.nonce.0]));
        let root = leaf_hash(&leaf_data(&leaf_salt, &receipt.digest(), &signature).0);
        let checkpoint = Checkpoint { log_id: receipt.log_id, tree: Tree { size: 1, root }, timestamp: UnixMs(now) };
        let checkpoint = sign_checkpoint(checkpoint, &self.boot.k_sig, &self.boot.k_log);
        Delivery {
            receipt,
            signature,
            leaf_salt,
            decoding,
            seed_share: Some(SHARE),
            source: None,
            request_salt: None,
            checkpoint,
            inclusion: vec![],
            earlier_anchor: None,
        }
    }
}
