//! Frames and messages between enclave and host, sans I/O.
//!
//! One node is two processes: the *enclave* (measured, believed) and the *host* (untrusted, carries bytes). Between them runs one
//! byte stream per connection, over a unix socket or vsock; the enclave listens, the host connects. This crate says what those bytes
//! are and nothing about who reads or writes them. Spec: link.md.
//!
//! ```text
//! host ── Hello(client) ──▶ then the raw bytes of one TCP connection of a client; TLS ends in the enclave
//! host ── Hello(control) ─▶ then frames: u32 length ‖ CBOR [kind, id, fields…], requests in both directions, matched by id
//! ```
//!
//! [`Hello`] is the first 18 bytes of each connection, [`FrameDecoder`] cuts a control stream into frames, [`ToEnclave`] and
//! [`ToHost`] are everything a frame may say, by direction, and [`Calls`] are the requests of one side that wait for their answers.
//!
//! The host is trusted for availability only (ADR 0008): each message says what a lie of the host costs, and for none of them is the
//! answer "the client's money, privacy or verdict", but that a host can withhold an answer that was paid for. One rule has no exception: a
//! one-shot payment signature reaches the host only inside the calldata of [`CheckpointRequest::settlements`], that is together with the checkpoint that covers its receipt.
//!
//! Not here: sockets, timeouts, retries (the shells), the tree (`candor-log`), receipts and terms (`candor-verify`).
//!
//! **Invariant:** no panic is reachable from input, and decoding allocates at most what has arrived.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod calls;
mod codec;
mod counts;
mod event;
mod frame;
mod hello;
mod limits;
mod message;
mod to_enclave;
mod to_host;

pub use calls::{Call, Calls, Lost, NotBegun};
pub use codec::MessageError;
pub use counts::{EnclaveCounter, EnclaveCounts, EnclaveHistogram, HISTOGRAM_BOUNDS, Tally};
pub use event::{EnclaveEvent, EventLevel, LogEvent, MAX_EVENT_INTEGERS};
pub use frame::{FrameDecoder, FrameError, frame};
pub use hello::{HELLO_LEN, Hello, HelloError, Party, Pipe, Role};
pub use limits::*;
pub use message::{
    AnchoredProof, AnswerPage, AnswerPart, AnswerPiece, AnswerRef, AppendRequest, BlockHead, BootRequest, CheckpointRequest,
    CheckpointStored, LogState, LoggedReceipt, ModelPart, PayerQuery, PayerState, PayerTrial, Phase, Predecessor, Ready, RefusalCode,
    Refused, Settlement, SettlementFailure, SettlementState, StoredReceipt, UpstreamRequest,
};
pub use to_enclave::{HostReply, HostRequest, ToEnclave};
pub use to_host::{EnclaveReply, EnclaveRequest, ToHost};
