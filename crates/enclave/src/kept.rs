//! Kept answers: sealed here for the client that echoed its salt, stored by the host, opened for whoever sends the same again.
//!
//! Nothing of an answer stays in this process once it is handed over. A place is reserved before anything is claimed, so that no answer is
//! made that cannot be kept; the blob is made when its receipt has its place in the log, and is stored before the calldata that it is for
//! leaves. Spec: recovery.md; link.md LINK-18 to LINK-21.
//!
//! Trust: the host may lose or withhold a blob, which costs a client that lost its connection its answer; it can neither read one nor give
//! out another, because each is sealed for one request, one payment and one receipt.
//! Not here: whether an answer may be handed out, and its proofs (`handout`); when it is stored (`ledger`).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use candor_link::{AnswerPage, AnswerPart, AnswerPiece, AnswerRef, EnclaveRequest, HostReply, MAX_ANSWER, MAX_ANSWER_PART};
use candor_verify::bytes::{Hash32, Signature65};
use candor_verify::decoding::Decoding;
use candor_verify::hash::sha256;
use candor_verify::receipt::{Receipt, receipt_id};
use candor_verify::recovery::{self, AnswerSecret, BlobHead, KeptAnswer};
use candor_verify::time::UnixMs;
use candor_x402::protocol::PaymentPayload;
use candor_x402::recovery::Retry;

use crate::control::{AskError, HostPort};
use crate::keys::random32;
use crate::settle::Transfer;

/// How long the host may take to store one piece, or to find one.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pieces of the longest blob.
const PIECES_MAX: usize = MAX_ANSWER.div_ceil(MAX_ANSWER_PART);

/// Bytes of answers that are being made and are to be kept: what this process holds of them until they are stored. Less than what a host
/// takes beyond the room that it tells.
const RESERVED_MAX: u64 = 256 << 20;

/// Content types of answers.
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// What a payment names: the answer to exactly this request for exactly this payment.
#[derive(Clone)]
pub(crate) struct Sought {
    retry: Retry,
    asked: Hash32,
}

impl Sought {
    /// By a payment that was sent with this request; `None` if it echoes no salt.
    pub(crate) fn of(payment: &PaymentPayload, path: &str, body: &[u8]) -> Option<Self> {
        Some(Self { retry: Retry::read(payment)?, asked: recovery::asked_digest("POST", path, body) })
    }

    /// The id that a payment names, whatever it was sent for.
    pub(crate) fn id_of(payment: &PaymentPayload) -> Option<Hash32> {
        Some(Retry::read(payment)?.secret.answer_id())
    }

    pub(crate) fn answer_id(&self) -> Hash32 {
        self.retry.secret.answer_id()
    }

    /// The transfer that pays for it.
    pub(crate) fn transfer(&self) -> Transfer {
        let Retry { payment_id, chain_id, valid_before, .. } = self.retry;
        Transfer { payment_id, chain_id, valid_before }
    }

    fn open(&self, blob: &[u8]) -> Option<KeptAnswer> {
        let (head, sealed) = BlobHead::parse(blob).ok()?;
        let (key, aad) = (cipher(&self.retry.secret, &head)?, self.retry.secret.aad(&self.asked, &head));
        let mut plaintext = Vec::with_capacity(sealed.len());
        for (nonce, chunk) in recovery::sealed_chunks(sealed) {
            let mut chunk = chunk.to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            plaintext.extend_from_slice(key.open_in_place(nonce, Aad::from(aad.as_slice()), &mut chunk).ok()?);
        }
        let answer = KeptAnswer::parse(recovery::unpad(&plaintext).ok()?).ok()?;
        // The pair of what was sealed: the head is bound to it, and it to the receipt.
        let is_of_head = (head.payment_id, head.chain_id) == (self.retry.payment_id, self.retry.chain_id)
            && head.receipt_id == receipt_id(&answer.leaf_salt)
            && answer.receipt.money.payment_id == head.payment_id;
        is_of_head.then_some(answer)
    }
}

