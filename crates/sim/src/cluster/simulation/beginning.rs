//! What a run begins with.

use ottla_wire::messages::create_topics_request::Topic as NewTopic;
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::{ClusterSimulation, Kind};
use crate::cluster::cast::{PLAIN, TRANSACTIONAL, UNCLEAN};
use crate::cluster::host::Host;
use crate::outcome::Failure;

pub(super) const CREATE_VERSION: i16 = 7;

impl ClusterSimulation {
    pub(super) fn create_topics(&mut self) -> Result<(), Box<Failure>> {
        for _ in 0..3_000 {
            self.round()?;
            if self.hosts.values().all(|host| host.is_away || host.is_running()) {
                break;
            }
        }
        let unclean = (self.kind == Kind::Wide).then_some((UNCLEAN, 1));
        let all = PLAIN.map(|name| (name, 1)).into_iter().chain(TRANSACTIONAL).chain(unclean);
        let topics = all.map(|(name, num_partitions)| NewTopic {
            name: name.into(),
            num_partitions,
            replication_factor: 3,
            ..NewTopic::default()
        });
        let request =
            CreateTopicsRequest { topics: topics.collect(), timeout_ms: 10_000, ..Default::default() };
        let Some(node) =
            self.hosts.values_mut().filter(|host| host.member.roles.broker).find_map(Host::node_mut)
        else {
            return Err(self.failure("a cluster starts", self.describe()));
        };
        let answer = node.send(&request, CREATE_VERSION);
        for _ in 0..3_000 {
            self.round()?;
            if let Some(response) = answer.take::<CreateTopicsRequest>(CREATE_VERSION) {
                let response: CreateTopicsResponse = response;
                let refused = response.topics.iter().find(|topic| topic.error_code != 0);
                return refused
                    .map_or(Ok(()), |topic| Err(self.failure("topics are created", format!("{topic:?}"))));
            }
        }
        Err(self.failure("topics are created", self.describe()))
    }
}
