//! Answers: have the source answer a claimed payment, stream what it says, log the receipt, splice it into the last frame.
//!
//! What nobody pays for goes the same way, and owes nothing at its end. What the guard refuses nobody pays for, whoever wanted to.
//!
//! Under `exact` a stream owes the whole signed amount once its first frame was handed over, nothing before; a whole answer is settled
//! before its body goes out (payment.md §6). A job runs in its own task: a client that goes away ends generation, not bookkeeping.
//! The payer chooses the deadline and how much to ask for, so a stream that its time cuts is owed like any other: it ends, with its
//! receipt, in the frame at which the time was over.
//!
//! Crash: a death before the checkpoint is stored has charged nothing (ADR 0005). A death after it leaves calldata with the host, and beside it
//! the answer of a client that echoed a salt; another has a payment that is unresolved until its deadline, and no answer.
//!
//! Not here: where the frames come from (`source`), what the receipt says (`receipt`), how any of it is said in HTTP (`reply`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use candor_engine::Usage;
use candor_engine::chat::{self, ChatRequest, Head};
use candor_link::{EnclaveCounter, EnclaveEvent};
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::decoding::{SeedSource, seed_from_share, seed_of_server};
use candor_verify::hash::keccak256;
use candor_verify::public::answer_text;
use candor_verify::receipt::{Channel, Kinds, Outcome, Receipt, UsageSource};
use candor_verify::time::UnixMs;
use candor_verify::transcript::{TranscriptBuilder, response_commitment, root_of, splice};
use candor_x402::Execution;
use candor_x402::claims::Ending;
use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::body::{Cut, StreamItem};
use crate::caps::Whom;
use crate::chunks::{self, Chunk, Passed};
use crate::clock;
use crate::guard::{self, Conversation, Judgement};
use crate::kept::Keep;
use crate::keys::{Blinding, Salts};
use crate::ledger::{LedgerError, Logged};
use crate::metrics::Answered;
use crate::pay::Paid;
use crate::queue::{Pays, Place};
use crate::quote::{Counted, Quote};
use crate::receipt::{self, Agreed, For, Ids, Made, Sold};
use crate::reply::Finished;
use crate::serving::{Served, Serving};
use crate::settle::{Standing, Transfer, Wait};
use crate::shares::Share;
use crate::source::{End, MeteredFrame, Question, SourceSlot};

/// Everything a running answer needs.
pub(crate) struct Job {
    serving: Arc<Serving>,
    served: Arc<Served>,
    channel: Channel,
    question: Question,
    agreed: Agreed,
    transcript_seed: Hash32,
    started_at: UnixMs,
    /// When the time is over that the payment gives; never, without one.
    stop_at: UnixMs,
    /// If it was waited for before anything was promised, or had to be judged.
    place: Option<Place>,
    /// When it got one.
    placed_at: Option<UnixMs>,
    /// What the guard has not judged yet.
    guarded: Option<Conversation>,
    /// Whose tokens they are.
    whom: Whom,
    /// If the answer is to be kept: its place is held until its receipt is logged.
    keep: Option<Keep>,
    // Counted by what hands over to another boot.
    _running: Arc<()>,
}

/// The right to have one answer made.
pub(crate) enum Right {
    /// For a claimed payment.
    Paid(Execution),
    /// For nothing, as a share of all such work.
    Free(Share),
}

/// What is made for nothing: a request that was read and counted, and what was waited for.
pub(crate) struct Gift {
    pub(crate) counted: Counted,
    pub(crate) place: Place,
    pub(crate) share: Share,
    pub(crate) salts: Salts,
    pub(crate) whom: Whom,
}

/// What went out of an answer, or is about to.
struct Sent {
    transcript: TranscriptBuilder,
    leaves: Vec<Hash32>,
    /// Tokens of the answer up to and with each frame.
    tokens: Vec<u32>,
    /// When the first frame of a stream went out.
    first_at: Option<UnixMs>,
    /// The frames themselves, if the answer is to be kept, or is public.
    frames: Option<Vec<Vec<u8>>>,
}

impl Sent {
    fn push(&mut self, frame: &[u8], tokens: u32) {
        self.leaves.push(self.transcript.push(frame));
        self.tokens.push(tokens);
        if let Some(frames) = &mut self.frames {
            frames.push(frame.to_vec());
        }
    }

    /// Takes back what was not handed over.
    fn truncate(&mut self, handed: usize) {
        self.leaves.truncate(handed);
        self.tokens.truncate(handed);
        if let Some(frames) = &mut self.frames {
            frames.truncate(handed);
        }
    }
}

