use ottla_metadata::MetadataVersion;
use ottla_metadata::image::{VersionedRecord, record_version};
use ottla_wire::records::MetadataRecord;

/// What an operation comes to: records to write, and what to answer once they are committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<R> {
    /// All of them go into the log together, or none.
    pub records: Vec<VersionedRecord>,
    pub response: R,
}

impl<R> Outcome<R> {
    /// Nothing to write.
    pub fn answer(response: R) -> Outcome<R> {
        Outcome { records: Vec::new(), response }
    }

    pub fn map<S>(self, change: impl FnOnce(R) -> S) -> Outcome<S> {
        Outcome { records: self.records, response: change(self.response) }
    }
}

/// Collects the records of an operation, each in the version that the metadata version asks for.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    version: MetadataVersion,
    records: Vec<VersionedRecord>,
}

impl Records {
    pub fn at(version: MetadataVersion) -> Records {
        Records { version, records: Vec::new() }
    }

    pub fn push(&mut self, record: MetadataRecord) {
        let version = record_version(&record, self.version);
        self.records.push((record, version));
    }

    pub fn extend(&mut self, records: impl IntoIterator<Item = MetadataRecord>) {
        for record in records {
            self.push(record);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &MetadataRecord> {
        self.records.iter().map(|(record, _)| record)
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn with<R>(self, response: R) -> Outcome<R> {
        Outcome { records: self.records, response }
    }
}
