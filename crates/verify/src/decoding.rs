//! The decoding record: how tokens were chosen, and who chose the seed. The receipt carries its hash. Spec: receipt.md §5.

use alloc::string::String;
use alloc::vec::Vec;

use crate::abi::Words;
use crate::bytes::Hash32;
use crate::eip712::{self, TypedStruct};
use crate::hash::{sha256, whole};
use crate::tags;

/// Engines whose answers this release replays (`Decoding::engine`), so that work of kind REEXEC by one of them is REPLAYABLE. Spec: policy.md §3.
pub const REPLAYED_ENGINES: [&str; 1] = ["det/1"];

codes! {
    /// Who chose the sampling seed.
    SeedSource {
        /// The request named it.
        Request = 1 "request",
        /// The server's committed share and the payment's nonce together: neither side alone could choose.
        ServerAndPayment = 2 "server share and payment",
        /// The server's share alone: there was no payment to take a nonce from.
        Server = 3 "server share",
    }
}

/// How tokens were chosen: enough to choose them again. Spec: receipt.md §5.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Decoding {
    /// Engine and version of its arithmetic, for example `det/1`. At most 64 bytes.
    pub engine: String,
    /// Sampling seed.
    pub seed: Hash32,
    /// Who chose it.
    pub seed_source: SeedSource,
    /// Temperature in millionths.
    pub temperature_e6: u32,
    /// top_p in millionths.
    pub top_p_e6: u32,
    /// top_k, zero for off.
    pub top_k: u32,
    /// Limit on tokens out.
    pub max_tokens: u32,
    /// [`stop_hash`] of the stop sequences.
    pub stop_hash: Hash32,
}

const DECODING_TYPE: &str = "Decoding(string engine,bytes32 seed,uint8 seedSource,uint32 temperatureE6,uint32 topPE6,uint32 topK,uint32 maxTokens,bytes32 stopHash)";

impl Decoding {
    /// hashStruct, which the receipt carries as `decodingHash`.
    #[must_use]
    pub fn struct_hash(&self) -> Hash32 {
        self.to_struct().hash()
    }

    /// The record as it is hashed.
    #[must_use]
    pub fn to_struct(&self) -> TypedStruct {
        let data = Words::new()
            .hash(&eip712::string(&self.engine))
            .hash(&self.seed)
            .u64(self.seed_source.code().into())
            .u64(self.temperature_e6.into())
            .u64(self.top_p_e6.into())
            .u64(self.top_k.into())
            .u64(self.max_tokens.into())
            .hash(&self.stop_hash);
        TypedStruct::new(DECODING_TYPE, data)
    }
}

/// Digest of the stop sequences, in order: sha256(tag ‖ for each: u64 length ‖ bytes). Zero if there are none.
#[must_use]
pub fn stop_hash(stops: &[String]) -> Hash32 {
    if stops.is_empty() {
        return Hash32::ZERO;
    }
    let mut bytes = Vec::new();
    for stop in stops {
        bytes.extend_from_slice(&u64::try_from(stop.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(stop.as_bytes());
    }
    sha256(&[tags::STOP, &bytes])
}

/// Commitment to the server's share of the seed, which the offer carries before the payment exists.
#[must_use]
pub fn seed_commitment(server_share: &Hash32) -> Hash32 {
    share_of(server_share, sha256)
}

/// What [`seed_commitment`] hashes.
#[must_use]
pub fn seed_commitment_preimage(server_share: &Hash32) -> Vec<u8> {
    share_of(server_share, whole)
}

fn share_of<T>(server_share: &Hash32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[tags::SEED_SHARE, &server_share.0])
}

/// The seed when neither side alone chooses: the server's committed share, then the payer's nonce.
#[must_use]
pub fn seed_from_share(server_share: &Hash32, payment_nonce: &Hash32) -> Hash32 {
    seed_of(server_share, payment_nonce, sha256)
}

/// What [`seed_from_share`] hashes.
#[must_use]
pub fn seed_preimage(server_share: &Hash32, payment_nonce: &Hash32) -> Vec<u8> {
    seed_of(server_share, payment_nonce, whole)
}

fn seed_of<T>(server_share: &Hash32, payment_nonce: &Hash32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[tags::SEED, &server_share.0, &payment_nonce.0])
}

/// The seed of work that nobody paid for: the server's share, and zeros for the nonce.
#[must_use]
pub fn seed_of_server(server_share: &Hash32) -> Hash32 {
    seed_from_share(server_share, &Hash32::ZERO)
}

/// The integer that a request named, if this seed is one: two's complement, sign-extended, big-endian (det-1.md §6). No other seed can be
/// passed off as the request's choice; that it is *this* request's integer is seen by replaying.
#[must_use]
pub fn requested_seed(seed: &Hash32) -> Option<i64> {
    let (high, low) = seed.0.split_last_chunk::<8>()?;
    let integer = i64::from_be_bytes(*low);
    let sign = if integer < 0 { 0xff } else { 0 };
    high.iter().all(|byte| *byte == sign).then_some(integer)
}