/// How a whole answer ended.
pub(crate) enum Whole {
    /// Made and logged. Where its payment stands decides whether it is handed over.
    Finished { finished: Finished, standing: Standing },
    /// The log ended while the calldata was on its way: it may be charged, and only the next boot knows whether the answer is kept.
    Lost,
    /// Time was over before the answer was: nothing is handed over, nothing is charged.
    Cut,
    /// No receipt could be stored, or the source failed: nothing is charged.
    NotLogged,
    /// Made for nothing, and logged: it is handed over as it is.
    Given(Bytes),
    /// The guard refused it, and that is logged: this is handed over in its place, whole though it may be a stream.
    TurnedAway { body: Bytes, is_stream: bool },
}

impl Job {
    /// A job for a claimed payment, and the execution to give back. The channel is the one that the question came in.
    pub(crate) fn paid(serving: Arc<Serving>, channel: Channel, quote: Quote, paid: Paid, keep: Option<Keep>) -> (Self, Right) {
        let Paid { payment, claim, candidate } = paid;
        let payer = Whom::Payer(payment.authorization().from);
        let Quote { counted, classes, .. } = quote;
        let Counted { request, public, prompt, guarded, served, .. } = counted;
        let execution = serving.execute(claim);
        let (offer, request_salt, started_at) = (candidate.offer, candidate.request_salt, clock::now());
        let share = serving.keys().seed_share(&offer.request_commitment);
        let seed = seed_from_share(&share, &payment.authorization().nonce);
        let Blinding { transcript_seed, leaf_salt } = serving.keys().blinding(&payment.signed_digest());
        let head = head_of(&offer.request_commitment, started_at, &request);
        let agreed = Agreed {
            manifest_hash: serving.manifest_hash(),
            anchor_chain_id: serving.manifest().anchor_chain_id,
            model_id: offer.model_id,
            request_commitment: offer.request_commitment,
            request_salt,
            decoding: receipt::decoding(served.source.engine(), &request, &seed, SeedSource::ServerAndPayment),
            seed_share: request.seed.is_none().then_some(share),
            made_for: For::Payment(Box::new(Sold {
                factory: serving.terms().chain(offer.chain_id).settler_factory,
                k_sig: serving.keys().k_sig(),
                offer,
                payment,
                classes,
            })),
            leaf_salt,
            public,
        };
        let (stop_at, whom) = (execution.stop_at().ms(), payer);
        let question = Question { request, prompt, seed, head };
        let (place, _running) = (None, serving.running());
        let job = Self {
            serving,
            served,
            channel,
            question,
            agreed,
            transcript_seed,
            started_at,
            stop_at,
            place,
            placed_at: None,
            guarded,
            whom,
            keep,
            _running,
        };
        (job, Right::Paid(execution))
    }

    /// A job that nobody pays for. Nothing of it is kept: who loses it asks again.
    pub(crate) fn free(serving: Arc<Serving>, channel: Channel, gift: Gift) -> (Self, Right) {
        let Gift { counted, place, share: right, salts, whom } = gift;
        let Counted { request, public, prompt, guarded, served, asked, .. } = counted;
        let Salts { request_salt, blinding: Blinding { transcript_seed, leaf_salt } } = salts;
        let (request_commitment, started_at) = (asked.commitment(&request_salt), clock::now());
        let share = serving.keys().seed_share(&request_commitment);
        let seed = seed_of_server(&share);
        let head = head_of(&request_commitment, started_at, &request);
        let manifest = serving.manifest();
        let agreed = Agreed {
            manifest_hash: serving.manifest_hash(),
            anchor_chain_id: manifest.anchor_chain_id,
            model_id: served.digest,
            request_commitment,
            request_salt,
            decoding: receipt::decoding(served.source.engine(), &request, &seed, SeedSource::Server),
            seed_share: request.seed.is_none().then_some(share),
            made_for: For::Nothing { payee: manifest.payee, anchor_chain_id: manifest.anchor_chain_id },
            leaf_salt,
            public,
        };
        let question = Question { request, prompt, seed, head };
        let (stop_at, place, keep, _running) = (UnixMs(u64::MAX), Some(place), None, serving.running());
        let job = Self {
            serving,
            served,
            channel,
            question,
            agreed,
            transcript_seed,
            started_at,
            stop_at,
            place,
            placed_at: None,
            guarded,
            whom,
            keep,
            _running,
        };
        (job, Right::Free(right))
    }

