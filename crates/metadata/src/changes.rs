//! What a run of records changed, so that listeners look only there.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::{NodeId, Uuid};

use crate::image::ConfigResource;

/// Names what differs between two images; what it is now is in the newer image, what it was in the older.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Topics that were created, or of which a partition changed.
    pub topics: BTreeSet<Uuid>,
    pub deleted_topics: BTreeSet<(Uuid, Arc<str>)>,
    pub configs: BTreeSet<ConfigResource>,
    pub brokers: BTreeSet<NodeId>,
    pub controllers: BTreeSet<NodeId>,
    pub features: bool,
    pub producer_ids: bool,
    pub quotas: bool,
    /// ACLs, SCRAM credentials, delegation tokens.
    pub security: bool,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// Adds what came later.
    pub fn merge(&mut self, later: Changes) {
        self.topics.extend(later.topics);
        self.topics.retain(|id| !later.deleted_topics.iter().any(|(deleted, _)| deleted == id));
        self.deleted_topics.extend(later.deleted_topics);
        self.configs.extend(later.configs);
        self.brokers.extend(later.brokers);
        self.controllers.extend(later.controllers);
        self.features |= later.features;
        self.producer_ids |= later.producer_ids;
        self.quotas |= later.quotas;
        self.security |= later.security;
    }
}
