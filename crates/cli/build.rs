//! What `candor --version` says: the version, and the commit that the program was built from with the day of that commit.
//!
//! The words are those of the environment (`CANDOR_COMMIT` and `CANDOR_COMMIT_DATE`, which whoever packs sources without their history
//! sets), else git's, else there are none: a tarball has only its version. Files that were changed and not committed do not show.
//! - **Invariant:** nothing of the time, the machine or the directory of the build is in the program by this: two builds of one commit
//!   are the same bytes, as a measurement of the program needs. Cargo runs this again when HEAD moves, and not at every build.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each name says how long it has to be at least; git's own short names have it too.
const SHOWN_DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["CANDOR_COMMIT", "CANDOR_COMMIT_DATE"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let package = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let built_from = match (given("CANDOR_COMMIT"), given("CANDOR_COMMIT_DATE")) {
        (Some(commit), Some(date)) => Some((commit, date)),
        (None, None) => {
            watched(&root).iter().for_each(|path| println!("cargo::rerun-if-changed={}", path.display()));
            of_git(&root)
        }
        _ => {
            println!("cargo::error=CANDOR_COMMIT and CANDOR_COMMIT_DATE: expected both or none, got one");
            return;
        }
    };
    match version(&package, built_from.as_ref().map(|(commit, date)| (commit.as_str(), date.as_str()))) {
        Ok(version) => println!("cargo::rustc-env=CANDOR_VERSION={version}"),
        Err(error) => println!("cargo::error={error}"),
    }
}

/// `0.1.0 (abcdef012345 2026-11-28)`, or just the version.
pub(crate) fn version(package: &str, built_from: Option<(&str, &str)>) -> Result<String, String> {
    let Some((commit, date)) = built_from else { return Ok(package.to_string()) };
    // The mark of a tree that was not as committed.
    let (id, mark) = commit.strip_suffix("-modified").map_or((commit, ""), |id| (id, "-modified"));
    let is_lower_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if id.len() < SHOWN_DIGITS || 64 < id.len() || !id.chars().all(is_lower_hex) {
        return Err(format!("CANDOR_COMMIT: expected {SHOWN_DIGITS} to 64 digits of 0-9a-f, got {commit:?}"));
    }
    let is_date = date.len() == 10 && date.char_indices().all(|(at, c)| if matches!(at, 4 | 7) { c == '-' } else { c.is_ascii_digit() });
    if !is_date {
        return Err(format!("CANDOR_COMMIT_DATE: expected YYYY-MM-DD, got {date:?}"));
    }
    Ok(format!("{package} ({}{mark} {date})", &id[..SHOWN_DIGITS]))
}

/// The commit that is checked out in exactly this directory, and its day where it was made. A repository further up is somebody else's.
pub(crate) fn of_git(root: &Path) -> Option<(String, String)> {
    if !root.join(".git").exists() {
        return None;
    }
    let mut git = Command::new("git");
    // A hook that builds us has these set, of another directory perhaps.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"] {
        git.env_remove(name);
    }
    let output = git.arg("-C").arg(root).args(["-c", "log.showSignature=false", "log", "-1", "--format=%H %cs"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let (commit, date) = text.trim().split_once(' ')?;
    Some((commit.to_string(), date.to_string()))
}

/// The files that change when HEAD comes to name another commit, and seldom else. Only such as exist: cargo takes a missing one for changed,
/// at every build.
pub(crate) fn watched(root: &Path) -> Vec<PathBuf> {
    let Some((own, common)) = git_directories(&root.join(".git")) else { return Vec::new() };
    let mut out = vec![own.join("HEAD")];
    let head = std::fs::read_to_string(&out[0]).unwrap_or_default();
    if let Some(name) = head.trim().strip_prefix("ref: ") {
        let loose = common.join(name);
        if loose.is_file() {
            out.push(loose);
        } else {
            // Packed away. The next commit makes the file, which nothing here would see; it also adds to the log of HEAD.
            out.extend([common.join("packed-refs"), own.join("logs/HEAD")]);
        }
    }
    out.retain(|path| path.is_file());
    out
}

/// The directory of this work tree and the one that all work trees of a repository share: two for `git worktree`, else one.
fn git_directories(dot_git: &Path) -> Option<(PathBuf, PathBuf)> {
    if dot_git.is_dir() {
        return Some((dot_git.to_path_buf(), dot_git.to_path_buf()));
    }
    let text = std::fs::read_to_string(dot_git).ok()?;
    let own = dot_git.parent()?.join(text.trim().strip_prefix("gitdir: ")?);
    let common = std::fs::read_to_string(own.join("commondir")).map_or_else(|_| own.clone(), |common| own.join(common.trim()));
    Some((own, common))
}
