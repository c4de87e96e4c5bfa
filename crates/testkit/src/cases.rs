use proptest::test_runner::{Config, RngSeed};

/// Multiplies the cases of every property: for a run that takes hours instead of seconds.
const FACTOR: &str = "OTTLA_FUZZ";

/// A property is tested with so many cases, and they are the same ones each time, so that a run is not red by chance. With
/// `OTTLA_FUZZ` they are that many times as many, and others each time. Seeds that fail are kept in the package's
/// `proptest-regressions` and tried first from then on.
pub fn cases(cases: u32) -> Config {
    match std::env::var(FACTOR) {
        Ok(factor) => {
            let factor = factor.parse().expect("OTTLA_FUZZ is a number");
            Config::with_cases(cases.saturating_mul(factor))
        }
        Err(_) => Config { rng_seed: RngSeed::Fixed(4_312_026), ..Config::with_cases(cases) },
    }
}
