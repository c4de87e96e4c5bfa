//! What a tool is, and how one is run: flags, help and version are the same for all.

use std::fmt::Display;
use std::io::{self, Write};

use crate::flags::{self, Grammar, Misuse, Parsed, Style};

/// A tool's exit code for everything that went wrong.
pub const FAILED: u8 = 1;

/// Where a tool writes to.
pub struct Output<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
}

impl Output<'_> {
    /// A line of the result.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// A line for whoever watches.
    pub fn tell(&mut self, text: impl Display) -> Result<(), Failure> {
        // What was printed so far belongs before it, where both go to one place.
        self.out.flush()?;
        Ok(writeln!(self.err, "{text}")?)
    }
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

/// Why a tool ends with something else than 0.
#[derive(Debug)]
pub enum Failure {
    /// The flags don't go together: the text, and help.
    Usage(String),
    /// The text.
    Said(String),
    /// Everything is said.
    Silent,
    /// Everything is said, and the tool was ended from outside: the exit code.
    Ended(u8),
    /// What was to be printed could not be.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// A text that a tool ends with.
pub fn said(text: impl Display) -> Failure {
    Failure::Said(text.to_string())
}

/// One tool. Its flags are in the table, by its name.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    pub name: &'static str,
    pub run: Run,
}

/// What a tool is given.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    Flags(fn(&Parsed, &mut Output<'_>) -> Result<(), Failure>),
    /// The words as they are: scripts of Kafka's read their few by themselves.
    Words(fn(&[String], &mut Output<'_>) -> Result<(), Failure>),
}

/// The tools that there are.
#[derive(Debug)]
pub struct Toolbox(Vec<Tool>);

impl Toolbox {
    /// This crate's tools and those of whoever has more.
    pub fn with(others: &[Tool]) -> Toolbox {
        let mut tools: Vec<Tool> = crate::TOOLS.iter().chain(others).copied().collect();
        tools.sort_by_key(|tool| tool.name);
        Toolbox(tools)
    }

    pub fn tools(&self) -> &[Tool] {
        &self.0
    }

    /// By the name that Kafka gives it, with or without `.sh`.
    pub fn find(&self, name: &str) -> Option<&Tool> {
        let name = name.strip_suffix(".sh").unwrap_or(name);
        self.0.iter().find(|tool| tool.name == name)
    }

    /// What a tool is for, in a line.
    pub fn about(tool: &Tool) -> &'static str {
        Grammar::of(tool.name).map(|grammar| about(&grammar, None)).unwrap_or_default()
    }
}

impl Tool {
    /// Reads the command line, without the tool's name, and does what it says; returns the exit code.
    pub fn main(&self, args: &[String], output: &mut Output<'_>) -> u8 {
        let Some(grammar) = Grammar::of(self.name) else { return FAILED };
        let done = match self.run {
            Run::Words(run) => run(args, output),
            Run::Flags(_) if args.is_empty() && grammar.helps_by_itself() => {
                show_help(&grammar, None, output)
            }
            Run::Flags(run) => match flags::parse(&grammar, args) {
                Ok(parsed) => help_or_run(&grammar, &parsed, run, output),
                Err(misuse) => refuse(&grammar, &misuse, output),
            },
        };
        let flushed = done.and_then(|()| Ok(output.out.flush()?));
        match flushed {
            Ok(()) => 0,
            // Whoever reads has read enough.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Err(failure) => {
                // Where standard error is gone, nobody is left to tell.
                let _ = output.out.flush();
                let _ = explain(&grammar, &failure, output.err);
                match failure {
                    Failure::Ended(code) => code,
                    _ => FAILED,
                }
            }
        }
    }
}

fn help_or_run(
    grammar: &Grammar,
    parsed: &Parsed,
    run: fn(&Parsed, &mut Output<'_>) -> Result<(), Failure>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let asks_for_help = parsed.has("--help");
    match grammar.style {
        Style::Options if parsed.is_empty() || asks_for_help => {
            Err(Failure::Usage(about(grammar, None).to_owned()))
        }
        Style::Commands if asks_for_help => show_help(grammar, parsed.command(), output),
        _ if parsed.has("--version") => output.line(VERSION),
        _ => run(parsed, output).map_err(|failure| match (failure, parsed.hint_for_ignored(grammar)) {
            (Failure::Usage(text), Some(hint)) => Failure::Usage(format!("{text}\n{hint}")),
            (failure, _) => failure,
        }),
    }
}

fn show_help(grammar: &Grammar, command: Option<&str>, output: &mut Output<'_>) -> Result<(), Failure> {
    Ok(write!(output.out, "{}", flags::commands_help(grammar, command, about(grammar, command)))?)
}

/// Of Kafka, since whoever asks wants to know what the tool understands.
pub(crate) const VERSION: &str = "4.3.1";

fn about(grammar: &Grammar, command: Option<&str>) -> &'static str {
    let flags = match command.and_then(|command| grammar.command(command)) {
        Some((_, flags)) => flags,
        None => &grammar.flags,
    };
    flags.iter().find(|flag| flag.name() == "--help").map(|flag| flag.help).unwrap_or_default()
}

fn refuse(grammar: &Grammar, misuse: &Misuse, output: &mut Output<'_>) -> Result<(), Failure> {
    match grammar.style {
        Style::Options => output.tell(&misuse.text)?,
        // This one has a way of its own.
        Style::Commands if grammar.tool == "kafka-features" => {
            output.tell(format_args!("Command line error: {}. Type --help for help.", misuse.text))?;
        }
        Style::Commands => {
            write!(output.err, "{}", flags::usage(grammar, misuse.command))?;
            output.tell(format_args!("{}: error: {}", grammar.program(), misuse.text))?;
        }
    }
    if let Some(hint) = &misuse.hint {
        output.tell(hint)?;
    }
    Err(Failure::Silent)
}

fn explain(grammar: &Grammar, failure: &Failure, err: &mut dyn Write) -> io::Result<()> {
    match failure {
        Failure::Usage(text) => match grammar.style {
            Style::Options => write!(err, "{text}\n{}", flags::command_line_help(grammar)),
            Style::Commands => {
                write!(err, "{}", flags::usage(grammar, None))?;
                writeln!(err, "{}: error: {text}", grammar.program())
            }
        },
        Failure::Said(text) => writeln!(err, "{text}"),
        Failure::Silent | Failure::Ended(_) => Ok(()),
        Failure::Output(error) => writeln!(err, "{}: can't write: {error}", grammar.tool),
    }
}
