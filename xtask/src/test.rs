//! `cargo xtask test`: runs the steps of `steps.rs` in order and stops at the first that fails. Without `--long` those of the tier `long`
//! are left out, and named at the end.
//!
//! The last line of a full run is the number of tests, alone on its line, so that a program can read it.

use std::io::{self, Write};
use std::time::Instant;

use crate::Failure;
use crate::report::{Ran, not_run, print_times};
use crate::steps::{self, Context, Step, Tier};
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let steps = steps::all(workspace)?;
    let long: Vec<String> = steps.iter().filter(|step| step.tier == Tier::Long).map(|step| step.name.clone()).collect();
    let (chosen, whole) = match arguments {
        [] => (steps.into_iter().filter(|step| step.tier == Tier::Core).collect(), true),
        [option] if option == "--long" => (steps, true),
        [option] if option == "--list" => {
            let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
            steps.iter().for_each(|step| println!("{:width$}  {}  {}", step.name, step.tier, step.about));
            return Ok(());
        }
        pairs => (only(steps, pairs)?, false),
    };

    let context = Context::new(workspace);
    let mut ran = Vec::new();
    let mut failure = None;
    for step in chosen {
        println!("\n== {}: {}", step.name, step.about);
        let begun = Instant::now();
        let result = (step.run)(&context);
        let time = begun.elapsed();
        println!("== {}: {} in {:.1} s", step.name, if result.is_ok() { "passed" } else { "FAILED" }, time.as_secs_f64());
        let good = result.is_ok();
        failure = result.err().map(|reason| (step.name.clone(), reason));
        ran.push(Ran { name: step.name, time, good });
        if failure.is_some() {
            break;
        }
    }

    print_times(&ran);
    let mut totals = context.totals.get();
    if let Some((name, reason)) = &failure {
        println!("\n{reason}\n\nstep `{name}` failed; to repeat it alone: cargo xtask test --only {name}");
        // A run that failed must not end in "0 failed", whatever it was that failed.
        totals.failed = totals.failed.max(1);
    }
    if 0 < totals.ignored {
        println!("\n{} tests are marked to be ignored (`grep -rn '#\\[ignore' crates` says why)", totals.ignored);
    }
    if let Some(line) = not_run(&long, &ran).filter(|_| whole) {
        println!("\n{line}");
    }
    if whole || totals.passed + totals.failed != 0 {
        println!("\n{totals}");
    }
    io::stdout().flush().map_err(|error| format!("stdout: {error}"))?;
    if failure.is_some() { Err(Failure::Reported) } else { Ok(()) }
}

fn only(mut steps: Vec<Step>, arguments: &[String]) -> Result<Vec<Step>, Failure> {
    let mut chosen = Vec::new();
    for pair in arguments.chunks(2) {
        let [option, name] = pair else {
            return Err(Failure::Usage(format!("`{}` needs the name of a step", pair.concat())));
        };
        if option != "--only" {
            return Err(Failure::Usage(format!("test has no option `{option}`")));
        }
        let Some(at) = steps.iter().position(|step| step.name == *name) else {
            return Err(Failure::Usage(format!("there is no step `{name}`; `cargo xtask test --list` names them")));
        };
        chosen.push(steps.remove(at));
    }
    Ok(chosen)
}
