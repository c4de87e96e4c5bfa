//! Names of settings, checked before anything is asked of the cluster.

use ottla_config::Table;

use crate::error::Failure;
use crate::suggest;

/// A misspelt name is found here, with the one that was meant. A name that isn't close to any is left to the cluster, which may be
/// newer.
pub fn check<'a>(table: Table, names: impl IntoIterator<Item = &'a String>) -> Result<(), Failure> {
    for name in names {
        if table.find(name).is_some() {
            continue;
        }
        let known = table.rows().iter().map(|row| row.name);
        if let Some(close) = suggest::closest(name, known) {
            return Err(Failure::usage(
                format!("there is no setting '{name}' of a {table:?}").to_lowercase(),
            )
            .hint(format!("did you mean {close}?"))
            .hint(format!("ottla config explain {close}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_found() {
        let of = |name: &str| check(Table::Topic, [&name.to_owned()]);
        assert!(of("retention.ms").is_ok());
        assert!(of("something.of.the.future").is_ok());
        let Err(Failure::Said(problem)) = of("retention.mss") else { panic!() };
        assert_eq!(
            problem.shown(),
            "error: there is no setting 'retention.mss' of a topic\n  hint: did you mean retention.ms?\n  hint: ottla config explain \
             retention.ms\n"
        );
    }
}
