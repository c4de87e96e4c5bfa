//! kafka-delete-records: deletes the records of partitions below given offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use ottla_types::TopicPartition;
use serde_json::Value;

use crate::flags::Parsed;
use crate::net::{Connection, message};
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-delete-records", run: Run::Flags(run) };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
    file: String,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let missing = |flag: &str| Failure::Usage(format!("Missing required argument \"[{flag}]\""));
        if !parsed.has("--bootstrap-server") {
            return Err(missing("bootstrap-server"));
        }
        let file = parsed.value("--offset-json-file").ok_or_else(|| missing("offset-json-file"))?;
        Ok(Plan { connection: Connection::of(parsed)?, file: file.to_owned() })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    let text = fs::read(&plan.file).map_err(|error| said(format_args!("{}: {error}", plan.file)))?;
    let before = offsets(&text)?;
    plan.connection.run(output, async |admin, output| {
        output.line("Executing records delete operation")?;
        let deleted = admin.delete_records(&before).await.map_err(said)?;
        output.line("Records delete operation completed:")?;
        for (at, result) in deleted {
            match result {
                Ok(low_watermark) => {
                    output.line(format_args!("partition: {at}\tlow_watermark: {low_watermark}"))?
                }
                Err(error) => output.line(format_args!("partition: {at}\terror: {}", message(&error)))?,
            }
        }
        Ok(())
    })
}

/// What the file says: `{"partitions": [{"topic": "a", "partition": 1, "offset": 10}], "version": 1}`.
fn offsets(text: &[u8]) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let json: Value = serde_json::from_slice(text)
        .map_err(|error| said(format_args!("The input string is not a valid JSON: {error}")))?;
    let version = json.get("version").map_or(Some(1), Value::as_i64);
    if version != Some(1) {
        return Err(said(format_args!("Not supported version field value {}", version.unwrap_or_default())));
    }
    let partitions = json.get("partitions").ok_or_else(|| said("Missing partitions field"))?;
    let mut before = BTreeMap::new();
    let mut duplicates = BTreeSet::new();
    for entry in partitions.as_array().into_iter().flatten() {
        let read = || {
            let partition = i32::try_from(entry.get("partition")?.as_i64()?).ok()?;
            Some((
                TopicPartition::new(entry.get("topic")?.as_str()?, partition),
                entry.get("offset")?.as_i64()?,
            ))
        };
        let (at, offset) = read().ok_or_else(|| {
            said(format_args!("{entry} doesn't have \"topic\", \"partition\" and \"offset\""))
        })?;
        if before.insert(at.clone(), offset).is_some() {
            duplicates.insert(at.to_string());
        }
    }
    if !duplicates.is_empty() {
        let names: Vec<String> = duplicates.into_iter().collect();
        return Err(said(format_args!(
            "Offset json file contains duplicate topic partitions: {}",
            names.join(",")
        )));
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_from_a_file() {
        let good = br#"{"partitions": [{"topic": "a", "partition": 1, "offset": 10}], "version": 1}"#;
        assert_eq!(offsets(good).unwrap(), BTreeMap::from([(TopicPartition::new("a", 1), 10)]));
        let said = |text: &str| match offsets(text.as_bytes()) {
            Err(Failure::Said(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(said("{").starts_with("The input string is not a valid JSON"));
        assert_eq!(said("{}"), "Missing partitions field");
        assert_eq!(said(r#"{"version": 2}"#), "Not supported version field value 2");
        let twice = r#"{"topic": "a", "partition": 1, "offset": 10}"#;
        assert_eq!(
            said(&format!("{{\"partitions\": [{twice}, {twice}]}}")),
            "Offset json file contains duplicate topic partitions: a-1"
        );
        assert!(said(r#"{"partitions": [{"topic": "a"}]}"#).contains("doesn't have"));
    }
}
