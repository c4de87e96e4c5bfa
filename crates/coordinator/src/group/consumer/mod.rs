//! Groups of the consumer protocol (KIP-848): the coordinator, not one of the members, decides who reads what.
//!
//! All of such a group is in the log; what is in memory alone are sessions and other timers, and whether the topics were
//! looked at since they last changed. So:
//! - A coordinator that takes over has the group as it was, at whichever record the former one stopped.
//! - A member is told what it has only when that is committed.
//! - No partition is given to a member while another has it, or has not said yet that it has given it up.

mod api;
mod assigning;
pub mod assignor;
mod classic_members;
mod commit;
mod describe;
mod draft;
mod embedded;
mod group;
mod heartbeat;
mod leave;
mod member;
mod migration;
mod patterns;
mod reconcile;
pub(crate) mod record;
pub(crate) mod refusal;
mod settings;
mod timers;
mod update;

pub(crate) use assigning::UnderWay;
pub(crate) use commit::Committer;
pub(crate) use draft::removal;
pub(crate) use group::ConsumerGroup;
pub(crate) use record::ConsumerRecord;
pub use settings::{Bounded, ConsumerGroupConfig, MigrationPolicy};
pub(crate) use timers::ConsumerTimer;
