//! The steps about money: offer, price, payment, and the id that ties a receipt to a payment.

use alloc::format;
use alloc::string::{String, ToString};

use super::{Layout, Sheet};
use crate::bundle::{Bundle, Sale};
use crate::bytes::Amount;
use crate::eip712::Structured as _;
use crate::hash::keccak256;
use crate::offer::Offer;
use crate::payment::{self, TokenDomain};
use crate::receipt::Receipt;
use crate::tags;
use crate::terms::Classes;

const NOBODY_PAID: &str = "nobody paid";

fn sale<'a>(bundle: &'a Bundle, sheet: &mut Sheet<'_>) -> Option<&'a Sale> {
    if bundle.sale.is_none() {
        sheet.told("sale", NOBODY_PAID);
    }
    bundle.sale.as_ref()
}

pub(super) fn offer(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let Some(sale) = sale(bundle, sheet) else { return };
    sheet.message("offer", &sale.offer.message());
    sheet.signed("K_sig's signature over the offer", &sale.offer.digest(), &sale.offer_signature, &bundle.evidence.manifest.k_sig);
}

/// The arithmetic, by the terms' ceiling and by the list that is shown.
pub(super) fn price(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let Some(sale) = sale(bundle, sheet) else { return };
    let (offer, terms) = (&sale.offer, &bundle.evidence.terms.terms);
    match terms.price(&offer.model_id, offer.chain_id, &offer.asset) {
        Some(price) => sheet.told("by the ceiling of the terms", arithmetic(&price.ceiling, offer)),
        None => sheet.told("by the ceiling of the terms", "the terms have no price of this model in this asset"),
    }
    if let Some(signed) = &sale.price_list {
        let list = &signed.list;
        for price in &list.prices {
            sheet.typed("classes", &price.classes.to_struct());
        }
        sheet.list("pricesHash", &list.prices, &list.prices_hash());
        sheet.message("price list", &list.message());
        sheet.signed("registrar's signature over the price list", &list.digest(), &signed.signature, &terms.registrar);
        match list.price(&offer.model_id, offer.chain_id, &offer.asset) {
            Some(classes) => sheet.told("by the price list", arithmetic(classes, offer)),
            None => sheet.told("by the price list", "the list has no price of this model in this asset"),
        }
    }
    sheet.told("price list that the offer names", format!("number {}, hash {}", offer.price_list_number, offer.price_list_hash));
    sheet.told("amount in the offer", offer.amount.to_string());
}

/// payment.md §3: per million tokens, rounded up once.
fn arithmetic(classes: &Classes, offer: &Offer) -> String {
    let amount = classes.amount(offer.prompt_tokens, offer.max_tokens);
    let amount = amount.map_or("none in 128 bits".to_string(), |amount| amount.to_string());
    format!(
        "request {} + ceil((input {} × {} prompt tokens + output {} × {} tokens) / 1000000) = {amount}",
        classes.request, classes.input, offer.prompt_tokens, classes.output, offer.max_tokens
    )
}

pub(super) fn payment(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let Some(sale) = sale(bundle, sheet) else { return };
    let (offer, authorization) = (&sale.offer, &sale.payment.authorization);
    let Some(asset) = bundle.evidence.terms.terms.asset(offer.chain_id, &offer.asset) else {
        return sheet.told("token", format!("the terms name no token {} on chain {}", offer.asset, offer.chain_id));
    };
    let token = TokenDomain { name: asset.name.clone(), version: asset.version.clone(), chain_id: offer.chain_id, asset: offer.asset };
    for (what, text) in [("token's name", &token.name), ("token's version", &token.version)] {
        sheet.keccak256(what, text.as_bytes().to_vec(), &keccak256(&[text.as_bytes()]), &[]);
    }
    let message = authorization.message(&token);
    sheet.message_in(&authorization.domain(&token), "authorization", &message);
    sheet.signed("payer's signature over the authorization", &message.digest(), &sale.payment.signature, &authorization.from);
}

pub(super) fn binding(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let Some(sale) = sale(bundle, sheet) else { return };
    sheet.told("nonce in the authorization", sale.payment.authorization.nonce.to_string());
    let Some(salt) = &sale.payment.client_salt else {
        return sheet.told("client salt", "none: the nonce commits to nothing (equal price only)");
    };
    let digest = sale.offer.digest();
    let layout: Layout<'_> = &[("tag", tags::NONCE.len()), ("offer digest", 32), ("client salt", 32)];
    sheet.keccak256("nonce", payment::offer_nonce_preimage(&digest, salt), &payment::offer_nonce(&digest, salt), layout);
}

pub(super) fn payment_id(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let receipt = &bundle.delivery.receipt;
    match &bundle.sale {
        Some(sale) => {
            let (offer, authorization) = (&sale.offer, &sale.payment.authorization);
            let (chain_id, asset) = (offer.chain_id, &offer.asset);
            // As the verifier does: of what is not charged the id is that of its place.
            if receipt.money.charged == Amount::ZERO {
                by_place(bundle, tags::PAYMENT_UNSETTLED, sheet);
                return told_in_receipt(receipt, sheet);
            }
            let tag = authorization.payment_id_tag();
            sheet.keccak256("keccak256 of the tag", tag.to_vec(), &keccak256(&[tag]), &[]);
            let preimage = authorization.payment_id_preimage(chain_id, asset).into_vec();
            let layout: Layout<'_> = &[("tag hash", 32), ("chain id", 32), ("keeper of the nonce", 32), ("from", 32), ("nonce", 32)];
            sheet.keccak256("payment id", preimage, &authorization.payment_id(chain_id, asset), layout);
            sheet.told("offer digest", offer.digest().to_string());
            sheet.told("offer digest in the receipt", receipt.money.offer_digest.to_string());
        }
        None => by_place(bundle, tags::PAYMENT_NONE, sheet),
    }
    told_in_receipt(receipt, sheet);
}

fn told_in_receipt(receipt: &Receipt, sheet: &mut Sheet<'_>) {
    let money = &receipt.money;
    sheet.told("payment id in the receipt", format!("{}, scheme {}", money.payment_id, money.scheme.as_str()));
}

/// The id of work of which nothing is charged: that of its place in the log.
fn by_place(bundle: &Bundle, tag: &'static [u8], sheet: &mut Sheet<'_>) {
    let (receipt, chain_id) = (&bundle.delivery.receipt, bundle.evidence.manifest.anchor_chain_id);
    sheet.keccak256("keccak256 of the tag", tag.to_vec(), &keccak256(&[tag]), &[]);
    let preimage = payment::id_by_place_preimage(tag, chain_id, &receipt.log_id, receipt.sequence).into_vec();
    let layout: Layout<'_> = &[("tag hash", 32), ("anchor chain id", 32), ("log id", 32), ("sequence", 32)];
    let id = keccak256(&[&preimage]);
    sheet.keccak256("payment id", preimage, &id, layout);
}
