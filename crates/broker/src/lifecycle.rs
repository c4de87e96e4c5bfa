//! A broker's life with the controller (KIP-631): it registers, keeps its session with heartbeats, is unfenced when it
//! has caught up, and asks before it leaves.

use ottla_types::{BrokerEpoch, MonoMs, Now, Offset};
use ottla_wire::messages::BrokerHeartbeatRequest;
use ottla_wire::messages::broker_heartbeat_response::BrokerHeartbeatResponse;

/// Waits between attempts at registering: doubling from the first to the last.
const RETRY_MS: (i64, i64) = (20, 1000);

/// The `broker.*` settings that this acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleSettings {
    /// `broker.heartbeat.interval.ms`
    pub heartbeat_interval_ms: i64,
    /// `broker.session.timeout.ms`: an answer that has not come by then does not come any more.
    pub session_timeout_ms: i64,
    /// `initial.broker.registration.timeout.ms`
    pub registration_timeout_ms: i64,
}

/// What is to be sent to the controller. One request is under way at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum ToSend {
    Register,
    Heartbeat(BrokerHeartbeatRequest),
}

/// How far a broker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleState {
    /// The image of the metadata is not complete yet.
    Starting,
    Registering,
    Fenced,
    Running,
    /// It has asked to leave, and leads until the controller has moved that away.
    ShuttingDown,
    MayStop,
}

/// See the module.
#[derive(Debug)]
pub struct Lifecycle {
    settings: LifecycleSettings,
    state: LifecycleState,
    epoch: Option<BrokerEpoch>,
    wants_shutdown: bool,
    due: MonoMs,
    started: MonoMs,
    retry_ms: i64,
    under_way_until: Option<MonoMs>,
}

impl Lifecycle {
    pub fn new(settings: LifecycleSettings, now: Now) -> Lifecycle {
        Lifecycle {
            settings,
            state: LifecycleState::Starting,
            epoch: None,
            wants_shutdown: false,
            due: MonoMs::NEVER,
            started: now.mono,
            retry_ms: RETRY_MS.0,
            under_way_until: None,
        }
    }

    pub fn state(&self) -> LifecycleState {
        self.state
    }

    /// None before the first registration.
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.epoch
    }

    /// The first image is published: the broker may register.
    pub fn metadata_is_ready(&mut self, now: Now) {
        if self.state == LifecycleState::Starting {
            self.state = LifecycleState::Registering;
            self.due = now.mono;
        }
    }

    /// Asks the controller to let this broker go.
    pub fn begin_shutdown(&mut self, now: Now) {
        self.wants_shutdown = true;
        match self.state {
            LifecycleState::Starting | LifecycleState::Registering => self.state = LifecycleState::MayStop,
            LifecycleState::MayStop => {}
            _ => {
                self.state = LifecycleState::ShuttingDown;
                self.due = now.mono;
            }
        }
    }

    /// What is due; `metadata_offset` is the last that the broker has applied.
    pub fn poll(&mut self, metadata_offset: Offset, now: Now) -> Option<ToSend> {
        if self.under_way_until.is_some_and(|until| until <= now.mono) {
            self.failed(now);
        }
        if self.under_way_until.is_some() || self.due > now.mono {
            return None;
        }
        let request = match (self.state, self.epoch) {
            (LifecycleState::Starting | LifecycleState::MayStop, _) => return None,
            (LifecycleState::Registering, _) | (_, None) => ToSend::Register,
            (_, Some(epoch)) => ToSend::Heartbeat(BrokerHeartbeatRequest {
                broker_epoch: epoch.value(),
                current_metadata_offset: metadata_offset.value(),
                want_fence: false,
                want_shut_down: self.wants_shutdown,
                ..BrokerHeartbeatRequest::default()
            }),
        };
        self.under_way_until = Some(now.mono.plus_ms(self.settings.session_timeout_ms));
        Some(request)
    }

    pub fn next_deadline(&self) -> MonoMs {
        match self.state {
            LifecycleState::Starting | LifecycleState::MayStop => MonoMs::NEVER,
            _ => self.under_way_until.unwrap_or(self.due),
        }
    }

    pub fn registered(&mut self, epoch: BrokerEpoch, now: Now) {
        self.under_way_until = None;
        self.retry_ms = RETRY_MS.0;
        self.epoch = Some(epoch);
        if self.state == LifecycleState::Registering {
            self.state = LifecycleState::Fenced;
        }
        self.due = now.mono;
    }

    pub fn heard(&mut self, response: &BrokerHeartbeatResponse, now: Now) {
        self.under_way_until = None;
        self.retry_ms = RETRY_MS.0;
        let interval = self.settings.heartbeat_interval_ms;
        (self.state, self.due) = if response.should_shut_down {
            (LifecycleState::MayStop, MonoMs::NEVER)
        } else if self.wants_shutdown {
            (LifecycleState::ShuttingDown, now.mono.plus_ms(RETRY_MS.0))
        } else if response.is_fenced {
            // Not caught up yet: that takes moments, not a heartbeat's interval.
            (LifecycleState::Fenced, now.mono.plus_ms(RETRY_MS.0.min(interval)))
        } else {
            (LifecycleState::Running, now.mono.plus_ms(interval))
        };
    }

    /// The request failed, or its answer did not come. A stale epoch makes the broker register again.
    pub fn failed(&mut self, now: Now) {
        self.under_way_until = None;
        self.due = now.mono.plus_ms(self.retry_ms);
        self.retry_ms = (2 * self.retry_ms).min(RETRY_MS.1);
    }

    /// The controller does not know this registration any more.
    pub fn must_register_again(&mut self, now: Now) {
        self.under_way_until = None;
        if self.wants_shutdown {
            self.state = LifecycleState::MayStop;
        } else {
            self.state = LifecycleState::Registering;
            self.due = now.mono;
        }
    }

    /// Whether the first registration has taken longer than it may.
    pub fn is_too_late(&self, now: Now) -> bool {
        self.epoch.is_none()
            && self.started.plus_ms(self.settings.registration_timeout_ms) <= now.mono
            && self.state == LifecycleState::Registering
    }
}

