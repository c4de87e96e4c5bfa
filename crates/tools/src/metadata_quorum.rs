//! kafka-metadata-quorum: the quorum of controllers, and who votes in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ottla_client::admin::{Admin, QuorumEndpoint, QuorumInfo, QuorumReplica};
use ottla_types::Uuid;

use crate::flags::Parsed;
use crate::net::{Connection, message};
use crate::table::print_tabbed;
use crate::time::now_ms;
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-metadata-quorum", run: Run::Flags(run) };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Status,
    Replication {
        for_people: bool,
    },
    /// The settings of the controller.
    Add {
        config: String,
        is_dry: bool,
    },
    Remove {
        id: i32,
        directory: Uuid,
        is_dry: bool,
    },
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let mut connection = Connection::of(parsed)?;
        let is_dry = parsed.has("--dry-run");
        let action = match parsed.command() {
            Some("add-controller") => {
                connection = connection.sharing_config();
                addition(parsed, is_dry)?
            }
            Some("remove-controller") => removal(parsed, is_dry)?,
            _ => description(parsed)?,
        };
        Ok(Plan { connection, action })
    }
}

fn description(parsed: &Parsed) -> Result<Action, Failure> {
    let (status, replication) = (parsed.has("--status"), parsed.has("--replication"));
    let for_people = parsed.has("--human-readable");
    match (status, replication) {
        (true, true) => {
            Err(said("Only one of --status or --replication should be specified with describe sub-command"))
        }
        (true, false) if for_people => {
            Err(said("The option --human-readable is only supported along with --replication"))
        }
        (true, false) => Ok(Action::Status),
        (false, true) => Ok(Action::Replication { for_people }),
        (false, false) => {
            Err(said("One of --status or --replication must be specified with describe sub-command"))
        }
    }
}

fn addition(parsed: &Parsed, is_dry: bool) -> Result<Action, Failure> {
    let config = parsed.value("--command-config").map(str::to_owned).ok_or_else(|| {
        said("You must supply the configuration file of the controller you are adding when using add-controller.")
    })?;
    Ok(Action::Add { config, is_dry })
}

fn removal(parsed: &Parsed, is_dry: bool) -> Result<Action, Failure> {
    let id = parsed.number("--controller-id").unwrap_or_default();
    if id < 0 {
        return Err(said(format_args!("Invalid negative --controller-id: {id}")));
    }
    let text = parsed.value("--controller-directory-id").unwrap_or_default();
    let directory =
        text.parse().map_err(|_| said(format_args!("Failed to parse --controller-directory-id: {text}")))?;
    Ok(Action::Remove { id, directory, is_dry })
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| match &plan.action {
        Action::Status => {
            let info = quorum(admin).await?;
            let cluster = admin.describe_cluster(false).await.map_err(error)?;
            print_status(&cluster.cluster_id, &info, output)
        }
        Action::Replication { for_people } => {
            print_replication(&quorum(admin).await?, *for_people, now_ms(), output)
        }
        Action::Add { config, is_dry } => add(admin, config, *is_dry, output).await,
        Action::Remove { id, directory, is_dry } => {
            if !is_dry {
                admin.remove_raft_voter(*id, *directory).await.map_err(error)?;
            }
            let done = if *is_dry { "DRY RUN of removing " } else { "Removed " };
            output.line(format_args!("{done} KRaft controller {id} with directory id {directory}"))
        }
    })
}

fn error(error: ottla_client::ClientError) -> Failure {
    said(format_args!("Error: {}", message(&error)))
}

async fn quorum(admin: &Admin) -> Result<QuorumInfo, Failure> {
    admin.describe_quorum().await.map_err(error)
}

fn print_status(cluster_id: &str, info: &QuorumInfo, output: &mut Output<'_>) -> Result<(), Failure> {
    let leader = info.voters.iter().find(|voter| voter.id == info.leader_id);
    let leader_end = leader.map_or(0, |leader| leader.log_end_offset);
    let followers = || info.voters.iter().filter(|voter| voter.id != info.leader_id);
    let lag = followers().map(|voter| leader_end - voter.log_end_offset).max().unwrap_or(0);
    let lag_ms = match (followers().map(|voter| voter.last_caught_up_timestamp).min(), leader) {
        (None, _) => 0,
        (Some(-1), _) | (_, None) => -1,
        (Some(earliest), Some(leader)) => leader.last_caught_up_timestamp - earliest,
    };
    for (name, value) in [
        ("ClusterId", cluster_id.to_owned()),
        ("LeaderId", info.leader_id.to_string()),
        ("LeaderEpoch", info.leader_epoch.to_string()),
        ("HighWatermark", info.high_watermark.to_string()),
        ("MaxFollowerLag", lag.to_string()),
        ("MaxFollowerLagTimeMs", lag_ms.to_string()),
        ("CurrentVoters", replicas(&info.voters, &info.nodes)),
        ("CurrentObservers", replicas(&info.observers, &BTreeMap::new())),
    ] {
        output.line(format_args!("{:<24}{value}", format!("{name}:")))?;
    }
    Ok(())
}

