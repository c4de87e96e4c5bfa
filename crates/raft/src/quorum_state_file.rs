//! The text of the `quorum-state` file, byte for byte as Kafka writes it: JSON without blanks, version 0 under
//! `kraft.version` 0 and version 1 above.

use std::collections::BTreeSet;

use ottla_types::{LeaderEpoch, NodeId, Uuid};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::election::ElectionState;
use crate::replica::ReplicaKey;

/// Why a `quorum-state` file can't be read.
#[derive(Debug, Error)]
pub enum QuorumStateFileError {
    #[error("no valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("version {0} is unknown")]
    UnknownVersion(i16),
    #[error("'{0}' is no directory id")]
    DirectoryId(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V0 {
    #[serde(default)]
    cluster_id: String,
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    #[serde(default)]
    applied_offset: i64,
    current_voters: Option<Vec<Voter>>,
    #[serde(rename = "data_version")]
    data_version: i16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Voter {
    voter_id: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    voted_directory_id: String,
    #[serde(rename = "data_version")]
    data_version: i16,
}

#[derive(Deserialize)]
struct Version {
    data_version: i16,
}

/// Writes version 0 for `kraft.version` 0, else version 1.
pub fn encode(election: &ElectionState, kraft_version: i16) -> String {
    let leader_id = election.leader_id.unwrap_or(NodeId::NONE).value();
    let leader_epoch = election.epoch.value();
    let voted_id = election.voted_key.map_or(NodeId::NONE, |key| key.id).value();
    let text = if kraft_version == 0 {
        let voters = election.voters.iter().map(|id| Voter { voter_id: id.value() }).collect();
        serde_json::to_string(&V0 {
            cluster_id: String::new(),
            leader_id,
            leader_epoch,
            voted_id,
            applied_offset: 0,
            current_voters: Some(voters),
            data_version: 0,
        })
    } else {
        let directory = election.voted_key.map_or(Uuid::ZERO, |key| key.directory_id_or_zero());
        serde_json::to_string(&V1 {
            leader_id,
            leader_epoch,
            voted_id,
            voted_directory_id: directory.to_string(),
            data_version: 1,
        })
    };
    // Numbers and strings always serialise.
    text.unwrap_or_default()
}

pub fn decode(text: &str) -> Result<ElectionState, QuorumStateFileError> {
    match serde_json::from_str::<Version>(text)?.data_version {
        0 => {
            let data: V0 = serde_json::from_str(text)?;
            let voters = data.current_voters.unwrap_or_default();
            let voters = voters.into_iter().map(|voter| NodeId(voter.voter_id)).collect();
            Ok(election(data.leader_id, data.leader_epoch, data.voted_id, Uuid::ZERO, voters))
        }
        1 => {
            let data: V1 = serde_json::from_str(text)?;
            let directory = data
                .voted_directory_id
                .parse()
                .map_err(|_| QuorumStateFileError::DirectoryId(data.voted_directory_id.clone()))?;
            Ok(election(data.leader_id, data.leader_epoch, data.voted_id, directory, BTreeSet::new()))
        }
        version => Err(QuorumStateFileError::UnknownVersion(version)),
    }
}

fn election(
    leader_id: i32,
    epoch: i32,
    voted_id: i32,
    voted_directory: Uuid,
    voters: BTreeSet<NodeId>,
) -> ElectionState {
    ElectionState {
        epoch: LeaderEpoch(epoch),
        leader_id: (leader_id >= 0).then_some(NodeId(leader_id)),
        voted_key: (voted_id >= 0).then(|| ReplicaKey::new(NodeId(voted_id), voted_directory)),
        voters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(election: &ElectionState, kraft_version: i16, expected: &str) {
        assert_eq!(encode(election, kraft_version), expected);
        let mut decoded = decode(expected).unwrap();
        if kraft_version > 0 {
            decoded.voters.clone_from(&election.voters);
        }
        assert_eq!(decoded, *election);
    }

    #[test]
    fn files_are_kafkas() {
        let voters = BTreeSet::from([NodeId(1)]);
        let mut election = ElectionState::unknown_leader(LeaderEpoch(1), voters);
        election.leader_id = Some(NodeId(1));
        // As Apache Kafka 4.3.1 leaves it, with a static voter.
        check(
            &election,
            0,
            r#"{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#,
        );
        // And formatted with --standalone.
        check(
            &election,
            1,
            r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#,
        );
    }

    proptest::proptest! {
        #![proptest_config(ottla_testkit::cases(200))]

        #[test]
        fn any_text_is_read_or_refused(
            version in 0..2i16,
            at in proptest::prelude::any::<proptest::sample::Index>(),
            removed in 0..6usize,
            put in "[-0-9a-zA-Z{}\\[\\]\":,. \\\\]{0,8}",
        ) {
            let election = ElectionState::unknown_leader(LeaderEpoch(1), BTreeSet::from([NodeId(1)]));
            let mut text = encode(&election, version);
            let start = at.index(text.len());
            let end = (start + removed).min(text.len());
            text.replace_range(start..end, &put);
            if let Ok(election) = decode(&text) {
                assert_eq!(decode(&encode(&election, version)).unwrap().epoch, election.epoch);
            }
            let _ = decode(&put);
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for text in ["", "{}", "[]", r#"{"data_version":2}"#, r#"{"data_version":1,"leaderId":"x"}"#] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
