use std::collections::BTreeSet;

use ottla_types::Uuid;
use proptest::prelude::*;

use super::*;

fn topic(n: u8) -> Uuid {
    Uuid([n; 16])
}

fn group(partitions: &[(u8, i32)], members: &[(&str, &[u8])]) -> GroupSpec {
    let member = |subscribed: &[u8]| MemberSpec {
        subscribed: Arc::new(subscribed.iter().map(|n| topic(*n)).collect()),
        ..MemberSpec::default()
    };
    GroupSpec {
        members: members.iter().map(|(id, subscribed)| (Arc::from(*id), member(subscribed))).collect(),
        partitions: partitions.iter().map(|(n, count)| (topic(*n), *count)).collect(),
    }
}

/// Assigns, and lets the members have it.
fn settle(assignor: Assignor, group: &mut GroupSpec) {
    for (member_id, assignment) in assignor.assign(group) {
        group.members.get_mut(&member_id).unwrap().assigned = Arc::new(assignment);
    }
}

/// `member: topic:partitions ...` a line.
fn show(assignments: &BTreeMap<Arc<str>, Assignment>) -> String {
    let line = |(member_id, assignment): (&Arc<str>, &Assignment)| {
        let topics = assignment.iter().map(|(id, partitions)| {
            let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
            format!(" {}:{}", id.0[0], partitions.join(","))
        });
        format!("{member_id}:{}", topics.collect::<String>())
    };
    assignments.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(assignor: Assignor, group: &GroupSpec, expected: &[&str]) {
    assert_eq!(show(&assignor.assign(group)), expected.join("\n"));
}

#[test]
fn range_gives_runs() {
    let two: &[(&str, &[u8])] = &[("a", &[1]), ("b", &[1])];
    check(Assignor::Range, &group(&[(1, 4)], two), &["a: 1:0,1", "b: 1:2,3"]);
    let three: &[(&str, &[u8])] = &[("a", &[1]), ("b", &[1]), ("c", &[1])];
    check(Assignor::Range, &group(&[(1, 4)], three), &["a: 1:0,1", "b: 1:2", "c: 1:3"]);
    check(Assignor::Range, &group(&[(1, 2)], three), &["a: 1:0", "b: 1:1", "c:"]);
    // Topics with as many partitions go together.
    let both: &[(&str, &[u8])] = &[("a", &[1, 2]), ("b", &[1, 2])];
    check(Assignor::Range, &group(&[(1, 3), (2, 3)], both), &["a: 1:0,1 2:0,1", "b: 1:2 2:2"]);
    let mixed: &[(&str, &[u8])] = &[("a", &[1]), ("b", &[1, 2]), ("c", &[2])];
    check(Assignor::Range, &group(&[(1, 3), (2, 3)], mixed), &["a: 1:0,1", "b: 1:2 2:0,1", "c: 2:2"]);
}

#[test]
fn range_gives_static_members_the_same_in_each_life() {
    let mut spec = group(&[(1, 3)], &[("a", &[1]), ("b", &[1]), ("z", &[1])]);
    spec.members.get_mut("z").unwrap().instance_id = Some("i0".into());
    spec.members.get_mut("a").unwrap().instance_id = Some("i1".into());
    check(Assignor::Range, &spec, &["a: 1:1", "b: 1:2", "z: 1:0"]);
}

#[test]
fn uniform_spreads_evenly_over_topics() {
    let both: &[(&str, &[u8])] = &[("a", &[1, 2]), ("b", &[1, 2])];
    check(Assignor::Uniform, &group(&[(1, 3), (2, 3)], both), &["a: 1:0,2 2:1", "b: 1:1 2:0,2"]);
    check(Assignor::Uniform, &group(&[(1, 1)], both), &["a: 1:0", "b:"]);
}

#[test]
fn uniform_moves_no_more_than_it_must() {
    let mut spec = group(&[(1, 6)], &[("a", &[1]), ("b", &[1])]);
    settle(Assignor::Uniform, &mut spec);
    check(Assignor::Uniform, &spec, &["a: 1:0,2,4", "b: 1:1,3,5"]);
    spec.members
        .insert("c".into(), MemberSpec { subscribed: Arc::new([topic(1)].into()), ..MemberSpec::default() });
    check(Assignor::Uniform, &spec, &["a: 1:0,2", "b: 1:1,3", "c: 1:4,5"]);
    settle(Assignor::Uniform, &mut spec);
    spec.members.remove("a");
    check(Assignor::Uniform, &spec, &["b: 1:0,1,3", "c: 1:2,4,5"]);
    settle(Assignor::Uniform, &mut spec);
    spec.partitions.insert(topic(1), 8);
    check(Assignor::Uniform, &spec, &["b: 1:0,1,3,6", "c: 1:2,4,5,7"]);
}

#[test]
fn who_has_little_choice_is_served_first() {
    let spec = group(&[(1, 2), (2, 2)], &[("a", &[1]), ("b", &[1, 2])]);
    check(Assignor::Uniform, &spec, &["a: 1:0,1", "b: 2:0,1"]);
}

#[test]
fn topics_that_are_gone_are_left_out() {
    let mut spec = group(&[(1, 2)], &[("a", &[1, 9])]);
    spec.members.get_mut("a").unwrap().assigned =
        Arc::new([(topic(9), [0].into()), (topic(1), [5].into())].into());
    for assignor in Assignor::ALL {
        check(assignor, &spec, &["a: 1:0,1"]);
        assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
    }
    check(Assignor::Uniform, &group(&[(1, 2)], &[]), &[]);
    assert_eq!(Assignor::from_name("sticky"), None);
}

/// A group with a history: members come, go and change their minds between assignments.
fn histories() -> impl Strategy<Value = (Assignor, Vec<GroupSpec>)> {
    let subscribed = prop::collection::btree_set((0..4u8).prop_map(topic), 0..4);
    let members = prop::collection::btree_map("[a-h]", subscribed, 0..8);
    let partitions = prop::collection::btree_map((0..4u8).prop_map(topic), 0..12i32, 0..5);
    let round = (members, partitions).prop_map(|(members, partitions)| {
        let member = |subscribed| MemberSpec { subscribed: Arc::new(subscribed), ..MemberSpec::default() };
        GroupSpec {
            members: members
                .into_iter()
                .map(|(id, subscribed)| (Arc::from(id), member(subscribed)))
                .collect(),
            partitions,
        }
    });
    (prop::sample::select(&Assignor::ALL[..]), prop::collection::vec(round, 1..5))
}

fn load(assignment: &Assignment) -> usize {
    assignment.values().map(BTreeSet::len).sum()
}

/// How many of these partitions have another owner than before.
fn moved(before: &GroupSpec, after: &BTreeMap<Arc<str>, Assignment>) -> usize {
    let mut moved = 0;
    for (member_id, assignment) in after {
        for (topic_id, partitions) in assignment {
            let others = before.members.iter().filter(|(id, _)| *id != member_id);
            let owned = others.filter_map(|(_, member)| member.assigned.get(topic_id)).flatten();
            let owned: BTreeSet<i32> = owned.copied().collect();
            moved += partitions.intersection(&owned).count();
        }
    }
    moved
}

proptest! {
    /// Groups share a set where members subscribe to the same; it makes no difference.
    #[test]
    fn it_makes_no_difference_whether_sets_are_shared((assignor, rounds) in histories()) {
        let mut assigned: BTreeMap<Arc<str>, Arc<Assignment>> = BTreeMap::new();
        for mut spec in rounds {
            let mut sets: BTreeMap<BTreeSet<Uuid>, Arc<BTreeSet<Uuid>>> = BTreeMap::new();
            let mut sharing = spec.clone();
            for (member_id, member) in &mut sharing.members {
                let set = sets.entry((*member.subscribed).clone());
                member.subscribed = Arc::clone(set.or_insert_with(|| Arc::clone(&member.subscribed)));
                member.assigned = assigned.get(member_id).cloned().unwrap_or_default();
                spec.members.get_mut(member_id).unwrap().assigned = Arc::clone(&member.assigned);
            }
            let assignments = assignor.assign(&sharing);
            prop_assert_eq!(&assignments, &assignor.assign(&spec));
            assigned = assignments.into_iter().map(|(id, assignment)| (id, Arc::new(assignment))).collect();
        }
    }

    #[test]
    fn what_always_holds((assignor, rounds) in histories()) {
        let mut had: BTreeMap<Arc<str>, Assignment> = BTreeMap::new();
        for mut spec in rounds {
            for (member_id, member) in &mut spec.members {
                member.assigned = Arc::new(had.get(member_id).cloned().unwrap_or_default());
            }
            let assignments = assignor.assign(&spec);
            prop_assert!(assignments.keys().eq(spec.members.keys()));
            let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
            for (member_id, assignment) in &assignments {
                for (topic_id, partitions) in assignment {
                    prop_assert!(!partitions.is_empty());
                    prop_assert!(spec.members[member_id].subscribed.contains(topic_id));
                    for partition in partitions {
                        *owners.entry((*topic_id, *partition)).or_default() += 1;
                    }
                }
            }
            let subscribed: BTreeSet<Uuid> =
                spec.members.values().flat_map(|member| (*member.subscribed).clone()).collect();
            let wanted = spec.partitions.iter().filter(|(id, _)| subscribed.contains(id));
            let wanted: Vec<_> = wanted.flat_map(|(id, count)| (0..*count).map(|p| ((*id, p), 1))).collect();
            prop_assert!(owners.into_iter().eq(wanted), "each partition has one owner");

            if assignor == Assignor::Uniform {
                check_uniform(&spec, &assignments)?;
            }
            had = assignments;
        }
    }
}

fn check_uniform(
    spec: &GroupSpec,
    assignments: &BTreeMap<Arc<str>, Assignment>,
) -> Result<(), TestCaseError> {
    let subscription = |member_id: &Arc<str>| {
        let subscribed = &spec.members[member_id].subscribed;
        subscribed.iter().filter(|id| spec.partitions.contains_key(id)).collect::<Vec<_>>()
    };
    for (a, of_a) in assignments {
        for (b, of_b) in assignments {
            if subscription(a) == subscription(b) {
                prop_assert!(load(of_a).abs_diff(load(of_b)) <= 1, "{a} and {b} differ");
            }
        }
    }
    let mut settled = spec.clone();
    for (member_id, assignment) in assignments {
        settled.members.get_mut(member_id).unwrap().assigned = Arc::new(assignment.clone());
    }
    prop_assert_eq!(&uniform::assign(&settled), assignments, "nothing changed, but something moves");

    // Where all subscribe to the same, it is known how many must move.
    let first = spec.members.keys().next().map(subscription);
    if spec.members.keys().all(|id| Some(subscription(id)) == first) && first.is_some() {
        let total: usize = assignments.values().map(load).sum();
        let ceiling = total.div_ceil(assignments.len());
        let floor = total / assignments.len();
        let kept: Vec<usize> = spec.members.keys().map(|id| load(&still_wanted(spec, id))).collect();
        let excess: usize = kept.iter().map(|kept| kept.saturating_sub(ceiling)).sum();
        let free = total - kept.iter().sum::<usize>();
        let missing: usize = kept.iter().map(|kept| floor.saturating_sub(*kept)).sum();
        prop_assert!(moved(spec, assignments) <= excess.max(missing.saturating_sub(free)));
    }
    Ok(())
}

fn still_wanted(spec: &GroupSpec, member_id: &Arc<str>) -> Assignment {
    let member = &spec.members[member_id];
    let mut wanted = Assignment::new();
    for (topic_id, partitions) in &*member.assigned {
        let count = spec.partitions.get(topic_id).copied().unwrap_or(0);
        let left: BTreeSet<i32> = partitions.range(..count).copied().collect();
        if member.subscribed.contains(topic_id) && !left.is_empty() {
            wanted.insert(*topic_id, left);
        }
    }
    wanted
}
