//! What a model costs now: the ceiling that the operator signed, or what a list says that its registrar signed.
//!
//! One list at a time. A list is taken if it is of these terms, signed by their registrar, within floor and ceiling, in force, and of a higher
//! number than every list before. Offers name it. One that was made by the list before, or by the ceiling, is honoured for as long as it says,
//! two minutes at most: whoever signed for it has a price, and not a surprise.
//!
//! When a list ends the ceiling counts again, and from so long before its end that no offer by the list outlives it. Nothing is remembered
//! over a boot: an old list can be put to a new one until it ends, seven days at most. Spec: terms-and-manifest.md §4, payment.md §3.

use std::sync::Arc;

use candor_verify::bytes::Hash32;
use candor_verify::terms::{OperatorTerms, Price, SignedPriceList};
use candor_verify::time::UnixMs;
use candor_x402::Libsecp;

/// Longest time from making an offer to its end, in milliseconds: two buckets.
pub(crate) const OFFER_MS: u64 = 120_000;

/// A list that was taken, with its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Taken {
    pub(crate) digest: Hash32,
    pub(crate) signed: SignedPriceList,
}

/// A price, and the list that says so; the ceiling of the terms without one.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) price: Price,
    pub(crate) list: Option<Arc<Taken>>,
}

/// The lists of one boot.
#[derive(Debug, Default)]
pub(crate) struct Prices {
    newest: Option<Arc<Taken>>,
    // What was in force when the newest was taken, and when that was. Honoured for a while, and not offered.
    before: Option<(Option<Arc<Taken>>, UnixMs)>,
}

impl Prices {
    /// Takes a list, or says by which rule not. The newest one again changes nothing.
    pub(crate) fn take(&mut self, bytes: &[u8], terms: &OperatorTerms, now: UnixMs) -> Result<(), String> {
        let signed = SignedPriceList::parse(bytes).map_err(|error| format!("no price list: {error}"))?;
        signed.check(terms, &Libsecp).map_err(|(expected, got)| format!("expected {expected}, got {got}"))?;
        let list = &signed.list;
        if now < list.from || list.until <= now {
            return Err(format!("expected a list in force at {now} ms, got one from {} to {} ms", list.from, list.until));
        }
        let digest = list.digest();
        let held = self.newest.as_ref().map_or((0, Hash32::ZERO), |taken| (taken.signed.list.number, taken.digest));
        if (list.number, digest) == held {
            return Ok(());
        }
        if list.number <= held.0 {
            return Err(format!("expected a number above {}, got {}", held.0, list.number));
        }
        self.before = Some((self.at(now), now));
        self.newest = Some(Arc::new(Taken { digest, signed }));
        Ok(())
    }

    /// The list by which an offer may be made now.
    pub(crate) fn at(&self, now: UnixMs) -> Option<Arc<Taken>> {
        self.newest.clone().filter(|taken| outlives_offers(taken, now))
    }

    /// The list of this name, for whoever pays by an offer of it or keeps it; none if it was replaced too long ago.
    pub(crate) fn named(&self, digest: &Hash32, now: UnixMs) -> Option<Arc<Taken>> {
        let before = self.before.iter().filter(|(_, at)| now <= at.saturating_add(OFFER_MS)).filter_map(|(list, _)| list.as_ref());
        self.newest.iter().chain(before).find(|taken| taken.digest == *digest).cloned()
    }

    /// The price for a request: what is in force, or what was when the offer was made that its payment echoes (`echoed`: the list that it names).
    pub(crate) fn price_for(&self, ceiling: &Price, echoed: Option<Hash32>, now: UnixMs) -> InForce {
        let current = self.at(now);
        let is_recent = self.before.as_ref().is_some_and(|(_, at)| now <= at.saturating_add(OFFER_MS));
        let was_ceiling = is_recent && self.before.as_ref().is_some_and(|(list, _)| list.is_none());
        let list = match echoed {
            Some(digest) if digest.is_zero() && was_ceiling => None,
            Some(digest) if !digest.is_zero() => self.named(&digest, now).or(current),
            Some(_) | None => current,
        };
        listed(ceiling, list)
    }
}

/// Whether an offer that is made now ends before the list does.
fn outlives_offers(taken: &Taken, now: UnixMs) -> bool {
    let list = &taken.signed.list;
    list.from <= now && now.saturating_add(OFFER_MS) <= list.until
}

/// The price by this list. A list has each price of the terms, which was checked when it was taken.
fn listed(ceiling: &Price, list: Option<Arc<Taken>>) -> InForce {
    let classes = list.as_ref().and_then(|taken| taken.signed.list.price(&ceiling.model, ceiling.chain_id, &ceiling.asset).copied());
    match classes {
        Some(classes) => InForce { price: Price { ceiling: classes, ..ceiling.clone() }, list },
        None => InForce { price: ceiling.clone(), list: None },
    }
}

