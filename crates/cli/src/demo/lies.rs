//! Ten lies about one real bundle. Each changes one thing as a liar could, and each must be refused by the check that guards it.

use candor_devtee::{Hypervisor, Measurements, Request};
use candor_verify::bundle::{Bundle, Sale};
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::manifest::attested_bytes;
use candor_verify::payment::{TokenDomain, offer_nonce};
use candor_verify::verdict::Outcome;

use super::Stage;
use crate::dev::{self, Role};
use crate::output::Failure;

/// A lie: what is changed, in a word or two and in a line, and which check must say so.
struct Lie {
    short: &'static str,
    what: &'static str,
    check: &'static str,
    tell: fn(&mut Bundle, &Stage) -> Result<(), Failure>,
}

const fn lie(short: &'static str, what: &'static str, check: &'static str, tell: fn(&mut Bundle, &Stage) -> Result<(), Failure>) -> Lie {
    Lie { short, what, check, tell }
}

const LIES: [Lie; 10] = [
    lie("answer altered", "one character of a frame", "response.commitment", alter_answer),
    lie("question altered", "one character of the question", "request.commitment", alter_request),
    lie("other model", "other weights in the operator's terms", "evidence.terms", swap_model),
    lie("price raised", "in the offer, after it was signed", "offer.signature", raise_price),
    lie("receipt reused", "shown for another payment, honestly signed by the same payer", "receipt.payment", reuse_receipt),
    lie("payee swapped", "in what the payer signed", "payment.signature", change_payee),
    lie("signature forged", "the receipt signed by another key", "receipt.signature", forge_signature),
    lie("other root", "same keys and measurements, attested under another root", "attest.root", other_root),
    lie("log rewritten", "since it was anchored (a fork)", "log.consistency", fork_log),
    lie("never logged", "a receipt that is in no tree", "log.inclusion", never_logged),
];

/// A lie that was refused.
pub(super) struct Told {
    pub(super) short: &'static str,
    pub(super) what: &'static str,
    pub(super) check: &'static str,
}

/// Tells them all, and what refused each.
pub(super) fn refuse_all(stage: &Stage, honest: &Bundle, chain: ChainFacts<'_>) -> Result<Vec<Told>, Failure> {
    let mut told = Vec::new();
    for Lie { short, what, check, tell } in LIES {
        let mut bundle = honest.clone();
        tell(&mut bundle, stage)?;
        let (verdict, _) = verify_bundle(&bundle, &stage.policy.policy, chain, &K256);
        let refused = verdict.refused().filter(|_| verdict.outcome() == Outcome::Refused).map_or("nothing", |check| check.id);
        if refused != check {
            return Err(Failure::cannot(format!("{short} ({what}): expected {check} to refuse it, got {refused}")));
        }
        told.push(Told { short, what, check });
    }
    Ok(told)
}

fn missing(what: &str) -> Failure {
    Failure::cannot(format!("the bundle has no {what} to lie about"))
}

fn alter_answer(bundle: &mut Bundle, _: &Stage) -> Result<(), Failure> {
    let byte = bundle.response.frames.last_mut().and_then(|frame| frame.get_mut(20)).ok_or_else(|| missing("answer"))?;
    *byte ^= 1;
    Ok(())
}

fn alter_request(bundle: &mut Bundle, _: &Stage) -> Result<(), Failure> {
    let byte = bundle.request.body.get_mut(20).ok_or_else(|| missing("request"))?;
    *byte ^= 1;
    Ok(())
}

fn swap_model(bundle: &mut Bundle, _: &Stage) -> Result<(), Failure> {
    let model = bundle.evidence.terms.terms.models.first_mut().ok_or_else(|| missing("model"))?;
    model.digest = Hash32([0x5a; 32]);
    Ok(())
}

fn sale(bundle: &mut Bundle) -> Result<&mut Sale, Failure> {
    bundle.sale.as_mut().ok_or_else(|| missing("sale"))
}

fn raise_price(bundle: &mut Bundle, _: &Stage) -> Result<(), Failure> {
    let offer = &mut sale(bundle)?.offer;
    offer.amount = Amount(offer.amount.0.saturating_mul(2));
    Ok(())
}

/// A second payment for the same offer, signed by the payer: everything about it is right but that this receipt is not its.
fn reuse_receipt(bundle: &mut Bundle, stage: &Stage) -> Result<(), Failure> {
    let salt = Hash32([0x5b; 32]);
    let terms = bundle.evidence.terms.terms.clone();
    let Sale { offer, payment, .. } = sale(bundle)?;
    let asset = terms.asset(offer.chain_id, &offer.asset).ok_or_else(|| missing("asset"))?;
    let domain = TokenDomain { name: asset.name.clone(), version: asset.version.clone(), chain_id: offer.chain_id, asset: offer.asset };
    payment.authorization.nonce = offer_nonce(&offer.digest(), &salt);
    payment.client_salt = Some(salt);
    payment.signature = stage.development.signer(Role::Payer).sign_digest(&payment.authorization.digest(&domain))?;
    Ok(())
}

fn change_payee(bundle: &mut Bundle, stage: &Stage) -> Result<(), Failure> {
    sale(bundle)?.payment.authorization.to = stage.development.address(Role::Faucet);
    Ok(())
}

fn forge_signature(bundle: &mut Bundle, stage: &Stage) -> Result<(), Failure> {
    bundle.delivery.signature = stage.development.signer(Role::Payer).sign_digest(&bundle.delivery.receipt.digest())?;
    Ok(())
}

/// A genuine-looking document over the same 64 bytes, by somebody else's hypervisor.
fn other_root(bundle: &mut Bundle, stage: &Stage) -> Result<(), Failure> {
    let cannot = |error: candor_devtee::DevteeError| Failure::cannot(error.to_string());
    let stranger = Hypervisor::open_or_create(&stage.state.join("stranger")).map_err(cannot)?;
    let manifest = &bundle.evidence.manifest;
    let attested = attested_bytes(&manifest.k_sig, &manifest.hash(), &bundle.evidence.freshness);
    let measurements: Measurements = dev::measurements()?;
    let request = Request { user_data: Some(&attested), ..Request::default() };
    let attestation = bundle.evidence.attestations.first_mut().ok_or_else(|| missing("attestation document"))?;
    attestation.document = stranger.attest(&measurements, &request, dev::now().0).map_err(cannot)?;
    Ok(())
}

fn fork_log(bundle: &mut Bundle, _: &Stage) -> Result<(), Failure> {
    let later = bundle.later_trees.first_mut().ok_or_else(|| missing("later anchor"))?;
    later.checkpoint.tree.root = Hash32([0x5c; 32]);
    Ok(())
}

fn never_logged(bundle: &mut Bundle, _: &Stage) -> Result<(), Failure> {
    bundle.delivery.leaf_salt = Hash32([0x5d; 32]);
    Ok(())
}
