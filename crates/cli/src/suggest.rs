//! "Did you mean": names close to one that isn't there.

/// The name that was probably meant: misspelt, in other case, or begun.
pub fn closest<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if let Some(same) = names.clone().find(|other| other.eq_ignore_ascii_case(name)) {
        return Some(same);
    }
    if let Some(close) = ottla_config::closest(name, names.clone()) {
        return Some(close);
    }
    let mut begun =
        names.filter(|other| name.len() >= 3 && (other.starts_with(name) || name.starts_with(other)));
    let first = begun.next()?;
    // Several would be a guess.
    begun.next().is_none().then_some(first)
}

/// The names that begin so, if these are few enough to choose from.
pub fn begun<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let begun: Vec<&str> = names.filter(|other| name.len() >= 3 && other.starts_with(name)).collect();
    if begun.len() <= CHOICES_MAX { begun } else { Vec::new() }
}

const CHOICES_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::{begun, closest};

    #[test]
    fn names_to_choose_from() {
        let names = ["orders", "orders-dlq", "payments", "a-1", "a-2", "a-3", "a-4", "a-5", "a-6"];
        for (name, expected) in
            [("ord", vec!["orders", "orders-dlq"]), ("or", vec![]), ("a-", vec![]), ("x", vec![])]
        {
            assert_eq!(begun(name, names.iter().copied()), expected, "{name}");
        }
    }

    #[test]
    fn names_that_were_meant() {
        let names = ["orders", "orders-dlq", "payments", "Shipping"];
        for (name, expected) in [
            ("ordres", Some("orders")),
            ("shipping", Some("Shipping")),
            ("pay", Some("payments")),
            ("payments-v2", Some("payments")),
            ("customers", None),
            ("x", None),
        ] {
            assert_eq!(closest(name, names.iter().copied()), expected, "{name}");
        }
    }
}
