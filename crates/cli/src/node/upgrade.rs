//! `candor upgrade`: new terms or a new release for a node that runs, without an interruption of its sales (ADR 0016).
//!
//! The command talks to the running `serve` over a unix socket in the node's directory: one line of JSON each way and more as it goes on. Whoever
//! reaches the socket has a program run as this node, so it is for the node's user alone: its directory has mode 0700, it has 0600.
//!
//! ```text
//! {"terms": "/…/terms.cbor", "program": "/…/candor"}      asked
//! {"said": "started", …} {"said": "handed_over", …} {"said": "drained"}     or {"error": "…", "code": 2}
//! ```

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::setup::Asked;
use super::{DRAINED, HANDED_OVER};
use crate::config::{ConfigArg, from_here};
use crate::dev;
use crate::output::{Done, Failure, note, print_json, say};

/// Name of the socket in a node's directory.
const SOCKET: &str = "serve.sock";

/// Longest request: two paths.
const REQUEST_MAX: u64 = 16 << 10;

/// Time for a request to be said.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// Things that are said of one upgrade, and wait to be read.
const SAID_MAX: usize = 8;

/// New terms or a new release for a running node, without a pause.
///
/// The running `candor serve` starts a second enclave beside the first. Once that is registered it takes over; the first finishes its answers
/// and ends by itself. Terms, models, prices and limits are what node.toml says now. Until the new boot is registered nothing changes: if it
/// fails, the node sells on as before.
#[derive(clap::Args)]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Signed terms for the new boot; if not said, as at a start: those that node.toml names, or new ones.
    #[arg(long, value_name = "FILE")]
    terms: Option<PathBuf>,
    /// The program whose enclave takes over; this one if not said. Of another release, buyers' policies must accept it first.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Wait until the old enclave has ended too.
    #[arg(long)]
    wait: bool,
}

/// Somebody asked a running node for another boot.
pub(super) struct Request {
    pub(super) asked: Asked,
    /// Where it is told how it goes; closed when there is nothing more to tell.
    pub(super) asker: mpsc::Sender<Value>,
}

/// Where a running node is asked.
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
    requests: (mpsc::Sender<Request>, mpsc::Receiver<Request>),
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

impl Door {
    /// Opens it in the directory of a node. To be called with the directory's lock held: a socket that lies there is a dead one's.
    pub(super) fn open(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(SOCKET);
        let cannot = |error: std::io::Error| Failure::cannot(format!("{}: {error}", path.display()));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(cannot)?;
        // Before it nobody else can reach it either: the directory is private.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
        Ok(Self { listener, path, requests: mpsc::channel(1) })
    }

    /// The next request. Safe to cancel.
    pub(super) async fn asked(&mut self) -> Request {
        loop {
            tokio::select! {
                Some(request) = self.requests.1.recv() => return request,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => drop(tokio::spawn(answer(stream, self.requests.0.clone()))),
                    // Out of file descriptors, for example.
                    Err(_) => tokio::time::sleep(REQUEST_TIME).await,
                }
            }
        }
    }
}

