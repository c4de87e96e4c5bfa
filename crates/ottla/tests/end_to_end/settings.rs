//! Settings that show only in a whole process: where it listens, what it tells of that, where its files are.

use std::net::TcpStream;
use std::path::Path;

use ottla_record::Batches;
use ottla_testkit::{Launch, Ottla};
use ottla_wire::records::MetadataRecord;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::clients::client;
use super::launch;
use super::network::{Heard, PATIENCE, ask};

/// Host and port of the one broker, as clients are told.
fn advertised(ottla: &Ottla) -> String {
    let consumer: BaseConsumer = client(ottla, &[]).create().unwrap();
    let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
    let broker = &metadata.brokers()[0];
    format!("{}:{}", broker.host(), broker.port())
}

#[test]
fn clients_are_told_what_is_advertised() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    assert_eq!(advertised(&ottla), ottla.bootstrap());
    let port = ottla.bootstrap().rsplit_once(':').unwrap().1.to_owned();
    assert!(ottla.stop().success());
    let names = [("advertised.listeners", format!("PLAINTEXT://localhost:{port}"))];
    let launch = launch(dir.path()).listening_on(port.parse().unwrap(), 0).set(names[0].0, &names[0].1);
    let ottla = launch.start();
    assert_eq!(ottla.bootstrap(), format!("localhost:{port}"));
    assert_eq!(advertised(&ottla), format!("localhost:{port}"));
}

#[test]
fn listeners_have_any_names_that_the_map_knows() {
    let dir = tempfile::tempdir().unwrap();
    let with = |settings: &[(&str, &str)]| {
        settings.iter().fold(launch(dir.path()), |launch, (key, value)| launch.set(key, value))
    };
    let names = [
        ("listeners", "CLIENTS://127.0.0.1:0,BROKERS://127.0.0.1:0,CONTROL://127.0.0.1:0"),
        ("controller.listener.names", "CONTROL"),
        ("inter.broker.listener.name", "BROKERS"),
    ];
    let map = ("listener.security.protocol.map", "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROL:PLAINTEXT");
    let ottla = with(&[&names[..], &[map]].concat()).start();
    let addresses: Vec<&str> = ottla.bootstrap().split(',').collect();
    assert_eq!(addresses.len(), 2, "the controller's is not for clients");
    for address in addresses {
        assert_eq!(ask(&TcpStream::connect(address).unwrap(), PATIENCE), Heard::Answer);
    }
    drop(ottla);
    let ended = with(&names).run();
    assert!(ended.stderr.contains("name it in listener.security.protocol.map"), "{}", ended.stderr);
    let ended = with(&[("controller.listener.names", "CONTROL")]).run();
    assert!(
        ended.stderr.contains("No security protocol defined for listener CONTROLLER"),
        "{}",
        ended.stderr
    );
}

#[test]
fn clients_make_room_for_brokers() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path())
        .set("listeners", "PLAINTEXT://127.0.0.1:0,BROKERS://127.0.0.1:0,CONTROLLER://127.0.0.1:0")
        .set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT")
        .set("inter.broker.listener.name", "BROKERS")
        .set("max.connections", "2")
        .start();
    let (clients, brokers) = ottla.bootstrap().split_once(',').unwrap();
    let connect = |address: &str| TcpStream::connect(address).unwrap();
    let (idle, busy) = (connect(clients), connect(clients));
    assert_eq!((ask(&idle, PATIENCE), ask(&busy, PATIENCE)), (Heard::Answer, Heard::Answer));
    let broker = connect(brokers);
    assert_eq!(ask(&broker, PATIENCE), Heard::Answer);
    assert_eq!(ask(&busy, PATIENCE), Heard::Answer);
    assert_eq!(super::network::hear(&idle, PATIENCE), Heard::Closed);
}

#[test]
fn the_metadata_log_lies_where_it_is_put() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path()).set("metadata.log.dir", "./meta");
    assert!(launch.start().stop().success());
    let has_log = |name: &str| dir.path().join(name).join("__cluster_metadata-0").exists();
    assert!(has_log("meta") && !has_log("ottla-data"));
    assert!(dir.path().join("ottla-data/meta.properties").exists());
    assert!(launch.start().stop().success());
}

#[test]
fn one_log_directory_may_be_named_in_its_own_setting() {
    let dir = tempfile::tempdir().unwrap();
    let file = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
                listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
                controller.quorum.bootstrap.servers=127.0.0.1:9093\nlog.dir=./one\n";
    std::fs::write(dir.path().join("file"), file).unwrap();
    let launch = Launch::bare(env!("CARGO_BIN_EXE_ottla"), dir.path()).argument("--config").argument("file");
    assert!(launch.start().stop().success());
    assert!(dir.path().join("one/meta.properties").exists());
}

/// Whether the broker has asked the controller to let it go.
fn has_handed_over(data: &Path) -> bool {
    let log = std::fs::read(data.join("__cluster_metadata-0/00000000000000000000.log")).unwrap();
    let is_leaving = |value: &[u8]| match MetadataRecord::decode(value.to_vec().into()) {
        Ok((MetadataRecord::BrokerRegistrationChange(change), _)) => {
            change.in_controlled_shutdown == 1 || change.fenced == 1
        }
        _ => false,
    };
    Batches::new(&log).map(Result::unwrap).filter(|batch| !batch.is_control()).any(|batch| {
        let mut records = batch.records(1 << 20).unwrap();
        let mut found = false;
        while let Some(record) = records.next().unwrap() {
            found |= record.value.is_some_and(is_leaving);
        }
        found
    })
}

#[test]
fn a_broker_leaves_with_or_without_asking() {
    for (setting, expected) in [("true", true), ("false", false)] {
        let dir = tempfile::tempdir().unwrap();
        let launch = launch(dir.path()).set("controlled.shutdown.enable", setting);
        assert!(launch.start().stop().success());
        assert_eq!(has_handed_over(&dir.path().join("ottla-data")), expected, "{setting}");
        assert!(launch.start().stop().success());
    }
}
