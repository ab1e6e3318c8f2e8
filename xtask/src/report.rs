//! What a test run says at its end: seconds per step, and the number of tests that passed and failed.

use std::fmt;
use std::time::Duration;

/// Tests counted from the `test result:` lines of cargo's test programs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Totals {
    /// Adds what one line of output says, if it is a result line.
    pub(crate) fn read(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        // "ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s"
        let counts = counts.split_once(". ").map_or(counts, |(_, after)| after);
        for part in counts.split(';') {
            let Some((number, word)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// One step that has run.
pub(crate) struct Ran {
    pub(crate) name: String,
    pub(crate) time: Duration,
    pub(crate) good: bool,
}

/// The table of seconds per step.
pub(crate) fn print_times(steps: &[Ran]) {
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0).max("total".len());
    println!("\nseconds per step");
    for step in steps {
        let mark = if step.good { "" } else { "   FAILED" };
        println!("  {:width$}  {:7.1}{mark}", step.name, step.time.as_secs_f64());
    }
    let total: Duration = steps.iter().map(|step| step.time).sum();
    println!("  {:width$}  {:7.1}", "total", total.as_secs_f64());
}

/// Names the steps of the tier `long` that have not run, so that nobody takes a run of the core for all there is.
pub(crate) fn not_run(long: &[String], ran: &[Ran]) -> Option<String> {
    let missing: Vec<&str> = long.iter().map(String::as_str).filter(|name| !ran.iter().any(|ran| ran.name == *name)).collect();
    (!missing.is_empty()).then(|| format!("long: NOT RUN (cargo xtask test --long): {}", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Ran, Totals, not_run};

    #[test]
    fn long_steps_that_did_not_run_are_named() {
        let ran = |names: &[&str]| -> Vec<Ran> {
            names.iter().map(|name| Ran { name: (*name).to_string(), time: Duration::ZERO, good: true }).collect()
        };
        let long = ["benches".to_string(), "fuzz".to_string()];
        let line = |names: &[&str]| not_run(&long, &ran(names));
        assert_eq!(line(&["tidy"]).as_deref(), Some("long: NOT RUN (cargo xtask test --long): benches, fuzz"));
        assert_eq!(line(&["tidy", "benches"]).as_deref(), Some("long: NOT RUN (cargo xtask test --long): fuzz"));
        assert_eq!(line(&["fuzz", "benches"]), None);
    }

    #[test]
    fn result_lines_are_added_and_nothing_else_is() {
        let mut totals = Totals::default();
        totals.read("running 3 tests");
        totals.read("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.05s");
        totals.read("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s");
        totals.read("  test result: ok. 100 passed; 0 failed");
        assert_eq!(totals, Totals { passed: 15, failed: 2, ignored: 1 });
        assert_eq!(totals.to_string(), "15 passed, 2 failed");
    }
}
