use bytes::Bytes;

/// A tagged field that the schema doesn't have (KIP-482).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTaggedField {
    pub tag: u32,
    pub data: Bytes,
}

/// Tagged fields of a struct that its schema doesn't have: kept when read, and written again behind those that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedFields(Vec<RawTaggedField>);

impl TaggedFields {
    /// Must be a tag that the schema doesn't have: nothing else checks that.
    pub fn push(&mut self, tag: u32, data: Bytes) {
        self.0.push(RawTaggedField { tag, data });
    }

    pub fn iter(&self) -> std::slice::Iter<'_, RawTaggedField> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
