//! Refusals as they are told: a node that is refused asks again at once, and for ever.

use ottla_types::MonoMs;

/// From one line to the next.
const TOLD_EVERY_MS: i64 = 10_000;

/// How often it was refused since that was told last.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    untold: u64,
    next_at: MonoMs,
}

impl Refusals {
    /// Counts one more; how many there are, where it is time to tell.
    pub(super) fn tell(&mut self, now: MonoMs) -> Option<u64> {
        self.untold += 1;
        if now < self.next_at {
            return None;
        }
        self.next_at = now.plus_ms(TOLD_EVERY_MS);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_is_told_at_once_and_others_are_counted() {
        let mut refusals = Refusals::default();
        let told: Vec<(u64, u64)> = (100..25_000)
            .step_by(20)
            .filter_map(|ms| refusals.tell(MonoMs(ms)).map(|count| (ms, count)))
            .collect();
        assert_eq!(told, [(100, 1), (10_100, 500), (20_100, 500)]);
    }
}
