//! The metadata log's records, and the image of the cluster that replaying them gives.
//!
//! Only [`MetadataImage::replay`] changes an image. Two images that have replayed the same records are equal, and
//! replaying [`MetadataImage::to_records`] into an empty image gives the same image again: that is what a snapshot is.

pub mod changes;
pub mod features;
pub mod image;
pub mod loader;
pub mod placement;

pub use changes::Changes;
pub use features::{Feature, MetadataVersion};
pub use image::{MetadataImage, ReplayError};
