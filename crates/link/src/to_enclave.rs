//! Everything the host may say to the enclave: its own requests, and its answers. Spec: link.md §5 and §6.
//!
//! All of it is unbelieved. The doc of each variant says what the enclave does about a lie.

use candor_verify::cbor::{Reader, Writer};
use candor_verify::{Address, Hash32};

use crate::codec::{
    MessageError, Parsed, check_piece, field, hash_run, message, parse_message, read_anchored, read_bool, read_hash_run, read_head,
    read_proof, read_refused, read_tree, write_anchored, write_hash_run, write_head, write_optional, write_proof, write_refused,
    write_tree,
};
use crate::frame::{FrameError, frame};
use crate::limits::{
    EVIDENCE_MAX, MAX_ANSWER_PART, MAX_DENIED, MAX_FRAME_HASHES, MAX_MODEL_PART, MAX_NEW_LEAVES, MAX_PATH, PRICE_LIST_MAX, SIGNED_TERMS_MAX,
};
use crate::message::{
    AnswerPage, AnswerPiece, BlockHead, BootRequest, CheckpointStored, LogState, ModelPart, PayerState, Predecessor, Refused,
    SettlementFailure, SettlementState, StoredReceipt,
};

/// A frame from host to enclave.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a shape more is another version")]
pub enum ToEnclave {
    /// Answered by a [`crate::EnclaveReply`] with the same id.
    Request {
        /// Chosen by the host, not zero, not in flight.
        id: u64,
        /// What is asked.
        request: HostRequest,
    },
    /// Answers a [`crate::EnclaveRequest`].
    Reply {
        /// Id of the request.
        id: u64,
        /// The answer.
        reply: HostReply,
    },
    /// There is a newer block. Not answered. A lie can make freshness tags stale, which clients see.
    HeadUpdate(BlockHead),
}

/// What the host asks of the enclave.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a request more is another version")]
pub enum HostRequest {
    /// Take these terms. `Done` or `Refused`. The terms are signed by their operator and enter the manifest; clients judge them.
    Boot(Box<BootRequest>),
    /// Take this piece of a model. `Done` or `Refused`. The digest over the copied bytes must be one the terms list.
    ModelPart(ModelPart),
    /// Every model is there: make the evidence and serve. `Ready` or `Refused`.
    Start,
    /// New evidence under the same manifest. `Evidence` or `Refused`.
    Attest {
        /// Challenge; zero if nobody challenged.
        nonce: Hash32,
        /// Newest block.
        head: BlockHead,
    },
    /// Are you there? `Done`.
    Ping,
    /// What was counted. `Metrics`.
    Metrics,
    /// The registry says that the operator ended this boot's key: take no new work, and serve who paid. `Done`. A lie stops the service.
    StopSelling,
    /// Take this price list, signed by the terms' registrar. `Done` or `Refused`. It is judged by the terms; a host that withholds one sells
    /// at the ceiling, and one that puts an old one sells at its prices until it ends.
    PutPriceList {
        /// As it travels.
        signed: Vec<u8>,
    },
    /// Do not serve these payers; takes the place of the list before. `Done`. A host may refuse to serve anybody.
    DenyPayers {
        /// At most [`crate::MAX_DENIED`].
        payers: Vec<Address>,
    },
    /// Another boot of this node sells from now on: make no offer, and claim no payment but one that names an offer of this boot. `HandedOver`;
    /// asked again and again, until nothing is left to do. A lie stops the service; a host that withholds it can have one stock payment
    /// executed by two boots, at the operator's cost.
    HandOver,
    /// The boot that sold until now was told so: sell from now on, and refuse what that one could have claimed until now. `Done`. A lie costs
    /// service, or the operator what it costs to withhold `HandOver`.
    TakeOver,
}

