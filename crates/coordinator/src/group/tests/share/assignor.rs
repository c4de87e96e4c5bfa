use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_testkit::cases;
use ottla_types::Uuid;
use proptest::prelude::*;

use crate::group::modern::assignor::{Assignment, GroupSpec, MemberSpec};
use crate::group::share::simple;

fn topic(number: u8) -> Uuid {
    Uuid([number; 16])
}

/// Members by name, with the topics that they subscribe to, and topics with so many partitions.
fn group(members: &[(String, BTreeSet<u8>)], topics: &[i32]) -> GroupSpec {
    let member = |(name, subscribed): &(String, BTreeSet<u8>)| {
        let known = subscribed.iter().filter(|number| usize::from(**number) < topics.len());
        let spec = MemberSpec {
            instance_id: None,
            subscribed: Arc::new(known.map(|number| topic(*number)).collect()),
            assigned: Arc::default(),
        };
        (Arc::from(name.as_str()), spec)
    };
    GroupSpec {
        members: members.iter().map(member).collect(),
        partitions: (0..).zip(topics).map(|(number, count)| (topic(number), *count)).collect(),
    }
}

fn with_assigned(mut group: GroupSpec, assigned: &BTreeMap<Arc<str>, Assignment>) -> GroupSpec {
    for (member_id, member) in &mut group.members {
        member.assigned = Arc::new(assigned.get(member_id).cloned().unwrap_or_default());
    }
    group
}

fn partitions(assignment: &Assignment) -> BTreeSet<(Uuid, i32)> {
    let all = assignment.iter().flat_map(|(id, partitions)| partitions.iter().map(|p| (*id, *p)));
    all.collect()
}

fn is_homogeneous(group: &GroupSpec) -> bool {
    let distinct: BTreeSet<_> = group.members.values().map(|member| &*member.subscribed).collect();
    distinct.len() <= 1
}

/// All that the assignor promises of one assignment.
fn check(group: &GroupSpec) -> BTreeMap<Arc<str>, Assignment> {
    let assigned = simple(group);
    assert_eq!(assigned.keys().collect::<Vec<_>>(), group.members.keys().collect::<Vec<_>>());
    let mut shared: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
    let mut loads = Vec::new();
    for (member_id, assignment) in &assigned {
        let own = partitions(assignment);
        loads.push(own.len());
        for (topic_id, partition) in own {
            assert!(group.members[member_id].subscribed.contains(&topic_id), "only what is subscribed to");
            assert!((0..group.partitions[&topic_id]).contains(&partition), "only what there is");
            *shared.entry((topic_id, partition)).or_default() += 1;
        }
    }
    for (topic_id, count) in &group.partitions {
        let somebody = group.members.values().any(|member| member.subscribed.contains(topic_id));
        for partition in (0..*count).filter(|_| somebody) {
            assert!(shared.contains_key(&(*topic_id, partition)), "{topic_id} {partition} is nobody's");
        }
    }
    if is_homogeneous(group) && !shared.is_empty() {
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
        assert!(loads.iter().all(|load| *load > 0), "{loads:?}");
        let most_shared = shared.values().max().unwrap() - shared.values().min().unwrap();
        assert!(most_shared <= 1, "{shared:?}");
    }
    assigned
}

fn members() -> impl Strategy<Value = Vec<(String, BTreeSet<u8>)>> {
    let same = (prop::collection::btree_set(0u8..4, 1..4), prop::collection::btree_set("[a-j]", 1..9))
        .prop_map(|(topics, names)| names.into_iter().map(|name| (name, topics.clone())).collect::<Vec<_>>());
    let different = prop::collection::btree_map("[a-j]", prop::collection::btree_set(0u8..4, 1..4), 1..9)
        .prop_map(|members| members.into_iter().collect::<Vec<_>>());
    prop_oneof![same, different]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn everything_is_somebodys_and_loads_are_even(
        before in members(),
        after in members(),
        topics in prop::collection::vec(1i32..8, 1..4),
    ) {
        let first = check(&group(&before, &topics));
        let again = with_assigned(group(&before, &topics), &first);
        prop_assert_eq!(&check(&again), &first, "what is even stays");
        let second = check(&with_assigned(group(&after, &topics), &first));
        check(&with_assigned(group(&before, &topics), &second));
    }
}

#[test]
fn who_stays_keeps_what_need_not_go() {
    let of = |names: &[&str]| {
        names.iter().map(|name| ((*name).to_owned(), BTreeSet::from([0]))).collect::<Vec<_>>()
    };
    let first = check(&group(&of(&["a", "b"]), &[6]));
    let second = check(&with_assigned(group(&of(&["a", "b", "c"]), &[6]), &first));
    for name in ["a", "b"] {
        assert!(partitions(&second[name]).is_subset(&partitions(&first[name])), "{second:?}");
    }
    let third = check(&with_assigned(group(&of(&["a", "c"]), &[6]), &second));
    for name in ["a", "c"] {
        assert!(partitions(&second[name]).is_subset(&partitions(&third[name])), "{third:?}");
    }
}
