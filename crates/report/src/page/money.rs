//! The money: what was charged, of how much, to whom, and how the price came about. Spec: payment.md §3, receipt.md §3.

use candor_verify::bundle::Sale;
use candor_verify::receipt::Money;
use candor_verify::terms::Classes;

use super::Page;
use super::values::{brief, chain, grouped};

pub(super) fn section(page: &Page<'_>) -> String {
    let money = &page.bundle.delivery.receipt.money;
    let claim = if page.is_claim() { " <span class=\"mut\">as claimed</span>" } else { "" };
    let is_free = page.bundle.sale.is_none() && !money.scheme.is_paid() && money.charged.0 == 0;
    let inside = if is_free { free(page, money) } else { sold(page, money) };
    format!("<section><h2>The money{claim}</h2>{inside}</section>\n")
}

fn free(page: &Page<'_>, money: &Money) -> String {
    let rows = [("Charged", "<b>nothing</b>".to_owned()), ("Payee", payee(page, money)), ("Chain", on(money.chain_id))];
    format!("<p class=\"text\">Nobody paid for this answer.</p>{}", table(&rows))
}

fn sold(page: &Page<'_>, money: &Money) -> String {
    let (unit, symbol) = (&page.unit, page.unit.symbol());
    let transaction = match page.content.transfer_tx {
        Some(tx) => format!("{} <span class=\"mut\">a hint, not judged</span>", brief(tx)),
        None => "<span class=\"mut\">not named beside this file</span>".to_owned(),
    };
    let rows = [
        ("Charged", format!("<b>{}</b> {symbol}", unit.number(money.charged))),
        ("Of at most", format!("{} {symbol}", unit.number(money.max_amount))),
        ("Payee", payee(page, money)),
        ("Payer", brief(money.payer)),
        ("How", money.scheme.title().to_owned()),
        ("Chain", on(money.chain_id)),
        ("Transaction", transaction),
    ];
    let price = page.bundle.sale.as_ref().and_then(|sale| price(page, sale)).unwrap_or_default();
    table(&rows) + &price
}

fn payee(page: &Page<'_>, money: &Money) -> String {
    let attested = if page.is_claim() { "" } else { " <span class=\"mut\">attested</span>" };
    brief(money.payee) + attested
}

fn on(chain_id: u64) -> String {
    format!("{chain_id} <span class=\"mut\">{}</span>", chain(chain_id))
}

fn table(rows: &[(&str, String)]) -> String {
    let rows: String = rows.iter().map(|(name, value)| format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>")).collect();
    format!("<table class=\"kv\">{rows}</table>")
}

/// How the price follows from what the operator signed; nothing where it does not follow, or where the list is not shown.
fn price(page: &Page<'_>, sale: &Sale) -> Option<String> {
    let offer = &sale.offer;
    let terms = &page.bundle.evidence.terms.terms;
    let classes: &Classes = match &sale.price_list {
        Some(signed) => signed.list.price(&offer.model_id, offer.chain_id, &offer.asset)?,
        None => &terms.price(&offer.model_id, offer.chain_id, &offer.asset)?.ceiling,
    };
    if classes.amount(offer.prompt_tokens, offer.max_tokens)? != offer.amount {
        return None;
    }
    let unit = &page.unit;
    Some(format!(
        "<p class=\"small\">Price: {} × {} + {} × {} per million tokens, + {} per request = {}.</p>",
        grouped(offer.prompt_tokens.into()),
        unit.rate(classes.input),
        grouped(offer.max_tokens.into()),
        unit.rate(classes.output),
        unit.rate(classes.request),
        unit.number(offer.amount)
    ))
}
