//! An operator who raises the levels of features one after the other, as `kafka-features` does, and lowers one now and
//! then, to raise it again.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_metadata::{Feature, MetadataVersion};
use ottla_wire::ErrorCode;
use ottla_wire::messages::update_features_request::FeatureUpdate;
use ottla_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::asking::{Asking, Said};
use super::{Client, Topics, World, is_retriable};
use crate::event::Event;
use crate::network::{Link, decode};

const VERSION: i16 = 2;
const RETRY_MS: i64 = 200;
/// Between two levels at most.
const PAUSE_MS: u64 = 5_000;
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
/// Features that may be lowered while their users are at work, with the least levels at which nothing is lost to them.
const LOWERED: [(Feature, i16); 5] = [
    (Feature::MetadataVersion, 25),
    (Feature::TransactionVersion, 1),
    (Feature::EligibleLeaderReplicasVersion, 0),
    (Feature::ShareVersion, 0),
    (Feature::StreamsVersion, 0),
];

/// A level that a feature is to have.
type Step = (Feature, i16);

/// See the module.
#[derive(Debug)]
pub struct Operator {
    /// As far as it was told.
    levels: BTreeMap<Feature, i16>,
    steps: VecDeque<Step>,
    lowered: Vec<(Feature, i16)>,
    asking: Asking<Step>,
    is_finishing: bool,
}

impl Operator {
    /// From the levels that clusters of `from` begin with up to the newest. Where share groups are used they stay, and eligible
    /// leaders where nothing else keeps a machine's records that has lost them.
    pub fn new(from: MetadataVersion, uses_share_groups: bool, lowers_eligible_leaders: bool) -> Operator {
        let newer = MetadataVersion::all().filter(|version| *version > from);
        let mut steps: VecDeque<Step> =
            newer.map(|version| (Feature::MetadataVersion, version.level())).collect();
        let features = Feature::all().map(|facts| facts.feature);
        let features = features.filter(|feature| *feature != Feature::KRaftVersion);
        let levels: BTreeMap<Feature, i16> =
            features.map(|feature| (feature, feature.default_level(from))).collect();
        let others = levels.iter().filter(|(feature, _)| **feature != Feature::MetadataVersion);
        steps.extend(others.flat_map(|(feature, level)| {
            let newest = feature.default_level(MetadataVersion::LATEST);
            (level + 1..=newest).map(move |level| (*feature, level))
        }));
        let is_lowered = |(feature, _): &Step| match feature {
            Feature::ShareVersion => !uses_share_groups,
            Feature::EligibleLeaderReplicasVersion => lowers_eligible_leaders,
            _ => true,
        };
        let lowered = LOWERED.into_iter().filter(is_lowered).collect();
        Operator { levels, steps, lowered, asking: Asking::default(), is_finishing: false }
    }

    fn is_lower(&self, (feature, level): Step) -> bool {
        self.levels.get(&feature).is_some_and(|current| level < *current)
    }

    fn update(&self, step: Step) -> UpdateFeaturesRequest {
        let (feature, level) = step;
        let update = FeatureUpdate {
            feature: feature.name().to_owned(),
            max_version_level: level,
            upgrade_type: if self.is_lower(step) { SAFE_DOWNGRADE } else { UPGRADE },
            ..FeatureUpdate::default()
        };
        UpdateFeaturesRequest {
            timeout_ms: 5_000,
            feature_updates: vec![update],
            ..UpdateFeaturesRequest::default()
        }
    }

    fn answered(&mut self, asked: Step, body: &Bytes, world: &mut World<'_>) {
        let response: UpdateFeaturesResponse = decode(body, VERSION);
        match response.error_code {
            0 => {
                let (feature, level) = (asked.0.name(), asked.1);
                let is_lower = self.is_lower(asked);
                let event = match is_lower {
                    true => Event::FeatureLowered { feature, level },
                    false => Event::FeatureRaised { feature, level },
                };
                world.events.push(event);
                self.levels.insert(asked.0, asked.1);
                self.steps.pop_front();
                if !is_lower && world.rng.one_in(3) {
                    self.lower_one(world);
                }
                self.pause(world);
            }
            // Something would be lost with it: it stays as it is.
            code if code == ErrorCode::InvalidUpdateVersion.code() && self.is_lower(asked) => {
                self.steps.drain(..2);
                self.pause(world);
            }
            // A node that has not said yet what it supports holds it up.
            code if is_retriable(code) || code == ErrorCode::InvalidUpdateVersion.code() => {
                self.asking.wait_ms(RETRY_MS, world);
            }
            code => world.unexpected("operator", &format!("UpdateFeatures to {asked:?}"), code),
        }
    }

    fn pause(&mut self, world: &mut World<'_>) {
        let pause_ms = world.rng.below(PAUSE_MS) as i64;
        self.asking.wait_ms(pause_ms, world);
    }

    /// A feature is to go down next, and up again.
    fn lower_one(&mut self, world: &mut World<'_>) {
        let (feature, least) = world.rng.pick(&self.lowered);
        let current = self.levels.get(&feature).copied().unwrap_or(0);
        if current > least && !self.is_finishing {
            let level = least + world.rng.below((current - least) as u64) as i16;
            self.steps.push_front((feature, current));
            self.steps.push_front((feature, level));
        }
    }
}

impl Client for Operator {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                // It may be so by now: to ask for it again does no harm.
                Said::Lost(_) => self.asking.wait_ms(RETRY_MS, world),
            }
        }
        if !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        if self.steps.is_empty() {
            self.lower_one(world);
        }
        if let Some(step) = self.steps.front().copied() {
            let ticket = link.send(&self.update(step), VERSION, world.now.mono, world.rng);
            self.asking.ask(ticket, step);
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.steps.is_empty()
    }
}
