use super::*;
use crate::{BuiltIn, check_report, keys};

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()
}

#[test]
fn stronger_sources_win() {
    let built_in = BuiltIn::default().settings();
    let file = b"num.partitions=2\nnum.partitions=3\nlog.retention.hours=1\nnum.io.threads=9\nqueued.max.requests=7\n";
    let environment = strings([
        ("KAFKA_NUM_IO_THREADS", "10"),
        ("KAFKA_LOG_RETENTION_HOURS", "2"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
    ]);
    let overrides = ["log.retention.hours=3".to_owned(), "log.retention.hours=4".to_owned()];
    let inputs = Inputs {
        built_in: &built_in,
        file: Some(("s.properties", file)),
        environment: &environment,
        overrides: &overrides,
    };
    let (config, _) = Config::load(&inputs).unwrap();

    assert_eq!(config.get(keys::NUM_PARTITIONS), 3);
    assert_eq!(config.source("num.partitions").to_string(), "s.properties:2");
    assert_eq!(config.get(keys::NUM_IO_THREADS), 10);
    assert_eq!(config.source("num.io.threads").to_string(), "environment KAFKA_NUM_IO_THREADS");
    assert_eq!(config.log_retention_ms(), 4 * 3_600_000);
    assert_eq!(*config.source("log.retention.hours"), Source::Override);
    assert_eq!(*config.source("node.id"), Source::BuiltIn);
    assert_eq!(*config.source("fetch.max.bytes"), Source::Default);
    assert_eq!(config.get(keys::BROKER_ID), 1, "node.id stands for broker.id");
}

#[test]
fn the_built_in_node_starts_without_a_word() {
    let built_in = BuiltIn::default().settings();
    let (config, warnings) = Config::load(&Inputs { built_in: &built_in, ..Inputs::default() }).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(crate::refusals(&config, &crate::Supported::plaintext_node()), []);
    assert_eq!(config.log_dirs(), ["./ottla-data"]);
    assert_eq!(config.metadata_log_dir(), "./ottla-data");
    let show = |endpoints: Result<Vec<crate::Endpoint>, _>| endpoints.unwrap()[0].to_string();
    assert_eq!(show(config.advertised_listeners()), "PLAINTEXT://127.0.0.1:9092");
    assert_eq!(show(config.controller_listeners()), "CONTROLLER://127.0.0.1:9093");
    assert!(check_report(&config).contains("node.id=1"));
    assert_eq!(
        config.get(keys::GROUP_INITIAL_REBALANCE_DELAY_MS),
        0,
        "the first member of a group waits for nobody"
    );
}

#[test]
fn warnings() {
    let built_in = BuiltIn::default().settings();
    let environment = strings([("KAFKA_LOG_RETENTON_MS", "1")]);
    let overrides =
        ["num.partition=3", "zookeeper.connect=h:1", "sasl.kerberos.service.name=x", "ssl.protocol=TLSv1.3"]
            .map(str::to_owned);
    let inputs =
        Inputs { built_in: &built_in, environment: &environment, overrides: &overrides, ..Inputs::default() };
    let (_, warnings) = Config::load(&inputs).unwrap();
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "unknown setting KAFKA_LOG_RETENTON_MS (environment KAFKA_LOG_RETENTON_MS) is ignored; did you mean \
             log.retention.ms?",
            "unknown setting num.partition (--override) is ignored; did you mean num.partitions?",
            "unknown setting zookeeper.connect (--override) is ignored",
            "accepted, but nothing acts on these settings yet: sasl.kerberos.service.name",
        ]
    );
}

#[test]
fn errors_are_reported_together() {
    let file = b"node.id=x\nprocess.roles=broker\nnum.partitions=0\n";
    let errors = Config::load(&Inputs { file: Some(("f", file)), ..Inputs::default() }).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "Missing required configuration \"controller.listener.names\" which has no default value.\n\
         Invalid value x for configuration node.id: Not a number of type INT (f:1)\n\
         Invalid value 0 for configuration num.partitions: Value must be at least 1 (f:3)"
    );
    let errors =
        Config::load(&Inputs { file: Some(("f", b"a=1\nb=\\u0")), ..Inputs::default() }).unwrap_err();
    assert_eq!(errors.to_string(), "f:2: a \\u must be followed by four hexadecimal digits");
    for flag in ["novalue", "=x", " ="] {
        let flags = [flag.to_owned()];
        let errors = Config::load(&Inputs { overrides: &flags, ..Inputs::default() }).unwrap_err();
        assert_eq!(errors.to_string(), format!("--override {flag}: write it as key=value"));
    }
}

#[test]
fn a_configuration_for_zookeeper_is_named_as_such() {
    let file = b"broker.id=0\nzookeeper.connect=localhost:2181\n";
    let errors = Config::load(&Inputs { file: Some(("f", file)), ..Inputs::default() }).unwrap_err();
    assert!(errors.to_string().ends_with(NO_ZOOKEEPER), "{errors}");
}

#[test]
fn either_name_of_the_id_stands_for_both() {
    for name in ["broker.id", "node.id"] {
        let settings =
            [(name, "7"), ("process.roles", "broker,controller"), ("controller.listener.names", "C")];
        let settings = settings.map(|(name, text)| {
            (name.to_owned(), Setting { text: text.to_owned(), source: Source::Override })
        });
        let config = Config::from_settings(settings.into()).unwrap();
        assert_eq!((config.get(keys::NODE_ID), config.get(keys::BROKER_ID)), (7, 7), "{name}");
    }
}
