//! Everything the enclave may say to the host: its own requests, and its answers. Spec: link.md §5 and §6.
//!
//! Whatever is said here leaves the enclave, so it holds no prompt, no answer but a sealed one, no key, and no payment signature but the calldata of
//! settlements beside the checkpoint that covers them (LINK-9).

use candor_verify::cbor::{CborError, Reader, Writer};
use candor_verify::delivery::{read_checkpoint, write_checkpoint};
use candor_verify::scheme::Scheme;
use candor_verify::{Hash32, Signature65};

use crate::codec::{
    MessageError, Parsed, check_piece, field, hash_run, message, parse_message, read_bool, read_ready, read_refused, write_hash_run,
    write_optional, write_ready, write_refused,
};
use crate::counts::{EnclaveCounts, Tally};
use crate::event::{EnclaveEvent, LogEvent, MAX_EVENT_INTEGERS};
use crate::frame::{FrameError, frame};
use crate::hello::Pipe;
use crate::limits::{
    EVIDENCE_MAX, MAX_ANSWER_PART, MAX_AWAIT_MS, MAX_CALLDATA, MAX_ENTRIES, MAX_FRAME_HASHES, MAX_HOST_NAME, MAX_SETTLEMENTS,
};
use crate::message::{
    AnswerPart, AnswerRef, AppendRequest, CheckpointRequest, LoggedReceipt, PayerQuery, PayerTrial, Phase, Ready, Refused, Settlement,
    UpstreamRequest,
};

/// A frame from enclave to host.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a shape more is another version")]
pub enum ToHost {
    /// Where the boot stands: the first frame on each control connection. Not answered.
    Welcome(Phase),
    /// Something for the operator. Not answered; the host may show it.
    Log(LogEvent),
    /// Answered by a [`crate::HostReply`] with the same id.
    Request {
        /// Chosen by the enclave, not zero, not in flight.
        id: u64,
        /// What is asked.
        request: EnclaveRequest,
    },
    /// Answers a [`crate::HostRequest`].
    Reply {
        /// Id of the request.
        id: u64,
        /// The answer.
        reply: EnclaveReply,
    },
}

/// What the enclave asks of the host. Each says what a lie of the host can cost: never the client's money twice, its privacy or its verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a request more is another version")]
pub enum EnclaveRequest {
    /// The newest block. A lie costs service (stale freshness, which clients refuse).
    Head,
    /// Can this payer pay? A lie costs the operator (work that is never paid) or service (a good payer is refused).
    PayerState(PayerQuery),
    /// Make these receipts durable. A lie (confirmed and lost) costs the operator a broken promise that clients can show.
    Append(AppendRequest),
    /// Make this checkpoint durable with its settlements. A lie costs the operator; wrong proofs are noticed by enclave and client.
    Checkpoint(Box<CheckpointRequest>),
    /// Wait until a settlement is final or the time is over. A lie costs the operator; the client asks the chain itself.
    AwaitSettlement {
        /// Which.
        payment_id: Hash32,
        /// Milliseconds to wait at most; at most [`crate::MAX_AWAIT_MS`].
        timeout_ms: u64,
    },
    /// A receipt from the store. A lie costs service: everything in the answer is signed or hashed by something signed.
    FetchReceipt {
        /// Its unguessable id.
        receipt_id: [u8; 16],
    },
    /// How much of this log is stored; asked after each new control connection. A lie costs service: the enclave closes the log.
    LogState {
        /// Which log.
        log_id: Hash32,
    },
    /// Make this piece of a kept answer durable. A lie (confirmed and lost) costs a client that lost its connection the answer that it paid
    /// for, as any host can that withholds it; never its money twice, and never its secret: nobody but the client has the key.
    StoreAnswer(AnswerPart),
    /// A kept answer from this offset on. A lie costs service: what was not sealed for this request and this payment does not open.
    FetchAnswer {
        /// Under which it lies.
        answer_id: Hash32,
        /// Byte offset to go on from.
        offset: u64,
    },
    /// The client has this answer: erase it. A lie leaves a ciphertext on a disk.
    AckAnswer {
        /// Under which it lies.
        answer_id: Hash32,
    },
    /// The evidence of a former boot. A lie costs service: evidence is judged by whoever reads it.
    FetchEvidence {
        /// Manifest of the boot.
        manifest_hash: Hash32,
        /// The newest that was made at this time or before, Unix milliseconds.
        not_after_ms: u64,
    },
    /// Connect to an upstream of the terms. A lie (another place) costs service: TLS to the upstream ends in the enclave, and what the terms
    /// let travel in plaintext is shown as that.
    OpenUpstream(UpstreamRequest),
}

