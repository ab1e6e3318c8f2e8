//! A price: asked for without a payment, and judged by the rules of a bundle before anything is signed.
//!
//! Not here: whether it is paid (`ask`).

use candor_chain::ChainClient;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::offer::{Asked, MaxTokens, Offer, Shown, VerifiedOffer, verify_offer};
use candor_verify::policy::Policy;
use candor_verify::scheme::NonceQuestion;
use candor_verify::step::Step;
use candor_verify::terms::SignedPriceList;
use candor_verify::transcript::request_commitment;
use candor_x402::Libsecp;
use candor_x402::client::{Choice, Spend, SpendPolicy, choose};
use candor_x402::extension::{SignedOffer, SignedOffers};
use candor_x402::protocol::{Eip155, HEADER_PAYMENT_REQUIRED, PaymentRequired, parse_payment_required, parse_single_header};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, StatusCode};

use crate::ask::{Buyer, CHAT_PATH, json_headers, node_error};
use crate::clock;
use crate::cut::asked_tokens;
use crate::error::ClientError;
use crate::resolve::VerifiedNode;
use crate::spend::SpendBook;

/// What a boot says that sells no more because another one of its node does.
const HANDED_OVER: &str = "candor_boot_handed_over";

/// Where a price list lies, by its hash.
const PRICE_LIST_PATH: &str = "/candor/price-list/";

/// What came of a request without a payment.
pub(crate) enum Told {
    /// A price, checked, and the list that it is of.
    Priced(Box<(Choice, Option<SignedPriceList>)>),
    /// The answer. Whether the terms give it away is judged with it.
    Given(hyper::Response<Incoming>),
}

pub(crate) fn no_wallet() -> ClientError {
    ClientError::Spend("this node sells its answers, and there is no wallet to pay from: candor wallet new".into())
}

/// Sends the request without payment, with a key if there is one.
pub(crate) async fn ask_unpaid(
    node: &mut VerifiedNode,
    buyer: &Buyer<'_>,
    body: &[u8],
    key: Option<HeaderValue>,
) -> Result<Told, ClientError> {
    let mut headers = json_headers();
    let shows_key = key.is_some();
    headers.extend(key.map(|key| (AUTHORIZATION, key)));
    let response = node.http.send(Method::POST, CHAT_PATH, &headers, Bytes::copy_from_slice(body)).await?;
    match response.status() {
        StatusCode::OK => Ok(Told::Given(response)),
        StatusCode::PAYMENT_REQUIRED if !shows_key => priced(node, buyer, body, response).await,
        _ => Err(unpriced(node, response).await),
    }
}

/// Why there is no price. Nothing was signed. A boot's word that another one sells can end what was believed of it, and begin nothing: the other
/// one is verified like any.
async fn unpriced(node: &VerifiedNode, response: hyper::Response<Incoming>) -> ClientError {
    match node_error(node, response).await {
        ClientError::Node { status: 503, code, .. } if code == HANDED_OVER => node.has_handed_over(),
        error => error,
    }
}

/// A price that was checked. Nothing was signed, and nothing is owed for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Quote {
    /// The offer.
    pub offer: Offer,
    /// Why the spend policy would not pay it, if it would not.
    pub refusal: Option<String>,
}

/// The price of a request, by the rules of a bundle; `None` if the node answers it for nothing, and then it has begun to.
///
/// # Errors
/// `Dishonest` if the offer is not what the evidence says, `Node`, `Unreachable`.
pub async fn quote(node: &mut VerifiedNode, policy: &Policy, spend: &SpendPolicy, body: &[u8]) -> Result<Option<Quote>, ClientError> {
    node.reconnect().await?;
    let response = node.http.send(Method::POST, CHAT_PATH, &json_headers(), Bytes::copy_from_slice(body)).await?;
    match response.status() {
        StatusCode::OK => Ok(None),
        StatusCode::PAYMENT_REQUIRED => {
            let (required, verified, _, _) = offered(node, policy, None, body, response).await?;
            let refusal = choose(&required, &verified, spend, clock::now()).err().map(|error| error.to_string());
            Ok(Some(Quote { offer: verified.offer().clone(), refusal }))
        }
        _ => Err(unpriced(node, response).await),
    }
}

/// What is chosen of a 402, and the price list that it is of.
async fn priced(node: &mut VerifiedNode, buyer: &Buyer<'_>, body: &[u8], response: hyper::Response<Incoming>) -> Result<Told, ClientError> {
    let payer = buyer.wallet.map(|wallet| Payer { address: wallet.address(), chain: buyer.chain.client(), book: buyer.book });
    let (required, verified, price_list, permit_nonce) = offered(node, buyer.policy, payer.as_ref(), body, response).await?;
    let choice = choose(&required, &verified, buyer.spend, clock::now()).map_err(|error| ClientError::Spend(error.to_string()))?;
    Ok(Told::Priced(Box::new((choice.allowing(permit_nonce), price_list))))
}

/// Who is to pay, and what is known of their account.
struct Payer<'a> {
    address: Address,
    chain: &'a ChainClient,
    book: &'a SpendBook,
}

