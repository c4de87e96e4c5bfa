//! Where the nodes of a local cluster have their files, and what is in them:
//!
//! ```text
//! DIR/node-1/server.properties    written once, read at every start
//! DIR/node-1/data                 the log directory
//! DIR/node-1/ottla.log            what the node logs
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_config::{Config, Inputs, keys};
use ottla_log::disk::{Disk, RealDisk};
use ottla_server::clock::Clock;
use ottla_server::random;
use ottla_server::storage::{DynamicVoters, FeatureLevels, Formatter};
use ottla_types::{NodeId, Uuid};

/// Of a new cluster whose maker doesn't say how many.
const NODES: u16 = 3;

/// More replicas than these make a local cluster no safer.
const REPLICAS_MAX: u16 = 3;

/// The nodes of one cluster, formatted.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    cluster_id: String,
    homes: Vec<Home>,
}

/// One node's place.
#[derive(Clone, Debug)]
pub struct Home {
    pub id: NodeId,
    pub dir: PathBuf,
    /// For clients: `host:port`.
    pub address: String,
}

impl Home {
    pub fn properties(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("ottla.log")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

impl Layout {
    /// The cluster that is in `dir`, or a new one of `nodes` nodes, whose ports are `port` and those that follow.
    pub fn prepare(dir: &Path, nodes: Option<u16>, port: u16) -> Result<Layout, String> {
        fs::create_dir_all(dir).map_err(|error| said("make", dir, &error))?;
        let dir = dir.canonicalize().map_err(|error| said("find", dir, &error))?;
        let found = (1..).map(|id| home(&dir, id)).take_while(|home| home.properties().is_file()).count();
        let found = u16::try_from(found).unwrap_or(u16::MAX);
        if found == 0 {
            return Layout::make(dir, nodes.unwrap_or(NODES), port);
        }
        if let Some(asked) = nodes.filter(|asked| *asked != found) {
            return Err(format!(
                "{} holds a cluster of {}, not of {asked}. Leave --nodes out, or give the new cluster another --dir",
                dir.display(),
                numbered(found)
            ));
        }
        Layout::open(dir, found)
    }

    fn make(dir: PathBuf, count: u16, port: u16) -> Result<Layout, String> {
        if port.checked_add(2 * count - 1).is_none() || port == 0 {
            return Err(format!(
                "--port {port}: {} need the {} ports from there on",
                numbered(count),
                2 * count
            ));
        }
        // The last file of a node to be written is the one that tells that it is there; the first node's comes last of all.
        let cluster_id = random::uuid().map_err(|error| error.to_string())?.to_string();
        let directories = (0..count).map(|_| random::uuid().map_err(|error| error.to_string()));
        let directories: Vec<Uuid> = directories.collect::<Result<_, _>>()?;
        let voters = (0..count).zip(&directories).map(|(index, directory)| {
            format!("{}@127.0.0.1:{}:{directory}", index + 1, controller_port(port, index))
        });
        let voters = voters.collect::<Vec<_>>().join(",");
        let voters = DynamicVoters::parse(&voters).map_err(|error| error.to_string())?;
        for index in (0..count).rev() {
            let home = home(&dir, index + 1);
            fs::create_dir_all(&home.dir).map_err(|error| said("make", &home.dir, &error))?;
            format(&home, &cluster_id, &voters)?;
            let properties = properties(&home, index, count, port);
            fs::write(home.properties(), properties)
                .map_err(|error| said("write", &home.properties(), &error))?;
        }
        Layout::open(dir, count)
    }

    fn open(dir: PathBuf, count: u16) -> Result<Layout, String> {
        let mut homes = Vec::new();
        let mut cluster_id = None;
        for id in 1..=count {
            let mut home = home(&dir, id);
            home.address = address(&home)?;
            cluster_id = cluster_id.or(stored_cluster_id(&home)?);
            homes.push(home);
        }
        Ok(Layout { dir, cluster_id: cluster_id.unwrap_or_default(), homes })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub fn homes(&self) -> &[Home] {
        &self.homes
    }

    pub fn count(&self) -> String {
        numbered(u16::try_from(self.homes.len()).unwrap_or(u16::MAX))
    }

    /// For clients: where all brokers are reached.
    pub fn bootstrap(&self) -> String {
        self.homes.iter().map(|home| home.address.as_str()).collect::<Vec<_>>().join(",")
    }
}

fn home(dir: &Path, id: u16) -> Home {
    Home { id: NodeId(i32::from(id)), dir: dir.join(format!("node-{id}")), address: String::new() }
}

fn numbered(nodes: u16) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

fn broker_port(first: u16, index: u16) -> u16 {
    first + 2 * index
}

fn controller_port(first: u16, index: u16) -> u16 {
    broker_port(first, index) + 1
}

/// A node of Apache Kafka would take it as it is.
fn properties(home: &Home, index: u16, count: u16, port: u16) -> String {
    let replicas = count.min(REPLICAS_MAX);
    // One node may be down, if there are several.
    let in_sync = replicas.saturating_sub(1).max(1);
    let quorum: Vec<String> =
        (0..count).map(|index| format!("127.0.0.1:{}", controller_port(port, index))).collect();
    let (broker, controller) = (broker_port(port, index), controller_port(port, index));
    let mut text = format!(
        "# Node {} of a local cluster. `ottla dev` wrote this once, and reads it at every start.\n",
        home.id.0
    );
    for (key, value) in [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", home.id.0.to_string()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("controller.quorum.bootstrap.servers", quorum.join(",")),
        ("log.dirs", home.data().display().to_string().replace('\\', "\\\\")),
        ("default.replication.factor", replicas.to_string()),
        ("min.insync.replicas", in_sync.to_string()),
        ("offsets.topic.replication.factor", replicas.to_string()),
        ("share.coordinator.state.topic.replication.factor", replicas.to_string()),
        ("share.coordinator.state.topic.min.isr", in_sync.to_string()),
        ("transaction.state.log.replication.factor", replicas.to_string()),
        ("transaction.state.log.min.isr", in_sync.to_string()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
    ] {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

fn format(home: &Home, cluster_id: &str, voters: &DynamicVoters) -> Result<(), String> {
    let data = home.data();
    fs::create_dir_all(&data).map_err(|error| said("make", &data, &error))?;
    let log_dir = data.display().to_string();
    let formatter = Formatter {
        node_id: home.id,
        cluster_id: cluster_id.to_owned(),
        log_dirs: [log_dir.clone()].into(),
        metadata_log_dir: log_dir,
        controller_listener: "CONTROLLER".to_owned(),
        features: FeatureLevels::latest(true),
        scram_credentials: Vec::new(),
        initial_controllers: Some(voters.clone()),
        ignores_formatted: false,
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::with_share_of_process_limit());
    formatter.run(&disk, Clock::start().now(), &mut |_| ()).map_err(|error| {
        format!(
            "{error}. {} is left over from something else: remove it, or name another --dir",
            home.dir.display()
        )
    })
}

/// As its file says, which may have been changed since it was written.
fn address(home: &Home) -> Result<String, String> {
    let path = home.properties();
    let bytes = fs::read(&path).map_err(|error| said("read", &path, &error))?;
    let name = path.display().to_string();
    let inputs = Inputs { file: Some((&name, &bytes)), ..Inputs::default() };
    let (config, _) = Config::load(&inputs).map_err(|error| error.to_string())?;
    if NodeId(config.get(keys::NODE_ID)) != home.id {
        return Err(format!("{name}: node.id has to be {}", home.id.0));
    }
    let advertised = config.advertised_listeners().map_err(|error| error.to_string())?;
    let first = advertised.first().ok_or_else(|| format!("{name}: the node has no listener for clients"))?;
    Ok(format!("{}:{}", first.host, first.port))
}

fn stored_cluster_id(home: &Home) -> Result<Option<String>, String> {
    let stored = ottla_log::meta_properties::MetaProperties::read(
        &RealDisk::with_share_of_process_limit(),
        &home.data(),
    );
    stored.map(|stored| stored.and_then(|stored| stored.cluster_id)).map_err(|error| error.to_string())
}

fn said(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("can't {what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let made = Layout::prepare(&dir.path().join("c"), None, 19_092).unwrap();
        assert_eq!(made.bootstrap(), "127.0.0.1:19092,127.0.0.1:19094,127.0.0.1:19096");
        assert_eq!(made.count(), "3 nodes");
        let found = Layout::prepare(&dir.path().join("c"), Some(3), 9092).unwrap();
        assert_eq!((found.bootstrap(), found.cluster_id()), (made.bootstrap(), made.cluster_id()));
        let refused = Layout::prepare(&dir.path().join("c"), Some(2), 9092).unwrap_err();
        assert!(refused.contains("holds a cluster of 3 nodes, not of 2"), "{refused}");
    }

    #[test]
    fn the_files_of_a_node_may_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let made = Layout::prepare(dir.path(), Some(1), 19_092).unwrap();
        let path = made.homes()[0].properties();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("offsets.topic.replication.factor=1\n"), "{text}");
        assert!(text.contains("min.insync.replicas=1\n"), "{text}");
        fs::write(&path, format!("{text}advertised.listeners=PLAINTEXT://here:7\n")).unwrap();
        assert_eq!(Layout::prepare(dir.path(), None, 9092).unwrap().bootstrap(), "here:7");
        fs::write(&path, text.replace("node.id=1", "node.id=4")).unwrap();
        let refused = Layout::prepare(dir.path(), None, 9092).unwrap_err();
        assert!(refused.ends_with("node.id has to be 1"), "{refused}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = Layout::prepare(dir.path(), Some(3), 65_531).unwrap_err();
        assert_eq!(refused, "--port 65531: 3 nodes need the 6 ports from there on");
        fs::create_dir_all(dir.path().join("node-2/data")).unwrap();
        let other = Layout::prepare(&dir.path().join("other"), Some(2), 19_092).unwrap();
        fs::copy(
            other.homes()[1].dir.join("data/meta.properties"),
            dir.path().join("node-2/data/meta.properties"),
        )
        .unwrap();
        let refused = Layout::prepare(dir.path(), Some(2), 19_092).unwrap_err();
        assert!(refused.contains("is left over from something else"), "{refused}");
    }
}
