//! Every message of both directions: reads back as written, has one encoding, and no bytes make the reader panic.

use candor_link::*;
use candor_verify::checkpoint::{COSIGNATURES_MAX, Checkpoint, Cosignature, Ed25519Signature, SignedCheckpoint};
use candor_verify::manifest::Manifest;
use candor_verify::scheme::Scheme;
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::Tree;
use candor_verify::{Address, Amount, Hash32, Signature65};
use proptest::collection::vec;
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = Hash32> {
    any::<[u8; 32]>().prop_map(Hash32)
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address)
}

fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

fn path() -> impl Strategy<Value = Vec<Hash32>> {
    vec(hash(), 0..5)
}

fn tree() -> impl Strategy<Value = Tree> {
    (any::<u64>(), hash()).prop_map(|(size, root)| Tree { size, root })
}

fn head() -> impl Strategy<Value = BlockHead> {
    (any::<u64>(), any::<u64>(), hash(), any::<u64>()).prop_map(|(chain_id, number, hash, timestamp)| BlockHead {
        chain_id,
        number,
        hash,
        timestamp: UnixSeconds(timestamp),
    })
}

fn checkpoint() -> impl Strategy<Value = SignedCheckpoint> {
    let cosignature = (hash(), any::<u64>(), bytes()).prop_map(|(witness, time, signature)| Cosignature {
        witness,
        time: UnixSeconds(time),
        signature: Ed25519Signature(signature),
    });
    (hash(), tree(), any::<u64>(), bytes(), bytes(), vec(cosignature, 0..3)).prop_map(
        |(log_id, tree, timestamp, note, signature, cosignatures)| SignedCheckpoint {
            checkpoint: Checkpoint { log_id, tree, timestamp: UnixMs(timestamp) },
            note_signature: Ed25519Signature(note),
            signature: Signature65(signature),
            cosignatures,
        },
    )
}

fn ready() -> impl Strategy<Value = Ready> {
    (address(), hash(), any::<u64>(), vec(any::<u8>(), 0..100), any::<u8>()).prop_map(|(k_sig, k_log, anchor_chain_id, evidence, byte)| {
        Ready {
            manifest: Manifest { k_sig, k_log, anchor_chain_id, ..Manifest::default() },
            evidence,
            boot_signature: Signature65([byte; 65]),
        }
    })
}

fn refused() -> impl Strategy<Value = Refused> {
    let codes = [
        RefusalCode::Unavailable,
        RefusalCode::StorageFull,
        RefusalCode::Contradiction,
        RefusalCode::Gap,
        RefusalCode::Malformed,
        RefusalCode::WrongPhase,
        RefusalCode::TooMany,
        RefusalCode::TermsRefused,
        RefusalCode::ModelRefused,
        RefusalCode::AttestationFailed,
        RefusalCode::Internal,
    ];
    (prop::sample::select(codes.to_vec()), ".{0,200}").prop_map(|(code, message)| Refused::new(code, message))
}

fn host_request() -> impl Strategy<Value = HostRequest> {
    let predecessor = (hash(), tree()).prop_map(|(log_id, tree)| Predecessor { log_id, tree });
    let boot = (vec(any::<u8>(), 0..300), head(), prop::option::of(predecessor))
        .prop_map(|(signed_terms, head, predecessor)| HostRequest::Boot(Box::new(BootRequest { signed_terms, head, predecessor })));
    let part = (hash(), 0..u64::MAX / 2, any::<u32>(), vec(any::<u8>(), 1..300)).prop_map(|(digest, offset, more, bytes)| {
        let total = offset + bytes.len() as u64 + u64::from(more);
        HostRequest::ModelPart(ModelPart { digest, offset, total, bytes })
    });
    let attest = (hash(), head()).prop_map(|(nonce, head)| HostRequest::Attest { nonce, head });
    prop_oneof![
        boot,
        part,
        attest,
        Just(HostRequest::Start),
        Just(HostRequest::Ping),
        Just(HostRequest::Metrics),
        vec(any::<u8>(), 0..64).prop_map(|signed| HostRequest::PutPriceList { signed }),
        vec(address(), 0..5).prop_map(|payers| HostRequest::DenyPayers { payers }),
        Just(HostRequest::StopSelling),
        Just(HostRequest::HandOver),
        Just(HostRequest::TakeOver)
    ]
}

