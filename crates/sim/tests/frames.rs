//! Frames that nobody would send, through all that a node has: each is answered, waits for what it asks for, or closes its
//! connection; nothing panics, memory stays bounded, and the node works on. Alone in its binary, because it looks at the whole process's memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is how a test fails"
)]

#[path = "../../wire/tests/wire/generate.rs"]
#[allow(dead_code)]
mod generate;
#[path = "../../wire/build/schema.rs"]
#[allow(dead_code)]
mod schema;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use generate::Random;
use ottla_broker::exchange::{Reply, ReplySink, ReplySlot};
use ottla_record::{BatchBuilder, BatchMut, BatchOptions, Codec, Compression, NewRecord};
use ottla_sim::node::{SteppedNode, collect, connection};
use ottla_testkit::cases;
use ottla_types::{ProducerEpoch, ProducerId, Timestamp};
use ottla_wire::messages::create_topics_request::{CreateTopicsRequest, Topic as NewTopic};
use ottla_wire::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_wire::messages::{ApiVersionsRequest, MetadataRequest};
use ottla_wire::{FRAME_LENGTH_BYTES, encode_request, for_each_api};
use parking_lot::Mutex;
use peak_alloc::PeakAlloc;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a frame of some kilobytes may take while it is handled, and the node's own work beside it.
const PEAK_BYTES_MAX: usize = 48 << 20;

static REQUESTS: LazyLock<Vec<schema::Message>> = LazyLock::new(|| {
    let all = schema::messages(include_str!("../../wire/schema/rpc.tsv"), "message", &["api_key"]);
    all.into_iter().filter(|message| message.name.ends_with("Request")).collect()
});

#[derive(Clone, Debug)]
enum Body {
    /// A request as the tables say, with random content.
    Generated { request: Index, version: Index, seed: u64 },
    /// A produce of a real batch to a partition that there is, damaged itself.
    Produce {
        version: i16,
        codec: usize,
        records: usize,
        batch_damage: Vec<(Index, u8)>,
        mends_checksum: bool,
    },
}

#[derive(Clone, Debug)]
struct Frame {
    body: Body,
    damage: Vec<(Index, u8)>,
    cut: Option<Index>,
}

fn frame() -> impl Strategy<Value = Frame> {
    let damage = |max| {
        vec((any::<Index>(), prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7f), Just(0xff)]), 0..max)
    };
    let body = prop_oneof![
        4 => (any::<Index>(), any::<Index>(), any::<u64>())
            .prop_map(|(request, version, seed)| Body::Generated { request, version, seed }),
        1 => (3..14i16, 0..5usize, 1..4usize, damage(4), any::<bool>()).prop_map(
            |(version, codec, records, batch_damage, mends_checksum)| Body::Produce {
                version, codec, records, batch_damage, mends_checksum
            }
        ),
    ];
    (body, damage(4), proptest::option::weighted(0.1, any::<Index>())).prop_map(|(body, damage, cut)| Frame {
        body,
        damage,
        cut,
    })
}

impl Frame {
    /// Without its length.
    fn bytes(&self) -> Bytes {
        let mut bytes = match &self.body {
            Body::Generated { request, version, seed } => generated(request, version, *seed),
            Body::Produce { version, codec, records, batch_damage, mends_checksum } => {
                produce(*version, *codec, *records, batch_damage, *mends_checksum)
            }
        };
        for (at, byte) in &self.damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Some(cut) = self.cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        Bytes::from(bytes)
    }
}

fn generated(request: &Index, version: &Index, seed: u64) -> Vec<u8> {
    let message = request.get(&REQUESTS);
    let (low, high) = (message.valid.low, message.valid.high);
    let version = low + version.index((high - low) as usize + 1) as i16;
    let key: i16 = message.facts[0].parse().expect("an API key");
    let mut frame = key.to_be_bytes().to_vec();
    frame.extend(version.to_be_bytes());
    frame.extend(7i32.to_be_bytes());
    // The client's id.
    frame.extend([0, 1, b'c']);
    if message.flexible.is_some_and(|flexible| flexible.contains(version)) {
        frame.push(0);
    }
    frame.extend(generate::message(message, version, &mut Random(seed)));
    frame
}

