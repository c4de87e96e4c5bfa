//! Settings of a tool's producer or consumer: those of a file, single ones, and what other flags say of them.

use std::collections::BTreeMap;
use std::fs;

use ottla_client::{Scope, Settings};

use crate::flags::Parsed;
use crate::tool::{Failure, Output, said};

/// From the weakest to the strongest: defaults of the tool, the file, single settings, what the tool must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientConfig {
    defaults: BTreeMap<&'static str, String>,
    file: Option<String>,
    single: BTreeMap<String, String>,
    fixed: BTreeMap<&'static str, String>,
    /// The file has settings of other clients too, which nobody is to be warned of.
    is_shared: bool,
}

impl ClientConfig {
    /// Of a file, and of texts `key=value`.
    pub(crate) fn new(file: Option<&str>, single: &[String]) -> ClientConfig {
        ClientConfig { file: file.map(str::to_owned), single: key_values(single), ..ClientConfig::default() }
    }

    /// The file is one of other clients too.
    pub(crate) fn shared(self) -> ClientConfig {
        ClientConfig { is_shared: true, ..self }
    }

    /// This value, unless something else is said.
    pub(crate) fn or(mut self, key: &'static str, value: impl ToString) -> ClientConfig {
        self.defaults.insert(key, value.to_string());
        self
    }

    /// This value, whatever else is said.
    pub(crate) fn fix(mut self, key: &'static str, value: impl ToString) -> ClientConfig {
        self.fixed.insert(key, value.to_string());
        self
    }

    /// What a flag says, if it was given; its default only where nothing else is said.
    pub(crate) fn flag(self, key: &'static str, parsed: &Parsed, flag: &str) -> ClientConfig {
        match parsed.value(flag) {
            Some(value) if parsed.has(flag) => self.fix(key, value),
            Some(value) => self.or(key, value),
            None => self,
        }
    }

    /// All together.
    pub(crate) fn read(&self) -> Result<BTreeMap<String, String>, Failure> {
        let owned = |(key, value): (&&'static str, &String)| ((*key).to_owned(), value.clone());
        let mut all: BTreeMap<String, String> = self.defaults.iter().map(owned).collect();
        if let Some(path) = &self.file {
            all.extend(properties(path)?);
        }
        all.extend(self.single.clone());
        all.extend(self.fixed.iter().map(owned));
        Ok(all)
    }

    /// What the file and what single settings say, each for itself.
    pub(crate) fn said_of(&self, key: &str) -> Result<Vec<String>, Failure> {
        let file = match &self.file {
            Some(path) => properties(path)?.remove(key),
            None => None,
        };
        Ok(file.into_iter().chain(self.single.get(key).cloned()).collect())
    }

    /// All together, checked. What has no effect is told.
    pub(crate) fn settings(&self, scope: Scope, output: &mut Output<'_>) -> Result<Settings, Failure> {
        let settings = Settings::parse(scope, self.read()?).map_err(said)?;
        for warning in settings.warnings().iter().filter(|_| !self.is_shared) {
            output.tell(format_args!("warning: {warning}"))?;
        }
        Ok(settings)
    }
}

/// What a properties file says.
pub(crate) fn properties(path: &str) -> Result<BTreeMap<String, String>, Failure> {
    let file = fs::read(path).map_err(|error| said(format_args!("{path}: {error}")))?;
    let properties =
        ottla_config::properties::parse(&file).map_err(|error| said(format_args!("{path}: {error}")))?;
    Ok(properties.into_iter().map(|property| (property.key, property.value)).collect())
}

/// `key=value` each; without a value it is empty.
pub(crate) fn key_values(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stronger_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.properties");
        fs::write(&path, "a=file\nb=file\nc=file\nd=file\n").unwrap();
        let single = ["b=single".to_owned(), "c=single=1".to_owned(), "e".to_owned()];
        let config = ClientConfig::new(path.to_str(), &single).or("a", "default").or("f", "default");
        let read = config.fix("c", "fixed").read().unwrap();
        let shown: Vec<String> = read.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(shown, ["a=file", "b=single", "c=fixed", "d=file", "e=", "f=default"]);
    }
}
