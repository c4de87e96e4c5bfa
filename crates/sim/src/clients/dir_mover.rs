//! An operator who moves replicas of one broker between its log directories, as `kafka-reassign-partitions` does with
//! directories given.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_replica_log_dirs_request::{Dir, Topic};
use ottla_wire::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
};

use super::asking::{Asking, Said};
use super::{Client, Topics, World, is_retriable};
use crate::event::Event;
use crate::network::{Link, decode};

const DESCRIBE_VERSION: i16 = 4;
const ALTER_VERSION: i16 = 2;
const RETRY_MS: i64 = 200;
/// Between two moves at most.
const PAUSE_MS: u64 = 1_500;

#[derive(Clone, Debug)]
enum Asked {
    Describe,
    Alter(TopicPartition, String),
}

/// See the module.
#[derive(Debug)]
pub struct DirMover {
    name: String,
    /// Directories that work.
    dirs: Vec<String>,
    /// Where the replicas are.
    replicas: BTreeMap<TopicPartition, String>,
    /// Copies that are not complete yet.
    under_way: u64,
    wanted: BTreeMap<TopicPartition, String>,
    has_looked: bool,
    asking: Asking<Asked>,
    is_finishing: bool,
    is_done: bool,
}

impl DirMover {
    pub fn new(name: &str) -> DirMover {
        DirMover {
            name: name.to_owned(),
            dirs: Vec::new(),
            replicas: BTreeMap::new(),
            under_way: 0,
            wanted: BTreeMap::new(),
            has_looked: false,
            asking: Asking::default(),
            is_finishing: false,
            is_done: false,
        }
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        let (partition, dir) = match asked {
            Asked::Describe => return self.described(&decode(body, DESCRIBE_VERSION), world),
            Asked::Alter(partition, dir) => (partition, dir),
        };
        let response: AlterReplicaLogDirsResponse = decode(body, ALTER_VERSION);
        let codes = response.results.iter().flat_map(|topic| &topic.partitions);
        let code = codes.map(|partition| partition.error_code).find(|code| *code != 0).unwrap_or(0);
        let pause_ms = world.rng.below(PAUSE_MS) as i64;
        self.asking.wait_ms(pause_ms, world);
        if code == 0 {
            self.wanted.insert(partition, dir);
            world.events.push(Event::Counted { what: "moves between directories", times: 1 });
        } else if code != ErrorCode::ReplicaNotAvailable.code() && !is_retriable(code) {
            world.unexpected(&self.name, "AlterReplicaLogDirs", code);
        }
    }

    fn described(&mut self, response: &DescribeLogDirsResponse, world: &mut World<'_>) {
        self.asking.wait_ms(RETRY_MS, world);
        if response.error_code != 0 {
            return world.unexpected(&self.name, "DescribeLogDirs", response.error_code);
        }
        self.dirs.clear();
        self.replicas.clear();
        self.under_way = 0;
        for dir in response.results.iter().filter(|dir| dir.error_code == 0) {
            self.dirs.push(dir.log_dir.clone());
            for topic in &dir.topics {
                for partition in &topic.partitions {
                    let named = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    if partition.is_future_key {
                        self.under_way += 1;
                    } else {
                        self.replicas.insert(named, dir.log_dir.clone());
                    }
                }
            }
        }
        let before = self.wanted.len();
        self.wanted.retain(|partition, dir| self.replicas.get(partition) != Some(dir));
        let times = (before - self.wanted.len()) as u64;
        world.events.push(Event::Counted { what: "replicas moved between directories", times });
        // What is gone, or went elsewhere, was wanted in vain.
        if self.under_way == 0 {
            self.wanted.clear();
        }
        self.has_looked = true;
        self.is_done = self.is_finishing && self.under_way == 0;
    }

    fn move_one(&mut self, link: &mut Link, world: &mut World<'_>) {
        self.has_looked = false;
        let replicas: Vec<(&TopicPartition, &String)> = self.replicas.iter().collect();
        if replicas.is_empty() || self.dirs.len() < 2 {
            return;
        }
        let (partition, from) = replicas[world.rng.below(replicas.len() as u64) as usize];
        // Now and then to where it is, which ends a move.
        let others: Vec<&String> = self.dirs.iter().filter(|dir| *dir != from).collect();
        let to = if world.rng.one_in(5) { from } else { world.rng.pick(&others) };
        let topic = Topic {
            name: partition.topic.to_string(),
            partitions: vec![partition.partition],
            ..Topic::default()
        };
        let request = AlterReplicaLogDirsRequest {
            dirs: vec![Dir { path: to.clone(), topics: vec![topic], ..Dir::default() }],
            ..AlterReplicaLogDirsRequest::default()
        };
        let asked = Asked::Alter(partition.clone(), to.clone());
        let ticket = link.send(&request, ALTER_VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, asked);
    }
}

impl Client for DirMover {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                Said::Lost(_) => self.asking.wait_ms(RETRY_MS, world),
            }
        }
        if self.is_done || !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        if self.has_looked && !self.is_finishing {
            return self.move_one(link, world);
        }
        let request = DescribeLogDirsRequest { topics: None, ..DescribeLogDirsRequest::default() };
        let ticket = link.send(&request, DESCRIBE_VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, Asked::Describe);
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    /// No copy is left that is not complete.
    fn is_finished(&self, _: &Topics) -> bool {
        self.is_done
    }
}
