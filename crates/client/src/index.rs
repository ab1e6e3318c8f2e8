//! The index of what is kept: one row per answer in the client's database, by which an answer is found from any of its ids.
//!
//! It is a cache of the files beside it, and made again from them ([`BundleIndex::sync`]); of an answer of which nothing is kept the row is all there
//! is. What a row says is the file's word. Its verdict is the one of a moment, and is shown as that: whoever wants to know now judges the file.
//! Not here: writing the files (`keep`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use candor_engine::{ENGINE, chat};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Amount, Hash32, to_hex};
use candor_verify::cbor::CborError;
use candor_verify::check::ChainFacts;
use candor_verify::policy::Policy;
use candor_verify::receipt::receipt_id;
use candor_verify::time::UnixMs;
use candor_verify::verdict::Verdict;
use rusqlite::{Connection, Row, params};

use crate::clock;
use crate::database::{Database, Stop};
use crate::error::ClientError;
use crate::files::{file_error, private_directory, write_new, write_private};
use crate::keep::{KeepMode, KeptError, evidence_path, load_kept};

/// `file` is relative to the directory of bundles, or absolute if it lies elsewhere; null if nothing is kept. Amounts and chain ids are decimal.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE kept (
        file TEXT UNIQUE,
        receipt_id TEXT NOT NULL,
        response_id TEXT,
        payment_id TEXT NOT NULL,
        finished_at INTEGER NOT NULL,
        model TEXT NOT NULL,
        model_id TEXT NOT NULL,
        payee TEXT NOT NULL,
        node TEXT NOT NULL,
        charged TEXT NOT NULL,
        asset TEXT NOT NULL,
        chain_id TEXT NOT NULL,
        asset_name TEXT,
        decimals INTEGER,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        ended TEXT NOT NULL,
        outcome TEXT NOT NULL,
        refused TEXT,
        log_level TEXT NOT NULL,
        judged_at INTEGER NOT NULL,
        keep TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        evidence TEXT
    ) STRICT;
    CREATE INDEX kept_finished ON kept (finished_at);
    CREATE INDEX kept_receipt ON kept (receipt_id);
    CREATE INDEX kept_response ON kept (response_id);
    CREATE INDEX kept_payment ON kept (payment_id);
    CREATE INDEX kept_evidence ON kept (evidence);
";

const COLUMNS: &str = "file, receipt_id, response_id, payment_id, finished_at, model, model_id, payee, node, charged, asset, chain_id, \
                       asset_name, decimals, prompt_tokens, completion_tokens, ended, outcome, refused, log_level, judged_at, keep, bytes, evidence";

/// Longest id of a response that is taken into the index, in characters. It is the node's word; those that are known have some forty.
const RESPONSE_ID_MAX: usize = 128;

/// What nothing names is erased when it is this old: a proof that is just being written names its evidence in a moment, and who writes a file ends it.
const REST: Duration = Duration::from_secs(60 * 60);

/// Ends the names of files that are being written ([`write_private`], [`write_new`]).
const PARTIAL: [&str; 2] = ["tmp", "new"];

/// Ends the file names of bundles and proofs.
const EXTENSION: &str = "candor";

/// One answer, as its file says it was, and the verdict of a moment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct IndexedAnswer {
    /// Where it is kept; `None` if nothing is.
    pub file: Option<PathBuf>,
    /// Id under which the node gives the receipt again, 32 hex digits.
    pub receipt_id: String,
    /// What the node called the answer (`chatcmpl-…`), if that can be told.
    pub response_id: Option<String>,
    /// Identity of the payment, as 0x hex.
    pub payment_id: String,
    /// When the answer ended, by the enclave's clock.
    pub finished_at: UnixMs,
    /// Name of the model in the terms, or its digest in short.
    pub model: String,
    /// Digest of the model.
    pub model_id: String,
    /// Who is paid.
    pub payee: String,
    /// The first endpoint of the terms; empty if they name none.
    pub node: String,
    /// In the asset's smallest unit.
    pub charged: Amount,
    /// Token contract.
    pub asset: String,
    /// Chain of the token.
    pub chain_id: String,
    /// Name and decimals of the token, as the terms have them.
    pub token: Option<(String, u8)>,
    /// Tokens in.
    pub prompt_tokens: u64,
    /// Tokens out.
    pub completion_tokens: u64,
    /// How the answer ended, in a word of its receipt.
    pub ended: String,
    /// The verdict when it was judged last.
    pub when_kept: WhenKept,
    /// What of it is kept.
    pub keep: KeepMode,
    /// Size of the file.
    pub bytes: u64,
    // The evidence that a proof names.
    evidence: Option<String>,
}

