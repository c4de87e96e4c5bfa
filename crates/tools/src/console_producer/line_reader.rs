//! Lines that become records: with headers and keys, if they are to be parsed out of them.

use std::collections::BTreeMap;

use regex::Regex;

/// What one line says. A key that is null and one that isn't there are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) headers: Vec<(&'a str, Option<&'a str>)>,
    pub(super) key: Option<&'a str>,
    pub(super) value: Option<&'a str>,
}

/// How lines are read.
#[derive(Clone, Debug)]
pub(super) struct LineReader {
    parses_key: bool,
    key_separator: String,
    parses_headers: bool,
    headers_delimiter: String,
    /// A regular expression, as in Kafka.
    headers_separator: Regex,
    headers_key_separator: String,
    ignores_errors: bool,
    null_marker: Option<String>,
    /// Lines so far.
    count: u64,
}

impl LineReader {
    pub(super) fn new(properties: &BTreeMap<String, String>) -> Result<LineReader, String> {
        let text =
            |key: &str, default: &str| properties.get(key).cloned().unwrap_or_else(|| default.to_owned());
        let is_true =
            |key: &str| properties.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        let separator = text("headers.separator", ",");
        let reader = LineReader {
            parses_key: is_true("parse.key"),
            key_separator: text("key.separator", "\t"),
            parses_headers: is_true("parse.headers"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: Regex::new(&separator)
                .map_err(|error| format!("headers.separator is no regular expression: {error}"))?,
            headers_key_separator: text("headers.key.separator", ":"),
            ignores_errors: is_true("ignore.error"),
            null_marker: properties.get("null.marker").cloned(),
            count: 0,
        };
        reader.check(&separator)?;
        Ok(reader)
    }

    /// What parts a line must be told apart.
    fn check(&self, headers_separator: &str) -> Result<(), String> {
        let delimiter = ("headers.delimiter", self.headers_delimiter.as_str());
        let separator = ("headers.separator", headers_separator);
        let of_key = ("headers.key.separator", self.headers_key_separator.as_str());
        let mut pairs = vec![(delimiter, separator), (delimiter, of_key), (separator, of_key)];
        if let Some(marker) = &self.null_marker {
            let marker = ("null.marker", marker.as_str());
            let key = ("key.separator", self.key_separator.as_str());
            pairs.extend([(marker, key), (marker, separator), (marker, delimiter), (marker, of_key)]);
        }
        match pairs.into_iter().find(|((_, one), (_, other))| one == other) {
            Some(((one, _), (other, _))) => Err(format!("{one} and {other} may not be equal")),
            None => Ok(()),
        }
    }

    pub(super) fn read<'a>(&mut self, line: &'a str) -> Result<Line<'a>, String> {
        self.count += 1;
        let (headers, rest) = match self.parses_headers {
            true => self.part(line, line, &self.headers_delimiter, "headers delimiter")?,
            false => (None, line),
        };
        let (key, value) = match self.parses_key {
            true => self.part(line, rest, &self.key_separator, "key separator")?,
            false => (None, rest),
        };
        let headers = match headers.and_then(|headers| self.unless_null(headers)) {
            Some(headers) => self.headers(headers)?,
            None => Vec::new(),
        };
        Ok(Line { headers, key: key.and_then(|key| self.unless_null(key)), value: self.unless_null(value) })
    }

    /// What stands before a separator, and the rest behind it.
    fn part<'a>(
        &self,
        line: &str,
        rest: &'a str,
        separator: &str,
        name: &str,
    ) -> Result<(Option<&'a str>, &'a str), String> {
        match rest.split_once(separator) {
            Some((part, rest)) => Ok((Some(part), rest)),
            None if self.ignores_errors => Ok((None, rest)),
            None => Err(format!("No {name} found on line number {}: '{line}'", self.count)),
        }
    }

    fn headers<'a>(&self, text: &'a str) -> Result<Vec<(&'a str, Option<&'a str>)>, String> {
        let mut pairs: Vec<&str> = self.headers_separator.split(text).collect();
        // As Java splits: nothing at the end counts.
        while pairs.len() > 1 && pairs.last().is_some_and(|pair| pair.is_empty()) {
            pairs.pop();
        }
        pairs.into_iter().map(|pair| self.header(pair)).collect()
    }

    fn header<'a>(&self, pair: &'a str) -> Result<(&'a str, Option<&'a str>), String> {
        let Some((key, value)) = pair.split_once(&self.headers_key_separator) else {
            return match self.ignores_errors {
                true => Ok((pair, None)),
                false => Err(format!(
                    "No header key separator found in pair '{pair}' on line number {}",
                    self.count
                )),
            };
        };
        match self.unless_null(key) {
            Some(key) => Ok((key, self.unless_null(value))),
            None => Err(format!(
                "Header keys should not be equal to the null marker '{key}' as they can't be null"
            )),
        }
    }

    fn unless_null<'a>(&self, text: &'a str) -> Option<&'a str> {
        Some(text).filter(|text| self.null_marker.as_deref() != Some(*text))
    }
}

