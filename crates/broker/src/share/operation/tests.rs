//! That another broker's share coordinator hears and says the same as this node's.

use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::messages::{
    DeleteShareGroupStateResponse, InitializeShareGroupStateResponse, ReadShareGroupStateResponse,
    ReadShareGroupStateSummaryResponse, WriteShareGroupStateResponse,
    delete_share_group_state_response as deleted, initialize_share_group_state_response as initialized,
    read_share_group_state_response as was_read, read_share_group_state_summary_response as summarized,
    write_share_group_state_response as written,
};

use super::*;

fn key() -> SharePartitionKey {
    SharePartitionKey::new("g", Uuid([3; 16]), 5)
}

fn batch() -> StateBatch {
    StateBatch { first_offset: 10, last_offset: 12, delivery_state: 2, delivery_count: 3 }
}

#[test]
fn requests_are_about_the_one_share_partition() {
    let check = |group_id: &str, topic_id: Uuid, partition: i32| {
        assert_eq!((group_id, topic_id, partition), ("g", key().topic_id, 5));
    };
    let ShareStateRequest::Initialize(request) =
        Initialize { state_epoch: 7, start_offset: 20 }.request(&key())
    else {
        panic!("another request");
    };
    let partition = &request.topics[0].partitions[0];
    check(&request.group_id, request.topics[0].topic_id, partition.partition);
    assert_eq!((partition.state_epoch, partition.start_offset), (7, 20));

    let ShareStateRequest::Read(request) = (Read { leader_epoch: 9 }).request(&key()) else {
        panic!("another request");
    };
    let partition = &request.topics[0].partitions[0];
    check(&request.group_id, request.topics[0].topic_id, partition.partition);
    assert_eq!(partition.leader_epoch, 9);

    let data = WriteState {
        state_epoch: 7,
        leader_epoch: 9,
        start_offset: 10,
        delivery_complete_count: 2,
        batches: vec![batch()],
    };
    let ShareStateRequest::Write(request) = Write(data).request(&key()) else { panic!("another request") };
    let partition = &request.topics[0].partitions[0];
    check(&request.group_id, request.topics[0].topic_id, partition.partition);
    assert_eq!((partition.state_epoch, partition.leader_epoch, partition.start_offset), (7, 9, 10));
    let kept = &partition.state_batches[0];
    let kept = (kept.first_offset, kept.last_offset, kept.delivery_state, kept.delivery_count);
    assert_eq!((kept, partition.delivery_complete_count), ((10, 12, 2, 3), 2));

    let ShareStateRequest::Delete(request) = Delete.request(&key()) else { panic!("another request") };
    check(&request.group_id, request.topics[0].topic_id, request.topics[0].partitions[0].partition);
    let ShareStateRequest::Summarize(request) = Summarize.request(&key()) else { panic!("another request") };
    check(&request.group_id, request.topics[0].topic_id, request.topics[0].partitions[0].partition);
}

/// A response of this kind that says this of one partition.
macro_rules! response {
    ($kind:ident, $response:ident, $parts:ident, { $($field:ident: $value:expr),* }) => {
        ShareStateResponse::$kind($response {
            results: vec![$parts::Result {
                topic_id: key().topic_id,
                partitions: vec![$parts::Partition { partition: 5, $($field: $value,)* ..Default::default() }],
                ..Default::default()
            }],
            ..Default::default()
        })
    };
}

#[test]
fn answers_are_what_the_coordinator_said() {
    let done = [
        Initialize::answer(response!(Initialize, InitializeShareGroupStateResponse, initialized, {})),
        Write::answer(response!(Write, WriteShareGroupStateResponse, written, {})),
        Delete::answer(response!(Delete, DeleteShareGroupStateResponse, deleted, {})),
    ];
    assert_eq!(done, [Some(Ok(())), Some(Ok(())), Some(Ok(()))]);
    let batches = vec![was_read::StateBatch {
        first_offset: 10,
        last_offset: 12,
        delivery_state: 2,
        delivery_count: 3,
        ..Default::default()
    }];
    let state = response!(Read, ReadShareGroupStateResponse, was_read, {
        state_epoch: 7, start_offset: 10, state_batches: batches
    });
    let expected = ReadState { state_epoch: 7, start_offset: 10, batches: Arc::new([batch()]) };
    assert_eq!(Read::answer(state), Some(Ok(expected)));
    let summary = response!(Summarize, ReadShareGroupStateSummaryResponse, summarized, {
        state_epoch: 7, leader_epoch: 9, start_offset: 10, delivery_complete_count: 2
    });
    let expected =
        StateSummary { state_epoch: 7, leader_epoch: 9, start_offset: 10, delivery_complete_count: 2 };
    assert_eq!(Summarize::answer(summary), Some(Ok(expected)));
}

#[test]
fn refusals_keep_their_reason_and_nonsense_is_no_answer() {
    let refused = response!(Write, WriteShareGroupStateResponse, written, {
        error_code: ErrorCode::FencedStateEpoch.code(), error_message: Some("because".to_owned())
    });
    let expected = ShareStateError { code: ErrorCode::FencedStateEpoch, message: "because".to_owned() };
    assert_eq!(Write::answer(refused), Some(Err(expected)));
    let unknown = response!(Delete, DeleteShareGroupStateResponse, deleted, { error_code: 9999 });
    assert_eq!(Delete::answer(unknown), Some(Err(ShareStateError::of(ErrorCode::UnknownServerError))));
    assert_eq!(Delete::answer(ShareStateResponse::Delete(Default::default())), None);
    assert_eq!(Delete::answer(ShareStateResponse::Write(Default::default())), None);
}
