//! Snapshots on disk: made, kept as long as the settings say, and fetched by a replica that is far behind.

use ottla_log::disk::Open;
use ottla_log::scan::BatchScan;
use ottla_raft::{LogError, Outgoing, Response, RoleName, SnapshotBytes};

use super::*;

#[test]
fn a_listener_begins_with_the_latest_snapshot_after_a_restart() {
    let disk = disk(1);
    let mut quorum = open(&disk, at(0));
    append(&mut quorum, "a", at(0));
    quorum.poll(at(30)).unwrap();
    let id = take_snapshot(&mut quorum, &["state"], at(30));
    append(&mut quorum, "b", at(30));
    quorum.poll(at(60)).unwrap();
    let mut quorum = open(&disk, at(100));
    assert_eq!(quorum.core().log().latest_snapshot(), Some(id));
    let replayed = replay(&mut quorum);
    assert_eq!((replayed.snapshots, replayed.values), (1, vec!["state".to_owned(), "b".to_owned()]));
}

#[test]
fn reads_end_where_they_are_told_to() {
    let disk = disk(4);
    let mut quorum = open(&disk, at(0));
    for i in 0..3 {
        append(&mut quorum, "a", at(i * 30));
        quorum.poll(at(i * 30 + 30)).unwrap();
    }
    let read = |from, end, max_bytes| {
        ottla_raft::ReplicatedLog::read(quorum.log(), Offset(from), Offset(end), max_bytes)
            .unwrap()
            .next_offset
    };
    assert_eq!(read(0, 4, 1 << 20), Offset(4));
    assert_eq!(read(0, 2, 1 << 20), Offset(2));
    assert_eq!(read(1, 4, 1), Offset(2), "one batch at least");
    assert_eq!(read(2, 2, 1 << 20), Offset(2));
}

#[test]
fn snapshots_are_named_as_kafkas() {
    let id = OffsetAndEpoch::new(28, 1);
    assert_eq!(snapshot_name(id), "00000000000000000028-0000000001.checkpoint");
    assert_eq!(parse_snapshot_name(&snapshot_name(id)), Some(id));
    for name in ["", "x", "00000000000000000028-0000000001.checkpoint.part", "00000000000000000028.log"] {
        assert_eq!(parse_snapshot_name(name), None, "{name}");
    }
}

#[test]
fn only_complete_snapshots_of_committed_state_count() {
    let disk = disk(2);
    let mut quorum = open(&disk, at(0));
    let end = quorum.core().high_watermark().unwrap();
    let beyond = OffsetAndEpoch { offset: end + 1, epoch: LeaderEpoch(1) };
    assert!(begin_snapshot(&quorum, beyond, at(0).wall, at(0)).unwrap().is_none(), "not committed");
    let id = take_snapshot(&mut quorum, &["state"], at(0));
    assert!(begin_snapshot(&quorum, id, at(0).wall, at(0)).unwrap().is_none(), "there already");

    append(&mut quorum, "a", at(0));
    quorum.poll(at(30)).unwrap();
    let next = OffsetAndEpoch { offset: id.offset + 1, epoch: LeaderEpoch(1) };
    let unfinished = begin_snapshot(&quorum, next, at(30).wall, at(30)).unwrap();
    drop((unfinished, quorum));
    let quorum = open(&disk, at(100));
    assert_eq!(quorum.core().log().latest_snapshot(), Some(id));
    let names = disk.read_dir(&metadata_dir().join(PARTITION_DIR)).unwrap();
    assert!(names.iter().all(|entry| !entry.name.ends_with(".part")), "{names:?}");
}

