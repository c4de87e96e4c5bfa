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

#[cfg(test)]
mod tests {
    use super::closest;

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
