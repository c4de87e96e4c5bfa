//! What a run found: counts, times, CPU time.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// Named numbers, in order.
#[derive(Debug, Default)]
pub struct Figures(Vec<(String, f64)>);

impl Figures {
    pub fn put(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), value));
    }

    /// Median, 99th percentile and maximum, in milliseconds.
    pub fn put_times(&mut self, prefix: &str, times: &mut [Duration]) {
        times.sort_unstable();
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let place = (times.len() as f64 * share).ceil() as usize;
            let time = times.get(place.saturating_sub(1)).copied().unwrap_or_default();
            self.put(format!("{prefix}{name} ms"), time.as_secs_f64() * 1e3);
        }
    }

    pub fn json(&self) -> String {
        let mut text = String::from("{");
        for (number, (name, value)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            // Writing to a string can't fail.
            let _ = write!(text, "{comma}\"{name}\": {value:.3}");
        }
        text + "}"
    }
}

/// Wall time and CPU time from its start on.
#[derive(Debug)]
pub struct Watch {
    pid: Option<u32>,
    started: Instant,
    broker_cpu_s: f64,
    own_cpu_s: f64,
}

impl Watch {
    /// `pid`: the broker's process, if it is on this machine.
    pub fn start(pid: Option<u32>) -> Outcome<Watch> {
        Ok(Watch { pid, broker_cpu_s: broker_cpu_s(pid)?, own_cpu_s: own_cpu_s(), started: Instant::now() })
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What `count` of `unit` took from the start until now, or until they were done if that was earlier.
    pub fn stop(self, unit: &str, count: u64, elapsed: Duration) -> Outcome<Figures> {
        let (broker_cpu_s, own_cpu_s) =
            (broker_cpu_s(self.pid)? - self.broker_cpu_s, own_cpu_s() - self.own_cpu_s);
        let (count, elapsed_s) = (count as f64, elapsed.as_secs_f64());
        let mut figures = Figures::default();
        figures.put(format!("{unit}s"), count);
        figures.put("seconds", elapsed_s);
        figures.put(format!("{unit}s/s"), count / elapsed_s);
        if self.pid.is_some() {
            figures.put(format!("CPU us/{unit}"), broker_cpu_s / count * 1e6);
            figures.put("CPU %", broker_cpu_s / elapsed_s * 100.0);
        }
        figures.put(format!("own CPU us/{unit}"), own_cpu_s / count * 1e6);
        Ok(figures)
    }
}

fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// User and system time of a process, of all of its threads, to the nanosecond: some cases take less than the kernel's tick.
fn broker_cpu_s(pid: Option<u32>) -> Outcome<f64> {
    let Some(pid) = pid else { return Ok(0.0) };
    let time = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?))?.now()?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}
