//! Texts as Java makes them.

use ottla_client::ClientError;

/// A `Double`: always with a point, and with an exponent from ten millions and below a thousandth.
pub(crate) fn double(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return match value {
            v if v.is_nan() => "NaN".to_owned(),
            v if v == f64::INFINITY => "Infinity".to_owned(),
            v if v == f64::NEG_INFINITY => "-Infinity".to_owned(),
            v if v.is_sign_negative() => "-0.0".to_owned(),
            _ => "0.0".to_owned(),
        };
    }
    if (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
}

/// The simple name of the class that Java's clients throw for an error.
pub(crate) fn exception(error: &ClientError) -> String {
    let Some(code) = error.code() else { return "KafkaException".to_owned() };
    format!("{code:?}Exception")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles() {
        for (value, text) in [
            (0.0, "0.0"),
            (1024.0, "1024.0"),
            (0.5, "0.5"),
            (9_999_999.0, "9999999.0"),
            (10_000_000.0, "1.0E7"),
            (123_456_789.0, "1.23456789E8"),
            (0.0005, "5.0E-4"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(double(value), text);
        }
    }
}
