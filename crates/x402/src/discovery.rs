//! What a seller says of itself before anybody asks for a price: `/.well-known/candor.json` and `/.well-known/x402`. Spec: http.md §5.
//!
//! Both follow from the signed terms and the boot's manifest, so that the enclave and its host say the same. They are material to judge: where
//! evidence is to be had, and what it will say. No verdict, offer or payment reads them.

use candor_verify::manifest::Manifest;
use candor_verify::public::PATH as CHAT_PATH;
use candor_verify::terms::{OperatorTerms, ways};
use serde_json::{Value, json};

use crate::protocol::{Eip155, X402_VERSION};

/// Path of [`candor_document`].
pub const CANDOR_PATH: &str = "/.well-known/candor.json";

/// Path of [`x402_document`].
pub const X402_PATH: &str = "/.well-known/x402";

/// Generation of the form of [`candor_document`].
const CANDOR_FORM: u64 = 1;

/// Path of a node's evidence: of its boot, and below it of boots before.
pub const EVIDENCE_PATH: &str = "/candor/evidence";

/// Who this is, where its evidence and its log are, and what it sells at most at. What is in force now, `/v1/models` says.
#[must_use]
pub fn candor_document(terms: &OperatorTerms, manifest: &Manifest) -> Value {
    let models = terms.answering_models().map(|model| {
        let prices = terms.prices.iter().filter(|price| price.model == model.digest).map(|price| {
            json!({
                "network": Eip155(price.chain_id).to_string(), "asset": price.asset.to_string(),
                "per_million_prompt_tokens": price.ceiling.input.to_string(), "per_million_completion_tokens": price.ceiling.output.to_string(),
                "per_request": price.ceiling.request.to_string(),
            })
        });
        json!({"id": model.id, "digest": model.digest.to_string(), "at_most": prices.collect::<Vec<_>>()})
    });
    let log = terms.endpoints.iter().find(|url| url.starts_with("http://"));
    json!({
        "candor": CANDOR_FORM, "receipts": candor_verify::VERSION, "endpoints": secure(terms).collect::<Vec<_>>(), "evidence": EVIDENCE_PATH, "log": log,
        "registry": {"chain_id": manifest.anchor_chain_id, "address": manifest.registry.to_string()},
        "operator": terms.operator.to_string(), "k_sig": manifest.k_sig.to_string(), "manifest": manifest.hash().to_string(),
        "terms": terms.digest().to_string(), "terms_end": terms.not_after.0, "models": models.collect::<Vec<_>>(),
        "guard": Some(&terms.guard.model).filter(|model| !model.is_empty()),
    })
}

/// The paid resources, in the form of x402's discovery draft (pull request 2979 of x402-foundation/x402): bare pointers, because a price depends on
/// the request, and an entry with some of what a 402 says and not all of it is not to be published. The 402 says the rest.
#[must_use]
pub fn x402_document(terms: &OperatorTerms) -> Value {
    let is_sold = terms.access.has(ways::PAID) && !terms.prices.is_empty();
    let resources = secure(terms).filter(|_| is_sold).map(|base| {
        json!({
            "url": format!("{}{CHAT_PATH}", base.trim_end_matches('/')), "method": "POST",
            "description": "One answer of a model in an attested enclave, with its receipt; a request without payment is told its price",
        })
    });
    json!({"x402Version": X402_VERSION, "kind": "resource-server", "resources": resources.collect::<Vec<_>>()})
}

fn secure(terms: &OperatorTerms) -> impl Iterator<Item = &String> {
    terms.endpoints.iter().filter(|url| url.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use candor_testkit::honest;

    use super::*;

    #[test]
    fn the_documents_say_what_terms_and_manifest_say_and_pointers_are_bare() {
        let terms = honest::terms();
        let manifest = Manifest { registry: terms.registry, anchor_chain_id: terms.anchor_chain_id, ..Manifest::default() };
        let said = candor_document(&terms, &manifest);
        assert_eq!(said["manifest"], manifest.hash().to_string());
        assert_eq!(said["registry"]["address"], manifest.registry.to_string());
        assert_eq!(said["terms"], terms.digest().to_string());
        assert_eq!(said["models"].as_array().map(Vec::len), Some(terms.models.len()));
        assert!(
            said["endpoints"]
                .as_array()
                .is_some_and(|urls| urls.iter().all(|url| url.as_str().is_some_and(|url| url.starts_with("https://"))))
        );
        let listed = x402_document(&terms);
        let entry = listed["resources"][0].as_object().expect("an entry");
        assert_eq!(
            entry.keys().map(String::as_str).collect::<Vec<_>>(),
            ["description", "method", "url"],
            "a price without a request is none"
        );
        let free = OperatorTerms { prices: Vec::new(), ..terms };
        assert_eq!(x402_document(&free)["resources"], json!([]));
    }
}
