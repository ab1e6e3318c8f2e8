//! The book against rows that are not its own, processes at the same time, and a full disk. What payments go through: `tests/it/unresolved.rs`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use candor_verify::bytes::{Address, Amount};
use candor_verify::scheme::Scheme;
use candor_verify::time::UnixSeconds;
use candor_x402::client::DAY_SECONDS;
use rusqlite::params;

use super::*;
use crate::files::private_directory;

// A seller whose offers are signed, and a payer.
#[path = "../../../x402/tests/common/mod.rs"]
mod common;
use common::World;

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("candor-book-{name}-{}", std::process::id()));
    private_directory(&path).unwrap();
    path
}

/// A payment in the asset of the world, of the past.
fn charged(world: &World, number: u32, amount: Amount, reserved_at: UnixSeconds) -> Spend {
    let mut nonce = Hash32([7; 32]);
    nonce.0[..4].copy_from_slice(&number.to_be_bytes());
    Spend {
        nonce,
        scheme: Scheme::ExactEip3009,
        request: nonce,
        boot: Hash32::ZERO,
        payer: Address([1; 20]),
        network: world.requirements.network,
        asset: world.requirements.asset,
        amount,
        signed: amount,
        reserved_at,
        valid_before: reserved_at,
        state: SpendState::Charged,
    }
}

fn put(book: &SpendBook, spends: impl IntoIterator<Item = Spend>) {
    book.database.change(|rows| spends.into_iter().try_for_each(|spend| rows::put(rows, &spend))).unwrap();
}

fn nonces(book: &SpendBook) -> Vec<Hash32> {
    let nonces = |rows: &Connection| {
        let mut statement = rows.prepare("SELECT nonce FROM spends ORDER BY nonce")?;
        let nonces = statement.query_map([], |row| row.get(0).map(Hash32))?.collect::<Result<_, _>>()?;
        Ok(nonces)
    };
    book.database.read(nonces).unwrap()
}

/// Reserves, records as sent, and resolves as charged.
fn pay(book: &SpendBook, world: &World, salt: u8) -> Result<Hash32, ClientError> {
    let (reservation, _in_flight) = book.reserve(world.purchase(salt), world.choice(), &By::default())?;
    let nonce = reservation.nonce();
    book.sent(world.sent(reservation))?;
    book.resolve(&nonce, Resolution::Charged { amount: None })?;
    Ok(nonce)
}

