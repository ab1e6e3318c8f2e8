//! The kept answer: what its place, its key and its bytes are, for whoever paid for it and did not get it.
//!
//! An enclave seals each answer for the client that echoed its salt, and the host keeps the blob. From the salt and from what the payer
//! signed follow the id under which it lies and the key that opens it; both are in the payment header alone, so any boot that gets the same
//! request with the same header can open it. The host knows neither. Spec: recovery.md.
//!
//! ```text
//! P, answerSalt ─▶ AnswerSecret ─▶ answerId, key(n)
//! KeptAnswer ─ encode ─ pad ─▶ plaintext ─ chunks, sealed by the enclave ─▶ BlobHead ‖ chunks
//! ```
//!
//! Not here: the sealing itself (this crate has no cipher), what became of the payment, and the proofs of a delivery, which are as new as
//! the moment at which an answer is handed out. Nothing that is parsed here is believed.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::bundle::{FRAME_MAX, FRAMES_MAX};
use crate::bytes::{Hash32, Signature65};
use crate::cbor::{CborError, Reader, Writer};
use crate::decoding::Decoding;
use crate::delivery::{read_decoding, write_decoding};
use crate::hash::{hmac_sha256, sha256};
use crate::receipt::Receipt;
use crate::source::SourceRecord;
use crate::tags;

/// Version of the blob, and of its head, that this code reads and writes.
pub const VERSION: u8 = 1;

/// Version of the content, [`KeptAnswer`]: a member more than the first had.
pub const CONTENT_VERSION: u8 = 2;

/// Plaintext bytes of one chunk.
pub const CHUNK: usize = 64 << 10;

/// Bytes that sealing adds to a chunk: the tag of Poly1305.
pub const TAG: usize = 16;

/// A kept answer is erased so long after the end of its payment, in seconds: a week is longer than most things stay broken.
pub const KEPT_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Longest blob. Below a frame of the link with room for a receipt and its transcript; an answer that could be longer is not kept, and its
/// 402 says so.
pub const BLOB_MAX: usize = 12 << 20;

/// Plaintexts are padded to multiples of this, so that lengths say little.
const PAD_SMALL: usize = 4 << 10;

/// And from one chunk on to multiples of this.
const PAD_LARGE: usize = CHUNK;

/// Bytes of the length before the content.
const PREFIX: usize = 8;

/// Everything in the content but the frames is shorter than this.
const REST_MAX: usize = 2 << 10;

/// Bytes of the CBOR head of a frame, at most.
const FRAME_HEAD: usize = 5;

/// Why bytes are not a kept answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The content is not the CBOR that it should be.
    Cbor(CborError),
    /// Another version of the blob.
    Version {
        /// [`VERSION`].
        expected: u8,
        /// What it says.
        got: u8,
    },
    /// The bytes end before the head does, or are more than a blob has.
    Length {
        /// Bytes.
        got: usize,
    },
    /// The content is not padded with zeros to exactly the length that it asks for.
    Padding,
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cbor(error) => write!(f, "kept answer: {error}"),
            Self::Version { expected, got } => write!(f, "kept answer: version {expected} expected, got {got}"),
            Self::Length { got } => write!(f, "kept answer: {got} bytes are none"),
            Self::Padding => f.write_str("kept answer: it is padded another way"),
        }
    }
}

impl core::error::Error for RecoveryError {}

impl From<CborError> for RecoveryError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

/// What opens one kept answer. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct AnswerSecret {
    signed_digest: Hash32,
    prk: Hash32,
}

impl AnswerSecret {
    /// From the digest that the payer signed, P, and the salt that the client echoed: prk = HKDF-Extract(salt P, ikm answerSalt).
    #[must_use]
    pub fn new(signed_digest: &Hash32, answer_salt: &Hash32) -> Self {
        Self { signed_digest: *signed_digest, prk: hmac_sha256(signed_digest, &[&answer_salt.0]) }
    }

    /// Under which the host keeps the blob.
    #[must_use]
    pub fn answer_id(&self) -> Hash32 {
        self.expand(&[tags::ANSWER_ID])
    }

    /// The key of the blob with this `n`.
    #[must_use]
    pub fn key(&self, n: &Hash32) -> [u8; 32] {
        self.expand(&[tags::ANSWER_KEY, &n.0]).0
    }

