//! The one executable: `ottla`, which is `ottla server`, and the tools around it.

mod settings;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ottla_config::{Config, Supported, check_report};

use settings::SettingsArgs;

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
}

#[derive(Args, Debug)]
struct ServerArgs {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Print each effective setting with its source, and don't start
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let args = match cli.command {
        Some(Command::Server(args)) => args,
        None => cli.server,
    };
    match server(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            tell("error", &text);
            ExitCode::FAILURE
        }
    }
}

fn server(args: &ServerArgs) -> Result<(), String> {
    let supported = Supported::single_plaintext_node();
    let (config, warnings) =
        args.settings.load(&settings::environment(), &supported).map_err(|error| error.to_string())?;
    for warning in warnings {
        tell("warning", &warning.to_string());
    }
    if args.check_config {
        print(&config)
    } else {
        Err("this build can check a configuration, but not run a node".into())
    }
}

fn print(config: &Config) -> Result<(), String> {
    match io::stdout().write_all(check_report(config).as_bytes()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| error.to_string()),
    }
}

/// One line each to standard error; where that is gone, nobody is left to tell.
fn tell(kind: &str, text: &str) {
    for line in text.lines() {
        let _ = writeln!(io::stderr(), "{kind}: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_declared_soundly() {
        use clap::CommandFactory;
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
