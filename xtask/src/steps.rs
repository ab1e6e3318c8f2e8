//! The steps of `cargo xtask test`, cheapest first. Each says how to repeat it; none is advisory and none is skipped in silence.
//!
//! A step is in one of two tiers. `core` is what every change has to pass. `long` is what costs much and seldom fails alone; it runs with
//! `--long`, and a run without it says so at its end.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::analysis;
use crate::dist;
use crate::json;
use crate::npm::{self, Node};
use crate::packaging;
use crate::prometheus;
use crate::report::Totals;
use crate::tidy;
use crate::workspace::{Shown, Workspace, exists, output, run};

/// Has core and alloc but no std: what compiles for it is really `no_std`. Checked, not built: LLVM crashes there on AVX code of a
/// dependency, which that target cannot run.
const BARE: &str = "x86_64-unknown-none";
const WASM: &str = "wasm32-unknown-unknown";

/// Directories with a package-lock.json, for the `npm` step; those under `tests/` are added.
const NPM_ROOTS: &[&str] = &["contracts"];

/// What the step `build` builds and the step `test` runs, so that nothing is built twice. Clippy has looked at benches and examples by
/// then; each that is linked costs a program with alloy and revm in it.
const PROGRAMS: &str = "--release --locked --workspace --lib --bins --tests";

/// The npm script of a directory under `tests/` that belongs to the tier `long`.
const LONG_SCRIPT: &str = "test:long";

/// When a step runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tier {
    /// With every change: meant to take less than half an hour on two cores, from nothing.
    Core,
    /// With `--long` only.
    Long,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Core => "core",
            Self::Long => "long",
        })
    }
}

pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) tier: Tier,
    pub(crate) about: String,
    pub(crate) run: Action,
}

type Action = Box<dyn Fn(&Context<'_>) -> Result<(), String>>;

/// What steps share.
pub(crate) struct Context<'a> {
    workspace: &'a Workspace,
    node: OnceCell<Result<Node, String>>,
    pub(crate) totals: Cell<Totals>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(workspace: &'a Workspace) -> Self {
        Self { workspace, node: OnceCell::new(), totals: Cell::new(Totals::default()) }
    }

    fn node(&self) -> Result<&Node, String> {
        self.node.get_or_init(|| Node::find(self.workspace)).as_ref().map_err(Clone::clone)
    }

    fn cargo(&self, arguments: &str) -> Command {
        self.workspace.cargo(arguments.split_whitespace())
    }
}