/// What the enclave answers. [`EnclaveReply::Refused`] may answer anything.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a reply more is another version")]
pub enum EnclaveReply {
    /// Answers `Boot`, `ModelPart`, `Ping`, `StopSelling`, `PutPriceList`, `DenyPayers`, `TakeOver`.
    Done,
    /// Answers `Start`.
    Ready(Box<Ready>),
    /// Answers `Attest`.
    Evidence(Vec<u8>),
    /// Answers `Metrics`: sums over many requests.
    Metrics(Box<EnclaveCounts>),
    /// Answers `HandOver`: no offer is made any more.
    HandedOver {
        /// Whether no answer is being made, logged or waiting for its transfer. More than that, of one request, the host is not told.
        is_idle: bool,
    },
    /// Not done.
    Refused(Refused),
}

mod kind {
    pub(super) const WELCOME: u64 = 2;
    pub(super) const LOG: u64 = 3;
    pub(super) const HEAD: u64 = 32;
    pub(super) const PAYER_STATE: u64 = 33;
    pub(super) const APPEND: u64 = 34;
    pub(super) const CHECKPOINT: u64 = 35;
    pub(super) const AWAIT_SETTLEMENT: u64 = 36;
    pub(super) const FETCH_RECEIPT: u64 = 37;
    pub(super) const LOG_STATE: u64 = 38;
    pub(super) const STORE_ANSWER: u64 = 39;
    pub(super) const FETCH_ANSWER: u64 = 40;
    pub(super) const ACK_ANSWER: u64 = 41;
    pub(super) const FETCH_EVIDENCE: u64 = 42;
    pub(super) const OPEN_UPSTREAM: u64 = 43;
    pub(super) const DONE: u64 = 64;
    pub(super) const READY: u64 = 65;
    pub(super) const EVIDENCE: u64 = 66;
    pub(super) const METRICS: u64 = 67;
    pub(super) const HANDED_OVER: u64 = 68;
    pub(super) const REFUSED: u64 = 79;
}

fn fields_of(kind: u64) -> Option<u64> {
    Some(match kind {
        kind::HEAD | kind::DONE => 0,
        kind::FETCH_RECEIPT | kind::LOG_STATE | kind::ACK_ANSWER | kind::EVIDENCE | kind::HANDED_OVER => 1,
        kind::APPEND | kind::AWAIT_SETTLEMENT | kind::FETCH_ANSWER | kind::FETCH_EVIDENCE | kind::METRICS | kind::REFUSED => 2,
        kind::READY | kind::CHECKPOINT | kind::OPEN_UPSTREAM => 3,
        kind::WELCOME | kind::LOG | kind::STORE_ANSWER => 4,
        kind::PAYER_STATE => 6,
        _ => return None,
    })
}

impl ToHost {
    /// The frame, length included.
    ///
    /// # Errors
    /// The message is longer than a frame: the sender should have split it.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let w = match self {
            Self::Welcome(phase) => write_welcome(phase),
            Self::Log(event) => write_log(event),
            Self::Request { id, request } => write_request(*id, request),
            Self::Reply { id, reply } => write_reply(*id, reply),
        };
        frame(&w.into_vec())
    }

    /// Reads a frame without its length.
    ///
    /// # Errors
    /// [`MessageError`]; the connection is to be closed.
    pub fn parse(payload: &[u8]) -> Result<Self, MessageError> {
        parse_message(payload, fields_of, |kind, id, r| {
            if matches!(kind, kind::WELCOME | kind::LOG) != (id == 0) {
                return Err(MessageError::Field { name: "id" });
            }
            match kind {
                kind::WELCOME => Ok(Self::Welcome(read_welcome(r)?)),
                kind::LOG => Ok(Self::Log(read_log(r)?)),
                kind::HEAD..=kind::OPEN_UPSTREAM => Ok(Self::Request { id, request: read_request(kind, r)? }),
                _ => Ok(Self::Reply { id, reply: read_reply(kind, r)? }),
            }
        })
    }
}

