//! The state directory and its version: what a state of another version would mean is not guessed. `candor state reset`: begin anew.
//!
//! A file `VERSION` in it says which version wrote it. A state without one, with something of ours in it, is older than that file: version
//! 0. A wallet alone is of every version. Not here: what lies in a state; each module knows its own part.
//! - **Invariant:** nothing of a state is deleted. What is not used any more is moved aside, within the directory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{private_directory, write_private};
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS};
use serde_json::json;

use crate::output::{Done, Failure, print_json, say};
use crate::{calendar, dev, node, proxy, wallet};

/// Version of the state that this program reads and writes. Raised by whoever changes a file in it so that older ones cannot be read.
const VERSION: &str = "5";

const VERSION_FILE: &str = "VERSION";

/// What shows that a directory without a version is a state: another's files beside it do not.
const PARTS: [&str; 8] = ["bundles", dev::DATABASE, "node", "policy.toml", proxy::keys::FILE, "proxy.token", "spends.json", "tee"];

/// What earlier resets left.
const ASIDE: &str = "aside-";

/// Longest version that is read, in characters: it is a number.
const VERSION_CHARS: usize = 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Begin anew: move what the state directory holds into a dated directory in it. Nothing is deleted.
    Reset {
        /// Leave the wallet where it is, and the keys of its proxy: without them anybody could spend it.
        #[arg(long)]
        keep_wallet: bool,
    },
}

