//! Settings of the metadata log and of its quorum: changing one changes what a node writes, keeps and sends.

use std::path::Path;

use ottla_broker::node_settings;
use ottla_config::Config;
use ottla_log::disk::Disk;
use ottla_raft::{
    Action, BeginQuorumEpochRequest, ControlRecord, EndQuorumEpochRequest, Endpoints, Event, FetchResponse,
    FetchedRecords, HostPort, LeaderInfo, LocalReplica, LogStart, OffsetAndEpoch, QuorumSettings, RaftCore,
    RaftStart, ReplicaKey, Request, Response, VoterNode, VoterSet,
};
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset, Timestamp, Uuid};

use crate::configs::{CLIENT_METRICS, alter_well};
use crate::harness::{DIR, SteppedNode};
use crate::node_settings::{Case, Settings, check};

fn files(node: &SteppedNode, suffix: &str) -> usize {
    let files = node.disk.read_dir(&Path::new(DIR).join("__cluster_metadata-0")).unwrap();
    files.iter().filter(|file| file.name.ends_with(suffix)).count()
}

/// Writes so many records of so many bytes, with time in between.
fn write_metadata(node: &mut SteppedNode, records: usize, bytes: usize, pause_ms: u64) {
    for number in 0..records {
        // A metric's name may have any length.
        let name = format!("{number}{}", "x".repeat(bytes));
        alter_well(node, CLIENT_METRICS, "m", &[("metrics", Some(&name))]);
        node.pass_ms(pause_ms);
    }
}

fn count(files: usize) -> String {
    (if files > 1 { "several" } else { "one" }).to_owned()
}

/// Segments after more than eight megabytes of records.
fn segments_by_size(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    write_metadata(&mut node, 280, 32_000, 0);
    count(files(&node, ".log"))
}

fn segments_by_time(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    write_metadata(&mut node, 3, 10, 5000);
    count(files(&node, ".log"))
}

fn snapshots(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    write_metadata(&mut node, 5, 1000, 5000);
    match files(&node, ".checkpoint") {
        0 => "none".to_owned(),
        _ => "some".to_owned(),
    }
}

/// Snapshots that are left after many were written.
fn kept_snapshots(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    write_metadata(&mut node, 20, 1000, 1000);
    for _ in 0..10 {
        node.pass_ms(60_000);
    }
    (if files(&node, ".checkpoint") > 5 { "many" } else { "few" }).to_owned()
}

const CASES: &[Case] = &[
    Case {
        key: "metadata.log.segment.bytes",
        value: "8388608",
        node: &[],
        observe: segments_by_size,
        expected: ("one", "several"),
    },
    Case {
        key: "internal.metadata.log.segment.bytes",
        value: "1000000",
        node: &[],
        observe: segments_by_size,
        expected: ("one", "several"),
    },
    Case {
        key: "metadata.log.segment.ms",
        value: "1000",
        node: &[],
        observe: segments_by_time,
        expected: ("one", "several"),
    },
    Case {
        key: "metadata.log.max.record.bytes.between.snapshots",
        value: "1000",
        node: &[],
        observe: snapshots,
        expected: ("none", "some"),
    },
    Case {
        key: "metadata.log.max.snapshot.interval.ms",
        value: "1000",
        node: &[],
        observe: snapshots,
        expected: ("none", "some"),
    },
    Case {
        key: "metadata.max.retention.bytes",
        value: "2000",
        node: &[("metadata.log.max.record.bytes.between.snapshots", "1000")],
        observe: kept_snapshots,
        expected: ("many", "few"),
    },
    Case {
        key: "metadata.max.retention.ms",
        value: "1000",
        node: &[("metadata.log.max.record.bytes.between.snapshots", "1000")],
        observe: kept_snapshots,
        expected: ("many", "few"),
    },
];

#[test]
fn each_setting_of_the_metadata_log_changes_what_is_written_and_kept() {
    check(CASES);
}

/// What the voters 2 and 3 do with requests.
#[derive(Clone, Copy)]
enum Others {
    Silent,
    /// 2 leads and says nothing more.
    Led,
    /// 2 leads and has a snapshot.
    LedFromSnapshot,
    /// 2 leads and leaves, with 3 as the first to stand for election after it.
    Resigning,
    /// 2 leads, and this replica is none of the voters in the log.
    LedWithoutIt,
    /// No connection can be made.
    Gone,
}

fn at(ms: u64) -> Now {
    Now { wall: Timestamp(1_700_000_000_000 + ms as i64), mono: MonoMs(ms) }
}

fn address(id: i32) -> HostPort {
    HostPort::new("localhost", (9000 + id) as u16)
}

