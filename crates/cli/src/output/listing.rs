//! Rows and what is known of one thing: made once from a table of columns, printed in any format.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::cell::Cell;

/// A column: its name, as programs read it, and what stands there.
#[derive(Debug)]
pub struct Column<T> {
    pub name: &'static str,
    /// People see it with `-o wide` only; programs always.
    pub is_wide: bool,
    pub cell: fn(&T) -> Cell,
}

pub const fn column<T>(name: &'static str, cell: fn(&T) -> Cell) -> Column<T> {
    Column { name, is_wide: false, cell }
}

pub const fn wide<T>(name: &'static str, cell: fn(&T) -> Cell) -> Column<T> {
    Column { name, is_wide: true, cell }
}

/// The head of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub name: &'static str,
    pub is_wide: bool,
}

/// Rows of the same columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    pub heads: Vec<Head>,
    pub rows: Vec<Vec<Cell>>,
}

impl Listing {
    pub fn of<'a, T: 'a>(columns: &[Column<T>], rows: impl IntoIterator<Item = &'a T>) -> Listing {
        let row = |of: &T| columns.iter().map(|column| (column.cell)(of)).collect();
        Listing { heads: heads(columns), rows: rows.into_iter().map(row).collect() }
    }

    pub(super) fn objects(&self) -> Vec<Object<'_>> {
        self.rows.iter().map(|row| Object { heads: &self.heads, row }).collect()
    }
}

pub fn heads<T>(columns: &[Column<T>]) -> Vec<Head> {
    columns.iter().map(|column| Head { name: column.name, is_wide: column.is_wide }).collect()
}

/// One thing: what is to be said of it, and lists of what it consists of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Of one row.
    pub fields: Listing,
    pub sections: Vec<(&'static str, Listing)>,
}

impl Details {
    pub fn of<T>(columns: &[Column<T>], row: &T) -> Details {
        Details { fields: Listing::of(columns, [row]), sections: Vec::new() }
    }

    #[must_use]
    pub fn section(mut self, name: &'static str, listing: Listing) -> Details {
        self.sections.push((name, listing));
        self
    }
}

/// A row for programs.
pub(super) struct Object<'a> {
    pub heads: &'a [Head],
    pub row: &'a [Cell],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.heads.iter().map(|head| head.name).zip(self.row))
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        if let Some(row) = self.fields.rows.first() {
            for (head, cell) in self.fields.heads.iter().zip(row) {
                map.serialize_entry(head.name, cell)?;
            }
        }
        for (name, listing) in &self.sections {
            map.serialize_entry(name, &listing.objects())?;
        }
        map.end()
    }
}