/// A verdict of a moment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WhenKept {
    /// `verified`, `refused` or `cannot tell`.
    pub outcome: String,
    /// The check that refused.
    pub refused: Option<String>,
    /// How strongly the log held.
    pub log_level: String,
    /// When it was judged, by our clock.
    pub judged_at: UnixMs,
}

impl WhenKept {
    /// Of this verdict, now.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        Self {
            outcome: verdict.outcome().as_str().into(),
            refused: verdict.refused().map(|check| check.id.into()),
            log_level: verdict.log_level().as_str().into(),
            judged_at: clock::now(),
        }
    }

    /// Refused by this check, now.
    pub(crate) fn refused(check: &str) -> Self {
        Self { outcome: "refused".into(), refused: Some(check.into()), log_level: String::new(), judged_at: clock::now() }
    }
}

impl IndexedAnswer {
    /// What a bundle says, with or without its texts.
    pub(crate) fn of(bundle: &Bundle, file: Option<PathBuf>, keep: KeepMode, bytes: u64, when_kept: WhenKept) -> Self {
        let (receipt, terms) = (&bundle.delivery.receipt, &bundle.evidence.terms.terms);
        let (money, work) = (&receipt.money, &receipt.work);
        Self {
            file,
            receipt_id: to_hex(&receipt_id(&bundle.delivery.leaf_salt)).trim_start_matches("0x").to_owned(),
            response_id: response_id(bundle),
            payment_id: money.payment_id.to_string(),
            finished_at: work.finished_at,
            model: terms.model(&work.model_id).map_or_else(|| format!("{:#}", work.model_id), |model| model.id.clone()),
            model_id: work.model_id.to_string(),
            payee: money.payee.to_string(),
            node: terms.endpoints.first().cloned().unwrap_or_default(),
            charged: money.charged,
            asset: money.asset.to_string(),
            chain_id: money.chain_id.to_string(),
            token: terms.asset(money.chain_id, &money.asset).map(|asset| (asset.name.clone(), asset.decimals)),
            prompt_tokens: work.prompt_tokens,
            completion_tokens: work.completion_tokens,
            ended: work.outcome.as_str().into(),
            when_kept,
            keep,
            bytes,
            evidence: None,
        }
    }

    /// The same of a proof, whose evidence may lie beside it.
    pub(crate) fn naming(self, evidence: Option<Hash32>) -> Self {
        Self { evidence: evidence.map(|hash| hash.to_string()), ..self }
    }

    /// Where the evidence of a proof should be, if it is not there: without it nobody can judge the proof.
    #[must_use]
    pub fn lost_evidence(&self) -> Option<PathBuf> {
        let (file, hash) = (self.file.as_ref()?, self.evidence.as_ref()?);
        Some(evidence_path(file.parent()?, Some(hash))).filter(|path| !path.exists())
    }

    /// Whether nobody paid for it.
    #[must_use]
    pub fn is_unpaid(&self) -> bool {
        self.charged == Amount::ZERO && self.asset == Address::ZERO.to_string()
    }

    /// Whether it was refused when it was judged last.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.when_kept.refused.is_some()
    }
}

/// What the node called the answer: a member of its first frame. A proof has no frames; of our own engine the id follows from the receipt.
fn response_id(bundle: &Bundle) -> Option<String> {
    let id = match bundle.response.frames.first() {
        Some(frame) => serde_json::from_slice::<serde_json::Value>(frame).ok()?["id"].as_str()?.to_owned(),
        None if bundle.delivery.decoding.engine == ENGINE => chat::answer_id(&bundle.delivery.receipt.work.request_commitment.0),
        None => return None,
    };
    let is_id = !id.is_empty() && id.len() <= RESPONSE_ID_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_id.then_some(id)
}

