//! Group coordination on one runtime of replayed shards.