#[test]
fn a_row_that_makes_no_sense_is_not_taken_for_none() {
    let (directory, world) = (directory("malformed"), World::new());
    let path = directory.join("client.db");
    let book = SpendBook::open(&path).unwrap();
    put(&book, [charged(&world, 1, Amount(5), UnixSeconds(9))]);
    let change = |sql: &str| book.database.change(|rows| Ok(rows.execute(sql, [])?)).unwrap();
    for (sql, said) in [
        ("UPDATE spends SET state = 1", "is malformed"),
        ("UPDATE spends SET payment = 'x'", "is malformed"),
        ("UPDATE spends SET state = 0, payment = NULL, valid_before = -1", "is malformed"),
        ("UPDATE spends SET valid_before = 9, amount = x'05'", "blob"),
    ] {
        change(sql);
        let error = SpendBook::open(&path).unwrap_err();
        assert!(matches!(&error, ClientError::File { what, .. } if what.to_lowercase().contains(said)), "{sql}: {error}");
        assert!(book.reserve(world.purchase(1), world.choice(), &By::default()).is_err(), "{sql}: nothing is paid");
    }
    change("UPDATE spends SET amount = zeroblob(16)");
    assert!(SpendBook::open(&path).is_ok());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_callers_budget_holds_what_it_reserved_and_what_it_paid_and_nobody_elses() {
    let (directory, world) = (directory("callers"), World::new());
    let book = SpendBook::open(&directory.join("client.db")).unwrap();
    let price = world.choice().requirements().amount;
    let of = |caller: &str, per_hour: Option<u128>, per_day: Option<u128>| {
        let answers = |count: Option<u128>| count.map(|count| Amount(price.0 * count));
        Budget { caller: caller.into(), per_request: None, per_hour: answers(per_hour), per_day: answers(per_day), decimals: 6 }
    };
    let pay = |salt: u8, budget: &Budget, resolution: Resolution| {
        let by = By { left: None, budget: Some(budget) };
        let (reservation, _in_flight) = book.reserve(world.purchase(salt), world.choice(), &by)?;
        let nonce = reservation.nonce();
        if resolution == (Resolution::Charged { amount: None }) {
            book.sent(world.sent(reservation))?;
        }
        book.resolve(&nonce, resolution)
    };
    let refused = |salt: u8, budget: &Budget| match pay(salt, budget, Resolution::Charged { amount: None }) {
        Err(ClientError::Budget(what)) => what,
        other => panic!("{other:?}"),
    };
    let (hourly, daily) = (of("ci", Some(1), Some(9)), of("ci", None, Some(1)));
    // What a payment that moved nothing had reserved is there again.
    pay(1, &hourly, Resolution::NeverSent).unwrap();
    pay(2, &hourly, Resolution::Charged { amount: None }).unwrap();
    assert!(refused(3, &hourly).contains("in any hour"), "{}", refused(3, &hourly));
    assert!(refused(3, &daily).contains("\"ci\" has 0.000000 left"), "{}", refused(3, &daily));
    let spent = book.spent_by("ci").unwrap();
    assert_eq!(spent.iter().map(|spent| (spent.in_hour, spent.in_day)).collect::<Vec<_>>(), [(price, price)]);
    assert_eq!(book.spent_by("nobody").unwrap(), []);
    let count = nonces(&book).len();
    // Another's payments do not count, nor do those of nobody.
    pay(4, &of("app", Some(1), None), Resolution::Charged { amount: None }).unwrap();
    super::tests::pay(&book, &world, 5).unwrap();
    assert_eq!(nonces(&book).len(), count + 2, "what was refused reserved nothing");
    // An hour later the day still counts, and a day later nothing does.
    let ago = |seconds: u64| {
        book.database
            .change(|rows| Ok(rows.execute("UPDATE callers SET reserved_at = reserved_at - ?1", [i64::try_from(seconds).unwrap()])?))
            .unwrap();
    };
    ago(rows::HOUR_SECONDS);
    let spent = book.spent_by("ci").unwrap();
    assert_eq!(spent.iter().map(|spent| (spent.in_hour, spent.in_day)).collect::<Vec<_>>(), [(Amount::ZERO, price)]);
    assert!(refused(6, &daily).contains("in any 24 hours"));
    pay(6, &hourly, Resolution::Charged { amount: None }).unwrap();
    ago(DAY_SECONDS);
    pay(7, &daily, Resolution::Charged { amount: None }).unwrap();
    // One request that is not answered yet counts against its own limit, and another does not.
    let once = Budget { per_request: Some(price), ..of("patient", None, None) };
    let by = By { left: None, budget: Some(&once) };
    let same = Purchase { request: Hash32([3; 32]), ..world.purchase(21) };
    let (reservation, in_flight) = book.reserve(same, world.choice(), &by).unwrap();
    book.sent(world.sent(reservation)).unwrap();
    drop(in_flight);
    let left = Left::default();
    let beside = By { left: Some(&left), budget: Some(&once) };
    let again = book.reserve(Purchase { client_salt: Hash32([22; 32]), ..same }, world.choice(), &beside).unwrap_err();
    assert!(matches!(&again, ClientError::Spend(what) if what.contains("that may still be charged for it")), "{again}");
    drop(book.reserve(world.purchase(23), world.choice(), &beside).unwrap());
    // A budget that is less than one answer buys none, and says so in money.
    let tiny = Budget { per_day: Some(Amount(1)), ..of("other", None, None) };
    assert!(refused(8, &tiny).contains("has 0.000001 left of 0.000001"), "{}", refused(8, &tiny));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_was_charged_is_kept_for_good_and_counts_for_a_day() {
    let (directory, world) = (directory("record"), World::new());
    let book = SpendBook::open(&directory.join("client.db")).unwrap();
    let now = clock::now().seconds();
    let day = world.policy().assets[0].max_per_day;
    let (old, young) = (now.saturating_sub(DAY_SECONDS), now.saturating_sub(DAY_SECONDS - 60));
    // Of another asset, of another day, and of this one, up to the budget but for one payment.
    let other = Spend { asset: Address([9; 20]), ..charged(&world, 1, day, young) };
    put(&book, [other, charged(&world, 2, day, old), charged(&world, 3, Amount(day.0 - 1000), young)]);
    let paid = pay(&book, &world, 1).unwrap();
    let error = pay(&book, &world, 2).unwrap_err();
    assert!(matches!(&error, ClientError::Spend(what) if what.contains("the day would come to")), "{error}");
    let kept = nonces(&book);
    assert!(kept.len() == 4 && kept.contains(&paid), "{kept:?}");
    // And no payment is made twice, however long ago.
    let reserved = book.database.change(|rows| {
        rows.execute("UPDATE spends SET reserved_at = 1", [])?;
        Ok(())
    });
    reserved.unwrap();
    let error = book.reserve(world.purchase(1), world.choice(), &By::default()).unwrap_err();
    assert!(matches!(&error, ClientError::Spend(what) if what.contains("was made already")), "{error}");
    fs::remove_dir_all(directory).unwrap();
}

/// A receipt that charges less is the enclave's word: until the end of its signature, all of it may move.
#[test]
fn what_was_signed_counts_until_it_can_move_no_more() {
    let (directory, world) = (directory("signed"), World::new());
    let book = SpendBook::open(&directory.join("client.db")).unwrap();
    let (now, day) = (clock::now().seconds(), world.policy().assets[0].max_per_day);
    let metered = |valid_before| Spend {
        scheme: Scheme::UptoPermit2,
        signed: day,
        valid_before,
        ..charged(&world, 1, Amount(1), now.saturating_sub(600))
    };
    put(&book, [metered(now.saturating_add(60))]);
    let error = pay(&book, &world, 1).unwrap_err();
    assert!(matches!(&error, ClientError::Spend(what) if what.contains("the day would come to")), "{error}");
    put(&book, [metered(now.saturating_sub(60))]);
    pay(&book, &world, 1).unwrap();
    fs::remove_dir_all(directory).unwrap();
}

/// Pays what it can of many payments, as another process.
#[test]
#[ignore = "the other process of `processes_that_pay_at_once_keep_one_budget`, which starts it"]
fn the_other_payer() {
    let Some(path) = std::env::var_os("CANDOR_TEST_BOOK") else { return };
    let first: u8 = std::env::var("CANDOR_TEST_FIRST").unwrap().parse().unwrap();
    let (book, world) = (SpendBook::open(Path::new(&path)).unwrap(), World::new());
    let paid = (first..first + 15).filter(|salt| match pay(&book, &world, *salt) {
        Ok(_) => true,
        Err(ClientError::Spend(what)) => !what.contains("the day would come to"),
        Err(other) => panic!("{other}"),
    });
    println!("\npaid {}", paid.count());
}

#[test]
fn processes_that_pay_at_once_keep_one_budget() {
    let (directory, world) = (directory("processes"), World::new());
    let path = directory.join("client.db");
    let (price, day) = (world.requirements.amount, world.policy().assets[0].max_per_day);
    let payers: Vec<_> = ["0", "20", "40"]
        .iter()
        .map(|first| {
            let mut payer = Command::new(std::env::current_exe().unwrap());
            payer.args(["spend::tests::the_other_payer", "--exact", "--ignored", "--nocapture"]);
            payer.env("CANDOR_TEST_BOOK", &path).env("CANDOR_TEST_FIRST", first);
            payer.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut paid = 0;
    for payer in payers {
        let output = payer.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        paid += said.lines().find_map(|line| line.strip_prefix("paid ")).unwrap().parse::<u128>().unwrap();
    }
    assert_eq!(paid * price.0, day.0, "all of the budget, and no payment more");
    let book = SpendBook::open(&path).unwrap();
    assert_eq!(nonces(&book).len(), usize::try_from(paid).unwrap());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_change_that_ends_half_way_changes_nothing() {
    let (directory, world) = (directory("half"), World::new());
    let book = SpendBook::open(&directory.join("client.db")).unwrap();
    let stopped = book.database.change(|rows| {
        rows::put(rows, &charged(&world, 1, Amount(5), UnixSeconds(9)))?;
        Err::<(), _>(ClientError::Usage("stopped".into()).into())
    });
    assert!(matches!(stopped, Err(ClientError::Usage(_))));
    assert!(nonces(&book).is_empty());
    // Nor does one that cannot take the lock of its payment: the reservation goes with it.
    fs::write(directory.join("client.waiting"), "in the way").unwrap();
    assert!(matches!(book.reserve(world.purchase(1), world.choice(), &By::default()), Err(ClientError::File { .. })));
    assert!(nonces(&book).is_empty());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
#[ignore = "a measurement: the figures are in docs/bundles.md"]
fn measure() {
    let world = World::new();
    for rows in [10_u32, 10_000, 100_000] {
        let directory = directory("measure");
        let book = SpendBook::open(&directory.join("client.db")).unwrap();
        let within = clock::now().seconds().saturating_sub(60);
        put(&book, (0..rows).map(|number| charged(&world, number, Amount::ZERO, within)));
        let started = std::time::Instant::now();
        for salt in 0..20 {
            pay(&book, &world, salt).unwrap();
        }
        println!("{rows} rows of one day: {:?} for one reserve, sent and resolve", started.elapsed() / 20);
        // The same rows, of another day.
        book.database.change(|all| Ok(all.execute("UPDATE spends SET reserved_at = ?1", params![1])?)).unwrap();
        let started = std::time::Instant::now();
        for salt in 20..40 {
            pay(&book, &world, salt).unwrap();
        }
        println!("{rows} rows of other days: {:?}", started.elapsed() / 20);
        fs::remove_dir_all(directory).unwrap();
    }
}
