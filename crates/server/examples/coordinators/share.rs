//! Members of a share group (KIP-932) who take records and accept them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_record::{BatchBuilder, BatchOptions, Batches, NewRecord};
use ottla_types::Uuid;
use ottla_wire::messages::{
    ShareAcknowledgeRequest, ShareFetchRequest, ShareFetchResponse, ShareGroupHeartbeatRequest,
    share_acknowledge_request, share_fetch_request,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::Outcome;
use crate::client::{Client, check, error_of};
use crate::figures::{Figures, Watch};
use crate::options::Options;
use crate::setup::{self, BETWEEN_TRIES, Coordinates, Topic, is_loading};

const HEARTBEAT_VERSION: i16 = 1;
const VERSION: i16 = 2;
const ACCEPT: i8 = 1;
const RECORD_BYTES: usize = 100;
const RECORDS_A_BATCH: usize = 100;
const MAX_WAIT_MS: i32 = 500;
/// A record that nobody has been given by then never will be.
const PATIENCE: Duration = Duration::from_secs(120);

struct Member {
    client: Client,
    group: String,
    member_id: String,
    epoch: i32,
    interval: Duration,
    heard_at: Instant,
    partitions: Vec<(Uuid, Vec<i32>)>,
    session_epoch: i32,
}

/// Records that a member holds: the first and the last of a row in a partition.
struct Acquired {
    topic_id: Uuid,
    partition: i32,
    first: i64,
    last: i64,
}

/// What all members together have done.
struct Work {
    /// The records that there will be.
    records: u64,
    accepted: Cell<u64>,
    /// Since when all are accepted.
    done_at: Cell<Option<Instant>>,
    /// What times in records count from.
    epoch: Instant,
    /// Are records written while others are taken?
    is_paced: bool,
    fetches: RefCell<Vec<Duration>>,
    acknowledgements: RefCell<Vec<Duration>>,
    /// From fetching to having acknowledged, or from writing where records carry their time.
    times: RefCell<Vec<Duration>>,
}

impl Member {
    async fn heartbeat(&mut self, topic: Option<&Topic>) -> Outcome<()> {
        let request = ShareGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            subscribed_topic_names: topic.map(|topic| vec![topic.name.clone()]),
            ..Default::default()
        };
        loop {
            let response = self.client.call(&request, HEARTBEAT_VERSION).await?;
            match error_of(response.error_code) {
                None => {
                    self.heard_at = Instant::now();
                    self.epoch = response.member_epoch;
                    self.interval = Duration::from_millis(u64::try_from(response.heartbeat_interval_ms)?);
                    if let Some(assignment) = response.assignment {
                        let topics = assignment.topic_partitions.into_iter();
                        self.partitions = topics.map(|topic| (topic.topic_id, topic.partitions)).collect();
                    }
                    return Ok(());
                }
                Some(error) if topic.is_some() && is_loading(error) => sleep(BETWEEN_TRIES).await,
                Some(error) => return Err(format!("ShareGroupHeartbeat: {error}").into()),
            }
        }
    }

    async fn fetch(&mut self) -> Outcome<ShareFetchResponse> {
        let mut request = ShareFetchRequest {
            group_id: Some(self.group.clone()),
            member_id: Some(self.member_id.clone()),
            share_session_epoch: self.session_epoch,
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: 50 << 20,
            max_records: 500,
            batch_size: 500,
            ..Default::default()
        };
        if self.session_epoch == 0 {
            for (topic_id, partitions) in &self.partitions {
                let partitions = partitions.iter().map(|partition_index| share_fetch_request::Partition {
                    partition_index: *partition_index,
                    ..Default::default()
                });
                let topic = share_fetch_request::Topic {
                    topic_id: *topic_id,
                    partitions: partitions.collect(),
                    ..Default::default()
                };
                request.topics.push(topic);
            }
        }
        self.session_epoch += 1;
        let response = self.client.call(&request, VERSION).await?;
        check("ShareFetch", response.error_code)?;
        Ok(response)
    }

    async fn accept(&mut self, acquired: &[Acquired]) -> Outcome<()> {
        use share_acknowledge_request::{AcknowledgementBatch, Partition, Topic};
        let mut topics: Vec<Topic> = Vec::new();
        for Acquired { topic_id, partition, first, last } in acquired {
            let batch = AcknowledgementBatch {
                first_offset: *first,
                last_offset: *last,
                acknowledge_types: vec![ACCEPT],
                ..Default::default()
            };
            if topics.last().is_none_or(|topic| topic.topic_id != *topic_id) {
                topics.push(Topic { topic_id: *topic_id, ..Default::default() });
            }
            let Some(topic) = topics.last_mut() else { continue };
            match topic.partitions.last_mut() {
                Some(known) if known.partition_index == *partition => {
                    known.acknowledgement_batches.push(batch)
                }
                _ => topic.partitions.push(Partition {
                    partition_index: *partition,
                    acknowledgement_batches: vec![batch],
                    ..Default::default()
                }),
            }
        }
        let request = ShareAcknowledgeRequest {
            group_id: Some(self.group.clone()),
            member_id: Some(self.member_id.clone()),
            share_session_epoch: self.session_epoch,
            topics,
            ..Default::default()
        };
        self.session_epoch += 1;
        let response = self.client.call(&request, VERSION).await?;
        check("ShareAcknowledge", response.error_code)?;
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        partitions.try_for_each(|partition| check("ShareAcknowledge", partition.error_code))
    }

    /// Takes and accepts until all is done.
    async fn work(mut self, work: Rc<Work>) -> Outcome<()> {
        while work.done_at.get().is_none() {
            if self.heard_at.elapsed() >= self.interval {
                self.heartbeat(None).await?;
            }
            let began = Instant::now();
            let response = self.fetch().await?;
            let fetched = began.elapsed();
            let acquired = acquired(&response)?;
            let sent = if work.is_paced { sent_times(&response)? } else { Vec::new() };
            if acquired.is_empty() {
                continue;
            }
            let before = Instant::now();
            self.accept(&acquired).await?;
            work.fetches.borrow_mut().push(fetched);
            work.acknowledgements.borrow_mut().push(before.elapsed());
            let mut times = work.times.borrow_mut();
            match work.is_paced {
                true => times.extend(sent.into_iter().map(|sent| work.epoch.elapsed().saturating_sub(sent))),
                false => times.push(began.elapsed()),
            }
            let count = acquired.iter().map(|row| (row.last - row.first + 1).unsigned_abs()).sum::<u64>();
            work.accept(count)?;
        }
        Ok(())
    }
}

