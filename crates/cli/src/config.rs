//! `ottla config`: settings of topics, brokers, groups and the like.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use clap::{Args, Subcommand};
use ottla_client::admin::{Admin, AlterOp, ConfigEntry, ConfigResource, ConfigSource, ResourceType};
use ottla_config::{Row, Table};

use crate::connection::key_value;
use crate::error::{Exit, Failure};
use crate::global::{Context, Global};
use crate::output::{Cell, Column, Details, Listing, Tone, column, wide};
use crate::patterns::Patterns;
use crate::topic::plan::{Change, fallback, setting_change};
use crate::{cluster_view, setting_names, suggest};

#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    action: ConfigAction,
}

#[derive(Subcommand, Debug)]
enum ConfigAction {
    /// Show settings: those that somebody has set, or all
    Show {
        /// topic/NAME, broker/ID, brokers (the default of all), group/NAME, client-metrics/NAME or loggers/ID
        #[arg(value_name = "ENTITY")]
        entity: Entity,
        /// Names of settings, where * stands for anything
        #[arg(value_name = "SETTING")]
        settings: Vec<String>,
        /// Also what nobody has set
        #[arg(short, long)]
        all: bool,
    },
    /// Set values
    Set {
        /// topic/NAME, broker/ID, brokers, group/NAME, client-metrics/NAME or loggers/ID
        #[arg(value_name = "ENTITY")]
        entity: Entity,
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = key_value)]
        settings: Vec<(String, String)>,
        /// Do it also where it can't be undone: where records may be deleted
        #[arg(long)]
        execute: bool,
        /// Only tell whether it could be done
        #[arg(long, conflicts_with = "execute")]
        dry_run: bool,
    },
    /// Have settings fall back to what counts without them
    Reset {
        /// topic/NAME, broker/ID, brokers, group/NAME, client-metrics/NAME or loggers/ID
        #[arg(value_name = "ENTITY")]
        entity: Entity,
        #[arg(value_name = "KEY", required = true)]
        settings: Vec<String>,
        /// Do it also where it can't be undone: where records may be deleted
        #[arg(long)]
        execute: bool,
        /// Only tell whether it could be done
        #[arg(long, conflicts_with = "execute")]
        dry_run: bool,
    },
    /// List what has settings of its own
    List {
        #[arg(value_enum, value_name = "KIND")]
        kind: Kind,
    },
    /// Tell what a setting means, and which values it takes
    Explain {
        #[arg(value_name = "SETTING", required = true)]
        settings: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Topic,
    Broker,
    Group,
    ClientMetrics,
    Loggers,
}

const KINDS: [(&str, Kind, ResourceType); 5] = [
    ("topic", Kind::Topic, ResourceType::Topic),
    ("broker", Kind::Broker, ResourceType::Broker),
    ("group", Kind::Group, ResourceType::Group),
    ("client-metrics", Kind::ClientMetrics, ResourceType::ClientMetrics),
    ("loggers", Kind::Loggers, ResourceType::BrokerLogger),
];

/// What has settings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entity(ConfigResource);

impl FromStr for Entity {
    type Err = String;

    fn from_str(text: &str) -> Result<Entity, String> {
        if text == "brokers" {
            return Ok(Entity(ConfigResource::new(ResourceType::Broker, "")));
        }
        let forms = "topic/NAME, broker/ID, brokers, group/NAME, client-metrics/NAME or loggers/ID";
        let (kind, name) = text.split_once('/').ok_or_else(|| format!("it has to be {forms}"))?;
        let known =
            KINDS.iter().find(|(known, ..)| *known == kind).ok_or_else(|| {
                match suggest::closest(kind, KINDS.iter().map(|(known, ..)| *known)) {
                    Some(close) => format!("there is no kind '{kind}': did you mean {close}/{name}?"),
                    None => format!("there is no kind '{kind}': it has to be {forms}"),
                }
            })?;
        if name.is_empty() {
            return Err(format!("after {kind}/ a name is missing"));
        }
        Ok(Entity(ConfigResource::new(known.2, name)))
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.name.is_empty() {
            return f.write_str("brokers");
        }
        let kind = KINDS.iter().find(|(_, _, kind)| *kind == self.0.kind).map(|(name, ..)| *name);
        write!(f, "{}/{}", kind.unwrap_or_default(), self.0.name)
    }
}

impl Entity {
    /// Where names of its settings are known from.
    fn table(&self) -> Option<Table> {
        match self.0.kind {
            ResourceType::Topic => Some(Table::Topic),
            ResourceType::Broker => Some(Table::Broker),
            ResourceType::Group => Some(Table::Group),
            ResourceType::ClientMetrics | ResourceType::BrokerLogger => None,
        }
    }
}