    fn end(&self, right: Right, ending: Ending) {
        match right {
            Right::Paid(execution) => self.serving.finish(execution, ending),
            // Nothing is owed; there is room for another.
            Right::Free(share) => drop(share),
        }
    }

    fn nothing_sent(&self) -> Sent {
        let transcript = TranscriptBuilder::new(self.transcript_seed);
        let frames = (self.keep.is_some() || self.agreed.public.is_some()).then(Vec::new);
        Sent { transcript, leaves: Vec::new(), tokens: Vec::new(), first_at: None, frames }
    }

    /// What its receipt is paid by, if somebody pays.
    fn transfer(&self) -> Option<Transfer> {
        let For::Payment(sold) = &self.agreed.made_for else { return None };
        let payment = &sold.payment;
        let valid_before = payment.authorization().valid_before;
        Some(Transfer { payment_id: payment.payment_id(), chain_id: payment.chain_id(), valid_before })
    }

    /// For the response head: known before the first byte.
    pub(crate) fn ids(&self) -> Ids {
        let ignored = self.question.request.ignored.clone();
        Ids { receipt_id: receipt::id(&self.agreed.leaf_salt), transcript_seed: self.transcript_seed, ignored }
    }

    /// Has the guard judge the request, if there is one, in the place in which it will be answered. What it refuses is refused here.
    pub(crate) async fn judged(mut self, right: Right) -> Result<(Self, Right), Whole> {
        let Some((guard, conversation)) = self.serving.guard().cloned().zip(self.guarded.take()) else { return Ok((self, right)) };
        let judgement = match self.place().await {
            Some(place) => {
                let (judgement, place) = guard.judge(conversation, place, self.last().min(self.cap_at())).await;
                self.place = place;
                judgement
            }
            None => Judgement::Failed,
        };
        match judgement {
            Judgement::Passes => Ok((self, right)),
            Judgement::Refused => Err(self.turn_away(right).await),
            Judgement::Late => {
                self.end(right, Ending::Wasted);
                Err(Whole::Cut)
            }
            Judgement::Failed => {
                self.serving.port().events().note(EnclaveEvent::AnswerFailed);
                self.end(right, Ending::Forgiven);
                Err(Whole::NotLogged)
            }
        }
    }

    /// Logs that the guard refused, and says so in the form of an answer. Nobody pays for it. The payment that came with it is used up all the
    /// same, and open until it expires: being judged must not be had for nothing, again and again.
    async fn turn_away(mut self, right: Right) -> Whole {
        self.end(right, Ending::Wasted);
        self.serving.metrics().count(EnclaveCounter::RefusedByGuard);
        // Nobody else is to wait for what is only written down now.
        (self.keep, self.place) = (None, None);
        let (request, manifest) = (&self.question.request, self.serving.manifest());
        // Not the share that an offer committed to: who pays for this request yet must not know it beforehand.
        let share = self.serving.keys().seed_share(&self.agreed.leaf_salt);
        self.agreed.decoding = receipt::decoding(self.served.source.engine(), request, &seed_of_server(&share), SeedSource::Server);
        self.agreed.seed_share = request.seed.is_none().then_some(share);
        self.agreed.made_for = For::Nothing { payee: manifest.payee, anchor_chain_id: manifest.anchor_chain_id };
        let usage = Usage { prompt_tokens: u32::try_from(self.question.prompt.tokens()).unwrap_or(u32::MAX), completion_tokens: 0 };
        let mut frames = chat::refusal(request, &self.question.head, guard::REFUSAL, usage);
        let mut sent = self.nothing_sent();
        frames.iter().for_each(|frame| sent.push(frame, 0));
        let (is_stream, commitment) = (request.stream, sent.transcript.commitment());
        let end = End { last_frame: frames.pop(), outcome: Outcome::RefusedByGuard, usage, usage_source: UsageSource::Counted };
        let Ok(logged) = self.log(&end, commitment, sent).await else { return Whole::NotLogged };
        let member = receipt::member(&receipt::delivery(&self.agreed, logged));
        let last = end.last_frame.unwrap_or_default();
        let body = match is_stream {
            true => receipt::end_of_stream(&last, &member).map(|end| [receipt::sse(frames.iter().map(Vec::as_slice)), end].concat()),
            false => splice(&last, &member),
        };
        body.map_or(Whole::NotLogged, |body| Whole::TurnedAway { body: body.into(), is_stream })
    }

