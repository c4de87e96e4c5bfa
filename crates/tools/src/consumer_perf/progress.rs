//! How much was read, how fast, and how long the group took to give out its partitions: the lines of perf tests of consumers.

use super::plan::Form;
use crate::java::fixed;

const MB: f64 = 1024.0 * 1024.0;

/// All that was read up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Spent without partitions.
    pub(crate) joining_ms: i64,
}

impl Read {
    fn mb(&self) -> f64 {
        self.bytes as f64 / MB
    }
}

pub(crate) const COLUMNS_OF_GROUP: &str = ", rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec";

pub(crate) fn header(form: &Form) -> String {
    let first = if form.shows_intervals { "time, threadId" } else { "start.time, end.time" };
    format!("{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec{COLUMNS_OF_GROUP}")
}

/// At the end, of everything.
pub(crate) fn total(form: &Form, read: &Read, start_ms: i64, end_ms: i64) -> String {
    let elapsed_s = (end_ms - start_ms) as f64 / 1000.0;
    let fetching_ms = end_ms - start_ms - read.joining_ms;
    let fetching_s = fetching_ms as f64 / 1000.0;
    let (mb, records) = (read.mb(), read.records as f64);
    [
        form.dates.format(start_ms),
        form.dates.format(end_ms),
        fixed(mb, 4),
        fixed(mb / elapsed_s, 4),
        read.records.to_string(),
        fixed(records / elapsed_s, 4),
        read.joining_ms.to_string(),
        fetching_ms.to_string(),
        fixed(mb / fetching_s, 4),
        fixed(records / fetching_s, 4),
    ]
    .join(", ")
}

/// Of an interval; `before` is what was read when it began, `joining_ms` of the interval alone.
pub(crate) fn interval(
    form: &Form,
    read: &Read,
    before: &Read,
    joining_ms: i64,
    start_ms: i64,
    end_ms: i64,
) -> String {
    let elapsed_ms = (end_ms - start_ms) as f64;
    let mb = (read.bytes - before.bytes) as f64 / MB;
    let records = (read.records - before.records) as f64;
    let fetching_ms = end_ms - start_ms - joining_ms;
    let per_s = |amount: f64| if fetching_ms <= 0 { 0.0 } else { 1000.0 * amount / fetching_ms as f64 };
    [
        form.dates.format(end_ms),
        "0".to_owned(),
        fixed(read.mb(), 4),
        fixed(1000.0 * mb / elapsed_ms, 4),
        read.records.to_string(),
        fixed(records / elapsed_ms * 1000.0, 4),
        joining_ms.to_string(),
        fetching_ms.to_string(),
        fixed(per_s(mb), 4),
        fixed(per_s(records), 4),
    ]
    .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::date_format::DateFormat;

    fn form(shows_intervals: bool) -> Form {
        Form {
            dates: DateFormat::parse("ss.SSS").unwrap(),
            hides_header: false,
            shows_intervals,
            interval_ms: 5000,
            prints_metrics: false,
        }
    }

    #[test]
    fn totals_are_told() {
        let read = Read { bytes: 3 << 20, records: 300, joining_ms: 500 };
        assert_eq!(
            total(&form(false), &read, 1000, 3000),
            "01.000, 03.000, 3.0000, 1.5000, 300, 150.0000, 500, 1500, 2.0000, 200.0000"
        );
        assert!(total(&form(false), &Read::default(), 1000, 1000).ends_with(", NaN, 0, NaN, 0, 0, NaN, NaN"));
        assert!(header(&form(false)).starts_with("start.time, end.time, data.consumed.in.MB"));
    }

    #[test]
    fn intervals_are_told() {
        let before = Read { bytes: 1 << 20, records: 100, joining_ms: 0 };
        let read = Read { bytes: 3 << 20, records: 300, joining_ms: 500 };
        assert_eq!(
            interval(&form(true), &read, &before, 1000, 1000, 3000),
            "03.000, 0, 3.0000, 1.0000, 300, 100.0000, 1000, 1000, 2.0000, 200.0000"
        );
        assert!(
            interval(&form(true), &read, &before, 2000, 1000, 3000).ends_with(", 2000, 0, 0.0000, 0.0000")
        );
        assert!(header(&form(true)).starts_with("time, threadId, data.consumed.in.MB"));
    }
}