impl Payer<'_> {
    /// How this offer can be paid now: nothing more to sign, or an EIP-2612 permit with this nonce; `None` if it cannot.
    async fn way(&self, offer: &Offer) -> Result<Option<Option<u64>>, ClientError> {
        if !offer.scheme.needs_allowance() {
            return Ok(Some(None));
        }
        if offer.chain_id != self.chain.chain_id() {
            return Ok(None);
        }
        // Trust: our own endpoint; a lie costs a payment that its node refuses.
        let Ok(funds) = self.chain.payer_state(offer.scheme, &offer.asset, &self.address, &Hash32::ZERO).await else { return Ok(None) };
        let open = self.open(offer).await?;
        let needed = open.iter().try_fold(offer.amount, |sum, spend| sum.checked_add(spend.amount)).unwrap_or(Amount(u128::MAX));
        if needed <= funds.allowance {
            return Ok(Some(None));
        }
        // It sets what Permit2 may move, so one at a time.
        Ok(funds.permit_nonce.filter(|_| open.is_empty()).map(Some))
    }

    /// Payments that take from what Permit2 may move, and have not moved.
    async fn open(&self, offer: &Offer) -> Result<Vec<Spend>, ClientError> {
        /// So many are asked about; more count as open.
        const ASKED_MAX: usize = 16;
        let mut open = Vec::new();
        for (at, spend) in self.book.open_by_permit(Eip155(offer.chain_id), &offer.asset, &self.address)?.into_iter().enumerate() {
            let question = NonceQuestion::of(spend.scheme, &spend.asset, &spend.payer, &spend.nonce).filter(|_| at < ASKED_MAX);
            let has_moved = match question {
                Some(question) => self.chain.is_nonce_used(&question).await.unwrap_or(false),
                None => false,
            };
            if !has_moved {
                open.push(spend);
            }
        }
        Ok(open)
    }
}

/// The first offer of a 402 that can be paid, and what is to be signed besides. Without a payer the first.
async fn payable(offers: &SignedOffers, payer: Option<&Payer<'_>>) -> Result<Option<(SignedOffer, Option<u64>)>, ClientError> {
    for signed in offers.iter() {
        let way = match payer {
            Some(payer) => payer.way(&signed.offer).await?,
            None => Some(None),
        };
        if let Some(permit_nonce) = way {
            return Ok(Some((signed.clone(), permit_nonce)));
        }
    }
    Ok(None)
}

/// Checks the offer of a 402 that is to be paid against evidence, request and price table.
async fn offered(
    node: &mut VerifiedNode,
    policy: &Policy,
    payer: Option<&Payer<'_>>,
    body: &[u8],
    response: hyper::Response<Incoming>,
) -> Result<(PaymentRequired, VerifiedOffer, Option<SignedPriceList>, Option<u64>), ClientError> {
    let dishonest = |what: String| ClientError::Dishonest { check: "offer.form", what };
    let values = response.headers().get_all(HEADER_PAYMENT_REQUIRED).iter().map(HeaderValue::as_bytes);
    let header = parse_single_header(values).map_err(|error| dishonest(error.to_string()))?;
    let header = header.ok_or_else(|| dishonest("a 402 without PAYMENT-REQUIRED".into()))?;
    let required = parse_payment_required(header).map_err(|error| dishonest(error.to_string()))?;
    drop(node.http.body(response).await?);
    let offers = SignedOffers::parse(required.extensions.as_ref()).map_err(|error| dishonest(error.to_string()))?;
    let offers = offers.ok_or_else(|| dishonest("the 402 has no signed offer".into()))?;
    let no_way = || ClientError::Spend("the wallet can pay by none of the ways that the node offers".into());
    let (signed, permit_nonce) = payable(&offers, payer).await?.ok_or_else(no_way)?;
    let price_list = named_list(node, &signed.offer).await;
    if price_list.is_none() && !signed.offer.price_list_hash.is_zero() {
        let what = format!("the offer names price list {}, and the node does not show it", signed.offer.price_list_hash);
        return Err(ClientError::Dishonest { check: Step::OfferPrice.id(), what });
    }
    let verified = verified_offer(node, &signed, price_list.as_ref(), body, policy)?;
    Ok((required, verified, price_list, permit_nonce))
}

/// The price list that an offer names, from the node that made it. Whether it is the one, the check of the offer says.
pub(crate) async fn named_list(node: &mut VerifiedNode, offer: &Offer) -> Option<SignedPriceList> {
    if offer.price_list_hash.is_zero() || node.reconnect().await.is_err() {
        return None;
    }
    match node.http.get(&format!("{PRICE_LIST_PATH}{}", offer.price_list_hash)).await {
        Ok((StatusCode::OK, body)) => SignedPriceList::parse(&body).ok().filter(|signed| signed.list.digest() == offer.price_list_hash),
        Ok(_) | Err(_) => None,
    }
}

/// Judges the offer by the rules of a bundle, before anything is signed.
fn verified_offer(
    node: &VerifiedNode,
    signed: &SignedOffer,
    price_list: Option<&SignedPriceList>,
    body: &[u8],
    policy: &Policy,
) -> Result<VerifiedOffer, ClientError> {
    // The body went out as it is; what cannot be read from it is not held against the offer here, but the model must be named.
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let name = json["model"].as_str().unwrap_or_default();
    let Some(model) = node.enclave.terms().answering_models().find(|model| model.id == name) else {
        let what = format!("the terms list no model {name:?}");
        return Err(ClientError::Dishonest { check: Step::OfferTerms.id(), what });
    };
    let limit = asked_tokens(body);
    let asked = Asked {
        request_commitment: request_commitment(&signed.request_salt, "POST", CHAT_PATH, body),
        model_id: model.digest,
        max_tokens: limit.map_or(MaxTokens::Unnamed, MaxTokens::AtMost),
        at: clock::now(),
    };
    let shown = Shown { offer: &signed.offer, signature: &signed.signature, price_list };
    verify_offer(&shown, &node.enclave, &asked, policy, &Libsecp)
        .map_err(|check| ClientError::Dishonest { check: check.id, what: format!("expected {}, got {}", check.expected, check.got) })
}
