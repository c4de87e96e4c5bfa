//! Brokers inside of this process, met over their sockets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use ottla_client::wire::messages::{CreateTopicsRequest, create_topics_request};
use ottla_client::{Client, ClientSettings, Target, Topics};
use ottla_embedded::{Builder, Embedded, EmbeddedError};

async fn client(broker: &Embedded) -> Client {
    Client::connect(ClientSettings::new(&broker.bootstrap())).await.unwrap()
}

/// Names and numbers of partitions.
async fn topics(broker: &Embedded) -> Vec<(String, usize)> {
    let metadata = client(broker).await.refresh(Topics::Every).await.unwrap();
    metadata.topics().map(|topic| (topic.name.to_string(), topic.partitions.len())).collect()
}

async fn create(broker: &Embedded, name: &str) {
    let topic = create_topics_request::Topic {
        name: name.to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let answer = client(broker).await.send(Target::Controller, &request).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
}

#[tokio::test]
async fn each_is_a_cluster_of_its_own_and_leaves_nothing() {
    let one = Builder::default().setting("num.partitions", 3).start().unwrap();
    let other = ottla_embedded::start().unwrap();
    assert_ne!(one.cluster_id(), other.cluster_id());
    create(&one, "here").await;
    assert_eq!(topics(&one).await, [("here".to_owned(), 3)]);
    assert_eq!(topics(&other).await, []);
    let directories = [one.data_dir().to_owned(), other.data_dir().to_owned()];
    assert!(directories.iter().all(|path| path.join("meta.properties").exists()));
    one.stop().unwrap();
    drop(other);
    assert!(!directories.iter().any(|path| path.exists()));
}

#[tokio::test]
async fn a_directory_of_ones_own_is_kept_and_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Builder::default().data_dir(directory.path()).start().unwrap();
    create(&broker, "kept").await;
    let cluster_id = broker.cluster_id().to_owned();
    broker.stop().unwrap();
    let broker = Builder::default().data_dir(directory.path()).start().unwrap();
    assert_eq!(
        (broker.cluster_id(), topics(&broker).await),
        (cluster_id.as_str(), vec![("kept".to_owned(), 1)])
    );
    assert!(format!("{broker:?}").contains(&broker.bootstrap()));
}

#[test]
fn what_keeps_one_from_starting_is_said() {
    let said = |builder: Builder| builder.start().unwrap_err().to_string();
    let text = said(Builder::default().setting("num.partitions", 0));
    assert!(text.contains("Invalid value 0 for configuration num.partitions"), "{text}");
    let refused = Builder::default().setting("super.users", "User:a").start().unwrap_err();
    assert!(matches!(&refused, EmbeddedError::Refused(_)), "{refused}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = said(Builder::default().data_dir(file.path()));
    assert!(text.contains(&file.path().display().to_string()), "{text}");
    let running = ottla_embedded::start().unwrap();
    let text = said(Builder::default().data_dir(running.data_dir()));
    assert!(text.contains(&running.data_dir().display().to_string()), "{text}");
}
