use ottla_wire::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetCommitRequest,
};

use super::offsets::commit;
use super::records::foreign_records;
use super::*;

pub(super) fn list(rig: &Rig, states: &[&str], types: &[&str]) -> Vec<(String, String, String, String)> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let request = ListGroupsRequest {
        states_filter: names(states),
        types_filter: names(types),
        ..ListGroupsRequest::default()
    };
    let answer = Answer::of(|reply| rig.coordinator.list_groups(rig.context(5), request, reply)).now();
    assert_eq!(answer.error_code, 0);
    let listed = |g: &ottla_wire::messages::list_groups_response::Group| {
        (g.group_id.clone(), g.group_type.clone(), g.protocol_type.clone(), g.group_state.clone())
    };
    answer.groups.iter().map(listed).collect()
}

pub(super) fn ids(listed: Vec<(String, String, String, String)>) -> Vec<String> {
    listed.into_iter().map(|(group_id, ..)| group_id).collect()
}

fn rig_of_all_kinds() -> Rig {
    let logs = MemoryLogs::new();
    logs.push(0, crate::testing::Content::Records(None, foreign_records()));
    logs.commit(0);
    let rig = Rig::with_log(config(), logs.log(0));
    rig.stable_group(1);
    commit(
        &rig,
        OffsetCommitRequest { group_id: "simple".into(), ..offsets::commit_request(&[("t", 0, 5)]) },
    );
    rig
}

#[test]
fn groups_of_all_kinds_are_listed() {
    let rig = rig_of_all_kinds();
    let row = |id: &str, kind: &str, protocol: &str, state: &str| {
        (id.to_owned(), kind.to_owned(), protocol.to_owned(), state.to_owned())
    };
    let expected = [
        row("group", "classic", "consumer", "Stable"),
        row("s", "share", "share", "Empty"),
        row("simple", "classic", "", "Empty"),
        row("st", "streams", "streams", "Empty"),
    ];
    assert_eq!(list(&rig, &[], &[]), expected);
    assert_eq!(ids(list(&rig, &["EMPTY "], &[])), ["s", "simple", "st"]);
    assert_eq!(ids(list(&rig, &[], &["Classic", "share"])), ["group", "s", "simple"]);
    assert_eq!(ids(list(&rig, &["stable"], &["classic"])), ["group"]);
    assert_eq!(ids(list(&rig, &[], &["unknown"])), Vec::<String>::new());
}

#[test]
fn a_list_that_would_be_incomplete_is_none() {
    let rig = Rig::new();
    rig.coordinator.on_partition_leader(1, LeaderEpoch(0));
    let answer =
        Answer::of(|reply| rig.coordinator.list_groups(rig.context(5), ListGroupsRequest::default(), reply));
    assert_eq!(error(answer.now().error_code), ErrorCode::CoordinatorLoadInProgress);
}

fn describe(
    rig: &Rig,
    version: i16,
    group_id: &str,
) -> ottla_wire::messages::describe_groups_response::Group {
    let request = DescribeGroupsRequest { groups: vec![group_id.into()], ..DescribeGroupsRequest::default() };
    let answer = Answer::of(|reply| rig.coordinator.describe_groups(rig.context(version), request, reply));
    answer.now().groups.remove(0)
}

#[test]
fn members_say_what_they_said_once_the_group_is_stable() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    let group = describe(&rig, 6, GROUP);
    assert_eq!((group.group_state.as_str(), group.protocol_data.as_str()), ("Stable", "range"));
    let member = &group.members[0];
    assert_eq!(member.member_id, members[0].member_id);
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("client", "/127.0.0.1"));
    assert_eq!(member.member_metadata, subscription(&["topic"]));
    assert_eq!(member.member_assignment, members[0].member_id);
    rig.send_join(3, join_request());
    let group = describe(&rig, 6, GROUP);
    assert_eq!((group.group_state.as_str(), group.protocol_data.as_str()), ("PreparingRebalance", ""));
    assert!(group.members[0].member_metadata.is_empty());
}

