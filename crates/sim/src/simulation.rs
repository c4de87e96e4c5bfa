//! A run: a node, its clients and what goes wrong, all decided by a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_broker::lifecycle::LifecycleState;
use ottla_log::disk::sim::{Call, Loss};
use ottla_log::disk::{Disk, SimDisk};
use ottla_types::{MonoMs, Now, Timestamp};
use ottla_wire::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use crate::cast::{self, DELIVERY_COUNT_LIMIT, RECORD_LOCK_MS, SHORT_TIMES};
use crate::clients::{Client, Topics, World};
use crate::event::{Ending, Event, TopicSeen};
use crate::log_files::{self, LogFiles};
use crate::network::Link;
use crate::node::{DIR, SteppedNode};
use crate::outcome::{Failure, Report};
use crate::properties::{self, Promises, Property};
use crate::remembered::Remembered;
use crate::rng::Rng;

/// Rounds with faults; a round is some milliseconds of virtual time.
const ROUNDS: u32 = 1_500;
/// Rounds that the clients have to come to an end when nothing fails any more.
const ROUNDS_TO_FINISH_MAX: u32 = 6_000;
const LATENCY_MS: u64 = 15;

/// Runs a seed and prints what happens.
pub fn run_printing(seed: u64) -> Result<Report, Box<Failure>> {
    let mut simulation = Simulation::new(seed);
    simulation.prints = true;
    simulation.run()
}

/// Runs a seed.
pub fn run(seed: u64) -> Result<Report, Box<Failure>> {
    Simulation::new(seed).run()
}

#[derive(Debug)]
enum Process {
    Down { until: MonoMs },
    Starting { node: Box<SteppedNode>, since: MonoMs },
    Up(Box<SteppedNode>),
}

#[derive(Debug)]
struct Actor {
    link: Link,
    client: Box<dyn Client>,
    paused_until: MonoMs,
}

/// See the module.
#[derive(Debug)]
pub struct Simulation {
    seed: u64,
    rng: Rng,
    now: Now,
    started: MonoMs,
    disk: Arc<SimDisk>,
    settings: Vec<(&'static str, &'static str)>,
    process: Option<Process>,
    /// Set after a failed flush: the page cache can't be told from the device by then.
    must_lose_power: bool,
    actors: Vec<Actor>,
    topics: Topics,
    next_connection_id: u64,
    events: Vec<Event>,
    properties: Vec<Box<dyn Property>>,
    counts: BTreeMap<&'static str, u64>,
    trace: u64,
    has_faults: bool,
    prints: bool,
}

impl Simulation {
    pub fn new(seed: u64) -> Simulation {
        let mut rng = Rng::new(seed);
        let now = Now { wall: Timestamp(1_700_000_000_000), mono: MonoMs(1_000) };
        let flushes_always = rng.one_in(2);
        let mut settings = vec![
            ("log.index.interval.bytes", "64"),
            ("log.roll.ms", "3000"),
            ("log.initial.task.delay.ms", "500"),
            ("log.flush.offset.checkpoint.interval.ms", "2000"),
            ("log.flush.start.offset.checkpoint.interval.ms", "2000"),
            ("log.segment.delete.delay.ms", "1000"),
        ];
        settings.extend(SHORT_TIMES);
        if flushes_always {
            settings.push(("log.flush.interval.messages", "1"));
        } else if rng.one_in(2) {
            settings.extend([("log.flush.interval.ms", "300"), ("log.flush.scheduler.interval.ms", "100")]);
        }
        let actor =
            |(name, client)| Actor { link: Link::new(name, LATENCY_MS), client, paused_until: MonoMs(0) };
        let cast = cast::draw(&mut rng);
        let promises = Promises {
            flushes_always,
            share_reads_committed: cast.share_reads_committed,
            record_lock_ms: RECORD_LOCK_MS,
            delivery_count_limit: DELIVERY_COUNT_LIMIT,
        };
        let actors = cast.clients.into_iter().map(actor).collect();
        Simulation {
            seed,
            disk: Arc::new(SimDisk::new(rng.bits())),
            rng,
            now,
            started: now.mono,
            settings,
            process: Some(Process::Down { until: now.mono }),
            must_lose_power: false,
            actors,
            topics: Topics::default(),
            next_connection_id: 0,
            events: Vec::new(),
            properties: properties::all(promises),
            counts: BTreeMap::new(),
            trace: 0,
            has_faults: true,
            prints: false,
        }
    }

