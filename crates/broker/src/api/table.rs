//! The table of APIs that this node serves. ApiVersions, dispatch and the compatibility page read it, so what is
//! advertised is what is served.

use std::sync::Arc;

use ottla_wire::messages::{
    AddRaftVoterRequest, AllocateProducerIdsRequest, AlterPartitionRequest, AssignReplicasToDirsRequest,
    BeginQuorumEpochRequest, ControllerRegistrationRequest, EndQuorumEpochRequest, FetchSnapshotRequest,
    RemoveRaftVoterRequest, UpdateRaftVoterRequest, VoteRequest,
};
use ottla_wire::{ApiFacts, ApiKey, VersionRange};

use super::dispatch::{RawCall, call};
use super::{
    add_offsets_to_txn, add_partitions_to_txn, alter_configs, alter_partition_reassignments,
    alter_replica_log_dirs, alter_share_group_offsets, api_versions, broker_heartbeat, broker_registration,
    consumer_group_describe, consumer_group_heartbeat, create_partitions, create_topics, delete_groups,
    delete_records, delete_share_group_offsets, delete_share_group_state, delete_topics, describe_cluster,
    describe_configs, describe_groups, describe_log_dirs, describe_producers, describe_quorum,
    describe_share_group_offsets, describe_topic_partitions, describe_transactions, elect_leaders, end_txn,
    envelope, fetch, find_coordinator, for_controllers, heartbeat, incremental_alter_configs,
    init_producer_id, initialize_share_group_state, join_group, leave_group, list_config_resources,
    list_groups, list_offsets, list_partition_reassignments, list_transactions, metadata, offset_commit,
    offset_delete, offset_fetch, offset_for_leader_epoch, produce, quorum, raft_voters,
    read_share_group_state, read_share_group_state_summary, share_acknowledge, share_fetch,
    share_group_describe, share_group_heartbeat, sync_group, txn_offset_commit, unregister_broker,
    update_features, write_share_group_state, write_txn_markers,
};
use crate::node::Node;

/// One API.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    pub key: ApiKey,
    pub handle: fn(&Arc<Node>, RawCall),
    /// The frame of a request with nothing in it, in a version.
    #[cfg(test)]
    pub empty_request: fn(i16) -> bytes::Bytes,
}

macro_rules! apis {
    ($($key:ident => $handler:path,)*) => {
        /// In the order of their keys.
        static APIS: &[Api] = &[$(Api {
            key: ApiKey::$key,
            handle: |node, raw| call(node, raw, $handler),
            #[cfg(test)]
            empty_request: tests::empty_request($handler),
        },)*];
    };
}

