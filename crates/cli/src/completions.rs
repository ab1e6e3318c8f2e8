//! What a shell and `man` know of the commands, made from the commands themselves: `candor completions SHELL`, `candor man DIR`.
//!
//! `cargo xtask dist` packs both. Not here: what the commands say of themselves; that stands beside each of them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::aot::{Bash, Fish, Zsh, generate};
use serde_json::json;

use crate::output::{Done, Failure, print_json, say, write_out};

const NAME: &str = "candor";

#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    /// For this shell.
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// An existing directory. Pages of the same names in it are written anew.
    dir: PathBuf,
}

/// Prints what the shell is to read.
pub(crate) fn completions(args: &CompletionsArgs, json: bool) -> Done {
    let mut command = crate::Cli::command();
    let mut script = Vec::new();
    match args.shell {
        Shell::Bash => generate(Bash, &mut command, NAME, &mut script),
        Shell::Zsh => generate(Zsh, &mut command, NAME, &mut script),
        Shell::Fish => generate(Fish, &mut command, NAME, &mut script),
    }
    let script = String::from_utf8(script).map_err(|error| Failure::cannot(format!("the completions are no text: {error}")))?;
    if json {
        print_json(&json!({"ok": true, "shell": format!("{:?}", args.shell).to_lowercase(), "script": script}));
    } else {
        write_out(format_args!("{script}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and one for each command that help shows.
pub(crate) fn man(args: &ManArgs, json: bool) -> Done {
    let problem = |error: std::io::Error| Failure::cannot(format!("{}: {error}", args.dir.display()));
    clap_mangen::generate_to(crate::Cli::command(), &args.dir).map_err(problem)?;
    if json {
        print_json(&json!({"ok": true, "dir": args.dir.display().to_string()}));
    } else {
        say!("manual pages are in {}", args.dir.display());
    }
    Ok(ExitCode::SUCCESS)
}
