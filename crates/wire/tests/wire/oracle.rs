//! Crossed with the crate `kafka-protocol`, which was made independently of this one.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

use crate::codecs;
use crate::generate::{self, Random};

const SEEDS: u64 = 12;

/// What `kafka-protocol` 0.18 doesn't have.
const LACKING: &[(&str, &[i16])] = &[
    ("AddRaftVoterRequest", &[1]),
    ("AddRaftVoterResponse", &[1]),
    ("BrokerHeartbeatRequest", &[2]),
    ("BrokerHeartbeatResponse", &[2]),
    ("DescribeLogDirsRequest", &[5]),
    ("DescribeLogDirsResponse", &[5]),
    ("DescribeShareGroupOffsetsRequest", &[1]),
    ("DescribeShareGroupOffsetsResponse", &[1]),
    ("InitProducerIdRequest", &[6]),
    ("ListOffsetsRequest", &[11]),
    ("ListOffsetsResponse", &[11]),
    ("OffsetCommitRequest", &[10]),
    ("OffsetFetchRequest", &[10]),
    ("ReadShareGroupStateSummaryRequest", &[1]),
    ("ReadShareGroupStateSummaryResponse", &[1]),
    ("ShareAcknowledgeRequest", &[2]),
    ("ShareAcknowledgeResponse", &[2]),
    ("ShareFetchRequest", &[2]),
    ("ShareFetchResponse", &[2]),
    ("StreamsGroupDescribeRequest", &[0]),
    ("StreamsGroupDescribeResponse", &[0]),
    ("StreamsGroupHeartbeatRequest", &[0]),
    ("StreamsGroupHeartbeatResponse", &[0]),
    ("WriteShareGroupStateRequest", &[1]),
    ("WriteShareGroupStateResponse", &[1]),
    ("WriteTxnMarkersRequest", &[2]),
    ("WriteTxnMarkersResponse", &[2]),
];

pub fn is_lacking(name: &str, version: i16) -> bool {
    LACKING.iter().any(|(lacking, versions)| *lacking == name && versions.contains(&version))
}

/// What the other crate writes after it has read `bytes`. `None`: it doesn't have the version.
fn rewrite_there(name: &str, key: i16, bytes: &Bytes, version: i16) -> Option<Result<Bytes, String>> {
    let key = ApiKey::try_from(key).ok()?;
    let (mut input, mut output) = (bytes.clone(), BytesMut::new());
    let result = if name.ends_with("Request") {
        RequestKind::decode(key, &mut input, version).map(|m| m.encode(&mut output, version))
    } else {
        ResponseKind::decode(key, &mut input, version).map(|m| m.encode(&mut output, version))
    };
    Some(match result {
        Ok(Ok(_)) if input.is_empty() => Ok(output.freeze()),
        Ok(Ok(_)) => Err(format!("{} bytes left", input.len())),
        Ok(Err(e)) | Err(e) => Err(format!("{e:#}")),
    })
}

#[test]
fn what_is_written_here_reads_and_writes_the_same_there() {
    let mut lacking = BTreeSet::new();
    for (codec, schema) in codecs::messages() {
        let key: i16 = schema.facts[0].parse().unwrap();
        for version in codec.versions.iter() {
            for seed in 0..SEEDS {
                let generated = Bytes::from(generate::message(&schema, version, &mut Random(seed)));
                let here = (codec.rewrite)(generated, version).unwrap().bytes;
                match rewrite_there(codec.name, key, &here, version) {
                    Some(Ok(there)) => {
                        assert_eq!(here, there, "{} version {version} seed {seed}", codec.name)
                    }
                    Some(Err(e)) if e.contains("version") => _ = lacking.insert((codec.name, version)),
                    Some(Err(e)) => panic!("{} version {version} seed {seed}: {e}", codec.name),
                    None => _ = lacking.insert((codec.name, version)),
                }
            }
        }
    }
    let expected = LACKING.iter().flat_map(|(name, versions)| versions.iter().map(|&v| (*name, v))).collect();
    assert_eq!(lacking, expected);
}
