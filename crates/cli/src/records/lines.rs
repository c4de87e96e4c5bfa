//! Lines of text as records. Pure but for the reading of a line.

use std::io::{self, BufRead, Read};

use super::json::NewRecord;

/// How lines become records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineForm {
    /// What stands between key and value.
    pub key_separator: Option<String>,
    /// A key or value that is written so is null.
    pub null: Option<String>,
}

impl LineForm {
    pub fn record(&self, line: &[u8]) -> Result<NewRecord, String> {
        let (key, value) = match &self.key_separator {
            None => (None, line),
            Some(separator) => {
                let at = find(line, separator.as_bytes())
                    .ok_or_else(|| format!("there is no '{separator}' between a key and a value"))?;
                let (key, rest) = line.split_at_checked(at).unwrap_or((line, &[]));
                (Some(key), rest.get(separator.len()..).unwrap_or_default())
            }
        };
        let content = |bytes: &[u8]| {
            let is_null = self.null.as_ref().is_some_and(|null| null.as_bytes() == bytes);
            (!is_null).then(|| bytes.to_vec())
        };
        Ok(NewRecord { key: key.and_then(content), value: content(value), ..NewRecord::default() })
    }
}

fn find(in_bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    in_bytes.windows(wanted.len().max(1)).position(|window| window == wanted)
}

/// The next line without its end; `None` after the last one.
///
/// # Errors
/// It can't be read, or is longer than `bytes_max`.
pub fn read_line(from: &mut dyn BufRead, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut bounded = from.take(bytes_max.saturating_add(1));
    if bounded.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if u64::try_from(line.len()).is_ok_and(|length| length > bytes_max) {
        return Err(io::Error::other(format!("a line has more than {bytes_max} bytes (max.request.size)")));
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_values_or_keys_and_values() {
        let plain = LineForm::default();
        let keyed = LineForm { key_separator: Some("::".to_owned()), null: Some("NULL".to_owned()) };
        let of = |form: &LineForm, line: &str| {
            form.record(line.as_bytes()).map(|record| {
                let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).unwrap());
                (text(record.key), text(record.value))
            })
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(&plain, "a::b"), Ok((None, some("a::b"))));
        assert_eq!(of(&plain, "NULL"), Ok((None, some("NULL"))));
        assert_eq!(of(&keyed, "a::b::c"), Ok((some("a"), some("b::c"))));
        assert_eq!(of(&keyed, "::"), Ok((some(""), some(""))));
        assert_eq!(of(&keyed, "a::NULL"), Ok((some("a"), None)));
        assert_eq!(of(&keyed, "NULL::b"), Ok((None, some("b"))));
        assert!(of(&keyed, "a:b").is_err());
    }

    #[test]
    fn lines_are_bounded() {
        let mut from = &b"one\r\ntwo\n\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut from, 5).unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["one", "two", "", "last"]);
        assert!(read_line(&mut &b"123456"[..], 5).is_err());
        assert_eq!(read_line(&mut &b"12345"[..], 5).unwrap().unwrap(), b"12345");
    }
}
