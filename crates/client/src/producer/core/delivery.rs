//! What became of records: all records of a batch share one place where the answer is put.
//!
//! So a record costs a reference and a number, and nothing is allocated for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ottla_types::{Offset, Timestamp};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use crate::error::ClientError;

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    pub topic: Arc<str>,
    pub partition: i32,
    /// [`Offset::UNKNOWN`] with `acks=0`, and where the broker knows only that the record was written before.
    pub offset: Offset,
    /// The record's own, or when it was appended, where the topic says so.
    pub timestamp: Timestamp,
}

/// The answer that all records of a batch wait for.
#[derive(Debug)]
pub(crate) struct Deliveries {
    topic: Arc<str>,
    partition: i32,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting(Vec<Waker>),
    Done(Outcome),
    /// The batch was too large and became several: with the first record of each, in order.
    Split(Vec<(u32, Arc<Deliveries>)>),
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Written {
        base_offset: Offset,
        log_append_time: Option<Timestamp>,
    },
    Failed(ClientError),
    /// The broker named the records that are wrong; the others were not written either.
    Refused {
        code: ErrorCode,
        what: Arc<str>,
        records: Arc<[(i32, Option<String>)]>,
    },
}

impl Deliveries {
    pub fn new(topic: Arc<str>, partition: i32) -> Arc<Deliveries> {
        Arc::new(Deliveries { topic, partition, state: Mutex::new(State::Waiting(Vec::new())) })
    }

    /// Only the first answer counts: what has timed out stays so.
    pub fn complete(&self, outcome: Outcome) -> bool {
        self.end(State::Done(outcome))
    }

    pub fn split(&self, parts: Vec<(u32, Arc<Deliveries>)>) {
        self.end(State::Split(parts));
    }

    #[cfg(test)]
    pub fn is_done(&self) -> bool {
        matches!(*self.state.lock(), State::Done(_))
    }

    fn end(&self, end: State) -> bool {
        let mut state = self.state.lock();
        let State::Waiting(wakers) = &mut *state else { return false };
        let wakers = std::mem::take(wakers);
        *state = end;
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        true
    }
}

/// A record's answer from the broker, to be awaited. It may be dropped: the record is sent all the same.
#[derive(Debug)]
#[must_use = "whether the record was written is known only when this has been awaited"]
pub struct Delivery {
    deliveries: Arc<Deliveries>,
    /// The record's place in the batch.
    index: u32,
    timestamp: Timestamp,
    /// Where this one's waker stands among the batch's.
    waker: Option<usize>,
}

impl Delivery {
    pub(crate) fn new(deliveries: Arc<Deliveries>, index: u32, timestamp: Timestamp) -> Delivery {
        Delivery { deliveries, index, timestamp, waker: None }
    }

    /// Where the record goes.
    pub(crate) fn place(&self) -> (Arc<str>, i32) {
        (Arc::clone(&self.deliveries.topic), self.deliveries.partition)
    }

    /// The same answer, for somebody else.
    pub(crate) fn another(&self) -> Delivery {
        Delivery::new(Arc::clone(&self.deliveries), self.index, self.timestamp)
    }

    /// The answer, if it is there.
    pub fn peek(&self) -> Option<Result<RecordMetadata, ClientError>> {
        let (mut deliveries, mut index) = (Arc::clone(&self.deliveries), self.index);
        loop {
            let next = match &*deliveries.state.lock() {
                State::Waiting(_) => return None,
                State::Done(outcome) => return Some(self.result(&deliveries, index, outcome)),
                State::Split(parts) => part_of(parts, index)?,
            };
            (deliveries, index) = next;
        }
    }

    fn result(
        &self,
        deliveries: &Deliveries,
        index: u32,
        outcome: &Outcome,
    ) -> Result<RecordMetadata, ClientError> {
        match outcome {
            Outcome::Written { base_offset, log_append_time } => Ok(RecordMetadata {
                topic: Arc::clone(&deliveries.topic),
                partition: deliveries.partition,
                offset: match *base_offset {
                    Offset::UNKNOWN => Offset::UNKNOWN,
                    base => base + i64::from(index),
                },
                timestamp: log_append_time.unwrap_or(self.timestamp),
            }),
            Outcome::Failed(error) => Err(error.clone()),
            Outcome::Refused { code, what, records } => Err(refusal(*code, what, records, index)),
        }
    }
}

