//! The tools by Apache Kafka's names: `ottla kafka-topics …`, or the executable linked by such a name.

use std::env;
use std::fs;
use std::io::{self, BufWriter};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use ottla_tools::flags::{self, Parsed};
use ottla_tools::{Failure, Output, Run, Tool, Toolbox, said};

use crate::output::{print, tell};
use crate::server::{self, ServerArgs};
use crate::server_stop;
use crate::settings::SettingsArgs;
use crate::storage::{self, FormatArgs, StorageCommand};

/// Those that need what only the server has.
const TOOLS: &[Tool] = &[
    Tool { name: "kafka-server-start", run: Run::Words(start_server) },
    Tool { name: "kafka-server-stop", run: Run::Words(server_stop::run) },
    Tool { name: "kafka-storage", run: Run::Flags(run_storage) },
];

/// Of those whose flags don't say it, since they have no --help.
const ABOUT: &[(&str, &str)] = &[
    ("kafka-server-start", "Run a node with the settings of a file."),
    ("kafka-server-stop", "Stop the nodes that run on this machine."),
];

#[derive(Args, Debug)]
pub struct LinkArgs {
    /// Where the links are made
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the tool that this program was called by, or that its first argument names.
pub fn run_if_named() -> Option<ExitCode> {
    let toolbox = Toolbox::with(TOOLS);
    let mut args = env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let called = args.next().unwrap_or_default();
    let name = Path::new(&called).file_name()?.to_string_lossy().into_owned();
    let mut args: Vec<String> = args.collect();
    let tool = match toolbox.find(&name) {
        Some(tool) => tool,
        None => {
            let named = args.first()?;
            let Some(tool) = toolbox.find(named) else { return refuse_unknown(&toolbox, named) };
            args.remove(0);
            tool
        }
    };
    // Not locked: the server's threads print too.
    let mut out = BufWriter::new(io::stdout());
    let code = tool.main(&args, &mut Output { out: &mut out, err: &mut io::stderr() });
    Some(ExitCode::from(code))
}

/// Of a tool that is no more or not here, and of a slip in a tool's name, it is said what to take. Other words are for others.
fn refuse_unknown(toolbox: &Toolbox, name: &str) -> Option<ExitCode> {
    let word = match flags::former_tool(name) {
        Some(word) => word.to_owned(),
        None => {
            let known = toolbox.tools().iter().map(|tool| tool.name);
            let nearest = flags::nearest(name, known).filter(|_| name.starts_with("kafka"))?;
            format!("Did you mean {nearest}?")
        }
    };
    tell("error", &format!("there is no {name}\n{word}"));
    Some(ExitCode::from(ottla_cli::USAGE_EXIT_CODE))
}

/// For the help of the whole program.
pub fn list() -> String {
    let toolbox = Toolbox::with(TOOLS);
    let width = toolbox.tools().iter().map(|tool| tool.name.len()).max().unwrap_or_default();
    let lines = toolbox.tools().iter().map(|tool| format!("\n  {:width$}  {}", tool.name, about(tool)));
    format!("Tools of Apache Kafka, each with its own --help:{}", lines.collect::<String>())
}

fn about(tool: &Tool) -> &'static str {
    let own = ABOUT.iter().find(|(name, _)| *name == tool.name);
    own.map_or_else(|| Toolbox::about(tool), |(_, about)| about)
}

pub fn link(args: &LinkArgs) -> Result<bool, String> {
    let executable = env::current_exe().map_err(|error| format!("can't find this program: {error}"))?;
    let count = ottla_tools::link(&Toolbox::with(TOOLS), &executable, &args.dir)?;
    print(&format!("{count} links in {}\n", args.dir.display()))?;
    Ok(true)
}

