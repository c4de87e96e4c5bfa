//! When a client asks which of its metrics the cluster wants, and when it tells them (KIP-714).
//!
//! A state machine without clock or randomness. What always holds: one request is under way at a time, nothing is told that nobody
//! has asked for, and the terminating push is the last.

use ottla_record::Codec;
use ottla_types::{MonoMs, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::GetTelemetrySubscriptionsResponse;

use crate::error::ClientError;

/// Where nothing else is known of how long to wait, as in Kafka.
const USUAL_INTERVAL_MS: u64 = 5 * 60 * 1000;

/// What the cluster wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub client_instance_id: Uuid,
    pub subscription_id: i32,
    /// The first of those that brokers take and this client has.
    pub codec: Codec,
    pub interval_ms: u64,
    /// Of what is sent, compressed.
    pub bytes_max: usize,
    pub is_delta: bool,
    /// Prefixes of names.
    pub requested: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask for the subscription of the client with this id, which is zero before the cluster has given one.
    Subscribe(Uuid),
    /// Tell the metrics, for the last time if `is_terminating`.
    Push { subscription: Subscription, is_terminating: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SubscribeAt(MonoMs),
    Subscribing,
    PushAt(MonoMs),
    Pushing { is_terminating: bool },
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Telemetry {
    state: State,
    client_instance_id: Uuid,
    subscription: Option<Subscription>,
    is_closing: bool,
}

impl Telemetry {
    pub fn new(now: MonoMs) -> Telemetry {
        Telemetry {
            state: State::SubscribeAt(now),
            client_instance_id: Uuid::ZERO,
            subscription: None,
            is_closing: false,
        }
    }

    /// When there is something to be done; none while an answer is waited for, and once there never will be.
    pub fn due(&self) -> Option<MonoMs> {
        match self.state {
            State::SubscribeAt(at) | State::PushAt(at) => Some(at),
            State::Subscribing | State::Pushing { .. } | State::Ended => None,
        }
    }

    /// Nothing more is ever done.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// What is due.
    pub fn act(&mut self, now: MonoMs) -> Option<Action> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        match (&self.state, &self.subscription) {
            (State::PushAt(_), Some(subscription)) => {
                let is_terminating = self.is_closing;
                self.state = State::Pushing { is_terminating };
                Some(Action::Push { subscription: subscription.clone(), is_terminating })
            }
            _ => {
                self.state = State::Subscribing;
                Some(Action::Subscribe(self.client_instance_id))
            }
        }
    }

    /// `random` is from 0 to 1: clients that began together don't tell all at the same time.
    pub fn subscribed(
        &mut self,
        result: Result<GetTelemetrySubscriptionsResponse, ClientError>,
        now: MonoMs,
        random: f64,
    ) {
        if self.state != State::Subscribing {
            return;
        }
        let result = result.and_then(|answer| match ErrorCode::from_answer(answer.error_code) {
            ErrorCode::None => Ok(answer),
            code => Err(ClientError::broker(code, None, "asking which metrics are wanted")),
        });
        if self.is_closing {
            self.state = State::Ended;
            return;
        }
        match result {
            Ok(answer) => self.take_up(answer, now, random),
            Err(error) if is_hopeless(&error) => self.end(&error),
            Err(_) => self.state = State::SubscribeAt(after(now, USUAL_INTERVAL_MS)),
        }
    }

    fn take_up(&mut self, answer: GetTelemetrySubscriptionsResponse, now: MonoMs, random: f64) {
        let interval_ms =
            u64::try_from(answer.push_interval_ms).ok().filter(|ms| *ms > 0).unwrap_or(USUAL_INTERVAL_MS);
        let known = |id: &i8| Codec::from_id(u8::try_from(*id).ok()?).ok();
        let codec = answer.accepted_compression_types.iter().find_map(known).unwrap_or(Codec::None);
        self.client_instance_id = answer.client_instance_id;
        let wants_nothing = answer.requested_metrics.is_empty();
        self.subscription = Some(Subscription {
            client_instance_id: answer.client_instance_id,
            subscription_id: answer.subscription_id,
            codec,
            interval_ms,
            bytes_max: usize::try_from(answer.telemetry_max_bytes).unwrap_or(0),
            is_delta: answer.delta_temporality,
            requested: prefixes(answer.requested_metrics),
        });
        if wants_nothing {
            // It may want something later.
            self.subscription = None;
            self.state = State::SubscribeAt(after(now, interval_ms));
        } else {
            let first_ms = (interval_ms as f64 * (0.5 + random.clamp(0.0, 1.0))) as u64;
            self.state = State::PushAt(after(now, first_ms));
        }
    }

    pub fn pushed(&mut self, result: Result<ErrorCode, ClientError>, now: MonoMs) {
        let State::Pushing { is_terminating } = self.state else { return };
        if is_terminating || self.is_closing {
            self.state = State::Ended;
            return;
        }
        let interval_ms =
            self.subscription.as_ref().map_or(USUAL_INTERVAL_MS, |subscription| subscription.interval_ms);
        let result = result.and_then(|code| match code {
            ErrorCode::None => Ok(()),
            code => Err(ClientError::broker(code, None, "telling metrics")),
        });
        match result {
            Ok(()) => self.state = State::PushAt(after(now, interval_ms)),
            Err(error) if is_hopeless(&error) => self.end(&error),
            Err(error) => match error.code() {
                // What the cluster wants has changed.
                Some(ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType) => {
                    self.state = State::SubscribeAt(now);
                }
                _ => self.state = State::PushAt(after(now, interval_ms)),
            },
        }
    }

    /// The client is being closed: what was asked for is told once more, at once.
    pub fn close(&mut self, now: MonoMs) {
        self.is_closing = true;
        match (&self.state, &self.subscription) {
            (State::PushAt(_), Some(_)) => self.state = State::PushAt(now),
            (State::Pushing { .. } | State::Subscribing, _) => {}
            _ => self.state = State::Ended,
        }
    }

    fn end(&mut self, why: &ClientError) {
        tracing::debug!(%why, "no metrics are pushed to the cluster");
        self.state = State::Ended;
    }
}

/// All metrics are asked for as `*`, or, in the words of the protocol, by an empty string.
fn prefixes(requested: Vec<String>) -> Vec<String> {
    requested.into_iter().map(|name| if name == "*" { String::new() } else { name }).collect()
}

fn after(now: MonoMs, ms: u64) -> MonoMs {
    now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// The cluster will not take it later either.
fn is_hopeless(error: &ClientError) -> bool {
    use ErrorCode::{InvalidRecord, InvalidRequest, UnsupportedVersion};
    matches!(error, ClientError::Unsupported { .. })
        || matches!(error.code(), Some(InvalidRequest | InvalidRecord | UnsupportedVersion))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL_MS: i32 = 1_000;

    fn answer(requested: &[&str]) -> GetTelemetrySubscriptionsResponse {
        GetTelemetrySubscriptionsResponse {
            client_instance_id: Uuid([7; 16]),
            subscription_id: 5,
            accepted_compression_types: vec![99, 4, 1],
            push_interval_ms: INTERVAL_MS,
            telemetry_max_bytes: 100,
            requested_metrics: requested.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        }
    }

    fn subscribed(random: f64) -> (Telemetry, MonoMs) {
        let now = MonoMs(10);
        let mut telemetry = Telemetry::new(now);
        assert_eq!(telemetry.act(now), Some(Action::Subscribe(Uuid::ZERO)));
        assert_eq!((telemetry.act(now), telemetry.due()), (None, None), "one request at a time");
        telemetry.subscribed(Ok(answer(&["a"])), now, random);
        (telemetry, now)
    }

    fn error(code: ErrorCode) -> ClientError {
        ClientError::broker(code, None, "telling")
    }

    #[test]
    fn the_first_push_comes_at_a_time_of_its_own_and_others_at_intervals() {
        for (random, first_ms) in [(0.0, 500), (0.5, 1_000), (1.0, 1_500)] {
            let (mut telemetry, now) = subscribed(random);
            let first = after(now, first_ms);
            assert_eq!(telemetry.due(), Some(first));
            assert_eq!(telemetry.act(after(now, first_ms - 1)), None);
            let Some(Action::Push { subscription, is_terminating: false }) = telemetry.act(first) else {
                panic!("it is due")
            };
            assert_eq!((subscription.codec, subscription.subscription_id), (Codec::Zstd, 5));
            assert_eq!(subscription.client_instance_id, Uuid([7; 16]));
            telemetry.pushed(Ok(ErrorCode::None), first);
            assert_eq!(telemetry.due(), Some(after(first, 1_000)));
        }
    }

    #[test]
    fn refusals_are_followed_as_kafkas_clients_do() {
        use ErrorCode::{
            InvalidRecord, InvalidRequest, TelemetryTooLarge, ThrottlingQuotaExceeded, UnknownSubscriptionId,
            UnsupportedCompressionType, UnsupportedVersion,
        };
        for (code, expected) in [
            (UnknownSubscriptionId, Some(Action::Subscribe(Uuid([7; 16])))),
            (UnsupportedCompressionType, Some(Action::Subscribe(Uuid([7; 16])))),
            (TelemetryTooLarge, None),
            (ThrottlingQuotaExceeded, None),
        ] {
            let (mut telemetry, now) = subscribed(0.5);
            let first = after(now, 1_000);
            telemetry.act(first).unwrap();
            telemetry.pushed(Ok(code), first);
            assert_eq!(telemetry.act(first), expected, "{code}");
            assert!(!telemetry.is_ended());
        }
        for code in [InvalidRequest, InvalidRecord, UnsupportedVersion] {
            let (mut telemetry, now) = subscribed(0.5);
            let first = after(now, 1_000);
            telemetry.act(first).unwrap();
            telemetry.pushed(Ok(code), first);
            assert!(telemetry.is_ended(), "{code}");
        }
    }

    #[test]
    fn who_can_not_subscribe_tries_again_later_or_never() {
        let now = MonoMs(10);
        let lost = ClientError::Disconnected { node: "n".into(), why: "cut".into(), is_sent: true };
        let unsupported = ClientError::Unsupported { api: "GetTelemetrySubscriptions", node: "n".into() };
        for (failure, again) in
            [(lost, true), (error(ErrorCode::ThrottlingQuotaExceeded), true), (unsupported, false)]
        {
            let mut telemetry = Telemetry::new(now);
            telemetry.act(now).unwrap();
            telemetry.subscribed(Err(failure), now, 0.5);
            assert_eq!(telemetry.due(), again.then(|| after(now, USUAL_INTERVAL_MS)));
        }
        let mut telemetry = Telemetry::new(now);
        telemetry.act(now).unwrap();
        telemetry.subscribed(Ok(answer(&[])), now, 0.5);
        assert_eq!(telemetry.due(), Some(after(now, 1_000)), "it may want something later");
        assert_eq!(telemetry.act(after(now, 1_000)), Some(Action::Subscribe(Uuid([7; 16]))));
    }

    #[test]
    fn everything_is_asked_for_in_two_ways() {
        for requested in ["*", ""] {
            let now = MonoMs(10);
            let mut telemetry = Telemetry::new(now);
            telemetry.act(now).unwrap();
            telemetry.subscribed(Ok(answer(&[requested])), now, 0.0);
            let Some(Action::Push { subscription, .. }) = telemetry.act(after(now, 500)) else {
                panic!("it is due")
            };
            assert_eq!(subscription.requested, [""]);
        }
    }

    #[test]
    fn closing_tells_once_more_what_was_asked_for() {
        let (mut telemetry, now) = subscribed(1.0);
        telemetry.close(now);
        let Some(Action::Push { is_terminating: true, .. }) = telemetry.act(now) else { panic!("it is due") };
        telemetry.pushed(Ok(ErrorCode::UnknownSubscriptionId), now);
        assert!(telemetry.is_ended());

        let mut early = Telemetry::new(now);
        early.close(now);
        assert!(early.is_ended(), "nobody has asked for anything");
    }
}