#[cfg(test)]
mod tests {
    use ottla_types::Timestamp;

    use super::*;

    const SETTINGS: LifecycleSettings = LifecycleSettings {
        heartbeat_interval_ms: 2000,
        session_timeout_ms: 9000,
        registration_timeout_ms: 60_000,
    };

    fn at(ms: u64) -> Now {
        Now { wall: Timestamp(0), mono: MonoMs(ms) }
    }

    fn answer(is_fenced: bool, should_shut_down: bool) -> BrokerHeartbeatResponse {
        BrokerHeartbeatResponse { is_fenced, should_shut_down, ..BrokerHeartbeatResponse::default() }
    }

    fn running() -> Lifecycle {
        let mut broker = Lifecycle::new(SETTINGS, at(0));
        assert_eq!(broker.poll(Offset(0), at(0)), None);
        broker.metadata_is_ready(at(10));
        assert_eq!(broker.poll(Offset(5), at(10)), Some(ToSend::Register));
        broker.registered(BrokerEpoch(6), at(11));
        assert!(matches!(broker.poll(Offset(5), at(11)), Some(ToSend::Heartbeat(h)) if h.broker_epoch == 6));
        broker.heard(&answer(true, false), at(12));
        assert_eq!(broker.poll(Offset(6), at(13)), None);
        assert!(
            matches!(broker.poll(Offset(6), at(32)), Some(ToSend::Heartbeat(h)) if h.current_metadata_offset == 6)
        );
        broker.heard(&answer(false, false), at(33));
        assert_eq!(broker.state(), LifecycleState::Running);
        broker
    }

    #[test]
    fn it_registers_and_is_unfenced() {
        let broker = running();
        assert_eq!(broker.next_deadline(), MonoMs(2033));
    }

    #[test]
    fn it_asks_before_it_leaves() {
        let mut broker = running();
        broker.begin_shutdown(at(100));
        assert!(matches!(broker.poll(Offset(6), at(100)), Some(ToSend::Heartbeat(h)) if h.want_shut_down));
        broker.heard(&answer(false, false), at(101));
        assert_eq!(broker.state(), LifecycleState::ShuttingDown);
        assert!(broker.poll(Offset(6), at(121)).is_some());
        broker.heard(&answer(true, true), at(122));
        assert_eq!((broker.state(), broker.next_deadline()), (LifecycleState::MayStop, MonoMs::NEVER));
    }

    #[test]
    fn what_fails_is_tried_again_more_and_more_slowly() {
        let mut broker = Lifecycle::new(SETTINGS, at(0));
        broker.metadata_is_ready(at(0));
        let mut now = 0;
        for wait in [20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert_eq!(broker.poll(Offset(0), at(now)), Some(ToSend::Register));
            broker.failed(at(now));
            assert_eq!(broker.poll(Offset(0), at(now + wait - 1)), None);
            now += wait;
        }
        assert!(!broker.is_too_late(at(59_999)) && broker.is_too_late(at(60_000)));
    }

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for() {
        let mut broker = running();
        assert!(broker.poll(Offset(6), at(2033)).is_some());
        assert_eq!(broker.poll(Offset(6), at(11_032)), None);
        assert_eq!(broker.poll(Offset(6), at(11_033)), None);
        assert!(broker.poll(Offset(6), at(11_053)).is_some());
    }

    #[test]
    fn a_lost_registration_is_made_again() {
        let mut broker = running();
        broker.must_register_again(at(50));
        assert_eq!(broker.poll(Offset(6), at(50)), Some(ToSend::Register));
    }
}