#[test]
fn groups_that_are_not_there() {
    let rig = rig_of_all_kinds();
    for (group_id, message) in [("x", "Group x not found."), ("s", "Group s is not a classic group.")] {
        let group = describe(&rig, 6, group_id);
        assert_eq!(error(group.error_code), ErrorCode::GroupIdNotFound);
        assert_eq!((group.group_state.as_str(), group.error_message.as_deref()), ("Dead", Some(message)));
        let group = describe(&rig, 5, group_id);
        assert_eq!((group.error_code, group.group_state.as_str(), group.error_message), (0, "Dead", None));
    }
    assert_eq!(describe(&rig, 6, "simple").group_state, "Empty");
}

/// More than a shard works on at once.
#[test]
fn however_many_are_asked_for_each_is_described() {
    let rig = rig_of_all_kinds();
    let names: Vec<String> = (0..2_500).map(|n| format!("x{n}")).chain(["simple".to_owned()]).collect();
    let request = DescribeGroupsRequest { groups: names.clone(), ..DescribeGroupsRequest::default() };
    let answer = Answer::of(|reply| rig.coordinator.describe_groups(rig.context(5), request, reply));
    let described = answer.now().groups;
    assert!(described.iter().map(|group| &group.group_id).eq(&names));
    assert_eq!(described.last().map(|group| group.group_state.as_str()), Some("Empty"));
}

pub(super) fn delete(rig: &Rig, groups: &[&str]) -> Vec<(String, ErrorCode)> {
    let groups_names = groups.iter().map(|name| (*name).to_owned()).collect();
    let request = DeleteGroupsRequest { groups_names, ..DeleteGroupsRequest::default() };
    let answer = Answer::of(|reply| rig.coordinator.delete_groups(rig.context(2), request, reply)).now();
    answer.results.into_iter().map(|result| (result.group_id, error(result.error_code))).collect()
}

#[test]
fn groups_without_members_are_deleted_with_their_offsets() {
    let rig = rig_of_all_kinds();
    let results = delete(&rig, &["simple", "group", "x", "st", "s", "simple"]);
    let codes: Vec<ErrorCode> = results.iter().map(|(_, code)| *code).collect();
    let not_found = ErrorCode::GroupIdNotFound;
    assert_eq!(
        codes,
        [ErrorCode::None, ErrorCode::NonEmptyGroup, not_found, not_found, ErrorCode::None, not_found]
    );
    for rig in [&rig, &rig.taken_over()] {
        assert_eq!(ids(list(rig, &[], &[])), ["group", "st"]);
        assert_eq!(offsets::fetch(rig, "simple", 0), -1);
    }
}

#[test]
fn a_deletion_that_cant_be_written_deletes_nothing() {
    let rig = rig_of_all_kinds();
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    assert_eq!(delete(&rig, &["simple"])[0].1, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(offsets::fetch(&rig, "simple", 0), 5);
}

#[test]
fn groups_of_other_kinds_are_left_alone() {
    let rig = rig_of_all_kinds();
    let end = rig.logs.log(0).end();
    for group_id in ["s", "st"] {
        let request = JoinGroupRequest { group_id: group_id.into(), ..join_request() };
        let answer = rig.send_join(9, request).now();
        assert_eq!(error(answer.error_code), ErrorCode::InconsistentGroupProtocol);
    }
    rig.pass(7 * 24 * 3_600_000);
    rig.pass(600_000);
    assert_eq!(ids(list(&rig, &[], &["consumer", "share", "streams"])), ["s", "st"]);
    let written = rig.logs.log(0).batches.into_iter().filter(|batch| batch.base_offset >= end);
    let records: Vec<_> = written.map(|batch| format!("{batch:?}")).collect();
    assert!(!records.iter().any(|record| record.contains("\\x01s\"")));
}
