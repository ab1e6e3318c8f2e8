//! The kept answer: an enclave that is killed in the seconds between charging and answering charges nobody who cannot have the answer. Over the
//! real program, its halves apart, the death placed between two messages of the link.

use std::sync::Arc;

use base64::Engine as _;
use candor_link::{EnclaveRequest, HostReply, ToEnclave, ToHost};
use candor_verify::delivery::Delivery;
use candor_verify::evidence::Evidence;
use candor_verify::receipt::Receipt;
use candor_verify::tlog::{leaf_data, leaf_hash, verify_inclusion};
use candor_verify::transcript::unsplice;
use serde_json::Value;

use crate::support::http::{CHAT, Frames, Http, Reply, chat, get};
use crate::support::payer::{Offered, Payer, Signed, buy, question};
use crate::support::split::Split;
use crate::support::tap::{At, Message, Tap};

/// Each durable step before the one that charges, from both of its sides: the host never hears of it, or did it and the enclave never hears.
const BEFORE_CHARGE: [(&str, At); 5] = [
    ("before append", |message| matches!(message, Message::ToHost(ToHost::Request { request: EnclaveRequest::Append(_), .. }))),
    ("after append", |message| matches!(message, Message::ToEnclave(ToEnclave::Reply { reply: HostReply::Appended { .. }, .. }))),
    ("before answer", |message| matches!(message, Message::ToHost(ToHost::Request { request: EnclaveRequest::StoreAnswer(_), .. }))),
    ("after answer", |message| matches!(message, Message::ToEnclave(ToEnclave::Reply { reply: HostReply::AnswerStored { .. }, .. }))),
    ("before checkpoint", |message| matches!(message, Message::ToHost(ToHost::Request { request: EnclaveRequest::Checkpoint(_), .. }))),
];

/// The checkpoint is stored with its calldata, and the enclave is never told.
fn after_checkpoint(message: &Message<'_>) -> bool {
    matches!(message, Message::ToEnclave(ToEnclave::Reply { reply: HostReply::CheckpointStored(_), .. }))
}

async fn start() -> (Split, Tap) {
    let tap = Tap::default();
    let split = Split::start_over(|arguments, socket| tap.listen(arguments, socket)).await;
    (split, tap)
}

/// Sends a paid request of which nothing is left when the enclave has died, however much of a stream came before.
async fn send_and_lose(api: &str, body: &Value, signed: &Signed) {
    let mut connection = Http::connect(api).await.unwrap();
    let headers = [("content-type", "application/json"), ("payment-signature", signed.header.as_str())];
    let opened = connection.open(hyper::Method::POST, CHAT, &headers, body.to_string().into_bytes()).await;
    let Ok(response) = opened else { return };
    assert_eq!(response.status(), 200);
    let whole = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(whole.is_err(), "it ends without its last frame");
}

/// The delivery in the last frame or the body.
fn delivery(reply: &Reply) -> Delivery {
    let mut frames = Frames::default().push(&reply.body);
    let last = match frames.pop() {
        Some(done) => {
            assert_eq!(done, b"[DONE]");
            frames.pop().unwrap()
        }
        None => reply.body.to_vec(),
    };
    let (_, member) = unsplice(&last).expect("a delivery");
    let member: Value = serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(member).unwrap())).unwrap();
    Delivery::parse(&base64::engine::general_purpose::STANDARD.decode(member["delivery"].as_str().unwrap()).unwrap()).unwrap()
}

