//! The contracts, looked at by two programs that are not ours: halmos proves the checks of `contracts/symbolic/` for all values at once, and
//! slither looks for what is known to go wrong. Both are of Python (`python.rs`), and compile with the forge and the compiler of npm.
//!
//! Not here: what they are to find. That is in `contracts/symbolic/`, in `contracts/slither.config.json` and beside the code.

use std::fs;
use std::path::{Path, PathBuf};

use crate::json::{self, Value};
use crate::python::Venv;
use crate::workspace::{Workspace, run};

/// Deployed contracts that the checks run: what is proven must be what is committed.
const PROVEN: &[&str] = &["CandorRegistry", "WorkloadPolicy"];

/// Where forge puts what halmos reads (`contracts/foundry.toml`).
const BUILT: &str = "out/symbolic";

/// Runs every symbolic check; gives their number. One that reached a bound, or that no path got through, is not proven.
pub(crate) fn symbolic(workspace: &Workspace) -> Result<u64, String> {
    let contracts = workspace.root.join("contracts");
    let venv = Venv::find(workspace, "halmos")?;
    let report = workspace.target_directory()?.join("python/halmos-report.json");
    if report.exists() {
        fs::remove_file(&report).map_err(|error| format!("{}: {error}", report.display()))?;
    }
    let mut command = venv.command("halmos", &forge(&contracts)?)?;
    command.current_dir(&contracts).env("FOUNDRY_PROFILE", "symbolic");
    // A solver's minute can be longer than ours on a machine that does something else; arrays of `create` have one entry.
    command.args(["--no-status", "--forge-build-out", BUILT, "--solver-timeout-assertion", "10m", "--default-array-lengths", "1"]);
    let ended = run(command.arg("--json-output").arg(&report));
    let text = match (fs::read_to_string(&report), ended) {
        (Ok(text), _) => text,
        (Err(_), Err(error)) => return Err(error),
        (Err(error), Ok(())) => return Err(format!("{}: {error}", report.display())),
    };
    let results = json::parse(&text).map_err(|error| format!("{}: {error}", report.display()))?;
    let proven = judge(&results, &checks(&contracts)?)?;
    for name in PROVEN {
        compare(&contracts, name)?;
    }
    Ok(proven)
}

/// Runs slither, which ends with an error if it finds anything. What it may not look for has its reason in `contracts/README.md`.
pub(crate) fn slither(workspace: &Workspace) -> Result<(), String> {
    let contracts = workspace.root.join("contracts");
    let config = contracts.join("slither.config.json");
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let excluded = json::parse(&read(&config)?).map_err(|error| format!("{}: {error}", config.display()))?;
    let excluded = excluded.field("detectors_to_exclude")?.text()?;
    let readme = read(&contracts.join("README.md"))?;
    if let Some(silent) = excluded.split(',').find(|name| !readme.contains(&format!("| `{name}` | "))) {
        return Err(format!("{} excludes {silent}, and contracts/README.md does not say why", config.display()));
    }
    let venv = Venv::find(workspace, "slither")?;
    let mut command = venv.command("slither", &forge(&contracts)?)?;
    run(command.args([".", "--warn-unused-ignores"]).current_dir(&contracts).env("FOUNDRY_PROFILE", "slither"))
}

/// The directory of forge: npm's package of this platform.
fn forge(contracts: &Path) -> Result<PathBuf, String> {
    let packages = contracts.join("node_modules/@foundry-rs");
    let entries = fs::read_dir(&packages).map_err(|error| format!("{}: {error}", packages.display()))?;
    let mut directories = entries.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    directories.find(|bin| bin.join("forge").is_file()).ok_or_else(|| format!("{} has no forge", packages.display()))
}

/// The names of all checks, from their sources: one that did not run is missing.
fn checks(contracts: &Path) -> Result<Vec<String>, String> {
    let directory = contracts.join("symbolic");
    let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).map_err(problem)? {
        let text = fs::read_to_string(entry.map_err(problem)?.path()).map_err(problem)?;
        let declared = text.split("function check_").skip(1).filter_map(|rest| rest.split('(').next());
        names.extend(declared.map(|name| format!("check_{name}")));
    }
    names.sort();
    Ok(names)
}

/// What halmos says of each check, against those that there are.
fn judge(results: &Value, names: &[String]) -> Result<u64, String> {
    let Value::Object(files) = results.field("test_results")? else { return Err("`test_results` is no object".into()) };
    let mut proven = Vec::new();
    let mut failed = Vec::new();
    for check in files.iter().map(|(_, checks)| checks.list()).collect::<Result<Vec<_>, _>>()?.concat() {
        let name = check.field("name")?.text()?.split('(').next().unwrap_or_default().to_string();
        let is_zero = |key: &str| check.get(key) == Some(&Value::Number("0".into()));
        match (is_zero("exitcode"), is_zero("num_bounded_loops")) {
            (true, true) => proven.push(name),
            (true, false) => failed.push(format!("{name}: a loop was not followed to its end")),
            (false, _) => failed.push(format!("{name}: not proven")),
        }
    }
    proven.sort();
    failed.extend(names.iter().filter(|name| !proven.contains(name)).map(|name| format!("{name}: no proof")));
    if names.is_empty() {
        failed.push("there is no check".into());
    }
    if !failed.is_empty() {
        return Err(failed.join("\n"));
    }
    Ok(names.len() as u64)
}

/// The code that halmos ran is the code in `artifacts/`, byte for byte.
fn compare(contracts: &Path, name: &str) -> Result<(), String> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
    let artifact = json::parse(&read(contracts.join(format!("artifacts/{name}.json")))?)?;
    let bytecode = artifact.field("bytecode")?.text()?;
    let built = read(contracts.join(format!("{BUILT}/{name}.sol/{name}.json")))?;
    // The file is forge's, with the whole syntax tree in it: deeper than our reader goes.
    let is_same = built.contains(&format!("\"bytecode\":{{\"object\":\"{bytecode}\""));
    if is_same { Ok(()) } else { Err(format!("{name}: what was proven is not what artifacts/{name}.json has")) }
}

#[cfg(test)]
mod tests {
    use super::{json, judge};

    const RESULTS: &str = r#"{"exitcode": 0, "test_results": {"symbolic/A.t.sol:A": [
        {"name": "check_a(uint256)", "exitcode": 0, "num_models": 0, "num_bounded_loops": 0},
        {"name": "check_b()", "exitcode": 0, "num_models": 0, "num_bounded_loops": 0}]}}"#;

    fn judged(results: &str, names: &[&str]) -> Result<u64, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
        judge(&json::parse(results).unwrap(), &names)
    }

    #[test]
    fn checks_are_proven_if_each_was_followed_to_its_end() {
        assert_eq!(judged(RESULTS, &["check_a", "check_b"]), Ok(2));
        assert!(judged(RESULTS, &["check_a", "check_b", "check_c"]).unwrap_err().contains("check_c: no proof"));
        let bounded = RESULTS.replacen("\"num_bounded_loops\": 0", "\"num_bounded_loops\": 1", 1);
        assert!(judged(&bounded, &["check_a", "check_b"]).unwrap_err().contains("check_a: a loop"));
        let refuted = RESULTS.replacen("\"exitcode\": 0, \"num_models\"", "\"exitcode\": 1, \"num_models\"", 1);
        assert!(judged(&refuted, &["check_a", "check_b"]).unwrap_err().contains("check_a: not proven"));
        assert!(judged(r#"{"test_results": {}}"#, &[]).unwrap_err().contains("no check"));
    }
}