/// What the host answers. [`HostReply::Refused`] may answer anything.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a reply more is another version")]
pub enum HostReply {
    /// Answers `Head`.
    Head(BlockHead),
    /// Answers `PayerState`.
    PayerState(PayerState),
    /// Answers `Append`: the log is durable up to this size.
    Appended {
        /// Durable leaves.
        size: u64,
    },
    /// Answers `Checkpoint`: it and its settlements are durable.
    CheckpointStored(CheckpointStored),
    /// Answers `AwaitSettlement`.
    Settlement(SettlementState),
    /// Answers `FetchReceipt`.
    Receipt(Option<Box<StoredReceipt>>),
    /// Answers `LogState`.
    LogState(LogState),
    /// Answers `StoreAnswer`: the blob is durable up to this size.
    AnswerStored {
        /// Durable bytes from its beginning.
        size: u64,
    },
    /// Answers `FetchAnswer`. A miss looks like an answer that never was.
    Answer(AnswerPage),
    /// Answers `AckAnswer`, also if nothing lay there.
    AnswerErased,
    /// Answers `FetchEvidence`.
    Evidence(Option<Vec<u8>>),
    /// Answers `OpenUpstream`: the connection is open, and comes as one of the role `Upstream`.
    UpstreamOpened,
    /// Not done.
    Refused(Refused),
}

mod kind {
    pub(super) const HEAD_UPDATE: u64 = 1;
    pub(super) const BOOT: u64 = 16;
    pub(super) const MODEL_PART: u64 = 17;
    pub(super) const START: u64 = 18;
    pub(super) const ATTEST: u64 = 19;
    pub(super) const PING: u64 = 20;
    pub(super) const METRICS: u64 = 21;
    pub(super) const STOP_SELLING: u64 = 22;
    pub(super) const PUT_PRICE_LIST: u64 = 23;
    pub(super) const DENY_PAYERS: u64 = 24;
    pub(super) const HAND_OVER: u64 = 25;
    pub(super) const TAKE_OVER: u64 = 26;
    pub(super) const HEAD: u64 = 48;
    pub(super) const PAYER_STATE: u64 = 49;
    pub(super) const APPENDED: u64 = 50;
    pub(super) const CHECKPOINT_STORED: u64 = 51;
    pub(super) const SETTLEMENT: u64 = 52;
    pub(super) const RECEIPT: u64 = 53;
    pub(super) const LOG_STATE: u64 = 54;
    pub(super) const ANSWER_STORED: u64 = 55;
    pub(super) const ANSWER: u64 = 56;
    pub(super) const ANSWER_ERASED: u64 = 57;
    pub(super) const EVIDENCE: u64 = 58;
    pub(super) const UPSTREAM_OPENED: u64 = 59;
    pub(super) const REFUSED: u64 = 63;
}

fn fields_of(kind: u64) -> Option<u64> {
    Some(match kind {
        kind::START
        | kind::PING
        | kind::METRICS
        | kind::STOP_SELLING
        | kind::HAND_OVER
        | kind::TAKE_OVER
        | kind::ANSWER_ERASED
        | kind::UPSTREAM_OPENED => 0,
        kind::PUT_PRICE_LIST
        | kind::DENY_PAYERS
        | kind::HEAD_UPDATE
        | kind::HEAD
        | kind::APPENDED
        | kind::SETTLEMENT
        | kind::RECEIPT
        | kind::ANSWER_STORED
        | kind::EVIDENCE => 1,
        kind::ATTEST | kind::LOG_STATE | kind::ANSWER | kind::REFUSED => 2,
        kind::BOOT => 3,
        kind::MODEL_PART => 4,
        kind::CHECKPOINT_STORED => 5,
        kind::PAYER_STATE => 6,
        _ => return None,
    })
}

impl ToEnclave {
    /// The frame, length included.
    ///
    /// # Errors
    /// The message is longer than a frame: the sender should have split it.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let w = match self {
            Self::HeadUpdate(head) => {
                let mut w = message(kind::HEAD_UPDATE, 0, 1);
                write_head(&mut w, head);
                w
            }
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
            if (kind == kind::HEAD_UPDATE) != (id == 0) {
                return Err(MessageError::Field { name: "id" });
            }
            match kind {
                kind::HEAD_UPDATE => Ok(Self::HeadUpdate(read_head(r)?)),
                kind::BOOT..=kind::TAKE_OVER => Ok(Self::Request { id, request: read_request(kind, r)? }),
                _ => Ok(Self::Reply { id, reply: read_reply(kind, r)? }),
            }
        })
    }
}

