//! What goes beside the program: how to use it, how to run it, and under which licences.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive::Entry;
use super::target::Target;
use super::{PROGRAM, empty, notices};
use crate::workspace::{Workspace, output};

/// Documents of the root.
const DOCUMENTS: &[&str] = &["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// What of `packaging/` is for a machine that runs the program. The rest builds images, or is for packages.
const PACKAGING: &[&str] = &["systemd", "sysusers.d", "tmpfiles.d", "prometheus", "grafana"];

/// What a shell looks for, by shell.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "candor.bash"), ("zsh", "_candor"), ("fish", "candor.fish")];

/// A page holds one command; a folder of `packaging/` a few files.
const MAX_FILES: usize = 500;

/// Has the program write its completions and manual pages; gives their directory.
pub(super) fn generate(command: &Command, program: &Path, directory: &Path) -> Result<PathBuf, String> {
    let (completions, man) = (directory.join("completions"), directory.join("man"));
    empty(&completions)?;
    empty(&man)?;
    let again = || {
        let mut again = Command::new(command.get_program());
        again.args(command.get_args());
        again
    };
    for (shell, name) in COMPLETIONS {
        let script = output(again().args(["completions", shell]))?;
        if script.is_empty() {
            return Err(format!("{} completions {shell}: printed nothing", program.display()));
        }
        fs::write(completions.join(name), script).map_err(|error| format!("{name}: {error}"))?;
    }
    output(again().arg("man").arg(&man))?;
    Ok(directory.to_path_buf())
}

/// Everything that is in the archive of a target.
pub(super) fn entries(workspace: &Workspace, target: Target, program: &Path, generated: &Path) -> Result<Vec<Entry>, String> {
    let mut out = vec![Entry { is_program: true, ..entry(program, PROGRAM.into())? }];
    for name in DOCUMENTS {
        out.push(entry(&workspace.root.join(name), (*name).into())?);
    }
    out.push(Entry { path: notices::NAME.into(), bytes: notices::text(workspace, target)?.into_bytes(), is_program: false });
    add(&generated.join("completions"), "completions", &mut out)?;
    add(&generated.join("man"), "man/man1", &mut out)?;
    for name in PACKAGING {
        let folder = workspace.root.join("packaging").join(name);
        if folder.is_dir() {
            add(&folder, &format!("packaging/{name}"), &mut out)?;
        }
    }
    Ok(out)
}

/// Every file below a directory. A link is an error: what it means is not in the archive.
fn add(directory: &Path, path: &str, out: &mut Vec<Entry>) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
    for found in fs::read_dir(directory).map_err(problem)? {
        let found = found.map_err(problem)?;
        let name = found.file_name().into_string().map_err(|name| format!("{name:?}: a name in UTF-8 is needed"))?;
        let path = format!("{path}/{name}");
        let kind = found.file_type().map_err(problem)?;
        if kind.is_dir() {
            add(&found.path(), &path, out)?;
        } else if kind.is_file() {
            out.push(entry(&found.path(), path)?);
        } else {
            return Err(format!("{}: expected a file or a directory", found.path().display()));
        }
        if MAX_FILES < out.len() {
            return Err(format!("{}: more than {MAX_FILES} files for one archive", directory.display()));
        }
    }
    Ok(())
}

fn entry(file: &Path, path: String) -> Result<Entry, String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Entry { path, bytes, is_program: false })
}
