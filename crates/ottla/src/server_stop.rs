//! kafka-server-stop: asks nodes that run here to end.
//!
//! Only processes of this very executable are asked: whatever else is called alike is somebody else's. Which node a process is,
//! its command line, its environment and its file of settings say.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Parser;
use ottla_config::{Config, keys};
use ottla_tools::{Failure, Output, flags, said};
use rustix::process::{Pid, Signal, kill_process};

use crate::kafka_tools::Start;
use crate::settings::SettingsArgs;
use crate::{Cli, Command};

const USAGE: &str = "USAGE: kafka-server-stop [--process-role=broker|controller] [--node-id=ID]";

/// Which nodes are meant; all, if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    node_id: Option<String>,
    roles: Option<String>,
}

impl Wanted {
    fn parse(words: &[String]) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        for word in words {
            match word.split_once('=') {
                Some(("--node-id", id)) => wanted.node_id = Some(id.to_owned()),
                Some(("--process-role", roles)) => wanted.roles = Some(roles.to_owned()),
                _ => return Err(format!("{word} is not understood\n{USAGE}")),
            }
        }
        Ok(wanted)
    }

    fn are_all(&self) -> bool {
        *self == Wanted::default()
    }

    /// As Kafka's script compares: a node with both roles is neither a broker nor a controller. The id is the stronger.
    fn includes(&self, config: &Config) -> bool {
        match (&self.node_id, &self.roles) {
            (Some(id), _) => *id == config.get(keys::NODE_ID).to_string(),
            (None, Some(roles)) => *roles == config.get(keys::PROCESS_ROLES).join(","),
            (None, None) => true,
        }
    }
}

pub(crate) fn run(words: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    if words.iter().any(|word| word == "--help") {
        return output.line(USAGE);
    }
    let wanted = Wanted::parse(words).map_err(said)?;
    let signal = signal(env::var("SIGNAL").ok().as_deref()).map_err(said)?;
    if wanted.node_id.is_some() && wanted.roles.is_some() {
        output.line(
            "When both node-id and process-role are provided, the value for node-id will take precedence",
        )?;
    }
    let nodes = nodes().map_err(|error| said(format_args!("can't look for processes: {error}")))?;
    if nodes.is_empty() {
        output.line("No kafka server to stop")?;
        return Err(Failure::Silent);
    }
    let mut is_any = false;
    for node in nodes {
        if !wanted.are_all() && !wanted.includes(&node.config().map_err(said)?) {
            continue;
        }
        is_any = true;
        match kill_process(node.pid, signal) {
            // It has ended by itself.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => {
                return Err(said(format_args!("can't stop process {}: {error}", node.pid.as_raw_nonzero())));
            }
        }
    }
    if is_any { Ok(()) } else { output.tell("None of the nodes that run here is meant.") }
}

/// As the shell names them.
fn signal(name: Option<&str>) -> Result<Signal, String> {
    match name.map(|name| name.strip_prefix("SIG").unwrap_or(name)) {
        None | Some("" | "TERM" | "15") => Ok(Signal::TERM),
        Some("INT" | "2") => Ok(Signal::INT),
        Some("QUIT" | "3") => Ok(Signal::QUIT),
        Some("HUP" | "1") => Ok(Signal::HUP),
        Some("KILL" | "9") => Ok(Signal::KILL),
        Some(other) => Err(format!("SIGNAL={other}: there are TERM, INT, QUIT, HUP and KILL")),
    }
}

/// A process that runs a node.
#[derive(Debug)]
struct Node {
    pid: Pid,
    settings: SettingsArgs,
}

impl Node {
    /// With the settings that it has been given, whatever has happened to its file since.
    fn config(&self) -> Result<Config, String> {
        let environment = environment(self.pid);
        match self.settings.read(&environment) {
            Ok((config, _)) => Ok(config),
            Err(error) => {
                Err(format!("can't tell which node process {} is: {error}", self.pid.as_raw_nonzero()))
            }
        }
    }
}

fn nodes() -> io::Result<Vec<Node>> {
    let own = fs::read_link("/proc/self/exe")?;
    let mut nodes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| executable(*pid).is_some_and(|other| is_same(&other, &own))) else {
            continue;
        };
        // Whoever has ended in the meantime is no node any more.
        let Ok(words) = fs::read(file(pid, "cmdline")) else { continue };
        if let Some(settings) = settings_of(&texts(words)) {
            nodes.push(Node { pid, settings: in_directory(settings, pid) });
        }
    }
    nodes.sort_by_key(|node| node.pid.as_raw_nonzero());
    Ok(nodes)
}

