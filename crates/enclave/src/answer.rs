//! Answers: have the source answer a claimed payment, stream what it says, log the receipt, splice it into the last frame.
//!
//! Under `exact` a stream owes the whole signed amount once its first frame was handed over, nothing before; a whole answer is settled
//! before its body goes out (payment.md §6). A job runs in its own task: a client that goes away ends generation, not bookkeeping.
//! The payer chooses the deadline and how much to ask for, so a stream that its time cuts is owed like any other: it ends, with its
//! receipt, in the frame at which the time was over.
//!
//! Crash: a death before the checkpoint is stored has charged nothing (ADR 0005). A death after it leaves calldata with the host and a client
//! whose payment is unresolved until its deadline.
//!
//! Not here: where the frames come from (`source`), what the receipt says (`receipt`), how any of it is said in HTTP (`reply`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use candor_engine::chat::{self, Head};
use candor_verify::bytes::Hash32;
use candor_verify::receipt::{Channel, Outcome, seed_from_share};
use candor_verify::time::UnixMs;
use candor_verify::transcript::{TranscriptBuilder, response_commitment, root_of, splice};
use candor_x402::Execution;
use candor_x402::claims::Ending;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::body::{Cut, StreamItem};
use crate::clock;
use crate::kept::{Kept, Place};
use crate::keys::Blinding;
use crate::ledger::{LedgerError, Logged};
use crate::metrics::count;
use crate::pay::Paid;
use crate::quote::Quote;
use crate::receipt::{self, Ids, Made, Sale};
use crate::serving::{Served, Serving};
use crate::settle::Standing;
use crate::source::{End, Question, Turn};

/// Everything a running answer needs.
pub(crate) struct Job {
    serving: Arc<Serving>,
    served: Arc<Served>,
    channel: Channel,
    question: Question,
    sale: Sale,
    transcript_seed: Hash32,
    started_at: UnixMs,
    stop_at: UnixMs,
}

/// How a whole answer ended.
pub(crate) enum Whole {
    /// Made, logged and kept. Where its payment stands decides whether it is handed over.
    Kept { kept: Arc<Kept>, standing: Standing },
    /// The log ended while the calldata was on its way: there is no answer, and it may be charged all the same.
    Lost,
    /// Time was over before the answer was: nothing is handed over, nothing is charged.
    Cut,
    /// No receipt could be stored, or the source failed: nothing is charged.
    NotLogged,
}

impl Job {
    /// A job for a claimed payment, and the execution to give back. The channel is the one that the question came in.
    pub(crate) fn new(serving: Arc<Serving>, channel: Channel, quote: Quote, paid: Paid) -> (Self, Execution) {
        let Paid { payment, claim, candidate } = paid;
        let Quote { request, prompt, served, requirements, .. } = quote;
        let execution = serving.execute(claim);
        let (offer, started_at) = (candidate.offer, clock::now());
        let share = serving.keys().seed_share(&offer.request_commitment);
        let seed = seed_from_share(&share, &payment.authorization().nonce);
        let Blinding { transcript_seed, leaf_salt } = serving.keys().blinding(payment.authorization(), &requirements.domain());
        // Id and time in the frames both follow from the receipt, so that a replay can make the same bytes.
        let id = chat::answer_id(&offer.request_commitment.0);
        let head = Head { id, created: started_at.seconds().0, model: request.model.clone() };
        let sale = Sale {
            manifest_hash: serving.manifest().hash(),
            decoding: receipt::decoding(served.source.engine(), &request, &seed),
            seed_share: request.seed.is_none().then_some(share),
            offer,
            payment,
            leaf_salt,
        };
        let stop_at = execution.stop_at().ms();
        let question = Question { request, prompt, seed, head };
        (Self { serving, served, channel, question, sale, transcript_seed, started_at, stop_at }, execution)
    }

    /// For the response head: known before the first byte.
    pub(crate) fn ids(&self) -> Ids {
        let ignored = self.question.request.ignored.clone();
        Ids { receipt_id: receipt::id(&self.sale.leaf_salt), transcript_seed: self.transcript_seed, ignored }
    }

