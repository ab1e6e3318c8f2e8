//! The book's table: one row per payment, kept for good. Only what a change needs is read: payments whose end nobody knows, one payment by
//! its nonce, and of what the day's budget counts the amounts, out of an index.

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::MAX_SKEW_SECONDS;
use candor_verify::scheme::Scheme;
use candor_verify::time::UnixSeconds;
use candor_x402::client::{DAY_SECONDS, SentPayment, Spend, SpendState};
use candor_x402::protocol::Eip155;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::database::Stop;
use crate::error::ClientError;

/// `state` is the code of [`SpendState`]; `payment` the value of `PAYMENT-SIGNATURE`, of states that may be sent again. `amount` is 16 bytes,
/// big-endian. One index serves what is open (`state < 4`) and the sums of a day, the other what may still move.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE spends (
        nonce BLOB NOT NULL PRIMARY KEY,
        scheme INTEGER NOT NULL,
        request BLOB NOT NULL,
        boot BLOB NOT NULL,
        payer BLOB NOT NULL,
        chain_id INTEGER NOT NULL,
        asset BLOB NOT NULL,
        amount BLOB NOT NULL,
        signed BLOB NOT NULL,
        reserved_at INTEGER NOT NULL,
        valid_before INTEGER NOT NULL,
        state INTEGER NOT NULL,
        payment TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX spends_end ON spends (valid_before);
    CREATE INDEX spends_state ON spends (state, chain_id, asset, reserved_at, amount);
    CREATE TABLE callers (
        nonce BLOB NOT NULL PRIMARY KEY,
        caller TEXT NOT NULL,
        chain_id INTEGER NOT NULL,
        asset BLOB NOT NULL,
        amount BLOB NOT NULL,
        reserved_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX callers_spent ON callers (caller, chain_id, asset, reserved_at, amount);
";

pub(super) const HOUR_SECONDS: u64 = 3_600;

const RESERVED: i64 = 0;
const UNRESOLVED: i64 = 1;
const GIVEN_UP: i64 = 2;
const TURNED_AWAY: i64 = 3;
const CHARGED: i64 = 4;

const COLUMNS: &str = "nonce, scheme, request, boot, payer, chain_id, asset, amount, signed, reserved_at, valid_before, state, payment";

/// The payments of which nobody knows yet what became of them.
pub(super) fn open(connection: &Connection) -> Result<Vec<Spend>, Stop> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM spends WHERE state < {CHARGED}"))?;
    let mut rows = statement.query([])?;
    let mut spends = Vec::new();
    while let Some(row) = rows.next()? {
        spends.push(read(row)?);
    }
    Ok(spends)
}

/// The payments whose time is not over. What a receipt charges is among them.
pub(super) fn ending_after(connection: &Connection, time: UnixSeconds) -> Result<Vec<Spend>, Stop> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM spends WHERE valid_before > ?1"))?;
    let mut rows = statement.query([integer(time.0)?])?;
    let mut spends = Vec::new();
    while let Some(row) = rows.next()? {
        spends.push(read(row)?);
    }
    Ok(spends)
}

/// The payment with this nonce.
pub(super) fn one(connection: &Connection, nonce: &Hash32) -> Result<Option<Spend>, Stop> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM spends WHERE nonce = ?1"))?;
    statement.query_row([nonce.0], |row| Ok(read(row))).optional()?.transpose()
}

/// What was charged in an asset within the last day; of what may still move, what was signed ([`Spend::counts`]).
pub(super) fn charged_in_day(connection: &Connection, network: Eip155, asset: &Address, now: UnixSeconds) -> Result<Amount, Stop> {
    let since = now.saturating_sub(DAY_SECONDS);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT amount FROM spends WHERE state = {CHARGED} AND chain_id = ?1 AND asset = ?2 AND reserved_at > ?3"
    ))?;
    let mut rows = statement.query(params![integer(network.0)?, asset.0, integer(since.0)?])?;
    let mut sum = Amount::ZERO;
    while let Some(row) = rows.next()? {
        sum = sum.checked_add(Amount(u128::from_be_bytes(row.get(0)?))).unwrap_or(Amount(u128::MAX));
    }
    let may_move = ending_after(connection, now.saturating_sub(MAX_SKEW_SECONDS + 1))?;
    let is_one = |spend: &&Spend| {
        spend.state == SpendState::Charged && spend.network == network && spend.asset == *asset && since < spend.reserved_at
    };
    // What is over by now counts as charged in both.
    let more = may_move.iter().filter(is_one).map(|spend| Amount(spend.counts(now).0.saturating_sub(spend.amount.0)));
    Ok(more.fold(sum, |sum, more| sum.checked_add(more).unwrap_or(Amount(u128::MAX))))
}

