//! When a client forgets the brokers that it has learned of and asks the bootstrap servers again (KIP-899, KIP-1102).

use ottla_types::MonoMs;

/// `metadata.recovery.strategy`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryStrategy {
    None,
    #[default]
    Rebootstrap,
}

/// Counts how long metadata could not be had.
#[derive(Debug)]
pub(crate) struct Recovery {
    strategy: RecoveryStrategy,
    trigger_ms: u64,
    failing_since: Option<MonoMs>,
}

/// How an attempt to get metadata ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Succeeded,
    /// A broker was reached, but gave none.
    Refused,
    /// No broker could be reached.
    NobodyReached,
    /// A broker says that it isn't of this client's cluster any more.
    ToldToRebootstrap,
}

impl Recovery {
    /// `trigger_ms` is `metadata.recovery.rebootstrap.trigger.ms`.
    pub fn new(strategy: RecoveryStrategy, trigger_ms: u64) -> Recovery {
        Recovery { strategy, trigger_ms, failing_since: None }
    }

    /// Whether to begin anew with the bootstrap servers.
    pub fn after(&mut self, attempt: Attempt, now: MonoMs) -> bool {
        if attempt == Attempt::Succeeded {
            self.failing_since = None;
            return false;
        }
        let since = *self.failing_since.get_or_insert(now);
        let is_due = match attempt {
            Attempt::NobodyReached | Attempt::ToldToRebootstrap => true,
            _ => now.since_ms(since) >= self.trigger_ms,
        };
        let rebootstraps = is_due && self.strategy == RecoveryStrategy::Rebootstrap;
        if rebootstraps {
            self.failing_since = Some(now);
        }
        rebootstraps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_anew_when_nobody_is_there_or_it_takes_too_long() {
        let mut recovery = Recovery::new(RecoveryStrategy::Rebootstrap, 300);
        for (attempt, now, expected) in [
            (Attempt::Refused, 1000, false),
            (Attempt::Refused, 1299, false),
            (Attempt::Refused, 1300, true),
            (Attempt::Refused, 1500, false),
            (Attempt::Succeeded, 1590, false),
            (Attempt::Refused, 1610, false),
            (Attempt::NobodyReached, 1620, true),
            (Attempt::ToldToRebootstrap, 1621, true),
        ] {
            assert_eq!(recovery.after(attempt, MonoMs(now)), expected, "{attempt:?} at {now}");
        }
        let mut never = Recovery::new(RecoveryStrategy::None, 0);
        assert!(!never.after(Attempt::NobodyReached, MonoMs(1)));
        assert!(!never.after(Attempt::ToldToRebootstrap, MonoMs(1)));
    }
}
