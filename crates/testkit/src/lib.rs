//! Helpers that several rooms' tests share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod cases;
mod ottla;

pub use cases::cases;
pub use ottla::{Ended, Launch, Ottla, Starting, free_port};
