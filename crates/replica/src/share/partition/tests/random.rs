//! Random fetches, acknowledgements, timeouts, failures of the share coordinator and changes of leader, seen from
//! outside: by the members and by what is persisted.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LOG_END: i64 = 60;
const BATCH: i64 = 5;
const MEMBERS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Fetch {
        member: usize,
        max_records: i32,
        batches: usize,
        record_limit: bool,
    },
    Acknowledge {
        member: usize,
        kinds: Vec<u8>,
        from: usize,
    },
    Release {
        member: usize,
    },
    Wait(u64),
    /// The oldest change that waits is persisted, or not.
    Persisted(bool),
    /// The leader is lost; what was on its way to the share coordinator gets there, or not.
    NewLeader {
        arrives: bool,
    },
}

/// What the share coordinator keeps: for each offset the highest count, and with it the highest state.
#[derive(Clone, Debug, Default)]
struct Coordinator {
    start: i64,
    offsets: BTreeMap<i64, (i16, RecordState)>,
}

impl Coordinator {
    fn write(&mut self, write: &StateWrite) {
        self.start = write.start_offset.0;
        for batch in &write.batches {
            for offset in batch.first_offset.0..=batch.last_offset.0 {
                let new = (batch.delivery_count, batch.state);
                let slot = self.offsets.entry(offset).or_insert(new);
                *slot = (*slot).max(new);
            }
        }
        let start = self.start;
        self.offsets.retain(|offset, _| *offset >= start);
    }

    fn state(&self) -> PersistedState {
        let batches = self.offsets.iter().map(|(offset, (delivery_count, state))| PersistedBatch {
            first_offset: Offset(*offset),
            last_offset: Offset(*offset),
            state: *state,
            delivery_count: *delivery_count,
        });
        PersistedState { state_epoch: 1, start_offset: Some(Offset(self.start)), batches: batches.collect() }
    }
}

/// What a member was given and has not said anything of.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    member: usize,
    until: u64,
}

struct World {
    partition: SharePartition,
    coordinator: Coordinator,
    waiting: Vec<(Change, Vec<(i64, AcknowledgeType)>)>,
    held: BTreeMap<i64, Held>,
    /// Deliveries under this leader that were not given back unseen.
    deliveries: BTreeMap<i64, i16>,
    /// Accepted, and the member was told so.
    accepted: BTreeMap<i64, ()>,
    has_failed: bool,
    now_ms: u64,
}

impl World {
    fn new() -> World {
        let coordinator = Coordinator::default();
        World {
            partition: SharePartition::load(coordinator.state(), 0, Offset(0), settings()).unwrap(),
            coordinator,
            waiting: Vec::new(),
            held: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            accepted: BTreeMap::new(),
            has_failed: false,
            now_ms: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Fetch { member, max_records, batches, record_limit } => {
                self.fetch(*member, *max_records, *batches, *record_limit);
            }
            Step::Acknowledge { member, kinds, from } => self.acknowledge(*member, kinds, *from),
            Step::Release { member } => self.release(*member),
            Step::Wait(ms) => {
                self.now_ms += ms;
                self.expire();
            }
            Step::Persisted(is_ok) => self.persisted(*is_ok),
            Step::NewLeader { arrives } => self.new_leader(*arrives),
        }
        self.partition.check();
    }

    fn fetch(&mut self, member: usize, max_records: i32, batches: usize, record_limit: bool) {
        let offset = self.partition.next_fetch_offset();
        if !self.partition.can_acquire() || offset.0 >= LOG_END {
            return;
        }
        let first_batch = offset.0 / BATCH;
        let of_log: Vec<(i64, i64)> = (first_batch..LOG_END / BATCH)
            .take(batches)
            .map(|n| (n * BATCH, n * BATCH + BATCH - 1))
            .collect();
        let mode = if record_limit { AcquireMode::RecordLimit } else { AcquireMode::BatchOptimized };
        let limits = limits(mode, max_records);
        let acquired = self.partition.acquire(
            &self::member(MEMBERS[member]),
            &limits,
            offset,
            &log_batches(&of_log),
            &[],
        );
        self.partition.begin_locks(&self::member(MEMBERS[member]), &acquired, MonoMs(self.now_ms));
        let mut count = 0;
        let mut before = -1;
        for records in acquired {
            assert!(records.first_offset.0 > before);
            before = records.last_offset.0;
            for offset in records.first_offset.0..=records.last_offset.0 {
                count += 1;
                let is_held = self.held.get(&offset).is_some_and(|held| self.now_ms < held.until);
                assert!(!is_held, "{offset} is with two members");
                assert!(!self.accepted.contains_key(&offset), "{offset} was accepted and comes again");
                let deliveries = self.deliveries.entry(offset).or_insert(0);
                *deliveries += 1;
                assert!(*deliveries <= settings().delivery_count_limit, "{offset} comes too often");
                assert!(records.delivery_count <= settings().delivery_count_limit);
                self.held.insert(offset, Held { member, until: self.now_ms + LOCK_MS });
            }
        }
        assert!(!record_limit || count <= max_records);
    }

