//! The Rust client against the real program; with `BROKER=kafka` against Apache Kafka: `interop/rust/run` does that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod cluster;
mod consuming;
mod daily;
mod errors;
mod examples;
mod failing;
mod nodes;
mod producer;
mod sharing;
mod subject;
mod transactions;
mod unsteady;

use std::path::Path;

use ottla_client::wire::ErrorCode;
use ottla_client::wire::messages::{CreateTopicsRequest, create_topics_request};
use ottla_client::{Client, ClientSettings, Target};
use subject::{Broker, Launch};

fn launch(dir: &Path) -> Launch {
    Launch::new(dir)
}

async fn connect(ottla: &Broker) -> Client {
    Client::connect(ClientSettings::new(ottla.bootstrap())).await.unwrap()
}

async fn create_topic(client: &Client, name: &str, num_partitions: i32) {
    create_topic_with(client, name, num_partitions, &[]).await;
}

async fn create_topic_with(client: &Client, name: &str, num_partitions: i32, configs: &[(&str, &str)]) {
    let config = |(name, value): &(&str, &str)| create_topics_request::Config {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..Default::default()
    };
    let topic = create_topics_request::Topic {
        name: name.to_owned(),
        num_partitions,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..CreateTopicsRequest::default() };
    let answer = client.send(Target::Controller, &request).await.unwrap();
    assert_eq!(ErrorCode::from_code(answer.topics[0].error_code), Some(ErrorCode::None));
}
