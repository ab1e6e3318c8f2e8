//! `cargo demo`: say what is coming, build the command line, become it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Failure;
use crate::workspace::{self, Workspace};

/// How long the first build takes: 4 min 39 s were measured for the dependencies on two cores, the rest is ours.
const FIRST_BUILD: &str = "about 7 minutes on two cores the first time, seconds afterwards";

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
    let error = Command::new(&program).arg("demo").args(arguments).exec();
    Err(Failure::Check(format!("{}: {error}", program.display())))
}