impl Work {
    fn accept(&self, count: u64) -> Outcome<()> {
        self.accepted.set(self.accepted.get() + count);
        match self.accepted.get() {
            all if all > self.records => Err("a record was delivered twice".into()),
            all => {
                if all == self.records {
                    self.done_at.set(Some(Instant::now()));
                }
                Ok(())
            }
        }
    }
}

/// What the response gives to the member; fails if it had been given to another before.
fn acquired(response: &ShareFetchResponse) -> Outcome<Vec<Acquired>> {
    let mut acquired = Vec::new();
    for topic in &response.responses {
        for partition in &topic.partitions {
            check("ShareFetch", partition.error_code)?;
            for row in &partition.acquired_records {
                if row.delivery_count != 1 {
                    return Err(format!("delivery number {}", row.delivery_count).into());
                }
                acquired.push(Acquired {
                    topic_id: topic.topic_id,
                    partition: partition.partition_index,
                    first: row.first_offset,
                    last: row.last_offset,
                });
            }
        }
    }
    Ok(acquired)
}

/// When the acquired records were written, as they say.
fn sent_times(response: &ShareFetchResponse) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
        let is_acquired = |offset: i64| {
            partition
                .acquired_records
                .iter()
                .any(|row| row.first_offset <= offset && offset <= row.last_offset)
        };
        for batch in Batches::new(partition.records.bytes().unwrap_or(&Bytes::new())) {
            let mut records = batch?.records(RECORD_BYTES << 10)?;
            while let Some(record) = records.next()? {
                if is_acquired(record.offset.0) {
                    let nanos =
                        record.value.and_then(|value| value.first_chunk()).copied().unwrap_or_default();
                    times.push(Duration::from_nanos(u64::from_be_bytes(nanos)));
                }
            }
        }
    }
    Ok(times)
}

