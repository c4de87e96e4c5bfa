//! Which segments are compacted into one: compaction makes segments smaller, and many small ones cost files.

use std::sync::Arc;

use ottla_types::Offset;

use super::CleanError;
use crate::log_config::LogConfig;
use crate::segment::Segment;

/// What counts of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    base_offset: i64,
    size_bytes: u64,
    offset_index_bytes: u64,
    time_index_bytes: u64,
}

/// Splits consecutive segments into groups, each of which fits into one segment and its indexes even if nothing of it
/// goes.
pub(super) fn group(
    segments: &[Arc<Segment>],
    config: &LogConfig,
    first_uncleanable_offset: Offset,
) -> Result<Vec<Vec<Arc<Segment>>>, CleanError> {
    let mut extents = Vec::with_capacity(segments.len());
    for segment in segments {
        extents.push(Extent {
            base_offset: segment.base_offset().0,
            size_bytes: u64::from(segment.size()),
            offset_index_bytes: segment.offset_index().size_bytes()?,
            time_index_bytes: segment.time_index().size_bytes()?,
        });
    }
    let lengths = group_lengths(
        &extents,
        u64::from(config.segment_bytes),
        u64::from(config.segment_index_bytes),
        first_uncleanable_offset.0,
    );
    let mut rest = segments.iter().cloned();
    Ok(lengths.into_iter().map(|len| rest.by_ref().take(len).collect()).collect())
}

fn group_lengths(
    extents: &[Extent],
    segment_bytes: u64,
    index_bytes: u64,
    first_uncleanable_offset: i64,
) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut group: Option<(Extent, usize)> = None;
    for (i, next) in extents.iter().enumerate() {
        let end = extents.get(i + 1).map_or(first_uncleanable_offset, |after| after.base_offset);
        let joined = group.and_then(|(so_far, len)| {
            let sum = Extent {
                base_offset: so_far.base_offset,
                size_bytes: so_far.size_bytes + next.size_bytes,
                offset_index_bytes: so_far.offset_index_bytes + next.offset_index_bytes,
                time_index_bytes: so_far.time_index_bytes + next.time_index_bytes,
            };
            let fits = sum.size_bytes <= segment_bytes
                && sum.offset_index_bytes <= index_bytes
                && sum.time_index_bytes <= index_bytes
                && (next.size_bytes == 0 || end - 1 - sum.base_offset <= i64::from(i32::MAX));
            fits.then_some((sum, len + 1))
        });
        if joined.is_none() {
            lengths.extend(group.map(|(_, len)| len));
        }
        group = joined.or(Some((*next, 1)));
    }
    lengths.extend(group.map(|(_, len)| len));
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(segments: &[(i64, u64, u64)], first_uncleanable_offset: i64, expected: &[usize]) {
        let extents: Vec<Extent> = segments
            .iter()
            .map(|&(base_offset, size_bytes, index_bytes)| Extent {
                base_offset,
                size_bytes,
                offset_index_bytes: index_bytes,
                time_index_bytes: index_bytes,
            })
            .collect();
        assert_eq!(group_lengths(&extents, 100, 50, first_uncleanable_offset), expected);
    }

    #[test]
    fn groups_fit_into_one_segment() {
        check(&[], 0, &[]);
        check(&[(0, 1000, 0)], 10, &[1]);
        check(&[(0, 50, 0), (10, 50, 0), (20, 1, 0)], 30, &[2, 1]);
        check(&[(0, 1, 30), (10, 1, 20), (20, 1, 1)], 30, &[2, 1]);
        check(&[(0, 99, 0), (10, 0, 0), (20, 0, 0), (30, 2, 0)], 40, &[3, 1]);
    }

    #[test]
    fn offsets_of_a_group_fit_into_its_indexes() {
        let far = i64::from(i32::MAX);
        check(&[(0, 1, 0), (far, 1, 0)], far + 1, &[2]);
        check(&[(0, 1, 0), (far, 1, 0)], far + 2, &[1, 1]);
        check(&[(0, 1, 0), (10, 1, 0), (far + 2, 1, 0)], far + 3, &[1, 2]);
        check(&[(0, 1, 0), (far * 2, 0, 0)], far * 3, &[2]);
    }
}
