use std::collections::{BTreeMap, BTreeSet};

use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;

fn write(file: &Arc<dyn DiskFile>, position: u64, bytes: &[u8]) {
    file.write_all_at(&[IoSlice::new(bytes)], position).unwrap();
}

fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(path), Open::Read).ok()?;
    let mut buf = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), buf.len());
    Some(buf)
}

fn with_dir(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let disk = with_dir(1);
    let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
    write(&file, 0, b"synced");
    file.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    write(&file, 6, b" and not");
    drop(disk.open(Path::new("/d/b"), Open::Create).unwrap());
    assert_eq!(content(&disk, "/d/a").unwrap(), b"synced and not");
    disk.crash(Loss::Everything);
    assert_eq!(content(&disk, "/d/a").unwrap(), b"synced");
    assert_eq!(content(&disk, "/d/b"), None);
    assert!(file.read_at(&mut [0], 0).is_err());
}

#[test]
fn a_name_is_durable_only_with_its_directory() {
    let disk = with_dir(1);
    let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
    write(&file, 0, b"x");
    file.sync().unwrap();
    disk.crash(Loss::Everything);
    assert_eq!(content(&disk, "/d/a"), None);
}

#[test]
fn a_killed_process_loses_nothing() {
    let disk = with_dir(1);
    let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
    write(&file, 0, b"x");
    disk.kill();
    assert!(file.sync().is_err());
    assert_eq!(content(&disk, "/d/a").unwrap(), b"x");
}

