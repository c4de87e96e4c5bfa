//! What to fetch now.

use std::collections::{BTreeMap, HashMap};

use ottla_types::{LeaderEpoch, MonoMs, NodeId, TopicPartition};
use ottla_wire::messages::FetchRequest;

use super::partition::{Partition, Phase};
use super::session::{Wish, Wishes};
use super::{Asked, FetchSettings, Fetcher, InFlight, IsolationLevel, Leaders};

/// Kafka's number for a consumer in the place of a follower's id.
const CONSUMER_REPLICA_ID: i32 = -1;
/// Partitions that are read to their ends are asked for so often while others of their node are not.
const ENDS_ASKED_EACH_MS: i64 = 100;

/// What could be asked of a node.
#[derive(Default)]
struct Turn {
    wishes: BTreeMap<TopicPartition, Wish>,
    /// One of them has more, as far as is known.
    has_more: bool,
    /// Another partition is to be asked for as soon as some of what is fetched of it has been taken, or after a pause.
    is_followed: bool,
}

impl Fetcher {
    /// Fetch requests that are to be sent now; each is to be followed by [`Fetcher::fetched`] or
    /// [`Fetcher::fetch_failed`].
    pub fn fetches(&mut self, leaders: &impl Leaders, now: MonoMs) -> Vec<(NodeId, FetchRequest)> {
        self.learn_of_leaders(leaders);
        // Where there isn't room for all, who was asked the longest ago comes first: else those that have nothing to give would
        // have it for ever.
        let mut turns = Vec::new();
        for (node, turn) in self.turns(leaders, now) {
            if let Some(max_wait_ms) = self.max_wait_ms(node, &turn, now) {
                turns.push((node, turn.wishes, max_wait_ms));
            }
        }
        turns.sort_by_key(|(node, ..)| self.nodes.get(node).map_or(0, |node| node.asked));
        let mut waiting = turns.len();
        let mut requests = Vec::new();
        for (node, wishes, max_wait_ms) in turns {
            requests.extend(self.fetch(node, wishes, max_wait_ms, waiting).map(|request| (node, request)));
            waiting -= 1;
        }
        requests
    }

    /// How long the node may wait for records; `None`: it isn't to be asked now. A request that waits at the ends of some
    /// partitions would hold up those that are asked for next.
    fn max_wait_ms(&mut self, node: NodeId, turn: &Turn, now: MonoMs) -> Option<i32> {
        if turn.wishes.is_empty() {
            return None;
        }
        let state = self.nodes.entry(node).or_default();
        if turn.has_more || !turn.is_followed {
            state.held_until = MonoMs(0);
            return Some(self.settings.fetch_max_wait_ms);
        }
        state.held_until = state.landed_at.plus_ms(ENDS_ASKED_EACH_MS);
        (now >= state.held_until).then_some(0)
    }

    /// Requests that end the sessions: on closing, so that nodes don't keep them until they are old. A node with a fetch that
    /// waits for records would answer only after that: it is left alone, and gives up the session when others need the room.
    pub fn end_sessions(&mut self) -> Vec<(NodeId, FetchRequest)> {
        let nodes = std::mem::take(&mut self.nodes);
        self.asked_bytes = 0;
        let idle = nodes.into_iter().filter(|(_, node)| node.in_flight.is_none());
        let ended = idle.filter_map(|(id, mut node)| Some((id, node.session.end()?)));
        ended.map(|(id, request)| (id, self.with_settings(request, 0, 0))).collect()
    }

    /// When something may be to be asked that isn't at `now`, but for answers and changes of the cluster.
    pub fn deadline(&self, now: MonoMs) -> MonoMs {
        let nodes = self.nodes.values().filter(|node| node.in_flight.is_none());
        let nodes = nodes.flat_map(|node| [node.retry_at, node.held_until]);
        let partitions = self.partitions.values().map(|state| state.retry_at);
        nodes.chain(partitions).filter(|at| *at > now).min().unwrap_or(MonoMs::NEVER)
    }

    /// A position that was read under another leader has to be there under this one too (KIP-320).
    fn learn_of_leaders(&mut self, leaders: &impl Leaders) {
        let mut changed = Vec::new();
        for (name, state) in &mut self.partitions {
            let Some((_, epoch)) = leaders.leader(name) else { continue };
            if state.phase != Phase::Fetch || state.valid_in.is_some_and(|valid_in| valid_in >= epoch) {
                continue;
            }
            let moved = state.valid_in.is_some();
            state.valid_in = Some(epoch);
            if moved && state.position.is_some_and(|position| position.leader_epoch.is_some()) {
                changed.push(name.clone());
            }
        }
        for partition in changed {
            self.refetch(&partition);
        }
    }

