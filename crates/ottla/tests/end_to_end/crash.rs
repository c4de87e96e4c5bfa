//! Nothing that was acknowledged is lost when the process is killed: what the page cache has, the disk gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_testkit::free_port;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use rdkafka::{ClientContext, Message};

use super::clients::{client, read_all};
use super::launch;

/// How often the process is killed; more with this variable.
const ROUNDS: &str = "OTTLA_CRASH_ROUNDS";

#[derive(Clone, Default)]
struct Acknowledged(Arc<std::sync::Mutex<Vec<String>>>);

impl ClientContext for Acknowledged {}

impl rdkafka::producer::ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(message) = result {
            let value = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
            self.0.lock().unwrap().push(value);
        }
    }
}

#[test]
fn acknowledged_records_survive_kills() {
    let rounds = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path()).listening_on(free_port(), 0);
    let mut ottla = launch.start();
    let acknowledged = Acknowledged::default();
    let settings = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("linger.ms", "1"),
        ("message.timeout.ms", "300000"),
        ("reconnect.backoff.max.ms", "200"),
        ("log_level", "0"),
    ];
    let producer: ThreadedProducer<Acknowledged> =
        client(&ottla, &settings).create_with_context(acknowledged.clone()).unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let (sender, stop) = (producer.clone(), Arc::clone(&is_done));
    let sending = std::thread::spawn(move || {
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let value = sent.to_string();
            match sender.send(BaseRecord::<(), str>::to("topic").partition(0).payload(&value)) {
                Ok(()) => sent += 1,
                // Its queue is full.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            if sent % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        sent
    });
    for round in 0..rounds {
        let before = acknowledged.0.lock().unwrap().len();
        // Each round gets something acknowledged before its kill, at another moment of the work.
        while acknowledged.0.lock().unwrap().len() < before + 100 + 37 * (round % 11) {
            std::thread::sleep(Duration::from_millis(1));
        }
        ottla.kill();
        ottla = launch.start();
    }
    is_done.store(true, Ordering::Relaxed);
    let sent: usize = sending.join().unwrap();
    rdkafka::producer::Producer::flush(&producer, Duration::from_secs(60)).unwrap();

    let stored = read_all(&ottla, "topic");
    let expected: Vec<String> = (0..sent).map(|i| i.to_string()).collect();
    assert_eq!(acknowledged.0.lock().unwrap().len(), sent);
    assert!(stored == expected, "{} records stored, {sent} sent and acknowledged, in order", stored.len());
}
