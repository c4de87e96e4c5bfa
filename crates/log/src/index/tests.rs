use std::sync::Arc;

use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;
use crate::disk::sim::Call;
use crate::disk::{Disk, Open, Reach, RealDisk, SimDisk};
use crate::names::FileState;
use crate::partition_dir::PartitionDir;

const BASE: i64 = 5_000_000_000;
const MAX: u32 = 10 << 20;

struct Fixture {
    _root: tempfile::TempDir,
    dir: Arc<PartitionDir>,
}

impl Fixture {
    fn new() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let dir = PartitionDir::new(Arc::new(RealDisk::new(8)), root.path());
        Fixture { _root: root, dir }
    }

    fn offsets(&self) -> OffsetIndex {
        OffsetIndex::new(Arc::clone(&self.dir), BASE, FileState::Live)
    }

    fn times(&self) -> TimeIndex {
        TimeIndex::new(Arc::clone(&self.dir), BASE, FileState::Live)
    }

    fn txns(&self) -> TxnIndex {
        TxnIndex::new(Arc::clone(&self.dir), BASE, FileState::Live)
    }

    fn append(&self, offset: i64, position: u32) {
        let index = self.offsets();
        index.append(BASE + offset, position, MAX).unwrap();
        index.trim().unwrap();
    }

    fn append_time(&self, timestamp: i64, offset: i64) {
        let index = self.times();
        index.maybe_append(timestamp, BASE + offset, MAX, false).unwrap();
        index.trim().unwrap();
    }

    fn len(&self, suffix: &str) -> u64 {
        let path = self.dir.file(&format!("{BASE:020}{suffix}"));
        self.dir.disk().open(&path, Open::Read).unwrap().len().unwrap()
    }

    fn set_len(&self, suffix: &str, len: u64) {
        let path = self.dir.file(&format!("{BASE:020}{suffix}"));
        self.dir.disk().open(&path, Open::ReadWrite).unwrap().set_len(len).unwrap();
    }
}

fn txn(producer_id: i64, first: i64, last: i64, stable: i64) -> AbortedTxn {
    AbortedTxn {
        producer_id,
        first_offset: BASE + first,
        last_offset: BASE + last,
        last_stable_offset: BASE + stable,
    }
}

#[test]
fn bytes_on_disk_are_kafkas() {
    let f = Fixture::new();
    f.append(258, 4097);
    f.append_time(0x0102_0304_0506_0708, 9);
    f.txns()
        .append(AbortedTxn { producer_id: 1, first_offset: 2, last_offset: 3, last_stable_offset: 4 })
        .unwrap();
    let bytes = |suffix: &str| std::fs::read(f.dir.file(&format!("{BASE:020}{suffix}"))).unwrap();
    assert_eq!(bytes(".index"), [0, 0, 1, 2, 0, 0, 16, 1]);
    assert_eq!(bytes(".timeindex"), [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9]);
    let mut expected = vec![0, 0];
    for n in 1..=4u64 {
        expected.extend(n.to_be_bytes());
    }
    assert_eq!(bytes(".txnindex"), expected);
}

#[test]
fn nothing_is_opened_before_use() {
    let f = Fixture::new();
    let (offsets, times, txns) = (f.offsets(), f.times(), f.txns());
    for result in [offsets.close(), offsets.flush(), times.close(), times.flush(), txns.flush()] {
        result.unwrap();
    }
    assert!(txns.is_empty().unwrap());
    assert_eq!(f.dir.disk().read_dir(&f.dir.path()).unwrap(), []);
    assert!(size_of::<OffsetIndex>() <= 48 && size_of::<TimeIndex>() <= 48 && size_of::<TxnIndex>() <= 56);
}