/// What a record is told whose batch had records that are wrong.
fn refusal(code: ErrorCode, what: &Arc<str>, records: &[(i32, Option<String>)], index: u32) -> ClientError {
    let own = records.iter().find(|(wrong, _)| u32::try_from(*wrong) == Ok(index));
    match own {
        Some((_, message)) => {
            // With several, the batch's code need not be this one's.
            let code = if records.len() == 1 { code } else { ErrorCode::InvalidRecord };
            ClientError::broker(code, message.clone(), Arc::clone(what))
        }
        None => {
            let why = "not written, for other records of its batch were refused".to_owned();
            ClientError::broker(ErrorCode::InvalidRecord, Some(why), Arc::clone(what))
        }
    }
}

fn part_of(parts: &[(u32, Arc<Deliveries>)], index: u32) -> Option<(Arc<Deliveries>, u32)> {
    let (first, part) = parts.iter().rev().find(|(first, _)| *first <= index)?;
    Some((Arc::clone(part), index - first))
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let deliveries = Arc::clone(&this.deliveries);
            let mut state = deliveries.state.lock();
            match &mut *state {
                State::Waiting(wakers) => {
                    match this.waker.and_then(|place| wakers.get_mut(place)) {
                        Some(waker) => waker.clone_from(context.waker()),
                        None => {
                            this.waker = Some(wakers.len());
                            wakers.push(context.waker().clone());
                        }
                    }
                    return Poll::Pending;
                }
                State::Done(outcome) => return Poll::Ready(this.result(&deliveries, this.index, outcome)),
                State::Split(parts) => {
                    let Some((part, index)) = part_of(parts, this.index) else {
                        return Poll::Ready(Err(ClientError::Closed));
                    };
                    (this.deliveries, this.index, this.waker) = (part, index, None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(deliveries: &Arc<Deliveries>, index: u32) -> Delivery {
        Delivery::new(Arc::clone(deliveries), index, Timestamp(5))
    }

    fn written(base_offset: i64) -> Outcome {
        Outcome::Written { base_offset: Offset(base_offset), log_append_time: None }
    }

    #[test]
    fn records_have_the_offsets_behind_their_batchs() {
        let deliveries = Deliveries::new("t".into(), 3);
        let third = delivery(&deliveries, 2);
        assert!(third.peek().is_none() && !deliveries.is_done());
        assert!(deliveries.complete(written(100)));
        assert!(!deliveries.complete(Outcome::Failed(ClientError::Closed)), "the first answer counts");
        let metadata = third.peek().unwrap().unwrap();
        assert_eq!((&*metadata.topic, metadata.partition), ("t", 3));
        assert_eq!((metadata.offset, metadata.timestamp), (Offset(102), Timestamp(5)));
    }

    #[test]
    fn records_follow_the_parts_of_their_batch() {
        let deliveries = Deliveries::new("t".into(), 0);
        let mut records: Vec<Delivery> = (0..5).map(|index| delivery(&deliveries, index)).collect();
        let mut context = Context::from_waker(Waker::noop());
        assert!(records.iter_mut().all(|record| Pin::new(record).poll(&mut context).is_pending()));
        let parts = [Deliveries::new("t".into(), 0), Deliveries::new("t".into(), 0)];
        deliveries.split(vec![(0, Arc::clone(&parts[0])), (3, Arc::clone(&parts[1]))]);
        parts[0].complete(written(10));
        parts[1].complete(Outcome::Failed(ClientError::Closed));
        let answers: Vec<_> = records
            .iter_mut()
            .map(|record| match Pin::new(record).poll(&mut context) {
                Poll::Ready(answer) => answer.map(|metadata| metadata.offset.0),
                Poll::Pending => panic!("it is there"),
            })
            .collect();
        let closed = || Err(ClientError::Closed);
        assert_eq!(answers, [Ok(10), Ok(11), Ok(12), closed(), closed()]);
    }

    #[test]
    fn each_record_hears_what_was_wrong_with_it() {
        let refused = |records: Vec<(i32, Option<String>)>| Outcome::Refused {
            code: ErrorCode::InvalidTimestamp,
            what: "writing".into(),
            records: records.into(),
        };
        for (records, expected) in [
            (
                vec![(1, Some("too old".to_owned()))],
                ["INVALID_RECORD: not written", "INVALID_TIMESTAMP: too old"],
            ),
            (
                vec![(0, Some("a".to_owned())), (1, Some("b".to_owned()))],
                ["INVALID_RECORD: a", "INVALID_RECORD: b"],
            ),
        ] {
            let deliveries = Deliveries::new("t".into(), 0);
            deliveries.complete(refused(records));
            for (index, expected) in (0..).zip(expected) {
                let error = delivery(&deliveries, index).peek().unwrap().unwrap_err().to_string();
                assert!(error.starts_with(&format!("writing: {expected}")), "{error}");
            }
        }
    }
}
