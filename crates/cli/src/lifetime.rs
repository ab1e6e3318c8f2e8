//! When a process of this program ends: when somebody asks it to, and, for a child, when its parent is gone.
//!
//! A parent that is killed can end nobody. So each child holds the read end of a pipe from its parent and is started with
//! `--until-stdin-closes`: the system closes that pipe when the parent goes away, however it goes.
//! - **Invariant:** every child of this program is started by [`Child::start`], and outlives its parent only after [`Child::leave`].

use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::dev;
use crate::output::Failure;

/// What a parent writes before it goes if its child is to live on.
const STAY: &[u8] = b"stay\n";

/// How long a child whose parent is gone may take to put its things in order.
const GRACE: Duration = Duration::from_secs(10);

/// What a parent says meanwhile: lines, for whoever takes them.
type Lines = (mpsc::UnboundedSender<String>, Mutex<Option<mpsc::UnboundedReceiver<String>>>);

static PARENT_SAYS: LazyLock<Lines> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Mutex::new(Some(receiver)))
});

static PARENT_GONE: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Longest line that a parent hands over, and longer than any path.
const HANDED_MAX: u64 = 8 << 10;

/// A line that a parent hands over before its pipe becomes the lifeline. To be read before [`follow_parent`].
pub(crate) fn handed_line() -> Result<String, Failure> {
    let mut line = String::new();
    // Through the one buffer of standard input: what follows the line is not lost.
    let read = std::io::stdin().lock().take(HANDED_MAX).read_line(&mut line);
    read.map_err(|error| Failure::cannot(format!("standard input: {error}")))?;
    Ok(line.trim_end().to_owned())
}

/// Starts to watch standard input: `--until-stdin-closes`.
pub(crate) fn follow_parent() {
    std::thread::spawn(|| {
        loop {
            let mut said = String::new();
            // A read that fails is no sign of life either, nor is a line that does not end.
            drop(std::io::stdin().lock().take(HANDED_MAX).read_line(&mut said));
            match said.strip_suffix('\n') {
                Some(_) if said.as_bytes() == STAY => return,
                // Whoever takes none has not been told to expect any.
                Some(line) => drop(PARENT_SAYS.0.send(line.to_owned())),
                None => break,
            }
        }
        PARENT_GONE.send_replace(true);
        std::thread::sleep(GRACE);
        #[expect(clippy::disallowed_methods, reason = "it was asked to end and hangs; nobody is left to end it from outside")]
        std::process::exit(2);
    });
}

/// The lines that the parent says after the first one. For one taker: later ones wait for ever.
pub(crate) async fn parent_says(lines: &mut Option<mpsc::UnboundedReceiver<String>>) -> String {
    if lines.is_none() {
        *lines = PARENT_SAYS.1.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
    match lines {
        Some(lines) => match lines.recv().await {
            Some(line) => line,
            // The sender is never dropped.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Resolves when this process is to end: INT (Ctrl-C), TERM, HUP, or its parent is gone. To be made once per process, so that none is missed.
pub(crate) fn asked_to_stop() -> impl Future<Output = ()> {
    // From the call on, and not from the first poll: whoever hears that we are up may send a signal at once.
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    // `nohup` has it ignored, and so do we then.
    let mut hangup = if is_hangup_ignored() { None } else { listen(SignalKind::hangup()) };
    let mut parent = PARENT_GONE.subscribe();
    async move {
        tokio::select! {
            () = received(&mut interrupt) => {}
            () = received(&mut terminate) => {}
            () = received(&mut hangup) => {}
            _ = parent.wait_for(|gone| *gone) => {}
        }
    }
}

/// Without a handler the default action ends the process, which is what was asked for.
fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).ok()
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The first bit of the mask is signal 1, HUP. Where there is no such file it is taken for not ignored.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1)
}

/// A process of this program that ends when we do. Dropped, it is killed.
pub(crate) struct Child {
    process: tokio::process::Child,
    // Kept apart from `process`, which closes its own when it is waited for.
    lifeline: Option<ChildStdin>,
    pid: u32,
}

impl Child {
    /// The command line of this very program; arguments are the caller's.
    pub(crate) fn command() -> Result<Command, Failure> {
        Ok(Self::command_of(&dev::this_program()?))
    }

    /// The same of another program, which takes the same arguments.
    pub(crate) fn command_of(program: &Path) -> Command {
        Command::new(program)
    }

    /// Starts a command line of this program.
    pub(crate) fn start(mut command: Command) -> Result<Self, Failure> {
        command.arg("--until-stdin-closes").stdin(Stdio::piped()).kill_on_drop(true);
        let mut process =
            command.spawn().map_err(|error| Failure::cannot(format!("{}: {error}", command.as_std().get_program().display())))?;
        let (lifeline, pid) = (process.stdin.take(), process.id().unwrap_or_default());
        Ok(Self { process, lifeline, pid })
    }

    /// Hands over a line that nobody else is to see: not in its arguments, which every user of the machine can read, nor in its environment.
    pub(crate) async fn hand_over(&mut self, line: &str) -> Result<(), Failure> {
        let Some(lifeline) = &mut self.lifeline else { return Ok(()) };
        let line = format!("{line}\n");
        let handed = async { lifeline.write_all(line.as_bytes()).await.and(lifeline.flush().await) }.await;
        handed.map_err(|error| Failure::cannot(format!("process {} did not take what it is to have: {error}", self.pid)))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What it says, if that was asked for; once.
    pub(crate) fn stdout(&mut self) -> Result<ChildStdout, Failure> {
        self.process.stdout.take().ok_or_else(|| Failure::cannot("a child has no standard output"))
    }

    /// Waits for its end; says how it ended, for people. Safe to cancel.
    pub(crate) async fn ended(&mut self) -> String {
        self.process.wait().await.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string())
    }

    /// Lets it end, and ends it if it does not within this time.
    pub(crate) async fn stop(mut self, within: Duration) {
        self.end(within).await;
    }

    /// The same of one whose place is taken by another.
    pub(crate) async fn end(&mut self, within: Duration) {
        drop(self.lifeline.take());
        if tokio::time::timeout(within, self.process.wait()).await.is_err() {
            drop(self.process.kill().await);
        }
    }

    /// Lets it live on after us.
    pub(crate) async fn leave(mut self) -> Result<(), Failure> {
        if let Some(mut lifeline) = self.lifeline.take() {
            let told = async { lifeline.write_all(STAY).await.and(lifeline.flush().await) }.await;
            told.map_err(|error| Failure::cannot(format!("process {} cannot be told to stay: {error}", self.pid)))?;
        }
        // kill_on_drop would end it: forgetting the handle is the documented way to keep a child.
        std::mem::forget(self.process);
        Ok(())
    }
}
