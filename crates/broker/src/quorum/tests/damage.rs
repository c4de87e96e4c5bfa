//! Files of the metadata partition that hold something else than what was written: read up to the damage, or refused with a
//! reason.

use std::io::IoSlice;

use ottla_log::disk::Open;
use ottla_testkit::cases;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Bit(Index, u8),
    Zeros(Index, usize),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = (Index, Damage)> {
    let damage = prop_oneof![
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        3 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        1 => (any::<Index>(), 1..600usize).prop_map(|(at, zeros)| Damage::Zeros(at, zeros)),
        1 => any::<Index>().prop_map(Damage::Cut),
    ];
    (any::<Index>(), damage)
}

/// All files below a directory.
fn files(disk: &SimDisk, dir: &Path) -> Vec<PathBuf> {
    let entries = disk.read_dir(dir).unwrap().into_iter();
    entries
        .flat_map(|entry| match entry.is_dir {
            true => files(disk, &dir.join(entry.name)),
            false => vec![dir.join(entry.name)],
        })
        .collect()
}

fn apply(disk: &SimDisk, (file, damage): &(Index, Damage)) {
    let files = files(disk, &metadata_dir());
    let path: &PathBuf = file.get(&files);
    let file = disk.open(path, Open::ReadWrite).unwrap();
    let len = file.len().unwrap() as usize;
    if len == 0 {
        return;
    }
    let mut content = vec![0; len];
    file.read_at(&mut content, 0).unwrap();
    match damage {
        Damage::Byte(at, byte) => content[at.index(len)] = *byte,
        Damage::Bit(at, bit) => content[at.index(len)] ^= 1 << bit,
        Damage::Zeros(at, zeros) => {
            content.iter_mut().skip(at.index(len)).take(*zeros).for_each(|byte| *byte = 0)
        }
        Damage::Cut(at) => content.truncate(at.index(len)),
    }
    file.set_len(0).unwrap();
    file.write_all_at(&[IoSlice::new(&content)], 0).unwrap();
}

/// The values that a listener is given; an error where it is told of damage.
fn values(quorum: &mut Quorum) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    let listener = quorum.register();
    let text = |value: Bytes| String::from_utf8_lossy(&value).into_owned();
    while let Some(delivery) = quorum.next(listener).map_err(|error| error.to_string())? {
        match delivery {
            Delivery::Snapshot(id) => {
                values.clear();
                let mut reader = quorum.log().open_snapshot(id).map_err(|error| error.to_string())?;
                while let Some(batch) = reader.next_batch().map_err(|error| error.to_string())? {
                    if let SnapshotBatch::Data(read) = batch {
                        values.extend(read.into_iter().map(text));
                    }
                }
            }
            Delivery::Committed { from, bytes, .. } => {
                for batch in committed_batches(from, &bytes).map_err(|error| error.to_string())? {
                    values.extend(batch.values.into_iter().map(text));
                }
            }
            Delivery::LeaderChanged(_) => {}
        }
    }
    Ok(values)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn damage_is_found_or_harms_nothing(damages in vec(damage(), 1..3), was_closed in any::<bool>()) {
        let disk = disk(1);
        let mut quorum = open(&disk, at(0));
        let written = ["a", "b", "c", "d"];
        for (n, value) in written.iter().enumerate() {
            let now = at(n as u64 * 30);
            append(&mut quorum, value, now);
            quorum.poll(at(n as u64 * 30 + 30)).unwrap();
            if n == 1 {
                take_snapshot(&mut quorum, &["a", "b"], now);
            }
        }
        if was_closed {
            quorum.into_parts().0.close(at(200)).unwrap();
        }
        disk.kill();
        damages.iter().for_each(|damage| apply(&disk, damage));
        let Ok(mut quorum) = open_on(Arc::clone(&disk) as Arc<dyn Disk>, settings(1, &[1]), at(300)) else {
            return Ok(());
        };
        let _ = quorum.poll(at(400));
        if let Ok(found) = values(&mut quorum) {
            prop_assert!(found.len() <= written.len() && found == written[..found.len()], "{found:?}");
        }
    }
}