fn replicas(of: &[QuorumReplica], nodes: &BTreeMap<i32, Vec<QuorumEndpoint>>) -> String {
    let shown = |replica: &QuorumReplica| {
        let directory = match replica.directory_id.is_zero() {
            true => String::new(),
            false => format!(", \"directoryId\": \"{}\"", replica.directory_id),
        };
        let endpoints = nodes.get(&replica.id).filter(|endpoints| !endpoints.is_empty());
        let endpoints = endpoints.map(|endpoints| {
            let texts: Vec<String> = endpoints.iter().map(|of| format!("\"{}\"", endpoint(of))).collect();
            format!(", \"endpoints\": [{}]", texts.join(", "))
        });
        format!("{{\"id\": {}{directory}{}}}", replica.id, endpoints.unwrap_or_default())
    };
    format!("[{}]", of.iter().map(shown).collect::<Vec<_>>().join(", "))
}

fn endpoint(of: &QuorumEndpoint) -> String {
    let host = if of.host.contains(':') { format!("[{}]", of.host) } else { of.host.clone() };
    format!("{}://{host}:{}", of.listener, of.port)
}

fn print_replication(
    info: &QuorumInfo,
    for_people: bool,
    now_ms: i64,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let leader = info.voters.iter().find(|voter| voter.id == info.leader_id);
    let leader_end = leader.map_or(0, |leader| leader.log_end_offset);
    let time = |timestamp: i64| match (for_people, timestamp) {
        (true, -1) => "-1".to_owned(),
        (true, timestamp) => format!("{} ms ago", now_ms.saturating_sub(timestamp)),
        (false, timestamp) => timestamp.to_string(),
    };
    let row = |replica: &QuorumReplica, role: &str| {
        vec![
            replica.id.to_string(),
            replica.directory_id.to_string(),
            replica.log_end_offset.to_string(),
            (leader_end - replica.log_end_offset).to_string(),
            time(replica.last_fetch_timestamp),
            time(replica.last_caught_up_timestamp),
            role.to_owned(),
        ]
    };
    let mut rows: Vec<Vec<String>> = leader.into_iter().map(|leader| row(leader, "Leader")).collect();
    let followers = info.voters.iter().filter(|voter| voter.id != info.leader_id);
    rows.extend(followers.map(|voter| row(voter, "Follower")));
    rows.extend(info.observers.iter().map(|observer| row(observer, "Observer")));
    let header = [
        "NodeId",
        "DirectoryId",
        "LogEndOffset",
        "Lag",
        "LastFetchTimestamp",
        "LastCaughtUpTimestamp",
        "Status",
    ];
    print_tabbed(&header, &rows, output)
}

/// A controller, as its settings and its directory describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Controller {
    id: i32,
    directory: Uuid,
    endpoints: Vec<QuorumEndpoint>,
}

async fn add(admin: &Admin, config: &str, is_dry: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    let controller = controller_of(config)?;
    if !is_dry {
        admin
            .add_raft_voter(controller.id, controller.directory, &controller.endpoints)
            .await
            .map_err(error)?;
    }
    let done = if is_dry { "DRY RUN of adding" } else { "Added" };
    let endpoints: Vec<String> = controller.endpoints.iter().map(endpoint).collect();
    output.line(format_args!(
        "{done} controller {} with directory id {} and endpoints: {}",
        controller.id,
        controller.directory,
        endpoints.join(", ")
    ))
}

const DOUBT: &str = "Is this a valid controller configuration file?";

fn settings_of(path: &str) -> Result<BTreeMap<String, String>, Failure> {
    let text = fs::read(path).map_err(|why| said(format_args!("{path}: {why}")))?;
    let settings =
        ottla_config::properties::parse(&text).map_err(|why| said(format_args!("{path}: {why}")))?;
    Ok(settings.into_iter().map(|of| (of.key, of.value)).collect())
}

fn controller_of(path: &str) -> Result<Controller, Failure> {
    let settings = settings_of(path)?;
    let setting = |key: &str| settings.get(key).map(|value| value.trim());
    let id = setting("node.id")
        .and_then(|id| id.parse::<i32>().ok())
        .ok_or_else(|| said(format_args!("node.id not found in configuration file. {DOUBT}")))?;
    if id < 0 {
        return Err(said(format_args!("node.id was negative in configuration file. {DOUBT}")));
    }
    let roles = setting("process.roles").unwrap_or_default();
    if !roles.split(',').any(|role| role.trim() == "controller") {
        return Err(said(format_args!(
            "process.roles did not contain 'controller' in configuration file. {DOUBT}"
        )));
    }
    let directory = directory_id(metadata_dir(&settings)?)?;
    Ok(Controller { id, directory, endpoints: endpoints(&settings)? })
}

