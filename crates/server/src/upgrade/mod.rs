//! What would not work, or not be acted on, if this program took over the directories of a node of Apache Kafka: the work of
//! `ottla upgrade-check`. Nothing is written, and a node that runs on the directories may go on.

mod cluster;
mod directories;
mod logs;
mod metadata;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use ottla_broker::quorum::PARTITION_DIR;
use ottla_config::{Config, Supported, Warning, cautions, refusals};
use ottla_log::disk::Disk;

pub use report::{Finding, Report, Weight};

/// What a node with this configuration would refuse to start with, and what it would say.
pub fn check_settings(config: &Config, warnings: &[Warning], report: &mut Report) {
    for refusal in refusals(config, &Supported::plaintext_node()) {
        report.in_the_way(refusal.to_string());
    }
    for warning in warnings.iter().chain(&cautions(config)) {
        match warning {
            Warning::NotActedOn { .. } => report.not_acted_on(warning.to_string()),
            Warning::Unknown { .. } | Warning::Doubtful { .. } => report.to_know(warning.to_string()),
        }
    }
}

/// Looks at directories of one node. `config`: that of the node, where it is known.
pub fn check_directories(
    disk: &dyn Disk,
    dirs: &BTreeSet<String>,
    config: Option<&Config>,
    report: &mut Report,
) {
    let own = directories::look_at(disk, dirs, config, report);
    let mut has_metadata = false;
    for dir in dirs.iter().map(Path::new).filter(|dir| matches!(disk.exists(dir), Ok(true))) {
        if !matches!(disk.exists(&dir.join(PARTITION_DIR)), Ok(true)) {
            logs::look_at(disk, dir, report);
            continue;
        }
        has_metadata = true;
        match metadata::read(disk, dir) {
            Ok(found) => cluster::look_at(&found, own, config, report),
            Err(error) => report.in_the_way(format!("the metadata log in {}: {error}", dir.display())),
        }
        logs::look_at(disk, dir, report);
    }
    if !has_metadata {
        report.to_know(
            "there is no metadata log in these directories, so nothing is known of the cluster: name that of \
             metadata.log.dir too, if the node has run already",
        );
    }
}
