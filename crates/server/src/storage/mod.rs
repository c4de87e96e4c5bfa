//! Formatting of log directories, and what is known of them before anything in them is opened: the work of
//! `ottla storage`, which startup relies on too. Texts and results are those of Apache Kafka's kafka-storage.

mod dynamic_voters;
mod features;
mod formatter;
mod info;
mod log_dirs;
mod scram;

pub use dynamic_voters::{DynamicVoters, DynamicVotersError};
pub use features::{FeatureError, FeatureLevels, feature_dependencies, version_mapping};
pub use formatter::{FormatError, Formatter};
pub use info::{Info, info};
pub use log_dirs::{LogDirState, LogDirs, LogDirsError};
pub use scram::{ScramError, scram_credential};

#[cfg(test)]
mod tests;
