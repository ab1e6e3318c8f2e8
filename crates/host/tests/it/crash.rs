//! A host that dies at any moment of any durable step: nothing that was answered is lost, nothing is there in half, the log has no fork,
//! and the same step again ends where it would have ended.
//!
//! | step | stopped at each write | killed at any moment |
//! |---|---|---|
//! | append, checkpoint with its settlements, settlement records, anchor | a database cut off anywhere between before and after COMMIT | a process of this program, `kill -9` |
//! | tiles and published checkpoint | `crates/log/tests` (`every_durable_step_may_fail_in_every_way`) | the same process |
//!
//! SQLite writes a transaction to the end of its write-ahead log and nowhere else before a checkpoint of its own, so what a process that
//! died leaves behind is a beginning of that file.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;
use candor_host::store::{AnchorRow, OpenLog, Store, StoreOptions};
use candor_link::*;
use candor_log::check;
use candor_log::publish::{After, publish, published};
use candor_log::store::{DirReader, DirStore, LogReader as _};
use candor_log::tiles::Resource;
use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::Tree;
use candor_verify::{Address, Hash32};
use candor_x402::Libsecp;
use candor_x402::settlement::{Progress, SettledBy, SettlementStatus, Slot, StoredIntent};

const CHAIN: u64 = 31337;
const ASSET: Address = Address([0xaa; 20]);
const PAYEE: Address = Address([0xbb; 20]);

/// Leaves of one log at most: the salts and nonces of these tests are one byte.
const LOG_MAX: u64 = 240;

/// How often the process is killed, and how often at most where it is too slow to publish anything before it is.
const KILLS: usize = 30;
const KILLS_MAX: usize = 300;

/// Names the directory for the process that is killed.
const CHILD: &str = "CANDOR_CRASH_DIRECTORY";

/// The receipts and payments of a group, whose size follows from its place, so that every run makes the same bytes. The key of the boot
/// pays, so that no two logs have a payment in common.
fn group(boot: &mut Boot) -> (u64, Vec<LoggedReceipt>, Vec<Settlement>) {
    let first = boot.tree.size();
    let mut group = (first, Vec::new(), Vec::new());
    for sequence in first..(first + 1 + first % 3) {
        let paid = settlement(&boot.k_sig, PAYEE, ASSET, u8::try_from(sequence).unwrap(), UnixSeconds(4_000_000_000), sequence);
        group.1.push(boot.entry(paid.payment_id));
        group.2.push(paid);
    }
    group
}

/// A boot whose tree has this many leaves, in whole groups, and their payments.
fn boot_at(number: u8, size: u64) -> (Boot, Vec<Settlement>) {
    let (mut boot, mut all) = (Boot::offline(number), Vec::new());
    while boot.tree.size() < size {
        all.extend(group(&mut boot).2);
    }
    assert_eq!(boot.tree.size(), size, "half a group is stored");
    (boot, all)
}

/// Records that are written about one payment after its checkpoint.
const LAST_REVISION: u64 = 3;

/// What the settlement machine writes about one payment, in order.
fn records(paid: &Settlement) -> [StoredIntent; 3] {
    use candor_x402::scheme::Calldata;
    use candor_x402::settlement::Intent;
    let intent = Intent::parse(paid.chain_id, paid.to, Calldata(paid.calldata.clone())).unwrap();
    let slot = |hashes| Slot { account_nonce: paid.sequence, gas_level: 0, attempts: 0, hashes };
    let tx_hash = Hash32([7; 32]);
    let status = SettlementStatus::Settled { tx_hash, block: 5, by: SettledBy::Us };
    let record = |revision, progress| StoredIntent { intent: intent.clone(), revision, progress };
    [
        // The account nonce, before anything is sent; the hash, once it was; the end.
        record(1, Progress::AwaitingReceipt(slot(vec![]))),
        record(2, Progress::AwaitingReceipt(slot(vec![tx_hash]))),
        record(3, Progress::Done { status, slot: Some(slot(vec![tx_hash])) }),
    ]
}

/// One durable step.
#[derive(Clone, Debug)]
enum Step {
    Append(u64, Vec<LoggedReceipt>),
    Checkpoint(u64, Box<SignedCheckpoint>, Vec<Settlement>),
    Record(Box<StoredIntent>),
    Anchor(Tree),
}