fn write_request(id: u64, request: &HostRequest) -> Writer {
    match request {
        HostRequest::Boot(boot) => {
            let mut w = message(kind::BOOT, id, 3);
            w.bytes(&boot.signed_terms);
            write_head(&mut w, &boot.head);
            write_optional(&mut w, boot.predecessor.as_ref(), |w, p| {
                w.array(2).bytes(&p.log_id.0);
                write_tree(w, &p.tree);
            });
            w
        }
        HostRequest::ModelPart(part) => {
            let mut w = message(kind::MODEL_PART, id, 4);
            w.bytes(&part.digest.0).u64(part.offset).u64(part.total).bytes(&part.bytes);
            w
        }
        HostRequest::Start => message(kind::START, id, 0),
        HostRequest::Attest { nonce, head } => {
            let mut w = message(kind::ATTEST, id, 2);
            w.bytes(&nonce.0);
            write_head(&mut w, head);
            w
        }
        HostRequest::Ping => message(kind::PING, id, 0),
        HostRequest::Metrics => message(kind::METRICS, id, 0),
        HostRequest::StopSelling => message(kind::STOP_SELLING, id, 0),
        HostRequest::PutPriceList { signed } => {
            let mut w = message(kind::PUT_PRICE_LIST, id, 1);
            w.bytes(signed);
            w
        }
        HostRequest::DenyPayers { payers } => {
            let mut w = message(kind::DENY_PAYERS, id, 1);
            w.array(payers.len());
            for payer in payers {
                w.bytes(&payer.0);
            }
            w
        }
        HostRequest::HandOver => message(kind::HAND_OVER, id, 0),
        HostRequest::TakeOver => message(kind::TAKE_OVER, id, 0),
    }
}

fn read_request(kind: u64, r: &mut Reader<'_>) -> Parsed<HostRequest> {
    Ok(match kind {
        kind::BOOT => HostRequest::Boot(Box::new(BootRequest {
            signed_terms: r.bytes(SIGNED_TERMS_MAX)?.to_vec(),
            head: read_head(r)?,
            predecessor: r.optional(|r| {
                r.array_of(2)?;
                Ok(Predecessor { log_id: r.hash()?, tree: read_tree(r)? })
            })?,
        })),
        kind::MODEL_PART => HostRequest::ModelPart(read_model_part(r)?),
        kind::START => HostRequest::Start,
        kind::ATTEST => HostRequest::Attest { nonce: r.hash()?, head: read_head(r)? },
        kind::PING => HostRequest::Ping,
        kind::METRICS => HostRequest::Metrics,
        kind::STOP_SELLING => HostRequest::StopSelling,
        kind::PUT_PRICE_LIST => HostRequest::PutPriceList { signed: r.bytes(PRICE_LIST_MAX)?.to_vec() },
        kind::DENY_PAYERS => HostRequest::DenyPayers { payers: r.list(MAX_DENIED, Reader::address)? },
        kind::HAND_OVER => HostRequest::HandOver,
        kind::TAKE_OVER => HostRequest::TakeOver,
        got => return Err(MessageError::Kind { got }),
    })
}

fn read_model_part(r: &mut Reader<'_>) -> Parsed<ModelPart> {
    let part = ModelPart { digest: r.hash()?, offset: r.u64()?, total: r.u64()?, bytes: r.bytes(MAX_MODEL_PART)?.to_vec() };
    let len = u64::try_from(part.bytes.len()).unwrap_or(u64::MAX);
    let end = part.offset.checked_add(len).filter(|end| 0 < len && *end <= part.total);
    field("offset, total, bytes", end)?;
    Ok(part)
}

