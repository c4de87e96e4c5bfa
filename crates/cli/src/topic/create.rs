//! `ottla topic create`

use std::sync::Arc;

use ottla_client::Topic;
use ottla_client::admin::{Admin, NewTopic};
use ottla_client::wire::ErrorCode;
use ottla_config::Table;

use super::CreateArgs;
use super::list::replicas;
use crate::cluster_view::{all_well, sorted_out, topics};
use crate::error::Failure;
use crate::global::Context;
use crate::output::{Cell, Column, Listing, column, wide};
use crate::setting_names;

struct Created {
    name: String,
    /// As the cluster has it; `None` where it was only checked.
    topic: Option<Arc<Topic>>,
    outcome: &'static str,
}

const COLUMNS: &[Column<Created>] = &[
    column("topic", |of| Cell::text(&of.name)),
    column("outcome", |of| Cell::text(of.outcome)),
    column("partitions", |of| Cell::maybe(of.topic.as_ref(), |topic| Cell::number(topic.partitions.len()))),
    column("replicas", |of| Cell::maybe(of.topic.as_ref(), |topic| Cell::number(replicas(topic)))),
    wide("id", |of| Cell::maybe(of.topic.as_ref(), |topic| Cell::text(topic.id.to_string()))),
];

pub async fn run(args: &CreateArgs, context: &mut Context) -> Result<(), Failure> {
    setting_names::check(Table::Topic, args.configs.iter().map(|(key, _)| key))?;
    let new = |name: &String| NewTopic {
        partitions: args.partitions,
        replication_factor: args.replicas,
        configs: args.configs.iter().cloned().collect(),
        ..NewTopic::new(name)
    };
    let admin = context.admin().await?;
    let wanted: Vec<NewTopic> = args.topics.iter().map(new).collect();
    let (created, mut errors) = sorted_out(admin.create_topics(&wanted, args.dry_run).await?);
    let mut names: Vec<(String, &'static str)> = created
        .into_iter()
        .map(|(name, _)| (name, if args.dry_run { "could be created" } else { "created" }))
        .collect();
    if args.if_not_exists {
        let is_there =
            |error: &ottla_client::ClientError| error.code() == Some(ErrorCode::TopicAlreadyExists);
        if errors.iter().any(is_there) {
            let known: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
            let others = admin.list_topics().await?;
            let there = |name: &&String| others.iter().any(|other| *other.name == ***name);
            names.extend(
                args.topics
                    .iter()
                    .filter(|name| !known.contains(name))
                    .filter(there)
                    .map(|name| (name.clone(), "was there")),
            );
        }
        errors.retain(|error| !is_there(error));
    }
    let mut rows = Vec::new();
    for (name, outcome) in names {
        let topic = if args.dry_run { None } else { described(&admin, &name).await };
        rows.push(Created { name, topic, outcome });
    }
    if !rows.is_empty() {
        context.printer.listing(&Listing::of(COLUMNS, &rows))?;
        context.printer.flush()?;
    }
    all_well(errors)
}

/// `None` where the broker that was asked has not heard of it yet: it exists all the same.
async fn described(admin: &Admin, name: &str) -> Option<Arc<Topic>> {
    topics(admin, &[name.to_owned()]).await.ok()?.pop()
}
