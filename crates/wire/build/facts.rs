//! Rust for the tables of facts: API keys and error codes; and lists of messages and records for macros.

use std::fmt::Write as _;

use crate::names;
use crate::schema::{Message, Versions, rows};

/// `ApiKey` and its facts.
pub fn apis(table: &str) -> String {
    let rows = rows(table);
    let mut out = String::from(
        "/// What a request asks for. The number is the wire's.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {\n",
    );
    for row in &rows {
        let _ = writeln!(out, "    {} = {},", row.get("name"), row.get("key"));
    }
    let _ = writeln!(out, "}}\n\npub(crate) static FACTS: [ApiFacts; {}] = [", rows.len());
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.get("key"), index.to_string(), "API keys have no gaps");
        let name = row.get("name");
        let schema = versions(row.get("schema_versions"));
        let since = match row.get("flexible_since").trim_end_matches(" (all)") {
            "none" | "-" => "None".to_owned(),
            since => format!("Some({since})"),
        };
        let listener = |listener: &str| row.get("listeners").split(',').any(|l| l == listener);
        let _ = writeln!(
            out,
            "    ApiFacts {{ key: ApiKey::{name}, name: \"{name}\", broker_versions: {}, controller_versions: {}, \
             schema_versions: {schema}, flexible_since: {since}, on_broker: {}, on_controller: {}, \
             is_latest_unstable: {}, is_forwarded: {}, is_cluster_action: {} }},",
            versions(row.get("broker_advertises")),
            versions(row.get("controller_advertises")),
            listener("broker"),
            listener("controller"),
            row.get("latest_version_unstable"),
            row.get("forwarded_to_controller"),
            row.get("cluster_action"),
        );
    }
    out + "];\n"
}

fn versions(text: &str) -> String {
    match Versions::parse(text) {
        Some(v) => format!("Some(VersionRange::new({}, {}))", v.low, v.high),
        None => "None".to_owned(),
    }
}

/// `ErrorCode` and its facts.
pub fn errors(table: &str) -> String {
    let rows = rows(table);
    let mut out = String::from(
        "/// What went wrong, as responses say it. The number is the wire's.\n\
         #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(i16)]\npub enum ErrorCode {\n",
    );
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.get("code"), (index as i32 - 1).to_string(), "error codes have no gaps");
        let default = if row.get("code") == "0" { "    #[default]\n" } else { "" };
        let _ = writeln!(
            out,
            "    /// {}.\n{default}    {} = {},",
            row.get("description"),
            names::camel(row.get("name")),
            row.get("code")
        );
    }
    let _ = writeln!(out, "}}\n\npub(crate) static FACTS: [ErrorFacts; {}] = [", rows.len());
    for row in &rows {
        let _ = writeln!(
            out,
            "    ErrorFacts {{ code: ErrorCode::{}, name: \"{}\", is_retriable: {}, is_invalid_metadata: {}, \
             description: {:?} }},",
            names::camel(row.get("name")),
            row.get("name"),
            row.get("retriable"),
            row.get("invalid_metadata"),
            row.get("description"),
        );
    }
    out + "];\n"
}

/// Implementations of `Request` and `Response`, and the macro `for_each_api!`. `messages` holds for each key its request
/// and its response.
pub fn requests(messages: &[Message], apis: &str) -> String {
    let rows = rows(apis);
    let mut out = String::new();
    let mut list = String::new();
    for message in messages {
        let Some(base) = message.name.strip_suffix("Request") else { continue };
        let key = &message.facts[0];
        let api = rows.iter().find(|row| row.get("key") == key).map(|row| row.get("name")).unwrap_or(base);
        let response = format!("{base}Response");
        let answer = messages.iter().find(|m| m.name == response);
        assert_eq!(answer.map(|m| &m.facts[0]), Some(key), "{} has no response", message.name);
        let _ = writeln!(
            out,
            "impl crate::Request for {request} {{\n    type Response = {response};\n    \
             const API_KEY: ApiKey = ApiKey::{api};\n}}\n\
             impl crate::Response for {response} {{\n    const API_KEY: ApiKey = ApiKey::{api};\n}}",
            request = message.name
        );
        let _ = writeln!(list, "            ({api}, {}, {response})", message.name);
    }
    let _ = writeln!(
        out,
        "/// Calls a macro with `(ApiKey's variant, request, response)` for each API that has messages. The types are\n\
         /// names without paths, as in `ottla_wire::messages`.\n\
         #[macro_export]\nmacro_rules! for_each_api {{\n    ($callback:ident) => {{\n        $callback! {{\n{list}        \
         }}\n    }};\n}}"
    );
    out
}

/// Modules' types at the level of `messages` or `records`.
pub fn reexports(messages: &[Message]) -> String {
    messages.iter().fold(String::new(), |mut out, message| {
        let _ = writeln!(out, "pub use {}::{};", names::snake(&message.name), message.name);
        out
    })
}

/// The macro `for_each_record!`.
pub fn record_list(records: &[Message]) -> String {
    let mut out = String::from(
        "/// Calls a macro with the names of all stored records, without paths, as in `ottla_wire::records`.\n\
         #[macro_export]\nmacro_rules! for_each_record {\n    ($callback:ident) => {\n        $callback! {\n",
    );
    for record in records {
        let _ = writeln!(out, "            {}", record.name);
    }
    out + "        }\n    };\n}\n"
}
