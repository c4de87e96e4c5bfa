//! How much was read, and how fast.

use crate::consumer_perf::Form;
use crate::java::fixed;

const MB: f64 = 1024.0 * 1024.0;

pub(super) const HEADER: &str =
    "start.time, end.time, data.consumed.in.MB, MB.sec, nMsg.sec, data.consumed.in.nMsg, fetch.time.ms";

/// All that was read up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// Of everything.
pub(super) fn total(form: &Form, read: &Read, start_ms: i64, end_ms: i64) -> String {
    interval(form, read, &Read::default(), start_ms, end_ms)
}

/// Of an interval; `before` is what was read when it began.
pub(super) fn interval(form: &Form, read: &Read, before: &Read, start_ms: i64, end_ms: i64) -> String {
    let elapsed_ms = end_ms - start_ms;
    let per_s = |amount: f64| amount / (elapsed_ms as f64 / 1000.0);
    [
        form.dates.format(start_ms),
        form.dates.format(end_ms),
        fixed(read.bytes as f64 / MB, 4),
        fixed(per_s((read.bytes - before.bytes) as f64 / MB), 4),
        fixed(per_s((read.records - before.records) as f64), 4),
        read.records.to_string(),
        elapsed_ms.to_string(),
    ]
    .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::date_format::DateFormat;

    #[test]
    fn lines_tell_how_much_and_how_fast() {
        let form = Form {
            dates: DateFormat::parse("ss.SSS").unwrap(),
            hides_header: false,
            shows_intervals: true,
            interval_ms: 5000,
            prints_metrics: false,
        };
        let read = Read { bytes: 3 << 20, records: 300 };
        assert_eq!(total(&form, &read, 1000, 3000), "01.000, 03.000, 3.0000, 1.5000, 150.0000, 300, 2000");
        let before = Read { bytes: 1 << 20, records: 100 };
        assert_eq!(
            interval(&form, &read, &before, 1000, 3000),
            "01.000, 03.000, 3.0000, 1.0000, 100.0000, 300, 2000"
        );
        assert!(total(&form, &Read::default(), 1000, 1000).ends_with(", 0.0000, NaN, NaN, 0, 0"));
    }
}
