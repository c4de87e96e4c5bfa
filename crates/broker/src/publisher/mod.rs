//! What a new image of the metadata changes on this node: settings, partitions, coordinators.
//!
//! The image is published first, so that whoever is told of a change finds it there.

mod desk;
mod log_config;
mod settings;
mod throttles;
mod topics;

use std::collections::HashMap;
use std::sync::Arc;

use ottla_log::LogConfig;
use ottla_log::log_manager::LoadProgress;
use ottla_metadata::MetadataImage;
use ottla_metadata::loader::Publication;
use ottla_types::{MonoMs, Now};
use parking_lot::Mutex;

pub use desk::PublishLater;
pub(crate) use desk::{Desk, Progress};
pub use log_config::log_config;
pub(crate) use settings::overrides;

use self::topics::Unassigned;
use crate::node::Node;

/// Applies published images to a node.
#[derive(Debug)]
pub struct Publisher {
    node: Arc<Node>,
    /// Logs are loaded once their settings are known: by the first image.
    has_loaded_logs: bool,
    /// Partitions whose files could not be had, and when to try again.
    unassigned: Vec<Unassigned>,
    retry_at: MonoMs,
    has_told_of_quotas: bool,
}

/// Between two attempts at partitions whose files can't be had.
const RETRY_MS: i64 = 1000;

impl Publisher {
    pub fn new(node: Arc<Node>) -> Publisher {
        Publisher {
            node,
            has_loaded_logs: false,
            unassigned: Vec::new(),
            retry_at: MonoMs::NEVER,
            has_told_of_quotas: false,
        }
    }

    /// Fails only if the logs can't be loaded, which a node can't do without.
    pub(crate) fn publish(&mut self, publication: &Publication, now: Now) -> Result<(), String> {
        let node = Arc::clone(&self.node);
        node.metadata.publish(Arc::clone(&publication.image));
        settings::apply(&node, publication, now);
        self.tell_of_quotas(&publication.image);
        if !self.has_loaded_logs {
            self.load_logs(publication, now)?;
        }
        // A controller has no partitions, even if a broker of this id had some.
        let unassigned = if node.roles.broker { topics::apply(&node, publication, now) } else { Vec::new() };
        if !unassigned.is_empty() {
            self.unassigned.extend(unassigned);
            self.retry_at = self.retry_at.min(now.mono.plus_ms(RETRY_MS));
        }
        node.published(publication, now);
        Ok(())
    }

    /// Tries again what could not be had.
    pub(crate) fn retry(&mut self, now: Now) {
        let unassigned = std::mem::take(&mut self.unassigned);
        self.unassigned = topics::assign_again(&self.node, &self.node.metadata.image(), unassigned, now);
        self.retry_at = if self.unassigned.is_empty() { MonoMs::NEVER } else { now.mono.plus_ms(RETRY_MS) };
    }

    /// When to [`Publisher::retry`] next.
    pub(crate) fn retry_at(&self) -> MonoMs {
        self.retry_at
    }

    /// They come with a directory of Apache Kafka, which held its clients to them.
    fn tell_of_quotas(&mut self, image: &MetadataImage) {
        let entities = image.quotas.iter().count();
        if entities > 0 && !self.has_told_of_quotas {
            tracing::warn!(
                entities,
                "the metadata sets client quotas: they are kept, but nothing acts on them yet"
            );
            self.has_told_of_quotas = true;
        }
    }

    fn load_logs(&mut self, publication: &Publication, now: Now) -> Result<(), String> {
        let node = &self.node;
        // Several threads ask, once for each log.
        let configs = Mutex::new(HashMap::<String, Arc<LogConfig>>::new());
        let config_of = |topic: &str| -> Arc<LogConfig> {
            let mut configs = configs.lock();
            if let Some(known) = configs.get(topic) {
                return Arc::clone(known);
            }
            let config = Arc::new(log_config(&node.topic_config(&publication.image, topic)));
            configs.insert(topic.to_owned(), Arc::clone(&config));
            config
        };
        node.logs
            .load(&config_of, &LoadProgress::default(), now)
            .map_err(|error| format!("the logs could not be loaded: {error}"))?;
        topics::set_aside_strays(node, &publication.image, now);
        self.has_loaded_logs = true;
        Ok(())
    }
}
