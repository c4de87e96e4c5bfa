mod append;
mod flushing;
mod producers;
mod reopen;
mod terabyte;
mod truncation;