#[test]
fn a_snapshot_without_its_footer_is_refused() {
    let disk = disk(5);
    let mut quorum = open(&disk, at(0));
    let id = take_snapshot(&mut quorum, &["one", "two"], at(0));
    let path = metadata_dir().join(PARTITION_DIR).join(snapshot_name(id));
    let file = disk.open(&path, Open::ReadWrite).unwrap();
    let mut scan = BatchScan::whole(Arc::clone(&file)).unwrap();
    let mut footer = 0;
    while let Some((position, _)) = scan.next().unwrap() {
        footer = u64::from(position);
    }
    let read = || {
        let mut reader = SnapshotReader::new(Arc::clone(&file))?;
        while reader.next_batch()?.is_some() {}
        Ok::<(), LogError>(())
    };
    read().unwrap();
    for end in (0..file.len().unwrap()).rev() {
        file.set_len(end).unwrap();
        let error = read().unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        let is_between_batches = end == footer || end == 0;
        assert!(!is_between_batches || error.ends_with("it ends without a footer"), "{end}: {error}");
    }
}

#[test]
fn old_snapshots_go_and_the_log_with_them() {
    let disk = disk(3);
    let context = LogContext::new(Arc::clone(&disk) as Arc<dyn Disk>, ProducerStateConfig::default());
    let small = MetadataLogSettings { segment_bytes: 200, retention_bytes: 600, ..Default::default() };
    let mut quorum = open_quorum(settings(1, &[1]), context, &metadata_dir(), small, at(0)).unwrap();
    let mut expected = Vec::new();
    for i in 0..20 {
        let value = format!("value {i}");
        append(&mut quorum, &value, at(i * 30));
        expected.push(value);
        quorum.poll(at(i * 30 + 30)).unwrap();
        if i % 4 == 3 {
            let values: Vec<&str> = expected.iter().map(String::as_str).collect();
            take_snapshot(&mut quorum, &values, at(i * 30 + 30));
        }
    }
    quorum.clean(at(1000)).unwrap();
    let start = quorum.core().log().start_offset();
    assert!(start > Offset(10), "{start}");
    assert_eq!(quorum.core().log().earliest_snapshot().unwrap().offset, start);
    assert_eq!(replay(&mut quorum).values, expected);
    assert_eq!(replay(&mut open(&disk, at(2000))).values, expected);
}

/// Carries messages between two replicas until neither has anything to send.
fn exchange(quorums: &mut [Quorum; 2], ids: [i32; 2], now: Now) {
    exchange_by(quorums, ids, now, |response| response);
}

/// As [`exchange`], with something that befalls answers on their way.
fn exchange_by(
    quorums: &mut [Quorum; 2],
    ids: [i32; 2],
    now: Now,
    mut befall: impl FnMut(Response) -> Response,
) {
    for _ in 0..200 {
        let mut quiet = true;
        for from in 0..2 {
            quorums[from].poll(now).unwrap();
            for message in quorums[from].take_outgoing() {
                quiet = false;
                match message {
                    Outgoing::Request { correlation_id, to, request } => {
                        assert_eq!(to.id.value(), ids[1 - from]);
                        quorums[1 - from].handle_request(correlation_id, request, now).unwrap();
                    }
                    Outgoing::NoReply { id } => {
                        quorums[1 - from].handle_response(id, None, now).unwrap();
                    }
                    Outgoing::Reply { id, response } => {
                        let response = befall(response);
                        quorums[1 - from].handle_response(id, Some(response), now).unwrap();
                    }
                }
            }
        }
        if quiet {
            return;
        }
    }
}

