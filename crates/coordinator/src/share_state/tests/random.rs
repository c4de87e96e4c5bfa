//! Random operations, loaded again from the log at random, also from one that was pruned: always the same as a plain
//! model of one state for each share partition.

use std::collections::BTreeMap;

use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Initialize { partition: i32, epoch: i32, start: i64 },
    Read { partition: i32, leader_epoch: i32 },
    Write { partition: i32, leader_epoch: i32, state_epoch: i32, start: i64, batches: Vec<StateBatch> },
    Delete { partition: i32 },
    FailNextAppend,
    Reload,
    Wait(u64),
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    state_epoch: i32,
    start: i64,
    /// Of the last snapshot and what came after: all that is left when the log before it is pruned.
    stored_leader_epoch: i32,
    fencing_leader_epoch: i32,
    fencing_state_epoch: i32,
    batches: Vec<StateBatch>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let partition = 0..2i32;
    let batches = prop::collection::vec(
        (0..20i64, 0..5i64, prop::sample::select(vec![0i8, 2, 4]), 1..4i16)
            .prop_map(|(first, length, state, count)| batch(first, first + length, state, count)),
        0..4,
    );
    let step = prop_oneof![
        2 => (partition.clone(), 0..3i32, -1..4i64)
            .prop_map(|(partition, epoch, start)| Step::Initialize { partition, epoch, start }),
        2 => (partition.clone(), -1..3i32).prop_map(|(partition, leader_epoch)| Step::Read { partition, leader_epoch }),
        8 => (partition.clone(), -1..3i32, -1..3i32, -1..15i64, batches).prop_map(
            |(partition, leader_epoch, state_epoch, start, batches)| Step::Write {
                partition, leader_epoch, state_epoch, start, batches
            }
        ),
        1 => partition.prop_map(|partition| Step::Delete { partition }),
        1 => Just(Step::FailNextAppend),
        2 => Just(Step::Reload),
        1 => (1..700_000u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// Whether the model takes the step, and its state afterwards.
fn apply(model: &mut BTreeMap<i32, Model>, step: &Step) -> bool {
    match step {
        Step::Initialize { partition, epoch, start } => {
            let before = model.get(partition);
            let fencing = before.map_or(i32::MIN, |before| before.fencing_state_epoch);
            if *epoch < fencing {
                return false;
            }
            let next = Model {
                state_epoch: *epoch,
                start: *start,
                stored_leader_epoch: 0,
                fencing_leader_epoch: before.map_or(0, |before| before.fencing_leader_epoch.max(0)),
                fencing_state_epoch: fencing.max(*epoch),
                batches: Vec::new(),
            };
            model.insert(*partition, next);
            true
        }
        Step::Read { partition, leader_epoch } => {
            let Some(state) = model.get_mut(partition) else { return false };
            if *leader_epoch != -1 && *leader_epoch < state.fencing_leader_epoch {
                return false;
            }
            state.fencing_leader_epoch = state.fencing_leader_epoch.max(*leader_epoch);
            if *leader_epoch != -1 {
                state.stored_leader_epoch = *leader_epoch;
            }
            true
        }
        Step::Write { partition, leader_epoch, state_epoch, start, batches } => {
            let Some(state) = model.get_mut(partition) else { return false };
            let is_fenced = *leader_epoch != -1 && *leader_epoch < state.fencing_leader_epoch
                || *state_epoch != -1 && *state_epoch < state.fencing_state_epoch;
            if is_fenced {
                return false;
            }
            state.start = if *start == -1 { state.start } else { state.start.max(*start) };
            state.batches = combine(&state.batches, batches, state.start);
            true
        }
        Step::Delete { partition } => {
            model.remove(partition);
            true
        }
        _ => true,
    }
}

fn run(steps: &[Step], interval: u32) {
    let mut fixture = Fixture::with(ShareCoordinatorConfig {
        update_records_per_snapshot: interval,
        ..ShareCoordinatorConfig::default()
    });
    let mut model: BTreeMap<i32, Model> = BTreeMap::new();
    let mut has_reloaded_pruned = false;
    for step in steps {
        let mut next = model.clone();
        let is_taken = apply(&mut next, step);
        let outcome = match step.clone() {
            Step::Initialize { partition, epoch, start } => {
                fixture.initialize(&fixture.key(partition), epoch, start).is_ok()
            }
            Step::Read { partition, leader_epoch } => {
                fixture.read(&fixture.key(partition), leader_epoch).is_ok()
            }
            Step::Write { partition, leader_epoch, state_epoch, start, batches } => {
                let data = WriteState { state_epoch, ..written(leader_epoch, start, &batches) };
                fixture.write(&fixture.key(partition), data).is_ok()
            }
            Step::Delete { partition } => fixture.delete(&fixture.key(partition)).is_ok(),
            Step::FailNextAppend => {
                let mut failures = fixture.logs.failures.lock();
                failures.clear();
                failures.push_back(ErrorCode::NotEnoughReplicas);
                true
            }
            Step::Reload => {
                fixture.reload();
                has_reloaded_pruned |= !fixture.pruned.lock().is_empty();
                true
            }
            Step::Wait(ms) => {
                fixture.advance(ms);
                prune(&fixture);
                true
            }
        };
        if outcome && !is_taken {
            // What fenced this leader was pruned, and the log read again.
            assert!(has_reloaded_pruned, "{step:?} should have been refused");
            for state in model.values_mut() {
                state.fencing_leader_epoch = state.stored_leader_epoch;
            }
            next = model.clone();
            assert!(apply(&mut next, step), "{step:?} should have been refused");
        }
        if outcome {
            model = next;
        } else {
            assert!(!is_taken || fixture.logs.failures.lock().is_empty(), "{step:?} was refused");
        }
        for partition in 0..2 {
            let found = fixture.read(&fixture.key(partition), -1).ok();
            let found = found.map(|state| (state.state_epoch, state.start_offset, state.batches.to_vec()));
            let expected = model.get(&partition).map(|m| (m.state_epoch, m.start, m.batches.clone()));
            assert_eq!(found, expected, "after {step:?}");
        }
    }
}

/// Takes from the log what the coordinator said may go.
fn prune(fixture: &Fixture) {
    let Some((_, before)) = fixture.pruned.lock().last().copied() else { return };
    fixture.logs.set_log(0, fixture.logs.log(0).pruned(before));
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn the_state_is_that_of_the_model(steps in steps(), interval in 0..4u32) {
        run(&steps, interval);
    }
}