pub(crate) fn all(workspace: &Workspace) -> Result<Vec<Step>, String> {
    let mut steps = vec![
        step("toolchain", "rustfmt, clippy and the two targets of the verifier are installed", toolchain),
        step("tidy", "crate edges, headers, licences, snapshots, spec against code", |c| tidy::check(c.workspace, false)),
        step("fmt", "cargo fmt --check", |c| run(&mut c.cargo("fmt --all --check"))),
        step("npm", "node, and the locked packages of every directory that has some", npm_packages),
        step("contracts", "artifacts recompile byte for byte; formatting", |c| npm_run(c, "check")),
        step("forge", "contract tests: unit, fuzz, invariants, vectors, gas snapshot", |c| npm_run(c, "test")),
        step("no-std", "the verifier builds where there is no std", |c| verifier(c, "check", BARE)),
        step("wasm", "the verifier builds for wasm", |c| verifier(c, "build", WASM)),
        step("clippy", "every target, warnings are errors", |c| {
            run(&mut c.cargo("clippy --release --locked --workspace --all-targets --keep-going -- -D warnings"))
        }),
        step("doc", "documentation builds, warnings are errors", |c| {
            run(c.cargo("doc --release --locked --workspace --no-deps --document-private-items").env("RUSTDOCFLAGS", "-D warnings"))
        }),
        step("build", "everything that the steps below run", |c| run(&mut c.cargo(&format!("build {PROGRAMS}")))),
        step("vectors", "the deterministic vectors regenerate byte for byte", vectors),
        step("test", "every Rust test", rust_tests),
        step("prometheus", "alerts and their tests, and a node's page of metrics, judged by promtool", observed),
    ];
    let mut long = vec![Step {
        tier: Tier::Long,
        ..step("benches", "benches and examples link", |c| run(&mut c.cargo("build --release --locked --workspace --benches --examples")))
    }];
    for (name, about, run) in [
        ("symbolic", "contracts: rules of policies, time and keys, proven for all values (halmos)", symbolic as fn(&Context<'_>) -> _),
        ("slither", "contracts: static analysis finds nothing that is not explained (slither)", slither),
        ("packaging", "images, units, scripts and the release workflow, as far as they can be looked at without running them", packaging),
        ("dist", "a static program and its archive for x86-64 Linux", |c| dist::x86_64(c.workspace)),
    ] {
        long.push(Step { tier: Tier::Long, ..step(name, about, run) });
    }
    for directory in suites(workspace)? {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if has_script(&directory, LONG_SCRIPT)? {
            let (name, about, directory) = (format!("{name}-long"), format!("`{LONG_SCRIPT}` of tests/{name}"), directory.clone());
            let run: Action = Box::new(move |c| npm_script(c, &directory, LONG_SCRIPT));
            long.push(Step { name, tier: Tier::Long, about, run });
        }
        steps.push(step(&name, &format!("the scripts of tests/{name}"), move |c| suite(c, &directory)));
    }
    steps.extend(long);
    Ok(steps)
}

fn step(name: &str, about: &str, run: impl Fn(&Context<'_>) -> Result<(), String> + 'static) -> Step {
    Step { name: name.into(), tier: Tier::Core, about: about.into(), run: Box::new(run) }
}

/// Installs through rustup what is missing, if there is a rustup.
fn toolchain(context: &Context<'_>) -> Result<(), String> {
    for (component, probe) in [("rustfmt", "fmt --version"), ("clippy", "clippy --version")] {
        let installed = output(&mut context.cargo(probe)).is_ok();
        if !installed {
            rustup(&["component", "add", component])?;
        }
        println!("{component}: {}", if installed { "installed" } else { "added" });
    }
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    for target in [BARE, WASM] {
        let installed = sysroot.join("lib/rustlib").join(target).is_dir();
        if !installed {
            rustup(&["target", "add", target])?;
        }
        println!("{target}: {}", if installed { "installed" } else { "added" });
    }
    if exists("cc") { Ok(()) } else { Err("a C compiler is needed; install one as root: apt-get install -y build-essential".into()) }
}

fn rustup(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("rustup");
    command.args(arguments);
    let wanted = Shown(&command).to_string();
    run(&mut command).map_err(|error| format!("{error}\nneeded by the tests; to install it: {wanted}"))
}

fn npm_packages(context: &Context<'_>) -> Result<(), String> {
    let node = context.node()?;
    let roots = NPM_ROOTS.iter().map(|root| context.workspace.root.join(root));
    for directory in roots.chain(suites(context.workspace)?) {
        if directory.join("package.json").is_file() {
            npm::install(node, &directory)?;
        }
    }
    Ok(())
}

fn npm_run(context: &Context<'_>, script: &str) -> Result<(), String> {
    let directory = context.workspace.root.join("contracts");
    npm::install(context.node()?, &directory)?;
    run(context.node()?.command("npm", &directory)?.args(["run", "--silent", script]))
}

fn symbolic(context: &Context<'_>) -> Result<(), String> {
    npm::install(context.node()?, &context.workspace.root.join("contracts"))?;
    let proven = analysis::symbolic(context.workspace)?;
    count(context, &format!("test result: ok. {proven} passed; 0 failed; proven for all values"));
    Ok(())
}

fn slither(context: &Context<'_>) -> Result<(), String> {
    npm::install(context.node()?, &context.workspace.root.join("contracts"))?;
    analysis::slither(context.workspace)?;
    count(context, "test result: ok. 1 passed; 0 failed; nothing that is not explained");
    Ok(())
}

fn packaging(context: &Context<'_>) -> Result<(), String> {
    let looked_at = packaging::check(context.workspace)?;
    count(context, &format!("test result: ok. {looked_at} passed; 0 failed; files of packaging/ and .github/"));
    Ok(())
}

/// Shows a result line, and counts it as if a test program had printed it.
fn count(context: &Context<'_>, line: &str) {
    println!("{line}");
    let mut totals = context.totals.get();
    totals.read(line);
    context.totals.set(totals);
}

/// `check` is enough to see that nothing asks for std; `build` also makes code.
fn verifier(context: &Context<'_>, how: &str, target: &str) -> Result<(), String> {
    run(context.cargo(how).args(["--release", "--locked", "--package", "candor-verify", "--target", target]))
}

/// Runs the generator into an empty directory and compares. Bundles carry fresh attestations and are not compared.
fn vectors(context: &Context<'_>) -> Result<(), String> {
    let fresh = context.workspace.target_directory()?.join("vectors-regenerated");
    let problem = |error: std::io::Error| format!("{}: {error}", fresh.display());
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(problem)?;
    }
    // The generator writes bundles only where there is no such directory.
    fs::create_dir_all(fresh.join("bundle")).map_err(problem)?;
    run(Command::new(built(context, "vectors")?).arg(&fresh))?;
    let mut different = Vec::new();
    let mut same = 0;
    for entry in fs::read_dir(&fresh).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".json") {
            continue;
        }
        let made = fs::read(entry.path()).map_err(problem)?;
        match fs::read(context.workspace.root.join("vectors").join(&name)) {
            Ok(committed) if committed == made => same += 1,
            _ => different.push(name),
        }
    }
    if !different.is_empty() {
        different.sort();
        let command = "cargo run --release -p candor-testkit --bin vectors -- vectors";
        return Err(format!("not what the generator makes: vectors/{}; to rewrite: {command}", different.join(", vectors/")));
    }
    println!("{same} files regenerate byte for byte");
    if same == 0 { Err("the generator made no file".into()) } else { Ok(()) }
}