    /// From when on nothing may run any more: the payment could no longer be settled, or the terms are over.
    fn last(&self) -> UnixMs {
        self.stop_at.min(self.serving.ends_at())
    }

    /// Waits for a place at the source. `None` if none comes in time.
    async fn place(&mut self) -> Option<Place> {
        let wait = Duration::from_millis(self.last().since(clock::now()));
        let place = match self.place.take() {
            Some(place) => Some(place),
            None => tokio::time::timeout(wait, self.serving.place(Pays::Somebody)).await.ok()?,
        };
        self.placed_at.get_or_insert_with(clock::now);
        place
    }

    /// When the node's cap on the time of one answer, its judging included, is over.
    fn cap_at(&self) -> UnixMs {
        let from = self.placed_at.unwrap_or_else(clock::now);
        from.saturating_add(self.serving.config().generation_cap_s.saturating_mul(1000))
    }

    /// A place at the source, and its time. `None` if it comes too late, so that nothing runs.
    async fn source_slot(&mut self) -> Option<SourceSlot> {
        let (place, last) = (self.place().await?, self.last());
        let now_ms = clock::now();
        // The node's own time: its cap, or the end of its terms, after which no receipt may be.
        let own_at = self.cap_at().min(self.serving.ends_at());
        let at_stop = if own_at <= self.stop_at { Outcome::CutByNode } else { Outcome::Aborted };
        (now_ms < last).then(|| SourceSlot { place, stop_at: self.stop_at.min(own_at), at_stop })
    }

    fn generate(&self, slot: SourceSlot, frames: mpsc::Sender<MeteredFrame>) -> JoinHandle<Option<End>> {
        self.served.source.answer(self.question.clone(), slot, frames)
    }

    /// Streams into `body`. `consumed` counts the frames that it has taken, that is handed to the host.
    pub(crate) async fn stream(mut self, right: Right, body: mpsc::Sender<StreamItem>, consumed: Arc<AtomicU64>) {
        let (sender, mut frames) = chunks::from_engine();
        let Some(slot) = self.source_slot().await else { return self.forgive(right, &body).await };
        let SourceSlot { stop_at, at_stop, .. } = slot;
        let generating = self.generate(slot, sender);
        let mut sent = self.nothing_sent();
        let passed = chunks::pass_on(&mut frames, &body, stop_at, |metered| {
            sent.first_at.get_or_insert_with(clock::now);
            sent.push(&metered.frame, metered.tokens);
        })
        .await;
        // Dropping the receiver stops the source at its next frame.
        drop(frames);
        let Some(mut end) = generating.await.ok().flatten() else { return self.forgive(right, &body).await };
        let aborted = passed == Passed::Gone;
        if let Passed::Late(Some(next)) = passed {
            end.usage.completion_tokens = next.tokens;
            end = End { last_frame: Some(next.frame), outcome: at_stop, ..end };
        } else if aborted {
            end.outcome = Outcome::Aborted;
        }
        if end.outcome.is_cut() {
            self.serving.metrics().count(EnclaveCounter::Aborted);
        }
        match end.last_frame.clone().filter(|_| !aborted) {
            // A stream whose time was over at its very first frame ends without a receipt: that one frame would be all that is charged for.
            Some(last) if !end.outcome.is_cut() || !sent.leaves.is_empty() => {
                self.finish_stream(right, end, last, sent, body).await;
            }
            Some(_) | None => {
                let taken = usize::try_from(consumed.load(Ordering::Acquire)).unwrap_or(usize::MAX);
                // A client that is still there gets what is on its way.
                let handed = if aborted { taken.min(sent.leaves.len()) } else { sent.leaves.len() };
                sent.truncate(handed);
                // The source was ahead of what was handed over; the receipt is about that.
                end.usage.completion_tokens = sent.tokens.last().copied().unwrap_or_default();
                self.abort(right, end, sent).await;
                drop(body.send(Err(Cut)).await);
            }
        }
    }

    /// Nothing was answered: nothing is charged.
    async fn forgive(&self, right: Right, body: &mpsc::Sender<StreamItem>) {
        self.serving.port().events().note(EnclaveEvent::AnswerFailed);
        self.end(right, Ending::Forgiven);
        drop(body.send(Err(Cut)).await);
    }

