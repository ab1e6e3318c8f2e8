//! The project's own tasks: `cargo xtask <command>`, and `cargo demo`.
//!
//! One entry point at home and in CI. Standard library only, so that it compiles in seconds before anything else does.
//!
//! ```text
//! main ─┬─ demo    build the command line, then become `candor demo`
//!       ├─ test    the checks, step by step         steps.rs lists them; npm.rs and python.rs find other people's programs
//!       ├─ tidy    what a compiler does not check   tidy/
//!       ├─ bench   the figures; those of gas     gas.rs
//!       └─ dist    what is published             dist/
//! ```

mod analysis;
mod bench;
mod demo;
mod dist;
mod gas;
mod json;
mod npm;
mod packaging;
mod prometheus;
mod python;
mod report;
mod steps;
mod test;
mod tidy;
mod workspace;

use std::env;
use std::process::ExitCode;

use workspace::Workspace;

const HELP: &str = "\
Candor's project tasks.

usage: cargo xtask <command> [arguments]

  demo [ARGS]         build `candor` and run `candor demo ARGS`; `cargo demo` is the same
  test                the checks of the tier `core`, in order; stops at the first that fails
  test --long         every check: after those of `core` the ones that cost much
  test --list         the names of the steps, and their tiers
  test --only STEP    one step (may be repeated)
  tidy                crate edges, file headers, licences, snapshots, spec against code
  tidy --bless        the same, and rewrite the snapshots in xtask/
  bench [NAME] [--dist] [-- ARGS]
                      criterion benches; --dist builds them as releases are built
  bench gas           gas of whole transactions, beside the aims; nothing of it depends on the machine
  dist [--target T]... [--deb]
                      what is published: static programs for x86-64 and aarch64 Linux with all that belongs beside them, in archives
                      with checksums; --deb makes Debian packages of them too
  help                this text

Exit code: 0 when all is well, 1 when a check failed, 2 for usage; `demo` passes on the code of `candor demo`.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    if matches!(command.as_str(), "help" | "--help" | "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let outcome = Workspace::find().map_err(Failure::Check).and_then(|workspace| match command.as_str() {
        "demo" => demo::run(&workspace, rest),
        "test" => test::run(&workspace, rest),
        "tidy" => tidy::run(&workspace, rest),
        "bench" => bench::run(&workspace, rest),
        "dist" => dist::run(&workspace, rest),
        other => Err(Failure::Usage(format!("there is no command `{other}`"))),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Check(message)) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Reported) => ExitCode::FAILURE,
        Err(Failure::Usage(message)) => {
            eprintln!("xtask: {message}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// Why a command did not succeed.
enum Failure {
    /// Something is wrong with the tree or this machine; the text says what and how to repeat it.
    Check(String),
    /// The same, and the text is printed already: the last line of the output is not to be an error.
    Reported,
    /// The arguments make no sense.
    Usage(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Check(message)
    }
}
