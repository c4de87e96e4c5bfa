//! kafka-cluster: the cluster's id, its endpoints, and brokers that are taken out of it.

use ottla_client::ClientError;
use ottla_client::admin::{Admin, Endpoint};

use crate::flags::Parsed;
use crate::net::Connection;
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-cluster", run: Run::Flags(run) };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
    action: Action,
    warns_of_config: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    ClusterId,
    Unregister(i32),
    ListEndpoints { includes_fenced: bool },
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        if parsed.has("--config") && parsed.has("--command-config") {
            return Err(said("--config and --command-config cannot be specified together."));
        }
        let connection = Connection::of(parsed)?.with_config(parsed.value("--config"));
        let action = match parsed.command() {
            Some("unregister") => Action::Unregister(parsed.number("--id").unwrap_or_default()),
            Some("list-endpoints") => {
                let includes_fenced = parsed.has("--include-fenced-brokers");
                if includes_fenced && connection.are_controllers {
                    return Err(said(
                        "The option --include-fenced-brokers is only supported with --bootstrap-server option",
                    ));
                }
                Action::ListEndpoints { includes_fenced }
            }
            _ => Action::ClusterId,
        };
        Ok(Plan { connection, action, warns_of_config: parsed.has("--config") })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    if plan.warns_of_config {
        output.line(
            "Option --config has been deprecated and will be removed in a future version. Use --command-config instead.",
        )?;
    }
    plan.connection.run(output, async |admin, output| match plan.action {
        Action::ClusterId => {
            let cluster = admin.describe_cluster(false).await.map_err(said)?;
            output.line(format_args!("Cluster ID: {}", cluster.cluster_id))
        }
        Action::Unregister(id) => unregister(admin, id, output).await,
        Action::ListEndpoints { includes_fenced } => {
            let nodes = admin.describe_cluster(includes_fenced).await.map_err(said)?.nodes;
            list(&nodes, plan.connection.are_controllers, output)
        }
    })
}

async fn unregister(admin: &Admin, id: i32, output: &mut Output<'_>) -> Result<(), Failure> {
    match admin.unregister_broker(id).await {
        Ok(()) => output.line(format_args!("Broker {id} is no longer registered.")),
        Err(ClientError::Unsupported { .. }) => {
            output.line("The target cluster does not support the broker unregistration API.")
        }
        Err(error) => Err(said(error)),
    }
}

fn list(nodes: &[Endpoint], are_controllers: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    let rack = |node: &Endpoint| node.rack.clone().unwrap_or_else(|| "null".to_owned());
    let hosts = nodes.iter().map(|node| node.host.len()).max().unwrap_or(0);
    let racks = nodes.iter().map(|node| rack(node).len()).max().unwrap_or(0).max(RACK_WIDTH_MIN);
    let state_head = if are_controllers { "" } else { "STATE" };
    let mut row = |id: &str, host: &str, port: &str, rack: &str, state: &str, kind: &str| {
        let state = if are_controllers { String::new() } else { format!("{state:<10} ") };
        output.line(format_args!("{id:<10} {host:<hosts$} {port:<10} {rack:<racks$} {state}{kind:<15}"))
    };
    row("ID", "HOST", "PORT", "RACK", state_head, "ENDPOINT_TYPE")?;
    let kind = if are_controllers { "controller" } else { "broker" };
    for node in nodes {
        let state = if node.is_fenced { "fenced" } else { "unfenced" };
        row(&node.id.to_string(), &node.host, &node.port.to_string(), &rack(node), state, kind)?;
    }
    Ok(())
}

/// Of the column of racks.
const RACK_WIDTH_MIN: usize = 10;