impl Entity {
    /// Where those values come from that were set for it alone.
    fn own_source(&self) -> ConfigSource {
        match self.0.kind {
            ResourceType::Topic => ConfigSource::DynamicTopic,
            ResourceType::Broker if self.0.name.is_empty() => ConfigSource::DynamicDefaultBroker,
            ResourceType::Broker => ConfigSource::DynamicBroker,
            ResourceType::Group => ConfigSource::DynamicGroup,
            ResourceType::ClientMetrics => ConfigSource::DynamicClientMetrics,
            ResourceType::BrokerLogger => ConfigSource::DynamicBrokerLogger,
        }
    }
}

const SETTINGS: &[Column<ConfigEntry>] = &[
    column("setting", |of| Cell::text(&of.name)),
    column("value", |of| match &of.value {
        None if of.is_sensitive => Cell::text("(hidden)"),
        value => Cell::maybe(value.as_ref(), Cell::text),
    }),
    column("source", |of| Cell::text(of.source.to_string())),
    wide("read_only", |of| Cell::Flag(of.is_read_only)),
    wide("otherwise", |of| {
        let others = of.synonyms.iter().skip(1);
        Cell::Texts(
            others
                .map(|other| format!("{} ({})", other.value.as_deref().unwrap_or("-"), other.source))
                .collect(),
        )
    }),
];

const NAMES: &[Column<String>] = &[column("name", |name| Cell::text(name))];

const EXPLAINED: &[Column<&'static Row>] = &[
    column("setting", |row| Cell::text(row.name)),
    column("of", |row| Cell::text(format!("{:?}", row.table).to_lowercase())),
    column("type", |row| Cell::text(format!("{:?}", row.kind).to_lowercase())),
    column("default", |row| Cell::maybe(row.default_text(), Cell::text)),
    column("acted_on", |row| Cell::Flag(row.acted_on)),
    column("broker_settings", |row| {
        Cell::Texts(row.synonyms.iter().map(|synonym| synonym.name.to_owned()).collect())
    }),
    column("meaning", |row| Cell::text(row.doc)),
];

pub async fn run(args: &ConfigArgs, context: &mut Context) -> Result<(), Failure> {
    match &args.action {
        ConfigAction::Show { entity, settings, all } => show(entity, settings, *all, context).await,
        ConfigAction::Set { entity, settings, execute, dry_run } => {
            check_names(entity, settings.iter().map(|(key, _)| key))?;
            let changes =
                settings.iter().map(|(key, value)| (key.clone(), AlterOp::Set(value.clone()))).collect();
            change(entity, changes, How::of(*execute, *dry_run), context).await
        }
        ConfigAction::Reset { entity, settings, execute, dry_run } => {
            check_names(entity, settings)?;
            let changes = settings.iter().map(|key| (key.clone(), AlterOp::Delete)).collect();
            change(entity, changes, How::of(*execute, *dry_run), context).await
        }
        ConfigAction::List { kind } => list(*kind, context).await,
        ConfigAction::Explain { settings } => explain(settings, context),
    }
}

fn check_names<'a>(entity: &Entity, names: impl IntoIterator<Item = &'a String>) -> Result<(), Failure> {
    match entity.table() {
        Some(table) => setting_names::check(table, names),
        None => Ok(()),
    }
}

async fn entries(admin: &Admin, entity: &Entity) -> Result<Vec<ConfigEntry>, Failure> {
    if entity.0.kind == ResourceType::Topic {
        // With what may have been meant, if it isn't there.
        cluster_view::topics(admin, std::slice::from_ref(&entity.0.name)).await?;
    }
    let mut described = admin.describe_configs(std::slice::from_ref(&entity.0), true).await?;
    Ok(described.remove(&entity.0).transpose()?.unwrap_or_default())
}

async fn show(entity: &Entity, names: &[String], all: bool, context: &mut Context) -> Result<(), Failure> {
    let patterns = Patterns::new(names)?;
    let admin = context.admin().await?;
    let mut entries = entries(&admin, entity).await?;
    let is_own = |entry: &ConfigEntry| !matches!(entry.source, ConfigSource::Default | ConfigSource::Unknown);
    // Whoever names a setting wants to see it.
    entries.retain(|entry| patterns.match_name(&entry.name) && (all || !names.is_empty() || is_own(entry)));
    if entries.is_empty() && !names.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("{entity} has no such setting"))
            .hint(format!("ottla config show {entity} --all shows all")));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    context.printer.listing(&Listing::of(SETTINGS, &entries))
}

/// How far a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It is tried, and not made.
    DryRun,
    /// It is made, unless it can't be undone.
    Careful,
    Execute,
}

