//! Where reading begins without a position.

use crate::duration::parse_iso_duration_ms;

/// A value of `auto.offset.reset` or `share.auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetResetStrategy {
    Earliest,
    Latest,
    /// Nowhere: that is an error.
    None,
    /// At the first record that is at most so many milliseconds old (KIP-1106); never negative.
    ByDuration(i64),
}

impl OffsetResetStrategy {
    /// The words as they are; `by_duration:` and what follows it in any case. That is how Apache Kafka reads them.
    pub fn parse(text: &str) -> Option<OffsetResetStrategy> {
        const BY_DURATION: &str = "by_duration:";
        match text {
            "earliest" => return Some(OffsetResetStrategy::Earliest),
            "latest" => return Some(OffsetResetStrategy::Latest),
            "none" => return Some(OffsetResetStrategy::None),
            _ => {}
        }
        let (word, duration) = text.split_at_checked(BY_DURATION.len())?;
        let ms = parse_iso_duration_ms(duration).filter(|ms| *ms >= 0)?;
        word.eq_ignore_ascii_case(BY_DURATION).then_some(OffsetResetStrategy::ByDuration(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies() {
        use OffsetResetStrategy as S;
        for (text, expected) in [
            ("earliest", Some(S::Earliest)),
            ("latest", Some(S::Latest)),
            ("none", Some(S::None)),
            ("by_duration:PT1H30M", Some(S::ByDuration(5_400_000))),
            ("BY_DURATION:pt1h", Some(S::ByDuration(3_600_000))),
            ("by_duration:PT0S", Some(S::ByDuration(0))),
            ("EARLIEST", None),
            ("Latest", None),
            ("by_duration", None),
            ("by_duration:", None),
            ("by_duration:1H", None),
            ("by_duration:-PT1S", None),
            ("sometime", None),
            ("by_durationä:PT1S", None),
        ] {
            assert_eq!(S::parse(text), expected, "{text}");
        }
    }
}
