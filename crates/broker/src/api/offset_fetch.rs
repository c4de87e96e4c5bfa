//! OffsetFetch: what groups have committed. From version 10 on topics are named by their ids.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_wire::ErrorCode;
use ottla_wire::messages::OffsetFetchRequest;
use ottla_wire::messages::offset_fetch_request::{Group as AskedGroup, GroupTopic as AskedTopic};
use ottla_wire::messages::offset_fetch_response::{GroupTopic, GroupTopicPartition, OffsetFetchResponse};

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

const TOPIC_IDS_SINCE: i16 = 10;

/// So many members may ask for all that one group has, in one request.
const ASKERS_MAX: usize = 16;

pub(super) fn handle(node: &Arc<Node>, call: Call<OffsetFetchRequest>) {
    let (context, mut request, answer) = call.into_parts();
    bound_answer(&mut request.groups);
    let uses_topic_ids = context.version() >= TOPIC_IDS_SINCE;
    let context = request_context(node, &context);
    if !uses_topic_ids {
        return node.groups.offset_fetch(context, request, move |response| answer.reply(&response));
    }
    let image = Arc::clone(&node.metadata.image());
    let groups = request.groups.iter_mut().map(|group| resolve(&image, group)).collect();
    node.groups.offset_fetch(context, request, move |response| {
        answer.reply(&complete(response, &image, groups));
    });
}

/// Who asks for all that a group has, which may be much, needs to ask once.
fn bound_answer(groups: &mut Vec<AskedGroup>) {
    let mut askers: HashMap<String, HashSet<(Option<String>, i32)>> = HashMap::new();
    groups.retain(|group| {
        group.topics.is_some() || {
            let askers = askers.entry(group.group_id.clone()).or_default();
            askers.len() < ASKERS_MAX && askers.insert((group.member_id.clone(), group.member_epoch))
        }
    });
}

/// What is to be done to a group's answer.
enum Unresolved {
    /// All topics were asked for, and come without their ids.
    Ids,
    /// Topics whose ids are unknown.
    Topics(Vec<GroupTopic>),
}

/// Names a group's topics; those that can't be named are taken out and answered for.
fn resolve(image: &MetadataImage, group: &mut AskedGroup) -> Unresolved {
    let Some(topics) = &mut group.topics else { return Unresolved::Ids };
    let mut unknown = Vec::new();
    topics.retain_mut(|topic| match image.topics.by_id(topic.topic_id) {
        Some(known) => {
            topic.name = known.name.to_string();
            true
        }
        None => {
            unknown.push(unknown_topic(topic));
            false
        }
    });
    Unresolved::Topics(unknown)
}

fn unknown_topic(topic: &AskedTopic) -> GroupTopic {
    let partition = |partition_index: &i32| GroupTopicPartition {
        partition_index: *partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code: ErrorCode::UnknownTopicId.code(),
        ..GroupTopicPartition::default()
    };
    GroupTopic {
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        ..GroupTopic::default()
    }
}

/// Groups are answered in the order of the request.
fn complete(
    mut response: OffsetFetchResponse,
    image: &MetadataImage,
    unresolved: Vec<Unresolved>,
) -> OffsetFetchResponse {
    for (group, unresolved) in response.groups.iter_mut().zip(unresolved) {
        if group.error_code != ErrorCode::None.code() {
            continue;
        }
        match unresolved {
            Unresolved::Topics(unknown) => group.topics.extend(unknown),
            // A topic that has been deleted has no id any more by which it could be named.
            Unresolved::Ids => group.topics.retain_mut(|topic| match image.topics.by_name(&topic.name) {
                Some(known) => {
                    topic.topic_id = known.id;
                    true
                }
                None => false,
            }),
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(group_id: &str, member_id: Option<&str>, topics: Option<Vec<AskedTopic>>) -> AskedGroup {
        AskedGroup {
            group_id: group_id.to_owned(),
            member_id: member_id.map(str::to_owned),
            topics,
            ..AskedGroup::default()
        }
    }

    #[test]
    fn all_that_a_group_has_is_told_once_to_each_of_some_members() {
        let mut groups = vec![
            asked("g", None, None),
            asked("g", None, Some(Vec::new())),
            asked("g", Some("m"), None),
            asked("g", None, None),
            asked("h", None, None),
            asked("g", None, Some(Vec::new())),
            asked("g", Some("m"), None),
        ];
        let [first, second, third, _, fifth, sixth, _] = groups.clone().try_into().expect("seven");
        bound_answer(&mut groups);
        assert_eq!(groups, [first, second, third, fifth, sixth]);

        let mut groups: Vec<_> = (0..100).map(|number| asked("g", Some(&number.to_string()), None)).collect();
        bound_answer(&mut groups);
        assert_eq!(groups.len(), ASKERS_MAX);
    }
}
