//! How records are shown.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bytes::Bytes;
use ottla_client::consumer::{ConsumerRecord, TimestampType};
use ottla_wire::Json;
use ottla_wire::records::{ConsumerOffsetsRecord, ShareGroupStateRecord, TransactionStateRecord};

use super::deserializer::Deserializer;
use crate::coordinator_records::{CoordinatorRecord, Parts, Unreadable};
use crate::flags::former_class;

/// Types of records in `__consumer_offsets`.
const OFFSET_COMMITS: &[i16] = &[0, 1];
const GROUP_METADATA: &[i16] = &[2];
const SHARE_GROUPS: &[i16] = &[10, 11, 12, 13, 14, 15];

/// Why a record could not be shown.
#[derive(Debug)]
pub(crate) enum Unshown {
    Record(String),
    Output(io::Error),
}

impl From<io::Error> for Unshown {
    fn from(error: io::Error) -> Unshown {
        Unshown::Output(error)
    }
}

/// Java's classes, by what they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Formatter {
    Nothing,
    Fields(Fields),
    /// Those types of records of `__consumer_offsets`.
    Groups(&'static [i16]),
    Transactions,
    ShareGroupState,
}

impl Formatter {
    pub(crate) fn new(class: &str, properties: &BTreeMap<String, String>) -> Result<Formatter, String> {
        let name = class.strip_prefix("org.apache.kafka.tools.consumer.");
        Ok(match name {
            Some("DefaultMessageFormatter" | "LoggingMessageFormatter") => {
                Formatter::Fields(Fields::new(properties)?)
            }
            Some("NoOpMessageFormatter") => Formatter::Nothing,
            Some("OffsetsMessageFormatter") => Formatter::Groups(OFFSET_COMMITS),
            Some("GroupMetadataMessageFormatter") => Formatter::Groups(GROUP_METADATA),
            Some("ShareGroupMessageFormatter") => Formatter::Groups(SHARE_GROUPS),
            Some("TransactionLogMessageFormatter") => Formatter::Transactions,
            Some("group.share.ShareGroupStateMessageFormatter") => Formatter::ShareGroupState,
            _ => {
                if let Some(word) = former_class(class) {
                    return Err(format!("{class}: {word}"));
                }
                return Err(format!(
                    "{class}: there are org.apache.kafka.tools.consumer.DefaultMessageFormatter, LoggingMessageFormatter, \
                     NoOpMessageFormatter, OffsetsMessageFormatter, GroupMetadataMessageFormatter, ShareGroupMessageFormatter, \
                     TransactionLogMessageFormatter and group.share.ShareGroupStateMessageFormatter; others would need a JVM"
                ));
            }
        })
    }

    pub(crate) fn write(
        &self,
        record: &ConsumerRecord,
        delivery_count: Option<i16>,
        out: &mut dyn Write,
    ) -> Result<(), Unshown> {
        match self {
            Formatter::Nothing => Ok(()),
            Formatter::Fields(fields) => fields.write(record, delivery_count, out),
            Formatter::Groups(types) => coordinator::<ConsumerOffsetsRecord>(record, Some(types), out),
            Formatter::Transactions => coordinator::<TransactionStateRecord>(record, None, out),
            Formatter::ShareGroupState => coordinator::<ShareGroupStateRecord>(record, None, out),
        }
    }
}

/// Those of the given types, or all. Records of types that nobody knows are left out.
fn coordinator<R: CoordinatorRecord>(
    record: &ConsumerRecord,
    types: Option<&[i16]>,
    out: &mut dyn Write,
) -> Result<(), Unshown> {
    let Some(key) = record.key.clone() else { return Ok(()) };
    let Parts { type_id, key, value, .. } = match R::read(key, record.value.clone()) {
        Ok(parts) => parts,
        Err(Unreadable::UnknownType(_)) => return Ok(()),
        Err(Unreadable::Broken(why)) => {
            let offset = record.offset;
            return Err(Unshown::Record(format!("Could not read record at offset {offset} due to: {why}")));
        }
    };
    if types.is_some_and(|types| !types.contains(&type_id)) {
        return Ok(());
    }
    let object =
        |name, number: i16, data| Json::Object(vec![(name, Json::Int(number.into())), ("data", data)]);
    let value = value.map_or(Json::Null, |(version, value)| object("version", version, value));
    write!(out, "{}", Json::Object(vec![("key", object("type", type_id, key)), ("value", value)]))?;
    Ok(())
}

