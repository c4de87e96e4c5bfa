//! `ottla upgrade-check`: what would not work, or not be acted on, if this program took over a node of Apache Kafka.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use ottla_log::disk::RealDisk;
use ottla_server::upgrade::{Report, Weight, check_directories, check_settings};

use crate::output::print;
use crate::settings::{self, SettingsArgs, SettingsError};

/// Nothing is written, and the node may run meanwhile. Exit codes: 0 where nothing stands against it, 2 where something would be
/// kept but not acted on, 1 where something is in the way or could not be looked at.
#[derive(Args, Debug)]
pub struct UpgradeCheckArgs {
    /// Log directories of the node; without any, those of the configuration
    #[arg(value_name = "DIR")]
    dirs: Vec<String>,

    #[command(flatten)]
    settings: SettingsArgs,
}

const NOT_ACTED_ON: u8 = 2;

pub fn run(args: &UpgradeCheckArgs) -> Result<ExitCode, String> {
    let mut report = Report::default();
    let mut dirs: BTreeSet<String> = args.dirs.iter().cloned().collect();
    let config = if args.settings.is_given() {
        match args.settings.read(&settings::environment()) {
            Ok((config, warnings)) => {
                check_settings(&config, &warnings, &mut report);
                Some(config)
            }
            Err(SettingsError::Invalid(errors)) if !dirs.is_empty() => {
                errors.0.iter().for_each(|error| report.in_the_way(error.to_string()));
                None
            }
            Err(error) => return Err(error.to_string()),
        }
    } else {
        None
    };
    if let Some(config) = config.as_ref().filter(|_| dirs.is_empty()) {
        dirs.extend(config.log_dirs().iter().cloned());
        dirs.insert(config.metadata_log_dir().to_owned());
    }
    if dirs.is_empty() {
        return Err("name the log directories of the node, or its configuration with --config".to_owned());
    }
    check_directories(&RealDisk::with_share_of_process_limit(), &dirs, config.as_ref(), &mut report);
    print(&report.text())?;
    Ok(match report.gravest() {
        Some(Weight::InTheWay) => ExitCode::FAILURE,
        Some(Weight::NotActedOn) => ExitCode::from(NOT_ACTED_ON),
        Some(Weight::ToKnow) | None => ExitCode::SUCCESS,
    })
}
