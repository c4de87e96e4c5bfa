//! What bounds connections and the memory of requests, over all listeners of the process.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

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
        }
    }
}

/// Counts open connections against the limits (KIP-402, KIP-308).
#[derive(Debug, Default)]
pub struct ConnectionLimits {
    state: Mutex<Counts>,
    /// Told whenever a connection closes or the limits change.
    pub released: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    settings: ConnectionLimitSettings,
    total: usize,
    per_listener: HashMap<Arc<str>, usize>,
    per_ip: HashMap<IpAddr, usize>,
    accepted: AcceptedRate,
    accepted_per_listener: HashMap<Arc<str>, AcceptedRate>,
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

/// One counted connection; dropping it gives the place back.
#[derive(Debug)]
pub struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    listener: Arc<str>,
    ip: IpAddr,
}

impl ConnectionLimits {
    pub fn new(settings: ConnectionLimitSettings) -> ConnectionLimits {
        ConnectionLimits {
            state: Mutex::new(Counts { settings, ..Counts::default() }),
            released: Notify::new(),
        }
    }

    /// Takes new limits; connections over them stay.
    pub fn update(&self, settings: ConnectionLimitSettings) {
        self.state.lock().settings = settings;
        self.released.notify_waiters();
    }

    /// Whether the broker's and the listener's totals leave room for one more. Where not, the acceptor leaves new
    /// connections in the listen backlog.
    pub fn has_room(&self, listener: &str) -> bool {
        let counts = self.state.lock();
        let of_listener = counts.per_listener.get(listener).copied().unwrap_or(0);
        counts.total < counts.settings.max_connections
            && counts.settings.per_listener.get(listener).is_none_or(|&max| of_listener < max)
    }

    /// Counts a connection that was accepted.
    pub fn admit(self: &Arc<Self>, listener: &Arc<str>, ip: IpAddr) -> Admission {
        let mut counts = self.state.lock();
        let limit =
            *counts.settings.per_ip_overrides.get(&ip).unwrap_or(&counts.settings.max_connections_per_ip);
        let of_ip = counts.per_ip.get(&ip).copied().unwrap_or(0);
        if of_ip >= limit {
            return Admission::TooManyFromAddress { limit };
        }
        counts.total += 1;
        *counts.per_listener.entry(Arc::clone(listener)).or_default() += 1;
        *counts.per_ip.entry(ip).or_default() += 1;
        drop(counts);
        Admission::Admitted(ConnectionPermit { limits: Arc::clone(self), listener: Arc::clone(listener), ip })
    }

    /// Counts a connection against the rates; returns how long the acceptor is to wait.
    pub fn count_accepted(&self, listener: &Arc<str>, now: Instant) -> Duration {
        let mut counts = self.state.lock();
        let rate = counts.settings.rate;
        let wait = counts.accepted.count(rate, now);
        let Some(&rate) = counts.settings.rate_per_listener.get(listener) else { return wait };
        wait.max(counts.accepted_per_listener.entry(Arc::clone(listener)).or_default().count(rate, now))
    }

    /// Open connections over all listeners.
    pub fn total(&self) -> usize {
        self.state.lock().total
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limits.state.lock();
        counts.total -= 1;
        if let Some(of_listener) = counts.per_listener.get_mut(&self.listener) {
            *of_listener -= 1;
        }
        if let Some(of_ip) = counts.per_ip.get_mut(&self.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                counts.per_ip.remove(&self.ip);
            }
        }
        drop(counts);
        self.limits.released.notify_waiters();
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

    fn limits(settings: ConnectionLimitSettings) -> (Arc<ConnectionLimits>, Arc<str>) {
        (Arc::new(ConnectionLimits::new(settings)), Arc::from("PLAINTEXT"))
    }

    #[test]
    fn an_address_gets_its_own_limit() {
        let (limits, listener) = limits(ConnectionLimitSettings {
            max_connections_per_ip: 1,
            per_ip_overrides: HashMap::from([(B, 2)]),
            ..ConnectionLimitSettings::default()
        });
        let Admission::Admitted(first) = limits.admit(&listener, A) else { panic!("the first is admitted") };
        assert!(matches!(limits.admit(&listener, A), Admission::TooManyFromAddress { limit: 1 }));
        let others: Vec<_> = (0..2).map(|_| limits.admit(&listener, B)).collect();
        assert!(others.iter().all(|a| matches!(a, Admission::Admitted(_))));
        assert!(matches!(limits.admit(&listener, B), Admission::TooManyFromAddress { limit: 2 }));
        drop(first);
        assert!(matches!(limits.admit(&listener, A), Admission::Admitted(_)));
    }

    #[test]
    fn the_total_and_a_listeners_total_leave_room_again() {
        let (limits, listener) = limits(ConnectionLimitSettings {
            max_connections: 2,
            per_listener: HashMap::from([(Arc::from("PLAINTEXT"), 1)]),
            ..ConnectionLimitSettings::default()
        });
        let first = limits.admit(&listener, A);
        assert!(!limits.has_room(&listener));
        assert!(limits.has_room("OTHER"));
        let _second = limits.admit(&Arc::from("OTHER"), A);
        assert!(!limits.has_room("OTHER"));
        drop(first);
        assert!(limits.has_room(&listener));
        assert_eq!(limits.total(), 1);
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
