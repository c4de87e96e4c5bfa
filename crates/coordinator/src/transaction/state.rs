use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::metadata::TransactionMetadata;
use super::record::TransactionRecord;

/// What a shard keeps in the log. Changed by [`TransactionState::replay`] alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactionState {
    pub(super) by_id: RedBlackTreeMapSync<Arc<str>, Arc<TransactionMetadata>>,
}

impl TransactionState {
    pub(super) fn get(&self, transactional_id: &str) -> Option<&Arc<TransactionMetadata>> {
        self.by_id.get(transactional_id)
    }

    pub(super) fn replay(&mut self, record: TransactionRecord) {
        match record.metadata {
            Some(metadata) => self.by_id.insert_mut(record.transactional_id, Arc::new(metadata)),
            None => {
                self.by_id.remove_mut(&record.transactional_id);
            }
        }
    }
}
