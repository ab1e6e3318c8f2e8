//! Frames: a big-endian u32 length and that many bytes. The decoder is fed whatever the socket gave.
//!
//! Spec: link.md §2. Not here: what is in a frame (`to_enclave`, `to_host`).

use std::fmt;

use crate::limits::MAX_FRAME;

/// Bytes of the length before each frame.
const PREFIX: usize = 4;

/// Kept free buffer beyond which the decoder gives memory back after a large frame.
const KEEP: usize = 64 << 10;

/// Cuts a byte stream into frames.
///
/// Memory held is what was pushed and not yet taken; a length that was only announced allocates nothing.
///
/// # Examples
/// ```
/// use candor_link::{FrameDecoder, FrameError, frame};
///
/// let mut decoder = FrameDecoder::new();
/// let bytes = frame(b"abc")?;
/// decoder.push(&bytes[..5]);
/// assert_eq!(decoder.next_frame()?, None);
/// decoder.push(&bytes[5..]);
/// assert_eq!(decoder.next_frame()?, Some(b"abc".to_vec()));
///
/// decoder.push(&[0xff; 4]);
/// assert!(matches!(decoder.next_frame(), Err(FrameError::TooLong { .. })));
/// # Ok::<(), FrameError>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    // Invariant: at most buffer.len(); bytes before it were taken.
    start: usize,
}

impl FrameDecoder {
    /// At the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the stream gave next, in any portions.
    pub fn push(&mut self, bytes: &[u8]) {
        if 0 < self.start {
            self.buffer.drain(..self.start);
            self.start = 0;
            if self.buffer.len() < KEEP && KEEP < self.buffer.capacity() {
                self.buffer.shrink_to(KEEP);
            }
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame without its length, or `None` until more bytes come.
    ///
    /// # Errors
    /// [`FrameError`]; the stream cannot be read any further and is to be closed.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let len = checked_len(u64::from(u32::from_be_bytes(*prefix)))?;
        let Some(payload) = rest.get(..len) else { return Ok(None) };
        let payload = payload.to_vec();
        self.start = self.start.saturating_add(PREFIX).saturating_add(len);
        Ok(Some(payload))
    }

    /// Whether the stream may end here: no frame is cut.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.len() == self.start
    }
}

fn checked_len(len: u64) -> Result<usize, FrameError> {
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= MAX_FRAME) else {
        return Err(FrameError::TooLong { limit: MAX_FRAME, got: len });
    };
    if len == 0 { Err(FrameError::Empty) } else { Ok(len) }
}

/// A payload with its length in front.
///
/// # Errors
/// As for reading: empty or too long.
pub fn frame(payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let got = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    let len = checked_len(got)?;
    let prefix = u32::try_from(len).map_err(|_| FrameError::TooLong { limit: MAX_FRAME, got })?;
    let mut out = Vec::with_capacity(payload.len().saturating_add(PREFIX));
    out.extend_from_slice(&prefix.to_be_bytes());
    out.extend_from_slice(payload);
    Ok(out)
}

/// Why a frame cannot be read or written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FrameError {
    /// The announced length is beyond the limit.
    TooLong {
        /// Most bytes allowed.
        limit: usize,
        /// Bytes announced.
        got: u64,
    },
    /// A frame of no bytes says nothing.
    Empty,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit, got } => write!(f, "a frame of {got} bytes; the limit is {limit}"),
            Self::Empty => f.write_str("a frame of no bytes"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_read_back_however_the_stream_is_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..8),
            cut in 1_usize..50,
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload).unwrap()).collect();
            let mut decoder = FrameDecoder::new();
            let mut got = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(payload) = decoder.next_frame().unwrap() {
                    got.push(payload);
                }
            }
            prop_assert!(decoder.is_at_boundary());
            prop_assert_eq!(got, payloads);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = FrameDecoder::new();
            decoder.push(&bytes);
            while let Ok(Some(payload)) = decoder.next_frame() {
                prop_assert!(!payload.is_empty());
            }
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_rejected_before_its_bytes_come() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes());
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong { limit: MAX_FRAME, got: MAX_FRAME as u64 + 1 }));
        assert!(decoder.buffer.capacity() < 64);
        assert_eq!(
            frame(&vec![0; MAX_FRAME + 1]).map(|f| f.len()),
            Err(FrameError::TooLong { limit: MAX_FRAME, got: MAX_FRAME as u64 + 1 })
        );
    }

    #[test]
    fn an_empty_frame_is_rejected() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&[0; 4]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Empty));
        assert_eq!(frame(&[]), Err(FrameError::Empty));
    }

    #[test]
    fn a_cut_frame_is_not_a_boundary() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&[0, 0]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(!decoder.is_at_boundary());
    }
}