#[test]
fn order_is_enforced() {
    let f = Fixture::new();
    let offsets = f.offsets();
    offsets.append(BASE + 1, 0, MAX).unwrap();
    assert!(matches!(offsets.append(BASE + 1, 1, MAX), Err(IndexError::OutOfOrder { .. })));
    assert!(matches!(offsets.append(BASE - 1, 1, MAX), Err(IndexError::OffsetOverflow { .. })));
    assert!(matches!(offsets.append(BASE + (1 << 31), 1, MAX), Err(IndexError::OffsetOverflow { .. })));
    offsets.append(BASE + i64::from(i32::MAX), u32::MAX, MAX).unwrap();

    let times = f.times();
    times.maybe_append(-1, BASE + 4, MAX, false).unwrap();
    assert!(times.is_empty().unwrap());
    times.maybe_append(10, BASE + 5, MAX, false).unwrap();
    times.maybe_append(10, BASE + 6, MAX, false).unwrap();
    assert_eq!(times.len().unwrap(), 1);
    assert!(matches!(times.maybe_append(9, BASE + 7, MAX, false), Err(IndexError::OutOfOrder { .. })));
    assert!(matches!(times.maybe_append(11, BASE + 4, MAX, false), Err(IndexError::OutOfOrder { .. })));

    let txns = f.txns();
    txns.append(txn(1, 0, 5, 5)).unwrap();
    assert!(matches!(txns.append(txn(1, 6, 5, 6)), Err(IndexError::OutOfOrder { .. })));
}

#[test]
fn fullness_follows_the_configured_size() {
    let f = Fixture::new();
    let (offsets, times) = (f.offsets(), f.times());
    for i in 0..3 {
        assert!(!offsets.is_full(31).unwrap());
        offsets.append(BASE + i, 0, 31).unwrap();
    }
    assert!(offsets.is_full(31).unwrap());
    assert!(matches!(offsets.append(BASE + 9, 0, 31), Err(IndexError::Full { entries: 3, .. })));
    offsets.append(BASE + 9, 0, 32).unwrap();

    times.maybe_append(1, BASE, 36, false).unwrap();
    times.maybe_append(2, BASE + 1, 36, false).unwrap();
    assert!(times.is_full(36).unwrap());
    assert!(matches!(times.maybe_append(3, BASE + 2, 36, false), Err(IndexError::Full { .. })));
    times.maybe_append(3, BASE + 2, 36, true).unwrap();
}

#[test]
fn a_preallocated_file_counts_only_its_entries() {
    for entries in [0, 1, 2, 100] {
        let f = Fixture::new();
        {
            let (offsets, times) = (f.offsets(), f.times());
            for i in 0..entries {
                offsets.append(BASE + 1 + i, i as u32 * 10, MAX).unwrap();
                // The first entry is all zeros.
                times.maybe_append(i, BASE + i, MAX, false).unwrap();
            }
            offsets.close().unwrap();
            times.close().unwrap();
        }
        if entries == 0 {
            f.offsets().len().unwrap();
            f.times().len().unwrap();
        }
        f.set_len(".index", 10_000);
        // A lone first entry of zeros cannot be told from padding.
        let time_entries = if entries == 1 { 0 } else { entries };
        f.set_len(".timeindex", 12_000);
        let (offsets, times) = (f.offsets(), f.times());
        assert_eq!(offsets.len().unwrap(), entries as u32);
        assert_eq!(times.len().unwrap(), time_entries as u32);
        offsets.sanity_check().unwrap();
        times.sanity_check().unwrap();
        offsets.append(BASE + 1000, 2000, MAX).unwrap();
        times.close().unwrap();
        offsets.flush().unwrap();
        assert_eq!(f.len(".index"), 8 * (entries as u64 + 1));
        assert_eq!(f.len(".timeindex"), 12 * time_entries as u64);
        assert_eq!(f.offsets().last_offset().unwrap(), BASE + 1000);
    }
}

#[test]
fn corruption_is_told() {
    let f = Fixture::new();
    f.append(1, 0);
    f.append_time(1, 0);
    f.set_len(".index", 9);
    f.set_len(".timeindex", 13);
    assert!(f.offsets().sanity_check().unwrap_err().is_corrupt());
    assert!(f.times().sanity_check().unwrap_err().is_corrupt());

    let overwrite = |suffix: &str, bytes: &[u8]| {
        std::fs::write(f.dir.file(&format!("{BASE:020}{suffix}")), bytes).unwrap();
    };
    overwrite(".index", &[255; 8]);
    assert!(f.offsets().sanity_check().unwrap_err().is_corrupt());
    overwrite(".timeindex", &[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]);
    assert!(f.times().sanity_check().unwrap_err().is_corrupt());
    overwrite(".txnindex", &[0; 34]);
    assert!(f.txns().sanity_check().unwrap_err().is_corrupt());
    overwrite(".txnindex", &[1; 34]);
    assert!(f.txns().collect(0, i64::MAX).unwrap_err().is_corrupt());
}

