//! A log of a thousand segments is opened, and read from anywhere, with the work that one of one segment takes: counted in
//! calls of the disk, not in time. The files are sparse: headers of batches with nothing behind them.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_record::BATCH_HEADER_BYTES;
use ottla_types::{Offset, TopicPartition};

use crate::disk::{DirEntry, Disk, DiskFile, Open, RealDisk, Space};
use crate::producer_state::ProducerStateConfig;
use crate::test_log::{START, at_ms};
use crate::{FetchIsolation, LogConfig, LogContext, OpenLog, UnifiedLog};

const SEGMENT_BYTES: u64 = 1 << 30;
const BATCHES: u64 = 16;
const BATCH_BYTES: u64 = SEGMENT_BYTES / BATCHES;
const RECORDS_PER_BATCH: u64 = 1000;
const RECORDS: u64 = BATCHES * RECORDS_PER_BATCH;
const DESCRIPTORS_MAX: usize = 16;

/// The machine's disk, counting what is done to it.
#[derive(Clone, Debug)]
struct Counting {
    disk: Arc<RealDisk>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    opens: AtomicUsize,
    reads: AtomicUsize,
    bytes: AtomicUsize,
}

/// Opens, reads, bytes read.
type Work = (usize, usize, usize);

impl Counting {
    /// What `act` costs.
    fn work_of<T>(&self, act: impl FnOnce() -> T) -> (T, Work) {
        let Counts { opens, reads, bytes } = &*self.counts;
        let now = || [opens, reads, bytes].map(|count| count.load(Ordering::Relaxed));
        let before = now();
        let result = act();
        let after = now();
        (result, (after[0] - before[0], after[1] - before[1], after[2] - before[2]))
    }
}

impl Disk for Counting {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.counts.opens.fetch_add(1, Ordering::Relaxed);
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(CountingFile { file, counts: Arc::clone(&self.counts) }))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.read_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn DiskFile>,
    counts: Arc<Counts>,
}

impl DiskFile for CountingFile {
    fn path(&self) -> PathBuf {
        self.file.path()
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.file.read_at(buf, position)?;
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
    fn write_all_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_all_at(buffers, position)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn rename(&self, to: &Path) -> io::Result<()> {
        self.file.rename(to)
    }
    fn descriptor(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        self.file.descriptor()
    }
}

/// The header of a batch of `BATCH_BYTES`.
fn header(base_offset: u64) -> [u8; BATCH_HEADER_BYTES] {
    let mut header = [0; BATCH_HEADER_BYTES];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&base_offset.to_be_bytes());
    put(&(BATCH_BYTES as u32 - 12).to_be_bytes());
    put(&0_i32.to_be_bytes()); // leader epoch
    put(&[2]); // magic
    put(&0_u32.to_be_bytes()); // checksum: only recovery looks
    put(&0_i16.to_be_bytes()); // attributes
    put(&(RECORDS_PER_BATCH as i32 - 1).to_be_bytes());
    put(&START.0.to_be_bytes());
    put(&START.0.to_be_bytes());
    put(&(-1_i64).to_be_bytes()); // no producer
    put(&(-1_i16).to_be_bytes());
    put(&(-1_i32).to_be_bytes());
    put(&(RECORDS_PER_BATCH as i32).to_be_bytes());
    header
}

fn make_segment(dir: &Path, base_offset: u64) {
    let file = |suffix: &str| {
        std::fs::File::create(dir.join(format!("{base_offset:020}.{suffix}"))).expect("a file can be made")
    };
    let (log, mut index) = (file("log"), Vec::new());
    log.set_len(SEGMENT_BYTES).expect("sparse files take no room");
    for n in 0..BATCHES {
        let position = n * BATCH_BYTES;
        std::os::unix::fs::FileExt::write_all_at(
            &log,
            &header(base_offset + n * RECORDS_PER_BATCH),
            position,
        )
        .expect("a header can be written");
        if n > 0 {
            index.extend_from_slice(&((n + 1) as u32 * RECORDS_PER_BATCH as u32 - 1).to_be_bytes());
            index.extend_from_slice(&(position as u32).to_be_bytes());
        }
    }
    io::Write::write_all(&mut file("index"), &index).expect("an index can be written");
    file("timeindex");
}