/// The parts of a record that are to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    key_deserializer: Option<Deserializer>,
    value_deserializer: Option<Deserializer>,
    headers_deserializer: Option<Deserializer>,
}

impl Fields {
    fn new(properties: &BTreeMap<String, String>) -> Result<Fields, String> {
        let flag = |key: &str, default| {
            properties.get(key).map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
        };
        let text =
            |key: &str, default: &str| properties.get(key).cloned().unwrap_or_else(|| default.to_owned());
        let deserializer =
            |key: &str| properties.get(key).map(|name| Deserializer::of_class(name)).transpose();
        Ok(Fields {
            timestamp: flag("print.timestamp", false),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            delivery: flag("print.delivery", false),
            epoch: flag("print.epoch", false),
            headers: flag("print.headers", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_deserializer: deserializer("key.deserializer")?,
            value_deserializer: deserializer("value.deserializer")?,
            headers_deserializer: deserializer("headers.deserializer")?,
        })
    }

    fn write(
        &self,
        record: &ConsumerRecord,
        delivery_count: Option<i16>,
        out: &mut dyn Write,
    ) -> Result<(), Unshown> {
        let number = |number: Option<String>| number.unwrap_or_else(|| "NOT_PRESENT".to_owned());
        let mut cells: Vec<Vec<u8>> = Vec::new();
        let mut cell = |is_shown: bool, text: String| {
            if is_shown {
                cells.push(text.into_bytes());
            }
        };
        cell(self.timestamp, timestamp(record));
        cell(self.partition, format!("Partition:{}", record.partition()));
        cell(self.offset, format!("Offset:{}", record.offset));
        cell(self.delivery, format!("Delivery:{}", number(delivery_count.map(|count| count.to_string()))));
        cell(self.epoch, format!("Epoch:{}", number(record.leader_epoch.map(|epoch| epoch.0.to_string()))));
        if self.headers {
            cells.push(self.headers(record)?);
        }
        if self.key {
            cells.push(self.read(self.key_deserializer, record.key.as_ref())?);
        }
        if self.value {
            cells.push(self.read(self.value_deserializer, record.value.as_ref())?);
        }
        let last = cells.len().saturating_sub(1);
        for (at, cell) in cells.iter().enumerate() {
            out.write_all(cell)?;
            let separator = if at == last { &self.line_separator } else { &self.key_separator };
            out.write_all(separator.as_bytes())?;
        }
        Ok(())
    }

    fn headers(&self, record: &ConsumerRecord) -> Result<Vec<u8>, Unshown> {
        if record.headers.is_empty() {
            return Ok(b"NO_HEADERS".to_vec());
        }
        let mut shown = Vec::new();
        for (at, header) in record.headers.iter().enumerate() {
            if at > 0 {
                shown.extend_from_slice(self.headers_separator.as_bytes());
            }
            shown.extend_from_slice(&header.key);
            shown.push(b':');
            shown.extend(self.read(self.headers_deserializer, header.value.as_ref())?);
        }
        Ok(shown)
    }

    fn read(&self, deserializer: Option<Deserializer>, bytes: Option<&Bytes>) -> Result<Vec<u8>, Unshown> {
        let bytes = bytes.map_or(self.null_literal.as_bytes(), |bytes| bytes);
        match deserializer {
            Some(deserializer) => deserializer.read(bytes).map_err(Unshown::Record),
            None => Ok(bytes.to_vec()),
        }
    }
}

fn timestamp(record: &ConsumerRecord) -> String {
    match record.timestamp_type {
        TimestampType::None => "NO_TIMESTAMP".to_owned(),
        TimestampType::CreateTime => format!("CreateTime:{}", record.timestamp),
        TimestampType::LogAppendTime => format!("LogAppendTime:{}", record.timestamp),
    }
}

#[cfg(test)]
mod tests {
    use ottla_client::consumer::OwnedHeader;
    use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition};

