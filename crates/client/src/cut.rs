//! What to tell whoever asked when an answer was refused by a guard, or is not the whole of what was asked for: what is missing, whose limit it was, what it cost.
//!
//! Words about a bundle, for people. A cut answer verifies like any other, so no verdict says this.

use candor_verify::bundle::Bundle;
use candor_verify::receipt::Outcome;
use candor_verify::text::one_line;

/// One line about an answer that was refused or cut, or ended at a limit below the one asked for; `None` for a whole one.
#[must_use]
pub fn cut_notice(bundle: &Bundle) -> Option<String> {
    let (work, money) = (&bundle.delivery.receipt.work, &bundle.delivery.receipt.money);
    let offered = bundle.sale.as_ref().map_or_else(|| bundle.delivery.decoding.max_tokens.into(), |sale| sale.offer.max_tokens);
    let how = match work.outcome {
        Outcome::CutByNode => "cut by the node, whose cap on the time of one answer was over".to_owned(),
        Outcome::Aborted => "broken off: its client left, or the time that its payment gave was over".to_owned(),
        Outcome::Length => {
            let asked = asked_tokens(&bundle.request.body).filter(|asked| offered < *asked)?;
            format!("ended by the node's limit: {asked} tokens were asked for, {offered} were offered")
        }
        Outcome::RefusedByGuard => {
            let guard = one_line(&bundle.evidence.terms.terms.guard.model);
            return Some(format!("not answered: the node's guard {guard:?} refused this conversation; nobody pays for that"));
        }
        _ => return None,
    };
    let made = work.completion_tokens;
    let charge = if bundle.sale.is_some() { format!("{} units were charged", money.charged) } else { "nobody paid".to_owned() };
    Some(format!("this answer is not whole: {how}; it has {made} of at most {offered} tokens, and {charge}"))
}

/// How many tokens a request names, if it names any.
pub(crate) fn asked_tokens(body: &[u8]) -> Option<u64> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    json["max_completion_tokens"].as_u64().or_else(|| json["max_tokens"].as_u64())
}

#[cfg(test)]
mod tests {
    use candor_testkit::forge::{Forge, Lie};
    use candor_testkit::fresh_hypervisor;

    use super::*;

    #[test]
    fn whoever_gets_less_than_the_whole_is_told_by_whose_limit_and_at_what_price() {
        let forge = Forge::new(fresh_hypervisor("cut"));
        let notice = |outcome, completion_tokens, body: &str| {
            let mut bundle = forge.bundle(&Lie::default());
            (bundle.delivery.receipt.work.outcome, bundle.delivery.receipt.work.completion_tokens) = (outcome, completion_tokens);
            bundle.request.body = body.as_bytes().to_vec();
            cut_notice(&bundle)
        };
        let charged = forge.bundle(&Lie::default()).delivery.receipt.money.charged;
        let price = format!("{charged} units were charged");
        for (outcome, tokens, body, whose) in [
            (Outcome::CutByNode, 3, "{}", "cut by the node"),
            (Outcome::Aborted, 3, "{}", "its client left"),
            (Outcome::Length, 64, r#"{"max_tokens":900}"#, "900 tokens were asked for, 64 were offered"),
            (Outcome::Length, 64, r#"{"max_completion_tokens":65}"#, "65 tokens were asked for"),
        ] {
            let line = notice(outcome, tokens, body).unwrap();
            assert!(
                line.contains(whose) && line.contains(&format!("it has {tokens} of at most 64 tokens")) && line.ends_with(&price),
                "{line}"
            );
        }
        assert!(notice(Outcome::RefusedByGuard, 0, "{}").unwrap().contains("not answered: the node's guard"));
        assert_eq!(notice(Outcome::Complete, 3, r#"{"max_tokens":900}"#), None);
        assert_eq!(notice(Outcome::Length, 64, r#"{"max_tokens":64}"#), None);
        assert_eq!(notice(Outcome::Length, 64, "{}"), None);
    }
}