    /// Runs to the end: with faults, and then without until everybody is done.
    pub fn run(mut self) -> Result<Report, Box<Failure>> {
        for _ in 0..ROUNDS {
            self.round()?;
        }
        self.has_faults = false;
        self.disk.heal();
        self.disk.set_capacity_bytes(None);
        self.actors.iter_mut().for_each(|actor| actor.client.finish());
        self.run_to_the_end()?;
        self.actors.iter_mut().for_each(|actor| actor.client.conclude());
        self.run_to_the_end()?;
        if let Some(Process::Up(node)) = &self.process {
            self.events.push(Event::End { logs: log_files::read_all(&self.disk, node.node.logs()) });
        }
        // What all was done is what the files hold.
        self.end_process(Ending::Stopped)?;
        while !matches!(self.process, Some(Process::Up(_))) {
            self.round()?;
        }
        Ok(Report { seed: self.seed, trace: self.trace, counts: self.counts })
    }

    /// Goes on until everybody has come to an end, and what may take its time has happened.
    fn run_to_the_end(&mut self) -> Result<(), Box<Failure>> {
        for _ in 0..ROUNDS_TO_FINISH_MAX {
            self.round()?;
            if self.unfinished().is_empty() {
                return Ok(());
            }
        }
        let what = format!("unfinished: {}", self.unfinished().join("\n"));
        Err(self.failure("everybody comes to an end when faults stop", what))
    }

    fn unfinished(&self) -> Vec<String> {
        let mut unfinished = Vec::new();
        if !matches!(self.process, Some(Process::Up(_))) {
            unfinished.push("the node".to_owned());
        }
        let clients = self.actors.iter().filter(|actor| !actor.client.is_finished(&self.topics));
        unfinished.extend(clients.map(|actor| actor.client.describe()));
        let properties = self
            .properties
            .iter()
            .filter_map(|property| property.unsettled().map(|what| format!("{}: {what}", property.name())));
        unfinished.extend(properties);
        unfinished
    }

    fn failure(&self, property: &str, what: String) -> Box<Failure> {
        let at_ms = self.now.mono.since_ms(self.started);
        Box::new(Failure { test: "seeds", seed: self.seed, at_ms, property: property.to_owned(), what })
    }

    fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    fn count_many(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    fn round(&mut self) -> Result<(), Box<Failure>> {
        self.pass_time();
        self.run_node()?;
        if self.has_faults && self.rng.per_myriad(30) {
            // Answers that were given and did not leave.
            self.crash()?;
        }
        self.collect_answers();
        self.step_clients();
        self.judge()?;
        if self.has_faults { self.do_harm() } else { Ok(()) }
    }

    fn pass_time(&mut self) {
        let mut ms = self.rng.between(1, 20);
        if self.has_faults && matches!(self.process, Some(Process::Up(_))) && self.rng.per_myriad(25) {
            self.count("machine stood still");
            ms = self.rng.between(1_000, 9_000);
        }
        self.now.mono = MonoMs(self.now.mono.0 + ms);
        self.now.wall = Timestamp(self.now.wall.0 + ms as i64);
        if let Some(Process::Up(node) | Process::Starting { node, .. }) = &mut self.process {
            node.move_clock(ms);
        }
    }

    fn run_node(&mut self) -> Result<(), Box<Failure>> {
        self.process = match self.process.take() {
            Some(Process::Down { until }) if until <= self.now.mono => Some(self.start()),
            Some(Process::Starting { mut node, since }) => {
                if let Err(died) = node.try_step().and_then(|()| node.maintain()) {
                    self.process = Some(Process::Starting { node, since });
                    return self.died(&died.0);
                }
                if node.node.lifecycle_state() == LifecycleState::Running {
                    self.is_up(&mut node, since)?;
                    Some(Process::Up(node))
                } else {
                    Some(Process::Starting { node, since })
                }
            }
            Some(Process::Up(mut node)) => {
                for actor in &mut self.actors {
                    actor.link.tell_abandoned(&node);
                    actor.link.deliver(&node, self.now.mono);
                }
                let result = node.try_step().and_then(|()| node.maintain());
                self.process = Some(Process::Up(node));
                return match result {
                    Ok(()) => Ok(()),
                    Err(died) => self.died(&died.0),
                };
            }
            other => other,
        };
        Ok(())
    }

    fn start(&mut self) -> Process {
        if self.has_faults && self.rng.one_in(6) {
            self.count("i/o error at the start");
            let calls = self.rng.between(1, 300);
            self.disk.fail_nth(None, calls);
            self.must_lose_power = true;
        }
        match SteppedNode::try_start(Arc::clone(&self.disk), &self.settings, self.now) {
            Ok(node) => Process::Starting { node: Box::new(node), since: self.now.mono },
            Err(_) => {
                self.count("start failed");
                self.disk.heal();
                if std::mem::take(&mut self.must_lose_power) {
                    self.disk.crash(Loss::Seeded);
                    self.events.push(Event::Down {
                        ending: Ending::PowerLost,
                        logs: Vec::new(),
                        remembered: None,
                    });
                }
                Process::Down { until: self.now.mono.plus_ms(100) }
            }
        }
    }

    /// The node serves: what it holds is looked through.
    fn is_up(&mut self, node: &mut SteppedNode, since: MonoMs) -> Result<(), Box<Failure>> {
        let after_ms = self.now.mono.since_ms(since);
        self.disk.heal();
        self.disk.set_capacity_bytes(None);
        let logs = log_files::read_all(&self.disk, node.node.logs());
        properties::reads::check(node.node.logs(), &logs, &mut self.rng)
            .map_err(|what| self.failure("the indexes agree with the log", what))?;
        let topics = topics(node);
        let remembered = Remembered::after_start(node);
        self.now = node.now();
        self.events.push(Event::Up { after_ms, logs, topics, remembered });
        Ok(())
    }

    fn collect_answers(&mut self) {
        let Some(Process::Up(node)) = &self.process else { return };
        for actor in &mut self.actors {
            actor.link.collect(node, self.now.mono, &mut self.rng);
            if std::mem::take(&mut actor.link.was_cut) {
                self.events.push(Event::ConnectionLost { client: actor.link.name().to_owned() });
            }
            let refusals = std::mem::take(&mut actor.link.refusals);
            let name = actor.link.name();
            // All that the node can do about a produce without acknowledgement is to hang up.
            let refusals = refusals.into_iter().filter(|_| !name.contains("acks 0"));
            self.events.extend(
                refusals.map(|reason| Event::Unexpected { what: format!("{name} was hung up on: {reason}") }),
            );
        }
    }

    fn step_clients(&mut self) {
        let is_up = matches!(self.process, Some(Process::Up(_)));
        for actor in &mut self.actors {
            if actor.paused_until > self.now.mono {
                continue;
            }
            let mut world = World {
                rng: &mut self.rng,
                now: self.now,
                events: &mut self.events,
                topics: &mut self.topics,
                is_up,
                next_connection_id: &mut self.next_connection_id,
                hears_newest: true,
            };
            actor.client.step(&mut actor.link, &mut world);
        }
    }

    fn judge(&mut self) -> Result<(), Box<Failure>> {
        for event in std::mem::take(&mut self.events) {
            self.trace = trace(self.trace, &event);
            self.print(&event);
            if let Some((what, times)) = event.tally() {
                self.count_many(what, times);
            }
            for i in 0..self.properties.len() {
                if let Err(what) = self.properties[i].on(&event) {
                    let name = self.properties[i].name();
                    return Err(self.failure(name, what));
                }
            }
        }
        Ok(())
    }

    fn print(&self, event: &Event) {
        if !self.prints {
            return;
        }
        let at = self.now.mono.since_ms(self.started);
        match event {
            Event::Down { ending, logs, .. } => eprintln!("{at}: {ending:?}: {}", ends(logs)),
            Event::Up { after_ms, logs, .. } => eprintln!("{at}: up after {after_ms}: {}", ends(logs)),
            other => eprintln!("{at}: {other:?}"),
        }
    }

    fn do_harm(&mut self) -> Result<(), Box<Failure>> {
        if self.rng.per_myriad(60) {
            let victim = self.rng.below(self.actors.len() as u64) as usize;
            let had_unanswered = self.actors[victim].link.has_unanswered();
            self.cut(victim);
            self.count(if had_unanswered { "answers lost" } else { "connections cut" });
        }
        if self.rng.per_myriad(40) {
            let victim = self.rng.below(self.actors.len() as u64) as usize;
            self.actors[victim].paused_until = self.now.mono.plus_ms(self.rng.between(500, 12_000) as i64);
            self.count("clients paused");
        }
        if self.rng.per_myriad(15) {
            self.count("i/o errors");
            let call = self.rng.pick(&[
                None,
                Some(Call::Write),
                Some(Call::Write),
                Some(Call::Sync),
                Some(Call::Read),
                Some(Call::Rename),
            ]);
            self.must_lose_power |= matches!(call, None | Some(Call::Sync));
            let calls = self.rng.between(1, 20);
            self.disk.fail_nth(call, calls);
        }
        if self.rng.per_myriad(12) {
            self.count("disk full");
            let space = self.disk.space(DIR.as_ref()).expect("space is told");
            let more = self.rng.below(3_000);
            let used = space.total_bytes - space.usable_bytes;
            self.disk.set_capacity_bytes(Some(used + more));
        } else if self.rng.per_myriad(200) {
            self.disk.set_capacity_bytes(None);
        }
        if self.rng.per_myriad(40) { self.crash() } else { Ok(()) }
    }

    fn cut(&mut self, victim: usize) {
        let node = match &self.process {
            Some(Process::Up(node)) => Some(&**node),
            _ => None,
        };
        let link = &mut self.actors[victim].link;
        link.cut(node, self.now.mono);
        if std::mem::take(&mut link.was_cut) {
            self.events.push(Event::ConnectionLost { client: link.name().to_owned() });
        }
    }

    fn crash(&mut self) -> Result<(), Box<Failure>> {
        let ending = match self.rng.below(5) {
            _ if self.must_lose_power => Ending::PowerLost,
            0 if matches!(self.process, Some(Process::Up(_))) => Ending::Stopped,
            0..=2 => Ending::Killed,
            _ => Ending::PowerLost,
        };
        self.end_process(ending)
    }

    /// The node could not go on.
    fn died(&mut self, why: &str) -> Result<(), Box<Failure>> {
        if !self.has_faults {
            return Err(self.failure("a node goes on while nothing fails", why.to_owned()));
        }
        self.count("node died of its disk");
        let ending =
            if self.must_lose_power || self.rng.one_in(2) { Ending::PowerLost } else { Ending::Killed };
        self.end_process(ending)
    }

    fn end_process(&mut self, ending: Ending) -> Result<(), Box<Failure>> {
        let was_up = matches!(self.process, Some(Process::Up(_)));
        let mut node = match self.process.take() {
            Some(Process::Up(node) | Process::Starting { node, .. }) => node,
            other => {
                self.process = other;
                return Ok(());
            }
        };
        self.disk.heal();
        self.disk.set_capacity_bytes(None);
        for actor in &mut self.actors {
            actor.link.cut(Some(&node), self.now.mono);
        }
        // What it says once it can't flush need not be so.
        let remembered = if was_up && !self.must_lose_power { Remembered::of(&mut node) } else { None };
        if ending == Ending::Stopped {
            self.stop(&mut node)?;
        }
        let logs = log_files::read_all(&self.disk, node.node.logs());
        self.events.push(Event::Down { ending, logs, remembered });
        match ending {
            Ending::Stopped => {
                node.close().map_err(|died| self.failure("a stop is clean", died.0))?;
            }
            Ending::Killed => drop(node.kill()),
            Ending::PowerLost => {
                let loss = self.rng.pick(&[Loss::Everything, Loss::Nothing, Loss::Seeded, Loss::Seeded]);
                drop(node.lose_power(loss));
                self.must_lose_power = false;
            }
        }
        let down_ms = self.rng.between(10, 2_000) as i64;
        self.process = Some(Process::Down { until: self.now.mono.plus_ms(down_ms) });
        Ok(())
    }

    fn stop(&mut self, node: &mut SteppedNode) -> Result<(), Box<Failure>> {
        node.node.begin_shutdown(self.now);
        for _ in 0..500 {
            node.try_step().map_err(|died| self.failure("a stop is clean", died.0))?;
            if node.node.lifecycle_state() == LifecycleState::MayStop {
                self.now = node.now();
                return Ok(());
            }
            node.move_clock(10);
        }
        Err(self.failure("a node stops within seconds", "it did not".to_owned()))
    }
}

fn topics(node: &mut SteppedNode) -> Vec<TopicSeen> {
    let request = DescribeTopicPartitionsRequest {
        response_partition_limit: 2_000,
        ..DescribeTopicPartitionsRequest::default()
    };
    let response: DescribeTopicPartitionsResponse = node.ask(&request, 0);
    let seen = |topic: &ottla_wire::messages::describe_topic_partitions_response::Topic| TopicSeen {
        name: topic.name.clone().unwrap_or_default(),
        id: topic.topic_id,
        partitions: topic.partitions.len() as i32,
    };
    response.topics.iter().map(seen).collect()
}

/// Where each log begins, to where it is flushed, and where it ends.
fn ends(logs: &[LogFiles]) -> String {
    let end = |log: &LogFiles| format!("{} {}-{}-{}", log.partition, log.log_start, log.flushed, log.log_end);
    logs.iter().map(end).collect::<Vec<_>>().join(", ")
}

fn trace(before: u64, event: &Event) -> u64 {
    let text = format!("{event:?}");
    text.bytes()
        .fold(before ^ 0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}
