//! How long the two messages of the data path take: `cargo run --release -p ottla-wire --example codec_speed`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use ottla_types::Uuid;
use ottla_wire::messages::fetch_response::{Partition, Response};
use ottla_wire::messages::produce_request::{PartitionData, TopicData};
use ottla_wire::messages::{FetchResponse, ProduceRequest};
use ottla_wire::{Message, Records, encode_response};

const ROUNDS: u32 = 200_000;

fn measure(what: &str, partitions: usize, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    let each = start.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("{what}, {partitions} partitions: {each} ns, {} ns a partition", each / partitions as u128);
}

fn main() {
    for partitions in [1, 6, 100] {
        let partition_data = (0..partitions as i32)
            .map(|index| PartitionData {
                index,
                records: Some(Bytes::from_static(&[0; 128])),
                ..Default::default()
            })
            .collect();
        let topic = TopicData { name: "some-topic".into(), partition_data, ..Default::default() };
        let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
        let frame = request.to_bytes(12).unwrap();
        measure("Produce v12 request decoded", partitions, || {
            black_box(ProduceRequest::from_bytes(black_box(frame.clone()), 12)).unwrap();
        });

        let partitions_data = (0..partitions as i32)
            .map(|partition_index| Partition {
                partition_index,
                records: Records::External { len: 1 << 20, token: 0 },
                ..Default::default()
            })
            .collect();
        let topic = Response { topic_id: Uuid([1; 16]), partitions: partitions_data, ..Default::default() };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        measure("Fetch v17 response encoded", partitions, || {
            black_box(encode_response(1, black_box(&response), 17)).unwrap();
        });
    }
}
