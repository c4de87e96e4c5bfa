//! What a client counts and measures of itself, by the names that the Java client's metrics have on the wire (KIP-714).
//!
//! Whoever does something counts it as it happens; nothing is computed before somebody asks. A mean or a largest value is that of the
//! time since it was asked for last, and is left out if there was none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ottla_types::NodeId;
use parking_lot::Mutex;
use tokio::time::Instant;

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

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Producer => "producer",
            Kind::Consumer | Kind::ShareConsumer => "consumer",
            Kind::Admin => "admin.client",
        }
    }
}

/// Goes up.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicI64);

impl Level {
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Mean and largest of what was noted.
#[derive(Debug, Default)]
pub(crate) struct Spread(Mutex<Noted>);

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    count: u64,
    sum: u64,
    max: u64,
}

impl Spread {
    pub fn note(&self, value: u64) {
        let mut noted = self.0.lock();
        noted.count += 1;
        noted.sum = noted.sum.saturating_add(value);
        noted.max = noted.max.max(value);
    }

    /// How many milliseconds have passed.
    pub fn note_since(&self, began: Instant) {
        self.note(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    }

    fn take(&self) -> Option<(f64, f64)> {
        let Noted { count, sum, max } = std::mem::take(&mut *self.0.lock());
        (count > 0).then(|| (sum as f64 / count as f64, max as f64))
    }
}

/// Which part of the time a client's owner waits for it: of each time that it is asked, from when it was done with what it was
/// given last until it is given more.
#[derive(Debug, Default)]
pub(crate) struct Idleness(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    count: u64,
    sum_of_ratios: f64,
    ended: Option<Instant>,
}

/// Somebody waits until this is dropped.
pub(crate) struct Idle<'a> {
    of: &'a Idleness,
    began: Instant,
}

impl Idleness {
    pub fn begin(&self) -> Idle<'_> {
        Idle { of: self, began: Instant::now() }
    }

    fn take(&self) -> Option<f64> {
        let mut waits = self.0.lock();
        let Waits { count, sum_of_ratios, .. } = *waits;
        (waits.count, waits.sum_of_ratios) = (0, 0.0);
        (count > 0).then(|| sum_of_ratios / count as f64)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        let (mut waits, now) = (self.of.0.lock(), Instant::now());
        let waited = now.duration_since(self.began);
        let worked = waits.ended.map_or(Duration::ZERO, |ended| self.began.saturating_duration_since(ended));
        waits.ended = Some(now);
        let whole = waited + worked;
        // What took no time at all says nothing.
        if !whole.is_zero() {
            waits.count += 1;
            waits.sum_of_ratios += waited.as_secs_f64() / whole.as_secs_f64();
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
    pub commit_latency: Spread,
    pub fetch_latency: Spread,
    pub records_consumed: Counter,
    pub poll_idle: Idleness,
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
                let assigned = self.assigned_partitions.0.load(Ordering::Relaxed);
                made.gauge("coordinator.assigned.partitions", Vec::new(), assigned as f64);
                made.spread("coordinator.commit.latency", &self.commit_latency);
                made.spread("fetch.manager.fetch.latency", &self.fetch_latency);
                made.counter("fetch.manager.records.consumed", &self.records_consumed);
                made.idleness("poll.idle.ratio.avg", &self.poll_idle);
            }
            Kind::ShareConsumer => {
                made.spread("share.fetch.manager.fetch.latency", &self.fetch_latency);
                made.counter("share.fetch.manager.records.consumed", &self.records_consumed);
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
        if self.elapsed_s > 0.0 {
            self.gauge(&format!("{name}.rate"), Vec::new(), more as f64 / self.elapsed_s);
        }
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

    #[tokio::test(start_paused = true)]
    async fn idleness_is_the_part_of_the_time_that_is_waited() {
        let idleness = Idleness::default();
        assert_eq!(idleness.take(), None);
        for (worked_ms, waited_ms) in [(50, 100), (300, 100), (100, 300)] {
            tokio::time::sleep(Duration::from_millis(worked_ms)).await;
            let idle = idleness.begin();
            tokio::time::sleep(Duration::from_millis(waited_ms)).await;
            drop(idle);
        }
        // Before the first time nobody was known to work.
        assert_eq!(idleness.take(), Some((1.0 + 0.25 + 0.75) / 3.0));
        assert_eq!(idleness.take(), None);
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
