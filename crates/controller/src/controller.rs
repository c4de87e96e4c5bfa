use std::fmt;

use ottla_metadata::image::ResourceType;
use ottla_metadata::{Changes, MetadataImage, ReplayError};
use ottla_types::{MonoMs, NodeId, Now, Offset, Uuid};
use ottla_wire::records::{MetadataRecord, NoOpRecord};

use crate::cluster::BrokerSessions;
use crate::effective_config::EffectiveConfig;
use crate::elections::MAX_ELECTIONS_AT_ONCE;
use crate::outcome::{Outcome, Records};
use crate::partition_index::{PartitionIndex, Touched};
use crate::periodic::Periodic;
use crate::settings::ControllerSettings;

/// Where new ids come from: randomness stays outside, so that a run can be repeated.
pub trait IdSource: Send {
    /// Any 128 bits, each time others.
    fn next(&mut self) -> u128;
}

impl<F: FnMut() -> u128 + Send> IdSource for F {
    fn next(&mut self) -> u128 {
        self()
    }
}

/// The active controller's state: everything that it has written, committed or not. It lives as long as the node
/// leads the quorum; the next one starts from what is committed.
pub struct Controller {
    pub(crate) settings: ControllerSettings,
    pub(crate) image: MetadataImage,
    pub(crate) index: PartitionIndex,
    pub(crate) config: EffectiveConfig,
    pub(crate) sessions: BrokerSessions,
    pub(crate) quorum: QuorumVersion,
    periodic: Periodic,
    /// When it was asked last what is due.
    ticked_at: MonoMs,
    /// Whether it was looked at once what the controller before has left undone.
    has_taken_over: bool,
    ids: Box<dyn IdSource>,
}

/// What the controller knows of `kraft.version`, which is no part of the metadata: the quorum keeps it in records of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuorumVersion {
    pub level: i16,
    /// Why the quorum can't have the next level, if there is a reason.
    pub cannot_rise: Option<&'static str>,
}

impl Controller {
    /// `image` holds all that is in the log. Brokers that it has unfenced get a whole session's time to be heard.
    pub fn new(
        settings: ControllerSettings,
        image: MetadataImage,
        ids: Box<dyn IdSource>,
        now: Now,
    ) -> Controller {
        let mut sessions = BrokerSessions::new(settings.broker_session_timeout_ms);
        for broker in image.brokers.values() {
            sessions.touch(broker.id(), Offset::UNKNOWN, now.mono);
        }
        let periodic = Periodic::new(&settings, now.mono);
        let config = EffectiveConfig::new(&settings.config, settings.node_id, &image);
        let index = PartitionIndex::of(&image);
        let quorum = QuorumVersion::default();
        Controller {
            settings,
            image,
            index,
            config,
            sessions,
            quorum,
            periodic,
            ticked_at: now.mono,
            has_taken_over: false,
            ids,
        }
    }

    /// Hears of the quorum's version, before each operation that may ask for another.
    pub fn set_quorum_version(&mut self, quorum: QuorumVersion) {
        self.quorum = quorum;
    }

    /// The metadata with everything that was written.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Takes up a record that was written at `offset`.
    pub fn replay(&mut self, record: &MetadataRecord, offset: Offset) -> Result<(), ReplayError> {
        let touched = Touched::by(record, &self.image);
        self.image.replay(record, &mut Changes::default())?;
        touched.update(&mut self.index, &self.image);
        self.image.provenance.last_offset = offset;
        match record {
            MetadataRecord::RegisterBroker(record) => {
                self.sessions.registered(NodeId(record.broker_id), offset)
            }
            MetadataRecord::Config(record) if record.resource_type == ResourceType::Broker as i8 => {
                self.config = EffectiveConfig::new(&self.settings.config, self.settings.node_id, &self.image);
            }
            MetadataRecord::UnregisterBroker(record) => self.sessions.forget(NodeId(record.broker_id)),
            _ => {}
        }
        Ok(())
    }

    /// One thing that is due by now, or none: to be asked again until there is none, after the records of each were
    /// replayed, so that the next decision sees the last one's effect. Brokers that were not heard of are fenced,
    /// leaders elected, and a log that stands still is moved on.
    ///
    /// Who asks much later than [`Controller::next_deadline`] said could hear nobody until then: no broker's session runs out
    /// for that.
    pub fn tick(&mut self, now: Now) -> Option<Outcome<()>> {
        let asked_after_ms = now.mono.since_ms(std::mem::replace(&mut self.ticked_at, now.mono));
        self.sessions.looked_after(i64::try_from(asked_after_ms).unwrap_or(i64::MAX), now.mono);
        if !std::mem::replace(&mut self.has_taken_over, true) {
            let mut records = self.records();
            records.extend(self.left_undone());
            if records.len() > 0 {
                return Some(records.with(()));
            }
        }
        if let Some(fencing) = self.fence_stale_broker(now) {
            return Some(fencing);
        }
        let elections = self.due_elections_of(now);
        let mut records = self.records();
        if !elections.is_empty() {
            records.extend(elections);
            return Some(records.with(()));
        }
        if self.periodic.no_op.is_due(now.mono) {
            records.push(MetadataRecord::NoOp(NoOpRecord::default()));
            return Some(records.with(()));
        }
        None
    }

    fn due_elections_of(&mut self, now: Now) -> Vec<MetadataRecord> {
        if self.periodic.unclean_elections.is_due(now.mono) {
            let elections = self.unclean_elections();
            if elections.len() == MAX_ELECTIONS_AT_ONCE {
                self.periodic.unclean_elections.make_due(now.mono);
            }
            if !elections.is_empty() {
                return elections;
            }
        }
        if !self.periodic.preferred_elections.is_due(now.mono) {
            return Vec::new();
        }
        let elections = self.preferred_elections();
        if elections.len() == MAX_ELECTIONS_AT_ONCE {
            self.periodic.preferred_elections.make_due(now.mono);
        }
        elections
    }

    /// When to [`Controller::tick`] next.
    pub fn next_deadline(&self) -> MonoMs {
        let unfenced =
            self.image.brokers.values().filter(|broker| !broker.is_fenced()).map(|broker| broker.id());
        let look = self.ticked_at.plus_ms(self.sessions.look_interval_ms());
        self.sessions.next_expiry(unfenced).min(look).min(self.periodic.next())
    }

    pub(crate) fn records(&self) -> Records {
        Records::at(self.image.features.metadata_version())
    }

    /// A new topic's id: random, and none that is reserved.
    pub(crate) fn new_topic_id(&mut self) -> Uuid {
        const VERSION_AND_VARIANT: (u128, u128) = (!(0xf << 76) & !(0x3 << 62), 4 << 76 | 2 << 62);
        loop {
            let bits = self.ids.next() & VERSION_AND_VARIANT.0 | VERSION_AND_VARIANT.1;
            let id = Uuid(bits.to_be_bytes());
            // Kafka's tools take an id that begins with a dash for a flag.
            if !id.to_string().starts_with('-') && self.image.topics.by_id(id).is_none() {
                return id;
            }
        }
    }

    /// By which replicas are dealt out.
    pub(crate) fn new_seed(&mut self) -> u64 {
        self.ids.next() as u64
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("at", &self.image.provenance).finish_non_exhaustive()
    }
}
