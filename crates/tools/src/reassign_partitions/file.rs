//! The files in JSON that say what is to move, and where to.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;
use ottla_wire::Json;
use serde_json::Value;

/// Replicas of a partition by their brokers, in the order of preference.
pub(super) type Assignment = BTreeMap<TopicPartition, Vec<i32>>;

/// A replica: broker and partition.
pub(super) type Replica = (i32, TopicPartition);

/// As Kafka's tool writes a replica.
pub(super) fn name_of((broker, at): &Replica) -> String {
    format!("{at}-{broker}")
}

/// Whichever directory the broker likes.
const ANY_DIR: &str = "any";

/// What a file of moves says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    /// In the order of the file, which may name a partition twice.
    pub(super) partitions: Vec<(TopicPartition, Vec<i32>)>,
    /// Replicas that are to be in a certain directory of their broker.
    pub(super) dirs: BTreeMap<Replica, String>,
}

impl Moves {
    pub(super) fn parse(text: &[u8]) -> Result<Moves, String> {
        let json: Value = serde_json::from_slice(text)
            .map_err(|error| format!("the reassignment is no valid JSON: {error}"))?;
        check_version(&json)?;
        let mut moves = Moves::default();
        for entry in list(&json, "partitions")? {
            moves.add(entry)?;
        }
        Ok(moves)
    }

    fn add(&mut self, entry: &Value) -> Result<(), String> {
        let topic = text(field(entry, "topic")?)?;
        let at = TopicPartition::new(topic.as_str(), number(field(entry, "partition")?)?);
        let replicas =
            array(field(entry, "replicas")?)?.iter().map(number).collect::<Result<Vec<i32>, _>>()?;
        if let Some(dirs) = entry.get("log_dirs") {
            let dirs = array(dirs)?.iter().map(text).collect::<Result<Vec<String>, _>>()?;
            if dirs.len() != replicas.len() {
                return Err(format!(
                    "Size of replicas list {} is different from size of log dirs list {} for partition {at}",
                    shown(&replicas),
                    shown(&dirs)
                ));
            }
            let named = replicas.iter().zip(dirs).filter(|(_, dir)| dir != ANY_DIR);
            self.dirs.extend(named.map(|(broker, dir)| ((*broker, at.clone()), dir)));
        }
        self.partitions.push((at, replicas));
        Ok(())
    }

    /// By partition, where each is named once and its replicas are brokers of their own.
    pub(super) fn assignment(&self) -> Result<Assignment, String> {
        if self.partitions.is_empty() {
            return Err("Partition reassignment list cannot be empty".to_owned());
        }
        if self.partitions.iter().any(|(_, replicas)| replicas.is_empty()) {
            return Err("Partition replica list cannot be empty".to_owned());
        }
        let twice = duplicates(self.partitions.iter().map(|(at, _)| at));
        if !twice.is_empty() {
            return Err(format!(
                "Partition reassignment contains duplicate topic partitions: {}",
                joined(&twice, ",")
            ));
        }
        let wrong: Vec<String> = self
            .partitions
            .iter()
            .map(|(at, replicas)| (at, duplicates(replicas)))
            .filter(|(_, twice)| !twice.is_empty())
            .map(|(at, twice)| format!("{at} contains multiple entries for {}", joined(&twice, ",")))
            .collect();
        if !wrong.is_empty() {
            return Err(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                wrong.join(". ")
            ));
        }
        Ok(self.partitions.iter().cloned().collect())
    }
}

/// Topics whose partitions are to get new places.
pub(super) fn topics(text_of_file: &[u8]) -> Result<Vec<String>, String> {
    let json: Value = serde_json::from_slice(text_of_file)
        .map_err(|_| "The input string is not a valid JSON".to_owned())?;
    check_version(&json)?;
    let names = list(&json, "topics")?.iter().map(|entry| text(field(entry, "topic")?));
    let names = names.collect::<Result<Vec<String>, _>>()?;
    let twice = duplicates(&names);
    if !twice.is_empty() {
        return Err(format!("List of topics to reassign contains duplicate entries: {}", shown(&twice)));
    }
    Ok(names)
}

/// The brokers of `--broker-list`.
pub(super) fn brokers(list: &str) -> Result<Vec<i32>, String> {
    let id = |text: &str| text.parse::<i32>().map_err(|_| format!("For input string: \"{text}\""));
    let ids = list.split(',').map(id).collect::<Result<Vec<i32>, _>>()?;
    let twice = duplicates(&ids);
    if !twice.is_empty() {
        return Err(format!("Broker list contains duplicate entries: {}", shown(&twice)));
    }
    Ok(ids)
}

/// An assignment as a file of moves, with the directories that are known.
pub(super) fn json(assignment: &Assignment, dirs: &BTreeMap<Replica, String>) -> Json {
    let partition = |(at, replicas): (&TopicPartition, &Vec<i32>)| {
        let dir = |id: &i32| dirs.get(&(*id, at.clone())).map_or(ANY_DIR, String::as_str);
        let dirs = replicas.iter().map(|id| Json::Text(dir(id).to_owned())).collect();
        let ids = replicas.iter().map(|id| Json::Int((*id).into())).collect();
        Json::Object(vec![
            ("topic", Json::Text(at.topic.to_string())),
            ("partition", Json::Int(at.partition.into())),
            ("replicas", Json::Array(ids)),
            ("log_dirs", Json::Array(dirs)),
        ])
    };
    let partitions = assignment.iter().map(partition).collect();
    Json::Object(vec![("version", Json::Int(1)), ("partitions", Json::Array(partitions))])
}

