//! `ottla cluster`: the cluster at a glance, its brokers, its quorum and its features.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use ottla_client::admin::{Admin, FeatureRange, FinalizedFeature, QuorumReplica};
use ottla_client::{Broker, Metadata, Topics};

use crate::error::Failure;
use crate::global::{Context, Global, now_ms};
use crate::output::{Cell, Column, Details, Listing, Tone, column, wide};

#[derive(Args, Debug)]
pub struct ClusterArgs {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    action: ClusterAction,
}

#[derive(Subcommand, Debug)]
enum ClusterAction {
    /// The cluster at a glance: how many of what, and what is not well
    Overview,
    /// Brokers, with what they lead and store
    Brokers,
    /// Controllers, and how far each has the metadata log
    Quorum,
    /// Features of the cluster and their levels
    Features,
}

struct Overview {
    cluster_id: String,
    brokers: usize,
    controller: Option<i32>,
    metadata_version: Option<i16>,
    topics: usize,
    partitions: usize,
    offline: usize,
    under_replicated: usize,
    groups: usize,
    size_bytes: Option<i64>,
}

fn unless_none(count: usize, tone: Tone) -> Cell {
    Cell::number(count).toned((count > 0).then_some(tone))
}

const OVERVIEW: &[Column<Overview>] = &[
    column("cluster_id", |of| Cell::text(&of.cluster_id)),
    column("brokers", |of| Cell::number(of.brokers)),
    column("controller", |of| Cell::maybe(of.controller, Cell::number)),
    column("metadata_version", |of| Cell::maybe(of.metadata_version, Cell::number)),
    column("topics", |of| Cell::number(of.topics)),
    column("partitions", |of| Cell::number(of.partitions)),
    column("offline_partitions", |of| unless_none(of.offline, Tone::Bad)),
    column("under_replicated_partitions", |of| unless_none(of.under_replicated, Tone::Warning)),
    column("groups", |of| Cell::number(of.groups)),
    column("size", |of| Cell::maybe(of.size_bytes, Cell::Bytes)),
];

struct BrokerRow {
    broker: Broker,
    is_controller: bool,
    leaders: usize,
    replicas: usize,
    size_bytes: Option<i64>,
    dirs: Vec<(String, Cell)>,
    broken_dirs: usize,
}

const BROKERS: &[Column<BrokerRow>] = &[
    column("id", |of| Cell::number(of.broker.id.0)),
    column("host", |of| Cell::text(&*of.broker.host)),
    column("port", |of| Cell::number(of.broker.port)),
    column("rack", |of| Cell::maybe(of.broker.rack.as_deref(), Cell::text)),
    column("controller", |of| Cell::Flag(of.is_controller)),
    column("leaders", |of| Cell::number(of.leaders)),
    column("replicas", |of| Cell::number(of.replicas)),
    column("size", |of| Cell::maybe(of.size_bytes, Cell::Bytes)),
    column("broken_directories", |of| unless_none(of.broken_dirs, Tone::Bad)),
    wide("directories", |of| Cell::Pairs(of.dirs.clone())),
];

struct Voter {
    replica: QuorumReplica,
    role: &'static str,
    lag: i64,
    endpoints: Vec<String>,
}

const QUORUM: &[Column<Voter>] = &[
    column("id", |of| Cell::number(of.replica.id)),
    column("role", |of| Cell::text(of.role).toned((of.role == LEADER).then_some(Tone::Good))),
    column("log_end", |of| Cell::Number(of.replica.log_end_offset)),
    column("lag", |of| Cell::Number(of.lag)),
    column("caught_up", |of| since(of.replica.last_caught_up_timestamp)),
    wide("last_fetch", |of| since(of.replica.last_fetch_timestamp)),
    wide("endpoints", |of| Cell::Texts(of.endpoints.clone())),
    wide("directory", |of| Cell::text(of.replica.directory_id.to_string())),
];

const LEADER: &str = "leader";

fn since(time_ms: i64) -> Cell {
    if time_ms < 0 { Cell::Nothing } else { Cell::DurationMs((now_ms() - time_ms).max(0)) }
}

struct Feature {
    name: String,
    finalized: Option<FinalizedFeature>,
    supported: Option<FeatureRange>,
}

const FEATURES: &[Column<Feature>] = &[
    column("feature", |of| Cell::text(&of.name)),
    column("level", |of| Cell::maybe(of.finalized, |level| Cell::number(level.max_level))),
    column("supported_from", |of| Cell::maybe(of.supported, |range| Cell::number(range.min))),
    column("supported_to", |of| Cell::maybe(of.supported, |range| Cell::number(range.max))),
];

pub async fn run(args: &ClusterArgs, context: &mut Context) -> Result<(), Failure> {
    let admin = context.admin().await?;
    match args.action {
        ClusterAction::Overview => overview(&admin, context).await,
        ClusterAction::Brokers => brokers(&admin, context).await,
        ClusterAction::Quorum => quorum(&admin, context).await,
        ClusterAction::Features => features(&admin, context).await,
    }
}

