//! What a verified enclave sells at now: its list in force, which the registrar of its terms signed; else the ceilings of the terms.

use candor_verify::eip712::K256;
use candor_verify::evidence::VerifiedEnclave;
use candor_verify::terms::{Classes, OperatorTerms, Price, PriceList, SignedPriceList};
use candor_verify::time::UnixMs;

use crate::clock;
use crate::error::ClientError;
use crate::http::Http;
use crate::resolve::endpoint_of;

/// Where an enclave says it.
const PATH: &str = "/candor/price-list";

/// The list in force, from the enclave itself over a connection to its attested key. `None`: the prices are the ceilings. What breaks a rule
/// of the terms, or is not in force by our clock, is none.
///
/// # Errors
/// `Unreachable`, `WrongKey`, `NoNode` if the terms have no https endpoint.
pub async fn price_list(enclave: &VerifiedEnclave) -> Result<Option<SignedPriceList>, ClientError> {
    let mut http = Http::connect(&endpoint_of(enclave)?, Some(enclave.manifest().tls_spki_hash)).await?;
    let list = list_of(&mut http, enclave.terms()).await?;
    Ok(list.filter(|signed| is_in_force(&signed.list, clock::now())))
}

/// The list that an enclave gives over a connection to its attested key, whenever it is in force. What breaks a rule of the terms is none.
pub(crate) async fn list_of(http: &mut Http, terms: &OperatorTerms) -> Result<Option<SignedPriceList>, ClientError> {
    let (status, body) = http.get(PATH).await?;
    let list = (status == hyper::StatusCode::OK).then(|| SignedPriceList::parse(&body).ok()).flatten();
    Ok(list.filter(|signed| signed.check(terms, &K256).is_ok()))
}

/// Whether a list counts at this moment. Spec: terms-and-manifest.md §4.
#[must_use]
pub fn is_in_force(list: &PriceList, now: UnixMs) -> bool {
    list.from <= now && now < list.until
}

/// What a price of the terms is under a list that is in force, or under none.
#[must_use]
pub fn price_now<'a>(price: &'a Price, list: Option<&'a SignedPriceList>) -> &'a Classes {
    let listed = list.and_then(|signed| signed.list.price(&price.model, price.chain_id, &price.asset));
    listed.unwrap_or(&price.ceiling)
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::{Address, Amount, Hash32, Signature65};
    use candor_verify::terms::ListedPrice;

    use super::*;

    #[test]
    fn a_list_counts_from_its_first_moment_until_before_its_last_and_what_it_does_not_name_has_its_ceiling() {
        let classes = |units| Classes { request: Amount(units), ..Classes::default() };
        let price = Price { model: Hash32([1; 32]), chain_id: 1, asset: Address([2; 20]), floor: classes(1), ceiling: classes(9) };
        let listed = ListedPrice { model: price.model, chain_id: 1, asset: price.asset, classes: classes(5) };
        let list = PriceList { terms_hash: Hash32::ZERO, number: 1, from: UnixMs(10), until: UnixMs(20), prices: vec![listed] };
        assert_eq!([9, 10, 19, 20].map(|now| is_in_force(&list, UnixMs(now))), [false, true, true, false]);
        let signed = SignedPriceList { list, signature: Signature65([0; 65]) };
        let other = Price { chain_id: 2, ..price.clone() };
        assert_eq!(
            [price_now(&price, Some(&signed)), price_now(&other, Some(&signed)), price_now(&price, None)],
            [&classes(5), &classes(9), &classes(9)]
        );
    }
}
