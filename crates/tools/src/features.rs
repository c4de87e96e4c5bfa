//! kafka-features: which features a cluster has at which level, and what may become of them.

use std::collections::BTreeMap;

use ottla_client::admin::{Admin, FeatureUpdate, UpgradeType};
use ottla_metadata::{Feature, MetadataVersion};
use ottla_types::NodeId;

use crate::flags::Parsed;
use crate::net::{Connection, message};
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-features", run: Run::Flags(run) };

const METADATA_VERSION: &str = "metadata.version";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Describe { connection: Connection, node: Option<i32> },
    Update { connection: Connection, update: Update },
    VersionMapping { release: Option<String> },
    Dependencies { features: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// `upgrade`, `downgrade` or `disable`.
    operation: &'static str,
    kind: UpgradeType,
    levels: BTreeMap<String, i16>,
    is_dry: bool,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        match parsed.command() {
            Some("version-mapping") => {
                Ok(Plan::VersionMapping { release: parsed.value("--release-version").map(str::to_owned) })
            }
            Some("feature-dependencies") => {
                Ok(Plan::Dependencies { features: parsed.values("--feature").to_vec() })
            }
            Some("describe") | None => {
                let node = parsed.number("--node-id");
                if let Some(id) = node.filter(|id| *id < 0) {
                    return Err(said(format_args!("Invalid node id {id}: must be non-negative.")));
                }
                Ok(Plan::Describe { connection: connection(parsed)?, node })
            }
            Some(_) => Ok(Plan::Update { connection: connection(parsed)?, update: Update::of(parsed)? }),
        }
    }
}

fn connection(parsed: &Parsed) -> Result<Connection, Failure> {
    Connection::of(parsed).map_err(|failure| match failure {
        Failure::Usage(text) => misuse(&text),
        other => other,
    })
}

impl Update {
    fn of(parsed: &Parsed) -> Result<Update, Failure> {
        let unsafely = parsed.has("--unsafe");
        let (operation, kind) = match parsed.command() {
            Some("downgrade") if unsafely => ("downgrade", UpgradeType::UnsafeDowngrade),
            Some("downgrade") => ("downgrade", UpgradeType::SafeDowngrade),
            Some("disable") if unsafely => ("disable", UpgradeType::UnsafeDowngrade),
            Some("disable") => ("disable", UpgradeType::SafeDowngrade),
            _ => ("upgrade", UpgradeType::Upgrade),
        };
        let levels = match operation {
            "disable" => disabled(parsed.values("--feature"))?,
            _ => levels(parsed, kind)?,
        };
        if levels.is_empty() {
            return Err(said(format_args!("You must specify at least one feature to {operation}")));
        }
        Ok(Update { operation, kind, levels, is_dry: parsed.has("--dry-run") })
    }
}

fn disabled(names: &[String]) -> Result<BTreeMap<String, i16>, Failure> {
    let mut levels = BTreeMap::new();
    for name in names {
        if levels.insert(name.clone(), 0).is_some() {
            return Err(said(format_args!("Feature {name} was specified more than once.")));
        }
    }
    Ok(levels)
}

fn levels(parsed: &Parsed, kind: UpgradeType) -> Result<BTreeMap<String, i16>, Failure> {
    let (metadata, release) = (parsed.value("--metadata"), parsed.value("--release-version"));
    let features = parsed.values("--feature");
    if let Some(release) = release {
        if metadata.is_some() || !features.is_empty() {
            return Err(said("Can not specify `release-version` with other feature flags."));
        }
        let version = version_of(release)?;
        let levels = Feature::all().map(|of| (of.name.to_owned(), of.feature.default_level(version)));
        // What the release doesn't have needs no upgrade.
        return Ok(levels.filter(|(_, level)| kind != UpgradeType::Upgrade || *level > 0).collect());
    }
    let mut levels = BTreeMap::new();
    if let Some(name) = metadata {
        levels.insert(METADATA_VERSION.to_owned(), version_of(name)?.level());
    }
    for text in features {
        let (name, level) = level_of(text)?;
        if levels.insert(name.to_owned(), level).is_some() {
            return Err(said(format_args!("Feature {name} was specified more than once.")));
        }
    }
    Ok(levels)
}

/// As this tool says that the line is wrong.
fn misuse(text: &str) -> Failure {
    said(format_args!("Command line error: {text}. Type --help for help."))
}

fn version_of(release: &str) -> Result<MetadataVersion, Failure> {
    MetadataVersion::from_name(release).ok_or_else(|| {
        let names = MetadataVersion::all().map(MetadataVersion::name).collect::<Vec<_>>().join(", ");
        said(format_args!("Unknown metadata.version '{release}'. Supported metadata.version are: {names}"))
    })
}