/// One connection: a request, and what is said of it until there is nothing more.
async fn answer(stream: UnixStream, requests: mpsc::Sender<Request>) {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let read = tokio::time::timeout(REQUEST_TIME, BufReader::new(reader.take(REQUEST_MAX)).read_line(&mut line)).await;
    let (asker, mut said) = mpsc::channel(SAID_MAX);
    match asked(&line).filter(|_| matches!(read, Ok(Ok(_)))) {
        Some(asked) => {
            if requests.send(Request { asked, asker }).await.is_err() {
                return;
            }
        }
        None => {
            drop(asker.try_send(json!({"error": "expected a request of this version of candor upgrade, got something else", "code": 2})))
        }
    }
    while let Some(value) = said.recv().await {
        if writer.write_all(format!("{value}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn asked(line: &str) -> Option<Asked> {
    let value: Value = serde_json::from_str(line.strip_suffix('\n')?).ok()?;
    let absolute = |name: &str| value[name].as_str().map(PathBuf::from).filter(|path| path.is_absolute());
    let terms = absolute("terms");
    // A path that cannot be read as one must not become the terms of node.toml.
    (terms.is_some() || value["terms"].is_null()).then_some(())?;
    Some(Asked { terms, program: absolute("program")? })
}

/// Asks a running node, and waits until the new boot sells.
pub(crate) async fn upgrade(args: UpgradeArgs, state: &Path, json_output: bool) -> Done {
    let settings = args.config.load(state)?;
    let program = args.program.map_or_else(dev::this_program, |path| Ok(from_here(path)))?;
    let terms = args.terms.map(from_here);
    for path in [Some(&program), terms.as_ref()].into_iter().flatten() {
        std::fs::metadata(path).map_err(|error| Failure::cannot(format!("{}: {error}; nothing was changed", path.display())))?;
    }
    let path = settings.text.node.data.join(SOCKET);
    let nobody = |error: std::io::Error| {
        Failure::cannot(format!(
            "{}: no `candor serve` answers there ({error}); --config says which node. Halves that were started apart are upgraded by starting \
             them again",
            path.display()
        ))
    };
    let mut stream = UnixStream::connect(&path).await.map_err(nobody)?;
    let request = json!({"terms": terms, "program": program});
    stream.write_all(format!("{request}\n").as_bytes()).await.map_err(nobody)?;
    let mut lines = BufReader::new(stream).lines();
    let mut done = json!({});
    while let Some(line) = lines.next_line().await.map_err(nobody)? {
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(error) = said["error"].as_str() {
            let code = said["code"].as_u64().and_then(|code| u8::try_from(code).ok()).unwrap_or(2);
            return Err(Failure::cannot(error).with_code(code));
        }
        let word = said["said"].as_str().unwrap_or_default().to_owned();
        if !json_output {
            tell(&word, &said);
        }
        for (key, value) in said.as_object().into_iter().flatten().filter(|(key, _)| *key != "said") {
            done[key] = value.clone();
        }
        done["state"] = word.clone().into();
        let is_over = word == DRAINED || (word == HANDED_OVER && !args.wait);
        if is_over {
            if json_output {
                print_json(&done);
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
    let what = "`candor serve` ended before the new boot sold";
    Err(Failure::cannot(format!("{what}; start it again: it starts with what node.toml says now")))
}

/// How it goes, for people.
fn tell(word: &str, said: &Value) {
    let text = |key: &str| said[key].as_str().unwrap_or_default();
    match word {
        "started" => note!(
            "a second enclave boots (pid {}), under terms {}; the first sells on until it is registered",
            said["enclave_pid"],
            text("terms")
        ),
        HANDED_OVER => say!(
            "the new boot sells: log {}. The old enclave (pid {}) finishes its answers and ends by itself: candor status",
            text("log_id"),
            said["former_pid"]
        ),
        DRAINED if said["still"].is_string() => {
            say!("the old enclave still waited for {} when its time was over, and has ended", text("still"))
        }
        DRAINED if said["ended"].is_null() => say!("the old enclave had nothing left to do, and has ended"),
        DRAINED => say!("the old enclave ended before it was done ({}); what it was making is lost and was not charged", text("ended")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_with_absolute_paths_is_a_request() {
        let paths = |line: &str| asked(line).map(|asked| (asked.terms, asked.program));
        assert_eq!(paths("{\"terms\":null,\"program\":\"/bin/candor\"}\n"), Some((None, "/bin/candor".into())));
        assert_eq!(paths("{\"terms\":\"/t\",\"program\":\"/p\"}\n"), Some((Some("/t".into()), "/p".into())));
        for bad in [
            "",
            "{}\n",
            "{\"terms\":null,\"program\":\"/bin/candor\"}",
            "{\"terms\":null,\"program\":\"candor\"}\n",
            "{\"terms\":\"t\",\"program\":\"/p\"}\n",
            "{\"terms\":7,\"program\":\"/p\"}\n",
        ] {
            assert!(asked(bad).is_none(), "{bad}");
        }
    }
}
