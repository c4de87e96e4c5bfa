//! The rows behind every key, as generated from `tables/*.tsv`.

use crate::key::Key;
use crate::validate::Validator;
use crate::value::{Password, Value};

/// Everything there is to know about one key.
#[derive(Debug)]
pub struct Row {
    pub table: Table,
    /// Position in its table.
    pub index: usize,
    pub name: &'static str,
    pub scope: Scope,
    pub kind: Type,
    pub default: DefaultValue,
    pub validator: Validator,
    pub importance: Importance,
    /// Not documented for users, and not shown by DescribeConfigs unless it is set.
    pub internal: bool,
    pub update_mode: UpdateMode,
    /// Whether changing it changes what the program does.
    pub acted_on: bool,
    /// What to make of a value that nothing acts on.
    pub neglect: Neglect,
    /// Broker keys that give a topic or group key its default: the first that is set wins.
    pub synonyms: &'static [Synonym],
    /// Broker key whose value bounds a group key from below.
    pub lower_bound: Option<&'static str>,
    /// Broker key whose value bounds a group key from above.
    pub upper_bound: Option<&'static str>,
    pub doc: &'static str,
}

impl Row {
    /// The default as text; `None` where there is none or it is null.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            DefaultValue::Text(text) => Some(text),
            DefaultValue::Null | DefaultValue::Required => None,
        }
    }

    /// The default as a value; `None` where there is none or it is null.
    pub fn default_value(&self) -> Option<Value> {
        self.default_text().and_then(|text| Value::parse(self.name, self.kind, text).ok())
    }

    /// Values of this key must not be shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Type::Password
    }
}

/// Which file of `tables/` a row is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    Broker,
    Topic,
    Group,
    Entity,
}

impl Table {
    pub fn rows(self) -> &'static [Row] {
        match self {
            Table::Broker => &BROKER,
            Table::Topic => &TOPIC,
            Table::Group => &GROUP,
            Table::Entity => &ENTITY,
        }
    }

    pub fn find(self, name: &str) -> Option<&'static Row> {
        let rows = self.rows();
        rows.binary_search_by(|row| row.name.cmp(name)).ok().and_then(|at| rows.get(at))
    }
}

/// What a key configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A node, through its file, environment or flags, and dynamically as far as its update mode allows.
    Broker,
    /// A node, but only dynamically.
    DynamicOnly,
    /// Handed on to an authorizer, which may read it; no definition lists it.
    Authorizer,
    /// Handed on to the manager of remote log metadata.
    RemoteLogMetadata,
    Topic,
    Group,
    UserClientId,
    User,
    Ip,
    ClientMetrics,
}

/// Type of a key's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Boolean,
    Int,
    Short,
    Long,
    Double,
    String,
    List,
    Class,
    Password,
}

/// A key's value while nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    Text(&'static str),
    Null,
    /// There is none: it must be set.
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// How a running node's value may be changed (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only by a restart.
    ReadOnly,
    /// For one broker.
    PerBroker,
    /// For one broker, or as the default of all.
    ClusterWide,
}

/// What to make of a value that nothing acts on yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neglect {
    /// Say so in a warning.
    Harmless,
    /// Refuse any value but the default: neglecting it would weaken security or durability.
    Refuse,
    /// Refuse listeners whose security protocol isn't served.
    Protocol,
}

/// A broker key that gives another key its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    /// One unit of the broker key in units of the other.
    pub factor: i64,
}

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

#[cfg(test)]
mod tests;
