//! Many clients who do the same again and again, as fast as they are answered or at a rate.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Outcome;
use crate::figures::{Figures, Watch};

/// What one client does at its turn.
pub trait Act {
    async fn act(&mut self) -> Outcome<()>;
}

/// How often, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub seconds: Duration,
    /// Of all clients together, a second; 0: as fast as they are answered.
    pub rate: f64,
    pub pid: Option<u32>,
}

impl Pace {
    /// Lets all act until the time is over.
    pub async fn run<A: Act + 'static>(self, unit: &str, clients: Vec<A>) -> Outcome<Figures> {
        let between =
            Duration::from_secs_f64(if self.rate > 0.0 { clients.len() as f64 / self.rate } else { 0.0 });
        let count = clients.len();
        let watch = Watch::start(self.pid)?;
        let started = Instant::now();
        let end = started + self.seconds;
        let mut running = JoinSet::new();
        for (number, client) in clients.into_iter().enumerate() {
            // Spread over the time between two turns of one client.
            let first = started + between.mul_f64(number as f64 / count as f64);
            running.spawn_local(repeat(client, first, between, end));
        }
        let mut times = Vec::new();
        while let Some(ended) = running.join_next().await {
            times.extend(ended??);
        }
        let elapsed = watch.elapsed();
        let mut figures = watch.stop(unit, times.len() as u64, elapsed)?;
        figures.put_times("", &mut times);
        Ok(figures)
    }
}

/// How long each turn took. One that could not begin in time, since the last was not over, counts from when it should
/// have begun.
async fn repeat<A: Act>(
    mut client: A,
    first: Instant,
    between: Duration,
    end: Instant,
) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    let mut planned = first;
    let mut free_since = first;
    loop {
        let is_late = free_since > planned;
        if planned.max(free_since) >= end {
            return Ok(times);
        }
        if !between.is_zero() && !is_late {
            tokio::time::sleep_until(planned.into()).await;
        }
        let began = if is_late && !between.is_zero() { planned } else { Instant::now() };
        client.act().await?;
        free_since = Instant::now();
        times.push(free_since - began);
        planned += between;
    }
}