fn write_welcome(phase: &Phase) -> Writer {
    let mut w = message(kind::WELCOME, 0, 4);
    match phase {
        Phase::AwaitingTerms => w.u64(1).bytes(&[]).bytes(&[]).bytes(&[]),
        Phase::AwaitingModels => w.u64(2).bytes(&[]).bytes(&[]).bytes(&[]),
        Phase::Ready(ready) => {
            w.u64(3);
            write_ready(&mut w, ready);
            &mut w
        }
    };
    w
}

fn write_log(event: &LogEvent) -> Writer {
    let mut w = message(kind::LOG, 0, 4);
    w.u64(event.event.number()).u64(event.count).array(event.integers.len());
    for integer in &event.integers {
        w.u64(*integer);
    }
    write_optional(&mut w, event.digest.as_ref(), |w, digest| {
        w.bytes(&digest.0);
    });
    w
}

fn read_log(r: &mut Reader<'_>) -> Parsed<LogEvent> {
    let event = field("event", EnclaveEvent::from_number(r.u64()?))?;
    let (count, integers) = (r.u64()?, r.list(MAX_EVENT_INTEGERS, Reader::u64)?);
    let event = LogEvent { event, count, integers, digest: r.optional(Reader::hash)? };
    field("integers, digest", event.is_whole().then_some(event))
}

fn write_counts(id: u64, counts: &EnclaveCounts) -> Writer {
    let mut w = message(kind::METRICS, id, 2);
    w.array(counts.counters.len());
    for counter in &counts.counters {
        w.u64(*counter);
    }
    w.array(counts.histograms.len());
    for tally in &counts.histograms {
        w.array(2).array(tally.buckets.len());
        for bucket in &tally.buckets {
            w.u64(*bucket);
        }
        w.u64(tally.sum);
    }
    w
}

fn read_counts(r: &mut Reader<'_>) -> Parsed<EnclaveCounts> {
    let counters = integers(r)?;
    let histograms = r.list(EnclaveCounts::HISTOGRAMS, |r| {
        r.array_of(2)?;
        Ok(Tally { buckets: integers(r)?, sum: r.u64()? })
    })?;
    let histograms = field("histograms", histograms.try_into().ok())?;
    Ok(EnclaveCounts { counters, histograms })
}

/// An array of exactly so many.
fn integers<const N: usize>(r: &mut Reader<'_>) -> Result<[u64; N], CborError> {
    r.array_of(u64::try_from(N).unwrap_or(u64::MAX))?;
    let mut out = [0; N];
    for place in &mut out {
        *place = r.u64()?;
    }
    Ok(out)
}

fn read_welcome(r: &mut Reader<'_>) -> Parsed<Phase> {
    let phase = match r.u64()? {
        1 => Phase::AwaitingTerms,
        2 => Phase::AwaitingModels,
        3 => return Ok(Phase::Ready(Box::new(read_ready(r)?))),
        _ => return Err(MessageError::Field { name: "phase" }),
    };
    for _manifest_evidence_signature in 0..3 {
        r.bytes(0)?;
    }
    Ok(phase)
}

