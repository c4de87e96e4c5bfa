//! `ottla profile`: settings of connections, stored by name.

mod files;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use crate::completion;
use crate::connection::BOOTSTRAP;
use crate::error::Failure;
use crate::global::{Context, Global, variable};
use crate::output::{Cell, Column, Listing, column};
pub use files::{Profiles, read_properties};

#[derive(Args, Debug)]
pub struct ProfileArgs {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    action: ProfileAction,
}

#[derive(Subcommand, Debug)]
enum ProfileAction {
    /// List profiles
    List,
    /// Show the settings of a profile
    Show {
        #[arg(value_name = "NAME", add = ArgValueCompleter::new(completion::profiles))]
        name: String,
    },
    /// Make a profile, or change one: with -b, -X, or a properties file as Kafka's tools take it
    Add {
        #[arg(value_name = "NAME")]
        name: String,
        /// A file of Kafka's, such as client.properties
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Have this profile count where none is named
    Use {
        #[arg(value_name = "NAME", add = ArgValueCompleter::new(completion::profiles))]
        name: String,
    },
    /// Remove a profile
    Remove {
        #[arg(value_name = "NAME", add = ArgValueCompleter::new(completion::profiles))]
        name: String,
    },
}

struct ProfileRow {
    name: String,
    is_default: bool,
    servers: Option<String>,
    path: String,
}

const PROFILES: &[Column<ProfileRow>] = &[
    column("profile", |row| Cell::text(&row.name)),
    column("default", |row| Cell::Flag(row.is_default)),
    column("bootstrap_servers", |row| Cell::maybe(row.servers.as_ref(), Cell::text)),
    column("file", |row| Cell::text(&row.path)),
];

const SETTINGS: &[Column<(String, String)>] = &[
    column("setting", |(key, _)| Cell::text(key)),
    // What is shown ends up in logs and on screens of others.
    column("value", |(key, value)| Cell::text(if is_secret(key) { "(hidden)" } else { value })),
];

fn is_secret(key: &str) -> bool {
    ["password", "jaas", "secret", "keystore.key"].iter().any(|word| key.contains(word))
}

/// Without a connection: the profile that is asked about may be the one that is wrong.
pub fn run(args: &ProfileArgs, context: &mut Context) -> Result<(), Failure> {
    let profiles = Profiles::of(variable).ok_or_else(|| {
        Failure::usage("there is no directory for profiles: neither XDG_CONFIG_HOME nor HOME is set")
    })?;
    match &args.action {
        ProfileAction::List => list(&profiles, context),
        ProfileAction::Show { name } => {
            let settings: Vec<(String, String)> = profiles.read(name)?.into_iter().collect();
            context.printer.listing(&Listing::of(SETTINGS, &settings))
        }
        ProfileAction::Add { name, from } => {
            let mut settings = match (profiles.names()?.contains(name), from) {
                (_, Some(path)) => {
                    let bytes = fs::read(path)
                        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                    read_properties(path, &bytes)?
                }
                (true, None) => profiles.read(name)?,
                (false, None) => BTreeMap::new(),
            };
            let before = settings.clone();
            settings.extend(args.global.client_settings.iter().cloned());
            if let Some(servers) = &args.global.bootstrap_server {
                settings.insert(BOOTSTRAP.to_owned(), servers.clone());
            }
            if settings.is_empty() || (settings == before && from.is_none()) {
                return Err(Failure::usage(format!("nothing is to be stored in profile '{name}'"))
                    .hint("say -b HOST:PORT, -X KEY=VALUE or --from FILE"));
            }
            let path = profiles.write(name, &settings)?;
            context.tell(format_args!("Profile {name} is in {}.", path.display()))
        }
        ProfileAction::Use { name } => {
            profiles.choose(name)?;
            context.tell(format_args!("Profile {name} counts where none is named."))
        }
        ProfileAction::Remove { name } => {
            profiles.remove(name)?;
            context.tell(format_args!("Removed profile {name}."))
        }
    }
}

fn list(profiles: &Profiles, context: &mut Context) -> Result<(), Failure> {
    let default = profiles.default_name()?;
    let mut rows = Vec::new();
    for name in profiles.names()? {
        rows.push(ProfileRow {
            is_default: default.as_ref() == Some(&name),
            servers: profiles.read(&name)?.remove(BOOTSTRAP),
            path: profiles.path(&name).display().to_string(),
            name,
        });
    }
    context.printer.listing(&Listing::of(PROFILES, &rows))
}
