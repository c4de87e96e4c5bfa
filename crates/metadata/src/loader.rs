//! From committed batches and snapshots of the metadata log to published images.
//!
//! What a metadata transaction (KIP-868) brackets is published as one when it ends, and not at all when it is aborted.

use std::sync::Arc;

use ottla_types::{LeaderEpoch, Offset, Timestamp};
use ottla_wire::records::MetadataRecord;

use crate::changes::Changes;
use crate::image::{MetadataImage, Provenance, ReplayError};

/// An image for listeners, and what changed since the one before.
#[derive(Clone, Debug)]
pub struct Publication {
    pub previous: Arc<MetadataImage>,
    pub image: Arc<MetadataImage>,
    pub changes: Changes,
}

/// Replays the log. One that has failed is not to be used again: its log is corrupt.
#[derive(Debug, Default)]
pub struct MetadataLoader {
    published: Arc<MetadataImage>,
    image: MetadataImage,
    changes: Changes,
    /// The image before the open transaction, and what had changed by then.
    transaction: Option<Box<(MetadataImage, Changes)>>,
}

impl MetadataLoader {
    /// The image with everything that was replayed, an open transaction included.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// The image without what an open transaction did: what the next controller begins with.
    pub fn decided(&self) -> MetadataImage {
        let before = self.transaction.as_ref().map_or(&self.image, |before| &before.0);
        MetadataImage { provenance: self.image.provenance, ..before.clone() }
    }

    /// Whether the log has begun a transaction and not ended it: who writes it next must abort it first.
    pub fn has_open_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    pub fn published(&self) -> &Arc<MetadataImage> {
        &self.published
    }

    /// Replays a committed batch whose last record is at `last_offset`.
    pub fn apply(
        &mut self,
        last_offset: Offset,
        epoch: LeaderEpoch,
        append_time: Timestamp,
        records: &[MetadataRecord],
    ) -> Result<(), ReplayError> {
        for record in records {
            self.apply_record(record)?;
        }
        self.image.provenance = Provenance { last_offset, last_epoch: epoch, last_append_time: append_time };
        Ok(())
    }

    fn apply_record(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::BeginTransaction(_) => {
                self.transaction = Some(Box::new((self.image.clone(), self.changes.clone())));
            }
            MetadataRecord::EndTransaction(_) => self.transaction = None,
            MetadataRecord::AbortTransaction(_) => {
                if let Some(before) = self.transaction.take() {
                    (self.image, self.changes) = *before;
                }
            }
            _ => self.image.replay(record, &mut self.changes)?,
        }
        Ok(())
    }

    /// Begins again with what a snapshot holds.
    pub fn load_snapshot(
        &mut self,
        provenance: Provenance,
        records: impl IntoIterator<Item = MetadataRecord>,
    ) -> Result<(), ReplayError> {
        let mut image = MetadataImage { provenance, ..MetadataImage::default() };
        let mut changes = Changes::default();
        for record in records {
            image.replay(&record, &mut changes)?;
        }
        // What is in the old image and not in the snapshot has gone.
        for topic in self.published.topics.iter().filter(|topic| image.topics.by_id(topic.id).is_none()) {
            changes.deleted_topics.insert((topic.id, Arc::clone(&topic.name)));
        }
        changes.configs.extend(self.published.configs.iter().map(|(resource, _)| resource.clone()));
        changes.brokers.extend(self.published.brokers.keys());
        changes.controllers.extend(self.published.controllers.keys());
        (changes.features, changes.producer_ids, changes.quotas, changes.security) = (true, true, true, true);
        self.image = image;
        self.changes = changes;
        self.transaction = None;
        Ok(())
    }

    /// What is new since the last call. None while a transaction is open, or if nothing was replayed.
    pub fn publish(&mut self) -> Option<Publication> {
        if self.transaction.is_some() || self.image.provenance == self.published.provenance {
            return None;
        }
        let image = Arc::new(self.image.clone());
        let previous = std::mem::replace(&mut self.published, Arc::clone(&image));
        Some(Publication { previous, image, changes: std::mem::take(&mut self.changes) })
    }
}
