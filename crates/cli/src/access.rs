//! `candor access new`: a key that opens a node without payment, and the hash by which the node's terms list it.
//!
//! - **Invariant:** a key is no argument of any command and is in no environment: it is printed once, or lies in a file of its owner's.

use std::path::PathBuf;
use std::process::ExitCode;

use candor_client::AccessKey;
use serde_json::json;

use crate::keys;
use crate::output::{Done, Failure, print_json, read, say, write_once};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a key, and print it once with its hash. The hash goes into the operator's terms, the key to whoever may ask for nothing.
    New {
        /// Write the key to this file, which must not exist yet, instead of printing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(crate) fn run(args: Args, json_output: bool) -> Done {
    let Command::New { out } = args.command;
    let key = AccessKey::random()?;
    let hash = key.hash();
    if let Some(path) = &out {
        write_once(path, format!("{}\n", key.reveal()).as_bytes())?;
    }
    let path = out.map(|path| path.display().to_string());
    if json_output {
        let shown = path.is_none().then(|| key.reveal());
        print_json(&json!({"key": shown, "file": path, "hash": hash.to_string()}));
        return Ok(ExitCode::SUCCESS);
    }
    match path {
        None => say!("key    {}   shown once: give it to whoever may ask", key.reveal()),
        Some(path) => say!("key    in {path}: give it to whoever may ask"),
    }
    say!("hash   {hash}   for the node: [access] keys of its configuration, or candor serve --access-key-hash {hash}");
    Ok(ExitCode::SUCCESS)
}

/// How a buyer names the key that opens a node.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct KeyArg {
    /// File whose first line is a key that opens the node (candor access new). Nothing is paid then, and no wallet is needed.
    #[arg(long, value_name = "FILE", env = "CANDOR_ACCESS_KEY_FILE")]
    access_key_file: Option<PathBuf>,
}

impl KeyArg {
    pub(crate) fn load(&self) -> Result<Option<AccessKey>, Failure> {
        let Some(path) = &self.access_key_file else { return Ok(None) };
        // Whoever can read the file can ask in its owner's name.
        keys::check_private(path)?;
        let bytes = read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let key = AccessKey::new(text.lines().next().unwrap_or_default().trim());
        key.map(Some).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
    }
}
