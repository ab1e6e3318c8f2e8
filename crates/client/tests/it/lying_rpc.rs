//! A verdict against a chain that lies, breaks or never answers: refused or cannot tell, by the name of the check or of the call; never
//! verified for it, never anchored, never without end. The calls are those of `candor verify --rpc`.

use std::time::Duration;

use candor_chain::ChainClient;
use candor_client::{Awaited, ClientError, chain_facts};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::check::verify_bundle;
use candor_verify::eip712::K256;
use candor_verify::hash::keccak256;
use candor_verify::policy::{Accept, Policy};
use candor_verify::verdict::{LogLevel, Outcome, Status, Verdict};
use serde_json::{Value, json};

use crate::support::rpc::{BLOCK, Says};
use crate::support::{BODY, CHAIN_ID, Scene, h};

/// Longest that a verdict may take over an endpoint that never answers.
const PATIENCE: Duration = Duration::from_secs(30);

const REGISTERED: &str = "Registered(address,address,bytes32,(address,bytes32,bytes32,address,bytes32,bytes32,address,address,uint64,uint64),uint64,(uint64,uint64,uint64),((uint8,address,bytes32,bytes32,bytes32,bytes32,bytes32,address,address,address,uint256,bytes32,bytes32,bytes32,bytes32,uint64,bytes32,bytes32,uint64),bytes,bytes,(uint256,uint256,bytes32,bytes32),bytes,bytes))";
const ANCHORED: &str = "Anchored(address,uint64,bytes32,uint64,uint64,uint64,bytes)";

const TRANSFER_TX: Hash32 = Hash32([0x77; 32]);

/// A bundle that verifies, and a chain that says so.
struct Story {
    scene: Scene,
    bundle: Bundle,
    policy: Policy,
}

impl Story {
    async fn honest() -> Self {
        let scene = Scene::new();
        let bundle = scene.ask(BODY).await.unwrap().bundle;
        let manifest = &bundle.evidence.manifest;
        let registries = vec![(manifest.anchor_chain_id, manifest.registry)];
        let policy = Policy { registries: Accept::Only(registries), require_level: LogLevel::Anchored, ..scene.policy.clone() };
        let story = Self { scene, bundle, policy };
        story.call("authorizationState(address,bytes32)", word(1));
        story.call("stateOf(address)", story.state(0));
        story.call("observed(address,uint64,bytes32)", word(0));
        let tree = story.bundle.delivery.checkpoint.checkpoint.tree;
        story.logs(REGISTERED, &story.registered());
        story.logs(ANCHORED, &story.anchored(&tree.root));
        story.ended(&Says::Result(json!([story.log("AuthorizationUsed(address,bytes32)")])));
        story.scene.rpc.says("eth_getTransactionReceipt", Says::Result(story.receipt(true)));
        story
    }

    /// A view is answered with these words.
    fn call(&self, signature: &str, words: String) {
        let selector = keccak256(&[signature.as_bytes()]).to_string();
        self.scene.rpc.says(&format!("eth_call:{}", &selector[..10]), Says::Result(json!(format!("0x{words}"))));
    }

    /// A search for this event finds this log.
    fn logs(&self, event: &str, log: &Value) {
        self.scene.rpc.says(&search(event), Says::Result(json!([log])));
    }

    /// The search for the end of the payment's nonce is answered so. It names two events, in any order.
    fn ended(&self, says: &Says) {
        for event in ["AuthorizationUsed(address,bytes32)", "AuthorizationCanceled(address,bytes32)"] {
            self.scene.rpc.says(&search(event), says.clone());
        }
    }

    /// What the registry says of this boot's key.
    fn state(&self, revoked_at: u64) -> String {
        let finished = self.bundle.delivery.receipt.work.finished_at.seconds();
        let size = self.bundle.delivery.checkpoint.checkpoint.tree.size;
        // validUntil, invalidFrom, revokedAt, forked, lastSize, registeredBlock, renewedBlock, anchoredBlock
        [finished.0 + 3_600, 0, revoked_at, 0, size, BLOCK, BLOCK, BLOCK].map(word).concat()
    }