    async fn finish_stream(self, right: Right, end: End, last: Vec<u8>, mut sent: Sent, body: mpsc::Sender<StreamItem>) {
        sent.push(&last, end.usage.completion_tokens);
        let commitment = sent.transcript.commitment();
        match self.log(&end, commitment, sent).await {
            Ok(logged) => {
                let ending = ending(&logged.receipt);
                let member = receipt::member(&receipt::delivery(&self.agreed, logged));
                self.end(right, ending);
                self.watch_settlement(ending);
                // Invariant: no terminal frame before the receipt is under a stored checkpoint; it is, from here.
                if let Some(bytes) = receipt::end_of_stream(&last, &member) {
                    drop(body.send(Ok(Chunk { bytes, frames: 1 })).await);
                }
            }
            Err(error) => {
                self.not_logged(right, error);
                drop(body.send(Err(Cut)).await);
            }
        }
    }

    /// The client went away, or time was over. What was handed is owed and gets a receipt that says so; nothing handed, nothing owed.
    async fn abort(&self, right: Right, end: End, handed: Sent) {
        let frames = u64::try_from(handed.leaves.len()).unwrap_or(u64::MAX);
        if frames == 0 {
            // Leaving early must not buy free work without end.
            self.end(right, Ending::Wasted);
            return;
        }
        match self.log(&end, response_commitment(frames, &root_of(&handed.leaves)), handed).await {
            Ok(logged) => {
                let ending = ending(&logged.receipt);
                self.end(right, ending);
                self.watch_settlement(ending);
            }
            Err(error) => self.not_logged(right, error),
        }
    }

    /// Without a place in the log nothing is charged, unless the calldata may have left with a checkpoint whose fate is unknown.
    fn not_logged(&self, right: Right, error: LedgerError) {
        let ending = match error {
            LedgerError::Unknown => Ending::Owed,
            LedgerError::NotNow | LedgerError::TooLong | LedgerError::Closed => Ending::Forgiven,
        };
        self.end(right, ending);
    }

    /// A whole answer, or what the guard says instead.
    pub(crate) async fn judged_whole(self, right: Right, heartbeats: mpsc::Sender<MeteredFrame>) -> Whole {
        match self.judged(right).await {
            Ok((job, right)) => job.whole(right, heartbeats).await,
            Err(ended) => ended,
        }
    }

    /// A whole answer: generate, log, settle, and only then hand over. While the other end of `heartbeats` is held it is finished, also if
    /// its client left: it may come again for what it paid for.
    async fn whole(mut self, right: Right, heartbeats: mpsc::Sender<MeteredFrame>) -> Whole {
        let end = match self.source_slot().await {
            Some(slot) => self.generate(slot, heartbeats).await.ok().flatten(),
            None => None,
        };
        let Some(end) = end else {
            self.serving.port().events().note(EnclaveEvent::AnswerFailed);
            self.end(right, Ending::Forgiven);
            return Whole::NotLogged;
        };
        let Some(last) = &end.last_frame else {
            self.serving.metrics().count(EnclaveCounter::Aborted);
            // Asking for more than there is time for must not buy the engine for nothing, again and again.
            self.end(right, Ending::Wasted);
            return Whole::Cut;
        };
        let mut sent = self.nothing_sent();
        sent.push(last, end.usage.completion_tokens);
        let commitment = sent.transcript.commitment();
        let logged = match self.log(&end, commitment, sent).await {
            Ok(logged) => logged,
            Err(error) => {
                self.not_logged(right, error);
                return if error == LedgerError::Unknown { Whole::Lost } else { Whole::NotLogged };
            }
        };
        let ending = ending(&logged.receipt);
        let body = splice(last, &receipt::member(&receipt::delivery(&self.agreed, logged)));
        self.end(right, ending);
        // No body that a source makes is without an object to put the receipt in; if one were, its payment would be on its way.
        let Some(body) = body else { return Whole::Lost };
        let Some(transfer) = self.transfer().filter(|_| ending == Ending::Owed) else { return Whole::Given(body.into()) };
        // The host has it: its place is free for another.
        let is_kept = self.keep.take().is_some();
        // What is kept nowhere is held here until the transfer is seen, as long as that takes.
        let standing = self.serving.settle(&transfer, if is_kept { Wait::AWhile } else { Wait::ToTheEnd }).await;
        if let Standing::Pending { .. } = standing {
            self.watch_settlement(ending);
        }
        let (content_type, ids) = ("application/json".to_owned(), self.ids());
        let finished = Finished { status: 200, content_type, body: body.into(), ids, chain_id: transfer.chain_id, is_kept };
        Whole::Finished { finished, standing }
    }

