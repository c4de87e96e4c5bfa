mod append;
mod producers;
mod reopen;
