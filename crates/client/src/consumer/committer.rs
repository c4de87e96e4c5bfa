//! Commits of what is done: one rule for all that commit while they work.
//!
//! One commit is under way at a time. Whatever was not committed counts as not committed: it goes with the next one, whether there
//! was no place for it, the coordinator refused it, or its answer was lost. Only what no later commit can mend is an error.

use super::commits::{CommitLater, Offsets};
use super::error::ConsumerError;
use super::owner::Consumer;

/// What knows what is done.
pub(super) trait Done {
    /// What is done and was not taken before.
    fn take(&mut self) -> Offsets;

    /// What was taken is not committed for certain.
    fn take_back(&mut self);
}

/// The one commit that is under way.
#[derive(Debug, Default)]
pub(super) struct Committer {
    under_way: Option<CommitLater>,
}

impl Committer {
    /// Commits what is done without waiting for it; if a commit is under way, that is left for the next one.
    pub fn begin(&mut self, consumer: &mut Consumer, done: &mut impl Done) {
        if self.under_way.is_some() {
            return;
        }
        let offsets = done.take();
        if offsets.is_empty() {
            return;
        }
        match consumer.commit_offsets_later(offsets) {
            Ok(commit) => self.under_way = Some(commit),
            Err(error) => {
                tracing::warn!(%error, "offsets were not committed");
                done.take_back();
            }
        }
    }

    /// The end of the commit that is under way, for [`Committer::ended`]; never, if there is none. Can be cancelled.
    pub async fn end(&mut self) -> Result<(), ConsumerError> {
        match &mut self.under_way {
            Some(commit) => commit.await,
            None => std::future::pending().await,
        }
    }

    /// What came of it.
    pub fn ended(
        &mut self,
        result: Result<(), ConsumerError>,
        done: &mut impl Done,
    ) -> Result<(), ConsumerError> {
        self.under_way = None;
        let Err(error) = result else { return Ok(()) };
        done.take_back();
        tracing::warn!(%error, "offsets were not committed");
        if error.is_retriable() { Ok(()) } else { Err(error) }
    }

    /// Waits for the commit that is under way, then commits all that is done.
    pub async fn finish(
        &mut self,
        consumer: &mut Consumer,
        done: &mut impl Done,
    ) -> Result<(), ConsumerError> {
        if let Some(earlier) = self.under_way.take()
            && earlier.await.is_err()
        {
            done.take_back();
        }
        let offsets = done.take();
        if offsets.is_empty() {
            return Ok(());
        }
        let result = consumer.commit_offsets(offsets).await;
        if result.is_err() {
            done.take_back();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use ottla_wire::messages::OffsetCommitRequest;
    use ottla_wire::{ApiKey, ErrorCode};

    use crate::consumer::tests::member_of;
    use crate::consumer::{Consumer, ConsumerError, Processing, ProcessingError};
    use crate::effects::{Fake, Fate};

    const RECORDS: usize = 5;

    /// For so long commits are refused: longer than one is tried.
    const REFUSED_MS: u64 = 5_000;
    const TRIED_MS: u64 = 1_000;

    /// A cluster that refuses commits at first, and a member of a group.
    async fn refused_with(code: ErrorCode) -> (Fake, Consumer) {
        let fake = Fake::new();
        fake.topic("t", 1);
        fake.load("t", 0, RECORDS);
        let mut began_ms = None;
        fake.on_request(move |seen| match seen.api {
            ApiKey::OffsetCommit if seen.at_ms < *began_ms.get_or_insert(seen.at_ms) + REFUSED_MS => {
                Fate::Refused(code)
            }
            _ => Fate::Answered,
        });
        let mut settings = member_of(&fake);
        settings.client.default_api_timeout_ms = TRIED_MS;
        let mut consumer = Consumer::connect(settings).await.unwrap();
        consumer.subscribe(["t"]).unwrap();
        (fake, consumer)
    }

    fn committed(fake: &Fake) -> Vec<i64> {
        let offset = |request: OffsetCommitRequest| request.topics[0].partitions[0].committed_offset;
        fake.seen(ApiKey::OffsetCommit).iter().map(|seen| offset(seen.read())).collect()
    }

    /// Until a commit is taken.
    async fn process(fake: &Fake, consumer: &mut Consumer) -> Result<(), ProcessingError<io::Error>> {
        let stop = async {
            let begun = fake.until_seen(ApiKey::OffsetCommit, 1).await;
            while fake.seen(ApiKey::OffsetCommit).last().unwrap().at_ms < begun[0].at_ms + REFUSED_MS {
                assert!(fake.now_ms() < 1_000 * REFUSED_MS, "nobody commits any more");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let processing = Processing { commit_interval: Duration::from_millis(100), ..Processing::default() };
        consumer.process(processing, |_| async { Ok(()) }, stop).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_refused_commit_had_goes_with_the_next_one() {
        let (fake, mut consumer) = refused_with(ErrorCode::CoordinatorLoadInProgress).await;
        process(&fake, &mut consumer).await.unwrap();
        let committed = committed(&fake);
        // Nothing else was done in between.
        assert!(committed.iter().all(|offset| *offset == RECORDS as i64), "{committed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_later_commit_can_mend_is_an_error() {
        let (fake, mut consumer) = refused_with(ErrorCode::GroupAuthorizationFailed).await;
        let error = process(&fake, &mut consumer).await.unwrap_err();
        let code = match &error {
            ProcessingError::Consumer(ConsumerError::Client(error)) => error.code(),
            ProcessingError::Consumer(ConsumerError::NotCommitted { code, .. }) => Some(*code),
            other => panic!("{other:?}"),
        };
        assert_eq!(code, Some(ErrorCode::GroupAuthorizationFailed));
        // What was done is committed all the same, before it is given up.
        assert_eq!(committed(&fake).last(), Some(&(RECORDS as i64)));
    }
}
