//! Files that hold something else than what was written into them.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use ottla_record::Batches;
use ottla_testkit::cases;
use ottla_types::{Offset, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::disk::{Disk, Open, SimDisk};
use crate::test_log::{START, TestLog, marker, open_params, producer_batch, small_config, txn_batch};
use crate::{FetchIsolation, UnifiedLog};

#[derive(Clone, Debug)]
enum Damage {
    Bytes(Index, Vec<u8>),
    Bit(Index, u8),
    Cut(Index),
    Grow(Vec<u8>),
    Empty,
    Remove,
}

fn damage() -> impl Strategy<Value = (Index, Damage)> {
    let damage = prop_oneof![
        4 => (any::<Index>(), vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Damage::Bytes(at, bytes)),
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        // As a file system leaves what it had room for and never wrote.
        2 => (any::<Index>(), 1..700usize).prop_map(|(at, zeros)| Damage::Bytes(at, vec![0; zeros])),
        2 => any::<Index>().prop_map(Damage::Cut),
        1 => vec(any::<u8>(), 1..100).prop_map(Damage::Grow),
        1 => Just(Damage::Empty),
        1 => Just(Damage::Remove),
    ];
    (any::<Index>(), damage)
}

fn apply(disk: &SimDisk, dir: &Path, (file, damage): &(Index, Damage)) {
    let entries = disk.read_dir(dir).unwrap();
    let entry = file.get(&entries);
    let path = dir.join(&entry.name);
    if let Damage::Remove = damage {
        return disk.remove_file(&path).unwrap();
    }
    let file = disk.open(&path, Open::ReadWrite).unwrap();
    let len = entry.len as usize;
    let mut content = vec![0; len];
    file.read_at(&mut content, 0).unwrap();
    match damage {
        Damage::Bytes(at, bytes) if len > 0 => {
            let at = at.index(len);
            content.iter_mut().skip(at).zip(bytes).for_each(|(byte, new)| *byte = *new);
        }
        Damage::Bit(at, bit) if len > 0 => content[at.index(len)] ^= 1 << bit,
        Damage::Cut(at) if len > 0 => content.truncate(at.index(len)),
        Damage::Grow(more) => content.extend_from_slice(more),
        Damage::Empty => content.clear(),
        _ => {}
    }
    file.set_len(0).unwrap();
    file.write_all_at(&[IoSlice::new(&content)], 0).unwrap();
}

fn filled() -> (SimDisk, TestLog, Vec<String>) {
    let disk = SimDisk::new(1);
    let log = TestLog::on(Arc::new(disk.clone()), "/data/t-0".into(), small_config());
    let mut values = Vec::new();
    for n in 0..24 {
        let value = format!("value {n}");
        match n % 4 {
            0 => drop(log.append(&[&value])),
            1 => drop(log.append_batch(&producer_batch(&[&value], 1, 0, n / 4)).unwrap()),
            2 => drop(log.append_batch(&txn_batch(&[&value], 2, 0, n / 4)).unwrap()),
            _ => {
                log.append(&[&value]);
                let origin = ottla_record::AppendOrigin::Coordinator;
                log.append_from(&marker(2, 0, n % 8 == 3, 0), origin).unwrap();
            }
        }
        values.push(value);
    }
    (disk, log, values)
}

/// The values that a reader gets, and whether it came to the end.
fn read(log: &UnifiedLog) -> (Vec<String>, bool) {
    let (mut values, mut offset) = (Vec::new(), log.log_start_offset());
    while offset < log.log_end_offset() {
        let Ok(read) = log.read(offset, 300, FetchIsolation::LogEnd, true) else { return (values, false) };
        let Some(slice) = read.records else { return (values, false) };
        let Ok(bytes) = slice.read() else { return (values, false) };
        let before = offset;
        for batch in Batches::new(&bytes) {
            let Ok(batch) = batch else { return (values, false) };
            offset = offset.max(batch.next_offset());
            let Ok(mut records) = batch.records(1 << 20) else { return (values, false) };
            while let Ok(Some(record)) = records.next() {
                if !batch.is_control() {
                    values.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
                }
            }
        }
        if offset == before {
            return (values, false);
        }
    }
    (values, true)
}

/// Everything that may be asked of a log; it need not go well.
fn use_all(log: &Arc<UnifiedLog>, test: &TestLog) {
    for timestamp in
        [START, Timestamp(START.0 - 1), Timestamp(0), crate::MAX_TIMESTAMP, crate::LATEST_TIMESTAMP]
    {
        let _ = log.offset_for_timestamp(timestamp);
    }
    for isolation in [FetchIsolation::HighWatermark, FetchIsolation::TxnCommitted] {
        let _ = log.read(log.log_start_offset(), 1000, isolation, true);
    }
    let _ = log.aborted_transactions(Offset::ZERO, log.log_end_offset());
    let _ = log.end_offset_for_epoch(ottla_types::LeaderEpoch(0));
    let _ = log.roll(test.now);
    let _ = log.delete_old_segments(test.now);
    let _ = log.flush(test.now);
    let middle = Offset((log.log_start_offset().0 + log.log_end_offset().0) / 2);
    let _ = log.truncate_to(middle, test.now);
    let _ = log.close(test.now);
}

#[test]
fn a_segment_of_an_offset_that_no_log_gets_to_is_named() {
    let (disk, test, _) = filled();
    test.close();
    for name in ["09223372036854775807.log", "05000000000000000000.log"] {
        disk.open(&test.dir.join(name), Open::Create).unwrap();
        for clean in [true, false] {
            let params =
                open_params(&test.context, &test.dir, &test.config, Offset::ZERO, Offset::ZERO, clean);
            let refused = UnifiedLog::open(params, test.now).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("{name} begins at an offset that no log gets to")),
                "{refused}"
            );
        }
        disk.remove_file(&test.dir.join(name)).unwrap();
    }
}

