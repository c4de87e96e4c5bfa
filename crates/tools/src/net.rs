//! The way to a cluster: what the flags of all tools say of it, and a client that goes by them.

use std::fs;
use std::pin::pin;
use std::time::Duration;

use ottla_client::admin::Admin;
use ottla_client::{Client, ClientError, ClientSettings, Scope, Settings};

use crate::flags::Parsed;
use crate::tool::{Failure, Output, said};

/// Whoever waits longer than this for a first answer should hear of it.
const QUIET: Duration = Duration::from_secs(2);

/// Which nodes are asked first, and with which settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    servers: String,
    pub(crate) are_controllers: bool,
    /// A properties file.
    config: Option<String>,
    client_id: &'static str,
    default_api_timeout_ms: Option<u64>,
    /// The file of settings is one of something else too.
    shares_config: bool,
}

impl Connection {
    /// By `--bootstrap-server` or `--bootstrap-controller`.
    pub(crate) fn of(parsed: &Parsed) -> Result<Connection, Failure> {
        let (servers, are_controllers) =
            match (parsed.value("--bootstrap-server"), parsed.value("--bootstrap-controller")) {
                (Some(servers), None) => (servers, false),
                (None, Some(servers)) => (servers, true),
                (Some(_), Some(_)) => {
                    let text = "You cannot specify both --bootstrap-controller and --bootstrap-server.";
                    return Err(Failure::Usage(text.to_owned()));
                }
                (None, None) => {
                    let text = "You must specify either --bootstrap-controller or --bootstrap-server.";
                    return Err(Failure::Usage(text.to_owned()));
                }
            };
        Ok(Connection {
            servers: servers.to_owned(),
            are_controllers,
            config: parsed.value("--command-config").map(str::to_owned),
            client_id: "",
            default_api_timeout_ms: None,
            shares_config: false,
        })
    }

    /// A file of settings that another flag named, if none has been named.
    pub(crate) fn with_config(self, file: Option<&str>) -> Connection {
        Connection { config: self.config.or(file.map(str::to_owned)), ..self }
    }

    /// What brokers know the tool by, unless the settings say something else.
    pub(crate) fn named(self, client_id: &'static str) -> Connection {
        Connection { client_id, ..self }
    }

    /// The file of settings has others beside the client's, which nobody is to be warned of.
    pub(crate) fn sharing_config(self) -> Connection {
        Connection { shares_config: true, ..self }
    }

    /// How long things may take, unless the settings say something else.
    pub(crate) fn within_ms(self, default_api_timeout_ms: u64) -> Connection {
        Connection { default_api_timeout_ms: Some(default_api_timeout_ms), ..self }
    }

    fn settings(&self, output: &mut Output<'_>) -> Result<ClientSettings, Failure> {
        let file = match &self.config {
            Some(path) => fs::read(path).map_err(|error| said(format_args!("{path}: {error}")))?,
            None => Vec::new(),
        };
        let parsed = Settings::parse_properties(Scope::Admin, &file);
        let parsed = parsed.map_err(|error| match &self.config {
            Some(path) => said(format_args!("{path}: {error}")),
            None => said(error),
        })?;
        for warning in parsed.warnings().iter().filter(|_| !self.shares_config) {
            output.tell(format_args!("warning: {warning}"))?;
        }
        let mut settings = ClientSettings::from_settings(&parsed);
        settings.bootstrap_servers = ClientSettings::new(&self.servers).bootstrap_servers;
        settings.is_of_controllers = self.are_controllers;
        if !parsed.is_set("client.id") {
            settings.client_id = self.client_id.to_owned();
        }
        if let Some(timeout_ms) =
            self.default_api_timeout_ms.filter(|_| !parsed.is_set("default.api.timeout.ms"))
        {
            settings.default_api_timeout_ms = timeout_ms;
        }
        Ok(settings)
    }

    /// Connects, and does the work.
    pub(crate) fn run(
        &self,
        output: &mut Output<'_>,
        work: impl AsyncFnOnce(&Admin, &mut Output<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let settings = self.settings(output)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| said(format_args!("can't use the network: {error}")))?;
        runtime.block_on(async {
            let admin = Admin::new(connect(settings, output).await?);
            work(&admin, output).await
        })
    }
}

/// A node that isn't there now may be in a moment: it is waited for, but not in silence.
async fn connect(settings: ClientSettings, output: &mut Output<'_>) -> Result<Client, Failure> {
    let servers = settings.bootstrap_servers.join(",");
    let mut connecting = pin!(Client::connect(settings));
    let connected = match tokio::time::timeout(QUIET, &mut connecting).await {
        Ok(connected) => connected,
        Err(_) => {
            output.tell(format_args!("There is no answer from {servers} yet; trying on."))?;
            connecting.await
        }
    };
    connected.map_err(said)
}

/// What Java calls `getMessage`: the broker's own words where it has some.
pub(crate) fn message(error: &ClientError) -> String {
    match error {
        ClientError::Broker { message: Some(message), .. } => message.to_string(),
        ClientError::Broker { code, .. } => code.description().to_owned(),
        other => other.to_string(),
    }
}
