//! Every limit of the protocol, each with its reason. A sender splits; a receiver refuses with a typed error.
//!
//! What limits a value of the verifier is said once, beside its type there, and only passed on here: whatever a link carries can be read
//! by whoever gets it in the end.

use candor_verify::bundle::FRAMES_MAX;
use candor_verify::checkpoint::GROUP_MAX;
pub use candor_verify::evidence::EVIDENCE_MAX;
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS};
use candor_verify::recovery::BLOB_MAX;
pub use candor_verify::terms::SIGNED_TERMS_MAX;
use candor_verify::tlog::PATH_MAX;

pub use candor_verify::VERSION;

/// Bytes of one frame after its length: four times the largest single thing in it (a model part), and what one side must be willing to
/// hold per frame.
pub const MAX_FRAME: usize = 16 << 20;

/// Bytes of a model in one [`crate::ModelPart`]: small enough that requests interleave with a load, large enough to be few.
pub const MAX_MODEL_PART: usize = 4 << 20;

/// Leaves that one checkpoint may add, and so paths in one answer: 4096 × 64 hashes are half a frame.
pub const MAX_NEW_LEAVES: usize = GROUP_MAX;

/// Bytes of the receipts, or of the settlements, of one group: a frame less what goes around them (a checkpoint is below 4 KiB). A group
/// of long transcripts is cut by this, so that each of its messages is one frame; kept answers count too, so that a group of long ones is
/// stored in time.
pub const MAX_GROUP_BYTES: usize = MAX_FRAME - (64 << 10);

/// Receipts in one append.
pub const MAX_ENTRIES: usize = MAX_NEW_LEAVES;

/// Settlements beside one checkpoint: one per new leaf at most.
pub const MAX_SETTLEMENTS: usize = MAX_NEW_LEAVES;

/// Frames of one transcript: [`crate::LoggedReceipt::frame_leaf_hashes`].
pub const MAX_FRAME_HASHES: usize = FRAMES_MAX;

/// Bytes of calldata of one settlement: EIP-3009 needs 292, a settler call about 2 KiB.
pub const MAX_CALLDATA: usize = 8 << 10;

/// Bytes of a kept answer in one [`crate::AnswerPart`] or one page: as of a model.
pub const MAX_ANSWER_PART: usize = MAX_MODEL_PART;

/// Bytes of a kept answer. `candor_verify::recovery`.
pub const MAX_ANSWER: usize = BLOB_MAX;

/// Hashes of a proof: a consistency proof has one more than an inclusion path.
pub const MAX_PATH: usize = PATH_MAX + 1;

/// Bytes of a message in [`crate::Refused`]. Longer ones are cut by the sender.
pub const MAX_MESSAGE: usize = 512;

/// Milliseconds that one [`crate::EnclaveRequest::AwaitSettlement`] may wait: T + s of payment.md, after which nothing can arrive.
pub const MAX_AWAIT_MS: u64 = (MAX_TIMEOUT_SECONDS + MAX_SKEW_SECONDS) * 1000;

/// Bytes of a price list: as in a bundle.
pub const PRICE_LIST_MAX: usize = SIGNED_TERMS_MAX;

/// Payers in one list of those that are not served.
pub const MAX_DENIED: usize = 4_096;

/// Bytes of an upstream's name: as of any text of the terms.
pub const MAX_HOST_NAME: usize = candor_verify::terms::MAX_TEXT;

/// Requests in flight per direction: [`crate::Calls`]. More are refused with [`crate::RefusalCode::TooMany`].
pub const MAX_IN_FLIGHT: usize = 4096;
