//! One payment, one execution, one charge: under concurrency, on retries, and when the client goes away in the middle (ARCHITECTURE.md, invariants).
//! Over the real program.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use candor_verify::bytes::{Hash32, Signature65, from_hex};
use candor_verify::delivery::Delivery;
use candor_verify::eip712::{K256, signer};
use candor_verify::receipt::{Outcome, Receipt};
use candor_verify::tlog::{Tree, verify_consistency, verify_inclusion};
use candor_verify::transcript::{frame_leaf_hash, response_commitment, root_of, unsplice};
use hyper::Method;
use serde_json::Value;

use crate::support::http::{CHAT, Frames, Http, Reply, chat, chat_bytes, first_frames, get};
use crate::support::payer::{Offered, Payer, assert_settled, buy, is_pending, question};
use crate::support::{World, eventually};

/// How often one payment is sent at once.
const TIMES: usize = 50;

/// What a payment that was taken already is told.
const TAKEN: [&str; 2] = ["candor_payment_already_executed", "candor_payment_in_flight"];

async fn send_at_once(api: &str, body: &Value, header: &str) -> Vec<Reply> {
    let mut connections = Vec::new();
    for _ in 0..TIMES {
        connections.push(Http::connect(api).await.unwrap());
    }
    let mut tasks = tokio::task::JoinSet::new();
    for mut connection in connections {
        let (body, header) = (body.to_string().into_bytes(), header.to_owned());
        tasks.spawn(async move {
            let headers = [("content-type", "application/json"), ("payment-signature", header.as_str())];
            connection.send(Method::POST, CHAT, &headers, body).await
        });
    }
    tasks.join_all().await
}

/// The replies that are answers; all others say that the payment was taken, or that its transfer is pending.
fn executed(replies: &[Reply]) -> Vec<&Reply> {
    let (done, refused): (Vec<&Reply>, Vec<&Reply>) = replies.iter().partition(|reply| reply.status == 200);
    let refused = refused.into_iter().filter(|reply| !is_pending(reply));
    for reply in refused {
        assert_eq!(reply.status, 409, "{reply:?}");
        assert!(TAKEN.contains(&reply.error_code().as_str()), "{reply:?}");
    }
    done
}

/// Answer and receipt of a whole answer. The proof beside them is as new as the moment of handing out.
fn parts(reply: &Reply) -> (Vec<u8>, Receipt) {
    let (answer, member) = unsplice(&reply.body).expect("a receipt");
    let member: Value = serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(member).unwrap())).unwrap();
    let delivery = base64::engine::general_purpose::STANDARD.decode(member["delivery"].as_str().unwrap()).unwrap();
    (answer, Delivery::parse(&delivery).unwrap().receipt)
}

#[tokio::test]
async fn one_payment_sent_fifty_times_at_once_executes_once_for_a_whole_answer() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("fifty whole", false);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let mut replies = send_at_once(&world.api(), &body, &signed.header).await;
    // Those that come after it was finished get the kept answer of the one execution: one receipt, the same answer.
    replies.push(buy(&world.api(), &body, &signed.header).await);
    let done = executed(&replies);
    let receipts: BTreeSet<&str> = done.iter().map(|reply| reply.header("x-receipt-id").unwrap()).collect();
    assert_eq!(receipts.len(), 1);
    assert!(done.iter().all(|reply| parts(reply) == parts(done[0])));
    done.iter().for_each(|reply| assert_settled(reply));
    payer.assert_paid(&[offered.amount()]).await;
}

#[tokio::test]
async fn one_payment_sent_fifty_times_at_once_executes_once_for_a_stream() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("fifty streamed", true);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let replies = send_at_once(&world.api(), &body, &signed.header).await;
    let done = executed(&replies);
    // Those that come after it was finished and settled get the kept answer of the one execution.
    let receipts: BTreeSet<&str> = done.iter().map(|reply| reply.header("x-receipt-id").unwrap()).collect();
    assert_eq!(receipts.len(), 1);
    assert!(done.iter().all(|reply| reply.body.ends_with(b"data: [DONE]\n\n")));
    let first = done.iter().filter(|reply| reply.header("payment-response").is_none());
    assert_eq!(first.count(), 1, "a stream starts before its transfer, a kept one after");
    payer.assert_pays(&[offered.amount()]).await;
}

