//! Requests that are wrong, slow or broken off: a typed error in OpenAI's shape for whoever sent them, nothing charged, and everybody
//! else keeps being served. Over the real program; one chain and one node for the file.

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::World;
use crate::support::http::{CHAT, Http, Reply, chat, chat_bytes, get, rest, tls};
use crate::support::payer::{Offered, Payer, buy, is_pending, question};

/// In every wrong request, and in no answer.
const SECRET: &str = "zanzibar";

const JSON: (&str, &str) = ("content-type", "application/json");

async fn post(world: &World, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
    Http::connect(&world.api()).await.unwrap().send(Method::POST, CHAT, headers, body.into()).await
}

fn assert_error(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.error_code().as_str()), (status, code), "{reply:?}");
    assert!(reply.headers.get("payment-required").is_none(), "an error is not for sale: {reply:?}");
    assert!(!String::from_utf8_lossy(&reply.body).contains(SECRET), "the error quotes the request: {reply:?}");
}

async fn assert_serves(world: &World) {
    let reply = get(&world.api(), "/health").await;
    assert_eq!((reply.status, reply.json()["status"].as_str()), (200, Some("ok")));
}

#[tokio::test]
async fn malformed_json_is_refused_and_not_quoted() {
    let world = World::shared();
    for body in [
        format!("{{\"model\":\"{SECRET}\""),
        format!("[\"{SECRET}\"]"),
        SECRET.to_owned(),
        format!("{{\"model\":{SECRET}}}"),
        format!("{{\"model\":\"m\",\"model\":\"m\",\"user\":\"{SECRET}\"}}"),
        "[".repeat(10_000),
        String::new(),
    ] {
        assert_error(&post(&world, &[JSON], body).await, 400, "");
    }
    assert_error(&post(&world, &[JSON], b"{\"model\":\"\xff\"}").await, 400, "");
}

#[tokio::test]
async fn a_request_that_lacks_or_mistypes_a_field_is_told_which() {
    let world = World::shared();
    for (change, code, param) in [
        (json!({"model": Value::Null}), "missing_required_parameter", "model"),
        (json!({"messages": Value::Null}), "missing_required_parameter", "messages"),
        (json!({"messages": SECRET}), "invalid_type", "messages"),
        (json!({"messages": []}), "invalid_value", "messages"),
        (json!({"max_tokens": 0}), "invalid_value", "max_tokens"),
        (json!({"tools": [{"type": SECRET}]}), "unsupported_parameter", "tools"),
        (json!({"n": 2}), "unsupported_value", "n"),
    ] {
        let mut body = question("wrong field", false);
        for (key, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(body.as_object_mut().unwrap().remove(key)),
                value => body[key] = value.clone(),
            }
        }
        let reply = post(&world, &[JSON], body.to_string()).await;
        assert_error(&reply, 400, code);
        assert_eq!(reply.json()["error"]["param"], param);
    }
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let world = World::shared();
    let mut body = question(SECRET, false);
    body["model"] = "no-such-model".into();
    assert_error(&chat(&world.api(), &body, None).await, 404, "model_not_found");
}

