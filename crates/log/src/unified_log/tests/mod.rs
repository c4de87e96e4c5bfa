mod append;
mod flushing;
mod producers;
mod reopen;
mod truncation;
