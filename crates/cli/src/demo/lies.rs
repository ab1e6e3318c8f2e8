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
use crate::output::{Failure, say};

/// A lie: what is changed, and which check must say so.
struct Lie {
    what: &'static str,
    check: &'static str,
    tell: fn(&mut Bundle, &Stage) -> Result<(), Failure>,
}

const LIES: [Lie; 10] = [
    Lie { what: "the answer: one character of a frame", check: "response.commitment", tell: alter_answer },
    Lie { what: "the request: one character of the question", check: "request.commitment", tell: alter_request },
    Lie { what: "the model: other weights in the operator's terms", check: "evidence.terms", tell: swap_model },
    Lie { what: "the price: raised in the offer after signing", check: "offer.signature", tell: raise_price },
    Lie {
        what: "the receipt: shown for another payment, honestly signed by the same payer",
        check: "receipt.payment",
        tell: reuse_receipt,
    },
    Lie { what: "the payee: changed in what the payer signed", check: "payment.signature", tell: change_payee },
    Lie { what: "the signature: the receipt signed by another key", check: "receipt.signature", tell: forge_signature },
    Lie { what: "the evidence: same keys and measurements, attested under another root", check: "attest.root", tell: other_root },
    Lie { what: "the log: rewritten since it was anchored (a fork)", check: "log.consistency", tell: fork_log },
    Lie { what: "the inclusion: of a receipt that was never logged", check: "log.inclusion", tell: never_logged },
];

/// Tells them all; the checks that refused them.
pub(crate) fn refuse_all(stage: &Stage, honest: &Bundle, chain: ChainFacts<'_>) -> Result<Vec<&'static str>, Failure> {
    say!("\nTen lies");
    let mut refused = Vec::new();
    for lie in LIES {
        let mut bundle = honest.clone();
        (lie.tell)(&mut bundle, stage)?;
        let (verdict, _) = verify_bundle(&bundle, &stage.policy.policy, chain, &K256);
        let check = verdict.refused().map_or("nothing", |check| check.id);
        say!("  {}  {check:<20} {}", if verdict.outcome() == Outcome::Refused { "refused" } else { "BELIEVED" }, lie.what);
        if check != lie.check {
            return Err(Failure::cannot(format!("expected {} to refuse: {}", lie.check, lie.what)));
        }
        refused.push(check);
    }
    Ok(refused)
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
    payment.signature = stage.development.wallet().sign(&payment.authorization.digest(&domain));
    Ok(())
}

fn change_payee(bundle: &mut Bundle, stage: &Stage) -> Result<(), Failure> {
    sale(bundle)?.payment.authorization.to = stage.development.address(Role::Faucet);
    Ok(())
}

fn forge_signature(bundle: &mut Bundle, stage: &Stage) -> Result<(), Failure> {
    bundle.delivery.signature = stage.development.wallet().sign(&bundle.delivery.receipt.digest());
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
