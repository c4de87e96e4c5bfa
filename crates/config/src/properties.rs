//! Java's `.properties` format, as `java.util.Properties` loads it from bytes.
//!
//! The bytes are ISO 8859-1, `\uXXXX` stands for other characters. A logical line goes on over natural lines that end in
//! an odd number of backslashes. The key ends at the first `=`, `:` or white space that no backslash precedes. Keys may
//! repeat; who reads the pairs in order lets the last one win.

/// One key and its value, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
    /// Natural line on which the key stands, counted from 1.
    pub line: usize,
}

/// What can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: a \\u must be followed by four hexadecimal digits")]
pub struct MalformedEscape {
    pub line: usize,
}

/// Reads a whole file.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, MalformedEscape> {
    let mut reader = Reader { rest: bytes, line: 1 };
    let mut properties = Vec::new();
    while let Some(logical) = reader.logical_line() {
        properties.push(split(&logical)?);
    }
    Ok(properties)
}

/// A logical line: without the line breaks and backslashes that joined it, escapes still in it.
struct LogicalLine {
    text: Vec<u8>,
    line: usize,
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Reader<'_> {
    fn logical_line(&mut self) -> Option<LogicalLine> {
        let mut logical = LogicalLine { text: Vec::new(), line: self.line };
        loop {
            if self.rest.is_empty() {
                return (!logical.text.is_empty()).then_some(logical);
            }
            if logical.text.is_empty() {
                logical.line = self.line;
            }
            let natural = trim_start(self.natural_line());
            let comment = natural.first().is_some_and(|b| matches!(b, b'#' | b'!'));
            if logical.text.is_empty() && (natural.is_empty() || comment) {
                continue;
            }
            match natural.split_last() {
                Some((_, joined)) if ends_in_open_backslash(natural) => {
                    logical.text.extend_from_slice(joined);
                    // The end of the file ends a logical line, even one that nothing but a backslash has begun.
                    if self.rest.is_empty() {
                        return Some(logical);
                    }
                }
                _ => {
                    logical.text.extend_from_slice(natural);
                    return Some(logical);
                }
            }
        }
    }

    /// Up to the next line break, which is `\n`, `\r` or `\r\n` and is left out.
    fn natural_line(&mut self) -> &'_ [u8] {
        let end = self.rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = match rest {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => &[],
        };
        self.line += 1;
        line
    }
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

fn trim_start(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|b| !is_white(*b)).unwrap_or(line.len());
    line.get(start..).unwrap_or(&[])
}

fn ends_in_open_backslash(line: &[u8]) -> bool {
    line.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

fn split(logical: &LogicalLine) -> Result<Property, MalformedEscape> {
    let text = logical.text.as_slice();
    let mut escaped = false;
    let key_end = text.iter().position(|byte| {
        let ends = !escaped && (matches!(byte, b'=' | b':') || is_white(*byte));
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let (key, rest) = text.split_at_checked(key_end.unwrap_or(text.len())).unwrap_or((text, &[]));
    let rest = trim_start(rest);
    let value = match rest {
        [b'=' | b':', value @ ..] => trim_start(value),
        value => value,
    };
    Ok(Property {
        key: unescape(key, logical.line)?,
        value: unescape(value, logical.line)?,
        line: logical.line,
    })
}

fn unescape(text: &[u8], line: usize) -> Result<String, MalformedEscape> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => break,
            [b'\\', b'u', tail @ ..] => {
                let digits = tail.get(..4).ok_or(MalformedEscape { line })?;
                units.push(hexadecimal(digits).ok_or(MalformedEscape { line })?);
                tail.get(4..).unwrap_or(&[])
            }
            [b'\\', byte, tail @ ..] => {
                units.push(u16::from(match byte {
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'f' => 0x0c,
                    other => *other,
                }));
                tail
            }
            [b'\\'] => break,
            [byte, tail @ ..] => {
                units.push(u16::from(*byte));
                tail
            }
        };
    }
    Ok(String::from_utf16_lossy(&units))
}

fn hexadecimal(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |number: u16, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests;