/// What [`BundleIndex::sync`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Synced {
    /// Files that were not in the index, or are others than it says, and are in it now.
    pub read: usize,
    /// Rows whose file is gone.
    pub gone: usize,
    /// Files that are no bundle and no proof.
    pub unreadable: Vec<(PathBuf, CborError)>,
    /// Proofs that are not in the index, because their evidence is not beside them.
    pub incomplete: Vec<PathBuf>,
}

/// The index, and the directory that it is of.
#[derive(Debug)]
pub struct BundleIndex {
    database: Database,
    directory: PathBuf,
}

/// The check of what is refused by its name alone.
const KEPT_AS_REFUSED: &str = "kept as refused";

/// Whether a file was kept as refused: `NAME.refused.candor`.
fn is_refused_by_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".refused.candor"))
}

impl BundleIndex {
    /// Opens the index in this database, of the bundles in this directory.
    ///
    /// # Errors
    /// `File`.
    pub fn open(database: &Path, directory: &Path) -> Result<Self, ClientError> {
        Ok(Self { database: Database::open(database)?, directory: directory.to_owned() })
    }

    /// Where bundles are kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes the row of an answer over the one that is there of its file.
    ///
    /// # Errors
    /// `File`.
    pub(crate) fn put(&self, answer: &IndexedAnswer) -> Result<(), ClientError> {
        self.database.change(|rows| self.write(rows, answer))
    }

    /// Writes the row of a proof, and the evidence that it names unless that is there: nobody erases it in between ([`Self::erase_leftovers`]).
    pub(crate) fn put_proof(&self, answer: &IndexedAnswer, evidence: &Path, bytes: &[u8]) -> Result<(), ClientError> {
        self.database.change(|rows| {
            ensure(evidence, bytes)?;
            self.write(rows, answer)
        })
    }

    fn write(&self, rows: &Connection, answer: &IndexedAnswer) -> Result<(), Stop> {
        let file = answer.file.as_ref().map(|path| self.name_of(path));
        if let Some(file) = &file {
            rows.execute("DELETE FROM kept WHERE file = ?1", [file])?;
        }
        let (name, decimals) = answer.token.clone().unzip();
        let places = vec!["?"; COLUMNS.split(',').count()].join(",");
        rows.prepare_cached(&format!("INSERT INTO kept ({COLUMNS}) VALUES ({places})"))?.execute(params![
            file,
            answer.receipt_id,
            answer.response_id,
            answer.payment_id,
            integer(answer.finished_at.0),
            answer.model,
            answer.model_id,
            answer.payee,
            answer.node,
            answer.charged.to_string(),
            answer.asset,
            answer.chain_id,
            name,
            decimals,
            integer(answer.prompt_tokens),
            integer(answer.completion_tokens),
            answer.ended,
            answer.when_kept.outcome,
            answer.when_kept.refused,
            answer.when_kept.log_level,
            integer(answer.when_kept.judged_at.0),
            answer.keep.as_str(),
            integer(answer.bytes),
            answer.evidence
        ])?;
        Ok(())
    }

    /// Every answer that ended from `since` on and before `until`, oldest first.
    ///
    /// # Errors
    /// `File`.
    pub fn answers(&self, since: UnixMs, until: UnixMs) -> Result<Vec<IndexedAnswer>, ClientError> {
        self.select("finished_at >= ?1 AND finished_at < ?2 ORDER BY finished_at, file", params![integer(since.0), integer(until.0)])
    }

    /// The answers with this receipt id, response id or payment id, or one that begins so.
    ///
    /// # Errors
    /// `File`.
    pub fn find(&self, id: &str) -> Result<Vec<IndexedAnswer>, ClientError> {
        let id = id.trim();
        // Ids of responses keep their case, hashes have none.
        let hex = id.to_ascii_lowercase();
        let plain = hex.trim_start_matches("0x").to_owned();
        let after = |text: &str| format!("{text}\u{10ffff}");
        let payment = format!("0x{plain}");
        let found = self.select(
            "(receipt_id >= ?1 AND receipt_id < ?2) OR (response_id >= ?3 AND response_id < ?4) OR (payment_id >= ?5 AND payment_id < ?6) \
             ORDER BY finished_at, file",
            params![plain, after(&plain), id, after(id), payment, after(&payment)],
        )?;
        let is_whole = |answer: &IndexedAnswer| {
            answer.receipt_id == plain || answer.response_id.as_deref() == Some(id) || answer.payment_id == payment
        };
        let whole: Vec<IndexedAnswer> = found.iter().filter(|answer| is_whole(answer)).cloned().collect();
        Ok(if whole.is_empty() { found } else { whole })
    }

