//! The Debian package of a target, around the program that is built already. What is in it stands in `crates/cli/Cargo.toml`.
//!
//! cargo-deb makes it, at one version, installed below the target directory if it is not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::target::Target;
use super::{PACKAGE, PROFILE, PROGRAM, built_in, empty};
use crate::workspace::{Workspace, output, run};

const CARGO_DEB: &str = "3.6.0";

/// Debian's name of the version: the number of its package follows ours.
const REVISION: &str = "1";

/// What somebody who installs the package counts on.
const EXPECTED: &[&str] = &[
    "usr/bin/candor",
    "usr/share/man/man1/candor.1.gz",
    "usr/share/bash-completion/completions/candor",
    "usr/lib/systemd/system/candor-enclave.service",
    "usr/lib/systemd/system/candor-host.service",
    "usr/lib/sysusers.d/candor.conf",
    "usr/lib/tmpfiles.d/candor.conf",
    "usr/share/doc/candor/copyright",
];

pub(super) fn build(workspace: &Workspace, target: Target, generated: &Path, directory: &Path, time: u64) -> Result<PathBuf, String> {
    let cargo_deb = ensure(workspace)?;
    // Where the manifest names them: what it calls target/release is the directory of this target and profile.
    let beside = built_in(workspace, target)?.join("package");
    empty(&beside)?;
    for part in ["completions", "man"] {
        copy(&generated.join(part), &beside.join(part))?;
    }
    // As Debian wants manuals.
    let pages = fs::read_dir(beside.join("man")).map_err(|error| format!("{}: {error}", beside.display()))?;
    let pages = pages.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    output(Command::new("gzip").args(["--no-name", "--best"]).args(pages.map_err(|error| error.to_string())?))?;
    let notices = super::notices::text(workspace, target)?;
    fs::write(beside.join(super::notices::NAME), notices).map_err(|error| format!("{}: {error}", beside.display()))?;
    let mut command = Command::new(cargo_deb);
    command.args(["deb", "--package", PACKAGE, "--locked", "--no-build", "--no-strip", "--quiet"]);
    command.args(["--profile", PROFILE, "--target", target.name(), "--deb-revision", REVISION, "--output"]).arg(directory);
    run(command.current_dir(&workspace.root).env("SOURCE_DATE_EPOCH", time.to_string()))?;
    let ending = format!("_{}.deb", debian(target));
    let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&ending)) {
            return Ok(path);
        }
    }
    Err(format!("{}: cargo-deb left no package that ends in {ending}", directory.display()))
}

/// Reads the package back, and starts the program in it.
pub(super) fn check(target: Target, package: &Path, version: &str) -> Result<(), String> {
    let info = output(Command::new("dpkg-deb").arg("--info").arg(package))?;
    for wanted in [format!("Package: {PROGRAM}"), format!("Version: {version}-{REVISION}"), format!("Architecture: {}", debian(target))] {
        if !info.lines().any(|line| line.trim() == wanted) {
            return Err(format!("{}: expected `{wanted}`, got:\n{info}", package.display()));
        }
    }
    let contents = output(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    for wanted in EXPECTED {
        // Some write `./` before it.
        let is_it = |line: &str| line.split_whitespace().last().is_some_and(|path| path.trim_start_matches("./") == *wanted);
        if !contents.lines().any(is_it) {
            return Err(format!("{}: {wanted} is not in it", package.display()));
        }
    }
    let unpacked = package.with_extension("unpacked");
    empty(&unpacked)?;
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&unpacked))?;
    if let Some(mut command) = target.command(&unpacked.join("usr/bin").join(PROGRAM)) {
        println!("{}", output(command.arg("--version"))?.trim_end());
    }
    fs::remove_dir_all(&unpacked).map_err(|error| format!("{}: {error}", unpacked.display()))
}

/// As Debian calls the processor.
fn debian(target: Target) -> &'static str {
    match target {
        Target::X86_64 => "amd64",
        Target::Aarch64 => "arm64",
    }
}

fn ensure(workspace: &Workspace) -> Result<PathBuf, String> {
    let root = workspace.target_directory()?.join("dist-tools/cargo-deb");
    let program = root.join("bin/cargo-deb");
    let is_there = output(Command::new(&program).arg("--version")).is_ok_and(|said| said.contains(CARGO_DEB));
    if !is_there {
        let mut command = workspace.cargo(["install", "cargo-deb", "--locked", "--version", CARGO_DEB, "--root"]);
        run(command.arg(&root))?;
    }
    Ok(program)
}

/// A directory of files.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    empty(to)?;
    let problem = |error: std::io::Error| format!("{}: {error}", from.display());
    for entry in fs::read_dir(from).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        fs::copy(entry.path(), to.join(entry.file_name())).map_err(problem)?;
    }
    Ok(())
}
