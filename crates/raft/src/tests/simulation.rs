//! Several replicas in one thread on virtual time, with messages lost, delayed and cut off, and crashes that lose what
//! wasn't flushed. A seed replays a run exactly.
//!
//! Checked all along: an epoch has one leader; what any replica took for committed is the same on all of them and in
//! every later leader's log; a listener sees every committed offset once, in order; voters are changed one at a time, and who
//! is told that they are finds them changed. And at the end, when faults have stopped: the quorum commits again, all logs agree,
//! and the log has the voters as they are.

mod voters;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset};

use super::memory_log::{MemoryLog, MemoryStore};
use super::wire_round_trip as wire;
use super::*;
use crate::config::Jitter;

type Driver = RaftDriver<MemoryLog, MemoryStore>;

/// Chances in thousand, at every message or every [`FAULT_INTERVAL_MS`].
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    loss: i64,
    duplication: i64,
    crash: i64,
    /// At every moment at which records were appended and not flushed yet.
    crash_unflushed: i64,
    cut: i64,
    snapshot: i64,
    resign: i64,
    /// Somebody asks for another voter, or for one less.
    voters: i64,
    /// Voters of the settings become voters of the log.
    raise: i64,
    /// A replica that starts is reached elsewhere than before.
    moved: i64,
}

const FAULT_INTERVAL_MS: u64 = 50;
const WILD: Faults = Faults {
    loss: 30,
    duplication: 20,
    crash: 6,
    crash_unflushed: 30,
    cut: 20,
    snapshot: 20,
    resign: 6,
    voters: 40,
    raise: 10,
    moved: 200,
};

struct Replica {
    id: i32,
    driver: Option<Driver>,
    listener: Option<ListenerId>,
    /// What the listener has replayed up to.
    replayed: Offset,
    log: MemoryLog,
    store: MemoryStore,
    poll_at: u64,
    incarnation: u64,
    was_leader_in: Option<LeaderEpoch>,
    /// How often its disk was replaced, and how often it has moved.
    disks: u8,
    moves: u32,
}

#[derive(Clone, Debug)]
enum Wire {
    Request { from: i32, incarnation: u64, correlation_id: u64, request: Request },
    Response { incarnation: u64, correlation_id: u64, response: Option<Response> },
}

