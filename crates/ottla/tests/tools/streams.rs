//! Groups of Kafka Streams' own protocol, which the node doesn't have: one that works, and one without members.

use ottla_wire::ErrorCode;
use ottla_wire::messages as m;
use ottla_wire::messages::streams_group_describe_response::{
    Assignment, AssignmentActiveTask, Group, Member, StateChangelogTopic, Subtopology, Topology,
};

const GROUPS: [(&str, &str); 2] = [("app", "Stable"), ("idle", "Empty")];

/// Adds those that were asked for.
pub fn list(request: &m::ListGroupsRequest, answer: &mut m::ListGroupsResponse) {
    let asks_for = |filter: &[String], of: &str| {
        filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(of))
    };
    if !asks_for(&request.types_filter, "streams") {
        return;
    }
    for (id, state) in GROUPS.into_iter().filter(|(_, state)| asks_for(&request.states_filter, state)) {
        answer.groups.retain(|group| group.group_id != id);
        answer.groups.push(m::list_groups_response::Group {
            group_id: id.to_owned(),
            protocol_type: "streams".to_owned(),
            group_state: state.to_owned(),
            group_type: "Streams".to_owned(),
            ..Default::default()
        });
    }
}

pub fn describe(request: &m::StreamsGroupDescribeRequest) -> m::StreamsGroupDescribeResponse {
    let groups = request.group_ids.iter().map(|id| group(id)).collect();
    m::StreamsGroupDescribeResponse { groups, ..Default::default() }
}

fn group(id: &str) -> Group {
    let Some((id, state)) = GROUPS.into_iter().find(|(known, _)| *known == id) else {
        let error_code = ErrorCode::GroupIdNotFound.code();
        return Group { group_id: id.to_owned(), error_code, ..Default::default() };
    };
    let changelog = StateChangelogTopic { name: format!("{id}-counts-changelog"), ..Default::default() };
    let subtopology = Subtopology {
        subtopology_id: "0".to_owned(),
        source_topics: vec!["t".to_owned()],
        state_changelog_topics: vec![changelog],
        ..Default::default()
    };
    let topology = Topology { epoch: 1, subtopologies: Some(vec![subtopology]), ..Default::default() };
    Group {
        group_id: id.to_owned(),
        group_state: state.to_owned(),
        group_epoch: 3,
        assignment_epoch: 2,
        topology: Some(topology),
        members: if state == "Empty" { Vec::new() } else { vec![member()] },
        ..Default::default()
    }
}

fn member() -> Member {
    let task =
        AssignmentActiveTask { subtopology_id: "0".to_owned(), partitions: vec![0, 1], ..Default::default() };
    Member {
        member_id: "member".to_owned(),
        member_epoch: 3,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        process_id: "process".to_owned(),
        assignment: Assignment { active_tasks: vec![task], ..Default::default() },
        ..Default::default()
    }
}