fn write_request(id: u64, request: &EnclaveRequest) -> Writer {
    match request {
        EnclaveRequest::Head => message(kind::HEAD, id, 0),
        EnclaveRequest::PayerState(query) => {
            let mut w = message(kind::PAYER_STATE, id, 6);
            w.u64(query.scheme.code().into()).u64(query.chain_id).bytes(&query.asset.0).bytes(&query.payer.0).bytes(&query.nonce.0);
            write_optional(&mut w, query.trial.as_ref(), |w, trial| {
                w.array(3).bytes(&trial.from.0).bytes(&trial.to.0).bytes(&trial.calldata);
            });
            w
        }
        EnclaveRequest::Append(append) => {
            let mut w = message(kind::APPEND, id, 2);
            w.u64(append.first_index).array(append.entries.len());
            for entry in &append.entries {
                w.array(5).bytes(&entry.leaf_data.0).bytes(&entry.receipt_id).bytes(&entry.receipt).bytes(&entry.signature.0);
                write_hash_run(&mut w, &entry.frame_leaf_hashes);
            }
            w
        }
        EnclaveRequest::Checkpoint(request) => {
            let mut w = message(kind::CHECKPOINT, id, 3);
            w.u64(request.first_index);
            write_checkpoint(&mut w, &request.checkpoint);
            w.array(request.settlements.len());
            for settlement in &request.settlements {
                write_settlement(&mut w, settlement);
            }
            w
        }
        EnclaveRequest::AwaitSettlement { payment_id, timeout_ms } => {
            let mut w = message(kind::AWAIT_SETTLEMENT, id, 2);
            w.bytes(&payment_id.0).u64(*timeout_ms);
            w
        }
        EnclaveRequest::FetchReceipt { receipt_id } => {
            let mut w = message(kind::FETCH_RECEIPT, id, 1);
            w.bytes(receipt_id);
            w
        }
        EnclaveRequest::LogState { log_id } => {
            let mut w = message(kind::LOG_STATE, id, 1);
            w.bytes(&log_id.0);
            w
        }
        EnclaveRequest::StoreAnswer(part) => {
            let mut w = message(kind::STORE_ANSWER, id, 4);
            w.bytes(&part.answer_id.0).u64(part.offset).u64(part.total).bytes(&part.bytes);
            w
        }
        EnclaveRequest::FetchAnswer { answer_id, offset } => {
            let mut w = message(kind::FETCH_ANSWER, id, 2);
            w.bytes(&answer_id.0).u64(*offset);
            w
        }
        EnclaveRequest::AckAnswer { answer_id } => {
            let mut w = message(kind::ACK_ANSWER, id, 1);
            w.bytes(&answer_id.0);
            w
        }
        EnclaveRequest::FetchEvidence { manifest_hash, not_after_ms } => {
            let mut w = message(kind::FETCH_EVIDENCE, id, 2);
            w.bytes(&manifest_hash.0).u64(*not_after_ms);
            w
        }
        EnclaveRequest::OpenUpstream(upstream) => {
            let mut w = message(kind::OPEN_UPSTREAM, id, 3);
            w.bytes(&upstream.pipe.0).text(&upstream.host).u64(upstream.port.into());
            w
        }
    }
}

fn read_request(kind: u64, r: &mut Reader<'_>) -> Parsed<EnclaveRequest> {
    Ok(match kind {
        kind::HEAD => EnclaveRequest::Head,
        kind::PAYER_STATE => EnclaveRequest::PayerState(PayerQuery {
            scheme: r.code(paying)?,
            chain_id: r.u64()?,
            asset: r.address()?,
            payer: r.address()?,
            nonce: r.hash()?,
            trial: r.optional(read_trial)?,
        }),
        kind::APPEND => EnclaveRequest::Append(read_append(r)?),
        kind::CHECKPOINT => EnclaveRequest::Checkpoint(Box::new(CheckpointRequest {
            first_index: r.u64()?,
            checkpoint: read_checkpoint(r)?,
            settlements: r.list(MAX_SETTLEMENTS, read_settlement)?,
        })),
        kind::AWAIT_SETTLEMENT => EnclaveRequest::AwaitSettlement {
            payment_id: r.hash()?,
            timeout_ms: field("timeout_ms", Some(r.u64()?).filter(|ms| *ms <= MAX_AWAIT_MS))?,
        },
        kind::FETCH_RECEIPT => EnclaveRequest::FetchReceipt { receipt_id: r.fixed()? },
        kind::LOG_STATE => EnclaveRequest::LogState { log_id: r.hash()? },
        kind::STORE_ANSWER => EnclaveRequest::StoreAnswer(read_answer_part(r)?),
        kind::FETCH_ANSWER => EnclaveRequest::FetchAnswer { answer_id: r.hash()?, offset: r.u64()? },
        kind::ACK_ANSWER => EnclaveRequest::AckAnswer { answer_id: r.hash()? },
        kind::FETCH_EVIDENCE => EnclaveRequest::FetchEvidence { manifest_hash: r.hash()?, not_after_ms: r.u64()? },
        kind::OPEN_UPSTREAM => EnclaveRequest::OpenUpstream(UpstreamRequest {
            pipe: Pipe(r.fixed()?),
            host: r.text(MAX_HOST_NAME)?.to_owned(),
            port: r.u16()?,
        }),
        got => return Err(MessageError::Kind { got }),
    })
}

/// A receipt whose frame hashes are not split yet.
type RawReceipt<'a> = (Hash32, [u8; 16], [u8; LoggedReceipt::RECEIPT_LEN], Signature65, &'a [u8]);

