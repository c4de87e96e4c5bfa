//! Random histories of a compacted log.

use ottla_testkit::cases;
use proptest::prelude::*;

use super::world::{Producer, World, view};
use crate::disk::sim::Loss;

/// What happens to the log.
#[derive(Clone, Debug)]
enum Op {
    Append { producer: Producer, codec: u8, records: Vec<(u8, Option<u8>)> },
    EndTxn { producer_id: i64, committed: bool },
    Roll,
    Pass(u16),
    Clean { map_bytes: u16, io_bytes: u16 },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let producer = prop_oneof![
        Just(Producer::Plain),
        Just(Producer::Idempotent),
        (1..3i64).prop_map(Producer::Transactional)
    ];
    let records = prop::collection::vec((0..6u8, prop::option::weighted(0.8, any::<u8>())), 1..5);
    prop_oneof![
        12 => (producer, 0..5u8, records).prop_map(|(producer, codec, records)| Op::Append { producer, codec, records }),
        3 => (1..3i64, any::<bool>()).prop_map(|(producer_id, committed)| Op::EndTxn { producer_id, committed }),
        2 => Just(Op::Roll),
        1 => (0..2000u16).prop_map(Op::Pass),
        3 => (prop_oneof![0..600u16, Just(u16::MAX)], 0..2000u16).prop_map(|(map_bytes, io_bytes)| Op::Clean { map_bytes, io_bytes }),
        1 => Just(Op::Reopen),
    ]
}

fn run(world: &mut World, op: &Op) {
    match op {
        Op::Append { producer, codec, records } => world.append(*producer, *codec, records),
        Op::EndTxn { producer_id, committed } => world.end_txn(*producer_id, *committed),
        Op::Roll => world.log.roll(world.now()).unwrap(),
        Op::Pass(ms) => {
            world.now_ms += i64::from(*ms);
            world.context.deferred.run_due(world.now());
        }
        Op::Clean { map_bytes, io_bytes } => {
            world.clean(*map_bytes, *io_bytes);
        }
        Op::Reopen => {
            world.log.close(world.now()).unwrap();
            let end = world.log.log_end_offset();
            world.reopen(end);
        }
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn the_latest_value_of_each_key_survives(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new(1);
        for op in &ops {
            run(&mut world, op);
            world.check();
        }
        world.check_producers();
        world.check();
    }

    #[test]
    fn a_crash_in_the_middle_harms_nothing(ops in prop::collection::vec(op(), 1..60), steps in 0..40usize, calls in 0..60u64, seed: u64) {
        let mut world = World::new(seed);
        for op in &ops {
            run(&mut world, op);
        }
        world.log.roll(world.now()).unwrap();
        world.log.flush(world.now()).unwrap();
        let recovery_point = world.log.log_end_offset();
        let config = World::cleaner_config(300, 400);
        if let Some(cleaning) = world.manager.grab_filthiest([&world.log], &config, world.now()) {
            for _ in 0..steps {
                world.manager.step(&cleaning, world.now());
            }
            // The disk fails somewhere in the steps that follow, and then the power goes.
            world.disk.fail_nth(None, calls + 1);
            for _ in 0..10 {
                world.manager.step(&cleaning, world.now());
            }
            world.disk.heal();
        }
        world.disk.crash(Loss::Seeded);
        world.reopen(recovery_point);
        let events = world.events();
        prop_assert_eq!(view(&events), view(&world.history));
        world.clean(600, 600);
        world.check_producers();
        prop_assert_eq!(view(&world.events()), view(&world.history));
    }
}
