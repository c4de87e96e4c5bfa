//! What bounds connections and the memory of requests. A broker's listeners share one set of limits, a controller's another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ottla_types::MonoMs;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// `max.connections`, `max.connections.per.ip` and its overrides, and each listener's own `max.connections`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimitSettings {
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    pub per_ip_overrides: HashMap<IpAddr, usize>,
    /// `listener.name.<name>.max.connections`, by listener name.
    pub per_listener: HashMap<Arc<str>, usize>,
    /// `max.connection.creation.rate`: connections accepted a second, over all listeners.
    pub rate: u32,
    /// `listener.name.<name>.max.connection.creation.rate`, by listener name.
    pub rate_per_listener: HashMap<Arc<str>, u32>,
    /// The listener of brokers among each other, if there are others: the limits of all listeners together do not keep
    /// brokers out. Others make room for them (KIP-402).
    pub protected: Option<Arc<str>>,
}

impl Default for ConnectionLimitSettings {
    fn default() -> ConnectionLimitSettings {
        ConnectionLimitSettings {
            max_connections: usize::MAX,
            max_connections_per_ip: usize::MAX,
            per_ip_overrides: HashMap::new(),
            per_listener: HashMap::new(),
            rate: u32::MAX,
            rate_per_listener: HashMap::new(),
            protected: None,
        }
    }
}

impl ConnectionLimitSettings {
    fn is_protected(&self, listener: &str) -> bool {
        self.protected.as_deref() == Some(listener)
    }
}

/// How many connections the process may have at all, so that some descriptors are left for files.
#[derive(Debug)]
pub struct Ceiling {
    max: usize,
    open: AtomicUsize,
    /// Told whenever a connection closes or limits change.
    released: Notify,
}

impl Ceiling {
    /// For a process that may have so many files open.
    pub fn for_open_files(limit: usize) -> Ceiling {
        let for_others = 64 + (limit / 16).min(1024);
        Ceiling { max: limit.saturating_sub(for_others).max(1), ..Ceiling::default() }
    }
}

impl Default for Ceiling {
    /// None.
    fn default() -> Ceiling {
        Ceiling { max: usize::MAX, open: AtomicUsize::new(0), released: Notify::new() }
    }
}

/// Counts open connections against the limits (KIP-402, KIP-308).
#[derive(Debug, Default)]
pub struct ConnectionLimits {
    state: Mutex<Counts>,
    ceiling: Arc<Ceiling>,
}

#[derive(Debug, Default)]
struct Counts {
    settings: ConnectionLimitSettings,
    open: HashMap<u64, Arc<Place>>,
    /// Of those that are open, how many have been told to close.
    closing: usize,
    next_id: u64,
    per_listener: HashMap<Arc<str>, usize>,
    per_ip: HashMap<IpAddr, usize>,
    accepted: AcceptedRate,
    accepted_per_listener: HashMap<Arc<str>, AcceptedRate>,
}

/// One open connection.
#[derive(Debug)]
struct Place {
    id: u64,
    listener: Arc<str>,
    ip: IpAddr,
    /// As [`MonoMs`].
    last_active: AtomicU64,
    /// It is to make room for others.
    is_closing: AtomicBool,
    told_to_close: Notify,
}

/// How far accepted connections are ahead of their rate.
#[derive(Clone, Copy, Debug, Default)]
struct AcceptedRate {
    /// When the rate will have caught up with what was accepted.
    even_at: Option<Instant>,
}

impl AcceptedRate {
    /// Counts one connection; returns how long to wait before the next. A second's worth may come in one burst.
    fn count(&mut self, per_second: u32, now: Instant) -> Duration {
        if per_second >= i32::MAX as u32 {
            return Duration::ZERO;
        }
        let per_connection = Duration::from_secs(1) / per_second.max(1);
        let even_at = self.even_at.map_or(now, |at| at.max(now)) + per_connection;
        self.even_at = Some(even_at);
        even_at.saturating_duration_since(now + Duration::from_secs(1))
    }
}

/// The answer to a new connection.
#[derive(Debug)]
pub enum Admission {
    Admitted(ConnectionPermit),
    /// Its address has as many as it may: it is closed at once.
    TooManyFromAddress {
        limit: usize,
    },
}

/// Why the acceptor has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// `max.connections`, of the broker or of the listener.
    MaxConnections,
    /// The process's limit of open files.
    OpenFiles,
}

/// One counted connection; dropping it gives the place back.
#[derive(Debug)]
pub struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    place: Arc<Place>,
}

