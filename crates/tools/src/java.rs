//! Texts as Java makes them.

use ottla_client::ClientError;

macro_rules! floating {
    ($(#[$doc:meta])* $name:ident: $type:ty) => {
        $(#[$doc])*
        pub(crate) fn $name(value: $type) -> String {
            if value == 0.0 || !value.is_finite() {
                return special(value.into());
            }
            if (1e-3..1e7).contains(&value.abs()) {
                return format!("{value:?}");
            }
            with_exponent(format!("{value:e}"))
        }
    };
}

floating! {
    /// A `Double`: always with a point, and with an exponent from ten millions and below a thousandth.
    double: f64
}
floating! {
    /// A `Float`, likewise.
    float: f32
}

fn special(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN",
        v if v == f64::INFINITY => "Infinity",
        v if v == f64::NEG_INFINITY => "-Infinity",
        v if v.is_sign_negative() => "-0.0",
        _ => "0.0",
    }
    .to_owned()
}

fn with_exponent(text: String) -> String {
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
}

/// `%.{digits}f`
pub(crate) fn fixed(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { special(value) }
}

/// `String.split(",")`: nothing stands behind the last part that isn't empty, but of an empty text there is one part.
pub(crate) fn split(text: &str) -> Vec<&str> {
    match text.trim_end_matches(',') {
        "" if !text.is_empty() => Vec::new(),
        parts => parts.split(',').collect(),
    }
}

/// The simple name of the class that Java's clients throw for an error.
pub(crate) fn exception(error: &ClientError) -> String {
    let Some(code) = error.code() else { return "KafkaException".to_owned() };
    format!("{code:?}Exception")
}

/// `TopicRecord` -> `TOPIC_RECORD`.
pub(crate) fn constant_name(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_lists() {
        for (text, parts) in [
            ("", &[""][..]),
            (",", &[]),
            (",,", &[]),
            ("a", &["a"]),
            ("a,,", &["a"]),
            ("a,,b", &["a", "", "b"]),
            (",a", &["", "a"]),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }

    #[test]
    fn fixed_digits() {
        assert_eq!(fixed(1.25, 4), "1.2500");
        assert_eq!(fixed(f64::INFINITY, 2), "Infinity");
        assert_eq!(fixed(f64::NAN, 2), "NaN");
        assert_eq!(float(1e10), "1.0E10");
    }

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
