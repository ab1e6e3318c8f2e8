//! How the command speaks: text or one JSON value, failures with what to do next, exit codes that scripts can rely on.
//!
//! Everything goes through [`say!`] and [`note!`]: whoever reads may have heard enough (`candor verify FILE | head -3`), and that must
//! neither stop a payment half-way nor change a verdict's exit code.
//! - **Invariant:** no byte leaves but through the functions here that write, and they let no terminal be told what to do: names, errors and
//!   answers are texts of strangers, and one that clears a line can write VERIFIED on it. Escape sequences are `paint`'s alone.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use candor_client::{ClientError, write_new};
use candor_verify::text::{is_control, visible};
use serde_json::{Value, json};

use crate::paint::{Line, Screen};

/// A line on standard output; like `println!`, but a reader that is gone is no error.
macro_rules! say {
    () => { $crate::output::write_out(format_args!("\n")) };
    ($($part:tt)*) => { $crate::output::write_out(format_args!("{}\n", format_args!($($part)*))) };
}

/// A line on standard error, likewise.
macro_rules! note {
    ($($part:tt)*) => { $crate::output::write_err(format_args!("{}\n", format_args!($($part)*))) };
}

pub(crate) use {note, say};

/// Something that was said did not arrive, and not because its reader had enough.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Prose goes to standard error: standard output is for what was asked for alone.
static IS_PROSE_ASIDE: AtomicBool = AtomicBool::new(false);

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    check: Option<&'static str>,
    // A stable word for what went wrong that is no check.
    word: Option<&'static str>,
    bundle: Option<PathBuf>,
    message: String,
}

/// What every command returns.
pub(crate) type Done = Result<ExitCode, Failure>;

impl Failure {
    /// Exit code 2: it could not be told, or was asked wrongly.
    pub(crate) fn cannot(message: impl Into<String>) -> Self {
        Self { code: 2, check: None, word: None, bundle: None, message: message.into() }
    }

    /// Exit code 1: it was judged, and this check refused it.
    pub(crate) fn refused(check: &'static str, message: impl Into<String>) -> Self {
        Self { code: 1, check: Some(check), word: None, bundle: None, message: message.into() }
    }

    /// The same with another exit code, for a command with a contract of its own.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The same about an answer that is kept in this file.
    pub(crate) fn about(self, bundle: &Path) -> Self {
        let message = format!("{}; the answer is kept in {}", self.message, bundle.display());
        Self { bundle: Some(bundle.to_owned()), message, ..self }
    }

    /// The message.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints it and returns its exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            let mut value = json!({"ok": false, "check": self.check, "error": self.message});
            if let Some(word) = self.word {
                value["code"] = word.into();
            }
            if let Some(bundle) = &self.bundle {
                value["bundle"] = bundle.display().to_string().into();
            }
            print_json(&value);
        } else {
            note!("candor: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let hint = match error {
            ClientError::NoNode(_) => "; a node of your own is started with `candor serve`",
            _ => "",
        };
        let bundle = error.kept().map(Path::to_owned);
        Self { code: error.exit_code(), check: error.check(), word: error.code(), bundle, message: format!("{error}{hint}") }
    }
}

impl From<candor_chain::ChainError> for Failure {
    fn from(error: candor_chain::ChainError) -> Self {
        let (hint, word) = match error.is_temporary() {
            true => (" (is `candor chain` running, or is --rpc right?)", Some("chain_unavailable")),
            false => ("", None),
        };
        Self { word, ..Self::cannot(format!("{error}{hint}")) }
    }
}

/// Behind [`say!`].
pub(crate) fn write_out(text: fmt::Arguments<'_>) {
    if IS_PROSE_ASIDE.load(Ordering::Relaxed) {
        return write_err(text);
    }
    write_stdout(&visible(&text.to_string()));
}

/// What somebody asked for, and takes into a file: on standard output, also where prose is not.
pub(crate) fn write_result(text: fmt::Arguments<'_>) {
    write_stdout(&visible(&text.to_string()));
}

/// Behind [`note!`]. What cannot be said here can be said nowhere.
pub(crate) fn write_err(text: fmt::Arguments<'_>) {
    drop(std::io::stderr().write_all(visible(&text.to_string()).as_bytes()));
}

/// Behind [`Line::say`].
pub(crate) fn write_line(line: &Line) {
    if IS_PROSE_ASIDE.load(Ordering::Relaxed) {
        return write_err_line(line);
    }
    write_stdout(&line.render(Screen::of(false)));
}

/// Behind [`Line::note`].
pub(crate) fn write_err_line(line: &Line) {
    drop(std::io::stderr().write_all(line.render(Screen::of(true)).as_bytes()));
}

/// Writes text that was made harmless.
fn write_stdout(text: &str) {
    let mut stdout = std::io::stdout();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        IS_LOST.store(true, Ordering::Relaxed);
    }
}

/// Clears the screen, for what is shown again and again in one place; only where somebody looks at one.
pub(crate) fn clear() {
    if std::io::stdout().is_terminal() {
        write_stdout("\u{1b}[2J\u{1b}[H");
    }
}

