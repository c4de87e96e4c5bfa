mod crash;
mod faults;
mod history;
mod leftovers;
