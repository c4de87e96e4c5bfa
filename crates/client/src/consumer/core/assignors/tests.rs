//! What holds of every assignment, whatever the group.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;
use proptest::prelude::*;

use super::*;

/// For each member, which of the topics it reads, and its rack; for each topic, its partitions' racks.
#[derive(Clone, Debug)]
struct Shape {
    topics: Vec<Vec<Vec<u8>>>,
    members: Vec<(Vec<bool>, Option<u8>)>,
}

fn shapes(same_topics: bool) -> impl Strategy<Value = Shape> {
    let racks = prop::collection::vec(0u8..3, 0..3);
    let topics = prop::collection::vec(prop::collection::vec(racks, 1..7), 1..5);
    let members =
        prop::collection::vec((prop::collection::vec(any::<bool>(), 5), prop::option::of(0u8..3)), 1..8);
    (topics, members).prop_map(move |(topics, mut members)| {
        for (wanted, _) in &mut members {
            if same_topics || !wanted[..topics.len()].contains(&true) {
                wanted.fill(true);
            }
        }
        Shape { topics, members }
    })
}

fn topics(shape: &Shape) -> TopicRacks {
    let racks = |racks: &Vec<u8>| racks.iter().map(|rack| format!("r{rack}")).collect();
    let named = shape.topics.iter().enumerate();
    named.map(|(at, partitions)| (format!("t{at}").into(), partitions.iter().map(racks).collect())).collect()
}

fn members(shape: &Shape) -> Vec<GroupMember> {
    let named = shape.members.iter().enumerate();
    let member = |(at, (wanted, rack)): (usize, &(Vec<bool>, Option<u8>))| GroupMember {
        member_id: format!("consumer-{}", at * 7919 % 100),
        group_instance_id: None,
        subscription: Subscription {
            topics: (0..shape.topics.len()).filter(|t| wanted[*t]).map(|t| format!("t{t}").into()).collect(),
            rack_id: rack.map(|rack| format!("r{rack}")),
            ..Subscription::default()
        },
    };
    named.map(member).collect()
}

type Counts = BTreeMap<String, usize>;

/// Everything that somebody reads is given to one who reads it.
fn check_complete(topics: &TopicRacks, members: &[GroupMember], assigned: &BTreeMap<String, Assignment>) {
    let mut given = BTreeSet::new();
    for member in members {
        for partition in &assigned[&member.member_id].partitions {
            assert!(
                member.subscription.topics.contains(&partition.topic),
                "{} gets {partition}",
                member.member_id
            );
            assert!(given.insert(partition.clone()), "{partition} is given twice");
        }
    }
    let wanted = |topic: &Arc<str>| members.iter().any(|member| member.subscription.topics.contains(topic));
    let all = topics.iter().filter(|(topic, _)| wanted(topic));
    let all = all.flat_map(|(topic, of)| (0..of.len()).map(|p| TopicPartition::new(topic.clone(), p as i32)));
    assert_eq!(given, all.collect());
}

fn counts(assigned: &BTreeMap<String, Assignment>) -> Counts {
    assigned.iter().map(|(member, of)| (member.clone(), of.partitions.len())).collect()
}

fn spread(counts: &Counts) -> usize {
    counts.values().max().unwrap() - counts.values().min().unwrap()
}

/// Lets each member tell what it got, as its own assignor does.
fn tell(name: &str, members: &mut [GroupMember], assigned: &BTreeMap<String, Assignment>, generation: i32) {
    for member in members {
        let mut own = by_name(name).unwrap();
        own.on_assignment(&assigned[&member.member_id], generation);
        member.subscription.user_data = own.subscription_user_data(&member.subscription.topics);
        if own.protocol() == RebalanceProtocol::Cooperative {
            member.subscription.owned_partitions = assigned[&member.member_id].partitions.clone();
        }
        member.subscription.generation = Some(generation);
    }
}

/// What members say they own, and in which generation, whether it is true or not.
type Claim = (Vec<(u8, i32)>, Option<i32>, bool);

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let partitions = prop::collection::vec((0u8..6, 0i32..8), 0..8);
    prop::collection::vec((partitions, prop::option::of(0i32..3), any::<bool>()), 8)
}