fn write_reply(id: u64, reply: &HostReply) -> Writer {
    match reply {
        HostReply::Head(head) => {
            let mut w = message(kind::HEAD, id, 1);
            write_head(&mut w, head);
            w
        }
        HostReply::PayerState(state) => {
            let mut w = message(kind::PAYER_STATE, id, 6);
            w.u64(state.asset_has_code.into()).amount(state.balance).amount(state.allowance);
            write_optional(&mut w, state.permit_nonce.as_ref(), |w, nonce| {
                w.u64(*nonce);
            });
            w.u64(state.nonce_used.into()).u64(state.passes.into());
            w
        }
        HostReply::Appended { size } => {
            let mut w = message(kind::APPENDED, id, 1);
            w.u64(*size);
            w
        }
        HostReply::CheckpointStored(stored) => {
            let mut w = message(kind::CHECKPOINT_STORED, id, 5);
            w.u64(stored.size).u64(stored.first_index).array(stored.inclusions.len());
            for path in &stored.inclusions {
                write_hash_run(&mut w, path);
            }
            write_anchored(&mut w, stored.anchored.as_ref());
            write_hash_run(&mut w, &stored.consistency);
            w
        }
        HostReply::Settlement(state) => {
            let mut w = message(kind::SETTLEMENT, id, 1);
            write_settlement_state(&mut w, state);
            w
        }
        HostReply::Receipt(stored) => {
            let mut w = message(kind::RECEIPT, id, 1);
            write_optional(&mut w, stored.as_deref(), write_stored_receipt);
            w
        }
        HostReply::LogState(state) => {
            let mut w = message(kind::LOG_STATE, id, 2);
            write_tree(&mut w, &state.durable);
            w.u64(state.checkpointed);
            w
        }
        HostReply::AnswerStored { size } => {
            let mut w = message(kind::ANSWER_STORED, id, 1);
            w.u64(*size);
            w
        }
        HostReply::Answer(page) => {
            let mut w = message(kind::ANSWER, id, 2);
            w.u64(page.room);
            write_optional(&mut w, page.piece.as_ref(), |w, piece| {
                w.array(2).u64(piece.total).bytes(&piece.bytes);
            });
            w
        }
        HostReply::AnswerErased => message(kind::ANSWER_ERASED, id, 0),
        HostReply::UpstreamOpened => message(kind::UPSTREAM_OPENED, id, 0),
        HostReply::Evidence(evidence) => {
            let mut w = message(kind::EVIDENCE, id, 1);
            write_optional(&mut w, evidence.as_ref(), |w, evidence| {
                w.bytes(evidence);
            });
            w
        }
        HostReply::Refused(refused) => {
            let mut w = message(kind::REFUSED, id, 2);
            write_refused(&mut w, refused);
            w
        }
    }
}

fn read_reply(kind: u64, r: &mut Reader<'_>) -> Parsed<HostReply> {
    Ok(match kind {
        kind::HEAD => HostReply::Head(read_head(r)?),
        kind::PAYER_STATE => HostReply::PayerState(PayerState {
            asset_has_code: read_bool(r, "asset_has_code")?,
            balance: r.amount()?,
            allowance: r.amount()?,
            permit_nonce: r.optional(Reader::u64)?,
            nonce_used: read_bool(r, "nonce_used")?,
            passes: read_bool(r, "passes")?,
        }),
        kind::APPENDED => HostReply::Appended { size: r.u64()? },
        kind::CHECKPOINT_STORED => HostReply::CheckpointStored(read_checkpoint_stored(r)?),
        kind::SETTLEMENT => HostReply::Settlement(read_settlement_state(r)?),
        kind::RECEIPT => HostReply::Receipt(read_optional_receipt(r)?),
        kind::LOG_STATE => HostReply::LogState(LogState { durable: read_tree(r)?, checkpointed: r.u64()? }),
        kind::ANSWER_STORED => HostReply::AnswerStored { size: r.u64()? },
        kind::ANSWER => HostReply::Answer(read_answer_page(r)?),
        kind::ANSWER_ERASED => HostReply::AnswerErased,
        kind::EVIDENCE => HostReply::Evidence(r.optional(|r| r.bytes(EVIDENCE_MAX).map(<[u8]>::to_vec))?),
        kind::UPSTREAM_OPENED => HostReply::UpstreamOpened,
        kind::REFUSED => HostReply::Refused(read_refused(r)?),
        got => return Err(MessageError::Kind { got }),
    })
}

