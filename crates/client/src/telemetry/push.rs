//! The task that asks which metrics are wanted, and sends them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_record::Compression;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{GetTelemetrySubscriptionsRequest, PushTelemetryRequest};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::core::{Action, Subscription, Telemetry};
use super::metrics::{Kind, Told};
use super::otlp::{Times, metrics_data};
use crate::client::{Client, Target};
use crate::error::ClientError;

/// The task of one client. It ends when this is dropped, without a word; [`Reporter::close`] has it tell what is left first.
#[derive(Debug)]
pub(crate) struct Reporter {
    closing: Arc<Notify>,
    ended: watch::Receiver<bool>,
    task: AbortHandle,
}

impl Reporter {
    /// None, if the client's settings don't want it, or another one does it.
    pub fn start(client: &Client, kind: Kind) -> Option<Reporter> {
        let by_default = kind != Kind::Admin;
        if !client.settings().enable_metrics_push.unwrap_or(by_default) || !client.is_to_be_reported() {
            return None;
        }
        let closing = Arc::new(Notify::new());
        let (tells_end, ended) = watch::channel(false);
        let pushing = Pushing {
            telemetry: Telemetry::new(client.clock().mono()),
            client: client.clone(),
            kind,
            told: Told::default(),
            began_ns: wall_ns(),
            told_at: (wall_ns(), Instant::now()),
        };
        let close = Arc::clone(&closing);
        let task = tokio::spawn(async move {
            pushing.run(&close).await;
            tells_end.send_replace(true);
        });
        Some(Reporter { closing, ended, task: task.abort_handle() })
    }

    /// Has the client's last metrics told, if any were asked for; returns when they are, or the time is over.
    pub async fn close(&self, deadline: Instant) {
        self.closing.notify_one();
        let mut ended = self.ended.clone();
        // Nobody waits for metrics any longer than for what the client is there for.
        let _ = tokio::time::timeout_at(deadline, ended.wait_for(|ended| *ended)).await;
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Pushing {
    client: Client,
    kind: Kind,
    telemetry: Telemetry,
    told: Told,
    /// When the client began, in nanoseconds since 1970.
    began_ns: u64,
    /// When metrics were told last.
    told_at: (u64, Instant),
}

impl Pushing {
    async fn run(mut self, closing: &Notify) {
        // Where nothing else is to be done, nobody is connected to for this.
        let mut changed = self.client.metadata_changed();
        while self.client.metadata().brokers().is_empty() {
            tokio::select! {
                changed = changed.changed() => if changed.is_err() { return },
                () = closing.notified() => return,
            }
        }
        while !self.telemetry.is_ended() {
            let now = self.client.clock().mono();
            if let Some(action) = self.telemetry.act(now) {
                self.act(action, closing).await;
                continue;
            }
            let Some(due) = self.telemetry.due() else { return };
            let due = self.client.clock().instant(due);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = closing.notified() => self.telemetry.close(self.client.clock().mono()),
            }
        }
    }

    /// Closing doesn't cut off what is under way, but is known when it is done.
    async fn act(&mut self, action: Action, closing: &Notify) {
        match action {
            Action::Subscribe(client_instance_id) => {
                let request = GetTelemetrySubscriptionsRequest { client_instance_id, ..Default::default() };
                let asking = self.client.send(Target::AnyNode, &request);
                tokio::pin!(asking);
                let result = tokio::select! {
                    result = &mut asking => result,
                    () = closing.notified() => {
                        self.telemetry.close(self.client.clock().mono());
                        asking.await
                    }
                };
                self.telemetry.subscribed(result, self.client.clock().mono(), rand::random());
            }
            Action::Push { subscription, is_terminating } => {
                let result = self.push(&subscription, is_terminating).await;
                self.telemetry.pushed(result, self.client.clock().mono());
            }
        }
    }

    async fn push(
        &mut self,
        subscription: &Subscription,
        is_terminating: bool,
    ) -> Result<ErrorCode, ClientError> {
        let (metrics, compression_type) = self.metrics(subscription);
        if metrics.len() > subscription.bytes_max {
            // Nobody would take it; the next time there may be less.
            return Ok(ErrorCode::TelemetryTooLarge);
        }
        let request = PushTelemetryRequest {
            client_instance_id: subscription.client_instance_id,
            subscription_id: subscription.subscription_id,
            terminating: is_terminating,
            compression_type,
            metrics,
            ..Default::default()
        };
        let answer = self.client.send(Target::AnyNode, &request).await?;
        Ok(ErrorCode::from_answer(answer.error_code))
    }

    /// As they are sent, with the compression's number.
    fn metrics(&mut self, subscription: &Subscription) -> (Bytes, i8) {
        let (before_ns, before) = self.told_at;
        let elapsed_s = before.elapsed().as_secs_f64();
        self.told_at = (wall_ns(), Instant::now());
        let Subscription { requested, is_delta, codec, .. } = subscription;
        let points = self.client.metrics().points(self.kind, requested, *is_delta, elapsed_s, &mut self.told);
        let start_ns = if *is_delta { before_ns } else { self.began_ns };
        let data = metrics_data(&points, *is_delta, Times { start_ns, now_ns: self.told_at.0 });
        let mut compressed = Vec::new();
        match Compression::new(*codec).compress(&data, &mut compressed) {
            Ok(()) => (compressed.into(), i8::try_from(codec.id()).unwrap_or(0)),
            Err(_) => (data.into(), 0),
        }
    }
}

fn wall_ns() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    u64::try_from(wall).unwrap_or(u64::MAX)
}
