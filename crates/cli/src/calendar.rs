//! Unix time as people read it: UTC, in the one form that sorts. For lists and for names of directories; nothing is decided by it.

/// A minute, an hour and a day, in milliseconds.
pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

/// `2026-02-12T09:30:00Z`, of Unix milliseconds.
pub(crate) fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The same with milliseconds: `2026-02-12T09:30:00.007Z`.
pub(crate) fn utc_millis(unix_ms: u64) -> String {
    utc(unix_ms).replace('Z', &format!(".{:03}Z", unix_ms % 1000))
}

/// The same for a file name: `20260212T093000Z`.
pub(crate) fn stamp(unix_ms: u64) -> String {
    utc(unix_ms).replace(['-', ':'], "")
}

/// First millisecond of a month such as `2026-02`, and of the one after it.
pub(crate) fn month(text: &str) -> Option<(u64, u64)> {
    let (year, month) = text.split_once('-')?;
    let is_number = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
    let (year, month): (u64, u64) =
        (year.parse().ok().filter(|_| is_number(year, 4))?, month.parse().ok().filter(|_| is_number(month, 2))?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let begins = |year: u64, month: u64| -> Option<u64> {
        // Years of 365 days and months of 28 are too early, by the leap days and the longer months: the calendar itself says by how much.
        let least = (year - 1970) * 365 + (month - 1) * 28;
        (least..least + 2_200).find(|days| date(*days) == (year, month, 1)).map(|days| days * DAY_MS)
    };
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    Some((begins(year, month)?, begins(next.0, next.1)?))
}

/// Unix milliseconds of a day such as `2026-02-12`, or of a moment such as `2026-02-12T09:30:00Z`.
pub(crate) fn moment(text: &str) -> Option<u64> {
    let (day, time) = text.split_once('T').map_or((text, "00:00:00Z"), |(day, time)| (day, time));
    let (from, until) = month(day.get(..7)?)?;
    let number =
        |part: &str| (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse::<u64>().ok()).flatten();
    let day = from + number(day.get(7..)?.strip_prefix('-')?)?.checked_sub(1)? * DAY_MS;
    let parts: Vec<u64> = time.strip_suffix('Z')?.split(':').map(number).collect::<Option<_>>()?;
    let [hour, minute, second] = parts[..] else { return None };
    let is_time = hour < 24 && minute < 60 && second < 60;
    (day < until && is_time).then(|| day + ((hour * 60 + minute) * 60 + second) * 1000)
}

/// Milliseconds of a time such as `30d`, `12h` or `45m`.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let unit: u64 = match text.chars().last()? {
        'd' => DAY_MS,
        'h' => HOUR_MS,
        'm' => MINUTE_MS,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit)
}

/// Year, month and day in the Gregorian calendar, of days since 1970-01-01. Counted in eras of 400 years that begin in March, so that a
/// leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{month, stamp, utc, utc_millis};

    #[test]
    fn a_month_begins_and_ends_where_the_calendar_says() {
        for (text, from, until) in [
            ("1970-01", "1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
            ("2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2028-02", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("9998-12", "9998-12-01T00:00:00Z", "9999-01-01T00:00:00Z"),
        ] {
            assert_eq!(month(text).map(|(from, until)| (utc(from), utc(until))), Some((from.to_owned(), until.to_owned())), "{text}");
        }
        for bad in ["", "2026", "2026-13", "2026-00", "26-1", "2026-1", "1969-12", "2026-11-01", "२०२६-११", "+026-01"] {
            assert_eq!(month(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_790_000_000, "2026-09-21T14:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds * 1000 + 999), expected);
        }
        assert_eq!(utc_millis(1_790_000_000_007), "2026-09-21T14:13:20.007Z");
        assert_eq!(stamp(1_790_000_000_000), "20260921T141320Z");
        assert!(utc(u64::MAX).ends_with('Z'), "any time has a text");
    }
}