async fn overview(admin: &Admin, context: &mut Context) -> Result<(), Failure> {
    let metadata = admin.client().refresh(Topics::Every).await?;
    let brokers: Vec<i32> = metadata.brokers().keys().map(|node| node.0).collect();
    let (dirs, groups, features, quorum) = tokio::join!(
        admin.describe_log_dirs(&brokers),
        admin.list_groups(&[], &[]),
        admin.describe_features(None),
        admin.describe_quorum()
    );
    let partitions = || metadata.topics().flat_map(|topic| &topic.partitions);
    let sizes = dirs.into_values().flatten().flat_map(|dirs| dirs.into_values());
    let of = Overview {
        cluster_id: metadata.cluster_id().unwrap_or_default().to_owned(),
        brokers: brokers.len(),
        // Brokers name any of them as the controller; the quorum knows.
        controller: quorum.ok().map(|quorum| quorum.leader_id).filter(|id| *id >= 0),
        metadata_version: features
            .ok()
            .and_then(|features| features.finalized.get("metadata.version").map(|level| level.max_level)),
        topics: metadata.topics().filter(|topic| !topic.is_internal).count(),
        partitions: partitions().count(),
        offline: partitions().filter(|partition| partition.leader.is_none()).count(),
        under_replicated: partitions()
            .filter(|partition| partition.isr.len() < partition.replicas.len())
            .count(),
        groups: groups.into_values().flatten().map(|groups| groups.len()).sum(),
        size_bytes: Some(
            sizes.flat_map(|dir| dir.replicas.into_values()).map(|replica| replica.size_bytes).sum(),
        ),
    };
    context.printer.details(&[Details::of(OVERVIEW, &of)])
}

async fn brokers(admin: &Admin, context: &mut Context) -> Result<(), Failure> {
    let metadata = admin.client().refresh(Topics::Every).await?;
    let ids: Vec<i32> = metadata.brokers().keys().map(|node| node.0).collect();
    let (mut dirs, quorum) = tokio::join!(admin.describe_log_dirs(&ids), admin.describe_quorum());
    let controller = quorum.ok().map(|quorum| quorum.leader_id);
    let mut rows = Vec::new();
    for (id, broker) in metadata.brokers() {
        let dirs = dirs.remove(id).and_then(Result::ok);
        let size = |dir: &ottla_client::admin::LogDirDescription| {
            dir.replicas.values().map(|of| of.size_bytes).sum::<i64>()
        };
        rows.push(BrokerRow {
            is_controller: controller == Some(id.0),
            leaders: count(&metadata, |partition| partition.leader == Some(*id)),
            replicas: count(&metadata, |partition| partition.replicas.contains(id)),
            size_bytes: dirs.as_ref().map(|dirs| dirs.values().map(size).sum()),
            broken_dirs: dirs.iter().flat_map(BTreeMap::values).filter(|dir| dir.error.is_some()).count(),
            dirs: dirs.iter().flatten().map(|(path, dir)| (path.clone(), Cell::Bytes(size(dir)))).collect(),
            broker: broker.clone(),
        });
    }
    context.printer.listing(&Listing::of(BROKERS, &rows))
}

fn count(metadata: &Metadata, is_meant: impl Fn(&ottla_client::Partition) -> bool) -> usize {
    metadata.topics().flat_map(|topic| &topic.partitions).filter(|partition| is_meant(partition)).count()
}

async fn quorum(admin: &Admin, context: &mut Context) -> Result<(), Failure> {
    let quorum = admin.describe_quorum().await?;
    let end =
        quorum.voters.iter().find(|voter| voter.id == quorum.leader_id).map(|leader| leader.log_end_offset);
    let row = |replica: &QuorumReplica, role: &'static str| Voter {
        role: if replica.id == quorum.leader_id && role == "voter" { LEADER } else { role },
        lag: end.unwrap_or(replica.log_end_offset) - replica.log_end_offset,
        endpoints: quorum
            .nodes
            .get(&replica.id)
            .into_iter()
            .flatten()
            .map(|at| format!("{}://{}:{}", at.listener, at.host, at.port))
            .collect(),
        replica: replica.clone(),
    };
    let voters = quorum.voters.iter().map(|voter| row(voter, "voter"));
    let rows: Vec<Voter> = voters.chain(quorum.observers.iter().map(|of| row(of, "observer"))).collect();
    context.printer.listing(&Listing::of(QUORUM, &rows))?;
    context.tell(format_args!("epoch {}, high watermark {}", quorum.leader_epoch, quorum.high_watermark))
}

async fn features(admin: &Admin, context: &mut Context) -> Result<(), Failure> {
    let features = admin.describe_features(None).await?;
    let mut rows: BTreeMap<String, Feature> = BTreeMap::new();
    let entry = |name: &String| Feature { name: name.clone(), finalized: None, supported: None };
    for (name, range) in &features.supported {
        rows.entry(name.clone()).or_insert_with(|| entry(name)).supported = Some(*range);
    }
    for (name, level) in &features.finalized {
        rows.entry(name.clone()).or_insert_with(|| entry(name)).finalized = Some(*level);
    }
    context.printer.listing(&Listing::of(FEATURES, rows.values()))
}