fn metadata_dir(settings: &BTreeMap<String, String>) -> Result<&str, Failure> {
    let first =
        |list: &'static str| settings.get(list).and_then(|list| list.split(',').next()).map(str::trim);
    let own = settings.get("metadata.log.dir").map(|dir| dir.trim());
    own.or_else(|| first("log.dirs"))
        .or_else(|| first("log.dir"))
        .filter(|dir| !dir.is_empty())
        .ok_or_else(|| said(format_args!("Neither metadata.log.dir nor log.dirs were found. {DOUBT}")))
}

fn directory_id(dir: &str) -> Result<Uuid, Failure> {
    let path = Path::new(dir).join("meta.properties");
    let unreadable = || said(format_args!("Unable to read meta.properties from {dir}"));
    let settings = settings_of(&path.to_string_lossy()).map_err(|_| unreadable())?;
    let id = settings.get("directory.id").and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| said(format_args!("No directory id found in {dir}")))
}

/// Where controllers reach it: listeners as they are advertised, else as they are.
fn endpoints(settings: &BTreeMap<String, String>) -> Result<Vec<QuorumEndpoint>, Failure> {
    let mut by_listener: BTreeMap<String, QuorumEndpoint> = BTreeMap::new();
    for key in ["listeners", "advertised.listeners"] {
        let list = settings.get(key).map(String::as_str).unwrap_or_default();
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let invalid = || said(format_args!("{key}: {text} is no listener"));
            let (listener, address) = text.split_once("://").ok_or_else(invalid)?;
            let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let endpoint = QuorumEndpoint {
                listener: listener.to_owned(),
                host: if host.is_empty() { "localhost".to_owned() } else { host.to_owned() },
                port: port.parse().map_err(|_| invalid())?,
            };
            by_listener.insert(listener.to_owned(), endpoint);
        }
    }
    let names = settings
        .get("controller.listener.names")
        .ok_or_else(|| said(format_args!("controller.listener.names was not found. {DOUBT}")))?;
    let of = |name: &str| {
        by_listener.remove(name).ok_or_else(|| {
            said(format_args!("Cannot find information about controller listener name: {name}"))
        })
    };
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: i32, end: i64, caught_up: i64) -> QuorumReplica {
        QuorumReplica {
            id,
            directory_id: Uuid::ZERO,
            log_end_offset: end,
            last_fetch_timestamp: caught_up,
            last_caught_up_timestamp: caught_up,
        }
    }

    fn printed(print: impl FnOnce(&mut Output<'_>) -> Result<(), Failure>) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        print(&mut Output { out: &mut out, err: &mut err }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lags_are_those_of_the_slowest_follower() {
        let info = QuorumInfo {
            leader_id: 1,
            leader_epoch: 7,
            high_watermark: 90,
            voters: vec![replica(1, 100, 5000), replica(2, 95, 4000), replica(3, 100, 4990)],
            ..QuorumInfo::default()
        };
        let text = printed(|output| print_status("c", &info, output));
        assert!(text.contains("MaxFollowerLag:         5\nMaxFollowerLagTimeMs:   1000\n"), "{text}");
        assert!(text.contains("CurrentVoters:          [{\"id\": 1}, {\"id\": 2}, {\"id\": 3}]\n"), "{text}");
        let table = printed(|output| print_replication(&info, true, 6000, output));
        assert!(
            table.lines().any(|line| line.contains("2000 ms ago") && line.contains("Follower")),
            "{table}"
        );
    }

    #[test]
    fn a_controller_is_known_by_its_settings() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("meta.properties"), "directory.id=07R5amHmR32VDA6jHkGbTA\n").unwrap();
        let config = dir.path().join("controller.properties");
        let text = |roles: &str| {
            format!(
                "node.id=3\nprocess.roles={roles}\nlog.dirs={}\ncontroller.listener.names=C\n\
                 listeners=C://:9093,B://h:9092\n",
                data.display()
            )
        };
        fs::write(&config, text("broker,controller")).unwrap();
        let controller = controller_of(&config.to_string_lossy()).unwrap();
        assert_eq!((controller.id, endpoint(&controller.endpoints[0])), (3, "C://localhost:9093".to_owned()));
        fs::write(&config, text("broker")).unwrap();
        assert!(format!("{:?}", controller_of(&config.to_string_lossy())).contains("did not contain"));
    }
}
