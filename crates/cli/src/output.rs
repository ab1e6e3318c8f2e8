//! How the command speaks: text or one JSON value, failures with what to do next, exit codes that scripts can rely on.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::ClientError;
use serde_json::{Value, json};

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    check: Option<&'static str>,
    bundle: Option<PathBuf>,
    message: String,
}

/// What every command returns.
pub(crate) type Done = Result<ExitCode, Failure>;

impl Failure {
    /// Exit code 2: it could not be told, or was asked wrongly.
    pub(crate) fn cannot(message: impl Into<String>) -> Self {
        Self { code: 2, check: None, bundle: None, message: message.into() }
    }

    /// The message.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints it and returns its exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            let mut value = json!({"ok": false, "check": self.check, "error": self.message});
            if let Some(bundle) = &self.bundle {
                value["bundle"] = bundle.display().to_string().into();
            }
            println!("{value}");
        } else {
            eprintln!("candor: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self { code: error.exit_code(), check: error.check(), bundle: error.kept().map(Path::to_owned), message: error.to_string() }
    }
}

impl From<candor_chain::ChainError> for Failure {
    fn from(error: candor_chain::ChainError) -> Self {
        let hint = if error.is_temporary() { " (is `candor chain` running, or is --rpc right?)" } else { "" };
        Self::cannot(format!("{error}{hint}"))
    }
}

/// Prints a JSON value on one line.
pub(crate) fn print_json(value: &Value) {
    println!("{value}");
}

/// Reads a whole file, naming it if it cannot be read.
pub(crate) fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

/// Resolves when somebody asks this process to end: Ctrl-C, or `kill`.
pub(crate) async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    // Without a handler the default action ends the process, which is what was asked for.
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return drop(tokio::signal::ctrl_c().await) };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