impl How {
    fn of(execute: bool, dry_run: bool) -> How {
        match (execute, dry_run) {
            (_, true) => How::DryRun,
            (true, _) => How::Execute,
            _ => How::Careful,
        }
    }
}

const CHANGES: &[Column<Change>] = &[
    column("setting", |of| Cell::text(&of.what)),
    column("before", |of| Cell::maybe(of.before.as_ref(), Cell::text)),
    column("after", |of| Cell::maybe(of.after.as_ref(), Cell::text)),
    column("warning", |of| match of.warning {
        Some(warning) => Cell::text(warning).toned(Some(Tone::Warning)),
        None => Cell::Nothing,
    }),
];

async fn change(
    entity: &Entity,
    changes: Vec<(String, AlterOp)>,
    how: How,
    context: &mut Context,
) -> Result<(), Failure> {
    let admin = context.admin().await?;
    let before = entries(&admin, entity).await?;
    let rows: Vec<Change> = changes.iter().map(|(name, op)| planned(entity, &before, name, op)).collect();
    let is_final = rows.iter().any(|row| row.warning.is_some());
    let is_made = how == How::Execute || (how == How::Careful && !is_final);
    let asked = BTreeMap::from([(entity.0.clone(), changes)]);
    let mut results = admin.alter_configs(&asked, !is_made).await?;
    results.remove(&entity.0).transpose()?;
    context.printer.listing(&Listing::of(CHANGES, &rows))?;
    match how {
        How::DryRun => context.tell("Nothing was changed: it could be."),
        How::Careful if is_final => {
            context.tell_preview(&admin)?;
            context.tell("It can't be undone: look at the warnings, and say --execute.")
        }
        How::Careful | How::Execute => Ok(()),
    }
}

fn planned(entity: &Entity, before: &[ConfigEntry], name: &str, op: &AlterOp) -> Change {
    let unknown = || ConfigEntry {
        name: name.to_owned(),
        value: None,
        source: ConfigSource::Unknown,
        is_sensitive: false,
        is_read_only: false,
        synonyms: Vec::new(),
    };
    let entry = before.iter().find(|entry| entry.name == name).cloned().unwrap_or_else(unknown);
    let after = match op {
        AlterOp::Set(value) => Some(value.as_str()),
        _ => None,
    };
    if entity.0.kind == ResourceType::Topic {
        return setting_change(&entity.0.name, &entry, after);
    }
    Change {
        topic: String::new(),
        what: name.to_owned(),
        before: entry.value.clone(),
        after: after.map(str::to_owned).or_else(|| fallback(&entry, entity.own_source(), entity.table())),
        warning: None,
    }
}

async fn list(kind: Kind, context: &mut Context) -> Result<(), Failure> {
    let admin = context.admin().await?;
    let of =
        KINDS.iter().find(|(_, known, _)| *known == kind).map_or(ResourceType::Topic, |(_, _, kind)| *kind);
    let mut names = admin.list_config_resources(of).await?;
    names.retain(|name| !name.is_empty());
    names.sort();
    context.printer.listing(&Listing::of(NAMES, &names))
}

fn explain(names: &[String], context: &mut Context) -> Result<(), Failure> {
    const TABLES: [Table; 3] = [Table::Topic, Table::Broker, Table::Group];
    let mut details = Vec::new();
    for name in names {
        let rows: Vec<&'static Row> = TABLES.iter().filter_map(|table| table.find(name)).collect();
        if rows.is_empty() {
            let all: Vec<&str> = TABLES.iter().flat_map(|table| table.rows()).map(|row| row.name).collect();
            let failure = Failure::new(
                Exit::NotFound,
                format!("there is no setting '{name}' of topics, brokers or groups"),
            );
            return Err(match suggest::closest(name, all.iter().copied()) {
                Some(close) => failure.hint(format!("did you mean {close}?")),
                None => failure,
            });
        }
        details.extend(rows.iter().map(|row| Details::of(EXPLAINED, row)));
    }
    context.printer.details(&details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_as_they_are_written() {
        for text in ["topic/a/b", "broker/1", "brokers", "group/g", "client-metrics/m", "loggers/1"] {
            assert_eq!(text.parse::<Entity>().unwrap().to_string(), text);
        }
        for (text, error) in [
            ("topics/a", "there is no kind 'topics': did you mean topic/a?"),
            ("topic/", "after topic/ a name is missing"),
        ] {
            assert_eq!(text.parse::<Entity>(), Err(error.to_owned()));
        }
        assert!("orders".parse::<Entity>().unwrap_err().starts_with("it has to be topic/NAME"));
    }
}
