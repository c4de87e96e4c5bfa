use super::*;

#[test]
fn each_value_has_its_source_and_secrets_are_hidden() {
    let config = Config::of_pairs([
        ("ssl.key.password", "s3cret"),
        ("listener.name.external.ssl.key.password", "s3cret"),
        ("listener.name.external.plain.sasl.jaas.config", "s3cret"),
        ("my.own.secret.thing", "s3cret"),
        ("my.own.thing", "shown"),
        ("num.partitions", "3"),
    ])
    .unwrap();
    let report = check_report(&config);
    assert!(!report.contains("s3cret"), "{report}");
    let line = |name: &str| report.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let squeezed = |name| line(name).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed("num.partitions"), "num.partitions=3 # --override");
    assert_eq!(squeezed("broker.rack"), "broker.rack=null # default");
    assert_eq!(squeezed("my.own.thing"), "my.own.thing=shown # --override");
    assert_eq!(
        squeezed("listener.name.external.ssl"),
        "listener.name.external.ssl.key.password=[hidden] # --override"
    );
    assert_eq!(line("num.partitions").find('#'), line("broker.rack").find('#'));
    assert!(!report.contains("server.max.startup.time.ms"), "internal and not set");
}
