//! The whole host against a fake enclave on a real unix socket and the embedded chain.

use std::sync::Arc;
use std::time::Duration;

use crate::support::running::Running;
use crate::support::world::World;
use crate::support::*;
use candor_devchain::Fault;
use candor_host::*;
use candor_link::*;
use candor_log::check;
use candor_log::store::{DirReader, LogReader};
use candor_log::tiles::Resource;
use candor_verify::scheme::Scheme;
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::{leaf_hash, verify_consistency, verify_inclusion};
use candor_verify::{Amount, Hash32};
use candor_x402::scheme::Calldata;
use candor_x402::settlement::Intent;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn running(name: &str) -> Running {
    Running::start(name, |_| {}).await
}

impl Running {
    /// Chain time in seconds.
    fn now(&self) -> u64 {
        self.world.shared.lock().now()
    }

    /// A receipt and its settlement, appended and under a checkpoint.
    async fn pay(&mut self, nonce: u8, valid_for_s: u64) -> (LoggedReceipt, Settlement) {
        let index = self.boot.tree.size();
        let until = self.now() + valid_for_s;
        let settlement = settlement(&self.world.payer, self.world.payee, self.world.contracts.test_usd, nonce, UnixSeconds(until), index);
        let entry = self.boot.entry(settlement.payment_id);
        let appended = self.control.append(index, vec![entry.clone()]).await;
        assert_eq!(appended, HostReply::Appended { size: index + 1 });
        let stored = self.control.checkpoint(index, self.boot.checkpoint(), vec![settlement.clone()]).await;
        assert!(matches!(&stored, HostReply::CheckpointStored(stored) if stored.size == index + 1), "{stored:?}");
        (entry, settlement)
    }

    async fn settled(&mut self, settlement: &Settlement) -> SettlementState {
        let request = EnclaveRequest::AwaitSettlement { payment_id: settlement.payment_id, timeout_ms: 15_000 };
        match self.control.call(request).await {
            HostReply::Settlement(state) => state,
            other => panic!("{other:?}"),
        }
    }

    async fn balance(&self) -> Amount {
        self.world.client.token_balance(&self.world.contracts.test_usd, &self.world.payee).await.unwrap()
    }

    fn path(&self, rest: &str) -> String {
        format!("/log/{}/{rest}", &self.boot.log_id().to_string()[2..])
    }

