//! Settings: one row a key, parsing, precedence, validation, and their effective values.
//!
//! The tables under `tables/` say everything about a key once: name, type, default, what values it may have, how it may
//! be changed, whether anything acts on it. Typed key constants are generated from them, so reading a setting can
//! neither misspell it nor get its type wrong, and every value that a [`Config`] holds has passed its row's validation.
//! Nothing here opens a file or reads the environment: texts come in, values and reports go out.

pub mod alter;
mod built_in;
mod config;
#[cfg(test)]
mod damage_tests;
mod describe;
mod duration;
mod dynamic;
mod endpoint;
mod environment;
mod error;
mod key;
mod load;
mod markdown;
mod node;
mod offset_reset;
pub mod properties;
mod refusal;
mod report;
mod rules;
mod table;
mod topic;
mod unknown;
mod validate;
mod value;
mod waiting;

pub use built_in::BuiltIn;
pub use config::{Config, Setting, Source};
pub use describe::{ConfigSource, Described, Layer, describe_client_metrics};
pub use duration::parse_iso_duration_ms;
pub use dynamic::{DynamicConfig, Overrides};
pub use endpoint::{Endpoint, ProtocolMap, SecurityProtocol};
pub use error::{ConfigError, ConfigErrors};
pub use key::{FromValue, Key};
pub use load::{Inputs, Warning};
pub use markdown::configuration_markdown;
pub use node::Roles;
pub use offset_reset::OffsetResetStrategy;
pub use refusal::{RACK_AWARE_REPLICA_SELECTOR, Refusal, Supported, cautions, refusals};
pub use report::check_report;
pub use table::{
    BROKER, DefaultValue, ENTITY, GROUP, Importance, Neglect, Row, Scope, Synonym, TOPIC, Table, Type,
    UpdateMode, entity_keys, group_keys, keys, topic_keys,
};
pub use topic::{CleanupPolicy, CompressionType, TimestampType, TopicConfig, broker_default};
pub use unknown::{close_key, closest};
pub use validate::{HostPort, QuorumVoter, Validator};
pub use value::{Password, Value, parse_boolean};
