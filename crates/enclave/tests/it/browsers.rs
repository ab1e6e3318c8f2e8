//! Browsers: a page of any origin may ask, pay and read what it is told; HEAD is GET without its body.

use candor_enclave::Config;
use tokio::io::AsyncWriteExt as _;

use crate::support::World;
use crate::support::client::{Reply, question, rest};

/// A request without a body, as a browser sends it for a page.
async fn send(world: &World, line: &str) -> Reply {
    let mut tls = world.tls().await;
    let request = format!("{line} HTTP/1.1\r\nhost: node\r\nconnection: close\r\norigin: https://page.example\r\n\r\n");
    tls.write_all(request.as_bytes()).await.unwrap();
    Reply::parse(&rest(&mut tls).await)
}

fn lists(reply: &Reply, header: &str, names: &[&str]) -> bool {
    let listed: Vec<&str> = reply.header(header).unwrap_or_default().split(", ").collect();
    names.iter().all(|name| listed.contains(name))
}

#[tokio::test]
async fn a_page_of_another_origin_may_pay_and_read_what_it_is_told() {
    let world = World::start(Config::default()).await;
    let preflight = send(&world, "OPTIONS /v1/chat/completions").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")));
    assert!(lists(&preflight, "access-control-allow-methods", &["GET", "POST"]), "{preflight:?}");
    assert!(lists(&preflight, "access-control-allow-headers", &["content-type", "payment-signature"]), "{preflight:?}");
    assert!(preflight.body.is_empty(), "{preflight:?}");

    let told = ["payment-required", "payment-response", "x-receipt-id", "x-candor-transcript-seed"];
    let unpaid = world.ask(&question("what it costs", 2, false), None).await;
    // Errors too, or a page could not say what is wrong.
    for reply in [unpaid, send(&world, "GET /nowhere").await] {
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{reply:?}");
        assert!(lists(&reply, "access-control-expose-headers", &told), "{reply:?}");
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_its_body() {
    let world = World::start(Config::default()).await;
    for path in ["/v1/models", "/health", "/candor/evidence", "/v1/receipts/00", "/v1/chat/completions"] {
        let (get, head) = (send(&world, &format!("GET {path}")).await, send(&world, &format!("HEAD {path}")).await);
        assert_eq!((head.status, head.header("content-type")), (get.status, get.header("content-type")), "{path}");
        assert!(head.body.is_empty(), "{path}: {head:?}");
    }
}