struct World {
    now: u64,
    rng: Jitter,
    faults: Faults,
    voters: Vec<i32>,
    /// The voters are in the log (`kraft.version` 1).
    is_dynamic: bool,
    auto_join: bool,
    first_voters: Vec<ControlRecord>,
    replicas: BTreeMap<i32, Replica>,
    queue: BinaryHeap<Reverse<(u64, u64, i32)>>,
    in_flight: BTreeMap<u64, Wire>,
    next_message: u64,
    /// Inbound requests that wait for their reply: id -> (asker, its incarnation, its correlation id).
    waiting: BTreeMap<u64, (i32, u64, u64)>,
    /// What the administrator has asked, by its correlation id.
    asked: BTreeMap<u64, Request>,
    cut: BTreeSet<(i32, i32)>,
    leaders: BTreeMap<LeaderEpoch, i32>,
    committed: BTreeMap<Offset, (LeaderEpoch, Bytes)>,
    appended: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(seed: u64, voters: i32, observers: i32, is_dynamic: bool, faults: Faults) -> World {
        let voters: Vec<i32> = (1..=voters).collect();
        let mut world = World {
            now: 0,
            rng: Jitter::new(seed),
            faults,
            replicas: BTreeMap::new(),
            queue: BinaryHeap::new(),
            in_flight: BTreeMap::new(),
            next_message: 0,
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            cut: BTreeSet::new(),
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            appended: 0,
            counts: BTreeMap::new(),
            voters: voters.clone(),
            is_dynamic,
            auto_join: false,
            first_voters: Vec::new(),
        };
        let voter = |id: &i32| VoterNode {
            key: local(*id).key,
            listeners: local(*id).listeners,
            supported_kraft_version: (0, 1),
        };
        let set = VoterSet::new(voters.iter().map(voter));
        let first_voters = match is_dynamic {
            true => vec![ControlRecord::KRaftVersion(1), ControlRecord::Voters(set)],
            false => Vec::new(),
        };
        world.first_voters.clone_from(&first_voters);
        for id in voters.into_iter().chain(101..=100 + observers) {
            let replica = Replica {
                id,
                driver: None,
                listener: None,
                replayed: Offset::ZERO,
                log: MemoryLog { first_voters: first_voters.clone(), ..MemoryLog::default() },
                store: MemoryStore::default(),
                poll_at: 0,
                incarnation: 0,
                was_leader_in: None,
                disks: 0,
                moves: 0,
            };
            world.replicas.insert(id, replica);
            world.start(id);
        }
        world
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn chance(&mut self, in_thousand: i64) -> bool {
        self.rng.below(1000) < in_thousand
    }

    fn start(&mut self, id: i32) {
        let mut settings = settings(id, &self.voters);
        if self.is_dynamic {
            // The observers find the voters by the bootstrap servers alone.
            let server = |id: &i32| Node { id: node_id(-1 - id), address: address(*id) };
            settings.bootstrap_servers = self.voters.iter().map(server).collect();
            settings.static_voters = VoterSet::default();
        }
        settings.seed = self.rng.below(i64::MAX) as u64;
        settings.config.fetch_snapshot_max_bytes = 40;
        settings.config.fetch_max_bytes = 300;
        settings.config.auto_join = self.auto_join;
        let has_moved = self.chance(self.faults.moved);
        let replica = self.replicas.get_mut(&id).unwrap();
        replica.moves += u32::from(has_moved);
        settings.local = voters::local_of(replica);
        let (log, store) = (replica.log.clone(), replica.store.clone());
        let mut driver = Driver::open(settings, log, store, at(self.now)).unwrap();
        replica.listener = Some(driver.register());
        replica.replayed = Offset::ZERO;
        replica.driver = Some(driver);
        replica.incarnation += 1;
        replica.was_leader_in = None;
        self.after_step(id);
    }

    fn crash(&mut self, id: i32) {
        let kept = self.rng.below(3) as usize;
        let replica = self.replicas.get_mut(&id).unwrap();
        let Some(driver) = replica.driver.take() else { return };
        let unflushed = driver.log().end_offset() > driver.log().flushed_end_offset;
        let (log, store) = driver.into_parts();
        replica.log = log;
        replica.store = store;
        replica.log.crash(kept);
        replica.incarnation += 1;
        // Its connections break, and those who wait on them notice.
        let broken: Vec<u64> =
            self.waiting.iter().filter(|(id_, _)| **id_ % 1000 == id as u64).map(|(id_, _)| *id_).collect();
        for request in broken {
            let (asker, incarnation, correlation_id) = self.waiting.remove(&request).unwrap();
            self.deliver_later(asker, Wire::Response { incarnation, correlation_id, response: None });
        }
        self.count(if unflushed { "crash with unflushed records" } else { "crash" });
    }

    fn deliver_later(&mut self, to: i32, wire: Wire) {
        let delay = match self.rng.below(20) {
            0 => self.rng.below(300),
            _ => 1 + self.rng.below(5),
        };
        self.next_message += 1;
        self.in_flight.insert(self.next_message, wire);
        self.queue.push(Reverse((self.now + delay as u64, self.next_message, to)));
    }

    fn send(&mut self, from: i32, to: i32, wire: Wire) {
        if self.cut.contains(&(from, to)) || self.chance(self.faults.loss) {
            return self.count("message lost");
        }
        if matches!(wire, Wire::Request { .. }) && self.chance(self.faults.duplication) {
            self.deliver_later(to, wire.clone());
        }
        self.deliver_later(to, wire);
    }

    fn receive(&mut self, to: i32, wire: Wire) {
        if to == voters::ADMINISTRATOR {
            return;
        }
        let now = at(self.now);
        let request_id = self.next_request_id(to);
        let replica = self.replicas.get_mut(&to).unwrap();
        let Some(driver) = &mut replica.driver else {
            if let Wire::Request { from, incarnation, correlation_id, .. } = wire {
                self.send(to, from, Wire::Response { incarnation, correlation_id, response: None });
            }
            return;
        };
        match wire {
            Wire::Request { from, incarnation, correlation_id, request } => {
                self.waiting.insert(request_id, (from, incarnation, correlation_id));
                driver.handle_request(request_id, request, now).unwrap();
            }
            Wire::Response { incarnation, correlation_id, response } => {
                if incarnation == replica.incarnation {
                    driver.handle_response(correlation_id, response, now).unwrap();
                }
            }
        }
        self.after_step(to);
    }

    /// Its last digits name the replica that was asked.
    fn next_request_id(&mut self, to: i32) -> u64 {
        self.next_message += 1;
        self.next_message * 1000 + to as u64
    }

    /// Sends what the step gave, checks it, and plans the next poll; a due flush takes its time.
    fn after_step(&mut self, id: i32) {
        let disk_ms = self.rng.below(4) as u64;
        let now = at(self.now);
        let replica = self.replicas.get_mut(&id).unwrap();
        let incarnation = replica.incarnation;
        let driver = replica.driver.as_mut().unwrap();
        replica.poll_at = driver.next_deadline(now).0.max(self.now + disk_ms).max(self.now);
        let outgoing = driver.take_outgoing();
        for message in outgoing {
            match message {
                Outgoing::Request { correlation_id, to, request } => {
                    let request = wire::request(request);
                    let wire = Wire::Request { from: id, incarnation, correlation_id, request };
                    // A bootstrap server is known by its address alone.
                    self.send(id, i32::from(to.address.port) - 9000, wire);
                }
                Outgoing::NoReply { id: request } => drop(self.waiting.remove(&request)),
                Outgoing::Reply { id: request, response } => {
                    if let Some((asker, incarnation, correlation_id)) = self.waiting.remove(&request) {
                        if asker == voters::ADMINISTRATOR {
                            self.check_voter_change(id, correlation_id, &response);
                        }
                        let response = Some(wire::response(response));
                        self.send(id, asker, Wire::Response { incarnation, correlation_id, response });
                    }
                }
            }
        }
        self.check_replica(id);
        let log = self.replicas[&id].driver.as_ref().unwrap().log();
        if log.end_offset() > log.flushed_end_offset && self.chance(self.faults.crash_unflushed) {
            self.crash(id);
        }
    }

    fn check_replica(&mut self, id: i32) {
        let replica = self.replicas.get_mut(&id).unwrap();
        let driver = replica.driver.as_mut().unwrap();
        let core = driver.core();
        let log = driver.log();
        if core.role() == RoleName::Leader && replica.was_leader_in != Some(core.epoch()) {
            let epoch = core.epoch();
            replica.was_leader_in = Some(epoch);
            let leader = *self.leaders.entry(epoch).or_insert(id);
            assert_eq!(leader, id, "two leaders in epoch {epoch}");
            for (offset, committed) in self.committed.range(log.start_offset..) {
                let batch = log.batches.iter().find(|batch| batch.base_offset == *offset);
                let batch =
                    batch.unwrap_or_else(|| panic!("leader {id} of {epoch} lacks committed {offset}"));
                assert_eq!((batch.leader_epoch, batch.bytes.clone()), *committed);
            }
            *self.counts.entry("election").or_default() += 1;
        }
        let committed_end = core.high_watermark().unwrap_or_default();
        let mut committed_voters = false;
        let from = self.committed.last_key_value().map_or(Offset::UNKNOWN, |(offset, _)| *offset);
        for batch in log.batches.iter().filter(|batch| batch.last_offset < committed_end) {
            let content = (batch.leader_epoch, batch.bytes.clone());
            if batch.base_offset > from {
                self.committed.insert(batch.base_offset, content);
                committed_voters |= batch.control.iter().any(|(_, record)| voters::is_voters(record));
            } else {
                assert_eq!(self.committed.get(&batch.base_offset), Some(&content), "replica {id}");
            }
        }
        let listener = replica.listener.unwrap();
        while let Some(delivery) = driver.next(listener).unwrap() {
            match delivery {
                Delivery::Snapshot(snapshot) => {
                    let bytes = &driver.log().snapshots[&snapshot];
                    assert_eq!(*bytes, snapshot_of(&self.committed, &self.first_voters, snapshot.offset));
                    assert!(snapshot.offset >= replica.replayed);
                    replica.replayed = snapshot.offset;
                }
                Delivery::Committed { from, next_offset, .. } => {
                    assert_eq!(from, replica.replayed);
                    assert!(next_offset <= committed_end, "replica {id} is given what is not committed");
                    replica.replayed = next_offset;
                }
                Delivery::LeaderChanged(leader) => {
                    if leader.leader_id == Some(node_id(id)) {
                        let all = self.committed.range(..replica.replayed).count();
                        assert_eq!(all, self.committed.len(), "leads before it has replayed everything");
                    }
                }
            }
        }
        if committed_voters {
            self.check_committed_voters();
        }
    }

    fn inject_faults(&mut self) {
        for id in self.replicas.keys().copied().collect::<Vec<_>>() {
            if self.replicas[&id].driver.is_none() {
                if self.chance(50) {
                    self.start(id);
                }
                continue;
            }
            if self.chance(self.faults.crash) {
                self.crash(id);
            } else if self.chance(self.faults.snapshot) {
                self.create_snapshot(id);
            } else if self.chance(self.faults.resign) {
                let driver = self.replicas.get_mut(&id).unwrap().driver.as_mut().unwrap();
                let epoch = driver.core().epoch();
                driver.resign(epoch, at(self.now)).unwrap();
                self.after_step(id);
            }
        }
        if self.chance(self.faults.raise) {
            self.raise_kraft_version();
        }
        if self.chance(self.faults.voters) {
            self.ask_for_another_voter_or_one_less();
        }
        if self.chance(self.faults.cut) {
            // A replica alone, or one direction of one link.
            let ids: Vec<i32> = self.replicas.keys().copied().collect();
            let a = ids[self.rng.below(ids.len() as i64) as usize];
            let b = ids[self.rng.below(ids.len() as i64) as usize];
            if self.chance(500) {
                self.cut.insert((a, b));
            } else {
                self.cut.extend(ids.iter().flat_map(|id| [(a, *id), (*id, a)]));
            }
            self.count("link cut");
        } else if self.chance(40) {
            self.cut.clear();
        }
    }

    fn create_snapshot(&mut self, id: i32) {
        let clean = self.chance(500);
        let replica = self.replicas.get_mut(&id).unwrap();
        let Some(driver) = &mut replica.driver else { return };
        let Some(offset) = driver.core().high_watermark() else { return };
        let Some((_, (epoch, _))) = self.committed.range(..offset).next_back() else { return };
        let snapshot = OffsetAndEpoch { offset, epoch: *epoch };
        if driver.core().log().latest_snapshot().is_some_and(|latest| latest >= snapshot) {
            return;
        }
        let (version, set) = driver.core().voters().at(offset - 1);
        let control = voters::control_of(version, set.cloned());
        let bytes = snapshot_with(&self.committed, &control, offset);
        let size = bytes.len() as u64;
        driver.log_mut().snapshots.insert(snapshot, bytes);
        driver.log_mut().keeps_all = !clean;
        driver.snapshot_created(snapshot, size, at(self.now)).unwrap();
        self.count("snapshot");
        self.after_step(id);
    }

    fn append_somewhere(&mut self) {
        let now = at(self.now);
        let ids: Vec<i32> = self.replicas.keys().copied().collect();
        for id in ids {
            let Some(driver) = &mut self.replicas.get_mut(&id).unwrap().driver else { continue };
            if driver.core().role() == RoleName::Leader {
                self.appended += 1;
                let value = Bytes::from(format!("{id}:{}", self.appended));
                driver.append(driver.core().epoch(), vec![value], now).unwrap();
                self.after_step(id);
            }
        }
    }

    fn run_for(&mut self, ms: u64, appending: bool) {
        let end = self.now + ms;
        while self.now < end {
            let message = self.queue.peek().map_or(u64::MAX, |Reverse((time, _, _))| *time);
            let poll = self.replicas.values().filter(|replica| replica.driver.is_some());
            let poll = poll.map(|replica| replica.poll_at).min().unwrap_or(u64::MAX);
            let tick = (self.now / FAULT_INTERVAL_MS + 1) * FAULT_INTERVAL_MS;
            let before = self.now;
            self.now = message.min(poll).min(tick).max(before);
            if message <= self.now {
                let Reverse((_, key, to)) = self.queue.pop().unwrap();
                let wire = self.in_flight.remove(&key).unwrap();
                self.receive(to, wire);
            } else if poll <= self.now {
                let due = self.replicas.values().find(|r| r.driver.is_some() && r.poll_at <= self.now);
                let id = due.unwrap().id;
                let driver = self.replicas.get_mut(&id).unwrap().driver.as_mut().unwrap();
                driver.poll(at(self.now)).unwrap();
                let deadline = driver.next_deadline(at(self.now)).0;
                assert!(deadline > self.now, "replica {id} would spin: {:?}", driver.core());
                self.after_step(id);
            } else {
                self.inject_faults();
                if appending {
                    self.append_somewhere();
                }
            }
        }
    }

    /// For whoever looks for the reason of a failure.
    fn print(&self) {
        for replica in self.replicas.values() {
            let core = driver(replica).core();
            let at = (core.role(), core.log().end(), core.leader_and_epoch(), core.leader_endpoints());
            println!("{}: {at:?} voters {}", replica.id, core.voters().latest());
        }
    }

    /// Faults stop: everything must be well within a bounded time.
    fn settle(&mut self) {
        self.faults = Faults::default();
        self.cut.clear();
        for id in self.replicas.keys().copied().collect::<Vec<_>>() {
            if self.replicas[&id].driver.is_none() {
                self.start(id);
            }
        }
        self.run_for(10_000, false);
        let committed = self.committed.len();
        self.run_for(1_000, true);
        self.print();
        assert!(self.committed.len() >= committed + 5, "commits again: {committed} {}", self.committed.len());
        self.run_for(2_000, false);
        let leader = self.replicas.values().find(|r| driver(r).core().role() == RoleName::Leader).unwrap();
        let (end, epoch) = (driver(leader).core().log().end(), driver(leader).core().epoch());
        for replica in self.replicas.values() {
            let core = driver(replica).core();
            assert_eq!((core.log().end(), core.epoch()), (end, epoch), "replica {}", replica.id);
            assert_eq!(core.high_watermark(), Some(end.offset), "replica {}", replica.id);
            assert_eq!(replica.replayed, end.offset, "replica {}", replica.id);
        }
        self.check_voters_at_the_end();
    }
}

fn driver(replica: &Replica) -> &Driver {
    replica.driver.as_ref().unwrap()
}

/// Stands for the state that replaying everything below `end` gives.
fn snapshot_of(
    committed: &BTreeMap<Offset, (LeaderEpoch, Bytes)>,
    first_voters: &[ControlRecord],
    end: Offset,
) -> Bytes {
    let mut control = first_voters.to_vec();
    for (_, (_, bytes)) in committed.range(..end) {
        for (_, record) in record_batches::parse(bytes.clone()).remove(0).control {
            if voters::is_voters(&record) {
                control = voters::control_of(1, voters::set_of(record));
            }
        }
    }
    snapshot_with(committed, &control, end)
}

fn snapshot_with(
    committed: &BTreeMap<Offset, (LeaderEpoch, Bytes)>,
    control: &[ControlRecord],
    end: Offset,
) -> Bytes {
    let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
    for (offset, (epoch, bytes)) in committed.range(..end) {
        for byte in format!("{offset}{epoch}").as_bytes().iter().chain(bytes) {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    MemoryLog::snapshot(&format!("{end} {digest}"), control)
}

fn run(
    seed: u64,
    voters: i32,
    observers: i32,
    is_dynamic: bool,
    faults: Faults,
) -> BTreeMap<&'static str, u64> {
    println!("seed {seed}");
    let mut world = World::new(seed, voters, observers, is_dynamic, faults);
    world.run_for(30_000, true);
    world.counts.insert("batch committed under faults", world.committed.len() as u64);
    world.settle();
    world.count("run");
    world.counts
}

#[test]
fn without_faults_one_election_suffices() {
    for (voters, is_dynamic) in [(1, false), (2, true), (3, false), (3, true), (5, false)] {
        let counts = run(1, voters, 1, is_dynamic, Faults::default());
        assert!(counts["election"] <= 2, "{voters} voters: {counts:?}");
    }
}

#[test]
fn safe_and_live_under_faults() {
    let seeds: u64 = std::env::var("RAFT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let first: u64 = std::env::var("RAFT_FIRST_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut total = BTreeMap::<&str, u64>::new();
    for seed in first..first + seeds {
        let is_dynamic = seed % 3 == 0;
        let voters = [3, 3, 5, 2][seed as usize % 4];
        let observers = if is_dynamic { 2 } else { (seed % 2) as i32 };
        for (what, count) in run(seed, voters, observers, is_dynamic, WILD) {
            *total.entry(what).or_default() += count;
        }
    }
    println!("{total:?}");
    for (what, at_least) in [
        ("crash", 2),
        ("crash with unflushed records", 2),
        ("message lost", 10),
        ("link cut", 3),
        ("snapshot", 3),
        ("election", 3),
        ("batch committed under faults", 100),
    ] {
        let enough = total.get(what).is_some_and(|count| *count >= at_least * seeds);
        assert!(enough, "{what} hardly happened: {total:?}");
    }
}
