//! Generates messages, stored records, API keys and error codes from the tables under `schema/`.

#![allow(clippy::panic, reason = "a build script fails by it")]

use std::path::PathBuf;
use std::{env, fs};

#[path = "build/codegen.rs"]
mod codegen;
#[path = "build/facts.rs"]
mod facts;
#[path = "build/names.rs"]
mod names;
#[path = "build/schema.rs"]
mod schema;
#[path = "build/stored.rs"]
mod stored;

fn main() {
    for table in ["rpc", "records", "apis", "errors"] {
        println!("cargo::rerun-if-changed=schema/{table}.tsv");
    }
    println!("cargo::rerun-if-changed=build");
    let read = |name: &str| {
        fs::read_to_string(format!("schema/{name}")).unwrap_or_else(|e| panic!("schema/{name}: {e}"))
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let write =
        |name: &str, text: String| fs::write(out.join(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));

    let (rpc, records) = (read("rpc.tsv"), read("records.tsv"));
    let (apis, errors) = (read("apis.tsv"), read("errors.tsv"));
    let messages = schema::messages(&rpc, "message", &["api_key"]);
    let records = schema::messages(&records, "record", &["stored_in", "kind", "type_id"]);
    let modules = |messages: &[schema::Message], with_json: bool| {
        messages.iter().map(|message| codegen::module(message, with_json)).collect::<String>()
    };

    write(
        "messages.rs",
        facts::reexports(&messages) + &facts::requests(&messages, &apis) + &modules(&messages, false),
    );
    write(
        "records.rs",
        facts::reexports(&records) + &facts::record_list(&records) + &modules(&records, true),
    );
    write("metadata_records.rs", stored::metadata(&records));
    write("coordinator_records.rs", stored::coordinators(&records));
    write("api_key.rs", facts::apis(&apis));
    write("error_code.rs", facts::errors(&errors));
}
