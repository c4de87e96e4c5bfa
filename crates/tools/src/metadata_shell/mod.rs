//! kafka-metadata-shell: looks into the metadata of a cluster, as a snapshot or a segment of its log has it.
//!
//! The metadata are a tree that is walked as a file system is. Nothing is ever written.

mod commands;
mod glob;
mod interactive;
mod line;
mod loading;
mod ls;
#[cfg(test)]
mod tests;
mod text;
mod tree;

use crate::flags::Parsed;
use crate::segment_files::File;
use crate::tool::{Failure, Output, Run, Tool};
use commands::Shell;
use tree::Node;

pub const TOOL: Tool = Tool { name: "kafka-metadata-shell", run: Run::Flags(run) };

/// What the flags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    file: String,
    /// The command and what it takes; without one, commands are asked for.
    words: Vec<String>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        Ok(Plan {
            file: parsed.value("--snapshot").unwrap_or_default().to_owned(),
            words: parsed.values("command").to_vec(),
        })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    let file = File::named(&plan.file);
    loading::check_unused(&file)?;
    if !plan.words.is_empty() {
        let image = loading::load(&file)?;
        return Shell::new(Node::root(&image), None).run(&plan.words, output);
    }
    output.line("Loading...")?;
    output.out.flush()?;
    let image = loading::load(&file)?;
    output.line("Starting...")?;
    interactive::run(Node::root(&image), output)
}
