//! Flags that tools for groups of consumers and for share groups take alike.

use crate::flags::Parsed;
use crate::tool::Failure;

/// What of a group is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Offsets,
    Members,
    State,
}

impl View {
    pub fn of(parsed: &Parsed) -> View {
        match () {
            () if parsed.has("--members") => View::Members,
            () if parsed.has("--state") => View::State,
            () => View::Offsets,
        }
    }
}

pub(crate) fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// Some are there for some actions only: `with`.
pub(crate) fn check_available(parsed: &Parsed, flag: &str, with: &[&str]) -> Result<(), Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    if has(flag) && !with.iter().copied().any(has) {
        return usage(format!("Option(s) [{flag}] are unavailable given other options on the command line"));
    }
    Ok(())
}

/// What those of a description don't go together with.
pub(crate) fn check_views(parsed: &Parsed) -> Result<(), Failure> {
    if ["--members", "--offsets", "--state"].into_iter().filter(|view| parsed.has(view)).count() > 1 {
        return usage("Option [describe] takes at most one of these options: [members], [offsets], [state]");
    }
    if parsed.value("--state").is_some() {
        return usage("Option [describe] does not take a value for [state]");
    }
    Ok(())
}

/// Where offsets are set to is said once.
pub(crate) fn check_positions(parsed: &Parsed, positions: &[&str]) -> Result<(), Failure> {
    positions.iter().try_for_each(|position| {
        let others: Vec<&str> = positions.iter().copied().filter(|other| other != position).collect();
        parsed.refuse_beside(position, &others)
    })
}

/// Which groups and topics are named beside what.
pub(crate) fn check_named(parsed: &Parsed) -> Result<(), Failure> {
    parsed.refuse_beside("group", &["all-groups"])?;
    parsed.refuse_beside("group", &["list"])?;
    parsed.refuse_beside("topic", &["list", "describe"])
}

/// Names of a list, as the broker writes them; `None` where the flag isn't there, none where it has no value.
pub(crate) fn chosen(
    parsed: &Parsed,
    flag: &str,
    known: &[&str],
    what: &str,
    plural: &str,
) -> Result<Option<Vec<String>>, Failure> {
    if !parsed.has(flag) {
        return Ok(None);
    }
    let list = parsed.value(flag).unwrap_or_default();
    let names = list.split(',').map(str::trim).filter(|_| !list.is_empty());
    let known_as =
        |name: &str| known.iter().find(|of| of.eq_ignore_ascii_case(name)).map(|of| (*of).to_owned());
    match names.map(known_as).collect() {
        Some(names) => Ok(Some(names)),
        None => usage(format!("Invalid {what} '{list}'. Valid {plural} are: {}", known.join(", "))),
    }
}
