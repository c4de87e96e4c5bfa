//! Nodes whose processes are killed, stopped and made to stand still, whose network is cut and slow, whose disks are full, and
//! which come, go and give their replicas to each other, while clients work: nothing acknowledged is missing, nothing of an
//! idempotent producer is there twice, and order is kept. How long nothing could be written meanwhile is in the report.

mod battle;
mod disks;
mod lines;
mod links;
mod load;
mod moves;
mod report;

use std::time::{Duration, Instant};

use self::battle::{Battle, Fault};

/// For how many minutes faults drawn by lot follow each other, in the longer run.
const MINUTES: &str = "OTTLA_FAULTS_MINUTES";
/// What is drawn by lot; a run prints its own.
const SEED: &str = "OTTLA_SEED";
/// Names of those kinds of faults, parted by commas, that are drawn alone.
const KINDS: &str = "OTTLA_FAULTS";

/// Enough for what clients write in some hours, and in some minutes.
const DISK_MIB: u32 = 1024;
const BRIEFLY_DISK_MIB: u32 = 96;

#[test]
fn nothing_acknowledged_is_lost_whatever_happens_to_nodes() {
    let minutes = std::env::var(MINUTES);
    let mut battle = Battle::start(if minutes.is_ok() { DISK_MIB } else { BRIEFLY_DISK_MIB });
    match minutes {
        Err(_) => {
            Fault::BRIEFLY.into_iter().for_each(|fault| battle.suffer(fault));
            battle.check_lines();
        }
        Ok(minutes) => {
            let minutes: u64 = minutes.parse().expect("a number of minutes");
            let seed = std::env::var(SEED).map(|seed| seed.parse().expect("a number"));
            let seed = seed.unwrap_or_else(|_| u64::from(std::process::id()));
            println!("{SEED}={seed}");
            let end = Instant::now() + Duration::from_secs(60 * minutes);
            let mut lots = Lots(seed);
            let kinds = std::env::var(KINDS);
            let is_drawn = |fault: &Fault| {
                let name = format!("{fault:?}");
                kinds.as_ref().map_or(true, |kinds| kinds.split(',').any(|kind| kind == name))
            };
            let drawn: Vec<Fault> = Fault::ALL.into_iter().filter(is_drawn).collect();
            while Instant::now() < end {
                battle.suffer(drawn[lots.below(drawn.len())]);
            }
        }
    }
    battle.end();
}

/// Splitmix64.
struct Lots(u64);

impl Lots {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
