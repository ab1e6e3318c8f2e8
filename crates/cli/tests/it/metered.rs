//! A node whose terms name settlers: a payer who sends no transaction signs a maximum, and what the receipt meters is what the chain moves.

use std::path::Path;

use candor_devchain::dev_accounts;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Amount};
use candor_verify::scheme::{SETTLER_FACTORY, Scheme, UPTO_PROXY, settler_of};
use candor_verify::terms::SignedTerms;

use crate::bad_boots::changed;
use crate::support::eventually;
use crate::support::split::Split;

/// The well-known account that `candor ask` pays from.
fn payer() -> Address {
    const PAYER: usize = 4;
    Address(dev_accounts::ALL[PAYER].address.into_array())
}

/// A node under its terms, and with settlers on its chain.
async fn start() -> Split {
    Split::start_over(|arguments, socket| {
        name_settlers(&socket.with_file_name("terms.cbor"));
        arguments
    })
    .await
}

fn name_settlers(path: &Path) {
    let written = SignedTerms::parse(&std::fs::read(path).unwrap()).unwrap();
    let terms = changed(written, |terms| (terms.chains[0].settler_factory, terms.chains[0].upto_proxy) = (SETTLER_FACTORY, UPTO_PROXY));
    std::fs::write(path, terms).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_receipt_meters_is_what_moves_and_the_payer_sends_no_transaction() {
    let split = start().await;
    let (world, before) = (&split.world, split.world.balance(&payer()).await);
    let rpc = world.rpc();
    let mut charged_in_all = 0;
    // The first answer brings the allowance of its own maximum and uses some of it; each later one brings its own.
    for question in ["What is metered?", "And now?", "And once more?"] {
        let ran = world.candor(&["ask", "--rpc", &rpc, "--max-tokens", "64", question]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let bundle = Bundle::parse(&std::fs::read(ran.json["bundle"].as_str().unwrap()).unwrap()).unwrap();
        let money = &bundle.delivery.receipt.money;
        let k_sig = bundle.evidence.manifest.k_sig;
        assert_eq!((money.scheme, money.settler), (Scheme::UptoPermit2, settler_of(&SETTLER_FACTORY, &k_sig)), "{ran:?}");
        assert!(Amount::ZERO < money.charged && money.charged <= money.max_amount, "{money:?}");
        assert_eq!(ran.json["charged"], money.charged.to_string());
        charged_in_all += money.charged.0;
        eventually("the charge moves", || async { (before.0 - world.balance(&payer()).await.0 == charged_in_all).then_some(()) }).await;
        // By the chain, too: the transfer of this receipt.
        let verified = world.candor(&["verify", ran.json["bundle"].as_str().unwrap(), "--rpc", &rpc]);
        assert_eq!(verified.code, 0, "{verified:?}");
    }
    let transactions = world.client().await.nonce(&payer(), candor_chain::NonceAt::Latest).await.unwrap();
    assert_eq!(transactions, 0, "the payer needs no gas");
}
