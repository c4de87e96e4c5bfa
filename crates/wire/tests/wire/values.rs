//! Single values, where a rule of the format is worth a case of its own.

use bytes::Bytes;
use ottla_types::Uuid;
use ottla_wire::messages::fetch_response::{NodeEndpoint, Partition, Response as TopicResponse};
use ottla_wire::messages::produce_request::{PartitionData, TopicData};
use ottla_wire::messages::*;
use ottla_wire::records::*;
use ottla_wire::*;

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.chars().filter_map(|c| Some(c.to_digit(16)? as u8)).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>().into()
}

#[test]
fn varints() {
    #[track_caller]
    fn check(value: i64, bytes: &str) {
        let mut e = Encoder::with_capacity(10);
        e.varlong(value);
        assert_eq!(hex(&e.into_parts().0), bytes);
        assert_eq!(Decoder::new(unhex(bytes)).varlong("f"), Ok(value));
        if let Ok(value) = i32::try_from(value) {
            let mut e = Encoder::with_capacity(5);
            e.varint(value);
            assert_eq!(hex(&e.into_parts().0), bytes);
            assert_eq!(Decoder::new(unhex(bytes)).varint("f"), Ok(value));
        }
    }
    check(0, "00");
    check(-1, "01");
    check(1, "02");
    check(63, "7e");
    check(-64, "7f");
    check(64, "8001");
    check(i32::MAX.into(), "feffffff0f");
    check(i32::MIN.into(), "ffffffff0f");
    check(i64::MAX, "feffffffffffffffff01");
    check(i64::MIN, "ffffffffffffffffff01");
    for too_long in ["8080808010", "808080808000", "ffffffffff"] {
        let error = Decoder::new(unhex(too_long)).uvarint("f").unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::InvalidVarint, "{too_long}");
    }
    let error = Decoder::new(unhex("ffffffffffffffffff02")).uvarlong("f").unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::InvalidVarint);
}

#[track_caller]
fn decode_error<M: Message>(version: i16, bytes: &str) -> String {
    M::from_bytes(unhex(bytes), version).unwrap_err().to_string()
}

#[test]
fn errors_name_field_and_place() {
    let check = |bytes, text: &str| assert_eq!(decode_error::<ListGroupsRequest>(5, bytes), text);
    check("", "ListGroupsRequest.StatesFilter[] at byte 0: 1 bytes are needed, 0 are left");
    check("00 01 00", "ListGroupsRequest.StatesFilter[] at byte 1: null where the version has no null");
    check(
        "ffffffff0f 0000",
        "ListGroupsRequest.StatesFilter[] at byte 5: 4294967294 elements can't be in 2 bytes",
    );
    check("02 02ff 01 00", "ListGroupsRequest.StatesFilter[] at byte 3: no UTF-8");
    check("02 05ff 01 00", "ListGroupsRequest.StatesFilter[] at byte 2: 4 bytes are needed, 3 are left");
    check("01 01 00 00", "ListGroupsRequest at byte 3: 1 bytes are left over");
    check("01 01 01 00 05", "ListGroupsRequest at byte 5: 5 bytes are needed, 0 are left");
    let check = |bytes, text: &str| assert_eq!(decode_error::<HeartbeatRequest>(0, bytes), text);
    check("fffe", "HeartbeatRequest.GroupId at byte 2: a length of -2 can't be");
    check("ffff", "HeartbeatRequest.GroupId at byte 2: null where the version has no null");
    let error = decode_error::<MetadataRequest>(0, "ffffffff");
    assert_eq!(error, "MetadataRequest.Topics[] at byte 4: null where the version has no null");
    assert!(MetadataRequest::from_bytes(unhex("ffffffff"), 1).is_ok());
    let error = decode_error::<HeartbeatRequest>(5, "");
    assert_eq!(error, "HeartbeatRequest at byte 0: version 5 is not one of the schema's");
}

#[test]
fn a_tagged_field_ends_where_its_size_says() {
    let check = |tags: &str, text: &str| {
        let bytes = "00000000 0000 00000000 01 ".to_owned() + tags;
        assert_eq!(decode_error::<FetchResponse>(16, &bytes), text);
    };
    check(
        "01 00 02 01ff",
        "FetchResponse at byte 15: a tagged field's value is 1 bytes, but 2 are announced",
    );
    check("01 00 00 01", "FetchResponse.NodeEndpoints[] at byte 14: 1 bytes are needed, 0 are left");
}