    fn turns(&mut self, leaders: &impl Leaders, now: MonoMs) -> BTreeMap<NodeId, Turn> {
        let mut turns: BTreeMap<NodeId, Turn> = BTreeMap::new();
        for (name, state) in &mut self.partitions {
            if !state.is_read() {
                continue;
            }
            let wants_more = wants_more(state, &self.settings, now);
            state.topic_id = leaders.topic_id(&name.topic);
            let (Some((leader, epoch)), Some(_)) = (leaders.leader(name), state.topic_id) else {
                self.wants_metadata |= wants_more;
                continue;
            };
            let node = node_to_read(state, leader, leaders, now);
            if self.nodes.get(&node).is_some_and(|node| node.in_flight.is_some() || now < node.retry_at) {
                continue;
            }
            let turn = turns.entry(node).or_default();
            if !wants_more {
                turn.is_followed = true;
                continue;
            }
            turn.has_more |= !state.is_at_end(self.settings.isolation_level);
            let wish = Wish {
                topic: name.topic.to_string(),
                fetch_offset: state.fetch.offset.value(),
                current_leader_epoch: epoch.max(LeaderEpoch::NONE).value(),
                partition_max_bytes: self.settings.max_partition_fetch_bytes,
            };
            turn.wishes.insert(name.clone(), wish);
        }
        turns
    }

    /// `waiting`: how many nodes are to share the room that there is, with this one.
    fn fetch(
        &mut self,
        node: NodeId,
        wishes: BTreeMap<TopicPartition, Wish>,
        max_wait_ms: i32,
        waiting: usize,
    ) -> Option<FetchRequest> {
        let bytes_max = self.room(wishes.len(), waiting)?;
        let mut asked = HashMap::new();
        let mut by_id = Wishes::new();
        for (name, wish) in wishes {
            let state = self.partitions.get(&name)?;
            let id = (state.topic_id?, name.partition);
            asked.insert(id, Asked { era: state.era, offset: state.fetch.offset, partition: name });
            by_id.insert(id, wish);
        }
        let mut request = FetchRequest::default();
        let state = self.nodes.entry(node).or_default();
        state.session.ask(by_id, &mut request);
        state.in_flight = Some(InFlight { partitions: asked, bytes_max });
        self.asks += 1;
        state.asked = self.asks;
        self.asked_bytes += bytes_max;
        Some(self.with_settings(request, max_wait_ms, bytes_max))
    }

    /// How many bytes a request may ask for; `None` while that is too little to be worth it.
    fn room(&self, partitions: usize, waiting: usize) -> Option<usize> {
        let bytes = |setting: i32| usize::try_from(setting).unwrap_or(0);
        let of_partitions = partitions.saturating_mul(bytes(self.settings.max_partition_fetch_bytes));
        let wanted = bytes(self.settings.fetch_max_bytes).min(of_partitions);
        let least = bytes(self.settings.max_partition_fetch_bytes).min(wanted);
        let used = self.buffered_bytes + self.asked_bytes;
        let free = self.settings.buffer_bytes_max.saturating_sub(used);
        let room = (free / waiting.max(1)).max(least).min(free).min(wanted);
        // With nothing on its way and nothing to hand out, there is no other way on.
        (room >= least || used == 0).then_some(room)
    }

    fn with_settings(&self, request: FetchRequest, max_wait_ms: i32, bytes_max: usize) -> FetchRequest {
        let settings = &self.settings;
        FetchRequest {
            replica_id: CONSUMER_REPLICA_ID,
            max_wait_ms,
            min_bytes: settings.fetch_min_bytes,
            max_bytes: i32::try_from(bytes_max).unwrap_or(i32::MAX),
            isolation_level: i8::from(settings.isolation_level == IsolationLevel::ReadCommitted),
            rack_id: settings.rack_id.clone(),
            ..request
        }
    }
}

/// Of one that is read.
fn wants_more(state: &Partition, settings: &FetchSettings, now: MonoMs) -> bool {
    let ahead_max = usize::try_from(settings.max_partition_fetch_bytes).unwrap_or(0).max(1);
    now >= state.retry_at && state.buffered_bytes() < ahead_max
}

fn node_to_read(state: &mut Partition, leader: NodeId, leaders: &impl Leaders, now: MonoMs) -> NodeId {
    match state.preferred {
        Some((node, until)) if now < until && leaders.is_node(node) => node,
        _ => {
            state.preferred = None;
            leader
        }
    }
}
