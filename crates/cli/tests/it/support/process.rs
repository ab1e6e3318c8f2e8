//! Children of the built program. Each leads a process group of its own, so that what it started ends with it; a watcher ends the group
//! if the test process dies without dropping anything.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, Ran};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_candor");

/// A running child and its first JSON line.
pub(crate) struct Process {
    child: Child,
    watcher: Child,
    // One reader at a time; the lock makes it shareable.
    lines: Mutex<Receiver<String>>,
    said: Arc<Mutex<Vec<String>>>,
    // Its standard error, which others may have written to before.
    errors: PathBuf,
    begins: u64,
    pub(crate) up: Value,
}

impl Process {
    /// Starts `candor --json --state STATE …` and waits for its first line, which is JSON.
    pub(crate) fn start(state: &Path, arguments: &[&str]) -> Self {
        let mut all = vec!["--json", "--state", state.to_str().unwrap()];
        all.extend_from_slice(arguments);
        let mut process = Self::spawn(state, arguments[0], &all);
        let line = process.line(|_| true);
        process.up = serde_json::from_str(&line).unwrap_or_else(|_| panic!("candor {arguments:?} said {line:?}"));
        assert!(process.up["error"].is_null(), "candor {arguments:?}: {}", process.up);
        process
    }

    /// Starts the program with exactly these arguments. What it says goes to `NAME.err` in `directory` and to [`Self::line`].
    pub(crate) fn spawn(directory: &Path, name: &str, arguments: &[&str]) -> Self {
        let path = directory.join(format!("{name}.err"));
        let errors = File::options().create(true).append(true).open(&path).unwrap();
        let begins = errors.metadata().unwrap().len();
        // `env` becomes the program. What a process ignores its children ignore: a test under `nohup` would start programs that no hangup
        // ends. And with XFSZ ignored, a limit on file sizes is an error of the write, as a full disk is.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", "--ignore-signal=XFSZ", PROGRAM]);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).process_group(0);
        let mut child = command.spawn().unwrap();
        // Its standard input closes when we are gone, however we went.
        let mut watcher = Command::new("sh");
        watcher.args(["-c", "read _; kill -s KILL -- \"-$0\"", &child.id().to_string()]);
        let watcher = watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // Reads to the end whether or not anybody listens: a full pipe would stop the child.
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
                drop(sender.send(line));
            }
        });
        Self { child, watcher, lines: Mutex::new(lines), said, errors: path, begins, up: Value::Null }
    }

    /// Its next line that fits.
    pub(crate) fn line(&self, fits: impl Fn(&str) -> bool) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if fits(&line) => return line,
                Ok(_) => {}
                Err(error) => panic!("candor said nothing that fits: {error}"),
            }
        }
    }

    /// Every line of its standard output so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every line of its standard error so far: the log of a node.
    pub(crate) fn log(&self) -> Vec<String> {
        let bytes = std::fs::read(&self.errors).unwrap();
        let own = bytes.get(usize::try_from(self.begins).unwrap()..).unwrap_or_default();
        String::from_utf8_lossy(own).lines().map(str::to_owned).collect()
    }

    /// The first line of its log that fits.
    pub(crate) fn logged(&self, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().into_iter().find(|line| fits(line)) {
                return line;
            }
            assert!(Instant::now() < deadline, "candor logged nothing that fits: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A member of its first line.
    pub(crate) fn text(&self, key: &str) -> String {
        self.up[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.up)).to_owned()
    }

    /// A process id of its first line.
    pub(crate) fn pid_of(&self, key: &str) -> u32 {
        u32::try_from(self.up[key].as_u64().unwrap()).unwrap()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    /// Waits for its end; its exit code, `None` if a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the process never ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it and everything it started.
    pub(crate) fn end(&mut self) {
        // The watcher first: afterwards the number may be somebody else's.
        drop(self.watcher.kill());
        drop(self.watcher.wait());
        // While the leader is not waited for, its group cannot be another's.
        drop(Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", self.pid())]).stderr(Stdio::null()).status());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.end();
        } else {
            drop(self.watcher.kill());
            drop(self.watcher.wait());
        }
    }
}

/// Sends a signal to a process that we started.
pub(crate) fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
}

/// Whether there is such a process (a zombie is none).
pub(crate) fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// The children of a process, whichever of its threads started them.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let of_task = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.flat_map(|task| of_task(task).split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Runs the program to its end with `--json`.
pub(crate) fn run(state: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(PROGRAM).arg("--json").arg("--state").arg(state).args(arguments).stdin(Stdio::null()).output().unwrap();
    Ran::of(&output)
}

/// The commands that the program's own help lists, in groups: two blanks, a name, two blanks or more, what it does. Options begin with a dash.
pub(crate) fn listed(help: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("  ")?.split_once("  ")?.0.to_owned());
    help.lines().filter_map(name).filter(|name| name.starts_with(char::is_alphabetic)).collect()
}

/// Runs the program at a terminal of eighty columns, in UTF-8, where somebody types this: exit code, and everything on the screen.
pub(crate) fn at_terminal(state: &Path, arguments: &[&str], typed: &str) -> (i32, String) {
    use std::io::Write as _;
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    let words: Vec<String> = [PROGRAM, "--state", state.to_str().unwrap()].iter().chain(arguments).map(|word| quoted(word)).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]).env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env_remove("NO_COLOR");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Held open to the end: whoever asks later than this is written finds it in the terminal, and no end of input.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A new directory for one test. Short: socket paths have a limit.
pub(crate) fn new_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("candor-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}