fn file(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{name}", pid.as_raw_nonzero()))
}

/// Only of processes of the same user.
fn executable(pid: Pid) -> Option<PathBuf> {
    fs::read_link(file(pid, "exe")).ok()
}

/// Also where a newer one has taken the place of the file that a process runs.
fn is_same(one: &Path, other: &Path) -> bool {
    let path = |path: &Path| {
        let text = path.to_string_lossy().into_owned();
        text.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(text)
    };
    path(one) == path(other)
}

fn texts(joined: Vec<u8>) -> Vec<String> {
    let parts = joined.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

fn environment(pid: Pid) -> Vec<(String, String)> {
    let texts = texts(fs::read(file(pid, "environ")).unwrap_or_default());
    let pairs = texts.iter().filter_map(|text| text.split_once('='));
    let settings = pairs.filter(|(name, _)| name.starts_with("KAFKA_"));
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a command line says of a node's settings, if it runs one.
fn settings_of(words: &[String]) -> Option<SettingsArgs> {
    let (program, rest) = words.split_first()?;
    let tool = |word: &str| {
        let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_suffix(".sh").unwrap_or(&name);
        flags::tools().into_iter().find(|tool| *tool == name)
    };
    let called = match (tool(program), rest) {
        (Some(called), rest) => Some((called, rest)),
        (None, [word, rest @ ..]) => tool(word).map(|called| (called, rest)),
        (None, []) => None,
    };
    if let Some((called, rest)) = called {
        let start =
            Start::parse(rest).ok().filter(|start| called == "kafka-server-start" && !start.in_background)?;
        return Some(SettingsArgs { config: Some(start.config.into()), overrides: start.overrides });
    }
    let cli = Cli::try_parse_from(words).ok()?;
    match cli.command {
        None => Some(cli.server.settings),
        Some(Command::Server(args)) => Some(args.settings),
        Some(_) => None,
    }
}

/// Names of files are meant from where the process is.
fn in_directory(settings: SettingsArgs, pid: Pid) -> SettingsArgs {
    let directory = fs::read_link(file(pid, "cwd")).unwrap_or_default();
    SettingsArgs { config: settings.config.map(|path| directory.join(path)), ..settings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn nodes_are_known_by_their_command_lines() {
        for (line, expected) in [
            ("ottla", Some(None)),
            ("/bin/ottla --config f", Some(Some("f"))),
            ("ottla server -c f --override a=b", Some(Some("f"))),
            ("ottla kafka-server-start f", Some(Some("f"))),
            ("/bin/kafka-server-start.sh f", Some(Some("f"))),
            ("kafka-server-start -daemon f", None),
            ("ottla kafka-topics --list", None),
            ("ottla kafka-server-stop", None),
            ("kafka-topics.sh", None),
            ("ottla dev", None),
            ("ottla --help", None),
        ] {
            let found = settings_of(&words(line)).map(|settings| settings.config);
            assert_eq!(found, expected.map(|config| config.map(PathBuf::from)), "{line}");
        }
    }

    #[test]
    fn nodes_are_meant_by_id_or_by_roles() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.properties");
        fs::write(&path, "process.roles=broker\nnode.id=7\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\n\
                          listeners=PLAINTEXT://h:2\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,C:PLAINTEXT\n").unwrap();
        let settings = SettingsArgs { config: Some(path), overrides: Vec::new() };
        let (config, _) = settings.read(&[]).unwrap();
        for (line, expected) in [
            ("", true),
            ("--node-id=7", true),
            ("--node-id=8", false),
            ("--process-role=broker", true),
            ("--process-role=controller", false),
            ("--process-role=controller --node-id=7", true),
        ] {
            assert_eq!(Wanted::parse(&words(line)).unwrap().includes(&config), expected, "{line}");
        }
        assert!(Wanted::parse(&words("--node 7")).is_err());
    }

    #[test]
    fn the_file_of_a_running_program_may_be_replaced() {
        assert!(is_same(Path::new("/bin/ottla (deleted)"), Path::new("/bin/ottla")));
        assert!(!is_same(Path::new("/bin/ottla"), Path::new("/opt/ottla")));
        assert_eq!(signal(Some("SIGINT")), Ok(Signal::INT));
        assert!(signal(Some("USR1")).is_err());
    }
}
