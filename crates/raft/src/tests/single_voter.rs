//! A quorum of one.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset};

use super::memory_log::{MemoryLog, MemoryStore};
use super::*;

fn open(log: MemoryLog, store: MemoryStore, now: Now) -> RaftDriver<MemoryLog, MemoryStore> {
    RaftDriver::open(settings(1, &[1]), log, store, now).unwrap()
}

#[test]
fn leads_at_once_and_commits_what_is_flushed() {
    let mut driver = open(MemoryLog::default(), MemoryStore::default(), at(0));
    assert_eq!(driver.core().role(), RoleName::Leader);
    assert_eq!(driver.core().epoch(), LeaderEpoch(1));
    // The LeaderChange record of the epoch.
    assert_eq!(driver.core().high_watermark(), Some(Offset(1)));
    assert_eq!(driver.take_outgoing(), []);

    let records = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    assert_eq!(driver.append(LeaderEpoch(1), records.clone(), at(10)), Ok(Offset(2)));
    assert_eq!(driver.append(LeaderEpoch(1), records, at(20)), Ok(Offset(4)));
    driver.poll(at(20)).unwrap();
    assert_eq!(driver.core().high_watermark(), Some(Offset(1)), "lingers");
    assert_eq!(driver.next_deadline(at(20)), MonoMs(35));
    driver.poll(at(35)).unwrap();
    assert_eq!(driver.core().high_watermark(), Some(Offset(5)));
    assert_eq!(driver.log().batches.len(), 2, "one batch for both");
}

#[test]
fn nothing_counts_before_it_is_flushed() {
    let start = RaftStart { quorum: settings(1, &[1]), election: None, log: LogStart::default() };
    let mut core = RaftCore::new(start, at(0));
    let actions = core.tick(at(0));
    assert!(
        matches!(
            actions.as_slice(),
            [
                Action::WriteQuorumState { .. },
                Action::LeaderChanged { .. },
                Action::AppendAsLeader(_),
                Action::FlushLog
            ]
        ),
        "{actions:?}"
    );
    assert_eq!(core.high_watermark(), None);
    assert_eq!(
        core.step(Event::Flushed { end_offset: Offset(1) }, at(3)),
        [Action::HighWatermark(Offset(1))]
    );
}

#[test]
fn leads_a_new_epoch_after_every_start() {
    let mut driver = open(MemoryLog::default(), MemoryStore::default(), at(0));
    for epoch in 2..5 {
        let mut log = driver.log().clone();
        log.crash(0);
        let election = ElectionState {
            epoch: LeaderEpoch(epoch - 1),
            leader_id: Some(node_id(1)),
            voted_key: None,
            voters: [node_id(1)].into(),
        };
        driver = open(log, MemoryStore(Some(election)), at(100));
        assert_eq!(driver.core().epoch(), LeaderEpoch(epoch));
        assert_eq!(driver.core().high_watermark(), Some(Offset(i64::from(epoch))));
    }
}

#[test]
fn listeners_get_everything_in_order_and_then_leadership() {
    let mut driver = open(MemoryLog::default(), MemoryStore::default(), at(0));
    driver.append(LeaderEpoch(1), vec![Bytes::from_static(b"a")], at(0)).unwrap();
    let listener = driver.register();
    let leader = LeaderAndEpoch { leader_id: Some(node_id(1)), epoch: LeaderEpoch(1) };
    let mut seen = Vec::new();
    for now in [0, 25] {
        driver.poll(at(now)).unwrap();
        while let Some(delivery) = driver.next(listener).unwrap() {
            seen.push(match delivery {
                Delivery::Committed { from, next_offset, .. } => format!("{from}..{next_offset}"),
                Delivery::Snapshot(id) => format!("snapshot {id}"),
                Delivery::LeaderChanged(change) => {
                    assert_eq!(change, leader);
                    "leader".to_owned()
                }
            });
        }
    }
    assert_eq!(seen, ["0..1", "leader", "1..2"]);
}

