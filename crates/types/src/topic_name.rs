//! What a topic may be called.

/// In UTF-16 units, as Kafka counts: the name is part of a directory's.
const LEN_MAX: usize = 249;

/// Letters, digits, `.`, `_` and `-`, at most 249 of them, and not `.` or `..`.
pub fn is_valid(name: &str) -> bool {
    check(name).is_ok()
}

/// As [`is_valid`]; says why not in the words that clients of Kafka know.
pub fn check(name: &str) -> Result<(), String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.encode_utf16().count() > LEN_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {LEN_MAX}")
        }
        _ if !name.chars().all(is_legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_kafkas_form() {
        for fine in ["a", "A-1_b.c", "...", &"x".repeat(LEN_MAX)] {
            assert!(is_valid(fine), "{fine}");
        }
        for wrong in ["", ".", "..", "a/b", "ä", "a b", &"x".repeat(LEN_MAX + 1)] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_kafkas_words() {
        for (name, why) in [
            ("", "Topic name is invalid: the empty string is not allowed"),
            (".", "Topic name is invalid: '.' is not allowed"),
            ("..", "Topic name is invalid: '..' is not allowed"),
            (
                "a/b",
                "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
        ] {
            assert_eq!(check(name), Err(why.to_owned()));
        }
    }
}