fn cipher(secret: &AnswerSecret, head: &BlobHead) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, &secret.key(&head.n)).ok().map(LessSafeKey::new)
}

/// An answer that is to be kept, and its place. Dropped, the place is free again.
pub(crate) struct Keep {
    sought: Sought,
    // Fresh for each answer: no two blobs share a key.
    n: Hash32,
    _place: Room,
}

impl Keep {
    /// Of an answer to what is sought, in a place that was reserved for it. `Err` if the system gives no randomness.
    pub(crate) fn new(sought: Sought, place: Room) -> Result<Self, String> {
        Ok(Self { sought, n: Hash32(*random32()?), _place: place })
    }

    /// The answer as it was made, without its receipt.
    pub(crate) fn answer(
        &self,
        is_stream: bool,
        frames: Vec<Vec<u8>>,
        transcript_seed: Hash32,
        decoding: Decoding,
        seed_share: Option<Hash32>,
    ) -> Unsealed {
        Unsealed { sought: self.sought.clone(), n: self.n, is_stream, frames, transcript_seed, decoding, seed_share }
    }
}

/// An answer that waits for its receipt to be sealed with it.
pub(crate) struct Unsealed {
    sought: Sought,
    n: Hash32,
    is_stream: bool,
    frames: Vec<Vec<u8>>,
    transcript_seed: Hash32,
    decoding: Decoding,
    seed_share: Option<Hash32>,
}

impl Unsealed {
    /// Bytes of its blob, at most.
    pub(crate) fn len_max(&self) -> usize {
        recovery::blob_len_max(self.frames.len(), self.frames.iter().fold(0, |sum, frame| frame.len().saturating_add(sum)))
    }

    /// Seals it with its receipt. `None` only if the cipher refuses, which it does for no length that there is.
    pub(crate) fn seal(self, receipt: &Receipt, signature: &Signature65, leaf_salt: &Hash32) -> Option<Blob> {
        let secret = self.sought.retry.secret;
        let money = &receipt.money;
        let head = BlobHead { n: self.n, payment_id: money.payment_id, chain_id: money.chain_id, receipt_id: receipt_id(leaf_salt) };
        let answer = KeptAnswer {
            status: 200,
            content_type: if self.is_stream { EVENT_STREAM } else { JSON }.to_owned(),
            is_stream: self.is_stream,
            frames: self.frames,
            receipt: receipt.clone(),
            signature: *signature,
            leaf_salt: *leaf_salt,
            transcript_seed: self.transcript_seed,
            decoding: self.decoding,
            seed_share: self.seed_share,
            source: None,
            manifest_hash: receipt.manifest_hash,
        };
        let (key, aad) = (cipher(&secret, &head)?, secret.aad(&self.sought.asked, &head));
        let plaintext = recovery::pad(&answer.encode());
        let mut bytes = head.encode();
        for (nonce, chunk) in recovery::plain_chunks(&plaintext) {
            let mut chunk = chunk.to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(aad.as_slice()), &mut chunk).ok()?;
            bytes.extend_from_slice(&chunk);
        }
        let named = AnswerRef { answer_id: secret.answer_id(), sha256: sha256(&[&bytes]) };
        Some(Blob { named, bytes })
    }
}

/// A sealed answer.
pub(crate) struct Blob {
    /// As its settlement names it.
    pub(crate) named: AnswerRef,
    bytes: Vec<u8>,
}