#[test]
fn a_batch_of_an_offset_that_no_log_gets_to_ends_the_log() {
    for (clean, offset) in [(true, i64::MAX), (false, i64::MAX), (true, i64::MAX - 1), (false, i64::MAX / 2)]
    {
        let (disk, mut test, values) = filled();
        test.append(&["last"]);
        test.close();
        let path = test.log.segments().last().unwrap().path();
        let file = disk.open(&path, Open::ReadWrite).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        let mut batches = Batches::new(&bytes);
        let mut last = 0;
        loop {
            let position = batches.position();
            match batches.next() {
                Some(_) => last = position,
                None => break,
            }
        }
        file.write_all_at(&[IoSlice::new(&offset.to_be_bytes())], last as u64).unwrap();
        let recovery_point = if clean { test.log.log_end_offset() } else { Offset::ZERO };
        test.reopen_with(Offset::ZERO, recovery_point, clean);
        assert_eq!(read(&test.log), (values.clone(), true), "{clean} {offset}");
        test.append(&["more"]);
        assert!(test.log.log_end_offset() < Offset(100));
    }
}

proptest! {
    #![proptest_config(cases(150))]

    /// A log that was not closed and is read whole is a part of what was written, and can be read.
    #[test]
    fn what_recovery_leaves_is_sound(damages in vec(damage(), 1..4), was_closed in any::<bool>()) {
        let (disk, test, values) = filled();
        if was_closed {
            test.close();
        }
        disk.kill();
        damages.iter().for_each(|damage| apply(&disk, &test.dir, damage));
        let params = open_params(&test.context, &test.dir, &test.config, Offset::ZERO, Offset::ZERO, false);
        // A checkpoint that says nothing is refused with its name; what was read before stays as it is.
        let Ok(log) = UnifiedLog::open(params, test.now) else { return Ok(()) };
        let (found, is_whole) = read(&log);
        prop_assert!(is_whole, "{found:?}");
        let at = values.iter().position(|value| found.first() == Some(value)).unwrap_or(0);
        prop_assert_eq!(&values[at..at + found.len()], &found[..]);
        use_all(&log, &test);
    }

    /// A log that was closed is taken as it is. It need not make sense then, but nobody falls over it.
    #[test]
    fn a_log_that_is_believed_harms_nobody(damages in vec(damage(), 1..4), recovery_point in 0..30i64) {
        let (disk, test, _) = filled();
        test.close();
        disk.kill();
        damages.iter().for_each(|damage| apply(&disk, &test.dir, damage));
        for clean in [true, false] {
            let recovery_point = if clean { Offset(30) } else { Offset(recovery_point) };
            let params = open_params(&test.context, &test.dir, &test.config, Offset::ZERO, recovery_point, clean);
            let Ok(log) = UnifiedLog::open(params, test.now) else { continue };
            read(&log);
            use_all(&log, &test);
        }
    }
}