pub(crate) fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let Command::Reset { keep_wallet } = args.command;
    let (aside, moved) = reset(state, keep_wallet)?;
    if json_output {
        print_json(&json!({"state": state.display().to_string(), "aside": aside.display().to_string(), "moved": moved}));
        return Ok(ExitCode::SUCCESS);
    }
    match moved.is_empty() {
        true => say!("{} holds nothing to move", state.display()),
        false => say!("moved to {}: {}", aside.display(), moved.join(", ")),
    }
    if moved.iter().any(|name| name == dev::DATABASE || name == "spends.json") {
        say!(
            "payments that were still open are written down only there: whoever asks the same again within {} s may pay twice",
            MAX_TIMEOUT_SECONDS + MAX_SKEW_SECONDS
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a state of another version.
pub(crate) fn check(state: &Path) -> Result<(), Failure> {
    match version(state)? {
        Some(got) if got != VERSION => Err(Failure::cannot(format!(
            "{} is a state of version {got}, and this program reads version {VERSION}. `candor state reset --keep-wallet` moves all but \
             the wallet aside and begins anew; another state is named with --state DIR",
            state.display()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Writes the version into a state that has none. Only after [`check`].
pub(crate) fn mark(state: &Path) -> Result<(), Failure> {
    let path = state.join(VERSION_FILE);
    if !path.exists() {
        write_private(&path, format!("{VERSION}\n").as_bytes())?;
    }
    Ok(())
}

/// The version of what is there; `None` if there is no state yet.
fn version(state: &Path) -> Result<Option<String>, Failure> {
    let path = state.join(VERSION_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().chars().take(VERSION_CHARS).collect())),
        Err(_) if !path.exists() => Ok(PARTS.iter().any(|part| state.join(part).exists()).then(|| "0".to_owned())),
        Err(error) => Err(Failure::cannot(format!("{}: {error}", path.display()))),
    }
}

/// Moves everything aside, but for the wallet if it is to be kept. Where to, and what was moved.
fn reset(state: &Path, keep_wallet: bool) -> Result<(PathBuf, Vec<String>), Failure> {
    private_directory(state)?;
    let directory = state.join("node");
    // Until the end: nothing is moved away under a node that serves.
    let _held = directory.is_dir().then(|| node::hold(&directory)).transpose()?;
    let cannot = |path: &Path, error: std::io::Error| Failure::cannot(format!("{}: {error}", path.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(state).map_err(|error| cannot(state, error))? {
        let name = entry.map_err(|error| cannot(state, error))?.file_name();
        // Trust: the keys of a proxy are kept with what they guard. Without their file a proxy serves everybody.
        let is_kept = keep_wallet && wallet::FILES.iter().chain([&proxy::keys::FILE]).any(|file| name == *file);
        if !is_kept && !name.to_string_lossy().starts_with(ASIDE) {
            names.push(name);
        }
    }
    names.sort();
    let aside = free_directory(state);
    if !names.is_empty() {
        private_directory(&aside)?;
    }
    // Crash: what is not moved yet is moved by the next reset, into a directory of its own. The version goes first (it sorts before the
    // names of our files), and a state without one is of version 0, so that until then nobody takes half a state for a whole one.
    for name in &names {
        let from = state.join(name);
        std::fs::rename(&from, aside.join(name)).map_err(|error| cannot(&from, error))?;
    }
    mark(state)?;
    Ok((aside, names.iter().map(|name| name.to_string_lossy().into_owned()).collect()))
}

/// A name in the state that nothing has: two resets may be within one second.
fn free_directory(state: &Path) -> PathBuf {
    let stamp = calendar::stamp(dev::now().0);
    let mut path = state.join(format!("{ASIDE}{stamp}"));
    let mut more = 1_u32;
    while path.symlink_metadata().is_ok() {
        more = more.saturating_add(1);
        path = state.join(format!("{ASIDE}{stamp}-{more}"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("candor-state-{name}-{}", std::process::id()));
        private_directory(&path).unwrap();
        path
    }

    #[test]
    fn a_state_of_another_version_is_refused_by_name_with_the_command_that_helps() {
        let state = directory("version");
        assert!(check(&state.join("none")).is_ok() && check(&state).is_ok(), "what is not there, or empty, is of no version");
        std::fs::write(state.join("notes.txt"), "mine").unwrap();
        std::fs::write(state.join(wallet::KEYSTORE), "{}").unwrap();
        assert!(check(&state).is_ok(), "a wallet, and what is not ours, are of every version");
        std::fs::write(state.join("policy.toml"), "").unwrap();
        let refused = check(&state).unwrap_err();
        assert!(refused.message().contains("version 0") && refused.message().contains("candor state reset --keep-wallet"), "{refused:?}");
        mark(&state).unwrap();
        assert!(check(&state).is_ok());
        for other in ["0", "1", "2", "3", "4", "6", "", "one\u{1b}[2K"] {
            std::fs::write(state.join(VERSION_FILE), other).unwrap();
            assert!(check(&state).is_err(), "{other:?}");
        }
        std::fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn a_reset_moves_everything_aside_and_keeps_the_wallet_where_it_is_if_asked_to() {
        let state = directory("reset");
        for name in [wallet::KEYSTORE, wallet::FILES[1], "policy.toml", dev::DATABASE, VERSION_FILE] {
            std::fs::write(state.join(name), name).unwrap();
        }
        std::fs::create_dir(state.join("bundles")).unwrap();
        std::fs::write(state.join("bundles/a.candor"), "evidence").unwrap();
        let (aside, moved) = reset(&state, true).unwrap();
        assert_eq!(moved, [VERSION_FILE, "bundles", dev::DATABASE, "policy.toml"]);
        assert_eq!(std::fs::read_to_string(aside.join("bundles/a.candor")).unwrap(), "evidence");
        assert_eq!(std::fs::read_to_string(state.join(wallet::KEYSTORE)).unwrap(), wallet::KEYSTORE);
        assert!(check(&state).is_ok() && !state.join("policy.toml").exists());
        // Again, within the same second: what was moved before stays where it is.
        let (again, moved) = reset(&state, false).unwrap();
        assert_eq!(moved, [VERSION_FILE, wallet::FILES[0], wallet::FILES[1]]);
        assert!(again != aside && aside.join("policy.toml").exists() && again.join(wallet::KEYSTORE).exists());
        assert!(check(&state).is_ok());
        std::fs::remove_dir_all(state).unwrap();
    }
}