impl Step {
    async fn run(&self, store: &Store, log_id: Hash32) {
        match self.clone() {
            Self::Append(first_index, entries) => {
                let size = first_index + entries.len() as u64;
                let waiting = store.append(log_id, AppendRequest { first_index, entries }).await.unwrap();
                assert!(waiting.wait().await.is_ok_and(|durable| size <= durable));
            }
            Self::Checkpoint(first_index, checkpoint, settlements) => {
                let size = checkpoint.checkpoint.tree.size;
                let request = CheckpointRequest { first_index, checkpoint: *checkpoint, settlements };
                let (stored, _) = store.checkpoint(log_id, Box::new(request)).await.unwrap().wait().await.unwrap();
                assert_eq!(stored.size, size);
            }
            Self::Record(record) => store.put_intent(*record).await.unwrap(),
            Self::Anchor(tree) => store.put_anchor(log_id, AnchorRow { tree, anchored_at: UnixSeconds(5), tx_hash: None }).await.unwrap(),
        }
    }
}

/// All that a database says of one log.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Held {
    tree: Tree,
    checkpoint: Option<SignedCheckpoint>,
    intents: Vec<(Hash32, StoredIntent)>,
    anchor: Option<AnchorRow>,
}

impl Held {
    async fn of(store: &Store, open: &OpenLog) -> Self {
        let (tree, checkpoint) = (open.read().state().tree, open.read().checkpoint().cloned());
        let mut intents: Vec<_> =
            store.intents(CHAIN, UnixSeconds(0)).await.unwrap().into_iter().map(|record| (record.intent.payment_id(), record)).collect();
        intents.sort_by_key(|(id, _)| *id);
        Self { tree, checkpoint, intents, anchor: store.newest_anchor(open.row().manifest.log_id()).await.unwrap() }
    }
}

async fn open(directory: &Path, boot: &Boot) -> (Store, OpenLog) {
    let store = Store::open(&directory.join("host.db"), StoreOptions::default()).unwrap();
    let log = store.open_log(&boot.manifest, b"evidence".to_vec()).await.unwrap();
    (store, log)
}

#[tokio::test]
async fn a_host_stopped_at_any_write_of_any_step_is_before_or_after_it_and_goes_on_to_the_same_end() {
    let scratch = Scratch::new("cut");
    let mut boot = Boot::offline(1);
    let (store, log) = open(scratch.path(), &boot).await;
    let mut steps = Vec::new();
    for _ in 0..2 {
        let (first, entries, paid) = group(&mut boot);
        steps.push(Step::Append(first, entries));
        steps.push(Step::Checkpoint(first, Box::new(boot.checkpoint()), paid.clone()));
        steps.extend(records(&paid[0]).map(|record| Step::Record(Box::new(record))));
        steps.push(Step::Anchor(boot.tree.now().tree()));
    }
    let wal = scratch.path().join("host.db-wal");
    let length = || std::fs::metadata(&wal).unwrap().len();
    // Before the first step, and after each.
    let mut held = vec![Held::of(&store, &log).await];
    let mut lengths = vec![length()];
    for step in &steps {
        step.run(&store, boot.log_id()).await;
        held.push(Held::of(&store, &log).await);
        lengths.push(length());
    }
    let (database, whole) = (std::fs::read(scratch.path().join("host.db")).unwrap(), std::fs::read(&wal).unwrap());
    let mut seen = [0, 0];
    for (at, bounds) in lengths.windows(2).enumerate() {
        let (from, to) = (bounds[0], bounds[1]);
        assert!(from < to, "{:?} wrote nothing", steps[at]);
        // A page of the log is 24 + 4096 bytes: every page boundary, the middle of each, and a byte short of the end.
        let mut cuts: Vec<u64> = (from..to).step_by((24 + 4096) / 2).collect();
        cuts.extend([from + 1, to - 1, to]);
        for cut in cuts {
            let copy = Scratch::new("cut-copy");
            std::fs::write(copy.path().join("host.db"), &database).unwrap();
            std::fs::write(copy.path().join("host.db-wal"), &whole[..usize::try_from(cut).unwrap()]).unwrap();
            let (store, log) = open(copy.path(), &boot).await;
            let is_after = cut == to;
            assert_eq!(Held::of(&store, &log).await, held[at + usize::from(is_after)], "{:?}, {cut} of {from} to {to}", steps[at]);
            seen[usize::from(is_after)] += 1;
            // The enclave and the settlement machine do not know which, and do it again.
            for step in &steps[at..] {
                step.run(&store, boot.log_id()).await;
            }
            assert_eq!(Some(&Held::of(&store, &log).await), held.last(), "{:?} at {cut} and on", steps[at]);
        }
    }
    assert!(steps.len() < seen[0] && seen[1] == steps.len(), "{seen:?}");
}

