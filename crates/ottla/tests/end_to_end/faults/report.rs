//! What each fault has cost.

use std::collections::BTreeMap;
use std::time::Duration;

/// By kind of fault: for how long nothing could be written, the longest of all partitions each time.
#[derive(Default)]
pub struct Report(BTreeMap<String, Vec<Duration>>);

impl Report {
    pub fn add(&mut self, fault: String, gaps: &[Duration], whole_after: Duration) {
        let shown: Vec<String> = gaps.iter().map(|gap| gap.as_millis().to_string()).collect();
        println!(
            "{fault}: nothing acknowledged for {} ms by partition; all in sync after {} ms",
            shown.join(", "),
            whole_after.as_millis()
        );
        self.0.entry(fault).or_default().push(gaps.iter().copied().max().unwrap_or_default());
    }

    /// A line for each kind of fault.
    pub fn print(mut self) {
        for (fault, gaps) in &mut self.0 {
            gaps.sort_unstable();
            let (middle, last) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
            println!(
                "{:>4} x {fault}: {} ms, at most {} ms",
                gaps.len(),
                middle.as_millis(),
                last.as_millis()
            );
        }
    }
}