#[test]
fn states_change_the_name() {
    let f = Fixture::new();
    let index = OffsetIndex::new(Arc::clone(&f.dir), BASE, FileState::Cleaned);
    index.append(BASE + 1, 7, MAX).unwrap();
    index.flush().unwrap();
    index.rename(FileState::Swap).unwrap();
    index.close().unwrap();
    index.rename(FileState::Live).unwrap();
    assert_eq!(f.offsets().lookup(BASE + 1).unwrap().position, 7);
    assert!(index.path().ends_with("00000000005000000000.index"));
    index.delete().unwrap();
    index.delete().unwrap();
    assert_eq!(f.dir.disk().read_dir(&f.dir.path()).unwrap(), []);
}

#[test]
fn aborted_transactions_of_a_range() {
    let f = Fixture::new();
    let index = f.txns();
    let txns = [txn(0, 0, 10, 11), txn(1, 5, 15, 13), txn(2, 18, 35, 25), txn(3, 32, 50, 40)];
    for txn in txns {
        index.append(txn).unwrap();
    }
    let check = |from: i64, to: i64, expected: &[AbortedTxn], is_complete: bool| {
        let found = f.txns().collect(BASE + from, BASE + to).unwrap();
        assert_eq!(found, AbortedTxns { txns: expected.to_vec(), is_complete }, "{from}..{to}");
    };
    check(0, 100, &txns, false);
    check(0, 32, &txns[..3], true);
    check(0, 35, &txns, true);
    check(10, 35, &txns, true);
    check(11, 35, &txns[1..], true);
    check(20, 41, &txns[2..], false);
    check(51, 60, &[], false);
    index.truncate_to(BASE + 35).unwrap();
    assert_eq!(index.all().unwrap(), txns[..2]);
    // One append may have brought these, and behind them the beginning of another one, at 12.
    index.truncate_to(BASE).unwrap();
    let together = [txn(0, 0, 1, 12), txn(0, 2, 7, 12)];
    together.iter().for_each(|txn| index.append(*txn).unwrap());
    check(1, 4, &together, true);
    check(0, 2, &together[..1], true);
    index.reset().unwrap();
    assert!(index.is_empty().unwrap());
}

/// Grows, truncates and reopens an index beside a plain list.
#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Truncate(u16),
    Reopen,
    Lookup(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (1..4u8).prop_map(Step::Append),
        1 => any::<u16>().prop_map(Step::Truncate),
        1 => Just(Step::Reopen),
        4 => any::<u16>().prop_map(Step::Lookup),
    ]
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn lookups_agree_with_a_linear_search(steps in prop::collection::vec(step(), 1..1500)) {
        let f = Fixture::new();
        let (mut offsets, mut times) = (f.offsets(), f.times());
        let mut model: Vec<(i64, u32)> = Vec::new();
        for step in steps {
            let end = model.last().map_or(BASE, |last| last.0);
            let within = |n: u16| BASE - 1 + i64::from(n) % (end - BASE + 3);
            match step {
                Step::Append(n) => {
                    let entry = (end + i64::from(n), (end - BASE) as u32 * 3 + u32::from(n));
                    offsets.append(entry.0, entry.1, MAX).unwrap();
                    times.maybe_append(i64::from(entry.1), entry.0, MAX, false).unwrap();
                    model.push(entry);
                }
                Step::Truncate(n) => {
                    let to = within(n);
                    offsets.truncate_to(to).unwrap();
                    times.truncate_to(to).unwrap();
                    model.retain(|entry| entry.0 < to);
                }
                Step::Reopen => {
                    offsets.close().unwrap();
                    times.trim().unwrap();
                    (offsets, times) = (f.offsets(), f.times());
                }
                Step::Lookup(n) => {
                    let target = within(n);
                    let expected = model.iter().rev().find(|entry| entry.0 <= target).copied().unwrap_or((BASE, 0));
                    let found = offsets.lookup(target).unwrap();
                    prop_assert_eq!((found.offset, found.position), expected);

                    let timestamp = (target - BASE) * 3;
                    let expected = model.iter().rev().find(|entry| i64::from(entry.1) <= timestamp);
                    let found = times.lookup(timestamp).unwrap();
                    prop_assert_eq!(Some(found.offset), Some(expected.map_or(BASE, |entry| entry.0)));

                    let from = OffsetPosition { offset: BASE, position: 5 };
                    let expected = model.iter().find(|entry| i64::from(entry.1) >= 5 + timestamp.max(0));
                    let found = offsets.upper_bound(from, timestamp.max(0) as u32, Reach::Disk).unwrap();
                    prop_assert_eq!(found.map(|found| (found.offset, found.position)), expected.copied());
                }
            }
            prop_assert_eq!(offsets.len().unwrap() as usize, model.len());
            prop_assert_eq!(offsets.last_offset().unwrap(), model.last().map_or(BASE, |last| last.0));
        }
    }
}

