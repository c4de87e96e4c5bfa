//! Reading as a member of a share group (KIP-932).
//!
//! [`ShareConsumer`] has one owner; a task beside it sends heartbeats, fetches and acknowledgements. What always holds: all
//! decisions are made in `core`, which is pure; here requests are sent and answers are handed in.

mod core;
mod driver;
mod owner;
mod settings;

pub use self::core::record::{AcknowledgeType, Acknowledged, ShareRecord};
pub use owner::{CommitOutcome, ShareConsumer};
pub use settings::{AcknowledgementMode, AcquireMode, ShareConsumerSettings};
