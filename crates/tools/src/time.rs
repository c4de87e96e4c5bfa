//! Points in time as ISO 8601 writes them, in milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

const MS_OF_DAY: i64 = 86_400_000;

/// Since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-11-22T08:15:30.123`, with a zone (`Z`, `+01:00`, `+0100`, `+01`) or in UTC.
pub(crate) fn parse_instant(text: &str) -> Result<i64, String> {
    let (date, time) = text.split_once('T').ok_or_else(|| {
        "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format".to_owned()
    })?;
    // As in Kafka, it is told with the zone that it was taken for.
    let utc = if time.contains(['Z', '+', '-']) { "" } else { "Z" };
    let invalid = || format!("Unparseable date: \"{text}{utc}\"");
    let (time, zone_ms) = match time.find(['Z', '+', '-']) {
        Some(at) => {
            let (time, zone) = time.split_at_checked(at).ok_or_else(invalid)?;
            (time, zone_ms(zone).ok_or_else(invalid)?)
        }
        None => (time, 0),
    };
    let numbers = |text: &str, sign: char| -> Option<Vec<i64>> { text.split(sign).map(number).collect() };
    let [year, month, day] = numbers(date, '-').ok_or_else(invalid)?[..] else { return Err(invalid()) };
    let (clock, millis) = match time.split_once('.') {
        Some((clock, fraction)) => (clock, millis(fraction).ok_or_else(invalid)?),
        None => (time, 0),
    };
    let [hours, minutes, seconds] = numbers(clock, ':').ok_or_else(invalid)?[..] else {
        return Err(invalid());
    };
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..=9999).contains(&year);
    if !is_date || hours > 24 || minutes > 59 || seconds > 60 {
        return Err(invalid());
    }
    let seconds = (hours * 60 + minutes) * 60 + seconds;
    Ok(days_since_epoch(year, month, day) * MS_OF_DAY + seconds * 1000 + millis - zone_ms)
}

fn number(digits: &str) -> Option<i64> {
    let is_plain = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { digits.parse().ok() } else { None }
}

/// Of a fraction of a second.
fn millis(fraction: &str) -> Option<i64> {
    number(fraction)?;
    number(&fraction.chars().chain("000".chars()).take(3).collect::<String>())
}

fn zone_ms(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("Z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits = rest.replace(':', "");
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits)?, 0),
        4 => (number(digits.get(..2)?)?, number(digits.get(2..)?)?),
        _ => return None,
    };
    Some(sign * (hours * 60 + minutes) * 60_000)
}

/// Of the Gregorian calendar; months count from 1.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the day that may be missing is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000", Some(0)),
            ("1970-01-01T01:00:00.000+01:00", Some(0)),
            ("2026-11-22T08:15:30.123", Some(1_795_335_330_123)),
            ("2026-11-22T08:15:30.123Z", Some(1_795_335_330_123)),
            ("2026-11-22T08:15:30.123-0200", Some(1_795_335_330_123 + 7_200_000)),
            ("2000-02-29T00:00:00.000", Some(951_782_400_000)),
            ("1969-12-31T23:59:59.999", Some(-1)),
            ("2026-11-22", None),
            ("2026-11-22T08", None),
            ("2026-13-22T08:00:00.000", None),
            ("2026-11-22T08:00:00.000+x", None),
        ] {
            assert_eq!(parse_instant(text).ok(), ms, "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_told_with_its_zone() {
        for (text, told) in [
            ("2026-11-22T08", "2026-11-22T08Z"),
            ("2026-11-22T08Z", "2026-11-22T08Z"),
            ("2026-11-22T08:00:00.000+x", "2026-11-22T08:00:00.000+x"),
        ] {
            assert_eq!(parse_instant(text).unwrap_err(), format!("Unparseable date: \"{told}\""));
        }
    }
}
