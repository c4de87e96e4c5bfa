//! What the proxy answers itself.

use bytes::Bytes;
use ottla_wire::messages as m;
use ottla_wire::{ApiKey, ErrorCode, Message, RequestHeader};

use crate::proxy::encoded;
use crate::scene::Scene;
use crate::streams;

/// What comes of a request before it reaches the node.
#[derive(Debug)]
pub enum Own {
    Answer(Bytes),
    /// Nobody answers it.
    Silence,
    /// It is for the node.
    None,
}

pub fn own_answer(header: &RequestHeader, body: Bytes, scene: &Scene) -> Own {
    let name = Some(header.api_key.facts().name);
    if scene.mute.as_deref() == name {
        return Own::Silence;
    }
    if scene.passes.as_deref() == name {
        return Own::None;
    }
    if header.api_key == ApiKey::Produce {
        return produced(header, body, scene.refusal);
    }
    let answer = empty_answer(header).or_else(|| own_answer_to(header, body));
    answer.map_or(Own::None, Own::Answer)
}

fn produced(header: &RequestHeader, body: Bytes, error_code: i16) -> Own {
    use m::produce_response::{PartitionResponse, Response};
    let request = m::ProduceRequest::from_bytes(body, header.api_version).unwrap();
    if request.acks == 0 {
        return Own::Silence;
    }
    let topic = |topic: m::produce_request::TopicData| Response {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|of| PartitionResponse { index: of.index, error_code, ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let responses = request.topic_data.into_iter().map(topic).collect();
    Own::Answer(encoded(&m::ProduceResponse { responses, ..Default::default() }, header))
}

macro_rules! own_answers {
    ($($api:ident $response:ident,)*) => {
        /// To what changes something, and to what the node doesn't serve: nothing went wrong, and nothing is there.
        fn empty_answer(header: &RequestHeader) -> Option<Bytes> {
            match header.api_key {
                $(ApiKey::$api => Some(encoded(&m::$response::default(), header)),)*
                _ => None,
            }
        }
    };
}

own_answers! {
    CreatePartitions CreatePartitionsResponse,
    AlterConfigs AlterConfigsResponse,
    IncrementalAlterConfigs IncrementalAlterConfigsResponse,
    AlterReplicaLogDirs AlterReplicaLogDirsResponse,
    ElectLeaders ElectLeadersResponse,
    AlterPartitionReassignments AlterPartitionReassignmentsResponse,
    OffsetDelete OffsetDeleteResponse,
    DeleteGroups DeleteGroupsResponse,
    DeleteShareGroupOffsets DeleteShareGroupOffsetsResponse,
    AlterShareGroupOffsets AlterShareGroupOffsetsResponse,
    UpdateFeatures UpdateFeaturesResponse,
    UnregisterBroker UnregisterBrokerResponse,
    AddRaftVoter AddRaftVoterResponse,
    RemoveRaftVoter RemoveRaftVoterResponse,
    AlterClientQuotas AlterClientQuotasResponse,
    AlterUserScramCredentials AlterUserScramCredentialsResponse,
    CreateAcls CreateAclsResponse,
    DeleteAcls DeleteAclsResponse,
    DescribeAcls DescribeAclsResponse,
    CreateDelegationToken CreateDelegationTokenResponse,
    RenewDelegationToken RenewDelegationTokenResponse,
    ExpireDelegationToken ExpireDelegationTokenResponse,
    DescribeDelegationToken DescribeDelegationTokenResponse,
    DescribeClientQuotas DescribeClientQuotasResponse,
    DescribeUserScramCredentials DescribeUserScramCredentialsResponse,
}

/// Where an answer without what was asked for would be waited for again.
fn own_answer_to(header: &RequestHeader, body: Bytes) -> Option<Bytes> {
    let version = header.api_version;
    match header.api_key {
        ApiKey::CreateTopics => {
            let topic = |topic: m::create_topics_request::Topic| {
                // It is there.
                let error = if topic.name == "t" { ErrorCode::TopicAlreadyExists } else { ErrorCode::None };
                let error_code = error.code();
                m::create_topics_response::Topic { name: topic.name, error_code, ..Default::default() }
            };
            let topics = m::CreateTopicsRequest::from_bytes(body, version).unwrap().topics;
            let topics = topics.into_iter().map(topic).collect();
            Some(encoded(&m::CreateTopicsResponse { topics, ..Default::default() }, header))
        }
        ApiKey::DeleteTopics => {
            let request = m::DeleteTopicsRequest::from_bytes(body, version).unwrap();
            let named = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
            let all =
                named.chain(request.topic_names.into_iter().map(|name| (Some(name), Default::default())));
            let topic = |(name, topic_id)| m::delete_topics_response::Response {
                name,
                topic_id,
                ..Default::default()
            };
            let responses = all.map(topic).collect();
            Some(encoded(&m::DeleteTopicsResponse { responses, ..Default::default() }, header))
        }
        ApiKey::OffsetCommit => {
            let topic = |topic: m::offset_commit_request::Topic| m::offset_commit_response::Topic {
                name: topic.name,
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|of| m::offset_commit_response::Partition {
                        partition_index: of.partition_index,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            let topics = m::OffsetCommitRequest::from_bytes(body, version).unwrap().topics;
            let topics = topics.into_iter().map(topic).collect();
            Some(encoded(&m::OffsetCommitResponse { topics, ..Default::default() }, header))
        }
        ApiKey::DescribeGroups => {
            let request = m::DescribeGroupsRequest::from_bytes(body, version).unwrap();
            let answer = || m::DescribeGroupsResponse { groups: vec![busy_group()], ..Default::default() };
            (request.groups == ["busy"]).then(|| encoded(&answer(), header))
        }
        ApiKey::StreamsGroupDescribe => {
            let request = m::StreamsGroupDescribeRequest::from_bytes(body, version).unwrap();
            Some(encoded(&streams::describe(&request), header))
        }
        ApiKey::DeleteRecords => {
            let topic = |topic: m::delete_records_request::Topic| m::delete_records_response::Topic {
                name: topic.name,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|of| m::delete_records_response::Partition {
                        partition_index: of.partition_index,
                        low_watermark: of.offset,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            let topics = m::DeleteRecordsRequest::from_bytes(body, version).unwrap().topics;
            let topics = topics.into_iter().map(topic).collect();
            Some(encoded(&m::DeleteRecordsResponse { topics, ..Default::default() }, header))
        }
        ApiKey::WriteTxnMarkers => {
            let topic = |topic: m::write_txn_markers_request::Topic| m::write_txn_markers_response::Topic {
                name: topic.name,
                partitions: topic
                    .partition_indexes
                    .iter()
                    .map(|index| m::write_txn_markers_response::Partition {
                        partition_index: *index,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            let marker =
                |marker: m::write_txn_markers_request::Marker| m::write_txn_markers_response::Marker {
                    producer_id: marker.producer_id,
                    topics: marker.topics.into_iter().map(topic).collect(),
                    ..Default::default()
                };
            let markers = m::WriteTxnMarkersRequest::from_bytes(body, version).unwrap().markers;
            let markers = markers.into_iter().map(marker).collect();
            Some(encoded(&m::WriteTxnMarkersResponse { markers, ..Default::default() }, header))
        }
        _ => None,
    }
}

/// A group that has a member, as long as it is asked for.
fn busy_group() -> m::describe_groups_response::Group {
    use m::describe_groups_response::{Group, Member};
    Group {
        group_id: "busy".to_owned(),
        group_state: "Stable".to_owned(),
        protocol_type: "consumer".to_owned(),
        members: vec![Member { member_id: "member".to_owned(), ..Default::default() }],
        ..Default::default()
    }
}