    /// The event of this boot's registration. Of what a client judges by itself there is the manifest only: no bytes.
    fn registered(&self) -> Value {
        let manifest = &self.bundle.evidence.manifest;
        let finished = self.bundle.delivery.receipt.work.finished_at.seconds();
        let record = [
            address_word(&manifest.k_sig),
            bare(&manifest.log_id()),
            bare(&manifest.hash()),
            address_word(&Address([0x51; 20])), // verifier
            bare(&h(0x01)),                     // its code's hash
            bare(&h(0x02)),                     // workloadId
            address_word(&manifest.operator),
            address_word(&manifest.payee),
            word(manifest.booted_at.0),
            word(finished.0 + 7_200), // termsUntil
        ];
        let listed = h(0x03);
        // validUntil, three previous blocks, where the boot begins; then manifest, two offsets, four words of freshness, two offsets, and
        // four times no bytes.
        let head = [record.concat(), [finished.0 + 3_600, 0, 0, 0, 15 * 32].map(word).concat()].concat();
        let words = manifest.encode().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let boot = [words, [27 * 32, 28 * 32, CHAIN_ID, BLOCK, 0, 0, 29 * 32, 30 * 32, 0, 0, 0, 0].map(word).concat()].concat();
        let topics =
            [format!("0x{}", address_word(&manifest.k_sig)), format!("0x{}", address_word(&manifest.operator)), listed.to_string()];
        self.event(REGISTERED, &topics, &[head, boot].concat())
    }

    /// The event of the anchor of the bundle's tree, with this root.
    fn anchored(&self, root: &Hash32) -> Value {
        let signed = &self.bundle.delivery.checkpoint;
        let finished = self.bundle.delivery.receipt.work.finished_at.seconds();
        let signature = signed.signature.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // root, timestamp, anchoredAt, previousBlock, where the signature begins; its length, and it, to whole words.
        let words = [signed.checkpoint.timestamp.0, finished.0, 0, 5 * 32, 65].map(word).concat();
        let data = format!("{}{words}{signature}{}", bare(root), "00".repeat(31));
        let k_sig = format!("0x{}", address_word(&self.bundle.evidence.manifest.k_sig));
        self.event(ANCHORED, &[k_sig, format!("0x{}", word(signed.checkpoint.tree.size))], &data)
    }

    /// A log of the registry in the one block.
    fn event(&self, event: &str, topics: &[String], data: &str) -> Value {
        let topics: Vec<String> = [&[keccak256(&[event.as_bytes()]).to_string()], topics].concat();
        json!({
            "address": self.bundle.evidence.manifest.registry.to_string(), "topics": topics, "data": format!("0x{data}"),
            "blockNumber": format!("0x{BLOCK:x}"), "blockHash": h(0x82).to_string(), "transactionHash": h(0x78).to_string(),
            "transactionIndex": "0x0", "logIndex": "0x0", "removed": false,
        })
    }

    /// A log of the token in the one block; the payment's own nonce or transfer, by the event's name.
    fn log(&self, event: &str) -> Value {
        let (money, nonce) = (&self.bundle.delivery.receipt.money, &self.bundle.sale.as_ref().unwrap().payment.authorization.nonce);
        let topic = keccak256(&[event.as_bytes()]).to_string();
        let (third, data) = match event.starts_with("Transfer") {
            true => (format!("0x{}", address_word(&money.payee)), format!("0x{:064x}", money.charged.0)),
            false => (nonce.to_string(), "0x".to_owned()),
        };
        json!({
            "address": money.asset.to_string(), "topics": [topic, format!("0x{}", address_word(&money.payer)), third], "data": data,
            "blockNumber": format!("0x{BLOCK:x}"), "blockHash": h(0x82).to_string(), "transactionHash": TRANSFER_TX.to_string(),
            "transactionIndex": "0x0", "logIndex": "0x0", "removed": false,
        })
    }

