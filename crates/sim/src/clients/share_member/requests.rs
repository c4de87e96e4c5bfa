//! The requests of a member of a share group.

use std::collections::BTreeMap;

use ottla_types::Uuid;
use ottla_wire::messages::{
    IncrementalAlterConfigsRequest, ShareAcknowledgeRequest, ShareFetchRequest, ShareGroupHeartbeatRequest,
};
use ottla_wire::messages::{
    incremental_alter_configs_request, share_acknowledge_request as acknowledge, share_fetch_request as fetch,
};

use super::{Asked, ShareMember, Words};
use crate::clients::World;
use crate::clients::asking::{FIND_VERSION, OF_GROUPS, find};
use crate::event::Word;
use crate::network::{Link, Ticket};

pub(super) const CONFIGURE_VERSION: i16 = 1;
pub(super) const HEARTBEAT_VERSION: i16 = 1;
pub(super) const FETCH_VERSION: i16 = 2;
pub(super) const ACKNOWLEDGE_VERSION: i16 = 2;
const LEAVE: i32 = -1;
const GROUP_RESOURCE: i8 = 32;

impl ShareMember {
    pub(super) fn send(&mut self, asked: &Asked, link: &mut Link, world: &mut World<'_>) -> Ticket {
        let now = world.now.mono;
        match asked {
            Asked::Configure => link.send(&self.configure(), CONFIGURE_VERSION, now, world.rng),
            Asked::Find => {
                let request = find(OF_GROUPS, &self.membership.group);
                link.send(&request, FIND_VERSION, now, world.rng)
            }
            Asked::Beat => {
                self.membership.tell_if_joining(world);
                let topics = self.says_all.then(|| world.topics.lasting.keys().cloned().collect());
                let request = self.heartbeat(self.membership.epoch, topics);
                link.send(&request, HEARTBEAT_VERSION, now, world.rng)
            }
            Asked::Leave => link.send(&self.heartbeat(LEAVE, None), HEARTBEAT_VERSION, now, world.rng),
            Asked::Fetch { words, .. } => {
                let request = self.fetch(words, world);
                link.send(&request, FETCH_VERSION, now, world.rng)
            }
            Asked::Acknowledge { words } => {
                link.send(&self.acknowledge(words), ACKNOWLEDGE_VERSION, now, world.rng)
            }
        }
    }

    fn configure(&self) -> IncrementalAlterConfigsRequest {
        let config = |(name, value): (&str, &str)| incremental_alter_configs_request::Config {
            name: name.to_owned(),
            config_operation: 0,
            value: Some(value.to_owned()),
            ..Default::default()
        };
        let configs =
            [("share.auto.offset.reset", "earliest"), ("share.isolation.level", self.isolation_level)];
        let resource = incremental_alter_configs_request::Resource {
            resource_type: GROUP_RESOURCE,
            resource_name: self.membership.group.clone(),
            configs: configs.map(config).to_vec(),
            ..Default::default()
        };
        IncrementalAlterConfigsRequest {
            resources: vec![resource],
            ..IncrementalAlterConfigsRequest::default()
        }
    }

    fn heartbeat(&self, epoch: i32, topics: Option<Vec<String>>) -> ShareGroupHeartbeatRequest {
        ShareGroupHeartbeatRequest {
            group_id: self.membership.group.clone(),
            member_id: self.membership.member_id.clone(),
            member_epoch: epoch,
            rack_id: None,
            subscribed_topic_names: topics,
            ..ShareGroupHeartbeatRequest::default()
        }
    }

    /// A session is told what differs from what it knows.
    fn fetch(&mut self, words: &Words, world: &mut World<'_>) -> ShareFetchRequest {
        if self.session_epoch == 0 {
            self.in_session.clear();
        }
        let mut named: BTreeMap<(Uuid, i32), &[_]> =
            words.iter().map(|(partition, words)| (*partition, words.as_slice())).collect();
        for partition in self.assigned.difference(&self.in_session) {
            named.entry(*partition).or_default();
        }
        let topics = named.into_iter().map(|((topic_id, partition_index), words)| fetch::Topic {
            topic_id,
            partitions: vec![fetch::Partition {
                partition_index,
                acknowledgement_batches: runs(words)
                    .into_iter()
                    .map(|(first_offset, last_offset, acknowledge_types)| fetch::AcknowledgementBatch {
                        first_offset,
                        last_offset,
                        acknowledge_types,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }],
            ..Default::default()
        });
        let forgotten = self.in_session.difference(&self.assigned);
        let forgotten = forgotten.map(|(topic_id, partition)| fetch::ForgottenTopicsData {
            topic_id: *topic_id,
            partitions: vec![*partition],
            ..Default::default()
        });
        let request = ShareFetchRequest {
            group_id: Some(self.membership.group.clone()),
            member_id: Some(self.membership.member_id.clone()),
            share_session_epoch: self.session_epoch,
            max_wait_ms: world.rng.pick(&[0, 50, 200]),
            min_bytes: 1,
            max_bytes: world.rng.pick(&[500, 1 << 20]),
            max_records: world.rng.pick(&[1, 10, 500]),
            batch_size: world.rng.pick(&[1, 10, 500]),
            share_acquire_mode: world.rng.pick(&[0, 1]),
            topics: topics.collect(),
            forgotten_topics_data: forgotten.collect(),
            ..ShareFetchRequest::default()
        };
        self.in_session.clone_from(&self.assigned);
        request
    }

    fn acknowledge(&self, words: &Words) -> ShareAcknowledgeRequest {
        let topics = words.iter().map(|((topic_id, partition_index), words)| acknowledge::Topic {
            topic_id: *topic_id,
            partitions: vec![acknowledge::Partition {
                partition_index: *partition_index,
                acknowledgement_batches: runs(words)
                    .into_iter()
                    .map(|(first_offset, last_offset, acknowledge_types)| acknowledge::AcknowledgementBatch {
                        first_offset,
                        last_offset,
                        acknowledge_types,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }],
            ..Default::default()
        });
        let renews = words.values().flatten().any(|(_, word)| *word == Word::Renew);
        ShareAcknowledgeRequest {
            group_id: Some(self.membership.group.clone()),
            member_id: Some(self.membership.member_id.clone()),
            share_session_epoch: self.session_epoch,
            is_renew_ack: renews,
            topics: topics.collect(),
            ..ShareAcknowledgeRequest::default()
        }
    }
}

/// Neighbouring offsets together: the first, the last, and what is said of each.
fn runs(words: &[(i64, Word)]) -> Vec<(i64, i64, Vec<i8>)> {
    let mut runs: Vec<(i64, i64, Vec<i8>)> = Vec::new();
    for (offset, word) in words {
        match runs.last_mut() {
            Some((_, last, types)) if *last + 1 == *offset => {
                *last = *offset;
                types.push(word.id());
            }
            _ => runs.push((*offset, *offset, vec![word.id()])),
        }
    }
    runs
}
