//! What whoever waits sees of long work: on standard error, and only on a terminal.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A bar where it is known how much there is, else a count.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    pub fn records(total: Option<u64>, is_drawn: bool) -> Progress {
        let target = if is_drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{bar:30} {human_pos}/{human_len} records, {per_sec}, {eta} left",
            None => "{spinner} {human_pos} records, {per_sec}",
        };
        // The templates are fixed: without one the default is drawn.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("per_sec", |state: &ProgressState, text: &mut dyn Write| {
                // Where it can't be written, nothing is drawn.
                let _ = text.write_str(&rate(state.per_sec()));
            }));
        }
        if is_drawn && total.is_none() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Progress(bar)
    }

    pub fn add(&self, count: usize) {
        self.0.inc(u64::try_from(count).unwrap_or_default());
    }

    /// Nothing of it stays.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and is not negative"
)]
fn rate(per_second: f64) -> String {
    format!("{}/s", HumanCount(per_second.round() as u64))
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_whole_numbers() {
        for (per_second, shown) in [(18_699.63, "18,700/s"), (0.4, "0/s"), (2_000_000.0, "2,000,000/s")] {
            assert_eq!(rate(per_second), shown);
        }
    }

    #[test]
    fn it_counts() {
        for total in [Some(10), None] {
            let progress = Progress::records(total, false);
            progress.add(3);
            progress.add(4);
            assert_eq!(progress.0.position(), 7);
        }
    }
}
