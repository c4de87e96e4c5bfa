//! What whoever waits sees of long work: on standard error, and only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
            bar.set_style(style);
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

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
