//! What a client counts and measures of itself, by the names that the Java client's metrics have on the wire (KIP-714).
//!
//! Whoever does something counts it as it happens; nothing is computed before somebody asks. A mean or a largest value is that of the
//! time since it was asked for last, and is left out if there was none.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::NodeId;
use parking_lot::Mutex;

use super::measures::{Activity, Counter, Idleness, Level, Moment, Spread};

/// Whose metrics they are: the first part of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Producer,
    Consumer,
    /// A member of a share group.
    ShareConsumer,
    Admin,
}

/// Before every name.
const DOMAIN: &str = "org.apache.kafka";

const SECONDS_OF_AN_HOUR: f64 = 3_600.0;

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Producer => "producer",
            Kind::Consumer | Kind::ShareConsumer => "consumer",
            Kind::Admin => "admin.client",
        }
    }
}

/// All that a client has to tell. Times are in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub connections: Counter,
    nodes: Mutex<BTreeMap<NodeId, Arc<Spread>>>,
    /// A producer's.
    pub record_queue_time: Spread,
    pub records_sent: Counter,
    pub record_errors: Counter,
    pub record_retries: Counter,
    pub produce_throttle_time: Spread,
    /// A consumer's.
    pub assigned_partitions: Level,
    pub commits: Activity,
    /// A classic member's.
    pub joins: Activity,
    pub syncs: Activity,
    /// A consumer's and a share consumer's.
    pub heartbeats: Activity,
    /// When the last heartbeat was sent.
    pub heartbeat_sent: Moment,
    pub rebalances: Rebalancing,
    pub fetches: Activity,
    pub fetch_throttle_time: Spread,
    pub records_consumed: Counter,
    pub poll_idle: Idleness,
    /// A share consumer's: offsets of which something was said, and of which a broker has not taken it.
    pub acknowledgements_sent: Counter,
    pub acknowledgement_errors: Counter,
}

/// What became of a group's rebalances.
#[derive(Debug, Default)]
pub(crate) struct Rebalancing {
    done: Activity,
    spent_ms: Counter,
    failed: Counter,
    at: Moment,
}

impl Rebalancing {
    /// One was gone through, in so many milliseconds.
    pub fn note(&self, took_ms: u64) {
        self.done.note(took_ms);
        self.spent_ms.add(took_ms);
        self.at.is_now();
    }

    pub fn note_failed(&self, count: u64) {
        self.failed.add(count);
    }
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub name: String,
    pub attributes: Vec<(&'static str, String)>,
    pub value: PointValue,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PointValue {
    Gauge(f64),
    /// Since the client began, or with delta temporality since it was told last.
    Sum(f64),
}

/// What was told last.
#[derive(Debug, Default)]
pub(crate) struct Told {
    counts: BTreeMap<String, u64>,
}

impl Metrics {
    /// How long a broker takes for an answer.
    pub fn node_latency(&self, node: NodeId) -> Arc<Spread> {
        Arc::clone(self.nodes.lock().entry(node).or_default())
    }

    /// What is asked for, by prefixes of names; an empty one means everything. `elapsed_s`: since `told` was made or changed last.
    pub fn points(
        &self,
        kind: Kind,
        requested: &[String],
        is_delta: bool,
        elapsed_s: f64,
        told: &mut Told,
    ) -> Vec<Point> {
        let mut made = Making { kind, requested, is_delta, elapsed_s, told, points: Vec::new() };
        made.counter("connection.creation", &self.connections);
        for (node, latency) in self.nodes.lock().iter() {
            let attributes = vec![("node_id", format!("node-{node}"))];
            made.spread_of("node.request.latency", &attributes, latency);
        }
        match kind {
            Kind::Producer => {
                made.spread("record.queue.time", &self.record_queue_time);
                made.spread("produce.throttle.time", &self.produce_throttle_time);
                made.counter("record.send", &self.records_sent);
                made.counter("record.error", &self.record_errors);
                made.counter("record.retry", &self.record_retries);
            }
            Kind::Consumer => {
                let assigned = self.assigned_partitions.get();
                made.gauge("coordinator.assigned.partitions", Vec::new(), assigned as f64);
                made.spread("coordinator.commit.latency", &self.commits.took);
                made.counter("coordinator.commit", &self.commits.count);
                made.attempts("coordinator.join", &self.joins);
                made.attempts("coordinator.sync", &self.syncs);
                made.heartbeats("coordinator", self);
                made.rebalances("coordinator", &self.rebalances);
                made.fetches("fetch.manager", self);
                made.idleness("poll.idle.ratio.avg", &self.poll_idle);
            }
            Kind::ShareConsumer => {
                made.heartbeats("share.coordinator", self);
                made.per_hour("share.coordinator.rebalance", &self.rebalances.done.count);
                made.fetches("share.fetch.manager", self);
                made.counter("share.fetch.manager.acknowledgements.send", &self.acknowledgements_sent);
                made.counter("share.fetch.manager.acknowledgements.error", &self.acknowledgement_errors);
                made.idleness("share.poll.idle.ratio.avg", &self.poll_idle);
            }
            Kind::Admin => {}
        }
        made.points
    }
}

struct Making<'a> {
    kind: Kind,
    requested: &'a [String],
    is_delta: bool,
    elapsed_s: f64,
    told: &'a mut Told,
    points: Vec<Point>,
}

impl Making<'_> {
    fn name(&self, name: &str) -> String {
        format!("{DOMAIN}.{}.{name}", self.kind.prefix())
    }

