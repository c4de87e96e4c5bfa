//! How long a client has waited for an answer.

use ottla_types::MonoMs;

/// As long as a client waits.
const REQUEST_TIMEOUT_MS: u64 = 6_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<MonoMs>,
}

impl Silence {
    /// Whether an answer that is waited for has not come for so long that it will not come; it counts anew after that.
    pub fn is_too_long(&mut self, waits: bool, now: MonoMs) -> bool {
        if !waits {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_too_long = now.since_ms(since) > REQUEST_TIMEOUT_MS;
        if is_too_long {
            self.since = None;
        }
        is_too_long
    }

    /// Something has come.
    pub fn end(&mut self) {
        self.since = None;
    }
}