    fn select(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<IndexedAnswer>, ClientError> {
        self.database.read(|rows| {
            let mut statement = rows.prepare_cached(&format!("SELECT {COLUMNS} FROM kept WHERE {condition}"))?;
            let mut found = statement.query(values)?;
            let mut answers = Vec::new();
            while let Some(row) = found.next()? {
                answers.push(self.read(row)?);
            }
            Ok(answers)
        })
    }

    fn read(&self, row: &Row<'_>) -> Result<IndexedAnswer, Stop> {
        let unsigned = |at: usize| -> Result<u64, Stop> { Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or_default()) };
        let malformed = || Stop::Malformed("a row of the index".into());
        let (charged, keep): (String, String) = (row.get(9)?, row.get(21)?);
        let token = row.get::<_, Option<String>>(12)?.zip(row.get::<_, Option<u8>>(13)?);
        Ok(IndexedAnswer {
            file: row.get::<_, Option<String>>(0)?.map(|name| self.directory.join(name)),
            receipt_id: row.get(1)?,
            response_id: row.get(2)?,
            payment_id: row.get(3)?,
            finished_at: UnixMs(unsigned(4)?),
            model: row.get(5)?,
            model_id: row.get(6)?,
            payee: row.get(7)?,
            node: row.get(8)?,
            charged: Amount::from_decimal(&charged).ok_or_else(malformed)?,
            asset: row.get(10)?,
            chain_id: row.get(11)?,
            token,
            prompt_tokens: unsigned(14)?,
            completion_tokens: unsigned(15)?,
            ended: row.get(16)?,
            when_kept: WhenKept { outcome: row.get(17)?, refused: row.get(18)?, log_level: row.get(19)?, judged_at: UnixMs(unsigned(20)?) },
            keep: KeepMode::parse(&keep).ok_or_else(malformed)?,
            bytes: unsigned(22)?,
            evidence: row.get(23)?,
        })
    }

    /// Makes the index what the files are: reads those that it does not know, or knows with another size, and judges them offline by this policy;
    /// forgets those that are gone. With `anew`, reads every file.
    ///
    /// # Errors
    /// `File` if the directory or the database cannot be read.
    pub fn sync(&self, policy: &Policy, anew: bool) -> Result<Synced, ClientError> {
        let (mut synced, mut known, mut open) = (Synced::default(), BTreeSet::new(), BTreeSet::from_iter(files(&self.directory)?));
        let mut in_index = BTreeSet::new();
        for answer in self.answers(UnixMs(0), UnixMs(u64::MAX))? {
            let Some(path) = answer.file.clone() else { continue };
            in_index.insert(path.clone());
            match fs::metadata(&path) {
                Ok(file) if file.len() == answer.bytes && !anew => {
                    known.insert(path);
                }
                // Wherever it lies.
                Ok(_) => {
                    open.insert(path);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.forget(&path)?;
                    synced.gone = synced.gone.saturating_add(1);
                }
                Err(error) => return Err(file_error(&path, &error)),
            }
        }
        for path in open.difference(&known).cloned() {
            match load_kept(&path) {
                Ok(file) => {
                    // What a chain or a connection refused, nobody finds out again from the file: its name says so.
                    let verdict = match is_refused_by_name(&path) {
                        true => WhenKept::refused(KEPT_AS_REFUSED),
                        false => WhenKept::of(&file.judge(policy, ChainFacts::default())),
                    };
                    let size = u64::try_from(file.bytes.len()).unwrap_or(u64::MAX);
                    self.put(&IndexedAnswer::of(&file.bundle, Some(path.clone()), file.mode(), size, verdict).naming(file.named))?;
                    synced.read = synced.read.saturating_add(1);
                }
                Err(KeptError::Form(error)) => {
                    self.forget(&path)?;
                    synced.unreadable.push((path, error));
                }
                // The row of one that was read before is all that is known of it.
                Err(KeptError::Evidence { .. }) if in_index.contains(&path) => {}
                Err(KeptError::Evidence { .. }) => synced.incomplete.push(path),
                Err(KeptError::File(error)) => return Err(error),
            }
        }
        Ok(synced)
    }

