//! A socket between host and enclave: it carries everything, until a message that a test names comes by on the control connection. That one it
//! keeps, and kills the enclave. So a death is placed exactly, and the program needs no hook for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candor_link::{FrameDecoder, HELLO_LEN, Hello, Role, ToEnclave, ToHost, frame};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::process::signal;

/// A message of the control connection, in either direction.
pub(crate) enum Message<'a> {
    ToHost(&'a ToHost),
    ToEnclave(&'a ToEnclave),
}

/// At which message the enclave is to die.
pub(crate) type At = fn(&Message<'_>) -> bool;

/// The next death, if there is to be one.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Option<(At, u32)>>>);

impl Tap {
    /// Listens beside the enclave's socket and gives the host's command line with its own path in it.
    pub(crate) fn listen(&self, arguments: Vec<String>, enclave_path: &Path) -> Vec<String> {
        let path = enclave_path.with_file_name("tap.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (tap, enclave) = (self.clone(), enclave_path.to_owned());
        tokio::spawn(async move {
            while let Ok((host, _)) = listener.accept().await {
                tokio::spawn(tap.clone().carry(host, enclave.clone()));
            }
        });
        let instead = |argument: String| if Path::new(&argument) == enclave_path { path.to_str().unwrap().to_owned() } else { argument };
        arguments.into_iter().map(instead).collect()
    }

    /// The process dies at the next message that is this one.
    pub(crate) fn kill(&self, pid: u32, at: At) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, pid));
    }

    fn is_fatal(&self, message: &Message<'_>) -> bool {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, pid)) = next.take_if(|(at, _)| at(message)) else { return false };
        signal("KILL", pid);
        true
    }

    async fn carry(self, mut host: UnixStream, enclave: PathBuf) {
        let mut hello = [0; HELLO_LEN];
        let (Ok(_), Ok(mut enclave)) = (host.read_exact(&mut hello).await, UnixStream::connect(enclave).await) else { return };
        if enclave.write_all(&hello).await.is_err() {
            return;
        }
        if Hello::parse(&hello).unwrap().role != Role::Control {
            drop(tokio::io::copy_bidirectional(&mut host, &mut enclave).await);
            return;
        }
        let ((from_host, to_host), (from_enclave, to_enclave)) = (host.into_split(), enclave.into_split());
        let up = frames(from_host, to_enclave, |payload| self.is_fatal(&Message::ToEnclave(&ToEnclave::parse(payload).unwrap())));
        let down = frames(from_enclave, to_host, |payload| self.is_fatal(&Message::ToHost(&ToHost::parse(payload).unwrap())));
        tokio::select! {
            () = up => {}
            () = down => {}
        }
    }
}

/// Carries frames until one is fatal or a side ends.
async fn frames(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, is_fatal: impl Fn(&[u8]) -> bool) {
    let (mut decoder, mut buffer) = (FrameDecoder::new(), vec![0; 1 << 16]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        decoder.push(&buffer[..read]);
        while let Some(payload) = decoder.next_frame().unwrap() {
            if is_fatal(&payload) || to.write_all(&frame(&payload).unwrap()).await.is_err() {
                return;
            }
        }
    }
}
