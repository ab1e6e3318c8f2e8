//! `cargo xtask dist`: what is published. A static program for each target, with what belongs beside it, as an archive; Debian packages with
//! `--deb`; and the checksums of all.
//!
//! | file | |
//! |---|---|
//! | `target` | the targets, and the compiler of C that each needs |
//! | `elf` | whether a program is what it is said to be |
//! | `contents` | what goes beside the program |
//! | `notices` | the licences of what is in the program |
//! | `archive` | one tree, one archive, byte for byte |
//! | `deb` | the Debian package, from the same program |
//!
//! Not here: publishing. `.github/workflows/release.yml` is one way; whoever has the files can put them anywhere.
//! - **Invariant:** the same commit, compilers and gzip make the same archives, wherever and whenever.

mod archive;
mod contents;
mod deb;
mod elf;
mod notices;
mod target;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::workspace::{Shown, Workspace, exists, output, run as run_command};
use target::Target;

/// The program, its crate, and the profile that it is built in.
const PROGRAM: &str = "candor";
const PACKAGE: &str = "candor-cli";
const PROFILE: &str = "dist";

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let options = Options::parse(arguments).map_err(Failure::Usage)?;
    Ok(build(workspace, &options)?)
}

/// What the step `dist` makes: the archive of one target.
pub(crate) fn x86_64(workspace: &Workspace) -> Result<(), String> {
    build(workspace, &Options { targets: vec![Target::X86_64], with_deb: false })
}

struct Options {
    targets: Vec<Target>,
    with_deb: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut out = Self { targets: Vec::new(), with_deb: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--deb" => out.with_deb = true,
                "--target" => {
                    let name = rest.next().ok_or("--target needs the name of a target")?;
                    let target = Target::parse(name)?;
                    if out.targets.contains(&target) {
                        return Err(format!("--target {name} is there twice"));
                    }
                    out.targets.push(target);
                }
                other => return Err(format!("dist has no option `{other}`")),
            }
        }
        if out.targets.is_empty() {
            out.targets = Target::ALL.to_vec();
        }
        Ok(out)
    }
}

fn build(workspace: &Workspace, options: &Options) -> Result<(), String> {
    for (program, package) in [("cc", "build-essential"), ("gzip", "gzip"), ("sha256sum", "coreutils")] {
        needed(program, package)?;
    }
    if options.with_deb {
        needed("dpkg-deb", "dpkg")?;
    }
    let version = version(workspace)?;
    let commit = Commit::of(&workspace.root)?;
    if commit.is_modified {
        println!("the work tree is not as committed: what is built says so in its version, and is not to be published");
    }
    let programs = options.targets.iter().map(|target| program(workspace, *target, &commit)).collect::<Result<Vec<_>, _>>()?;
    let mut reports = Vec::new();
    for (target, program) in options.targets.iter().zip(&programs) {
        reports.push(format!("{target}  {} bytes  static  {}", size(program)?, check(*target, program, &version, &commit)?));
    }

    let target_directory = workspace.target_directory()?;
    let directory = target_directory.join("packages");
    empty(&directory)?;
    // Made by the program itself, so that they are of its commands; any of the programs has the same.
    let speaks =
        options.targets.iter().zip(&programs).find_map(|(target, program)| target.command(program).map(|command| (command, program)));
    let (command, program) = speaks.ok_or_else(|| {
        format!("none of the programs runs on this machine, so nothing can say what its commands are; {}", target::QEMU_NEEDED)
    })?;
    let generated = contents::generate(&command, program, &target_directory.join("dist-tools/generated"))?;
    let mut files = Vec::new();
    for (target, program) in options.targets.iter().zip(&programs) {
        let entries = contents::entries(workspace, *target, program, &generated)?;
        let archive = directory.join(archive_name(&version, target.name()));
        archive::write(&archive, &stem(&version, target.name()), entries, commit.time)?;
        files.push(archive);
        if options.with_deb {
            let package = deb::build(workspace, *target, &generated, &directory, commit.time)?;
            deb::check(*target, &package, &version)?;
            files.push(package);
        }
    }
    sums(&directory, &files)?;
    println!();
    reports.iter().for_each(|line| println!("{line}"));
    for file in &files {
        println!("{}  {} bytes", file.display(), size(file)?);
    }
    println!("{}", directory.join("SHA256SUMS").display());
    Ok(())
}