#[tokio::test]
async fn an_authorization_that_names_no_request_executes_once_over_all_requests() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("stock", false);
    let mut other = body.clone();
    other["seed"] = 2.into();
    let offered = Offered::of(&world.api(), &body).await;
    // A boot of this very second could be the earlier one; then the node says how long to wait.
    let (signed, reply) = eventually("a stock payment is taken", || async {
        let signed = payer.pay_stock(&offered);
        let reply = chat(&world.api(), &body, Some(&signed.header)).await;
        if reply.status == 402 {
            assert_eq!(reply.error_code(), "candor_not_this_boot");
            assert!(reply.header("retry-after").is_some());
        }
        (reply.status != 402).then_some((signed, reply))
    })
    .await;
    if is_pending(&reply) {
        buy(&world.api(), &body, &signed.header).await;
    } else {
        assert_settled(&reply);
    }
    let again = chat(&world.api(), &other, Some(&signed.header)).await;
    assert_eq!((again.status, again.error_code().as_str()), (409, TAKEN[0]), "{again:?}");
    payer.assert_paid(&[offered.amount()]).await;
}

#[tokio::test]
async fn a_retry_of_the_same_payment_gets_the_same_whole_answer_and_is_charged_once() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("retry", false);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let first = buy(&world.api(), &body, &signed.header).await;
    let again = buy(&world.api(), &body, &signed.header).await;
    assert_eq!(parts(&first), parts(&again));
    assert_eq!(first.header("x-receipt-id"), again.header("x-receipt-id"));
    payer.assert_paid(&[offered.amount()]).await;
}

#[tokio::test]
async fn a_finished_stream_is_not_run_again_and_is_given_again_to_who_echoed_a_salt() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("finished stream", true);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let first = chat(&world.api(), &body, Some(&signed.header)).await;
    assert_eq!((first.status, first.header("x-candor-answer-recovery")), (200, Some("kept")));
    payer.assert_pays(&[offered.amount()]).await;
    let again = buy(&world.api(), &body, &signed.header).await;
    assert_eq!(first.header("x-receipt-id"), again.header("x-receipt-id"));
    assert_eq!(values(&first), values(&again));
    payer.assert_paid(&[offered.amount()]).await;

    let unkept = payer.pay_unkept(&offered);
    let first = chat(&world.api(), &body, Some(&unkept.header)).await;
    assert_eq!((first.status, first.header("x-candor-answer-recovery")), (200, Some("none")));
    payer.assert_pays(&[offered.amount(); 2]).await;
    // The chain knows it too by now. Fresh terms would invite to pay for the same request a second time.
    let again = chat(&world.api(), &body, Some(&unkept.header)).await;
    assert_eq!((again.status, again.error_code().as_str()), (409, TAKEN[0]), "{again:?}");
    payer.assert_paid(&[offered.amount(); 2]).await;
}