    fn receipt(&self, with_transfer: bool) -> Value {
        let mut logs = vec![self.log("AuthorizationUsed(address,bytes32)")];
        if with_transfer {
            logs.push(self.log("Transfer(address,address,uint256)"));
        }
        json!({
            "transactionHash": TRANSFER_TX.to_string(), "transactionIndex": "0x0", "blockHash": h(0x82).to_string(),
            "blockNumber": format!("0x{BLOCK:x}"), "from": Address([1; 20]).to_string(), "to": Address([2; 20]).to_string(),
            "cumulativeGasUsed": "0x1", "gasUsed": "0x1", "contractAddress": null, "logs": logs, "status": "0x1",
            "logsBloom": format!("0x{}", "00".repeat(256)), "type": "0x2", "effectiveGasPrice": "0x1",
        })
    }

    /// As `candor verify --rpc` does it.
    async fn verify(&self) -> Result<Verdict, String> {
        let work = async {
            let chain = ChainClient::connect(&self.scene.rpc.url, None).await.map_err(|error| error.to_string())?;
            let facts = chain_facts(&chain, &self.bundle, &self.policy).await.map_err(|error: ClientError| {
                assert!([1, 2].contains(&error.exit_code()));
                error.to_string()
            })?;
            let (verdict, verified) = verify_bundle(&self.bundle, &self.policy, facts.as_chain_facts(), &K256);
            assert_eq!(verified.is_some(), verdict.outcome() == Outcome::Verified);
            Ok(verdict)
        };
        tokio::time::timeout(PATIENCE, work).await.expect("an end")
    }

    /// Refused by this check, whatever else is right.
    async fn assert_refused(&self, check: &str) {
        let verdict = self.verify().await.unwrap();
        assert_eq!((verdict.outcome(), verdict.refused().map(|check| check.id)), (Outcome::Refused, Some(check)));
        assert_ne!(verdict.log_level(), LogLevel::Anchored);
    }

    /// No verdict, and the error names the call or says this.
    async fn assert_cannot_tell(&self, word: &str) {
        let error = self.verify().await.unwrap_err();
        assert!(error.contains(word), "{word}: {error}");
    }
}

/// How the table of answers names a search for an event.
fn search(event: &str) -> String {
    format!("eth_getLogs:{}", &keccak256(&[event.as_bytes()]).to_string()[..10])
}

fn bare(hash: &Hash32) -> String {
    hash.to_string().trim_start_matches("0x").to_owned()
}

fn word(value: u64) -> String {
    format!("{value:064x}")
}

fn address_word(address: &Address) -> String {
    format!("{}{}", "00".repeat(12), address.to_string().trim_start_matches("0x"))
}

#[tokio::test]
async fn an_honest_chain_anchors_the_bundle() {
    let verdict = Story::honest().await.verify().await.unwrap();
    assert_eq!((verdict.outcome(), verdict.log_level(), verdict.refused().map(|c| c.id)), (Outcome::Verified, LogLevel::Anchored, None));
}

#[tokio::test]
async fn a_lie_about_one_fact_is_refused_by_its_check() {
    let story = Story::honest().await;
    story.scene.rpc.says("eth_getTransactionReceipt", Says::Result(story.receipt(false)));
    story.assert_refused("payment.transfer").await;

    let story = Story::honest().await;
    // Revoked by its operator before its tree was anchored.
    story.call("stateOf(address)", story.state(1));
    story.assert_refused("registry.listed").await;

    let story = Story::honest().await;
    story.logs(ANCHORED, &story.anchored(&h(0x55)));
    story.assert_refused("log.consistency").await;

    let story = Story::honest().await;
    story.scene.rpc.says("eth_getBlockByNumber", Says::Result(json!(null)));
    story.call("authorizationState(address,bytes32)", word(0));
    // A chain that goes back takes blocks of honest answers too: nothing is refused for one, and nothing verified.
    let verdict = story.verify().await.unwrap();
    assert_eq!((verdict.outcome(), verdict.refused().map(|check| check.id)), (Outcome::CannotTell, None));
}

