//! `ottla server`: a node, from its settings to its end.

use clap::Args;
use ottla_config::{Supported, check_report};

use crate::output::{print, tell};
use crate::settings::{self, SettingsArgs};

#[derive(Args, Debug)]
pub struct ServerArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Print each effective setting with its source, and don't start
    #[arg(long)]
    check_config: bool,
}

pub fn run(args: &ServerArgs) -> Result<bool, String> {
    let supported = Supported::single_plaintext_node();
    let (config, warnings) =
        args.settings.load(&settings::environment(), &supported).map_err(|error| error.to_string())?;
    for warning in warnings {
        tell("warning", &warning.to_string());
    }
    if args.check_config {
        print(&check_report(&config))?;
        return Ok(true);
    }
    Err("this build can check a configuration, but not run a node".into())
}
