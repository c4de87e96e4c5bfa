//! Records of control batches: transaction markers (KIP-98) and what KRaft writes into its own log (KIP-595, 853).
//! The key says the type; the value of transaction markers is known here, that of the others to the wire schemas.

use crate::error::RecordError;

const KEY_VERSION: i16 = 0;
const END_TXN_MARKER_VERSION: i16 = 0;

/// What a control record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlRecordType {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KRaftVersion,
    KRaftVoters,
    /// One that a later version wrote: to be skipped, and to be kept.
    Unknown(i16),
}

impl ControlRecordType {
    pub fn from_id(id: i16) -> ControlRecordType {
        match id {
            0 => ControlRecordType::Abort,
            1 => ControlRecordType::Commit,
            2 => ControlRecordType::LeaderChange,
            3 => ControlRecordType::SnapshotHeader,
            4 => ControlRecordType::SnapshotFooter,
            5 => ControlRecordType::KRaftVersion,
            6 => ControlRecordType::KRaftVoters,
            id => ControlRecordType::Unknown(id),
        }
    }

    pub fn id(self) -> i16 {
        match self {
            ControlRecordType::Abort => 0,
            ControlRecordType::Commit => 1,
            ControlRecordType::LeaderChange => 2,
            ControlRecordType::SnapshotHeader => 3,
            ControlRecordType::SnapshotFooter => 4,
            ControlRecordType::KRaftVersion => 5,
            ControlRecordType::KRaftVoters => 6,
            ControlRecordType::Unknown(id) => id,
        }
    }

    /// Reads a control record's key: version and type. Later versions only add to it.
    pub fn parse(key: &[u8]) -> Result<ControlRecordType, RecordError> {
        let &[v0, v1, t0, t1, ..] = key else { return Err(RecordError::MalformedControlKey) };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(RecordError::MalformedControlKey);
        }
        Ok(ControlRecordType::from_id(i16::from_be_bytes([t0, t1])))
    }

    /// The key of a control record of this type.
    pub fn key(self) -> [u8; 4] {
        let [v0, v1] = KEY_VERSION.to_be_bytes();
        let [t0, t1] = self.id().to_be_bytes();
        [v0, v1, t0, t1]
    }
}

/// The record that ends a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    pub committed: bool,
    /// Of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    pub fn record_type(&self) -> ControlRecordType {
        if self.committed { ControlRecordType::Commit } else { ControlRecordType::Abort }
    }

    /// Reads a control record; `None` if it is of another type.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Option<EndTxnMarker>, RecordError> {
        let committed = match ControlRecordType::parse(key)? {
            ControlRecordType::Commit => true,
            ControlRecordType::Abort => false,
            _ => return Ok(None),
        };
        let &[v0, v1, e0, e1, e2, e3, ..] = value else { return Err(RecordError::MalformedControlValue) };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(RecordError::MalformedControlValue);
        }
        Ok(Some(EndTxnMarker { committed, coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]) }))
    }

    pub fn value(&self) -> [u8; 6] {
        let [v0, v1] = END_TXN_MARKER_VERSION.to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        [v0, v1, e0, e1, e2, e3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_markers_round_trip() {
        for id in -1..9 {
            let record_type = ControlRecordType::from_id(id);
            assert_eq!(record_type.id(), id);
            assert_eq!(ControlRecordType::parse(&record_type.key()), Ok(record_type));
        }
        for committed in [false, true] {
            let marker = EndTxnMarker { committed, coordinator_epoch: 77 };
            let key = marker.record_type().key();
            assert_eq!(EndTxnMarker::parse(&key, &marker.value()), Ok(Some(marker)));
            assert_eq!(EndTxnMarker::parse(&key, &[0; 5]), Err(RecordError::MalformedControlValue));
            assert!(EndTxnMarker::parse(&key, &[0xff; 6]).is_err());
        }
        assert_eq!(EndTxnMarker::parse(&ControlRecordType::LeaderChange.key(), &[]), Ok(None));
        assert!(ControlRecordType::parse(&[0, 0, 0]).is_err());
        assert!(ControlRecordType::parse(&[0x80, 0, 0, 0]).is_err());
    }
}
