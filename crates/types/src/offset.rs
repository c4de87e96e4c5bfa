use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// Position of a record in a partition's log: 0 for the first record ever appended. Negative values have
/// protocol-defined meanings, of which [`Offset::UNKNOWN`] is the one that is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    pub const ZERO: Offset = Offset(0);
    pub const MAX: Offset = Offset(i64::MAX);
    /// "No offset", as Kafka writes it on the wire and on disk.
    pub const UNKNOWN: Offset = Offset(-1);

    pub const fn value(self) -> i64 {
        self.0
    }

    /// The offset after this one.
    pub const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl Add<i64> for Offset {
    type Output = Offset;
    fn add(self, records: i64) -> Offset {
        Offset(self.0 + records)
    }
}

impl AddAssign<i64> for Offset {
    fn add_assign(&mut self, records: i64) {
        self.0 += records;
    }
}

impl Sub<i64> for Offset {
    type Output = Offset;
    fn sub(self, records: i64) -> Offset {
        Offset(self.0 - records)
    }
}

/// The number of offsets between two positions.
impl Sub<Offset> for Offset {
    type Output = i64;
    fn sub(self, other: Offset) -> i64 {
        self.0 - other.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<i64> for Offset {
    fn from(value: i64) -> Offset {
        Offset(value)
    }
}
