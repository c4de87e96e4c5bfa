//! A member of a group of the consumer protocol (KIP-848).

use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartition;
use tokio::time::sleep;

use crate::Outcome;
use crate::client::{Client, check, error_of};
use crate::setup::{BETWEEN_TRIES, Topic, is_loading};

const VERSION: i16 = 1;
const REBALANCE_TIMEOUT_MS: i32 = 300_000;
const LEAVING: i32 = -1;

#[derive(Debug)]
pub struct Member {
    pub client: Client,
    pub group: String,
    pub member_id: String,
    pub epoch: i32,
    /// Of the topic, as last assigned.
    pub partitions: Vec<i32>,
    /// What the broker asks for.
    pub interval: Duration,
    /// The broker has yet to hear that the member owns what it was assigned, and nothing else.
    has_to_tell: bool,
}

impl Member {
    pub fn new(client: Client, group: String, member_id: String) -> Member {
        let (partitions, interval) = (Vec::new(), Duration::ZERO);
        Member { client, group, member_id, epoch: 0, partitions, interval, has_to_tell: false }
    }

    /// The first heartbeat.
    pub async fn join(&mut self, topic: &Topic) -> Outcome<()> {
        let request = ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            subscribed_topic_names: Some(vec![topic.name.clone()]),
            topic_partitions: Some(Vec::new()),
            ..self.request()
        };
        while let Some(error) = self.send(&request).await? {
            if !is_loading(error) {
                return Err(format!("ConsumerGroupHeartbeat: {error}").into());
            }
            sleep(BETWEEN_TRIES).await;
        }
        Ok(())
    }

    /// Any other. Tells what the member owns when that is another than before.
    pub async fn heartbeat(&mut self, topic: &Topic) -> Outcome<()> {
        let owned = self.has_to_tell.then(|| {
            let owned = TopicPartition {
                topic_id: topic.id,
                partitions: self.partitions.clone(),
                ..Default::default()
            };
            if owned.partitions.is_empty() { Vec::new() } else { vec![owned] }
        });
        let request = ConsumerGroupHeartbeatRequest { topic_partitions: owned, ..self.request() };
        self.has_to_tell = false;
        match self.send(&request).await? {
            None => Ok(()),
            Some(error) => Err(format!("ConsumerGroupHeartbeat: {error}").into()),
        }
    }

    /// Whether the next heartbeat is not to wait: the broker awaits what the member has to tell.
    pub fn has_to_tell(&self) -> bool {
        self.has_to_tell
    }

    pub async fn leave(&mut self) -> Outcome<()> {
        let request = ConsumerGroupHeartbeatRequest { member_epoch: LEAVING, ..self.request() };
        check("ConsumerGroupHeartbeat", self.client.call(&request, VERSION).await?.error_code)
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            ..Default::default()
        }
    }

    async fn send(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Outcome<Option<ErrorCode>> {
        let response = self.client.call(request, VERSION).await?;
        if let Some(error) = error_of(response.error_code) {
            return Ok(Some(error));
        }
        self.epoch = response.member_epoch;
        self.interval = Duration::from_millis(u64::try_from(response.heartbeat_interval_ms)?);
        if let Some(assignment) = response.assignment {
            let assigned = assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions);
            self.partitions = assigned.collect();
            self.has_to_tell = true;
        }
        Ok(None)
    }
}
