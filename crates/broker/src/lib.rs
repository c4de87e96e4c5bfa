//! One node without sockets: request handlers over replicas, coordinators, controller and metadata.

pub mod exchange;
