//! One node with its clients in one thread, on virtual time and over a disk that loses and fails, from a seed.

pub mod node;
