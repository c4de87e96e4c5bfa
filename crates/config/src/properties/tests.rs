use std::collections::BTreeMap;

use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;

/// `\uXXXX` in the golden file to UTF-16 code units.
fn units(text: &str) -> Vec<u16> {
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.strip_prefix("\\u") {
            Some(tail) => {
                units.push(u16::from_str_radix(&tail[..4], 16).unwrap());
                rest = &tail[4..];
            }
            None => {
                units.push(first as u16);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    units
}

fn text(escaped: &str) -> String {
    String::from_utf16_lossy(&units(escaped))
}

#[test]
fn reads_what_java_reads() {
    for line in include_str!("../../testdata/properties.txt").lines().filter(|line| !line.starts_with("# ")) {
        let mut cells = line.split('\t');
        let file: Vec<u8> = units(cells.next().unwrap()).into_iter().map(|unit| unit as u8).collect();
        let verdict = cells.next().unwrap();
        let expected: BTreeMap<String, String> =
            cells.map(|pair| pair.split_once("=>").unwrap()).map(|(k, v)| (text(k), text(v))).collect();
        match parse(&file) {
            Ok(pairs) => {
                assert_eq!(verdict, "OK", "{line}");
                let got: BTreeMap<String, String> = pairs.into_iter().map(|p| (p.key, p.value)).collect();
                assert_eq!(got, expected, "{line}");
            }
            Err(_) => assert_eq!(verdict, "ERR", "{line}"),
        }
    }
}

#[test]
fn lines_are_counted_in_the_file() {
    let file = b"# comment\n\na=1\r\nb=2\\\n  3\n\nc=4\rd=\\\n";
    let lines: Vec<(String, usize)> =
        parse(file).unwrap().into_iter().map(|property| (property.key, property.line)).collect();
    let expected = [("a", 3), ("b", 4), ("c", 7), ("d", 8)];
    assert_eq!(lines, expected.map(|(key, line)| (key.to_owned(), line)));
    assert_eq!(parse(b"a=1\nb=\\u12\n"), Err(MalformedEscape { line: 2 }));
}

/// As `Properties.store` would write it.
fn escape(text: &str, out: &mut String) {
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            Ok(byte) if byte.is_ascii_punctuation() => {
                out.push('\\');
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("\\u{unit:04x}")),
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn escaped_pairs_come_back(pairs in prop::collection::vec((".{0,12}", ".{0,12}"), 0..6), separator in "[ \t\x0c]*[=: ][ \t]*") {
        let mut file = String::new();
        let mut expected = Vec::new();
        for (line, (key, value)) in (1..).zip(pairs) {
            // An escaped first character keeps an empty key apart from an empty line.
            escape(&key, &mut file);
            if !key.is_empty() { file.push_str(&separator); } else { file.push('='); }
            escape(&value, &mut file);
            file.push('\n');
            expected.push(Property { key, value, line });
        }
        prop_assert_eq!(parse(file.as_bytes()), Ok(expected));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}
