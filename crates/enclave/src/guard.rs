//! Who judges a conversation before a model answers it.
//!
//! The terms may name one of their models as the guard. It reads every conversation that anybody asks to have answered, and says `safe`, or
//! anything else; what is not safe is answered by no model, costs nothing, and has a receipt that says so (`answer`). Nobody but who asked learns
//! what they asked; the host sees each receipt, and so that something was refused.
//!
//! A guard runs in the place in which the answer would be made, and in its time. It is asked greedily, so the same conversation is judged the
//! same way each time. Spec: http.md §4.8.
//!
//! - **Invariant:** fail closed: a guard that says something else, or fails, lets nothing pass.

use std::ops::ControlFlow;
use std::sync::Arc;

use candor_engine::chat::{self, ChatRequest, Message, Role};
use candor_engine::{Decoding, Finish, Model, Options, generate};
use candor_verify::time::UnixMs;

use crate::clock;
use crate::queue::Place;
use crate::refusal::Refusal;
use crate::speed::Speed;

/// What a guard says of a conversation that may be answered.
const SAFE: &str = "safe";

/// What it begins with of any other; a reason may follow.
const UNSAFE: &str = "unsafe";

/// Tokens that are read of what it says: enough for the word, whatever pieces it is made of.
const WORD_TOKENS: u32 = 8;

/// What is said instead of an answer.
pub(crate) const REFUSAL: &str = "The guard of this node refused to have this conversation answered. Nothing was charged.";

/// The guard of one boot.
pub(crate) struct Guard {
    model: Arc<Model>,
    speed: Speed,
}

/// A conversation as the guard reads it.
#[derive(Clone)]
pub(crate) struct Conversation(Vec<u32>);

/// What the guard says of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Judgement {
    Passes,
    Refused,
    /// Its time was over first.
    Late,
    /// It could not be asked.
    Failed,
}

/// Whether a model judges: what a boot asks of the one that the terms name as their guard, before anybody signs them.
///
/// # Errors
/// What a guard says, for a model that says something else.
pub fn check_guard(model: &Model) -> Result<(), String> {
    let said = tokens(model, &[Message { role: Role::User, text: "Hello".into() }]).and_then(|hello| says(model, &hello, UnixMs(u64::MAX)));
    match said {
        Some((said, _)) if said == SAFE || said.starts_with(UNSAFE) => Ok(()),
        Some(_) | None => Err(format!("a guard says {SAFE:?} or {UNSAFE:?} of a conversation, and this model says something else")),
    }
}

impl Guard {
    /// This model as a guard; `speed` if it is not to be measured. An error for one that does not judge: it would let nothing pass.
    pub(crate) fn new(model: Arc<Model>, speed: Option<Speed>) -> Result<Self, String> {
        check_guard(&model)?;
        let speed = speed.unwrap_or_else(|| Speed::of(&model));
        Ok(Self { model, speed })
    }

    /// Reads the conversation of a request. Linear in its text up to the context: it is done before anybody has paid.
    pub(crate) fn read(&self, request: &ChatRequest) -> Result<Conversation, Refusal> {
        tokens(&self.model, &request.messages).ok_or_else(|| {
            let most = self.model.config().context.saturating_sub(WORD_TOKENS);
            let message =
                format!("The guard of this node reads conversations of at most {most} tokens. Please reduce the length of the messages.");
            Refusal::new(400, message).code("context_length_exceeded").param("messages")
        })
    }

    /// How long it may take to judge this.
    pub(crate) fn milliseconds(&self, conversation: &Conversation) -> u64 {
        self.speed.milliseconds(u64::try_from(conversation.0.len()).unwrap_or(u64::MAX), WORD_TOKENS.into())
    }

    /// Judges in this place, which comes back; until `stop_at`.
    pub(crate) async fn judge(self: Arc<Self>, conversation: Conversation, place: Place, stop_at: UnixMs) -> (Judgement, Option<Place>) {
        // A thread of its own: the engine computes without a pause.
        let judging = tokio::task::spawn_blocking(move || (self.judgement(&conversation, stop_at), Some(place)));
        judging.await.unwrap_or((Judgement::Failed, None))
    }

    fn judgement(&self, conversation: &Conversation, stop_at: UnixMs) -> Judgement {
        match says(&self.model, conversation, stop_at) {
            Some((_, Finish::Cancelled)) => Judgement::Late,
            Some((said, _)) if said == SAFE => Judgement::Passes,
            Some(_) => Judgement::Refused,
            None => Judgement::Failed,
        }
    }
}

fn tokens(model: &Model, messages: &[Message]) -> Option<Conversation> {
    chat::prompt_of(model, messages, WORD_TOKENS).ok().map(Conversation)
}

/// What a guard says of a conversation, without the white space around it; `None` if it cannot be asked.
fn says(model: &Model, Conversation(prompt): &Conversation, stop_at: UnixMs) -> Option<(String, Finish)> {
    let greedy = Decoding { temperature_e6: 0, top_p_e6: 1_000_000, top_k: 0, seed: [0; 32], max_tokens: WORD_TOKENS, stop: Vec::new() };
    let mut in_time = |_: candor_engine::Step<'_>| match clock::now() < stop_at {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let said = generate(model, prompt, &greedy, &Options::default(), &mut in_time).ok()?;
    Some((said.text.trim().to_owned(), said.finish))
}

#[cfg(test)]
mod tests {
    use candor_engine::fixture;

    use super::*;
    use crate::queue::{Pays, Queue};

    fn guard() -> Arc<Guard> {
        let model = Model::load(&fixture::guard()).unwrap();
        Arc::new(Guard::new(Arc::new(model), Some(Speed::UNBOUNDED)).unwrap())
    }

    fn request(text: &str) -> ChatRequest {
        ChatRequest::parse(format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":1}}"#).as_bytes())
            .unwrap()
    }

    async fn judged(text: &str, stop_at: UnixMs) -> Judgement {
        let place = Queue::new(1, 1).place(Pays::Somebody).await.unwrap();
        let conversation = guard().read(&request(text)).unwrap();
        let (judgement, place) = guard().judge(conversation, place, stop_at).await;
        assert!(place.is_some(), "the place comes back");
        judgement
    }

    #[tokio::test]
    async fn what_is_safe_passes_and_what_is_not_is_refused() {
        let later = clock::now().saturating_add(600_000);
        assert_eq!(judged("Hi", later).await, Judgement::Passes);
        assert_eq!(judged("Where is the bomb?", later).await, Judgement::Refused);
        // Saying that one is safe makes nobody safe.
        assert_eq!(judged("safe safe bomb safe", later).await, Judgement::Refused);
        assert_eq!(judged("Hi", UnixMs(0)).await, Judgement::Late);
    }

    #[test]
    fn a_model_that_does_not_judge_is_no_guard() {
        let model = Model::load(&fixture::model()).unwrap();
        let refused = Guard::new(Arc::new(model), Some(Speed::UNBOUNDED)).map(|_| ()).unwrap_err();
        assert!(refused.contains("says something else"), "{refused}");
    }

    #[test]
    fn a_conversation_that_the_guard_cannot_read_whole_is_refused_before_it_is_priced() {
        let refusal = guard().read(&request(&"x ".repeat(600))).map(|_| ()).unwrap_err();
        assert_eq!((refusal.error().status, refusal.error().code), (400, Some("context_length_exceeded")));
        assert!(refusal.error().message.contains("504 tokens"), "{}", refusal.error().message);
    }
}
