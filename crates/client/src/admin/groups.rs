//! Groups of all types.

use ottla_types::NodeId;
use ottla_wire::messages::{ListGroupsRequest, ListGroupsResponse, list_groups_response};

use super::{Admin, Results, check};
use crate::error::ClientError;

/// A group, as its coordinator lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    pub id: String,
    /// `consumer`, `share`, `connect` and so on; empty for a group that only keeps offsets.
    pub protocol: String,
    /// Empty where the broker doesn't tell.
    pub state: String,
    /// `Classic`, `Consumer`, `Share`, `Streams`; empty where the broker doesn't tell.
    pub kind: String,
}

impl Admin {
    /// Groups of every coordinator, by broker: in these states and of these types, or all.
    pub async fn list_groups(
        &self,
        states: &[String],
        kinds: &[String],
    ) -> Results<NodeId, Vec<GroupListing>> {
        let request = ListGroupsRequest {
            states_filter: states.to_vec(),
            types_filter: kinds.to_vec(),
            ..Default::default()
        };
        let requests = self.nodes().into_iter().map(|node| (node, request.clone()));
        let answers = self.ask_nodes(requests, |answer: &ListGroupsResponse| answer.error_code).await;
        let read = |(node, answer): (NodeId, Result<ListGroupsResponse, ClientError>)| {
            let groups = answer.and_then(|answer| {
                check(answer.error_code, None, || format!("listing groups of broker {node}"))?;
                Ok(answer.groups.into_iter().map(listing).collect())
            });
            (node, groups)
        };
        answers.into_iter().map(read).collect()
    }
}

fn listing(group: list_groups_response::Group) -> GroupListing {
    GroupListing {
        id: group.group_id,
        protocol: group.protocol_type,
        state: group.group_state,
        kind: group.group_type,
    }
}
