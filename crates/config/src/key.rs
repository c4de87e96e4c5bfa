//! Typed keys.

use std::fmt;
use std::marker::PhantomData;

use crate::table::Row;
use crate::value::{Password, Value};

/// A key whose values have the Rust type `T`; `Option<..>` where its default is null.
pub struct Key<T> {
    row: &'static Row,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// Only the generated constants make keys: that `T` fits the row's type is what makes reading infallible.
    pub(crate) const fn of(row: &'static Row) -> Key<T> {
        Key { row, of: PhantomData }
    }

    pub const fn row(self) -> &'static Row {
        self.row
    }

    pub const fn name(self) -> &'static str {
        self.row.name
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Key<T> {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row.name)
    }
}

/// Rust types that a key's values can have.
pub trait FromValue {
    /// How a value is handed out: numbers by value, texts and lists by reference.
    type Out<'a>;

    /// `None` when the value is null or of another type.
    fn from_value(value: Option<&Value>) -> Option<Self::Out<'_>>;
}

macro_rules! from_value {
    ($rust:ty, $out:ty, $pattern:pat => $read:expr) => {
        impl FromValue for $rust {
            type Out<'a> = $out;
            #[allow(clippy::needless_lifetimes)]
            fn from_value<'a>(value: Option<&'a Value>) -> Option<$out> {
                match value {
                    Some($pattern) => Some($read),
                    _ => None,
                }
            }
        }
    };
}

from_value!(bool, bool, Value::Boolean(v) => *v);
from_value!(i32, i32, Value::Int(v) => *v);
from_value!(i16, i16, Value::Short(v) => *v);
from_value!(i64, i64, Value::Long(v) => *v);
from_value!(f64, f64, Value::Double(v) => *v);
from_value!(String, &'a str, Value::String(v) => v.as_str());
from_value!(Vec<String>, &'a [String], Value::List(v) => v.as_slice());
from_value!(Password, &'a Password, Value::Password(v) => v);

impl<T: FromValue> FromValue for Option<T> {
    type Out<'a> = Option<T::Out<'a>>;
    fn from_value(value: Option<&Value>) -> Option<Option<T::Out<'_>>> {
        match value {
            None => Some(None),
            some => T::from_value(some).map(Some),
        }
    }
}
