//! What the controller is to know of a broker whose disks are full: which replicas it can do without, and whether it can do without
//! the broker.
//!
//! A leader that is Apache Kafka waits for each follower that had caught up and is not fenced, for `replica.lag.time.max.ms`, whether it
//! is in sync or not. So a broker that can take nothing asks to be fenced, as long as others have all that it has. Apache Kafka
//! itself gives a full directory up, and its process ends with the last one.

use ottla_metadata::MetadataImage;
use ottla_metadata::image::directory;
use ottla_replica::RoomChange;
use ottla_types::{NodeId, Now, Offset};
use parking_lot::Mutex;

use crate::node::Node;

/// Whether others have all that this broker has, and up to which metadata that was found out.
#[derive(Debug, Default)]
pub(crate) struct Dispensable(Mutex<Option<(Offset, bool)>>);

impl Dispensable {
    /// There may be many partitions, and nothing new of them.
    fn is_so(&self, local: NodeId, image: &MetadataImage) -> bool {
        let mut known = self.0.lock();
        let offset = image.provenance.last_offset;
        match *known {
            Some((of, is_so)) if of == offset => is_so,
            _ => {
                let is_so = have_others_all_of(local, image);
                *known = Some((offset, is_so));
                is_so
            }
        }
    }
}

impl Node {
    /// Has the controller do without the replicas that there is no room for, and with those that there is room for again.
    pub(crate) fn look_for_room(&self, now: Now) {
        let changes = self.replicas.room_changes(now);
        for RoomChange { partition, has_room } in changes {
            let Some(dir) = self.logs.dir_id(&partition.log().log_dir()) else { continue };
            let told = if has_room { dir } else { directory::LOST };
            self.assign_directory(partition.topic_id(), partition.topic_partition().partition, told);
        }
        let is_dispensable = self.replicas.is_without_room()
            && self.dispensable.is_so(self.identity.node_id, &self.metadata.image());
        self.lifecycle.lock().set_dispensable(is_dispensable, now);
    }
}

/// Whether no partition is without a leader for want of this broker. Where two ask to be fenced at the same time, each as the
/// other is still there, the later one hears that it is needed, and asks to be let in again.
fn have_others_all_of(local: NodeId, image: &MetadataImage) -> bool {
    let is_other =
        |id: &NodeId| *id != local && image.brokers.get(id).is_some_and(|broker| broker.is_active());
    let mut partitions = image.topics.iter().flat_map(|topic| topic.partitions.values());
    partitions.all(|partition| {
        let could_lead = partition.isr.contains(&local)
            || partition.leader == NodeId::NONE && partition.elr.contains(&local);
        !could_lead || partition.isr.iter().any(is_other)
    })
}
