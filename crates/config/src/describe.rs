//! Answers to DescribeConfigs: each value with its source, and with every layer that has a say (KIP-226, KIP-569).

use crate::dynamic::{
    DynamicConfig, Overrides, behind_listener_prefix, broker_row, broker_synonyms, defined_rows,
};
use crate::table::{ENTITY, GROUP, Row, Scope, TOPIC, Table, Type};
use crate::topic::broker_default;
use crate::validate;

/// One setting of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    /// `None` for null and for what is sensitive.
    pub value: Option<String>,
    pub read_only: bool,
    pub source: ConfigSource,
    pub sensitive: bool,
    /// Every layer that sets the value or would, the strongest first. The request may not want them.
    pub synonyms: Vec<Layer>,
    /// `None` where no table knows the key.
    pub kind: Option<Type>,
    pub documentation: Option<&'static str>,
}

/// One layer's say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub name: String,
    /// `None` for what is sensitive.
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// Where a described value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicBrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

impl ConfigSource {
    /// As responses number it.
    pub fn id(self) -> i8 {
        self as i8
    }
}

impl Type {
    /// As responses number it; 0 is an unknown type.
    pub fn id(self) -> i8 {
        match self {
            Type::Boolean => 1,
            Type::String => 2,
            Type::Int => 3,
            Type::Short => 4,
            Type::Long => 5,
            Type::Double => 6,
            Type::List => 7,
            Type::Class => 8,
            Type::Password => 9,
        }
    }
}

impl DynamicConfig {
    /// Everything about this broker, in the order of names: what is set, whether or not a table knows it, and all of
    /// Kafka's keys that aren't internal.
    pub fn describe_broker(&self) -> Vec<Described> {
        let effective = self.effective();
        let keys = defined_rows().filter(|row| !row.internal).map(|row| row.name);
        let mut names: Vec<&str> = effective.settings().map(|(name, _)| name).chain(keys).collect();
        names.sort_unstable();
        names.dedup();
        let describe = |name: &str| {
            let value = match Table::Broker.find(name).filter(|row| row.scope == Scope::Broker) {
                Some(row) => effective.value(row).map(ToString::to_string),
                None => effective.setting(name).map(|setting| setting.text.clone()),
            };
            self.broker_setting(name, value, self.layers(name))
        };
        names.into_iter().map(describe).collect()
    }

    /// What is set for all brokers.
    pub fn describe_all_brokers(&self) -> Vec<Described> {
        let describe = |(name, text): (&String, &String)| {
            let layers =
                self.layers(name).into_iter().filter(|l| l.source == ConfigSource::DynamicDefaultBroker);
            self.broker_setting(name, Some(text.clone()), layers.collect())
        };
        self.all_brokers.iter().map(describe).collect()
    }

