//! Every limit of the protocol, each with its reason. A sender splits; a receiver refuses with a typed error.

/// Version of the protocol in [`crate::Hello`].
pub const VERSION: u8 = 1;

/// Bytes of one frame after its length: four times the largest single thing in it (a model part), and what one side must be willing to
/// hold per frame.
pub const MAX_FRAME: usize = 16 << 20;

/// Bytes of a model in one [`crate::ModelPart`]: small enough that requests interleave with a load, large enough to be few.
pub const MAX_MODEL_PART: usize = 4 << 20;

/// Bytes of signed operator terms: 64 entries of each list with texts of 256 bytes are about 150 KiB.
pub const MAX_TERMS: usize = 256 << 10;

/// Bytes of an evidence: an attestation document is 5 to 20 KiB, terms may be [`MAX_TERMS`].
pub const MAX_EVIDENCE: usize = 512 << 10;

/// Leaves that one checkpoint may add, and so paths in one answer: 4096 × 64 hashes are half a frame. `candor_log::GROUP_MAX`.
pub const MAX_NEW_LEAVES: usize = 4096;

/// Bytes of the receipts, or of the settlements, of one group: a frame less what goes around them (a checkpoint is below 4 KiB). A group
/// of long transcripts is cut by this, so that each of its messages is one frame.
pub const MAX_GROUP_BYTES: usize = MAX_FRAME - (64 << 10);

/// Receipts in one append.
pub const MAX_ENTRIES: usize = MAX_NEW_LEAVES;

/// Settlements beside one checkpoint: one per new leaf at most.
pub const MAX_SETTLEMENTS: usize = MAX_NEW_LEAVES;

/// Frames of one transcript: [`crate::Entry::frame_leaf_hashes`]. One token per frame gives 65,536 tokens.
pub const MAX_FRAME_HASHES: usize = 65_536;

/// Bytes of calldata of one settlement: EIP-3009 needs 292, a settler call about 2 KiB.
pub const MAX_CALLDATA: usize = 8 << 10;

/// Cosignatures of one checkpoint.
pub const MAX_COSIGNATURES: usize = 16;

/// Hashes of a proof: RFC 9162 paths have at most 64, a consistency proof one more.
pub const MAX_PATH: usize = 65;

/// Bytes of a message in [`crate::Refused`]. Longer ones are cut by the sender.
pub const MAX_MESSAGE: usize = 512;

/// Milliseconds that one [`crate::EnclaveRequest::AwaitSettlement`] may wait: T + s of payment.md, after which nothing can arrive.
pub const MAX_AWAIT_MS: u64 = 330_000;

/// Requests in flight per direction. More are refused with [`crate::RefusalCode::TooMany`].
pub const MAX_IN_FLIGHT: usize = 4096;
