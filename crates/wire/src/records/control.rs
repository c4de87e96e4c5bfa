//! Control records: the key is an int16 version (0) and an int16 type, the value starts with an int16 version, which is
//! a field of its message except in the markers that end transactions.
//!
//! A type or a version that isn't known here is kept as it is.

use bytes::Bytes;

use super::schema::{
    EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord,
};
use super::versioned::encode_versioned;
use crate::decode::{Decoded, Decoder};
use crate::encode::{EncodeError, Encoder};
use crate::message::Message;

const KEY_VERSION: i16 = 0;

/// The only version of the markers that end transactions.
const MARKER_VERSION: i16 = 0;

/// A record of a control batch.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord {
    /// The producer's open transaction in this partition ends here, without effect.
    Abort(EndTxnMarker),
    /// The producer's open transaction in this partition ends here, and counts.
    Commit(EndTxnMarker),
    /// The first record of an epoch in a KRaft log.
    LeaderChange(LeaderChangeMessage),
    /// The first record of a snapshot.
    SnapshotHeader(SnapshotHeaderRecord),
    /// The last record of a snapshot.
    SnapshotFooter(SnapshotFooterRecord),
    /// The finalized `kraft.version` (KIP-853).
    KraftVersion(KRaftVersionRecord),
    /// The voters of a KRaft quorum (KIP-853).
    Voters(VotersRecord),
    /// Of a type or a version that isn't known here.
    Unknown { key: Bytes, value: Bytes },
}

impl ControlRecord {
    pub fn decode(key: Bytes, value: Bytes) -> Decoded<ControlRecord> {
        let mut d = Decoder::new(key.clone());
        let _version = d.i16("ControlRecord.version")?;
        let type_id = d.i16("ControlRecord.type")?;
        let known = match type_id {
            0 => marker(&value)?.map(ControlRecord::Abort),
            1 => marker(&value)?.map(ControlRecord::Commit),
            2 => self_versioned(&value)?.map(ControlRecord::LeaderChange),
            3 => self_versioned(&value)?.map(ControlRecord::SnapshotHeader),
            4 => self_versioned(&value)?.map(ControlRecord::SnapshotFooter),
            5 => self_versioned(&value)?.map(ControlRecord::KraftVersion),
            6 => self_versioned(&value)?.map(ControlRecord::Voters),
            _ => None,
        };
        Ok(known.unwrap_or(ControlRecord::Unknown { key, value }))
    }

    /// The number in the key. `None`: not known here.
    pub fn type_id(&self) -> Option<i16> {
        match self {
            ControlRecord::Abort(_) => Some(0),
            ControlRecord::Commit(_) => Some(1),
            ControlRecord::LeaderChange(_) => Some(2),
            ControlRecord::SnapshotHeader(_) => Some(3),
            ControlRecord::SnapshotFooter(_) => Some(4),
            ControlRecord::KraftVersion(_) => Some(5),
            ControlRecord::Voters(_) => Some(6),
            ControlRecord::Unknown { .. } => None,
        }
    }

    pub fn encode_key(&self) -> Bytes {
        match (self, self.type_id()) {
            (ControlRecord::Unknown { key, .. }, _) => key.clone(),
            (_, type_id) => {
                let mut e = Encoder::with_capacity(4);
                e.i16(KEY_VERSION);
                e.i16(type_id.unwrap_or(-1));
                e.into_parts().0.freeze()
            }
        }
    }

    /// At the version that the record's own `version` field says, markers at 0.
    pub fn encode_value(&self) -> Result<Bytes, EncodeError> {
        match self {
            ControlRecord::Abort(marker) | ControlRecord::Commit(marker) => {
                encode_versioned(marker, MARKER_VERSION)
            }
            ControlRecord::LeaderChange(record) => record.to_bytes(record.version),
            ControlRecord::SnapshotHeader(record) => record.to_bytes(record.version),
            ControlRecord::SnapshotFooter(record) => record.to_bytes(record.version),
            ControlRecord::KraftVersion(record) => record.to_bytes(record.version),
            ControlRecord::Voters(record) => record.to_bytes(record.version),
            ControlRecord::Unknown { value, .. } => Ok(value.clone()),
        }
    }
}

fn marker(value: &Bytes) -> Decoded<Option<EndTxnMarker>> {
    let mut d = Decoder::new(value.clone());
    if d.i16("EndTxnMarker.version")? != MARKER_VERSION {
        return Ok(None);
    }
    EndTxnMarker::decode(&mut d, MARKER_VERSION).map(Some)
}

/// A message whose first field says its version. `None`: the version isn't known.
fn self_versioned<M: Message>(value: &Bytes) -> Decoded<Option<M>> {
    let version = Decoder::new(value.clone()).i16(M::NAME)?;
    if !M::VERSIONS.contains(version) {
        return Ok(None);
    }
    M::decode(&mut Decoder::new(value.clone()), version).map(Some)
}
