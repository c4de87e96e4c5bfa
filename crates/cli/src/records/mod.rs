//! `ottla produce` and `ottla consume`: records in and out, in the same forms.

pub mod consume;
mod ending;
mod input;
mod json;
mod lines;
pub mod produce;
mod template;
