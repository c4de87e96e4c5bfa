//! Random histories over a log that fails, commits late, is pruned and changes its leader at any record: what was written
//! is what the log replays to, nobody hears of what may be lost, and who was fenced writes no more.

use std::collections::BTreeMap;

use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;
use crate::share_state::state::ShareState;
use crate::testing::{Choices, Inbox, MemoryLog};

const KEYS: i32 = 2;

/// What was asked, with where the log ended when it was taken.
struct Asked {
    outcome: Arc<Mutex<Option<Result<(), ErrorCode>>>>,
    log_end: Offset,
    /// A leader that begins, with its share partition and epoch.
    leads: Option<(i32, i32)>,
    /// A write that must be refused.
    is_fenced: bool,
}

struct World {
    choices: Choices,
    fixture: Fixture,
    asked: Vec<Asked>,
    /// The latest leader epoch that began in each share partition, and was told so.
    leaders: BTreeMap<i32, i32>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut choices = Choices::new(seed);
        let fixture = Fixture::with(ShareCoordinatorConfig {
            update_records_per_snapshot: choices.below(4) as u32,
            ..ShareCoordinatorConfig::default()
        });
        *fixture.logs.commit_at_once.lock() = false;
        World { choices, fixture, asked: Vec::new(), leaders: BTreeMap::new() }
    }

    fn step(&mut self) {
        match self.choices.below(30) {
            0..=2 => self.initialize(),
            3..=5 => self.read(),
            6..=14 => self.write(),
            15 => self.delete(),
            16..=17 => self.summarize(),
            18..=24 => self.commit_some(),
            25 => self.fixture.logs.failures.lock().push_back(ErrorCode::NotEnoughReplicas),
            26..=27 => {
                let ms = [100, 4_000, 310_000][self.choices.below(3)];
                self.fixture.advance(ms);
            }
            28 => self.fail_over(),
            _ => {}
        }
        self.look_at_answers();
        if self.choices.one_in(4) {
            self.check_replay();
        }
    }

    fn below(&mut self, bound: i64) -> i64 {
        self.choices.below(bound as usize) as i64
    }

    fn key(&mut self) -> (i32, SharePartitionKey) {
        let partition = self.choices.below(KEYS as usize) as i32;
        (partition, self.fixture.key(partition))
    }

    fn asked<T: Send + 'static>(
        &mut self,
        leads: Option<(i32, i32)>,
        is_fenced: bool,
        ask: impl FnOnce(&ShareCoordinator, Now, Box<dyn FnOnce(Outcome<T>) + Send>),
    ) {
        let outcome = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&outcome);
        let reply = move |result: Outcome<T>| {
            let result = result.map(drop).map_err(|error| error.code);
            assert!(slot.lock().replace(result).is_none(), "answered twice");
        };
        ask(&self.fixture.coordinator, self.fixture.now(), Box::new(reply));
        let log_end = self.fixture.logs.log(0).end();
        self.asked.push(Asked { outcome, log_end, leads, is_fenced });
    }

    fn initialize(&mut self) {
        let ((_, key), epoch, start) = (self.key(), self.below(3) as i32, self.below(5) - 1);
        self.asked(None, false, |coordinator, now, reply| {
            coordinator.initialize(key, epoch, start, now, reply);
        });
    }

    fn read(&mut self) {
        let ((partition, key), epoch) = (self.key(), self.below(5) as i32 - 1);
        let leads = (epoch >= 0).then_some((partition, epoch));
        self.asked(leads, false, |coordinator, now, reply| coordinator.read(key, epoch, now, reply));
    }

    fn write(&mut self) {
        let ((partition, key), epoch) = (self.key(), self.below(4) as i32);
        let first = self.below(20);
        let batch =
            batch(first, first + self.below(4), [0, 2, 4][self.choices.below(3)], 1 + self.below(4) as i16);
        let data = WriteState {
            state_epoch: self.below(3) as i32 - 1,
            delivery_complete_count: self.below(4) as i32,
            ..written(epoch, self.below(12) - 1, &[batch])
        };
        let is_fenced = self.leaders.get(&partition).is_some_and(|leader| epoch < *leader);
        self.asked(None, is_fenced, |coordinator, now, reply| coordinator.write(key, data, now, reply));
    }

    fn delete(&mut self) {
        let (partition, key) = self.key();
        // Who led what is deleted fences nobody.
        self.leaders.remove(&partition);
        for asked in &mut self.asked {
            asked.leads = asked.leads.filter(|(of, _)| *of != partition);
        }
        self.asked(None, false, |coordinator, now, reply| coordinator.delete(key, now, reply));
    }

    fn summarize(&mut self) {
        let (_, key) = self.key();
        self.asked(None, false, |coordinator, now, reply| coordinator.summarize(key, now, reply));
    }

    fn commit_some(&mut self) {
        if let Some(to) = self.fixture.logs.commit_some(0, &mut self.choices) {
            self.fixture.coordinator.high_watermark_updated(0, to);
        }
    }

    /// Another coordinator goes on, with some of what was not committed, and maybe without what may go.
    fn fail_over(&mut self) {
        self.fixture.coordinator.on_resign(0, None);
        self.look_at_answers();
        assert!(self.asked.is_empty(), "somebody was left hanging");
        let log = self.fixture.logs.log(0).truncated_somewhere(&mut self.choices);
        let before = self.fixture.pruned.lock().last().map(|(_, before)| *before);
        let left = match before {
            Some(before) if self.choices.one_in(2) => {
                let pruned = log.pruned(before);
                let (all, left) = (World::replayed(log), World::replayed(pruned.clone()));
                assert_eq!(said(&all), said(&left), "something was pruned that is needed");
                // Whom what is gone had fenced is not known any more.
                self.leaders.clear();
                pruned
            }
            _ => log,
        };
        self.fixture.logs.set_log(0, left);
        self.fixture.reload();
    }

    fn look_at_answers(&mut self) {
        let committed = self.fixture.logs.log(0).high_watermark;
        let leaders = &mut self.leaders;
        self.asked.retain(|asked| {
            let Some(outcome) = *asked.outcome.lock() else { return true };
            if outcome.is_ok() {
                assert!(asked.log_end <= committed, "answered before it was committed");
                assert!(!asked.is_fenced, "a former leader has written");
                if let Some((partition, epoch)) = asked.leads {
                    let latest = leaders.entry(partition).or_insert(epoch);
                    *latest = epoch.max(*latest);
                }
            }
            false
        });
    }

    fn replayed(log: MemoryLog) -> ShareState {
        let mut fixture = Fixture::new();
        fixture.logs.set_log(0, log);
        fixture.reload();
        states(&fixture).0
    }

    fn check_replay(&self) {
        let log = self.fixture.logs.log(0);
        let (written, committed) = states(&self.fixture);
        assert_eq!(written, World::replayed(log.clone()), "the log replays to something else");
        let safe = log.truncated(log.high_watermark);
        assert_eq!(committed, World::replayed(safe), "the committed log replays to something else");
    }
}

/// What was written, and what of it is committed.
fn states(fixture: &Fixture) -> (ShareState, ShareState) {
    let (inbox, responder) = Inbox::new();
    fixture.coordinator.runtime.submit(0, fixture.now(), responder, |_, turn, responder| {
        let states = (turn.state.clone(), turn.committed.clone());
        turn.reply_at_once(responder, Ok(states));
    });
    inbox.get().expect("an answer").expect("a loaded shard")
}

/// What is told of each share partition.
fn said(state: &ShareState) -> Vec<(SharePartitionKey, i32, i64, i32, Vec<StateBatch>)> {
    let partitions = state.partitions.iter().map(|(key, stored)| {
        let (start, done) = (stored.start_offset, stored.delivery_complete_count);
        (key.clone(), stored.state_epoch, start, done, stored.batches.to_vec())
    });
    partitions.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases(60) })]

    #[test]
    fn whatever_happens(seed in any::<u64>()) {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
    }
}
