//! `cargo xtask bench`: every bench of the workspace, found in cargo's metadata.
//!
//! They are built for the whole workspace, as the tests are. Cargo turns on the features that the selected packages ask for: with one
//! package selected, alloy, revm and hyper would be built again. `bench gas` is none of cargo's: see `gas.rs`.

use crate::Failure;
use crate::gas;
use crate::json::Value;
use crate::workspace::{Workspace, run as run_command};

/// Runs the benches whose package or bench name contains one of the names; all of them if none is given.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    if arguments == ["gas"] {
        return Ok(gas::run(workspace)?);
    }
    let (ours, theirs) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    let dist = ours.iter().any(|argument| argument == "--dist");
    let names: Vec<&String> = ours.iter().filter(|argument| *argument != "--dist").collect();
    if let Some(option) = names.iter().find(|name| name.starts_with('-')) {
        return Err(Failure::Usage(format!("bench has no option `{option}`")));
    }

    let all = benches(&workspace.metadata(&["--no-deps"])?)?;
    check_distinct(&all)?;
    let wanted: Vec<&Bench> = all.iter().filter(|bench| names.is_empty() || names.iter().any(|name| bench.matches(name))).collect();
    if wanted.is_empty() {
        let known: Vec<String> = all.iter().map(|bench| format!("{} ({})", bench.name, bench.package)).collect();
        return Err(Failure::Check(format!("no such bench; there are: {}", known.join(", "))));
    }
    if !dist {
        println!("a dry run: figures that are published come from `cargo xtask bench --dist`");
    }
    let mut command = workspace.cargo(["bench", "--locked", "--workspace"]);
    if dist {
        command.args(["--profile", "dist"]);
    }
    for bench in wanted {
        command.arg("--bench").arg(&bench.name);
    }
    if !theirs.is_empty() {
        command.arg("--").args(theirs);
    }
    Ok(run_command(&mut command)?)
}

/// `--bench NAME` selects the benches of that name in every package.
fn check_distinct(benches: &[Bench]) -> Result<(), String> {
    for (at, bench) in benches.iter().enumerate() {
        if let Some(other) = benches[..at].iter().find(|other| other.name == bench.name) {
            return Err(format!("{} and {} both have a bench `{}`: rename one", other.package, bench.package, bench.name));
        }
    }
    Ok(())
}

struct Bench {
    package: String,
    name: String,
}

impl Bench {
    fn matches(&self, name: &str) -> bool {
        self.package.contains(name) || self.name.contains(name)
    }
}

fn benches(metadata: &Value) -> Result<Vec<Bench>, String> {
    let mut out = Vec::new();
    for package in metadata.field("packages")?.list()? {
        for target in package.field("targets")?.list()? {
            if target.field("kind")?.list()?.iter().any(|kind| kind.text() == Ok("bench")) {
                let (package, name) = (package.field("name")?.text()?, target.field("name")?.text()?);
                out.push(Bench { package: package.into(), name: name.into() });
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Bench, check_distinct};

    #[test]
    fn two_benches_of_one_name_are_refused() {
        let bench = |package: &str, name: &str| Bench { package: package.into(), name: name.into() };
        assert!(check_distinct(&[bench("a", "x"), bench("b", "y")]).is_ok());
        let error = check_distinct(&[bench("a", "x"), bench("b", "y"), bench("c", "x")]).unwrap_err();
        assert_eq!(error, "a and c both have a bench `x`: rename one");
    }
}
