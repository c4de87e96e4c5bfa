//! Dead letters as batches of records: one for each record that was given up, with headers that say where it was, and why
//! it was given up (KIP-1191).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_record::{BatchBuilder, BatchOptions, BuildError, Header, NewRecord, OwnedRecord};
use ottla_replica::share::{DeadRecords, GivenUp};
use ottla_types::{Offset, Timestamp};

const TOPIC: &str = "__dlq.errors.topic";
const PARTITION: &str = "__dlq.errors.partition";
const OFFSET: &str = "__dlq.errors.offset";
const GROUP: &str = "__dlq.errors.group";
const DELIVERY_COUNT: &str = "__dlq.errors.delivery.count";
const MESSAGE: &str = "__dlq.errors.message";

/// Where records were, and whose they were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub group_id: &'a str,
    pub topic: &'a str,
    pub partition: i32,
}

/// Records as they were, as far as they were read.
#[derive(Debug)]
pub(super) struct Copies {
    pub records: BTreeMap<Offset, OwnedRecord>,
    /// Where the ends of transactions lie: they were out with the records around them, but nobody gets a letter of them.
    pub markers: BTreeSet<Offset>,
    /// Of what lies before this, nothing more can be had.
    pub until: Offset,
}

impl Copies {
    /// Letters before `until` go without.
    pub fn none(until: Offset) -> Copies {
        Copies { records: BTreeMap::new(), markers: BTreeSet::new(), until }
    }
}

/// What KIP-1191 has the broker say.
fn message(why: GivenUp) -> &'static str {
    match why {
        GivenUp::Rejected => "Offset rejected by client.",
        GivenUp::DeliveredTooOften => "Offset delivery count exceeded the threshold.",
    }
}

/// A batch of at most `bytes_max` with letters for the first of the dead, at least one, and how many of the dead it is for. A
/// record that makes its letter too large is left out of it. No bytes if there is nobody to write of.
pub(super) fn batch(
    origin: Origin<'_>,
    dead: &VecDeque<DeadRecords>,
    copies: &Copies,
    bytes_max: usize,
    now: Timestamp,
) -> Result<(Vec<u8>, u64), BuildError> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let (mut count, mut is_empty) = (0, true);
    'letters: for dead in dead {
        let (partition, deliveries) = (origin.partition.to_string(), dead.delivery_count.to_string());
        let mut offset = dead.first_offset;
        while offset <= dead.last_offset {
            if offset >= copies.until && count > 0 {
                break 'letters;
            }
            if copies.markers.contains(&offset) {
                count += 1;
                offset = offset.next();
                continue;
            }
            let number = offset.value().to_string();
            let says = [
                (TOPIC, origin.topic),
                (PARTITION, partition.as_str()),
                (OFFSET, number.as_str()),
                (GROUP, origin.group_id),
                (DELIVERY_COUNT, deliveries.as_str()),
                (MESSAGE, message(dead.why)),
            ];
            let says = says.map(|(key, value)| Header { key: key.as_bytes(), value: Some(value.as_bytes()) });
            let copied = copies.records.get(&offset);
            let mut headers = says.to_vec();
            let of_record = copied.into_iter().flat_map(|record| &record.headers);
            headers
                .extend(of_record.map(|header| Header { key: &header.key, value: header.value.as_deref() }));
            let mut letter = NewRecord {
                timestamp: now,
                key: copied.and_then(|record| record.key.as_deref()),
                value: copied.and_then(|record| record.value.as_deref()),
                headers: &headers,
            };
            if builder.uncompressed_bytes_with(&letter) > bytes_max {
                if !is_empty {
                    break 'letters;
                }
                letter = NewRecord { timestamp: now, key: None, value: None, headers: &says };
            }
            builder.append(&letter)?;
            is_empty = false;
            count += 1;
            offset = offset.next();
        }
    }
    Ok((if is_empty { Vec::new() } else { builder.build()? }, count))
}

