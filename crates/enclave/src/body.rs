//! Bodies of responses: whole, or frame by frame from a running answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

use crate::chunks::Chunk;
use crate::kept::Look;

/// Of a kept answer, handed to the connection at once.
const PIECE_BYTES: usize = 64 << 10;

/// The stream was cut before its end: no receipt could be stored, so there is no terminal frame.
#[derive(Debug)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer was cut before its receipt was stored")
    }
}

impl std::error::Error for Cut {}

/// One piece of a streamed body.
pub(crate) type StreamItem = Result<Chunk, Cut>;

/// A body: whole, or streamed from a job.
pub(crate) enum ApiBody {
    Whole(Option<Bytes>),
    /// A kept answer, in pieces: it is all in memory, so one at a time of each is read, however slowly.
    Kept {
        rest: Bytes,
        _look: Option<Look>,
    },
    Stream {
        items: mpsc::Receiver<StreamItem>,
        /// How many frames were taken, that is handed to the host.
        taken: Arc<AtomicU64>,
    },
}

impl Body for ApiBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Kept { rest, .. } => {
                let piece = rest.split_to(rest.len().min(PIECE_BYTES));
                Poll::Ready((!piece.is_empty()).then_some(Ok(Frame::data(piece))))
            }
            Self::Stream { items, taken } => items.poll_recv(cx).map(|item| {
                Some(item?.map(|chunk| {
                    taken.fetch_add(chunk.frames, Ordering::AcqRel);
                    Frame::data(chunk.bytes)
                }))
            }),
        }
    }
}
