//! A transactional producer's requests to coordinators, one attempt each, and what is told of its transaction.

use ottla_wire::Request;

use super::{Driver, Event};
use crate::client::{Client, SendOptions, Target};
use crate::error::ClientError;
use crate::producer::core::lane::Identity;
use crate::producer::core::transactions::{Asking, Step, wire};

impl Driver {
    pub(super) fn ask(&self, asking: Asking) {
        let Some(transactional) = &self.transactional else { return };
        let (client, told) = (self.client.clone(), self.told.clone());
        let id = transactional.id.to_string();
        let timeout_ms = i32::try_from(transactional.timeout_ms).unwrap_or(i32::MAX);
        tokio::spawn(async move {
            let result = ask(&client, &id, timeout_ms, &asking).await;
            let _ = told.send(Event::StepAnswered(result));
        });
    }

    /// Tells those who wait for offsets, and for the transaction.
    pub(super) fn tell(&mut self) {
        for (ticket, result) in self.sender.take_offsets_answers() {
            if let Some(done) = self.offsets.remove(&ticket) {
                // Nobody may wait for it.
                let _ = done.send(result);
            }
        }
        if let (Some(transactional), Some(status)) = (&self.transactional, self.sender.transaction()) {
            transactional.status.send_if_modified(|known| {
                let is_news = *known != status;
                if is_news {
                    *known = status;
                }
                is_news
            });
        }
    }
}

/// One attempt.
async fn ask(
    client: &Client,
    id: &str,
    timeout_ms: i32,
    asking: &Asking,
) -> Result<Option<Identity>, ClientError> {
    let coordinator = Target::transaction(id);
    let level = asking.level;
    match &asking.step {
        Step::Init(identity) => {
            let request = |_| wire::init(id, timeout_ms, *identity);
            let answer = send(client, coordinator.clone(), None, request).await?;
            heard(client, &coordinator, wire::read_init(&answer))
        }
        Step::AddPartitions(lanes) => {
            let request = |_| wire::add_partitions(id, asking, lanes);
            let version_max = Some(wire::ADD_PARTITIONS_VERSION_MAX);
            let answer = send(client, coordinator.clone(), version_max, request).await?;
            heard(client, &coordinator, wire::read_add_partitions(&answer))
        }
        Step::AddOffsets(group) => {
            let request = |_| wire::add_offsets(id, asking, group);
            let answer = send(client, coordinator.clone(), None, request).await?;
            heard(client, &coordinator, wire::read_add_offsets(&answer))
        }
        Step::CommitOffsets(offsets) => {
            let group = Target::group(&offsets.group.group_id);
            let request = |_| wire::commit_offsets(id, asking, offsets);
            let answer = send(client, group.clone(), level.commit_offsets_version_max(), request).await?;
            heard(client, &group, wire::read_commit_offsets(&answer))
        }
        Step::End { is_committed } => {
            let request = |_| wire::end(id, asking, *is_committed);
            let answer = send(client, coordinator.clone(), level.end_version_max(), request).await?;
            heard(client, &coordinator, wire::read_end(&answer))
        }
    }
}

async fn send<R: Request>(
    client: &Client,
    target: Target,
    version_max: Option<i16>,
    request: impl FnOnce(i16) -> R,
) -> Result<R::Response, ClientError> {
    let options = SendOptions { version_max, ..SendOptions::default() };
    match client.send_with(target.clone(), options, request).await {
        Ok(answer) => Ok(answer.response),
        Err(error) => heard(client, &target, Err(error)),
    }
}

/// The coordinator may have moved.
fn heard<T>(client: &Client, target: &Target, result: Result<T, ClientError>) -> Result<T, ClientError> {
    if let Err(error) = &result {
        client.learn_from(target, error);
    }
    result
}
