//! Members who commit offsets.

use std::rc::Rc;

use ottla_wire::messages::OffsetCommitRequest;
use ottla_wire::messages::offset_commit_request::{Partition, Topic as CommittedTopic};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::classic::Member;
use crate::client::{Client, check};
use crate::figures::Figures;
use crate::options::Options;
use crate::pace::{Act, Pace};
use crate::setup::{self, Coordinates};

/// By topic id.
const VERSION: i16 = 10;

struct Committer {
    member: Member,
    request: OffsetCommitRequest,
}

impl Act for Committer {
    async fn act(&mut self) -> Outcome<()> {
        let mut partitions = self.request.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        partitions.by_ref().for_each(|partition| partition.committed_offset += 1);
        let response = self.member.client.call(&self.request, VERSION).await?;
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let mut answered = 0;
        for partition in partitions {
            check("OffsetCommit", partition.error_code)?;
            answered += 1;
        }
        let asked = self.request.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
        if answered == asked { Ok(()) } else { Err("OffsetCommit: a partition is not answered".into()) }
    }
}

pub async fn run(options: &Options) -> Outcome<Figures> {
    let (groups, members) = (options.get("groups", 100)?, options.get("members", 1)?);
    let pace = Pace { seconds: options.seconds()?, rate: options.get("rate", 0.0)?, pid: options.pid()? };
    let prefix = options.prefix()?;
    let mut first = Client::connect(&options.address).await?;
    let topic =
        setup::create_topic(&mut first, format!("{prefix}-topic"), options.get("partitions", 4)?).await?;
    setup::find_coordinator(&mut first, Coordinates::Groups, &prefix).await?;
    let topic = Rc::new(topic);
    let mut joining = JoinSet::new();
    for group in 0..groups {
        for client in Client::connect_all(&options.address, members).await? {
            let topic = Rc::clone(&topic);
            let mut member = Member::new(client, format!("{prefix}-group-{group}"));
            joining.spawn_local(async move {
                member.join(&topic).await?;
                // Members who came first may be a generation behind: those learn it here.
                while !member.heartbeat().await? {
                    member.join(&topic).await?;
                }
                Outcome::Ok(member)
            });
        }
    }
    let mut committers = Vec::new();
    while let Some(member) = joining.join_next().await {
        let member = member??;
        let partitions = (0..topic.partitions).map(|partition_index| Partition {
            partition_index,
            committed_metadata: Some(String::new()),
            ..Default::default()
        });
        let committed =
            CommittedTopic { topic_id: topic.id, partitions: partitions.collect(), ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: member.group.clone(),
            generation_id_or_member_epoch: member.generation,
            member_id: member.member_id.clone(),
            topics: vec![committed],
            ..Default::default()
        };
        committers.push(Committer { member, request });
    }
    pace.run("commit", committers).await
}
