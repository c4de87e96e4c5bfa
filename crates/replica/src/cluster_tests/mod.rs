//! Several brokers' replica managers over simulated disks, with a network and a controller that do what a test says.

mod cluster;
mod examples;
mod followers;
mod full_disks;
mod in_sync;
mod nearest;
mod random;
mod throttles;
