//! Dead letters of share groups (KIP-1191): which records leave some, what they say, and what happens where none can be
//! written.

use ottla_record::{Batches, OwnedRecord};
use ottla_wire::messages::ShareAcknowledgeRequest;

use crate::configs::{BROKER, TOPIC, alter, alter_well};
use crate::node_settings::Settings;
use crate::records::log_of;
use crate::share_groups::{ACCEPT, REJECT, RELEASE, Shared};
use crate::topics::create;
use crate::transactions::World;

const QUEUE: &str = "dlq.g";
const MAY_HOLD: (&str, &str) = ("errors.deadletterqueue.group.enable", "true");
const NAME: &str = "errors.deadletterqueue.topic.name";
const COPY: &str = "errors.deadletterqueue.copy.record.enable";

/// A group that has `count` records out, and a topic for dead letters.
fn with_queue(settings: Settings<'_>, count: usize) -> Shared {
    let mut shared = Shared::start(settings);
    create(&mut shared.node, QUEUE, 1, &[MAY_HOLD]);
    shared.set(NAME, QUEUE);
    out(shared, count)
}

fn out(mut shared: Shared, count: usize) -> Shared {
    shared.join("a");
    shared.put(count);
    assert!(!shared.fetch("a").is_empty());
    shared
}

/// The records of a topic's partition.
fn records(shared: &Shared, topic: &str) -> Vec<OwnedRecord> {
    let mut all = Vec::new();
    for segment in log_of(&shared.node, topic).segments().iter() {
        let mut bytes = vec![0; segment.size() as usize];
        segment.file().unwrap().read_at(&mut bytes, 0).unwrap();
        for batch in Batches::new(&bytes) {
            let batch = batch.unwrap();
            let mut records = batch.records(1 << 20).unwrap();
            while let Some(record) = records.next().unwrap() {
                all.push(record.to_owned());
            }
        }
    }
    all
}

fn header(record: &OwnedRecord, key: &str) -> String {
    let header = record.headers.iter().find(|header| header.key == key.as_bytes()).expect(key);
    String::from_utf8(header.value.clone().unwrap().to_vec()).unwrap()
}

/// Offset, delivery count and reason of each letter.
fn letters(shared: &Shared) -> Vec<(String, String, String)> {
    let letters = records(shared, QUEUE);
    let says = |letter: &OwnedRecord| {
        assert_eq!(header(letter, "__dlq.errors.topic"), "t");
        assert_eq!(header(letter, "__dlq.errors.partition"), "0");
        assert_eq!(header(letter, "__dlq.errors.group"), "g");
        let of = |name: &str| header(letter, &format!("__dlq.errors.{name}"));
        (of("offset"), of("delivery.count"), of("message"))
    };
    letters.iter().map(says).collect()
}

fn letter(offset: &str, count: &str, why: &str) -> (String, String, String) {
    (offset.to_owned(), count.to_owned(), why.to_owned())
}

#[test]
fn what_a_group_gives_up_leaves_letters() {
    let mut shared = with_queue(&[("group.share.delivery.count.limit", "2")], 6);
    assert_eq!(shared.acknowledge("a", 0, 0, ACCEPT), "NONE");
    assert_eq!(shared.acknowledge("a", 1, 2, REJECT), "NONE");
    let rejected = "Offset rejected by client.";
    assert_eq!(letters(&shared), [letter("1", "1", rejected), letter("2", "1", rejected)]);
    assert_eq!(shared.acknowledge("a", 3, 5, RELEASE), "NONE");
    assert_eq!(shared.fetch("a"), [(3, 5, 2)]);
    assert_eq!(shared.acknowledge("a", 3, 3, RELEASE), "NONE");
    let too_often = "Offset delivery count exceeded the threshold.";
    assert_eq!(letters(&shared)[2..], [letter("3", "2", too_often)]);
    (0..31).for_each(|_| shared.node.pass_ms(1000));
    assert_eq!(letters(&shared)[3..], [letter("4", "2", too_often), letter("5", "2", too_often)]);
    assert!(records(&shared, QUEUE).iter().all(|letter| letter.key.is_none() && letter.value.is_none()));
    shared.put(1);
    assert_eq!(shared.fetch("a"), [(6, 6, 1)], "the group goes on behind them");
}

#[test]
fn the_end_of_a_transaction_gets_no_letter_though_it_was_out_with_the_records() {
    for copies in ["false", "true"] {
        let mut world = World::at_level(2, &[("group.share.delivery.count.limit", "2")]);
        create(&mut world.node, QUEUE, 1, &[MAY_HOLD]);
        let who = world.init();
        world.write(who, 0, "a");
        world.write(who, 0, "b");
        assert!(world.end(5, who, true).is_ok());
        (0..10).for_each(|_| world.node.pass_ms(100));
        let mut shared = Shared::of(world.node, world.topic);
        for (key, value) in [("share.auto.offset.reset", "earliest"), (NAME, QUEUE), (COPY, copies)] {
            shared.set(key, value);
        }
        shared.join("a");
        shared.put(1);
        for delivery in [1, 2] {
            assert_eq!(shared.fetch("a"), [(0, 3, delivery)], "the end lies at 2");
            (0..31).for_each(|_| shared.node.pass_ms(1000));
        }
        let offsets: Vec<String> = letters(&shared).into_iter().map(|(offset, ..)| offset).collect();
        assert_eq!(offsets, ["0", "1", "3"]);
    }
}

