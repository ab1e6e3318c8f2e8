//! Who asks through a proxy that has keys: a name, what it may ask and whom it may pay, and what it may spend.
//!
//! Not here: which key a request brings (`proxy::keys`), and what was spent by whom (`spend`).

use candor_report::{Decimal, ProxyKeyText, decimal_text};
use candor_verify::bytes::{Address, Amount};

use crate::error::ClientError;

/// Who asks through a proxy, with a key of its own.
#[derive(Clone, Debug)]
pub struct Caller(ProxyKeyText);

/// What a caller may spend of one asset, in its smallest unit; `None` is as much as the policy says.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Whose, as the book has it.
    pub(crate) caller: String,
    pub(crate) per_request: Option<Amount>,
    pub(crate) per_hour: Option<Amount>,
    pub(crate) per_day: Option<Amount>,
    pub(crate) decimals: u8,
}

/// What counts against a budget already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// By payments for this very request that may still be charged.
    pub(crate) for_request: Amount,
    pub(crate) in_hour: Amount,
    pub(crate) in_day: Amount,
}

impl Caller {
    pub(crate) fn of(key: ProxyKeyText) -> Self {
        Self(key)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn may_ask(&self, model: Option<&str>) -> bool {
        self.0.models.is_empty() || model.is_some_and(|model| self.0.models.iter().any(|known| known == model))
    }

    /// Who may be paid; anybody of the policy's, if there is none.
    pub(crate) fn payees(&self) -> &[Address] {
        &self.0.payees
    }

    pub(crate) fn has_budget(&self) -> bool {
        let ProxyKeyText { per_request, per_hour, per_day, .. } = &self.0;
        [per_request, per_hour, per_day].into_iter().any(Option::is_some)
    }

    /// What it may spend of an asset with so many decimals. Of a limit that the asset cannot express, nothing.
    pub(crate) fn budget(&self, decimals: u8) -> Budget {
        let ProxyKeyText { name, per_request, per_hour, per_day, .. } = &self.0;
        let units = |limit: &Option<Decimal>| limit.map(|limit| limit.units(decimals).unwrap_or(Amount::ZERO));
        Budget { caller: name.clone(), per_request: units(per_request), per_hour: units(per_hour), per_day: units(per_day), decimals }
    }
}

impl Budget {
    /// Whether so much more is within it.
    ///
    /// # Errors
    /// `Budget` with what is left, of an hour or a day; `Spend` of one request.
    pub(crate) fn check(&self, amount: Amount, spent: Spent) -> Result<(), ClientError> {
        let Self { caller, per_request, per_hour, per_day, decimals } = self;
        let money = |amount: Amount| decimal_text(amount, *decimals);
        let over = |limit: Option<Amount>, spent: Amount| limit.filter(|limit| spent.checked_add(amount).is_none_or(|sum| *limit < sum));
        if let Some(limit) = over(*per_request, spent.for_request) {
            let before = match spent.for_request {
                Amount::ZERO => String::new(),
                before => format!(", beside {} that may still be charged for it", money(before)),
            };
            let what = format!("key {caller:?} may pay {} for one request, and this one costs {}{before}", money(limit), money(amount));
            return Err(ClientError::Spend(what));
        }
        for (limit, spent, time) in [(*per_hour, spent.in_hour, "hour"), (*per_day, spent.in_day, "24 hours")] {
            if let Some(limit) = over(limit, spent) {
                let left = money(limit.checked_sub(spent).unwrap_or(Amount::ZERO));
                let limit = money(limit);
                let what = format!("key {caller:?} has {left} left of {limit} in any {time}, and this request costs {}", money(amount));
                return Err(ClientError::Budget(what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Hash32;

    use super::*;

    fn key(per_request: Option<&str>, per_day: Option<&str>) -> ProxyKeyText {
        let amount = |text: Option<&str>| text.map(|text| Decimal::parse(text).unwrap());
        ProxyKeyText {
            name: "a".into(),
            hash: Hash32::ZERO,
            per_request: amount(per_request),
            per_hour: None,
            per_day: amount(per_day),
            models: vec!["mini".into()],
            payees: vec![Address([7; 20])],
        }
    }

    #[test]
    fn a_caller_asks_its_models_and_one_without_a_list_any() {
        let caller = Caller::of(key(None, None));
        assert!(caller.may_ask(Some("mini")) && !caller.may_ask(Some("maxi")) && !caller.may_ask(None));
        assert_eq!((caller.payees(), caller.has_budget()), (&[Address([7; 20])][..], false));
        let open = Caller::of(ProxyKeyText { models: Vec::new(), payees: Vec::new(), ..key(None, Some("1")) });
        assert!(open.may_ask(None) && open.payees().is_empty() && open.has_budget());
    }

    #[test]
    fn a_request_is_held_to_its_limit_with_what_may_still_be_charged_for_it() {
        let budget = Caller::of(key(Some("0.001"), Some("2"))).budget(6);
        let spent =
            |for_request: u128, in_day: u128| Spent { for_request: Amount(for_request), in_hour: Amount(in_day), in_day: Amount(in_day) };
        let of = |amount: u128, spent: Spent| budget.check(Amount(amount), spent).map_err(|error| error.to_string());
        assert_eq!(of(1_000, spent(0, 1_999_000)), Ok(()));
        assert!(of(1_001, spent(0, 0)).unwrap_err().contains("may pay 0.001000 for one request, and this one costs 0.001001"));
        assert!(of(1_000, spent(1, 0)).unwrap_err().contains("beside 0.000001 that may still be charged"));
        assert!(of(1_000, spent(0, 1_999_001)).unwrap_err().contains("has 0.000999 left of 2.000000 in any 24 hours"));
        assert!(of(u128::MAX, spent(0, 1)).is_err());
        let coarse = Caller::of(key(Some("0.001"), None)).budget(0);
        assert!(coarse.check(Amount(1), spent(0, 0)).is_err(), "what the asset cannot express is nothing");
        assert!(
            Caller::of(key(None, None)).budget(6).check(Amount(u128::MAX), spent(0, 1)).is_ok(),
            "then the policy's limit is the only one"
        );
    }
}
