use super::*;
use crate::{Config, DynamicConfig};

fn parse_op(text: &str) -> Alteration<'_> {
    let (op, pair) = text.split_once(':').unwrap();
    let op = [AlterOp::Set, AlterOp::Delete, AlterOp::Append, AlterOp::Subtract]
        .into_iter()
        .find(|o| o.name() == op);
    let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
    Alteration { name, op: op.unwrap(), value }
}

fn map(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn node() -> DynamicConfig {
    let mut node = DynamicConfig::new(
        Config::of_pairs([
            ("listeners", "PLAINTEXT://127.0.0.1:19310,CONTROLLER://127.0.0.1:20310"),
            ("controller.quorum.voters", "1@127.0.0.1:20310"),
        ])
        .unwrap(),
    );
    node.set_all_brokers(map(&[("min.insync.replicas", "1")]));
    node
}

/// What one request comes to: changes, and whether they are allowed.
fn alter(kind: &str, name: &str, ops: &str) -> Result<(), AlterError> {
    let node = node();
    let broker = node.effective();
    let (kind, current) = match (kind, name) {
        ("TOPIC", _) => (ResourceKind::Topic, map(&[("retention.ms", "1000"), ("segment.bytes", "2000000")])),
        ("BROKER", "-") => (ResourceKind::Broker, map(&[("min.insync.replicas", "1")])),
        ("BROKER", _) => (ResourceKind::Broker, Overrides::new()),
        ("GROUP", _) => (ResourceKind::Group, Overrides::new()),
        _ => (ResourceKind::ClientMetrics, Overrides::new()),
    };
    let ops: Vec<Alteration<'_>> = ops.split('|').map(parse_op).collect();
    let new = applied(&current, &changes(kind, &current, &ops)?);
    match kind {
        ResourceKind::Topic => validate_topic(&broker, &current, &new),
        ResourceKind::Broker => rules_of_kafka(&node, &new, name != "-"),
        ResourceKind::Group => validate_group(&broker, &new),
        ResourceKind::ClientMetrics => validate_client_metrics(&new),
    }
}

/// What isn't a matter of settings, but of names and features, or differs on purpose.
const NOT_HERE: [(&str, &str); 14] = [
    ("TOPIC - ", "whose names may be empty is for the controller to say"),
    ("TOPIC nosuch ", "what exists is for the controller to say"),
    ("TOPIC bad!name ", "topic names are for the controller to check"),
    ("GROUP - ", "whose names may be empty is for the controller to say"),
    ("CLIENT_METRICS - ", "whose names may be empty is for the controller to say"),
    ("BROKER 1 SET:min.insync.replicas=2", "eligible leader replicas are the controller's matter"),
    ("BROKER - DELETE:min.insync.replicas", "eligible leader replicas are the controller's matter"),
    ("BROKER 1 SET:metric.reporters=foo", "classes can't be looked up"),
    ("BROKER 1 SET:principal.builder.class=foo", "classes can't be looked up"),
    ("BROKER 1 SET:remote.log.manager.copier.thread.pool.size=100", "remote storage is refused as a whole"),
    ("CLIENT_METRICS c1 SET:match=client_id=[", "patterns are compiled where clients are matched"),
    ("BROKER 1 SET:max.connections.per.ip.overrides=a", "Kafka's message is that of a failed substring"),
    ("BROKER 1 SET:log.cleaner.threads=0", "Kafka's message is that of a division by zero"),
    (
        "BROKER 1 SET:log.preallocate=true|SET:num.partitions=5|SET:broker.id=5",
        "Kafka names the keys in no order",
    ),
];

#[test]
fn changes_are_allowed_and_refused_as_kafka_does() {
    let lines: Vec<&str> =
        include_str!("../../testdata/alter.txt").lines().filter(|line| !line.starts_with('#')).collect();
    let mut wrong = Vec::new();
    for pair in lines.chunks(2) {
        let [request, expected] = pair else { panic!("{pair:?}") };
        if NOT_HERE.iter().any(|(beginning, _)| request.starts_with(beginning)) {
            continue;
        }
        let mut words = request.splitn(3, ' ');
        let mut word = || words.next().unwrap();
        let got = match alter(word(), word(), word()) {
            Ok(()) => "OK".to_owned(),
            Err(AlterError::InvalidRequest(text)) => format!("ERR InvalidRequestException: {text}"),
            Err(AlterError::InvalidConfig(text)) => format!("ERR InvalidConfigurationException: {text}"),
        };
        if got != without_wrapping(expected.trim()) {
            wrong.push(format!("{request}\n  Kafka: {}\n  we:    {got}", expected.trim()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_group_names_a_topic_that_may_hold_its_letters() {
    let set = |topic: &str| alter("GROUP", "g", &format!("SET:errors.deadletterqueue.topic.name={topic}"));
    assert_eq!(set("dlq.workers"), Ok(()));
    assert_eq!(set(""), Ok(()));
    for topic in ["workers", "__consumer_offsets", "DLQ.workers"] {
        assert!(matches!(set(topic), Err(AlterError::InvalidConfig(why)) if why.contains(topic)), "{topic}");
    }
}

/// Kafka's messages without the marks of how they came about.
fn without_wrapping(message: &str) -> String {
    message
        .replace("requirement failed: ", "")
        .replace("Invalid value org.apache.kafka.common.config.ConfigException: ", "")
        .replace(" for configuration Invalid dynamic configuration", "")
}

#[test]
fn lists_grow_and_shrink_from_what_is_set_or_else_from_the_default() {
    // (what is set, operation, what comes of it)
    let cases = [
        (None, "APPEND:cleanup.policy=compact", Some("delete,compact")),
        (Some("compact"), "APPEND:cleanup.policy=compact", None),
        (Some("compact"), "APPEND:cleanup.policy=delete,compact", Some("compact,delete")),
        (None, "SUBTRACT:cleanup.policy=delete", Some("")),
        (Some("compact,delete"), "SUBTRACT:cleanup.policy=delete", Some("compact")),
        (Some("compact"), "SUBTRACT:cleanup.policy=delete", None),
    ];
    for (set, op, expected) in cases {
        let current = set.map(|text| map(&[("cleanup.policy", text)])).unwrap_or_default();
        let got = changes(ResourceKind::Topic, &current, &[parse_op(op)]).unwrap();
        let expected: Changes =
            expected.map(|text| ("cleanup.policy".to_owned(), Some(text.to_owned()))).into_iter().collect();
        assert_eq!(got, expected, "{set:?} {op}");
    }
}

#[test]
fn requests_must_be_well_formed() {
    let set = |name, value| Alteration { name, op: AlterOp::Set, value };
    let check = |alterations: &[Alteration<'_>]| changes(ResourceKind::Topic, &Overrides::new(), alterations);
    let twice = check(&[set("a", Some("1")), set("a", Some("2"))]);
    assert_eq!(twice, Err(AlterError::InvalidRequest("Error due to duplicate config keys".into())));
    let nulls = check(&[set("b", None), set("a", None)]);
    assert_eq!(nulls, Err(AlterError::InvalidRequest("Null value not supported for : b, a".into())));
}

#[test]
fn an_unchanged_value_is_written_again_only_for_brokers() {
    let current = map(&[("compression.type", "lz4"), ("retention.ms", "1")]);
    let same = [parse_op("SET:compression.type=lz4")];
    assert_eq!(changes(ResourceKind::Topic, &current, &same).unwrap(), []);
    assert_eq!(changes(ResourceKind::Broker, &current, &same).unwrap().len(), 1);
    let new = map(&[("compression.type", "lz4"), ("flush.ms", "2")]);
    let expected = [("flush.ms".to_owned(), Some("2".to_owned())), ("retention.ms".to_owned(), None)];
    assert_eq!(replacement(ResourceKind::Topic, &current, &new), expected);
    assert_eq!(applied(&current, &expected.to_vec()), new);
}

#[test]
fn what_must_not_be_neglected_is_refused_at_run_time_too() {
    let set = |name: &str, text: &str| validate_broker(&node(), &map(&[(name, text)]), true);
    assert!(matches!(set("config.providers", "x"), Err(AlterError::InvalidRequest(_))));
    assert_eq!(set("config.providers", ""), Ok(()));
    assert_eq!(set("compression.type", "lz4"), Ok(()));
}
