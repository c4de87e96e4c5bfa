//! The way to a cluster: what the flags of all tools say of it, and a client that goes by them.

use std::fs;
use std::io;
use std::pin::pin;
use std::time::Duration;

use ottla_client::admin::Admin;
use ottla_client::{Client, ClientError, ClientSettings, Scope, Settings};
use tokio::signal::unix::{SignalKind, signal};

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
        let config = parsed.value("--command-config").map(str::to_owned);
        Ok(Connection { are_controllers, config, ..Connection::to(servers) })
    }

    /// To these brokers.
    pub(crate) fn to(servers: &str) -> Connection {
        Connection {
            servers: servers.to_owned(),
            are_controllers: false,
            config: None,
            client_id: "",
            default_api_timeout_ms: None,
            shares_config: false,
        }
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
        let runtime = built(tokio::runtime::Builder::new_current_thread())?;
        runtime.block_on(async {
            let admin = Admin::new(connect(settings, output).await?);
            work(&admin, output).await
        })
    }
}

/// A runtime whose tasks have a thread of their own: so a client goes on beside what makes or takes its records.
pub(crate) fn with_worker<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1);
    let runtime = built(builder)?;
    let done = runtime.block_on(work);
    // A thread that waits for standard input doesn't end by itself.
    runtime.shutdown_background();
    done
}

fn built(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    builder.enable_all().build().map_err(|error| said(format_args!("can't use the network: {error}")))
}

/// Ends when the user, or the system, wants the process to end: with the exit code that says so.
pub(crate) async fn interrupted() -> u8 {
    let signals =
        || -> io::Result<_> { Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)) };
    let Ok((mut interrupt, mut terminate)) = signals() else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.recv() => ENDED_BY_SIGNAL + 2,
        _ = terminate.recv() => ENDED_BY_SIGNAL + 15,
    }
}

/// Exit codes of processes that a signal has ended start here.
const ENDED_BY_SIGNAL: u8 = 128;

async fn connect(settings: ClientSettings, output: &mut Output<'_>) -> Result<Client, Failure> {
    let servers = settings.bootstrap_servers.join(",");
    patiently(&servers, Client::connect(settings), output).await?.map_err(said)
}

/// A node that isn't there now may be in a moment: it is waited for, but not in silence.
pub(crate) async fn patiently<T>(
    servers: &str,
    connecting: impl Future<Output = T>,
    output: &mut Output<'_>,
) -> Result<T, Failure> {
    let mut connecting = pin!(connecting);
    if let Ok(connected) = tokio::time::timeout(QUIET, &mut connecting).await {
        return Ok(connected);
    }
    output.tell(format_args!("There is no answer from {servers} yet; trying on."))?;
    Ok(connecting.await)
}

/// Whether there are addresses, `host:port` each, parted by commas. For tools that say so in these words.
pub(crate) fn check_servers(servers: Option<&str>) -> Result<(), Failure> {
    let is_address = |server: &str| {
        server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let text = match servers.map(str::trim) {
        None | Some("") => "Error while validating the bootstrap address\n",
        Some(servers) if servers.split(',').all(|server| is_address(server.trim())) => return Ok(()),
        Some(_) => "Please provide valid host:port like host1:9091,host2:9092\n",
    };
    Err(Failure::Usage(text.to_owned()))
}

/// What Java calls `getMessage`: the broker's own words where it has some.
pub(crate) fn message(error: &ClientError) -> String {
    match error {
        ClientError::Broker { message: Some(message), .. } => message.to_string(),
        ClientError::Broker { code, .. } => code.description().to_owned(),
        other => other.to_string(),
    }
}
