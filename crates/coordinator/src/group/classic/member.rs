use bytes::Bytes;
use ottla_wire::messages::describe_groups_response::Member as DescribedMember;
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::messages::{JoinGroupResponse, SyncGroupResponse};
use ottla_wire::records::group_metadata_value::Member as StoredMember;

use crate::runtime::Responder;

/// A member of a live classic group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// In the order of the member's preference.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// The request that waits for the next generation to begin.
    pub(crate) awaiting_join: Option<Responder<JoinGroupResponse>>,
    /// The request that waits for the leader's assignment.
    pub(crate) awaiting_sync: Option<Responder<SyncGroupResponse>>,
    /// Not yet part of any generation.
    pub(crate) is_new: bool,
}

impl Member {
    pub(crate) fn from_stored(stored: &StoredMember, protocol_name: Option<&str>) -> Member {
        let rebalance_timeout_ms = match stored.rebalance_timeout {
            -1 => stored.session_timeout,
            timeout_ms => timeout_ms,
        };
        let protocol = Protocol {
            name: protocol_name.unwrap_or_default().to_owned(),
            metadata: stored.subscription.clone(),
            ..Protocol::default()
        };
        Member {
            member_id: stored.member_id.clone(),
            instance_id: stored.group_instance_id.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            rebalance_timeout_ms,
            session_timeout_ms: stored.session_timeout,
            protocols: vec![protocol],
            assignment: stored.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// As the group's record holds it, with the assignment that it is to have.
    pub(crate) fn to_stored(&self, protocol_name: Option<&str>, assignment: Bytes) -> StoredMember {
        StoredMember {
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: self.rebalance_timeout_ms,
            session_timeout: self.session_timeout_ms,
            subscription: self.metadata(protocol_name),
            assignment,
            ..StoredMember::default()
        }
    }

    pub(crate) fn describe(&self, metadata: Bytes) -> DescribedMember {
        DescribedMember {
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            member_metadata: metadata,
            member_assignment: self.assignment.clone(),
            ..DescribedMember::default()
        }
    }

    pub(crate) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    /// What the member said of itself under this protocol; empty for one that it doesn't support.
    pub(crate) fn metadata(&self, protocol_name: Option<&str>) -> Bytes {
        let protocol = self.protocols.iter().find(|protocol| Some(protocol.name.as_str()) == protocol_name);
        protocol.map_or_else(Bytes::new, |protocol| protocol.metadata.clone())
    }

    /// Has the member already said all this?
    pub(crate) fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// A request of the member waits here, so it is alive. Not so for a new one: its client may be gone long since.
    pub(crate) fn is_kept_alive_by_request(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}
