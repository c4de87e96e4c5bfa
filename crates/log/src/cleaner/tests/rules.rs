//! What compaction keeps, rule by rule.

use ottla_record::{BatchHeader, Codec, Compression};
use ottla_types::Offset;

use super::world::{DELETE_RETENTION_MS, Event, Producer, World};
use super::*;
use crate::FetchIsolation;
use crate::disk::sim::Loss;

impl World {
    fn put(&mut self, key: u8, value: u8) {
        self.append(Producer::Plain, 0, &[(key, Some(value))]);
    }

    fn delete(&mut self, key: u8) {
        self.append(Producer::Plain, 0, &[(key, None)]);
    }

    /// Rolls, so that all that was written can be cleaned, and cleans.
    fn clean_all(&mut self) {
        self.log.roll(self.now()).unwrap();
        self.clean(u16::MAX, u16::MAX);
    }

    #[track_caller]
    fn check_records(&self, expected: &[(i64, u8, Option<u8>)]) {
        let events = self.events();
        let found: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Record { offset, key, value, .. } => Some((*offset, *key, *value)),
                Event::End { .. } => None,
            })
            .collect();
        assert_eq!(found, expected);
    }

    fn headers(&self) -> Vec<BatchHeader> {
        let mut headers = Vec::new();
        for_each_batch(&self.log, |batch| headers.push(*batch.header()));
        headers
    }

    fn markers(&self) -> usize {
        self.headers().iter().filter(|header| header.is_control() && header.record_count > 0).count()
    }
}

#[test]
fn a_tombstone_stays_until_its_horizon() {
    let mut world = World::new(1);
    world.put(1, 10);
    world.delete(1);
    world.put(2, 20);
    world.clean_all();
    world.check_records(&[(1, 1, None), (2, 2, Some(20))]);
    let horizon = at(&world, DELETE_RETENTION_MS);
    assert_eq!(world.headers()[0].delete_horizon(), Some(horizon));

    // Later cleanings leave the horizon alone.
    world.now_ms += DELETE_RETENTION_MS - 1;
    world.put(3, 30);
    world.clean_all();
    world.check_records(&[(1, 1, None), (2, 2, Some(20)), (3, 3, Some(30))]);
    assert_eq!(world.headers()[0].delete_horizon(), Some(horizon));

    world.now_ms += 1;
    world.put(4, 40);
    world.clean_all();
    world.check_records(&[(2, 2, Some(20)), (3, 3, Some(30)), (4, 4, Some(40))]);
}

fn at(world: &World, ms: i64) -> ottla_types::Timestamp {
    ottla_types::Timestamp(world.now().wall.0 + ms)
}

#[test]
fn a_marker_stays_until_the_horizon_after_its_transaction_is_empty() {
    for committed in [true, false] {
        let mut world = World::new(1);
        world.append(Producer::Transactional(1), 0, &[(1, Some(1))]);
        world.end_txn(1, committed);
        // The producer goes on, so that the marker is not the last thing that is known of it.
        world.append(Producer::Transactional(1), 0, &[(2, Some(2))]);
        world.end_txn(1, true);
        world.put(1, 3);
        world.clean_all();
        assert_eq!(world.markers(), 2);
        let first_marker =
            |world: &World| *world.headers().iter().find(|header| header.is_control()).unwrap();
        // Nothing of its records is there any more; but that was seen only by this cleaning, for aborted ones, too.
        assert_eq!(first_marker(&world).delete_horizon(), None);

        world.put(4, 4);
        world.clean_all();
        assert_eq!(world.markers(), 2);
        assert_eq!(first_marker(&world).delete_horizon(), Some(at(&world, DELETE_RETENTION_MS)));

        world.now_ms += DELETE_RETENTION_MS - 1;
        world.put(5, 5);
        world.clean_all();
        assert_eq!(world.markers(), 2);

        world.now_ms += 1;
        world.put(6, 6);
        world.clean_all();
        assert_eq!(world.markers(), 1, "committed {committed}");
        world.check_producers();
    }
}