#[tokio::test]
async fn while_an_anchor_is_awaited_each_look_is_one_question() {
    let story = Story::honest().await;
    let chain = ChainClient::connect(&story.scene.rpc.url, None).await.unwrap();
    let mut awaited = Awaited::of(&chain, &story.bundle);
    story.call("stateOf(address)", word(0).repeat(8));
    let before = story.scene.rpc.calls().len();
    for _ in 0..3 {
        assert!(!awaited.look(&chain, &story.bundle).await.unwrap());
    }
    assert_eq!(story.scene.rpc.calls().len(), before + 3);
    // Anchored, and not paid yet: where it is, and what; found once, it is not asked for again.
    story.call("stateOf(address)", story.state(0));
    story.call("authorizationState(address,bytes32)", word(0));
    for calls in [3, 1] {
        let before = story.scene.rpc.calls().len();
        assert!(!awaited.look(&chain, &story.bundle).await.unwrap());
        assert_eq!(story.scene.rpc.calls().len(), before + calls);
    }
    story.call("authorizationState(address,bytes32)", word(1));
    assert!(awaited.look(&chain, &story.bundle).await.unwrap());
}

/// An endpoint that hides a transfer cannot make a receipt false: nothing was charged *so far*, and the verdict says that it was not checked.
#[tokio::test]
async fn a_transfer_that_is_hidden_is_not_checked() {
    let story = Story::honest().await;
    story.call("authorizationState(address,bytes32)", word(0));
    let verdict = story.verify().await.unwrap();
    let check = verdict.checks().iter().find(|check| check.id == "payment.transfer").unwrap();
    assert_eq!((verdict.outcome(), check.status), (Outcome::Verified, Status::NotChecked));
}

/// Cancelled in the same transaction as an equal payment: one transfer must not be shown for two.
#[tokio::test]
async fn a_cancelled_authorization_is_not_paid_by_another_ones_transfer() {
    let story = Story::honest().await;
    let cancelled = story.log("AuthorizationCanceled(address,bytes32)");
    let (mut receipt, mut other) = (story.receipt(true), story.log("AuthorizationUsed(address,bytes32)"));
    other["topics"][2] = json!(h(0x77).to_string());
    receipt["logs"] = json!([cancelled, other, story.log("Transfer(address,address,uint256)")]);
    story.ended(&Says::Result(json!([cancelled])));
    story.scene.rpc.says("eth_getTransactionReceipt", Says::Result(receipt));
    story.assert_refused("payment.transfer").await;
}

#[tokio::test]
async fn another_chain_is_not_asked() {
    let story = Story::honest().await;
    story.scene.rpc.says("eth_chainId", Says::Result(json!("0x1")));
    story.assert_cannot_tell(&format!("anchored on chain {CHAIN_ID}; this RPC is of chain 1")).await;
}

#[tokio::test]
async fn garbage_is_an_error_that_names_the_call() {
    for (method, word) in [
        ("eth_chainId", "eth_chainId"),
        ("eth_getBlockByNumber", "eth_getBlockByNumber"),
        (search(REGISTERED).as_str(), "eth_getLogs"),
        (search(ANCHORED).as_str(), "eth_getLogs"),
        ("eth_getTransactionReceipt", "eth_getTransactionReceipt"),
    ] {
        for says in [Says::Bytes("<html>not JSON</html>"), Says::Bytes(""), Says::Result(json!({"a": []})), Says::Result(json!("0xzz"))] {
            let story = Story::honest().await;
            story.scene.rpc.says(method, says);
            story.assert_cannot_tell(word).await;
        }
    }
    for signature in ["authorizationState(address,bytes32)", "stateOf(address)", "observed(address,uint64,bytes32)"] {
        for words in [String::new(), "00".repeat(31), "ff".repeat(32)] {
            let story = Story::honest().await;
            story.call(signature, words);
            story.assert_cannot_tell(signature.split('(').next().unwrap()).await;
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_never_answers_ends_as_an_error() {
    let never = async |method: &str| {
        let story = Story::honest().await;
        story.scene.rpc.says(method, Says::Nothing);
        story.assert_cannot_tell(method.split(':').next().unwrap()).await;
    };
    let registered = search(REGISTERED);
    tokio::join!(never("eth_chainId"), never("eth_getBlockByNumber"), never(&registered));
}
