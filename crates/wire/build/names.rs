//! Rust names from Kafka's: snake_case fields, singular struct names that are unique within their message.

use std::collections::HashMap;

use crate::schema::{Field, Kind, Message};

/// `MaxWaitMs` -> `max_wait_ms`, `V3AndBelowTopics` -> `v3_and_below_topics`, `KRaftVersion` -> `kraft_version`.
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.replace("KRaft", "Kraft").chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A field's name as an identifier.
pub fn field(name: &str) -> String {
    match snake(name).as_str() {
        keyword @ ("type" | "match" | "where" | "use" | "ref") => format!("r#{keyword}"),
        other => other.to_owned(),
    }
}

/// `TopicId` -> `topicId`: a field's name in JSON.
pub fn camel_lower(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_ascii_lowercase() + rest
}

/// `UNKNOWN_TOPIC_ID` -> `UnknownTopicId`.
pub fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_owned() + &rest.to_ascii_lowercase()
        })
        .collect()
}

fn singular(name: &str) -> String {
    if let Some(stem) = name.strip_suffix("ies") {
        return format!("{stem}y");
    }
    for (plural, one) in [
        ("Batches", "Batch"),
        ("Status", "Status"),
        ("PendingRevocation", "PendingRevocation"),
        ("PartitionsByUserEndpoint", "PartitionByUserEndpoint"),
        ("ResultsByPartition", "ResultByPartition"),
        ("ResultsByTopicV3AndBelow", "ResultByTopicV3AndBelow"),
        ("ResultsByTransaction", "ResultByTransaction"),
        ("NewIsrWithEpochs", "NewIsrWithEpoch"),
    ] {
        if let Some(stem) = name.strip_suffix(plural) {
            return format!("{stem}{one}");
        }
    }
    name.strip_suffix('s').unwrap_or(name).to_owned()
}

/// Names of a message's structs, by the path of the field that holds them.
pub struct StructNames(HashMap<String, String>);

impl StructNames {
    pub fn new(message: &Message) -> StructNames {
        let mut counts = HashMap::from([(message.name.clone(), 1)]);
        count(&message.fields, &mut counts);
        let mut names = HashMap::new();
        assign(&message.fields, "", &counts, &mut names);
        let mut sorted: Vec<&String> = names.values().collect();
        sorted.sort();
        for pair in sorted.windows(2) {
            assert_ne!(pair[0], pair[1], "two structs of one name in {}", message.name);
        }
        StructNames(names)
    }

    pub fn of(&self, field: &Field) -> &str {
        &self.0[&field.path]
    }
}

fn base(field: &Field) -> String {
    let mut name =
        if field.is_array { singular(&field.name) } else { field.name.clone() }.replace("KRaft", "Kraft");
    name[..1].make_ascii_uppercase();
    name
}

fn count(fields: &[Field], counts: &mut HashMap<String, u32>) {
    for field in fields.iter().filter(|f| f.kind == Kind::Struct) {
        *counts.entry(base(field)).or_default() += 1;
        count(&field.fields, counts);
    }
}

/// A name that the message has twice gets its parent's in front.
fn assign(
    fields: &[Field],
    parent: &str,
    counts: &HashMap<String, u32>,
    names: &mut HashMap<String, String>,
) {
    for field in fields.iter().filter(|f| f.kind == Kind::Struct) {
        let base = base(field);
        let name = if counts[&base] > 1 { format!("{parent}{base}") } else { base };
        assign(&field.fields, &name, counts, names);
        names.insert(field.path.clone(), name);
    }
}