    /// Waits for a place at the source. `None` if one comes too late: the payment could no longer be settled, so nothing runs.
    async fn turn(&self) -> Option<Turn> {
        let wait = Duration::from_millis(self.stop_at.since(clock::now()));
        let place = tokio::time::timeout(wait, self.serving.place()).await.ok()??;
        let now_ms = clock::now();
        let cap_at = now_ms.saturating_add(self.serving.config().generation_cap_s.saturating_mul(1000));
        let at_stop = if cap_at <= self.stop_at { Outcome::CutByNode } else { Outcome::Aborted };
        (now_ms < self.stop_at).then(|| Turn { place, stop_at: self.stop_at.min(cap_at), at_stop })
    }

    fn generate(&self, turn: Turn, frames: mpsc::Sender<Vec<u8>>) -> JoinHandle<Option<End>> {
        self.served.source.answer(self.question.clone(), turn, frames)
    }

    /// Streams into `body`. `consumed` counts the frames that were taken from the channel, that is handed to the host.
    pub(crate) async fn stream(self, execution: Execution, body: mpsc::Sender<StreamItem>, consumed: Arc<AtomicU64>) {
        let (sender, mut frames) = mpsc::channel(1);
        let Some(turn) = self.turn().await else { return self.cut(execution, &body).await };
        let Turn { stop_at, at_stop, .. } = turn;
        let generating = self.generate(turn, sender);
        let mut transcript = TranscriptBuilder::new(self.transcript_seed);
        let mut leaves = Vec::new();
        let (mut aborted, mut late) = (false, None);
        while let Some(frame) = frames.recv().await {
            // A reader that stands still until the time is over must not hold a core.
            let left = Duration::from_millis(stop_at.since(clock::now()));
            match tokio::time::timeout(left, body.send(Ok(receipt::sse(&frame)))).await {
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
        // Dropping the receiver stops the source at its next frame.
        drop(frames);
        let Some(mut end) = generating.await.ok().flatten() else { return self.cut(execution, &body).await };
        if late.is_some() {
            end = End { last_frame: late, outcome: at_stop, ..end };
        } else if aborted {
            end.outcome = Outcome::Aborted;
        }
        if end.outcome.is_cut() {
            count(&self.serving.metrics().aborted);
        }
        match end.last_frame.clone().filter(|_| !aborted) {
            // A stream whose time was over at its very first frame ends without a receipt: that one frame would be all that is charged for.
            Some(last) if !end.outcome.is_cut() || !leaves.is_empty() => {
                self.finish_stream(execution, end, last, transcript, leaves, body).await;
            }
            Some(_) | None => {
                let taken = usize::try_from(consumed.load(Ordering::Acquire)).unwrap_or(usize::MAX);
                // A client that is still there gets what is on its way.
                let handed = if aborted { taken.min(leaves.len()) } else { leaves.len() };
                self.abort(execution, end, leaves.get(..handed).unwrap_or_default()).await;
                drop(body.send(Err(Cut)).await);
            }
        }
    }

    /// Nothing was answered: nothing is charged.
    async fn cut(&self, execution: Execution, body: &mpsc::Sender<StreamItem>) {
        self.serving.finish(execution, Ending::Forgiven);
        drop(body.send(Err(Cut)).await);
    }

    async fn finish_stream(
        self,
        execution: Execution,
        end: End,
        last: Vec<u8>,
        mut transcript: TranscriptBuilder,
        mut leaves: Vec<Hash32>,
        body: mpsc::Sender<StreamItem>,
    ) {
        leaves.push(transcript.push(&last));
        match self.log(&end, transcript.commitment(), leaves).await {
            Ok(logged) => {
                let member = receipt::member(&receipt::delivery(&self.sale, logged));
                self.serving.finish(execution, Ending::Owed);
                self.watch_settlement();
                // Invariant: no terminal frame before the receipt is under a stored checkpoint; it is, from here.
                if let Some(end) = receipt::end_of_stream(&last, &member) {
                    drop(body.send(Ok(end)).await);
                }
            }
            Err(error) => {
                self.not_logged(execution, error);
                drop(body.send(Err(Cut)).await);
            }
        }
    }

    /// The client went away, or time was over. What was handed is owed and gets a receipt that says so; nothing handed, nothing owed.
    async fn abort(&self, execution: Execution, end: End, handed: &[Hash32]) {
        let frames = u64::try_from(handed.len()).unwrap_or(u64::MAX);
        if frames == 0 {
            // Leaving early must not buy free work without end.
            self.serving.finish(execution, Ending::Wasted);
            return;
        }
        match self.log(&end, response_commitment(frames, &root_of(handed)), handed.to_vec()).await {
            Ok(_) => {
                self.serving.finish(execution, Ending::Owed);
                self.watch_settlement();
            }
            Err(error) => self.not_logged(execution, error),
        }
    }

    /// Without a place in the log nothing is charged, unless the calldata may have left with a checkpoint whose fate is unknown.
    fn not_logged(&self, execution: Execution, error: LedgerError) {
        let ending = match error {
            LedgerError::Unknown => Ending::Owed,
            LedgerError::Full | LedgerError::TooLong | LedgerError::Closed => Ending::Forgiven,
        };
        self.serving.finish(execution, ending);
    }

    /// A whole answer: generate, log, settle, and only then hand over.
    pub(crate) async fn whole(self, execution: Execution, key: Hash32, place: Place) -> Whole {
        // The sender's other end is held here: a whole answer is finished even if its client left, and kept for a retry.
        let (sender, _frames) = mpsc::channel(1);
        let end = match self.turn().await {
            Some(turn) => self.generate(turn, sender).await.ok().flatten(),
            None => None,
        };
        let Some(end) = end else {
            self.serving.finish(execution, Ending::Forgiven);
            return Whole::NotLogged;
        };
        let Some(last) = &end.last_frame else {
            count(&self.serving.metrics().aborted);
            // Asking for more than there is time for must not buy the engine for nothing, again and again.
            self.serving.finish(execution, Ending::Wasted);
            return Whole::Cut;
        };
        let mut transcript = TranscriptBuilder::new(self.transcript_seed);
        let leaves = vec![transcript.push(last)];
        let logged = match self.log(&end, transcript.commitment(), leaves).await {
            Ok(logged) => logged,
            Err(error) => {
                self.not_logged(execution, error);
                return if error == LedgerError::Unknown { Whole::Lost } else { Whole::NotLogged };
            }
        };
        let Some(body) = splice(last, &receipt::member(&receipt::delivery(&self.sale, logged))) else {
            self.serving.finish(execution, Ending::Owed);
            return Whole::NotLogged;
        };
        // Kept before the claim is over: a retry in between finds the one or the other.
        let kept = place.keep(self.kept(key, body));
        self.serving.finish(execution, Ending::Owed);
        let standing = self.serving.settle(&kept).await;
        if let Standing::Pending { .. } = standing {
            self.watch_settlement();
        }
        Whole::Kept { kept, standing }
    }

    fn kept(&self, key: Hash32, body: Vec<u8>) -> Kept {
        Kept {
            key,
            body: body.into(),
            payment_id: self.sale.payment.payment_id(),
            ids: self.ids(),
            valid_before: self.sale.payment.authorization().valid_before,
            chain_id: self.sale.payment.chain_id(),
            outdated: AtomicBool::new(false),
        }
    }

    async fn log(&self, end: &End, response_commitment: Hash32, frame_leaf_hashes: Vec<Hash32>) -> Result<Logged, LedgerError> {
        let made = Made {
            kinds: self.served.source.kinds(),
            channel: self.channel,
            usage_source: end.usage_source,
            outcome: end.outcome,
            usage: end.usage,
            response_commitment,
            started_at: self.started_at,
            finished_at: clock::now(),
            head: self.serving.head(),
        };
        let logged = self.serving.ledger().log(receipt::draft(&self.sale, &made, frame_leaf_hashes)).await?;
        let metrics = self.serving.metrics();
        count(&metrics.receipts);
        metrics.prompt_tokens.fetch_add(end.usage.prompt_tokens.into(), Ordering::Relaxed);
        metrics.completion_tokens.fetch_add(end.usage.completion_tokens.into(), Ordering::Relaxed);
        Ok(logged)
    }

    /// In a task of its own, which holds nothing of the answer.
    fn watch_settlement(&self) {
        let (serving, payment) = (Arc::clone(&self.serving), &self.sale.payment);
        let (id, valid_before) = (payment.payment_id(), payment.authorization().valid_before);
        tokio::spawn(async move { serving.watch(id, valid_before).await });
    }
}
