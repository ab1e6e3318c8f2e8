//! Child processes of the same program, each speaking one JSON line when it is up.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::lifetime;
use crate::output::Failure;

/// How long a process may take to come up.
const UP_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a process may take to go.
const DOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running child. Dropped, it is killed; when this process is gone, it ends.
pub(crate) struct Child {
    name: String,
    child: lifetime::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this program with these arguments.
    pub(crate) fn start(state: &Path, args: &[&str], errors: Stdio) -> Result<Self, Failure> {
        let mut command = lifetime::Child::command()?;
        command.arg("--json").arg("--state").arg(state).args(args).stdout(Stdio::piped()).stderr(errors);
        let mut child = lifetime::Child::start(command)?;
        let lines = BufReader::new(child.stdout()?).lines();
        Ok(Self { name: args.first().copied().unwrap_or_default().to_owned(), child, lines })
    }

    /// Its next line, as JSON.
    pub(crate) async fn line(&mut self) -> Result<Value, Failure> {
        let cannot = |what: &str| Failure::cannot(format!("candor {} {what}", self.name));
        match tokio::time::timeout(UP_TIMEOUT, self.lines.next_line()).await {
            Err(_) => Err(cannot("said nothing for a minute")),
            Ok(Err(_) | Ok(None)) => Err(cannot("ended before it was up")),
            Ok(Ok(Some(line))) => {
                let value: Value = serde_json::from_str(&line).map_err(|_| cannot("spoke no JSON"))?;
                match value["error"].as_str() {
                    Some(error) => Err(cannot(error)),
                    None => Ok(value),
                }
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Lets it end, and ends it if it does not.
    pub(crate) async fn stop(self) {
        self.child.stop(DOWN_TIMEOUT).await;
    }

    /// Lets it run on after us.
    pub(crate) async fn leave(self) -> Result<(), Failure> {
        self.child.leave().await
    }
}

/// Runs this program to its end and returns exit code and output.
pub(crate) async fn run_once(state: &Path, args: &[&str]) -> Result<(Option<i32>, String), Failure> {
    let mut command = lifetime::Child::command()?;
    let output = command.arg("--state").arg(state).args(args).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| Failure::cannot(error.to_string()))?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Peak resident memory of this process, for people.
pub(crate) fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    format!("peak memory {}", peak.trim())
}