#[cfg(test)]
mod tests {
    use candor_testkit::forge::{Key, NOW_MS, REGISTRAR};
    use candor_testkit::honest::{classes, price_list, terms_for};
    use candor_verify::terms::{Model, PriceList};

    use super::*;

    const NOW: UnixMs = UnixMs(NOW_MS);

    fn terms() -> OperatorTerms {
        terms_for(Model::local("fixture", Hash32([8; 32]), 512))
    }

    fn signed_by(name: u8, list: PriceList) -> SignedPriceList {
        let signature = Key::of(name).sign(&list.digest());
        SignedPriceList { list, signature }
    }

    fn signed(list: PriceList) -> Vec<u8> {
        signed_by(REGISTRAR, list).encode()
    }

    #[test]
    fn a_list_is_taken_by_every_rule_or_refused_by_the_name_of_the_one_that_it_breaks() {
        let (terms, half) = (terms(), price_list(&terms()));
        let change = |change: fn(&mut PriceList)| {
            let mut list = half.clone();
            change(&mut list);
            signed(list)
        };
        let rows: [(Vec<u8>, &str); 9] = [
            (b"none".to_vec(), "no price list"),
            (signed_by(9, half.clone()).encode(), "signed by the registrar"),
            (change(|list| list.terms_hash = Hash32([1; 32])), "a list under terms"),
            (change(|list| list.number = 0), "a numbered list"),
            (change(|list| list.until = UnixMs(list.from.0 + 7 * 86_400_000 + 1)), "at most 7 days"),
            (change(|list| list.prices[0].classes = classes(1_000_001, 1, 1)), "between the floor and the ceiling"),
            (change(|list| list.prices[0].classes = classes(99_999, 3_000_000, 100)), "between the floor and the ceiling"),
            (change(|list| (list.from, list.until) = (UnixMs(NOW_MS + 1), UnixMs(NOW_MS + 9))), "in force at"),
            (change(|list| (list.from, list.until) = (UnixMs(NOW_MS - 9), NOW)), "in force at"),
        ];
        let mut prices = Prices::default();
        for (bytes, rule) in rows {
            let refused = prices.take(&bytes, &terms, NOW).unwrap_err();
            assert!(refused.contains(rule), "{rule}: {refused}");
            assert!(prices.at(NOW).is_none());
        }
        assert_eq!(prices.take(&signed(half.clone()), &terms, NOW), Ok(()));
        assert_eq!(prices.at(NOW).unwrap().digest, half.digest());
        // The same again is no other; a lower number, and another list of its number, are none.
        assert_eq!(prices.take(&signed(half.clone()), &terms, NOW), Ok(()));
        for number in [half.number, half.number - 1] {
            let other = PriceList { number, until: UnixMs(half.until.0 - 1), ..half.clone() };
            assert!(prices.take(&signed(other), &terms, NOW).unwrap_err().contains("expected a number above 7"));
        }
    }

    #[test]
    fn what_was_offered_before_is_honoured_as_long_as_an_offer_lasts_and_no_offer_outlives_its_list() {
        let (terms, half) = (terms(), price_list(&terms()));
        let ceiling = &terms.prices[0];
        let mut prices = Prices::default();
        let amount = |prices: &Prices, echoed, at| prices.price_for(ceiling, echoed, at).price.ceiling.input.0;
        assert_eq!(amount(&prices, None, NOW), 1_000_000);
        prices.take(&signed(half.clone()), &terms, NOW).unwrap();
        assert_eq!(amount(&prices, None, NOW), 500_000);
        // The ceiling was offered until now.
        assert_eq!(amount(&prices, Some(Hash32::ZERO), UnixMs(NOW_MS + OFFER_MS)), 1_000_000);
        assert_eq!(amount(&prices, Some(Hash32::ZERO), UnixMs(NOW_MS + OFFER_MS + 1)), 500_000);
        let mut dearer = PriceList { number: 8, ..half.clone() };
        dearer.prices[0].classes = classes(900_000, 3_000_000, 100);
        let later = UnixMs(NOW_MS + 1_000_000);
        prices.take(&signed(dearer.clone()), &terms, later).unwrap();
        assert_eq!((amount(&prices, None, later), amount(&prices, Some(half.digest()), later)), (900_000, 500_000));
        let over = UnixMs(later.0 + OFFER_MS + 1);
        assert_eq!(amount(&prices, Some(half.digest()), over), 900_000);
        assert!(prices.named(&half.digest(), over).is_none() && prices.named(&dearer.digest(), over).is_some());
        // Made by nobody's list: what is in force.
        assert_eq!(amount(&prices, Some(Hash32([1; 32])), over), 900_000);
        let last = UnixMs(dearer.until.0 - OFFER_MS);
        assert_eq!((amount(&prices, None, last), amount(&prices, None, UnixMs(last.0 + 1))), (900_000, 1_000_000));
    }
}
