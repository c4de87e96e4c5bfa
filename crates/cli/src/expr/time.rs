//! Points in time and durations as people write them, in milliseconds. Without a zone they are in UTC, as all that is shown.

use jiff::civil::DateTime;
use jiff::{Span, SpanRelativeTo, Timestamp, tz::TimeZone};

const MS_OF_DAY: i64 = 86_400_000;

/// `now`, `today`, `yesterday`, `-90m` (before now), `now-2d`, milliseconds since 1970 (`1795334400000`), `2026-11-01`,
/// `2026-11-01T10:00`, with seconds and fractions, and with a zone (`Z`, `+01:00`).
pub fn parse_time_ms(text: &str, now_ms: i64) -> Result<i64, String> {
    let text = text.trim();
    let not_a_time = || {
        format!(
            "'@{text}' is no point in time: there are @now, @-1h, @today, @2026-11-01, @2026-11-01T10:00, @2026-11-01T10:00:00+01:00 \
             (UTC without a zone) and milliseconds since 1970"
        )
    };
    match text {
        "now" => return Ok(now_ms),
        "today" => return Ok(start_of_day(now_ms)),
        "yesterday" => return Ok(start_of_day(now_ms) - MS_OF_DAY),
        _ => {}
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| not_a_time());
    }
    let relative = text.strip_prefix("now").unwrap_or(text);
    if let Some(distance) = relative.strip_prefix('-') {
        return parse_duration_ms(distance).map(|ms| now_ms.saturating_sub(ms)).map_err(|_| not_a_time());
    }
    if let Some(distance) = relative.strip_prefix('+') {
        return parse_duration_ms(distance).map(|ms| now_ms.saturating_add(ms)).map_err(|_| not_a_time());
    }
    if let Ok(with_zone) = text.parse::<Timestamp>() {
        return Ok(with_zone.as_millisecond());
    }
    let in_utc = text.parse::<DateTime>().ok().and_then(|at| at.to_zoned(TimeZone::UTC).ok());
    in_utc.map(|at| at.timestamp().as_millisecond()).ok_or_else(not_a_time)
}

fn start_of_day(time_ms: i64) -> i64 {
    time_ms - time_ms.rem_euclid(MS_OF_DAY)
}

/// `500ms`, `90s`, `1h30m`, `2d`, `1w`, or `PT1H30M`. Not below zero.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    let duration = text.trim().parse::<Span>().ok();
    let duration = duration.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let ms = duration.and_then(|duration| i64::try_from(duration.as_millis()).ok());
    ms.filter(|&ms| ms >= 0)
        .ok_or_else(|| format!("'{text}' is no duration: there are 500ms, 90s, 1h30m, 2d, 1w and the like"))
}

/// `2026-11-01T10:00:00.000Z`; the number where there is no such date.
pub fn show_time(time_ms: i64) -> String {
    match Timestamp::from_millisecond(time_ms) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Err(_) => time_ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_334_400_123;

    #[test]
    fn points_in_time() {
        for (text, expected) in [
            ("now", "2026-11-22T08:00:00.123Z"),
            ("today", "2026-11-22T00:00:00.000Z"),
            ("yesterday", "2026-11-21T00:00:00.000Z"),
            ("-1h", "2026-11-22T07:00:00.123Z"),
            ("now-1h30m", "2026-11-22T06:30:00.123Z"),
            ("-2d", "2026-11-20T08:00:00.123Z"),
            ("+1m", "2026-11-22T08:01:00.123Z"),
            ("2026-11-01", "2026-11-01T00:00:00.000Z"),
            ("2026-11-01T10:00", "2026-11-01T10:00:00.000Z"),
            ("2026-11-01 10:00:01", "2026-11-01T10:00:01.000Z"),
            ("2026-11-01T10:00:01.25", "2026-11-01T10:00:01.250Z"),
            ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00.000Z"),
            ("2026-11-01T10:00+01:00", "2026-11-01T09:00:00.000Z"),
            ("0", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(parse_time_ms(text, NOW).map(show_time), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "noon", "2026-13-01", "-", "-5", "now*2", "99999999999999999999"] {
            assert!(parse_time_ms(text, NOW).unwrap_err().contains("is no point in time"), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
            ("PT1M", 60_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(expected), "{text}");
        }
        for text in ["", "5", "-5s", "1y", "soon"] {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_that_no_calendar_has_are_numbers() {
        assert_eq!(show_time(i64::MAX), i64::MAX.to_string());
    }
}
