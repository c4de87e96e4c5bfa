//! A client whose connection is gone several times in a row, each time while something is on its way: what it has given up
//! arrives when it has long gone on under its next epoch.

use ottla_types::MonoMs;

use super::ClusterSimulation;

const TIMES: u32 = 4;
const WITHIN_MS: u64 = 3_000;

#[derive(Debug)]
pub(super) struct Flapping {
    actor: usize,
    left: u32,
    until: MonoMs,
}

impl ClusterSimulation {
    /// Those who write without transactions are meant: they take their next epoch themselves.
    pub(super) fn begin_to_flap(&mut self, choice: u64) {
        let names =
            self.actors.iter_mut().map(|actor| actor.ways().first().map(|(link, _)| link.name().to_owned()));
        let names: Vec<String> = names.map(Option::unwrap_or_default).collect();
        let producers: Vec<usize> = (0..names.len()).filter(|i| names[*i].starts_with("producer")).collect();
        if self.flapping.is_none() {
            let actor = producers[choice as usize % producers.len()];
            self.flapping = Some(Flapping { actor, left: TIMES, until: self.until(WITHIN_MS) });
        }
    }

    pub(super) fn flap(&mut self) {
        let Some(mut flapping) = self.flapping.take().filter(|flapping| flapping.until > self.now.mono)
        else {
            return;
        };
        let ways = self.actors[flapping.actor].ways();
        if ways.first().is_some_and(|(link, _)| link.is_sending()) {
            self.cut_client(flapping.actor, true);
            self.count("connections lost again and again", 1);
            flapping.left -= 1;
        }
        self.flapping = Some(flapping).filter(|flapping| flapping.left > 0);
    }
}
