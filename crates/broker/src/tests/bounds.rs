//! Of requests whose answers are much longer than they are.

use ottla_wire::messages::describe_configs_request::Resource;
use ottla_wire::messages::offset_fetch_request::Group as FetchedGroup;
use ottla_wire::messages::{
    ConsumerGroupDescribeRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, OffsetFetchRequest, describe_producers_request,
};

use super::harness::{Harness, LOCAL, at};
use crate::exchange::Reply;
use crate::node::Hooks;

/// Of a name that takes no more than this on the wire and in memory, so many make a request too long.
const NAMES: usize = 400_000;

fn twice(name: &str) -> Vec<String> {
    vec![name.to_owned(), "another".to_owned(), name.to_owned()]
}

#[test]
fn what_is_named_twice_is_told_of_once() {
    let harness = Harness::with_transactions(&[], LOCAL, Hooks::default());
    let groups = DescribeGroupsRequest { groups: twice("g"), ..DescribeGroupsRequest::default() };
    let told: Vec<String> =
        harness.call(6, &groups, at(1)).groups.into_iter().map(|group| group.group_id).collect();
    assert_eq!(told, ["g", "another"]);

    let groups =
        ConsumerGroupDescribeRequest { group_ids: twice("g"), ..ConsumerGroupDescribeRequest::default() };
    assert_eq!(harness.call(1, &groups, at(1)).groups.len(), 2);

    let transactions = DescribeTransactionsRequest {
        transactional_ids: twice("x"),
        ..DescribeTransactionsRequest::default()
    };
    assert_eq!(harness.call(0, &transactions, at(1)).transaction_states.len(), 2);

    let group = |group_id: &str| FetchedGroup {
        group_id: group_id.to_owned(),
        topics: None,
        ..FetchedGroup::default()
    };
    let offsets = OffsetFetchRequest {
        groups: vec![group("g"), group("another"), group("g")],
        ..OffsetFetchRequest::default()
    };
    assert_eq!(harness.call(9, &offsets, at(1)).groups.len(), 2);

    let topic = |partition_indexes: Vec<i32>| describe_producers_request::Topic {
        name: "t".to_owned(),
        partition_indexes,
        ..describe_producers_request::Topic::default()
    };
    let producers = DescribeProducersRequest {
        topics: vec![topic(vec![0, 1, 0]), topic(vec![1])],
        ..DescribeProducersRequest::default()
    };
    let topics = harness.call(0, &producers, at(1)).topics;
    assert_eq!(topics.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), [2, 0]);

    let resource = Resource { resource_type: 2, resource_name: "t".to_owned(), ..Resource::default() };
    let configs = DescribeConfigsRequest {
        resources: vec![resource.clone(), resource],
        ..DescribeConfigsRequest::default()
    };
    assert_eq!(harness.call(4, &configs, at(1)).results.len(), 1);
}

#[test]
fn so_many_names_that_the_answer_had_no_room_end_the_connection() {
    let harness = Harness::new();
    let groups = DescribeGroupsRequest {
        groups: (0..NAMES).map(|index| format!("{index:x}")).collect(),
        ..DescribeGroupsRequest::default()
    };
    let sent = harness.send(6, &groups, at(1));
    let Some(Reply::Close(reason)) = harness.reply(&sent) else { panic!("it is answered") };
    assert!(reason.contains("more memory than its size allows"), "{reason}");
    let few = DescribeGroupsRequest {
        groups: groups.groups.into_iter().take(NAMES / 4).collect(),
        ..DescribeGroupsRequest::default()
    };
    assert_eq!(harness.call(6, &few, at(1)).groups.len(), NAMES / 4);
}
