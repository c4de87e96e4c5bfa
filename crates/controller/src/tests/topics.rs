use ottla_wire::messages::create_partitions_request::{self as partitions, CreatePartitionsRequest};
use ottla_wire::messages::create_topics_request::{Assignment, Config, CreateTopicsRequest, Topic};
use ottla_wire::messages::delete_topics_request::{DeleteTopicsRequest, Topic as Deletion};
use ottla_wire::records::MetadataRecord;

use super::*;

pub(crate) fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> Topic {
    Topic { name: name.into(), num_partitions, replication_factor, ..Topic::default() }
}

pub(crate) fn assigned(name: &str, partitions: &[(i32, &[i32])]) -> Topic {
    let assignments = partitions
        .iter()
        .map(|(partition_index, brokers)| Assignment {
            partition_index: *partition_index,
            broker_ids: brokers.to_vec(),
            ..Assignment::default()
        })
        .collect();
    Topic { assignments, ..topic(name, -1, -1) }
}

fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> Topic {
    let configs = configs
        .iter()
        .map(|(name, value)| Config {
            name: (*name).into(),
            value: value.map(str::to_owned),
            ..Config::default()
        })
        .collect();
    Topic { configs, ..topic(name, 1, 1) }
}

impl Cluster {
    /// Each answer as name, code, and message or numbers.
    pub(crate) fn create(&mut self, topics: &[Topic]) -> Vec<(String, String)> {
        let request = CreateTopicsRequest { topics: topics.to_vec(), ..CreateTopicsRequest::default() };
        let outcome = self.controller.create_topics(&request);
        let refused = outcome.response.topics.iter().all(|topic| topic.error_code != 0);
        assert_eq!(refused, outcome.records.is_empty());
        let response = self.commit(outcome);
        let answer = |topic: ottla_wire::messages::create_topics_response::Topic| {
            let what = match topic.error_code {
                0 => format!("{}x{}", topic.num_partitions, topic.replication_factor),
                code => format!("{code} {}", topic.error_message.unwrap_or_default()),
            };
            (topic.name, what)
        };
        response.topics.into_iter().map(answer).collect()
    }

    fn delete(&mut self, topics: &[(Option<&str>, Uuid)]) -> Vec<String> {
        let topics = topics
            .iter()
            .map(|(name, topic_id)| Deletion {
                name: name.map(str::to_owned),
                topic_id: *topic_id,
                ..Deletion::default()
            })
            .collect();
        let request = DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() };
        let outcome = self.controller.delete_topics(&request, 6);
        let response = self.commit(outcome);
        let answer = |topic: ottla_wire::messages::delete_topics_response::Response| {
            format!(
                "{} {} {}",
                topic.name.unwrap_or_default(),
                topic.error_code,
                topic.error_message.unwrap_or_default()
            )
        };
        response.responses.into_iter().map(answer).collect()
    }

    fn grow(&mut self, name: &str, count: i32, assignments: Option<&[&[i32]]>) -> (i16, String) {
        let assignments = assignments.map(|lists| {
            lists
                .iter()
                .map(|ids| partitions::Assignment { broker_ids: ids.to_vec(), ..Default::default() })
                .collect()
        });
        let topic = partitions::Topic { name: name.into(), count, assignments, ..Default::default() };
        let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
        let outcome = self.controller.create_partitions(&request);
        let mut response = self.commit(outcome);
        let result = response.results.remove(0);
        (result.error_code, result.error_message.unwrap_or_default())
    }

    fn id_of(&self, topic: &str) -> Uuid {
        self.controller.image().topics.by_name(topic).expect("it exists").id
    }
}

fn check_refused(wanted: &[Topic], expected: &[(&str, &str)]) {
    let mut cluster = Cluster::with_brokers(&[], &[0, 1, 2]);
    cluster.create(&[topic("a.b", 1, 1)]);
    let expected: Vec<_> =
        expected.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect();
    assert_eq!(cluster.create(wanted), expected);
}

