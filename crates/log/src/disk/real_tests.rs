use std::io::IoSlice;

use super::*;

fn write(file: &dyn DiskFile, text: &str) {
    file.write_all_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
}

fn read(file: &dyn DiskFile) -> String {
    let mut buf = [0; 64];
    let n = file.read_at(&mut buf, 0).unwrap();
    String::from_utf8(buf[..n].to_vec()).unwrap()
}

#[test]
fn more_handles_than_descriptors_all_read_and_write() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(4);
    let files: Vec<_> =
        (0..40).map(|i| disk.open(&dir.path().join(i.to_string()), Open::Create).unwrap()).collect();
    for round in 0..3 {
        for (i, file) in files.iter().enumerate() {
            write(&**file, &format!("file {i} round {round}"));
        }
        for (i, file) in files.iter().enumerate().rev() {
            assert_eq!(read(&**file), format!("file {i} round {round}"));
        }
        assert!(disk.open_descriptors() <= 4);
    }
    drop(files);
    assert_eq!(disk.open_descriptors(), 0);
}

#[test]
fn a_descriptor_outlives_eviction_and_removal() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(1);
    let file = disk.open(&dir.path().join("a"), Open::Create).unwrap();
    write(&*file, "kept");
    let descriptor = file.descriptor().unwrap().unwrap();
    for i in 0..5 {
        drop(disk.open(&dir.path().join(format!("other{i}")), Open::Create).unwrap());
        let other = disk.open(&dir.path().join("another"), Open::Create).unwrap();
        assert_eq!(read(&*other), "");
    }
    disk.remove_file(&dir.path().join("a")).unwrap();
    let mut buf = [0; 4];
    assert_eq!(rustix::io::pread(&descriptor, &mut buf, 0).unwrap(), 4);
    assert_eq!(&buf, b"kept");
}

#[test]
fn handles_follow_renames_and_a_new_directory_under_the_old_name_is_another() {
    let root = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(1);
    let old = root.path().join("t-0");
    let new = root.path().join("t-0.abc-delete");
    disk.create_dir_all(&old).unwrap();
    let file = disk.open(&old.join("1.log"), Open::Create).unwrap();
    write(&*file, "old");
    file.rename(&old.join("1.log.deleted")).unwrap();
    disk.rename(&old, &new).unwrap();
    disk.create_dir_all(&old).unwrap();
    let newer = disk.open(&old.join("1.log.deleted"), Open::Create).unwrap();
    write(&*newer, "new");
    // With a single descriptor each read opens its file by name again.
    assert_eq!(read(&*file), "old");
    assert_eq!(read(&*newer), "new");
    assert_eq!(file.path(), new.join("1.log.deleted"));
    disk.remove_dir_all(&new).unwrap();
    assert_eq!(read(&*newer), "new");
    assert_eq!(file.read_at(&mut [0; 1], 0).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn many_buffers_are_written_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(4);
    let file = disk.open(&dir.path().join("a"), Open::Create).unwrap();
    let bytes: Vec<u8> = (0..3000u32).map(|i| i as u8).collect();
    let slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
    file.write_all_at(&slices, 5).unwrap();
    assert_eq!(file.len().unwrap(), 3005);
    let mut buf = vec![0; 4000];
    assert_eq!(file.read_at(&mut buf, 5).unwrap(), 3000);
    assert_eq!(&buf[..3000], &bytes[..]);
}

#[test]
fn a_short_write_continues_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let descriptor = open_descriptor(&dir.path().join("a"), flags(Open::Create)).unwrap();
    let buffers = [b"abc".as_slice(), b"defg", b"", b"hi"];
    let slices = buffers.map(IoSlice::new);
    for written in 0..=9u64 {
        rustix::fs::ftruncate(&descriptor, 0).unwrap();
        rustix::io::pwrite(&descriptor, &b"abcdefghi"[..written as usize], 2).unwrap();
        write_rest(&descriptor, &slices, 2, written).unwrap();
        let mut buf = [0; 11];
        assert_eq!(rustix::io::pread(&descriptor, &mut buf, 0).unwrap(), 11);
        assert_eq!(&buf, b"\0\0abcdefghi");
    }
}

