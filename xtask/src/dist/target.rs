//! The targets of a release, and what each needs to be built: a compiler of C for musl, and the linker that Rust brings.
//!
//! Rust has musl itself, with its linker, for both targets. The C in our dependencies (TLS, SQLite, curves) needs a compiler that knows
//! musl's headers, for the other processor too: zig's, one package of Python at one version, so that no machine's own compiler counts.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::elf;
use crate::python::Venv;
use crate::workspace::{Workspace, exists, output};

/// What a program of another processor needs here.
pub(super) const QEMU_NEEDED: &str =
    "a program of another processor needs qemu; install it as root: apt-get update && apt-get install -y qemu-user-static";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    X86_64,
    Aarch64,
}

impl Target {
    pub(super) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(" or ");
        Self::ALL.into_iter().find(|target| target.name() == name).ok_or_else(|| format!("--target: expected {known}, got {name}"))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// As Rust and qemu call the processor.
    fn processor(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    pub(super) fn machine(self) -> elf::Machine {
        match self {
            Self::X86_64 => elf::Machine::X86_64,
            Self::Aarch64 => elf::Machine::Aarch64,
        }
    }

    /// How to start a program of this target here, if it can be.
    pub(super) fn command(self, program: &Path) -> Option<Command> {
        if env::consts::ARCH == self.processor() {
            return Some(Command::new(program));
        }
        let emulators = [format!("qemu-{}-static", self.processor()), format!("qemu-{}", self.processor())];
        let emulator = emulators.into_iter().find(|emulator| exists(emulator))?;
        let mut command = Command::new(emulator);
        command.arg(program);
        Some(command)
    }

    /// What cargo has to be told.
    pub(super) fn environment(self, workspace: &Workspace) -> Result<Vec<(String, OsString)>, String> {
        let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
        if !sysroot.join("lib/rustlib").join(self.name()).is_dir() {
            return Err(format!("Rust for {self} is needed; to install it: rustup target add {self}", self = self));
        }
        let (compiler, archiver) = self.tools(workspace)?;
        let underscored = self.name().replace('-', "_");
        Ok(vec![
            (format!("CC_{underscored}"), compiler.into()),
            (format!("AR_{underscored}"), archiver.into()),
            // Takes the place of RUSTFLAGS, of the environment and of configuration: none of this machine's are in what is published.
            ("CARGO_ENCODED_RUSTFLAGS".into(), rust_flags(&directories(workspace)?).join("\u{1f}").into()),
        ])
    }

    /// Two small programs that call zig's compiler and archiver as if they were for this target alone.
    fn tools(self, workspace: &Workspace) -> Result<(PathBuf, PathBuf), String> {
        let zig = zig(workspace)?;
        let target_directory = workspace.target_directory()?;
        let directory = target_directory.join("dist-tools").join(self.name());
        let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
        fs::create_dir_all(&directory).map_err(problem)?;
        let cache = target_directory.join("dist-tools/zig-cache");
        let tool = Tool { zig: quoted(&zig)?, cache: quoted(&cache)? };
        let (compiler, archiver) = (directory.join("cc"), directory.join("ar"));
        for (path, text) in [(&compiler, tool.compiler(self, &directories(workspace)?)?), (&archiver, tool.archiver())] {
            // Written only if it differs: a build script that watches it would run again.
            if fs::read_to_string(path).ok().as_ref() != Some(&text) {
                fs::write(path, text).map_err(problem)?;
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(problem)?;
        }
        Ok((compiler, archiver))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where zig is, at the version that `xtask/python/zig.txt` says.
fn zig(workspace: &Workspace) -> Result<PathBuf, String> {
    let venv = Venv::find(workspace, "zig")?;
    let where_it_is = "import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))";
    let path = output(venv.command("python", Path::new("/usr/bin"))?.args(["-c", where_it_is]))?;
    Ok(PathBuf::from(path.trim()))
}

/// The notice of musl, which zig has with its headers.
pub(super) fn notice_of_musl(workspace: &Workspace) -> Result<String, String> {
    let path = zig(workspace)?.with_file_name("lib").join("libc/musl/COPYRIGHT");
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Directories of this machine, and what they are called in the program: messages of panics and of C's assertions name files.
fn directories(workspace: &Workspace) -> Result<Vec<(PathBuf, &'static str)>, String> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| home.map(|home| home.join(".cargo")));
    let cargo = cargo.ok_or("neither CARGO_HOME nor HOME is set")?;
    let mut out = vec![(workspace.root.clone(), "candor"), (cargo, "cargo")];
    // Code is generated there, and has a name like any other.
    let target = workspace.target_directory()?;
    if !target.starts_with(&workspace.root) {
        out.push((target, "candor/target"));
    }
    Ok(out)
}

fn rust_flags(directories: &[(PathBuf, &str)]) -> Vec<String> {
    let mut flags: Vec<String> = ["-Clinker=rust-lld", "-Clink-self-contained=yes"].map(str::to_string).to_vec();
    flags.extend(directories.iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())));
    flags
}

struct Tool {
    zig: String,
    cache: String,
}

impl Tool {
    fn compiler(&self, target: Target, directories: &[(PathBuf, &str)]) -> Result<String, String> {
        let mut maps = String::new();
        for (path, name) in directories {
            maps += &format!(" {}", quoted(Path::new(&format!("-ffile-prefix-map={}={name}", path.display())))?);
        }
        let processor = target.processor();
        // -g0: zig adds debug information unless told. -fno-sanitize: and checks that need a library of its own.
        let call = format!("{} cc -target {processor}-linux-musl -g0 -fno-sanitize=all{maps} \"$@\"", self.zig);
        // The name that Rust gives the target is none that zig knows.
        let filter = "for argument do\n    shift\n    case $argument in\n        --target=*) ;;\n        *) set -- \"$@\" \"$argument\" ;;\n    esac\ndone\n";
        Ok(format!("{}{filter}exec {call}\n", self.head()))
    }

    fn archiver(&self) -> String {
        format!("{}exec {} ar \"$@\"\n", self.head(), self.zig)
    }

    fn head(&self) -> String {
        let cache = &self.cache;
        format!("#!/bin/sh\n# Written by `cargo xtask dist`.\nset -eu\nexport ZIG_GLOBAL_CACHE_DIR={cache} ZIG_LOCAL_CACHE_DIR={cache}\n")
    }
}

/// For a shell.
fn quoted(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{}: a path in UTF-8 is needed", path.display()))?;
    if text.contains(['\'', '\n']) {
        return Err(format!("{text:?}: a path without quotes is needed; set CARGO_TARGET_DIR, or move the checkout"));
    }
    Ok(format!("'{text}'"))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::{Target, Tool, quoted, rust_flags};

    /// Runs the script with a zig that prints how it was called.
    fn called(target: Target, arguments: &[&str]) -> String {
        let tool = Tool { zig: "printf '%s|'".into(), cache: "'/a b'".into() };
        let script = tool.compiler(target, &[(PathBuf::from("/home/some body"), "candor")]).unwrap();
        let script = script.replace("exec printf", "printf");
        let output = Command::new("sh").arg("-c").arg(script).arg("cc").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_compiler_is_called_for_its_target_and_with_every_argument_but_rusts_name_of_it() {
        let said = called(Target::Aarch64, &["-O3", "--target=aarch64-unknown-linux-musl", "a b.c", "-DX=\"y\""]);
        let maps = "-ffile-prefix-map=/home/some body=candor";
        assert_eq!(said, format!("cc|-target|aarch64-linux-musl|-g0|-fno-sanitize=all|{maps}|-O3|a b.c|-DX=\"y\"|"));
        assert!(called(Target::X86_64, &[]).starts_with("cc|-target|x86_64-linux-musl|"));
    }

    #[test]
    fn a_path_that_a_shell_could_misread_is_refused() {
        assert_eq!(quoted(Path::new("/a b/$c")).unwrap(), "'/a b/$c'");
        for bad in ["/it's", "/a\nb"] {
            assert!(quoted(Path::new(bad)).unwrap_err().contains("without quotes"), "{bad:?}");
        }
    }

    #[test]
    fn directories_of_this_machine_have_other_names_in_the_program() {
        let flags = rust_flags(&[(PathBuf::from("/home/a"), "candor")]);
        assert!(flags.contains(&"--remap-path-prefix=/home/a=candor".to_string()), "{flags:?}");
    }
}
