//! Commitments to requests and answers, the splice that carries a receipt in a frame, domain tags, and texts of amounts.

use candor_verify::bytes::{Amount, Hash32};
use candor_verify::hash::{keccak256, sha256};
use candor_verify::tags;
use candor_verify::transcript::{commitment_of, frame_leaf_hash, question_hash, request_commitment, request_salt, splice};
use serde_json::{Value, json};

use super::{File, file, h, hash, hex, number};
use crate::forge::{honest_request, honest_response};

pub(super) fn files() -> Vec<File> {
    vec![requests(), questions(), responses(), splices(), tag_list(), amounts()]
}

fn requests() -> File {
    let case = |name: &str, method: &str, path: &str, body: &[u8]| {
        let (secret, bucket) = (h(1), 29_833_333);
        let salt = request_salt(&secret, bucket, method, path, body);
        json!({
            "name": name, "bootSecret": hash(&secret), "bucket": number(bucket), "method": method, "path": path, "body": hex(body),
            "salt": hash(&salt), "commitment": hash(&request_commitment(&salt, method, path, body)),
        })
    };
    let story = honest_request();
    let cases = vec![
        case("chat completion", &story.method, &story.path, &story.body),
        case("empty body", "GET", "/v1/models", b""),
        case("empty everything", "", "", b""),
        case("body that is not UTF-8", "POST", "/v1/chat/completions?a=ü", &[0xff, 0x00, 0x80]),
    ];
    let reject = |name: &str, key: &str, value: Value| {
        let mut reject = case(name, "POST", "/v1/chat", b"{}");
        reject[key] = value;
        reject["refusedBy"] = json!("request.commitment");
        reject
    };
    let mut moved = reject("a boundary moved from path to body", "path", json!("/v1/cha"));
    moved["body"] = hex(b"t{}");
    let rejects = vec![
        moved,
        reject("another salt", "salt", hash(&h(9))),
        reject("another body", "body", hex(b"{ }")),
        reject("another method", "method", json!("PUT")),
        reject("another path", "path", json!("/v1/chat/")),
    ];
    file("request", cases, rejects)
}

/// Questions of public answers, which anybody who knows them can hash, and the answers to them.
fn questions() -> File {
    let case = |name: &str, method: &str, path: &str, body: &[u8], answer: &str| {
        json!({
            "name": name, "method": method, "path": path, "body": hex(body), "questionHash": hash(&question_hash(method, path, body)),
            "answer": answer, "answerHash": hash(&keccak256(&[answer.as_bytes()])),
        })
    };
    let public = br#"{"model":"fixture","messages":[{"role":"user","content":"YES or NO?"}],"seed":1,"candor":{"public":true}}"#;
    let mut moved = case("a boundary moved from path to body", "POST", "/v1/chat", b"{}", "YES");
    (moved["path"], moved["body"]) = (json!("/v1/cha"), hex(b"t{}"));
    moved["refusedBy"] = json!("question");
    let mut other = case("another answer", "POST", "/v1/chat", b"{}", "YES");
    other["answer"] = json!("YES.");
    other["refusedBy"] = json!("answer");
    let cases = vec![
        case("asked to be public", "POST", "/v1/chat/completions", public, "YES"),
        case("empty everything", "", "", b"", ""),
        case("an answer that is not ASCII", "POST", "/v1/chat/completions", public, "Größe \u{1f600}"),
    ];
    file("question", cases, vec![moved, other])
}

