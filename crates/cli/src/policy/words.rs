//! A policy in words: whom it accepts, what it may spend in money, what it asks for; and which of its values are risky.

use candor_chain::{ChainClient, TokenWords};
use candor_client::PolicyFile;
use candor_report::{Decimal, decimal_text};
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::verdict::LogLevel;
use candor_x402::client::AssetLimit;
use serde_json::{Value, json};

use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::output::Failure;
use crate::tokens;

/// The tokens of a policy's limits, in their order: those that are known here, the others as their chain says, if it is asked.
pub(crate) async fn moneys(file: &PolicyFile, chain: Option<&ChainClient>) -> Result<Vec<Option<TokenWords>>, Failure> {
    let mut out = Vec::new();
    for limit in &file.spend.assets {
        let known = known(limit);
        out.push(match chain.filter(|chain| known.is_none() && chain.chain_id() == limit.network.0) {
            None => known,
            Some(chain) => tokens::words(chain, &limit.asset).await?,
        });
    }
    Ok(out)
}

/// The token of a limit, if this program knows its address.
pub(crate) fn known(limit: &AssetLimit) -> Option<TokenWords> {
    tokens::known(limit.network.0, &limit.asset)
}

/// Whom a policy accepts, what it asks for and what it may spend: question and answer.
pub(crate) fn rows(file: &PolicyFile, moneys: &[Option<TokenWords>]) -> Vec<(&'static str, String)> {
    // Named one by one: a new field of the policy is not forgotten here.
    let Policy {
        roots,
        workloads,
        operators,
        registries,
        models,
        max_age_ms,
        skew_ms,
        witnesses,
        witness_threshold,
        require_level,
        require_offer_binding,
    } = &file.policy;
    let mut rows: Vec<(&'static str, String)> = Vec::new();
    if roots.is_empty() {
        rows.push(("accepts", "nothing: no root of attestation is named".into()));
    }
    rows.extend(roots.iter().map(|root| match root.is_hardware() {
        true => ("accepts", "enclaves of AWS Nitro hardware (aws-nitro-g1)".to_owned()),
        false => ("accepts", format!("SIMULATED evidence under {}: whoever holds that key can forge everything", Hash32(root.fingerprint))),
    }));
    rows.push((
        "that run",
        match workloads {
            Workloads::DangerousAny => "ANY program (dangerous-any)".into(),
            Workloads::Only(listed) => list(listed, "no program: no workload is named"),
        },
    ));
    rows.push((
        "sold by",
        accepted(operators, "ANYBODY: whoever registered last is paid", "nobody: no operator is named", Address::to_string),
    ));
    let registry = |(chain_id, address): &(u64, Address)| format!("{address} on chain {chain_id}");
    rows.push(("registered in", accepted(registries, "any registry", "no registry: none is named", registry)));
    rows.push(("models", accepted(models, "any that the operator's signed terms list", "none: no model is named", Hash32::to_string)));
    let binding = if *require_offer_binding { "payments that name their offer" } else { "payments that name no offer, at an equal price" };
    rows.push(("asks for", format!("attestation at most {}, clocks at most {} apart, {binding}", time(*max_age_ms), time(*skew_ms))));
    rows.push((
        "the log",
        match require_level {
            LogLevel::SelfLogged => "the node's own (self-logged) is enough".into(),
            LogLevel::Witnessed => format!("{witness_threshold} of {} witnesses must have cosigned", witnesses.len()),
            LogLevel::Anchored => "an anchor on chain is needed".into(),
            _ => "a level that this program does not know".into(),
        },
    ));
    if !file.find.is_empty() {
        rows.push(("looks under", list(&file.find, "")));
    }
    if file.spend.assets.is_empty() {
        rows.push(("may spend", "nothing".into()));
    }
    for (limit, money) in file.spend.assets.iter().zip(moneys) {
        let AssetLimit { network, asset, max_per_request, max_per_day, max_unresolved } = limit;
        let [each, day] = [max_per_request, max_per_day].map(|amount| tokens::money(*amount, money.as_ref(), asset));
        rows.push((
            "may spend",
            format!(
                "{each} a request and {day} a day at most, of {asset} on chain {}; {max_unresolved} payments may be unanswered at once",
                network.0
            ),
        ));
    }
    rows
}

/// What is risky or can do nothing, each with what to change.
pub(crate) fn warnings(file: &PolicyFile) -> Vec<String> {
    let policy = &file.policy;
    let mut out: Vec<String> = Vec::new();
    let mut warn = |is_so: bool, what: &str| out.extend(is_so.then(|| what.to_owned()));
    warn(policy.roots.is_empty(), "accept.roots: empty: no evidence is accepted");
    warn(policy.workloads == Workloads::Only(Vec::new()), "accept.workloads: empty: no enclave is accepted");
    warn(
        policy.workloads == Workloads::DangerousAny,
        "accept.workloads: \"dangerous-any\": whatever program is measured is accepted; name workload ids",
    );
    warn(
        policy.roots.iter().any(|root| !root.is_hardware()),
        "accept.roots: a SIMULATED root: whoever holds its key can forge everything under it; for development only",
    );
    warn(policy.operators == Accept::Any, "accept.operators: \"any\": whoever registered last gets your payments; name operators");
    warn(policy.operators == Accept::Only(Vec::new()), "accept.operators: empty: nobody is accepted");
    warn(
        policy.registries == Accept::Any,
        "accept.registries: \"any\": a retired or revoked key is not found out, and `ask` does not know where to look; name one",
    );
    warn(policy.registries == Accept::Only(Vec::new()), "accept.registries: empty: nobody is found");
    warn(policy.models == Accept::Only(Vec::new()), "accept.models: empty: no model is accepted");
    warn(DAY_MS < policy.max_age_ms, "accept.max_age_ms: more than a day: evidence of a boot that was ended long ago still counts as live");
    warn(
        !policy.require_offer_binding,
        "accept.require_offer_binding: false: a payment that was meant for another request of the same price is accepted",
    );
    warn(
        policy.require_level == LogLevel::Witnessed && policy.witness_threshold == 0,
        "log.require_level: \"witnessed\" with log.witness_threshold = 0: nothing is ever verified",
    );
    for limit in &file.spend.assets {
        out.extend(risky_limit(file, limit));
    }
    if file.spend.assets.is_empty() {
        out.push("spend: no [[spend]]: nothing can be paid".into());
    }
    out
}

fn risky_limit(file: &PolicyFile, limit: &AssetLimit) -> Vec<String> {
    let AssetLimit { network, asset, max_per_request, max_per_day, .. } = limit;
    let money = known(limit);
    let named = format!("spend {asset:#} on chain {}", network.0);
    let mut out = Vec::new();
    if *max_per_request == Amount::ZERO || *max_per_day == Amount::ZERO {
        out.push(format!("{named}: a limit of nothing: nothing can be paid"));
    }
    if max_per_day < max_per_request {
        out.push(format!("{named}: max_per_day is below max_per_request, and counts"));
    }
    // In money where the token is known; else by the number alone, of which nobody knows what it is worth.
    let high = match &money {
        Some(money) => Decimal::of(Amount(DAY_HIGH), 0).units(money.decimals).unwrap_or(Amount(UNITS_HIGH)),
        None => Amount(UNITS_HIGH),
    };
    let is_uncapped = high < *max_per_day;
    if is_uncapped {
        let day = tokens::money(*max_per_day, money.as_ref(), asset);
        out.push(format!("{named}: max_per_day is {day}: as good as no limit for whoever gets at this wallet"));
    }
    let is_anywhere = file.policy.registries == Accept::Any;
    if !is_anywhere && !file.policy.registries.named().iter().any(|(chain_id, _)| *chain_id == network.0) {
        out.push(format!("{named}: accept.registries names no registry on that chain"));
    }
    out
}

/// Above this a limit of a day is none, in a money that is about a dollar.
const DAY_HIGH: u128 = 1_000;

/// The same of a token that nobody knows: more than any of 6 decimals has.
const UNITS_HIGH: u128 = 1 << 80;

/// For programs.
pub(crate) fn json(file: &PolicyFile, moneys: &[Option<TokenWords>]) -> Value {
    let policy = &file.policy;
    let texts = |items: &[Hash32]| items.iter().map(Hash32::to_string).collect::<Vec<_>>();
    let any_or = |accept: Option<Vec<String>>| accept.map_or_else(|| Value::from("any"), Value::from);
    let named = |is_any: bool, items: Vec<String>| any_or((!is_any).then_some(items));
    let spend = file.spend.assets.iter().zip(moneys).map(|(limit, money)| {
        let decimal = |amount: Amount| money.as_ref().map(|money| decimal_text(amount, money.decimals));
        json!({
            "chain_id": limit.network.0, "asset": limit.asset.to_string(), "symbol": money.as_ref().map(|money| &money.symbol),
            "max_per_request": limit.max_per_request.to_string(), "max_per_day": limit.max_per_day.to_string(),
            "max_per_request_money": decimal(limit.max_per_request), "max_per_day_money": decimal(limit.max_per_day),
        })
    });
    let workloads = match &policy.workloads {
        Workloads::DangerousAny => Value::from("dangerous-any"),
        Workloads::Only(listed) => texts(listed).into(),
    };
    let registries: Vec<Value> =
        policy.registries.named().iter().map(|(chain_id, address)| json!({"chain_id": chain_id, "address": address.to_string()})).collect();
    json!({
        "roots": policy.roots.iter().map(|root| Hash32(root.fingerprint).to_string()).collect::<Vec<_>>(),
        "simulated": policy.roots.iter().any(|root| !root.is_hardware()), "workloads": workloads,
        "operators": named(policy.operators == Accept::Any, policy.operators.named().iter().map(Address::to_string).collect()),
        "registries": if policy.registries == Accept::Any { "any".into() } else { Value::from(registries) },
        "models": named(policy.models == Accept::Any, texts(policy.models.named())),
        "max_age_ms": policy.max_age_ms, "skew_ms": policy.skew_ms, "require_offer_binding": policy.require_offer_binding,
        "require_level": policy.require_level.as_str(), "witnesses": texts(&policy.witnesses),
        "witness_threshold": policy.witness_threshold, "find": texts(&file.find), "spend": spend.collect::<Vec<_>>(),
    })
}

fn list(items: &[Hash32], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { items.iter().map(Hash32::to_string).collect::<Vec<_>>().join(", ") }
}

fn accepted<T>(accept: &Accept<T>, any: &str, none: &str, text: impl Fn(&T) -> String) -> String {
    match accept {
        Accept::Any => any.to_owned(),
        Accept::Only(items) if items.is_empty() => none.to_owned(),
        Accept::Only(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
    }
}

/// Milliseconds for people.
fn time(ms: u64) -> String {
    match ms {
        ms if ms % HOUR_MS == 0 && ms != 0 => format!("{} h", ms / HOUR_MS),
        ms if ms % MINUTE_MS == 0 && ms != 0 => format!("{} min", ms / MINUTE_MS),
        ms => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::attest::TrustRoot;
    use candor_x402::client::SpendPolicy;
    use candor_x402::protocol::Eip155;

    use super::*;

    /// One deviation.
    type Change<'a> = &'a dyn Fn(&mut PolicyFile);

    fn careful() -> PolicyFile {
        let usdc = tokens::usdc(8453).unwrap().address;
        let limit = AssetLimit {
            network: Eip155(8453),
            asset: usdc,
            max_per_request: Amount(10_000),
            max_per_day: Amount(1_000_000),
            max_unresolved: 2,
        };
        let policy = Policy {
            roots: vec![TrustRoot::AWS_NITRO_G1],
            workloads: Workloads::Only(vec![Hash32([1; 32])]),
            operators: Accept::Only(vec![Address([2; 20])]),
            registries: Accept::Only(vec![(8453, Address([3; 20]))]),
            ..Policy::default()
        };
        PolicyFile::new(policy, SpendPolicy { assets: vec![limit] })
    }

    #[test]
    fn a_careful_policy_has_no_warning_and_each_risky_value_has_its_own() {
        assert!(warnings(&careful()).is_empty(), "{:?}", warnings(&careful()));
        let risky: [(&str, Change<'_>); 12] = [
            ("accept.roots: empty", &|file| file.policy.roots.clear()),
            ("accept.roots: a SIMULATED", &|file| file.policy.roots.push(TrustRoot { fingerprint: [9; 32] })),
            ("accept.workloads: empty", &|file| file.policy.workloads = Workloads::Only(Vec::new())),
            ("accept.workloads: \"dangerous-any\"", &|file| file.policy.workloads = Workloads::DangerousAny),
            ("accept.operators: \"any\"", &|file| file.policy.operators = Accept::Any),
            ("accept.operators: empty", &|file| file.policy.operators = Accept::Only(Vec::new())),
            ("accept.registries: \"any\"", &|file| file.policy.registries = Accept::Any),
            ("accept.max_age_ms", &|file| file.policy.max_age_ms = DAY_MS + 1),
            ("accept.require_offer_binding", &|file| file.policy.require_offer_binding = false),
            ("log.require_level", &|file| file.policy.require_level = LogLevel::Witnessed),
            ("as good as no limit", &|file| file.spend.assets[0].max_per_day = Amount(1_000_000_001)),
            ("names no registry on that chain", &|file| file.spend.assets[0].network = Eip155(1)),
        ];
        for (expected, change) in risky {
            let mut file = careful();
            change(&mut file);
            let found = warnings(&file);
            assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
        }
        let mut file = careful();
        file.spend.assets[0].max_per_day = Amount(9_999);
        assert!(warnings(&file)[0].contains("below max_per_request"));
        file.spend.assets.clear();
        assert_eq!(warnings(&file), ["spend: no [[spend]]: nothing can be paid"]);
    }

    #[test]
    fn amounts_are_said_in_money_where_the_token_is_known_and_in_its_smallest_unit_elsewhere() {
        let file = careful();
        let said = |file: &PolicyFile, moneys: &[Option<TokenWords>]| rows(file, moneys).last().unwrap().1.clone();
        let moneys: Vec<Option<TokenWords>> = file.spend.assets.iter().map(known).collect();
        assert!(said(&file, &moneys).starts_with("0.010000 USDC a request and 1.000000 USDC a day at most"));
        let mut other = careful();
        other.spend.assets[0].asset = Address([7; 20]);
        assert!(known(&other.spend.assets[0]).is_none());
        assert!(said(&other, &[None]).starts_with(&format!("10000 units of {} a request", Address([7; 20]))));
    }
}
