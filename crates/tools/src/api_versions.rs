//! kafka-broker-api-versions: which versions of which APIs each broker serves, and which of them clients here use.

use ottla_client::Broker;
use ottla_client::admin::BrokerApis;
use ottla_wire::ApiKey;

use crate::flags::Parsed;
use crate::net::{Connection, message};
use crate::tool::{Failure, Output, Run, Tool};

pub const TOOL: Tool = Tool { name: "kafka-broker-api-versions", run: Run::Flags(run) };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        if !parsed.has("--bootstrap-server") {
            return Err(Failure::Usage("Missing required argument \"[bootstrap-server]\"".to_owned()));
        }
        Ok(Plan { connection: Connection::of(parsed)?.named("admin-1") })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| {
        let metadata = admin.client().metadata();
        for (node, apis) in admin.broker_apis().await {
            let Some(broker) = metadata.brokers().get(&node) else { continue };
            match apis {
                Ok(apis) => output.line(format_args!("{} -> {}", shown(broker), versions(&apis)))?,
                Err(error) => {
                    output.line(format_args!("{} -> ERROR: {}\n", shown(broker), message(&error)))?
                }
            }
        }
        Ok(())
    })
}

fn shown(broker: &Broker) -> String {
    let rack = broker.rack.as_deref().unwrap_or("null");
    format!("{}:{} (id: {} rack: {rack} isFenced: false)", broker.host, broker.port, broker.id)
}

/// One line an API, and at the end those that the broker doesn't serve.
fn versions(apis: &BrokerApis) -> String {
    let mut lines: Vec<(i16, String)> = Vec::new();
    for api in &apis.api_keys {
        let range = match api.min_version == api.max_version {
            true => api.min_version.to_string(),
            false => format!("{} to {}", api.min_version, api.max_version),
        };
        lines.push((
            api.api_key,
            match ApiKey::from_code(api.api_key) {
                Some(key) => format!(
                    "{}({}): {range} [{}]",
                    key.name(),
                    api.api_key,
                    usable(key, api.min_version, api.max_version)
                ),
                None => format!("UNKNOWN({}): {range}", api.api_key),
            },
        ));
    }
    for key in ApiKey::all().filter(|key| key.facts().on_broker && key.facts().schema_versions.is_some()) {
        if !apis.api_keys.iter().any(|api| api.api_key == key.code()) {
            lines.push((key.code(), format!("{}({}): UNSUPPORTED", key.name(), key.code())));
        }
    }
    lines.sort();
    let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    format!("(\n\t{}\n)\n", lines.join(",\n\t"))
}

fn usable(key: ApiKey, min: i16, max: i16) -> String {
    let facts = key.facts();
    let Some(known) = facts.broker_versions.or(facts.schema_versions) else {
        return "unusable: node too old".to_owned();
    };
    if max < known.min {
        return "unusable: node too old".to_owned();
    }
    if min > known.max {
        return "unusable: node too new".to_owned();
    }
    format!("usable: {}", max.min(known.max))
}
