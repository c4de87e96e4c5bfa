//! How to mend what an error code says, for those who use the cluster. One line a code, in `remedies.tsv`.

use ottla_client::wire::ErrorCode;

const TABLE: &str = include_str!("remedies.tsv");

/// `None` where there is nothing to say beyond the description.
pub fn of(code: ErrorCode) -> Option<&'static str> {
    TABLE
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(name, _)| *name == code.name())
        .map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_of_a_code_and_none_twice() {
        let names: Vec<&str> =
            TABLE.lines().map(|line| line.split_once('\t').expect("a name and a text").0).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(ErrorCode::all().any(|code| code.name() == *name), "{name}");
            assert!(!names[..at].contains(name), "{name} twice");
        }
    }

    #[test]
    fn every_error_has_a_remedy() {
        let without: Vec<&str> = ErrorCode::all()
            .filter(|code| code.is_error() && of(*code).is_none())
            .map(ErrorCode::name)
            .collect();
        assert_eq!(without, Vec::<&str>::new());
    }
}
