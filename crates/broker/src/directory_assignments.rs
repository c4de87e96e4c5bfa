//! Tells the controller in which log directories this broker's replicas are (KIP-858), so that it knows whom a failing
//! directory takes with it. A broker with one directory has nothing to tell: the controller knows. Of a replica that is given up
//! because its directory is full the controller is told that it is in none.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::image::directory;
use ottla_types::{Now, Uuid};
use ottla_wire::messages::assign_replicas_to_dirs_request::{Directory, Partition, Topic};
use ottla_wire::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use parking_lot::Mutex;

use crate::node::Node;

/// In one request.
const ASSIGNMENTS_MAX: usize = 2250;
/// Before what failed is tried again.
const RETRY_MS: i64 = 1000;

/// What the controller has not been told yet.
#[derive(Debug, Default)]
pub(crate) struct DirectoryAssignments(Mutex<State>);

/// A partition by its topic's id, and the directory that its replica here is in.
type Assignments = BTreeMap<(Uuid, i32), Uuid>;

#[derive(Debug, Default)]
struct State {
    to_tell: Assignments,
    is_under_way: bool,
}

impl DirectoryAssignments {
    /// A replica is in another directory than the controller knows. A later call for the same replica counts.
    pub fn add(&self, topic: Uuid, partition: i32, directory: Uuid) {
        self.0.lock().to_tell.insert((topic, partition), directory);
    }

    fn begin(&self) -> Option<Assignments> {
        let mut state = self.0.lock();
        if state.is_under_way || state.to_tell.is_empty() {
            return None;
        }
        state.is_under_way = true;
        let later = state.to_tell.keys().nth(ASSIGNMENTS_MAX).copied();
        let rest = later.map(|later| state.to_tell.split_off(&later)).unwrap_or_default();
        Some(std::mem::replace(&mut state.to_tell, rest))
    }

    /// What was not told is told again, unless the replica has moved on meanwhile.
    fn end(&self, not_told: Assignments) {
        let mut state = self.0.lock();
        state.is_under_way = false;
        for (partition, directory) in not_told {
            state.to_tell.entry(partition).or_insert(directory);
        }
    }
}

impl Node {
    /// Notes what the controller is to be told with the next tick, if it keeps directories.
    pub(crate) fn assign_directory(&self, topic: Uuid, partition: i32, directory: Uuid) {
        if self.metadata.image().features.metadata_version().is_directory_assignment_supported() {
            self.directory_assignments.add(topic, partition, directory);
        }
    }

    /// Sends what the controller has to be told, one request at a time.
    pub(crate) fn tell_directories(self: &Arc<Self>, now: Now) {
        let Some(epoch) = self.broker_epoch() else { return };
        let Some(assignments) = self.directory_assignments.begin() else { return };
        let request = AssignReplicasToDirsRequest {
            broker_id: self.identity.node_id.value(),
            broker_epoch: epoch.value(),
            directories: by_directory(&assignments),
            ..AssignReplicasToDirsRequest::default()
        };
        let node = Arc::clone(self);
        self.ask_active_controller(request, self.controller_due(now), move |result| {
            // What single partitions were refused for, the next image says.
            let told = result.ok().filter(|response| response.error_code == 0);
            let is_told = told.is_some();
            let lost = told.map(|response| lost(&response)).unwrap_or_default();
            if !lost.is_empty() {
                let aside = Arc::clone(&node);
                node.at_next_tick(move |now| {
                    let stand_aside = |(topic, partition): &(Uuid, i32)| {
                        aside.replicas.stand_aside(*topic, *partition, now)
                    };
                    aside.resign_coordinators(lost.iter().filter_map(stand_aside));
                });
            }
            node.directory_assignments.end(if is_told { Assignments::new() } else { assignments });
            let due = if is_told { now.mono } else { now.mono.plus_ms(RETRY_MS) };
            let again = Arc::clone(&node);
            node.deadlines.add(due, move |now| again.tell_directories(now));
            (node.hooks.wake_at)(due);
        });
    }
}

/// The partitions that the controller now knows to be in no directory.
fn lost(response: &AssignReplicasToDirsResponse) -> Vec<(Uuid, i32)> {
    let lost = response.directories.iter().filter(|of| of.id == directory::LOST);
    let topics = lost.flat_map(|of| &of.topics);
    let partitions =
        topics.flat_map(|topic| topic.partitions.iter().map(move |partition| (topic.topic_id, partition)));
    let done = partitions.filter(|(_, partition)| partition.error_code == 0);
    done.map(|(topic, partition)| (topic, partition.partition_index)).collect()
}

fn by_directory(assignments: &Assignments) -> Vec<Directory> {
    let mut directories = BTreeMap::<Uuid, BTreeMap<Uuid, Vec<Partition>>>::new();
    for ((topic, partition), directory) in assignments {
        let partition = Partition { partition_index: *partition, ..Partition::default() };
        directories.entry(*directory).or_default().entry(*topic).or_default().push(partition);
    }
    let topics = |topics: BTreeMap<Uuid, Vec<Partition>>| {
        topics.into_iter().map(|(topic_id, partitions)| Topic { topic_id, partitions, ..Topic::default() })
    };
    directories
        .into_iter()
        .map(|(id, of)| Directory { id, topics: topics(of).collect(), ..Directory::default() })
        .collect()
}