#[test]
fn the_last_batch_of_a_producer_keeps_its_header() {
    let mut world = World::new(1);
    world.append(Producer::Idempotent, 4, &[(1, Some(1)), (2, Some(1))]);
    world.append(Producer::Idempotent, 4, &[(1, Some(2)), (2, Some(2))]);
    world.put(1, 3);
    world.put(2, 3);
    world.clean_all();
    world.check_records(&[(4, 1, Some(3)), (5, 2, Some(3))]);
    let first = world.headers()[0];
    assert_eq!((first.base_offset, first.last_offset(), first.record_count), (Offset(2), Offset(3), 0));
    assert_eq!((first.base_sequence, first.last_sequence(), first.is_compressed()), (2, 3, false));
    world.check_producers();
}

#[test]
fn the_end_of_what_was_cleaned_keeps_its_header() {
    let mut world = World::new(1);
    world.put(1, 1);
    world.append(Producer::Transactional(1), 0, &[(2, Some(1))]);
    world.end_txn(1, false);
    world.append(Producer::Transactional(1), 0, &[(3, Some(1))]);
    world.end_txn(1, false);
    world.clean_all();
    let last = *world.headers().last().unwrap();
    assert_eq!(last.next_offset(), world.log.log_end_offset());
}

#[test]
fn compressed_batches_keep_their_codec_and_place() {
    for codec in Codec::ALL {
        let mut world = World::new(1);
        world.append(Producer::Plain, codec.id(), &[(1, Some(1)), (2, Some(2)), (3, Some(3))]);
        world.put(2, 9);
        world.clean_all();
        world.check_records(&[(0, 1, Some(1)), (2, 3, Some(3)), (3, 2, Some(9))]);
        let first = world.headers()[0];
        assert_eq!((first.base_offset, first.last_offset()), (Offset(0), Offset(2)));
        assert_eq!(first.attributes.codec_id(), codec.id());
    }
}

#[test]
fn a_small_map_takes_several_cleanings() {
    let mut world = World::new(1);
    for round in 0..3 {
        for key in 0..200 {
            world.put(key, round);
        }
    }
    world.log.roll(world.now()).unwrap();
    let mut cleanings = 0;
    while world.clean_up_to() < 600 {
        world.clean(100 * 24, 1000);
        world.check();
        cleanings += 1;
    }
    assert!(cleanings > 2);
    assert_eq!(world.events().len(), 200);
}

#[test]
fn undecided_transactions_hold_the_cleaner_back() {
    let mut world = World::new(1);
    world.put(1, 1);
    world.put(1, 2);
    world.log.roll(world.now()).unwrap();
    world.append(Producer::Transactional(1), 0, &[(2, Some(1))]);
    world.log.roll(world.now()).unwrap();
    world.put(1, 3);
    world.clean_all();
    assert_eq!(world.clean_up_to(), 2);
    world.check();
    world.end_txn(1, true);
    world.clean_all();
    assert_eq!(world.clean_up_to(), 5);
    world.check();
}

#[test]
fn records_without_a_key_go() {
    let mut world = World::new(1);
    world.put(1, 1);
    world.put(2, 1);
    world.log.roll(world.now()).unwrap();
    // As a topic that was not compacted before may have them.
    let segment = std::sync::Arc::clone(world.log.segments().first().unwrap());
    let mut keyless = crate::test_log::batch(&["x"], world.now().wall, Default::default()).to_vec();
    ottla_record::BatchMut::parse(&mut keyless).unwrap().set_base_offset(Offset(0));
    segment.file().unwrap().write_all_at(&[std::io::IoSlice::new(&keyless)], 0).unwrap();
    let whole = keyless.len() as u32;
    segment.file().unwrap().set_len(u64::from(whole)).unwrap();
    segment.set_recovered(whole, crate::index::TimestampOffset { timestamp: -1, offset: 0 }).unwrap();
    segment.offset_index().reset().unwrap();
    let (_, stats) = clean(&world.manager, &world.log, world.now()).unwrap();
    assert_eq!((stats.invalid_records, stats.records_written), (1, 0));
}

