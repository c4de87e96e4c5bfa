//! What a new image of the metadata changes on this node: settings, partitions, coordinators.
//!
//! The image is published first, so that whoever is told of a change finds it there.

mod log_config;
mod settings;
mod topics;

use std::sync::Arc;

use ottla_log::log_manager::LoadProgress;
use ottla_metadata::loader::Publication;
use ottla_types::Now;

pub use log_config::log_config;
pub(crate) use settings::overrides;

use crate::node::Node;

/// Applies published images to a node.
#[derive(Debug)]
pub struct Publisher {
    node: Arc<Node>,
    /// Logs are loaded once their settings are known: by the first image.
    has_loaded_logs: bool,
}

impl Publisher {
    pub fn new(node: Arc<Node>) -> Publisher {
        Publisher { node, has_loaded_logs: false }
    }

    pub(crate) fn publish_kraft_version(&self, level: i16) {
        self.node.metadata.publish_kraft_version(level);
    }

    /// Fails only if the logs can't be loaded, which a node can't do without.
    pub(crate) fn publish(&mut self, publication: &Publication, now: Now) -> Result<(), String> {
        let node = Arc::clone(&self.node);
        node.metadata.publish(Arc::clone(&publication.image));
        settings::apply(&node, publication);
        if !self.has_loaded_logs {
            self.load_logs(publication, now)?;
        }
        topics::apply(&node, publication, now);
        node.published(publication, now);
        Ok(())
    }

    fn load_logs(&mut self, publication: &Publication, now: Now) -> Result<(), String> {
        let node = &self.node;
        let config_of = |topic: &str| Arc::new(log_config(&node.topic_config(&publication.image, topic)));
        node.logs
            .load(&config_of, &LoadProgress::default(), now)
            .map_err(|error| format!("the logs could not be loaded: {error}"))?;
        topics::set_aside_strays(node, &publication.image, now);
        self.has_loaded_logs = true;
        Ok(())
    }
}