    /// What each chunk is bound to besides its place: the request, the payment, the receipt.
    #[must_use]
    pub fn aad(&self, asked: &Hash32, head: &BlobHead) -> Vec<u8> {
        let BlobHead { payment_id, chain_id, receipt_id, .. } = head;
        [asked.0.as_slice(), &self.signed_digest.0, &payment_id.0, &chain_id.to_be_bytes(), receipt_id].concat()
    }

    /// HKDF-Expand (RFC 5869 §2.3) to 32 bytes, which is one block.
    fn expand(&self, info: &[&[u8]]) -> Hash32 {
        let info = info.concat();
        hmac_sha256(&self.prk, &[&info, &[1]])
    }
}

impl fmt::Debug for AnswerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerSecret(not shown)")
    }
}

/// The request that an answer is bound to.
#[must_use]
pub fn asked_digest(method: &str, path: &str, body: &[u8]) -> Hash32 {
    let [a, b, c] = [method.as_bytes(), path.as_bytes(), body].map(|part| u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    sha256(&[tags::ANSWER_AAD, &a, method.as_bytes(), &b, path.as_bytes(), &c, body])
}

/// The beginning of a blob, in clear: the host has all of it but `n` from the settlement, and stores by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct BlobHead {
    /// Fresh random bytes: no two blobs share a key, whatever else they share.
    pub n: Hash32,
    /// Identity of the payment.
    pub payment_id: Hash32,
    /// Chain of the payment.
    pub chain_id: u64,
    /// Under which the receipt can be fetched.
    pub receipt_id: [u8; 16],
}

