//! Voters that come, go, move and lose their disks (KIP-853) while there are faults.

use ottla_types::Uuid;

use super::*;

/// Asks for changes; no replica has this id.
pub(super) const ADMINISTRATOR: i32 = 0;

/// A replica as it is now: with the disk and the host that it has.
pub(super) fn local_of(replica: &Replica) -> LocalReplica {
    let mut local = local(replica.id);
    let mut directory = directory(replica.id).0;
    directory[0] += replica.disks;
    local.key = ReplicaKey::new(local.key.id, Uuid(directory));
    if replica.moves > 0 {
        let host = format!("host{}", replica.moves);
        local.listeners = Endpoints::one("CONTROLLER", HostPort::new(host, address(replica.id).port));
    }
    local
}

pub(super) fn is_voters(record: &ControlRecord) -> bool {
    matches!(record, ControlRecord::Voters(_))
}

pub(super) fn set_of(record: ControlRecord) -> Option<VoterSet> {
    match record {
        ControlRecord::Voters(set) => Some(set),
        _ => None,
    }
}

pub(super) fn control_of(kraft_version: i16, set: Option<VoterSet>) -> Vec<ControlRecord> {
    let voters = set.map(ControlRecord::Voters);
    let version = (kraft_version > 0).then_some(ControlRecord::KRaftVersion(kraft_version));
    version.into_iter().chain(voters).collect()
}

impl World {
    /// Of a replica that leads, or of any: requests reach those who lead no more, too.
    pub(super) fn ask_for_another_voter_or_one_less(&mut self) {
        let ids: Vec<i32> = self.replicas.keys().copied().collect();
        let leads = |id: &&i32| {
            self.replicas[*id].driver.as_ref().is_some_and(|driver| driver.core().role() == RoleName::Leader)
        };
        let leaders: Vec<i32> = ids.iter().filter(leads).copied().collect();
        let to = match leaders.last() {
            Some(leader) if self.rng.below(10) > 0 => *leader,
            _ => ids[self.rng.below(ids.len() as i64) as usize],
        };
        let about = ids[self.rng.below(ids.len() as i64) as usize];
        let about = local_of(&self.replicas[&about]);
        let request = if self.rng.below(2) == 0 {
            Request::AddRaftVoter(AddRaftVoterRequest {
                cluster_id: Some("cluster".to_owned()),
                voter: about.key,
                listeners: about.listeners,
                ack_when_committed: self.rng.below(2) == 0,
                timeout_ms: 1000,
            })
        } else {
            Request::RemoveRaftVoter(RemoveRaftVoterRequest { cluster_id: None, voter: about.key })
        };
        self.ask_as_administrator(to, request);
    }

    /// From then on the voters are in the log, if they weren't before.
    pub(super) fn raise_kraft_version(&mut self) {
        let now = at(self.now);
        for id in self.replicas.keys().copied().collect::<Vec<_>>() {
            let Some(driver) = &mut self.replicas.get_mut(&id).unwrap().driver else { continue };
            let (epoch, level) = (driver.core().epoch(), driver.core().voters().latest_kraft_version());
            if level == 0 && driver.raise_kraft_version(epoch, 1, now).is_ok() {
                self.after_step(id);
                self.count("kraft.version raised");
            }
        }
    }

    pub(super) fn ask_as_administrator(&mut self, to: i32, request: Request) {
        self.next_message += 1;
        let correlation_id = self.next_message;
        self.asked.insert(correlation_id, request.clone());
        let request = wire::request(request);
        let wire = Wire::Request { from: ADMINISTRATOR, incarnation: 0, correlation_id, request };
        self.send(ADMINISTRATOR, to, wire);
    }

    /// Who is told that voters have changed finds them changed; by then, where the answer has waited for the commit.
    pub(super) fn check_voter_change(&mut self, replica: i32, correlation_id: u64, response: &Response) {
        let Some(request) = self.asked.get(&correlation_id) else { return };
        let (Response::AddRaftVoter(response) | Response::RemoveRaftVoter(response)) = response else {
            return;
        };
        if response.error.is_some() {
            return self.count("change of voters refused");
        }
        let core = self.replicas[&replica].driver.as_ref().unwrap().core();
        let committed = core.high_watermark().unwrap();
        let (_, set) = core.voters().at(committed - 1);
        match request {
            Request::AddRaftVoter(request) if request.ack_when_committed => {
                assert!(set.unwrap().is_voter(&request.voter), "{} was added", request.voter);
                self.count("voter added");
            }
            Request::RemoveRaftVoter(request) => {
                assert!(!set.unwrap().is_voter(&request.voter), "{} was removed", request.voter);
                self.count("voter removed");
            }
            _ => self.count("voter being added"),
        }
    }

