//! What a verified enclave sells at now: its list in force, which the registrar of its terms signed; else the ceilings of the terms.

use candor_verify::eip712::K256;
use candor_verify::evidence::VerifiedEnclave;
use candor_verify::terms::{Classes, Price, SignedPriceList};

use crate::clock;
use crate::error::ClientError;
use crate::http::Http;
use crate::tls::Endpoint;

/// The list in force, from the enclave itself over a connection to its attested key. `None`: the prices are the ceilings. What breaks a rule
/// of the terms, or is not in force by our clock, is none.
///
/// # Errors
/// `Unreachable`, `WrongKey`, `Usage` if the terms have no https endpoint.
pub async fn price_list(enclave: &VerifiedEnclave) -> Result<Option<SignedPriceList>, ClientError> {
    let url = enclave.terms().endpoints.iter().find(|url| url.starts_with("https://"));
    let endpoint = Endpoint::parse(url.ok_or_else(|| ClientError::NoNode("the terms have no https endpoint".into()))?)?;
    let mut http = Http::connect(&endpoint, Some(enclave.manifest().tls_spki_hash)).await?;
    let (status, body) = http.get("/candor/price-list").await?;
    let now = clock::now();
    let in_force =
        |signed: &SignedPriceList| signed.check(enclave.terms(), &K256).is_ok() && signed.list.from <= now && now < signed.list.until;
    let list = (status == hyper::StatusCode::OK).then(|| SignedPriceList::parse(&body).ok()).flatten();
    Ok(list.filter(in_force))
}

/// What a price of the terms is under such a list.
#[must_use]
pub fn price_now<'a>(price: &'a Price, list: Option<&'a SignedPriceList>) -> &'a Classes {
    let listed = list.and_then(|signed| signed.list.price(&price.model, price.chain_id, &price.asset));
    listed.unwrap_or(&price.ceiling)
}