/// The name of everything that belongs to one version and target. `crates/cli/Cargo.toml` tells it to `cargo binstall`.
fn stem(version: &str, target: &str) -> String {
    format!("{PROGRAM}-{version}-{target}")
}

fn archive_name(version: &str, target: &str) -> String {
    format!("{}.tar.gz", stem(version, target))
}

/// A program, or the command that installs it.
fn needed(program: &str, package: &str) -> Result<(), String> {
    match exists(program) {
        true => Ok(()),
        false => Err(format!("{program} is needed; install it as root: apt-get update && apt-get install -y {package}")),
    }
}

fn version(workspace: &Workspace) -> Result<String, String> {
    let metadata = workspace.metadata(&["--no-deps"])?;
    for package in metadata.field("packages")?.list()? {
        if package.field("name")?.text()? == PACKAGE {
            return Ok(package.field("version")?.text()?.to_string());
        }
    }
    Err(format!("cargo metadata knows no package {PACKAGE}"))
}

/// What is built, and when it was committed: the time of every file in an archive.
struct Commit {
    id: String,
    day: String,
    /// Seconds since 1970.
    time: u64,
    is_modified: bool,
}

impl Commit {
    fn of(root: &Path) -> Result<Self, String> {
        let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(root).args(arguments));
        let problem = |error| format!("dist builds a commit, and names it: a checkout with its history is needed, and git ({error})");
        let text = git(&["-c", "log.showSignature=false", "log", "-1", "--format=%H %cs %ct"]).map_err(problem)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let [id, day, time] = words[..] else { return Err(format!("git log printed {text:?}")) };
        let time = time.parse().map_err(|error| format!("git log printed {text:?}: {error}"))?;
        let is_modified = !git(&["status", "--porcelain"])?.trim().is_empty();
        Ok(Self { id: id.into(), day: day.into(), time, is_modified })
    }

    /// As the build script of the command takes it.
    fn marked(&self) -> String {
        format!("{}{}", self.id, if self.is_modified { "-modified" } else { "" })
    }

    /// As the program says it.
    fn shown(&self, version: &str) -> String {
        let short: String = self.id.chars().take(12).collect();
        format!("{PROGRAM} {version} ({short}{} {})", if self.is_modified { "-modified" } else { "" }, self.day)
    }
}

/// Builds the program of one target.
fn program(workspace: &Workspace, target: Target, commit: &Commit) -> Result<PathBuf, String> {
    let arguments = ["build", "--locked", "--profile", PROFILE, "--package", PACKAGE, "--bin", PROGRAM, "--target", target.name()];
    let mut command = workspace.cargo(arguments);
    command.envs(target.environment(workspace)?);
    command.env("CANDOR_COMMIT", commit.marked()).env("CANDOR_COMMIT_DATE", &commit.day);
    run_command(&mut command)?;
    Ok(built_in(workspace, target)?.join(PROGRAM))
}

/// The directory in which cargo leaves what it built.
fn built_in(workspace: &Workspace, target: Target) -> Result<PathBuf, String> {
    Ok(workspace.target_directory()?.join(target.name()).join(PROFILE))
}