    /// Any two sets of which one follows the other have a voter in common in every two of their majorities.
    pub(super) fn check_committed_voters(&self) {
        let mut before = self.first_voters.iter().cloned().find_map(set_of);
        let records = self.committed.values().flat_map(|(_, bytes)| {
            let batch = record_batches::parse(bytes.clone()).remove(0);
            batch.control.into_iter().filter_map(|(_, record)| set_of(record))
        });
        for set in records {
            let overlaps = before.is_none_or(|before| set.has_overlapping_majority(&before));
            assert!(!set.is_empty() && overlaps, "{set}");
            before = Some(set);
        }
    }

    /// What the log says of a voter is what it is.
    pub(super) fn check_voters_at_the_end(&self) {
        let newest = self.replicas.values().map(|replica| driver(replica).core().voters());
        if newest.map(VoterHistory::latest_kraft_version).max() < Some(1) {
            return;
        }
        for replica in self.replicas.values() {
            let local = local_of(replica);
            for known in self.replicas.values() {
                let voters = driver(known).core().voters().latest();
                if let Some(voter) = voters.get(local.key.id) {
                    assert_eq!((voter.key, &voter.listeners), (local.key, &local.listeners), "{}", known.id);
                }
            }
        }
    }

    fn voters_now(&self) -> VoterSet {
        let newest = self.replicas.values().filter(|replica| replica.driver.is_some());
        let newest = newest.max_by_key(|replica| driver(replica).core().high_watermark()).unwrap();
        driver(newest).core().voters().latest().clone()
    }

    fn replace_disk(&mut self, id: i32) {
        self.crash(id);
        let replica = self.replicas.get_mut(&id).unwrap();
        replica.disks += 1;
        (replica.log, replica.store) = (MemoryLog::default(), MemoryStore::default());
        self.start(id);
    }
}

fn ids(set: &VoterSet) -> Vec<i32> {
    set.ids().into_iter().map(|id| id.value()).collect()
}

#[test]
fn a_voter_is_added_and_the_leader_removed() {
    let mut world = World::new(3, 1, 1, true, Faults::default());
    world.run_for(3_000, true);
    world.ask_as_administrator(
        1,
        Request::AddRaftVoter(AddRaftVoterRequest {
            cluster_id: None,
            voter: local_of(&world.replicas[&101]).key,
            listeners: local_of(&world.replicas[&101]).listeners,
            ack_when_committed: true,
            timeout_ms: 1000,
        }),
    );
    world.run_for(5_000, true);
    assert_eq!(ids(&world.voters_now()), [1, 101]);
    let voter = local_of(&world.replicas[&1]).key;
    let leader = if driver(&world.replicas[&1]).core().role() == RoleName::Leader { 1 } else { 101 };
    assert_eq!(leader, 1, "nobody else had a reason to lead");
    world.ask_as_administrator(
        1,
        Request::RemoveRaftVoter(RemoveRaftVoterRequest { cluster_id: None, voter }),
    );
    world.run_for(10_000, true);
    assert_eq!(ids(&world.voters_now()), [101]);
    assert_eq!(driver(&world.replicas[&101]).core().role(), RoleName::Leader);
    assert_eq!(driver(&world.replicas[&1]).core().role(), RoleName::Observer);
    assert_eq!((world.counts.get("voter added"), world.counts.get("voter removed")), (Some(&1), Some(&1)));
    world.settle();
}

#[test]
fn controllers_join_by_themselves_also_with_a_new_disk() {
    let mut world = World::new(5, 3, 2, true, Faults::default());
    world.run_for(3_000, true);
    assert_eq!(ids(&world.voters_now()), [1, 2, 3], "nobody has asked");
    world.auto_join = true;
    for id in [101, 102] {
        world.crash(id);
        world.start(id);
    }
    world.run_for(20_000, true);
    assert_eq!(ids(&world.voters_now()), [1, 2, 3, 101, 102]);
    for id in [2, 102] {
        world.replace_disk(id);
        world.run_for(20_000, true);
        let voters = world.voters_now();
        assert_eq!(ids(&voters), [1, 2, 3, 101, 102]);
        assert_eq!(voters.get(node_id(id)).unwrap().key, local_of(&world.replicas[&id]).key);
    }
    world.settle();
}

#[test]
fn a_voter_that_has_moved_tells_the_leader() {
    let mut world = World::new(7, 3, 0, true, Faults::default());
    world.run_for(3_000, true);
    for id in [1, 2, 3] {
        world.crash(id);
        world.replicas.get_mut(&id).unwrap().moves += 1;
        world.start(id);
        world.run_for(10_000, true);
        world.check_voters_at_the_end();
    }
    world.settle();
}
