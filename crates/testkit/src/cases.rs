use proptest::test_runner::Config;

/// Multiplies the cases of every property: for a run that takes hours instead of seconds.
const FACTOR: &str = "OTTLA_FUZZ";

/// A property is tested with so many cases, times `OTTLA_FUZZ` if that is set. Seeds that fail are kept in the package's
/// `proptest-regressions` and tried first from then on.
pub fn cases(cases: u32) -> Config {
    let factor = std::env::var(FACTOR).map_or(1, |text| text.parse().expect("OTTLA_FUZZ is a number"));
    Config::with_cases(cases.saturating_mul(factor))
}