    /// Forgets the row of a file.
    pub(crate) fn forget(&self, path: &Path) -> Result<(), ClientError> {
        self.database.change(|rows| Ok(rows.execute("DELETE FROM kept WHERE file = ?1", [self.name_of(path)]).map(drop)?))
    }

    /// Erases the file of an answer, with the hints beside it, and forgets it. How many bytes that freed.
    ///
    /// # Errors
    /// `File`.
    pub fn erase(&self, answer: &IndexedAnswer) -> Result<u64, ClientError> {
        let Some(path) = &answer.file else { return Ok(0) };
        let mut freed = 0_u64;
        for path in [path.clone(), path.with_extension("hints.json")] {
            let bytes = fs::metadata(&path).map_or(0, |file| file.len());
            match fs::remove_file(&path) {
                Ok(()) => freed = freed.saturating_add(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(file_error(&path, &error)),
            }
        }
        // Crash: a row without its file is forgotten by the next `sync`.
        self.forget(path)?;
        Ok(freed)
    }

    /// Erases evidence that no proof of the index names any more, and what a process that was stopped left of a file, once they have rested. To be
    /// asked after [`Self::sync`]: a proof that the index does not know would lose its evidence. How many bytes that freed.
    ///
    /// # Errors
    /// `File`.
    pub fn erase_leftovers(&self) -> Result<u64, ClientError> {
        let paths = |directory: &Path| -> Vec<PathBuf> {
            fs::read_dir(directory).map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect()).unwrap_or_default()
        };
        let is_partial = |path: &PathBuf| path.extension().is_some_and(|extension| PARTIAL.iter().any(|partial| extension == *partial));
        let partial = paths(&self.directory).into_iter().filter(is_partial);
        let mut freed = 0_u64;
        for path in paths(&evidence_path(&self.directory, None::<&str>)).into_iter().chain(partial) {
            let Some(hash) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
            // Looked at and erased while nobody can write a row.
            freed = freed.saturating_add(self.database.change(|rows| {
                let named: i64 = rows.query_row("SELECT COUNT(*) FROM kept WHERE evidence = ?1", [&hash], |row| row.get(0))?;
                let file = fs::metadata(&path).map_err(|error| file_error(&path, &error))?;
                let rested = file.modified().ok().and_then(|at| now().duration_since(at).ok()).unwrap_or_default();
                if 0 < named || rested < REST {
                    return Ok(0);
                }
                fs::remove_file(&path).map_err(|error| file_error(&path, &error))?;
                Ok(file.len())
            })?);
        }
        Ok(freed)
    }

    /// As it stands in the table.
    fn name_of(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.directory).map(Path::to_owned).or_else(|_| std::path::absolute(path));
        path.unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Evidence by its hash. What is there and whole stays, and counts as just written.
pub(crate) fn ensure(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    if let Some(directory) = path.parent() {
        private_directory(directory)?;
    }
    if write_new(path, bytes)? {
        return Ok(());
    }
    if fs::read(path).is_ok_and(|there| there == bytes) {
        let touched = fs::File::options().write(true).open(path).and_then(|file| file.set_modified(now()));
        return touched.map_err(|error| file_error(path, &error));
    }
    // Its name says what it should be: this is a file that somebody damaged.
    write_private(path, bytes)
}

/// Now, as files have it.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(clock::now().0)).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The files of a directory that may be bundles or proofs; none if it is not there.
fn files(directory: &Path) -> Result<Vec<PathBuf>, ClientError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_error(directory, &error)),
    };
    let is_ours = |path: &PathBuf| path.extension().is_some_and(|extension| extension == EXTENSION) && path.is_file();
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect())
}

/// For a column of the cache: what SQLite cannot hold is the largest that it can.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
