//! Receipts: from an answer that ended to what is signed, what is settled, and what its client is handed.
//!
//! Pure functions. Whatever a receipt says is an input; the three facts that differ by connection and by source have names of their own
//! (channel, kinds, usage source). Spec: receipt.md, transcript.md §3. Not here: the place in the log and the signature (`ledger`).

use std::collections::BTreeSet;
use std::sync::Arc;

use candor_engine::Usage;
use candor_engine::chat::ChatRequest;
use candor_link::BlockHead;
use candor_verify::bytes::{Address, Amount, Hash32, to_hex};
use candor_verify::decoding::{Decoding, SeedSource, stop_hash};
use candor_verify::delivery::Delivery;
use candor_verify::offer::Offer;
use candor_verify::receipt::{Channel, Kinds, Money, Outcome, Unplaced, UsageSource, Work, receipt_id};
use candor_verify::terms::Classes;
use candor_verify::time::UnixMs;
use candor_verify::transcript::splice;
use candor_x402::VerifiedPayment;
use hyper::body::Bytes;

use crate::kept::Unsealed;
use crate::ledger::{Draft, Logged, Settle};

/// What a client is told of its receipt before the first byte of the answer.
pub(crate) struct Ids {
    /// Under which the receipt can be fetched, in hex.
    pub(crate) receipt_id: String,
    /// Blinds the transcript.
    pub(crate) transcript_seed: Hash32,
    /// Fields of the request that changed nothing.
    pub(crate) ignored: BTreeSet<String>,
}

/// What was agreed for one answer: known before it is made.
pub(crate) struct Agreed {
    pub(crate) manifest_hash: Hash32,
    pub(crate) anchor_chain_id: u64,
    pub(crate) model_id: Hash32,
    pub(crate) request_commitment: Hash32,
    /// Salt of `request_commitment`.
    pub(crate) request_salt: Hash32,
    pub(crate) made_for: For,
    pub(crate) decoding: Decoding,
    /// The server's share of the seed, which the delivery opens; `None` if the request named the seed.
    pub(crate) seed_share: Option<Hash32>,
    pub(crate) leaf_salt: Hash32,
    /// If the answer is to be public.
    pub(crate) public: Option<Publicly>,
}

/// What an answer is made for.
pub(crate) enum For {
    Payment(Box<Sold>),
    /// Nobody pays. The delivery tells the salt of the request: there may have been no 402.
    Nothing {
        payee: Address,
        anchor_chain_id: u64,
    },
}

/// The offer, and the payment that answers it.
#[derive(Clone)]
pub(crate) struct Sold {
    pub(crate) offer: Offer,
    pub(crate) payment: VerifiedPayment,
    /// What the work is metered by.
    pub(crate) classes: Classes,
    /// `SettlerFactory` of the payment's chain.
    pub(crate) factory: Address,
    /// K_sig.
    pub(crate) k_sig: Address,
}

/// What a public answer is for and to: known before it is made. Spec: transcript.md §4.
#[derive(Clone, Copy)]
pub(crate) struct Publicly {
    /// The task that its request names, or zero.
    pub(crate) task_hash: Hash32,
    pub(crate) question_hash: Hash32,
}

/// How one answer was made and how it ended.
pub(crate) struct Made {
    pub(crate) kinds: Kinds,
    pub(crate) channel: Channel,
    pub(crate) usage_source: UsageSource,
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
    /// Commitment to the transcript.
    pub(crate) response_commitment: Hash32,
    /// Of the text, if the answer is public.
    pub(crate) answer_hash: Option<Hash32>,
    pub(crate) started_at: UnixMs,
    pub(crate) finished_at: UnixMs,
    pub(crate) head: BlockHead,
}

/// The receipt without its place, the settlement that goes with it if somebody pays, and the answer if it is to be kept.
pub(crate) fn draft(agreed: &Agreed, made: &Made, frame_leaf_hashes: Vec<Hash32>, unsealed: Option<Unsealed>) -> Draft {
    let (money, settle) = match &agreed.made_for {
        For::Payment(sold) => (money(sold, made.usage), Some(settle(sold))),
        // Its payment id is that of its place in the log, and is written there (`Unplaced::placed`).
        For::Nothing { payee, anchor_chain_id } => (Money::unpaid(*anchor_chain_id, *payee, &Hash32::ZERO, 0), None),
    };
    let Agreed { manifest_hash, anchor_chain_id, .. } = *agreed;
    let receipt = Unplaced { manifest_hash, anchor_chain_id, money, work: work(agreed, made) };
    Draft { receipt, leaf_salt: agreed.leaf_salt, frame_leaf_hashes, settle, unsealed }
}

