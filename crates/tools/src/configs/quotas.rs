//! Quotas of users, clients and IPs, and credentials of users.

use std::collections::BTreeMap;

use ottla_client::admin::{Admin, QuotaEntity, QuotaMatch, ScramChange, ScramMechanism};

use super::{Alteration, Entity, Kind, Wrong};
use ottla_wire::ErrorCode;

use crate::java;
use crate::net::message;
use crate::tool::{Failure, Output, said};

const OF_CLIENTS: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const OF_IPS: [&str; 1] = ["connection_creation_rate"];
const DEFAULT_ITERATIONS: u32 = 4096;

/// As the protocol names the type.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user",
        Kind::Client => "client-id",
        _ => "ip",
    }
}

fn filter(entities: &[Entity]) -> Vec<(String, QuotaMatch)> {
    let component = |entity: &Entity| {
        let wanted = match entity.name.as_deref() {
            None => QuotaMatch::Any,
            Some("") => QuotaMatch::Default,
            Some(name) => QuotaMatch::Exact(name.to_owned()),
        };
        (kind(entity.kind).to_owned(), wanted)
    };
    entities.iter().map(component).collect()
}

pub(super) async fn describe(
    admin: &Admin,
    entities: &[Entity],
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let quotas = admin.describe_client_quotas(&filter(entities)).await?;
    for (entity, values) in &quotas {
        let values: Vec<String> =
            values.iter().map(|(key, value)| format!("{key}={}", java::double(*value))).collect();
        output.line(format_args!("Quota configs for {} are {}", shown(entity), values.join(", ")))?;
    }
    let [Entity { kind: Kind::User, name }] = entities else { return Ok(()) };
    if name.as_deref() == Some("") {
        return Ok(());
    }
    let users = name.clone().map(|name| vec![name]);
    let described = admin.describe_scram_credentials(users.as_deref()).await?;
    for (user, credentials) in described {
        match credentials {
            Err(error) if error.code() == Some(ErrorCode::ResourceNotFound) => {}
            Ok(credentials) => {
                let infos: Vec<String> = credentials
                    .iter()
                    .map(|(mechanism, iterations)| format!("{}=iterations={iterations}", mechanism.name()))
                    .collect();
                output.line(format_args!(
                    "SCRAM credential configs for user-principal '{user}' are {}",
                    infos.join(", ")
                ))?;
            }
            Err(error) => output.line(format_args!(
                "Error retrieving SCRAM credential configs for user-principal '{user}': {}: {}",
                java::exception(&error),
                message(&error)
            ))?,
        }
    }
    Ok(())
}

fn shown(entity: &QuotaEntity) -> String {
    let parts = [("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")];
    let parts = parts.into_iter().filter_map(|(kind, shown)| match entity.get(kind)? {
        Some(name) => Some(format!("{shown} '{name}'")),
        None => Some(format!("the default {shown}")),
    });
    parts.collect::<Vec<_>>().join(", ")
}

