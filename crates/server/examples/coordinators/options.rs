//! What is given on the command line.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use crate::Outcome;

/// `KEY=VALUE` after the case.
#[derive(Debug)]
pub struct Options {
    /// Of the broker, as `HOST:PORT`.
    pub address: String,
    given: BTreeMap<String, String>,
    used: RefCell<BTreeSet<&'static str>>,
}

impl Options {
    pub fn parse(address: String, arguments: impl Iterator<Item = String>) -> Outcome<Options> {
        let mut given = BTreeMap::new();
        for argument in arguments {
            let (key, value) =
                argument.split_once('=').ok_or_else(|| format!("{argument} is no KEY=VALUE"))?;
            given.insert(key.to_owned(), value.to_owned());
        }
        Ok(Options { address, given, used: RefCell::default() })
    }

    /// The value of `key`, or `default`.
    pub fn get<T: FromStr>(&self, key: &'static str, default: T) -> Outcome<T> {
        self.used.borrow_mut().insert(key);
        match self.given.get(key) {
            Some(value) => value.parse().map_err(|_| format!("{key}={value} can't be understood").into()),
            None => Ok(default),
        }
    }

    pub fn seconds(&self) -> Outcome<Duration> {
        Ok(Duration::from_secs_f64(self.get("seconds", 5.0)?))
    }

    /// The broker's process, if its CPU time is wanted.
    pub fn pid(&self) -> Outcome<Option<u32>> {
        Ok(Some(self.get("pid", 0)?).filter(|pid| *pid > 0))
    }

    /// Sets the names of this run's topics and groups apart from those of other runs.
    pub fn prefix(&self) -> Outcome<String> {
        self.get("prefix", format!("load-{}", std::process::id()))
    }

    /// Nothing was given that the case doesn't know.
    pub fn check_all_used(&self) -> Outcome<()> {
        match self.given.keys().find(|key| !self.used.borrow().contains(key.as_str())) {
            Some(key) => Err(format!("the case has no option {key}").into()),
            None => Ok(()),
        }
    }
}