#[test]
fn a_topic_is_written_in_kafkas_order() {
    let mut cluster = Cluster::with_brokers(&[], &[7]);
    let request = CreateTopicsRequest {
        topics: vec![Topic { num_partitions: 2, ..configured("t", &[("retention.ms", Some("5"))]) }],
        ..CreateTopicsRequest::default()
    };
    let outcome = cluster.controller.create_topics(&request);
    let kinds: Vec<_> = outcome
        .records
        .iter()
        .map(|(record, version)| match record {
            MetadataRecord::Topic(record) => format!("topic {} v{version}", record.name),
            MetadataRecord::Config(record) => format!("config {} v{version}", record.name),
            MetadataRecord::Partition(record) => {
                assert_eq!(
                    (record.leader, &record.isr, &record.directories),
                    (7, &vec![7], &vec![directory(7)])
                );
                format!("partition {} v{version}", record.partition_id)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["topic t v0", "config retention.ms v0", "partition 0 v2", "partition 1 v2"]);
    let answered = outcome.response.topics[0].configs.as_ref().expect("settings");
    let retention = answered.iter().find(|config| config.name == "retention.ms").expect("it is told");
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
    assert!(answered.windows(2).all(|pair| pair[0].name < pair[1].name));
    cluster.commit(outcome);
    assert_eq!(cluster.partitions("t"), "0: 7@0 isr 7\n1: 7@0 isr 7\n");
}

#[test]
fn defaults_come_from_the_settings() {
    let mut cluster =
        Cluster::with_brokers(&[("num.partitions", "3"), ("default.replication.factor", "2")], &[0, 1]);
    assert_eq!(cluster.create(&[topic("t", -1, -1)]), [("t".into(), "3x2".into())]);
}

#[test]
fn creation_is_refused_in_kafkas_words() {
    let assignment = "A manual partition assignment was specified, but";
    let manual = "The manual partition assignment includes";
    for (wanted, what) in [
        (topic("a.b", 1, 1), "36 Topic 'a.b' already exists.".to_owned()),
        (topic("a_b", 1, 1), "17 Topic 'a_b' collides with existing topic: a.b".into()),
        (topic("", 1, 1), "17 Topic name is invalid: the empty string is not allowed".into()),
        (topic("t", 0, 1), "37 Number of partitions was set to an invalid non-positive value.".into()),
        (topic("t", -2, 1), "37 Number of partitions was set to an invalid non-positive value.".into()),
        (topic("t", 1, 0), "38 Replication factor must be larger than 0, or -1 to use the default value.".into()),
        (
            topic("t", 1, 4),
            "38 Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because \
             only 3 broker(s) are registered or some brokers have all their log directories cordoned."
                .into(),
        ),
        (topic("__cluster_metadata", 1, 1), "42 Creation of internal topic __cluster_metadata is prohibited.".into()),
        (topic("t", 10_001, 1), "44 Excessively large number of partitions per request.".into()),
        (
            configured("t", &[("x", None), ("y", None)]),
            "40 Null value not supported for topic configs: x,y".into(),
        ),
        (configured("t", &[("x", Some("1"))]), "40 Unknown topic config name: x".into()),
        (
            Topic { replication_factor: 1, ..assigned("t", &[(0, &[1])]) },
            format!("42 {assignment} replication factor was not set to -1."),
        ),
        (
            Topic { num_partitions: 1, ..assigned("t", &[(0, &[1])]) },
            format!("42 {assignment} numPartitions was not set to -1."),
        ),
        (
            assigned("t", &[(0, &[1]), (0, &[1])]),
            "39 Found multiple manual partition assignments for partition 0".into(),
        ),
        (
            assigned("t", &[(0, &[1]), (2, &[1])]),
            "39 partitions should be a consecutive 0-based integer sequence".into(),
        ),
        (assigned("t", &[(0, &[])]), format!("39 {manual} an empty replica list.")),
        (assigned("t", &[(0, &[9])]), format!("39 {manual} broker 9, but no such broker is registered.")),
        (assigned("t", &[(0, &[1, 1])]), format!("39 {manual} the broker 1 more than once.")),
        (
            assigned("t", &[(0, &[1, 2]), (1, &[1])]),
            format!(
                "39 {manual} a partition with 1 replica(s), but this is not consistent with previous partitions, which have \
                 2 replica(s)."
            ),
        ),
    ] {
        let name = wanted.name.clone();
        check_refused(&[wanted], &[(&name, &what)]);
    }
    check_refused(&[topic("t", 1, 1), topic("t", 2, 1)], &[("t", "42 Duplicate topic name.")]);
}

#[test]
fn what_is_granted_is_made_although_other_topics_are_refused() {
    let mut cluster = Cluster::with_brokers(&[], &[0]);
    let answers = cluster.create(&[topic("..", 1, 1), topic("fine", 1, 1)]);
    assert_eq!(answers[1], ("fine".into(), "1x1".into()));
    assert_eq!(cluster.controller.image().topics.len(), 1);
}

#[test]
fn validation_makes_nothing() {
    let mut cluster = Cluster::with_brokers(&[], &[0]);
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 2, 1)],
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    let outcome = cluster.controller.create_topics(&request);
    assert_eq!((outcome.records.len(), outcome.response.topics[0].error_code), (0, 0));
}