/// Takes those off whose letters are written.
pub(super) fn advance(dead: &mut VecDeque<DeadRecords>, mut count: u64) {
    while count > 0 {
        let Some(first) = dead.front_mut() else { return };
        let len = u64::try_from(first.last_offset - first.first_offset + 1).unwrap_or(0);
        if len > count {
            first.first_offset += i64::try_from(count).unwrap_or(i64::MAX);
            return;
        }
        count -= len;
        dead.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use ottla_record::Batch;

    use super::*;

    const ORIGIN: Origin<'static> = Origin { group_id: "g", topic: "t", partition: 3 };

    fn dead(first: i64, last: i64, why: GivenUp) -> DeadRecords {
        DeadRecords { first_offset: Offset(first), last_offset: Offset(last), delivery_count: 2, why }
    }

    /// Key, value, and headers as `key=value`.
    type Letter = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<String>);

    /// The letters of a batch.
    fn read(bytes: &[u8]) -> Vec<Letter> {
        let batch = Batch::parse(bytes).unwrap();
        let mut records = batch.records(1 << 20).unwrap();
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            let record = record.to_owned();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let headers = record.headers.iter().map(|header| {
                format!("{}={}", text(&header.key), text(header.value.as_deref().unwrap_or_default()))
            });
            let bytes = |bytes: Option<bytes::Bytes>| bytes.map(|bytes| bytes.to_vec());
            found.push((bytes(record.key.clone()), bytes(record.value.clone()), headers.collect()));
        }
        found
    }

    #[test]
    fn a_letter_says_where_the_record_was_and_why_it_was_given_up() {
        let all = VecDeque::from([dead(7, 7, GivenUp::Rejected), dead(9, 10, GivenUp::DeliveredTooOften)]);
        let (bytes, count) = batch(ORIGIN, &all, &Copies::none(Offset::MAX), 1 << 20, Timestamp(5)).unwrap();
        let letters = read(&bytes);
        assert_eq!((count, letters.len()), (3, 3));
        let says = |offset: &str, message: &str| {
            let values = ["t", "3", offset, "g", "2", message];
            let keys = [TOPIC, PARTITION, OFFSET, GROUP, DELIVERY_COUNT, MESSAGE];
            keys.iter().zip(values).map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(letters[0], (None, None, says("7", "Offset rejected by client.")));
        assert_eq!(letters[2].2, says("10", "Offset delivery count exceeded the threshold."));
        assert_eq!(Batch::parse(&bytes).unwrap().header().max_timestamp, Timestamp(5));
    }

    #[test]
    fn what_does_not_fit_goes_with_the_next_batch_and_each_batch_has_a_letter() {
        let mut left = VecDeque::from([dead(0, 9, GivenUp::Rejected), dead(20, 24, GivenUp::Rejected)]);
        let mut sizes = Vec::new();
        while !left.is_empty() {
            let (bytes, count) = batch(ORIGIN, &left, &Copies::none(Offset::MAX), 700, Timestamp(5)).unwrap();
            assert!(bytes.len() <= 700);
            sizes.push(count);
            advance(&mut left, count);
        }
        assert!(sizes.len() > 3 && sizes.iter().sum::<u64>() == 15, "{sizes:?}");
        let all = VecDeque::from([dead(0, 9, GivenUp::Rejected)]);
        assert_eq!(batch(ORIGIN, &all, &Copies::none(Offset::MAX), 10, Timestamp(5)).unwrap().1, 1);
    }

    #[test]
    fn the_ends_of_transactions_get_no_letters() {
        let markers = BTreeSet::from([Offset(1), Offset(2), Offset(5)]);
        let copies = Copies { markers, ..Copies::none(Offset::MAX) };
        let all = VecDeque::from([dead(0, 3, GivenUp::DeliveredTooOften), dead(5, 5, GivenUp::Rejected)]);
        let (bytes, count) = batch(ORIGIN, &all, &copies, 1 << 20, Timestamp(5)).unwrap();
        let offsets: Vec<String> =
            read(&bytes).into_iter().map(|(_, _, headers)| headers[2].clone()).collect();
        assert_eq!((count, offsets), (5, vec![format!("{OFFSET}=0"), format!("{OFFSET}=3")]));
        let all = VecDeque::from([dead(1, 2, GivenUp::DeliveredTooOften)]);
        assert_eq!(batch(ORIGIN, &all, &copies, 1 << 20, Timestamp(5)).unwrap(), (Vec::new(), 2));
    }

    #[test]
    fn a_copy_comes_along_where_there_is_one_and_it_fits() {
        let record = |value: &[u8]| {
            let headers = [Header { key: b"h", value: Some(b"v") }];
            let mut builder = BatchBuilder::new(BatchOptions::default());
            let new =
                NewRecord { timestamp: Timestamp(1), key: Some(b"k"), value: Some(value), headers: &headers };
            builder.append(&new).unwrap();
            let bytes = builder.build().unwrap();
            let batch = Batch::parse(&bytes).unwrap();
            let mut records = batch.records(1 << 20).unwrap();
            records.next().unwrap().unwrap().to_owned()
        };
        let records = BTreeMap::from([(Offset(0), record(b"small")), (Offset(2), record(&[7; 2000]))]);
        let copies = Copies { records, ..Copies::none(Offset(3)) };
        let all = VecDeque::from([dead(0, 4, GivenUp::Rejected)]);
        let (bytes, count) = batch(ORIGIN, &all, &copies, 1000, Timestamp(5)).unwrap();
        let letters = read(&bytes);
        assert_eq!(count, 2, "the next is too large for this batch");
        assert_eq!(
            (letters[0].0.as_deref(), letters[0].1.as_deref()),
            (Some(&b"k"[..]), Some(&b"small"[..]))
        );
        assert_eq!(letters[0].2.last().unwrap(), "h=v");
        assert_eq!((letters[1].1.clone(), letters[1].2.len()), (None, 6), "it is gone");
        let all = VecDeque::from([dead(2, 4, GivenUp::Rejected)]);
        let (bytes, count) = batch(ORIGIN, &all, &copies, 1000, Timestamp(5)).unwrap();
        assert_eq!(count, 1, "what comes after it has not been read yet");
        let letters = read(&bytes);
        assert_eq!((letters[0].1.clone(), letters[0].2.len()), (None, 6), "too large for any batch");
    }
}