fn proof() -> impl Strategy<Value = AnchoredProof> {
    (checkpoint(), path(), prop::option::of(tree()), path()).prop_map(|(checkpoint, inclusion, anchored, consistency)| AnchoredProof {
        checkpoint,
        inclusion,
        anchored,
        consistency,
    })
}

fn settlement_state() -> impl Strategy<Value = SettlementState> {
    let failures = [
        SettlementFailure::Expired,
        SettlementFailure::NonceUsed,
        SettlementFailure::SimulationFailed,
        SettlementFailure::TransactionFailed,
        SettlementFailure::TransferMismatch,
        SettlementFailure::Unknown,
    ];
    prop_oneof![
        (hash(), any::<u64>(), any::<bool>()).prop_map(|(tx_hash, block_number, by_third_party)| SettlementState::Settled {
            tx_hash,
            block_number,
            by_third_party
        }),
        prop::option::of(hash()).prop_map(|tx_hash| SettlementState::Pending { tx_hash }),
        prop::sample::select(failures.to_vec()).prop_map(|code| SettlementState::Failed { code }),
    ]
}

fn host_reply() -> impl Strategy<Value = HostReply> {
    let funds = (any::<u128>(), any::<u128>(), prop::option::of(any::<u64>()));
    let seen = (any::<bool>(), any::<bool>());
    let payer = (any::<bool>(), funds, seen).prop_map(|(asset_has_code, (balance, allowance, permit_nonce), (nonce_used, passes))| {
        let (balance, allowance) = (Amount(balance), Amount(allowance));
        HostReply::PayerState(PayerState { asset_has_code, balance, allowance, permit_nonce, nonce_used, passes })
    });
    let stored = (any::<u64>(), any::<u64>(), vec(path(), 0..4), prop::option::of(tree()), path()).prop_map(
        |(size, first_index, inclusions, anchored, consistency)| {
            HostReply::CheckpointStored(CheckpointStored { size, first_index, inclusions, anchored, consistency })
        },
    );
    let receipt = (bytes(), bytes(), hash(), path(), prop::option::of(proof())).prop_map(
        |(receipt, signature, leaf_data, frame_leaf_hashes, proof)| {
            Box::new(StoredReceipt { receipt, signature: Signature65(signature), leaf_data, frame_leaf_hashes, proof })
        },
    );
    prop_oneof![
        head().prop_map(HostReply::Head),
        payer,
        any::<u64>().prop_map(|size| HostReply::Appended { size }),
        stored,
        settlement_state().prop_map(HostReply::Settlement),
        prop::option::of(receipt).prop_map(HostReply::Receipt),
        (tree(), any::<u64>()).prop_map(|(durable, checkpointed)| HostReply::LogState(LogState { durable, checkpointed })),
        any::<u64>().prop_map(|size| HostReply::AnswerStored { size }),
        answer_page().prop_map(HostReply::Answer),
        Just(HostReply::AnswerErased),
        prop::option::of(vec(any::<u8>(), 0..100)).prop_map(HostReply::Evidence),
        Just(HostReply::UpstreamOpened),
        refused().prop_map(HostReply::Refused),
    ]
}

fn answer_page() -> impl Strategy<Value = AnswerPage> {
    let piece = (vec(any::<u8>(), 1..100), 0..1000_u64)
        .prop_map(|(bytes, more)| AnswerPiece { total: u64::try_from(bytes.len()).unwrap() + more, bytes });
    (any::<u64>(), prop::option::of(piece)).prop_map(|(room, piece)| AnswerPage { room, piece })
}

