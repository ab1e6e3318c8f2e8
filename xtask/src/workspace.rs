//! Where the workspace is, and how a task runs a program in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use crate::json::{self, Value};

/// The root of the checkout and the cargo that runs us.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    cargo: OsString,
}

impl Workspace {
    /// Walks up from the current directory, because `cargo xtask` works in any subdirectory.
    pub(crate) fn find() -> Result<Self, String> {
        let here = env::current_dir().map_err(|error| format!("no current directory: {error}"))?;
        let root = here.ancestors().find(|dir| dir.join("xtask/Cargo.toml").is_file());
        let root = root.ok_or_else(|| format!("{} is not inside a checkout of Candor", here.display()))?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Ok(Self { root: root.to_path_buf(), cargo })
    }

    pub(crate) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// The target directory, as `CARGO_TARGET_DIR` and cargo's configuration have it.
    pub(crate) fn target_directory(&self) -> Result<PathBuf, String> {
        let metadata = self.metadata(&["--no-deps"])?;
        Ok(PathBuf::from(metadata.field("target_directory")?.text()?))
    }

    /// `cargo metadata --locked` with further arguments.
    pub(crate) fn metadata(&self, arguments: &[&str]) -> Result<Value, String> {
        let mut command = self.cargo(["metadata", "--format-version", "1", "--locked"]);
        command.args(arguments);
        json::parse(&output(&mut command)?).map_err(|error| format!("cargo metadata: {error}"))
    }
}

/// Runs a program that shows its own output; an error says what was run and how it ended.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    println!("$ {}", Shown(command));
    let status = command.status().map_err(|error| format!("{}: {error}", Shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", Shown(command))) }
}

/// Runs a program for what it prints. Its errors go into ours.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", Shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{}` ended with {}: {}", Shown(command), output.status, said.trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{}: {error}", Shown(command)))
}

/// Whether a program can be started at all.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A command as one would type it.
pub(crate) struct Shown<'a>(pub(crate) &'a Command);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path of the toolchain's cargo says nothing to a reader.
        let program = Path::new(self.0.get_program());
        write!(f, "{}", program.file_name().unwrap_or(program.as_os_str()).to_string_lossy())?;
        for argument in self.0.get_args() {
            let argument = argument.to_string_lossy();
            if argument.is_empty() || argument.contains(' ') {
                write!(f, " '{argument}'")?;
            } else {
                write!(f, " {argument}")?;
            }
        }
        Ok(())
    }
}
