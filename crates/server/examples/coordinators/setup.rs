//! What has to be there before a load begins.

use std::time::SystemTime;

use bytes::Bytes;
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{Timestamp, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::produce_request::{PartitionData, TopicData};
use ottla_wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FindCoordinatorRequest, IncrementalAlterConfigsRequest,
    ListOffsetsRequest, ProduceRequest, create_topics_request, delete_topics_request,
    incremental_alter_configs_request, list_offsets_request,
};
use tokio::time::{Duration, Instant, sleep};

use crate::Outcome;
use crate::client::{Client, check, error_of};

/// How long a coordinator, or a new topic's leaders, may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
pub const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Kafka's numbers for what a coordinator coordinates.
#[derive(Clone, Copy, Debug)]
#[repr(i8)]
pub enum Coordinates {
    Groups = 0,
    Transactions = 1,
}

/// A topic of this run.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
    pub partitions: i32,
}

/// Makes a topic, and waits until its partitions have leaders.
pub async fn create_topic(client: &mut Client, name: String, partitions: i32) -> Outcome<Topic> {
    let topic = create_topics_request::Topic {
        name: name.clone(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let response = client.call(&request, 7).await?;
    let made = response.topics.first().ok_or("CreateTopics was answered without a topic")?;
    check("CreateTopics", made.error_code)?;
    let topic = Topic { name, id: made.topic_id, partitions };
    let until = Instant::now() + PATIENCE;
    while let Err(error) = end_offsets(client, &topic, Isolation::ReadUncommitted).await {
        if Instant::now() > until {
            return Err(error);
        }
        sleep(BETWEEN_TRIES).await;
    }
    Ok(topic)
}

/// Takes away a topic of so many partitions that, run after run, the broker would come to its limit of open files.
pub async fn delete_topic(client: &mut Client, topic: &Topic) -> Outcome<()> {
    let of_topic = delete_topics_request::Topic { topic_id: topic.id, ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![of_topic], timeout_ms: 60_000, ..Default::default() };
    let response = client.call(&request, 6).await?;
    let deleted = response.responses.first().ok_or("DeleteTopics was answered without a topic")?;
    check("DeleteTopics", deleted.error_code)
}

/// Waits until there is a coordinator for `key`.
pub async fn find_coordinator(client: &mut Client, kind: Coordinates, key: &str) -> Outcome<()> {
    let request = FindCoordinatorRequest {
        key_type: kind as i8,
        coordinator_keys: vec![key.to_owned()],
        ..Default::default()
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let response = client.call(&request, 6).await?;
        let found =
            response.coordinators.first().ok_or("FindCoordinator was answered without a coordinator")?;
        match error_of(found.error_code) {
            None => return Ok(()),
            Some(ErrorCode::CoordinatorNotAvailable) if Instant::now() < until => sleep(BETWEEN_TRIES).await,
            Some(error) => return Err(format!("FindCoordinator: {error}").into()),
        }
    }
}

/// Whether an answer asks to try again since a coordinator is about to be there.
pub fn is_loading(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator
    )
}

/// Sets what a group alone has set.
pub async fn configure_group(client: &mut Client, group: &str, name: &str, value: &str) -> Outcome<()> {
    use incremental_alter_configs_request::{Config, Resource};
    const GROUP: i8 = 32;
    const SET: i8 = 0;
    let config = Config {
        name: name.to_owned(),
        config_operation: SET,
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let resource = Resource {
        resource_type: GROUP,
        resource_name: group.to_owned(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = client.call(&request, 1).await?;
    response.responses.iter().try_for_each(|response| check("IncrementalAlterConfigs", response.error_code))
}

/// What records carry as their time.
pub fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// One batch: `count` records of `size` bytes each.
pub fn batch(options: BatchOptions, timestamp: Timestamp, count: usize, size: usize) -> Outcome<Bytes> {
    let mut builder = BatchBuilder::with_capacity(options, 128 + count * (size + 16));
    let value = vec![b'x'; size];
    for _ in 0..count {
        builder.append(&NewRecord { timestamp, value: Some(&value), ..NewRecord::default() })?;
    }
    Ok(builder.build()?.into())
}

/// Writes into partitions of one topic. Answers the first error.
pub async fn produce(
    client: &mut Client,
    topic: &Topic,
    transactional_id: Option<&str>,
    version: i16,
    batches: impl Iterator<Item = (i32, Bytes)>,
) -> Outcome<Option<ErrorCode>> {
    let partition_data =
        batches.map(|(index, records)| PartitionData { index, records: Some(records), ..Default::default() });
    let by_id = version >= 13;
    let data = TopicData {
        name: if by_id { String::new() } else { topic.name.clone() },
        topic_id: if by_id { topic.id } else { Uuid::default() },
        partition_data: partition_data.collect(),
        ..Default::default()
    };
    let request = ProduceRequest {
        transactional_id: transactional_id.map(str::to_owned),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![data],
        ..Default::default()
    };
    let response = client.call(&request, version).await?;
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    Ok(partitions.find_map(|partition| error_of(partition.error_code)))
}

/// What [`end_offsets`] counts.
#[derive(Clone, Copy, Debug)]
#[repr(i8)]
pub enum Isolation {
    ReadUncommitted = 0,
    ReadCommitted = 1,
}

/// The sum of the end offsets of a topic's partitions.
pub async fn end_offsets(client: &mut Client, topic: &Topic, isolation: Isolation) -> Outcome<i64> {
    use list_offsets_request::{Partition, Topic as Asked};
    const LATEST: i64 = -1;
    let partitions = (0..topic.partitions).map(|partition_index| Partition {
        partition_index,
        timestamp: LATEST,
        ..Default::default()
    });
    let asked = Asked { name: topic.name.clone(), partitions: partitions.collect(), ..Default::default() };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation as i8,
        topics: vec![asked],
        ..Default::default()
    };
    let response = client.call(&request, 8).await?;
    let mut sum = 0;
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        check("ListOffsets", partition.error_code)?;
        sum += partition.offset;
    }
    Ok(sum)
}
