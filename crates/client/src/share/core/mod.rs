//! What a share consumer decides: pure. Time, leaders and answers go in, requests and records come out.

mod held;
pub(crate) mod machine;
pub(crate) mod membership;
pub(crate) mod record;
#[cfg(test)]
mod tests;