struct Opened {
    _root: tempfile::TempDir,
    disk: Counting,
    log: Arc<UnifiedLog>,
    /// What opening took.
    work: Work,
}

fn open(segments: u64) -> Opened {
    let root = tempfile::tempdir().expect("a directory can be made");
    let dir = root.path().join("t-0");
    std::fs::create_dir(&dir).expect("a directory can be made");
    for n in 0..segments {
        make_segment(&dir, n * RECORDS);
    }
    let disk = Counting { disk: Arc::new(RealDisk::new(DESCRIPTORS_MAX)), counts: Arc::default() };
    let params = OpenLog {
        context: LogContext::new(Arc::new(disk.clone()), ProducerStateConfig::default()),
        dir,
        partition: TopicPartition::new("t", 0),
        config: Arc::new(LogConfig::default()),
        log_start_offset: Offset::ZERO,
        recovery_point: Offset((segments * RECORDS) as i64),
        had_clean_shutdown: true,
        topic_id: None,
    };
    let (log, work) = disk.work_of(|| UnifiedLog::open(params, at_ms(0)).expect("the log opens"));
    log.update_high_watermark(Offset::MAX);
    Opened { _root: root, disk, log, work }
}

impl Opened {
    /// What it takes to find the records at an offset, once and again.
    fn work_of_read(&self, offset: u64) -> [Work; 2] {
        [(); 2].map(|()| {
            let read = || self.log.read(Offset(offset as i64), 1 << 20, FetchIsolation::HighWatermark, true);
            let (found, work) = self.disk.work_of(read);
            let slice = found.expect("the offset is there").records.expect("there are records");
            let batch = offset % RECORDS / RECORDS_PER_BATCH;
            assert_eq!(slice.position, batch * BATCH_BYTES, "of {offset}");
            assert_eq!(u64::from(slice.len), BATCH_BYTES, "the first batch is whole");
            work
        })
    }
}

#[test]
fn a_terabyte_opens_and_serves_from_anywhere_as_a_gigabyte_does() {
    let (one, thousand) = (open(1), open(1000));
    assert_eq!(thousand.log.size_bytes(), 1000 * SEGMENT_BYTES);
    // Producer snapshots for the last two segments are written on top, where there are two.
    assert!(thousand.work.0 <= one.work.0 + 2, "{:?} {:?}", thousand.work, one.work);
    assert_eq!((thousand.work.1, thousand.work.2), (one.work.1, one.work.2));
    assert!(one.work.2 < 64 * 1024, "{:?}", one.work);
    assert_eq!(thousand.disk.disk.open_descriptors(), 0);
    for within in [0, RECORDS_PER_BATCH, RECORDS / 2 + 17, RECORDS - 1] {
        let expected = one.work_of_read(within);
        assert!(expected[0].1 <= 4 && expected[0].2 < 16 * 1024, "{expected:?}");
        for segment in [0, 1, 499, 998] {
            // Reading has opened some files already, the first segment's here and there.
            let found = thousand.work_of_read(segment * RECORDS + within);
            assert!(
                found[0].1 <= expected[0].1 + 1 && found[0].2 <= expected[0].2 + 8,
                "{found:?} {expected:?}"
            );
            assert_eq!(found[1], expected[1], "at {within} of segment {segment}");
        }
    }
    for segment in 0..1000 {
        thousand.work_of_read(segment * RECORDS + 1);
    }
    assert!(thousand.disk.disk.open_descriptors() <= DESCRIPTORS_MAX);
}
