use std::sync::Arc;

use ottla_client::types::NodeId;
use ottla_client::wire::messages::{ApiVersionsRequest, HeartbeatRequest, ListGroupsRequest};
use ottla_client::wire::{ApiKey, ErrorCode};
use ottla_client::{Client, ClientError, ClientSettings, CoordinatorKind, SendOptions, Target, Topics};

use super::{connect, create_topic, launch};

/// Longer than anything that goes well takes.
const PATIENCE_MS: u64 = 60_000;

#[tokio::test]
async fn a_client_learns_of_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    let metadata = client.metadata();
    assert_eq!(metadata.brokers().len(), 1);
    assert!(metadata.cluster_id().is_some() && metadata.controller().is_some());

    create_topic(&client, "t", 3).await;
    let names: Vec<Arc<str>> = vec!["t".into(), "none".into()];
    let mut metadata = client.refresh(Topics::Named(names.clone())).await.unwrap();
    // A topic is there for everybody soon after it was created.
    while metadata.topic("t").is_none_or(|t| t.partitions.iter().any(|p| p.leader.is_none())) {
        metadata = client.refresh(Topics::Named(names.clone())).await.unwrap();
    }
    let topic = metadata.topic("t").unwrap();
    assert_eq!(topic.partitions.len(), 3);
    assert!(!topic.id.is_zero());
    assert_eq!(metadata.topic_by_id(topic.id).unwrap().name, topic.name);
    assert_eq!(metadata.topic_error("none"), Some(ErrorCode::UnknownTopicOrPartition));
    let only = *metadata.brokers().keys().next().unwrap();
    assert!((0..3).all(|partition| metadata.leader("t", partition).unwrap().node == only));
    let all = client.refresh(Topics::Every).await.unwrap();
    assert!(all.topic("t").is_some());
}

#[tokio::test]
async fn requests_go_where_they_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    let only = *client.metadata().brokers().keys().next().unwrap();
    for target in [Target::AnyNode, Target::Controller, Target::Node(only), Target::group("g")] {
        let request = ListGroupsRequest::default();
        let list = |_| request.clone();
        let answer = client.call(target.clone(), PATIENCE_MS, list, |_| ErrorCode::None).await.unwrap();
        assert_eq!(answer.response.error_code, 0, "{target:?}");
    }
    assert_eq!(client.coordinator(CoordinatorKind::Group, &"g".into()).await, Ok(only));
    let served = client.versions(only).unwrap();
    assert!(served.of_api(ApiKey::Produce).is_some());

    let options = SendOptions { version_max: Some(3), ..SendOptions::default() };
    let request = |version| {
        assert_eq!(version, 3);
        ListGroupsRequest::default()
    };
    assert_eq!(client.send_with(Target::AnyNode, options, request).await.unwrap().version, 3);
    let unknown = client.send(Target::Node(NodeId(77)), &ApiVersionsRequest::default()).await;
    assert_eq!(unknown.unwrap_err(), ClientError::UnknownNode(NodeId(77)));
}

#[tokio::test]
async fn answers_that_can_not_be_retried_are_given_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    let request = |_| HeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: "m".to_owned(),
        ..HeartbeatRequest::default()
    };
    let code = |answer: &ottla_client::wire::messages::HeartbeatResponse| {
        ErrorCode::from_code(answer.error_code).unwrap()
    };
    let answer = client.call(Target::group("g"), PATIENCE_MS, request, code).await.unwrap();
    assert_eq!(code(&answer.response), ErrorCode::UnknownMemberId);
}

#[tokio::test]
async fn a_node_that_comes_back_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let port = ottla_testkit::free_port();
    let launch = launch(dir.path()).listening_on(port, 0);
    let ottla = launch.start();
    let client = connect(&ottla).await;
    let only = *client.metadata().brokers().keys().next().unwrap();
    client.send(Target::Node(only), &ListGroupsRequest::default()).await.unwrap();
    ottla.kill();
    let lost = client.send(Target::Node(only), &ListGroupsRequest::default()).await.unwrap_err();
    assert!(lost.is_retriable(), "{lost}");
    let _again = launch.start();
    let request = ListGroupsRequest::default();
    let list = |_| request.clone();
    client.call(Target::Node(only), PATIENCE_MS, list, |_| ErrorCode::None).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_an_error_that_says_so() {
    let port = ottla_testkit::free_port();
    let settings =
        ClientSettings { default_api_timeout_ms: 300, ..ClientSettings::new(&format!("127.0.0.1:{port}")) };
    let error = Client::connect(settings).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }) && error.is_retriable(), "{error}");
}
