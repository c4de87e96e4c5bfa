//! What a share consumer asks of a node.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;
use ottla_wire::messages::{ShareAcknowledgeRequest, ShareFetchRequest, share_fetch_request};

use super::ShareMachine;
use crate::share::core::held;
use crate::share::core::membership::IdPartition;

impl ShareMachine {
    pub(super) fn acknowledging(
        &self,
        share_session_epoch: i32,
        is_renew_ack: bool,
        sent: BTreeMap<IdPartition, held::Batches>,
    ) -> ShareAcknowledgeRequest {
        ShareAcknowledgeRequest {
            group_id: Some(self.membership.group_id().to_owned()),
            member_id: Some(self.membership.member_id().to_owned()),
            share_session_epoch,
            is_renew_ack,
            topics: held::for_acknowledge(sent),
            ..ShareAcknowledgeRequest::default()
        }
    }

    pub(super) fn fetching(
        &self,
        share_session_epoch: i32,
        wanted: &BTreeSet<IdPartition>,
        before: &BTreeSet<IdPartition>,
        mut sent: BTreeMap<IdPartition, held::Batches>,
    ) -> ShareFetchRequest {
        let mut topics: BTreeMap<Uuid, Vec<share_fetch_request::Partition>> = BTreeMap::new();
        for key in wanted {
            let batches = sent.remove(key);
            if before.contains(key) && batches.is_none() {
                continue;
            }
            topics.entry(key.0).or_default().push(share_fetch_request::Partition {
                partition_index: key.1,
                acknowledgement_batches: batches.map(held::for_fetch).unwrap_or_default(),
                ..Default::default()
            });
        }
        let mut forgotten: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (topic_id, partition) in before.difference(wanted) {
            forgotten.entry(*topic_id).or_default().push(*partition);
        }
        let topic = |(topic_id, partitions)| share_fetch_request::Topic {
            topic_id,
            partitions,
            ..Default::default()
        };
        let forgotten_topic = |(topic_id, partitions)| share_fetch_request::ForgottenTopicsData {
            topic_id,
            partitions,
            ..Default::default()
        };
        let settings = &self.settings;
        let records_max = i32::try_from(settings.max_poll_records).unwrap_or(i32::MAX);
        ShareFetchRequest {
            group_id: Some(self.membership.group_id().to_owned()),
            member_id: Some(self.membership.member_id().to_owned()),
            share_session_epoch,
            max_wait_ms: settings.fetch_max_wait_ms,
            min_bytes: settings.fetch_min_bytes,
            max_bytes: settings.fetch_max_bytes,
            max_records: records_max,
            batch_size: records_max,
            share_acquire_mode: i8::from(settings.is_record_limit),
            topics: topics.into_iter().map(topic).collect(),
            forgotten_topics_data: forgotten.into_iter().map(forgotten_topic).collect(),
            ..ShareFetchRequest::default()
        }
    }
}
