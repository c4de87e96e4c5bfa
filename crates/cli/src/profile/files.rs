//! Profiles: one properties file each, `ottla/profiles/NAME.properties` below the user's configuration directory, with Kafka's
//! names of settings; and `ottla/profile`, the name of the one that counts where none is named.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Exit, Failure};
use crate::suggest;

const EXTENSION: &str = "properties";

/// Where profiles are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles {
    dir: PathBuf,
}

impl Profiles {
    /// `$XDG_CONFIG_HOME/ottla`, or `~/.config/ottla`; `None` without a home.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Profiles> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let base = match set("XDG_CONFIG_HOME") {
            // Others are to be ignored, as the XDG base directory specification has it.
            Some(path) if Path::new(&path).is_absolute() => PathBuf::from(path),
            _ => PathBuf::from(set("HOME")?).join(".config"),
        };
        Some(Profiles { dir: base.join("ottla") })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("profiles").join(format!("{name}.{EXTENSION}"))
    }

    fn default_path(&self) -> PathBuf {
        self.dir.join("profile")
    }

    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let dir = self.dir.join("profiles");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&dir, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed(&dir, &error))?.path();
            let is_profile = path.extension().is_some_and(|extension| extension == EXTENSION);
            if let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_profile) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Which one counts where none is named.
    pub fn default_name(&self) -> Result<Option<String>, Failure> {
        match fs::read_to_string(self.default_path()) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&self.default_path(), &error)),
        }
    }

    pub fn read(&self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        check_name(name)?;
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing(name)),
            Err(error) => return Err(failed(&path, &error)),
        };
        read_properties(&path, &bytes)
    }

    fn missing(&self, name: &str) -> Failure {
        let names = self.names().unwrap_or_default();
        let failure = Failure::new(Exit::NotFound, format!("there is no profile '{name}'"));
        let failure = match suggest::closest(name, names.iter().map(String::as_str)) {
            Some(close) => failure.hint(format!("did you mean '{close}'?")),
            None => failure,
        };
        failure
            .hint(format!("ottla profile list shows them; ottla profile add {name} -b HOST:PORT makes one"))
    }

    pub fn write(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<PathBuf, Failure> {
        check_name(name)?;
        let path = self.path(name);
        let lines = properties.iter().map(|(key, value)| format!("{key}={}\n", escaped(value)));
        put(&path, &lines.collect::<String>())?;
        Ok(path)
    }

    pub fn choose(&self, name: &str) -> Result<(), Failure> {
        self.read(name)?;
        put(&self.default_path(), &format!("{name}\n"))
    }

    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        self.read(name)?;
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
        if self.default_name()?.as_deref() == Some(name) {
            fs::remove_file(self.default_path()).map_err(|error| failed(&self.default_path(), &error))?;
        }
        Ok(())
    }
}

/// What a file in the format of Java's properties says.
pub fn read_properties(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, String>, Failure> {
    let properties = ottla_config::properties::parse(bytes)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    Ok(properties.into_iter().map(|property| (property.key, property.value)).collect())
}

/// It becomes part of a path.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(Failure::usage(format!(
            "'{name}' can't be a profile's name: it takes letters, digits, '-', '_' and '.'"
        )));
    }
    Ok(())
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// Whole or not at all. Passwords may be in it.
fn put(path: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let write = || -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let beside = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().display().to_string();
        let profiles = Profiles::of(|name| (name == "XDG_CONFIG_HOME").then(|| home.clone())).unwrap();
        assert_eq!(profiles.names().unwrap(), Vec::<String>::new());
        assert_eq!(profiles.default_name().unwrap(), None);
        let settings = BTreeMap::from([
            ("bootstrap.servers".to_owned(), "a:1".to_owned()),
            ("client.id".to_owned(), "tab\\ and\nline".to_owned()),
        ]);
        profiles.write("prod", &settings).unwrap();
        assert_eq!(profiles.read("prod").unwrap(), settings);
        profiles.choose("prod").unwrap();
        assert_eq!(profiles.default_name().unwrap().as_deref(), Some("prod"));
        assert_eq!(profiles.names().unwrap(), ["prod"]);
        let Failure::Said(problem) = profiles.read("prd").unwrap_err() else { panic!() };
        assert_eq!((problem.exit, problem.hints[0].as_str()), (Exit::NotFound, "did you mean 'prod'?"));
        profiles.remove("prod").unwrap();
        assert_eq!((profiles.names().unwrap().len(), profiles.default_name().unwrap()), (0, None));
        for name in ["", "../a", ".a", "a/b"] {
            assert_eq!(profiles.read(name).unwrap_err().exit(), Exit::Usage, "{name}");
        }
    }

    #[test]
    fn where_profiles_are() {
        let of = |pairs: &'static [(&str, &str)]| {
            Profiles::of(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let path = |profiles: Option<Profiles>| profiles.map(|profiles| profiles.path("x"));
        assert_eq!(
            path(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "relative")])),
            Some(PathBuf::from("/h/.config/ottla/profiles/x.properties"))
        );
        assert_eq!(
            path(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")])),
            Some(PathBuf::from("/c/ottla/profiles/x.properties"))
        );
        assert_eq!(path(of(&[])), None);
    }
}