/// The life of a host: it finishes what it finds, goes on group after group, and says a line for each thing that it would answer.
#[tokio::test]
#[ignore = "the process that the test below starts and kills"]
async fn child() {
    let directory = PathBuf::from(std::env::var_os(CHILD).expect("started by the test below"));
    said(0, "up", 0);
    let mut number = u8::try_from(logs_of(&directory).await.len()).unwrap().max(1);
    loop {
        let (store, log) = open(&directory, &Boot::offline(number)).await;
        let (mut boot, paid) = boot_at(number, log.read().state().checkpoint_size);
        for record in paid.iter().map(|paid| records(paid)[2].clone()) {
            if store.intent(record.intent.payment_id()).await.unwrap().unwrap().revision < record.revision {
                Step::Record(Box::new(record)).run(&store, boot.log_id()).await;
            }
        }
        let files = DirStore::open(&directory.join(format!("log-{number}"))).unwrap();
        while boot.tree.size() < LOG_MAX {
            let (first, entries, paid) = group(&mut boot);
            let (id, size) = (boot.log_id(), boot.tree.size());
            Step::Append(first, entries).run(&store, id).await;
            said(number, "appended", size);
            Step::Checkpoint(first, Box::new(boot.checkpoint()), paid.clone()).run(&store, id).await;
            said(number, "checkpointed", size);
            for (sequence, record) in paid.iter().flat_map(|paid| records(paid).map(|record| (paid.sequence, record))) {
                let revision = record.revision;
                Step::Record(Box::new(record)).run(&store, id).await;
                said(number, "recorded", sequence * LAST_REVISION + revision);
            }
            Step::Anchor(boot.tree.now().tree()).run(&store, id).await;
            said(number, "anchored", size);
            bring_up_to_date(&log, &files);
            said(number, "published", size);
        }
        number += 1;
    }
}

fn said(number: u8, what: &str, size: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{CHILD} {number} {what} {size}").unwrap();
    out.flush().unwrap();
}

async fn logs_of(directory: &Path) -> Vec<Hash32> {
    Store::open(&directory.join("host.db"), StoreOptions::default()).unwrap().log_ids().await.unwrap()
}

/// As the host does it.
fn bring_up_to_date(open: &OpenLog, files: &DirStore) {
    let mut at = published(files, &Libsecp, &open.row().keys()).unwrap();
    loop {
        let batch = open.read().batch(at).unwrap();
        publish(files, &batch).unwrap();
        match batch.after() {
            After::Published(_) => return,
            After::More(tree) => at = Some(tree),
        }
    }
}

/// What the killed process had said.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    number: u8,
    appended: u64,
    checkpointed: u64,
    // Sequence × LAST_REVISION + revision: records are written one after another.
    recorded: u64,
    anchored: u64,
    published: u64,
}

