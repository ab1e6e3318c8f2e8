//! Where does an answer come from?
//!
//! The one seam between a paid request and whatever answers it. A source counts the prompt, makes the frames, and says how the answer ended,
//! what it used and who counted that. What a receipt claims about the making of an answer (its kinds, the source of its usage, the engine of
//! its decoding record) comes from here and from nowhere else. Another source is another file and one more arm.
//!
//! Not here: the channel of a receipt, which is the connection's (`session`); the receipt itself (`receipt`); who may run (`serving`).

use std::ops::ControlFlow;
use std::sync::Arc;

use candor_engine::chat::{self, ApiError, ChatRequest, Head};
use candor_engine::{ENGINE, Finish, Model, Options, Usage};
use candor_verify::bytes::Hash32;
use candor_verify::receipt::{Kinds, Outcome, UsageSource};
use candor_verify::time::UnixMs;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock;
use crate::queue::Place;
use crate::speed::Speed;

/// A byte of text is at most so many in JSON: `\u001f`. A byte that is no text becomes three.
const JSON_BYTES: usize = 6;

/// Bytes of a frame but the model's name and text: det-1.md §8 has fewer than 400.
const FRAME_REST: usize = 512;

/// Frames of a stream that are not a token's text: the first, what no token released, the finish, the usage.
const FRAMES_BESIDE: usize = 4;

/// What answers the requests for one model.
pub(crate) enum Source {
    /// The engine in this process, over weights whose digest was taken as they were copied into its memory.
    Local(Arc<Model>),
}

/// A prompt as its source reads it.
#[derive(Clone)]
pub(crate) struct Prompt(Vec<u32>);

/// What is asked: everything that the frames of the answer depend on.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) request: ChatRequest,
    pub(crate) prompt: Prompt,
    /// Used unless the request chose a seed.
    pub(crate) seed: Hash32,
    pub(crate) head: Head,
}

/// A place at the source, and until when it may be held: as long as the payment can be settled, and never longer than the node's cap.
pub(crate) struct SourceSlot {
    pub(crate) place: Place,
    pub(crate) stop_at: UnixMs,
    /// How an answer has ended that is stopped then: by whose time it is.
    pub(crate) at_stop: Outcome,
}

/// One frame of an answer that is streamed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct MeteredFrame {
    pub(crate) frame: Vec<u8>,
    /// Tokens of the answer up to and with this frame.
    pub(crate) tokens: u32,
}

/// The end of an answer.
pub(crate) struct End {
    /// The frame that goes out with the receipt in it. Of an answer that its time cut it is the one at which the time was over: replayed,
    /// the frames are a beginning of the whole answer. `None` if there is none to send.
    pub(crate) last_frame: Option<Vec<u8>>,
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
    /// Who counted that usage.
    pub(crate) usage_source: UsageSource,
}

impl Prompt {
    /// How many tokens it has.
    pub(crate) fn tokens(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }
}

impl Source {
    /// What a receipt claims about the work that is done here.
    pub(crate) fn kinds(&self) -> Kinds {
        match self {
            Self::Local(_) => Kinds::LOCAL.and(Kinds::REEXEC),
        }
    }

    /// The engine, and the version of its arithmetic.
    pub(crate) fn engine(&self) -> &'static str {
        match self {
            Self::Local(_) => ENGINE,
        }
    }

    /// Tokens that prompt and answer may have together.
    pub(crate) fn context_tokens(&self) -> u32 {
        match self {
            Self::Local(model) => model.config().context,
        }
    }

    /// How fast it answers on this machine: measured here, so it takes a moment.
    pub(crate) fn speed(&self) -> Speed {
        match self {
            Self::Local(model) => Speed::of(model),
        }
    }

    /// Reads and counts the prompt of a request. Linear in its text up to the context: it is done before anybody has paid.
    pub(crate) fn prompt(&self, request: &ChatRequest) -> Result<Prompt, ApiError> {
        match self {
            Self::Local(model) => chat::prompt_tokens(model, request).map(Prompt),
        }
    }

    /// How long the answer to a request can be: its frames, and their bytes together. Never less than what is made.
    pub(crate) fn answer_max(&self, request: &ChatRequest) -> (usize, usize) {
        match self {
            Self::Local(model) => {
                let tokens = usize::try_from(request.max_tokens).unwrap_or(usize::MAX);
                let text = tokens.saturating_mul(model.tokenizer().longest_token()).saturating_mul(JSON_BYTES);
                // The model's name is in every frame.
                let frame = request.model.len().saturating_mul(JSON_BYTES).saturating_add(FRAME_REST);
                let frames = if request.stream { tokens.saturating_add(FRAMES_BESIDE) } else { 1 };
                (frames, frames.saturating_mul(frame).saturating_add(text))
            }
        }
    }

    /// Makes the answer. Frames but the last arrive on the channel, and dropping its receiver stops the work at the next one; the end is the
    /// task's result, `None` if the source failed.
    pub(crate) fn answer(&self, question: Question, slot: SourceSlot, frames: mpsc::Sender<MeteredFrame>) -> JoinHandle<Option<End>> {
        match self {
            Self::Local(model) => {
                let model = Arc::clone(model);
                // A thread of its own: the engine computes without a pause.
                tokio::task::spawn_blocking(move || local(&model, &question, slot, &frames))
            }
        }
    }
}

