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
