//! Answers: run the engine for a claimed payment, stream what it says, log the receipt, splice it into the last frame.
//!
//! Under `exact` a stream owes the whole signed amount once its first frame was handed over, nothing before; a whole answer is settled
//! before its body goes out (payment.md §6). A job runs in its own task: a client that goes away ends generation, not bookkeeping.
//! The payer chooses the deadline and how much to ask for, so a stream that its time cuts is owed like any other: it ends, with its
//! receipt, in the frame at which the time was over.
//!
//! Crash: a death before the checkpoint is stored has charged nothing (ADR 0005). A death after it leaves calldata with the host and a client
//! whose payment is unresolved until its deadline.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use candor_engine::chat::{self, Completed, Head};
use candor_engine::{ENGINE, Finish, Options};
use candor_link::{Settlement, SettlementFailure};
use candor_verify::bytes::{Amount, Hash32, to_hex};
use candor_verify::delivery::Delivery;
use candor_verify::receipt::{
    Channel, Decoding, Kinds, Money, Outcome, Receipt, SeedSource, UsageSource, Work, receipt_id, seed_from_share, stop_hash,
};
use candor_verify::transcript::{TranscriptBuilder, response_commitment, root_of, splice};
use candor_x402::claims::{Ending, Execution};
use candor_x402::exact::{Candidate, VerifiedPayment};
use candor_x402::settlement::encode_transfer;
use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::clock;
use crate::http::StreamItem;
use crate::kept::{Kept, Place};
use crate::keys::Blinding;
use crate::ledger::{Draft, LedgerError, Logged};
use crate::metrics::count;
use crate::node::Node;
use crate::pay::Paid;
use crate::quote::Quote;
use crate::settle;

/// Everything a running answer needs.
pub(crate) struct Job {
    node: Arc<Node>,
    quote: Quote,
    payment: VerifiedPayment,
    candidate: Candidate,
    seed: Hash32,
    transcript_seed: Hash32,
    leaf_salt: Hash32,
    started_at: u64,
    stop_at_ms: u64,
}

/// A place at the engine, and until when it may be held: as long as the payment can be settled, and never longer than the node's cap.
struct Turn {
    place: OwnedSemaphorePermit,
    stop_at_ms: u64,
}

/// How an answer ended for the client.
pub(crate) enum Whole {
    /// Settled: body with the receipt in it, and what the chain says.
    Settled { body: Bytes, tx_hash: Hash32 },
    /// Logged, the transfer is not final yet. The answer is kept.
    Pending { tx_hash: Option<Hash32> },
    /// Time was over before the answer was: nothing is handed over, nothing is charged.
    Cut,
    /// The payment is over, and as the host says the transfer did not happen; the answer is not given.
    Failed(SettlementFailure),
    /// No receipt could be stored, or the engine failed: nothing is charged.
    NotLogged,
}

impl Job {
    /// A job for a claimed payment, and the execution to give back.
    pub(crate) fn new(node: Arc<Node>, quote: Quote, paid: Paid) -> (Self, Execution) {
        let Paid { payment, claim, candidate } = paid;
        let execution = node.claims().start(claim);
        let share = node.keys().seed_share(&candidate.offer.request_commitment);
        let Blinding { transcript_seed, leaf_salt } = node.keys().blinding(payment.authorization(), &quote.requirements.domain());
        node.kept.outdate(&payment.payment_id());
        let job = Self {
            seed: seed_from_share(&share, &payment.authorization().nonce),
            transcript_seed,
            leaf_salt,
            started_at: clock::now_ms(),
            stop_at_ms: execution.stop_at_seconds().saturating_mul(1000),
            node,
            quote,
            payment,
            candidate,
        };
        (job, execution)
    }

    /// Id under which the receipt can be fetched; known before the first byte.
    pub(crate) fn receipt_id(&self) -> String {
        to_hex(&receipt_id(&self.leaf_salt)).trim_start_matches("0x").to_owned()
    }

    /// Blinding seed of the transcript, for the response head.
    pub(crate) fn transcript_seed(&self) -> Hash32 {
        self.transcript_seed
    }

    /// Id and time in the frames: both follow from the receipt, so that a replay can make the same bytes.
    fn head(&self) -> Head {
        Head {
            id: chat::answer_id(&self.candidate.offer.request_commitment.0),
            created: self.started_at / 1000,
            model: self.quote.request.model.clone(),
        }
    }

