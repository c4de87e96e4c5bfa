//! DescribeLogDirs (KIP-113, KIP-827, KIP-1066): directories, how full they are, and the sizes of the logs in them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use ottla_config::keys;
use ottla_log::UnifiedLog;
use ottla_log::disk::Space;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_log_dirs_request::{DescribeLogDirsRequest, Topic as AskedTopic};
use ottla_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsResponse, Partition, Result as LogDir, Topic,
};

use super::call::Call;
use crate::node::Node;

const CORDONED_SINCE: i16 = 5;
/// `cordoned.log.dirs` that stands for all of them.
const ALL_DIRS: &str = "*";
/// The lag of a replica that is not there.
const UNKNOWN_LAG: i64 = -1;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeLogDirsRequest>) {
    let wanted = call.request.topics.as_deref().map(wanted);
    let logs: Vec<_> = node
        .logs
        .logs()
        .into_iter()
        .map(|log| (log, false))
        .chain(node.logs.future_logs().into_iter().map(|log| (log, true)))
        .filter(|(log, _)| {
            let id = log.partition();
            wanted.as_ref().is_none_or(|wanted| wanted.contains(&(&*id.topic, id.partition)))
        })
        .collect();
    let online = node.logs.online_dirs().into_iter().map(|dir| online_dir(node, &dir, &logs));
    let offline = node.logs.offline_dirs().into_iter().map(|dir| failed_dir(&dir));
    let mut results: Vec<_> = online.chain(offline).collect();
    if call.context.version() >= CORDONED_SINCE {
        let config = node.effective_config();
        let cordoned = config.get(keys::CORDONED_LOG_DIRS);
        for dir in &mut results {
            dir.is_cordoned =
                cordoned.iter().any(|cordoned| cordoned == ALL_DIRS || *cordoned == dir.log_dir);
        }
    }
    let response = DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() };
    call.reply(&response);
}

fn wanted(topics: &[AskedTopic]) -> HashSet<(&str, i32)> {
    let of_topic = |topic: &AskedTopic| topic.partitions.len();
    let mut wanted = HashSet::with_capacity(topics.iter().map(of_topic).sum());
    for topic in topics {
        wanted.extend(topic.partitions.iter().map(|partition| (topic.topic.as_str(), *partition)));
    }
    wanted
}

fn online_dir(node: &Node, dir: &Path, logs: &[(Arc<UnifiedLog>, bool)]) -> LogDir {
    let space = match node.logs.context().disk.space(dir) {
        Ok(space) => space,
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "the space in a log directory can't be told");
            return failed_dir(dir);
        }
    };
    let Space { total_bytes, usable_bytes } = space;
    let mut topics: BTreeMap<&str, Vec<Partition>> = BTreeMap::new();
    for (log, is_future) in logs.iter().filter(|(log, _)| log.log_dir() == dir) {
        topics.entry(&log.partition().topic).or_default().push(describe(node, log, *is_future));
    }
    LogDir {
        log_dir: dir.display().to_string(),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| Topic { name: name.to_owned(), partitions, ..Topic::default() })
            .collect(),
        total_bytes: i64::try_from(total_bytes).unwrap_or(i64::MAX),
        usable_bytes: i64::try_from(usable_bytes).unwrap_or(i64::MAX),
        ..LogDir::default()
    }
}

fn failed_dir(dir: &Path) -> LogDir {
    LogDir {
        error_code: ErrorCode::KafkaStorageError.code(),
        log_dir: dir.display().to_string(),
        ..LogDir::default()
    }
}

fn describe(node: &Node, log: &UnifiedLog, is_future: bool) -> Partition {
    Partition {
        partition_index: log.partition().partition,
        partition_size: i64::try_from(log.size_bytes()).unwrap_or(i64::MAX),
        offset_lag: offset_lag(node, log, is_future),
        is_future_key: is_future,
        ..Partition::default()
    }
}

/// How far a log is behind what it should hold: a current one behind the high watermark, a future one behind the
/// current one.
fn offset_lag(node: &Node, log: &UnifiedLog, is_future: bool) -> i64 {
    let id = log.partition();
    let Some(replica) = node.replicas.partition(&id.topic, id.partition) else { return UNKNOWN_LAG };
    let (current, end) = (replica.log(), log.log_end_offset());
    if is_future { current.log_end_offset() - end } else { (current.high_watermark() - end).max(0) }
}
