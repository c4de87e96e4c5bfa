//! Lists of operations that wait are tidied up as often as settings say.

use ottla_replica::PurgatorySizes;
use ottla_wire::messages::{
    DeleteRecordsRequest, FetchRequest, ProduceRequest, delete_records_request, fetch_request,
    produce_request,
};

use super::harness::{Harness, TOPIC_ID, at, batch};

fn produce(acks: i16) -> ProduceRequest {
    let partition = produce_request::PartitionData {
        records: Some(batch(&["v"])),
        ..produce_request::PartitionData::default()
    };
    let topic = produce_request::TopicData {
        name: "t".to_owned(),
        topic_id: TOPIC_ID,
        partition_data: vec![partition],
        ..produce_request::TopicData::default()
    };
    ProduceRequest { acks, timeout_ms: 10, topic_data: vec![topic], ..ProduceRequest::default() }
}

fn fetch() -> FetchRequest {
    let partition = fetch_request::Partition {
        fetch_offset: 1,
        partition_max_bytes: 1000,
        ..fetch_request::Partition::default()
    };
    let topic = fetch_request::Topic {
        topic: "t".to_owned(),
        topic_id: TOPIC_ID,
        partitions: vec![partition],
        ..fetch_request::Topic::default()
    };
    FetchRequest {
        max_wait_ms: 10,
        min_bytes: 1,
        max_bytes: 1000,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

fn delete_records() -> DeleteRecordsRequest {
    let partition = delete_records_request::Partition { offset: 1, ..Default::default() };
    let topic = delete_records_request::Topic {
        name: "t".to_owned(),
        partitions: vec![partition],
        ..delete_records_request::Topic::default()
    };
    DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10, ..DeleteRecordsRequest::default() }
}

/// What is left in the lists after five requests of each kind have waited in vain.
fn left(settings: &[(&str, &str)]) -> PurgatorySizes {
    let harness = Harness::with_settings(settings);
    harness.call(13, &produce(1), at(0));
    harness.widen_isr(TOPIC_ID, "t");
    let timed_out = |number: u64| harness.node.replicas.tick(at(number * 100 + 50));
    for number in 0..5 {
        harness.send(13, &produce(-1), at(number * 100));
        timed_out(number);
    }
    for number in 5..10 {
        harness.send(17, &fetch(), at(number * 100));
        timed_out(number);
    }
    for number in 10..15 {
        harness.send(2, &delete_records(), at(number * 100));
        timed_out(number);
    }
    harness.node.purgatory_sizes()
}

#[test]
fn lists_are_tidied_up_as_often_as_settings_say() {
    // Of deletions, by default, every second one tidies up.
    let usual = left(&[]);
    assert_eq!(usual, PurgatorySizes { produce: 5, fetch: 5, delete_records: 1, share_fetch: 0 });
    let changed = left(&[("producer.purgatory.purge.interval.requests", "0")]);
    assert_eq!(changed, PurgatorySizes { produce: 0, ..usual });
    let changed = left(&[("fetch.purgatory.purge.interval.requests", "0")]);
    assert_eq!(changed, PurgatorySizes { fetch: 0, ..usual });
    let changed = left(&[("delete.records.purgatory.purge.interval.requests", "1000")]);
    assert_eq!(changed, PurgatorySizes { delete_records: 5, ..usual });
}