    /// Waits for a place at the engine. `None` if one comes too late: the payment could no longer be settled, so nothing runs.
    async fn turn(&self) -> Option<Turn> {
        let wait = Duration::from_millis(self.stop_at_ms.saturating_sub(clock::now_ms()));
        let place = tokio::time::timeout(wait, Arc::clone(&self.node.running).acquire_owned()).await.ok()?.ok()?;
        let now_ms = clock::now_ms();
        let cap_ms = self.node.config().generation_cap_s.saturating_mul(1000);
        (now_ms < self.stop_at_ms).then(|| Turn { place, stop_at_ms: self.stop_at_ms.min(now_ms.saturating_add(cap_ms)) })
    }

    /// Runs the engine on its own thread. Frames but the last arrive on the channel; the end is the task's result. The last frame of what
    /// its time cut is the one at which it was over: replayed, the frames are a beginning of the whole answer.
    fn generate(&self, turn: Turn, frames: mpsc::Sender<Vec<u8>>) -> tokio::task::JoinHandle<Option<Completed>> {
        let (request, prompt, model) = (self.quote.request.clone(), self.quote.prompt.clone(), Arc::clone(&self.quote.served.model));
        let (head, seed) = (self.head(), self.seed.0);
        tokio::task::spawn_blocking(move || {
            let Turn { place: _place, stop_at_ms } = turn;
            let mut cut = None;
            let completed = chat::answer(&model, &request, &prompt, seed, &head, &Options::default(), &mut |frame| {
                if stop_at_ms <= clock::now_ms() {
                    // An empty frame is a heartbeat: of a whole answer, or of a token without text.
                    cut = (!frame.is_empty()).then(|| frame.to_vec());
                    return ControlFlow::Break(());
                }
                let gone = if frame.is_empty() { frames.is_closed() } else { frames.blocking_send(frame.to_vec()).is_err() };
                if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            completed.ok().map(|completed| Completed { last_frame: completed.last_frame.or(cut), ..completed })
        })
    }

    /// Streams into `body`. `consumed` counts the frames that were taken from the channel, that is handed to the host.
    pub(crate) async fn stream(self, execution: Execution, body: mpsc::Sender<StreamItem>, consumed: Arc<AtomicU64>) {
        let (sender, mut frames) = mpsc::channel(1);
        let Some(turn) = self.turn().await else { return self.cut(execution, Ending::Forgiven, &body).await };
        let stop_at_ms = turn.stop_at_ms;
        let engine = self.generate(turn, sender);
        let mut transcript = TranscriptBuilder::new(self.transcript_seed);
        let mut leaves = Vec::new();
        let (mut aborted, mut late) = (false, None);
        while let Some(frame) = frames.recv().await {
            // A reader that stands still until the time is over must not hold a core.
            let left = Duration::from_millis(stop_at_ms.saturating_sub(clock::now_ms()));
            match tokio::time::timeout(left, body.send(Ok(sse(&frame)))).await {
                Ok(Ok(())) => leaves.push(transcript.push(&frame)),
                Ok(Err(_)) => {
                    aborted = true;
                    break;
                }
                Err(_) => {
                    late = Some(frame);
                    break;
                }
            }
        }
        // Dropping the receiver stops the engine at its next frame.
        drop(frames);
        let Some(mut completed) = engine.await.ok().flatten() else { return self.cut(execution, Ending::Forgiven, &body).await };
        if late.is_some() {
            completed = Completed { last_frame: late, finish: Finish::Cancelled, ..completed };
        }
        if completed.finish == Finish::Cancelled {
            count(&self.node.metrics.aborted);
        }
        match completed.last_frame.clone().filter(|_| !aborted) {
            // A receipt in the first of all frames would be an answer for nothing handed over before.
            Some(last) if completed.finish != Finish::Cancelled || !leaves.is_empty() => {
                self.finish_stream(execution, completed, last, transcript, leaves, body).await;
            }
            Some(_) | None => {
                let taken = usize::try_from(consumed.load(Ordering::Acquire)).unwrap_or(usize::MAX);
                // Whoever is still there gets what is on its way.
                let handed = if aborted { taken.min(leaves.len()) } else { leaves.len() };
                self.abort(execution, &completed, leaves.get(..handed).unwrap_or_default()).await;
                drop(body.send(Err(crate::http::Cut)).await);
            }
        }
    }

    async fn cut(&self, execution: Execution, ending: Ending, body: &mpsc::Sender<StreamItem>) {
        self.node.claims().finish(execution, ending);
        drop(body.send(Err(crate::http::Cut)).await);
    }

    async fn finish_stream(
        self,
        execution: Execution,
        completed: Completed,
        last: Vec<u8>,
        mut transcript: TranscriptBuilder,
        mut leaves: Vec<Hash32>,
        body: mpsc::Sender<StreamItem>,
    ) {
        leaves.push(transcript.push(&last));
        let draft = self.draft(&completed, transcript.commitment(), leaves);
        match self.log(draft, &completed).await {
            Ok(logged) => {
                let delivery = self.delivery(&logged);
                self.node.claims().finish(execution, Ending::Owed);
                self.watch_settlement();
                // Invariant: no terminal frame before the receipt is under a stored checkpoint; it is, from here.
                if let Some(end) = end_of_stream(&last, &self.member(&delivery)) {
                    drop(body.send(Ok(end)).await);
                }
            }
            Err(error) => {
                self.not_logged(execution, error);
                drop(body.send(Err(crate::http::Cut)).await);
            }
        }
    }

    /// The client went away, or time was over. What was handed is owed and gets a receipt that says so; nothing handed, nothing owed.
    async fn abort(self, execution: Execution, completed: &Completed, handed: &[Hash32]) {
        let frames = u64::try_from(handed.len()).unwrap_or(u64::MAX);
        if frames == 0 {
            // Leaving early must not buy free work without end.
            self.node.claims().finish(execution, Ending::Wasted);
            return;
        }
        let cancelled = Completed { last_frame: None, finish: Finish::Cancelled, usage: completed.usage };
        let draft = self.draft(&cancelled, response_commitment(frames, &root_of(handed)), handed.to_vec());
        match self.log(draft, &cancelled).await {
            Ok(_) => {
                self.node.claims().finish(execution, Ending::Owed);
                self.watch_settlement();
            }
            Err(error) => self.not_logged(execution, error),
        }
    }

    /// Without a place in the log nothing is charged, unless the calldata may have left with a checkpoint whose fate is unknown.
    fn not_logged(&self, execution: Execution, error: LedgerError) {
        match error {
            LedgerError::Unknown => self.node.claims().finish(execution, Ending::Owed),
            LedgerError::Full | LedgerError::TooLong | LedgerError::Closed => self.forgive(execution),
        }
    }

    fn forgive(&self, execution: Execution) {
        self.node.claims().finish(execution, Ending::Forgiven);
    }

    /// A whole answer: generate, log, settle, and only then hand over.
    pub(crate) async fn whole(self, execution: Execution, key: Hash32, place: Place) -> Whole {
        // The sender's other end is held here: a whole answer is finished even if its client left, and kept for a retry.
        let (sender, _frames) = mpsc::channel(1);
        let completed = match self.turn().await {
            Some(turn) => self.generate(turn, sender).await.ok().flatten(),
            None => None,
        };
        let Some(completed) = completed else {
            self.forgive(execution);
            return Whole::NotLogged;
        };
        let Some(last) = completed.last_frame.clone() else {
            count(&self.node.metrics.aborted);
            // Asking for more than there is time for must not buy the engine for nothing, again and again.
            self.node.claims().finish(execution, Ending::Wasted);
            return Whole::Cut;
        };
        let mut transcript = TranscriptBuilder::new(self.transcript_seed);
        let leaves = vec![transcript.push(&last)];
        let draft = self.draft(&completed, transcript.commitment(), leaves);
        let logged = match self.log(draft, &completed).await {
            Ok(logged) => logged,
            Err(error) => {
                self.not_logged(execution, error);
                return if error == LedgerError::Unknown { Whole::Pending { tx_hash: None } } else { Whole::NotLogged };
            }
        };
        let delivery = self.delivery(&logged);
        let Some(body) = splice(&last, &self.member(&delivery)) else {
            self.node.claims().finish(execution, Ending::Owed);
            return Whole::NotLogged;
        };
        let kept = Kept {
            key,
            body: body.into(),
            payment_id: self.payment.payment_id(),
            receipt_id: self.receipt_id(),
            transcript_seed: self.transcript_seed,
            valid_before_s: self.payment.authorization().valid_before,
            chain_id: self.payment.chain_id(),
            outdated: Arc::default(),
        };
        // Kept before the claim is over: a retry in between finds the one or the other.
        place.keep(kept.clone());
        self.node.claims().finish(execution, Ending::Owed);
        let ended = settle::settle(&self.node, &kept).await;
        if let Whole::Pending { .. } = ended {
            self.watch_settlement();
        }
        ended
    }

    fn decoding(&self) -> Decoding {
        let request = &self.quote.request;
        let decoding = request.decoding(self.seed.0);
        Decoding {
            engine: ENGINE.to_owned(),
            seed: Hash32(decoding.seed),
            seed_source: if request.seed.is_some() { SeedSource::Request } else { SeedSource::ServerAndPayment },
            temperature_e6: request.temperature_e6,
            top_p_e6: request.top_p_e6,
            top_k: request.top_k,
            max_tokens: request.max_tokens,
            stop_hash: stop_hash(&request.stop),
        }
    }

    fn draft(&self, completed: &Completed, response: Hash32, frame_leaf_hashes: Vec<Hash32>) -> Draft {
        let (offer, authorization) = (&self.candidate.offer, self.payment.authorization());
        let head = self.node.head();
        let outcome = match completed.finish {
            Finish::Stop => Outcome::Complete,
            Finish::Length => Outcome::Length,
            Finish::Cancelled => Outcome::AbortedByClient,
        };
        let receipt = Receipt {
            manifest_hash: self.node.manifest().hash(),
            log_id: Hash32::ZERO,
            sequence: 0,
            money: Money {
                payment_id: self.payment.payment_id(),
                scheme: offer.scheme,
                payer: authorization.from,
                payee: authorization.to,
                asset: offer.asset,
                chain_id: offer.chain_id,
                settler: offer.settler,
                max_amount: authorization.value,
                charged: authorization.value,
                cumulative_before: Amount::ZERO,
                cumulative_after: Amount::ZERO,
                offer_digest: offer.digest(),
            },
            work: Work {
                kinds: Kinds::LOCAL.and(Kinds::REEXEC),
                channel: Channel::Tls,
                usage_source: UsageSource::Counted,
                outcome,
                model_id: offer.model_id,
                request_commitment: offer.request_commitment,
                response_commitment: response,
                decoding_hash: self.decoding().struct_hash(),
                prompt_tokens: completed.usage.prompt_tokens.into(),
                completion_tokens: completed.usage.completion_tokens.into(),
                started_at: self.started_at,
                finished_at: clock::now_ms().max(self.started_at),
                block_number: head.number,
                block_hash: head.hash,
            },
        };
        Draft { settlement: self.settlement(), receipt, leaf_salt: self.leaf_salt, frame_leaf_hashes }
    }

    /// The payer's signature leaves the enclave here, as finished calldata, and only beside the checkpoint that covers the receipt.
    fn settlement(&self) -> Settlement {
        let authorization = self.payment.authorization();
        Settlement {
            payment_id: self.payment.payment_id(),
            chain_id: self.payment.chain_id(),
            to: self.payment.asset(),
            calldata: encode_transfer(authorization, self.payment.signature()).0,
            payer: authorization.from,
            payee: authorization.to,
            asset: self.payment.asset(),
            amount: authorization.value,
            nonce: authorization.nonce,
            valid_before_s: authorization.valid_before,
            sequence: 0,
        }
    }

    async fn log(&self, draft: Draft, completed: &Completed) -> Result<Logged, LedgerError> {
        let logged = self.node.ledger().log(draft).await?;
        let metrics = &self.node.metrics;
        count(&metrics.receipts);
        metrics.prompt_tokens.fetch_add(completed.usage.prompt_tokens.into(), Ordering::Relaxed);
        metrics.completion_tokens.fetch_add(completed.usage.completion_tokens.into(), Ordering::Relaxed);
        Ok(logged)
    }

    fn delivery(&self, logged: &Logged) -> Delivery {
        let share = self.node.keys().seed_share(&self.candidate.offer.request_commitment);
        Delivery {
            receipt: logged.receipt.clone(),
            signature: logged.signature,
            leaf_salt: self.leaf_salt,
            decoding: self.decoding(),
            seed_share: self.quote.request.seed.is_none().then_some(share),
            checkpoint: logged.checkpoint.clone(),
            inclusion: logged.inclusion.clone(),
            earlier_anchor: logged.earlier_anchor.clone(),
        }
    }

    /// Inside of the spliced member: hex and base64 only, so that readers can cut it out as bytes.
    fn member(&self, delivery: &Delivery) -> Vec<u8> {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(delivery.encode());
        format!(r#""receipt_id":"{}","delivery":"{encoded}""#, self.receipt_id()).into_bytes()
    }

    /// In a task of its own, which holds nothing of the answer.
    fn watch_settlement(&self) {
        let (node, id, valid_before_s) = (Arc::clone(&self.node), self.payment.payment_id(), self.payment.authorization().valid_before);
        tokio::spawn(async move { settle::watch(&node, id, valid_before_s).await });
    }
}

/// One SSE event. The value has no line break: it is JSON without white space.
fn sse(value: &[u8]) -> Bytes {
    [b"data: ".as_slice(), value, b"\n\n"].concat().into()
}

/// The last frame with the member in it, the member once more as a comment for SDKs that drop what they do not know, and the end mark.
/// Spec: transcript.md §3.
fn end_of_stream(last: &[u8], member: &[u8]) -> Option<Bytes> {
    let frame = sse(&splice(last, member)?);
    Some([&frame, b": candor {".as_slice(), member, b"}\n\ndata: [DONE]\n\n"].concat().into())
}

#[cfg(test)]
mod tests {
    use candor_verify::transcript::unsplice;

    use super::*;

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
