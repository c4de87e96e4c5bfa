//! Single records as a stream.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use ottla_types::TopicPartition;

use super::commits::CommittedOffset;
use super::core::machine::ConsumerEvent;
use super::core::record::{ConsumerRecord, Position};
use super::error::ConsumerError;
use super::owner::Consumer;

impl Consumer {
    /// Single records, one after the other, as a [`Stream`] without an end. Partitions come and go with rebalances without
    /// being told of.
    ///
    /// Asking for a record says that the ones before it are done with. What was not asked for any more when the stream
    /// is dropped, is read again by whoever asks next.
    ///
    /// ```no_run
    /// # use ottla_client::consumer::{Consumer, ConsumerError};
    /// # async fn example(consumer: &mut Consumer) -> Result<(), ConsumerError> {
    /// let mut records = consumer.records();
    /// for number in 1.. {
    ///     let record = records.record().await?;
    ///     println!("{} {:?}", record.offset, record.value);
    ///     if number % 1_000 == 0 {
    ///         records.commit().await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn records(&mut self) -> Records<'_> {
        Records { consumer: self, waiting: Vec::new().into_iter(), last: None }
    }
}

/// See [`Consumer::records`]. Whoever has the methods of a crate for streams has those beside [`Records::record`].
#[derive(Debug)]
pub struct Records<'a> {
    consumer: &'a mut Consumer,
    /// What was handed out by the consumer, and not by this.
    waiting: std::vec::IntoIter<ConsumerRecord>,
    /// Behind the last record.
    last: Option<(TopicPartition, Position)>,
}

impl Records<'_> {
    /// The next record. Can be cancelled without losing anything.
    pub async fn record(&mut self) -> Result<ConsumerRecord, ConsumerError> {
        if let Some(record) = self.take() {
            return Ok(record);
        }
        loop {
            if let ConsumerEvent::Records(records) = self.consumer.next().await? {
                self.waiting = records.into_iter();
                if let Some(record) = self.take() {
                    return Ok(record);
                }
            }
        }
    }

    /// Commits where all partitions are: after everything that this stream has given. Tries again until
    /// `default.api.timeout.ms` are over.
    pub async fn commit(&mut self) -> Result<(), ConsumerError> {
        let offsets = self.positions();
        self.consumer.commit_offsets(offsets).await
    }

    /// Where all partitions are: after everything that this stream has given.
    pub fn positions(&self) -> BTreeMap<TopicPartition, CommittedOffset> {
        let mut positions = self.consumer.positions();
        for (partition, position) in self.unread() {
            let position = match &self.last {
                Some((last, behind)) if last == partition => *behind,
                _ => position,
            };
            positions.insert(partition.clone(), position.into());
        }
        positions
    }

    /// What it reads from.
    pub fn consumer(&self) -> &Consumer {
        self.consumer
    }

    fn take(&mut self) -> Option<ConsumerRecord> {
        let record = self.waiting.next()?;
        match &mut self.last {
            Some((partition, position)) if *partition == record.topic_partition => {
                *position = record.next_position()
            }
            last => *last = Some((record.topic_partition.clone(), record.next_position())),
        }
        Some(record)
    }

    /// Where those partitions go on of which records wait here.
    fn unread(&self) -> BTreeMap<&TopicPartition, Position> {
        let mut first = BTreeMap::new();
        for record in self.waiting.as_slice() {
            first.entry(&record.topic_partition).or_insert(Position::at(record.offset));
        }
        first
    }
}

impl Stream for Records<'_> {
    type Item = Result<ConsumerRecord, ConsumerError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(record) = this.take() {
                return Poll::Ready(Some(Ok(record)));
            }
            match ready!(this.consumer.poll_event(cx)) {
                Ok(ConsumerEvent::Records(records)) => this.waiting = records.into_iter(),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl Drop for Records<'_> {
    fn drop(&mut self) {
        let unread = self.unread().into_iter().map(|(partition, position)| (partition.clone(), position));
        for (partition, position) in unread.collect::<Vec<_>>() {
            // It may not be this consumer's any more.
            let _ = self.consumer.seek(&partition, position.offset);
        }
    }
}