/// How tokens are chosen by this engine for this request. `drawn` says who drew the server's seed, which is used if the request names none.
pub(crate) fn decoding(engine: &str, request: &ChatRequest, server_seed: &Hash32, drawn: SeedSource) -> Decoding {
    let chosen = request.decoding(server_seed.0);
    Decoding {
        engine: engine.to_owned(),
        seed: Hash32(chosen.seed),
        seed_source: if request.seed.is_some() { SeedSource::Request } else { drawn },
        temperature_e6: request.temperature_e6,
        top_p_e6: request.top_p_e6,
        top_k: request.top_k,
        max_tokens: request.max_tokens,
        stop_hash: stop_hash(&request.stop),
    }
}

fn money(sold: &Sold, usage: Usage) -> Money {
    let Sold { offer, payment, classes, .. } = sold;
    let authorization = payment.authorization();
    // What is more than any amount is more than what was signed.
    let metered = classes.amount(usage.prompt_tokens.into(), usage.completion_tokens.into()).unwrap_or(Amount(u128::MAX));
    Money {
        payment_id: payment.payment_id(),
        scheme: offer.scheme,
        payer: authorization.from,
        payee: authorization.to,
        asset: offer.asset,
        chain_id: offer.chain_id,
        settler: offer.settler,
        max_amount: authorization.value,
        charged: offer.scheme.charge(authorization.value, metered),
        cumulative_before: Amount::ZERO,
        cumulative_after: Amount::ZERO,
        offer_digest: offer.digest(),
    }
}

fn work(agreed: &Agreed, made: &Made) -> Work {
    // Without a text the three stay zero: no contract can read what is not there, and the receipt says so.
    let (public, answer_hash) = agreed.public.zip(made.answer_hash).unzip();
    Work {
        kinds: made.kinds,
        channel: made.channel,
        usage_source: made.usage_source,
        outcome: made.outcome,
        model_id: agreed.model_id,
        request_commitment: agreed.request_commitment,
        response_commitment: made.response_commitment,
        decoding_hash: agreed.decoding.struct_hash(),
        prompt_tokens: made.usage.prompt_tokens.into(),
        completion_tokens: made.usage.completion_tokens.into(),
        started_at: made.started_at,
        // By a clock that may have been set back meanwhile.
        finished_at: made.finished_at.max(made.started_at),
        block_number: made.head.number,
        block_hash: made.head.hash,
        // LOCAL work has no source.
        source_hash: Hash32::ZERO,
        task_hash: public.map(|public| public.task_hash).unwrap_or_default(),
        question_hash: public.map(|public| public.question_hash).unwrap_or_default(),
        answer_hash: answer_hash.unwrap_or_default(),
    }
}

/// The payer's signature leaves the enclave by this, as finished calldata, and only beside the checkpoint that covers the receipt.
fn settle(sold: &Sold) -> Settle {
    let Sold { payment, factory, k_sig, .. } = sold.clone();
    Arc::new(move |receipt, signature| payment.settlement(receipt, signature, (&factory, &k_sig)))
}

/// The receipt in its place, with everything that its client needs to check it at once.
pub(crate) fn delivery(agreed: &Agreed, logged: Logged) -> Delivery {
    Delivery {
        receipt: logged.receipt,
        signature: logged.signature,
        leaf_salt: agreed.leaf_salt,
        decoding: agreed.decoding.clone(),
        seed_share: agreed.seed_share,
        source: None,
        request_salt: match agreed.made_for {
            For::Payment(_) => None,
            For::Nothing { .. } => Some(agreed.request_salt),
        },
        checkpoint: logged.checkpoint,
        inclusion: logged.inclusion,
        earlier_anchor: logged.earlier_anchor,
    }
}

/// Under which a receipt can be fetched, in hex.
pub(crate) fn id(leaf_salt: &Hash32) -> String {
    to_hex(&receipt_id(leaf_salt)).trim_start_matches("0x").to_owned()
}

/// Inside of the spliced member: hex and base64 only, so that readers can cut it out as bytes.
pub(crate) fn member(delivery: &Delivery) -> Vec<u8> {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(delivery.encode());
    format!(r#""receipt_id":"{}","delivery":"{encoded}""#, id(&delivery.leaf_salt)).into_bytes()
}

/// One SSE event per value. A value has no line break: it is JSON without white space.
pub(crate) fn sse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    values.into_iter().flat_map(|value| [b"data: ".as_slice(), value, b"\n\n".as_slice()]).collect::<Vec<_>>().concat().into()
}

