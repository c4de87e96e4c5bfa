use std::fmt;

/// Wall-clock time in milliseconds since the Unix epoch, as Kafka stores it in records. It may jump either way, so
/// timeouts are never measured with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// "No timestamp", as Kafka writes it.
    pub const NONE: Timestamp = Timestamp(-1);

    pub const fn value(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds on a clock that never goes back, counted from an arbitrary start. Timeouts and deadlines use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoMs(pub u64);

impl MonoMs {
    /// The end of time: a deadline that is never reached.
    pub const NEVER: MonoMs = MonoMs(u64::MAX);

    /// This moment plus `ms`; negative counts as zero, as Kafka takes a negative timeout.
    pub const fn plus_ms(self, ms: i64) -> MonoMs {
        if ms <= 0 { self } else { MonoMs(self.0.saturating_add(ms as u64)) }
    }

    /// Milliseconds from `earlier` to this moment; zero when `earlier` is later.
    pub const fn since_ms(self, earlier: MonoMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The two clocks, read once at the edge and passed inward: state machines never read a clock themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// What goes into records and is compared with record timestamps.
    pub wall: Timestamp,
    /// What deadlines are compared with.
    pub mono: MonoMs,
}
