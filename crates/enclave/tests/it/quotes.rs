//! Requests before they are paid for: what changes nothing is named, what cannot be answered is refused, and both are counted.

use candor_enclave::Config;

use crate::support::client::{Reply, ask_on, question, rest, sign};
use crate::support::{Key, World, now};

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert!(reply.status == status && reply.text().contains(&format!(r#""code":"{code}""#)), "{reply:?}");
}

#[tokio::test]
async fn fields_that_change_nothing_are_named_before_and_after_the_payment() {
    let world = World::start(Config::default()).await;
    for stream in [false, true] {
        let mut body = question("hello", 2, stream);
        // Long enough to be read beside the workers, and no longer for the model.
        body["user"] = "u".repeat(20_000).into();
        body["messages"][0]["name"] = "n".into();
        let unpaid = world.ask(&body, None).await;
        assert_eq!((unpaid.status, unpaid.header("x-candor-ignored")), (402, Some("messages.name, user")));
        let payment = sign(&Key::of(9), &unpaid, now() + 300);
        let paid = world.ask(&body, Some(&payment)).await;
        assert_eq!((paid.status, paid.header("x-candor-ignored")), (200, Some("messages.name, user")));
    }
    let plain = world.ask(&question("hello", 2, false), None).await;
    assert_eq!((plain.status, plain.header("x-candor-ignored")), (402, None));
}

#[tokio::test]
async fn fields_that_would_change_the_answer_are_refused_before_a_price_is_made() {
    let world = World::start(Config::default()).await;
    for name in ["reasoning_effort", "min_p", "some_future_field"] {
        let mut body = question("hello", 2, false);
        body[name] = 1.into();
        let reply = world.ask(&body, None).await;
        assert_refused(&reply, 400, "unsupported_parameter");
        assert!(reply.text().contains(&format!(r#""param":"{name}""#)) && reply.header("payment-required").is_none(), "{reply:?}");
    }
}

#[tokio::test]
async fn a_prompt_beyond_the_context_is_refused_also_when_many_come_at_once() {
    let world = World::start(Config::default()).await;
    let long = question(&"x ".repeat(400_000), 2, false);
    let mut asked = Vec::new();
    for _ in 0..8 {
        asked.push(world.send(&long, None).await);
    }
    for mut tls in asked {
        assert_refused(&Reply::parse(&rest(&mut tls).await), 400, "context_length_exceeded");
    }
}

#[tokio::test]
async fn refused_requests_count_against_the_unpaid_quotes_of_a_connection() {
    let world = World::start(Config::default()).await;
    let mut tls = world.tls().await;
    let mut wrong = question("hello", 2, false);
    wrong["min_p"] = 1.into();
    for number in 1..=64 {
        let refused = ask_on(&mut tls, &wrong, None).await;
        assert_refused(&refused, 400, "unsupported_parameter");
        assert_eq!(refused.header("connection"), (number == 64).then_some("close"), "{number}");
    }
}
