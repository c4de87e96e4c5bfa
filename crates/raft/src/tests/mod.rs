mod full_disk;
mod golden;
mod memory_log;
mod rules;
mod simulation;
mod single_voter;
mod voter_rules;
mod wire_round_trip;

use ottla_types::{MonoMs, NodeId, Now, Timestamp, Uuid};

use crate::*;

/// Wall time runs an arbitrary but fixed distance from the monotonic one.
fn at(ms: u64) -> Now {
    Now { wall: Timestamp(1_700_000_000_000 + ms as i64), mono: MonoMs(ms) }
}

fn node_id(id: i32) -> NodeId {
    NodeId(id)
}

fn directory(id: i32) -> Uuid {
    let mut bytes = [7; 16];
    bytes[15] = id as u8;
    Uuid(bytes)
}

fn address(id: i32) -> HostPort {
    HostPort::new("localhost", (9000 + id) as u16)
}

fn local(id: i32) -> LocalReplica {
    LocalReplica {
        key: ReplicaKey::new(node_id(id), directory(id)),
        listeners: Endpoints::one("CONTROLLER", address(id)),
        supported_kraft_version: (0, 1),
    }
}

fn static_voters(ids: &[i32]) -> VoterSet {
    VoterSet::from_addresses("CONTROLLER", ids.iter().map(|id| (node_id(*id), address(*id))))
}

fn settings(id: i32, voters: &[i32]) -> QuorumSettings {
    QuorumSettings {
        config: RaftConfig { cluster_id: "cluster".to_owned(), ..RaftConfig::default() },
        local: local(id),
        static_voters: static_voters(voters),
        bootstrap_servers: Vec::new(),
        seed: id as u64,
    }
}