    async fn wait_for_anchor(&self, size: u64) {
        for _ in 0..200 {
            let latest = self.world.client.latest_anchor(&self.world.contracts.registry, &self.boot.manifest.k_sig).await.unwrap();
            let log = self.json("/status").await["log"].take();
            let known = log["anchored"].as_u64().unwrap_or_default();
            if latest.is_some_and(|anchor| size <= anchor.tree.size) && size <= known {
                // Whoever sees an anchor can read the tree.
                assert!(size <= log["published"].as_u64().unwrap(), "{log}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not anchored at {size}");
    }
}

#[tokio::test]
async fn a_boot_gets_its_terms_its_model_and_its_registration() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("boot");
    let enclave = FakeEnclave::listen(&scratch);
    let boot = Boot::new(&world, 1);
    // More than one part, and not a whole number of them.
    let model: Vec<u8> = (0..(MAX_MODEL_PART + 12_345)).map(|i| (i % 251) as u8).collect();
    let host = Host::start(config(&world, &scratch, &enclave.socket, &model)).await.unwrap();
    let (_control, request, received) = enclave.boot(&boot).await;
    assert_eq!(request.signed_terms, world.terms().encode());
    assert_eq!(request.predecessor, None);
    let block = world.client.block_by_number(request.head.number).await.unwrap().unwrap();
    assert_eq!((request.head.hash, request.head.chain_id), (block.hash, 31337));
    assert_eq!(received, model);
    for _ in 0..100 {
        let key = world.client.key_of(&world.contracts.registry, &boot.log_id()).await.unwrap();
        if key == Some(boot.manifest.k_sig) {
            host.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not registered");
}

#[tokio::test]
async fn a_payment_is_stored_checkpointed_settled_anchored_and_served() {
    let mut r = running("life").await;
    let (entry, paid) = r.pay(1, 200).await;
    let state = r.settled(&paid).await;
    let SettlementState::Settled { tx_hash, by_third_party: false, .. } = state else { panic!("{state:?}") };
    let receipt = r.world.client.transaction_receipt(&tx_hash).await.unwrap().unwrap();
    let paid_for = Intent::parse(paid.chain_id, paid.to, Calldata(paid.calldata.clone())).unwrap();
    assert!(receipt.has_transfer(&paid_for.asset(), &paid_for.payer(), &paid_for.payee(), paid_for.amount()));
    assert_eq!(receipt.from, r.world.gas.address());
    assert_eq!(r.balance().await, Amount(1000));

    // The anchor, and the consistency proof of the next checkpoint from it.
    r.wait_for_anchor(1).await;
    let anchored = r.boot.tree.now().tree();
    let index = r.boot.tree.size();
    let second = r.boot.entry(Hash32([9; 32]));
    r.control.append(index, vec![second]).await;
    let signed = r.boot.checkpoint();
    let HostReply::CheckpointStored(stored) = r.control.checkpoint(index, signed.clone(), vec![]).await else { panic!() };
    assert_eq!(stored.anchored, Some(anchored));
    let tree = signed.checkpoint.tree;
    assert_eq!(verify_consistency(&anchored, &tree, &stored.consistency).unwrap().new_tree(), tree);

    // The receipt by its id, with the newest proof.
    let fetched = r.control.call(EnclaveRequest::FetchReceipt { receipt_id: entry.receipt_id }).await;
    let HostReply::Receipt(Some(fetched)) = fetched else { panic!("{fetched:?}") };
    assert_eq!((fetched.receipt, fetched.frame_leaf_hashes), (entry.receipt, entry.frame_leaf_hashes));
    let proof = fetched.proof.unwrap();
    assert_eq!(proof.checkpoint, signed);
    assert_eq!(verify_inclusion(leaf_hash(&fetched.leaf_data.0), 0, &proof.inclusion, &tree).unwrap().tree(), tree);
    let unknown = r.control.call(EnclaveRequest::FetchReceipt { receipt_id: [0; 16] }).await;
    assert_eq!(unknown, HostReply::Receipt(None));
    r.host.stop().await;
}

#[tokio::test]
async fn the_published_log_checks_and_is_served_over_http() {
    let mut r = running("published").await;
    for nonce in 1..=3 {
        r.pay(nonce, 200).await;
    }
    let reader = DirReader::new(&r.scratch.path().join("host/log").join(&r.boot.log_id().to_string()[2..]));
    let mut checkpoint = None;
    for _ in 0..100 {
        checkpoint = reader.fetch(Resource::Checkpoint).unwrap();
        if checkpoint.as_ref().is_some_and(|text| String::from_utf8_lossy(text).contains("\n3\n")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, body) = r.get(&r.path("checkpoint")).await;
    assert_eq!((status, Some(body)), (200, checkpoint));
    let tile = Resource::parse("tile/0/000.p/3").unwrap();
    let (status, body) = r.get(&r.path("tile/0/000.p/3")).await;
    assert_eq!((status, Some(body)), (200, reader.fetch(tile).unwrap()));
    let _sound = check_log(&reader, &r.boot);

    let consistency = r.json(&r.path("consistency?from=1&to=3")).await;
    assert_eq!(consistency["root"], r.boot.tree.now().tree().root.to_string());
    let hashes: Vec<_> =
        consistency["hashes"].as_array().unwrap().iter().map(|hash| Hash32::from_hex(hash.as_str().unwrap()).unwrap()).collect();
    let old = r.boot.tree.at(1).unwrap().tree();
    assert_eq!(verify_consistency(&old, &r.boot.tree.now().tree(), &hashes).unwrap().old(), old);
    let inclusion = r.json(&r.path("inclusion?index=2&size=3")).await;
    assert_eq!(inclusion["hashes"].as_array().unwrap().len(), 1);
    assert_eq!(r.json("/logs").await["logs"][0], r.boot.log_id().to_string());
    assert_eq!(r.json("/status").await["phase"], "ready");

    for (path, expected) in [
        ("/", 404),
        ("/log/00/checkpoint", 404),
        (r.path("inclusion?index=3&size=3").as_str(), 400),
        (r.path("inclusion?index=0&size=4").as_str(), 400),
        (r.path("inclusion?index=x&size=3").as_str(), 400),
        (r.path("consistency?from=2").as_str(), 400),
        (r.path("../../host.db").as_str(), 404),
        (r.path("tile/0/001").as_str(), 404),
    ] {
        assert_eq!(r.get(path).await.0, expected, "{path}");
    }
    r.host.stop().await;
}

fn check_log(reader: &DirReader, boot: &Boot) -> check::Report {
    let keys = candor_log::LogKeys::new(boot.manifest.k_sig, boot.manifest.k_log);
    let report = check::check(reader, &candor_x402::Libsecp, &keys, &[]);
    assert!(report.is_sound());
    report
}

#[tokio::test]
async fn clients_bytes_pass_unchanged_and_their_end_too() {
    let r = running("bytes").await;
    let sent: Vec<u8> = (0..300_000_u32).map(|i| (i % 253) as u8).collect();
    let mut client = TcpStream::connect(r.host.client_address()).await.unwrap();
    let (role, mut inner) = r.enclave.accept().await;
    assert!(matches!(role, Role::Client(_)), "{role:?}");
    let (mut read, mut write) = client.split();
    let expected = sent.clone();
    let upload = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let echo = async {
        let mut got = Vec::new();
        inner.read_to_end(&mut got).await.unwrap();
        // The client's half is closed; ours still speaks.
        inner.write_all(&got).await.unwrap();
        inner.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let (_, _, read) = tokio::join!(upload, echo, read.read_to_end(&mut back));
    read.unwrap();
    assert_eq!(back, expected);
    r.host.stop().await;
}

#[tokio::test]
async fn half_open_and_too_many_connections_are_closed() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("limits");
    let enclave = FakeEnclave::listen(&scratch);
    let mut config = config(&world, &scratch, &enclave.socket, b"weights");
    // None is idle for too long while the test waits.
    let limits = ClientLimits { idle: 10 * PATIENCE, half_closed: Duration::from_millis(100), ..ClientLimits::default() };
    config.clients = ClientLimits { max_connections: 2, max_per_address: 2, ..limits };
    let host = Host::start(config).await.unwrap();
    let _control = enclave.control(Phase::AwaitingTerms).await;
    let first = TcpStream::connect(host.client_address()).await.unwrap();
    let (_, _inner_first) = enclave.accept().await;
    let mut second = TcpStream::connect(host.client_address()).await.unwrap();
    let (_, _inner_second) = enclave.accept().await;
    // The third is closed without a byte.
    let mut third = TcpStream::connect(host.client_address()).await.unwrap();
    assert_is_closed(&mut third).await;
    // Half closed: only the shorter patience is left, and the other one has all of its own.
    second.shutdown().await.unwrap();
    assert_is_closed(&mut second).await;
    assert_eq!(first.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // And there is room again.
    let _fourth = TcpStream::connect(host.client_address()).await.unwrap();
    assert!(matches!(enclave.accept().await.0, Role::Client(_)));
    host.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("idle");
    let enclave = FakeEnclave::listen(&scratch);
    let mut config = config(&world, &scratch, &enclave.socket, b"weights");
    config.clients = ClientLimits { idle: Duration::from_millis(100), half_closed: 10 * PATIENCE, ..ClientLimits::default() };
    let host = Host::start(config).await.unwrap();
    let _control = enclave.control(Phase::AwaitingTerms).await;
    let mut client = TcpStream::connect(host.client_address()).await.unwrap();
    let (_, _inner) = enclave.accept().await;
    assert_is_closed(&mut client).await;
    host.stop().await;
}

/// The host ends it, without a byte.
async fn assert_is_closed(client: &mut TcpStream) {
    let ended = tokio::time::timeout(PATIENCE, client.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}

#[tokio::test]
async fn a_client_that_the_enclave_has_ended_holds_no_place_by_keeping_its_side_open() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("ended");
    let enclave = FakeEnclave::listen(&scratch);
    let mut config = config(&world, &scratch, &enclave.socket, b"weights");
    config.clients = ClientLimits { max_connections: 1, linger: PATIENCE, ..ClientLimits::default() };
    let host = Host::start(config).await.unwrap();
    let _control = enclave.control(Phase::AwaitingTerms).await;
    let mut first = TcpStream::connect(host.client_address()).await.unwrap();
    let (Role::Client(party), inner) = enclave.accept().await else { panic!("a client") };
    drop(inner);
    assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0, "the end is passed on");

    let _second = TcpStream::connect(host.client_address()).await.unwrap();
    let (Role::Client(same), _inner) = enclave.accept().await else { panic!("a client") };
    assert_eq!(party, same, "both come from one address");
    // The first can still write: it is not reset while its last bytes may be on their way.
    first.write_all(b"ignored").await.unwrap();
    host.stop().await;
}

#[tokio::test]
async fn readers_of_one_address_do_not_fill_the_log_port() {
    let r = running("readers").await;
    let mut readers = Vec::new();
    // As many as one address may have, each answered, so each let in.
    for _ in 0..32 {
        let mut reader = TcpStream::connect(r.host.http_address()).await.unwrap();
        reader.write_all(b"GET /logs HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        assert_ne!(reader.read(&mut [0; 64]).await.unwrap(), 0);
        readers.push(reader);
    }
    let mut more = TcpStream::connect(r.host.http_address()).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, more.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut other = other.connect(r.host.http_address()).await.unwrap();
    other.write_all(b"GET /status HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_ne!(tokio::time::timeout(PATIENCE, other.read(&mut [0; 64])).await.unwrap().unwrap(), 0);
    r.host.stop().await;
}

#[tokio::test]
async fn status_names_a_failing_part_by_a_code_and_quotes_nobody() {
    let r = running("codes").await;
    let said = "no credit on https://rpc.example.org/v2/SECRET";
    for (fault, code) in [
        (Fault::Down, "unreachable"),
        (Fault::Refuse { method: "eth_getBlockByNumber".to_owned(), code: -32000, message: said.to_owned() }, "rpc_error"),
    ] {
        r.world.shared.set_fault(fault);
        let status = async {
            loop {
                let status = r.json("/status").await;
                if !status["troubles"]["chain"].is_null() {
                    break status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let status = tokio::time::timeout(PATIENCE, status).await.unwrap();
        assert_eq!(status["troubles"]["chain"], code, "{status}");
        assert!(!status.to_string().contains("SECRET"), "{status}");
        r.world.shared.set_fault(Fault::None);
        let well = async {
            while !r.json("/status").await["troubles"]["chain"].is_null() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, well).await.unwrap();
    }
    r.host.stop().await;
}

#[tokio::test]
async fn a_transfer_that_somebody_else_submitted_is_ours_all_the_same() {
    let mut r = running("third").await;
    // The chain takes nothing while the host tries, except from the third party below, which is not asked over RPC.
    r.world.shared.set_fault(Fault::Refuse { method: "eth_sendRawTransaction".to_owned(), code: -32000, message: "busy".to_owned() });
    let (_, paid) = r.pay(1, 200).await;
    let tx = candor_chain::Transaction {
        chain_id: 31337,
        nonce: r.world.client.nonce(&r.world.operator.address(), candor_chain::NonceAt::Latest).await.unwrap(),
        gas_limit: 200_000,
        fees: r.world.client.fees().await.unwrap(),
        to: Some(paid.to),
        value: Amount::ZERO,
        calldata: paid.calldata.clone(),
    };
    let signed = r.world.operator.sign_transaction(&tx).unwrap();
    r.world.shared.lock().send_raw_transaction(&signed.raw).unwrap();
    r.world.shared.set_fault(Fault::None);
    let state = r.settled(&paid).await;
    assert!(matches!(state, SettlementState::Settled { by_third_party: true, tx_hash, .. } if tx_hash == signed.hash), "{state:?}");
    assert_eq!(r.balance().await, Amount(1000));
    r.host.stop().await;
}

#[tokio::test]
async fn a_payment_that_nobody_could_settle_in_time_is_expired() {
    let mut r = running("expired").await;
    r.world.shared.set_fault(Fault::DropTransactions);
    let (_, paid) = r.pay(1, 100).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    r.world.shared.lock().increase_time(1000).unwrap();
    r.world.shared.lock().mine().unwrap();
    let state = r.settled(&paid).await;
    assert_eq!(state, SettlementState::Failed { code: SettlementFailure::Expired });
    assert_eq!(r.balance().await, Amount(0));
    r.host.stop().await;
}

#[tokio::test]
async fn a_payment_that_expired_and_is_signed_again_is_settled() {
    let mut r = running("again").await;
    r.world.shared.set_fault(Fault::DropTransactions);
    let (_, first) = r.pay(1, 100).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    r.world.shared.lock().increase_time(1000).unwrap();
    r.world.shared.lock().mine().unwrap();
    assert_eq!(r.settled(&first).await, SettlementState::Failed { code: SettlementFailure::Expired });
    r.world.shared.set_fault(Fault::None);
    // The same nonce, a later end: another receipt under the next checkpoint.
    let (_, again) = r.pay(1, 250).await;
    assert_eq!(again.payment_id, first.payment_id);
    let state = r.settled(&again).await;
    assert!(matches!(state, SettlementState::Settled { by_third_party: false, .. }), "{state:?}");
    assert_eq!(r.balance().await, Amount(1000));
    r.host.stop().await;
}

#[tokio::test]
async fn an_unknown_payment_is_said_to_be_unknown() {
    let mut r = running("unknown").await;
    let request = EnclaveRequest::AwaitSettlement { payment_id: Hash32([3; 32]), timeout_ms: 10_000 };
    let reply = r.control.call(request).await;
    assert_eq!(reply, HostReply::Settlement(SettlementState::Failed { code: SettlementFailure::Unknown }));
    r.host.stop().await;
}

#[tokio::test]
async fn several_payments_at_once_all_settle() {
    let mut r = running("many").await;
    let mut paid = Vec::new();
    for nonce in 1..=8 {
        paid.push(r.pay(nonce, 250).await.1);
    }
    for settlement in &paid {
        let state = r.settled(settlement).await;
        assert!(matches!(state, SettlementState::Settled { .. }), "{state:?}");
    }
    assert_eq!(r.balance().await, Amount(8000));
    r.host.stop().await;
}

#[tokio::test]
async fn an_rpc_that_is_down_is_a_typed_refusal_and_recovers() {
    let mut r = running("rpc").await;
    let query = PayerQuery {
        scheme: Scheme::ExactEip3009,
        chain_id: 31337,
        asset: r.world.contracts.test_usd,
        payer: r.world.payer.address(),
        nonce: Hash32([1; 32]),
        trial: None,
    };
    let ok = HostReply::PayerState(PayerState {
        asset_has_code: true,
        balance: Amount(1_000_000),
        allowance: Amount::ZERO,
        permit_nonce: None,
        nonce_used: false,
        passes: true,
    });
    assert_eq!(r.control.call(EnclaveRequest::PayerState(query.clone())).await, ok);
    r.world.shared.set_fault(Fault::Down);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for request in [EnclaveRequest::PayerState(query.clone()), EnclaveRequest::Head] {
        let reply = r.control.call(request).await;
        assert!(matches!(&reply, HostReply::Refused(refused) if refused.code == RefusalCode::Unavailable), "{reply:?}");
    }
    // Receipts and checkpoints need no chain; the settlement waits for it.
    let (_, paid) = {
        r.world.shared.set_fault(Fault::Down);
        r.pay(1, 250).await
    };
    let pending = EnclaveRequest::AwaitSettlement { payment_id: paid.payment_id, timeout_ms: 100 };
    assert_eq!(r.control.call(pending).await, HostReply::Settlement(SettlementState::Pending { tx_hash: None }));
    r.world.shared.set_fault(Fault::None);
    let state = r.settled(&paid).await;
    assert!(matches!(state, SettlementState::Settled { .. }), "{state:?}");
    let elsewhere = r.control.call(EnclaveRequest::PayerState(PayerQuery { chain_id: 5, ..query })).await;
    assert!(matches!(elsewhere, HostReply::Refused(refused) if refused.code == RefusalCode::Malformed));
    r.host.stop().await;
}

#[tokio::test]
async fn a_host_that_died_after_storing_settles_after_its_restart() {
    let mut r = running("crash").await;
    r.world.shared.set_fault(Fault::Down);
    let (entry, paid) = r.pay(1, 250).await;
    let config = config(&r.world, &r.scratch, &r.enclave.socket, b"weights");
    // Dropped and not stopped: every task is cut where it is.
    drop(r.host);
    drop(r.control);
    tokio::time::sleep(Duration::from_millis(100)).await;
    r.world.shared.set_fault(Fault::None);

    let host = Host::start(config).await.unwrap();
    let mut control = r.enclave.control(Phase::Ready(Box::new(r.boot.ready()))).await;
    let log_id = r.boot.log_id();
    let state = control.call(EnclaveRequest::LogState { log_id }).await;
    assert_eq!(state, HostReply::LogState(LogState { durable: r.boot.tree.now().tree(), checkpointed: 1 }));
    let unknown = control.call(EnclaveRequest::LogState { log_id: Hash32([1; 32]) }).await;
    assert!(matches!(unknown, HostReply::LogState(state) if state.durable.size == 0 && state.checkpointed == 0));
    // What was acknowledged is confirmed again, and the log goes on.
    assert_eq!(control.append(0, vec![entry]).await, HostReply::Appended { size: 1 });
    let again = control.checkpoint(0, r.boot.checkpoint(), vec![paid.clone()]).await;
    assert!(matches!(again, HostReply::CheckpointStored(stored) if stored.size == 1));
    let request = EnclaveRequest::AwaitSettlement { payment_id: paid.payment_id, timeout_ms: 15_000 };
    let state = control.call(request).await;
    assert!(matches!(state, HostReply::Settlement(SettlementState::Settled { .. })), "{state:?}");
    let next = r.boot.entry(Hash32([2; 32]));
    assert_eq!(control.append(1, vec![next]).await, HostReply::Appended { size: 2 });
    host.stop().await;
}

#[tokio::test]
async fn a_new_boot_names_the_anchored_end_of_the_former_log() {
    let mut r = running("predecessor").await;
    r.pay(1, 250).await;
    r.wait_for_anchor(1).await;
    // A second checkpoint, which the dead enclave's host still anchors before the new boot.
    r.pay(2, 250).await;
    drop(r.control);
    let next = Boot::new(&r.world, 2);
    let (mut control, request, _) = r.enclave.boot(&next).await;
    let tree = r.boot.tree.now().tree();
    assert_eq!(request.predecessor, Some(Predecessor { log_id: r.boot.log_id(), tree }));
    let anchored = r.world.client.latest_anchor(&r.world.contracts.registry, &r.boot.manifest.k_sig).await.unwrap().unwrap();
    assert_eq!(anchored.tree, tree);
    // The new log begins at zero.
    let mut next = next;
    let entry = next.entry(Hash32([1; 32]));
    assert_eq!(control.append(0, vec![entry]).await, HostReply::Appended { size: 1 });
    r.host.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_a_typed_refusal_and_recovers() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("quota");
    let enclave = FakeEnclave::listen(&scratch);
    let mut boot = Boot::new(&world, 1);
    let mut small = config(&world, &scratch, &enclave.socket, b"weights");
    small.quota_bytes = Some(120 << 10);
    let host = Host::start(small).await.unwrap();
    let (mut control, _, _) = enclave.boot(&boot).await;
    let entries: Vec<_> = (0..100).map(|i| boot.entry(Hash32([i; 32]))).collect();
    control.append(0, entries[..1].to_vec()).await;
    let refused = control.call(EnclaveRequest::Append(AppendRequest { first_index: 1, entries: entries[1..].to_vec() })).await;
    assert!(matches!(&refused, HostReply::Refused(refused) if refused.code == RefusalCode::StorageFull), "{refused:?}");
    host.stop().await;
    drop(control);
    // More disk, and the same enclave goes on.
    let host = Host::start(config(&world, &scratch, &enclave.socket, b"weights")).await.unwrap();
    let mut control = enclave.control(Phase::Ready(Box::new(boot.ready()))).await;
    assert_eq!(control.append(1, entries[1..].to_vec()).await, HostReply::Appended { size: 100 });
    host.stop().await;
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_dialled_again() {
    let r = running("garbage").await;
    let Running { enclave, boot, control, host, .. } = r;
    drop(control);
    for _ in 0..2 {
        let (_, mut stream) = enclave.accept().await;
        stream.write_all(&[0xff; 64]).await.unwrap();
        let mut rest = Vec::new();
        let _cut = stream.read_to_end(&mut rest).await;
    }
    let mut control = enclave.control(Phase::Ready(Box::new(boot.ready()))).await;
    let reply = control.call_until_done(EnclaveRequest::Head).await;
    assert!(matches!(reply, HostReply::Head(_)));
    host.stop().await;
}

#[tokio::test]
async fn configurations_that_cannot_work_are_refused_by_name() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("config");
    let socket = scratch.path().join("s");
    let good = || config(&world, &scratch, &socket, b"weights");
    let mut same_key = good();
    same_key.anchor_key = same_key.gas_key.clone();
    let mut no_model = good();
    no_model.boot.models.clear();
    let mut bad_terms = good();
    bad_terms.boot.signed_terms.push(0);
    for config in [same_key, no_model, bad_terms] {
        let refused = Host::start(config).await;
        assert!(matches!(refused, Err(HostError::Config(_) | HostError::Terms(_))), "{refused:?}");
    }
}