#[test]
fn an_observer_that_is_far_behind_fetches_the_snapshot() {
    let leader_disk = disk(7);
    let mut leader = open(&leader_disk, at(0));
    let mut expected = Vec::new();
    for i in 0..30 {
        let value = format!("value {i}");
        append(&mut leader, &value, at(0));
        expected.push(value);
    }
    leader.poll(at(30)).unwrap();
    let values: Vec<&str> = expected.iter().map(String::as_str).collect();
    let id = take_snapshot(&mut leader, &values, at(30));
    append(&mut leader, "after", at(30));
    expected.push("after".to_owned());
    leader.poll(at(60)).unwrap();

    let observer_disk = disk(8);
    let mut observer_settings = settings(2, &[1]);
    observer_settings.config.fetch_snapshot_max_bytes = 100;
    let observer_disk_ = Arc::clone(&observer_disk) as Arc<dyn Disk>;
    let observer = open_on(observer_disk_, observer_settings.clone(), at(60)).unwrap();
    assert_eq!(observer.core().role(), RoleName::Observer);
    let mut quorums = [leader, observer];
    let listener = quorums[1].register();
    exchange(&mut quorums, [1, 2], at(61));
    let [mut leader, mut observer] = quorums;
    let mut replayed = Replayed::default();
    replayed.everything(&mut observer, listener);
    assert_eq!((replayed.snapshots, &replayed.values), (1, &expected));
    assert_eq!(observer.core().log().latest_snapshot(), Some(id));
    assert_eq!(observer.core().log().start_offset(), id.offset);
    let info = leader.describe(at(62)).unwrap();
    assert_eq!(info.observers.len(), 1);
    assert_eq!(info.observers[0].log_end_offset, Some(leader.core().log().end_offset()));

    // And it is all there after a restart of the observer.
    drop(observer);
    let mut observer = open_on(observer_disk, observer_settings, at(100)).unwrap();
    assert_eq!(observer.core().log().end_offset(), leader.core().log().end_offset());
    assert_eq!(observer.core().log().start_offset(), id.offset);
    assert_eq!(replay(&mut observer).values.len(), 0, "nothing is known to be committed yet");
}

/// Wherever the disk fails while a snapshot is being downloaded and installed, and however the machine then crashes, the
/// replica catches up afterwards.
#[test]
fn an_installation_that_fails_is_made_good() {
    let leader_disk = disk(7);
    let mut leader = open(&leader_disk, at(0));
    append(&mut leader, "before", at(0));
    leader.poll(at(30)).unwrap();
    let observer_disk = disk(11);
    let open_observer =
        || open_on(Arc::clone(&observer_disk) as Arc<dyn Disk>, settings(2, &[1]), at(60)).unwrap();
    // It has the log up to here, and then the leader's log begins later.
    let mut quorums = [leader, open_observer()];
    exchange(&mut quorums, [1, 2], at(60));
    let [mut leader, observer] = quorums;
    drop(observer);
    let mut failures = 0;
    for n in 1.. {
        append(&mut leader, "more", at(60));
        leader.poll(at(100)).unwrap();
        take_snapshot(&mut leader, &["state"], at(100));
        leader.log_mut().settings.retention_ms = 0;
        append(&mut leader, "after", at(100));
        leader.poll(at(200)).unwrap();
        leader.clean(at(100_000)).unwrap();

        let observer = open_observer();
        let calls = observer_disk.total_calls();
        observer_disk.fail_nth(None, n);
        let mut quorums = [leader, observer];
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            exchange(&mut quorums, [1, 2], at(61));
        }));
        observer_disk.heal();
        let called = observer_disk.total_calls() - calls;
        observer_disk.crash(ottla_log::disk::sim::Loss::Seeded);
        failures += u64::from(failed.is_err());
        // A new connection, and everything is well.
        let [old_leader, _] = quorums;
        drop(old_leader);
        let mut quorums = [open(&leader_disk, at(200)), open_observer()];
        exchange(&mut quorums, [1, 2], at(201));
        let [reopened, observer] = quorums;
        leader = reopened;
        assert_eq!(observer.core().log().end(), leader.core().log().end(), "failure {n}");
        if called < n {
            break;
        }
    }
    assert!(failures > 10, "only {failures} failures");
}

/// A leader with a snapshot, and an observer of it on this disk that has nothing.
fn far_behind(observer_disk: &Arc<SimDisk>) -> [Quorum; 2] {
    let mut leader = open(&disk(7), at(0));
    append(&mut leader, "before", at(0));
    leader.poll(at(30)).unwrap();
    take_snapshot(&mut leader, &["a state", "of some size"], at(30));
    append(&mut leader, "after", at(30));
    leader.log_mut().settings.retention_ms = 0;
    leader.poll(at(60)).unwrap();
    leader.clean(at(100_000)).unwrap();
    let observer_disk = Arc::clone(observer_disk) as Arc<dyn Disk>;
    [leader, open_on(observer_disk, settings(2, &[1]), at(60)).unwrap()]
}

