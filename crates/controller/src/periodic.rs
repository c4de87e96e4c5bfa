use ottla_types::MonoMs;

use crate::settings::ControllerSettings;

/// What the controller does from time to time.
#[derive(Debug)]
pub(crate) struct Periodic {
    pub no_op: Timer,
    pub preferred_elections: Timer,
    pub unclean_elections: Timer,
}

#[derive(Debug)]
pub(crate) struct Timer {
    /// None: never.
    interval_ms: Option<i64>,
    due: MonoMs,
}

impl Timer {
    fn new(interval_ms: Option<i64>, now: MonoMs) -> Timer {
        let interval_ms = interval_ms.filter(|interval| *interval > 0);
        Timer { interval_ms, due: interval_ms.map_or(MonoMs::NEVER, |interval| now.plus_ms(interval)) }
    }

    /// There is more to do than was done.
    pub fn make_due(&mut self, now: MonoMs) {
        self.due = now;
    }

    /// Once each interval.
    pub fn is_due(&mut self, now: MonoMs) -> bool {
        match self.interval_ms {
            Some(interval) if self.due <= now => {
                self.due = now.plus_ms(interval);
                true
            }
            _ => false,
        }
    }
}

impl Periodic {
    pub fn new(settings: &ControllerSettings, now: MonoMs) -> Periodic {
        Periodic {
            no_op: Timer::new(Some(settings.max_idle_interval_ms), now),
            preferred_elections: Timer::new(settings.leader_imbalance_check_interval_ms, now),
            unclean_elections: Timer::new(Some(settings.unclean_election_interval_ms), now),
        }
    }

    pub fn next(&self) -> MonoMs {
        self.no_op.due.min(self.preferred_elections.due).min(self.unclean_elections.due)
    }
}
