//! The kept answer: its id and key, its sealed blob, and blobs that do not open or are none.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use candor_verify::bytes::Hash32;
use candor_verify::decoding::{Decoding, SeedSource};
use candor_verify::receipt::receipt_id;
use candor_verify::recovery::{AnswerSecret, BlobHead, KeptAnswer, asked_digest, pad, plain_chunks};
use serde_json::{Value, json};

use super::digests::receipt;
use super::{File, file, h, hash, hex, number};
use crate::forge::{Key, honest_request, honest_response};

/// What a blob is sealed for.
#[derive(Clone)]
struct Sealing {
    method: &'static str,
    path: &'static str,
    body: Vec<u8>,
    signed_digest: Hash32,
    answer_salt: Hash32,
    n: Hash32,
}

impl Sealing {
    fn story() -> Self {
        let body = honest_request().body;
        Self { method: "POST", path: "/v1/chat/completions", body, signed_digest: h(0x21), answer_salt: h(0x22), n: h(0x23) }
    }

    fn secret(&self) -> AnswerSecret {
        AnswerSecret::new(&self.signed_digest, &self.answer_salt)
    }

    fn head(&self) -> BlobHead {
        let money = receipt().money;
        BlobHead { n: self.n, payment_id: money.payment_id, chain_id: money.chain_id, receipt_id: receipt_id(&LEAF_SALT) }
    }

    /// The chunks of a plaintext under these keys, behind the head.
    fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        let (secret, head) = (self.secret(), self.head());
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &secret.key(&self.n)).expect("32 bytes"));
        let aad = secret.aad(&asked_digest(self.method, self.path, &self.body), &head);
        let mut blob = head.encode();
        for (nonce, chunk) in plain_chunks(plaintext) {
            let mut chunk = chunk.to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(aad.as_slice()), &mut chunk).expect("a short chunk");
            blob.extend_from_slice(&chunk);
        }
        blob
    }

    fn case(&self, name: &str, answer: &KeptAnswer) -> Value {
        let (secret, head) = (self.secret(), self.head());
        let content = answer.encode();
        json!({
            "name": name, "method": self.method, "path": self.path, "body": hex(&self.body),
            "signedDigest": hash(&self.signed_digest), "answerSalt": hash(&self.answer_salt), "n": hash(&self.n),
            "paymentId": hash(&head.payment_id), "chainId": number(head.chain_id), "receiptId": hex(&head.receipt_id),
            "answerId": hash(&secret.answer_id()), "key": hex(&secret.key(&self.n)),
            "aad": hex(&secret.aad(&asked_digest(self.method, self.path, &self.body), &head)),
            "content": hex(&content), "blob": hex(&self.seal(&pad(&content))),
        })
    }
}

const LEAF_SALT: Hash32 = Hash32([0x24; 32]);

fn answer(is_stream: bool, frames: Vec<Vec<u8>>) -> KeptAnswer {
    let receipt = receipt();
    let decoding = Decoding {
        engine: "det/1".into(),
        seed: h(0x25),
        seed_source: SeedSource::ServerAndPayment,
        temperature_e6: 1_000_000,
        top_p_e6: 1_000_000,
        top_k: 0,
        max_tokens: 64,
        stop_hash: h(0x26),
    };
    KeptAnswer {
        status: 200,
        content_type: if is_stream { "text/event-stream" } else { "application/json" }.into(),
        is_stream,
        frames,
        signature: Key::of(0x33).sign(&receipt.digest()),
        leaf_salt: LEAF_SALT,
        transcript_seed: h(0x27),
        decoding,
        seed_share: is_stream.then_some(h(0x28)),
        source: None,
        manifest_hash: receipt.manifest_hash,
        receipt,
    }
}