/// From here on standard output carries JSON and [`write_result`] only.
pub(crate) fn prose_aside() {
    IS_PROSE_ASIDE.store(true, Ordering::Relaxed);
}

/// Prints a JSON value on one line.
pub(crate) fn print_json(value: &Value) {
    write_stdout(&format!("{}\n", escaped(&value.to_string())));
}

/// The same value without a control: what JSON does not have escaped (DEL, C1, bidirectional controls) can only be inside its strings.
pub(crate) fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        match is_control(c) {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
        out
    })
}

/// The exit code, or 2 if what was said is lost (a full disk): half a verdict is none.
pub(crate) fn finish(code: ExitCode) -> ExitCode {
    if !IS_LOST.load(Ordering::Relaxed) {
        return code;
    }
    note!("candor: standard output could not be written");
    ExitCode::from(2)
}

/// Whether there is somebody to ask.
pub(crate) fn can_ask(json_output: bool) -> bool {
    !json_output && std::io::stdin().is_terminal()
}

/// Asks for a yes. Who cannot be asked has not agreed.
pub(crate) fn is_confirmed(json_output: bool, question: &str) -> Result<bool, Failure> {
    if !can_ask(json_output) {
        return Err(Failure::cannot("there is nobody to ask for a yes; if you looked at it, say so with --yes"));
    }
    Ok(matches!(ask(question)?.as_str(), "y" | "Y" | "yes"))
}

/// Asks for a line on the terminal: on standard error, because standard output may be a file.
pub(crate) fn ask(question: &str) -> Result<String, Failure> {
    write_err(format_args!("{question}"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().take(ANSWER_MAX).read_line(&mut answer);
    match read {
        Ok(0) => Err(Failure::cannot("standard input ended before the answer")),
        Ok(_) => Ok(answer.trim().to_owned()),
        Err(error) => Err(Failure::cannot(format!("no answer: {error}"))),
    }
}

/// Longest line that somebody answers.
const ANSWER_MAX: u64 = 4096;

/// Reads a whole file, naming it if it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

/// Writes a file that only its owner can read, whole or not at all, and over nothing but itself: one that is there is never overwritten, also not
/// one that came a moment ago.
pub(crate) fn write_once(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    // Of the same length, or it is not read: it may be anything.
    let is_long = || std::fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() == bytes.len() as u64);
    if write_new(path, bytes)? || (is_long() && read(path)? == bytes) {
        return Ok(());
    }
    Err(Failure::cannot(format!("{} is there already and was not touched; name another file", path.display())))
}

/// The address if it can be listened on, with a free port for `:0`; else the flag that chooses another.
///
/// Somebody else listens on it a moment later, so a free port is not one of those that the system gives to outgoing connections: any of these
/// may take it meanwhile.
pub(crate) fn free_address(address: SocketAddr, flag: &str) -> Result<SocketAddr, Failure> {
    let bind = |address: SocketAddr| TcpListener::bind(address).and_then(|listener| listener.local_addr());
    if address.port() == 0 {
        let ports = std::iter::repeat_with(any_port).take(PORT_TRIES);
        if let Some(free) = ports.map(|port| bind(SocketAddr::new(address.ip(), port))).find_map(Result::ok) {
            return Ok(free);
        }
    }
    bind(address).map_err(|error| Failure::cannot(format!("cannot listen on {address}: {error}; choose another with {flag}")))
}

/// Ports below the range of outgoing connections (Linux: 32768 to 60999, BSD and macOS above), and above what services use.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Ports that are tried before the system chooses.
const PORT_TRIES: usize = 32;

/// Anywhere in [`FREE_PORTS`]: two that look at the same time should not find the same.
fn any_port() -> u16 {
    let random = RandomState::new().build_hasher().finish();
    let width = u64::from(FREE_PORTS.end - FREE_PORTS.start);
    u16::try_from(random % width).map_or(FREE_PORTS.start, |at| FREE_PORTS.start + at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_free_port_is_none_that_an_outgoing_connection_may_take() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let ports: BTreeSet<u16> = (0..50).map(|_| free_address(any, "--x").unwrap().port()).collect();
        assert!(ports.iter().all(|port| FREE_PORTS.contains(port)) && 40 < ports.len(), "{ports:?}");
        let held = TcpListener::bind(any).unwrap();
        let taken = free_address(held.local_addr().unwrap(), "--x").unwrap_err();
        assert!(taken.message().contains("choose another with --x"), "{}", taken.message());
    }

    #[test]
    fn nothing_is_written_over_another_file() {
        let directory = std::env::temp_dir().join(format!("candor-once-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("key");
        write_once(&path, b"one").unwrap();
        write_once(&path, b"one").unwrap();
        for other in [&b"two"[..], b"", b"longer"] {
            assert!(write_once(&path, other).unwrap_err().message().contains("not touched"));
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap()) & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "nothing half written");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn json_without_controls_is_the_same_value() {
        let hostile = json!({"a\u{9b}": "\u{1b}[2K\r\n\u{7f}\u{202e}\u{feff}", "b": ["größer \u{1f469}\u{200d}\u{1f52c}"]});
        let text = escaped(&hostile.to_string());
        assert!(!text.chars().any(is_control), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), hostile);
    }
}