fn run_storage(parsed: &Parsed, _: &mut Output<'_>) -> Result<(), Failure> {
    let settings =
        || SettingsArgs { config: parsed.value("--config").map(PathBuf::from), overrides: Vec::new() };
    let owned = |flag| parsed.value(flag).map(str::to_owned);
    let command = match parsed.command() {
        Some("info") => StorageCommand::Info { settings: settings() },
        Some("format") => StorageCommand::Format(Box::new(FormatArgs {
            settings: settings(),
            cluster_id: owned("--cluster-id").unwrap_or_default(),
            standalone: parsed.has("--standalone"),
            no_initial_controllers: parsed.has("--no-initial-controllers"),
            initial_controllers: owned("--initial-controllers"),
            release_version: owned("--release-version"),
            features: parsed.values("--feature").to_vec(),
            ignore_formatted: parsed.has("--ignore-formatted"),
            add_scram: parsed.values("--add-scram").to_vec(),
        })),
        Some("version-mapping") => {
            StorageCommand::VersionMapping { release_version: owned("--release-version") }
        }
        Some("feature-dependencies") => {
            StorageCommand::FeatureDependencies { features: parsed.values("--feature").to_vec() }
        }
        _ => StorageCommand::RandomUuid,
    };
    match storage::run(&command) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Silent),
        Err(text) => Err(said(text)),
    }
}

const START_USAGE: &str =
    "USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*";

/// What follows the words of kafka-server-start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Start {
    pub in_background: bool,
    pub config: String,
    pub overrides: Vec<String>,
}

impl Start {
    pub fn parse(words: &[String]) -> Result<Start, String> {
        let mut start = Start::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-daemon" => start.in_background = true,
                "--override" => {
                    start.overrides.push(words.next().ok_or("--override needs property=value")?.clone())
                }
                word if word.starts_with("--override=") => {
                    start.overrides.push(word.trim_start_matches("--override=").to_owned());
                }
                word if start.config.is_empty() && !word.starts_with('-') => start.config = word.to_owned(),
                word => return Err(format!("{word} is not understood")),
            }
        }
        if start.config.is_empty() { Err("server.properties is missing".to_owned()) } else { Ok(start) }
    }
}

fn start_server(words: &[String], output: &mut Output<'_>) -> Result<(), Failure> {
    if words.iter().any(|word| word == "--version") {
        return output.line(env!("CARGO_PKG_VERSION"));
    }
    let start = Start::parse(words).map_err(|why| said(format_args!("{why}\n{START_USAGE}")))?;
    if start.in_background {
        return start_in_background(&start, output);
    }
    output.out.flush().map_err(Failure::Output)?;
    let settings = SettingsArgs { config: Some(start.config.into()), overrides: start.overrides };
    match server::run(&ServerArgs::of(settings)) {
        Ok(_) => Ok(()),
        Err(text) => {
            tell("error", &text);
            Err(Failure::Silent)
        }
    }
}

/// As Kafka's script does: in a process of its own, which writes to `kafkaServer.out` in `$LOG_DIR`, else in `logs`.
fn start_in_background(start: &Start, output: &mut Output<'_>) -> Result<(), Failure> {
    let failed = |error: io::Error| said(format_args!("can't start in the background: {error}"));
    let dir = env::var_os("LOG_DIR").map_or_else(|| PathBuf::from("logs"), PathBuf::from);
    fs::create_dir_all(&dir).map_err(failed)?;
    let log =
        fs::OpenOptions::new().create(true).append(true).open(dir.join("kafkaServer.out")).map_err(failed)?;
    let mut command = Command::new(env::current_exe().map_err(failed)?);
    command.arg("server").arg("--config").arg(&start.config);
    start.overrides.iter().for_each(|setting| {
        command.arg("--override").arg(setting);
    });
    let log_too = log.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(log).stderr(log_too).process_group(0);
    let child = command.spawn().map_err(failed)?;
    output.line(child.id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_server_start() {
        let parse = |line: &str| Start::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let start = parse("-daemon f.properties --override a=b --override=c=d").unwrap();
        let overrides = vec!["a=b".to_owned(), "c=d".to_owned()];
        assert_eq!(start, Start { in_background: true, config: "f.properties".to_owned(), overrides });
        for (line, why) in [
            ("-daemon", "server.properties is missing"),
            ("f --override", "--override needs property=value"),
            ("f --overide a=b", "--overide is not understood"),
            ("f g", "g is not understood"),
        ] {
            assert_eq!(parse(line), Err(why.to_owned()));
        }
    }

    #[test]
    fn every_tool_says_what_it_is_for() {
        for tool in Toolbox::with(TOOLS).tools() {
            assert!(about(tool).ends_with('.'), "{}", tool.name);
        }
    }

    #[test]
    fn tools_of_the_server_are_in_the_table() {
        for tool in TOOLS {
            assert!(ottla_tools::flags::tools().contains(&tool.name), "{}", tool.name);
        }
    }
}
