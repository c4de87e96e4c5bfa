//! `ottla storage`: formats log directories and looks at them, as Apache Kafka's kafka-storage does.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::{ArgGroup, Args, Subcommand};
use ottla_config::{Config, keys};
use ottla_log::disk::{Disk, RealDisk};
use ottla_server::clock::Clock;
use ottla_server::random;
use ottla_server::startup::listeners;
use ottla_server::storage::{
    DynamicVoters, FeatureLevels, Formatter, feature_dependencies, info, scram_credential, version_mapping,
};
use ottla_types::NodeId;

use crate::output::{print, tell_line};
use crate::settings::{self, SettingsArgs};

#[derive(Subcommand, Debug)]
pub enum StorageCommand {
    /// Tell what is in the log directories of this node
    Info {
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Format the log directories of this node
    Format(Box<FormatArgs>),
    /// Print the feature levels that belong to a release
    VersionMapping {
        /// The release, such as 4.0 or 3.9-IV0; without it, the latest
        #[arg(long, short, value_name = "RELEASE")]
        release_version: Option<String>,
    },
    /// Print what a feature level depends on
    FeatureDependencies {
        /// The level, such as group.version=1; may be repeated
        #[arg(long = "feature", short, value_name = "FEATURE=LEVEL", required = true)]
        features: Vec<String>,
    },
    /// Print a random id, as for --cluster-id
    RandomUuid,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("voters").multiple(false))]
pub struct FormatArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// The id of the cluster that the node is to belong to
    #[arg(long, short = 't', value_name = "ID")]
    pub cluster_id: String,

    /// Make this node the only voter of a quorum that can grow
    #[arg(long, short, group = "voters")]
    pub standalone: bool,

    /// Name no voters: this node will be added to a quorum
    #[arg(long, short = 'N', group = "voters")]
    pub no_initial_controllers: bool,

    /// The first voters of a quorum that can change, the same on all its nodes
    #[arg(long, short = 'I', group = "voters", value_name = "ID@HOST:PORT:DIRECTORY,...")]
    pub initial_controllers: Option<String>,

    /// The release whose feature levels the cluster gets, such as 4.0; the default is the latest
    #[arg(long, short, value_name = "RELEASE")]
    pub release_version: Option<String>,

    /// The level of one feature, such as group.version=1; may be repeated
    #[arg(long = "feature", short, value_name = "FEATURE=LEVEL")]
    pub features: Vec<String>,

    /// Leave directories that are formatted as they are, and format the others
    #[arg(long, short = 'g')]
    pub ignore_formatted: bool,

    /// Add a user: SCRAM-SHA-256=[name=alice,password=secret], or with salt, iterations, saltedpassword
    #[arg(long, short = 'S', value_name = "CREDENTIAL")]
    pub add_scram: Vec<String>,
}

/// Why the command failed: one text for the user.
type Failure = String;

pub fn run(command: &StorageCommand) -> Result<bool, Failure> {
    match command {
        StorageCommand::Info { settings } => {
            let found = info(
                &RealDisk::with_share_of_process_limit(),
                dirs(&configuration(settings)?).iter().map(String::as_str),
            );
            print(&found.text)?;
            return Ok(!found.has_problems());
        }
        StorageCommand::Format(args) => format(args)?,
        StorageCommand::VersionMapping { release_version } => {
            print(&version_mapping(release_version.as_deref()).map_err(said)?)?;
        }
        StorageCommand::FeatureDependencies { features } => {
            print(&feature_dependencies(features).map_err(said)?)?;
        }
        StorageCommand::RandomUuid => print(&format!("{}\n", random::uuid().map_err(said)?))?,
    }
    Ok(true)
}

fn said(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

/// Settings that this program can't act on yet don't matter here.
fn configuration(args: &SettingsArgs) -> Result<Config, Failure> {
    args.read(&settings::environment()).map(|(config, _)| config).map_err(said)
}

fn dirs(config: &Config) -> BTreeSet<String> {
    let metadata = config.metadata_log_dir().to_owned();
    config.log_dirs().iter().cloned().chain([metadata]).collect()
}

fn format(args: &FormatArgs) -> Result<(), Failure> {
    let config = configuration(&args.settings)?;
    let formatter = formatter(args, &config)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::with_share_of_process_limit());
    formatter.run(&disk, Clock::start().now(), &mut tell_line).map_err(said)
}

fn formatter(args: &FormatArgs, config: &Config) -> Result<Formatter, Failure> {
    let has_dynamic_quorum = config.quorum_voters().is_empty();
    let names_voters = args.standalone || args.initial_controllers.is_some();
    if !has_dynamic_quorum && names_voters {
        return Err(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or --standalone. If \
             you want to use dynamic quorum, please remove controller.quorum.voters and specify \
             controller.quorum.bootstrap.servers instead."
                .to_owned(),
        );
    }
    let is_undecided = has_dynamic_quorum && !names_voters && !args.no_initial_controllers;
    if config.roles().controller && is_undecided {
        return Err("Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
                    --standalone, --initial-controllers, or --no-initial-controllers."
            .to_owned());
    }
    let scram_credentials = args.add_scram.iter().map(|argument| {
        let salt = random::bytes::<24>().map_err(said)?;
        scram_credential(argument, &salt).map_err(said)
    });
    Ok(Formatter {
        node_id: NodeId(config.get(keys::NODE_ID)),
        cluster_id: args.cluster_id.clone(),
        log_dirs: dirs(config),
        metadata_log_dir: config.metadata_log_dir().to_owned(),
        controller_listener: config.controller_listener_names().into_iter().next().unwrap_or_default(),
        features: FeatureLevels::new(args.release_version.as_deref(), &args.features, has_dynamic_quorum)
            .map_err(said)?,
        scram_credentials: scram_credentials.collect::<Result<_, _>>()?,
        initial_controllers: initial_controllers(args, config)?,
        ignores_formatted: args.ignore_formatted,
    })
}

fn initial_controllers(args: &FormatArgs, config: &Config) -> Result<Option<DynamicVoters>, Failure> {
    if let Some(text) = &args.initial_controllers {
        return DynamicVoters::parse(text).map(Some).map_err(said);
    }
    if !args.standalone {
        return Ok(None);
    }
    if !config.roles().controller {
        return Err("You can only use --standalone on a controller.".to_owned());
    }
    let advertised = config.advertised_controller_listeners().map_err(said)?;
    let first = advertised.into_iter().next().ok_or("No controller listeners found.")?;
    let host = listeners::host_or_localhost(&first.host);
    let directory_id = random::uuid().map_err(said)?;
    Ok(Some(DynamicVoters::standalone(NodeId(config.get(keys::NODE_ID)), host, first.port, directory_id)))
}
