//! Controllers whose metadata tell of many partitions, on brokers that are there by their words alone: the active controller is killed,
//! and another one decides in its place, knowing all of them.

use std::time::{Duration, Instant};

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ApiVersionsRequest, BrokerHeartbeatRequest, BrokerRegistrationRequest, CreateTopicsRequest,
    broker_registration_request as registration, create_topics_request,
};

use super::cluster::{CLUSTER_ID, Cluster, ask, quorum};

/// How many partitions there are, of three replicas each.
const PARTITIONS: &str = "OTTLA_PARTITIONS";
const PARTITIONS_BY_DEFAULT: i32 = 4_000;
/// A request may make no more than ten thousand.
const A_TOPIC: i32 = 1_000;
const BROKERS: std::ops::RangeInclusive<i32> = 101..=105;
const CONTROLLERS: [i32; 3] = [1, 2, 3];
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(180);

struct Controllers(Cluster);

impl Controllers {
    fn start() -> Controllers {
        // Nobody sends heartbeats all the time.
        let settings = |_| vec![("broker.session.timeout.ms", "3600000".to_owned())];
        Controllers(Cluster::start_each(&["controller"; 3], 1, settings))
    }

    fn address(&self, id: i32) -> String {
        format!("127.0.0.1:{}", self.0.controller_port(id))
    }

    /// What the first of these says that has something to say.
    fn told<T>(&self, among: &[i32], ask: impl Fn(i32) -> Option<T>) -> T {
        self.0.until(|| among.iter().find_map(|id| ask(*id)))
    }

    fn active(&self) -> i32 {
        self.told(&CONTROLLERS, |id| {
            let described = quorum(&self.address(id));
            let partition = described.topics.first()?.partitions.first()?;
            (partition.error_code == 0 && partition.leader_id == id).then_some(id)
        })
    }

    /// A broker that may have replicas from now on; its epoch.
    fn register(&self, broker: i32) -> i64 {
        let epoch = self.told(&CONTROLLERS, |id| self.try_to_register(id, broker));
        self.told(&CONTROLLERS, |id| self.heartbeat(id, broker, epoch).filter(|is_fenced| !is_fenced));
        epoch
    }

    fn try_to_register(&self, controller: i32, broker: i32) -> Option<i64> {
        let asks = ApiVersionsRequest {
            client_software_name: "test".to_owned(),
            client_software_version: "1".to_owned(),
            ..Default::default()
        };
        let versions = ask(&self.address(controller), &asks, 4)?;
        let features = versions.supported_features.into_iter().map(|feature| registration::Feature {
            name: feature.name,
            min_supported_version: feature.min_version,
            max_supported_version: feature.max_version,
            ..Default::default()
        });
        let request = BrokerRegistrationRequest {
            broker_id: broker,
            cluster_id: CLUSTER_ID.to_owned(),
            incarnation_id: Uuid([broker as u8; 16]),
            listeners: vec![registration::Listener {
                name: "PLAINTEXT".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 1,
                ..Default::default()
            }],
            features: features.collect(),
            log_dirs: vec![Uuid([broker as u8 + 100; 16])],
            previous_broker_epoch: -1,
            ..Default::default()
        };
        let response = ask(&self.address(controller), &request, 4)?;
        (response.error_code == 0).then_some(response.broker_epoch)
    }

    /// Whether it is fenced; none unless this controller is the active one.
    fn heartbeat(&self, controller: i32, broker: i32, broker_epoch: i64) -> Option<bool> {
        let request = BrokerHeartbeatRequest {
            broker_id: broker,
            broker_epoch,
            current_metadata_offset: i64::MAX / 2,
            want_fence: false,
            ..Default::default()
        };
        let response = ask(&self.address(controller), &request, 1)?;
        (response.error_code == 0).then_some(response.is_fenced)
    }

    /// Whether it is there since just now, and was not before.
    fn create(&self, controller: i32, name: &str, partitions: i32) -> Option<bool> {
        let topic = create_topics_request::Topic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 3,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        let response = ask(&self.address(controller), &request, 7)?;
        match ErrorCode::from_code(response.topics.first()?.error_code)? {
            ErrorCode::None => Some(true),
            ErrorCode::TopicAlreadyExists => Some(false),
            _ => None,
        }
    }
}

#[test]
fn another_controller_takes_many_partitions_over() {
    let partitions: i32 =
        std::env::var(PARTITIONS).map_or(PARTITIONS_BY_DEFAULT, |text| text.parse().expect("a number"));
    let topics = || (0..partitions / A_TOPIC).map(|number| format!("topic-{number}"));
    let mut controllers = Controllers::start();
    let epochs: Vec<(i32, i64)> = BROKERS.map(|broker| (broker, controllers.register(broker))).collect();
    for topic in topics() {
        controllers.told(&CONTROLLERS, |id| controllers.create(id, &topic, A_TOPIC));
    }

    let former = controllers.active();
    let left: Vec<i32> = CONTROLLERS.into_iter().filter(|id| *id != former).collect();
    controllers.0.kill(former);
    let killed_at = Instant::now();
    let (broker, epoch) = epochs[0];
    while left.iter().all(|id| controllers.heartbeat(*id, broker, epoch).is_none()) {
        assert!(killed_at.elapsed() < PATIENCE, "nobody takes over");
        std::thread::sleep(PAUSE);
    }
    let heard_after = killed_at.elapsed();
    // Something that is decided by what it knows, and committed.
    controllers.told(&left, |id| controllers.create(id, "after", 1));
    println!(
        "with {partitions} partitions: another controller answers after {} ms, has decided after {} ms",
        heard_after.as_millis(),
        killed_at.elapsed().as_millis()
    );
    for (broker, epoch) in epochs {
        let is_fenced = controllers.told(&left, |id| controllers.heartbeat(id, broker, epoch));
        assert!(!is_fenced, "it knows broker {broker}");
    }
    for topic in topics() {
        let is_new = controllers.told(&left, |id| controllers.create(id, &topic, A_TOPIC));
        assert!(!is_new, "it knows {topic}");
    }
}
