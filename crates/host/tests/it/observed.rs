//! What a host shows to its operator's tools: who may ask, what being ready takes, what is counted.

use std::net::SocketAddr;
use std::time::Duration;

use candor_chain::Finality;
use candor_host::*;
use candor_link::*;
use candor_verify::Hash32;
use candor_verify::time::UnixSeconds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::running::Running;
use crate::support::world::World;
use crate::support::*;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn running(name: &str) -> Running {
    Running::start(name, |config| config.metrics_listen = Some(LOOPBACK)).await
}

/// Sends a head to the listener for metrics. Status, head and body of the answer.
async fn ask(host: &Host, head: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(host.metrics_address().unwrap()).await.unwrap();
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

async fn get(host: &Host, path: &str) -> (u16, String) {
    let (status, _, body) = ask(host, &format!("GET {path} HTTP/1.1\r\nHost: localhost:9464\r\n")).await;
    (status, body)
}

/// The value of a sample, by its name and labels as they are written.
async fn sample(host: &Host, name: &str) -> Option<String> {
    let (status, page) = get(host, "/metrics").await;
    assert_eq!(status, 200);
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
}

/// Waits until a sample has this value.
async fn comes_to(host: &Host, name: &str, value: &str) {
    let look = async {
        while sample(host, name).await.as_deref() != Some(value) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, look).await.is_err() {
        panic!("{name} is {:?} and never {value}", sample(host, name).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_told_to_whoever_asks_at_a_loopback_name_with_get_or_head() {
    let running = running("asked").await;
    let host = &running.host;
    for name in ["localhost", "localhost:9464", "127.0.0.1", "[::1]:9464"] {
        let (status, head, page) = ask(host, &format!("GET /metrics HTTP/1.1\r\nHost: {name}\r\n")).await;
        assert_eq!(status, 200, "{name}");
        assert!(head.contains("content-type: text/plain; version=0.0.4") && page.contains("\ncandor_ready "), "{name}: {head}");
        assert!(!head.contains("access-control"), "no page of another origin may read it: {head}");
    }
    let (status, _, page) = ask(host, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n").await;
    assert_eq!((status, page.as_str()), (200, ""));
    // A name of somebody's page that was led here, and no name at all.
    for name in ["Host: evil.example\r\n", "Host: evil.example:9464\r\n", "Host: localhost.evil.example\r\n", "Host: 192.0.2.7\r\n", ""] {
        for path in ["/metrics", "/ready", "/live", "/"] {
            let (status, _, body) = ask(host, &format!("GET {path} HTTP/1.1\r\n{name}")).await;
            assert_eq!(status, 403, "{name}{path}: {body}");
            assert!(!body.contains("candor_"), "{body}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, head, _) = ask(host, &format!("{method} /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n")).await;
        assert_eq!((status, head.contains("allow: get, head")), (405, true), "{method}: {head}");
    }
    assert_eq!(get(host, "/").await.0, 404);
    // The log's port, which is for everybody, has none of it.
    assert_eq!(running.get("/metrics").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_for_other_machines_have_to_be_asked_for() {
    let world = std::sync::Arc::new(World::start().await);
    let scratch = Scratch::new("remote");
    let enclave = FakeEnclave::listen(&scratch);
    let mut config = config(&world, &scratch, &enclave.socket, b"weights");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9464"] {
        config.metrics_listen = Some(address.parse().unwrap());
        let refused = Host::start(config.clone()).await.map(drop);
        assert!(matches!(&refused, Err(HostError::Config(message)) if message.contains("loopback")), "{address}: {refused:?}");
    }
    (config.metrics_listen, config.metrics_remote) = (Some("0.0.0.0:0".parse().unwrap()), true);
    let host = Host::start(config).await.unwrap();
    let port = host.metrics_address().unwrap().port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: node.internal:9464\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_ready_while_its_enclave_serves_registered_and_its_store_takes_writes() {
    let mut running = Running::start("ready", |config| {
        config.metrics_listen = Some(LOOPBACK);
        (config.serve_unregistered, config.finality) = (false, Finality::Depth(0));
    })
    .await;
    comes_to(&running.host, "candor_ready", "1").await;
    assert_eq!(get(&running.host, "/ready").await, (200, r#"{"missing":[],"ok":true}"#.to_owned()));
    assert_eq!(get(&running.host, "/live").await.0, 200);
    // The enclave goes: not ready, and alive.
    drop(running.control);
    comes_to(&running.host, "candor_ready", "0").await;
    let (status, body) = get(&running.host, "/ready").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["ok"]), (503, &false.into()));
    assert!(body["missing"].as_array().unwrap().contains(&"enclave".into()), "{body}");
    assert_eq!(get(&running.host, "/live").await.0, 200);
    comes_to(&running.host, "candor_link_losses_total", "1").await;
    // And comes again.
    running.control = running.enclave.control(Phase::Ready(Box::new(running.boot.ready()))).await;
    comes_to(&running.host, "candor_ready", "1").await;
    assert_eq!(sample(&running.host, "candor_link_connections_total").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_and_no_payer_is_named() {
    let mut running = running("counted").await;
    let until = UnixSeconds(running.world.shared.lock().now() + 200);
    let token = running.world.contracts.test_usd;
    let settlement = settlement(&running.world.payer, running.world.payee, token, 9, until, 0);
    let entry = running.boot.entry(settlement.payment_id);
    assert_eq!(running.control.append(0, vec![entry]).await, HostReply::Appended { size: 1 });
    let stored = running.control.checkpoint(0, running.boot.checkpoint(), vec![settlement.clone()]).await;
    assert!(matches!(stored, HostReply::CheckpointStored(_)), "{stored:?}");
    running.control.call(EnclaveRequest::AwaitSettlement { payment_id: settlement.payment_id, timeout_ms: 15_000 }).await;
    let labels = format!("{{chain_id=\"31337\",asset=\"{token}\"}}");
    comes_to(&running.host, &format!("candor_settlements_total{labels}"), "1").await;
    comes_to(&running.host, &format!("candor_settled_units_total{labels}"), "1000").await;
    comes_to(&running.host, "candor_anchors_total", "1").await;
    comes_to(&running.host, "candor_log_anchored_leaves", "1").await;
    comes_to(&running.host, "candor_settlements_open{chain_id=\"31337\",state=\"sent\"}", "0").await;
    let (_, page) = get(&running.host, "/metrics").await;
    for (what, hidden) in [
        ("the payer", running.world.payer.address().to_string()),
        ("the payment", settlement.payment_id.to_string()),
        ("the log", running.boot.log_id().to_string()),
    ] {
        assert!(!page.to_ascii_lowercase().contains(&hidden.to_ascii_lowercase()), "{what} is named: {page}");
    }
    for counted in ["candor_anchor_gas_total", "candor_store_groups_total", "candor_store_bytes", "candor_anchor_last_time_seconds"] {
        assert!(sample(&running.host, counted).await.is_some_and(|value| value != "0"), "{counted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_enclave_counts_and_says_is_shown() {
    let mut running = running("enclave").await;
    let mut counts = EnclaveCounts::default();
    counts.add(EnclaveCounter::Requests, 7);
    counts.add(EnclaveCounter::CompletionTokens, 4_242);
    counts.measure(EnclaveHistogram::FirstFrame, 120);
    counts.measure(EnclaveHistogram::FirstFrame, 40_000);
    loop {
        match running.control.next().await.unwrap() {
            ToEnclave::Request { id, request: HostRequest::Metrics } => {
                break running.control.reply(id, EnclaveReply::Metrics(Box::new(counts))).await;
            }
            ToEnclave::Request { id, .. } => running.control.reply(id, EnclaveReply::Done).await,
            _ => {}
        }
    }
    let event = LogEvent { event: EnclaveEvent::HandshakeFailed, count: 3, integers: vec![], digest: None };
    running.control.send(&ToHost::Log(event)).await;
    let serving = LogEvent { event: EnclaveEvent::Serving, count: 1, integers: vec![1], digest: Some(Hash32([1; 32])) };
    running.control.send(&ToHost::Log(serving)).await;
    comes_to(&running.host, "candor_completion_tokens_total", "4242").await;
    for (name, value) in [
        ("candor_requests_total", "7"),
        ("candor_first_frame_seconds_bucket{le=\"0.1\"}", "0"),
        ("candor_first_frame_seconds_bucket{le=\"0.25\"}", "1"),
        ("candor_first_frame_seconds_bucket{le=\"30\"}", "1"),
        ("candor_first_frame_seconds_bucket{le=\"+Inf\"}", "2"),
        ("candor_first_frame_seconds_sum", "40.12"),
        ("candor_first_frame_seconds_count", "2"),
        ("candor_enclave_events_total{event=\"handshake_failed\",level=\"info\"}", "3"),
        ("candor_boots_total", "1"),
    ] {
        comes_to(&running.host, name, value).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_turned_away_is_counted_by_its_reason() {
    let running = Running::start("turned", |config| {
        config.metrics_listen = Some(LOOPBACK);
        config.clients = ClientLimits { max_connections: 2, max_per_address: 1, ..ClientLimits::default() };
    })
    .await;
    let _first = TcpStream::connect(running.host.client_address()).await.unwrap();
    let (_role, _led) = running.enclave.accept().await;
    comes_to(&running.host, "candor_connections_open", "1").await;
    let mut second = TcpStream::connect(running.host.client_address()).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0, "it is closed");
    comes_to(&running.host, "candor_connections_refused_total{reason=\"address\"}", "1").await;
    assert_eq!(sample(&running.host, "candor_connections_refused_total{reason=\"full\"}").await.as_deref(), Some("0"));
}