pub(super) fn files() -> Vec<File> {
    let story = Sealing::story();
    let whole = answer(false, vec![br#"{"object":"chat.completion"}"#.to_vec()]);
    let stream = answer(true, honest_response().frames);
    let cases = vec![
        story.case("a stream of four", &stream),
        story.case("a whole answer", &whole),
        Sealing { n: h(0x29), ..story.clone() }.case("the same answer with another n", &whole),
    ];
    vec![file("recovery", cases, [sealed_for_others(&story, &whole), malformed(&story, &whole)].concat())]
}

/// The blob of the right case, and one input changed: other keys, or nothing that opens.
fn sealed_for_others(story: &Sealing, answer: &KeptAnswer) -> Vec<Value> {
    let right = story.case("", answer);
    let reject = |name: &str, by: &str, key: &str, value: Value| {
        let mut reject = right.clone();
        reject["name"] = json!(name);
        reject["refusedBy"] = json!(by);
        reject[key] = value;
        reject
    };
    let blob = story.seal(&pad(&answer.encode()));
    let (head, sealed) = BlobHead::parse(&blob).expect("a head");
    let under = |name: &str, by: &str, key: &str, value: Value, head: BlobHead| {
        let mut reject = reject(name, by, key, value);
        reject["blob"] = hex(&[head.encode().as_slice(), sealed].concat());
        reject
    };
    vec![
        reject("another salt", "answer.id", "answerSalt", hash(&h(0x2b))),
        reject("another signed digest", "answer.id", "signedDigest", hash(&h(0x2b))),
        under("another n", "answer.key", "n", hash(&h(0x2b)), BlobHead { n: h(0x2b), ..head }),
        reject("another request body", "answer.aad", "body", hex(b"{}")),
        reject("another path", "answer.aad", "path", json!("/v1/chat/completions?a")),
        under("another payment id", "answer.aad", "paymentId", hash(&h(0x2b)), BlobHead { payment_id: h(0x2b), ..head }),
        under("another chain", "answer.aad", "chainId", number(1), BlobHead { chain_id: 1, ..head }),
        under("another receipt id", "answer.aad", "receiptId", hex(&[0x2b; 16]), BlobHead { receipt_id: [0x2b; 16], ..head }),
        reject("a byte missing at the end", "answer.seal", "blob", hex(&blob[..blob.len() - 1])),
    ]
}

/// What is no blob, no plaintext or no content, sealed or in clear as it comes.
fn malformed(story: &Sealing, answer: &KeptAnswer) -> Vec<Value> {
    let content = answer.encode();
    let reject = |name: &str, key: &str, bytes: &[u8]| {
        let mut value = json!({ "name": name, "refusedBy": "parse" });
        value[key] = hex(bytes);
        value
    };
    let mut version = story.seal(&pad(&content));
    version[0] = 2;
    let (mut marked, mut short, mut long) = (pad(&content), pad(&content), pad(&content));
    *marked.last_mut().expect("padding") = 1;
    short.truncate(content.len() + 8);
    long.resize(8192, 0);
    let mut beyond = pad(&content);
    beyond[..8].copy_from_slice(&u64::MAX.to_be_bytes());
    let mut other = content.clone();
    other[1] = 3;
    let mut flag = content.clone();
    // After [2, 200, "application/json".
    flag[21] = 2;
    // It had no place for a source record.
    let mut first = content.clone();
    (first[0], first[1]) = (0x8c, 1);
    first.remove(content.len() - 35);
    vec![
        reject("head of another version", "head", &version[..BlobHead::LEN]),
        reject("head cut short", "head", &version[..BlobHead::LEN - 1]),
        reject("padding that is not zero", "plaintext", &marked),
        reject("no padding", "plaintext", &short),
        reject("padding of another step", "plaintext", &long),
        reject("length beyond the plaintext", "plaintext", &beyond),
        reject("content of another version", "contentOnly", &other),
        reject("content of before the first release", "contentOnly", &first),
        reject("content with a byte more", "contentOnly", &[content.as_slice(), &[0]].concat()),
        reject("content with another flag", "contentOnly", &flag),
    ]
}
