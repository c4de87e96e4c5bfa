//! Durations as ISO 8601 writes them.

const DAY_MS: i64 = 86_400_000;
const NANOSECONDS_DIGITS: usize = 9;

/// `PnDTnHnMn.nS` in milliseconds, of which parts are cut off, as Java's `Duration.parse` reads it: in any case, at least one
/// part of it, each and the whole with a sign or without. `None` if it is nothing of the kind, or too long.
pub fn parse_iso_duration_ms(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let (sign, rest) = match upper.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, upper.strip_prefix('+').unwrap_or(&upper)),
    };
    let rest = rest.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let days = sum(days, &[('D', DAY_MS)])?;
    let time = sum(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1_000)])?;
    days.checked_add(time)?.checked_mul(sign)
}

/// Of amounts with their units, each at most once and in this order.
fn sum(mut text: &str, units: &[(char, i64)]) -> Option<i64> {
    let mut ms = 0_i64;
    for (unit, unit_ms) in units {
        let Some((amount, rest)) = text.split_once(*unit) else { continue };
        let part = if *unit == 'S' { seconds(amount)? } else { whole(amount)?.checked_mul(*unit_ms)? };
        ms = ms.checked_add(part)?;
        text = rest;
    }
    text.is_empty().then_some(ms)
}

fn seconds(amount: &str) -> Option<i64> {
    let Some((seconds, fraction)) = amount.split_once(['.', ',']) else {
        return whole(amount)?.checked_mul(1_000);
    };
    if fraction.len() > NANOSECONDS_DIGITS || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let ms = whole(seconds)?.checked_mul(1_000)?;
    if seconds.starts_with('-') { ms.checked_sub(thousandths) } else { ms.checked_add(thousandths) }
}

fn whole(amount: &str) -> Option<i64> {
    let digits = amount.strip_prefix(['+', '-']).unwrap_or(amount);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { amount.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("PT0S", Some(0)),
            ("P1D", Some(DAY_MS)),
            ("P1DT2H3M4.5S", Some(DAY_MS + 7_384_500)),
            ("P2DT3.5S", Some(2 * DAY_MS + 3_500)),
            ("PT0.25S", Some(250)),
            ("PT1.S", Some(1_000)),
            ("PT1,123456789S", Some(1_123)),
            ("-PT1M", Some(-60_000)),
            ("PT-1.5S", Some(-1_500)),
            ("PT1H-30M", Some(1_800_000)),
            ("pt1h", Some(3_600_000)),
            ("", None),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("1D", None),
            ("P1H", None),
            ("PT1S1M", None),
            ("PT1M2", None),
            ("PT1.5M", None),
            ("PT.5S", None),
            ("PT1.1234567890S", None),
            ("P--1D", None),
            ("P1D1D", None),
            ("P99999999999999D", None),
        ] {
            assert_eq!(parse_iso_duration_ms(text), ms, "{text}");
        }
    }
}
