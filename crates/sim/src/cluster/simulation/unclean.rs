//! Elections of leaders that lack records, because somebody has asked for them: what a partition held before may be lost with
//! one, and with nothing else.
//!
//! From the question on the partition is hidden from what must hold: until an answer says that nothing has changed, or, where
//! it may have, until all replicas have what the new leader has. What was told before that is forgotten then.

use std::collections::BTreeMap;

use ottla_types::{MonoMs, TopicPartition};

use super::ClusterSimulation;
use crate::cluster::observation::{Look, NodeSeen};
use crate::event::{Event, UncleanElection};

/// What was sent and not answered may still be acted on for so long.
const LATE_MS: u64 = 8_000;

/// What may become of it.
#[derive(Clone, Copy, Debug)]
enum State {
    Asked,
    /// It may have lost records, or may do so up to then.
    Lossy {
        until: MonoMs,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unclean {
    open: BTreeMap<TopicPartition, State>,
}

impl Unclean {
    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    fn hear(&mut self, event: &Event, now: MonoMs) {
        match event {
            Event::UncleanAsked { partition } => {
                self.open.entry(partition.clone()).or_insert(State::Asked);
            }
            Event::UncleanAnswered { partition, election } => match election {
                UncleanElection::Made => self.may_lose(partition, now),
                UncleanElection::Unknown => self.may_lose(partition, now.plus_ms(LATE_MS as i64)),
                UncleanElection::NotMade => {
                    if let Some(State::Asked) = self.open.get(partition) {
                        self.open.remove(partition);
                    }
                }
            },
            _ => {}
        }
    }

    fn may_lose(&mut self, partition: &TopicPartition, until: MonoMs) {
        let before = match self.open.get(partition) {
            Some(State::Lossy { until }) => *until,
            Some(State::Asked) | None => until,
        };
        self.open.insert(partition.clone(), State::Lossy { until: before.max(until) });
    }

    /// Whether it is about a partition of which nothing is to be told at present.
    fn hides(&self, event: &Event) -> bool {
        match event {
            Event::Acknowledged { partition, .. }
            | Event::Fetched { partition, .. }
            | Event::OutOfRange { partition, .. }
            | Event::SequenceBroken { partition, .. } => self.open.contains_key(partition),
            _ => false,
        }
    }

    /// Leaves out what is hidden.
    pub fn hide_of(&self, look: &mut Look) {
        if self.is_settled() {
            return;
        }
        self.hide_of_nodes(&mut look.nodes);
        let is_shown = |partition: &TopicPartition| !self.open.contains_key(partition);
        look.files.values_mut().for_each(|logs| logs.retain(|log| is_shown(&log.partition)));
        look.copies.values_mut().for_each(|copies| copies.retain(is_shown));
        look.led.retain(|log| is_shown(&log.partition));
    }

    pub fn hide_of_nodes(&self, nodes: &mut [NodeSeen]) {
        for node in nodes {
            node.replicas.retain(|partition, _| !self.open.contains_key(partition));
        }
    }
}

impl ClusterSimulation {
    /// Takes note of questions and answers. True if nobody is to be told of the event.
    pub(super) fn hides(&mut self, event: &Event) -> bool {
        self.unclean.hear(event, self.now.mono);
        self.unclean.hides(event)
    }

    /// What may have lost records holds for everybody again.
    pub(super) fn settle_unclean(&mut self) {
        let now = self.now.mono;
        let is_over = |state: &State| matches!(state, State::Lossy { until } if *until <= now);
        if !self.unclean.open.values().any(is_over) || !self.is_whole() {
            return;
        }
        let settled = self.unclean.open.extract_if(.., |_, state| is_over(state));
        // What is heard of it from now on comes after that.
        self.events.splice(..0, settled.map(|(partition, _)| Event::MayHaveLost { partition }));
    }
}
