//! Points in time as a pattern of `java.text.SimpleDateFormat` says, in UTC.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A pattern that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DateFormat(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A letter, and how often it stands there.
    Field(char, usize),
}

const FIELDS: &str = "yMdHkKhmsSaEDzZX";

impl DateFormat {
    pub(crate) fn parse(pattern: &str) -> Result<DateFormat, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut chars = pattern.chars().peekable();
        let text = |pieces: &mut Vec<Piece>, c: char| match pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => pieces.push(Piece::Text(c.to_string())),
        };
        let mut is_quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.next_if_eq(&'\'').is_some() => text(&mut pieces, '\''),
                '\'' => is_quoted = !is_quoted,
                c if is_quoted || !c.is_ascii_alphabetic() => text(&mut pieces, c),
                c if FIELDS.contains(c) => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    pieces.push(Piece::Field(c, count));
                }
                c => return Err(format!("Illegal pattern character '{c}'")),
            }
        }
        if is_quoted { Err("Unterminated quote".to_owned()) } else { Ok(DateFormat(pieces)) }
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn format(&self, time_ms: i64) -> String {
        let moment = Moment::of(time_ms);
        let shown = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(letter, count) => moment.field(*letter, *count),
        });
        shown.collect()
    }
}

/// As ISO 8601 has it, with as many digits of a second as it takes. Milliseconds since the Unix epoch.
pub(crate) fn iso_instant(time_ms: i64) -> String {
    let Moment { year, month, day, ms_of_day, .. } = Moment::of(time_ms);
    let (s, ms) = (ms_of_day / 1000, ms_of_day % 1000);
    let clock = format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
    let fraction = format!(".{ms:03}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{year:04}-{month:02}-{day:02}T{clock}{fraction}Z")
}

struct Moment {
    days: i64,
    ms_of_day: i64,
    year: i64,
    /// From 1 on.
    month: i64,
    day: i64,
    day_of_year: i64,
}

impl Moment {
    fn of(time_ms: i64) -> Moment {
        let days = time_ms.div_euclid(86_400_000);
        let (year, month, day) = date(days);
        let day_of_year = days - days_before_year(year) + 1;
        Moment { days, ms_of_day: time_ms.rem_euclid(86_400_000), year, month, day, day_of_year }
    }

    fn field(&self, letter: char, count: usize) -> String {
        let number = |value: i64| format!("{value:0count$}");
        let hour = self.ms_of_day / 3_600_000;
        match letter {
            'y' if count == 2 => format!("{:02}", self.year.rem_euclid(100)),
            'y' => number(self.year),
            'M' if count >= 3 => name(&MONTHS, self.month - 1, count),
            'M' => number(self.month),
            'd' => number(self.day),
            'D' => number(self.day_of_year),
            'H' => number(hour),
            'k' => number(if hour == 0 { 24 } else { hour }),
            'K' => number(hour % 12),
            'h' => number(if hour % 12 == 0 { 12 } else { hour % 12 }),
            'm' => number(self.ms_of_day / 60_000 % 60),
            's' => number(self.ms_of_day / 1000 % 60),
            'S' => number(self.ms_of_day % 1000),
            'a' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'E' => name(&DAYS, self.days.rem_euclid(7), count),
            'Z' => "+0000".to_owned(),
            'X' => "Z".to_owned(),
            _ => "UTC".to_owned(),
        }
    }
}

/// Short, or whole from four letters on.
fn name(names: &[&str], at: i64, count: usize) -> String {
    let whole = usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default();
    if count >= 4 { whole } else { whole.get(..3).unwrap_or(whole) }.to_owned()
}

/// Since the epoch.
fn days_before_year(year: i64) -> i64 {
    let before = year - 1;
    before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}

/// Year, month and day of the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the day that may be missing is the last one.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_java() {
        // 2026-11-22T08:15:30.123Z, a Sunday.
        let time_ms = 1_795_335_330_123;
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss:SSS", "2026-11-22 08:15:30:123"),
            ("yy M d H", "26 11 22 8"),
            ("EEE, d MMM yyyy hh:mm a z", "Sun, 22 Nov 2026 08:15 AM UTC"),
            ("EEEE MMMM D k K X Z", "Sunday November 326 8 8 Z +0000"),
            ("'at' ''HH''", "at '08'"),
            ("", ""),
        ] {
            assert_eq!(DateFormat::parse(pattern).unwrap().format(time_ms), expected, "{pattern}");
        }
        assert_eq!(DateFormat::parse("b").unwrap_err(), "Illegal pattern character 'b'");
        assert_eq!(DateFormat::parse("'x").unwrap_err(), "Unterminated quote");
    }

    #[test]
    fn instants_have_the_digits_that_they_need() {
        assert_eq!(iso_instant(1_795_335_330_123), "2026-11-22T08:15:30.123Z");
        assert_eq!(iso_instant(1_795_335_330_100), "2026-11-22T08:15:30.1Z");
        assert_eq!(iso_instant(0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let format = DateFormat::parse("yyyy-MM-dd D").unwrap();
        for (time_ms, expected) in [
            (0, "1970-01-01 1"),
            (951_782_400_000, "2000-02-29 60"),
            (951_868_800_000, "2000-03-01 61"),
            (1_735_603_200_000, "2024-12-31 366"),
            (-1, "1969-12-31 365"),
        ] {
            assert_eq!(format.format(time_ms), expected);
        }
    }
}
