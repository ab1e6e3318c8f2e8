//! Python programs, each with its packages in a virtual environment of its own under `target/`. Never in the system, and never skipped.
//!
//! What is installed is a file under `xtask/python/`: each package at one version, and only files with one of the hashes that stand there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::{Workspace, output, run};

/// halmos asks for 3.11.
const OLDEST: (u32, u32) = (3, 11);

const NEEDED: &str =
    "python3 (3.11 or newer) with its venv is needed; install it as root: apt-get update && apt-get install -y python3-venv";

/// An environment with everything that one file under `xtask/python/` names.
pub(crate) struct Venv {
    directory: PathBuf,
}

impl Venv {
    /// The environment of this name, made anew unless it was made from the same file.
    pub(crate) fn find(workspace: &Workspace, name: &str) -> Result<Self, String> {
        let requirements = workspace.root.join("xtask/python").join(format!("{name}.txt"));
        let wanted = fs::read(&requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
        let directory = workspace.target_directory()?.join("python").join(name);
        // Written last: an installation that was broken off is made again.
        let made_from = directory.join("made-from.txt");
        if fs::read(&made_from).is_ok_and(|found| found == wanted) {
            println!("{}: is as xtask/python/{name}.txt says", directory.display());
            return Ok(Self { directory });
        }
        let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
        check_python()?;
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(problem)?;
        }
        fs::create_dir_all(&directory).map_err(problem)?;
        run(Command::new("python3").args(["-m", "venv"]).arg(&directory)).map_err(|error| format!("{error}\n{NEEDED}"))?;
        let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--requirement"];
        run(Command::new(directory.join("bin/python")).args(options).arg(&requirements))?;
        fs::write(&made_from, wanted).map_err(problem)?;
        Ok(Self { directory })
    }

    /// A program of this environment. It finds the others there first, then those in `also`, and nothing of the user's home.
    pub(crate) fn command(&self, program: &str, also: &Path) -> Result<Command, String> {
        let bin = self.directory.join("bin");
        let mut command = Command::new(bin.join(program));
        let rest = env::var_os("PATH").unwrap_or_default();
        let path = [bin, also.to_path_buf()].into_iter().chain(env::split_paths(&rest));
        command.env("PATH", env::join_paths(path).map_err(|error| format!("PATH: {error}"))?);
        command.env("HOME", &self.directory);
        Ok(command)
    }
}

/// Debian's python3 has a venv without what makes one; `ensurepip` is missing then.
fn check_python() -> Result<(), String> {
    let text = output(Command::new("python3").args(["-c", "import ensurepip, sys, venv; print(sys.version_info[0], sys.version_info[1])"]))
        .map_err(|error| format!("{NEEDED} ({error})"))?;
    match parse_version(&text) {
        Some(found) if OLDEST <= found => Ok(()),
        _ => Err(format!("{NEEDED}; this one is {}", text.trim())),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, parse_version};

    #[test]
    fn versions_of_python_compare_as_numbers() {
        assert_eq!(parse_version("3 11\n"), Some(OLDEST));
        assert!(parse_version("3 9") < Some(OLDEST));
        assert!(Some(OLDEST) <= parse_version("3 14"));
        assert_eq!(parse_version("3.11"), None);
    }
}