/// Whether the program is static and of its target, and whether it starts and says what it is. Gives the word for the second.
fn check(target: Target, program: &Path, version: &str, commit: &Commit) -> Result<String, String> {
    let bytes = fs::read(program).map_err(|error| format!("{}: {error}", program.display()))?;
    elf::check(&bytes, target.machine()).map_err(|error| format!("{}: {error}", program.display()))?;
    let Some(mut command) = target.command(program) else {
        return Ok(format!("not run: {}", target::QEMU_NEEDED));
    };
    let said = output(command.arg("--version"))?;
    let wanted = commit.shown(version);
    match said.trim_end() == wanted {
        true => Ok(format!("runs, and says `{wanted}`")),
        false => Err(format!("`{}`: expected `{wanted}`, got `{}`", Shown(&command), said.trim_end())),
    }
}

/// The checksums, as `sha256sum --check` reads them.
fn sums(directory: &Path, files: &[PathBuf]) -> Result<(), String> {
    let mut names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    names.sort();
    let text = output(Command::new("sha256sum").args(names).current_dir(directory))?;
    let path = directory.join("SHA256SUMS");
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn size(file: &Path) -> Result<u64, String> {
    fs::metadata(file).map(|metadata| metadata.len()).map_err(|error| format!("{}: {error}", file.display()))
}

/// A directory with nothing in it: nothing of an earlier run is published.
fn empty(directory: &Path) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(problem)?;
    }
    fs::create_dir_all(directory).map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::target::Target;
    use super::{Commit, Options, archive_name, stem};

    const MANIFEST: &str = include_str!("../../../crates/cli/Cargo.toml");

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(&arguments.iter().map(|argument| (*argument).to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn both_targets_are_built_unless_some_are_named() {
        assert_eq!(parse(&[]).unwrap().targets, Target::ALL);
        let named = parse(&["--target", "aarch64-unknown-linux-musl", "--deb"]).unwrap();
        assert!(named.targets == [Target::Aarch64] && named.with_deb);
        for (bad, word) in [
            (&["--target"][..], "needs the name"),
            (&["--target", "x86_64-unknown-linux-gnu"], "expected x86_64-unknown-linux-musl or aarch64-unknown-linux-musl"),
            (&["--target", "x86_64-unknown-linux-musl", "--target", "x86_64-unknown-linux-musl"], "twice"),
            (&["--rpm"], "no option `--rpm`"),
        ] {
            assert!(parse(bad).err().is_some_and(|error| error.contains(word)), "{bad:?}");
        }
    }

    /// The value of a key in the manifest of the command, with what binstall puts in.
    fn rendered(key: &str, target: &str) -> String {
        let section = MANIFEST.split_once("\n[package.metadata.binstall]\n").unwrap().1.split("\n[").next().unwrap();
        let line = section.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')).unwrap();
        let values = [
            ("{ version }", "0.1.0"),
            ("{ target }", target),
            ("{ archive-suffix }", ".tar.gz"),
            ("{ bin }", "candor"),
            ("{ binary-ext }", ""),
        ];
        values.iter().fold(line.to_string(), |text, (name, value)| text.replace(name, value))
    }

    #[test]
    fn cargo_binstall_looks_for_the_names_that_dist_gives() {
        for target in Target::ALL {
            let url = rendered("pkg-url", target.name());
            assert_eq!(url, format!("{{ repo }}/releases/download/v0.1.0/{}", archive_name("0.1.0", target.name())));
            assert_eq!(rendered("bin-dir", target.name()), format!("{}/candor", stem("0.1.0", target.name())));
        }
        assert_eq!(rendered("pkg-fmt", ""), "tgz");
    }

    #[test]
    fn a_tree_that_is_not_as_committed_is_marked() {
        let commit = |is_modified| Commit { id: "abcdef0123456789".into(), day: "2026-11-28".into(), time: 0, is_modified };
        assert_eq!(commit(false).shown("0.1.0"), "candor 0.1.0 (abcdef012345 2026-11-28)");
        assert_eq!(commit(true).shown("0.1.0"), "candor 0.1.0 (abcdef012345-modified 2026-11-28)");
        assert_eq!(commit(true).marked(), "abcdef0123456789-modified");
    }
}
