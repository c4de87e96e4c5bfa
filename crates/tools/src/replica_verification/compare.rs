//! Whether the replicas of a partition have the same batches, as far as all of them have got.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_record::{Batch, Batches};

/// What a replica has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) high_watermark: i64,
    pub(super) batches: Bytes,
}

/// How far the replicas agree, and where they don't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// Where to go on; `None`: nowhere was anything that all have.
    pub(super) next_offset: Option<i64>,
    /// Lines to be told.
    pub(super) differences: Vec<String>,
    /// They don't have the same batches: there is nothing more to compare.
    pub(super) is_hopeless: bool,
}

/// A batch below the high watermark.
struct Seen {
    replica: i32,
    last_offset: i64,
    crc: u32,
}

pub(super) fn compare(partition: &str, replicas: &BTreeMap<i32, Answered>) -> Compared {
    let mut compared = Compared::default();
    let mut logs: Vec<(i32, i64, Batches<'_>)> = replicas
        .iter()
        .map(|(id, answered)| (*id, answered.high_watermark, Batches::new(&answered.batches)))
        .collect();
    loop {
        // All go one batch further, even those behind one that can't.
        let next: Vec<(i32, Option<Batch<'_>>)> = logs
            .iter_mut()
            .map(|(id, high_watermark, log)| {
                let batch = log.next().and_then(Result::ok);
                (*id, batch.filter(|batch| batch.last_offset().value() < *high_watermark))
            })
            .collect();
        let mut first: Option<Seen> = None;
        for (id, batch) in &next {
            let Some(batch) = batch else { continue };
            let seen = Seen { replica: *id, last_offset: batch.last_offset().value(), crc: batch.crc };
            let Some(first) = &first else {
                first = Some(seen);
                continue;
            };
            if first.last_offset != seen.last_offset {
                compared.is_hopeless = true;
                compared.differences.push(format!(
                    "partition {partition}: replica {}'s offset {} doesn't match replica {id}'s offset {}",
                    first.replica, first.last_offset, seen.last_offset
                ));
                return compared;
            }
            if first.crc != seen.crc {
                compared.differences.push(format!(
                    "partition {partition} has unmatched checksum at offset {}; replica {}'s checksum {}; replica {id}'s \
                     checksum {}",
                    seen.last_offset, first.replica, first.crc, seen.crc
                ));
            }
        }
        match first {
            Some(first) if next.iter().all(|(_, batch)| batch.is_some()) => {
                compared.next_offset = Some(first.last_offset + 1);
            }
            _ => return compared,
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
    use ottla_types::{Offset, Timestamp};

    use super::*;

    /// Batches of one record each, one after the other.
    fn log(values: &[&str], high_watermark: i64) -> Answered {
        let mut batches = Vec::new();
        for (offset, value) in (0..).zip(values) {
            let options = BatchOptions { base_offset: Offset(offset), ..BatchOptions::default() };
            let mut builder = BatchBuilder::new(options);
            let value = Some(value.as_bytes());
            builder.append(&NewRecord { timestamp: Timestamp(0), key: None, value, headers: &[] }).unwrap();
            batches.extend(builder.build().unwrap());
        }
        Answered { high_watermark, batches: batches.into() }
    }

    fn compared(replicas: &[Answered]) -> Compared {
        compare("a-1", &(1..).zip(replicas.iter().cloned()).collect())
    }

    #[test]
    fn replicas_agree_as_far_as_all_have_got() {
        let whole = log(&["a", "b", "c"], 3);
        assert_eq!(compared(&[whole.clone(), whole.clone()]).next_offset, Some(3));
        assert_eq!(compared(&[whole.clone(), log(&["a"], 3)]).next_offset, Some(1));
        assert_eq!(compared(&[whole.clone(), log(&["a", "b", "c"], 2)]).next_offset, Some(2));
        assert_eq!(compared(&[whole, Answered::default()]), Compared::default());
    }

    #[test]
    fn what_differs_is_told() {
        let differs = compared(&[log(&["a", "b"], 2), log(&["a", "x"], 2)]);
        assert_eq!((differs.next_offset, differs.is_hopeless), (Some(2), false));
        let line = differs.differences.first().unwrap();
        assert!(
            line.starts_with("partition a-1 has unmatched checksum at offset 1; replica 1's checksum "),
            "{line}"
        );
        let mut shifted = log(&["a"], 2);
        let mut moved = shifted.batches.to_vec();
        moved[7] = 1;
        shifted.batches = moved.into();
        let differs = compared(&[log(&["a", "b"], 2), shifted]);
        assert_eq!(
            differs.differences,
            ["partition a-1: replica 1's offset 0 doesn't match replica 2's offset 1"]
        );
        assert!(differs.is_hopeless);
    }
}
