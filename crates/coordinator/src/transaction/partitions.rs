//! AddPartitionsToTxn: a transaction takes partitions in, and tells whether it has (KIP-98, KIP-890).

use std::sync::Arc;

use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;

use super::metadata::TransactionMetadata;
use super::shard::{Asker, TransactionShard, TransactionTurn};
use crate::runtime::Producer;

impl TransactionShard {
    /// The transaction begins with the first partitions that are added to it.
    pub(super) fn add_partitions(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        transactional_id: &Arc<str>,
        producer: Producer,
        client_version: i16,
        partitions: Vec<TopicPartition>,
        asker: Asker<()>,
    ) {
        let metadata = match current(turn, transactional_id, producer) {
            Ok(metadata) => metadata,
            Err(code) => return turn.reply(asker, Err(code)),
        };
        let has_all = partitions.iter().all(|partition| metadata.partitions.contains(partition));
        if metadata.status.is_idle() || !has_all {
            let ongoing = metadata.with_partitions(partitions, client_version, turn.now.wall);
            self.write(turn, transactional_id, Some(ongoing));
        }
        turn.reply(asker, Ok(()));
    }

    /// For each partition: whether it has a part in the transaction.
    pub(super) fn verify_partitions(
        turn: &mut TransactionTurn<'_>,
        transactional_id: &Arc<str>,
        producer: Producer,
        partitions: &[TopicPartition],
        asker: Asker<Vec<ErrorCode>>,
    ) {
        let verdicts = current(turn, transactional_id, producer).map(|metadata| {
            let verdict = |partition: &TopicPartition| match metadata.partitions.contains(partition) {
                true => ErrorCode::None,
                false => ErrorCode::TransactionAbortable,
            };
            partitions.iter().map(verdict).collect()
        });
        turn.reply(asker, verdicts);
    }
}

/// The id's metadata, if it belongs to this producer and no transaction of it is being ended.
fn current(
    turn: &TransactionTurn<'_>,
    transactional_id: &str,
    producer: Producer,
) -> Result<Arc<TransactionMetadata>, ErrorCode> {
    let metadata = turn.state.get(transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
    if metadata.producer.id != producer.id {
        Err(ErrorCode::InvalidProducerIdMapping)
    } else if metadata.producer.epoch != producer.epoch {
        Err(ErrorCode::ProducerFenced)
    } else if metadata.status.prepared().is_some() {
        Err(ErrorCode::ConcurrentTransactions)
    } else {
        Ok(Arc::clone(metadata))
    }
}