pub async fn run(options: &Options) -> Outcome<Figures> {
    let (count, rate) = (options.get("members", 4)?, options.get("rate", 0.0)?);
    let (seconds, prefix) = (options.seconds()?, options.prefix()?);
    let is_paced = rate > 0.0;
    let records = options.get("records", 200_000)?;
    let records = if is_paced { (rate * seconds.as_secs_f64()) as u64 } else { records };
    let mut first = Client::connect(&options.address).await?;
    let topic =
        setup::create_topic(&mut first, format!("{prefix}-topic"), options.get("partitions", 6)?).await?;
    let group = format!("{prefix}-group");
    setup::find_coordinator(&mut first, Coordinates::Groups, &group).await?;
    setup::configure_group(&mut first, &group, "share.auto.offset.reset", "earliest").await?;
    if !is_paced {
        fill(&mut first, &topic, records).await?;
    }
    let members = join(Client::connect_all(&options.address, count).await?, &topic, &group).await?;
    let work = Rc::new(Work {
        records,
        accepted: Cell::default(),
        done_at: Cell::default(),
        epoch: Instant::now(),
        is_paced,
        fetches: RefCell::default(),
        acknowledgements: RefCell::default(),
        times: RefCell::default(),
    });
    let watch = Watch::start(options.pid()?)?;
    let began = Instant::now();
    let mut running = JoinSet::new();
    if is_paced {
        running.spawn_local(feed(first, topic, records, rate, work.epoch));
    }
    for member in members {
        running.spawn_local(member.work(Rc::clone(&work)));
    }
    while let Some(ended) = timeout(PATIENCE, running.join_next()).await? {
        ended??;
    }
    let elapsed = work.done_at.get().map_or_else(|| watch.elapsed(), |at| at - began);
    let mut figures = watch.stop("record", records, elapsed)?;
    figures.put_times("", &mut work.times.borrow_mut());
    if !is_paced {
        figures.put_times("fetch ", &mut work.fetches.borrow_mut());
    }
    figures.put_times("acknowledgement ", &mut work.acknowledgements.borrow_mut());
    figures.put("fetches", work.fetches.borrow().len() as f64);
    Ok(figures)
}

/// Waits until all members have partitions, and no heartbeat brings others.
async fn join(clients: Vec<Client>, topic: &Topic, group: &str) -> Outcome<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    for (number, client) in clients.into_iter().enumerate() {
        members.push(Member {
            client,
            group: group.to_owned(),
            // A share session is found by a member id that is one of Kafka's uuids.
            member_id: Uuid((number as u128 + 1).to_be_bytes()).to_string(),
            epoch: 0,
            interval: Duration::ZERO,
            heard_at: Instant::now(),
            partitions: Vec::new(),
            session_epoch: 0,
        });
    }
    for member in &mut members {
        member.heartbeat(Some(topic)).await?;
    }
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        sleep(members.first().map_or(BETWEEN_TRIES, |member| member.interval)).await;
        let mut has_changed = false;
        for member in &mut members {
            let before = (member.epoch, member.partitions.len());
            member.heartbeat(None).await?;
            has_changed |= before != (member.epoch, member.partitions.len());
        }
        let epoch = members.first().map(|member| member.epoch);
        if !has_changed && members.iter().all(|of| Some(of.epoch) == epoch && !of.partitions.is_empty()) {
            return Ok(members);
        }
    }
    Err("the share group does not settle".into())
}

/// Writes all records, evenly over the partitions.
async fn fill(client: &mut Client, topic: &Topic, records: u64) -> Outcome<()> {
    let partitions = u64::try_from(topic.partitions)?;
    for partition in 0..topic.partitions {
        let number = u64::try_from(partition)?;
        let mut left = usize::try_from(records / partitions + u64::from(number < records % partitions))?;
        while left > 0 {
            let count = left.min(RECORDS_A_BATCH);
            left -= count;
            let records = setup::batch(BatchOptions::default(), setup::wall_clock(), count, RECORD_BYTES)?;
            let batches = std::iter::once((partition, records));
            if let Some(error) = setup::produce(client, topic, None, 13, batches).await? {
                return Err(format!("Produce: {error}").into());
            }
        }
    }
    Ok(())
}

/// Writes one record after another at a rate, each with the time of its writing.
async fn feed(mut client: Client, topic: Topic, records: u64, rate: f64, epoch: Instant) -> Outcome<()> {
    let began = Instant::now();
    for (number, partition) in (0..records).zip((0..topic.partitions).cycle()) {
        sleep_until((began + Duration::from_secs_f64(number as f64 / rate)).into()).await;
        let mut value = [0; RECORD_BYTES];
        let nanos = u64::try_from(epoch.elapsed().as_nanos())?.to_be_bytes();
        value.iter_mut().zip(nanos).for_each(|(byte, of_time)| *byte = of_time);
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(&NewRecord {
            timestamp: setup::wall_clock(),
            value: Some(&value),
            ..NewRecord::default()
        })?;
        let batches = std::iter::once((partition, Bytes::from(builder.build()?)));
        if let Some(error) = setup::produce(&mut client, &topic, None, 13, batches).await? {
            return Err(format!("Produce: {error}").into());
        }
    }
    Ok(())
}
