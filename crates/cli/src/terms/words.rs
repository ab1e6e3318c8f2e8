//! Terms in words: every field, because what is not shown would be signed unseen.

use candor_report::decimal_text;
use candor_verify::bytes::Amount;
use candor_verify::terms::{Chain, Classes, ModelSource, OperatorTerms, storage, ways};
use candor_verify::time::UnixMs;

use crate::calendar;
use crate::{output, tokens};

/// Field and value, in the order of the terms.
pub(super) fn of(terms: &OperatorTerms) -> Vec<(String, String)> {
    // Named one by one: a new field of the terms is not forgotten here.
    let OperatorTerms {
        operator,
        payee,
        registrar,
        registry,
        anchor_chain_id,
        not_after,
        flags,
        storage,
        chains,
        assets,
        models,
        prices,
        upstreams,
        secrets,
        sealed,
        egress,
        access,
        guard,
        endpoints,
    } = terms;
    let mut rows = vec![
        row("operator", operator),
        row("payee", format!("{payee}   gets every payment")),
        row("registrar", format!("{registrar}   registers boots and signs price lists until the end")),
        row("registry", format!("{registry} on chain {anchor_chain_id}")),
        row("end", format!("{}   nothing is sold after it", day(*not_after))),
    ];
    rows.extend(endpoints.iter().map(|url| row("endpoint", format!("{url:?}"))));
    for chain in chains {
        rows.push(row("chain", contracts(chain)));
    }
    for asset in assets {
        let known = tokens::usdc(asset.chain_id).filter(|known| known.address == asset.asset);
        let is_other =
            known.is_some_and(|known| (known.decimals, &known.name, &known.version) != (asset.decimals, &asset.name, &asset.version));
        let warning = if is_other { "   NOT AS THIS TOKEN IS KNOWN" } else { "" };
        let domain = format!("{:?} version {:?}, {} decimals", asset.name, asset.version, asset.decimals);
        rows.push(row("asset", format!("{} on chain {}, {domain}{warning}", asset.asset, asset.chain_id)));
    }
    for model in models {
        let source = match model.source {
            ModelSource::Local => "run in the enclave",
            ModelSource::Upstream => "asked of an upstream",
            _ => "of a source that this program does not know",
        };
        let routes: Vec<String> = model.routes.iter().map(|route| format!("{:?}/{:?}", route.upstream, route.model)).collect();
        let made_of = if model.source_digest.is_zero() { String::new() } else { format!(", made of {}", model.source_digest) };
        let routes = if routes.is_empty() { String::new() } else { format!(", routes {}", routes.join(" ")) };
        rows.push(row(
            "model",
            format!("{:?} ({}), {source}, context {} tokens{made_of}{routes}", model.id, model.digest, model.context_tokens),
        ));
    }
    for price in prices {
        let name = models.iter().find(|model| model.digest == price.model).map_or("unknown model", |model| model.id.as_str());
        let decimals = terms.asset(price.chain_id, &price.asset).map_or(0, |asset| asset.decimals);
        let ceiling = classes(&price.ceiling, decimals);
        rows.push(row(
            "price",
            format!(
                "{name:?}: at most {ceiling}; at least {}; of {} on chain {}",
                classes(&price.floor, decimals),
                price.asset,
                price.chain_id
            ),
        ));
    }
    rows.extend(upstreams.iter().map(|upstream| row("upstream", format!("{upstream:?}"))));
    rows.extend(secrets.iter().map(|secret| row("secret", format!("{secret:?}"))));
    rows.extend(sealed.iter().map(|sealed| row("sealed", format!("{sealed:?}"))));
    rows.extend(egress.iter().map(|egress| row("egress", format!("{egress:?}"))));
    let all = [(ways::PAID, "whoever pays"), (ways::KEYS, "whoever has a listed key"), (ways::OPEN, "anybody, without payment")];
    let open: Vec<&str> = all.iter().filter(|(way, _)| access.ways & way != 0).map(|(_, who)| *who).collect();
    rows.push(row("access", open.join("; ")));
    rows.extend(access.keys.iter().map(|key| row("key", format!("SHA-256 {key}"))));
    let guard_words = [
        (!guard.model.is_empty()).then(|| format!("judged first by {:?}", guard.model)),
        (!guard.upstream.is_empty()).then(|| format!("judged first by upstream {:?}", guard.upstream)),
        (guard.payer_requests_per_minute != 0).then(|| format!("{} requests of a payer a minute", guard.payer_requests_per_minute)),
        (guard.payer_tokens_per_day != 0).then(|| format!("{} tokens of a payer a day", guard.payer_tokens_per_day)),
    ];
    let guard_words: Vec<String> = guard_words.into_iter().flatten().collect();
    rows.push(row("guard", if guard_words.is_empty() { "none".to_owned() } else { guard_words.join("; ") }));
    let all = [
        (storage::KEEPS_ANSWERS, "sealed answers are kept with the host for whoever lost the connection"),
        (storage::CACHES_PROMPTS, "prompts are cached between requests, in the enclave's memory"),
    ];
    let mut kept: Vec<String> = all.iter().filter(|(flag, _)| storage & flag != 0).map(|(_, what)| (*what).to_owned()).collect();
    let unknown = storage & !storage::ALL;
    if unknown != 0 {
        kept.push(format!("flags that this program does not know: {unknown}"));
    }
    rows.push(row("storage", if kept.is_empty() { "nothing is kept".to_owned() } else { kept.join("; ") }));
    rows.push(row("flags", flags));
    rows
}

