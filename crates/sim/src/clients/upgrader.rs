//! An operator who raises the levels of features one after the other, as `kafka-features` does.

use std::collections::VecDeque;

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

/// See the module.
#[derive(Debug)]
pub struct Upgrader {
    steps: VecDeque<(Feature, i16)>,
    asking: Asking<(Feature, i16)>,
}

impl Upgrader {
    /// From the levels that clusters of `from` begin with up to the newest.
    pub fn new(from: MetadataVersion) -> Upgrader {
        let newer = MetadataVersion::all().filter(|version| *version > from);
        let mut steps: VecDeque<(Feature, i16)> =
            newer.map(|version| (Feature::MetadataVersion, version.level())).collect();
        let others = Feature::all().map(|facts| facts.feature);
        let others =
            others.filter(|feature| !matches!(feature, Feature::MetadataVersion | Feature::KRaftVersion));
        steps.extend(others.flat_map(|feature| {
            let newest = feature.default_level(MetadataVersion::LATEST);
            (feature.default_level(from) + 1..=newest).map(move |level| (feature, level))
        }));
        Upgrader { steps, asking: Asking::default() }
    }
}

fn update((feature, level): (Feature, i16)) -> UpdateFeaturesRequest {
    let update = FeatureUpdate {
        feature: feature.name().to_owned(),
        max_version_level: level,
        upgrade_type: UPGRADE,
        ..FeatureUpdate::default()
    };
    UpdateFeaturesRequest {
        timeout_ms: 5_000,
        feature_updates: vec![update],
        ..UpdateFeaturesRequest::default()
    }
}

impl Upgrader {
    fn answered(&mut self, asked: (Feature, i16), body: &Bytes, world: &mut World<'_>) {
        let response: UpdateFeaturesResponse = decode(body, VERSION);
        match response.error_code {
            0 => {
                self.steps.retain(|step| *step != asked);
                let (feature, level) = (asked.0.name(), asked.1);
                world.events.push(Event::FeatureRaised { feature, level });
                let pause_ms = world.rng.below(PAUSE_MS) as i64;
                self.asking.wait_ms(pause_ms, world);
            }
            // A node that has not said yet what it supports holds it up.
            code if is_retriable(code) || code == ErrorCode::InvalidUpdateVersion.code() => {
                self.asking.wait_ms(RETRY_MS, world);
            }
            code => world.unexpected("operator", &format!("UpdateFeatures to {asked:?}"), code),
        }
    }
}

impl Client for Upgrader {
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
        if let Some(step) = self.steps.front().copied() {
            let ticket = link.send(&update(step), VERSION, world.now.mono, world.rng);
            self.asking.ask(ticket, step);
        }
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.steps.is_empty()
    }
}