impl BlobHead {
    /// Bytes of the head.
    pub const LEN: usize = 1 + 32 + 32 + 8 + 16;

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [[VERSION].as_slice(), &self.n.0, &self.payment_id.0, &self.chain_id.to_be_bytes(), &self.receipt_id].concat()
    }

    /// Reads the head of a blob, and gives what follows it.
    ///
    /// # Errors
    /// `Length`, `Version`.
    pub fn parse(blob: &[u8]) -> Result<(Self, &[u8]), RecoveryError> {
        let short = RecoveryError::Length { got: blob.len() };
        if BLOB_MAX < blob.len() {
            return Err(short);
        }
        let ([version], rest) = blob.split_first_chunk::<1>().ok_or(short)?;
        if *version != VERSION {
            return Err(RecoveryError::Version { expected: VERSION, got: *version });
        }
        let (n, rest) = rest.split_first_chunk::<32>().ok_or(short)?;
        let (payment_id, rest) = rest.split_first_chunk::<32>().ok_or(short)?;
        let (chain_id, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
        let (receipt_id, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
        let head =
            Self { n: Hash32(*n), payment_id: Hash32(*payment_id), chain_id: u64::from_be_bytes(*chain_id), receipt_id: *receipt_id };
        Ok((head, rest))
    }
}

/// The chunks of a plaintext, each with its nonce.
pub fn plain_chunks(plaintext: &[u8]) -> impl Iterator<Item = ([u8; 12], &[u8])> {
    numbered(plaintext.chunks(CHUNK))
}

/// The chunks of what follows the head of a blob, each with its nonce.
pub fn sealed_chunks(sealed: &[u8]) -> impl Iterator<Item = ([u8; 12], &[u8])> {
    numbered(sealed.chunks(CHUNK.saturating_add(TAG)))
}

/// Nonce = u64 index ‖ u32 flag: the last chunk is marked, so that a blob that was cut between two chunks does not open.
fn numbered(chunks: core::slice::Chunks<'_, u8>) -> impl Iterator<Item = ([u8; 12], &[u8])> {
    let count = u64::try_from(chunks.len()).unwrap_or(u64::MAX);
    (1_u64..).zip(chunks).map(move |(number, chunk)| {
        let mut nonce = [0; 12];
        let flag = u32::from(number == count);
        let bytes = number.saturating_sub(1).to_be_bytes().into_iter().chain(flag.to_be_bytes());
        for (to, byte) in nonce.iter_mut().zip(bytes) {
            *to = byte;
        }
        (nonce, chunk)
    })
}

/// The content with its length before it and zeros behind it.
#[must_use]
pub fn pad(content: &[u8]) -> Vec<u8> {
    let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let mut plaintext = Vec::with_capacity(padded_len(content.len()));
    plaintext.extend_from_slice(&len.to_be_bytes());
    plaintext.extend_from_slice(content);
    plaintext.resize(padded_len(content.len()), 0);
    plaintext
}

/// The content of a plaintext.
///
/// # Errors
/// `Padding`.
pub fn unpad(plaintext: &[u8]) -> Result<&[u8], RecoveryError> {
    let (len, rest) = plaintext.split_first_chunk::<PREFIX>().ok_or(RecoveryError::Padding)?;
    let len = usize::try_from(u64::from_be_bytes(*len)).map_err(|_| RecoveryError::Padding)?;
    let (content, zeros) = rest.split_at_checked(len).ok_or(RecoveryError::Padding)?;
    let is_padded = plaintext.len() == padded_len(len) && zeros.iter().all(|byte| *byte == 0);
    if is_padded { Ok(content) } else { Err(RecoveryError::Padding) }
}

fn padded_len(content: usize) -> usize {
    let len = content.saturating_add(PREFIX);
    let step = if len < CHUNK { PAD_SMALL } else { PAD_LARGE };
    len.checked_next_multiple_of(step).unwrap_or(usize::MAX)
}

/// Bytes of the blob of an answer with so many frames of so many bytes together, at most.
#[must_use]
pub fn blob_len_max(frames: usize, bytes: usize) -> usize {
    let content = bytes.saturating_add(frames.saturating_mul(FRAME_HEAD)).saturating_add(REST_MAX);
    let plaintext = padded_len(content);
    let tags = plaintext.div_ceil(CHUNK).saturating_mul(TAG);
    plaintext.saturating_add(tags).saturating_add(BlobHead::LEN)
}

/// An answer with its receipt: all of a delivery that does not change, and the frames it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct KeptAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// Whether the frames are those of a stream.
    pub is_stream: bool,
    /// Values of the frames, or the one body, without the spliced member.
    pub frames: Vec<Vec<u8>>,
    /// The receipt.
    pub receipt: Receipt,
    /// By K_sig of its boot.
    pub signature: Signature65,
    /// Salt of the log leaf.
    pub leaf_salt: Hash32,
    /// Blinding seed of the transcript.
    pub transcript_seed: Hash32,
    /// How tokens were chosen.
    pub decoding: Decoding,
    /// The server's share of the seed; `None` if the request named the seed.
    pub seed_share: Option<Hash32>,
    /// Where PROXY work came from; `None` for LOCAL.
    pub source: Option<SourceRecord>,
    /// Manifest of the boot that made it: under this hash its evidence is found.
    pub manifest_hash: Hash32,
}

