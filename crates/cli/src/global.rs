//! The flags that every command has, and what a command works with.

use std::env;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use ottla_client::admin::Admin;
use ottla_client::{Client, ClientSettings, Scope, Settings};

use crate::completion;
use crate::connection::{Said, key_value};
use crate::error::Failure;
use crate::expr::parse_duration_ms;
use crate::output::{Format, Printer};
use crate::profile::Profiles;

const CONNECTION: &str = "Connection";
const PRINTING: &str = "Output";

#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Brokers to ask first [env: OTTLA_BOOTSTRAP_SERVER] [default: localhost:9092]
    #[arg(short = 'b', long, value_name = "HOST:PORT,...", global = true, help_heading = CONNECTION)]
    pub bootstrap_server: Option<String>,
    /// Settings that were stored by this name (ottla profile) [env: OTTLA_PROFILE]
    #[arg(short = 'P', long, value_name = "NAME", global = true, help_heading = CONNECTION,
          add = ArgValueCompleter::new(completion::profiles))]
    pub profile: Option<String>,
    /// A setting of the client by Kafka's name, as in -X client.id=me; may be repeated
    #[arg(short = 'X', long = "set", value_name = "KEY=VALUE", value_parser = key_value, global = true, help_heading = CONNECTION)]
    pub client_settings: Vec<(String, String)>,
    /// How long to wait for the cluster, such as 500ms or 1m [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms, global = true, help_heading = CONNECTION)]
    pub timeout: Option<i64>,
    /// In which format to print
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, global = true, help_heading = PRINTING)]
    pub output: Format,
    /// Tables without their first line
    #[arg(long, global = true, help_heading = PRINTING)]
    pub no_headers: bool,
    /// When to colour; NO_COLOR in the environment is heeded
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, global = true, help_heading = PRINTING)]
    pub color: Colour,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true, help_heading = PRINTING)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal
    #[default]
    Auto,
    Always,
    Never,
}

impl Colour {
    pub fn is_wanted(self, is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => is_terminal && !is_set("NO_COLOR") && variable("TERM").as_deref() != Some("dumb"),
        }
    }
}

/// What a command works with.
#[derive(Debug)]
pub struct Context {
    pub said: Said,
    pub printer: Printer,
    is_quiet: bool,
    pub now_ms: i64,
}

/// Whoever waits longer than this for a first answer should hear of it.
const QUIET: Duration = Duration::from_secs(2);

impl Context {
    pub fn new(global: &Global) -> Result<Context, Failure> {
        let out = io::stdout();
        let is_coloured = global.color.is_wanted(out.is_terminal(), variable);
        let out = BufWriter::new(out);
        let printer = Printer::new(Box::new(out), global.output, !global.no_headers, is_coloured);
        Ok(Context { said: said(global)?, printer, is_quiet: global.quiet, now_ms: now_ms() })
    }

    /// A line for whoever watches.
    pub fn tell(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        if self.is_quiet {
            return Ok(());
        }
        // What was printed so far belongs before it, where both go to one place.
        self.printer.flush()?;
        // Where standard error is gone, nobody is left to tell.
        let _ = writeln!(io::stderr(), "{text}");
        Ok(())
    }

    /// Progress is drawn: somebody watches, and nothing else is written there.
    pub fn is_watched(&self) -> bool {
        !self.is_quiet && io::stderr().is_terminal()
    }

    pub fn settings(&mut self, scope: Scope) -> Result<Settings, Failure> {
        let (settings, warnings) = self.said.settings(scope)?;
        self.warn(&warnings)?;
        Ok(settings)
    }

    fn warn(&mut self, warnings: &[String]) -> Result<(), Failure> {
        warnings.iter().try_for_each(|warning| self.tell(format_args!("warning: {warning}")))
    }

    pub async fn admin(&mut self) -> Result<Admin, Failure> {
        let (settings, warnings) = self.said.client(Scope::Admin)?;
        self.warn(&warnings)?;
        Ok(Admin::new(self.connect(settings).await?))
    }

    /// A node that isn't there now may be in a moment: it is waited for, but not in silence.
    pub async fn connect(&mut self, settings: ClientSettings) -> Result<Client, Failure> {
        let servers = settings.bootstrap_servers.join(",");
        let mut connecting = pin!(Client::connect(settings));
        if let Ok(connected) = tokio::time::timeout(QUIET, &mut connecting).await {
            return Ok(connected?);
        }
        self.tell(format_args!("There is no answer from {servers} yet; trying on."))?;
        Ok(connecting.await?)
    }

    /// Nothing was done: how to have it done.
    pub fn tell_preview(&mut self, admin: &Admin) -> Result<(), Failure> {
        let cluster = admin.client().metadata().cluster_id().unwrap_or("?").to_owned();
        let servers = self.said.servers();
        self.tell(format_args!(
            "Nothing was changed. This is what --execute does, on cluster {cluster} at {servers}."
        ))
    }
}

/// What flags and the environment say, with the profile that they name.
pub fn said(global: &Global) -> Result<Said, Failure> {
    let profiles = Profiles::of(variable);
    let named = global.profile.clone().or_else(|| variable("OTTLA_PROFILE").filter(|name| !name.is_empty()));
    let profile = match (named, profiles) {
        (Some(name), Some(profiles)) => profiles.read(&name)?,
        (Some(_), None) => {
            return Err(Failure::usage(
                "there is no directory for profiles: neither XDG_CONFIG_HOME nor HOME is set",
            ));
        }
        (None, Some(profiles)) => match profiles.default_name()? {
            Some(name) => profiles.read(&name)?,
            None => Default::default(),
        },
        (None, None) => Default::default(),
    };
    Ok(Said {
        profile,
        is_profile_chosen: global.profile.is_some(),
        environment: variable("OTTLA_BOOTSTRAP_SERVER").filter(|servers| !servers.is_empty()),
        singles: global.client_settings.clone(),
        bootstrap: global.bootstrap_server.clone(),
        timeout_ms: global.timeout,
    })
}

pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Since the Unix epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_heed_the_terminal_and_no_color() {
        let with = |name: &'static str, value: &'static str| {
            move |asked: &str| (asked == name).then(|| value.to_owned())
        };
        assert!(Colour::Auto.is_wanted(true, |_| None));
        assert!(!Colour::Auto.is_wanted(false, |_| None));
        assert!(!Colour::Auto.is_wanted(true, with("NO_COLOR", "1")));
        assert!(Colour::Auto.is_wanted(true, with("NO_COLOR", "")));
        assert!(!Colour::Auto.is_wanted(true, with("TERM", "dumb")));
        assert!(Colour::Always.is_wanted(false, with("NO_COLOR", "1")));
        assert!(!Colour::Never.is_wanted(true, |_| None));
    }
}
