//! Groups of the consumer protocol (KIP-848): the coordinator, not one of the members, decides who reads what.
//!
//! Here are the assignors. Groups of this kind are not served.

pub mod assignor;
