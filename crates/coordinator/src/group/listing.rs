//! Which groups there are, and how they stand.

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_groups_response::Group as DescribedGroup;
use ottla_wire::messages::list_groups_response::Group as ListedGroup;

use super::classic::{ClassicGroup, ClassicState};
use super::shard::{GroupShard, GroupTurn};
use super::state::StoredGroup;

/// How DescribeGroups calls a group that isn't there.
const DEAD: &str = "Dead";
/// Since this version it also says so with an error.
const NOT_FOUND_ERROR_SINCE: i16 = 6;

/// What ListGroups asks for: all where a list is empty. Case doesn't matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListFilter {
    pub(crate) states: Vec<String>,
    pub(crate) types: Vec<String>,
}

impl ListFilter {
    pub(crate) fn new(states: &[String], types: &[String]) -> ListFilter {
        ListFilter {
            states: states.iter().map(|state| state.trim().to_lowercase()).collect(),
            types: types.iter().map(|name| name.to_lowercase()).collect(),
        }
    }

    fn accepts(&self, group: &ListedGroup) -> bool {
        let state = group.group_state.to_lowercase();
        (self.states.is_empty() || self.states.contains(&state))
            && (self.types.is_empty() || self.types.contains(&group.group_type))
    }
}

impl GroupShard {
    pub(crate) fn list(&self, turn: &GroupTurn<'_>, filter: &ListFilter) -> Vec<ListedGroup> {
        let listed = turn.committed.groups.iter().map(|(group_id, stored)| {
            let live = self.live.get(group_id);
            let (protocol_type, state, group_type) = match (live, stored) {
                (_, StoredGroup::Foreign(group)) => {
                    let state =
                        if group.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
                    (group.kind.name(), state.name(), group.kind.name())
                }
                (_, StoredGroup::Consumer(group)) => ("consumer", group.state().name(), "consumer"),
                (_, StoredGroup::Share(group)) => ("share", group.state_name(), "share"),
                (Some(group), _) => (protocol_type(group), group.state().name(), "classic"),
                (None, StoredGroup::Classic(stored)) => {
                    (stored.protocol_type.as_str(), ClassicState::Empty.name(), "classic")
                }
                (None, StoredGroup::Simple) => ("", ClassicState::Empty.name(), "classic"),
            };
            ListedGroup {
                group_id: group_id.to_string(),
                protocol_type: protocol_type.to_owned(),
                group_state: state.to_owned(),
                group_type: group_type.to_owned(),
                ..ListedGroup::default()
            }
        });
        listed.filter(|group| filter.accepts(group)).collect()
    }

    pub(crate) fn describe(
        &self,
        turn: &GroupTurn<'_>,
        group_ids: Vec<String>,
        api_version: i16,
    ) -> Vec<DescribedGroup> {
        group_ids.into_iter().map(|group_id| self.describe_group(turn, group_id, api_version)).collect()
    }

    fn describe_group(&self, turn: &GroupTurn<'_>, group_id: String, api_version: i16) -> DescribedGroup {
        match turn.committed.groups.get(group_id.as_str()) {
            None => not_found(api_version, format!("Group {group_id} not found."), group_id),
            Some(StoredGroup::Foreign(_) | StoredGroup::Consumer(_) | StoredGroup::Share(_)) => {
                not_found(api_version, format!("Group {group_id} is not a classic group."), group_id)
            }
            Some(stored) => match (self.live.get(group_id.as_str()), stored) {
                (Some(group), _) => describe_live(group),
                (None, StoredGroup::Classic(stored)) => idle(group_id, stored.protocol_type.clone()),
                (None, _) => idle(group_id, String::new()),
            },
        }
    }
}

fn protocol_type(group: &ClassicGroup) -> &str {
    group.protocol_type.as_deref().unwrap_or_default()
}

/// What the members said of themselves is shown of a stable group alone: else it depends on a protocol that is yet to
/// be chosen.
fn describe_live(group: &ClassicGroup) -> DescribedGroup {
    let protocol = group.protocol_name.as_deref().filter(|_| group.is_in(ClassicState::Stable));
    let metadata = |member: &super::classic::Member| {
        protocol.map_or_else(Bytes::new, |name| member.metadata(Some(name)))
    };
    DescribedGroup {
        group_id: group.group_id.to_string(),
        group_state: group.state().name().to_owned(),
        protocol_type: protocol_type(group).to_owned(),
        protocol_data: protocol.unwrap_or_default().to_owned(),
        members: group.members().map(|member| member.describe(metadata(member))).collect(),
        ..DescribedGroup::default()
    }
}

fn idle(group_id: String, protocol_type: String) -> DescribedGroup {
    let group_state = ClassicState::Empty.name().to_owned();
    DescribedGroup { group_id, group_state, protocol_type, ..DescribedGroup::default() }
}

fn not_found(api_version: i16, message: String, group_id: String) -> DescribedGroup {
    let dead = DescribedGroup { group_id, group_state: DEAD.to_owned(), ..DescribedGroup::default() };
    if api_version < NOT_FOUND_ERROR_SINCE {
        return dead;
    }
    DescribedGroup { error_code: ErrorCode::GroupIdNotFound.code(), error_message: Some(message), ..dead }
}