/// The first field in which two terms differ, and what each says.
pub(super) fn first_difference(wanted: &OperatorTerms, signed: &OperatorTerms) -> Option<(String, String, String)> {
    let (wanted_rows, signed_rows) = (of(wanted), of(signed));
    let none = || ("more".to_owned(), "nothing".to_owned());
    let longest = wanted_rows.len().max(signed_rows.len());
    let mut pairs =
        (0..longest).map(|at| (wanted_rows.get(at).cloned().unwrap_or_else(none), signed_rows.get(at).cloned().unwrap_or_else(none)));
    let different = pairs.find(|(wanted, signed)| wanted != signed).map(|(wanted, signed)| (wanted.0, wanted.1, signed.1));
    // Words leave nothing out; the digest is what counts all the same.
    different.or_else(|| {
        (wanted.digest() != signed.digest()).then(|| ("terms".into(), wanted.digest().to_string(), signed.digest().to_string()))
    })
}

/// For people.
pub(super) fn say(rows: &[(String, String)]) {
    for (field, value) in rows {
        output::say!("  {field:<10} {value}");
    }
}

/// The same on standard error, where standard output is for one JSON value.
pub(super) fn note(rows: &[(String, String)]) {
    for (field, value) in rows {
        output::note!("  {field:<10} {value}");
    }
}

/// A moment, in UTC.
pub(super) fn day(at: UnixMs) -> String {
    calendar::utc(at.0)
}

fn row(field: &str, value: impl std::fmt::Display) -> (String, String) {
    (field.to_owned(), value.to_string())
}

/// A chain and the contracts of it that are named.
fn contracts(chain: &Chain) -> String {
    let Chain { chain_id, registry, settler_factory, forwarder_factory, authorizer_factory, batch, upto_proxy, channel_policy } = chain;
    let named = [
        ("registry", registry),
        ("settlers of", settler_factory),
        ("forwarders of", forwarder_factory),
        ("authorizers of", authorizer_factory),
        ("batches at", batch),
        ("upto at", upto_proxy),
    ];
    let mut out = chain_id.to_string();
    for (what, at) in named.into_iter().filter(|(_, at)| !at.is_zero()) {
        out.push_str(&format!(", {what} {at}"));
    }
    if !channel_policy.is_zero() {
        out.push_str(&format!(", channels by policy {channel_policy}"));
    }
    out
}

fn classes(classes: &Classes, decimals: u8) -> String {
    let Classes { input, cache_read, cache_write, output, reasoning, image, request } = classes;
    // The token's own unit beside it: the decimals stand in the draft, and whoever made it chose them.
    let money = |amount: &Amount| format!("{} ({amount} units)", decimal_text(*amount, decimals));
    let all = [
        (input, " for a million tokens read"),
        (cache_read, " for a million read from a cache"),
        (cache_write, " for a million put into a cache"),
        (output, " for a million written"),
        (reasoning, " for a million not shown"),
        (image, " for an image"),
        (request, " for the request"),
    ];
    let priced: Vec<String> =
        all.iter().filter(|(amount, _)| **amount != Amount::ZERO).map(|(amount, what)| format!("{}{what}", money(amount))).collect();
    if priced.is_empty() { "nothing".to_owned() } else { priced.join(", ") }
}
