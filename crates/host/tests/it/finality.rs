//! A chain that takes back its newest blocks: who is served when, what counts for the books, what is written down, and what is done again.

use std::time::Duration;

use candor_chain::Finality;
use candor_link::{EnclaveRequest, HostReply, Role, SettlementState};
use candor_verify::manifest::Manifest;
use candor_verify::time::UnixSeconds;
use candor_verify::{Amount, Hash32};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::running::Running;
use crate::support::{Boot, PATIENCE, settlement};

/// Blocks on top of one that stays.
const DEPTH: u64 = 6;

async fn running(name: &str) -> Running {
    Running::start(name, |config| {
        (config.finality, config.serve_unregistered) = (Finality::Depth(DEPTH), false);
        config.clients.dial = Duration::from_millis(300);
    })
    .await
}

impl Running {
    fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.world.shared.lock().mine().unwrap();
        }
    }

    async fn status(&self) -> serde_json::Value {
        self.json("/status").await
    }

    /// Serves what the host asks of the enclave until this is so.
    async fn until<F: AsyncFnMut(&mut Self) -> bool>(&mut self, what: &str, mut is_so: F) {
        let look = async {
            loop {
                self.control.call(EnclaveRequest::Head).await;
                if is_so(self).await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Waits until clients are served: the registration, and as many blocks on it as it takes.
    async fn until_open(&mut self) {
        let (registry, k_sig) = (self.world.contracts.registry, self.boot.manifest.k_sig);
        self.until("registered", async |node| node.world.client.key_status(&registry, &k_sig).await.unwrap().is_some()).await;
        self.mine(DEPTH);
        self.until("open", async |node| node.status().await["open"] == true).await;
    }

    /// Another boot in the place of this one, which is given back.
    async fn reboot(self, next: Boot) -> (Self, Boot) {
        let Self { world, scratch, enclave, boot, control, host } = self;
        drop(control);
        let (control, _, _) = enclave.boot(&next).await;
        (Self { world, scratch, enclave, boot: next, control, host }, boot)
    }

    /// Appends a receipt under a checkpoint; gives the receipt's id.
    async fn log(&mut self, byte: u8) -> [u8; 16] {
        let index = self.boot.tree.size();
        let entry = self.boot.entry(Hash32([byte; 32]));
        let id = entry.receipt_id;
        self.control.append(index, vec![entry]).await;
        self.control.checkpoint(index, self.boot.checkpoint(), vec![]).await;
        id
    }

    async fn anchored(&self) -> u64 {
        let latest = self.world.client.latest_anchor(&self.world.contracts.registry, &self.boot.manifest.k_sig).await.unwrap();
        latest.map_or(0, |anchor| anchor.tree.size)
    }

    /// The size of the anchor that a proof for this receipt begins at.
    async fn proofs_begin_at(&mut self, receipt_id: [u8; 16]) -> u64 {
        match self.control.call(EnclaveRequest::FetchReceipt { receipt_id }).await {
            HostReply::Receipt(Some(stored)) => stored.proof.unwrap().anchored.map_or(0, |tree| tree.size),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_is_served_before_the_registration_is_in_a_block_that_stays() {
    let mut node = running("gate").await;
    let (registry, k_sig) = (node.world.contracts.registry, node.boot.manifest.k_sig);
    node.until("registered", async |node| node.world.client.key_status(&registry, &k_sig).await.unwrap().is_some()).await;
    assert_eq!(node.status().await["open"], false);
    // It is let go without a byte from the enclave.
    let mut early = TcpStream::connect(node.host.client_address()).await.unwrap();
    let mut nothing = Vec::new();
    assert_eq!(tokio::time::timeout(PATIENCE, early.read_to_end(&mut nothing)).await.expect("let go").unwrap(), 0);

    node.mine(DEPTH);
    node.until("open", async |node| node.status().await["open"] == true).await;
    let served = async {
        let _client = TcpStream::connect(node.host.client_address()).await.unwrap();
        node.enclave.accept().await.0
    };
    let role = tokio::time::timeout(PATIENCE, served).await.expect("led to the enclave");
    assert!(matches!(role, Role::Client(_)));
    let status = node.status().await;
    assert!(status["lapses_in_s"].as_u64().unwrap() > 3 * 86_400, "{status}");
    for account in ["gas_account", "anchor_account"] {
        assert!(status[account]["wei"].as_str().is_some_and(|wei| wei.len() > 18), "{status}");
    }
    assert!(status["settlement_wei"].as_str().is_some_and(|wei| wei.parse::<u128>().unwrap() > 90_000), "{status}");
    assert_eq!(status["rpc"], serde_json::json!({ "endpoints": 1, "well": 1 }));
    node.host.stop().await;
}

#[tokio::test]
async fn an_anchor_is_written_down_when_its_block_stays_and_made_again_when_it_is_taken_back() {
    let mut node = running("anchor-back").await;
    node.mine(DEPTH);
    let before = node.world.shared.lock().snapshot().unwrap();
    let receipt = node.log(9).await;
    node.until("anchored", async |node| node.anchored().await == 1).await;
    assert_eq!(node.proofs_begin_at(receipt).await, 0, "its block may be taken back");
    assert_eq!(node.status().await["log"]["anchored"], 1, "it is there all the same");

    assert!(node.world.shared.lock().revert(before));
    assert_eq!(node.anchored().await, 0);
    // With other blocks in the place of those.
    node.mine(3);
    node.until("anchored again", async |node| node.anchored().await == 1).await;
    assert_eq!(node.proofs_begin_at(receipt).await, 0);
    node.mine(DEPTH);
    node.until("written down", async |node| node.proofs_begin_at(receipt).await == 1).await;
    node.host.stop().await;
}

/// A former log is looked at until its last anchor stays.
#[tokio::test]
async fn an_anchor_of_a_former_log_that_is_taken_back_is_made_again() {
    let mut node = running("former-back").await;
    node.until_open().await;
    let before = node.world.shared.lock().snapshot().unwrap();
    node.log(9).await;
    node.until("anchored", async |node| node.anchored().await == 1).await;
    let next = Boot::new(&node.world, 2);
    let (mut node, former) = node.reboot(next).await;
    let anchored = async |node: &mut Running| {
        let latest = node.world.client.latest_anchor(&node.world.contracts.registry, &former.manifest.k_sig).await.unwrap();
        latest.map_or(0, |anchor| anchor.tree.size) == 1
    };
    assert!(anchored(&mut node).await);
    assert!(node.world.shared.lock().revert(before));
    assert!(!anchored(&mut node).await);
    node.mine(3);
    node.until("the former log is anchored again", anchored).await;
    node.host.stop().await;
}

/// The anchor that the successor names is not there when it is registered: a gap, which the host closes once the anchor is.
#[tokio::test]
async fn an_edge_that_a_registration_could_not_make_is_made_later() {
    let mut node = running("gap").await;
    node.until_open().await;
    let account = crate::support::world::dev_signer(6).address();
    let balance = |wei: &str| {
        let request = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "anvil_setBalance", "params": [account.to_string(), wei]});
        let shared = node.world.shared.clone();
        async move { shared.answer(request.to_string().as_bytes()).await }
    };
    // Whoever cannot pay anchors nothing.
    drop(balance("0x0").await);
    let later = balance("0xde0b6b3a7640000");
    node.log(9).await;
    let mut next = Boot::new(&node.world, 2);
    let (former, tree) = (node.boot.log_id(), node.boot.tree.now().tree());
    (next.manifest.predecessor_log, next.manifest.predecessor_size, next.manifest.predecessor_root) = (former, tree.size, tree.root);
    let (mut node, _) = node.reboot(next).await;
    let (registry, k_sig, successor) = (node.world.contracts.registry, node.boot.manifest.k_sig, node.boot.log_id());
    node.until("registered", async |node| node.world.client.key_status(&registry, &k_sig).await.unwrap().is_some()).await;
    let edge = node.world.client.successor_of(&registry, &former).await.unwrap();
    assert_eq!(edge, None, "a gap");
    drop(later.await);
    let linked = async |node: &mut Running| {
        node.world.client.successor_of(&node.world.contracts.registry, &former).await.unwrap() == Some(successor)
    };
    node.until("linked", linked).await;
    node.host.stop().await;
}

/// With an interval that is longer than the test, only what was charged makes an anchor.
#[tokio::test]
async fn an_anchor_is_made_at_once_when_much_was_charged() {
    let charged = candor_testkit::honest::receipt(&Manifest::default(), 0).money.charged;
    let mut node = Running::start("value", |config| {
        (config.timing.anchor, config.anchor_value) = (10 * PATIENCE, Some(Amount(2 * charged.0)));
    })
    .await;
    // The first anchor is made at once, and begins the interval.
    node.log(1).await;
    node.until("the first", async |node| node.anchored().await == 1).await;
    node.log(2).await;
    for _ in 0..20 {
        node.control.call(EnclaveRequest::Head).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.anchored().await, 1, "too little");
    node.log(3).await;
    node.until("the next", async |node| node.anchored().await == 3).await;
    node.host.stop().await;
}

/// An answer waits for its transfer, and not for that transfer's depth; the books do.
#[tokio::test]
async fn a_transfer_is_told_at_its_block_and_settled_again_when_it_is_taken_back() {
    let mut node = running("settle-back").await;
    node.mine(DEPTH);
    let before = node.world.shared.lock().snapshot().unwrap();
    let until = node.world.shared.lock().now() + 300;
    let paid = settlement(&node.world.payer, node.world.payee, node.world.contracts.test_usd, 7, UnixSeconds(until), 0);
    let entry = node.boot.entry(paid.payment_id);
    node.control.append(0, vec![entry]).await;
    node.control.checkpoint(0, node.boot.checkpoint(), vec![paid.clone()]).await;
    let ask = EnclaveRequest::AwaitSettlement { payment_id: paid.payment_id, timeout_ms: 15_000 };
    let told = node.control.call(ask.clone()).await;
    assert!(matches!(told, HostReply::Settlement(SettlementState::Settled { by_third_party: false, .. })), "{told:?}");
    let balance =
        async |node: &mut Running| node.world.client.token_balance(&node.world.contracts.test_usd, &node.world.payee).await.unwrap();
    let received = balance(&mut node).await;
    assert_ne!(received, Amount::ZERO);

    assert!(node.world.shared.lock().revert(before));
    assert_eq!(balance(&mut node).await, Amount::ZERO);
    // The machine has not called it over, and sends the same transfer again.
    let settled = async |node: &mut Running| {
        node.mine(1);
        node.world.client.token_balance(&node.world.contracts.test_usd, &node.world.payee).await.unwrap() == received
    };
    node.until("settled again", settled).await;
    node.mine(DEPTH);
    node.until("over", async |node| matches!(node.control.call(ask.clone()).await, HostReply::Settlement(SettlementState::Settled { .. })))
        .await;
    node.host.stop().await;
}