#[test]
fn a_late_listener_begins_with_the_snapshot() {
    let mut driver = open(MemoryLog::default(), MemoryStore::default(), at(0));
    driver.append(LeaderEpoch(1), vec![Bytes::from_static(b"a")], at(0)).unwrap();
    driver.poll(at(25)).unwrap();
    let id = OffsetAndEpoch::new(2, 1);
    driver.log_mut().snapshots.insert(id, Bytes::from_static(b"snapshot"));
    driver.snapshot_created(id, 8, at(26)).unwrap();
    driver.poll(at(60_000)).unwrap();
    assert_eq!(driver.core().log().start_offset(), Offset(2), "cleaned");
    let listener = driver.register();
    assert_eq!(driver.next(listener).unwrap(), Some(Delivery::Snapshot(id)));
    assert!(matches!(driver.next(listener).unwrap(), Some(Delivery::LeaderChanged(_))));
    assert_eq!(driver.next(listener).unwrap(), None);
}

#[test]
fn appends_are_bounded_and_fenced() {
    let mut driver = open(MemoryLog::default(), MemoryStore::default(), at(0));
    let stale = driver.append(LeaderEpoch(0), vec![Bytes::new()], at(0));
    assert_eq!(stale, Err(AppendError::NotLeader(LeaderEpoch(1))));
    let huge = Bytes::from(vec![0; 9 << 20]);
    assert!(matches!(driver.append(LeaderEpoch(1), vec![huge], at(0)), Err(AppendError::TooLarge { .. })));
    assert_eq!(driver.append(LeaderEpoch(1), Vec::new(), at(0)), Err(AppendError::Empty));
    let large = Bytes::from(vec![0; 7 << 20]);
    let filled = (0..20).map(|_| driver.append(LeaderEpoch(1), vec![large.clone()], at(0)));
    assert_eq!(filled.filter(Result::is_ok).count(), 11);
}

#[test]
fn shuts_down_at_once() {
    let mut driver = open(MemoryLog::default(), MemoryStore::default(), at(0));
    driver.shutdown(1000, at(5)).unwrap();
    assert_eq!(driver.shutdown_complete(), Some(false));
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_committed_meanwhile() {
    let mut driver = open(MemoryLog::default(), MemoryStore::default(), at(0));
    let large = Bytes::from(vec![7; 5 << 20]);
    for _ in 0..3 {
        driver.append(LeaderEpoch(1), vec![large.clone()], at(10)).unwrap();
    }
    driver.log_mut().room = Some(1);
    driver.poll(at(35)).unwrap();
    assert!(driver.is_stalled());
    assert_eq!((driver.log().batches.len(), driver.core().high_watermark()), (2, Some(Offset(1))));
    assert_eq!(driver.next_deadline(at(35)), MonoMs(535));
    driver.append(LeaderEpoch(1), vec![large.clone()], at(40)).unwrap();
    driver.poll(at(535)).unwrap();
    assert!(driver.is_stalled());
    assert_eq!((driver.log().batches.len(), driver.next_deadline(at(535))), (2, MonoMs(1035)));
    driver.log_mut().room = None;
    driver.poll(at(1034)).unwrap();
    assert_eq!(driver.core().high_watermark(), Some(Offset(1)), "it is not time to look");
    driver.poll(at(1035)).unwrap();
    assert!(!driver.is_stalled());
    assert_eq!((driver.log().batches.len(), driver.core().high_watermark()), (5, Some(Offset(5))));
    let offsets: Vec<_> = driver.log().batches.iter().map(|batch| batch.base_offset.0).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
}

#[test]
fn a_replica_without_space_shuts_down_at_once() {
    let log = MemoryLog { room: Some(0), ..MemoryLog::default() };
    let mut driver = open(log, MemoryStore::default(), at(0));
    assert!(driver.is_stalled());
    driver.shutdown(1000, at(5)).unwrap();
    assert_eq!(driver.shutdown_complete(), Some(true));
}
