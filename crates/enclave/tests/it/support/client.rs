//! A client over a raw connection of the link, which reads when and what it likes.

use candor_link::Party;
use candor_testhttp::{Draft, Offered, PATIENCE, chat_bytes, tls_over};
pub(crate) use candor_testhttp::{Reply, rest};
use candor_testkit::forge::Key;
use candor_verify::bytes::Hash32;
use candor_verify::delivery::Delivery;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

use super::{SOMEBODY, World};

/// A question; the name makes it one of its own.
pub(crate) fn question(name: &str, max_tokens: u32, stream: bool) -> Value {
    json!({"model": "fixture", "messages": [{"role": "user", "content": name}], "max_tokens": max_tokens, "temperature": 0, "seed": 1, "stream": stream})
}

impl World {
    /// A client's TLS.
    pub(crate) async fn tls(&self) -> TlsStream<UnixStream> {
        self.tls_of(SOMEBODY).await
    }

    /// TLS of a client at this address.
    pub(crate) async fn tls_of(&self, party: Party) -> TlsStream<UnixStream> {
        tls_over(self.connect(party).await).await.unwrap()
    }

    /// GET on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        let mut tls = self.tls().await;
        tls.write_all(format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        Reply::parse(&rest(&mut tls).await)
    }

    /// Sends a question, with a payment or without, and reads nothing yet.
    pub(crate) async fn send(&self, body: &Value, payment: Option<&str>) -> TlsStream<UnixStream> {
        let mut tls = self.tls().await;
        tls.write_all(&chat_bytes("connection: close\r\n", body, payment)).await.unwrap();
        // The end of a long one may still be in the session's own buffer.
        tls.flush().await.unwrap();
        tls
    }

    /// Sends a question and reads the whole answer.
    pub(crate) async fn ask(&self, body: &Value, payment: Option<&str>) -> Reply {
        Reply::parse(&rest(&mut self.send(body, payment).await).await)
    }

    /// Says that the answer to this payment was received.
    pub(crate) async fn received(&self, payment: &str) -> Reply {
        let mut tls = self.tls().await;
        let head = format!("DELETE /candor/answer HTTP/1.1\r\nhost: node\r\nconnection: close\r\npayment-signature: {payment}\r\n\r\n");
        tls.write_all(head.as_bytes()).await.unwrap();
        Reply::parse(&rest(&mut tls).await)
    }

    /// A payment for this question, bound to its offer.
    pub(crate) async fn pay(&self, payer: &Key, body: &Value, valid_before: u64) -> String {
        sign(payer, &self.ask(body, None).await, valid_before)
    }
}

/// The delivery in the last frame of an answer.
pub(crate) fn delivery(reply: &Reply) -> Delivery {
    use base64::Engine as _;
    let text = reply.text().into_owned();
    let (_, after) = text.split_once(r#""delivery":""#).unwrap_or_else(|| panic!("no delivery: {reply:?}"));
    let encoded = after.split('"').next().unwrap();
    Delivery::parse(&base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap()
}

/// A payment for what a 402 asks for, bound to its offer, by a client that does not want its answer kept.
pub(crate) fn without_salt(unpaid: &Reply, payer: &Key) -> String {
    without_salt_until(unpaid, payer, super::now() + 300)
}

/// The same, with an end of its own.
pub(crate) fn without_salt_until(unpaid: &Reply, payer: &Key, valid_before: u64) -> String {
    sign_with(payer, unpaid, valid_before, |info| drop(info.as_object_mut().unwrap().remove("answerSalt")))
}

/// A payment for what a 402 asks for, bound to its offer.
pub(crate) fn sign(payer: &Key, unpaid: &Reply, valid_before: u64) -> String {
    sign_with(payer, unpaid, valid_before, |_| {})
}

/// The same by a stock client: its nonce names no offer.
pub(crate) fn sign_stock(payer: &Key, unpaid: &Reply, nonce: Hash32, valid_before: u64) -> String {
    let mut draft = Draft::new(&Offered::read(unpaid), payer.address(), Hash32([5; 32]), valid_before);
    draft.extensions = Value::Null;
    draft.authorization.nonce = nonce;
    draft.header(&payer.sign(&draft.digest()))
}

fn sign_with(payer: &Key, unpaid: &Reply, valid_before: u64, change: impl FnOnce(&mut Value)) -> String {
    let mut draft = Draft::new(&Offered::read(unpaid), payer.address(), Hash32([5; 32]), valid_before);
    change(&mut draft.extensions["candor"]["info"]);
    draft.header(&payer.sign(&draft.digest()))
}

/// Sends a question on a connection that is kept, and reads the whole answer.
pub(crate) async fn ask_on(tls: &mut TlsStream<UnixStream>, body: &Value, payment: Option<&str>) -> Reply {
    tls.write_all(&chat_bytes("", body, payment)).await.unwrap();
    next_answer(tls).await
}

/// GET on a connection that is kept.
pub(crate) async fn get_on(tls: &mut TlsStream<UnixStream>, path: &str) -> Reply {
    tls.write_all(format!("GET {path} HTTP/1.1\r\nhost: node\r\n\r\n").as_bytes()).await.unwrap();
    next_answer(tls).await
}

/// The next answer on a connection that is kept.
pub(crate) async fn next_answer(tls: &mut TlsStream<UnixStream>) -> Reply {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    // The last piece of a body of unknown length.
    while !bytes.ends_with(b"\r\n0\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, tls.read(&mut piece)).await.expect("an answer in time").unwrap();
        assert_ne!(read, 0, "it ends: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..read]);
    }
    Reply::parse(&bytes)
}