/// What voter 1 of three sends in its first seconds, and when.
fn sent(settings: Settings<'_>, others: Others) -> Vec<String> {
    let config = Config::of_pairs(settings.iter().copied()).unwrap();
    let local = LocalReplica {
        key: ReplicaKey::new(NodeId(1), Uuid([1; 16])),
        listeners: Endpoints::one("CONTROLLER", address(1)),
        supported_kraft_version: (0, 1),
    };
    let voters = [1, 2, 3].map(|id| (NodeId(id), address(id)));
    let quorum = QuorumSettings {
        config: node_settings::raft(&config, "cluster"),
        local,
        static_voters: VoterSet::from_addresses("CONTROLLER", voters),
        bootstrap_servers: Vec::new(),
        seed: 1,
    };
    let in_the_log = |id: i32| VoterNode {
        key: ReplicaKey::new(NodeId(id), Uuid([id as u8; 16])),
        listeners: Endpoints::one("CONTROLLER", address(id)),
        supported_kraft_version: (0, 1),
    };
    let control = match others {
        Others::LedWithoutIt => vec![
            (Offset(-1), ControlRecord::KRaftVersion(1)),
            (Offset(-1), ControlRecord::Voters(VoterSet::new([2, 3].map(in_the_log)))),
        ],
        _ => Vec::new(),
    };
    let log = LogStart { control, ..LogStart::default() };
    let mut core = RaftCore::new(RaftStart { quorum, election: None, log }, at(0));
    let mut told = Vec::new();
    let mut next = Vec::new();
    for ms in (0..8000).step_by(5) {
        let mut actions = core.tick(at(ms));
        for event in std::mem::take(&mut next) {
            actions.extend(core.step(event, at(ms)));
        }
        let is_led = !matches!(others, Others::Silent | Others::Gone);
        if ms == 0 && is_led {
            actions.extend(core.step(Event::Request { id: 1, request: begin_epoch() }, at(0)));
        }
        if ms == 100 && matches!(others, Others::Resigning) {
            actions.extend(core.step(Event::Request { id: 2, request: end_epoch() }, at(100)));
        }
        while let Some(action) = actions.pop() {
            let Action::Send { correlation_id, to, request } = action else { continue };
            told.push(format!("{ms}: {} {}", to.id, words(&request)));
            let event = match answer(others, &request) {
                Some(response) => Event::Response { correlation_id, response },
                None if matches!(others, Others::Gone) => Event::RequestFailed { correlation_id },
                None => continue,
            };
            next.push(event);
        }
    }
    told
}

fn begin_epoch() -> Request {
    Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
        cluster_id: Some("cluster".to_owned()),
        voter: Some(ReplicaKey::new(NodeId(1), Uuid([1; 16]))),
        leader_id: NodeId(2),
        leader_epoch: LeaderEpoch(5),
        leader_endpoints: Endpoints::one("CONTROLLER", address(2)),
    })
}

fn end_epoch() -> Request {
    Request::EndQuorumEpoch(EndQuorumEpochRequest {
        cluster_id: Some("cluster".to_owned()),
        leader_id: NodeId(2),
        leader_epoch: LeaderEpoch(5),
        preferred_candidates: [3, 1].map(|id| ReplicaKey::new(NodeId(id), Uuid([id as u8; 16]))).into(),
        leader_endpoints: Endpoints::one("CONTROLLER", address(2)),
    })
}

fn answer(others: Others, request: &Request) -> Option<Response> {
    let leader = |leader_id, epoch| LeaderInfo { leader_id, epoch, endpoints: Endpoints::new() };
    match (others, request) {
        (Others::LedFromSnapshot | Others::LedWithoutIt, Request::Fetch(_)) => {
            let has_snapshot = matches!(others, Others::LedFromSnapshot);
            Some(Response::Fetch(FetchResponse {
                error: None,
                leader: leader(Some(NodeId(2)), LeaderEpoch(5)),
                high_watermark: None,
                log_start_offset: Offset(10),
                diverging: None,
                snapshot_id: has_snapshot.then_some(OffsetAndEpoch::new(10, 4)),
                records: FetchedRecords::None,
            }))
        }
        _ => None,
    }
}

fn words(request: &Request) -> String {
    match request {
        Request::Vote(vote) => format!("vote, {}", vote.pre_vote),
        Request::Fetch(fetch) => format!("fetch of {}", fetch.max_bytes),
        Request::FetchSnapshot(fetch) => format!("snapshot of {}", fetch.max_bytes),
        other => format!("{other:?}"),
    }
}

#[test]
fn each_setting_of_the_quorum_changes_what_a_voter_sends_or_when() {
    let cases = [
        ("controller.quorum.election.timeout.ms", "3000", Others::Silent),
        ("controller.quorum.election.backoff.max.ms", "100", Others::Resigning),
        ("controller.quorum.fetch.timeout.ms", "500", Others::Led),
        ("controller.quorum.request.timeout.ms", "500", Others::Led),
        ("controller.quorum.retry.backoff.ms", "700", Others::Gone),
        ("controller.quorum.fetch.max.bytes", "1000", Others::Led),
        ("controller.quorum.fetch.snapshot.max.bytes", "1000", Others::LedFromSnapshot),
        ("controller.quorum.auto.join.enable", "true", Others::LedWithoutIt),
    ];
    for (key, value, others) in cases {
        let without = sent(&[], others);
        let with = sent(&[(key, value)], others);
        assert!(!without.is_empty() && !with.is_empty(), "{key}");
        assert_ne!(without, with, "{key}");
    }
}
