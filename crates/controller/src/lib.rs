//! The controller: operations on cluster metadata that yield records, replayed from one log.