/// Says who asked for a payment, where a proxy has keys.
pub(super) fn put_caller(
    connection: &Connection,
    nonce: &Hash32,
    caller: &str,
    (network, asset): (Eip155, &Address),
    amount: Amount,
    reserved_at: UnixSeconds,
) -> Result<(), Stop> {
    let mut statement = connection
        .prepare_cached("INSERT INTO callers (nonce, caller, chain_id, asset, amount, reserved_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    statement.execute(params![nonce.0, caller, integer(network.0)?, asset.0, amount.0.to_be_bytes(), integer(reserved_at.0)?])?;
    Ok(())
}

/// What somebody has spent of an asset in the last hour and in the last day: what was charged, and what may still be.
pub(super) fn spent_by(
    connection: &Connection,
    caller: &str,
    network: Eip155,
    asset: &Address,
    now: UnixSeconds,
) -> Result<(Amount, Amount), Stop> {
    let (hour, day) = (integer(now.saturating_sub(HOUR_SECONDS).0)?, integer(now.saturating_sub(DAY_SECONDS).0)?);
    let mut statement = connection.prepare_cached(
        "SELECT amount, reserved_at FROM callers WHERE caller = ?1 AND chain_id = ?2 AND asset = ?3 AND reserved_at > ?4",
    )?;
    let mut rows = statement.query(params![caller, integer(network.0)?, asset.0, day])?;
    let add = |sum: Amount, amount: Amount| sum.checked_add(amount).unwrap_or(Amount(u128::MAX));
    let (mut in_hour, mut in_day) = (Amount::ZERO, Amount::ZERO);
    while let Some(row) = rows.next()? {
        let amount = Amount(u128::from_be_bytes(row.get(0)?));
        in_day = add(in_day, amount);
        if hour < row.get(1)? {
            in_hour = add(in_hour, amount);
        }
    }
    Ok((in_hour, in_day))
}

/// The assets that somebody paid with in the last day.
pub(super) fn assets_of(connection: &Connection, caller: &str, now: UnixSeconds) -> Result<Vec<(Eip155, Address)>, Stop> {
    let day = integer(now.saturating_sub(DAY_SECONDS).0)?;
    let mut statement = connection.prepare_cached("SELECT DISTINCT chain_id, asset FROM callers WHERE caller = ?1 AND reserved_at > ?2")?;
    let mut rows = statement.query(params![caller, day])?;
    let mut assets = Vec::new();
    while let Some(row) = rows.next()? {
        let chain_id = u64::try_from(row.get::<_, i64>(0)?).map_err(|_| Stop::Malformed(format!("a row of {caller:?}")))?;
        assets.push((Eip155(chain_id), Address(row.get(1)?)));
    }
    Ok(assets)
}

/// Writes a payment over what is there of it.
pub(super) fn put(connection: &Connection, spend: &Spend) -> Result<(), Stop> {
    let (state, payment) = match &spend.state {
        SpendState::Reserved => (RESERVED, None),
        SpendState::Unresolved(sent) => (UNRESOLVED, Some(sent.header())),
        SpendState::GivenUp(sent) => (GIVEN_UP, Some(sent.header())),
        SpendState::TurnedAway => (TURNED_AWAY, None),
        SpendState::Charged => (CHARGED, None),
    };
    let mut statement =
        connection.prepare_cached(&format!("INSERT OR REPLACE INTO spends ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"))?;
    statement.execute(params![
        spend.nonce.0,
        spend.scheme.code(),
        spend.request.0,
        spend.boot.0,
        spend.payer.0,
        integer(spend.network.0)?,
        spend.asset.0,
        spend.amount.0.to_be_bytes(),
        spend.signed.0.to_be_bytes(),
        integer(spend.reserved_at.0)?,
        integer(spend.valid_before.0)?,
        state,
        payment
    ])?;
    let mut statement = connection.prepare_cached("UPDATE callers SET amount = ?2 WHERE nonce = ?1")?;
    statement.execute(params![spend.nonce.0, spend.amount.0.to_be_bytes()])?;
    Ok(())
}

/// Deletes a payment that moved nothing, and can move nothing any more.
pub(super) fn delete(connection: &Connection, nonce: &Hash32) -> Result<(), Stop> {
    connection.prepare_cached("DELETE FROM spends WHERE nonce = ?1")?.execute([nonce.0])?;
    connection.prepare_cached("DELETE FROM callers WHERE nonce = ?1")?.execute([nonce.0])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Spend, Stop> {
    let nonce = Hash32(row.get(0)?);
    let malformed = || Stop::Malformed(format!("the row of payment {nonce}"));
    let number = |at: usize| -> Result<u64, Stop> { u64::try_from(row.get::<_, i64>(at)?).map_err(|_| malformed()) };
    let payment: Option<String> = row.get(12)?;
    let sent = payment.map(|header| SentPayment::parse(&header).filter(|sent| sent.payment().authorization.nonce == nonce));
    let state = match (row.get(11)?, sent) {
        (RESERVED, None) => SpendState::Reserved,
        (UNRESOLVED, Some(Some(sent))) => SpendState::Unresolved(sent),
        (GIVEN_UP, Some(Some(sent))) => SpendState::GivenUp(sent),
        (TURNED_AWAY, None) => SpendState::TurnedAway,
        (CHARGED, None) => SpendState::Charged,
        _ => return Err(malformed()),
    };
    Ok(Spend {
        nonce,
        scheme: Scheme::from_code(row.get(1)?).ok_or_else(malformed)?,
        request: Hash32(row.get(2)?),
        boot: Hash32(row.get(3)?),
        payer: Address(row.get(4)?),
        network: Eip155(number(5)?),
        asset: Address(row.get(6)?),
        amount: Amount(u128::from_be_bytes(row.get(7)?)),
        signed: Amount(u128::from_be_bytes(row.get(8)?)),
        reserved_at: UnixSeconds(number(9)?),
        valid_before: UnixSeconds(number(10)?),
        state,
    })
}

/// For a column; what SQLite cannot hold is refused.
fn integer(value: u64) -> Result<i64, Stop> {
    i64::try_from(value).map_err(|_| ClientError::Spend(format!("{value} is beyond what the book can hold")).into())
}