    /// Everything about a topic with these overrides, on this broker.
    pub fn describe_topic(&self, overrides: &Overrides) -> Vec<Described> {
        let effective = self.effective();
        let shown = TOPIC.iter().filter(|row| !row.internal || overrides.contains_key(row.name));
        let describe = |row: &'static Row| {
            let from_broker = broker_default(&effective, row).map(|value| value.to_string());
            let layers = row.synonyms.first().map_or_else(Vec::new, |synonym| self.layers(synonym.name));
            overridable(row, overrides, from_broker, layers, ConfigSource::Topic)
        };
        shown.map(describe).collect()
    }

    /// Everything about a group with these overrides.
    pub fn describe_group(&self, overrides: &Overrides) -> Vec<Described> {
        let effective = self.effective();
        let shown = GROUP.iter().filter(|row| !row.internal || overrides.contains_key(row.name));
        let describe = |row: &'static Row| {
            let from_broker = broker_default(&effective, row).map(|value| value.to_string());
            let layers = match row.synonyms.first() {
                Some(synonym) => self.layers(synonym.name),
                None => row
                    .default_text()
                    .map(|text| layer(row.name, text, ConfigSource::Default))
                    .into_iter()
                    .collect(),
            };
            overridable(row, overrides, from_broker, layers, ConfigSource::Group)
        };
        shown.map(describe).collect()
    }

    fn broker_setting(&self, name: &str, value: Option<String>, synonyms: Vec<Layer>) -> Described {
        let row = broker_row(name);
        let sensitive = row.is_none_or(Row::is_sensitive);
        let exact = row.filter(|row| row.name == name);
        Described {
            name: name.to_owned(),
            value: value.filter(|_| !sensitive),
            read_only: exact.is_none_or(|row| row.update_mode == crate::UpdateMode::ReadOnly),
            source: synonyms.first().map_or(ConfigSource::Default, |layer| layer.source),
            sensitive,
            synonyms,
            kind: row.map(|row| row.kind),
            documentation: exact.filter(|row| row.scope == Scope::Broker).map(|row| row.doc),
        }
    }

    /// Every layer's say on a broker key, the strongest first. Layers of other keys that say the same come only after the
    /// first of the key itself, as Kafka does it.
    fn layers(&self, name: &str) -> Vec<Layer> {
        let own = [name, behind_listener_prefix(name).unwrap_or("")];
        let family = broker_synonyms(name);
        let names: Vec<&str> = if family.is_empty() {
            own.into_iter().filter(|n| !n.is_empty()).collect()
        } else {
            family.to_vec()
        };
        let sensitive = broker_row(name).is_none_or(Row::is_sensitive);
        let dynamic = |overrides: &Overrides, name: &str| overrides.get(name).cloned();
        let fixed = |name: &str| self.fixed.setting(name).map(|setting| setting.text.clone());
        let default = |name: &str| broker_definition(name).and_then(Row::default_text).map(str::to_owned);
        let mut layers = Vec::new();
        let mut say = |source, of: &dyn Fn(&str) -> Option<String>| {
            for name in &names {
                if let Some(value) = of(name) {
                    layers.push(Layer {
                        name: (*name).to_owned(),
                        value: Some(value).filter(|_| !sensitive),
                        source,
                    });
                }
            }
        };
        say(ConfigSource::DynamicBroker, &|name| dynamic(&self.this_broker, name));
        say(ConfigSource::DynamicDefaultBroker, &|name| dynamic(&self.all_brokers, name));
        say(ConfigSource::StaticBroker, &fixed);
        say(ConfigSource::Default, &default);
        let start = layers.iter().position(|layer| layer.name == name).unwrap_or(layers.len());
        layers.split_off(start)
    }
}

/// Everything about a client metrics subscription with these overrides (KIP-714).
pub fn describe_client_metrics(overrides: &Overrides) -> Vec<Described> {
    let rows = ENTITY.iter().filter(|row| row.scope == Scope::ClientMetrics);
    rows.map(|row| {
        let default = row.default_text().map(str::to_owned);
        overridable(row, overrides, default, Vec::new(), ConfigSource::ClientMetrics)
    })
    .collect()
}

fn broker_definition(name: &str) -> Option<&'static Row> {
    Table::Broker.find(name).filter(|row| row.scope == Scope::Broker)
}

fn layer(name: &str, text: &str, source: ConfigSource) -> Layer {
    Layer { name: name.to_owned(), value: Some(text.to_owned()), source }
}

/// A key of a resource that has its own value, or that of the layers below.
fn overridable(
    row: &'static Row,
    overrides: &Overrides,
    below: Option<String>,
    layers: Vec<Layer>,
    source: ConfigSource,
) -> Described {
    let own = overrides
        .get(row.name)
        .and_then(|text| validate::parse(row, text).ok())
        .map(|value| value.to_string());
    let own_layer = own.as_ref().map(|text| layer(row.name, text, source));
    let synonyms: Vec<Layer> = own_layer.into_iter().chain(layers).collect();
    Described {
        name: row.name.to_owned(),
        value: own.or(below),
        read_only: false,
        source: synonyms.first().map_or(ConfigSource::Default, |layer| layer.source),
        sensitive: false,
        synonyms,
        kind: Some(row.kind),
        documentation: Some(row.doc),
    }
}

#[cfg(test)]
mod tests;
