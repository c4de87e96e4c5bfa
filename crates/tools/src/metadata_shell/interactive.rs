//! The shell where commands are asked for, one after the other.

use std::io::{self, IsTerminal};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{CompletionType, Config, Context, Editor, Helper, Highlighter, Hinter, Validator};

use super::commands::{Session, Shell};
use super::line;
use super::tree::Node;
use crate::tool::{Failure, Output, said};

const PROMPT: &str = ">> ";

pub(super) fn run(root: Node<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    output.line("[ Kafka Metadata Shell ]")?;
    let shell = Shell::new(root, Some(Session::default()));
    let mut editor = editor(shell).map_err(|error| said(format_args!("can't read commands: {error}")))?;
    loop {
        // Of what is no terminal the editor reads in silence.
        if !io::stdin().is_terminal() {
            write!(output.out, "{PROMPT}")?;
        }
        output.out.flush()?;
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            // Whoever takes back a line goes on with another.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(said(format_args!("can't read commands: {error}"))),
        };
        let width = editor.dimensions().map_or(0, |(width, _)| usize::from(width));
        let Some(Typing(shell)) = editor.helper_mut() else { return Ok(()) };
        if let Some(session) = shell.session.as_mut().filter(|_| !line.trim().is_empty()) {
            session.width = width;
            session.history.push(line.clone());
        }
        shell.run(&line::words(&line), output)?;
        if shell.session.as_ref().is_some_and(|session| session.has_ended) {
            return Ok(());
        }
        // For the keys that go back to former lines; the shell's own history is what counts.
        let _ = editor.add_history_entry(line);
    }
}

fn editor(shell: Shell<'_>) -> rustyline::Result<Editor<Typing<'_>, MemHistory>> {
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor = Editor::with_history(config, MemHistory::new())?;
    editor.set_helper(Some(Typing(shell)));
    Ok(editor)
}

/// What the editor asks while a line is typed.
#[derive(Helper, Hinter, Highlighter, Validator)]
struct Typing<'a>(Shell<'a>);

impl Completer for Typing<'_> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(line::completions(&self.0, line.get(..position).unwrap_or(line)))
    }
}