#[test]
fn a_snapshot_that_is_damaged_on_its_way_is_asked_for_again() {
    let observer_disk = disk(8);
    let mut quorums = far_behind(&observer_disk);
    let mut has_harmed = false;
    let mut harm = |response| match response {
        Response::FetchSnapshot(mut fetch) if !has_harmed => {
            if let SnapshotBytes::Bytes(bytes) = &fetch.bytes {
                let mut harmed = bytes.to_vec();
                *harmed.last_mut().unwrap() ^= 1;
                fetch.bytes = SnapshotBytes::Bytes(harmed.into());
                has_harmed = true;
            }
            Response::FetchSnapshot(fetch)
        }
        response => response,
    };
    exchange_by(&mut quorums, [1, 2], at(61), &mut harm);
    let names = observer_disk.read_dir(&metadata_dir().join(PARTITION_DIR)).unwrap();
    assert!(names.iter().all(|entry| !entry.name.ends_with(".checkpoint")), "{names:?}");
    assert_eq!(quorums[1].core().log().end_offset(), Offset(0));
    exchange_by(&mut quorums, [1, 2], at(1_061), &mut harm);
    assert!(has_harmed);
    let [leader, observer] = quorums;
    assert_eq!(observer.core().log().end(), leader.core().log().end());
    drop(observer);
    let mut observer = open_on(observer_disk as Arc<dyn Disk>, settings(2, &[1]), at(2_000)).unwrap();
    assert_eq!(observer.core().log().latest_snapshot(), leader.core().log().latest_snapshot());
    assert_eq!(replay(&mut observer).values.len(), 0, "nothing is known to be committed yet");
}

/// Wherever the disk has no room for what comes next, the replica waits, and goes on when there is some.
#[test]
fn an_installation_without_room_waits_for_it() {
    let mut waits = 0;
    for room in (0..).step_by(20) {
        let observer_disk = disk(11);
        let mut quorums = far_behind(&observer_disk);
        observer_disk.set_capacity_bytes(Some(observer_disk.used_bytes() + room));
        exchange(&mut quorums, [1, 2], at(61));
        let was_stalled = quorums[1].is_stalled();
        observer_disk.set_capacity_bytes(None);
        exchange(&mut quorums, [1, 2], at(1_061));
        let [leader, observer] = quorums;
        assert_eq!(observer.core().log().end(), leader.core().log().end(), "room for {room}");
        if !was_stalled {
            break;
        }
        waits += 1;
    }
    assert!(waits > 5, "it had no room {waits} times only");
}

#[test]
fn the_first_voters_come_from_formatting() {
    let disk = disk(9);
    let mut settings = settings(1, &[]);
    let voter = ottla_raft::VoterNode {
        key: settings.local.key,
        listeners: settings.local.listeners.clone(),
        supported_kraft_version: (0, 1),
    };
    let dyn_disk = Arc::clone(&disk) as Arc<dyn Disk>;
    write_first_voters(&dyn_disk, &metadata_dir(), &VoterSet::new([voter]), at(0)).unwrap();
    write_bootstrap(&dyn_disk, &metadata_dir(), vec![Bytes::from_static(b"record")], at(0)).unwrap();
    settings.bootstrap_servers = vec![ottla_raft::Node {
        id: NodeId(-2),
        address: settings.local.listeners.get("CONTROLLER").unwrap().clone(),
    }];
    let quorum = open_on(Arc::clone(&dyn_disk), settings.clone(), at(1)).unwrap();
    assert_eq!(quorum.core().role(), RoleName::Leader);
    assert_eq!(quorum.core().voters().latest_kraft_version(), 1);
    assert_eq!(quorum.core().high_watermark(), Some(Offset(3)), "leader, version, voters");
    assert_eq!(quorum.core().log().latest_snapshot(), None);
    assert_eq!(
        read_bootstrap(&*dyn_disk, &metadata_dir()).unwrap(),
        Some(vec![Bytes::from_static(b"record")])
    );

    // The second leader's epoch has the voters in the log and doesn't write them again.
    drop(quorum);
    let quorum = open_on(dyn_disk, settings, at(100)).unwrap();
    assert_eq!(quorum.core().high_watermark(), Some(Offset(4)));
}