#[test]
fn dropped_handles_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(1000);
    for _ in 0..1000 {
        drop(disk.open(&dir.path().join("a"), Open::Create).unwrap());
    }
    assert!(disk.shared.ring.lock().len() < 100);
    assert_eq!(disk.open_descriptors(), 0);
}

#[test]
fn threads_share_handles_under_eviction() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(3);
    let files: Vec<_> = (0..12)
        .map(|i| {
            let file = disk.open(&dir.path().join(i.to_string()), Open::Create).unwrap();
            write(&*file, &i.to_string());
            file
        })
        .collect();
    std::thread::scope(|scope| {
        for t in 0..4 {
            let files = &files;
            scope.spawn(move || {
                for n in 0..500 {
                    let i = (n * 7 + t * 5) % files.len();
                    assert_eq!(read(&*files[i]), i.to_string());
                }
            });
        }
    });
    assert!(disk.open_descriptors() <= 3 + 4);
}

#[test]
fn space_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let space = RealDisk::new(1).space(dir.path()).unwrap();
    assert!(space.total_bytes >= space.usable_bytes && space.total_bytes > 0);
}

#[test]
fn modification_times_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(1);
    let file = disk.open(&dir.path().join("a"), Open::Create).unwrap();
    let modified = || disk.read_dir(dir.path()).unwrap()[0].modified;
    assert!(modified() > Timestamp(1_600_000_000_000));
    for time in [Timestamp(1_234_567_890_123), Timestamp(-1)] {
        file.set_modified(time).unwrap();
        assert_eq!(modified(), time);
    }
}

#[test]
fn descriptors_are_given_up_where_others_need_them() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(100);
    let files: Vec<_> =
        (0..20).map(|i| disk.open(&dir.path().join(i.to_string()), Open::Create).unwrap()).collect();
    let out_of_files = || io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    let mut missing = 5;
    let call = || {
        missing -= 1;
        if missing > 0 { Err(out_of_files()) } else { Ok(()) }
    };
    disk.shared.with_descriptors(call).unwrap();
    let left = disk.open_descriptors();
    assert!(left < 20, "{left}");
    for file in &files {
        write(&**file, "still usable");
    }
    // Where there is nothing to give up, the error is told.
    let error = disk.shared.with_descriptors(|| Err::<(), _>(out_of_files())).unwrap_err();
    assert!(is_out_of_files(&error));
    assert_eq!(disk.open_descriptors(), 0);
}

#[test]
fn a_lack_of_descriptors_is_known_through_the_errors_that_carry_it() {
    let number = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
    let wrap = |source| -> io::Error {
        crate::checkpoint::CheckpointError::Io { path: "checkpoint".into(), source }.into()
    };
    for error in [number(rustix::io::Errno::MFILE), number(rustix::io::Errno::NFILE)] {
        assert!(is_out_of_files(&error));
        assert!(is_out_of_files(&wrap(error)));
    }
    assert!(!is_out_of_files(&wrap(number(rustix::io::Errno::IO))));
    assert!(!is_out_of_files(&io::Error::other("something else")));
}

#[test]
fn a_file_that_may_not_be_opened_is_named() {
    let error = naming(Path::new("/d/a-0/1.log"), rustix::io::Errno::ACCESS.into());
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(error.to_string(), "Permission denied (os error 13) when /d/a-0/1.log was opened");
    let error = naming(Path::new("/d/a-0/1.log"), rustix::io::Errno::MFILE.into());
    assert!(is_out_of_files(&error));
}

#[test]
fn a_full_disk_at_a_sync_is_a_failed_one() {
    let kind_of = |kind| lost(io::Error::from(kind)).kind();
    assert_eq!(kind_of(io::ErrorKind::StorageFull), io::ErrorKind::Other);
    assert_eq!(kind_of(io::ErrorKind::QuotaExceeded), io::ErrorKind::Other);
    assert_eq!(kind_of(io::ErrorKind::PermissionDenied), io::ErrorKind::PermissionDenied);
}
