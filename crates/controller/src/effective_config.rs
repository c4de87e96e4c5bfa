//! This node's configuration with the dynamic settings over it: for the controller it stands for all brokers'.

use ottla_config::{Config, DynamicConfig, Overrides};
use ottla_metadata::MetadataImage;
use ottla_metadata::image::{ConfigResource, ResourceType};
use ottla_types::NodeId;

use crate::controller::Controller;

/// Kept beside the image, as it takes longer to make than most decisions that need it.
#[derive(Debug)]
pub(crate) struct EffectiveConfig {
    layers: DynamicConfig,
    effective: Config,
}

impl EffectiveConfig {
    pub fn new(fixed: &Config, node: NodeId, image: &MetadataImage) -> EffectiveConfig {
        let mut layers = DynamicConfig::new(fixed.clone());
        layers.set_all_brokers(overrides(image, ResourceType::Broker, ""));
        layers.set_this_broker(overrides(image, ResourceType::Broker, &node.to_string()));
        let effective = layers.effective();
        EffectiveConfig { layers, effective }
    }

    pub fn layers(&self) -> &DynamicConfig {
        &self.layers
    }

    pub fn effective(&self) -> &Config {
        &self.effective
    }
}

impl Controller {
    /// The settings that a resource has of its own.
    pub(crate) fn overrides(&self, kind: ResourceType, name: &str) -> Overrides {
        overrides(&self.image, kind, name)
    }
}

fn overrides(image: &MetadataImage, kind: ResourceType, name: &str) -> Overrides {
    let of = image.configs.of(&ConfigResource::new(kind, name));
    of.map(|overrides| (**overrides).clone()).unwrap_or_default()
}
