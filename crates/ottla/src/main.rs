//! The one executable: `ottla`, which is `ottla server`, and the tools around it.
//!
//! Exit codes: 0 after a clean stop or a command that did its work, 1 where something was refused or failed, with the reason on
//! standard error, 2 where the command line makes no sense; those of `upgrade-check`, of the commands of `ottla_cli` and of
//! the tools by Apache Kafka's names are their own.

mod dev;
mod flags_in_front;
mod kafka_tools;
mod logging;
mod output;
mod server;
mod server_stop;
mod settings;
mod storage;
mod upgrade_check;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::CompleteEnv;

use dev::DevArgs;
use kafka_tools::LinkArgs;
use output::tell;
use server::ServerArgs;
use storage::StorageCommand;
use upgrade_check::UpgradeCheckArgs;

/// Apache Kafka's protocol, log format and guarantees in one small program.
#[derive(Parser, Debug)]
#[command(name = "ottla", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a node; the same as no command
    Server(ServerArgs),
    /// Run a cluster of several nodes on this machine
    Dev(DevArgs),
    /// Format log directories, and look at them
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Tell what would not work, or not be acted on, if this program took over a node of Apache Kafka
    UpgradeCheck(UpgradeCheckArgs),
    /// Link this program in a directory by the names of Apache Kafka's tools, which it answers to
    Link(LinkArgs),
    #[command(flatten)]
    People(ottla_cli::Command),
}

fn main() -> ExitCode {
    // Ends the process where a shell asks for completions.
    CompleteEnv::with_factory(Cli::command).var(ottla_cli::COMPLETION_VARIABLE).complete();
    if let Some(code) = kafka_tools::run_if_named() {
        return code;
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let done = match cli.command {
        Some(Command::Server(args)) => server::run(&args),
        Some(Command::Dev(args)) => dev::run(&args),
        Some(Command::Storage(command)) => storage::run(&command),
        Some(Command::Link(args)) => kafka_tools::link(&args),
        Some(Command::People(command)) => return ExitCode::from(ottla_cli::run(&command, &program())),
        Some(Command::UpgradeCheck(args)) => match upgrade_check::run(&args) {
            Ok(code) => return code,
            Err(text) => Err(text),
        },
        None => server::run(&cli.server),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            tell("error", &text);
            ExitCode::FAILURE
        }
    }
}

/// Below the help for its own commands stand the tools by Apache Kafka's names.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let words = flags_in_front::behind_their_command(std::env::args_os().collect(), &command);
    match command.try_get_matches_from_mut(&words) {
        Ok(matches) => Cli::from_arg_matches(&matches),
        // To put the list together takes as long as many a command.
        Err(error)
            if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            let command = Cli::command().after_help(kafka_tools::list());
            Cli::from_arg_matches(&command.try_get_matches_from(words)?)
        }
        Err(error) => Err(error),
    }
}

/// Help and version are what was asked for; everything else is a command line that makes no sense.
fn explain(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell where this fails.
    let _ = error.print();
    // What its 2 says is something else.
    let is_upgrade_check = || std::env::args_os().nth(1).is_some_and(|name| name == "upgrade-check");
    match error.use_stderr() {
        false => ExitCode::SUCCESS,
        true if is_upgrade_check() => ExitCode::FAILURE,
        true => ExitCode::from(ottla_cli::USAGE_EXIT_CODE),
    }
}

/// By what path shells call this program.
fn program() -> String {
    let path = std::env::current_exe().ok();
    path.map_or_else(|| "ottla".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_declared_soundly() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_the_server() {
        let short =
            Cli::try_parse_from(["ottla", "--check-config", "--override", "a=b", "--override", "c=d"])
                .unwrap();
        assert_eq!(short.server.settings.overrides, ["a=b", "c=d"]);
        let long = Cli::try_parse_from(["ottla", "server", "--config", "f"]).unwrap();
        assert!(matches!(long.command, Some(Command::Server(args)) if args.settings.config.is_some()));
        assert!(Cli::try_parse_from(["ottla", "--no-such-flag"]).is_err());
    }
}
