//! What Apache Kafka's own assignors made of groups that change, beside what ours make of them.
//!
//! `outcomes.txt` is what the program beside it printed, run with the jars of Apache Kafka 4.3.1 in `libs`:
//! `java -Dorg.apache.logging.log4j.level=OFF -cp 'libs/*' Outcomes.java > outcomes.txt`

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::TopicPartition;

use super::{GroupMember, TopicRacks, by_name};
use crate::consumer::core::protocol::Subscription;

const OUTCOMES: &str = include_str!("../../../../golden/assignors/outcomes.txt");

#[derive(Default)]
struct Case<'a> {
    assignor: &'a str,
    topics: TopicRacks,
    members: Vec<GroupMember>,
    expected: BTreeMap<&'a str, BTreeSet<TopicPartition>>,
}

#[test]
fn outcomes_are_javas() {
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    for text in OUTCOMES.split("case ").skip(1) {
        let case = case(text);
        let assigned = by_name(case.assignor).unwrap().assign(&case.topics, &case.members);
        let assigned: BTreeMap<&str, BTreeSet<TopicPartition>> = assigned
            .iter()
            .map(|(member, of)| (&**member, of.partitions.iter().cloned().collect()))
            .collect();
        assert_eq!(assigned, case.expected, "case {text}");
        *checked.entry(case.assignor).or_default() += 1;
    }
    assert_eq!(checked.len(), 4);
    assert!(checked.values().all(|count| *count > 20), "{checked:?}");
}

fn case(text: &str) -> Case<'_> {
    let mut case = Case::default();
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split(' ');
        let first = words.next().unwrap();
        match first {
            assignor if at == 0 => case.assignor = assignor,
            "topic" => {
                let name: Arc<str> = words.next().unwrap().into();
                case.topics
                    .insert(name, words.map(|racks| list(racks).map(str::to_owned).collect()).collect());
            }
            "member" => case.members.push(member(words.next().unwrap(), words.collect())),
            "gets" => {
                let id = words.next().unwrap();
                case.expected.insert(id, partitions(words.next().unwrap()).into_iter().collect());
            }
            _ => panic!("{line}"),
        }
    }
    case
}

fn member(id: &str, fields: Vec<&str>) -> GroupMember {
    let fields: BTreeMap<&str, &str> =
        fields.into_iter().map(|field| field.split_once('=').unwrap()).collect();
    let optional = |name: &str| Some(fields[name].to_owned()).filter(|text| text != "-");
    GroupMember {
        member_id: id.to_owned(),
        group_instance_id: optional("instance"),
        subscription: Subscription {
            topics: list(fields["topics"]).map(Arc::from).collect(),
            user_data: optional("data").map(|hex| from_hex(&hex)),
            owned_partitions: partitions(fields["owned"]),
            generation: fields["generation"].parse().ok().filter(|generation| *generation >= 0),
            rack_id: optional("rack"),
        },
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| *word != "-")
}

fn partitions(text: &str) -> Vec<TopicPartition> {
    let partition = |text: &str| {
        let (topic, partition) = text.split_once(':').unwrap();
        TopicPartition::new(topic, partition.parse().unwrap())
    };
    list(text).map(partition).collect()
}

fn from_hex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