/// `name=level`
fn level_of(text: &str) -> Result<(&str, i16), Failure> {
    let (name, level) = text.split_once('=').ok_or_else(|| {
        said(format_args!("Can't parse feature=level string {text}: equals sign not found."))
    })?;
    let read = level.trim().parse().map_err(|_| {
        said(format_args!("Can't parse feature=level string {text}: unable to parse {level} as a short."))
    })?;
    Ok((name.trim(), read))
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    if parsed.has("--metadata") && !parsed.has("--release-version") {
        output.line(" `metadata` flag is deprecated and may be removed in a future release.")?;
    }
    match Plan::of(parsed)? {
        Plan::Describe { connection, node } => {
            connection.run(output, async |admin, output| describe(admin, node.map(NodeId), output).await)
        }
        Plan::Update { connection, update } => {
            connection.run(output, async |admin, output| change(admin, &update, output).await)
        }
        Plan::VersionMapping { release } => {
            let name = release.as_deref().unwrap_or(MetadataVersion::LATEST.name());
            let version = version_of(name)?;
            output.line(format_args!("{METADATA_VERSION}={} ({name})", version.level()))?;
            Feature::all().filter(|of| of.feature != Feature::MetadataVersion).try_for_each(|of| {
                output.line(format_args!("{}={}", of.name, of.feature.default_level(version)))
            })
        }
        Plan::Dependencies { features } => {
            features.iter().try_for_each(|text| print_dependencies(text, output))
        }
    }
}

fn shown(feature: &str, level: i16) -> String {
    match (feature, MetadataVersion::from_level(level)) {
        (METADATA_VERSION, Some(version)) => version.name().to_owned(),
        (METADATA_VERSION, None) => format!("UNKNOWN {level}"),
        _ => level.to_string(),
    }
}

async fn describe(admin: &Admin, node: Option<NodeId>, output: &mut Output<'_>) -> Result<(), Failure> {
    let told = admin.describe_features(node).await.map_err(|error| said(message(&error)))?;
    let epoch = told.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
    let names: std::collections::BTreeSet<&String> =
        told.supported.keys().chain(told.finalized.keys()).collect();
    for name in names {
        let (min, max) = told.supported.get(name).map_or((0, 0), |range| (range.min, range.max));
        let finalized = told.finalized.get(name).map_or(0, |level| level.max_level);
        output.line(format_args!(
            "Feature: {name:<40}  SupportedMinVersion: {:<15}  SupportedMaxVersion: {:<15}  \
             FinalizedVersionLevel: {:<15}  Epoch: {epoch}",
            shown(name, min),
            shown(name, max),
            shown(name, finalized),
        ))?;
    }
    Ok(())
}

async fn change(admin: &Admin, update: &Update, output: &mut Output<'_>) -> Result<(), Failure> {
    let updates: BTreeMap<String, FeatureUpdate> = update
        .levels
        .iter()
        .map(|(name, level)| (name.clone(), FeatureUpdate { level: *level, upgrade_type: update.kind }))
        .collect();
    let done = admin.update_features(&updates, update.is_dry).await;
    let count = updates.len();
    for (name, level) in &update.levels {
        let what = match update.operation {
            "disable" => format!("disable {name}"),
            operation => format!("{operation} {name} to {level}"),
        };
        match (&done, update.is_dry) {
            (Err(error), true) => output.line(format_args!("Can not {what}. {}", message(error)))?,
            (Err(error), false) => output.line(format_args!("Could not {what}. {}", message(error)))?,
            (Ok(()), is_dry) => {
                let did = if is_dry { "can be" } else { "was" };
                match update.operation {
                    "disable" => output.line(format_args!("{name} {did} disabled."))?,
                    operation => output.line(format_args!("{name} {did} {operation}d to {level}."))?,
                }
            }
        }
    }
    match done {
        Ok(()) => Ok(()),
        Err(_) => Err(said(format_args!("{count} out of {count} operation(s) failed."))),
    }
}

fn print_dependencies(text: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let (name, level) = level_of(text)?;
    let feature = Feature::from_name(name).ok_or_else(|| said(format_args!("Unknown feature: {name}")))?;
    if feature == Feature::MetadataVersion {
        let version = MetadataVersion::from_level(level)
            .ok_or_else(|| said(format_args!("Unknown metadata.version {level}")))?;
        return output.line(format_args!("{name}={level} ({}) has no dependencies.", version.name()));
    }
    if !feature.facts().supports(level) {
        return Err(said(format_args!("No feature:{name} with feature level {level}")));
    }
    match feature.required_metadata_version(level) {
        None => output.line(format_args!("{name}={level} has no dependencies.")),
        Some(version) => {
            output.line(format_args!("{name}={level} requires:"))?;
            output.line(format_args!("    {METADATA_VERSION}={} ({})", version.level(), version.name()))
        }
    }
}
