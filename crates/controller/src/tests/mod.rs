//! A controller with brokers: what it answers, and what the records that it yields do to it.

mod brokers;
mod configs;
mod consistency;
mod elections;
mod features;
mod history;
mod kafka;
mod promises;
mod replicas;
mod topics;

use std::fmt::Write as _;

use ottla_config::Config;
use ottla_metadata::MetadataVersion;
use ottla_metadata::image::{MetadataImage, metadata_version_record};
use ottla_types::{MonoMs, Now, Offset, Uuid};
use ottla_wire::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_wire::messages::broker_registration_request::{BrokerRegistrationRequest, Feature as Range};
use ottla_wire::records::MetadataRecord;

use crate::controller::{Controller, QuorumVersion};
use crate::outcome::Outcome;
use crate::settings::ControllerSettings;

/// A controller, with the log's end and the clock that its driver would have.
pub(crate) struct Cluster {
    pub controller: Controller,
    pub next_offset: Offset,
    /// All that was written, batch by batch.
    pub log: Vec<Vec<MetadataRecord>>,
    pub now: Now,
}

pub(crate) fn directory(broker: i32) -> Uuid {
    Uuid([100 + broker as u8; 16])
}

impl Cluster {
    pub fn new(settings: &[(&str, &str)]) -> Cluster {
        let mut cluster = Cluster::from_image(settings, MetadataImage::default(), Offset::ZERO);
        let version = metadata_version_record(MetadataVersion::LATEST);
        cluster.append(&[version.0]);
        cluster
    }

    /// A controller that has taken over with what the log holds.
    pub fn from_image(settings: &[(&str, &str)], image: MetadataImage, next_offset: Offset) -> Cluster {
        Cluster::from_image_at(settings, image, next_offset, MonoMs(1000))
    }

    pub fn from_image_at(
        settings: &[(&str, &str)],
        image: MetadataImage,
        next_offset: Offset,
        mono: MonoMs,
    ) -> Cluster {
        let config = Config::of_pairs(settings.iter().copied()).expect("valid settings");
        let settings = ControllerSettings::from_config("a-cluster".into(), config.into());
        let now = Now { mono, ..Now::default() };
        let mut last = 0u128;
        let ids = move || {
            last += 1;
            last << 64 | last
        };
        let controller = Controller::new(settings, image, Box::new(ids), now);
        Cluster { controller, next_offset, log: Vec::new(), now }
    }

    /// With these brokers, unfenced.
    pub fn with_brokers(settings: &[(&str, &str)], brokers: &[i32]) -> Cluster {
        let mut cluster = Cluster::new(settings);
        for id in brokers {
            cluster.register(*id, *id as u8);
            cluster.heartbeat(*id, |_| {});
        }
        cluster
    }

    pub fn append(&mut self, records: &[MetadataRecord]) {
        self.log.push(records.to_vec());
        for record in records {
            self.controller.replay(record, self.next_offset).expect("the record fits");
            self.next_offset = self.next_offset.next();
        }
    }

    /// Does what the driver does with an outcome.
    pub fn commit<R>(&mut self, outcome: Outcome<R>) -> R {
        for (record, version) in &outcome.records {
            let bytes = record.encode(*version).expect("the version carries the record");
            let read = MetadataRecord::decode(bytes).expect("it decodes").0;
            assert_eq!(read, *record, "version {version} loses something");
        }
        let records: Vec<_> = outcome.records.into_iter().map(|(record, _)| record).collect();
        self.append(&records);
        outcome.response
    }

    pub fn registration(&self, id: i32, incarnation: u8) -> BrokerRegistrationRequest {
        let features = [
            ("metadata.version", 7, 30),
            ("group.version", 0, 1),
            ("transaction.version", 0, 2),
            ("eligible.leader.replicas.version", 0, 1),
        ];
        BrokerRegistrationRequest {
            broker_id: id,
            cluster_id: "a-cluster".into(),
            incarnation_id: Uuid([incarnation; 16]),
            features: features
                .map(|(name, min, max)| Range {
                    name: name.into(),
                    min_supported_version: min,
                    max_supported_version: max,
                    ..Range::default()
                })
                .into(),
            log_dirs: vec![directory(id)],
            previous_broker_epoch: -1,
            ..BrokerRegistrationRequest::default()
        }
    }

    pub fn register(&mut self, id: i32, incarnation: u8) -> (i16, i64) {
        let request = self.registration(id, incarnation);
        let outcome = self.controller.register_broker(&request, self.now);
        let response = self.commit(outcome);
        (response.error_code, response.broker_epoch)
    }

    /// As from a broker that has seen all of the log.
    pub fn heartbeat(&mut self, id: i32, change: impl FnOnce(&mut BrokerHeartbeatRequest)) -> (bool, bool) {
        let epoch =
            self.controller.image().brokers.get(&id.into()).map_or(-1, |broker| broker.epoch().value());
        let mut request = BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: epoch,
            current_metadata_offset: self.next_offset.value() - 1,
            ..BrokerHeartbeatRequest::default()
        };
        change(&mut request);
        let outcome = self.controller.broker_heartbeat(&request, self.now);
        let response = self.commit(outcome);
        assert_eq!(response.error_code, 0);
        (response.is_fenced, response.should_shut_down)
    }

    /// Lets time pass, and does what is due when it is.
    pub fn advance(&mut self, ms: u64) {
        let end = MonoMs(self.now.mono.0 + ms);
        self.stand_still(0);
        while self.now.mono < end {
            let next = self.controller.next_deadline().max(self.now.mono.plus_ms(1)).min(end);
            self.stand_still(next.since_ms(self.now.mono));
        }
    }

    /// Lets time pass, and does what is due at its end.
    pub fn stand_still(&mut self, ms: u64) {
        self.now.mono = MonoMs(self.now.mono.0 + ms);
        while let Some(outcome) = self.controller.tick(self.now) {
            self.commit(outcome);
        }
    }

    /// Each partition in a line: leader @ epoch, ISR, and what else is not usual.
    pub fn partitions(&self, topic: &str) -> String {
        let mut text = String::new();
        let Some(topic) = self.controller.image().topics.by_name(topic) else {
            return "no such topic".into();
        };
        for (partition, p) in &topic.partitions {
            let ids = |list: &[ottla_types::NodeId]| {
                list.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",")
            };
            write!(text, "{partition}: {}@{} isr {}", p.leader, p.leader_epoch.0, ids(&p.isr))
                .expect("a string");
            for (what, list) in [
                ("elr", &p.elr),
                ("last", &p.last_known_elr),
                ("adding", &p.adding_replicas),
                ("removing", &p.removing_replicas),
            ] {
                if !list.is_empty() {
                    write!(text, " {what} {}", ids(list)).expect("a string");
                }
            }
            text.push('\n');
        }
        text
    }
}