fn answer_part() -> impl Strategy<Value = AnswerPart> {
    (hash(), 0..1000_u64, vec(any::<u8>(), 1..100), 0..1000_u64).prop_map(|(answer_id, offset, bytes, more)| AnswerPart {
        answer_id,
        offset,
        total: offset + u64::try_from(bytes.len()).unwrap() + more,
        bytes,
    })
}

fn to_enclave() -> impl Strategy<Value = ToEnclave> {
    prop_oneof![
        (1..=u64::MAX, host_request()).prop_map(|(id, request)| ToEnclave::Request { id, request }),
        (1..=u64::MAX, host_reply()).prop_map(|(id, reply)| ToEnclave::Reply { id, reply }),
        head().prop_map(ToEnclave::HeadUpdate),
    ]
}

fn settlement() -> impl Strategy<Value = Settlement> {
    let answer = (hash(), hash()).prop_map(|(answer_id, sha256)| AnswerRef { answer_id, sha256 });
    let ids = (scheme(), hash(), any::<u64>(), any::<u64>(), prop::option::of(answer));
    (ids, address(), vec(any::<u8>(), 0..300)).prop_map(|((scheme, payment_id, chain_id, sequence, answer), to, calldata)| Settlement {
        scheme,
        payment_id,
        chain_id,
        to,
        calldata,
        sequence,
        answer,
    })
}

/// A scheme by which one answer is paid.
fn scheme() -> impl Strategy<Value = Scheme> {
    prop::sample::select(vec![Scheme::ExactEip3009, Scheme::UptoPermit2])
}

fn enclave_request() -> impl Strategy<Value = EnclaveRequest> {
    let trial = (address(), address(), vec(any::<u8>(), 0..600)).prop_map(|(from, to, calldata)| PayerTrial { from, to, calldata });
    let query = (scheme(), any::<u64>(), (address(), address()), hash(), prop::option::of(trial));
    let query = query.prop_map(|(scheme, chain_id, (asset, payer), nonce, trial)| {
        EnclaveRequest::PayerState(PayerQuery { scheme, chain_id, asset, payer, nonce, trial })
    });
    let entry = (hash(), bytes(), bytes(), bytes(), path()).prop_map(|(leaf_data, receipt_id, receipt, signature, frame_leaf_hashes)| {
        LoggedReceipt { leaf_data, receipt_id, receipt, signature: Signature65(signature), frame_leaf_hashes }
    });
    let append = (0..u64::MAX / 2, vec(entry, 1..4))
        .prop_map(|(first_index, entries)| EnclaveRequest::Append(AppendRequest { first_index, entries }));
    let checkpoint = (any::<u64>(), checkpoint(), vec(settlement(), 0..3)).prop_map(|(first_index, checkpoint, settlements)| {
        EnclaveRequest::Checkpoint(Box::new(CheckpointRequest { first_index, checkpoint, settlements }))
    });
    let wait = (hash(), 0..=MAX_AWAIT_MS).prop_map(|(payment_id, timeout_ms)| EnclaveRequest::AwaitSettlement { payment_id, timeout_ms });
    prop_oneof![
        Just(EnclaveRequest::Head),
        query,
        append,
        checkpoint,
        wait,
        bytes().prop_map(|receipt_id| EnclaveRequest::FetchReceipt { receipt_id }),
        hash().prop_map(|log_id| EnclaveRequest::LogState { log_id }),
        answer_part().prop_map(EnclaveRequest::StoreAnswer),
        (hash(), any::<u64>()).prop_map(|(answer_id, offset)| EnclaveRequest::FetchAnswer { answer_id, offset }),
        hash().prop_map(|answer_id| EnclaveRequest::AckAnswer { answer_id }),
        (hash(), any::<u64>()).prop_map(|(manifest_hash, not_after_ms)| EnclaveRequest::FetchEvidence { manifest_hash, not_after_ms }),
        (bytes(), "[a-z.]{0,40}", any::<u16>()).prop_map(|(pipe, host, port)| EnclaveRequest::OpenUpstream(UpstreamRequest {
            pipe: Pipe(pipe),
            host,
            port
        })),
    ]
}

