//! The tables of settings, read when the first setting is asked for.

use std::fmt;
use std::sync::LazyLock;

use ottla_config::{Type, Validator, Value};

/// Whose settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Producer,
    Consumer,
    /// A member of a share group.
    ShareConsumer,
    Admin,
}

/// What becomes of a setting here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handling {
    /// It has its effect.
    Honoured,
    /// Only its default is possible.
    Refused,
    /// It has no effect, which whoever sets it is told.
    Warned,
    /// It must not be set at all, as in Kafka.
    Forbidden,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub name: &'static str,
    kind: Type,
    /// `None` is null, or that there is no default.
    default: Option<&'static str>,
    validator: Validator,
    pub handling: Handling,
    /// Why it is refused, or has no effect.
    pub reason: &'static str,
}

static PRODUCER: LazyLock<Vec<Row>> = LazyLock::new(|| rows(include_str!("../../tables/producer.tsv")));
static CONSUMER: LazyLock<Vec<Row>> = LazyLock::new(|| rows(include_str!("../../tables/consumer.tsv")));
static SHARE_CONSUMER: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let differing = rows(include_str!("../../tables/share_consumer.tsv"));
    let differs = |row: &Row| differing.iter().find(|other| other.name == row.name);
    CONSUMER.iter().map(|row| differs(row).unwrap_or(row).clone()).collect()
});
static ADMIN: LazyLock<Vec<Row>> = LazyLock::new(|| rows(include_str!("../../tables/admin.tsv")));

impl Scope {
    pub(crate) fn rows(self) -> &'static [Row] {
        match self {
            Scope::Producer => &PRODUCER,
            Scope::Consumer => &CONSUMER,
            Scope::ShareConsumer => &SHARE_CONSUMER,
            Scope::Admin => &ADMIN,
        }
    }

    pub(crate) fn row(self, key: &str) -> Option<&'static Row> {
        let rows = self.rows();
        let place = rows.binary_search_by(|row| row.name.cmp(key)).ok()?;
        rows.get(place)
    }

    /// The key that was probably meant.
    pub(super) fn close_key(self, key: &str) -> Option<&'static str> {
        ottla_config::closest(key, self.rows().iter().map(|row| row.name))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Producer => "producer",
            Scope::Consumer => "consumer",
            Scope::ShareConsumer => "share consumer",
            Scope::Admin => "admin client",
        })
    }
}

impl Row {
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let value = Value::parse(self.name, self.kind, text).map_err(|error| error.to_string())?;
        self.validator.check(self.name, &value).map_err(|error| error.to_string())?;
        Ok(value)
    }

    pub fn default_text(&self) -> Option<&'static str> {
        self.default
    }

    pub fn default_value(&self) -> Option<Value> {
        Value::parse(self.name, self.kind, self.default?).ok()
    }
}

/// A row that can't be read is left out; a test sees to it that there is none.
fn rows(table: &'static str) -> Vec<Row> {
    table.lines().skip(1).filter_map(row).collect()
}

fn row(line: &'static str) -> Option<Row> {
    let mut cells = line.split('\t');
    let mut cell = || cells.next();
    let (name, kind, default, validator) = (cell()?, kind(cell()?)?, cell()?, validator(cell()?)?);
    let _importance = cell()?;
    let handling = match cell()? {
        "honoured" => Handling::Honoured,
        "refused" => Handling::Refused,
        "warned" => Handling::Warned,
        "forbidden" => Handling::Forbidden,
        _ => return None,
    };
    let default = match default {
        "null" | "(required)" => None,
        "\"\"" => Some(""),
        text => Some(text),
    };
    Some(Row { name, kind, default, validator, handling, reason: cell()? })
}

fn kind(name: &str) -> Option<Type> {
    Some(match name {
        "boolean" => Type::Boolean,
        "int" => Type::Int,
        "short" => Type::Short,
        "long" => Type::Long,
        "double" => Type::Double,
        "string" => Type::String,
        "class" => Type::Class,
        "list" => Type::List,
        "password" => Type::Password,
        _ => return None,
    })
}

fn validator(cell: &'static str) -> Option<Validator> {
    let words = |list: &'static str| -> Option<&'static [&'static str]> {
        let inside = list.strip_prefix('[')?.strip_suffix(']')?;
        // Once for each row, for as long as the process lives.
        Some(inside.split(',').map(str::trim).collect::<Vec<_>>().leak())
    };
    Some(match cell {
        "" | "[true, false]" => Validator::Any,
        "non-empty string" => Validator::NonEmptyString,
        "[1,...,9] or -1" => Validator::GzipLevel,
        "[latest, earliest, none, by_duration:PnDTnHnMn.nS]" => Validator::Any,
        range if range.contains("...") => {
            let inside = range.strip_prefix('[')?.strip_suffix(']')?;
            let (min, max) = inside.split_once("...")?;
            let bound = |text: &str| text.trim_matches(',').parse::<f64>().ok();
            Validator::Range { min: bound(min), max: bound(max) }
        }
        any_case if any_case.starts_with("(case insensitive) ") => {
            Validator::OneOfIgnoringCase(words(any_case.strip_prefix("(case insensitive) ")?)?)
        }
        list => Validator::OneOf(words(list)?),
    })
}
