//! What members of a classic group tell each other through the coordinator, which doesn't look into it: subscriptions
//! in JoinGroup, assignments in SyncGroup. Both start with a version; later versions only add fields at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_types::TopicPartition;
use ottla_wire::records::consumer_protocol_assignment::AssignedPartition;
use ottla_wire::records::consumer_protocol_subscription::OwnedPartition;
use ottla_wire::records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::{DecodeError, Decoder, EncodeError, Message};

use super::assignors::Assignment;

/// `protocol_type` of groups of consumers.
pub const PROTOCOL_TYPE: &str = "consumer";

/// "No generation", as it is written.
pub const NO_GENERATION: i32 = -1;

/// What a member says when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub topics: Vec<Arc<str>>,
    /// For the assignor that it was made for.
    pub user_data: Option<Bytes>,
    /// What the member keeps while it joins: nothing under the eager protocol.
    pub owned_partitions: Vec<TopicPartition>,
    /// In which generation it got them.
    pub generation: Option<i32>,
    /// `client.rack`.
    pub rack_id: Option<String>,
}

impl Subscription {
    /// In the newest version.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let owned = by_topic(&self.owned_partitions)
            .into_iter()
            .map(|(topic, partitions)| OwnedPartition { topic, partitions });
        let mut topics: Vec<String> = self.topics.iter().map(|topic| topic.to_string()).collect();
        topics.sort_unstable();
        encode(&ConsumerProtocolSubscription {
            topics,
            user_data: self.user_data.clone(),
            owned_partitions: owned.collect(),
            generation_id: self.generation.unwrap_or(NO_GENERATION),
            rack_id: self.rack_id.clone(),
        })
    }

    /// Reads any version, also later ones.
    pub fn decode(bytes: &Bytes) -> Result<Subscription, DecodeError> {
        let read: ConsumerProtocolSubscription = decode(bytes)?;
        let owned = read.owned_partitions.into_iter().flat_map(|of| partitions(of.topic, of.partitions));
        Ok(Subscription {
            topics: read.topics.into_iter().map(Arc::from).collect(),
            user_data: read.user_data,
            owned_partitions: owned.collect(),
            generation: Some(read.generation_id).filter(|generation| *generation >= 0),
            rack_id: read.rack_id,
        })
    }
}

impl Assignment {
    /// In the newest version.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let assigned = by_topic(&self.partitions)
            .into_iter()
            .map(|(topic, partitions)| AssignedPartition { topic, partitions });
        encode(&ConsumerProtocolAssignment {
            assigned_partitions: assigned.collect(),
            user_data: self.user_data.clone(),
        })
    }

    /// Reads any version, also later ones. No bytes at all are an empty assignment: a member that the leader doesn't
    /// know gets that.
    pub fn decode(bytes: &Bytes) -> Result<Assignment, DecodeError> {
        if bytes.is_empty() {
            return Ok(Assignment::default());
        }
        let read: ConsumerProtocolAssignment = decode(bytes)?;
        let assigned =
            read.assigned_partitions.into_iter().flat_map(|of| partitions(of.topic, of.partitions));
        Ok(Assignment { partitions: assigned.collect(), user_data: read.user_data })
    }
}

fn encode<M: Message>(message: &M) -> Result<Bytes, EncodeError> {
    let version = M::VERSIONS.max;
    let body = message.to_bytes(version)?;
    let mut bytes = BytesMut::with_capacity(size_of::<i16>() + body.len());
    bytes.put_i16(version);
    bytes.put_slice(&body);
    Ok(bytes.freeze())
}

fn decode<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    let mut reader = Decoder::new(bytes.clone());
    let version = reader.i16("version")?;
    M::decode(&mut reader, version.min(M::VERSIONS.max))
}

fn by_topic(partitions: &[TopicPartition]) -> Vec<(String, Vec<i32>)> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    topics.into_iter().map(|(topic, partitions)| (topic.to_owned(), partitions)).collect()
}

fn partitions(topic: String, partitions: Vec<i32>) -> impl Iterator<Item = TopicPartition> {
    let topic: Arc<str> = topic.into();
    partitions.into_iter().map(move |partition| TopicPartition::new(Arc::clone(&topic), partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        Subscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(b"data")),
            owned_partitions: vec![
                TopicPartition::new("a", 0),
                TopicPartition::new("a", 4),
                TopicPartition::new("b", 1),
            ],
            generation: Some(9),
            rack_id: Some("r1".to_owned()),
        }
    }

    #[test]
    fn subscription_comes_back() {
        let bytes = subscription().encode().unwrap();
        assert_eq!(Subscription::decode(&bytes).unwrap(), subscription());
        let none = Subscription { generation: None, ..Subscription::default() };
        assert_eq!(Subscription::decode(&none.encode().unwrap()).unwrap(), none);
    }

    #[test]
    fn later_versions_are_read_as_far_as_known() {
        let mut bytes = subscription().encode().unwrap().to_vec();
        bytes[1] = 9;
        bytes.extend_from_slice(b"fields to come");
        assert_eq!(Subscription::decode(&bytes.into()).unwrap(), subscription());
    }

    #[test]
    fn older_versions_lack_what_came_later() {
        // Version 0: topics and user data, by hand.
        let bytes = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff");
        let expected = Subscription { topics: vec!["a".into()], ..Subscription::default() };
        assert_eq!(Subscription::decode(&bytes).unwrap(), expected);
    }

    #[test]
    fn assignment_comes_back() {
        let assignment = Assignment { partitions: subscription().owned_partitions, user_data: None };
        assert_eq!(Assignment::decode(&assignment.encode().unwrap()).unwrap(), assignment);
        assert_eq!(Assignment::decode(&Bytes::new()).unwrap(), Assignment::default());
        assert!(Assignment::decode(&Bytes::from_static(b"\0")).is_err());
    }
}