impl Blob {
    /// Has the host store it; whether it says that it did. The same again changes nothing.
    ///
    /// Trust: a host that says so and does not may withhold the answer anyway.
    pub(crate) async fn store(&self, port: &HostPort) -> bool {
        let (answer_id, total) = (self.named.answer_id, len64(self.bytes.len()));
        let mut offset = 0_u64;
        for piece in self.bytes.chunks(MAX_ANSWER_PART) {
            let end = offset.saturating_add(len64(piece.len()));
            let part = AnswerPart { answer_id, offset, total, bytes: piece.to_vec() };
            match port.request(EnclaveRequest::StoreAnswer(part), PIECE_TIMEOUT).await {
                Ok(HostReply::AnswerStored { size }) if end <= size => offset = end,
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }
}

/// What the host has.
pub(crate) struct Fetched {
    /// The answer, opened; `None` if there is none, or none that opens: a miss looks like an answer that never was.
    pub(crate) answer: Option<Box<KeptAnswer>>,
    /// Bytes that the host has left for others.
    pub(crate) room: u64,
}

/// Asks the host for an answer and opens it.
pub(crate) async fn fetch(port: &HostPort, sought: &Sought) -> Result<Fetched, AskError> {
    let (answer_id, mut blob, mut left) = (sought.answer_id(), Vec::new(), 0);
    for _ in 0..PIECES_MAX {
        let request = EnclaveRequest::FetchAnswer { answer_id, offset: len64(blob.len()) };
        let HostReply::Answer(AnswerPage { room, piece }) = port.request(request, PIECE_TIMEOUT).await? else { break };
        left = room;
        let Some(AnswerPiece { total, bytes }) = piece else { break };
        blob.extend_from_slice(&bytes);
        if total <= len64(blob.len()) {
            return Ok(Fetched { answer: sought.open(&blob).map(Box::new), room });
        }
    }
    Ok(Fetched { answer: None, room: left })
}

/// How long the room that a host told is relied on when a 402 says whether an answer will be kept. Whoever is told that none is sends no salt,
/// and then nothing is looked for that would tell of room again.
const ROOM_KNOWN_MS: u64 = 60_000;

/// The answers of one boot that are being made or looked for.
#[derive(Default)]
pub(crate) struct Answers {
    // What the host last had left, and when. Guarded for moments.
    room: Mutex<Option<(u64, UnixMs)>>,
    // Guarded for moments. Invariant: the sum over all places.
    reserved: Arc<Mutex<u64>>,
    // Guarded for moments.
    looked_for: Arc<Mutex<HashSet<Hash32>>>,
}

impl Answers {
    /// The host has so many bytes left.
    pub(crate) fn has_room(&self, room: u64, now: UnixMs) {
        *lock(&self.room) = Some((room, now));
    }

    /// Whether an answer of so many bytes would be kept, as far as is known: where it would not, clients are told before they pay, and are
    /// served without.
    pub(crate) fn may_keep(&self, bytes: u64, now: UnixMs) -> bool {
        let known = lock(&self.room).filter(|(_, at)| now.since(*at) < ROOM_KNOWN_MS);
        known.is_none_or(|(room, _)| lock(&self.reserved).saturating_add(bytes) <= room)
    }

    /// Reserves room for an answer that can have so many bytes, if the host has as much left besides what is reserved already.
    pub(crate) fn reserve(&self, bytes: u64, room: u64) -> Option<Room> {
        let mut reserved = lock(&self.reserved);
        let sum = reserved.checked_add(bytes).filter(|sum| *sum <= room.min(RESERVED_MAX))?;
        *reserved = sum;
        Some(Room { reserved: Arc::clone(&self.reserved), bytes })
    }

    /// The right to look for this answer; `None` while somebody has it. Otherwise fifty copies of one request would each have the host look,
    /// and wait for one transfer.
    pub(crate) fn look_for(&self, answer_id: Hash32) -> Option<Look> {
        let is_first = lock(&self.looked_for).insert(answer_id);
        is_first.then(|| Look { looked_for: Arc::clone(&self.looked_for), answer_id })
    }
}

/// Room for one answer. Dropped, it is free again.
#[must_use]
pub(crate) struct Room {
    reserved: Arc<Mutex<u64>>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut reserved = lock(&self.reserved);
        *reserved = reserved.saturating_sub(self.bytes);
    }
}

/// The right to look for one answer. Dropped, the next may.
#[must_use]
pub(crate) struct Look {
    looked_for: Arc<Mutex<HashSet<Hash32>>>,
    answer_id: Hash32,
}

impl Drop for Look {
    fn drop(&mut self) {
        lock(&self.looked_for).remove(&self.answer_id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step: a panic while holding the lock leaves a number or a set that is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn len64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use candor_verify::bytes::{Address, from_hex};
    use candor_verify::payment::Authorization;
    use candor_verify::scheme::Through;
    use candor_verify::time::UnixSeconds;
    use candor_x402::protocol::{Eip155, encode_header, parse_payment_payload};
    use candor_x402::scheme::Requirements;
    use serde_json::{Value, json};

    use super::*;

    const BODY: &[u8] = br#"{"model":"m"}"#;

    /// A payment with this salt, as a client would send it.
    fn payment(salt: &str) -> PaymentPayload {
        let requirements = Requirements {
            through: Through::Token,
            network: Eip155(31337),
            asset: Address([3; 20]),
            pay_to: Address([2; 20]),
            amount: candor_verify::Amount(5),
            max_timeout_seconds: 300,
            token_name: "USDC".into(),
            token_version: "2".into(),
        };
        let payload = json!({
            "x402Version": 2, "accepted": requirements.to_entry(), "extensions": {"candor": {"info": {"answerSalt": salt}}},
            "payload": {
                "signature": "0x",
                "authorization": {
                    "from": Address([1; 20]).to_string(), "to": Address([2; 20]).to_string(), "value": "5",
                    "validAfter": "0", "validBefore": "9", "nonce": Hash32([4; 32]).to_string(),
                },
            },
        });
        parse_payment_payload(encode_header(&payload).as_bytes()).unwrap()
    }

    pub(crate) fn sought() -> Sought {
        Sought::of(&payment(&Hash32([7; 32]).to_string()), "/v1/chat/completions", BODY).unwrap()
    }

    fn place() -> Room {
        Answers::default().reserve(1, 1).unwrap()
    }

    /// An answer to [`sought`], and the receipt that goes with it.
    pub(crate) fn unsealed(frames: Vec<Vec<u8>>) -> Unsealed {
        let decoding = Decoding {
            engine: "det/1".into(),
            seed: Hash32([8; 32]),
            seed_source: candor_verify::decoding::SeedSource::Request,
            temperature_e6: 0,
            top_p_e6: 1,
            top_k: 2,
            max_tokens: 3,
            stop_hash: Hash32([9; 32]),
        };
        Keep::new(sought(), place()).unwrap().answer(true, frames, Hash32([10; 32]), decoding, None)
    }

    fn receipt() -> Receipt {
        let mut receipt = crate::ledger::tests::draft(Hash32([11; 32])).receipt.placed(Hash32([12; 32]), 7);
        receipt.money.payment_id = sought().retry.payment_id;
        receipt
    }

    fn sealed(frames: Vec<Vec<u8>>) -> Blob {
        unsealed(frames).seal(&receipt(), &Signature65([13; 65]), &Hash32([14; 32])).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_request_and_payment_and_for_nothing_else() {
        // Of one chunk and of three.
        for len in [10, 150_000] {
            let frames = vec![vec![b'a'; len], b"last".to_vec()];
            let blob = sealed(frames.clone());
            assert!(blob.bytes.len() <= unsealed(frames.clone()).len_max());
            let opened = sought().open(&blob.bytes).unwrap();
            assert_eq!((&opened.frames, &opened.receipt, opened.leaf_salt), (&frames, &receipt(), Hash32([14; 32])));
            let (path, salt) = ("/v1/chat/completions", Hash32([7; 32]).to_string());
            let others = [
                Sought::of(&payment(&salt), path, b"{}"),
                Sought::of(&payment(&salt), "/v1/chat/completions?a", BODY),
                Sought::of(&payment(&Hash32([8; 32]).to_string()), path, BODY),
            ];
            others.into_iter().for_each(|other| assert!(other.unwrap().open(&blob.bytes).is_none()));
            assert!(Sought::of(&payment("0x00"), path, BODY).is_none());
        }
    }

    #[test]
    fn a_blob_that_was_changed_or_cut_anywhere_does_not_open() {
        let blob = sealed(vec![vec![b'a'; 150_000]]).bytes;
        let chunk = recovery::CHUNK + recovery::TAG;
        for at in [0, 1, 40, 70, 80, BlobHead::LEN, BlobHead::LEN + chunk, blob.len() - 1] {
            let mut changed = blob.clone();
            changed[at] ^= 1;
            assert!(sought().open(&changed).is_none(), "{at}");
        }
        for len in [0, BlobHead::LEN, BlobHead::LEN + chunk, BlobHead::LEN + 2 * chunk, blob.len() - 1] {
            assert!(sought().open(&blob[..len]).is_none(), "{len}");
        }
        // Two chunks change places.
        let mut swapped = blob[..BlobHead::LEN].to_vec();
        swapped.extend_from_slice(&blob[BlobHead::LEN + chunk..BlobHead::LEN + 2 * chunk]);
        swapped.extend_from_slice(&blob[BlobHead::LEN..BlobHead::LEN + chunk]);
        swapped.extend_from_slice(&blob[BlobHead::LEN + 2 * chunk..]);
        assert!(sought().open(&swapped).is_none());
        // And two of one answer have different bytes.
        assert_ne!(sealed(vec![b"a".to_vec()]).bytes, sealed(vec![b"a".to_vec()]).bytes);
    }

    /// The published blob: other languages open the same.
    #[test]
    fn the_blob_of_the_vectors_opens_and_those_that_were_sealed_for_others_do_not() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/recovery.json");
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let opened = |case: &Value| {
            let bytes = |key: &str| from_hex(case[key].as_str().unwrap()).unwrap();
            let hash = |key: &str| Hash32::from_slice(&bytes(key)).unwrap();
            let text = |key: &str| case[key].as_str().unwrap();
            let sought = Sought {
                retry: Retry {
                    secret: AnswerSecret::new(&hash("signedDigest"), &hash("answerSalt")),
                    payment_id: hash("paymentId"),
                    chain_id: case["chainId"].as_u64().unwrap(),
                    valid_before: UnixSeconds(0),
                },
                asked: recovery::asked_digest(text("method"), text("path"), &bytes("body")),
            };
            sought.open(&bytes("blob")).map(|answer| answer.encode())
        };
        for case in file["cases"].as_array().unwrap() {
            assert_eq!(opened(case), from_hex(case["content"].as_str().unwrap()), "{}", case["name"]);
        }
        let rejects = file["rejects"].as_array().unwrap();
        for case in rejects.iter().filter(|case| !case["blob"].is_null()) {
            assert_eq!(opened(case), None, "{}", case["name"]);
        }
    }

    #[test]
    fn no_more_is_reserved_than_the_host_has_room_for_or_this_process_holds() {
        let answers = Answers::default();
        let held = answers.reserve(60, 100).unwrap();
        assert!(answers.reserve(41, 100).is_none());
        let other = answers.reserve(40, 100).unwrap();
        drop(held);
        assert!(answers.reserve(61, 100).is_none() && answers.reserve(60, 100).is_some());
        drop(other);
        assert!(answers.reserve(RESERVED_MAX + 1, u64::MAX).is_none() && answers.reserve(u64::MAX, u64::MAX).is_none());
        assert!(answers.reserve(RESERVED_MAX, u64::MAX).is_some());
    }

    #[test]
    fn an_answer_is_looked_for_by_one_at_a_time() {
        let answers = Answers::default();
        let look = answers.look_for(Hash32([1; 32]));
        assert!(look.is_some() && answers.look_for(Hash32([1; 32])).is_none() && answers.look_for(Hash32([2; 32])).is_some());
        drop(look);
        assert!(answers.look_for(Hash32([1; 32])).is_some());
    }

    #[test]
    fn the_transfer_that_pays_for_an_answer_is_the_headers_own() {
        let authorization = Authorization { from: Address([1; 20]), nonce: Hash32([4; 32]), ..Authorization::default() };
        let transfer = sought().transfer();
        assert_eq!(transfer.payment_id, authorization.payment_id(31337, &Address([3; 20])));
        assert_eq!((transfer.chain_id, transfer.valid_before), (31337, UnixSeconds(9)));
    }
}
