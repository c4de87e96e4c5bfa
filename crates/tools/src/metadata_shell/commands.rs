//! What the shell can do.

use super::glob::{self, Found};
use super::ls;
use super::tree::Node;
use crate::tool::{Failure, Output};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What it takes: a name for help, and how many.
    takes: Option<(&'static str, &'static str, Count)>,
    /// It is of use only where one command follows the other.
    is_of_shell: bool,
    run: fn(&mut Shell<'_>, &[String], &mut Output<'_>) -> Result<(), Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Perhaps,
    One,
    Any,
    Some,
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "cat",
        about: "Show what files say.",
        takes: Some(("targets", "The files.", Count::Some)),
        is_of_shell: false,
        run: cat,
    },
    Command {
        name: "cd",
        about: "Go to another directory.",
        takes: Some(("target", "The directory; the root if there is none.", Count::Perhaps)),
        is_of_shell: true,
        run: cd,
    },
    Command { name: "exit", about: "Leave the shell.", takes: None, is_of_shell: true, run: exit },
    Command {
        name: "find",
        about: "List everything below directories.",
        takes: Some(("paths", "The directories.", Count::Any)),
        is_of_shell: false,
        run: find,
    },
    Command { name: "help", about: "Show the commands.", takes: None, is_of_shell: true, run: help },
    Command {
        name: "history",
        about: "Show the commands that were given before.",
        takes: Some(("numEntriesToShow", "How many of them.", Count::Perhaps)),
        is_of_shell: true,
        run: history,
    },
    Command {
        name: "ls",
        about: "List what is in directories.",
        takes: Some(("targets", "The directories and files.", Count::Any)),
        is_of_shell: false,
        run: list,
    },
    Command {
        name: "man",
        about: "Explain a command.",
        takes: Some(("cmd", "The command.", Count::One)),
        is_of_shell: true,
        run: man,
    },
    Command { name: "pwd", about: "Say which directory this is.", takes: None, is_of_shell: true, run: pwd },
    Command {
        name: "tree",
        about: "Show what all files below places say.",
        takes: Some(("targets", "The directories and files.", Count::Some)),
        is_of_shell: false,
        run: tree,
    },
];

/// What commands work on.
#[derive(Debug)]
pub(super) struct Shell<'a> {
    pub(super) root: Node<'a>,
    /// As it is shown, from the root on.
    pub(super) working_directory: String,
    /// `None`: there is one command, and no screen.
    pub(super) session: Option<Session>,
}

/// What there is only where one command follows the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// Characters in a line.
    pub(super) width: usize,
    pub(super) history: Vec<String>,
    pub(super) has_ended: bool,
}

impl<'a> Shell<'a> {
    pub(super) fn new(root: Node<'a>, session: Option<Session>) -> Shell<'a> {
        Shell { root, working_directory: "/".to_owned(), session }
    }

    /// Commands that can be given.
    pub(super) fn commands(&self) -> impl Iterator<Item = &'static Command> {
        let is_session = self.session.is_some();
        COMMANDS.iter().filter(move |command| is_session || !command.is_of_shell)
    }

    /// Does what the words say; a mistake in them is told where everything else is.
    pub(super) fn run(&mut self, words: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
        let Some((name, arguments)) = words.split_first() else { return Ok(()) };
        let Some(command) = self.commands().find(|command| command.name == *name) else {
            let names: Vec<String> = self.commands().map(|command| format!("'{}'", command.name)).collect();
            return output.line(format_args!("invalid choice: '{name}' (choose from {})", names.join(", ")));
        };
        match command.misuse(arguments) {
            Some(misuse) => output.line(misuse),
            None => (command.run)(self, arguments, output),
        }
    }

    fn found(&self, path: &str) -> Vec<Found<'a>> {
        glob::find(&self.root, path, &self.working_directory)
    }
}

impl Command {
    fn misuse(&self, arguments: &[String]) -> Option<String> {
        let most = match self.takes {
            None => 0,
            Some((_, _, Count::Perhaps | Count::One)) => 1,
            Some(_) => usize::MAX,
        };
        let least = usize::from(matches!(self.takes, Some((_, _, Count::One | Count::Some))));
        if arguments.len() < least {
            return Some("too few arguments".to_owned());
        }
        let is_option =
            |word: &&String| word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err();
        let unknown = arguments.iter().find(is_option).or(arguments.get(most));
        unknown.map(|word| format!("unrecognized arguments: '{word}'"))
    }

    /// How it is used, in the layout of the tools' help.
    fn help(&self) -> String {
        let Some((name, about, count)) = self.takes else { return format!("usage: {}\n", self.name) };
        let shown = match count {
            Count::Perhaps => format!("[{name}]"),
            Count::One => name.to_owned(),
            Count::Any => format!("[{name} ...]"),
            Count::Some => format!("{name} [{name} ...]"),
        };
        format!("usage: {} {shown}\n\npositional arguments:\n  {name:<23}{about}\n", self.name)
    }
}