impl ConnectionPermit {
    /// Something happens on the connection: others are closed before it.
    pub fn active(&self, now: MonoMs) {
        self.place.last_active.store(now.0, Ordering::Relaxed);
    }

    /// Waits until the connection has to make room for others.
    pub async fn told_to_close(&self) {
        self.place.told_to_close.notified().await;
    }
}

impl ConnectionLimits {
    pub fn new(settings: ConnectionLimitSettings, ceiling: Arc<Ceiling>) -> ConnectionLimits {
        ConnectionLimits { state: Mutex::new(Counts { settings, ..Counts::default() }), ceiling }
    }

    /// Takes new limits; what is over `max.connections` is closed.
    pub fn update(&self, settings: ConnectionLimitSettings) {
        let mut counts = self.state.lock();
        counts.settings = settings;
        counts.close_excess();
        drop(counts);
        self.ceiling.released.notify_waiters();
    }

    /// Whether one more connection can be taken. Where not, the acceptor leaves new ones in the listen backlog.
    pub fn check_room(&self, listener: &str) -> Result<(), Full> {
        if self.ceiling.open.load(Ordering::Relaxed) >= self.ceiling.max {
            return Err(Full::OpenFiles);
        }
        let counts = self.state.lock();
        let of_listener = counts.per_listener.get(listener).copied().unwrap_or(0);
        let settings = &counts.settings;
        let listener_has_room = settings.per_listener.get(listener).is_none_or(|&max| of_listener < max);
        let all_have_room = settings.is_protected(listener) || counts.open.len() < settings.max_connections;
        if listener_has_room && all_have_room { Ok(()) } else { Err(Full::MaxConnections) }
    }

    /// Ends when there may be room. To be made before [`ConnectionLimits::check_room`], so that nothing is missed in between.
    pub fn released(&self) -> tokio::sync::futures::Notified<'_> {
        self.ceiling.released.notified()
    }

    /// Counts a connection that was accepted.
    pub fn admit(self: &Arc<Self>, listener: &Arc<str>, ip: IpAddr, now: MonoMs) -> Admission {
        let mut counts = self.state.lock();
        let limit =
            *counts.settings.per_ip_overrides.get(&ip).unwrap_or(&counts.settings.max_connections_per_ip);
        let of_ip = counts.per_ip.get(&ip).copied().unwrap_or(0);
        if of_ip >= limit {
            return Admission::TooManyFromAddress { limit };
        }
        counts.next_id += 1;
        let place = Arc::new(Place {
            id: counts.next_id,
            listener: Arc::clone(listener),
            ip,
            last_active: AtomicU64::new(now.0),
            is_closing: AtomicBool::new(false),
            told_to_close: Notify::new(),
        });
        counts.open.insert(place.id, Arc::clone(&place));
        *counts.per_listener.entry(Arc::clone(listener)).or_default() += 1;
        *counts.per_ip.entry(ip).or_default() += 1;
        counts.close_excess();
        drop(counts);
        self.ceiling.open.fetch_add(1, Ordering::Relaxed);
        Admission::Admitted(ConnectionPermit { limits: Arc::clone(self), place })
    }

    /// Counts a connection against the rates; returns how long the acceptor is to wait.
    pub fn count_accepted(&self, listener: &Arc<str>, now: Instant) -> Duration {
        let mut counts = self.state.lock();
        let rate = counts.settings.rate;
        let wait = match counts.settings.is_protected(listener) {
            true => Duration::ZERO,
            false => counts.accepted.count(rate, now),
        };
        let Some(&rate) = counts.settings.rate_per_listener.get(listener) else { return wait };
        wait.max(counts.accepted_per_listener.entry(Arc::clone(listener)).or_default().count(rate, now))
    }

    /// Open connections over all listeners.
    pub fn total(&self) -> usize {
        self.state.lock().open.len()
    }
}

impl Counts {
    /// Tells connections to close, those first that have been idle longest, until no more than `max.connections` are left.
    /// Those between brokers stay.
    fn close_excess(&mut self) {
        let excess = (self.open.len() - self.closing).saturating_sub(self.settings.max_connections);
        if excess == 0 {
            return;
        }
        let mut others: Vec<_> = self
            .open
            .values()
            .filter(|place| !self.settings.is_protected(&place.listener))
            .filter(|place| !place.is_closing.load(Ordering::Relaxed))
            .collect();
        others.sort_by_key(|place| (place.last_active.load(Ordering::Relaxed), place.id));
        for place in others.into_iter().take(excess) {
            place.is_closing.store(true, Ordering::Relaxed);
            place.told_to_close.notify_one();
            self.closing += 1;
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let ConnectionPermit { limits, place } = self;
        let mut counts = limits.state.lock();
        counts.open.remove(&place.id);
        if place.is_closing.load(Ordering::Relaxed) {
            counts.closing -= 1;
        }
        if let Some(of_listener) = counts.per_listener.get_mut(&place.listener) {
            *of_listener -= 1;
        }
        if let Some(of_ip) = counts.per_ip.get_mut(&place.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                counts.per_ip.remove(&place.ip);
            }
        }
        drop(counts);
        limits.ceiling.open.fetch_sub(1, Ordering::Relaxed);
        limits.ceiling.released.notify_waiters();
    }
}

