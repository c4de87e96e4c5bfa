//! What the records of a test consist of.

use std::fs;
use std::path;

use regex::Regex;

use super::plan::PayloadPlan;
use crate::tool::{Failure, Output, said};

/// Gives one value after the other, the same in each run.
#[derive(Debug)]
pub(super) enum Payload {
    Random { bytes: Vec<u8>, dice: Dice },
    Monotonic { digits: Vec<u8> },
    Chosen { values: Vec<Vec<u8>>, dice: Dice },
}

impl Payload {
    pub(super) fn new(plan: &PayloadPlan, output: &mut Output<'_>) -> Result<Payload, Failure> {
        let dice = Dice(0x9e37_79b9_7f4a_7c15);
        Ok(match plan {
            PayloadPlan::Random { bytes } => Payload::Random { bytes: vec![0; *bytes], dice },
            PayloadPlan::Monotonic => Payload::Monotonic { digits: Vec::new() },
            PayloadPlan::InFile { path, delimiter } => {
                let absolute = path::absolute(path).map_err(|error| said(format_args!("{path}: {error}")))?;
                output.line(format_args!("Reading payloads from: {}", absolute.display()))?;
                let text = fs::read(path).unwrap_or_default();
                if text.is_empty() {
                    return Err(said("File does not exist or empty file provided."));
                }
                let values = values(&String::from_utf8_lossy(&text), delimiter)?;
                output.line(format_args!("Number of records read: {}", values.len()))?;
                if values.is_empty() {
                    return Err(said("No payload file, record size or payload-monotonic option provided."));
                }
                Payload::Chosen { values, dice }
            }
        })
    }

    pub(super) fn next(&mut self, number: u64) -> &[u8] {
        match self {
            Payload::Random { bytes, dice } => {
                dice.fill_letters(bytes);
                bytes
            }
            Payload::Monotonic { digits } => {
                *digits = number.to_string().into_bytes();
                digits
            }
            Payload::Chosen { values, dice } => {
                let at = dice.next() % (values.len().max(1) as u64);
                usize::try_from(at).ok().and_then(|at| values.get(at)).map(Vec::as_slice).unwrap_or_default()
            }
        }
    }
}

/// As Java's `Scanner` parts a text: a delimiter at its beginning or end parts nothing.
fn values(text: &str, delimiter: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let delimiter = Regex::new(delimiter)
        .map_err(|error| said(format_args!("--payload-delimiter is no regular expression: {error}")))?;
    let text = match delimiter.find(text) {
        Some(first) if first.start() == 0 => text.get(first.end()..).unwrap_or_default(),
        _ => text,
    };
    let mut values: Vec<Vec<u8>> = delimiter.split(text).map(|value| value.as_bytes().to_vec()).collect();
    if values.last().is_some_and(Vec::is_empty) {
        values.pop();
    }
    Ok(values)
}

/// Marsaglia's xorshift.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Capital letters.
    fn fill_letters(&mut self, bytes: &mut [u8]) {
        for eight in bytes.chunks_mut(8) {
            for (byte, random) in eight.iter_mut().zip(self.next().to_le_bytes()) {
                // Less than 26 after the shift.
                *byte = b'A' + ((u16::from(random) * 26) >> 8) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_parted_as_java_parts_them() {
        let parted = |text: &str, delimiter: &str| -> Vec<String> {
            let values = values(text, delimiter).unwrap();
            values.into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
        };
        assert_eq!(parted("a\nb\n", "\n"), ["a", "b"]);
        assert_eq!(parted("\na\n\nb", "\n"), ["a", "", "b"]);
        assert_eq!(parted("a--b", "-+"), ["a", "b"]);
        assert!(values("a", "(").is_err());
    }

    #[test]
    fn random_records_are_letters() {
        let mut payload = Payload::Random { bytes: vec![0; 100], dice: Dice(7) };
        let first = payload.next(0).to_vec();
        assert!(first.iter().all(u8::is_ascii_uppercase));
        assert_ne!(first, payload.next(1));
        assert_eq!(Payload::Monotonic { digits: Vec::new() }.next(12), b"12");
    }
}
