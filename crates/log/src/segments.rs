//! The segments of a log in order of their base offsets: an immutable list that readers hold while the writer publishes
//! the next one.

use std::sync::Arc;

use ottla_types::Offset;

use crate::segment::Segment;

/// A log's segments; never empty once the log is open. The last one is active: the one that is appended to.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    list: Vec<Arc<Segment>>,
}

impl Segments {
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Segment>> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn first(&self) -> Option<&Arc<Segment>> {
        self.list.first()
    }

    pub fn last(&self) -> Option<&Arc<Segment>> {
        self.list.last()
    }

    /// The segment that holds `offset`, if any does: the last one that starts at or before it.
    pub fn floor(&self, offset: Offset) -> Option<&Arc<Segment>> {
        self.up_to(offset).last()
    }

    /// The first segment that starts after `base_offset`.
    pub fn higher(&self, base_offset: Offset) -> Option<&Arc<Segment>> {
        self.after(base_offset).first()
    }

    /// The last segment that starts before `base_offset`.
    pub fn lower(&self, base_offset: Offset) -> Option<&Arc<Segment>> {
        self.up_to(Offset(base_offset.0.saturating_sub(1))).last()
    }

    pub fn get(&self, base_offset: Offset) -> Option<&Arc<Segment>> {
        self.floor(base_offset).filter(|segment| segment.base_offset() == base_offset)
    }

    /// The segments that start after `base_offset`.
    pub fn after(&self, base_offset: Offset) -> &[Arc<Segment>] {
        self.list.get(self.count_up_to(base_offset)..).unwrap_or_default()
    }

    /// The segments that may hold offsets from `from` up to, not including, `to`.
    pub fn range(&self, from: Offset, to: Offset) -> &[Arc<Segment>] {
        let first = self.count_up_to(from).saturating_sub(1);
        let end = self.list.partition_point(|segment| segment.base_offset() < to);
        self.list.get(first..end).unwrap_or_default()
    }

    /// All segments but the active one that may hold offsets from `from` on.
    pub fn inactive_from(&self, from: Offset) -> &[Arc<Segment>] {
        self.last().map_or(&[], |active| self.range(from, active.base_offset()))
    }

    /// Bytes of batches.
    pub fn size_bytes(&self) -> u64 {
        self.list.iter().map(|segment| u64::from(segment.size())).sum()
    }

    /// Replaces a segment that starts at the same offset.
    pub(crate) fn insert(&mut self, segment: Arc<Segment>) {
        let base_offset = segment.base_offset();
        self.remove(base_offset);
        let at = self.count_up_to(base_offset);
        self.list.insert(at, segment);
    }

    pub(crate) fn remove(&mut self, base_offset: Offset) -> Option<Arc<Segment>> {
        let at = self.list.binary_search_by_key(&base_offset, |segment| segment.base_offset()).ok()?;
        Some(self.list.remove(at))
    }

    fn up_to(&self, offset: Offset) -> &[Arc<Segment>] {
        self.list.get(..self.count_up_to(offset)).unwrap_or_default()
    }

    fn count_up_to(&self, offset: Offset) -> usize {
        self.list.partition_point(|segment| segment.base_offset() <= offset)
    }
}

impl<'a> IntoIterator for &'a Segments {
    type Item = &'a Arc<Segment>;
    type IntoIter = std::slice::Iter<'a, Arc<Segment>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Arc<Segment>> for Segments {
    /// In order of base offsets.
    fn from_iter<I: IntoIterator<Item = Arc<Segment>>>(segments: I) -> Segments {
        let mut list: Vec<Arc<Segment>> = segments.into_iter().collect();
        list.sort_by_key(|segment| segment.base_offset());
        Segments { list }
    }
}
