//! A broker's life with the controller (KIP-631): it registers, keeps its session with heartbeats, is unfenced when it
//! has caught up, and asks before it leaves.

use std::collections::BTreeMap;

use ottla_types::{BrokerEpoch, MonoMs, Now, Offset, Uuid};
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
    /// `log.dir.failure.timeout.ms`: so soon the controller must know of a failed log directory.
    pub dir_failure_timeout_ms: i64,
}

/// How far the controller knows that a log directory has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DirFailure {
    Untold {
        until: MonoMs,
    },
    /// The request under way says so.
    Telling {
        until: MonoMs,
    },
    Told,
}

impl DirFailure {
    fn deadline(self) -> MonoMs {
        match self {
            DirFailure::Untold { until } | DirFailure::Telling { until } => until,
            DirFailure::Told => MonoMs::NEVER,
        }
    }
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
    is_broker: bool,
    state: LifecycleState,
    epoch: Option<BrokerEpoch>,
    wants_shutdown: bool,
    due: MonoMs,
    started: MonoMs,
    retry_ms: i64,
    under_way_until: Option<MonoMs>,
    /// By `directory.id`.
    failed_dirs: BTreeMap<Uuid, DirFailure>,
    /// It learns nothing from the metadata at present.
    is_out_of_touch: bool,
    /// It can take nothing, and others have all that it has.
    is_dispensable: bool,
}

impl Lifecycle {
    pub fn new(settings: LifecycleSettings, now: Now) -> Lifecycle {
        Lifecycle {
            settings,
            is_broker: true,
            state: LifecycleState::Starting,
            epoch: None,
            wants_shutdown: false,
            due: MonoMs::NEVER,
            started: now.mono,
            retry_ms: RETRY_MS.0,
            under_way_until: None,
            failed_dirs: BTreeMap::new(),
            is_out_of_touch: false,
            is_dispensable: false,
        }
    }

    pub fn state(&self) -> LifecycleState {
        self.state
    }

    /// Of a node that is no broker: it has no life with the controller, and runs once it has its metadata.
    pub fn of_controller(settings: LifecycleSettings, now: Now) -> Lifecycle {
        Lifecycle { is_broker: false, ..Lifecycle::new(settings, now) }
    }

