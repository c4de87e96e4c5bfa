//! Who takes part in a run: always producers, consumers, an administrator and a group, and by the seed's choice
//! transactions, a consumer group and a share group.

use ottla_record::Codec;

use crate::clients::{
    Admin, Client, Consumer, ConsumerMember, Janitor, Member, OffsetReader, Producer, ProducerSettings,
    ShareMember, Transactional, TransactionalSettings,
};
use crate::rng::Rng;

/// The ids of producers with transactions.
pub const TRANSACTIONAL_IDS: [&str; 2] = ["contended", "own"];
/// The group of the classic protocol.
pub const CLASSIC_GROUP: &str = "group";
pub const CONSUMER_GROUP: &str = "consumer-group";
pub const SHARE_GROUP: &str = "share-group";

/// What members and producers leave behind is found out within a run.
pub const SHORT_TIMES: [(&str, &str); 14] = [
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "300"),
    ("group.consumer.min.heartbeat.interval.ms", "100"),
    ("group.consumer.heartbeat.interval.ms", "250"),
    ("group.consumer.min.session.timeout.ms", "1000"),
    ("group.consumer.session.timeout.ms", "3000"),
    ("group.consumer.assignment.interval.ms", "0"),
    ("group.share.min.heartbeat.interval.ms", "100"),
    ("group.share.heartbeat.interval.ms", "250"),
    ("group.share.min.session.timeout.ms", "1000"),
    ("group.share.session.timeout.ms", "3000"),
    ("group.share.assignment.interval.ms", "0"),
    ("group.share.min.record.lock.duration.ms", "1000"),
    ("group.share.record.lock.duration.ms", "1500"),
    ("group.share.delivery.count.limit", "5"),
];
/// `group.share.record.lock.duration.ms` and `group.share.delivery.count.limit`.
pub const RECORD_LOCK_MS: i64 = 1_500;
pub const DELIVERY_COUNT_LIMIT: i16 = 5;

/// The clients of a run, with their names.
#[derive(Debug)]
pub struct Cast {
    pub clients: Vec<(String, Box<dyn Client>)>,
    /// The share group is given nothing of transactions that were aborted.
    pub share_reads_committed: bool,
}

/// Draws the clients of a run.
pub fn draw(rng: &mut Rng) -> Cast {
    let mut cast = Cast { clients: Vec::new(), share_reads_committed: rng.one_in(2) };
    cast.add("administrator", Admin::new(&[("t0", 3), ("t1", 1)]));
    for id in 0..5 {
        let is_idempotent = id < 3;
        let acks = if is_idempotent { -1 } else { rng.pick(&[0, 1, -1]) };
        let settings = ProducerSettings {
            id,
            acks,
            is_idempotent,
            in_flight_max: if is_idempotent { rng.between(1, 5) as usize } else { 1 },
            codec: rng.pick(&[Codec::None, Codec::None, Codec::Lz4, Codec::Gzip, Codec::Snappy, Codec::Zstd]),
            version: rng.pick(&[9, 11, 12, 13]),
            gives_up: false,
        };
        cast.add(&format!("producer {id} with acks {acks}"), Producer::new(settings));
    }
    for id in 0..2 {
        let consumer = Consumer::new(id, rng.pick(&[11, 12, 13, 17]), id as i8);
        cast.add(&format!("consumer {id}"), consumer);
    }
    for id in 0..3 {
        let name = format!("member {id}");
        cast.add(&name, Member::new(CLASSIC_GROUP, &name));
    }
    if !rng.one_in(4) {
        cast.add_transactions(rng);
    }
    if rng.one_in(2) {
        for id in 0..3 {
            let name = format!("consumer-member-{id}");
            cast.add(&name, ConsumerMember::new(CONSUMER_GROUP, &name));
        }
    }
    if rng.one_in(2) {
        let isolation_level = if cast.share_reads_committed { "read_committed" } else { "read_uncommitted" };
        for id in 0..3 {
            let name = format!("share-member-{id}");
            cast.add(&name, ShareMember::new(SHARE_GROUP, &name, 2, isolation_level));
        }
    }
    cast
}

/// Two producers that take one id from each other, and one with an id of its own.
pub fn transactional(rng: &mut Rng) -> [(String, Transactional); 3] {
    let [contended, own] = TRANSACTIONAL_IDS;
    [(1, contended), (2, contended), (3, own)].map(|(number, transactional_id)| {
        let settings = TransactionalSettings {
            first_producer: number * 10_000,
            transactional_id: transactional_id.to_owned(),
            group: group_of(transactional_id),
            is_version_2: rng.one_in(2),
            timeout_ms: rng.pick(&[800, 2_000]),
        };
        (format!("transactional producer {number}"), Transactional::new(settings))
    })
}

impl Cast {
    fn add(&mut self, name: &str, client: impl Client + 'static) {
        self.clients.push((name.to_owned(), Box::new(client)));
    }

    fn add_transactions(&mut self, rng: &mut Rng) {
        for (name, producer) in transactional(rng) {
            self.add(&name, producer);
        }
        for transactional_id in TRANSACTIONAL_IDS {
            let name = format!("reader of the offsets of {transactional_id}");
            self.add(&name, OffsetReader::new(&name, &group_of(transactional_id)));
        }
        self.add("janitor", Janitor::new());
    }
}

/// The group whose offsets the producers of an id commit.
pub fn group_of(transactional_id: &str) -> String {
    format!("offsets of {transactional_id}")
}