/// A message of magic 1, with its own offset.
fn legacy_message(offset: i64, attributes: u8, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
    let field = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat(),
        None => (-1i32).to_be_bytes().to_vec(),
    };
    let timestamp = crate::test_log::START.0.to_be_bytes();
    let body = [&[1, attributes][..], &timestamp, &field(key), &field(value)].concat();
    let size = (4 + body.len() as i32).to_be_bytes();
    [&offset.to_be_bytes()[..], &size, &crc32fast::hash(&body).to_be_bytes(), &body].concat()
}

#[test]
fn older_formats_are_compacted_too() {
    let mut world = World::new(1);
    // Their tombstones stay for as long as their file was not changed.
    world.disk.set_now(crate::test_log::START);
    let value = |byte: u8| [byte; 20];
    let inner = [
        legacy_message(0, 0, Some(&[1]), Some(&value(1))),
        legacy_message(1, 0, Some(&[2]), Some(&value(1))),
        legacy_message(2, 0, Some(&[3]), Some(&value(1))),
    ];
    let mut compressed = Vec::new();
    Compression::new(Codec::Gzip).compress(&inner.concat(), &mut compressed).unwrap();
    let bytes = [
        legacy_message(0, 0, Some(&[1]), Some(&value(0))),
        legacy_message(1, 0, Some(&[4]), Some(&value(0))),
        // Its offset is its last record's; those inside are relative.
        legacy_message(4, 1, None, Some(&compressed)),
        legacy_message(5, 0, Some(&[5]), None),
    ]
    .concat();
    world.log.close(world.now()).unwrap();
    let path = std::path::Path::new("/data/t-0/00000000000000000000.log");
    let file = crate::disk::Disk::open(&world.disk, path, crate::disk::Open::Truncate).unwrap();
    file.write_all_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
    world.reopen(Offset::ZERO);
    world.put(2, 9);
    world.log.roll(world.now()).unwrap();
    clean(&world.manager, &world.log, world.now()).unwrap();
    world.check_records(&[(1, 4, Some(0)), (2, 1, Some(1)), (4, 3, Some(1)), (5, 5, None), (6, 2, Some(9))]);
    let magics: Vec<i8> = world.headers().iter().map(|header| header.magic).collect();
    assert_eq!(magics, [1, 2, 1, 2]);
}

/// Recovery must not take the gaps for what a loss of power has left.
#[test]
fn what_was_not_flushed_before_a_cleaning_is_kept_after_it() {
    let mut world = World::new(1);
    for round in 0..4 {
        for key in 0..4 {
            world.put(key, round);
            world.log.roll(world.now()).unwrap();
        }
    }
    assert_eq!(world.log.recovery_point(), Offset::ZERO);
    world.clean_all();
    let kept = [(12, 0, Some(3)), (13, 1, Some(3)), (14, 2, Some(3)), (15, 3, Some(3))];
    world.check_records(&kept);
    for loss in [None, Some(Loss::Nothing), Some(Loss::Everything)] {
        match loss {
            Some(loss) => world.disk.crash(loss),
            None => world.disk.kill(),
        }
        world.reopen(Offset::ZERO);
        world.check_records(&kept);
    }
}

#[test]
fn a_bound_in_a_segment_that_was_compacted_ends_with_it() {
    let mut world = World::new(1);
    (0..5).for_each(|value| world.put(1, value));
    let segment_end = world.log.log_end_offset_metadata();
    world.log.roll(world.now()).unwrap();
    world.put(2, 20);
    // A follower has fetched up to there before the leader rolled, and no further since.
    world.log.update_high_watermark(Offset(4));
    world.log.maybe_increment_high_watermark(segment_end).unwrap();
    world.clean(u16::MAX, u16::MAX);
    let read = world.log.read(Offset(0), 1 << 20, FetchIsolation::HighWatermark, true).unwrap();
    let records = read.records.unwrap();
    assert_eq!(records.read().unwrap().len(), records.len as usize);
    assert!(records.len < segment_end.position_in_segment().unwrap());
}
