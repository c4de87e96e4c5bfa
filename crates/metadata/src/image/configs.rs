use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rpds::HashTrieMapSync;

/// What a setting belongs to; the codes are those of `ConfigRecord` and of the configs APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    Topic = 2,
    /// A broker, or all of them where the name is empty.
    Broker = 4,
    ClientMetrics = 16,
    Group = 32,
}

impl ResourceType {
    pub fn from_code(code: i8) -> Option<ResourceType> {
        let known =
            [ResourceType::Topic, ResourceType::Broker, ResourceType::ClientMetrics, ResourceType::Group];
        known.into_iter().find(|kind| *kind as i8 == code)
    }
}

/// One thing that has settings of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    pub kind: ResourceType,
    pub name: Arc<str>,
}

impl ConfigResource {
    pub fn new(kind: ResourceType, name: impl Into<Arc<str>>) -> ConfigResource {
        ConfigResource { kind, name: name.into() }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} '{}'", self.kind, self.name)
    }
}

/// Dynamic settings of everything that has some.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigsImage {
    by_resource: HashTrieMapSync<ConfigResource, Arc<BTreeMap<String, String>>>,
}

impl ConfigsImage {
    /// None where the resource has no settings of its own.
    pub fn of(&self, resource: &ConfigResource) -> Option<&Arc<BTreeMap<String, String>>> {
        self.by_resource.get(resource)
    }

    /// In no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<BTreeMap<String, String>>)> {
        self.by_resource.iter()
    }

    /// Sets, or with `None` deletes.
    pub(super) fn set(&mut self, resource: &ConfigResource, name: &str, value: Option<&str>) {
        let mut settings = self.by_resource.get(resource).cloned().unwrap_or_default();
        let changed = Arc::make_mut(&mut settings);
        match value {
            Some(value) => changed.insert(name.to_owned(), value.to_owned()),
            None => changed.remove(name),
        };
        if settings.is_empty() {
            self.by_resource.remove_mut(resource);
        } else {
            self.by_resource.insert_mut(resource.clone(), settings);
        }
    }

    pub(super) fn remove(&mut self, resource: &ConfigResource) -> bool {
        self.by_resource.remove_mut(resource)
    }
}