#[test]
fn a_version_that_cannot_carry_a_value_refuses_it() {
    let request = HeartbeatRequest { group_instance_id: Some("i".into()), ..Default::default() };
    let error = request.to_bytes(2).unwrap_err();
    assert_eq!(error.kind, EncodeErrorKind::NotInVersion);
    assert_eq!((error.field, error.version), ("HeartbeatRequest.GroupInstanceId", 2));
    assert!(request.to_bytes(3).is_ok());
    assert_eq!(request.to_bytes(5).unwrap_err().kind, EncodeErrorKind::UnsupportedVersion);

    // Ignorable.
    let request = FetchRequest { rack_id: "r".into(), ..Default::default() };
    assert_eq!(request.to_bytes(10).unwrap(), FetchRequest::default().to_bytes(10).unwrap());

    // Tagged.
    let endpoint = NodeEndpoint { node_id: 1, ..Default::default() };
    let response = FetchResponse { node_endpoints: vec![endpoint], ..Default::default() };
    assert_eq!(response.to_bytes(15).unwrap_err().kind, EncodeErrorKind::NotInVersion);

    // Null where only later versions have it.
    let request = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(request.to_bytes(0).unwrap_err().kind, EncodeErrorKind::UnexpectedNull);
    assert!(request.to_bytes(1).is_ok());
    assert_eq!(MetadataRequest::default().topics, Some(vec![]));

    let request = HeartbeatRequest { group_id: "g".repeat(1 << 15), ..Default::default() };
    assert_eq!(request.to_bytes(4).unwrap_err().kind, EncodeErrorKind::TooLong { length: 1 << 15 });
}

#[test]
fn unknown_tagged_fields_come_back() {
    let mut request = HeartbeatRequest::default();
    request.unknown_tagged_fields.push(3, Bytes::from_static(b"x"));
    let bytes = request.to_bytes(4).unwrap();
    assert_eq!(hex(&bytes), "01000000000100 01030178".replace(' ', ""));
    assert_eq!(HeartbeatRequest::from_bytes(bytes, 4), Ok(request.clone()));
    assert_eq!(request.to_bytes(3).unwrap_err().kind, EncodeErrorKind::NotInVersion);
}

#[test]
fn bytes_and_records_are_slices_of_the_frame() {
    let partition = PartitionData { records: Some(Bytes::from(vec![7; 1000])), ..Default::default() };
    let topic = TopicData { partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let frame = request.to_bytes(12).unwrap();
    let read = ProduceRequest::from_bytes(frame.clone(), 12).unwrap();
    let records = read.topic_data[0].partition_data[0].records.clone().unwrap();
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));
}

