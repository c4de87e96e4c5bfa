mod crash;
mod damage;
mod faults;
mod history;
mod holes;
mod leftovers;
