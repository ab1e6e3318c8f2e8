//! `cargo demo`: say what is coming, build the command line, become it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Failure;
use crate::workspace::{self, Workspace};

/// How long the first build takes: 4 min 39 s were measured for the dependencies on two cores, the rest is ours.
const FIRST_BUILD: &str = "about 7 minutes on two cores the first time, seconds afterwards";

/// `cargo demo -- ARGS` hands us the two dashes, which cargo's other commands need: with or without them it is the same.
fn without_dashes(arguments: &[String]) -> &[String] {
    match arguments.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => arguments,
    }
}

/// Builds `candor` and replaces this process by `candor demo ARGS`, so that signals and the exit code are its own.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    println!(
        "\
Candor demo: one paid, attested, logged and anchored answer, checked at every step; then ten lies, each refused.

  build   {FIRST_BUILD}
  network the crate registry during the first build; nothing but loopback sockets afterwards
  proof   this run has NO TEE HARDWARE. Its attestation is SIMULATED: a program on this machine signs it, and whoever
          controls this machine could forge it. The money is play money on a chain inside this program. The run shows that
          every check is made and that lies are refused. It does not show that anything is isolated from this machine.
"
    );
    workspace::run(&mut workspace.cargo(["build", "--release", "--locked", "-p", "candor-cli"]))?;
    let program = workspace.target_directory()?.join("release/candor");
    let error = Command::new(&program).arg("demo").args(without_dashes(arguments)).exec();
    Err(Failure::Check(format!("{}: {error}", program.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_dashes_make_no_difference_and_later_ones_are_the_programs() {
        let of = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (given, passed) in [("-- --keep", "--keep"), ("--keep", "--keep"), ("-- -- --keep", "-- --keep"), ("--", ""), ("", "")] {
            assert_eq!(without_dashes(&of(given)), of(passed), "{given:?}");
        }
    }
}
