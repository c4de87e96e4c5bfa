//! That every setting has its effect: for each row of the tables, something that is to be seen from outside and is another thing
//! once the setting has another value. It is seen from a cluster in memory, on virtual time.
//!
//! What is honoured has a row in one of the tables here; without one the test fails, as it does where an effect is not what the
//! row says. What is refused, forbidden or has no effect needs no row: it is tried with a value made up for it.

mod answers;
mod connection;
mod consuming;
mod fake;
mod producing;
mod sharing;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

pub(crate) use {answers::Telemetry as Subscribed, fake::Dial, fake::Fake, fake::Fate, fake::Seen};

use crate::settings::{Handling, Scope, Settings};
use crate::{ClientSettings, SettingsError};

const SCOPES: [Scope; 4] = [Scope::Producer, Scope::Consumer, Scope::ShareConsumer, Scope::Admin];
const ALL: &[Scope] = &SCOPES;

/// What an observer has to do with: a cluster without topics, and settings that were read from properties.
struct Given {
    fake: Fake,
    scope: Scope,
    pairs: BTreeMap<String, String>,
}

impl Given {
    fn read(&self) -> Result<Settings, SettingsError> {
        Settings::parse(self.scope, &self.pairs)
    }

    fn settings(&self) -> Settings {
        self.read().unwrap()
    }

    /// The cluster wants all metrics.
    fn takes_metrics(&self) {
        self.fake.with(|state| {
            state.telemetry = Some(Subscribed {
                requested: vec![String::new()],
                push_interval_ms: 10_000,
                compressions: vec![0],
                bytes_max: 1 << 20,
                is_delta: false,
                subscription_id: 1,
            });
        });
    }

    fn client_settings(&self) -> ClientSettings {
        self.connected(ClientSettings::from_settings(&self.settings()))
    }

    /// In this cluster's network.
    fn connected(&self, settings: ClientSettings) -> ClientSettings {
        ClientSettings { connector: Some(Arc::new(self.fake.clone())), ..settings }
    }
}

type Observer = fn(Given) -> Pin<Box<dyn Future<Output = String>>>;

/// What is seen with a setting's default, and what with another value.
struct Effect {
    scopes: &'static [Scope],
    key: &'static str,
    value: &'static str,
    /// Of other settings, so that there is something to be seen; in both cases.
    with: &'static [(&'static str, &'static str)],
    observe: Observer,
    by_default: &'static str,
    given: &'static str,
}

/// `effect!(SCOPES, "key" = "value", observer, "seen by default" => "seen with the value", with [("other.key", "value")])`
macro_rules! effect {
    ($scopes:expr, $key:literal = $value:literal, $observe:expr, $by_default:literal => $given:literal $(, with $with:expr)?) => {
        super::Effect {
            scopes: $scopes,
            key: $key,
            value: $value,
            with: { let _with: &[(&str, &str)] = &[]; $(let _with = &$with;)? _with },
            observe: |given| Box::pin($observe(given)),
            by_default: $by_default,
            given: $given,
        }
    };
}
use effect;

fn effects() -> impl Iterator<Item = &'static Effect> {
    [connection::EFFECTS, producing::EFFECTS, consuming::EFFECTS, sharing::EFFECTS].into_iter().flatten()
}

/// On a runtime of its own, whose time is its own.
fn observe(scope: Scope, effect: &Effect, value: Option<&str>) -> String {
    let mut pairs = BTreeMap::from([("bootstrap.servers".to_owned(), "boot:9092".to_owned())]);
    if matches!(scope, Scope::Consumer | Scope::ShareConsumer) {
        pairs.insert("group.id".to_owned(), "g".to_owned());
    }
    let chosen = value.map(|value| (effect.key, value));
    pairs.extend(
        effect.with.iter().copied().chain(chosen).map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async { (effect.observe)(Given { fake: Fake::new(), scope, pairs }).await })
}