/// Any event, with the fields that it has.
fn event() -> impl Strategy<Value = LogEvent> {
    (0..EnclaveEvent::ALL.len(), any::<u64>(), vec(any::<u64>(), MAX_EVENT_INTEGERS), any::<[u8; 32]>()).prop_map(
        |(at, count, mut integers, digest)| {
            let event = EnclaveEvent::ALL[at];
            integers.truncate(event.integers().len());
            LogEvent { event, count, integers, digest: event.digest().map(|_| Hash32(digest)) }
        },
    )
}

fn counts() -> impl Strategy<Value = EnclaveCounts> {
    let tally = (any::<[u64; HISTOGRAM_BOUNDS + 1]>(), any::<u64>()).prop_map(|(buckets, sum)| Tally { buckets, sum });
    (any::<[u64; EnclaveCounter::ALL.len()]>(), proptest::array::uniform3(tally))
        .prop_map(|(counters, histograms)| EnclaveCounts { counters, histograms })
}

fn to_host() -> impl Strategy<Value = ToHost> {
    let reply = prop_oneof![
        Just(EnclaveReply::Done),
        ready().prop_map(|ready| EnclaveReply::Ready(Box::new(ready))),
        vec(any::<u8>(), 0..300).prop_map(EnclaveReply::Evidence),
        counts().prop_map(|counts| EnclaveReply::Metrics(Box::new(counts))),
        any::<bool>().prop_map(|is_idle| EnclaveReply::HandedOver { is_idle }),
        refused().prop_map(EnclaveReply::Refused),
    ];
    let phase =
        prop_oneof![Just(Phase::AwaitingTerms), Just(Phase::AwaitingModels), ready().prop_map(|ready| Phase::Ready(Box::new(ready)))];
    prop_oneof![
        phase.prop_map(ToHost::Welcome),
        event().prop_map(ToHost::Log),
        (1..=u64::MAX, enclave_request()).prop_map(|(id, request)| ToHost::Request { id, request }),
        (1..=u64::MAX, reply).prop_map(|(id, reply)| ToHost::Reply { id, reply }),
    ]
}

fn payload(framed: Vec<u8>) -> Vec<u8> {
    let mut decoder = FrameDecoder::new();
    decoder.push(&framed);
    let payload = decoder.next_frame().unwrap().unwrap();
    assert!(decoder.is_at_boundary());
    payload
}

