//! What this process spends, from /proc.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::options::Options;

const TICKS_PER_S: f64 = 100.0; // USER_HZ of Linux

/// A moment from which the cost is counted.
pub struct Meter {
    began: Instant,
    cpu_s: f64,
}

pub struct Figures {
    took: Duration,
    cpu_s: f64,
    memory_max_kb: u64,
    /// How late each acknowledgement came after the moment at which its record was due.
    pub latencies: Vec<Duration>,
}

impl Meter {
    pub fn start() -> Result<Meter, Box<dyn Error + Send + Sync>> {
        Ok(Meter { began: Instant::now(), cpu_s: cpu_s()? })
    }

    pub fn began(&self) -> Instant {
        self.began
    }

    pub fn stop(self) -> Result<Figures, Box<dyn Error + Send + Sync>> {
        let took = self.began.elapsed();
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let memory_max_kb = line.trim().trim_end_matches(" kB").parse()?;
        Ok(Figures { took, cpu_s: cpu_s()? - self.cpu_s, memory_max_kb, latencies: Vec::new() })
    }
}

/// Seconds of all threads, in the program and in the kernel.
fn cpu_s() -> Result<f64, Box<dyn Error + Send + Sync>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name in /proc/self/stat")?;
    let ticks: Result<Vec<f64>, _> = fields.split(' ').skip(11).take(2).map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / TICKS_PER_S)
}

impl Figures {
    pub fn json(mut self, options: &Options) -> serde_json::Value {
        let records = options.records as f64;
        let mut figures = json!({
            "records/s": records / self.took.as_secs_f64(),
            "CPU us/record": self.cpu_s * 1e6 / records,
            "RSS MB": self.memory_max_kb as f64 / 1024.0,
        });
        self.latencies.sort_unstable();
        for (name, part) in [("p50 ms", 0.5), ("p99 ms", 0.99)] {
            let place = (self.latencies.len() as f64 * part) as usize;
            if let Some(latency) = self.latencies.get(place) {
                figures[name] = json!(latency.as_secs_f64() * 1e3);
            }
        }
        figures
    }
}
