//! Producers who write and commit, one transaction after another.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ottla_record::BatchOptions;
use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::add_partitions_to_txn_request::V3AndBelowTopic;
use ottla_wire::messages::{AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest};
use tokio::time::sleep;

use crate::Outcome;
use crate::client::{Client, check, error_of};
use crate::figures::Figures;
use crate::options::Options;
use crate::pace::{Act, Pace};
use crate::setup::{self, BETWEEN_TRIES, Coordinates, Isolation, Topic, is_loading};

/// What Java's producer waits while the transaction before is not over yet.
const BACKOFF: Duration = Duration::from_millis(20);
const RECORD_BYTES: usize = 100;
const TIMEOUT_MS: i32 = 60_000;

struct Producer {
    client: Client,
    topic: Rc<Topic>,
    transactional_id: String,
    id: i64,
    epoch: i16,
    /// The next of each partition.
    sequence: i32,
    partitions: Vec<i32>,
    version: i16,
    done: Rc<Cell<u64>>,
    backoffs: Rc<Cell<u64>>,
    ends: Rc<Cell<Duration>>,
}

impl Act for Producer {
    async fn act(&mut self) -> Outcome<()> {
        if self.version == 1 {
            loop {
                let error = self.add_partitions().await?;
                if !self.must_back_off("AddPartitionsToTxn", error).await? {
                    break;
                }
            }
        }
        loop {
            let error = self.produce().await?;
            if !self.must_back_off("Produce", error).await? {
                break;
            }
        }
        self.sequence += 1;
        let began = Instant::now();
        self.end().await?;
        self.ends.set(self.ends.get() + began.elapsed());
        self.done.set(self.done.get() + 1);
        Ok(())
    }
}

impl Producer {
    async fn initialize(&mut self) -> Outcome<()> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id.clone()),
            transaction_timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        loop {
            let response = self.client.call(&request, 5).await?;
            match error_of(response.error_code) {
                None => {
                    (self.id, self.epoch) = (response.producer_id, response.producer_epoch);
                    return Ok(());
                }
                Some(error) if is_loading(error) || error == ErrorCode::ConcurrentTransactions => {
                    sleep(BETWEEN_TRIES).await;
                }
                Some(error) => return Err(format!("InitProducerId: {error}").into()),
            }
        }
    }

    async fn add_partitions(&mut self) -> Outcome<Option<ErrorCode>> {
        let topic = V3AndBelowTopic {
            name: self.topic.name.clone(),
            partitions: self.partitions.clone(),
            ..Default::default()
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.clone(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let response = self.client.call(&request, 3).await?;
        let topics = response.results_by_topic_v3_and_below.iter();
        let mut partitions = topics.flat_map(|topic| &topic.results_by_partition);
        Ok(partitions.find_map(|partition| error_of(partition.partition_error_code)))
    }

    async fn produce(&mut self) -> Outcome<Option<ErrorCode>> {
        let options = BatchOptions {
            producer_id: ProducerId(self.id),
            producer_epoch: ProducerEpoch(self.epoch),
            base_sequence: self.sequence,
            transactional: true,
            ..BatchOptions::default()
        };
        let records = setup::batch(options, setup::wall_clock(), 1, RECORD_BYTES)?;
        let batches = self.partitions.iter().map(|partition| (*partition, records.clone()));
        let version = if self.version == 1 { 11 } else { 13 };
        setup::produce(&mut self.client, &self.topic, Some(&self.transactional_id), version, batches).await
    }

    async fn end(&mut self) -> Outcome<()> {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed: true,
            ..Default::default()
        };
        if self.version == 1 {
            return check("EndTxn", self.client.call(&request, 4).await?.error_code);
        }
        let response = self.client.call(&request, 5).await?;
        check("EndTxn", response.error_code)?;
        // Another epoch for each transaction (KIP-890): its numbers begin anew.
        (self.id, self.epoch, self.sequence) = (response.producer_id, response.producer_epoch, 0);
        Ok(())
    }

    /// The transaction before is not over: waits as clients do.
    async fn must_back_off(&self, what: &str, error: Option<ErrorCode>) -> Outcome<bool> {
        match error {
            None => Ok(false),
            Some(ErrorCode::ConcurrentTransactions) => {
                self.backoffs.set(self.backoffs.get() + 1);
                sleep(BACKOFF).await;
                Ok(true)
            }
            Some(error) => Err(format!("{what}: {error}").into()),
        }
    }
}

pub async fn run(options: &Options) -> Outcome<Figures> {
    let count = options.get("producers", 1_usize)?;
    let each = options.get("partitions", 1)?;
    let version = options.get("version", 2)?;
    let pace = Pace { seconds: options.seconds()?, rate: options.get("rate", 0.0)?, pid: options.pid()? };
    let prefix = options.prefix()?;
    let mut first = Client::connect(&options.address).await?;
    let all = options.get("topic-partitions", 12)?;
    let topic = Rc::new(setup::create_topic(&mut first, format!("{prefix}-topic"), all).await?);
    setup::find_coordinator(&mut first, Coordinates::Transactions, &prefix).await?;
    let (done, backoffs, ends) = <(Rc<Cell<u64>>, Rc<Cell<u64>>, Rc<Cell<Duration>>)>::default();
    let mut producers = Vec::new();
    for (number, client) in (0_i32..).zip(Client::connect_all(&options.address, count).await?) {
        let mut producer = Producer {
            client,
            topic: Rc::clone(&topic),
            transactional_id: format!("{prefix}-producer-{number}"),
            id: -1,
            epoch: -1,
            sequence: 0,
            partitions: (number * each..(number + 1) * each).map(|partition| partition % all).collect(),
            version,
            done: Rc::clone(&done),
            backoffs: Rc::clone(&backoffs),
            ends: Rc::clone(&ends),
        };
        producer.initialize().await?;
        producers.push(producer);
    }
    let mut figures = pace.run("transaction", producers).await?;
    let transactions = done.get();
    figures.put("end mean ms", ends.get().as_secs_f64() * 1e3 / transactions.max(1) as f64);
    figures.put("backoffs", backoffs.get() as f64);
    check_topic(&mut first, &topic, transactions * u64::from(each.unsigned_abs())).await?;
    Ok(figures)
}

/// As many records as were written, each with the marker of its transaction, and nothing open. The markers of the last
/// ones may still be on their way.
async fn check_topic(client: &mut Client, topic: &Topic, records: u64) -> Outcome<()> {
    let expected = i64::try_from(records * 2)?;
    for _ in 0..100 {
        let end = setup::end_offsets(client, topic, Isolation::ReadUncommitted).await?;
        let stable = setup::end_offsets(client, topic, Isolation::ReadCommitted).await?;
        if end == expected && stable == expected {
            return Ok(());
        }
        if end > expected {
            return Err(format!("{end} records and markers where {expected} belong").into());
        }
        sleep(BETWEEN_TRIES).await;
    }
    Err("transactions that were committed are still open".into())
}