#[test]
fn a_letter_may_have_the_record_in_it() {
    let mut shared = with_queue(&[], 2);
    shared.set(COPY, "true");
    assert_eq!(shared.acknowledge("a", 1, 1, REJECT), "NONE");
    let (letter, record) = (records(&shared, QUEUE).remove(0), records(&shared, "t").remove(1));
    assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
    assert!(letter.key.is_some());
}

/// What a group that rejects a record is told, and how many letters there are.
fn rejection(shared: &mut Shared) -> (String, usize) {
    let told = shared.acknowledge("a", 0, 0, REJECT);
    shared.put(1);
    assert_eq!(shared.fetch("a").first().map(|first| first.0), Some(1), "the group goes on behind it");
    let queue = shared.node.node.logs().logs().into_iter().find(|log| *log.partition().topic == *QUEUE);
    (told, queue.map_or(0, |_| letters(shared).len()))
}

#[test]
fn a_group_without_a_queue_leaves_none() {
    let mut shared = Shared::start(&[]);
    create(&mut shared.node, QUEUE, 1, &[MAY_HOLD]);
    let mut shared = out(shared, 1);
    assert_eq!(rejection(&mut shared), ("NONE".to_owned(), 0));
    let mut shared = with_queue(&[], 1);
    shared.set(NAME, "");
    assert_eq!(rejection(&mut shared), ("NONE".to_owned(), 0));
}

#[test]
fn a_queue_that_may_not_hold_letters_holds_nobody_up() {
    type Spoil = fn(&mut Shared);
    let spoilt: [(&str, Spoil); 4] = [
        ("no such topic", |shared| shared.set(NAME, "dlq.none")),
        ("another prefix by now", |shared| {
            let prefix = [("errors.deadletterqueue.topic.name.prefix", Some("letters."))];
            assert_eq!(alter(&mut shared.node, BROKER, "", &prefix).0.name(), "NONE");
        }),
        ("not allowed", |shared| alter_well(&mut shared.node, TOPIC, QUEUE, &[(MAY_HOLD.0, Some("false"))])),
        ("too small", |shared| {
            alter_well(&mut shared.node, TOPIC, QUEUE, &[("max.message.bytes", Some("10"))]);
        }),
    ];
    for (what, spoil) in spoilt {
        let mut shared = with_queue(&[], 1);
        spoil(&mut shared);
        assert_eq!(rejection(&mut shared), ("NONE".to_owned(), 0), "{what}");
    }
}

#[test]
fn a_group_does_not_write_letters_about_its_letters() {
    let mut shared = Shared::start(&[]);
    alter_well(&mut shared.node, TOPIC, "t", &[(MAY_HOLD.0, Some("true"))]);
    let prefix = [("errors.deadletterqueue.topic.name.prefix", Some("t"))];
    assert_eq!(alter(&mut shared.node, BROKER, "", &prefix).0.name(), "NONE");
    shared.set(NAME, "t");
    let mut shared = out(shared, 1);
    assert_eq!(shared.acknowledge("a", 0, 0, REJECT), "NONE");
    assert_eq!(records(&shared, "t").len(), 1);
}

/// A queue that is to be made, which the controller refuses: there are not as many brokers.
fn without_queue() -> Shared {
    let settings =
        [("errors.deadletterqueue.auto.create.topics.enable", "true"), ("default.replication.factor", "2")];
    let mut shared = Shared::start(&settings);
    shared.set(NAME, QUEUE);
    out(shared, 1)
}

#[test]
fn a_queue_that_is_missing_for_a_while_gets_its_letters_then() {
    let mut shared = without_queue();
    let request = shared.acknowledgement("a", 0, 0, REJECT);
    let answer = shared.node.send(&request, 2);
    shared.node.pass_ms(1000);
    assert!(answer.take::<ShareAcknowledgeRequest>(2).is_none(), "it is tried again");
    create(&mut shared.node, QUEUE, 1, &[MAY_HOLD]);
    (0..30).for_each(|_| shared.node.pass_ms(1000));
    assert!(answer.take::<ShareAcknowledgeRequest>(2).is_some());
    assert_eq!(letters(&shared), [letter("0", "1", "Offset rejected by client.")]);
}

#[test]
fn a_queue_that_is_missing_for_long_is_done_without() {
    let mut shared = without_queue();
    let request = shared.acknowledgement("a", 0, 0, REJECT);
    let answer = shared.node.send(&request, 2);
    (0..40).for_each(|_| shared.node.pass_ms(1000));
    let response = answer.take::<ShareAcknowledgeRequest>(2).expect("it is over");
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
    shared.put(1);
    assert_eq!(shared.fetch("a").first().map(|first| first.0), Some(1));
}

#[test]
fn queues_are_made_where_that_is_wanted() {
    let mut shared = Shared::start(&[("errors.deadletterqueue.auto.create.topics.enable", "true")]);
    shared.set(NAME, QUEUE);
    let mut shared = out(shared, 1);
    let request = shared.acknowledgement("a", 0, 0, REJECT);
    let answer = shared.node.send(&request, 2);
    (0..30).for_each(|_| shared.node.pass_ms(1000));
    assert!(answer.take::<ShareAcknowledgeRequest>(2).is_some());
    assert_eq!(letters(&shared).len(), 1);
}