fn responses() -> File {
    let seed = h(3);
    let case = |name: &str, frames: &[&[u8]]| {
        let leaves = (0..).zip(frames).map(|(index, frame)| hash(&frame_leaf_hash(&seed, index, frame)));
        json!({
            "name": name, "seed": hash(&seed), "frames": frames.iter().map(|frame| hex(frame)).collect::<Vec<_>>(),
            "leafHashes": leaves.collect::<Vec<_>>(), "commitment": hash(&commitment_of(&seed, frames.iter().copied())),
        })
    };
    let story = honest_response().frames;
    let story: Vec<&[u8]> = story.iter().map(Vec::as_slice).collect();
    let counted: Vec<Vec<u8>> = (0..9_u8).map(|i| vec![i; usize::from(i)]).collect();
    let counted: Vec<&[u8]> = counted.iter().map(Vec::as_slice).collect();
    let cases = vec![
        case("no frames", &[]),
        case("one empty frame", &[b""]),
        case("one body", &[br#"{"object":"chat.completion"}"#]),
        case("a stream of four", &story),
        case("nine frames", &counted),
    ];
    let reject = |name: &str, frames: &[&[u8]]| {
        let mut reject = case(name, &[b"a", b"b", b"c"]);
        reject["frames"] = frames.iter().map(|frame| hex(frame)).collect();
        reject["refusedBy"] = json!("response.commitment");
        reject
    };
    let rejects = vec![
        reject("frames swapped", &[b"b", b"a", b"c"]),
        reject("last frame missing", &[b"a", b"b"]),
        reject("an empty frame more", &[b"a", b"b", b"c", b""]),
        reject("two frames joined", &[b"ab", b"c"]),
        reject("a frame altered", &[b"a", b"b", b"d"]),
        reject("no frames", &[]),
    ];
    file("response", cases, rejects)
}

fn splices() -> File {
    let case = |name: &str, frame: &str, member: &str| {
        let spliced = splice(frame.as_bytes(), member.as_bytes()).expect("an object");
        json!({ "name": name, "frame": frame, "member": member, "spliced": String::from_utf8(spliced).expect("text") })
    };
    let cases = vec![
        case("final frame", r#"{"choices":[],"usage":{"total_tokens":9}}"#, r#""delivery":"AAEC""#),
        case("text that looks like a splice", r#"{"text":"\",\"candor\":{}}"}"#, r#""delivery":"AAEC""#),
        case("an earlier member of that name", r#"{"a":1,"candor":{"b":2}}"#, r#""delivery":"AAEC""#),
    ];
    let reject = |name: &str, spliced: &str| json!({ "name": name, "spliced": spliced, "refusedBy": "parse" });
    let rejects = vec![
        reject("nothing spliced", r#"{"choices":[]}"#),
        reject("not the last member", r#"{"a":1,"candor":{"delivery":""},"b":2}"#),
        reject("not closed", r#"{"a":1,"candor":{"delivery":""#),
        reject("with white space", r#"{"a":1, "candor": {"delivery":""}}"#),
    ];
    file("splice", cases, rejects)
}

fn tag_list() -> File {
    let case = |tag: &[u8]| {
        let name = std::str::from_utf8(tag).expect("tags are text");
        json!({ "name": name, "tag": hex(tag), "sha256": hash(&sha256(&[tag])), "keccak256": hash(&keccak256(&[tag])) })
    };
    file("domain-tags", tags::ALL.iter().map(|tag| case(tag)).collect(), vec![])
}

fn amounts() -> File {
    let accept = ["0", "1", "10", "1000000", "18446744073709551616", "340282366920938463463374607431768211455"];
    let reject = [
        "",
        "1abc",
        "USD 10",
        "$1",
        "1e3",
        "+1",
        "-1",
        " 1",
        "1 ",
        "01",
        "00",
        "1.0",
        "1_000",
        "0x10",
        "１",
        "340282366920938463463374607431768211456",
    ];
    let cases = accept.map(|text| {
        let amount = Amount::from_decimal(text).expect("an amount");
        json!({ "name": text, "text": text, "word": hash(&Hash32(word(amount))) })
    });
    let rejects = reject.map(|text| json!({ "name": format!("{text:?}"), "text": text, "refusedBy": "parse" }));
    file("amount", cases.to_vec(), rejects.to_vec())
}

fn word(amount: Amount) -> [u8; 32] {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&amount.0.to_be_bytes());
    word
}