    /// None before the first registration.
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.epoch
    }

    /// The first image is published: the broker may register.
    pub fn metadata_is_ready(&mut self, now: Now) {
        if self.state == LifecycleState::Starting && !self.is_broker {
            self.state = LifecycleState::Running;
        } else if self.state == LifecycleState::Starting {
            self.state = LifecycleState::Registering;
            self.due = now.mono;
        }
    }

    /// Asks the controller to let this broker go.
    pub fn begin_shutdown(&mut self, now: Now) {
        self.wants_shutdown = true;
        match self.state {
            _ if !self.is_broker => self.state = LifecycleState::MayStop,
            LifecycleState::Starting | LifecycleState::Registering => self.state = LifecycleState::MayStop,
            LifecycleState::MayStop => {}
            _ => {
                self.state = LifecycleState::ShuttingDown;
                self.due = now.mono;
            }
        }
    }

    /// A log directory has failed: the controller is to know at once.
    pub fn dir_failed(&mut self, dir_id: Uuid, now: Now) {
        let until = now.mono.plus_ms(self.settings.dir_failure_timeout_ms);
        self.failed_dirs.entry(dir_id).or_insert(DirFailure::Untold { until });
        if matches!(self.state, LifecycleState::Fenced | LifecycleState::Running) {
            self.due = now.mono;
        }
    }

    /// Whether the metadata stand still here, for want of room perhaps, while others could do without this broker: it asks to be
    /// fenced then, since it would neither lead nor follow what it does not hear of, and others would wait for it.
    pub fn set_out_of_touch(&mut self, is_out_of_touch: bool, now: Now) {
        let wanted_fence = self.wants_fence();
        self.is_out_of_touch = is_out_of_touch;
        self.wants_fence_changes(wanted_fence, now);
    }

    /// Whether there is no room for anything here, and others have all that this broker has: it asks to be fenced then, since leaders
    /// may wait long for who has caught up and is not fenced, although it is in sync no more.
    pub fn set_dispensable(&mut self, is_dispensable: bool, now: Now) {
        let wanted_fence = self.wants_fence();
        self.is_dispensable = is_dispensable;
        self.wants_fence_changes(wanted_fence, now);
    }

    fn wants_fence(&self) -> bool {
        self.is_broker && !self.wants_shutdown && (self.is_out_of_touch || self.is_dispensable)
    }

    /// The controller is to know at once.
    fn wants_fence_changes(&mut self, wanted_fence: bool, now: Now) {
        let may_ask = matches!(self.state, LifecycleState::Fenced | LifecycleState::Running);
        if may_ask && self.wants_fence() != wanted_fence {
            self.due = now.mono;
        }
    }

    /// Whether the controller has fenced this broker because it asked for that.
    pub fn is_fenced_as_it_wants(&self) -> bool {
        self.wants_fence() && self.state == LifecycleState::Fenced
    }

    /// Whether the controller has fenced this broker because the metadata stand still here: what it knows of the cluster is not so
    /// any more.
    pub fn is_left_behind(&self) -> bool {
        self.is_out_of_touch && self.is_fenced_as_it_wants()
    }

    /// When the controller must know of all failed directories.
    pub fn dir_failure_deadline(&self) -> MonoMs {
        self.failed_dirs.values().map(|failure| failure.deadline()).min().unwrap_or(MonoMs::NEVER)
    }

    /// A failed directory that the controller should know of by now, and does not.
    pub fn dir_failure_not_told(&self, now: Now) -> Option<Uuid> {
        let late = self.failed_dirs.iter().find(|(_, failure)| failure.deadline() <= now.mono)?;
        Some(*late.0)
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
                want_fence: self.wants_fence(),
                want_shut_down: self.wants_shutdown,
                offline_log_dirs: self.failed_dirs_to_tell(),
                ..BrokerHeartbeatRequest::default()
            }),
        };
        self.under_way_until = Some(now.mono.plus_ms(self.settings.session_timeout_ms));
        Some(request)
    }

    fn failed_dirs_to_tell(&mut self) -> Vec<Uuid> {
        for failure in self.failed_dirs.values_mut() {
            if let DirFailure::Untold { until } = *failure {
                *failure = DirFailure::Telling { until };
            }
        }
        self.failed_dirs.keys().copied().collect()
    }

    /// The heartbeat under way was answered, or will not be.
    fn end_telling(&mut self, is_told: bool) {
        for failure in self.failed_dirs.values_mut() {
            if let DirFailure::Telling { until } = *failure {
                *failure = if is_told { DirFailure::Told } else { DirFailure::Untold { until } };
            }
        }
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

    /// A heartbeat was answered. `acts_on_it`: this node has put into effect that it is not fenced, and serves what it leads.
    pub fn heard(&mut self, response: &BrokerHeartbeatResponse, acts_on_it: bool, now: Now) {
        self.under_way_until = None;
        self.retry_ms = RETRY_MS.0;
        let interval = self.settings.heartbeat_interval_ms;
        (self.state, self.due) = if response.should_shut_down {
            (LifecycleState::MayStop, MonoMs::NEVER)
        } else if self.wants_shutdown {
            (LifecycleState::ShuttingDown, now.mono.plus_ms(RETRY_MS.0))
        } else if response.is_fenced && self.wants_fence() {
            (LifecycleState::Fenced, now.mono.plus_ms(interval))
        } else if self.wants_fence() {
            // Asked before that.
            (self.state, now.mono.plus_ms(RETRY_MS.0.min(interval)))
        } else if response.is_fenced || !acts_on_it {
            // Not caught up yet: that takes moments, not a heartbeat's interval.
            (LifecycleState::Fenced, now.mono.plus_ms(RETRY_MS.0.min(interval)))
        } else {
            (LifecycleState::Running, now.mono.plus_ms(interval))
        };
        self.end_telling(true);
        let is_untold = |failure: &DirFailure| matches!(failure, DirFailure::Untold { .. });
        if self.state == LifecycleState::Running && self.failed_dirs.values().any(is_untold) {
            self.due = now.mono;
        }
    }

    /// The request failed, or its answer did not come. A stale epoch makes the broker register again.
    pub fn failed(&mut self, now: Now) {
        self.end_telling(false);
        self.under_way_until = None;
        self.due = now.mono.plus_ms(self.retry_ms);
        self.retry_ms = (2 * self.retry_ms).min(RETRY_MS.1);
    }

    /// The controller can do nothing at present: a broker that wants to leave does not wait for it.
    pub fn refused(&mut self, now: Now) {
        self.failed(now);
        // That it takes long is not for a missing controller.
        self.started = now.mono;
        if self.wants_shutdown {
            self.state = LifecycleState::MayStop;
        }
    }

    /// The controller does not know this registration any more.
    pub fn must_register_again(&mut self, now: Now) {
        self.end_telling(false);
        self.under_way_until = None;
        if self.wants_shutdown {
            self.state = LifecycleState::MayStop;
        } else {
            self.state = LifecycleState::Registering;
            self.due = now.mono;
        }
    }

    /// When the first registration has taken longer than it may.
    pub fn registration_deadline(&self) -> MonoMs {
        if self.epoch.is_some() || self.state != LifecycleState::Registering {
            return MonoMs::NEVER;
        }
        self.started.plus_ms(self.settings.registration_timeout_ms)
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
        dir_failure_timeout_ms: 30_000,
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
        broker.heard(&answer(true, false), true, at(12));
        assert_eq!(broker.poll(Offset(6), at(13)), None);
        assert!(
            matches!(broker.poll(Offset(6), at(32)), Some(ToSend::Heartbeat(h)) if h.current_metadata_offset == 6)
        );
        broker.heard(&answer(false, false), true, at(33));
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
        broker.heard(&answer(false, false), true, at(101));
        assert_eq!(broker.state(), LifecycleState::ShuttingDown);
        assert!(broker.poll(Offset(6), at(121)).is_some());
        broker.heard(&answer(true, true), true, at(122));
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
        assert_eq!(broker.registration_deadline(), MonoMs(60_000));
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
    fn the_controller_is_told_of_failed_directories_until_it_knows() {
        let [first, second] = [Uuid([1; 16]), Uuid([2; 16])];
        let told = |broker: &mut Lifecycle, ms| match broker.poll(Offset(6), at(ms)) {
            Some(ToSend::Heartbeat(request)) => request.offline_log_dirs,
            other => panic!("{other:?}"),
        };
        let mut broker = running();
        broker.dir_failed(first, at(100));
        assert_eq!(told(&mut broker, 100), [first]);
        // Too late for the heartbeat under way.
        broker.dir_failed(second, at(101));
        broker.heard(&answer(false, false), true, at(102));
        assert_eq!(broker.dir_failure_deadline(), MonoMs(30_101));
        assert_eq!(told(&mut broker, 102), [first, second]);
        broker.failed(at(103));
        assert_eq!(broker.dir_failure_not_told(at(30_100)), None);
        assert_eq!(broker.dir_failure_not_told(at(30_101)), Some(second));
        assert_eq!(told(&mut broker, 123), [first, second]);
        broker.heard(&answer(false, false), true, at(124));
        assert_eq!((broker.dir_failure_deadline(), broker.next_deadline()), (MonoMs::NEVER, MonoMs(2124)));
        assert_eq!(told(&mut broker, 2124), [first, second], "a new controller has to hear it too");
    }

    #[test]
    fn a_broker_without_metadata_asks_to_be_fenced_and_is_let_in_again_with_them() {
        let mut broker = running();
        let wants_fence = |broker: &mut Lifecycle, ms| match broker.poll(Offset(6), at(ms)) {
            Some(ToSend::Heartbeat(request)) => Some(request.want_fence),
            Some(ToSend::Register) => panic!("it is registered"),
            None => None,
        };
        broker.set_out_of_touch(true, at(100));
        assert_eq!(wants_fence(&mut broker, 100), Some(true));
        assert!(!broker.is_fenced_as_it_wants());
        broker.heard(&answer(true, false), true, at(101));
        assert!(broker.is_fenced_as_it_wants());
        assert_eq!((wants_fence(&mut broker, 2100), wants_fence(&mut broker, 2101)), (None, Some(true)));
        // That answer is still on its way.
        broker.set_out_of_touch(false, at(2102));
        broker.heard(&answer(true, false), false, at(2103));
        assert_eq!(wants_fence(&mut broker, 2123), Some(false));
        broker.heard(&answer(false, false), true, at(2124));
        assert_eq!(broker.state(), LifecycleState::Running);
        // One that has no room for anything, and whom others can do without.
        broker.set_dispensable(true, at(2125));
        assert_eq!(wants_fence(&mut broker, 2125), Some(true));
        broker.heard(&answer(true, false), true, at(2126));
        broker.set_out_of_touch(true, at(2127));
        broker.set_dispensable(false, at(2128));
        assert_eq!((wants_fence(&mut broker, 2128), broker.is_fenced_as_it_wants()), (None, true));
        broker.set_out_of_touch(false, at(2129));
        assert_eq!(wants_fence(&mut broker, 2129), Some(false));
        broker.heard(&answer(false, false), true, at(2129));
        // One that leaves does that.
        assert_eq!(wants_fence(&mut broker, 4129), Some(false));
        broker.set_out_of_touch(true, at(4129));
        broker.heard(&answer(false, false), true, at(4130));
        broker.begin_shutdown(at(4130));
        assert_eq!(wants_fence(&mut broker, 4130), Some(false));
        let mut controller = Lifecycle::of_controller(SETTINGS, at(0));
        controller.metadata_is_ready(at(1));
        controller.set_out_of_touch(true, at(2));
        assert_eq!(controller.poll(Offset(5), at(2)), None);
    }

    #[test]
    fn a_broker_leaves_without_a_controller_that_can_do_nothing() {
        let mut broker = running();
        broker.refused(at(50));
        assert_eq!(broker.state(), LifecycleState::Running);
        broker.begin_shutdown(at(100));
        assert!(broker.poll(Offset(6), at(100)).is_some());
        broker.refused(at(101));
        assert_eq!(broker.state(), LifecycleState::MayStop);
    }

    #[test]
    fn a_controller_has_nobody_to_ask() {
        let mut controller = Lifecycle::of_controller(SETTINGS, at(0));
        controller.metadata_is_ready(at(1));
        assert_eq!(
            (controller.state(), controller.next_deadline()),
            (LifecycleState::Running, MonoMs::NEVER)
        );
        assert_eq!(controller.poll(Offset(5), at(1)), None);
        controller.begin_shutdown(at(2));
        assert_eq!(controller.state(), LifecycleState::MayStop);
    }

    #[test]
    fn a_lost_registration_is_made_again() {
        let mut broker = running();
        broker.must_register_again(at(50));
        assert_eq!(broker.poll(Offset(6), at(50)), Some(ToSend::Register));
    }
}
