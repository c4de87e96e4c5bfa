mod crash;
mod damage;
mod faults;
mod history;
mod leftovers;
