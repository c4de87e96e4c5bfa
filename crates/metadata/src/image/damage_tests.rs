//! Records in any order and with any content: replayed, or refused with a reason; and what is replayed survives a snapshot.

use ottla_testkit::cases;
use ottla_types::{LeaderEpoch, Offset, Timestamp};
use ottla_wire::records::MetadataRecord;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::tests::history;
use super::*;
use crate::changes::Changes;
use crate::features::MetadataVersion;
use crate::loader::MetadataLoader;

/// Which record, and bytes of it that are others.
type Pick = (Index, Vec<(Index, u8)>);

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    let damage = prop_oneof![
        3 => Just(Vec::new()),
        2 => vec((any::<Index>(), prop_oneof![any::<u8>(), 0..4u8]), 1..3),
    ];
    vec((any::<Index>(), damage), 1..40)
}

fn records(picks: &[Pick]) -> Vec<MetadataRecord> {
    let history = history();
    let mut records = Vec::new();
    for (record, damage) in picks {
        let mut bytes = encoded(record.get(&history));
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Ok((record, _)) = MetadataRecord::decode(bytes.into())
            && is_kept(&record)
        {
            records.push(record);
        }
    }
    records
}

/// A record that claims an older version than its tagged fields are of is read as another one again: nobody writes such.
/// And a negative producer id is no id: snapshots leave it out, as Kafka's do.
fn is_kept(record: &MetadataRecord) -> bool {
    let is_read_again =
        MetadataRecord::decode(encoded(record).into()).is_ok_and(|(again, _)| again == *record);
    is_read_again && !matches!(record, MetadataRecord::ProducerIds(ids) if ids.next_producer_id < 0)
}

/// In the newest version that has it all.
fn encoded(record: &MetadataRecord) -> Vec<u8> {
    (0..=4).rev().find_map(|version| record.encode(version).ok()).expect("a version that has it all").to_vec()
}

fn image_again(image: &MetadataImage) -> MetadataImage {
    let mut again = MetadataImage { provenance: image.provenance, ..MetadataImage::default() };
    for (record, version) in image.to_records() {
        let bytes = record.encode(version).expect("a record of a snapshot has a version that fits");
        let (record, _) = MetadataRecord::decode(bytes).expect("it is read again");
        again.replay(&record, &mut Changes::default()).expect("it fits");
    }
    again
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_records_are_replayed_or_refused(picks in picks()) {
        let mut loader = MetadataLoader::default();
        let level = history().remove(0);
        for (offset, record) in std::iter::once(level).chain(records(&picks)).enumerate() {
            let before = loader.image().clone();
            let offset = Offset(offset as i64);
            if loader.apply(offset, LeaderEpoch(1), Timestamp(1), std::slice::from_ref(&record)).is_err() {
                prop_assert_eq!(loader.image(), &before, "half of {:?} was replayed", record);
                return Ok(());
            }
        }
        let image = loader.decided();
        // At an older level a snapshot leaves out what the level does not have.
        prop_assume!(image.features.metadata_version() == MetadataVersion::LATEST);
        prop_assert_eq!(image_again(&image), image);
    }
}