apis! {
    Produce => produce::handle,
    Fetch => fetch::handle,
    ListOffsets => list_offsets::handle,
    Metadata => metadata::handle,
    OffsetCommit => offset_commit::handle,
    OffsetFetch => offset_fetch::handle,
    FindCoordinator => find_coordinator::handle,
    JoinGroup => join_group::handle,
    Heartbeat => heartbeat::handle,
    LeaveGroup => leave_group::handle,
    SyncGroup => sync_group::handle,
    DescribeGroups => describe_groups::handle,
    ListGroups => list_groups::handle,
    ApiVersions => api_versions::handle,
    CreateTopics => create_topics::handle,
    DeleteTopics => delete_topics::handle,
    DeleteRecords => delete_records::handle,
    InitProducerId => init_producer_id::handle,
    OffsetForLeaderEpoch => offset_for_leader_epoch::handle,
    AddPartitionsToTxn => add_partitions_to_txn::handle,
    AddOffsetsToTxn => add_offsets_to_txn::handle,
    EndTxn => end_txn::handle,
    WriteTxnMarkers => write_txn_markers::handle,
    TxnOffsetCommit => txn_offset_commit::handle,
    DescribeConfigs => describe_configs::handle,
    AlterConfigs => alter_configs::handle,
    AlterReplicaLogDirs => alter_replica_log_dirs::handle,
    DescribeLogDirs => describe_log_dirs::handle,
    CreatePartitions => create_partitions::handle,
    DeleteGroups => delete_groups::handle,
    ElectLeaders => elect_leaders::handle,
    IncrementalAlterConfigs => incremental_alter_configs::handle,
    AlterPartitionReassignments => alter_partition_reassignments::handle,
    ListPartitionReassignments => list_partition_reassignments::handle,
    OffsetDelete => offset_delete::handle,
    Vote => quorum::handle::<VoteRequest>,
    BeginQuorumEpoch => quorum::handle::<BeginQuorumEpochRequest>,
    EndQuorumEpoch => quorum::handle::<EndQuorumEpochRequest>,
    DescribeQuorum => describe_quorum::handle,
    AlterPartition => for_controllers::handle::<AlterPartitionRequest>,
    UpdateFeatures => update_features::handle,
    Envelope => envelope::handle,
    FetchSnapshot => quorum::handle::<FetchSnapshotRequest>,
    DescribeCluster => describe_cluster::handle,
    DescribeProducers => describe_producers::handle,
    BrokerRegistration => broker_registration::handle,
    BrokerHeartbeat => broker_heartbeat::handle,
    UnregisterBroker => unregister_broker::handle,
    DescribeTransactions => describe_transactions::handle,
    ListTransactions => list_transactions::handle,
    AllocateProducerIds => for_controllers::handle::<AllocateProducerIdsRequest>,
    ConsumerGroupHeartbeat => consumer_group_heartbeat::handle,
    ConsumerGroupDescribe => consumer_group_describe::handle,
    ControllerRegistration => for_controllers::handle::<ControllerRegistrationRequest>,
    AssignReplicasToDirs => for_controllers::handle::<AssignReplicasToDirsRequest>,
    ListConfigResources => list_config_resources::handle,
    DescribeTopicPartitions => describe_topic_partitions::handle,
    ShareGroupHeartbeat => share_group_heartbeat::handle,
    ShareGroupDescribe => share_group_describe::handle,
    ShareFetch => share_fetch::handle,
    ShareAcknowledge => share_acknowledge::handle,
    AddRaftVoter => raft_voters::handle::<AddRaftVoterRequest>,
    RemoveRaftVoter => raft_voters::handle::<RemoveRaftVoterRequest>,
    UpdateRaftVoter => quorum::handle::<UpdateRaftVoterRequest>,
    InitializeShareGroupState => initialize_share_group_state::handle,
    ReadShareGroupState => read_share_group_state::handle,
    WriteShareGroupState => write_share_group_state::handle,
    DeleteShareGroupState => delete_share_group_state::handle,
    ReadShareGroupStateSummary => read_share_group_state_summary::handle,
    DescribeShareGroupOffsets => describe_share_group_offsets::handle,
    AlterShareGroupOffsets => alter_share_group_offsets::handle,
    DeleteShareGroupOffsets => delete_share_group_offsets::handle,
}

impl Api {
    /// Every API that is served.
    pub fn all() -> impl Iterator<Item = &'static Api> {
        APIS.iter()
    }

    pub fn find(key: ApiKey) -> Option<&'static Api> {
        APIS.binary_search_by_key(&key.code(), |api| api.key.code()).ok().and_then(|index| APIS.get(index))
    }

    pub fn facts(&self) -> &'static ApiFacts {
        self.key.facts()
    }

    /// The versions that are advertised on a kind of listener; none where the API is not served there.
    pub fn advertised(&self, on_controller: bool) -> Option<VersionRange> {
        let facts = self.facts();
        if on_controller { facts.controller_versions } else { facts.broker_versions }
    }

    /// The versions that are served on a kind of listener. Produce is advertised from 0 on, because old clients
    /// ask for that, and served from 3 on (KAFKA-18659).
    pub fn served(&self, on_controller: bool) -> Option<VersionRange> {
        let advertised = self.advertised(on_controller)?;
        let schema = self.facts().schema_versions?;
        Some(VersionRange::new(advertised.min.max(schema.min), advertised.max.min(schema.max)))
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::{FRAME_LENGTH_BYTES, Request, encode_request};

    use super::*;
    use crate::api::Call;

    /// The handler says of which API.
    pub(super) const fn empty_request<R: Request>(_: fn(&Arc<Node>, Call<R>)) -> fn(i16) -> bytes::Bytes {
        |version| {
            let frame = encode_request(1, None, &R::default(), version).expect("any version has defaults");
            frame.bytes.slice(FRAME_LENGTH_BYTES..)
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_the_keys() {
        assert!(APIS.is_sorted_by_key(|api| api.key.code()));
        for api in APIS {
            assert_eq!(Api::find(api.key).map(|found| found.key), Some(api.key));
        }
    }
}