pub(super) fn joined<T: ToString>(items: impl IntoIterator<Item = T>, separator: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(separator)
}

/// As Java prints a list.
fn shown<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    format!("[{}]", joined(items, ", "))
}

fn duplicates<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for item in items {
        if let Some(known) = seen.take(&item) {
            twice.insert(known);
        }
        seen.insert(item);
    }
    twice
}

fn check_version(json: &Value) -> Result<(), String> {
    match json.get("version").map_or(Ok(1), number)? {
        1 => Ok(()),
        other => Err(format!("Not supported version field value {other}")),
    }
}

/// A member that may be missing.
fn list<'a>(json: &'a Value, name: &str) -> Result<&'a [Value], String> {
    if !json.is_object() {
        return Err(format!("Expected JSON object, received {json}"));
    }
    json.get(name).map_or(Ok(&[]), array)
}

fn field<'a>(entry: &'a Value, name: &str) -> Result<&'a Value, String> {
    entry.get(name).ok_or_else(|| format!("No such field exists: `{name}`, in {entry}"))
}

fn array(value: &Value) -> Result<&[Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("Expected JSON array, received {value}"))
}

fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("Expected a string, received {value}"))
}

fn number(value: &Value) -> Result<i32, String> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| format!("Expected an integer, received {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(text: &str) -> Result<Assignment, String> {
        Moves::parse(text.as_bytes())?.assignment()
    }

    #[test]
    fn moves_are_read_and_written() {
        let text = r#"{"version":1,"partitions":[{"topic":"a","partition":1,"replicas":[2,3],"log_dirs":["any","any"]}]}"#;
        let read = assignment(text).unwrap();
        assert_eq!(read, Assignment::from([(TopicPartition::new("a", 1), vec![2, 3])]));
        assert_eq!(json(&read, &BTreeMap::new()).to_string(), text);
        let dirs = BTreeMap::from([((3, TopicPartition::new("a", 1)), "/d".to_owned())]);
        assert!(json(&read, &dirs).to_string().contains(r#""log_dirs":["any","/d"]"#));
    }

    #[test]
    fn directories_are_kept_where_they_are_named() {
        let text =
            br#"{"partitions":[{"topic":"a","partition":1,"replicas":[2,3],"log_dirs":["any","/d"]}]}"#;
        let dirs = Moves::parse(text).unwrap().dirs;
        assert_eq!(dirs, BTreeMap::from([((3, TopicPartition::new("a", 1)), "/d".to_owned())]));
        assert_eq!(name_of(dirs.first_key_value().unwrap().0), "a-1-3");
    }

    #[test]
    fn what_moves_can_t_be_is_said() {
        let of = |partitions: &str| assignment(&format!("{{\"partitions\":[{partitions}]}}")).unwrap_err();
        assert_eq!(of(""), "Partition reassignment list cannot be empty");
        let one = |replicas: &str| format!(r#"{{"topic":"a","partition":0,"replicas":{replicas}}}"#);
        assert_eq!(of(&one("[]")), "Partition replica list cannot be empty");
        let twice = format!("{},{}", one("[1]"), one("[2]"));
        assert_eq!(of(&twice), "Partition reassignment contains duplicate topic partitions: a-0");
        assert_eq!(
            of(&one("[1,2,1]")),
            "Partition replica lists may not contain duplicate entries: a-0 contains multiple entries for 1"
        );
        assert_eq!(
            of(r#"{"topic":"a","partition":0,"replicas":[1],"log_dirs":[]}"#),
            "Size of replicas list [1] is different from size of log dirs list [] for partition a-0"
        );
        assert!(of(r#"{"topic":"a","partition":0}"#).starts_with("No such field exists: `replicas`"));
        assert_eq!(assignment(r#"{"version":2}"#).unwrap_err(), "Not supported version field value 2");
        assert!(assignment("x").is_err() && assignment("[]").is_err());
    }

    #[test]
    fn topics_and_brokers_stand_once() {
        let of = |names: &str| topics(format!("{{\"topics\":[{names}]}}").as_bytes());
        assert_eq!(of(r#"{"topic":"a"}"#).unwrap(), ["a"]);
        assert!(of(r#"{"topic":"a"},{"topic":"a"}"#).unwrap_err().ends_with("entries: [a]"));
        assert_eq!(topics(b"x").unwrap_err(), "The input string is not a valid JSON");
        assert_eq!(brokers("1,0"), Ok(vec![1, 0]));
        assert_eq!(brokers("1,1").unwrap_err(), "Broker list contains duplicate entries: [1]");
        assert_eq!(brokers("1,x").unwrap_err(), "For input string: \"x\"");
    }
}