#[tokio::test]
async fn a_prompt_longer_than_the_context_is_refused_before_a_price_is_made() {
    let world = World::shared();
    let long = question(&SECRET.repeat(20_000), false);
    assert_error(&chat(&world.api(), &long, None).await, 400, "context_length_exceeded");
    let mut greedy = question(SECRET, false);
    greedy["max_tokens"] = 1_000_000.into();
    assert_error(&chat(&world.api(), &greedy, None).await, 400, "context_length_exceeded");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let world = World::shared();
    let mut body = question(SECRET, false).to_string().into_bytes();
    body.resize((1 << 20) + 1, b' ');
    assert_error(&post(&world, &[JSON], body).await, 413, "");
    assert_serves(&world).await;
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let world = World::shared();
    let body = question(SECRET, false).to_string();
    for headers in [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/jsonp")], &[("content-type", "")]] {
        assert_error(&post(&world, headers, body.clone()).await, 415, "");
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(post(&world, &[("content-type", kind)], body.clone()).await.status, 402, "{kind}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_refused() {
    let world = World::shared();
    let mut connection = Http::connect(&world.api()).await.unwrap();
    for (method, path, status) in [
        (Method::GET, "/", Err(404)),
        (Method::POST, "/v1/chat/completions/", Err(404)),
        (Method::POST, "/v1/completions", Err(404)),
        (Method::GET, "/v1/models/../receipts", Err(404)),
        (Method::GET, CHAT, Ok("OPTIONS, POST")),
        (Method::POST, "/candor/answer", Ok("DELETE, OPTIONS")),
        (Method::DELETE, "/v1/models", Ok("GET, HEAD, OPTIONS")),
        (Method::POST, "/candor/evidence", Ok("GET, HEAD, OPTIONS")),
        (Method::POST, "/health", Ok("GET, HEAD, OPTIONS")),
        (Method::POST, "/v1/receipts/00000000000000000000000000000000", Err(404)),
    ] {
        let (status, allow) = status.map_or_else(|status| (status, None), |methods| (405, Some(methods)));
        let reply = connection.send(method.clone(), path, &[JSON], Vec::new()).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        assert_error(&reply, status, "");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn every_response_of_a_route_names_the_manifest() {
    let world = World::shared();
    let mut connection = Http::connect(&world.api()).await.unwrap();
    let manifest = connection.send(Method::GET, "/v1/models", &[], Vec::new()).await.header("x-candor-manifest").unwrap().to_owned();
    assert!(candor_verify::Hash32::from_hex(&manifest).is_some(), "{manifest}");
    for (method, path, status) in [
        (Method::GET, "/v1/models", 200),
        (Method::HEAD, "/v1/models", 200),
        (Method::GET, "/candor/evidence", 200),
        (Method::GET, "/health", 200),
        // They are the host's, for its operator.
        (Method::GET, "/metrics", 404),
        (Method::GET, "/", 404),
        (Method::GET, CHAT, 405),
        (Method::POST, CHAT, 400),
        (Method::OPTIONS, CHAT, 204),
        (Method::DELETE, "/candor/answer", 400),
    ] {
        let reply = connection.send(method.clone(), path, &[JSON], Vec::new()).await;
        assert_eq!((reply.status, reply.header("x-candor-manifest")), (status, Some(manifest.as_str())), "{method} {path}");
    }
}

#[tokio::test]
async fn receipts_that_do_not_exist_are_not_found_and_malformed_challenges_are_refused() {
    let world = World::shared();
    for id in ["00000000000000000000000000000000", "00", "", "zz", "0x0000000000000000000000000000000000", &"0".repeat(4096)] {
        assert_error(&get(&world.api(), &format!("/v1/receipts/{id}")).await, 404, "");
    }
    let zero = format!("0x{}", "0".repeat(64));
    for nonce in ["", "0x", "7", &zero, "0x0g"] {
        assert_error(&get(&world.api(), &format!("/candor/evidence?nonce={nonce}")).await, 400, "");
    }
}

#[tokio::test]
async fn unpaid_quotes_are_limited_per_connection_which_then_ends() {
    let world = World::shared();
    let body = question("quotes", false).to_string().into_bytes();
    let mut connection = Http::connect(&world.api()).await.unwrap();
    for number in 1..=64 {
        let reply = connection.send(Method::POST, CHAT, &[JSON], body.clone()).await;
        assert_eq!((reply.status, reply.header("connection")), (402, (number == 64).then_some("close")), "{number}: {reply:?}");
    }
    assert!(connection.open(Method::POST, CHAT, &[JSON], body.clone()).await.is_err(), "no pool comes back to it");
    // Others are not concerned.
    assert_eq!(chat(&world.api(), &question("quotes", false), None).await.status, 402);
}

#[tokio::test]
async fn a_connection_that_pays_each_quote_is_quoted_for_as_long_as_it_likes() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let mut connection = Http::connect(&world.api()).await.unwrap();
    for number in 0..65 {
        let body = question(&format!("quote {number}"), false).to_string().into_bytes();
        let offered = Offered::read(&connection.send(Method::POST, CHAT, &[JSON], body.clone()).await);
        let signed = payer.pay(&offered);
        let headers: [(&str, &str); 2] = [JSON, ("payment-signature", &signed.header)];
        let mut reply = connection.send(Method::POST, CHAT, &headers, body.clone()).await;
        while is_pending(&reply) {
            reply = connection.send(Method::POST, CHAT, &headers, body.clone()).await;
        }
        assert_eq!(reply.status, 200, "{number}: {reply:?}");
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_and_others_are_served_meanwhile() {
    let world = World::shared();
    let mut slow = tls(&world.api()).await.unwrap();
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{");
    slow.write_all(head.as_bytes()).await.unwrap();
    assert_serves(&world).await;
    let answer = rest(&mut slow).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{:?}", String::from_utf8_lossy(&answer));
    assert_serves(&world).await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let world = World::shared();
    let mut slow = tls(&world.api()).await.unwrap();
    slow.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx: ").await.unwrap();
    assert_serves(&world).await;
    let answer = rest(&mut slow).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_connection_without_a_handshake_is_cut() {
    let world = World::shared();
    let address = world.api().trim_start_matches("https://").to_owned();
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain.write_all(format!("POST {CHAT} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    assert_serves(&world).await;
    // Not an HTTP answer: without TLS there is nobody to talk to.
    assert!(!rest(&mut plain).await.starts_with(b"HTTP"));
    assert_eq!(rest(&mut silent).await, b"");
}

#[tokio::test]
async fn whoever_leaves_before_paying_is_charged_nothing() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("leaves before paying", false);
    let offered = Offered::of(&world.api(), &body).await;
    drop(offered);
    payer.assert_paid(&[]).await;
}

#[tokio::test]
async fn a_paid_request_that_breaks_off_in_its_body_is_not_claimed_and_its_payment_still_buys() {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question("breaks off", false);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let mut connection = tls(&world.api()).await.unwrap();
    let whole = chat_bytes("", &body, Some(&signed.header));
    connection.write_all(&whole[..whole.len() - 1]).await.unwrap();
    connection.flush().await.unwrap();
    drop(connection);
    assert_serves(&world).await;
    payer.assert_paid(&[]).await;
    buy(&world.api(), &body, &signed.header).await;
    payer.assert_paid(&[offered.amount()]).await;
}
