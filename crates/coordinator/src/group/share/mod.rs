//! Share groups (KIP-932): members that work off the same partitions together, each record going to one of them. Who is
//! in a group, what each member reads, and which partitions the share coordinator has been told of.
//!
//! A partition is given to members only once the share coordinator has its state: what is being initialized, what is, and
//! what is about to be deleted stands in the group's log.

mod api;
mod assignor;
mod check;
mod describe;
mod draft;
mod group;
mod heartbeat;
mod initialize;
mod offsets;
pub(crate) mod record;
mod settings;

pub use api::{ShareGroups, ShareStates};
pub use assignor::simple;
pub(crate) use check::StatesCheck;
pub(crate) use group::ShareGroup;
pub(crate) use record::ShareRecord;
pub use settings::ShareGroupConfig;