fn local(model: &Model, question: &Question, slot: SourceSlot, frames: &mpsc::Sender<MeteredFrame>) -> Option<End> {
    // The place is given back when this returns.
    let SourceSlot { place: _place, stop_at, at_stop } = slot;
    let Question { request, prompt, seed, head } = question;
    // How a cancelled answer ended: by its client, unless its time was over first.
    let (mut cut, mut cancelled) = (None, Outcome::Aborted);
    let completed = chat::answer(model, request, &prompt.0, seed.0, head, &Options::default(), &mut |frame, tokens| {
        if stop_at <= clock::now() {
            // An empty frame is a heartbeat: of a whole answer, or of a token without text.
            cut = (!frame.is_empty()).then(|| frame.to_vec());
            cancelled = at_stop;
            return ControlFlow::Break(());
        }
        let gone = if frame.is_empty() {
            frames.is_closed()
        } else {
            frames.blocking_send(MeteredFrame { frame: frame.to_vec(), tokens }).is_err()
        };
        if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let completed = completed.ok()?;
    Some(End {
        last_frame: completed.last_frame.or(cut),
        outcome: match completed.finish {
            Finish::Stop => Outcome::Complete,
            Finish::Length => Outcome::Length,
            Finish::Cancelled => cancelled,
        },
        usage: completed.usage,
        usage_source: UsageSource::Counted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Pays, Queue};

    const LATER_MS: u64 = 600_000;

    fn source() -> Source {
        Source::Local(Arc::new(Model::load(&candor_engine::fixture::model()).unwrap()))
    }

    const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}],"max_tokens":8,"temperature":0,"stream":true}"#;

    async fn answer(source: &Source, stop_at: UnixMs) -> (Vec<Vec<u8>>, End) {
        let request = ChatRequest::parse(BODY.as_bytes()).unwrap();
        let prompt = source.prompt(&request).unwrap();
        let head = Head { id: "chatcmpl-1".into(), created: 1, model: "m".into() };
        let place = Queue::new(1, 1).place(Pays::Somebody).await.unwrap();
        let (sender, mut receiver) = mpsc::channel(64);
        let question = Question { request, prompt, seed: Hash32::ZERO, head };
        let end = source.answer(question, SourceSlot { place, stop_at, at_stop: Outcome::CutByNode }, sender).await.unwrap().unwrap();
        let mut frames = Vec::new();
        while let Some(metered) = receiver.recv().await {
            frames.push(metered.frame);
        }
        (frames, end)
    }

    #[tokio::test]
    async fn the_local_source_says_what_it_is_and_gives_what_a_replay_gives() {
        let source = source();
        assert_eq!((source.kinds(), source.engine(), source.context_tokens()), (Kinds(5), "det/1", 256));
        let (mut frames, end) = answer(&source, clock::now().saturating_add(LATER_MS)).await;
        let prompt = source.prompt(&ChatRequest::parse(BODY.as_bytes()).unwrap()).unwrap();
        assert_eq!((u64::from(end.usage.prompt_tokens), end.usage_source), (prompt.tokens(), UsageSource::Counted));
        frames.extend(end.last_frame);
        let Source::Local(model) = &source;
        assert_eq!(frames, chat::replay(model, BODY.as_bytes(), [0; 32], 8, "chatcmpl-1", 1).unwrap());
    }

    #[tokio::test]
    async fn no_answer_is_longer_than_was_said() {
        let source = source();
        let (mut frames, end) = answer(&source, clock::now().saturating_add(LATER_MS)).await;
        frames.extend(end.last_frame);
        let (most, bytes) = source.answer_max(&ChatRequest::parse(BODY.as_bytes()).unwrap());
        assert!(frames.len() <= most && frames.iter().map(Vec::len).sum::<usize>() <= bytes, "{most} frames, {bytes} bytes");
        let whole = ChatRequest::parse(BODY.replace("true", "false").as_bytes()).unwrap();
        assert!(source.answer_max(&whole).0 == 1 && source.answer_max(&whole).1 < bytes);
    }

    #[tokio::test]
    async fn an_answer_whose_time_is_over_ends_in_its_first_frame() {
        let (frames, end) = answer(&source(), UnixMs(0)).await;
        assert!(frames.is_empty() && end.outcome == Outcome::CutByNode);
        let first = String::from_utf8(end.last_frame.unwrap()).unwrap();
        assert!(first.contains(r#""delta":{"role":"assistant""#), "{first}");
    }
}