fn produce(
    version: i16,
    codec: usize,
    records: usize,
    damage: &[(Index, u8)],
    mends_checksum: bool,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Compression::new(Codec::ALL[codec]),
        producer_id: ProducerId(3),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        ..BatchOptions::default()
    });
    for _ in 0..records {
        let record = NewRecord {
            timestamp: Timestamp(1_700_000_000_000),
            key: Some(b"key"),
            value: Some(&[b'v'; 100]),
            headers: &[],
        };
        builder.append(&record).expect("a sound record");
    }
    let mut batch = builder.build().expect("a sound batch");
    for (at, byte) in damage {
        let at = at.index(batch.len());
        batch[at] = *byte;
    }
    if mends_checksum && let Ok(mut batch) = BatchMut::parse(&mut batch) {
        batch.update_crc();
    }
    let partition = PartitionData { index: 0, records: Some(batch.into()), ..PartitionData::default() };
    let topic = TopicData { name: "t".into(), partition_data: vec![partition], ..TopicData::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 100, topic_data: vec![topic], ..ProduceRequest::default() };
    // The topic's id stands where its name does not any more, and is unknown.
    let encoded = encode_request(7, Some("c"), &request, version.min(12)).expect("it encodes");
    encoded.bytes[FRAME_LENGTH_BYTES..].to_vec()
}

#[derive(Debug, Default)]
struct Sink(Mutex<Option<Reply>>);

impl ReplySink for Sink {
    fn reply(&self, _: u64, reply: Reply) {
        assert!(self.0.lock().replace(reply).is_none(), "a request is answered once");
    }
}

fn node() -> SteppedNode {
    let mut node = SteppedNode::start(&[("log.index.interval.bytes", "64")]);
    let topic =
        NewTopic { name: "t".into(), num_partitions: 2, replication_factor: 1, ..NewTopic::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    let created = node.ask(&request, 5);
    assert_eq!(created.topics[0].error_code, 0);
    node.run_until(|node| node.node.logs().logs().len() >= 2);
    node
}

/// Answers are read as well: a slice of a file is part of them.
fn check(node: &mut SteppedNode, frame: &Frame) {
    let bytes = frame.bytes();
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let sink = Arc::new(Sink::default());
    let connection = connection(9);
    let sender = Arc::clone(&sink) as Arc<dyn ReplySink>;
    node.deliver(&connection, bytes, ReplySlot::new(sender, 0));
    for ms in [0, 1, 10, 1_000] {
        node.pass_ms(ms);
        if sink.0.lock().is_some() {
            break;
        }
    }
    // A client that asks for more time than that has gone.
    node.closed(&connection);
    if let Some(Reply::Send(frame)) = &*sink.0.lock() {
        collect(frame).expect("what was promised is there");
    }
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(peak < PEAK_BYTES_MAX, "{peak} bytes for {frame:?}");
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn a_node_lives_through_any_frames(frames in vec(frame(), 1..120)) {
        let mut node = node();
        for frame in &frames {
            check(&mut node, frame);
        }
        node.ask(&ApiVersionsRequest::default(), 0);
        node.ask(&MetadataRequest::default(), 12);
        // What was written by then can be read again.
        let (disk, now) = node.kill();
        let mut node = SteppedNode::try_start(disk, &[], now).expect("it starts again");
        for _ in 0..100 {
            node.pass_ms(10);
        }
        node.ask(&ApiVersionsRequest::default(), 0);
    }
}

#[test]
fn every_request_has_a_table() {
    macro_rules! names {
        ($(($key:ident, $request:ident, $response:ident))*) => { [$(stringify!($request)),*] };
    }
    for name in for_each_api!(names) {
        assert!(REQUESTS.iter().any(|message| message.name == name), "{name}");
    }
}
