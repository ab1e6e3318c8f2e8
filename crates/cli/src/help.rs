//! What `candor --help` shows: the commands by what somebody wants to do.

use clap::{Command, CommandFactory as _};

use crate::Cli;

/// What somebody wants, and the commands for it, in the order in which they are needed.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Buy answers", &["ask", "chat", "proxy", "wallet", "policy", "nodes", "bundles"]),
    ("Sell answers", &["init", "doctor", "serve", "status", "config", "terms", "prices", "upgrade", "funds", "access"]),
    ("Check evidence", &["verify", "replay", "inspect", "registry", "log", "prove", "observe"]),
    ("Build and try", &["demo", "chain", "deploy", "attestor", "conformance", "state", "completions"]),
];

/// Before and after the commands.
const HEAD: &str = "{about-with-newline}\n{usage-heading} {usage}\n";
const TAIL: &str = "\nOptions:\n{options}\n\n`candor COMMAND --help` says more. First: `candor demo`.\n";

/// The command line.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let about = |name: &str| command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string).unwrap_or_default();
    let group = |(title, names): (&str, &[&str])| {
        let rows: String = names.iter().map(|name| format!("  {name:<12} {}\n", first_sentence(&about(name)))).collect();
        format!("\n{title}:\n{rows}")
    };
    let template = format!("{HEAD}{}{TAIL}", GROUPS.map(group).concat());
    command.help_template(template)
}

/// A command in one line.
fn first_sentence(about: &str) -> &str {
    about.split_once(". ").map_or(about, |(first, _)| first).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_that_is_not_hidden_is_in_one_group() {
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = Cli::command();
        let shown: BTreeSet<&str> = command.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name).collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), shown);
        assert_eq!(grouped.len(), shown.len(), "none twice");
    }

    #[test]
    fn help_fits_eighty_columns_and_fifty_lines() {
        let help = super::command().render_help().to_string();
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|width| width <= 80), "{widest:?}: {help}");
        assert!(help.lines().count() <= 50, "{} lines", help.lines().count());
    }
}
