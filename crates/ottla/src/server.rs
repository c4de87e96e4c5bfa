//! `ottla server`: a node, from its settings to its end.

use clap::Args;
use ottla_config::{Supported, check_report};

use ottla_server::process::Ready;
use ottla_server::startup::remedy_of_shortage;

use crate::logging;
use crate::output::{print, tell, tell_line};
use crate::settings::{self, SettingsArgs};

#[derive(Args, Debug)]
pub struct ServerArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Print each effective setting with its source, and don't start
    #[arg(long)]
    check_config: bool,
}

impl ServerArgs {
    /// To run with these.
    pub fn of(settings: SettingsArgs) -> ServerArgs {
        ServerArgs { settings, check_config: false }
    }
}

pub fn run(args: &ServerArgs) -> Result<bool, String> {
    let supported = Supported::plaintext_node();
    let (config, warnings) =
        args.settings.load(&settings::environment(), &supported).map_err(|error| error.to_string())?;
    for warning in warnings {
        tell("warning", &warning.to_string());
    }
    if args.check_config {
        print(&check_report(&config))?;
        return Ok(true);
    }
    let loggers = logging::start();
    ottla_server::process::run(config, loggers, tell_ready).map(|()| true).map_err(|error| {
        match remedy_of_shortage(&error) {
            Some(remedy) => format!("{error}. {remedy}"),
            None => error.to_string(),
        }
    })
}

/// The one block on standard output; nobody may be left to read it.
fn tell_ready(ready: &Ready) {
    let Ready { bootstrap, controllers, log_dirs, cluster_id, was_formatted, took } = ready;
    let cluster = if *was_formatted { "new cluster" } else { "cluster" };
    // A node that is no broker has nothing for clients.
    let (role, addresses) = match bootstrap.as_slice() {
        [] => ("controller", controllers.join(",")),
        brokers => ("bootstrap ", brokers.join(",")),
    };
    tell_line(&format!(
        "Ottla {} is ready after {} ms.\n  {role}  {addresses}\n  data       {}\n  {cluster}  {cluster_id}",
        env!("CARGO_PKG_VERSION"),
        took.as_millis(),
        log_dirs.join(", "),
    ));
}
