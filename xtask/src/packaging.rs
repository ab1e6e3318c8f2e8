//! `packaging/` and the release workflow, looked at by programs that are not ours. Neither a container engine nor systemd runs here; what can be
//! told without them is told.
//!
//! Not here: what Prometheus and Grafana read, and whether a package can be built and started (`dist`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python::Venv;
use crate::workspace::{Shown, Workspace, exists, output, run};

const DOCKERFILE: &str = "packaging/Dockerfile";
const COMPOSE: &str = "packaging/compose.yaml";

/// Scripts of a shell.
const SCRIPTS: &[&str] = &["packaging/debian/postinst", "packaging/debian/prerm", "packaging/debian/postrm", ".ci/run"];

/// The units, and the most that systemd may find them exposed, in tenths of what it prints, from 0 to 100. It found 0.6 and 1.5 (version 252):
/// a host has a network, and both have a socket. A unit without any protection has 9.6.
const UNITS: &[(&str, u32)] = &[("packaging/systemd/candor-enclave.service", 10), ("packaging/systemd/candor-host.service", 20)];

/// The program in the units.
const PROGRAM: &str = "/usr/bin/candor";

/// Looks at everything; gives the number of things looked at.
pub(crate) fn check(workspace: &Workspace) -> Result<u64, String> {
    let root = &workspace.root;
    let venv = Venv::find(workspace, "packaging")?;
    let tool = |program: &str| {
        let mut command = venv.command(program, Path::new("/usr/bin"))?;
        command.current_dir(root);
        Ok::<_, String>(command)
    };
    run(tool("hadolint")?.arg(DOCKERFILE))?;
    let workflows = files(root, ".github/workflows")?;
    // shellcheck is in the same environment: it sees the scripts inside the workflow, too.
    run(tool("actionlint")?.args(&workflows))?;
    pinned(root, &workflows)?;
    run(tool("shellcheck")?.args(SCRIPTS))?;
    run(tool("python")?.args(["xtask/python/compose.py", COMPOSE]))?;
    let directory = workspace.target_directory()?.join("packaging");
    units(root, &directory)?;
    users(root, &directory)?;
    Ok((1 + 1 + SCRIPTS.len() + workflows.len() + UNITS.len() + 1) as u64)
}

/// Paths below the root, sorted.
fn files(root: &Path, folder: &str) -> Result<Vec<String>, String> {
    let problem = |error: std::io::Error| format!("{folder}: {error}");
    let mut out = Vec::new();
    for entry in fs::read_dir(root.join(folder)).map_err(problem)? {
        out.push(format!("{folder}/{}", entry.map_err(problem)?.file_name().to_string_lossy()));
    }
    out.sort();
    if out.is_empty() { Err(format!("{folder} is empty")) } else { Ok(out) }
}

/// An action of somebody else's is named by a whole commit.
fn pinned(root: &Path, workflows: &[String]) -> Result<(), String> {
    for workflow in workflows {
        let text = fs::read_to_string(root.join(workflow)).map_err(|error| format!("{workflow}: {error}"))?;
        if let Some(line) = unpinned(&text) {
            return Err(format!("{workflow}: expected an action at a commit of 40 digits, got `{line}`"));
        }
    }
    Ok(())
}

fn unpinned(text: &str) -> Option<&str> {
    let used = text.lines().map(str::trim).filter(|line| line.trim_start_matches("- ").starts_with("uses:"));
    let is_commit = |id: &str| id.len() == 40 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    used.into_iter().find(|line| {
        let id = line.split_once('@').and_then(|(_, rest)| rest.split_whitespace().next());
        !id.is_some_and(is_commit)
    })
}

/// systemd reads the units without a word, and finds them little exposed.
fn units(root: &Path, directory: &Path) -> Result<(), String> {
    if !exists("systemd-analyze") {
        return Err("systemd-analyze is needed; install it as root: apt-get update && apt-get install -y systemd".into());
    }
    let copies = UNITS.iter().map(|(unit, _)| copy(root, unit, directory)).collect::<Result<Vec<_>, _>>()?;
    // Documentation is found where the package is installed.
    silent(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&copies))?;
    for (copy, (unit, most)) in copies.iter().zip(UNITS) {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", &format!("--threshold={most}")]).arg(copy);
        let said = output(&mut command).map_err(|error| format!("{unit}: is more exposed than {most} tenths: {error}"))?;
        println!("{}", said.lines().last().unwrap_or_default());
    }
    Ok(())
}

/// A unit that can be looked at where no package is installed: with a program that is there.
fn copy(root: &Path, unit: &str, directory: &Path) -> Result<PathBuf, String> {
    let problem = |error: std::io::Error| format!("{unit}: {error}");
    let text = fs::read_to_string(root.join(unit)).map_err(problem)?;
    if !text.contains(&format!("\nExecStart={PROGRAM} ")) {
        return Err(format!("{unit}: expected ExecStart={PROGRAM}, where the package puts it"));
    }
    fs::create_dir_all(directory).map_err(problem)?;
    let out = directory.join(Path::new(unit).file_name().unwrap_or_default());
    fs::write(&out, text.replace(PROGRAM, "/bin/sh")).map_err(problem)?;
    Ok(out)
}

/// Users and directories are made in an empty root. To give a directory away one has to be root; who is not is told so.
fn users(root: &Path, directory: &Path) -> Result<(), String> {
    let image = directory.join("root");
    let problem = |error: std::io::Error| format!("{}: {error}", image.display());
    if image.exists() {
        fs::remove_dir_all(&image).map_err(problem)?;
    }
    for (folder, name) in [("sysusers.d", "usr/lib/sysusers.d"), ("tmpfiles.d", "usr/lib/tmpfiles.d")] {
        fs::create_dir_all(image.join(name)).map_err(problem)?;
        fs::copy(root.join("packaging").join(folder).join("candor.conf"), image.join(name).join("candor.conf")).map_err(problem)?;
    }
    fs::create_dir_all(image.join("etc")).map_err(problem)?;
    let at = format!("--root={}", image.display());
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        println!("tmpfiles.d/candor.conf: read only by root; not looked at");
        return run(Command::new("systemd-sysusers").args([&at, "--dry-run", "candor.conf"]));
    }
    run(Command::new("systemd-sysusers").args([&at, "candor.conf"]))?;
    run(Command::new("systemd-tmpfiles").args([&at, "--create", "candor.conf"]))?;
    let made = image.join("run/candor");
    if made.is_dir() { Ok(()) } else { Err(format!("{}: tmpfiles.d/candor.conf did not make it", made.display())) }
}

/// `verify` ends well whatever it complains of.
fn silent(command: &mut Command) -> Result<(), String> {
    println!("$ {}", Shown(command));
    let output = command.output().map_err(|error| format!("{}: {error}", Shown(command)))?;
    let said = [output.stdout, output.stderr].concat();
    match output.status.success() && said.is_empty() {
        true => Ok(()),
        false => Err(format!("`{}` ended with {}: {}", Shown(command), output.status, String::from_utf8_lossy(&said).trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::unpinned;

    #[test]
    fn an_action_is_named_by_a_whole_commit() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(unpinned(&format!("    - uses: a/b@{id} # v1\n      uses: a/c@{id}\n      run: echo uses: x\n")), None);
        for bad in ["- uses: a/b@v1", "uses: a/b", &format!("- uses: a/b@{}", &id[1..]), &format!("- uses: a/b@{}", id.to_uppercase())] {
            assert_eq!(unpinned(bad), Some(bad.trim()), "{bad}");
        }
    }
}