fn fetch_response(records: Vec<Records>) -> FetchResponse {
    let partition = |records| Partition { records, ..Default::default() };
    let partitions = records.into_iter().map(partition).collect();
    let topic = TopicResponse { topic_id: Uuid([1; 16]), partitions, ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

/// The frame as it goes over the wire, with `byte(token)` for each byte from outside.
fn spliced(frame: &EncodedFrame, byte: impl Fn(u64) -> u8) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    for splice in &frame.splices {
        out.extend(&frame.bytes[at..splice.position]);
        out.extend(vec![byte(splice.token); splice.len as usize]);
        at = splice.position;
    }
    out.extend(&frame.bytes[at..]);
    assert_eq!(out.len() as u64, frame.len());
    out
}

#[test]
fn external_records_give_the_frame_that_records_in_memory_give() {
    let bytes = |value: u8, len: usize| Records::Bytes(vec![value; len].into());
    let external = |token, len| Records::External { len, token };
    let there =
        fetch_response(vec![bytes(1, 300), Records::Null, bytes(2, 5), bytes(3, 0), bytes(4, 70_000)]);
    let outside = fetch_response(vec![
        external(1, 300),
        Records::Null,
        bytes(2, 5),
        external(3, 0),
        external(4, 70_000),
    ]);
    for version in FetchResponse::VERSIONS.iter() {
        let whole = encode_response(9, &there, version).unwrap();
        let parts = encode_response(9, &outside, version).unwrap();
        assert_eq!(parts.splices.len(), 3);
        assert_eq!(parts.len(), whole.len());
        assert!(parts.bytes.len() < 2000);
        assert_eq!(spliced(&parts, |token| token as u8), whole.bytes, "version {version}");
        assert_eq!(there.encoded_len(version), outside.encoded_len(version));
        let (header, read) = decode_response::<FetchResponse>(whole.bytes.slice(4..), version).unwrap();
        assert_eq!(header.correlation_id, 9);
        assert_eq!(read == there, version >= 13, "topic ids come with version 13");
    }
}

#[test]
fn frames() {
    let request = ApiVersionsRequest {
        client_software_name: "ottla".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let frame = encode_request(7, Some("me"), &request, 3).unwrap();
    // Length, key, version, correlation id, client id (not compact), no tagged fields; then the body.
    let expected = "00000016 0012 0003 00000007 0002 6d65 00 06 6f74746c61 02 31 00".replace(' ', "");
    assert_eq!(hex(&frame.bytes), expected);

    let mut d = Decoder::new(frame.bytes.slice(4..));
    let header = decode_request_header(&mut d).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (ApiKey::ApiVersions, 3, 7));
    assert_eq!(header.client_id.as_deref(), Some("me"));
    assert_eq!(ApiVersionsRequest::decode(&mut d, 3), Ok(request));
    assert_eq!(d.finish("frame"), Ok(()));
    let mut e = Encoder::with_capacity(0);
    header.encode(&mut e).unwrap();
    assert_eq!(e.into_parts().0, frame.bytes[4..4 + 13]);

    // A header with tagged fields in the answer, and the one API that never has them.
    let frame = encode_response(7, &HeartbeatResponse::default(), 4).unwrap();
    assert_eq!(hex(&frame.bytes), "0000000c 00000007 00 00000000 0000 00".replace(' ', ""));
    let frame = encode_response(7, &ApiVersionsResponse::default(), 3).unwrap();
    assert_eq!(hex(&frame.bytes), "0000000c 00000007 0000 01 00000000 00".replace(' ', ""));

    let error = decode_request_header(&mut Decoder::new(unhex("03e7 0000 00000001 ffff"))).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::UnknownApiKey { key: 999 });
}

#[test]
fn header_versions_follow_from_key_and_version() {
    macro_rules! check {
        ($(($key:ident, $request:ident, $response:ident))*) => {$(
            for version in $request::VERSIONS.iter() {
                let key = ApiKey::$key;
                assert_eq!(key.request_header_version(version), <$request as Request>::header_version(version));
                assert_eq!(key.response_header_version(version), <$response as Response>::header_version(version));
            }
        )*};
    }
    for_each_api!(check);
    assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
    assert_eq!(ApiKey::ApiVersions.request_header_version(99), 2);
}

#[test]
fn coordinator_records() {
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 1 };
    let value = OffsetCommitValue { offset: 5, commit_timestamp: 6, ..Default::default() };
    let record = ConsumerOffsetsRecord::OffsetCommit(key.clone(), Some(value));
    let key_bytes = record.encode_key().unwrap();
    assert_eq!(hex(&key_bytes), "0001 0001 67 0001 74 00000001".replace(' ', ""));
    for version in [3, 4] {
        let value_bytes = record.encode_value(version).unwrap();
        let read = ConsumerOffsetsRecord::decode(key_bytes.clone(), value_bytes);
        assert_eq!(read, Ok((record.clone(), Some(version))));
    }
    let tombstone = ConsumerOffsetsRecord::OffsetCommit(key, None);
    assert_eq!(ConsumerOffsetsRecord::decode(key_bytes.clone(), None), Ok((tombstone.clone(), None)));
    assert!(tombstone.is_tombstone());
    assert_eq!(tombstone.encode_value(0), Ok(None));

    // A key of an unknown type, and a value of an unknown version.
    for (key, value) in [(unhex("0063 01"), unhex("0000 05")), (key_bytes, unhex("0063 01"))] {
        let (record, version) = ConsumerOffsetsRecord::decode(key.clone(), Some(value.clone())).unwrap();
        assert_eq!(record, ConsumerOffsetsRecord::Unknown { key: key.clone(), value: Some(value.clone()) });
        assert_eq!(version, None);
        assert_eq!((record.encode_key(), record.encode_value(0)), (Ok(key), Ok(Some(value))));
    }
}

