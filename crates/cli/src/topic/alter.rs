//! `ottla topic alter`

use std::collections::BTreeMap;

use ottla_client::admin::{AlterOp, ConfigEntry, ConfigResource, ConfigSource, NewPartitions};
use ottla_config::Table;

use super::AlterArgs;
use super::plan::{Change, PARTITIONS, partitions_change, setting_change};
use crate::cluster_view::{all_well, sorted_out, topics};
use crate::error::Failure;
use crate::global::Context;
use crate::output::{Cell, Column, Listing, Tone, column};
use crate::setting_names;

const COLUMNS: &[Column<Change>] = &[
    column("topic", |of| Cell::text(&of.topic)),
    column("what", |of| Cell::text(&of.what)),
    column("before", |of| Cell::maybe(of.before.as_ref(), Cell::text)),
    column("after", |of| Cell::maybe(of.after.as_ref(), Cell::text)),
    column("warning", |of| match of.warning {
        Some(warning) => Cell::text(warning).toned(Some(Tone::Warning)),
        None => Cell::Nothing,
    }),
];

pub async fn run(args: &AlterArgs, context: &mut Context) -> Result<(), Failure> {
    if args.configs.is_empty() && args.resets.is_empty() && args.partitions.is_none() {
        return Err(Failure::usage("nothing is to be changed")
            .hint("say -c KEY=VALUE, --reset KEY or --partitions COUNT"));
    }
    setting_names::check(Table::Topic, args.configs.iter().map(|(key, _)| key).chain(&args.resets))?;
    let admin = context.admin().await?;
    let topics = topics(&admin, &args.topics).await?;
    let resources: Vec<ConfigResource> =
        topics.iter().map(|topic| ConfigResource::topic(&*topic.name)).collect();
    let mut described = admin.describe_configs(&resources, true).await?;
    let mut changes = Vec::new();
    for topic in &topics {
        let entries = described.remove(&ConfigResource::topic(&*topic.name)).transpose()?.unwrap_or_default();
        changes.extend(setting_changes(args, &topic.name, &entries));
        if let Some(count) = args.partitions {
            changes.push(partitions_change(&topic.name, topic.partitions.len(), count));
        }
    }
    context.printer.listing(&Listing::of(COLUMNS, &changes))?;
    if args.dry_run {
        return context.tell_preview(&admin);
    }
    if !args.execute && changes.iter().any(|change| change.warning.is_some()) {
        context.tell_preview(&admin)?;
        return context.tell("It can't be undone: look at the warnings, and say --execute.");
    }
    context.printer.flush()?;
    let mut errors = Vec::new();
    let settings: BTreeMap<ConfigResource, Vec<(String, AlterOp)>> = resources
        .into_iter()
        .map(|resource| (resource, operations(args)))
        .filter(|(_, ops)| !ops.is_empty())
        .collect();
    if !settings.is_empty() {
        errors.extend(sorted_out(admin.alter_configs(&settings, false).await?).1);
    }
    let grown = |change: &&Change| change.what == PARTITIONS && change.before != change.after;
    let growth: BTreeMap<String, NewPartitions> = changes
        .iter()
        .filter(grown)
        .map(|change| {
            let count = args.partitions.unwrap_or_default();
            (change.topic.clone(), NewPartitions { count, assignments: None })
        })
        .collect();
    if !growth.is_empty() {
        errors.extend(sorted_out(admin.create_partitions(&growth, false).await?).1);
    }
    all_well(errors)
}

fn setting_changes(args: &AlterArgs, topic: &str, entries: &[ConfigEntry]) -> Vec<Change> {
    let sets = args.configs.iter().map(|(key, value)| (key, Some(value.as_str())));
    let resets = args.resets.iter().map(|key| (key, None));
    let unknown = |name: &String| ConfigEntry {
        name: name.clone(),
        value: None,
        source: ConfigSource::Unknown,
        is_sensitive: false,
        is_read_only: false,
        synonyms: Vec::new(),
    };
    sets.chain(resets)
        .map(|(key, after)| match entries.iter().find(|entry| entry.name == *key) {
            Some(entry) => setting_change(topic, entry, after),
            None => setting_change(topic, &unknown(key), after),
        })
        .collect()
}

fn operations(args: &AlterArgs) -> Vec<(String, AlterOp)> {
    let sets = args.configs.iter().map(|(key, value)| (key.clone(), AlterOp::Set(value.clone())));
    let resets = args.resets.iter().map(|key| (key.clone(), AlterOp::Delete));
    sets.chain(resets).collect()
}
