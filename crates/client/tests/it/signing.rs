//! Payments that a program signs: what it does not sign in time, or not as the wallet, is sent to nobody and held against nobody. Over a node and
//! a chain of this process; the program is a process.

use std::io::Read as _;

use candor_client::{Again, Buyer, ClientError, Keep, KeepMode, OwnChain, Race, SignerError, SignerProgram, Wallet, ask};
use candor_testkit::forge::Key;
use candor_verify::bytes::{Hash32, to_hex};
use serde_json::Value;

use crate::support::node::Conduct;
use crate::support::{BODY, CHARGED, Scene, wallet};

/// Names the byte of the key with which [`a_test_program_that_is_started_as_a_signer_signs_what_it_is_shown`] signs.
const SIGNER_KEY: &str = "CANDOR_TEST_SIGNER_BYTE";

#[test]
fn a_test_program_that_is_started_as_a_signer_signs_what_it_is_shown() {
    let (byte, shown) = match std::env::var(SIGNER_KEY) {
        Ok(byte) => {
            let mut shown = String::new();
            std::io::stdin().read_to_string(&mut shown).unwrap();
            (byte.parse().unwrap(), shown)
        }
        Err(_) => (7, format!("{{\"digest\": \"{}\"}}", Hash32([7; 32]))),
    };
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let digest = Hash32::from_hex(shown["digest"].as_str().unwrap()).unwrap();
    let signature = Key::of(byte).sign(&digest);
    assert_eq!(candor_verify::eip712::signer(&candor_verify::eip712::K256, &digest, &signature), Some(Key::of(byte).address()));
    println!("{}", to_hex(&signature.0));
}

/// The wallet of the scene, by a program that first does something and then signs with a key.
fn program(first: &str, byte: u8) -> Wallet {
    let this = std::env::current_exe().unwrap();
    let test = "signing::a_test_program_that_is_started_as_a_signer_signs_what_it_is_shown";
    let script = format!("{first}; {SIGNER_KEY}={byte} '{}' --exact {test} --nocapture | grep -oE '0x[0-9a-f]{{130}}'", this.display());
    Wallet::of_program(wallet().address(), SignerProgram::new(vec!["/bin/sh".into(), "-c".into(), script], |_| {}))
}

async fn buy(scene: &Scene, wallet: &Wallet) -> Result<(), ClientError> {
    buy_in(scene, wallet, None).await
}

async fn buy_in(scene: &Scene, wallet: &Wallet, race: Option<&dyn Race>) -> Result<(), ClientError> {
    let (chain, keep, book) = (OwnChain::new(scene.chain().await), Keep::new(scene.index(), KeepMode::Full), scene.book());
    let (spend, policy) = (&scene.spend, &scene.policy);
    let (wallet, again) = (Some(wallet), Again::No);
    let buyer = Buyer { chain: &chain, wallet, key: None, book: &book, spend, policy, keep: &keep, again, caller: None, race };
    ask(&mut scene.verified().await, &buyer, BODY, &mut |_| {}).await.map(drop)
}

#[tokio::test]
async fn what_a_program_signs_as_the_wallet_is_paid_and_what_another_key_signs_is_sent_to_nobody() {
    let scene = Scene::new();
    let refused = buy(&scene, &program("true", 0x45)).await.unwrap_err();
    assert_eq!((refused.check(), refused.exit_code()), (Some("wallet.signature"), 1), "{refused}");
    assert!(scene.node.paid().is_empty() && scene.rows().is_empty());
    buy(&scene, &program("true", 0x44)).await.unwrap();
    assert_eq!((scene.node.payments().len(), scene.rows()[0].state), (1, CHARGED));
}

#[tokio::test]
async fn an_offer_that_ended_while_it_was_being_signed_is_not_paid_and_nothing_is_held() {
    let scene = Scene::new();
    scene.node.conduct(Conduct::OfferEndsIn(1_500));
    let late = buy(&scene, &program("sleep 2", 0x44)).await.unwrap_err();
    assert!(matches!(late, ClientError::Signer(SignerError::OfferEnded)), "{late}");
    assert!(scene.node.paid().is_empty() && scene.rows().is_empty(), "nothing was sent, and nothing is held");
    scene.node.conduct(Conduct::Honest);
    buy(&scene, &program("true", 0x44)).await.unwrap();
}

/// A race that another ask wins after a second.
#[derive(Debug)]
struct LostAt(std::time::Instant);

impl Race for LostAt {
    fn is_lost(&self) -> bool {
        self.0 <= std::time::Instant::now()
    }
}

#[tokio::test]
async fn who_signs_after_another_node_answered_pays_nobody_and_nothing_is_held() {
    let scene = Scene::new();
    let race = LostAt(std::time::Instant::now() + std::time::Duration::from_secs(1));
    let lost = buy_in(&scene, &program("sleep 2", 0x44), Some(&race)).await.unwrap_err();
    assert!(matches!(&lost, ClientError::Spend(why) if why.contains("another node answered")), "{lost}");
    assert!(scene.node.paid().is_empty() && scene.rows().is_empty(), "nothing was sent, and nothing is held");
}