proptest! {
    #[test]
    fn a_frame_to_the_enclave_reads_back_as_written(frame in to_enclave()) {
        prop_assert_eq!(ToEnclave::parse(&payload(frame.encode().unwrap())), Ok(frame));
    }

    #[test]
    fn a_frame_to_the_host_reads_back_as_written(frame in to_host()) {
        prop_assert_eq!(ToHost::parse(&payload(frame.encode().unwrap())), Ok(frame));
    }

    #[test]
    fn what_is_read_has_one_encoding(frame in to_host(), other in to_enclave(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = payload(frame.encode().unwrap());
        let position = at.index(bytes.len());
        bytes[position] ^= 1 << bit;
        if let Ok(changed) = ToHost::parse(&bytes) {
            prop_assert_eq!(payload(changed.encode().unwrap()), bytes);
        }
        let mut bytes = payload(other.encode().unwrap());
        let position = at.index(bytes.len());
        bytes[position] ^= 1 << bit;
        if let Ok(changed) = ToEnclave::parse(&bytes) {
            prop_assert_eq!(payload(changed.encode().unwrap()), bytes);
        }
    }

    #[test]
    fn trailing_and_missing_bytes_are_rejected(frame in to_host(), other in to_enclave(), cut in any::<prop::sample::Index>()) {
        for (bytes, is_for_host) in [(payload(frame.encode().unwrap()), true), (payload(other.encode().unwrap()), false)] {
            let refused = |bytes: &[u8]| if is_for_host { ToHost::parse(bytes).is_err() } else { ToEnclave::parse(bytes).is_err() };
            prop_assert!(refused(&bytes[..cut.index(bytes.len())]));
            prop_assert!(refused(&[&bytes[..], &[0]].concat()));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), kind in 0..80_u8, len in 0..8_u8) {
        let _unread = (ToHost::parse(&bytes), ToEnclave::parse(&bytes));
        let mut near = vec![0x80 | len];
        if 24 <= kind { near.push(0x18); }
        near.extend([kind, 1]);
        near.extend(&bytes);
        let _unread = (ToHost::parse(&near), ToEnclave::parse(&near));
    }
}

#[test]
fn a_kind_of_the_other_direction_is_rejected() {
    let ping = ToEnclave::Request { id: 1, request: HostRequest::Ping };
    assert_eq!(ToHost::parse(&payload(ping.encode().unwrap())), Err(MessageError::Kind { got: 20 }));
    let head = ToHost::Request { id: 1, request: EnclaveRequest::Head };
    assert_eq!(ToEnclave::parse(&payload(head.encode().unwrap())), Err(MessageError::Kind { got: 32 }));
}

#[test]
fn an_id_of_zero_is_rejected_where_an_answer_is_due() {
    let ping = ToEnclave::Request { id: 0, request: HostRequest::Ping };
    assert_eq!(ToEnclave::parse(&payload(ping.encode().unwrap())), Err(MessageError::Field { name: "id" }));
    let done = ToHost::Reply { id: 0, reply: EnclaveReply::Done };
    assert_eq!(ToHost::parse(&payload(done.encode().unwrap())), Err(MessageError::Field { name: "id" }));
}

#[test]
fn a_model_part_beyond_its_model_is_rejected() {
    for (offset, total) in [(0, 2), (u64::MAX, u64::MAX), (1, 3)] {
        let part = ModelPart { digest: Hash32::ZERO, offset, total, bytes: vec![0; 3] };
        let frame = ToEnclave::Request { id: 1, request: HostRequest::ModelPart(part) };
        assert!(matches!(ToEnclave::parse(&payload(frame.encode().unwrap())), Err(MessageError::Field { .. })), "{offset} of {total}");
    }
}

#[test]
fn a_piece_beyond_its_answer_an_empty_one_and_one_of_too_long_an_answer_are_rejected() {
    let limit = u64::try_from(MAX_ANSWER).unwrap();
    let parsed = |offset, total, len| {
        let part = AnswerPart { answer_id: Hash32::ZERO, offset, total, bytes: vec![0; len] };
        let stored = ToHost::Request { id: 1, request: EnclaveRequest::StoreAnswer(part) };
        ToHost::parse(&payload(stored.encode().unwrap())).is_ok()
    };
    assert!(parsed(0, 3, 3) && parsed(limit - 3, limit, 3) && parsed(0, limit, MAX_ANSWER_PART));
    let beyond = [(0, 2, 3), (1, 3, 3), (u64::MAX, u64::MAX, 3), (0, 3, 0), (0, limit + 1, 3), (0, limit, MAX_ANSWER_PART + 1)];
    for (offset, total, len) in beyond {
        assert!(!parsed(offset, total, len), "{offset}, {total}, {len}");
    }
    let page = |total, len| {
        let page = AnswerPage { room: 0, piece: Some(AnswerPiece { total, bytes: vec![0; len] }) };
        let reply = ToEnclave::Reply { id: 1, reply: HostReply::Answer(page) };
        ToEnclave::parse(&payload(reply.encode().unwrap())).is_ok()
    };
    assert_eq!((page(3, 3), page(2, 3), page(3, 0), page(limit + 1, 3)), (true, false, false, false));
}

#[test]
fn terms_and_evidence_are_carried_up_to_their_limits_and_no_further() {
    let boot = |len| {
        let request = BootRequest { signed_terms: vec![0; len], head: BlockHead::default(), predecessor: None };
        let frame = ToEnclave::Request { id: 1, request: HostRequest::Boot(Box::new(request)) };
        ToEnclave::parse(&payload(frame.encode().unwrap())).is_ok()
    };
    assert_eq!((boot(SIGNED_TERMS_MAX), boot(SIGNED_TERMS_MAX + 1)), (true, false));
    let evidence = |len| {
        let frame = ToHost::Reply { id: 1, reply: EnclaveReply::Evidence(vec![0; len]) };
        ToHost::parse(&payload(frame.encode().unwrap())).is_ok()
    };
    assert_eq!((evidence(EVIDENCE_MAX), evidence(EVIDENCE_MAX + 1)), (true, false));
}

#[test]
fn a_checkpoint_with_every_cosignature_that_a_delivery_takes_is_carried() {
    let cosignature = Cosignature { witness: Hash32([1; 32]), time: UnixSeconds(u64::MAX), signature: Ed25519Signature([2; 64]) };
    let carried = |cosignatures| {
        let checkpoint = SignedCheckpoint {
            checkpoint: Checkpoint { log_id: Hash32([3; 32]), tree: Tree { size: 1, root: Hash32([4; 32]) }, timestamp: UnixMs(5) },
            note_signature: Ed25519Signature([6; 64]),
            signature: Signature65([7; 65]),
            cosignatures: vec![cosignature; cosignatures],
        };
        let request = CheckpointRequest { first_index: 0, checkpoint, settlements: vec![] };
        let frame = ToHost::Request { id: 1, request: EnclaveRequest::Checkpoint(Box::new(request)) };
        let bytes = payload(frame.encode().unwrap());
        // What goes around a group leaves room for it.
        assert!(bytes.len() < MAX_FRAME - MAX_GROUP_BYTES);
        ToHost::parse(&bytes) == Ok(frame)
    };
    assert_eq!((carried(COSIGNATURES_MAX), carried(COSIGNATURES_MAX + 1)), (true, false));
}

#[test]
fn an_event_is_one_of_the_list_with_its_fields_and_has_no_room_for_text() {
    let good = LogEvent { event: EnclaveEvent::TermsTaken, count: 1, integers: vec![1, 2], digest: Some(Hash32([7; 32])) };
    assert_eq!(ToHost::parse(&payload(ToHost::Log(good.clone()).encode().unwrap())), Ok(ToHost::Log(good.clone())));
    let short = LogEvent { integers: vec![1], ..good.clone() };
    let long = LogEvent { integers: vec![1, 2, 3], ..good.clone() };
    let longest = LogEvent { integers: vec![1; MAX_EVENT_INTEGERS + 1], ..good.clone() };
    let without = LogEvent { digest: None, ..good.clone() };
    let with = LogEvent { event: EnclaveEvent::EvidenceRenewed, integers: vec![], ..good };
    for event in [short, long, longest, without, with] {
        assert!(ToHost::parse(&payload(ToHost::Log(event.clone()).encode().unwrap())).is_err(), "{event:?}");
    }
    // Of no known number, and with a text in the place of a number.
    for bytes in [&[0x86, 0x03, 0x00, 0x18, 0xff, 0x01, 0x80, 0x80][..], &[0x86, 0x03, 0x00, 0x04, 0x61, b'a', 0x80, 0x80]] {
        assert!(ToHost::parse(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn counts_have_a_value_for_each_place_and_no_more() {
    let counts = |counters: u8, histograms: u8, buckets: u8| {
        let mut bytes = vec![0x84, 0x18, 0x43, 0x01, 0x80 + counters];
        bytes.extend(vec![0; counters.into()]);
        bytes.push(0x80 + histograms);
        for _ in 0..histograms {
            bytes.extend([0x82, 0x80 + buckets]);
            bytes.extend(vec![0; usize::from(buckets) + 1]);
        }
        ToHost::parse(&bytes)
    };
    assert_eq!(counts(11, 3, 9), Ok(ToHost::Reply { id: 1, reply: EnclaveReply::Metrics(Box::default()) }));
    for (counters, histograms, buckets) in [(10, 3, 9), (12, 3, 9), (11, 2, 9), (11, 4, 9), (11, 3, 8), (11, 3, 10)] {
        assert!(counts(counters, histograms, buckets).is_err(), "{counters} {histograms} {buckets}");
    }
}

#[test]
fn a_settlement_of_another_scheme_is_rejected() {
    let settlement = Settlement {
        scheme: Scheme::ExactEip3009,
        payment_id: Hash32([0xab; 32]),
        chain_id: 1,
        to: Address([2; 20]),
        calldata: vec![3],
        sequence: 10,
        answer: None,
    };
    let checkpoint = SignedCheckpoint {
        checkpoint: Checkpoint { log_id: Hash32([1; 32]), tree: Tree { size: 11, root: Hash32([2; 32]) }, timestamp: UnixMs(3) },
        note_signature: Ed25519Signature([4; 64]),
        signature: Signature65([5; 65]),
        cosignatures: vec![],
    };
    let request = CheckpointRequest { first_index: 10, checkpoint, settlements: vec![settlement] };
    let frame = ToHost::Request { id: 1, request: EnclaveRequest::Checkpoint(Box::new(request)) };
    let bytes = payload(frame.encode().unwrap());
    // Seven members, scheme 1, a payment id.
    let at = bytes.windows(4).position(|window| window == [0x87, 0x01, 0x58, 0x20]).unwrap();
    assert_eq!(ToHost::parse(&bytes), Ok(frame));
    for scheme in [0, 2, 4, 5] {
        let mut other = bytes.clone();
        other[at + 1] = scheme;
        assert!(ToHost::parse(&other).is_err(), "{scheme}");
    }
}

#[test]
fn an_empty_append_and_one_past_the_last_index_are_rejected() {
    let entry = LoggedReceipt {
        leaf_data: Hash32::ZERO,
        receipt_id: [0; 16],
        receipt: [0; LoggedReceipt::RECEIPT_LEN],
        signature: Signature65([0; 65]),
        frame_leaf_hashes: vec![],
    };
    for (first_index, entries) in [(0, vec![]), (u64::MAX, vec![entry])] {
        let frame = ToHost::Request { id: 1, request: EnclaveRequest::Append(AppendRequest { first_index, entries }) };
        assert!(matches!(ToHost::parse(&payload(frame.encode().unwrap())), Err(MessageError::Field { .. })));
    }
}

#[test]
fn a_message_longer_than_a_frame_is_not_written() {
    let entry = LoggedReceipt {
        leaf_data: Hash32::ZERO,
        receipt_id: [0; 16],
        receipt: [0; LoggedReceipt::RECEIPT_LEN],
        signature: Signature65([0; 65]),
        frame_leaf_hashes: vec![Hash32::ZERO; MAX_FRAME_HASHES],
    };
    let len = LoggedReceipt::encoded_len_max(MAX_FRAME_HASHES);
    assert!(2 << 20 <= len);
    let fits = MAX_GROUP_BYTES / len;
    let append =
        |n| ToHost::Request { id: 1, request: EnclaveRequest::Append(AppendRequest { first_index: 0, entries: vec![entry.clone(); n] }) };
    assert!(append(fits).encode().is_ok());
    assert!(matches!(append(fits + 1).encode(), Err(FrameError::TooLong { .. })));
}

#[test]
fn a_group_within_its_limit_is_one_frame_whatever_is_in_it() {
    let entry = |frames| LoggedReceipt {
        leaf_data: Hash32([0xff; 32]),
        receipt_id: [0xff; 16],
        receipt: [0xff; LoggedReceipt::RECEIPT_LEN],
        signature: Signature65([0xff; 65]),
        frame_leaf_hashes: vec![Hash32([0xff; 32]); frames],
    };
    let settlement = |calldata| Settlement {
        scheme: Scheme::ExactEip3009,
        payment_id: Hash32([0xff; 32]),
        chain_id: u64::MAX,
        to: Address([0xff; 20]),
        calldata: vec![0xff; calldata],
        sequence: u64::MAX,
        answer: Some(AnswerRef { answer_id: Hash32([0xff; 32]), sha256: Hash32([0xff; 32]) }),
    };
    let checkpoint = || SignedCheckpoint {
        checkpoint: Checkpoint {
            log_id: Hash32([0xff; 32]),
            tree: Tree { size: 1, root: Hash32([0xff; 32]) },
            timestamp: UnixMs(u64::MAX),
        },
        note_signature: Ed25519Signature([0xff; 64]),
        signature: Signature65([0xff; 65]),
        cosignatures: vec![],
    };
    let bytes = |request| ToHost::Request { id: u64::MAX, request }.encode().unwrap().len();
    let append = |entries| bytes(EnclaveRequest::Append(AppendRequest { first_index: 0, entries }));
    let beside = |settlements| {
        bytes(EnclaveRequest::Checkpoint(Box::new(CheckpointRequest { first_index: 0, checkpoint: checkpoint(), settlements })))
    };
    for size in [0, 1, 255, 300, MAX_CALLDATA] {
        assert!(append(vec![entry(size); 2]) - append(vec![entry(size)]) <= LoggedReceipt::encoded_len_max(size));
        assert!(beside(vec![settlement(size)]) - beside(vec![]) <= Settlement::encoded_len_max(size));
        let count = (MAX_GROUP_BYTES / Settlement::encoded_len_max(size)).min(MAX_SETTLEMENTS);
        assert!(beside(vec![settlement(size); count]) <= MAX_FRAME);
    }
}

#[test]
fn calldata_and_receipts_are_never_printed() {
    let settlement = Settlement {
        scheme: Scheme::ExactEip3009,
        payment_id: Hash32::ZERO,
        chain_id: 1,
        to: Address::ZERO,
        calldata: vec![0xab; 40],
        sequence: 0,
        answer: None,
    };
    let text = format!("{settlement:?}");
    assert!(!text.contains("ab") && !text.contains("171"), "{text}");
}

/// The examples of link.md, byte for byte.
#[test]
fn the_examples_of_the_specification_hold() {
    let ping = ToEnclave::Request { id: 7, request: HostRequest::Ping };
    assert_eq!(ping.encode().unwrap(), [0, 0, 0, 3, 0x82, 0x14, 0x07]);
    let done = ToHost::Reply { id: 7, reply: EnclaveReply::Done };
    assert_eq!(done.encode().unwrap(), [0, 0, 0, 4, 0x82, 0x18, 0x40, 0x07]);
    let appended = ToEnclave::Reply { id: 1, reply: HostReply::Appended { size: 12 } };
    assert_eq!(appended.encode().unwrap(), [0, 0, 0, 5, 0x83, 0x18, 0x32, 0x01, 0x0c]);
    let log = LogEvent { event: EnclaveEvent::HostUnavailable, count: 3, integers: vec![], digest: None };
    assert_eq!(ToHost::Log(log).encode().unwrap(), [0, 0, 0, 7, 0x86, 0x03, 0x00, 0x0b, 0x03, 0x80, 0x80]);
    let log = LogEvent { event: EnclaveEvent::ModelTaken, count: 1, integers: vec![16], digest: Some(Hash32([0xab; 32])) };
    let expected = [&[0, 0, 0, 42, 0x86, 0x03, 0x00, 0x02, 0x01, 0x81, 0x10, 0x81, 0x58, 0x20][..], &[0xab; 32]].concat();
    assert_eq!(ToHost::Log(log).encode().unwrap(), expected);
    let welcome = ToHost::Welcome(Phase::AwaitingTerms);
    assert_eq!(welcome.encode().unwrap(), [0, 0, 0, 7, 0x86, 0x02, 0x00, 0x01, 0x40, 0x40, 0x40]);
}
