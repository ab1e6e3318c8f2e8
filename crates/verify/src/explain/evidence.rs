//! The steps about the boot: what the hardware signed, and what the manifest and the terms hash to.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Layout, Sheet};
use crate::attest;
use crate::bundle::Bundle;
use crate::bytes::{Hash32, to_hex};
use crate::eip712::{Structured, array, array_preimage, string};
use crate::hash::keccak256;
use crate::manifest::{Manifest, attested_bytes, keys_hash, workload_id_of, workload_id_preimage};
use crate::tags;

pub(super) fn document(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    for attestation in &bundle.evidence.attestations {
        attest::explain_document(&attestation.document, sheet);
    }
}

pub(super) fn binding(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let (manifest, freshness) = (&bundle.evidence.manifest, &bundle.evidence.freshness);
    manifest_hash(manifest, sheet);
    let layout: Layout<'_> = &[("tag", tags::FRESH.len()), ("chain id", 32), ("block number", 32), ("block hash", 32), ("nonce", 32)];
    sheet.sha256("freshness tag: first 12 bytes", freshness.tag_preimage(), &freshness.tag_hash(), layout);
    let expected = attested_bytes(&manifest.k_sig, &manifest.hash(), freshness);
    sheet.told("attested 64 bytes, expected: K_sig, manifest hash, freshness tag", to_hex(&expected));
    let got = attest::parse_document(bundle.evidence.document());
    let got = got.map_or_else(|error| error.to_string(), |document| to_hex(document.claimed_user_data().unwrap_or_default()));
    sheet.told("attested 64 bytes, in the document", got);
}

pub(super) fn manifest_hash(manifest: &Manifest, sheet: &mut Sheet<'_>) {
    let layout = Manifest::WORD_NAMES.map(|name| (name, 32));
    sheet.keccak256("manifest hash", manifest.encode(), &manifest.hash(), &layout);
}

/// The lists of the terms that the manifest does not repeat, and the terms.
pub(super) fn terms(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let terms = &bundle.evidence.terms.terms;
    sheet.list("assets", &terms.assets, &array_of(&terms.assets));
    sheet.list("upstreams", &terms.upstreams, &array_of(&terms.upstreams));
    sheet.list("secrets", &terms.secrets, &array_of(&terms.secrets));
    sheet.list("sealed", &terms.sealed, &array_of(&terms.sealed));
    sheet.list("egress", &terms.egress, &array_of(&terms.egress));
    sheet.typed("access", &terms.access.to_struct());
    sheet.typed("guard", &terms.guard.to_struct());
    let endpoints: Vec<Hash32> = terms.endpoints.iter().map(|url| string(url)).collect();
    sheet.keccak256("endpoints", array_preimage(endpoints.iter().copied()), &array(endpoints), &[]);
    sheet.message("operator terms", &terms.message());
    sheet.told("terms hash in the manifest", bundle.evidence.manifest.terms_hash.to_string());
}

fn array_of<T: Structured>(members: &[T]) -> Hash32 {
    array(members.iter().map(Structured::struct_hash))
}

pub(super) fn operator(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let signed = &bundle.evidence.terms;
    sheet.digest("operator terms", &signed.terms.message());
    sheet.signed("operator's signature over the terms", &signed.terms.digest(), &signed.signature, &signed.terms.operator);
}

/// The digests that the manifest carries of the terms' lists.
pub(super) fn manifest(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let (terms, evidence) = (&bundle.evidence.terms.terms, &bundle.evidence);
    sheet.list("contractsHash", &terms.chains, &terms.contracts_hash());
    for model in &terms.models {
        sheet.list(&alloc::format!("routes of {}", model.id), &model.routes, &array_of(&model.routes));
    }
    sheet.list("modelSetRoot", &terms.models, &terms.model_set_root());
    for price in &terms.prices {
        sheet.typed("ceiling", &price.ceiling.to_struct());
        sheet.typed("floor", &price.floor.to_struct());
    }
    sheet.list("priceTableHash", &terms.prices, &terms.price_table_hash());
    if !evidence.keys.is_empty() {
        sheet.list("keysHash", &evidence.keys, &keys_hash(&evidence.keys));
    }
}

pub(super) fn workload(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let Some(kind) = bundle.evidence.attestations.first().map(|attestation| attestation.kind) else {
        return sheet.told("workload", "no attestation document");
    };
    let document = match attest::parse_document(bundle.evidence.document()) {
        Ok(document) => document,
        Err(error) => return sheet.told("workload", error.to_string()),
    };
    let measurements = match document.claimed_measurements() {
        Ok(measurements) => measurements,
        Err(error) => return sheet.told("workload", error.to_string()),
    };
    sheet.keccak256("keccak256 of the tag", tags::WORKLOAD.to_vec(), &keccak256(&[tags::WORKLOAD]), &[]);
    let measured = keccak256(&[&measurements]);
    sheet.keccak256("measurements hash", measurements.to_vec(), &measured, &[("PCR0", 48), ("PCR1", 48), ("PCR2", 48)]);
    let root = Hash32(document.claimed_root().fingerprint);
    let preimage = workload_id_preimage(kind.into(), &root, &measured).into_vec();
    let layout: Layout<'_> = &[("tag hash", 32), ("kind", 32), ("root fingerprint", 32), ("measurements hash", 32)];
    sheet.keccak256("workload id", preimage, &workload_id_of(kind.into(), &root, &measured), layout);
}