#[tokio::test]
async fn a_whole_answer_whose_client_hung_up_is_charged_once_and_kept_for_the_retry() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("hung up", false);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    {
        let mut connection = crate::support::http::tls(&world.api()).await.unwrap();
        let request = chat_bytes("", &body, Some(&signed.header));
        tokio::io::AsyncWriteExt::write_all(&mut connection, &request).await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut connection).await.unwrap();
    }
    // Gone before the answer. Whether or not the node had begun, the retry gets an answer, and one only is paid for.
    let reply = eventually("the retry is answered", || async {
        let reply = chat(&world.api(), &body, Some(&signed.header)).await;
        (reply.status != 409 && !is_pending(&reply)).then_some(reply)
    })
    .await;
    assert_settled(&reply);
    payer.assert_paid(&[offered.amount()]).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_is_charged_once_and_proves_its_part() {
    let world = Arc::new(World::slow(&[]));
    let payer = Payer::funded(&world).await;
    let mut body = question("leaves", true);
    body["max_tokens"] = 1800.into();
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let mut connection = Http::connect(&world.api()).await.unwrap();
    let headers = [("content-type", "application/json"), ("payment-signature", signed.header.as_str())];
    let response = connection.open(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await.unwrap();
    assert_eq!(response.status(), 200);
    let head = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let (receipt_id, seed) = (head("x-receipt-id"), Hash32::from_hex(&head("x-candor-transcript-seed")).unwrap());
    let mine = first_frames(response.into_body(), 4).await;
    drop(connection);

    let stored = receipt_with_prefix(&world, &receipt_id, mine.len()).await;
    let receipt = Receipt::parse(&from_hex(stored["receipt"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(receipt.work.outcome, Outcome::Aborted);
    assert_eq!(receipt.work.outcome.as_str(), "aborted");
    assert_eq!(receipt.money.payer, payer.address());
    assert_eq!(receipt.money.charged.0, offered.amount());
    let signature = Signature65::from_hex(stored["signature"].as_str().unwrap()).unwrap();
    assert_eq!(signer(&K256, &receipt.digest(), &signature).map(|k_sig| k_sig.to_string()), Some(world.node.text("k_sig")));

    // My frames are the beginning of what the receipt commits to.
    let leaves: Vec<Hash32> = (0..).zip(&mine).map(|(at, frame)| frame_leaf_hash(&seed, at, frame)).collect();
    let part = Tree { size: leaves.len() as u64, root: root_of(&leaves) };
    let all = Tree { size: stored["frames"].as_u64().unwrap(), root: hash(&stored["frames_root"]) };
    assert_eq!(receipt.work.response_commitment, response_commitment(all.size, &all.root));
    assert!(verify_consistency(&part, &all, &hashes(&stored["prefix"]["consistency"])).is_ok());
    // And nobody else's are.
    let lie = Tree { root: root_of(&leaves.iter().rev().copied().collect::<Vec<_>>()), ..part };
    assert!(verify_consistency(&lie, &all, &hashes(&stored["prefix"]["consistency"])).is_err());

    // It is in the log, under a checkpoint.
    let checkpoint = &stored["checkpoint"];
    let tree = Tree { size: checkpoint["size"].as_u64().unwrap(), root: hash(&checkpoint["root"]) };
    let leaf = candor_verify::tlog::leaf_hash(&hash(&stored["leaf_data"]).0);
    assert!(verify_inclusion(leaf, receipt.sequence, &hashes(&checkpoint["inclusion"]), &tree).is_ok());
    payer.assert_pays(&[offered.amount()]).await;

    let more = get(&world.api(), &format!("/v1/receipts/{receipt_id}?prefix={}", all.size + 1)).await;
    assert_eq!((more.status, more.error_code().as_str()), (400, ""));
    // Whoever comes back gets what was handed over, and no more.
    let again = buy(&world.api(), &body, &signed.header).await;
    let got = values(&again);
    assert!(got.len() as u64 == all.size && got.starts_with(&mine), "{} of {}", got.len(), all.size);
    payer.assert_paid(&[offered.amount()]).await;
}

/// The frames of a stream without the delivery, which is as new as the moment at which it was handed out.
fn values(reply: &Reply) -> Vec<Vec<u8>> {
    let mut frames = Frames::default().push(&reply.body);
    assert_eq!(frames.pop().as_deref(), Some(b"[DONE]".as_slice()));
    let last = frames.pop().and_then(|last| unsplice(&last).map(|(value, _)| value)).expect("a delivery");
    frames.push(last);
    frames
}

async fn receipt_with_prefix(world: &World, id: &str, prefix: usize) -> Value {
    eventually("the receipt of an aborted answer is stored and under a checkpoint", || async {
        let reply = get(&world.api(), &format!("/v1/receipts/{id}?prefix={prefix}")).await;
        let json = reply.json();
        (reply.status == 200 && !json["checkpoint"].is_null()).then_some(json)
    })
    .await
}

fn hash(value: &Value) -> Hash32 {
    Hash32::from_hex(value.as_str().unwrap()).unwrap()
}

fn hashes(value: &Value) -> Vec<Hash32> {
    value.as_array().unwrap().iter().map(hash).collect()
}

#[tokio::test]
async fn a_stream_ends_with_its_receipt_and_no_earlier_frame_has_one() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("last frame", true);
    let offered = Offered::of(&world.api(), &body).await;
    let reply = chat(&world.api(), &body, Some(&payer.pay(&offered).header)).await;
    assert_eq!(reply.status, 200);
    let mut frames = Frames::default().push(&reply.body);
    assert_eq!(frames.pop().as_deref(), Some(b"[DONE]".as_slice()));
    assert!(frames.pop().is_some_and(|last| unsplice(&last).is_some()));
    assert!(frames.iter().all(|frame| unsplice(frame).is_none()));
    // By then it is stored: whoever has the id gets it at once.
    let stored = get(&world.api(), &format!("/v1/receipts/{}", reply.header("x-receipt-id").unwrap())).await;
    assert!(!stored.json()["checkpoint"].is_null(), "{stored:?}");
}
