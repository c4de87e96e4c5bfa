mod append;
mod producers;
mod reopen;
mod truncation;