fn read_answer_page(r: &mut Reader<'_>) -> Parsed<AnswerPage> {
    let room = r.u64()?;
    let piece = r.optional(|r| {
        r.array_of(2)?;
        Ok(AnswerPiece { total: r.u64()?, bytes: r.bytes(MAX_ANSWER_PART)?.to_vec() })
    })?;
    if let Some(piece) = &piece {
        check_piece(0, piece.total, &piece.bytes)?;
    }
    Ok(AnswerPage { room, piece })
}

fn read_checkpoint_stored(r: &mut Reader<'_>) -> Parsed<CheckpointStored> {
    let (size, first_index) = (r.u64()?, r.u64()?);
    let runs = r.list(MAX_NEW_LEAVES, |r| r.bytes(MAX_PATH.saturating_mul(32)))?;
    Ok(CheckpointStored {
        size,
        first_index,
        inclusions: runs.into_iter().map(|run| hash_run(run, "inclusions")).collect::<Parsed<_>>()?,
        anchored: read_anchored(r)?,
        consistency: read_hash_run(r, MAX_PATH, "consistency")?,
    })
}

fn write_settlement_state(w: &mut Writer, state: &SettlementState) {
    match state {
        SettlementState::Settled { tx_hash, block_number, by_third_party } => {
            w.array(4).u64(1).bytes(&tx_hash.0).u64(*block_number).u64((*by_third_party).into());
        }
        SettlementState::Pending { tx_hash } => {
            w.array(4).u64(2).bytes(tx_hash.as_ref().map_or(&[], |hash| hash.0.as_slice())).u64(0).u64(0);
        }
        SettlementState::Failed { code } => {
            w.array(4).u64(3).text(code.as_str()).u64(0).u64(0);
        }
    }
}

/// Always four members, so that the array head needs no look-ahead; those without meaning are zero.
fn read_settlement_state(r: &mut Reader<'_>) -> Parsed<SettlementState> {
    r.array_of(4)?;
    let state = match r.u64()? {
        1 => {
            return Ok(SettlementState::Settled {
                tx_hash: r.hash()?,
                block_number: r.u64()?,
                by_third_party: read_bool(r, "by_third_party")?,
            });
        }
        2 => {
            let bytes = r.bytes(32)?;
            let tx_hash = if bytes.is_empty() { None } else { Some(field("tx_hash", Hash32::from_slice(bytes))?) };
            SettlementState::Pending { tx_hash }
        }
        3 => SettlementState::Failed { code: field("failure", SettlementFailure::parse(r.text(32)?))? },
        _ => return Err(MessageError::Field { name: "state" }),
    };
    r.exactly(0)?;
    r.exactly(0)?;
    Ok(state)
}

fn write_stored_receipt(w: &mut Writer, stored: &StoredReceipt) {
    w.array(5).bytes(&stored.receipt).bytes(&stored.signature.0).bytes(&stored.leaf_data.0);
    write_hash_run(w, &stored.frame_leaf_hashes);
    write_optional(w, stored.proof.as_ref(), write_proof);
}

fn read_optional_receipt(r: &mut Reader<'_>) -> Parsed<Option<Box<StoredReceipt>>> {
    // `optional` reads with a plain CBOR error; a refused field inside is carried past it.
    let mut refused = None;
    let stored = r.optional(|r| Ok(read_stored_receipt(r).map_err(|error| refused = Some(error)).ok()));
    match (refused, stored) {
        (Some(error), _) => Err(error),
        (None, stored) => Ok(stored?.flatten().map(Box::new)),
    }
}

fn read_stored_receipt(r: &mut Reader<'_>) -> Parsed<StoredReceipt> {
    r.array_of(5)?;
    let (receipt, signature, leaf_data) = (r.fixed()?, r.signature()?, r.hash()?);
    let frame_leaf_hashes = read_hash_run(r, MAX_FRAME_HASHES, "frame_leaf_hashes")?;
    let mut refused = None;
    let proof = r.optional(|r| Ok(read_proof(r).map_err(|error| refused = Some(error)).ok()));
    match (refused, proof) {
        (Some(error), _) => Err(error),
        (None, proof) => Ok(StoredReceipt { receipt, signature, leaf_data, frame_leaf_hashes, proof: proof?.flatten() }),
    }
}
