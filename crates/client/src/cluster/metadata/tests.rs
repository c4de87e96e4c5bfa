use super::*;

const A: Uuid = Uuid([1; 16]);
const B: Uuid = Uuid([2; 16]);

/// A topic whose partitions have these leaders and epochs.
fn topic(name: &str, id: Uuid, leaders: &[(i32, i32)]) -> metadata_response::Topic {
    let partition = |(index, (leader_id, leader_epoch)): (usize, &(i32, i32))| metadata_response::Partition {
        partition_index: i32::try_from(index).unwrap(),
        leader_id: *leader_id,
        leader_epoch: *leader_epoch,
        ..Default::default()
    };
    metadata_response::Topic {
        name: Some(name.to_owned()),
        topic_id: id,
        partitions: leaders.iter().enumerate().map(partition).collect(),
        ..Default::default()
    }
}

fn answer(topics: Vec<metadata_response::Topic>) -> MetadataResponse {
    let broker = |node_id| metadata_response::Broker {
        node_id,
        host: format!("host{node_id}"),
        port: 9092,
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![broker(2), broker(1)],
        cluster_id: Some("c".to_owned()),
        controller_id: 2,
        topics,
        ..Default::default()
    }
}

fn merged(answers: Vec<MetadataResponse>) -> Metadata {
    answers.iter().fold(Metadata::default(), |metadata, answer| metadata.merge(answer, Asked::Named(&[])))
}

fn leaders(metadata: &Metadata, name: &str) -> Vec<(Option<i32>, i32)> {
    let topic = metadata.topic(name).unwrap();
    topic.partitions.iter().map(|p| (p.leader.map(NodeId::value), p.leader_epoch.0)).collect()
}

#[test]
fn a_first_answer_is_the_picture() {
    let metadata = merged(vec![answer(vec![topic("t", A, &[(1, 5), (-1, 6)])])]);
    assert_eq!(
        (metadata.version(), metadata.cluster_id(), metadata.controller()),
        (1, Some("c"), Some(NodeId(2)))
    );
    assert_eq!(metadata.brokers().keys().copied().collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
    assert_eq!(leaders(&metadata, "t"), [(Some(1), 5), (None, 6)]);
    assert_eq!(metadata.leader("t", 0), Some(Leader { node: NodeId(1), epoch: LeaderEpoch(5) }));
    assert_eq!(
        (metadata.leader("t", 1), metadata.leader("t", 2), metadata.leader("t", -1)),
        (None, None, None)
    );
    assert_eq!(&*metadata.topic_by_id(A).unwrap().name, "t");
}

#[test]
fn leaders_never_go_back_to_an_older_epoch_of_the_same_topic() {
    for (name, second, expected) in [
        ("newer", topic("t", A, &[(2, 6)]), (Some(2), 6)),
        ("the same", topic("t", A, &[(2, 5)]), (Some(2), 5)),
        ("older", topic("t", A, &[(2, 4)]), (Some(1), 5)),
        ("of a broker without epochs", topic("t", A, &[(2, -1)]), (Some(1), 5)),
        ("another topic of that name", topic("t", B, &[(2, 0)]), (Some(2), 0)),
    ] {
        let metadata = merged(vec![answer(vec![topic("t", A, &[(1, 5)])]), answer(vec![second])]);
        assert_eq!(leaders(&metadata, "t"), [expected], "{name}");
    }
    let metadata =
        merged(vec![answer(vec![topic("t", A, &[(1, 5)])]), answer(vec![topic("t", B, &[(2, 0)])])]);
    assert!(metadata.topic_by_id(A).is_none());
    assert!(metadata.topic_by_id(B).is_some());
}

#[test]
fn topics_with_errors_are_not_there() {
    let mut gone = topic("t", A, &[]);
    gone.error_code = ErrorCode::UnknownTopicOrPartition.code();
    let first =
        merged(vec![answer(vec![topic("t", A, &[(1, 1)]), topic("u", B, &[(1, 1)])]), answer(vec![gone])]);
    assert!(first.topic("t").is_none() && first.topic_by_id(A).is_none() && first.topic("u").is_some());
    assert_eq!(first.topic_error("t"), Some(ErrorCode::UnknownTopicOrPartition));
    let again = first.merge(&answer(vec![topic("t", A, &[(1, 2)])]), Asked::Named(&["t".into()]));
    assert_eq!((again.topic_error("t"), leaders(&again, "t")), (None, vec![(Some(1), 2)]));
}

#[test]
fn asking_for_all_topics_forgets_the_others() {
    let first = merged(vec![answer(vec![topic("t", A, &[(1, 1)])])]);
    let second = first.merge(&answer(vec![topic("u", B, &[(1, 1)])]), Asked::Every);
    assert_eq!((second.topics().len(), second.topic("t")), (1, None));
    let third = second.without(&["u".into()]);
    assert_eq!((third.topics().len(), third.topic_by_id(B)), (0, None));
}

#[test]
fn partitions_behind_a_gap_are_left_out() {
    let mut holed = topic("t", A, &[(1, 1), (1, 1), (1, 1)]);
    holed.partitions[1].partition_index = 7;
    assert_eq!(leaders(&merged(vec![answer(vec![holed])]), "t").len(), 1);
}

#[test]
fn leaders_that_other_answers_tell_of_are_taken_when_they_are_news() {
    let metadata = merged(vec![answer(vec![topic("t", A, &[(1, 5)])])]);
    let leader = |node, epoch| Leader { node: NodeId(node), epoch: LeaderEpoch(epoch) };
    assert!(metadata.with_leader("t", 0, leader(2, 5), None).is_none(), "not newer");
    assert!(metadata.with_leader("t", 0, leader(3, 6), None).is_none(), "nobody knows where it is");
    assert!(metadata.with_leader("t", 1, leader(2, 6), None).is_none(), "no such partition");
    let known = metadata.with_leader("t", 0, leader(2, 6), None).unwrap();
    assert_eq!((known.leader("t", 0), known.version()), (Some(leader(2, 6)), 2));
    let address = Broker { id: NodeId(3), host: "h".into(), port: 1, rack: None };
    let new = metadata.with_leader("t", 0, leader(3, 6), Some(address)).unwrap();
    assert_eq!(new.leader("t", 0), Some(leader(3, 6)));
    assert!(new.brokers().contains_key(&NodeId(3)));
}