impl KeptAnswer {
    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(13).u64(CONTENT_VERSION.into()).u64(self.status.into()).text(&self.content_type).u64(self.is_stream.into());
        w.array(self.frames.len());
        for frame in &self.frames {
            w.bytes(frame);
        }
        w.bytes(&self.receipt.encode()).bytes(&self.signature.0).bytes(&self.leaf_salt.0).bytes(&self.transcript_seed.0);
        write_decoding(&mut w, &self.decoding);
        w.hashes(self.seed_share.as_slice()).array(usize::from(self.source.is_some()));
        if let Some(source) = &self.source {
            source.write(&mut w);
        }
        w.bytes(&self.manifest_hash.0);
        w.into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// `Cbor`.
    pub fn parse(content: &[u8]) -> Result<Self, RecoveryError> {
        let value = CborError::Value { offset: 0 };
        let mut r = Reader::new(content);
        r.versioned_array_of(13, CONTENT_VERSION)?;
        let answer = Self {
            status: u16::try_from(r.u32()?).map_err(|_| value)?,
            content_type: r.text(64)?.into(),
            is_stream: match r.u64()? {
                0 => false,
                1 => true,
                _ => return Err(value.into()),
            },
            frames: r.list(FRAMES_MAX, |r| r.bytes(FRAME_MAX).map(<[u8]>::to_vec))?,
            receipt: r.words(Receipt::parse)?,
            signature: r.signature()?,
            leaf_salt: r.hash()?,
            transcript_seed: r.hash()?,
            decoding: read_decoding(&mut r)?,
            seed_share: r.optional(Reader::hash)?,
            source: r.optional(SourceRecord::read)?,
            manifest_hash: r.hash()?,
        };
        r.end()?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_read_up_to_its_limit_and_no_further() {
        let mut blob = vec![VERSION; BLOB_MAX];
        assert!(BlobHead::parse(&blob).is_ok());
        blob.push(0);
        assert_eq!(BlobHead::parse(&blob).err(), Some(RecoveryError::Length { got: BLOB_MAX + 1 }));
    }

    /// RFC 5869, test case 1: the first block of Expand, from its PRK.
    #[test]
    fn the_expansion_is_hkdfs() {
        let prk = Hash32::from_hex("0x077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5").unwrap();
        let secret = AnswerSecret { signed_digest: Hash32::ZERO, prk };
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm = secret.expand(&[&info]);
        assert_eq!(okm, Hash32::from_hex("0x3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf").unwrap());
    }

    #[test]
    fn lengths_say_only_in_which_step_they_are() {
        for (content, padded) in
            [(0, 4096), (4088, 4096), (4089, 8192), (65_528, 65_536), (65_529, 131_072), (131_064, 131_072), (131_065, 196_608)]
        {
            let plaintext = pad(&alloc::vec![7; content]);
            assert_eq!(plaintext.len(), padded, "{content}");
            assert_eq!(unpad(&plaintext), Ok(alloc::vec![7; content].as_slice()));
            assert!(padded + BlobHead::LEN + padded.div_ceil(CHUNK) * TAG <= blob_len_max(0, content));
        }
        let mut other = pad(b"abc");
        other.push(0);
        assert_eq!(unpad(&other), Err(RecoveryError::Padding));
        let mut marked = pad(b"abc");
        marked[4095] = 1;
        assert_eq!(unpad(&marked), Err(RecoveryError::Padding));
        let mut longer = pad(b"abc");
        longer[..8].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(unpad(&longer), Err(RecoveryError::Padding));
        assert_eq!(unpad(b"abc"), Err(RecoveryError::Padding));
    }

    #[test]
    fn the_last_chunk_is_marked_and_no_two_share_a_nonce() {
        let plaintext = alloc::vec![0; 2 * CHUNK + 1];
        let nonces: Vec<[u8; 12]> = plain_chunks(&plaintext).map(|(nonce, _)| nonce).collect();
        assert_eq!(nonces.len(), 3);
        assert_eq!(nonces[0], [0; 12]);
        assert_eq!(nonces[1], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(nonces[2], [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]);
        let sealed = alloc::vec![0; CHUNK + TAG];
        assert_eq!(sealed_chunks(&sealed).map(|(nonce, _)| nonce[11]).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_secret_is_not_printed_and_depends_on_both_halves() {
        let of = |digest: u8, salt: u8| AnswerSecret::new(&Hash32([digest; 32]), &Hash32([salt; 32]));
        assert_ne!(of(1, 2).answer_id(), of(2, 1).answer_id());
        assert_ne!(of(1, 2).answer_id(), of(1, 3).answer_id());
        assert_ne!(of(1, 2).key(&Hash32::ZERO), of(1, 2).key(&Hash32([1; 32])));
        assert_eq!(alloc::format!("{:?}", of(1, 2)), "AnswerSecret(not shown)");
    }

    #[test]
    fn a_head_reads_back_and_a_short_or_another_one_is_refused() {
        let head = BlobHead { n: Hash32([1; 32]), payment_id: Hash32([2; 32]), chain_id: 3, receipt_id: [4; 16] };
        let blob = [head.encode(), b"rest".to_vec()].concat();
        assert_eq!(BlobHead::parse(&blob), Ok((head, b"rest".as_slice())));
        assert_eq!(BlobHead::parse(&blob[..BlobHead::LEN - 1]), Err(RecoveryError::Length { got: BlobHead::LEN - 1 }));
        let mut other = blob;
        other[0] = 2;
        assert_eq!(BlobHead::parse(&other), Err(RecoveryError::Version { expected: 1, got: 2 }));
    }
}
