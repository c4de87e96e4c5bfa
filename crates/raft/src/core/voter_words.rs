//! Why voters are not changed, in the words of Apache Kafka 4.3.1: `kafka-metadata-quorum` prints them, and scripts read them.

use std::fmt;

use ottla_wire::ErrorCode;

use crate::messages::RaftError;
use crate::replica::{Endpoints, ReplicaKey};
use crate::voter_change::VoterChangeKind;
use crate::voter_set::VoterSet;

/// A replica as Kafka writes it.
struct Key<'a>(&'a ReplicaKey);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplicaKey(id={}, directoryId=", self.0.id)?;
        match self.0.directory_id {
            Some(directory) => write!(f, "{directory})"),
            None => f.write_str("<undefined>)"),
        }
    }
}

fn list(voters: &VoterSet) -> String {
    let keys: Vec<String> = voters.iter().map(|voter| Key(&voter.key).to_string()).collect();
    format!("[{}]", keys.join(", "))
}

pub(super) fn other_cluster(told: &str, own: &str) -> String {
    format!("The given id \"{told}\" doesn't match the cluster id \"{own}\"")
}

pub(super) fn invalid_voter(kind: VoterChangeKind) -> &'static str {
    match kind {
        VoterChangeKind::Add => "Add voter request didn't include a valid voter",
        VoterChangeKind::Remove => "Remove voter request didn't include a valid voter",
    }
}

pub(super) fn without_endpoint(told: &Endpoints, listener: &str) -> String {
    let told = told.iter().map(|(name, address)| {
        format!("ListenerName({name})={}/<unresolved>:{}", address.host, address.port)
    });
    let told = told.collect::<Vec<_>>().join(", ");
    format!(
        "Add voter request didn't include the endpoint (Endpoints(endpoints={{{told}}})) for the default listener \
         ListenerName({listener})"
    )
}

pub(super) fn kraft_version_is_too_low(kind: VoterChangeKind, level: i16) -> String {
    let what = match kind {
        VoterChangeKind::Add => "adding",
        VoterChangeKind::Remove => "removing",
    };
    format!("Cluster doesn't support {what} voter because the kraft.version feature is {level}")
}

pub(super) fn is_voter_already(voter: &ReplicaKey, voters: &VoterSet) -> String {
    format!("The voter id for {} is already part of the set of voters {}.", Key(voter), list(voters))
}

/// Kafka names no voter either.
pub(super) fn no_api_versions(error: RaftError) -> String {
    let name = ErrorCode::from_code(error.code()).unwrap_or(ErrorCode::UnknownServerError).name();
    format!("Aborted add voter operation for since API_VERSIONS returned an error {name}")
}

pub(super) fn is_lagging(voter: &ReplicaKey) -> String {
    format!("Aborted add voter operation for {} since it is lagging behind", Key(voter))
}

pub(super) fn can_not_remove(voter: &ReplicaKey, voters: &VoterSet) -> String {
    format!("Cannot remove voter {} from the set of voters {}", Key(voter), list(voters))
}