/// The last frame with the member in it, the member once more as a comment for SDKs that drop what they do not know, and the end mark.
/// Spec: transcript.md §3.
pub(crate) fn end_of_stream(last: &[u8], member: &[u8]) -> Option<Bytes> {
    let frame = sse([splice(last, member)?.as_slice()]);
    Some([&frame, b": candor {".as_slice(), member, b"}\n\ndata: [DONE]\n\n"].concat().into())
}

#[cfg(test)]
mod tests {
    use candor_verify::time::UnixSeconds;
    use candor_verify::transcript::unsplice;

    use super::*;

    fn agreed(public: Option<Publicly>) -> Agreed {
        Agreed {
            manifest_hash: Hash32([1; 32]),
            anchor_chain_id: 31337,
            model_id: Hash32([2; 32]),
            request_commitment: Hash32([3; 32]),
            request_salt: Hash32([5; 32]),
            made_for: For::Nothing { payee: Address([4; 20]), anchor_chain_id: 31337 },
            decoding: Decoding {
                engine: "det/1".into(),
                seed: Hash32([6; 32]),
                seed_source: SeedSource::Server,
                temperature_e6: 0,
                top_p_e6: 0,
                top_k: 0,
                max_tokens: 9,
                stop_hash: Hash32::ZERO,
            },
            seed_share: None,
            leaf_salt: Hash32([7; 32]),
            public,
        }
    }

    #[test]
    fn a_receipt_says_of_channel_kinds_and_usage_what_it_is_told() {
        let usage = Usage { prompt_tokens: 7, completion_tokens: 3 };
        let head = BlockHead { chain_id: 31337, number: 11, hash: Hash32([12; 32]), timestamp: UnixSeconds(13) };
        for (channel, kinds, usage_source) in [
            (Channel::Tls, Kinds::LOCAL.and(Kinds::REEXEC), UsageSource::Counted),
            (Channel::Sealed, Kinds::PROXY, UsageSource::UpstreamDeclared),
        ] {
            let made = Made {
                kinds,
                channel,
                usage_source,
                outcome: Outcome::Length,
                usage,
                response_commitment: Hash32([14; 32]),
                answer_hash: Some(Hash32([16; 32])),
                started_at: UnixMs(20),
                // Its clock was set back.
                finished_at: UnixMs(19),
                head,
            };
            let public = Publicly { task_hash: Hash32([17; 32]), question_hash: Hash32([18; 32]) };
            let silent = work(&agreed(None), &made);
            assert!([silent.task_hash, silent.question_hash, silent.answer_hash].iter().all(Hash32::is_zero));
            let work = work(&agreed(Some(public)), &made);
            assert_eq!((work.task_hash, work.question_hash, work.answer_hash), (Hash32([17; 32]), Hash32([18; 32]), Hash32([16; 32])));
            assert_eq!((work.channel, work.kinds, work.usage_source), (channel, kinds, usage_source));
            assert_eq!((work.outcome, work.prompt_tokens, work.completion_tokens), (Outcome::Length, 7, 3));
            assert_eq!((work.started_at, work.finished_at, work.block_number), (UnixMs(20), UnixMs(20), 11));
            assert_eq!((work.model_id, work.request_commitment), (Hash32([2; 32]), Hash32([3; 32])));
            assert_eq!(work.decoding_hash, agreed(None).decoding.struct_hash());
        }
    }

    #[test]
    fn a_stream_ends_with_its_receipt_in_the_last_frame_and_in_a_comment_line() {
        let last = br#"{"choices":[],"usage":{"total_tokens":9}}"#;
        let member = br#""receipt_id":"00","delivery":"AAEC""#;
        let end = end_of_stream(last, member).unwrap();
        let lines: Vec<&[u8]> = end.split(|byte| *byte == b'\n').collect();
        let [frame, b"", comment, b"", b"data: [DONE]", b"", b""] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(unsplice(frame.strip_prefix(b"data: ").unwrap()), Some((last.to_vec(), member.as_slice())));
        let object = comment.strip_prefix(b": candor ").unwrap();
        assert_eq!(object, [b"{".as_slice(), member, b"}"].concat());
        assert_eq!(serde_json::from_slice::<serde_json::Value>(object).unwrap()["delivery"], "AAEC");
        assert_eq!(end_of_stream(b"[1]", member), None);
    }
}
