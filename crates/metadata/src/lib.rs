//! The metadata log's records, and the image of the cluster that replaying them gives.
