//! A client that stops reading is cut off: a connection, its memory and its engine slot are not held for somebody who takes nothing.
//!
//! It stands under TLS, at the socket: there every byte that is taken counts as progress, however slow the line. Above TLS a record that
//! is half sent would look like nothing. Not here: clients that send nothing (`server`), and the end of a paid stream (`answer`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A stream whose writes fail when the other side took nothing for so long.
pub(crate) struct Stall<S> {
    stream: S,
    limit: Duration,
    // Runs while a write waits; a write that gets on stops it, a flush does not: a socket's flush says nothing about the other side.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Stall<S> {
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waiting: None }
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.limit;
        let timer = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            return self.wait(cx);
        }
        self.waiting = None;
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(cx, polled)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Pending => this.wait(cx),
            ready => ready,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_shutdown(cx) {
            Poll::Pending => this.wait(cx),
            ready => ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_reader_that_takes_nothing_ends_the_write() {
        let (ours, theirs) = tokio::io::duplex(16);
        let mut ours = Stall::new(ours, LIMIT);
        let error = timeout(PATIENCE, ours.write_all(&[7; 64])).await.expect("it is cut off").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_slow_reader_is_served_to_the_end() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut ours = Stall::new(ours, LIMIT);
        let writer = tokio::spawn(async move { ours.write_all(&[7; 160]).await });
        let mut got = [0; 16];
        // All of it takes longer than the limit, each step of it far less.
        for _ in 0..10 {
            tokio::time::sleep(LIMIT / 8).await;
            theirs.read_exact(&mut got).await.unwrap();
        }
        assert!(timeout(PATIENCE, writer).await.unwrap().unwrap().is_ok());
    }
}
