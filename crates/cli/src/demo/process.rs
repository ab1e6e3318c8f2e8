//! Child processes of the same program, each speaking one JSON line when it is up.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::output::Failure;

/// How long a process may take to come up.
const UP_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a process may take to go.
const DOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running child. Dropped, it is killed.
pub(crate) struct Child {
    name: String,
    child: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    pid: u32,
}

impl Child {
    /// Starts this program with these arguments; its errors go to our standard error.
    pub(crate) fn start(state: &Path, args: &[&str]) -> Result<Self, Failure> {
        let name = args.first().copied().unwrap_or_default().to_owned();
        let cannot = |what: String| Failure::cannot(format!("candor {name}: {what}"));
        let program = std::env::current_exe().map_err(|error| cannot(error.to_string()))?;
        let mut child = Command::new(program)
            .arg("--json")
            .arg("--state")
            .arg(state)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| cannot(error.to_string()))?;
        let pid = child.id().unwrap_or_default();
        let stdout = child.stdout.take().ok_or_else(|| cannot("no standard output".into()))?;
        Ok(Self { name, child, lines: BufReader::new(stdout).lines(), pid })
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
        self.pid
    }

    /// Asks it to end, as Ctrl-C would, and ends it if it does not.
    pub(crate) async fn stop(mut self) {
        let asked = Command::new("kill").arg("-INT").arg(self.pid.to_string()).status().await;
        if asked.is_ok() && tokio::time::timeout(DOWN_TIMEOUT, self.child.wait()).await.is_ok() {
            return;
        }
        drop(self.child.kill().await);
    }

    /// Lets it run on after us.
    pub(crate) fn leave(self) {
        // kill_on_drop would end it: forgetting the handle is the documented way to keep a child.
        std::mem::forget(self.child);
    }
}

/// Runs this program to its end and returns exit code and output.
pub(crate) async fn run_once(state: &Path, args: &[&str]) -> Result<(Option<i32>, String), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::cannot(error.to_string()))?;
    let output = Command::new(program).arg("--state").arg(state).args(args).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| Failure::cannot(error.to_string()))?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Peak resident memory of this process, for people.
pub(crate) fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    format!("peak memory {}", peak.trim())
}
