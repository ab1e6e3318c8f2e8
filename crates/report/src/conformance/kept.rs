//! Cases of the kept answer: recovery.md. The one kind that needs a cipher, which the caller brings.
//!
//! Not here: whether an answer may be handed out, which an enclave decides.

use candor_verify::receipt::receipt_id;
use candor_verify::recovery::{AnswerSecret, BlobHead, KeptAnswer, asked_digest, pad, sealed_chunks, unpad};

use super::case::{Case, End, parse, require};
use super::{Surroundings, hex};

/// The file.
pub(super) const KIND: &str = "recovery";

/// A whole blob; or one part of it alone, which its reader refuses.
pub(super) fn kept_answer(case: &Case<'_>, around: Surroundings<'_>) -> Result<(), End> {
    for (part, read) in PARTS {
        if case.has(part) {
            return read(&case.bytes(part)?);
        }
    }
    let secret = AnswerSecret::new(&case.hash("signedDigest")?, &case.hash("answerSalt")?);
    let asked = asked_digest(case.text("method")?, case.text("path")?, &case.bytes("body")?);
    let head = BlobHead {
        n: case.hash("n")?,
        payment_id: case.hash("paymentId")?,
        chain_id: case.number("chainId")?,
        receipt_id: case.array("receiptId")?,
    };
    let (key, aad) = (secret.key(&head.n), secret.aad(&asked, &head));
    case.says("answerId", secret.answer_id(), "answer.id")?;
    case.says_bytes("key", &key, "answer.key")?;
    case.says_bytes("aad", &aad, "answer.aad")?;

    let blob = case.bytes("blob")?;
    let (read, sealed) = BlobHead::parse(&blob).map_err(parse)?;
    let unsealed = || sealed_chunks(sealed).map(|(nonce, chunk)| (around.unseal)(&key, nonce, &aad, chunk)).collect::<Option<Vec<_>>>();
    let plaintext = unsealed().filter(|_| read == head).map(|chunks| chunks.concat());
    let Some(plaintext) = plaintext else { return require(false, SEAL, "the blob is of another head, or does not open by this key") };
    let content = unpad(&plaintext).map_err(parse)?;
    let answer = KeptAnswer::parse(content).map_err(parse)?;
    case.says("content", hex(content), SEAL)?;
    require(pad(content) == plaintext && answer.encode() == content, SEAL, "another encoding")?;
    let is_of_head = receipt_id(&answer.leaf_salt) == head.receipt_id && answer.receipt.money.payment_id == head.payment_id;
    require(is_of_head, SEAL, "the answer is not of the receipt and the payment of its head")
}

type ReadPart = fn(&[u8]) -> Result<(), End>;

/// Parts that a case may hold alone.
const PARTS: [(&str, ReadPart); 3] = [
    ("head", |bytes| BlobHead::parse(bytes).map(drop).map_err(parse)),
    ("plaintext", |bytes| unpad(bytes).map(drop).map_err(parse)),
    ("contentOnly", |bytes| KeptAnswer::parse(bytes).map(drop).map_err(parse)),
];

const SEAL: &str = "answer.seal";
