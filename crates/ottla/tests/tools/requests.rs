//! What requests say, without what is another one each time: ids of members and producers, times, numbers of sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::Bytes;
use ottla_record::{Batch, Batches};
use ottla_wire::Message;
use ottla_wire::messages as m;

use crate::proxy::Asked;

/// In 2001.
const LONG_AGO_MS: i64 = 1_000_000_000_000;
const RECORDS_BYTES_MAX: usize = 1 << 20;

/// Of each kind the first, by its name: how often some are made is for the time to say. Of records that are sent, all.
pub fn said(all: &[Asked]) -> BTreeMap<&'static str, String> {
    let mut said = BTreeMap::new();
    let mut sent = Sent::default();
    for asked in all {
        let Asked { api, address, client_id, version, body } = asked;
        let body = body.clone();
        let text = match *api {
            "Produce" => sent.add(&m::ProduceRequest::from_bytes(body, *version).unwrap()),
            "Fetch" => fetch(&m::FetchRequest::from_bytes(body, *version).unwrap()),
            "ConsumerGroupHeartbeat" => {
                let request = m::ConsumerGroupHeartbeatRequest::from_bytes(body, *version).unwrap();
                shown(&m::ConsumerGroupHeartbeatRequest { member_id: String::new(), ..request })
            }
            "ShareGroupHeartbeat" => {
                let request = m::ShareGroupHeartbeatRequest::from_bytes(body, *version).unwrap();
                shown(&m::ShareGroupHeartbeatRequest { member_id: String::new(), ..request })
            }
            "ShareFetch" => share_fetch(m::ShareFetchRequest::from_bytes(body, *version).unwrap()),
            "ShareAcknowledge" => {
                let request = m::ShareAcknowledgeRequest::from_bytes(body, *version).unwrap();
                shown(&m::ShareAcknowledgeRequest { member_id: None, share_session_epoch: 0, ..request })
            }
            _ => format!("{body:?}"),
        };
        said.entry(*api).or_insert_with(|| format!("{address} {client_id:?} {text}"));
    }
    if !sent.batches.is_empty() {
        said.insert("records sent", sent.records.join("\n"));
        said.insert("batches sent", format!("{:?}", sent.batches));
        said.insert("bytes sent", format!("{:?}", sent.sizes));
        said.insert("times of long ago sent", format!("{:?}", sent.timestamps));
    }
    said
}

fn shown(request: &impl Debug) -> String {
    format!("{request:?}")
}

/// Of all requests.
#[derive(Default)]
struct Sent {
    records: Vec<String>,
    /// How many records are in each.
    batches: Vec<i32>,
    /// Of keys, values, and headers' keys and values.
    sizes: BTreeSet<Vec<Option<usize>>>,
    /// Of those that were before a clock said so.
    timestamps: Vec<i64>,
}

impl Sent {
    fn add(&mut self, request: &m::ProduceRequest) -> String {
        let mut codecs = BTreeSet::new();
        for topic in &request.topic_data {
            for partition in &topic.partition_data {
                let bytes = partition.records.clone().unwrap_or_default();
                let mut batches = Batches::new(&bytes);
                while let Some(batch) = batches.next().transpose().unwrap() {
                    codecs.insert(batch.attributes.codec_id());
                    self.take(&batch);
                }
            }
        }
        let m::ProduceRequest { transactional_id, acks, timeout_ms, .. } = request;
        format!("{transactional_id:?} acks {acks} timeout {timeout_ms} codecs {codecs:?}")
    }

    fn take(&mut self, batch: &Batch<'_>) {
        self.batches.push(batch.record_count);
        let mut records = batch.records(RECORDS_BYTES_MAX).unwrap();
        while let Some(record) = records.next().unwrap() {
            let record = record.to_owned();
            let length = |bytes: &Option<Bytes>| bytes.as_ref().map(Bytes::len);
            let mut sizes = vec![length(&record.key), length(&record.value)];
            for header in &record.headers {
                sizes.extend([Some(header.key.len()), length(&header.value)]);
            }
            self.sizes.insert(sizes);
            self.timestamps.extend(Some(record.timestamp.value()).filter(|ms| *ms < LONG_AGO_MS));
            self.records.push(format!("{:?} {:?} {:?}", record.key, record.value, record.headers));
        }
    }
}

/// Which partitions one asks for is for the time to say.
fn fetch(request: &m::FetchRequest) -> String {
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    let bytes: BTreeSet<i32> = partitions.map(|partition| partition.partition_max_bytes).collect();
    let m::FetchRequest { max_wait_ms, min_bytes, max_bytes, isolation_level, rack_id, .. } = request;
    format!(
        "wait {max_wait_ms} from {min_bytes} to {max_bytes}, {bytes:?} of a partition, isolation {isolation_level} rack {rack_id}"
    )
}

fn share_fetch(request: m::ShareFetchRequest) -> String {
    let blank = m::ShareFetchRequest { member_id: None, topics: Vec::new(), ..request };
    shown(&blank)
}