#[test]
fn only_active_brokers_start_in_sync() {
    let mut cluster = Cluster::with_brokers(&[], &[0, 1]);
    cluster.register(2, 2);
    cluster.create(&[assigned("t", &[(0, &[2, 1, 0])])]);
    assert_eq!(cluster.partitions("t"), "0: 1@0 isr 1,0\n");
    let refused = cluster.create(&[assigned("u", &[(0, &[2])])]);
    let message = "39 All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled \
                   shutdown.";
    assert_eq!(refused, [("u".into(), message.into())]);
}

#[test]
fn topics_are_deleted_by_name_or_by_id() {
    let mut cluster = Cluster::with_brokers(&[], &[0]);
    cluster.create(&[topic("a", 1, 1), topic("b", 1, 1), topic("c", 1, 1)]);
    let (a, b) = (cluster.id_of("a"), cluster.id_of("b"));
    let invalid = "The provided topic name maps to an ID that was already supplied.";
    assert_eq!(cluster.delete(&[(None, a), (Some("a"), Uuid::ZERO)]), [format!("a 42 {invalid}")]);
    assert_eq!(cluster.delete(&[(None, a), (None, a)]), [" 42 Duplicate topic id."]);
    assert_eq!(cluster.delete(&[(Some("a"), Uuid::ZERO); 2]), ["a 42 Duplicate topic name."]);
    assert_eq!(cluster.delete(&[(None, Uuid::ZERO)]), [" 42 Neither topic name nor id were specified."]);
    assert_eq!(cluster.delete(&[(Some("a"), a)]), ["a 42 You may not specify both topic name and topic id."]);
    assert!(cluster.delete(&[(Some("x"), Uuid::ZERO)])[0].starts_with("x 3 "));
    assert!(cluster.delete(&[(None, Uuid([1; 16]))])[0].starts_with(" 100 "));
    assert_eq!(cluster.delete(&[(Some("a"), Uuid::ZERO), (None, b)]), ["a 0 ", "b 0 "]);
    assert_eq!(cluster.controller.image().topics.len(), 1);
}

#[test]
fn deletion_can_be_turned_off() {
    let mut cluster = Cluster::with_brokers(&[("delete.topic.enable", "false")], &[0]);
    cluster.create(&[topic("a", 1, 1)]);
    for (version, code) in [(2, 42), (6, 73)] {
        let request = DeleteTopicsRequest { topic_names: vec!["a".into()], ..DeleteTopicsRequest::default() };
        let outcome = cluster.controller.delete_topics(&request, version);
        assert_eq!((outcome.records.len(), outcome.response.responses[0].error_code), (0, code));
    }
}

