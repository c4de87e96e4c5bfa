//! Access rules, the resources that they are about, and how both are written.

use std::fmt;

use crate::acl_words::{OPERATIONS, PATTERN_TYPES, PERMISSIONS, RESOURCE_TYPES, code, name};

pub(super) const ANY: i8 = 1;
pub(super) const LITERAL: i8 = 3;
pub(super) const PREFIXED: i8 = 4;
pub(super) const CLUSTER: i8 = 4;
/// There is one cluster, and so it is called.
pub(super) const CLUSTER_NAME: &str = "kafka-cluster";

/// A number of the protocol by its name.
pub(super) fn operation(name: &str) -> Option<i8> {
    code(OPERATIONS, name)
}

/// Resources, or in a filter those that are asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resource {
    pub(super) kind: i8,
    /// `None`: any, in a filter.
    pub(super) name: Option<String>,
    pub(super) pattern: i8,
}

impl Resource {
    /// All that there are.
    pub(super) const EVERY: Resource = Resource { kind: ANY, name: None, pattern: ANY };

    pub(super) fn cluster() -> Resource {
        Resource { kind: CLUSTER, name: Some(CLUSTER_NAME.to_owned()), pattern: LITERAL }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = name(RESOURCE_TYPES, self.kind);
        let named = self.name.as_deref().unwrap_or("<any>");
        let pattern = name(PATTERN_TYPES, self.pattern);
        write!(f, "ResourcePattern(resourceType={kind}, name={named}, patternType={pattern})")
    }
}

/// Who may do what from where, or may not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) principal: String,
    pub(super) host: String,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = name(OPERATIONS, self.operation);
        let permission = name(PERMISSIONS, self.permission);
        let Entry { principal, host, .. } = self;
        write!(f, "(principal={principal}, host={host}, operation={operation}, permissionType={permission})")
    }
}
