//! In which order nodes are asked: the cheapest first; among those within a tenth of it the one that answered quickest; among equals by chance.
//! Those that failed a moment ago come last, and those that sell in an asset that the policy names later come after those that sell in an
//! earlier one: amounts of two assets are not compared.
//!
//! Pure: what is known of each in, an order out. Not here: where it is known from (`nodes`), and what was wished (`wishes`).

use candor_verify::bytes::Amount;

/// What is known of a node for one request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Known {
    /// What it asks for it, at most; `None`: it sells it in no asset of the policy, or not at all.
    pub(super) price: Option<Price>,
    /// How long it takes to name a price, on average; `None` if it was never asked.
    pub(super) latency_ms: Option<u64>,
    /// It failed a moment ago.
    pub(super) is_failing: bool,
}

/// A price in one of the policy's assets.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Price {
    /// Its place in the policy.
    pub(super) asset: usize,
    /// In its smallest unit.
    pub(super) amount: Amount,
}

/// The places of these nodes in the order in which they are asked. `random` gives any number.
pub(super) fn rank(known: &[Known], mut random: impl FnMut() -> u64) -> Vec<usize> {
    // Whoever has no price is after everybody who has one.
    let key = |at: &usize| known.get(*at).map(|node| (node.is_failing, node.price.is_none(), node.price));
    let mut left: Vec<usize> = (0..known.len()).collect();
    left.sort_by_key(key);
    let mut order = Vec::with_capacity(left.len());
    while let Some(first) = left.first().copied() {
        let near: Vec<usize> = left.iter().copied().filter(|at| is_near(known.get(first), known.get(*at))).collect();
        // Never asked counts as quickest: or it would never be measured.
        let latency = |at: &usize| known.get(*at).and_then(|node| node.latency_ms).unwrap_or_default();
        let quickest = near.iter().map(latency).min().unwrap_or_default();
        let equal: Vec<usize> = near.into_iter().filter(|at| latency(at) == quickest).collect();
        let count = u64::try_from(equal.len()).unwrap_or(u64::MAX).max(1);
        let chosen = usize::try_from(random() % count).ok().and_then(|at| equal.get(at)).copied().unwrap_or(first);
        left.retain(|at| *at != chosen);
        order.push(chosen);
    }
    order
}

/// Whether one is as good as the first by all that comes before its speed: a tenth dearer at most.
fn is_near(first: Option<&Known>, other: Option<&Known>) -> bool {
    let (Some(first), Some(other)) = (first, other) else { return false };
    let price = match (first.price, other.price) {
        (Some(first), Some(other)) => {
            let most = first.amount.0.saturating_add(first.amount.0 / 10);
            first.asset == other.asset && other.amount.0 <= most
        }
        (None, None) => true,
        _ => false,
    };
    price && first.is_failing == other.is_failing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(amount: u128, latency_ms: u64) -> Known {
        Known { price: Some(Price { asset: 0, amount: Amount(amount) }), latency_ms: Some(latency_ms), is_failing: false }
    }

    fn order(known: &[Known]) -> Vec<usize> {
        rank(known, || 0)
    }

    #[test]
    fn the_cheapest_is_first_and_within_a_tenth_the_quickest() {
        assert_eq!(order(&[at(200, 1), at(100, 90)]), [1, 0]);
        assert_eq!(order(&[at(110, 1), at(100, 90)]), [0, 1]);
        assert_eq!(order(&[at(111, 1), at(100, 90)]), [1, 0]);
        // Near to the first, and not to each other in a chain.
        assert_eq!(order(&[at(100, 9), at(109, 5), at(118, 1)]), [1, 0, 2]);
        assert_eq!(order(&[at(0, 9), at(1, 1)]), [0, 1], "a tenth of nothing is nothing");
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn equals_are_asked_by_chance_and_whoever_was_never_asked_first() {
        let equals = [at(100, 5), at(100, 5), at(100, 5)];
        let firsts: Vec<usize> = (0..3).map(|number| rank(&equals, || number)[0]).collect();
        assert_eq!(firsts, [0, 1, 2]);
        assert_eq!(order(&[at(100, 1), Known { latency_ms: None, ..at(105, 0) }]), [1, 0]);
    }

    #[test]
    fn who_failed_comes_last_and_other_assets_are_not_compared() {
        assert_eq!(order(&[Known { is_failing: true, ..at(1, 1) }, at(900, 9)]), [1, 0]);
        let other = Known { price: Some(Price { asset: 1, amount: Amount(1) }), ..at(0, 1) };
        assert_eq!(order(&[other, at(900, 9)]), [1, 0]);
        assert_eq!(order(&[Known::default(), at(900, 9), Known { is_failing: true, ..Known::default() }]), [1, 0, 2]);
        // Every node is in the order, once.
        let mut all = rank(&[at(1, 1), other, Known::default(), at(2, 2)], || 7);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }
}