/// Writes an index of entries at these offsets, and looks for each of some offsets; the most reads that one took.
fn most_reads(offsets: &[u32]) -> u64 {
    let disk = SimDisk::new(1);
    disk.create_dir_all("/t-0".as_ref()).unwrap();
    let dir = PartitionDir::new(Arc::new(disk.clone()), std::path::Path::new("/t-0"));
    let mut bytes = Vec::new();
    for (n, offset) in offsets.iter().enumerate() {
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&(n as u32).to_be_bytes());
    }
    let file = disk.open(&dir.file(&format!("{BASE:020}.index")), Open::Create).unwrap();
    file.write_all_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
    let index = OffsetIndex::new(dir, BASE, FileState::Live);
    assert_eq!(index.len().unwrap() as usize, offsets.len());
    let (mut most, last) = (0, *offsets.last().unwrap());
    for n in 0..=1000_u64 {
        let target = (u64::from(last) * n / 1000) as u32;
        let before = disk.calls(Call::Read);
        let found = index.lookup(BASE + i64::from(target)).unwrap();
        most = most.max(disk.calls(Call::Read) - before);
        let expected = offsets.partition_point(|&offset| offset <= target).checked_sub(1);
        let expected = expected.map_or((BASE, 0), |n| (BASE + i64::from(offsets[n]), n as u32));
        assert_eq!((found.offset, found.position), expected, "{target}");
    }
    most
}

#[test]
fn a_search_on_disk_reads_little() {
    let entries = || 0..100_000_u32;
    // As evenly as producers are.
    assert_eq!(most_reads(&entries().map(|n| n * 100 + n * 37 % 89).collect::<Vec<_>>()), 2);
    // Ever faster, ever slower, with a gap: as often as halving alone would, or nearly.
    let shapes: [fn(u32) -> u32; 3] = [
        |n| 1 + n / 4 * (n / 10),
        |n| 2_000_000_000 - (99_999 - n) * ((99_999 - n) / 10),
        |n| if n < 70_000 { n + 1 } else { 1_000_000_000 + n },
    ];
    for shape in shapes {
        assert!(most_reads(&entries().map(shape).collect::<Vec<_>>()) <= 11);
    }
}

#[test]
fn entries_wait_until_they_pile_up() {
    let f = Fixture::new();
    let index = f.offsets();
    for i in 0..200 {
        index.append(BASE + i, 0, MAX).unwrap();
    }
    assert_eq!(f.len(".index"), 8 * 192);
    index.truncate_to(BASE + 195).unwrap();
    assert_eq!((f.len(".index"), index.len().unwrap()), (8 * 192, 195), "what waits goes on waiting");
    index.append(BASE + 300, 0, MAX).unwrap();
    index.truncate_to(BASE + 100).unwrap();
    assert_eq!((f.len(".index"), index.last_offset().unwrap()), (8 * 100, BASE + 99));
    index.append(BASE + 300, 0, MAX).unwrap();
    index.flush().unwrap();
    assert_eq!(f.offsets().last_offset().unwrap(), BASE + 300);
    // Each aborted transaction is written at once.
    f.txns().append(txn(1, 0, 5, 5)).unwrap();
    assert_eq!(f.len(".txnindex"), 34);
}
