//! What is known of a cluster: its brokers, topics and leaders, who coordinates what, and when to begin anew.
//!
//! All of it is pure: answers and the time go in, snapshots and decisions come out.

mod coordinators;
mod metadata;
mod recovery;

pub use coordinators::CoordinatorKind;
pub(crate) use coordinators::Coordinators;
pub(crate) use metadata::Asked;
pub use metadata::{Broker, Leader, Metadata, Partition, Topic};
pub use recovery::RecoveryStrategy;
pub(crate) use recovery::{Attempt, Recovery};
