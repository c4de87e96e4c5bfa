//! Where a consumer goes on when processing was cut off.

use std::io;
use std::time::Duration;

use ottla_types::{Offset, TopicPartition};
use ottla_wire::ApiKey;
use ottla_wire::messages::OffsetCommitRequest;
use tokio::sync::mpsc;

use crate::consumer::tests::member_of;
use crate::consumer::{Consumer, Processing, ProcessingError, ProcessingOrder};
use crate::effects::Fake;

const RECORDS: usize = 5;
/// The first record that is never done.
const STUCK: Offset = Offset(2);

#[tokio::test(start_paused = true)]
async fn who_cuts_it_off_goes_on_at_the_first_record_that_is_not_done() {
    let fake = Fake::new();
    fake.topic("t", 1);
    fake.load("t", 0, RECORDS);
    let mut consumer = Consumer::connect(member_of(&fake)).await.unwrap();
    consumer.subscribe(["t"]).unwrap();
    let (begun, mut is_begun) = mpsc::unbounded_channel();
    let handler = move |record: crate::consumer::ConsumerRecord| {
        begun.send(record.offset).unwrap();
        async move {
            if record.offset >= STUCK {
                std::future::pending::<()>().await;
            }
            Ok::<(), io::Error>(())
        }
    };
    // All that is read is too much: the partition is paused.
    let processing =
        Processing { order: ProcessingOrder::Partition, in_flight_max: 1, ..Processing::default() };
    let result: Option<Result<(), ProcessingError<io::Error>>> = tokio::select! {
        result = consumer.process(processing, handler, std::future::pending()) => Some(result),
        () = async { while is_begun.recv().await != Some(STUCK) {} } => None,
    };
    assert!(result.is_none(), "{result:?}");
    assert_eq!(consumer.paused(), []);
    let t0 = TopicPartition::new("t", 0);
    assert_eq!(consumer.position(&t0).map(|position| position.offset), Some(STUCK));
    consumer.commit().await.unwrap();
    let committed: OffsetCommitRequest = fake.seen(ApiKey::OffsetCommit).last().unwrap().read();
    assert_eq!(committed.topics[0].partitions[0].committed_offset, STUCK.0);
    let records = consumer.poll(Duration::from_secs(60)).await.unwrap();
    let offsets: Vec<i64> = records.iter().map(|record| record.offset.0).collect();
    assert_eq!(offsets, [2, 3, 4]);
}
