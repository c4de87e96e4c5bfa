//! Requests to the cluster: one attempt ([`Client::send`]), or as many as it takes ([`Client::call`]).
//!
//! The retry policy is here and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use ottla_types::NodeId;
use ottla_wire::messages::FindCoordinatorRequest;
use ottla_wire::{ErrorCode, Request};
use tokio::time::Instant;
use tracing::Instrument;

use super::{Client, Target};
use crate::cluster::CoordinatorKind;
use crate::error::ClientError;
use crate::net::{Lane, Link};

/// How one request is sent, where it isn't as usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOptions {
    /// In place of `request.timeout.ms`.
    pub timeout_ms: Option<u64>,
    /// No newer version is used.
    pub version_max: Option<i16>,
    /// In place of the one that the target has: group coordinators are asked over a connection of their own, and fetches
    /// have one, so that nothing of the same client waits behind them.
    pub lane: Option<Lane>,
}

/// An answer, the version it was given in, and who gave it.
#[derive(Clone, Debug)]
pub struct Answer<R> {
    pub response: R,
    pub version: i16,
    /// `None`: a bootstrap server whose id is not known.
    pub node: Option<NodeId>,
}

impl Client {
    /// One attempt, in the newest version that both sides have. Connects first if need be; everything together may
    /// take `request.timeout.ms`. Error codes in the answer are for the caller to read.
    pub async fn send<R: Request>(&self, target: Target, request: &R) -> Result<R::Response, ClientError> {
        self.send_over(None, target, request).await
    }

    /// As [`Client::send`], for a request that waits at the broker until there is something to answer.
    pub(crate) async fn send_long_poll<R: Request>(
        &self,
        node: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.send_over(Some(Lane::LongPoll), Target::Node(node), request).await
    }

    async fn send_over<R: Request>(
        &self,
        lane: Option<Lane>,
        target: Target,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let (timeout, deadline) = self.times(None);
        let (_, link) = self.link(&target, lane, deadline).await?;
        let version = link.choose::<R>(None)?;
        link.ask(request, version, timeout).await
    }

    /// As [`Client::send`], for a request that differs with its version.
    pub async fn send_with<R: Request>(
        &self,
        target: Target,
        options: SendOptions,
        request: impl FnOnce(i16) -> R,
    ) -> Result<Answer<R::Response>, ClientError> {
        let (timeout, deadline) = self.times(options.timeout_ms);
        let (node, link) = self.link(&target, options.lane, deadline).await?;
        let version = link.choose::<R>(options.version_max)?;
        let response = link.ask(&request(version), version, timeout).await?;
        Ok(Answer { response, version, node })
    }

