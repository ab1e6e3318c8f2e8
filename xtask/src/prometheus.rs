//! What Prometheus is to read, judged by its own `promtool`: the configuration and the rules of packaging/, their unit tests, and a page of metrics
//! that a real node served.
//!
//! Not here: that dashboard and rules name what is served (`crates/cli/tests/it/observed.rs`, which also leaves the page).

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use crate::workspace::{Workspace, exists, run};

/// Directory below the target directory for a `promtool` of our own.
const OWN: &str = "prometheus";

/// Where that test leaves its page, below the target directory.
const PAGE: &str = "tmp/metrics.prom";

/// Configuration, rules and their tests.
pub(crate) fn rules(workspace: &Workspace) -> Result<(), String> {
    let directory = workspace.root.join("packaging/prometheus");
    for arguments in [["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        run(promtool(workspace)?.args(arguments).current_dir(&directory))?;
    }
    Ok(())
}

/// The page: its form, and Prometheus' conventions for names and units. To be called when the test has left it.
pub(crate) fn page(workspace: &Workspace) -> Result<(), String> {
    let path = workspace.target_directory()?.join(PAGE);
    let page = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    run(promtool(workspace)?.args(["check", "metrics"]).stdin(page))
}

/// That of the system, or one of our own: unpacked and not installed, so that no service is started.
fn promtool(workspace: &Workspace) -> Result<Command, String> {
    if exists("promtool") {
        return Ok(Command::new("promtool"));
    }
    let directory = workspace.target_directory()?.join(OWN);
    let program = directory.join("usr/bin/promtool");
    if !program.is_file() {
        unpack(&directory)?;
    }
    if program.is_file() { Ok(Command::new(program)) } else { Err(format!("{} is not in Debian's package prometheus", program.display())) }
}

fn unpack(directory: &PathBuf) -> Result<(), String> {
    let needed = "promtool is needed; install Prometheus, on Debian: apt-get install -y --no-install-recommends prometheus";
    if !exists("apt-get") || !exists("dpkg") {
        return Err(needed.into());
    }
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let download = run(Command::new("apt-get").args(["-qq", "download", "prometheus"]).current_dir(directory));
    if download.is_err() {
        // A machine that has no lists yet.
        run(Command::new("apt-get").args(["-qq", "update"])).map_err(|error| format!("{error}\n{needed}"))?;
        run(Command::new("apt-get").args(["-qq", "download", "prometheus"]).current_dir(directory))
            .map_err(|error| format!("{error}\n{needed}"))?;
    }
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let package = entries.filter_map(Result::ok).map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = package.ok_or_else(|| format!("{} has no package", directory.display()))?;
    run(Command::new("dpkg").arg("-x").arg(package).arg(directory))
}