/// Parts a stream of bytes into lines: they end with a line feed, a carriage return, or both.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    has_begun: bool,
    skips_line_feed: bool,
}

impl Lines {
    /// The lines that end in these bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        if self.skips_line_feed && !rest.is_empty() {
            self.skips_line_feed = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, behind) = rest.split_at(end);
            self.begun.extend_from_slice(line);
            self.has_begun = false;
            lines.push(std::mem::take(&mut self.begun));
            rest = match behind {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => {
                    self.skips_line_feed = true;
                    &[]
                }
                [_, rest @ ..] => rest,
                [] => &[],
            };
        }
        self.has_begun |= !rest.is_empty();
        self.begun.extend_from_slice(rest);
        lines
    }

    /// The last line, if it has no end.
    pub(super) fn end(self) -> Option<Vec<u8>> {
        Some(self.begun).filter(|_| self.has_begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(properties: &str) -> Result<LineReader, String> {
        let pairs = properties.split(' ').filter_map(|pair| pair.split_once('='));
        LineReader::new(&pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// Headers, key and value as one text.
    #[track_caller]
    fn check(properties: &str, line: &str, expected: &str) {
        let mut reader = reader(properties).unwrap();
        let shown = match reader.read(line) {
            Ok(line) => {
                let value = |value: Option<&str>| value.unwrap_or("<null>").to_owned();
                let headers: Vec<String> =
                    line.headers.iter().map(|(key, of)| format!("{key}={}", value(*of))).collect();
                format!("[{}] {} {}", headers.join(" "), value(line.key), value(line.value))
            }
            Err(error) => error,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn lines_have_headers_and_keys_if_that_is_asked_for() {
        check("", "a\tb", "[] <null> a\tb");
        check("parse.key=true", "k\tv\tw", "[] k v\tw");
        check("parse.key=TRUE key.separator=:", "k:v", "[] k v");
        check("parse.headers=true", "h:1,i:2\tv", "[h=1 i=2] <null> v");
        check("parse.headers=true parse.key=true", "h:a:b,\tk\t", "[h=a:b] k ");
        check("parse.headers=true headers.separator=[;|]", "h:1;i:2|j:3\tv", "[h=1 i=2 j=3] <null> v");
    }

    #[test]
    fn what_is_missing_is_said_or_ignored() {
        check("parse.key=true", "kv", "No key separator found on line number 1: 'kv'");
        check("parse.headers=true", "hv", "No headers delimiter found on line number 1: 'hv'");
        check("parse.headers=true", "h\tv", "No header key separator found in pair 'h' on line number 1");
        check("parse.headers=true parse.key=true ignore.error=true", "v", "[] <null> v");
        check("parse.headers=true parse.key=true ignore.error=true", "h\tv", "[h=<null>] <null> v");
    }

    #[test]
    fn a_marker_stands_for_null() {
        let all = "parse.headers=true parse.key=true null.marker=N";
        check(all, "N\tN\tN", "[] <null> <null>");
        check(all, "h:N\tk\tv", "[h=<null>] k v");
        check(
            all,
            "N:1\tk\tv",
            "Header keys should not be equal to the null marker 'N' as they can't be null",
        );
    }

    #[test]
    fn separators_must_differ() {
        for (properties, expected) in [
            ("headers.delimiter=,", "headers.delimiter and headers.separator"),
            ("headers.delimiter=:", "headers.delimiter and headers.key.separator"),
            ("headers.separator=:", "headers.separator and headers.key.separator"),
            ("null.marker=x key.separator=x", "null.marker and key.separator"),
            ("null.marker=,", "null.marker and headers.separator"),
            ("null.marker=:", "null.marker and headers.key.separator"),
        ] {
            assert_eq!(reader(properties).unwrap_err(), format!("{expected} may not be equal"));
        }
        assert!(reader("headers.separator=(").is_err());
    }

    #[test]
    fn lines_end_as_java_ends_them() {
        for whole in ["a\nb\r\nc\rd", "\n\r\n\n", "a", "", "a\r", "\r\r\n"] {
            for at in 0..=whole.len() {
                let mut lines = Lines::default();
                let mut found = lines.take(&whole.as_bytes()[..at]);
                found.extend(lines.take(&whole.as_bytes()[at..]));
                found.extend(lines.end());
                let expected: Vec<&str> = match whole {
                    "a\nb\r\nc\rd" => vec!["a", "b", "c", "d"],
                    "\n\r\n\n" => vec!["", "", ""],
                    "\r\r\n" => vec!["", ""],
                    "" => vec![],
                    _ => vec!["a"],
                };
                assert_eq!(
                    found,
                    expected.iter().map(|line| line.as_bytes()).collect::<Vec<_>>(),
                    "{whole:?} {at}"
                );
            }
        }
    }
}