    /// Sends until there is an answer that is not to be retried, or `timeout_ms` are over: waits `retry.backoff.ms` and
    /// longer in between, asks for metadata or the coordinator anew where the error says so. `code` finds the error code in
    /// the answer; an answer with a code that can't be retried is returned as it is.
    pub async fn call<R: Request>(
        &self,
        target: Target,
        timeout_ms: u64,
        request: impl Fn(i16) -> R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<Answer<R::Response>, ClientError> {
        self.call_up_to(None, target, timeout_ms, request, code).await
    }

    /// As [`Client::call`], in no newer version than `version_max`.
    pub(crate) async fn call_up_to<R: Request>(
        &self,
        version_max: Option<i16>,
        target: Target,
        timeout_ms: u64,
        request: impl Fn(i16) -> R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<Answer<R::Response>, ClientError> {
        let span = tracing::debug_span!("call", api = R::API_KEY.name(), ?target, timeout_ms);
        self.attempts(version_max, target, timeout_ms, request, code).instrument(span).await
    }

    async fn attempts<R: Request>(
        &self,
        version_max: Option<i16>,
        target: Target,
        timeout_ms: u64,
        request: impl Fn(i16) -> R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<Answer<R::Response>, ClientError> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let mut waits = self.settings().retry_backoff();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let options = SendOptions {
                timeout_ms: Some(left_ms.min(self.settings().request_timeout_ms)),
                version_max,
                ..SendOptions::default()
            };
            let error = match self.send_with(target.clone(), options, &request).await {
                Ok(answer) => match code(&answer.response) {
                    code if code.is_error() && code.is_retriable() => {
                        ClientError::broker(code, None, R::API_KEY.name())
                    }
                    _ => return Ok(answer),
                },
                Err(error) => error,
            };
            self.learn_from(&target, &error);
            if !error.is_retriable() {
                return Err(error);
            }
            let wait = Duration::from_millis(waits.failed(rand::random()));
            if Instant::now() + wait >= deadline {
                return Err(ClientError::TimedOut {
                    what: R::API_KEY.name().into(),
                    timeout_ms,
                    is_sent: error.is_possibly_written(),
                    last: Some(Arc::new(error)),
                });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// What an error says about the picture that this client has of the cluster.
    pub(crate) fn learn_from(&self, target: &Target, error: &ClientError) {
        if error.needs_metadata() || error.code() == Some(ErrorCode::NotController) {
            self.refresh_soon();
        }
        let is_lost = matches!(
            error,
            ClientError::Disconnected { .. } | ClientError::TimedOut { .. } | ClientError::UnknownNode(_)
        );
        let is_elsewhere =
            matches!(error.code(), Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable));
        if let Target::Coordinator(kind, key) = target
            && (is_lost || is_elsewhere)
        {
            self.forget_coordinator(*kind, key);
        }
    }

    fn times(&self, timeout_ms: Option<u64>) -> (Duration, Instant) {
        let timeout = Duration::from_millis(timeout_ms.unwrap_or(self.settings().request_timeout_ms));
        (timeout, Instant::now() + timeout)
    }

    /// The connection to a target.
    pub(crate) async fn link(
        &self,
        target: &Target,
        lane: Option<Lane>,
        deadline: Instant,
    ) -> Result<(Option<NodeId>, Arc<Link>), ClientError> {
        let metadata = self.metadata();
        let (id, usual) = match target {
            Target::AnyNode => return self.inner.pool.any(&metadata, false, deadline).await,
            Target::Controller => match metadata.controller() {
                Some(id) if metadata.brokers().contains_key(&id) => (id, Lane::Main),
                _ => return self.inner.pool.any(&metadata, false, deadline).await,
            },
            Target::Node(id) => (*id, Lane::Main),
            Target::Coordinator(kind, key) => {
                let usual = match kind {
                    CoordinatorKind::Group => Lane::Coordination,
                    CoordinatorKind::Transaction | CoordinatorKind::Share => Lane::Main,
                };
                (self.find_coordinator(*kind, key, deadline).await?, usual)
            }
        };
        // Finding a coordinator may have brought news.
        let node = self.inner.pool.node(&self.metadata(), id, lane.unwrap_or(usual))?;
        Ok((Some(id), node.connected(deadline).await?))
    }

    pub(super) async fn find_coordinator(
        &self,
        kind: CoordinatorKind,
        key: &Arc<str>,
        deadline: Instant,
    ) -> Result<NodeId, ClientError> {
        if let Some(known) = self.inner.coordinators.lock().get(kind, key) {
            return Ok(known);
        }
        let (_, link) = self.inner.pool.any(&self.metadata(), false, deadline).await?;
        let version = link.choose::<FindCoordinatorRequest>(None)?;
        let request = find_coordinator_request(kind, key, version);
        let timeout = deadline.saturating_duration_since(Instant::now());
        let answer = link.ask(&request, version, timeout).await?;
        let (code, message, id) = match answer.coordinators.into_iter().next() {
            Some(found) => (found.error_code, found.error_message, found.node_id),
            None => (answer.error_code, answer.error_message, answer.node_id),
        };
        let code = ErrorCode::from_answer(code);
        if code.is_error() {
            let what = format!("finding the coordinator of {kind:?} {key}");
            return Err(ClientError::broker(code, message, what));
        }
        let id = NodeId(id);
        if !self.metadata().brokers().contains_key(&id) {
            // A broker that has just come is in the picture that others have.
            self.refresh_within(super::Topics::Nothing, self.settings().request_timeout_ms).await?;
        }
        self.inner.coordinators.lock().found(kind, key, id);
        Ok(id)
    }
}

fn find_coordinator_request(kind: CoordinatorKind, key: &str, version: i16) -> FindCoordinatorRequest {
    /// The first version that asks for several at once.
    const BATCHED_SINCE: i16 = 4;
    let mut request = FindCoordinatorRequest { key_type: kind as i8, ..FindCoordinatorRequest::default() };
    if version >= BATCHED_SINCE {
        request.coordinator_keys = vec![key.to_owned()];
    } else {
        request.key = key.to_owned();
    }
    request
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use ottla_wire::ApiKey;
    use ottla_wire::messages::ListGroupsRequest;
    use parking_lot::Mutex;
    use tracing_subscriber::fmt::format::FmtSpan;

    use super::*;
    use crate::effects::{Fake, Fate};
    use crate::{ClientSettings, Target};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_has_a_span_within_that_of_the_call() {
        let fake = Fake::new();
        let mut asked = 0;
        fake.on_request(move |seen| {
            asked += usize::from(seen.api == ApiKey::ListGroups);
            let is_first = seen.api == ApiKey::ListGroups && asked == 1;
            if is_first { Fate::Refused(ErrorCode::CoordinatorLoadInProgress) } else { Fate::Answered }
        });
        let settings =
            ClientSettings { connector: Some(Arc::new(fake.clone())), ..ClientSettings::new("boot:9092") };
        let client = Client::connect(settings).await.unwrap();
        let written = Written::default();
        let into = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || into.clone())
            .finish();
        let told = tracing::subscriber::set_default(subscriber);
        let code =
            |answer: &ottla_wire::messages::ListGroupsResponse| ErrorCode::from_answer(answer.error_code);
        client.call(Target::AnyNode, 10_000, |_| ListGroupsRequest::default(), code).await.unwrap();
        drop(told);
        let lines = String::from_utf8(written.0.lock().clone()).unwrap();
        let closed =
            |span: &str| lines.lines().filter(|line| line.contains("close") && line.contains(span)).count();
        assert_eq!(
            closed("call{api=\"ListGroups\" target=AnyNode timeout_ms=10000}:request{api=\"ListGroups\""),
            2,
            "{lines}"
        );
        assert_eq!(closed("call{api=\"ListGroups\""), 3, "{lines}");
    }
}
