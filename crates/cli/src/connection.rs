//! The way to a cluster: what flags, the environment and profiles say of it, put together. The putting together is pure.

use std::collections::BTreeMap;

use ottla_client::{ClientSettings, Scope, Settings};

use crate::error::Failure;

pub const BOOTSTRAP: &str = "bootstrap.servers";
const DEFAULT_BOOTSTRAP: &str = "localhost:9092";
/// Whoever sits in front of a terminal waits no minute for a broker that isn't there.
const DEFAULT_TIMEOUT_MS: i64 = 15_000;
const API_TIMEOUT: &str = "default.api.timeout.ms";
const REQUEST_TIMEOUT: &str = "request.timeout.ms";
const MAX_BLOCK: &str = "max.block.ms";

/// What is said of the connection, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Of the profile.
    pub profile: BTreeMap<String, String>,
    /// The profile was named by a flag: the environment has no say.
    pub is_profile_chosen: bool,
    /// `OTTLA_BOOTSTRAP_SERVER`
    pub environment: Option<String>,
    /// `-X key=value`
    pub singles: Vec<(String, String)>,
    /// `-b`
    pub bootstrap: Option<String>,
    /// `--timeout`
    pub timeout_ms: Option<i64>,
}

impl Said {
    /// All of it, the stronger over the weaker: flags, then a profile that a flag names, then the environment, then the profile.
    pub fn merged(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([(BOOTSTRAP.to_owned(), DEFAULT_BOOTSTRAP.to_owned())]);
        all.extend(self.profile.clone());
        let is_in_profile = self.profile.contains_key(BOOTSTRAP);
        if let Some(servers) = &self.environment
            && !(self.is_profile_chosen && is_in_profile)
        {
            all.insert(BOOTSTRAP.to_owned(), servers.clone());
        }
        all.extend(self.singles.iter().cloned());
        if let Some(servers) = &self.bootstrap {
            all.insert(BOOTSTRAP.to_owned(), servers.clone());
        }
        all
    }

    /// For a client of this kind.
    ///
    /// # Errors
    /// A value is not possible, or a key that was typed is one of no client at all.
    pub fn settings(&self, scope: Scope) -> Result<(Settings, Vec<String>), Failure> {
        for (key, _) in &self.singles {
            check_key(key)?;
        }
        let mut all = self.merged();
        let timeout_ms = self.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
        let within = if scope == Scope::Producer { MAX_BLOCK } else { API_TIMEOUT };
        let is_strong = self.timeout_ms.is_some();
        if is_strong || !all.contains_key(within) {
            all.insert(within.to_owned(), timeout_ms.to_string());
        }
        // An operation has no more time than all its requests.
        if is_strong && scope != Scope::Producer {
            all.insert(REQUEST_TIMEOUT.to_owned(), timeout_ms.min(30_000).to_string());
        }
        // Keys of other clients stand in a profile with good reason.
        all.retain(|key, _| is_of(scope, key));
        let settings = Settings::parse(scope, all).map_err(|error| Failure::usage(error.to_string()))?;
        let warnings = settings.warnings().to_vec();
        Ok((settings, warnings))
    }

    pub fn client(&self, scope: Scope) -> Result<(ClientSettings, Vec<String>), Failure> {
        let (settings, warnings) = self.settings(scope)?;
        let mut client = ClientSettings::from_settings(&settings);
        if !settings.is_set("client.id") {
            client.client_id = "ottla-cli".to_owned();
        }
        Ok((client, warnings))
    }

    /// Where it leads to.
    pub fn servers(&self) -> String {
        self.merged().remove(BOOTSTRAP).unwrap_or_default()
    }
}

const SCOPES: [Scope; 4] = [Scope::Admin, Scope::Producer, Scope::Consumer, Scope::ShareConsumer];

fn is_of(scope: Scope, key: &str) -> bool {
    // What is wrong with a value is no sign of an unknown key.
    match Settings::parse(scope, [(key, "")]) {
        Ok(settings) => {
            !settings.warnings().iter().any(|warning| warning.starts_with(&format!("{key} is not a setting")))
        }
        Err(_) => true,
    }
}

/// A key that no client has is a mistake of whoever typed it.
fn check_key(key: &str) -> Result<(), Failure> {
    if SCOPES.iter().any(|&scope| is_of(scope, key)) {
        return Ok(());
    }
    let hints = SCOPES.iter().filter_map(|&scope| {
        let settings = Settings::parse(scope, [(key, "")]).ok()?;
        let warning = settings.warnings().first()?.clone();
        warning.split_once("did you mean ").map(|(_, close)| close.trim_end_matches('?').to_owned())
    });
    let failure = Failure::usage(format!("-X {key}: clients have no such setting"));
    Err(match hints.into_iter().next() {
        Some(close) => failure.hint(format!("did you mean {close}?")),
        None => failure,
    })
}

/// `key=value`
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("it has to be KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        let mut said = Said::default();
        for part in text.split_whitespace() {
            let (kind, value) = part.split_once(':').unwrap();
            match kind {
                "profile" | "chosen" => {
                    said.is_profile_chosen = kind == "chosen";
                    said.profile.insert(BOOTSTRAP.to_owned(), value.to_owned());
                }
                "env" => said.environment = Some(value.to_owned()),
                "X" => said.singles.push((BOOTSTRAP.to_owned(), value.to_owned())),
                _ => said.bootstrap = Some(value.to_owned()),
            }
        }
        said
    }

    #[test]
    fn the_stronger_word_counts() {
        for (text, expected) in [
            ("", "localhost:9092"),
            ("profile:p", "p"),
            ("profile:p env:e", "e"),
            ("chosen:p env:e", "p"),
            ("chosen:p env:e X:x", "x"),
            ("chosen:p env:e X:x b:b", "b"),
        ] {
            assert_eq!(said(text).servers(), expected, "{text}");
        }
    }

    #[test]
    fn keys_of_other_clients_are_left_out_and_misspelt_ones_refused() {
        let mut said = said("b:a:1");
        said.profile.insert("linger.ms".to_owned(), "7".to_owned());
        assert_eq!(said.settings(Scope::Producer).unwrap().0.long("linger.ms"), 7);
        assert_eq!(said.settings(Scope::Admin).unwrap().1, Vec::<String>::new());
        said.singles.push(("linger.mss".to_owned(), "7".to_owned()));
        let Failure::Said(problem) = said.settings(Scope::Admin).unwrap_err() else { panic!() };
        assert_eq!(
            problem.shown(),
            "error: -X linger.mss: clients have no such setting\n  hint: did you mean linger.ms?\n"
        );
    }

    #[test]
    fn the_time_limit_is_every_clients() {
        let mut said = said("b:a:1");
        assert_eq!(said.client(Scope::Admin).unwrap().0.default_api_timeout_ms, 15_000);
        said.profile.insert(API_TIMEOUT.to_owned(), "70000".to_owned());
        assert_eq!(said.client(Scope::Admin).unwrap().0.default_api_timeout_ms, 70_000);
        said.timeout_ms = Some(5000);
        assert_eq!(said.client(Scope::Admin).unwrap().0.default_api_timeout_ms, 5000);
        assert_eq!(said.settings(Scope::Producer).unwrap().0.long(MAX_BLOCK), 5000);
    }
}