#[test]
fn topics_grow() {
    let mut cluster = Cluster::with_brokers(&[], &[0, 1]);
    cluster.create(&[topic("t", 2, 2)]);
    assert_eq!(cluster.grow("x", 2, None), (3, String::new()));
    assert_eq!(cluster.grow("t", 2, None), (37, "Topic already has 2 partition(s).".into()));
    assert_eq!(
        cluster.grow("t", 1, None),
        (37, "The topic t currently has 2 partition(s); 1 would not be an increase.".into())
    );
    assert_eq!(cluster.grow("t", i32::MAX, None).0, 44);
    assert_eq!(
        cluster.grow("t", 4, Some(&[&[0, 1]])),
        (39, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.".into())
    );
    assert_eq!(cluster.grow("t", 3, Some(&[&[0]])).0, 39);
    assert_eq!(cluster.grow("t", 3, Some(&[&[1, 0]])), (0, String::new()));
    assert_eq!(cluster.grow("t", 4, None), (0, String::new()));
    let lines = cluster.partitions("t");
    assert_eq!(lines.lines().count(), 4);
    assert!(lines.contains("2: 1@0 isr 1,0"), "{lines}");
}

/// A controller that stands still or is busy, a virtual machine that is paused, a disk that takes its time.
#[test]
fn a_broker_is_not_fenced_for_the_time_in_which_nobody_listened() {
    for still_ms in [2_000, 9_001, 60_000] {
        let mut cluster = Cluster::with_brokers(&[], &[0, 1]);
        cluster.create(&[topic("t", 1, 2)]);
        cluster.advance(2_000);
        cluster.heartbeat(1, |_| {});
        cluster.stand_still(still_ms);
        // All but the time of a look is made up for, and no broker's silence from before.
        cluster.advance(9_000 - 2_000 - 900 - 1);
        assert_eq!(cluster.partitions("t"), "0: 0@0 isr 0,1\n", "{still_ms}");
        cluster.advance(1);
        assert_eq!(cluster.partitions("t"), "0: 1@1 isr 1\n", "{still_ms}");
        cluster.advance(1_999);
        assert_eq!(cluster.partitions("t"), "0: 1@1 isr 1\n", "{still_ms}");
        cluster.advance(1);
        assert_eq!(cluster.partitions("t"), "0: -1@2 isr 1\n", "{still_ms}");
    }
}

#[test]
fn who_is_heard_of_first_after_nobody_listened_has_a_session_from_then_on() {
    let mut cluster = Cluster::with_brokers(&[], &[0]);
    cluster.create(&[topic("t", 1, 1)]);
    cluster.now.mono = cluster.now.mono.plus_ms(60_000);
    cluster.heartbeat(0, |_| {});
    cluster.advance(8_999);
    assert_eq!(cluster.partitions("t"), "0: 0@0 isr 0\n");
    cluster.advance(1);
    assert_eq!(cluster.partitions("t"), "0: -1@1 isr 0\n");
}

#[test]
fn a_controller_that_is_always_busy_fences_who_falls_silent_all_the_same() {
    let mut cluster = Cluster::with_brokers(&[], &[0]);
    cluster.create(&[topic("t", 1, 1)]);
    for _ in 0..5 {
        cluster.stand_still(1_700);
    }
    assert_eq!(cluster.partitions("t"), "0: 0@0 isr 0\n");
    cluster.stand_still(1_700);
    assert_eq!(cluster.partitions("t"), "0: -1@1 isr 0\n");
}

#[test]
fn a_broker_that_falls_silent_is_fenced_and_leads_again_when_it_is_back() {
    let mut cluster = Cluster::with_brokers(&[], &[0]);
    cluster.create(&[topic("t", 1, 1)]);
    cluster.advance(9_001);
    assert_eq!(cluster.partitions("t"), "0: -1@1 isr 0\n");
    cluster.heartbeat(0, |_| {});
    assert_eq!(cluster.partitions("t"), "0: 0@2 isr 0\n");
}