impl Said {
    fn hear(&mut self, line: &str) {
        // The test harness writes to the same place.
        let Some(line) = line.find(CHILD).and_then(|at| line.get(at..)) else { return };
        let words: Vec<&str> = line.split(' ').collect();
        let [_, number, what, value] = words[..] else { return };
        if what == "up" {
            return;
        }
        let (number, value) = (number.parse().unwrap(), value.parse().unwrap());
        if number != self.number {
            *self = Self { number, ..Self::default() };
        }
        match what {
            "appended" => self.appended = value,
            "checkpointed" => self.checkpointed = value,
            "recorded" => self.recorded = value,
            "anchored" => self.anchored = value,
            "published" => self.published = value,
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_host_killed_at_random_moments_loses_nothing_that_it_answered_and_forks_nothing() {
    let scratch = Scratch::new("kill");
    let program = std::env::current_exe().unwrap();
    let mut said = Said::default();
    let mut kills = 0;
    // Printed on failure: the moments are all that is random here.
    let mut moments = Vec::new();
    let (mut has_published, began) = (false, Instant::now());
    while kills < KILLS || !has_published {
        assert!(kills < KILLS_MAX, "nothing was published: {said:?} after {moments:?}");
        let mut command = Command::new(&program);
        command.args(["--exact", "crash::child", "--ignored", "--nocapture", "--test-threads=1"]).env(CHILD, scratch.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // Killed while it recovers, or at work: the clock's last digits say when.
        let mut line = String::new();
        while !line.contains(CHILD) {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the process ended by itself after {moments:?}");
        }
        let moment = Duration::from_micros(u64::from(began.elapsed().subsec_nanos() / 16 % 60_000));
        moments.push(moment);
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        // Half a line was not said.
        lines.lines().map_while(Result::ok).for_each(|line| said.hear(&line));
        kills += 1;
        has_published |= said.published != 0;
        check_after_kill(scratch.path(), &said, &moments).await;
    }
}

/// Everything that holds after any kill.
async fn check_after_kill(directory: &Path, said: &Said, moments: &[Duration]) {
    let context = format!("{said:?} after {moments:?}");
    let newest = u8::try_from(logs_of(directory).await.len()).unwrap().max(1);
    assert!(said.number <= newest, "{context}");
    let (store, _) = open(directory, &Boot::offline(newest)).await;
    let mut expected = Vec::new();
    for number in 1..=newest {
        let log_id = Boot::offline(number).log_id();
        let open = store.log(&log_id).await.unwrap().unwrap();
        let state = open.read().state();
        // Groups are whole, and the tree is the one that these receipts have: no fork, no gap.
        let (boot, paid) = boot_at(number, state.tree.size);
        assert_eq!(boot.tree.now().tree(), state.tree, "{context}");
        let checkpoint = open.read().checkpoint().map(|signed| signed.checkpoint.tree);
        assert_eq!(checkpoint.map_or(0, |tree| tree.size), state.checkpoint_size, "{context}");
        assert!(checkpoint.is_none_or(|tree| boot.tree.at(tree.size).unwrap().tree() == tree), "{context}");
        let anchored = store.newest_anchor(log_id).await.unwrap().map_or(0, |anchor| anchor.tree.size);
        let is_said = number == said.number;
        if is_said {
            assert!(said.appended <= state.tree.size && said.checkpointed <= state.checkpoint_size, "{context}: {state:?}");
            assert!(said.anchored <= anchored && anchored <= state.checkpoint_size, "{context}: {anchored}");
        }
        check_published(directory, number, if is_said { said.published } else { 0 }, &boot, &context);
        // Every payment under a checkpoint, and how far its record is at least.
        for paid in paid.iter().filter(|paid| paid.sequence < state.checkpoint_size) {
            let recorded = if is_said { said.recorded } else { 0 };
            let revision = recorded.saturating_sub(paid.sequence * LAST_REVISION).min(LAST_REVISION);
            expected.push((paid.payment_id, revision));
        }
    }
    let mut intents: Vec<_> =
        store.intents(CHAIN, UnixSeconds(0)).await.unwrap().iter().map(|r| (r.intent.payment_id(), r.revision)).collect();
    intents.sort();
    expected.sort();
    assert_eq!(intents.len(), expected.len(), "{context}");
    for (stored, expected) in intents.iter().zip(&expected) {
        assert!(stored.0 == expected.0 && expected.1 <= stored.1, "{context}: expected {expected:?}, got {stored:?}");
    }
}

/// The published files of a log are sound at every moment, and as large as was said.
fn check_published(directory: &Path, number: u8, said: u64, boot: &Boot, context: &str) {
    let reader = DirReader::new(&directory.join(format!("log-{number}")));
    if !reader.fetch(Resource::Checkpoint).is_ok_and(|file| file.is_some()) {
        return assert_eq!(said, 0, "{context}");
    }
    let keys = candor_log::LogKeys::new(boot.manifest.k_sig, boot.manifest.k_log);
    let remembered: Vec<Tree> = boot.tree.at(said).map(|at| at.tree()).filter(|tree| tree.size != 0).into_iter().collect();
    let report = check::check(&reader, &Libsecp, &keys, &remembered);
    assert!(report.is_sound(), "{context}: {report:?}");
}
