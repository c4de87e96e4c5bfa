//! Where the node's random numbers come from: one generator, seeded from outside, so that a run can be repeated.

use std::fmt;

use ottla_types::Uuid;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A source of ids. Nobody can guess them who does not know the seed.
pub struct Ids(Mutex<StdRng>);

impl Ids {
    pub fn from_seed(seed: [u8; 32]) -> Ids {
        Ids(Mutex::new(StdRng::from_seed(seed)))
    }

    pub fn next_u64(&self) -> u64 {
        self.0.lock().random()
    }

    pub fn next_u128(&self) -> u128 {
        self.0.lock().random()
    }

    /// A random uuid (version 4) that does not begin with a dash, which tools would take for a flag.
    pub fn uuid(&self) -> Uuid {
        loop {
            let bits = self.next_u128() & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
            let id = Uuid(bits.to_be_bytes());
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}