/// The one of these that it is, give or take what chance and a millisecond for the clock make of it.
fn about(ms: u64, expected: &[u64]) -> String {
    let nearest = expected.iter().min_by_key(|near| near.abs_diff(ms)).unwrap();
    let is_near = ms + 1 >= nearest * 3 / 4 && ms <= nearest * 5 / 4 + 1;
    if is_near { format!("about {nearest} ms") } else { format!("{ms} ms exactly") }
}

fn check(scope: Scope) {
    let mut count = 0;
    let mut failures = Vec::new();
    for row in scope.rows() {
        let found: Vec<&Effect> =
            effects().filter(|effect| effect.key == row.name && effect.scopes.contains(&scope)).collect();
        match (row.handling, found.as_slice()) {
            (Handling::Honoured, [effect]) => {
                let is_default = row.parse(effect.value).ok() == row.default_value();
                let seen = [None, Some(effect.value)].map(|value| {
                    let observed = std::panic::catch_unwind(|| observe(scope, effect, value));
                    observed.unwrap_or_else(|_| "a panic".to_owned())
                });
                let expected = [effect.by_default, effect.given];
                if seen != expected || seen[0] == seen[1] || is_default {
                    failures.push(format!("{}={}: {seen:?} where {expected:?}", row.name, effect.value));
                }
                count += 1;
            }
            (Handling::Honoured, effects) => {
                failures.push(format!("{}: {} effects", row.name, effects.len()))
            }
            (_, []) => {}
            (handling, _) => failures.push(format!("{} has an effect and is {handling:?}", row.name)),
        }
    }
    assert!(failures.is_empty(), "of a {scope}'s settings\n{}", failures.join("\n"));
    let honoured = scope.rows().iter().filter(|row| row.handling == Handling::Honoured).count();
    assert_eq!(count, honoured);
}

#[test]
fn what_a_producer_honours_has_its_effect() {
    check(Scope::Producer);
}

#[test]
fn what_a_consumer_honours_has_its_effect() {
    check(Scope::Consumer);
}

#[test]
fn what_a_share_consumer_honours_has_its_effect() {
    check(Scope::ShareConsumer);
}

#[test]
fn what_an_administrator_honours_has_its_effect() {
    check(Scope::Admin);
}

#[test]
fn every_effect_is_of_a_setting_that_is_there() {
    for effect in effects() {
        for scope in effect.scopes {
            assert!(scope.row(effect.key).is_some(), "{} of a {scope}", effect.key);
        }
    }
}

/// Any value but the default that the row's type and limits allow.
fn another_value(scope: Scope, key: &str) -> String {
    let row = scope.row(key).unwrap();
    let candidates = [
        "false",
        "true",
        "SSL",
        "TRACE",
        "canonical",
        "1",
        "2",
        "7",
        "0.1",
        "0.2",
        "explicit",
        "record_limit",
        "read_committed",
        "consumer",
        "earliest",
        "ES256",
        "resolve_canonical_bootstrap_servers_only",
        "a.b.C",
    ];
    let is_another = |value: &&&str| row.parse(value).is_ok_and(|parsed| Some(parsed) != row.default_value());
    candidates.iter().find(is_another).unwrap_or_else(|| panic!("no value for {key}")).to_string()
}

#[test]
fn what_is_not_honoured_is_refused_or_told() {
    for scope in SCOPES {
        for row in scope.rows().iter().filter(|row| row.handling != Handling::Honoured) {
            let value = another_value(scope, row.name);
            let parsed = Settings::parse(scope, [(row.name, &value)]);
            let told = match (&row.handling, &parsed) {
                (Handling::Refused | Handling::Forbidden, Err(error)) => error.to_string(),
                (Handling::Warned, Ok(settings)) => settings.warnings().join("\n"),
                (handling, _) => panic!("{}={value} is {handling:?} for a {scope}: {parsed:?}", row.name),
            };
            assert!(told.contains(row.name) && told.contains(row.reason), "{}={value}: {told}", row.name);
            if let (Handling::Refused, Some(default)) = (row.handling, row.default_text()) {
                assert!(Settings::parse(scope, [(row.name, default)]).is_ok(), "{}={default}", row.name);
            }
        }
    }
}
