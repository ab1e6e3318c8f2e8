//! The client's database: one SQLite file of the state, in which the book of payments (`spend`) and the index of what is kept (`index`) lie.
//!
//! WAL with `synchronous=FULL`: what was answered is durable. Several processes use it at once; a change is one IMMEDIATE transaction, so one
//! changes at a time, sees what the others wrote, and writes all of it or nothing. It holds payments that can be sent, so it is its owner's alone.
//! Not here: what the rows mean.
//!
//! - **Invariant:** a file that cannot be read, or is of another version, is an error and never an empty database.
//! - **Invariant:** nobody here opens the file but SQLite: the system drops all locks that a process has on a file as soon as the process
//!   closes it once.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::error::ClientError;
use crate::files::{file_error, private_directory};

/// Schema of this version. Another one is refused: what it would mean is not guessed.
const SCHEMA_VERSION: i64 = 6;

/// Marks the file as ours ("cndc").
const APPLICATION_ID: i64 = 0x636e_6463;

/// How long a change waits for another process. A change takes milliseconds: who holds the database for longer hangs, or is no candor.
const WAIT: Duration = Duration::from_secs(10);

/// Until what SQLite does not wait for is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Statements that stay prepared: more than there are, so that none is parsed twice.
const STATEMENTS: usize = 32;

/// Where SQLite's write lock of a database in WAL mode lies in the file `-shm` (its document *WAL-mode File Format*, §2.3.1).
const WRITE_LOCK: &str = "120";

/// The open database. One connection: the threads of this process take turns.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// Why a change ended: SQLite's reason, or the caller's own.
#[derive(Debug)]
pub(crate) enum Stop {
    Sqlite(rusqlite::Error),
    Client(ClientError),
    /// Something in it is not as this program writes it.
    Malformed(String),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Database {
    /// Opens the database of a state, made if it is not there.
    ///
    /// # Errors
    /// `File` if it is there and unreadable, of another version, or held by another process.
    pub(crate) fn open(path: &Path) -> Result<Self, ClientError> {
        Self::open_within(path, WAIT)
    }

    fn open_within(path: &Path, wait: Duration) -> Result<Self, ClientError> {
        // One at a time: while a new file is made, nobody of this process may have it open.
        static OPENING: Mutex<()> = Mutex::new(());
        let _turn = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        create_private(path)?;
        let connection = connect(path, wait).map_err(|stop| to_error(path, stop))?;
        let database = Self { path: path.to_owned(), connection: Mutex::new(connection) };
        if database.read(versions)? != (SCHEMA_VERSION, APPLICATION_ID) {
            database.change(|transaction| make(transaction, path))?;
        }
        Ok(database)
    }

    /// Changes it, alone among all processes: what `change` reads stays so until it is done. On an error nothing is changed.
    ///
    /// # Errors
    /// What `change` says; `File` if it cannot be written, or another process holds it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T, Stop>) -> Result<T, ClientError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            // Crash: SQLite's journal has all of it, synced, or none.
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|stop| to_error(&self.path, stop))
    }

    /// Reads one state of it. Waits for nobody.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Stop>) -> Result<T, ClientError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        read(&connection).map_err(|stop| to_error(&self.path, stop))
    }
}

/// Opens the file and puts it into WAL mode, for which SQLite itself does not wait: it reads a new file first, and a reader that goes on to write beside
/// another is refused at once. Commands that are started together all make the file of a new state.
fn connect(path: &Path, wait: Duration) -> Result<Connection, Stop> {
    let until = Instant::now() + wait;
    loop {
        let connection = Connection::open(path)?;
        connection.busy_timeout(wait)?;
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until => {
                std::thread::sleep(AGAIN);
                continue;
            }
            mode => mode?,
        };
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "synchronous", "FULL")?;
        return Ok(connection);
    }
}

fn versions(connection: &Connection) -> Result<(i64, i64), Stop> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((number("user_version")?, number("application_id")?))
}

/// Whether anything is in it: what somebody else put there says no version either.
fn has_tables(connection: &Connection) -> Result<bool, Stop> {
    Ok(connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))? != 0)
}

/// Makes the tables, unless another process just did.
fn make(transaction: &Transaction<'_>, path: &Path) -> Result<(), Stop> {
    match versions(transaction)? {
        (SCHEMA_VERSION, APPLICATION_ID) => Ok(()),
        (0, 0) if has_tables(transaction)? => {
            Err(file_error(path, &"is a database of another program; `candor state reset --keep-wallet` moves it aside").into())
        }
        (0, 0) => {
            let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};");
            // Crash: one transaction; without it the file is empty and made again.
            Ok(transaction.execute_batch(&format!("{} {} {marks}", crate::spend::SCHEMA, crate::index::SCHEMA))?)
        }
        (got, APPLICATION_ID) => {
            let what = format!(
                "is a database of version {got}, and this program reads version {SCHEMA_VERSION}; `candor state reset --keep-wallet` moves it aside"
            );
            Err(file_error(path, &what).into())
        }
        _ => Err(file_error(path, &"is a database of another program; `candor state reset --keep-wallet` moves it aside").into()),
    }
}

