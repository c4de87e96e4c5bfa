//! What `--check-config` prints.

use std::fmt::Write as _;

use crate::config::Config;
use crate::table::{BROKER, Row, Scope, Table};
use crate::value::Password;

impl Config {
    /// A value as it may be printed: that of a row, or the text that somebody set for a key without one. Passwords, and
    /// values of keys that no table knows and that may hold one, are hidden.
    pub fn shown(&self, name: &str) -> String {
        match Table::Broker.find(name) {
            Some(row) => self.value(row).map_or_else(|| "null".to_owned(), ToString::to_string),
            None if may_hold_a_secret(name) => Password::HIDDEN.to_owned(),
            None => self.setting(name).map_or_else(|| "null".to_owned(), |setting| setting.text.clone()),
        }
    }
}

/// Judged by the key behind a prefix such as `listener.name.external.`, or by what secrets are commonly called.
fn may_hold_a_secret(name: &str) -> bool {
    let behind_a_prefix = |row: &Row| {
        name.strip_suffix(row.name).is_some_and(|prefix| prefix.ends_with('.')) && row.is_sensitive()
    };
    let lower = name.to_ascii_lowercase();
    BROKER.iter().any(behind_a_prefix)
        || ["password", "secret", "passphrase", "credential", "jaas", "token", "private"]
            .iter()
            .any(|word| lower.contains(word))
}

/// Each effective value with its source: one line a key, sources aligned, keys in order.
pub fn check_report(config: &Config) -> String {
    let rows = BROKER.iter().filter(|row| row.scope != Scope::DynamicOnly);
    let shown = rows.filter(|row| !row.internal || config.is_set(row.name)).map(|row| row.name);
    let without_row =
        config.settings().map(|(name, _)| name).filter(|name| Table::Broker.find(name).is_none());
    let mut names: Vec<&str> = shown.chain(without_row).collect();
    names.sort_unstable();

    let lines: Vec<(String, String)> = names
        .into_iter()
        .map(|name| (format!("{name}={}", config.shown(name)), config.source(name).to_string()))
        .collect();
    let width =
        lines.iter().map(|(left, _)| left.chars().count()).filter(|w| *w <= WIDTH_MAX).max().unwrap_or(0);
    let mut report = String::new();
    for (left, source) in lines {
        // Writing to a string doesn't fail.
        let _ = writeln!(report, "{left:width$}  # {source}");
    }
    report
}

/// Longer lines don't move the sources of the others.
const WIDTH_MAX: usize = 80;

#[cfg(test)]
mod tests;