pub(super) async fn alter(admin: &Admin, entities: &[Entity], alteration: &Alteration) -> Result<(), Wrong> {
    match check(entities, alteration)? {
        What::Quotas => alter_quotas(admin, entities, alteration).await,
        What::Credentials => {
            let user = entities.first().and_then(|entity| entity.name.clone()).unwrap_or_default();
            let changes = credentials(alteration)?;
            Ok(admin.alter_scram_credentials(&user, &changes).await?)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Quotas,
    Credentials,
}

fn is_scram(key: &str) -> bool {
    ScramMechanism::of_name(key).is_some()
}

/// Refuses what isn't there to be set.
fn check(entities: &[Entity], alteration: &Alteration) -> Result<What, Failure> {
    let is_quota = |key: &str| OF_CLIENTS.contains(&key);
    let added = || alteration.add.keys().map(String::as_str);
    let deleted = || alteration.delete.iter().map(String::as_str);
    if entities.first().is_some_and(|entity| entity.kind == Kind::Ip) {
        let unknown: Vec<&str> = added().chain(deleted()).filter(|key| !OF_IPS.contains(key)).collect();
        return match unknown.is_empty() {
            true => Ok(What::Quotas),
            false => Err(said(format_args!(
                "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: {}",
                unknown.join(",")
            ))),
        };
    }
    let of_client = entities.iter().any(|entity| entity.kind == Kind::Client);
    let is_unknown = |key: &&str| !is_quota(key) && (of_client || !is_scram(key));
    let (what, whose) = if of_client {
        ("quota configs", "clients")
    } else {
        ("quota and SCRAM credential configs", "users")
    };
    for (done, collection, unknown) in [
        ("added", "Set", added().filter(is_unknown).collect::<Vec<_>>()),
        ("deleted", "List", deleted().filter(is_unknown).collect()),
    ] {
        if !unknown.is_empty() {
            return Err(said(format_args!(
                "Only {what} can be {done} for '{whose}' using --bootstrap-server. Unexpected config names: \
                 {collection}({})",
                unknown.join(", ")
            )));
        }
    }
    if !added().chain(deleted()).any(is_scram) {
        return Ok(What::Quotas);
    }
    if entities.iter().any(|entity| entity.name.as_deref() == Some("")) {
        return Err(said(
            "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
             --bootstrap-server.",
        ));
    }
    if added().chain(deleted()).any(is_quota) {
        return Err(said(
            "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server.",
        ));
    }
    Ok(What::Credentials)
}

async fn alter_quotas(admin: &Admin, entities: &[Entity], alteration: &Alteration) -> Result<(), Wrong> {
    let described = admin.describe_client_quotas(&filter(entities)).await?;
    let old = described.into_values().next().unwrap_or_default();
    let unknown: Vec<&str> =
        alteration.delete.iter().filter(|key| !old.contains_key(*key)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(said(format_args!("Invalid config(s): {}", unknown.join(","))).into());
    }
    let entity: QuotaEntity = entities
        .iter()
        .map(|entity| (kind(entity.kind).to_owned(), entity.name.clone().filter(|name| !name.is_empty())))
        .collect();
    let mut changes: BTreeMap<String, Option<f64>> =
        alteration.delete.iter().map(|key| (key.clone(), None)).collect();
    for (key, text) in &alteration.add {
        let value = text
            .trim()
            .parse()
            .map_err(|_| said(format_args!("Cannot parse quota configuration value for {key}: {text}")))?;
        changes.insert(key.clone(), Some(value));
    }
    Ok(admin.alter_client_quotas(&entity, &changes).await?)
}

/// `SCRAM-SHA-256=[iterations=8192,password=secret]`
fn credentials(alteration: &Alteration) -> Result<Vec<ScramChange>, Failure> {
    let mut changes: Vec<ScramChange> = alteration
        .delete
        .iter()
        .filter_map(|key| ScramMechanism::of_name(key))
        .map(ScramChange::Delete)
        .collect();
    for (key, text) in &alteration.add {
        let Some(mechanism) = ScramMechanism::of_name(key) else { continue };
        let invalid = || said(format_args!("Invalid credential property {mechanism:?}={text}"));
        let (iterations, password) = match text.strip_prefix("iterations=") {
            Some(rest) => {
                let (count, rest) = rest.split_once(',').ok_or_else(invalid)?;
                (count, rest.strip_prefix("password=").ok_or_else(invalid)?)
            }
            None => ("-1", text.strip_prefix("password=").ok_or_else(invalid)?),
        };
        let iterations: i64 = match iterations {
            "-1" => i64::from(DEFAULT_ITERATIONS),
            digits => digits.parse().map_err(|_| invalid())?,
        };
        if iterations < i64::from(DEFAULT_ITERATIONS) {
            return Err(said(format_args!(
                "Iterations {iterations} is less than the minimum {DEFAULT_ITERATIONS} required for {}",
                mechanism.name()
            )));
        }
        changes.push(ScramChange::Set {
            mechanism,
            iterations: u32::try_from(iterations).map_err(|_| invalid())?,
            password: password.to_owned(),
        });
    }
    Ok(changes)
}