    fn acknowledge(&mut self, member: usize, kinds: &[u8], from: usize) {
        let of_member: Vec<i64> =
            self.held.iter().filter(|(_, held)| held.member == member).map(|(offset, _)| *offset).collect();
        let chosen: Vec<i64> = of_member.into_iter().skip(from).take(kinds.len()).collect();
        let said: Vec<(i64, AcknowledgeType)> = chosen
            .iter()
            .zip(kinds)
            .map(|(offset, kind)| (*offset, AcknowledgeType::from_code(*kind as i8).unwrap()))
            .collect();
        let batches: Vec<_> =
            said.iter().map(|(offset, kind)| acknowledgement(*offset, *offset, &[*kind])).collect();
        let who = self::member(MEMBERS[member]);
        let Ok(change) = self.partition.acknowledge(&who, &batches, MonoMs(self.now_ms)) else {
            let is_late = said.iter().any(|(offset, _)| self.held[offset].until <= self.now_ms);
            let is_pending = said.iter().any(|(offset, _)| {
                self.waiting.iter().any(|(_, of)| of.iter().any(|(other, _)| other == offset))
            });
            assert!(is_late || is_pending, "refused without a reason");
            return;
        };
        for (offset, kind) in &said {
            if *kind == AcknowledgeType::Renew {
                self.held.get_mut(offset).unwrap().until = self.now_ms + LOCK_MS;
            }
        }
        if let Some(change) = change {
            self.waiting.push((change, said));
        }
    }

    fn release(&mut self, member: usize) {
        let who = self::member(MEMBERS[member]);
        let Some(change) = self.partition.release(&who) else { return };
        let offsets = change.write.batches.iter().flat_map(|b| b.first_offset.0..=b.last_offset.0);
        let said = offsets.map(|offset| (offset, AcknowledgeType::Gap)).collect();
        self.waiting.push((change, said));
    }

    fn expire(&mut self) {
        if let Some(change) = self.partition.expire_locks(MonoMs(self.now_ms)) {
            self.waiting.push((change, Vec::new()));
        }
    }

    fn persisted(&mut self, is_ok: bool) {
        if self.waiting.is_empty() {
            return;
        }
        let (change, said) = self.waiting.remove(0);
        if is_ok {
            self.coordinator.write(&change.write);
        }
        self.has_failed |= !is_ok;
        let result = if is_ok { Ok(()) } else { Err(ErrorCode::CoordinatorNotAvailable) };
        self.partition.persisted(change.id, result);
        if !is_ok {
            return self.expire();
        }
        for batch in &change.write.batches {
            for offset in batch.first_offset.0..=batch.last_offset.0 {
                let kind = said.iter().find(|(other, _)| *other == offset).map(|(_, kind)| *kind);
                if kind.is_some() {
                    self.held.remove(&offset);
                }
                if kind == Some(AcknowledgeType::Accept) {
                    self.accepted.insert(offset, ());
                }
            }
        }
    }

    fn new_leader(&mut self, arrives: bool) {
        if arrives {
            for (change, _) in &self.waiting {
                self.coordinator.write(&change.write);
            }
        }
        let is_quiet = self.waiting.is_empty() && !self.has_failed;
        self.waiting.clear();
        let next = SharePartition::load(self.coordinator.state(), 0, Offset(0), settings()).unwrap();
        if is_quiet {
            for offset in 0..LOG_END {
                assert_eq!(fate(&next, offset), fate(&self.partition, offset), "{offset}");
            }
        }
        self.partition = next;
        self.held.clear();
        self.deliveries.clear();
    }

    /// From now on all goes well: in the end nothing is left.
    fn drain(&mut self) {
        for _ in 0..2_000 {
            while !self.waiting.is_empty() {
                self.persisted(true);
            }
            if self.partition.start_offset.0 == LOG_END {
                return;
            }
            self.now_ms += LOCK_MS;
            self.expire();
            self.fetch(0, 500, 12, false);
            self.acknowledge(0, &[1; 200], 0);
        }
        panic!("records are left: {:?}", self.partition);
    }
}

/// What becomes of an offset: it is done with or not.
fn fate(partition: &SharePartition, offset: i64) -> bool {
    offset < partition.start_offset.0
        || partition.at(offset).is_some_and(|(state, _, is_pending)| state.is_terminal() && !is_pending)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3usize, 1..20i32, 1..5usize, any::<bool>()).prop_map(
            |(member, max_records, batches, record_limit)| Step::Fetch { member, max_records, batches, record_limit }
        ),
        6 => (0..3usize, prop::collection::vec(1..5u8, 1..12), 0..6usize)
            .prop_map(|(member, kinds, from)| Step::Acknowledge { member, kinds, from }),
        1 => (0..3usize).prop_map(|member| Step::Release { member }),
        3 => (1..40_000u64).prop_map(Step::Wait),
        8 => prop::bool::weighted(0.8).prop_map(Step::Persisted),
        1 => any::<bool>().prop_map(|arrives| Step::NewLeader { arrives }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn records_are_with_one_member_often_enough_and_not_too_often(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.drain();
    }
}
