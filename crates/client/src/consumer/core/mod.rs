//! The consumer without clock, network or randomness: it is told what happened and when, and says what is to be done.

pub mod assignors;
pub mod classic;
pub mod fetching;
pub mod machine;
pub mod membership;
pub mod modern;
pub mod processing;
pub mod protocol;
pub mod record;
