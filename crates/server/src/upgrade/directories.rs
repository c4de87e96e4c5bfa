//! What `meta.properties` and the marks in the directories say.

use std::collections::BTreeSet;
use std::path::Path;

use ottla_config::{Config, keys};
use ottla_log::clean_shutdown;
use ottla_log::dir_lock;
use ottla_log::disk::Disk;
use ottla_types::NodeId;

use super::Report;
use crate::storage::{LogDirs, info};

/// Returns whose they are.
pub(super) fn look_at(
    disk: &dyn Disk,
    dirs: &BTreeSet<String>,
    config: Option<&Config>,
    report: &mut Report,
) -> Option<NodeId> {
    let found = info(disk, dirs.iter().map(String::as_str));
    let loaded = LogDirs::load(disk, dirs.iter().map(String::as_str));
    if let Some((_, properties)) = loaded.formatted().next() {
        let id = properties.node_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let cluster = properties.cluster_id.as_deref().unwrap_or("unknown");
        report.facts.push(format!("node {id} of cluster {cluster}"));
        let node_id = config.map(|config| NodeId(config.get(keys::NODE_ID))).or(properties.node_id);
        // What both say is said once.
        if let (false, Some(Err(error))) =
            (found.has_problems(), node_id.map(|node_id| loaded.verify(None, node_id)))
        {
            report.in_the_way(error.to_string());
        }
    }
    for problem in &found.problems {
        report.in_the_way(problem);
    }
    for (dir, _) in loaded.formatted() {
        look_at_stop(disk, dir, report);
    }
    loaded.formatted().find_map(|(_, properties)| properties.node_id)
}

fn look_at_stop(disk: &dyn Disk, dir: &str, report: &mut Report) {
    let path = Path::new(dir);
    match dir_lock::is_held_elsewhere(path) {
        Ok(true) => report.to_know(format!(
            "{dir} is in use by a running process: this is what it looks like at the moment. Stop the node in good order \
             before it is taken over"
        )),
        Ok(false) => match clean_shutdown::read(disk, path) {
            Ok(Some(_)) => {}
            Ok(None) => report.to_know(format!(
                "{dir} was not left clean, or never used: its logs are recovered at the next start, by whichever program. \
                 Start and stop the node in good order to spare that"
            )),
            Err(error) => report.in_the_way(format!("{dir} can't be read: {error}")),
        },
        Err(error) => report.in_the_way(format!("{dir} can't be used: {error}")),
    }
}