/// `queued.max.request.bytes`: memory of requests that are being received or handled. As in Kafka a request may
/// start while anything is left, however large it is, so that one larger than the whole pool still passes.
#[derive(Debug)]
pub struct RequestMemory {
    /// Negative while the last request took more than was left. Not used without a limit.
    available_bytes: AtomicI64,
    is_limited: bool,
    released: Notify,
}

/// Memory of one request; dropping it gives it back.
#[derive(Debug)]
pub struct MemoryPermit {
    memory: Arc<RequestMemory>,
    bytes: i64,
}

impl RequestMemory {
    /// Zero or less is no limit.
    pub fn new(limit_bytes: i64) -> RequestMemory {
        RequestMemory {
            available_bytes: AtomicI64::new(limit_bytes),
            is_limited: limit_bytes > 0,
            released: Notify::new(),
        }
    }

    /// Waits until something is left; another may take it first.
    pub async fn until_available(&self) {
        loop {
            // Created before the look, so that a release between look and wait is not missed.
            let released = self.released.notified();
            if !self.is_limited || self.available_bytes.load(Ordering::Acquire) > 0 {
                return;
            }
            released.await;
        }
    }

    /// None while the pool is used up: the connection then reads nothing until something is given back.
    pub fn try_acquire(self: &Arc<Self>, bytes: usize) -> Option<MemoryPermit> {
        if !self.is_limited {
            return Some(MemoryPermit { memory: Arc::clone(self), bytes: 0 });
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.available_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| (left > 0).then(|| left - bytes))
            .ok()
            .map(|_| MemoryPermit { memory: Arc::clone(self), bytes })
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.available_bytes.fetch_add(self.bytes, Ordering::AcqRel);
            self.memory.released.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const NOW: MonoMs = MonoMs(0);

    fn limits(settings: ConnectionLimitSettings) -> (Arc<ConnectionLimits>, Arc<str>) {
        (Arc::new(ConnectionLimits::new(settings, Arc::default())), Arc::from("PLAINTEXT"))
    }

    #[test]
    fn an_address_gets_its_own_limit() {
        let (limits, listener) = limits(ConnectionLimitSettings {
            max_connections_per_ip: 1,
            per_ip_overrides: HashMap::from([(B, 2)]),
            ..ConnectionLimitSettings::default()
        });
        let Admission::Admitted(first) = limits.admit(&listener, A, NOW) else {
            panic!("the first is admitted")
        };
        assert!(matches!(limits.admit(&listener, A, NOW), Admission::TooManyFromAddress { limit: 1 }));
        let others: Vec<_> = (0..2).map(|_| limits.admit(&listener, B, NOW)).collect();
        assert!(others.iter().all(|a| matches!(a, Admission::Admitted(_))));
        assert!(matches!(limits.admit(&listener, B, NOW), Admission::TooManyFromAddress { limit: 2 }));
        drop(first);
        assert!(matches!(limits.admit(&listener, A, NOW), Admission::Admitted(_)));
    }

    #[test]
    fn the_total_and_a_listeners_total_leave_room_again() {
        let (limits, listener) = limits(ConnectionLimitSettings {
            max_connections: 2,
            per_listener: HashMap::from([(Arc::from("PLAINTEXT"), 1)]),
            ..ConnectionLimitSettings::default()
        });
        let first = limits.admit(&listener, A, NOW);
        assert!(limits.check_room(&listener).is_err());
        assert!(limits.check_room("OTHER").is_ok());
        let _second = limits.admit(&Arc::from("OTHER"), A, NOW);
        assert!(limits.check_room("OTHER").is_err());
        drop(first);
        assert!(limits.check_room(&listener).is_ok());
        assert_eq!(limits.total(), 1);
    }

    fn admitted(limits: &Arc<ConnectionLimits>, listener: &str, ms: u64) -> ConnectionPermit {
        match limits.admit(&Arc::from(listener), A, MonoMs(ms)) {
            Admission::Admitted(permit) => permit,
            Admission::TooManyFromAddress { .. } => panic!("it is admitted"),
        }
    }

    fn is_told_to_close(permit: &ConnectionPermit) -> bool {
        permit.place.is_closing.load(Ordering::Relaxed)
    }

    #[test]
    fn brokers_are_not_kept_out_and_the_longest_idle_of_the_others_make_room() {
        let settings = ConnectionLimitSettings {
            max_connections: 3,
            rate: 1,
            protected: Some(Arc::from("BROKERS")),
            ..ConnectionLimitSettings::default()
        };
        let (limits, _) = limits(settings.clone());
        let clients: Vec<_> = (0..3).map(|ms| admitted(&limits, "CLIENTS", ms)).collect();
        clients[0].active(MonoMs(10));
        assert_eq!(limits.check_room("CLIENTS"), Err(Full::MaxConnections));
        assert_eq!(limits.check_room("BROKERS"), Ok(()));
        let closing = || clients.iter().map(is_told_to_close).collect::<Vec<_>>();
        let broker = admitted(&limits, "BROKERS", 20);
        assert_eq!(closing(), [false, true, false]);
        let another = admitted(&limits, "BROKERS", 20);
        assert_eq!(closing(), [false, true, true]);
        let third = admitted(&limits, "BROKERS", 20);
        assert_eq!(closing(), [true, true, true]);
        let fourth = admitted(&limits, "BROKERS", 20);
        for broker in [&broker, &another, &third, &fourth] {
            assert!(!is_told_to_close(broker), "brokers stay");
        }
        drop(clients);
        assert_eq!(limits.total(), 4);
        assert_eq!(limits.check_room("CLIENTS"), Err(Full::MaxConnections));
        let now = Instant::now();
        for _ in 0..5 {
            assert_eq!(limits.count_accepted(&Arc::from("BROKERS"), now), Duration::ZERO);
        }
    }

    #[test]
    fn a_lower_limit_closes_what_is_over_it() {
        let (limits, _) = limits(ConnectionLimitSettings::default());
        let clients: Vec<_> = (0..4).map(|ms| admitted(&limits, "CLIENTS", ms)).collect();
        let lower = |max_connections| ConnectionLimitSettings { max_connections, ..Default::default() };
        limits.update(lower(3));
        limits.update(lower(3));
        assert_eq!(clients.iter().filter(|client| is_told_to_close(client)).count(), 1);
        limits.update(lower(1));
        assert_eq!(clients.iter().filter(|client| is_told_to_close(client)).count(), 3);
        assert!(!is_told_to_close(&clients[3]), "it was active last");
    }

    #[test]
    fn some_descriptors_are_left_for_files() {
        let ceiling = Arc::new(Ceiling::for_open_files(160));
        let of_broker = Arc::new(ConnectionLimits::new(Default::default(), Arc::clone(&ceiling)));
        let of_controller = Arc::new(ConnectionLimits::new(Default::default(), ceiling));
        let mut permits: Vec<_> = (0..86).map(|_| admitted(&of_broker, "CLIENTS", 0)).collect();
        assert_eq!(of_controller.check_room("CONTROLLER"), Err(Full::OpenFiles));
        permits.pop();
        assert_eq!(of_controller.check_room("CONTROLLER"), Ok(()));
    }

    #[test]
    fn a_rate_lets_a_burst_of_a_second_pass() {
        let (limits, listener) = limits(ConnectionLimitSettings {
            rate: 4,
            rate_per_listener: HashMap::from([(Arc::from("SLOW"), 2)]),
            ..ConnectionLimitSettings::default()
        });
        let now = Instant::now();
        let waits: Vec<_> = (0..6).map(|_| limits.count_accepted(&listener, now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 250, 500]);
        let later = now + Duration::from_secs(10);
        let slow = Arc::from("SLOW");
        let waits: Vec<_> = (0..3).map(|_| limits.count_accepted(&slow, later).as_millis()).collect();
        assert_eq!(waits, [0, 0, 500]);
        limits.update(ConnectionLimitSettings::default());
        assert_eq!(limits.count_accepted(&listener, later), Duration::ZERO);
    }

    #[test]
    fn request_memory_lets_one_over_the_limit_and_then_none() {
        let memory = Arc::new(RequestMemory::new(100));
        let large = memory.try_acquire(1000).expect("something is left");
        assert!(memory.try_acquire(1).is_none());
        drop(large);
        assert!(memory.try_acquire(1).is_some());
        assert!(Arc::new(RequestMemory::new(-1)).try_acquire(usize::MAX).is_some());
    }
}