    async fn log(&self, end: &End, response_commitment: Hash32, sent: Sent) -> Result<Logged, LedgerError> {
        let Sent { leaves, frames, first_at, .. } = sent;
        let text = || answer_text(frames.iter().flatten().map(Vec::as_slice));
        let answer_hash = self.agreed.public.and_then(|_| text()).map(|text| keccak256(&[text.as_bytes()]));
        let made = Made {
            // What a guard refused is a judgement, and cannot be run again as an answer.
            kinds: if end.outcome == Outcome::RefusedByGuard { Kinds::LOCAL } else { self.served.source.kinds() },
            channel: self.channel,
            usage_source: end.usage_source,
            outcome: end.outcome,
            usage: end.usage,
            response_commitment,
            answer_hash,
            started_at: self.started_at,
            finished_at: clock::now(),
            head: self.serving.head(),
        };
        let unsealed = self.keep.as_ref().zip(frames).map(|(keep, frames)| {
            let Agreed { decoding, seed_share, .. } = &self.agreed;
            keep.answer(self.question.request.stream, frames, self.transcript_seed, decoding.clone(), *seed_share)
        });
        let logged = self.serving.ledger().log(receipt::draft(&self.agreed, &made, leaves, unsealed)).await?;
        self.serving.metrics().answered(&Answered {
            prompt_tokens: end.usage.prompt_tokens,
            completion_tokens: end.usage.completion_tokens,
            first_frame_ms: first_at.map(|at| at.since(self.started_at)),
            answer_ms: made.finished_at.since(self.started_at),
        });
        let used = u64::from(end.usage.prompt_tokens).saturating_add(end.usage.completion_tokens.into());
        self.serving.caps().made(self.whom, used, clock::now());
        Ok(logged)
    }

    /// In a task of its own, which holds nothing of the answer.
    fn watch_settlement(&self, ending: Ending) {
        let Some(transfer) = self.transfer().filter(|_| ending == Ending::Owed) else { return };
        let serving = Arc::clone(&self.serving);
        tokio::spawn(async move { serving.watch(transfer.payment_id, transfer.valid_before).await });
    }
}

/// What a receipt means for its payer's cap: a metered answer may come to nothing, and then nothing is to move for it.
fn ending(Receipt { money, work, .. }: &Receipt) -> Ending {
    match (money.charged == Amount::ZERO, work.outcome.is_cut()) {
        (false, _) => Ending::Owed,
        // Leaving before something is metered must not buy free work without end.
        (true, true) => Ending::Wasted,
        (true, false) => Ending::Forgiven,
    }
}

/// Id and time in the frames both follow from the receipt, so that a replay can make the same bytes.
fn head_of(request_commitment: &Hash32, started_at: UnixMs, request: &ChatRequest) -> Head {
    Head { id: chat::answer_id(&request_commitment.0), created: started_at.seconds().0, model: request.model.clone() }
}

#[cfg(test)]
mod tests {
    use candor_testkit::honest;
    use candor_verify::manifest::Manifest;

    use super::*;

    #[test]
    fn an_answer_that_comes_to_nothing_frees_its_place_only_if_nobody_cut_it() {
        let mut receipt = honest::receipt(&Manifest::default(), 0);
        for (charged, outcome, expected) in [
            (1, Outcome::Complete, Ending::Owed),
            (1, Outcome::Aborted, Ending::Owed),
            (0, Outcome::Complete, Ending::Forgiven),
            (0, Outcome::Length, Ending::Forgiven),
            (0, Outcome::Aborted, Ending::Wasted),
            (0, Outcome::CutByNode, Ending::Wasted),
        ] {
            (receipt.money.charged, receipt.work.outcome) = (Amount(charged), outcome);
            assert_eq!(ending(&receipt), expected, "{charged} {outcome:?}");
        }
    }

    #[test]
    fn what_was_not_handed_over_is_neither_committed_to_nor_metered_nor_kept() {
        let transcript = TranscriptBuilder::new(Hash32::ZERO);
        let mut sent = Sent { transcript, leaves: Vec::new(), tokens: Vec::new(), first_at: None, frames: Some(Vec::new()) };
        for (frame, tokens) in [(b"a", 0), (b"b", 1), (b"c", 3)] {
            sent.push(frame, tokens);
        }
        let two = sent.leaves[..2].to_vec();
        sent.truncate(2);
        assert_eq!((sent.leaves, sent.tokens.last(), sent.frames), (two, Some(&1), Some(vec![b"a".to_vec(), b"b".to_vec()])));
    }
}