/// A program that the step `build` made.
fn built(context: &Context<'_>, name: &str) -> Result<PathBuf, String> {
    let program = context.workspace.target_directory()?.join("release").join(name);
    if program.is_file() { Ok(program) } else { Err(format!("{} is missing: cargo xtask test --only build", program.display())) }
}

/// Runs every Rust test. Those in documentation are a run of their own: without a selection of targets cargo would link examples too.
fn rust_tests(context: &Context<'_>) -> Result<(), String> {
    let programs = cargo_test(context, &format!("test {PROGRAMS} --no-fail-fast"));
    let documentation = cargo_test(context, "test --release --locked --workspace --doc --no-fail-fast");
    let failures: Vec<String> = [programs, documentation].into_iter().filter_map(Result::err).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// The page is that of a node which one of the Rust tests starts: run again here, so that this step stands alone.
fn observed(context: &Context<'_>) -> Result<(), String> {
    prometheus::rules(context.workspace)?;
    cargo_test(context, "test --release --locked --workspace --test it -- observed::dashboard_and_rules")?;
    prometheus::page(context.workspace)
}

/// Counts tests while their output passes through.
fn cargo_test(context: &Context<'_>, arguments: &str) -> Result<(), String> {
    let mut command = context.cargo(arguments);
    println!("$ {}", Shown(&command));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("cargo test: {error}"))?;
    let before = context.totals.get();
    let mut totals = before;
    let mut failed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map_err(|error| format!("cargo test: {error}"))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            totals.read(&line);
            failed.extend(line.strip_suffix(" ... FAILED").map(str::to_string));
        }
    }
    let status = child.wait().map_err(|error| format!("cargo test: {error}"))?;
    context.totals.set(totals);
    match (status.success(), before.passed < totals.passed) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("`{}` ran no test", Shown(&command))),
        (false, _) => Err(format!("{}\n`{}` ended with {status}", failed.join("\n"), Shown(&command))),
    }
}

/// The directories under `tests/`: each is one step, for programs in other languages that use ours from outside.
fn suites(workspace: &Workspace) -> Result<Vec<PathBuf>, String> {
    let tests = workspace.root.join("tests");
    if !tests.is_dir() {
        return Ok(Vec::new());
    }
    let problem = |error: std::io::Error| format!("{}: {error}", tests.display());
    let mut out = Vec::new();
    for entry in fs::read_dir(&tests).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        if path.is_dir() {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// One directory under `tests/`: its npm script `test` if it has one, else each `.mjs` file in it. `CANDOR` names our binary.
fn suite(context: &Context<'_>, directory: &Path) -> Result<(), String> {
    if has_script(directory, "test")? {
        return npm_script(context, directory, "test");
    }
    let candor = built(context, "candor")?;
    let node = context.node()?;
    if directory.join("package.json").is_file() {
        npm::install(node, directory)?;
    }
    let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut scripts = Vec::new();
    for entry in fs::read_dir(directory).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        if path.extension().is_some_and(|extension| extension == "mjs") {
            scripts.push(path);
        }
    }
    if scripts.is_empty() {
        return Err(format!("{} has neither an npm script `test` nor a .mjs file", directory.display()));
    }
    scripts.sort();
    for script in scripts {
        run(node.command("node", directory)?.arg(script.file_name().unwrap_or_default()).env("CANDOR", &candor))?;
    }
    Ok(())
}

/// One npm script of a directory under `tests/`. `CANDOR` names our binary.
fn npm_script(context: &Context<'_>, directory: &Path, script: &str) -> Result<(), String> {
    let candor = built(context, "candor")?;
    let node = context.node()?;
    npm::install(node, directory)?;
    run(node.command("npm", directory)?.args(["run", "--silent", script]).env("CANDOR", &candor))
}

/// Whether a directory has a package.json with this script.
fn has_script(directory: &Path, script: &str) -> Result<bool, String> {
    let manifest = directory.join("package.json");
    if !manifest.is_file() {
        return Ok(false);
    }
    let text = fs::read_to_string(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let package = json::parse(&text).map_err(|error| format!("{}: {error}", manifest.display()))?;
    Ok(package.get("scripts").and_then(|scripts| scripts.get(script)).is_some())
}