proptest! {
    #![proptest_config(ottla_testkit::cases(200))]

    /// Members may say what they like of what they own.
    #[test]
    fn claims_that_contradict_each_other_do_no_harm(shape in shapes(false), alike in any::<bool>(), claims in claims()) {
        let mut shape = shape;
        if alike {
            shape.members.iter_mut().for_each(|member| member.0.fill(true));
        }
        let (topics, mut members) = (topics(&shape), members(&shape));
        for (member, (claimed, generation, in_user_data)) in members.iter_mut().zip(claims) {
            let claimed = claimed.iter().map(|(topic, partition)| TopicPartition::new(format!("t{topic}"), *partition));
            let partitions: Vec<TopicPartition> = claimed.collect();
            let mut own = StickyAssignor::default();
            own.on_assignment(&Assignment { partitions: partitions.clone(), user_data: None }, generation.unwrap_or(-1));
            member.subscription.user_data = own.subscription_user_data(&[]).filter(|_| in_user_data);
            member.subscription.owned_partitions = partitions;
            member.subscription.generation = generation;
        }
        check_complete(&topics, &members, &StickyAssignor::default().assign(&topics, &members));
        CooperativeStickyAssignor::default().assign(&topics, &members);
    }

    #[test]
    fn everything_is_given_once(shape in shapes(false)) {
        let (topics, members) = (topics(&shape), members(&shape));
        for name in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
            check_complete(&topics, &members, &by_name(name).unwrap().assign(&topics, &members));
        }
    }

    #[test]
    fn equal_members_get_equal_shares(shape in shapes(true)) {
        let (topics, members) = (topics(&shape), members(&shape));
        for name in ["roundrobin", "sticky", "cooperative-sticky"] {
            prop_assert!(spread(&counts(&by_name(name).unwrap().assign(&topics, &members))) <= 1, "{name}");
        }
        // Range is even within each topic.
        let assigned = by_name("range").unwrap().assign(&topics, &members);
        for topic in topics.keys() {
            let of_topic = |of: &Assignment| of.partitions.iter().filter(|p| p.topic == *topic).count();
            let counts = assigned.iter().map(|(member, of)| (member.clone(), of_topic(of))).collect();
            prop_assert!(spread(&counts) <= 1);
        }
    }

    /// Without racks, nothing moves while nothing changes; and when a member goes, only what it had does.
    #[test]
    fn what_can_stay_stays(shape in shapes(true)) {
        let mut shape = shape;
        shape.members.iter_mut().for_each(|member| member.1 = None);
        let topics = topics(&shape);
        for name in ["sticky", "cooperative-sticky"] {
            let mut members = members(&shape);
            let assignor = by_name(name).unwrap();
            let first = assignor.assign(&topics, &members);
            tell(name, &mut members, &first, 1);
            prop_assert_eq!(&assignor.assign(&topics, &members), &first);
            if members.len() > 1 {
                members.pop();
                let second = assignor.assign(&topics, &members);
                for member in &members {
                    let kept = second[&member.member_id].partitions.iter().collect::<BTreeSet<_>>();
                    prop_assert!(first[&member.member_id].partitions.iter().all(|had| kept.contains(had)), "{name}");
                }
            }
        }
    }

    /// A cooperative group takes a new member in without reading anything twice, and comes to an end.
    #[test]
    fn cooperation_hands_over_in_two_steps(shape in shapes(true)) {
        let mut shape = shape;
        shape.members.iter_mut().for_each(|member| member.1 = None);
        let topics = topics(&shape);
        let name = "cooperative-sticky";
        let assignor = by_name(name).unwrap();
        let mut all = members(&shape);
        let newcomer = all.pop().unwrap();
        if all.is_empty() {
            return Ok(());
        }
        let before = assignor.assign(&topics, &all);
        tell(name, &mut all, &before, 1);
        all.push(newcomer);
        let between = assignor.assign(&topics, &all);
        for (member, of) in &before {
            for (other, new) in between.iter().filter(|(other, _)| *other != member) {
                prop_assert!(
                    !of.partitions.iter().any(|partition| new.partitions.contains(partition)),
                    "{other} gets something before {member} gave it up"
                );
            }
        }
        tell(name, &mut all, &between, 2);
        check_complete(&topics, &all, &assignor.assign(&topics, &all));
    }
}

#[test]
fn built_in_strategies_go_by_javas_names_too() {
    for (java, name) in [
        ("RangeAssignor", "range"),
        ("RoundRobinAssignor", "roundrobin"),
        ("StickyAssignor", "sticky"),
        ("CooperativeStickyAssignor", "cooperative-sticky"),
    ] {
        let class = format!("org.apache.kafka.clients.consumer.{java}");
        assert_eq!(by_name(&class).unwrap().name(), name);
        assert_eq!(by_name(name).unwrap().name(), name);
    }
    assert!(by_name("com.example.Mine").is_none());
}
