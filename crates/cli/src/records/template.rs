//! What `--format` says of each record. Pure.

use ottla_client::consumer::ConsumerRecord;

use crate::expr::show_time;

/// A text with places for what a record has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Topic,
    Partition,
    Offset,
    TimestampMs,
    Time,
    Key,
    Value,
    Headers,
    KeyLength,
    ValueLength,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Field(Field),
}

/// As kcat has them; `%v` and `%d` are ours.
const FIELDS: [(char, Field); 11] = [
    ('t', Field::Topic),
    ('p', Field::Partition),
    ('o', Field::Offset),
    ('T', Field::TimestampMs),
    ('d', Field::Time),
    ('k', Field::Key),
    ('v', Field::Value),
    ('s', Field::Value),
    ('h', Field::Headers),
    ('K', Field::KeyLength),
    ('S', Field::ValueLength),
];

impl Template {
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut bytes = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => match chars.next() {
                    Some('%') => bytes.push(b'%'),
                    Some(letter) => {
                        let field = FIELDS.iter().find(|(known, _)| *known == letter);
                        let (_, field) = field.ok_or_else(|| {
                            format!(
                                "%{letter} is nothing: there are %t topic, %p partition, %o offset, %T milliseconds, %d time, %k key, \
                                 %v value, %h headers, %K and %S lengths of key and value, %%"
                            )
                        })?;
                        if !bytes.is_empty() {
                            pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
                        }
                        pieces.push(Piece::Field(*field));
                    }
                    None => return Err("after the last % a letter is missing".to_owned()),
                },
                '\\' => match chars.next() {
                    Some('n') => bytes.push(b'\n'),
                    Some('t') => bytes.push(b'\t'),
                    Some('r') => bytes.push(b'\r'),
                    Some('0') => bytes.push(0),
                    Some('\\') => bytes.push(b'\\'),
                    _ => return Err("after \\ there is n, t, r, 0 or \\".to_owned()),
                },
                c => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        if !bytes.is_empty() {
            pieces.push(Piece::Bytes(bytes));
        }
        Ok(Template(pieces))
    }

    /// What there isn't is empty; its length is -1.
    pub fn write(&self, record: &ConsumerRecord, to: &mut Vec<u8>) {
        let length = |content: Option<&bytes::Bytes>| {
            content.map_or(-1, |content| i64::try_from(content.len()).unwrap_or(i64::MAX))
        };
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => to.extend(bytes),
                Piece::Field(field) => match field {
                    Field::Topic => to.extend(record.topic().bytes()),
                    Field::Partition => to.extend(record.partition().to_string().bytes()),
                    Field::Offset => to.extend(record.offset.value().to_string().bytes()),
                    Field::TimestampMs => to.extend(record.timestamp.value().to_string().bytes()),
                    Field::Time => to.extend(show_time(record.timestamp.value()).bytes()),
                    Field::Key => to.extend(record.key.iter().flatten()),
                    Field::Value => to.extend(record.value.iter().flatten()),
                    Field::KeyLength => to.extend(length(record.key.as_ref()).to_string().bytes()),
                    Field::ValueLength => to.extend(length(record.value.as_ref()).to_string().bytes()),
                    Field::Headers => {
                        for (at, header) in record.headers.iter().enumerate() {
                            if at > 0 {
                                to.push(b',');
                            }
                            to.extend(&header.key);
                            to.push(b'=');
                            to.extend(header.value.iter().flatten());
                        }
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ottla_client::consumer::{OwnedHeader, TimestampType};
    use ottla_client::types::{Offset, Timestamp, TopicPartition};

    #[test]
    fn each_letter_is_a_part_of_the_record() {
        let header = |value: Option<&'static str>| OwnedHeader {
            key: Bytes::from_static(b"h"),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        let record = ConsumerRecord {
            topic_partition: TopicPartition::new("t", 3),
            offset: Offset(7),
            leader_epoch: None,
            timestamp: Timestamp(1500),
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(Bytes::from_static(b"\xffv")),
            headers: vec![header(Some("1")), header(None)],
        };
        for (template, expected) in [
            ("%t-%p@%o", &b"t-3@7"[..]),
            ("%T %d", b"1500 1970-01-01T00:00:01.500Z"),
            ("[%k]%K", b"[]-1"),
            ("%v%s %S", b"\xffv\xffv 2"),
            ("%h", b"h=1,h="),
            ("%%\\n\\t\\r\\0\\\\\u{e4}", b"%\n\t\r\0\\\xc3\xa4"),
        ] {
            let mut written = Vec::new();
            Template::parse(template).unwrap().write(&record, &mut written);
            assert_eq!(written, expected, "{template}");
        }
        for template in ["%", "%x", "\\", "\\q"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }
}