    fn put(&mut self, name: String, attributes: Vec<(&'static str, String)>, value: PointValue) {
        if self.requested.iter().any(|prefix| name.starts_with(prefix.as_str())) {
            self.points.push(Point { name, attributes, value });
        }
    }

    fn gauge(&mut self, name: &str, attributes: Vec<(&'static str, String)>, value: f64) {
        self.put(self.name(name), attributes, PointValue::Gauge(value));
    }

    fn spread(&mut self, name: &str, spread: &Spread) {
        self.spread_of(name, &[], spread);
    }

    fn spread_of(&mut self, name: &str, attributes: &[(&'static str, String)], spread: &Spread) {
        if let Some((mean, max)) = spread.take() {
            self.gauge(&format!("{name}.avg"), attributes.to_vec(), mean);
            self.gauge(&format!("{name}.max"), attributes.to_vec(), max);
        }
    }

    fn idleness(&mut self, name: &str, idleness: &Idleness) {
        if let Some(ratio) = idleness.take() {
            self.gauge(name, Vec::new(), ratio);
        }
    }

    /// How many in all, and in a second.
    fn counter(&mut self, name: &str, counter: &Counter) {
        let more = self.sum(&format!("{name}.total"), counter);
        self.rate(&format!("{name}.rate"), more, self.elapsed_s);
    }

    fn per_hour(&mut self, name: &str, counter: &Counter) {
        let more = self.sum(&format!("{name}.total"), counter);
        self.rate(&format!("{name}.rate.per.hour"), more, self.elapsed_s / SECONDS_OF_AN_HOUR);
    }

    fn rate(&mut self, name: &str, more: u64, elapsed: f64) {
        if elapsed > 0.0 {
            self.gauge(name, Vec::new(), more as f64 / elapsed);
        }
    }

    /// For how many seconds; -1 if it was never.
    fn seconds_since(&mut self, name: &str, moment: &Moment) {
        let seconds = moment.elapsed().map_or(-1.0, |elapsed| elapsed.as_secs() as f64);
        self.gauge(name, Vec::new(), seconds);
    }

    /// What not every client does, and isn't told before it does.
    fn attempts(&mut self, name: &str, activity: &Activity) {
        if activity.count.get() == 0 {
            return;
        }
        self.spread(&format!("{name}.time"), &activity.took);
        self.counter(name, &activity.count);
    }

    fn heartbeats(&mut self, of: &str, metrics: &Metrics) {
        if let Some((_, max)) = metrics.heartbeats.took.take() {
            self.gauge(&format!("{of}.heartbeat.response.time.max"), Vec::new(), max);
        }
        self.counter(&format!("{of}.heartbeat"), &metrics.heartbeats.count);
        self.seconds_since(&format!("{of}.last.heartbeat.seconds.ago"), &metrics.heartbeat_sent);
    }

    fn rebalances(&mut self, of: &str, rebalances: &Rebalancing) {
        self.spread(&format!("{of}.rebalance.latency"), &rebalances.done.took);
        self.sum(&format!("{of}.rebalance.latency.total"), &rebalances.spent_ms);
        self.per_hour(&format!("{of}.rebalance"), &rebalances.done.count);
        self.per_hour(&format!("{of}.failed.rebalance"), &rebalances.failed);
        self.seconds_since(&format!("{of}.last.rebalance.seconds.ago"), &rebalances.at);
    }

    fn fetches(&mut self, of: &str, metrics: &Metrics) {
        self.spread(&format!("{of}.fetch.latency"), &metrics.fetches.took);
        self.counter(&format!("{of}.fetch"), &metrics.fetches.count);
        self.spread(&format!("{of}.fetch.throttle.time"), &metrics.fetch_throttle_time);
        self.counter(&format!("{of}.records.consumed"), &metrics.records_consumed);
    }

    /// How much came since it was told last.
    fn sum(&mut self, name: &str, counter: &Counter) -> u64 {
        let (name, count) = (self.name(name), counter.get());
        let before = self.told.counts.insert(name.clone(), count).unwrap_or(0);
        let more = count.saturating_sub(before);
        self.put(name, Vec::new(), PointValue::Sum(if self.is_delta { more } else { count } as f64));
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(points: &[Point]) -> Vec<String> {
        let show = |point: &Point| {
            let name = point.name.trim_start_matches("org.apache.kafka.");
            let attributes: Vec<String> =
                point.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{name} {} {:?}", attributes.join(","), point.value)
        };
        points.iter().map(show).collect()
    }

    #[test]
    fn counts_are_told_as_sums_and_rates_and_times_since_the_last_telling() {
        let (metrics, mut told) = (Metrics::default(), Told::default());
        metrics.connections.add(3);
        metrics.node_latency(NodeId(1)).note(10);
        metrics.node_latency(NodeId(1)).note(20);
        let everything = [String::new()];
        let points = metrics.points(Kind::Admin, &everything, false, 2.0, &mut told);
        assert_eq!(
            shown(&points),
            [
                "admin.client.connection.creation.total  Sum(3.0)",
                "admin.client.connection.creation.rate  Gauge(1.5)",
                "admin.client.node.request.latency.avg node_id=node-1 Gauge(15.0)",
                "admin.client.node.request.latency.max node_id=node-1 Gauge(20.0)",
            ]
        );
        metrics.connections.add(1);
        let points = metrics.points(Kind::Admin, &everything, false, 2.0, &mut told);
        let cumulative = [
            "admin.client.connection.creation.total  Sum(4.0)",
            "admin.client.connection.creation.rate  Gauge(0.5)",
        ];
        assert_eq!(shown(&points), cumulative);
        metrics.connections.add(1);
        let points = metrics.points(Kind::Admin, &everything, true, 2.0, &mut told);
        assert_eq!(shown(&points)[0], "admin.client.connection.creation.total  Sum(1.0)");
    }

    #[test]
    fn what_nobody_asks_for_is_not_told() {
        let (metrics, mut told) = (Metrics::default(), Told::default());
        metrics.records_sent.add(1);
        let asked = ["org.apache.kafka.producer.record.".to_owned(), "other".to_owned()];
        let points = metrics.points(Kind::Producer, &asked, false, 1.0, &mut told);
        assert_eq!(points.len(), 6);
        assert!(points.iter().all(|point| point.name.starts_with(&asked[0])), "{points:?}");
        assert!(metrics.points(Kind::Producer, &[], false, 1.0, &mut told).is_empty());
    }
}