/// Makes an empty file that its owner alone can open, durably; SQLite gives those that it puts beside it the same mode.
fn create_private(path: &Path) -> Result<(), ClientError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private_directory(directory)?;
    let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    let made = match made {
        Ok(file) => file.sync_all().and_then(|()| File::open(directory)?.sync_all()),
        // By path: see the invariant.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => fs::set_permissions(path, Permissions::from_mode(0o600)),
        Err(error) => Err(error),
    };
    made.map_err(|error| file_error(path, &error))
}

fn to_error(path: &Path, stop: Stop) -> ClientError {
    let error = match stop {
        Stop::Client(error) => return error,
        Stop::Malformed(what) => return file_error(path, &format!("{what} is malformed")),
        Stop::Sqlite(error) => error,
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let who = holder(path).map_or("another process".to_owned(), |pid| format!("process {pid}"));
            file_error(path, &format!("{who} has had its lock for too long; end that process, and ask again"))
        }
        Some(ErrorCode::DiskFull) => file_error(path, &"the disk is full; nothing was written"),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            let what = "cannot be read as a database, and is not taken for an empty one: payments in it may be open; \
                        `candor state reset --keep-wallet` moves it aside";
            file_error(path, &what)
        }
        _ => file_error(path, &error),
    }
}

/// Who has the write lock, where the system lists them (Linux).
fn holder(path: &Path) -> Option<u32> {
    let mut shared = path.as_os_str().to_owned();
    shared.push("-shm");
    let inode = fs::metadata(shared).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: POSIX ADVISORY WRITE 4711 08:01:131 120 120`: process, then device and inode, then the bytes.
    locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|fields| {
        let is_it = fields.get(5).and_then(|place| place.rsplit(':').next()) == Some(inode.as_str());
        let is_write = fields.get(3) == Some(&"WRITE") && fields.get(6) == Some(&WRITE_LOCK);
        fields.get(4).filter(|_| is_it && is_write).and_then(|pid| pid.parse().ok())
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("candor-database-{name}-{}", std::process::id()));
        private_directory(&path).unwrap();
        path
    }

    fn said(path: &Path) -> String {
        match Database::open_within(path, Duration::from_millis(50)) {
            Err(ClientError::File { path: named, what }) => {
                assert_eq!(named, path.display().to_string());
                what
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_database_or_of_another_version_is_refused_and_stays_as_it_is() {
        let directory = directory("foreign");
        let path = directory.join("client.db");
        fs::write(&path, [b'x'; 5000]).unwrap();
        assert!(said(&path).contains("not taken for an empty one"), "{}", said(&path));
        assert_eq!(fs::read(&path).unwrap(), [b'x'; 5000]);
        fs::remove_file(&path).unwrap();

        let foreign = Connection::open(&path).unwrap();
        foreign.execute_batch("CREATE TABLE t (a); PRAGMA user_version = 7;").unwrap();
        assert!(said(&path).contains("another program"), "{}", said(&path));
        foreign.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID};")).unwrap();
        let what = said(&path);
        assert!(what.contains("version 7") && what.contains("candor state reset --keep-wallet"), "{what}");
        drop(foreign);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_database_and_the_files_beside_it_are_their_owners_alone() {
        let directory = directory("mode").join("state");
        let path = directory.join("client.db");
        let database = Database::open(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let all: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!((all.len(), mode(&directory)), (3, 0o700), "{all:?}");
        assert!(all.iter().all(|path| mode(path) == 0o600), "{all:?}");
        drop(database);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let _database = Database::open(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::remove_dir_all(directory.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_new_file_that_others_make_too_is_waited_for() {
        let directory = directory("together");
        let path = directory.join("client.db");
        create_private(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN; SELECT count(*) FROM sqlite_master;").unwrap();
        let writing = Connection::open(&path).unwrap();
        writing.execute_batch("BEGIN IMMEDIATE; PRAGMA application_id = 0;").unwrap();
        assert!(said(&path).contains("has had its lock for too long"), "{}", said(&path));
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| Database::open(&path).map(|_| ()));
            std::thread::sleep(Duration::from_millis(100));
            assert!(!opening.is_finished(), "it waits");
            drop((other, writing));
            assert!(opening.join().unwrap().is_ok());
        });
        fs::remove_dir_all(directory).unwrap();
    }

    /// Holds the lock as another process, until its standard input closes.
    #[test]
    #[ignore = "the other process of `a_database_that_another_process_holds_names_it`, which starts it"]
    fn the_holder() {
        let Some(path) = std::env::var_os("CANDOR_TEST_HELD") else { return };
        let held = Connection::open(path).unwrap();
        held.execute_batch("BEGIN IMMEDIATE").unwrap();
        println!("\nheld");
        assert_eq!(std::io::stdin().read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn a_database_that_another_process_holds_names_it() {
        use std::io::BufRead as _;
        let directory = directory("held");
        let path = directory.join("client.db");
        let database = Database::open_within(&path, Duration::from_millis(50)).unwrap();
        let mut holder = Command::new(std::env::current_exe().unwrap());
        holder.args(["database::tests::the_holder", "--exact", "--ignored", "--nocapture"]).env("CANDOR_TEST_HELD", &path);
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(holder.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line == "held"));
        let refused = database.change(|_| Ok(())).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {} has had its lock", holder.id())), "{refused}");
        // Reading waits for nobody.
        assert_eq!(database.read(versions).unwrap(), (SCHEMA_VERSION, APPLICATION_ID));
        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
        drop(lines);
        assert!(database.change(|_| Ok(())).is_ok());
        fs::remove_dir_all(directory).unwrap();
    }
}
