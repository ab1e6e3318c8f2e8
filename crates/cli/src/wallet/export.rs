//! `candor wallet export`: the wallet for another program: its keystore as a file, or the key itself on the screen of whoever asked twice.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_verify::bytes::Hash32;
use serde_json::{Value, json};

use super::file::{self, Kind};
use super::{Passphrase, answer};
use crate::output::{Done, Failure, is_confirmed, note, read, say, write_once};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Write the keystore here, as it is: web3 v3 JSON, which every Ethereum wallet reads, under the passphrase that it has. A file that is
    /// there is not touched.
    #[arg(required_unless_present = "secret", conflicts_with = "secret")]
    path: Option<PathBuf>,
    /// Show the private key itself, on a terminal and after a yes there: never into a pipe, a file or JSON.
    #[arg(long)]
    secret: bool,
    #[command(flatten)]
    passphrase: Passphrase,
}

pub(super) fn run(args: Args, state: &Path, json_output: bool) -> Done {
    if !file::FILES.iter().any(|name| state.join(name).exists()) {
        let what = "no wallet of your own to export; the key of the development wallet is public (candor wallet new makes one of yours)";
        return Err(Failure::cannot(format!("{}: {what}", state.display())));
    }
    let Kind::Keystore(keystore) = file::find(state, candor_devchain::DEFAULT_CHAIN_ID)? else {
        return Err(Failure::cannot("wallet.toml: the key is where its program is, and not here: there is nothing to export"));
    };
    match args.path {
        Some(path) => copy(&keystore, &path, json_output),
        None => show(&keystore, &args.passphrase, json_output),
    }
}

fn copy(keystore: &Path, path: &Path, json_output: bool) -> Done {
    let bytes = read(keystore)?;
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if value["version"] != 3 || !value["crypto"].is_object() {
        return Err(Failure::cannot(format!("{}: expected a keystore (web3 v3 JSON), got another file", keystore.display())));
    }
    write_once(path, &bytes)?;
    let shown = path.display().to_string();
    let text = format!("wrote {shown}: whoever has it and its passphrase can pay from this wallet");
    answer(json_output, &json!({"path": shown, "address": value["address"].as_str().map(|address| format!("0x{address}"))}), &text);
    Ok(ExitCode::SUCCESS)
}

/// Only to a person: whatever reads a pipe keeps it, in a log, a history or a crash report. Scripts take the keystore.
fn show(keystore: &Path, passphrase: &Passphrase, json_output: bool) -> Done {
    if json_output || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::cannot(
            "a private key is shown on a terminal only, to somebody who can be asked; another program takes the keystore: candor wallet \
             export FILE",
        ));
    }
    note!("Whoever sees this key, on this screen or in its history, can take everything that the wallet holds, on every chain, for ever.");
    if !is_confirmed(json_output, "show the private key? [y/N] ")? {
        return Err(Failure::cannot("not shown"));
    }
    let passphrase = passphrase.get(&format!("passphrase of {}: ", keystore.display()))?;
    let signer = file::decrypt(keystore, &passphrase)?;
    say!("{}", Hash32(signer.to_bytes()));
    Ok(ExitCode::SUCCESS)
}