fn read_append(r: &mut Reader<'_>) -> Parsed<AppendRequest> {
    let first_index = r.u64()?;
    let raw: Vec<RawReceipt<'_>> = r.list(MAX_ENTRIES, |r| {
        r.array_of(5)?;
        Ok((r.hash()?, r.fixed()?, r.fixed()?, r.signature()?, r.bytes(MAX_FRAME_HASHES.saturating_mul(32))?))
    })?;
    let entries = raw
        .into_iter()
        .map(|(leaf_data, receipt_id, receipt, signature, run)| {
            let frame_leaf_hashes = hash_run(run, "frame_leaf_hashes")?;
            Ok(LoggedReceipt { leaf_data, receipt_id, receipt, signature, frame_leaf_hashes })
        })
        .collect::<Parsed<Vec<_>>>()?;
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    field("first_index, entries", first_index.checked_add(count).filter(|_| 0 < count))?;
    Ok(AppendRequest { first_index, entries })
}

fn read_answer_part(r: &mut Reader<'_>) -> Parsed<AnswerPart> {
    let (answer_id, offset, total) = (r.hash()?, r.u64()?, r.u64()?);
    let bytes = r.bytes(MAX_ANSWER_PART)?.to_vec();
    check_piece(offset, total, &bytes)?;
    Ok(AnswerPart { answer_id, offset, total, bytes })
}

/// The scheme comes first, and says which members follow the three that each settlement has. Another scheme is another arm.
fn write_settlement(w: &mut Writer, s: &Settlement) {
    w.array(7).u64(s.scheme.code().into()).bytes(&s.payment_id.0).u64(s.sequence);
    write_optional(w, s.answer.as_ref(), |w, answer| {
        w.array(2).bytes(&answer.answer_id.0).bytes(&answer.sha256.0);
    });
    w.u64(s.chain_id).bytes(&s.to.0).bytes(&s.calldata);
}

fn read_trial(r: &mut Reader<'_>) -> Result<PayerTrial, CborError> {
    r.array_of(3)?;
    Ok(PayerTrial { from: r.address()?, to: r.address()?, calldata: r.bytes(MAX_CALLDATA)?.to_vec() })
}

fn read_settlement(r: &mut Reader<'_>) -> Result<Settlement, CborError> {
    r.array_of(7)?;
    let (scheme, payment_id, sequence) = (r.code(paying)?, r.hash()?, r.u64()?);
    let answer = r.optional(|r| {
        r.array_of(2)?;
        Ok(AnswerRef { answer_id: r.hash()?, sha256: r.hash()? })
    })?;
    let (chain_id, to, calldata) = (r.u64()?, r.address()?, r.bytes(MAX_CALLDATA)?.to_vec());
    Ok(Settlement { scheme, payment_id, sequence, answer, chain_id, to, calldata })
}

/// A scheme by which somebody pays for one answer.
fn paying(code: u8) -> Option<Scheme> {
    Scheme::from_code(code).filter(|scheme| scheme.pays_for_one_answer())
}

fn write_reply(id: u64, reply: &EnclaveReply) -> Writer {
    match reply {
        EnclaveReply::Done => message(kind::DONE, id, 0),
        EnclaveReply::Ready(ready) => {
            let mut w = message(kind::READY, id, 3);
            write_ready(&mut w, ready);
            w
        }
        EnclaveReply::Evidence(evidence) => {
            let mut w = message(kind::EVIDENCE, id, 1);
            w.bytes(evidence);
            w
        }
        EnclaveReply::Metrics(counts) => write_counts(id, counts),
        EnclaveReply::HandedOver { is_idle } => {
            let mut w = message(kind::HANDED_OVER, id, 1);
            w.u64((*is_idle).into());
            w
        }
        EnclaveReply::Refused(refused) => {
            let mut w = message(kind::REFUSED, id, 2);
            write_refused(&mut w, refused);
            w
        }
    }
}

fn read_reply(kind: u64, r: &mut Reader<'_>) -> Parsed<EnclaveReply> {
    Ok(match kind {
        kind::DONE => EnclaveReply::Done,
        kind::READY => EnclaveReply::Ready(Box::new(read_ready(r)?)),
        kind::EVIDENCE => EnclaveReply::Evidence(r.bytes(EVIDENCE_MAX)?.to_vec()),
        kind::METRICS => EnclaveReply::Metrics(Box::new(read_counts(r)?)),
        kind::HANDED_OVER => EnclaveReply::HandedOver { is_idle: read_bool(r, "is_idle")? },
        kind::REFUSED => EnclaveReply::Refused(read_refused(r)?),
        got => return Err(MessageError::Kind { got }),
    })
}