    use super::*;

    fn record() -> ConsumerRecord {
        let header = |key: &'static str, value: Option<&'static str>| OwnedHeader {
            key: Bytes::from_static(key.as_bytes()),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        ConsumerRecord {
            topic_partition: TopicPartition::new("a", 1),
            offset: Offset(7),
            leader_epoch: Some(LeaderEpoch(3)),
            timestamp: Timestamp(5),
            timestamp_type: TimestampType::CreateTime,
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: vec![header("h", Some("1")), header("i", None)],
        }
    }

    fn shown(class: &str, properties: &str, record: &ConsumerRecord) -> String {
        let pairs = properties.split(' ').filter_map(|pair| pair.split_once('='));
        let properties = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let class = format!("org.apache.kafka.tools.consumer.{class}");
        let formatter = Formatter::new(&class, &properties).unwrap();
        let mut out = Vec::new();
        match formatter.write(record, None, &mut out) {
            Ok(()) => String::from_utf8(out).unwrap(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn fields_are_shown_in_their_order() {
        let all = "print.timestamp=true print.partition=true print.offset=true print.delivery=true print.epoch=true \
                   print.headers=true print.key=true";
        let default = "DefaultMessageFormatter";
        assert_eq!(
            shown(default, all, &record()),
            "CreateTime:5\tPartition:1\tOffset:7\tDelivery:NOT_PRESENT\tEpoch:3\th:1,i:null\tk\tnull\n"
        );
        assert_eq!(shown(default, "", &record()), "null\n");
        assert_eq!(shown(default, "print.value=false", &record()), "");
        let others = "print.key=true print.headers=true print.value=false key.separator=| line.separator=; headers.separator=+ \
                      null.literal=-";
        assert_eq!(shown(default, others, &record()), "h:1+i:-|k;");
        let bare = ConsumerRecord { headers: Vec::new(), ..record() };
        assert_eq!(shown(default, "print.headers=true", &bare), "NO_HEADERS\tnull\n");
        assert_eq!(shown("NoOpMessageFormatter", "", &bare), "");
    }

    #[test]
    fn deserializers_are_used() {
        let of = |key: &str| {
            format!("{key}.deserializer=org.apache.kafka.common.serialization.IntegerDeserializer")
        };
        let number = ConsumerRecord { value: Some(Bytes::from_static(&[0, 0, 0, 9])), ..record() };
        assert_eq!(shown("DefaultMessageFormatter", &of("value"), &number), "9\n");
        let short = ConsumerRecord { value: Some(Bytes::from_static(b"abc")), ..record() };
        assert!(shown("DefaultMessageFormatter", &of("value"), &short).contains("is not 4"));
        assert!(Formatter::new("com.example.Mine", &BTreeMap::new()).is_err());
    }

    #[test]
    fn offsets_of_groups_are_json() {
        let mut key = vec![0, 1];
        for text in ["g", "t"] {
            key.extend([0, 1]);
            key.extend(text.as_bytes());
        }
        key.extend([0, 0, 0, 2]);
        let deletion = ConsumerRecord { key: Some(key.into()), ..record() };
        assert_eq!(
            shown("OffsetsMessageFormatter", "", &deletion),
            r#"{"key":{"type":1,"data":{"group":"g","topic":"t","partition":2}},"value":null}"#
        );
        assert_eq!(shown("GroupMetadataMessageFormatter", "", &deletion), "");
        let unknown = ConsumerRecord { key: Some(Bytes::from_static(&[0x7f, 0])), ..record() };
        assert_eq!(shown("OffsetsMessageFormatter", "", &unknown), "");
        let keyless = ConsumerRecord { key: None, ..record() };
        assert_eq!(shown("OffsetsMessageFormatter", "", &keyless), "");
    }
}