#[test]
fn an_unsynced_rename_may_be_undone() {
    let mut seen = BTreeSet::new();
    for seed in 0..32 {
        let disk = with_dir(seed);
        for (name, text) in [("/d/new.tmp", b"new"), ("/d/it", b"old")] {
            let file = disk.open(Path::new(name), Open::Create).unwrap();
            write(&file, 0, text);
            file.sync().unwrap();
        }
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.rename(Path::new("/d/new.tmp"), Path::new("/d/it")).unwrap();
        disk.crash(Loss::Seeded);
        let it = content(&disk, "/d/it").unwrap();
        assert_eq!(content(&disk, "/d/new.tmp").is_some(), it == b"old");
        seen.insert(it);
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn seeds_tear_and_reorder_writes() {
    let (mut torn, mut gaps) = (0, 0);
    for seed in 0..64 {
        let disk = with_dir(seed);
        let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        for i in 0..4u8 {
            write(&file, u64::from(i) * 1000, &[i + 1; 1000]);
        }
        disk.crash(Loss::Seeded);
        let found = content(&disk, "/d/a").unwrap();
        let cut = found.iter().position(|&byte| byte == 0).unwrap_or(found.len());
        gaps += usize::from(cut < found.len());
        torn += usize::from(cut % 1000 != 0);
        for (at, &byte) in found.iter().enumerate() {
            assert!(byte == 0 || usize::from(byte) == at / 1000 + 1);
        }
    }
    assert!(torn > 5 && gaps > 5, "torn {torn}, gaps {gaps}");
}

#[test]
fn a_failed_sync_is_not_made_good_later() {
    let disk = with_dir(1);
    let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    write(&file, 0, b"lost");
    disk.fail_nth(Some(Call::Sync), 1);
    assert!(file.sync().is_err());
    write(&file, 4, b"kept");
    file.sync().unwrap();
    assert_eq!(content(&disk, "/d/a").unwrap(), b"lostkept");
    disk.crash(Loss::Everything);
    assert_eq!(content(&disk, "/d/a").unwrap(), b"\0\0\0\0kept");
}

#[test]
fn faults_are_injected_where_asked_and_calls_counted() {
    let disk = with_dir(1);
    disk.create_dir_all(Path::new("/e")).unwrap();
    let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
    disk.fail_nth(None, 2);
    assert_eq!(file.len().unwrap(), 0);
    assert_eq!(file.len().unwrap_err().raw_os_error(), Some(5));
    assert_eq!(file.len().unwrap(), 0);
    assert_eq!((disk.calls(Call::Len), disk.calls(Call::Open)), (3, 1));
    disk.fail_dir(Path::new("/d"));
    assert!(file.len().is_err() && disk.read_dir(Path::new("/d")).is_err());
    assert!(disk.read_dir(Path::new("/e")).is_ok());
    disk.heal();
    assert!(file.len().is_ok());
    disk.set_errors_per_million(500_000);
    let failed = (0..100).filter(|_| file.len().is_err()).count();
    assert!((20..80).contains(&failed));
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = with_dir(1);
    disk.set_capacity_bytes(Some(10));
    let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
    write(&file, 0, b"12345678");
    let error = file.write_all_at(&[IoSlice::new(b"9abcdef")], 8).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(content(&disk, "/d/a").unwrap(), b"123456789a");
    assert!(file.set_len(11).is_err());
    write(&file, 0, b"overwritin");
    file.set_len(5).unwrap();
    assert_eq!(disk.space(Path::new("/d")).unwrap().usable_bytes, 5);
    disk.remove_file(Path::new("/d/a")).unwrap();
    assert_eq!(disk.space(Path::new("/d")).unwrap().usable_bytes, 10);
}

#[test]
fn handles_follow_renames_and_survive_removal() {
    let disk = with_dir(1);
    let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
    write(&file, 0, b"x");
    disk.rename(Path::new("/d"), Path::new("/e")).unwrap();
    file.rename(Path::new("/e/b")).unwrap();
    assert_eq!(file.path(), Path::new("/e/b"));
    disk.remove_dir_all(Path::new("/e")).unwrap();
    for i in 0..300 {
        drop(disk.open(Path::new("/tmp"), Open::Create).unwrap());
        disk.remove_file(Path::new("/tmp")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        assert_eq!(file.len().unwrap(), 1, "{i}");
    }
    assert!(file.rename(Path::new("/c")).is_err());
}

#[test]
fn a_decayed_sector_differs_in_each_byte() {
    let disk = with_dir(1);
    let file = disk.open(Path::new("/d/a"), Open::Create).unwrap();
    write(&file, 0, &[7; 1500]);
    disk.corrupt_sector(Path::new("/d/a"), 600).unwrap();
    let found = content(&disk, "/d/a").unwrap();
    assert!(found.iter().enumerate().all(|(at, &byte)| (byte == 7) != (512..1024).contains(&at)));
}

/// What a process does to a few files of one directory.
#[derive(Clone, Debug)]
enum Step {
    Write(u8, u16, Vec<u8>),
    SetLen(u8, u16),
    Sync(u8),
    Rename(u8, u8),
    Remove(u8),
    SyncDir,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..4u8;
    prop_oneof![
        6 => (name.clone(), 0..2000u16, prop::collection::vec(1..255u8, 0..1500))
            .prop_map(|(name, at, bytes)| Step::Write(name, at, bytes)),
        1 => (name.clone(), 0..3000u16).prop_map(|(name, len)| Step::SetLen(name, len)),
        2 => name.clone().prop_map(Step::Sync),
        1 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => name.prop_map(Step::Remove),
        1 => Just(Step::SyncDir),
    ]
}

type Files = BTreeMap<String, Vec<u8>>;

fn files(disk: &SimDisk) -> Files {
    let names = disk.read_dir(Path::new("/d")).unwrap();
    names
        .into_iter()
        .map(|entry| (entry.name.clone(), content(disk, &format!("/d/{}", entry.name)).unwrap()))
        .collect()
}

fn run(disk: &SimDisk, model: &mut Files, step: &Step) {
    let path = |name: &u8| format!("/d/{name}");
    let open = |name: &u8| disk.open(Path::new(&path(name)), Open::Create).unwrap();
    match step {
        Step::Write(name, at, bytes) => {
            write(&open(name), u64::from(*at), bytes);
            let file = model.entry(name.to_string()).or_default();
            if !bytes.is_empty() {
                let end = usize::from(*at) + bytes.len();
                file.resize(file.len().max(end), 0);
                file[usize::from(*at)..end].copy_from_slice(bytes);
            }
        }
        Step::SetLen(name, len) => {
            open(name).set_len(u64::from(*len)).unwrap();
            model.entry(name.to_string()).or_default().resize(usize::from(*len), 0);
        }
        Step::Sync(name) => {
            open(name).sync().unwrap();
            model.entry(name.to_string()).or_default();
        }
        Step::Rename(from, to) => {
            let done = disk.rename(Path::new(&path(from)), Path::new(&path(to)));
            assert_eq!(done.is_ok(), model.contains_key(&from.to_string()));
            if let Some(file) = model.remove(&from.to_string()) {
                model.insert(to.to_string(), file);
            }
        }
        Step::Remove(name) => {
            let done = disk.remove_file(Path::new(&path(name)));
            assert_eq!(done.is_ok(), model.remove(&name.to_string()).is_some());
        }
        Step::SyncDir => disk.sync_dir(Path::new("/d")).unwrap(),
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn a_process_sees_what_it_did(steps in prop::collection::vec(step(), 0..60), seed: u64) {
        let disk = with_dir(seed);
        let mut model = Files::new();
        for step in &steps {
            run(&disk, &mut model, step);
        }
        prop_assert_eq!(files(&disk), model);
    }

    #[test]
    fn what_was_synced_survives_any_crash(before in prop::collection::vec(step(), 0..30), after in prop::collection::vec(step(), 0..30), seed: u64) {
        let disk = with_dir(seed);
        let mut model = Files::new();
        for step in &before {
            run(&disk, &mut model, step);
        }
        for name in model.keys() {
            disk.open(Path::new(&format!("/d/{name}")), Open::Read).unwrap().sync().unwrap();
        }
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.crash(Loss::Everything);
        prop_assert_eq!(&files(&disk), &model);

        // Files that nothing is done to afterwards are the same after a crash of any kind.
        let touched: BTreeSet<String> = after.iter().flat_map(|step| match step {
            Step::Write(name, ..) | Step::SetLen(name, _) | Step::Sync(name) | Step::Remove(name) => vec![*name],
            Step::Rename(from, to) => vec![*from, *to],
            Step::SyncDir => vec![],
        }).map(|name| name.to_string()).collect();
        let mut later = model.clone();
        for step in &after {
            run(&disk, &mut later, step);
        }
        disk.crash(Loss::Seeded);
        let found = files(&disk);
        for (name, expected) in model.iter().filter(|(name, _)| !touched.contains(*name)) {
            prop_assert_eq!(found.get(name), Some(expected));
        }
        let again = files(&disk);
        disk.crash(Loss::Seeded);
        prop_assert_eq!(files(&disk), again);
    }

    #[test]
    fn a_crash_that_loses_nothing_loses_nothing(steps in prop::collection::vec(step(), 0..60), seed: u64) {
        let disk = with_dir(seed);
        let mut model = Files::new();
        for step in &steps {
            run(&disk, &mut model, step);
        }
        disk.crash(Loss::Nothing);
        prop_assert_eq!(files(&disk), model);
    }
}
