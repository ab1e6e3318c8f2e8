//! Node, npm, and the browser that some packages drive: found, or installed, or the exact command to install them. Never skipped.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::{Workspace, exists, output, run};

/// `import.meta.dirname`, which our scripts use, came with 20.11.
const OLDEST: (u32, u32) = (20, 11);

const NODE: Needed = Needed { what: "node and npm", programs: &["node", "npm"], packages: "nodejs npm", variable: None };

/// What `playwright-core` drives: Debian's, which that package does not bring.
const BROWSER: Needed = Needed { what: "Chromium", programs: &["chromium"], packages: "chromium", variable: Some("CHROMIUM") };

/// A node that is new enough, and npm.
pub(crate) struct Node {
    /// Before the other directories of `PATH`: a node of our own, where that of the system is too old.
    own: Option<PathBuf>,
}

impl Node {
    /// Looks for node and npm. As root on Debian it installs what is missing; a node that is too old is joined by one under `target/`.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self, String> {
        NODE.ensure()?;
        if OLDEST <= version(&mut Command::new("node"))? {
            return Ok(Self { own: None });
        }
        let prefix = workspace.target_directory()?.join("node");
        let own = prefix.join("node_modules/node/bin");
        if !own.join("node").is_file() {
            println!("this system's node is older than {}.{}; fetching one from npm into {}", OLDEST.0, OLDEST.1, prefix.display());
            fs::create_dir_all(&prefix).map_err(|error| format!("{}: {error}", prefix.display()))?;
            run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--no-save", "--prefix"]).arg(&prefix).arg("node@20"))?;
        }
        match version(&mut Command::new(own.join("node"))) {
            Ok(found) if OLDEST <= found => Ok(Self { own: Some(own) }),
            _ => Err(format!("node {}.{} or newer is needed; install one: npm install --global node@20", OLDEST.0, OLDEST.1)),
        }
    }

    /// A program of node's world (`node`, `npm`) in a directory.
    pub(crate) fn command(&self, program: &str, directory: &Path) -> Result<Command, String> {
        let mut command = match &self.own {
            Some(own) if own.join(program).is_file() => Command::new(own.join(program)),
            _ => Command::new(program),
        };
        command.current_dir(directory);
        if let Some(own) = &self.own {
            command.env("PATH", path_with(own)?);
        }
        Ok(command)
    }
}

fn path_with(first: &Path) -> Result<OsString, String> {
    let rest = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(first.to_path_buf()).chain(env::split_paths(&rest))).map_err(|error| format!("PATH: {error}"))
}

/// Programs of Debian packages.
struct Needed {
    what: &'static str,
    programs: &'static [&'static str],
    packages: &'static str,
    /// Names one that is elsewhere.
    variable: Option<&'static str>,
}

impl Needed {
    fn is_there(&self) -> bool {
        let is_named = self.variable.is_some_and(|name| env::var_os(name).is_some_and(|path| Path::new(&path).is_file()));
        is_named || self.programs.iter().all(|program| exists(program))
    }

    /// As root on Debian installs what is missing.
    fn ensure(&self) -> Result<(), String> {
        if self.is_there() {
            return Ok(());
        }
        let apt = format!("apt-get update && apt-get install -y {}", self.packages);
        let instruction = format!("{}: needed, and not here; install as root: {apt}", self.what);
        let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        if !root || !exists("apt-get") {
            return Err(instruction);
        }
        run(Command::new("sh").args(["-c", &apt]).env("DEBIAN_FRONTEND", "noninteractive"))
            .map_err(|error| format!("{instruction} ({error})"))?;
        if self.is_there() { Ok(()) } else { Err(instruction) }
    }
}

fn version(node: &mut Command) -> Result<(u32, u32), String> {
    let text = output(node.arg("--version"))?;
    parse_version(&text).ok_or_else(|| format!("node --version: {:?} is no version", text.trim()))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// `npm ci` in a directory, unless what is installed is what the lock file says; and a browser, if its packages drive one.
pub(crate) fn install(node: &Node, directory: &Path) -> Result<(), String> {
    let lock = directory.join("package-lock.json");
    if !lock.is_file() {
        return Err(format!("{} is missing: run `npm install` in its directory and commit it", lock.display()));
    }
    let packages = fs::read_to_string(directory.join("package.json")).map_err(|error| format!("{}: {error}", directory.display()))?;
    if packages.contains("\"playwright-core\"") {
        BROWSER.ensure()?;
    }
    if up_to_date(&lock, &directory.join("node_modules/.package-lock.json")) {
        println!("{}: node_modules is as new as package-lock.json", directory.display());
        return Ok(());
    }
    println!("in {}", directory.display());
    run(node.command("npm", directory)?.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))
}

/// npm writes the second file when an installation is complete.
fn up_to_date(lock: &Path, installed: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    matches!((time(lock), time(installed)), (Ok(lock), Ok(installed)) if lock <= installed)
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, parse_version};

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse_version("v20.11.0\n"), Some(OLDEST));
        assert!(parse_version("v18.19.0") < Some(OLDEST));
        assert!(parse_version("v20.9.0") < Some(OLDEST));
        assert!(Some(OLDEST) <= parse_version("v100.0.0"));
        assert_eq!(parse_version("20.11"), None);
    }
}
