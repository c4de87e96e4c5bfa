//! What a node says of what its coordinators know: of transactions, committed offsets and members.

use std::collections::BTreeMap;

use ottla_types::Uuid;
use ottla_wire::Request;
use ottla_wire::messages::{
    ConsumerGroupDescribeRequest, DescribeShareGroupOffsetsRequest, DescribeTransactionsRequest,
    OffsetFetchRequest, describe_share_group_offsets_request, offset_fetch_request,
};

use crate::cast::{self, TRANSACTIONAL_IDS};
use crate::network::{Heard, Link, decode};
use crate::node::SteppedNode;
use crate::rng::Rng;

const DESCRIBE_TRANSACTIONS_VERSION: i16 = 0;
const OFFSET_FETCH_VERSION: i16 = 9;
const CONSUMER_DESCRIBE_VERSION: i16 = 1;
const SHARE_OFFSETS_VERSION: i16 = 1;
/// How long coordinators may take to load.
const LOAD_TRIES: usize = 200;
const LOAD_WAIT_MS: u64 = 5;

/// How a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// As DescribeTransactions names it.
    pub state: String,
    pub producer_id: i64,
    pub epoch: i16,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroup {
    pub epoch: i32,
    pub members: BTreeMap<String, ConsumerMember>,
}

/// Its epoch, and its partitions by topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMember {
    pub epoch: i32,
    pub partitions: BTreeMap<Uuid, Vec<i32>>,
}

/// See the module. What is not known to the node is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    pub transactions: BTreeMap<String, Transaction>,
    /// By group and by partition of the topic `t0`.
    pub offsets: BTreeMap<(String, i32), i64>,
    pub consumer_group: Option<ConsumerGroup>,
    /// Where the share group begins to read, by topic and partition.
    pub share_starts: BTreeMap<(String, i32), i64>,
}

/// The node can't say yet, or not any more.
struct Unavailable;

/// Codes of answers that say that there is no such thing.
const UNKNOWN: [i16; 3] = [
    ottla_wire::ErrorCode::TransactionalIdNotFound as i16,
    ottla_wire::ErrorCode::GroupIdNotFound as i16,
    ottla_wire::ErrorCode::UnknownTopicOrPartition as i16,
];

struct Asking<'a> {
    node: &'a mut SteppedNode,
    link: Link,
    rng: Rng,
}

impl Remembered {
    /// What it says at once.
    pub fn of(node: &mut SteppedNode) -> Option<Remembered> {
        Asking::new(node).all().ok()
    }

    /// What it says when its coordinators have loaded; none if they don't within a second.
    pub fn after_start(node: &mut SteppedNode) -> Option<Remembered> {
        for _ in 0..LOAD_TRIES {
            if let Some(remembered) = Remembered::of(node) {
                return Some(remembered);
            }
            node.move_clock(LOAD_WAIT_MS);
        }
        None
    }
}

impl Asking<'_> {
    fn new(node: &mut SteppedNode) -> Asking<'_> {
        let mut link = Link::new("somebody who asks".to_owned(), 0);
        link.connect(u64::MAX);
        Asking { node, link, rng: Rng::new(0) }
    }

    fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Unavailable> {
        let now = self.node.now().mono;
        self.link.send(request, version, now, &mut self.rng);
        for _ in 0..3 {
            self.link.deliver(self.node, now);
            self.node.try_step().map_err(|_| Unavailable)?;
            self.link.collect(self.node, now, &mut self.rng);
            if let Some(Heard::Answer { body, .. }) = self.link.hear(now) {
                return Ok(decode(&body, version));
            }
        }
        Err(Unavailable)
    }

    fn all(&mut self) -> Result<Remembered, Unavailable> {
        let mut remembered = Remembered { transactions: self.transactions()?, ..Remembered::default() };
        let groups = [cast::CLASSIC_GROUP.to_owned(), cast::CONSUMER_GROUP.to_owned()];
        for group in groups.into_iter().chain(TRANSACTIONAL_IDS.map(cast::group_of)) {
            self.offsets(group, &mut remembered.offsets)?;
        }
        remembered.consumer_group = self.consumer_group()?;
        remembered.share_starts = self.share_starts()?;
        Ok(remembered)
    }

    fn transactions(&mut self) -> Result<BTreeMap<String, Transaction>, Unavailable> {
        let request = DescribeTransactionsRequest {
            transactional_ids: TRANSACTIONAL_IDS.map(str::to_owned).to_vec(),
            ..DescribeTransactionsRequest::default()
        };
        let response = self.ask(&request, DESCRIBE_TRANSACTIONS_VERSION)?;
        let mut transactions = BTreeMap::new();
        for found in response.transaction_states {
            if is_known(found.error_code)? {
                let transaction = Transaction {
                    state: found.transaction_state,
                    producer_id: found.producer_id,
                    epoch: found.producer_epoch,
                };
                transactions.insert(found.transactional_id, transaction);
            }
        }
        Ok(transactions)
    }

    fn offsets(
        &mut self,
        group_id: String,
        into: &mut BTreeMap<(String, i32), i64>,
    ) -> Result<(), Unavailable> {
        let group = offset_fetch_request::Group {
            group_id: group_id.clone(),
            member_epoch: -1,
            topics: None,
            ..Default::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let response = self.ask(&request, OFFSET_FETCH_VERSION)?;
        for group in &response.groups {
            is_known(group.error_code)?;
            for partition in group.topics.iter().flat_map(|topic| &topic.partitions) {
                if is_known(partition.error_code)? {
                    into.insert((group_id.clone(), partition.partition_index), partition.committed_offset);
                }
            }
        }
        Ok(())
    }

    fn consumer_group(&mut self) -> Result<Option<ConsumerGroup>, Unavailable> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![cast::CONSUMER_GROUP.to_owned()],
            ..ConsumerGroupDescribeRequest::default()
        };
        let mut response = self.ask(&request, CONSUMER_DESCRIBE_VERSION)?;
        let Some(group) = response.groups.pop() else { return Err(Unavailable) };
        if !is_known(group.error_code)? {
            return Ok(None);
        }
        let mut members = BTreeMap::new();
        for member in group.members {
            let partitions = member.assignment.topic_partitions.into_iter();
            let partitions = partitions.map(|topic| (topic.topic_id, topic.partitions)).collect();
            members.insert(member.member_id, ConsumerMember { epoch: member.member_epoch, partitions });
        }
        Ok(Some(ConsumerGroup { epoch: group.group_epoch, members }))
    }

    fn share_starts(&mut self) -> Result<BTreeMap<(String, i32), i64>, Unavailable> {
        let group = describe_share_group_offsets_request::Group {
            group_id: cast::SHARE_GROUP.to_owned(),
            topics: None,
            ..Default::default()
        };
        let request = DescribeShareGroupOffsetsRequest {
            groups: vec![group],
            ..DescribeShareGroupOffsetsRequest::default()
        };
        let response = self.ask(&request, SHARE_OFFSETS_VERSION)?;
        let mut starts = BTreeMap::new();
        for group in response.groups {
            is_known(group.error_code)?;
            for topic in group.topics {
                for partition in topic.partitions {
                    if is_known(partition.error_code)? {
                        let named = (topic.topic_name.clone(), partition.partition_index);
                        starts.insert(named, partition.start_offset);
                    }
                }
            }
        }
        Ok(starts)
    }
}

/// Whether there is such a thing.
fn is_known(code: i16) -> Result<bool, Unavailable> {
    match code {
        0 => Ok(true),
        code if UNKNOWN.contains(&code) => Ok(false),
        _ => Err(Unavailable),
    }
}
