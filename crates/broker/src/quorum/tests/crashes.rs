//! A single voter whose machine loses power: what was committed is there afterwards.

use ottla_log::disk::sim::Loss;

use super::*;

#[test]
fn committed_records_survive_any_crash() {
    for seed in 0..40 {
        let disk = disk(seed);
        let mut now = 0;
        let mut committed: Vec<String> = Vec::new();
        let mut epoch = LeaderEpoch(0);
        for round in 0..6 {
            let mut quorum = open(&disk, at(now));
            assert!(quorum.core().epoch() > epoch, "seed {seed}: an epoch was led twice");
            epoch = quorum.core().epoch();
            let replayed = replay(&mut quorum);
            assert!(replayed.values.starts_with(&committed), "seed {seed}, round {round}: {replayed:?}");
            assert_eq!(replayed.leader_epoch, Some(epoch));
            committed = replayed.values;
            for i in 0..5 {
                let value = format!("{round}-{i}");
                let offset = append(&mut quorum, &value, at(now));
                now += 30;
                // The last ones are still waiting for their flush when the power goes.
                if i < 3 {
                    quorum.poll(at(now)).unwrap();
                    assert!(quorum.core().high_watermark().unwrap() > offset);
                    committed.push(value);
                }
            }
            if seed % 3 == 0 {
                let values: Vec<&str> = committed.iter().map(String::as_str).collect();
                take_snapshot(&mut quorum, &values, at(now));
            }
            disk.crash(Loss::Seeded);
        }
    }
}

/// Wherever the disk fails while a replica starts, and however the machine then crashes, the next start finds
/// everything.
#[test]
fn a_start_that_fails_loses_nothing() {
    let disk = disk(5);
    let mut quorum = open(&disk, at(0));
    append(&mut quorum, "kept", at(0));
    quorum.poll(at(30)).unwrap();
    take_snapshot(&mut quorum, &["kept"], at(31));
    append(&mut quorum, "kept too", at(31));
    quorum.poll(at(60)).unwrap();
    drop(quorum);
    let mut failures = 0;
    for n in 1.. {
        disk.crash(Loss::Seeded);
        let calls = disk.total_calls();
        disk.fail_nth(None, n);
        let opened = open_on(Arc::clone(&disk) as Arc<dyn Disk>, settings(1, &[1]), at(100));
        disk.heal();
        if disk.total_calls() - calls < n {
            break;
        }
        failures += u64::from(opened.is_err());
    }
    assert!(failures > 10, "only {failures} starts failed");
    disk.crash(Loss::Everything);
    assert_eq!(replay(&mut open(&disk, at(200))).values, ["kept", "kept too"]);
}