/// What was given, or where the shell is.
fn or_here(paths: &[String]) -> Vec<&str> {
    let given: Vec<&str> = paths.iter().map(String::as_str).filter(|path| !path.is_empty()).collect();
    if given.is_empty() { vec!["."] } else { given }
}

fn list(shell: &mut Shell<'_>, arguments: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for target in or_here(arguments) {
        let found = shell.found(target);
        if found.is_empty() {
            output.line(format_args!("ls: {target}: no such file or directory."))?;
        }
        for at in found {
            match at.node.is_directory() {
                true => directories.push((at.name().to_owned(), at.node.names())),
                false => files.push(at.name().to_owned()),
            }
        }
    }
    let screen = shell.session.as_ref().map(|session| session.width);
    Ok(write!(output.out, "{}", ls::listing(&files, &directories, screen))?)
}

fn find(shell: &mut Shell<'_>, arguments: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    for path in or_here(arguments) {
        let found = shell.found(path);
        if found.is_empty() {
            output.line(format_args!("find: {path}: no such file or directory."))?;
        }
        found.iter().try_for_each(|at| print_paths(path, &at.node, output))?;
    }
    Ok(())
}

fn print_paths(path: &str, node: &Node<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    output.line(path)?;
    for name in node.names() {
        let below =
            format!("{}/{name}", path.strip_suffix('/').filter(|rest| rest.is_empty()).unwrap_or(path));
        node.child(&name).iter().try_for_each(|child| print_paths(&below, child, output))?;
    }
    Ok(())
}

fn cat(shell: &mut Shell<'_>, arguments: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    for target in or_here(arguments) {
        let found = shell.found(target);
        if found.is_empty() {
            output.line(format_args!("cat: {target}: No such file or directory."))?;
        }
        for at in found {
            match at.node.text() {
                Some(text) => output.line(text)?,
                None => output.line(format_args!("cat: {target}: Is a directory"))?,
            }
        }
    }
    Ok(())
}

fn tree(shell: &mut Shell<'_>, arguments: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    for target in or_here(arguments) {
        let found = shell.found(target);
        if found.is_empty() {
            output.line(format_args!("tree: {target}: No such file or directory."))?;
        }
        found.iter().try_for_each(|at| print_tree(&at.node, 0, output))?;
    }
    Ok(())
}

fn print_tree(node: &Node<'_>, depth: usize, output: &mut Output<'_>) -> Result<(), Failure> {
    let indent = 2 * depth;
    if let Some(text) = node.text() {
        return output.line(format_args!("{:indent$}{text}", ""));
    }
    for name in node.names() {
        output.line(format_args!("{:indent$}{name}:", ""))?;
        node.child(&name).iter().try_for_each(|child| print_tree(child, depth + 1, output))?;
    }
    Ok(())
}

fn cd(shell: &mut Shell<'_>, arguments: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    let target = arguments.first().map_or("/", String::as_str);
    let found = shell.found(target);
    if found.is_empty() {
        output.line(format_args!("cd: {target}: no such directory."))?;
    }
    for at in found {
        match at.node.is_directory() {
            true => shell.working_directory = at.absolute(),
            false => output.line(format_args!("cd: {target}: not a directory."))?,
        }
    }
    Ok(())
}

fn pwd(shell: &mut Shell<'_>, _: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    output.line(&shell.working_directory)
}

fn exit(shell: &mut Shell<'_>, _: &[String], _: &mut Output<'_>) -> Result<(), Failure> {
    if let Some(session) = &mut shell.session {
        session.has_ended = true;
    }
    Ok(())
}

fn history(shell: &mut Shell<'_>, arguments: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    let count = match arguments.first() {
        Some(text) => match text.parse::<i32>() {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(_) => {
                return output.line(format_args!(
                    "argument numEntriesToShow: could not convert '{text}' to Integer (For input string: \"{text}\")"
                ));
            }
        },
        None => usize::MAX,
    };
    let all = shell.session.iter().flat_map(|session| &session.history).enumerate();
    let skipped = shell.session.as_ref().map_or(0, |session| session.history.len().saturating_sub(count));
    for (at, line) in all.skip(skipped) {
        output.line(format_args!("{at:>5}  {line}"))?;
    }
    Ok(())
}

fn man(shell: &mut Shell<'_>, arguments: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    let name = arguments.first().map(String::as_str).unwrap_or_default();
    match shell.commands().find(|command| command.name == name) {
        Some(command) => Ok(write!(output.out, "{}: {}\n\n{}", command.name, command.about, command.help())?),
        None => {
            output.line(format_args!("man: unknown command {name}. Type help to get a list of commands."))
        }
    }
}

fn help(shell: &mut Shell<'_>, _: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    output.line("Welcome to the Apache Kafka metadata shell.\n")?;
    let commands: Vec<&Command> = shell.commands().collect();
    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
    let names = names.join(",");
    output.line(format_args!("usage:  {{{names}}} ...\n\npositional arguments:\n  {{{names}}}"))?;
    for command in commands {
        output.line(format_args!("    {:<21}{}", command.name, command.about))?;
    }
    Ok(())
}