/// Whether receipt, proof and evidence are the dead boot's, and fit.
async fn assert_of_boot(api: &str, reply: &Reply, log_id: &str) -> Receipt {
    let Delivery { receipt, signature, leaf_salt, checkpoint, inclusion, .. } = delivery(reply);
    assert_eq!(receipt.log_id.to_string(), log_id);
    let leaf = leaf_data(&leaf_salt, &receipt.digest(), &signature);
    assert!(verify_inclusion(leaf_hash(&leaf.0), receipt.sequence, &inclusion, &checkpoint.checkpoint.tree).is_ok());
    let path = format!("/candor/evidence/{}?at={}", receipt.manifest_hash, receipt.work.started_at);
    let evidence = Evidence::parse(&get(api, &path).await.body).unwrap();
    assert_eq!((evidence.manifest.hash(), evidence.manifest.log_id()), (receipt.manifest_hash, receipt.log_id));
    receipt
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_before_the_checkpoint_nothing_is_charged_and_nothing_is_there_to_be_had() {
    let (mut split, tap) = start().await;
    for ((name, hook), stream) in BEFORE_CHARGE.into_iter().flat_map(|hook| [(hook, true), (hook, false)]) {
        let payer = Payer::funded(&split.world).await;
        let body = question(name, stream);
        let signed = payer.pay(&Offered::of(&split.world.api(), &body).await);
        tap.kill(split.enclave.pid(), hook);
        send_and_lose(&split.world.api(), &body, &signed).await;
        split.next_enclave().await;
        // The host may have the blob, and gives it to nobody.
        let reply = chat(&split.world.api(), &body, Some(&signed.header)).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (402, "extension_echo_mismatch"), "{name}: {reply:?}");
        assert!(!payer.is_used(&signed).await, "{name}");
        payer.assert_paid(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_checkpoint_the_next_boot_has_the_answer_for_who_echoed_the_salt() {
    let (mut split, tap) = start().await;
    for stream in [true, false] {
        let old_log = split.log_id().await;
        let (payer, other) = (Payer::funded(&split.world).await, Payer::funded(&split.world).await);
        let body = question("after the checkpoint", stream);
        let offered = Offered::of(&split.world.api(), &body).await;
        let signed = payer.pay(&offered);
        tap.kill(split.enclave.pid(), after_checkpoint);
        send_and_lose(&split.world.api(), &body, &signed).await;
        split.next_enclave().await;
        // A stock client that sends its header again.
        let reply = buy(&split.world.api(), &body, &signed.header).await;
        assert_eq!(reply.header("x-candor-answer-recovery"), Some("kept"));
        let receipt = assert_of_boot(&split.world.api(), &reply, &old_log).await;
        assert_eq!((receipt.money.payer, receipt.money.charged.0), (payer.address(), offered.amount()));
        payer.assert_paid(&[offered.amount()]).await;
        // As often as it likes; for another question, or another's payment, there is nothing.
        assert_eq!(buy(&split.world.api(), &body, &signed.header).await.body, reply.body);
        let another = chat(&split.world.api(), &question("another question", stream), Some(&signed.header)).await;
        assert_eq!(another.status, 402, "{another:?}");

        // One that did not echo has paid for nothing: the 402 and the head said so.
        let log = split.log_id().await;
        let unkept = other.pay_unkept(&Offered::of(&split.world.api(), &body).await);
        tap.kill(split.enclave.pid(), after_checkpoint);
        send_and_lose(&split.world.api(), &body, &unkept).await;
        split.next_enclave().await;
        assert_ne!(split.log_id().await, log);
        let lost = chat(&split.world.api(), &body, Some(&unkept.header)).await;
        assert_eq!((lost.status, lost.error_code().as_str()), (402, "extension_echo_mismatch"), "{lost:?}");
        other.assert_pays(&[offered.amount()]).await;
        // The first one's is still there, two boots later.
        assert_eq!(buy(&split.world.api(), &body, &signed.header).await.header("x-receipt-id"), reply.header("x-receipt-id"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_asks_the_next_boot_with_the_same_payment_and_verifies_what_the_dead_one_made() {
    let (mut split, tap) = start().await;
    let old_log = split.log_id().await;
    let world = Arc::clone(&split.world);
    let rpc = world.rpc();
    let ask = ["ask", "What if you die?", "--max-tokens", "8", "--rpc", &rpc];
    tap.kill(split.enclave.pid(), after_checkpoint);
    let asking = {
        let (world, ask) = (Arc::clone(&world), ask.map(str::to_owned));
        tokio::task::spawn_blocking(move || world.candor(&ask.each_ref().map(String::as_str)))
    };
    split.next_enclave().await;
    let lost = asking.await.unwrap();
    assert_eq!(lost.code, 2, "{lost:?}");

    let asked = world.candor(&ask);
    assert_eq!(asked.code, 0, "{asked:?}");
    let bundle = std::fs::read(asked.json["bundle"].as_str().unwrap()).unwrap();
    let bundle = candor_verify::bundle::Bundle::parse(&bundle).unwrap();
    let receipt = &bundle.delivery.receipt;
    assert_eq!((receipt.log_id.to_string(), bundle.evidence.manifest.hash()), (old_log, receipt.manifest_hash));
    assert_eq!(world.transfers_from(&receipt.money.payer).await, [receipt.money.charged.0], "paid once");
}
