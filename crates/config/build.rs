//! Turns `tables/*.tsv` into Rust: a static table of rows for each file, and a typed key constant for each row, so that
//! a misspelt key or a wrong type is a compile error where it is used.

// A table that can't be read stops the build, as it should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::{env, fs, path::Path};

/// One line of a table, its cells found by the header's names.
struct Line<'a> {
    header: &'a [&'a str],
    cells: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn get(&self, column: &str) -> &'a str {
        let at = self.header.iter().position(|name| *name == column);
        at.and_then(|at| self.cells.get(at)).copied().unwrap_or("")
    }
}

fn main() {
    println!("cargo::rerun-if-changed=tables");
    let mut out = String::new();
    for (file, keys) in
        [("broker", "keys"), ("topic", "topic_keys"), ("group", "group_keys"), ("entity", "entity_keys")]
    {
        let path = format!("tables/{file}.tsv");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        table(&mut out, file, keys, &text);
    }
    let target = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&target).join("tables.rs"), out).expect("the build directory is writable");
}

fn table(out: &mut String, file: &str, keys: &str, text: &str) {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header row").split('\t').collect();
    let rows: Vec<Line<'_>> =
        lines.map(|line| Line { header: &header, cells: line.split('\t').collect() }).collect();
    for pair in rows.windows(2) {
        let (a, b) = (pair[0].get("name"), pair[1].get("name"));
        assert!(a < b, "tables/{file}.tsv: {b} must not follow {a}: rows are sorted and unique");
    }

    let table = file.to_uppercase();
    writeln!(out, "/// The rows of `tables/{file}.tsv`, sorted by name.").unwrap();
    writeln!(out, "pub static {table}: [Row; {}] = [", rows.len()).unwrap();
    for (index, row) in rows.iter().enumerate() {
        writeln!(out, "    {},", row_literal(file, index, row)).unwrap();
    }
    writeln!(out, "];\n").unwrap();

    writeln!(out, "/// Typed keys of `tables/{file}.tsv`.\npub mod {keys} {{\n    use super::*;").unwrap();
    for (index, row) in rows.iter().enumerate() {
        let (name, doc) = (row.get("name"), row.get("doc"));
        let default = row.get("default");
        writeln!(
            out,
            "    /// `{name}`{}{doc} Default: `{default}`.",
            if doc.is_empty() { "." } else { ": " }
        )
        .unwrap();
        let constant = name.to_uppercase().replace(['.', '-'], "_");
        writeln!(
            out,
            "    pub const {constant}: Key<{}> = Key::of(&super::{table}[{index}]);",
            rust_type(row.get("type"), default)
        )
        .unwrap();
    }
    writeln!(out, "}}\n").unwrap();
}

fn rust_type(kind: &str, default: &str) -> String {
    let plain = match kind {
        "boolean" => "bool",
        "int" => "i32",
        "short" => "i16",
        "long" => "i64",
        "double" => "f64",
        "string" | "class" => "String",
        "list" => "Vec<String>",
        "password" => "Password",
        other => panic!("no such type: {other}"),
    };
    if default == "null" { format!("Option<{plain}>") } else { plain.to_owned() }
}

fn row_literal(file: &str, index: usize, row: &Line<'_>) -> String {
    let default = match row.get("default") {
        "(required)" => "DefaultValue::Required".to_owned(),
        "null" => "DefaultValue::Null".to_owned(),
        "\"\"" => "DefaultValue::Text(\"\")".to_owned(),
        text => format!("DefaultValue::Text({text:?})"),
    };
    format!(
        "Row {{ table: Table::{}, index: {index}, name: {:?}, scope: Scope::{}, kind: Type::{}, default: {default}, \
         validator: {}, importance: Importance::{}, internal: {}, update_mode: UpdateMode::{}, acted_on: {}, \
         neglect: Neglect::{}, synonyms: &[{}], lower_bound: {}, upper_bound: {}, doc: {:?} }}",
        camel(file),
        row.get("name"),
        scope(file, row),
        camel(row.get("type")),
        validator(row.get("type"), row.get("validator")),
        camel(row.get("importance")),
        row.get("internal"),
        camel(if row.get("update_mode").is_empty() { "cluster-wide" } else { row.get("update_mode") }),
        row.get("acted_on"),
        camel(if row.get("neglect").is_empty() { "harmless" } else { row.get("neglect") }),
        row.get("synonyms").split(", ").filter(|s| !s.is_empty()).map(synonym).collect::<Vec<_>>().join(", "),
        option(row.get("lower_bound")),
        option(row.get("upper_bound")),
        row.get("doc"),
    )
}

fn scope(file: &str, row: &Line<'_>) -> String {
    let scope = row.get("scope");
    camel(if scope.is_empty() { file } else { scope })
}

/// `log.roll.hours x3600000`: the key, and what one of its units is in the synonym's.
fn synonym(text: &str) -> String {
    let (name, factor) = text.split_once(" x").unwrap_or((text, "1"));
    format!("Synonym {{ name: {name:?}, factor: {factor} }}")
}

fn option(text: &str) -> String {
    if text.is_empty() { "None".to_owned() } else { format!("Some({text:?})") }
}

fn validator(kind: &str, text: &str) -> String {
    let name = match text {
        "" => "Any",
        "non-empty string" => "NonEmptyString",
        "non-null string" => "NonNullString",
        "quorum voters" => "QuorumVoters",
        "bootstrap servers" => "BootstrapServers",
        "throttled replicas" => "ThrottledReplicas",
        "offset reset strategy" => "OffsetResetStrategy",
        "[1,...,9] or -1" => "GzipLevel",
        _ => "",
    };
    if !name.is_empty() {
        return format!("Validator::{name}");
    }
    if let Some(rest) = text.strip_prefix("unique") {
        let empty_allowed = !rest.contains("non-empty");
        let rest = rest.trim_start_matches(" non-empty").trim_start();
        return format!("Validator::UniqueList {{ empty_allowed: {empty_allowed}, of: {} }}", words(rest));
    }
    if let Some(rest) = text.strip_prefix("(case insensitive) ") {
        return format!("Validator::OneOfIgnoringCase({})", words(rest));
    }
    if text.contains("...") {
        return range(text);
    }
    assert!(kind == "string" && text.starts_with('['), "no such validator: {text}");
    format!("Validator::OneOf({})", words(text))
}

fn words(list: &str) -> String {
    let inner = list.trim_start_matches('[').trim_end_matches(']');
    let words: Vec<String> = inner.split(", ").filter(|w| !w.is_empty()).map(|w| format!("{w:?}")).collect();
    format!("&[{}]", words.join(", "))
}

fn range(text: &str) -> String {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    let mut bounds = inner.split("...").map(|bound| match bound.trim_matches(',') {
        "" => "None".to_owned(),
        bound => format!("Some({:?})", bound.parse::<f64>().expect("a number")),
    });
    let min = bounds.next().expect("a lower bound");
    let max = bounds.next().expect("an upper bound, or nothing");
    format!("Validator::Range {{ min: {min}, max: {max} }}")
}

/// `read-only` -> `ReadOnly`, `user/client-id` -> `UserClientId`.
fn camel(text: &str) -> String {
    text.split(['-', '/']).map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