#[test]
fn metadata_records() {
    let topic = TopicRecord { name: "t".into(), topic_id: Uuid([1; 16]), ..Default::default() };
    let bytes = MetadataRecord::from(topic.clone()).encode(0).unwrap();
    assert_eq!(hex(&bytes), format!("01 02 00 02 74 {} 00", "01".repeat(16)).replace(' ', ""));
    assert_eq!(MetadataRecord::decode(bytes), Ok((MetadataRecord::Topic(topic), 0)));

    for unknown in ["01 8101 02 0102", "01 02 07 ff"] {
        let (record, version) = MetadataRecord::decode(unhex(unknown)).unwrap();
        assert!(matches!(record, MetadataRecord::Unknown { .. }));
        assert_eq!(hex(&record.encode(version).unwrap()), unknown.replace(' ', ""));
    }
    for bad in ["", "00 02 00", "02 02 00", "01 14 00 00 00", "01 02 ffffffff0f"] {
        assert!(MetadataRecord::decode(unhex(bad)).is_err(), "{bad}");
    }
}

#[test]
fn control_records() {
    let commit = ControlRecord::Commit(EndTxnMarker { coordinator_epoch: 3 });
    assert_eq!(hex(&commit.encode_key()), "00000001");
    assert_eq!(hex(&commit.encode_value().unwrap()), "000000000003");
    let change = LeaderChangeMessage { version: 1, leader_id: 2, ..Default::default() };
    for record in
        [commit, ControlRecord::LeaderChange(change), ControlRecord::Voters(VotersRecord::default())]
    {
        let read = ControlRecord::decode(record.encode_key(), record.encode_value().unwrap());
        assert_eq!(read, Ok(record));
    }
    let (key, value) = (unhex("0000 0063"), unhex("01"));
    let unknown = ControlRecord::decode(key.clone(), value.clone()).unwrap();
    assert_eq!((unknown.encode_key(), unknown.encode_value()), (key, Ok(value)));
}

#[test]
fn group_members_may_be_newer() {
    let subscription = ConsumerProtocolSubscription { topics: vec!["t".into()], ..Default::default() };
    let bytes = encode_versioned(&subscription, 3).unwrap();
    assert_eq!(decode_versioned(bytes.clone()), Ok((subscription.clone(), 3)));
    let newer = Bytes::from([&[0, 9], &bytes[2..], b"more"].concat());
    assert_eq!(decode_versioned_or_latest(newer.clone()), Ok((subscription, 9)));
    assert!(decode_versioned::<ConsumerProtocolSubscription>(newer).is_err());
}

/// A tagged struct that may be null has a varint in front instead of a byte, and its default is not null.
#[test]
fn nullable_structs() {
    let check = |classic_member_metadata, tagged: &str| {
        let value = ConsumerGroupMemberMetadataValue { classic_member_metadata, ..Default::default() };
        let bytes = value.to_bytes(0).unwrap();
        let tags = "01 01 01 01 01 01 ffffffff 01".replace(' ', "");
        assert_eq!(hex(&bytes), tags + &tagged.replace(' ', ""));
        assert_eq!(ConsumerGroupMemberMetadataValue::from_bytes(bytes, 0), Ok(value));
    };
    use consumer_group_member_metadata_value::ClassicMemberMetadata;
    check(Some(ClassicMemberMetadata::default()), "00");
    check(None, "01 00 01 00");
    let classic = ClassicMemberMetadata { session_timeout_ms: 1, ..Default::default() };
    check(Some(classic), "01 00 07 01 00000001 01 00");

    let mut request = DescribeTopicPartitionsRequest::default();
    assert_eq!(hex(&request.to_bytes(0).unwrap()), "01000007d0ff00");
    request.cursor = Some(Default::default());
    assert_eq!(hex(&request.to_bytes(0).unwrap()), "01000007d0 01 01 00000000 00 00".replace(' ', ""));
}
