//! Frames on their way from the engine to the body of a response: whatever is ready goes as one chunk, hence in one TLS record and write.
//!
//! A slow engine's frames go one by one, each at once. A fast engine does not wait for each of them to be written, and its thread and the
//! connection's task do not wake each other for each.
//!
//! - **Invariant:** frames are counted one by one, when the body takes their chunk to the socket: n of transcript.md §2.
//! - **Invariant:** the engine is at most [`FRAMES_AHEAD_MAX`] frames ahead of a reader. Whoever stops reading gets no more work than that,
//!   and whoever leaves ends the work at its next frame.

use std::time::Duration;

use candor_verify::time::UnixMs;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use crate::body::StreamItem;
use crate::source::MeteredFrame;
use crate::{clock, receipt};

/// Frames that were made and that the body has not taken: half of them wait for their chunk, half are in the one that waits for the body.
const FRAMES_AHEAD_MAX: usize = 64;

/// Frames in one chunk at most, and frames that wait for one.
const CHUNK_FRAMES_MAX: usize = FRAMES_AHEAD_MAX / 2;

/// Frames that go out together.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) frames: u64,
}

impl Chunk {
    /// One SSE event per frame.
    fn of(frames: &[MeteredFrame]) -> Self {
        Self {
            bytes: receipt::sse(frames.iter().map(|metered| metered.frame.as_slice())),
            frames: u64::try_from(frames.len()).unwrap_or(u64::MAX),
        }
    }
}

/// How the frames of an answer came to an end.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Passed {
    /// The body took every frame, and there are no more.
    All,
    /// The client is gone. What the body did not take went nowhere.
    Gone,
    /// Time was over before the reader took what was there. The frame that was next, if there is one.
    Late(Option<MeteredFrame>),
}

/// What the engine writes its frames to.
pub(crate) fn from_engine() -> (mpsc::Sender<MeteredFrame>, mpsc::Receiver<MeteredFrame>) {
    mpsc::channel(CHUNK_FRAMES_MAX)
}

/// Passes frames on until there are no more, and until the body, a channel with one place, has taken them all. Tells `sent` of each, in order.
pub(crate) async fn pass_on(
    frames: &mut mpsc::Receiver<MeteredFrame>,
    body: &mpsc::Sender<StreamItem>,
    stop_at: UnixMs,
    mut sent: impl FnMut(&MeteredFrame),
) -> Passed {
    let mut ready = Vec::new();
    loop {
        // A reader that stands still until the time is over must not hold a core.
        let left = Duration::from_millis(stop_at.since(clock::now()));
        let place = match tokio::time::timeout(left, body.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Passed::Gone,
            Err(_) => return Passed::Late(frames.recv().await),
        };
        if frames.recv_many(&mut ready, CHUNK_FRAMES_MAX).await == 0 {
            return Passed::All;
        }
        ready.iter().for_each(&mut sent);
        place.send(Ok(Chunk::of(&ready)));
        ready.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> UnixMs {
        clock::now().saturating_add(600_000)
    }

    /// Passing on, as a task of its own.
    struct Passing {
        engine: mpsc::Sender<MeteredFrame>,
        body: mpsc::Receiver<StreamItem>,
        task: tokio::task::JoinHandle<(Passed, Vec<Vec<u8>>)>,
    }

    fn passing(stop_at: UnixMs) -> Passing {
        let (engine, mut frames) = from_engine();
        let (sender, body) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut sent = Vec::new();
            let passed = pass_on(&mut frames, &sender, stop_at, |metered| sent.push(metered.frame.clone())).await;
            (passed, sent)
        });
        Passing { engine, body, task }
    }

    fn frame(number: usize) -> Vec<u8> {
        format!("{{\"n\":{number}}}").into_bytes()
    }

    fn metered(number: usize) -> MeteredFrame {
        MeteredFrame { frame: frame(number), tokens: u32::try_from(number).unwrap() + 1 }
    }

    /// Runs every other task until it waits.
    async fn others_wait() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn frames_that_are_ready_are_one_chunk_in_which_each_is_counted() {
        let Passing { engine, mut body, task } = passing(later());
        for number in 0..3 {
            engine.try_send(metered(number)).unwrap();
        }
        let chunk = body.recv().await.unwrap().unwrap();
        assert_eq!((chunk.frames, &chunk.bytes[..]), (3, b"data: {\"n\":0}\n\ndata: {\"n\":1}\n\ndata: {\"n\":2}\n\n".as_slice()));
        // One that is ready alone does not wait for another.
        engine.try_send(metered(3)).unwrap();
        assert_eq!(body.recv().await.unwrap().unwrap().frames, 1);
        drop(engine);
        assert_eq!(task.await.unwrap(), (Passed::All, (0..4).map(frame).collect()));
    }

    #[tokio::test]
    async fn an_engine_is_so_many_frames_ahead_of_a_reader_and_no_more() {
        let Passing { engine, mut body, task } = passing(later());
        let (mut made, mut taken) = (0, 0);
        for _ in 0..20 {
            loop {
                others_wait().await;
                match engine.try_send(metered(made)) {
                    Ok(()) => made += 1,
                    Err(_) => break,
                }
            }
            assert!(made <= taken + FRAMES_AHEAD_MAX, "{made} made, {taken} taken");
            taken += usize::try_from(body.recv().await.unwrap().unwrap().frames).unwrap();
        }
        drop(engine);
        while let Some(chunk) = body.recv().await {
            taken += usize::try_from(chunk.unwrap().frames).unwrap();
        }
        let (passed, sent) = task.await.unwrap();
        assert_eq!((passed, sent.len(), taken), (Passed::All, made, made));
    }

    #[tokio::test]
    async fn an_answer_whose_last_chunk_was_not_taken_is_not_handed_over() {
        let Passing { engine, body, task } = passing(later());
        engine.try_send(metered(0)).unwrap();
        drop(engine);
        others_wait().await;
        drop(body);
        assert_eq!(task.await.unwrap().0, Passed::Gone);
    }

    #[tokio::test]
    async fn a_reader_that_stands_still_until_the_time_is_over_gets_the_frame_that_was_next() {
        for next in [Some(1), None] {
            let Passing { engine, mut body, task } = passing(UnixMs(0));
            engine.try_send(metered(0)).unwrap();
            others_wait().await;
            if let Some(next) = next {
                engine.try_send(metered(next)).unwrap();
            }
            drop(engine);
            assert_eq!(task.await.unwrap(), (Passed::Late(next.map(metered)), vec![frame(0)]));
            assert_eq!(body.recv().await.unwrap().unwrap().frames, 1);
        }
    }
}
