use bytes::Bytes;
use ottla_wire::messages::ProduceRequest;
use ottla_wire::messages::produce_request::{PartitionData, TopicData};
use ottla_wire::{Message, encode_request, encode_request_pieces};

fn request(sizes: &[Option<usize>], version: i16) -> ProduceRequest {
    let partition = |(size, index): (&Option<usize>, i32)| PartitionData {
        index,
        records: size.map(|size| Bytes::from(vec![index as u8 + 1; size])),
        ..Default::default()
    };
    let name = if version < 13 { "topic" } else { "" };
    let partition_data = sizes.iter().zip(0..).map(partition).collect();
    let topic = TopicData { name: name.to_owned(), partition_data, ..Default::default() };
    ProduceRequest { topic_data: vec![topic], ..Default::default() }
}

#[test]
fn pieces_are_the_frame_and_large_records_are_not_copied() {
    let sizes = [None, Some(0), Some(511), Some(512), Some(100_000), Some(600), Some(1)];
    for version in ProduceRequest::VERSIONS.iter() {
        for sizes in [&sizes[..], &sizes[..1], &sizes[3..4], &[]] {
            let request = request(sizes, version);
            let frame = encode_request(7, Some("c"), &request, version).unwrap();
            let pieces = encode_request_pieces(7, Some("c"), &request, version).unwrap();
            assert_eq!(pieces.concat(), frame.bytes, "version {version} {sizes:?}");
            let large = sizes.iter().flatten().filter(|size| **size >= 512).count();
            let records =
                request.topic_data[0].partition_data.iter().filter_map(|data| data.records.as_ref());
            let shared = records
                .filter(|records| pieces.iter().any(|p| p.as_ptr() == records.as_ptr() && !p.is_empty()));
            assert_eq!(shared.count(), large, "version {version} {sizes:?}");
        }
    }
}
