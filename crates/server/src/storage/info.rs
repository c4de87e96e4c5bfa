//! What `storage info` tells about the log directories of a node.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use ottla_log::disk::Disk;
use ottla_log::meta_properties::{MetaProperties, MetaPropertiesVersion};
use ottla_log::names::META_PROPERTIES;

/// A report, and whether it found anything wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    pub text: String,
    pub problems: Vec<String>,
}

impl Info {
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }
}

/// Looks at directories in the order of their names.
pub fn info<'a>(disk: &dyn Disk, dirs: impl IntoIterator<Item = &'a str>) -> Info {
    let mut dirs: Vec<&str> = dirs.into_iter().collect();
    dirs.sort_unstable();
    dirs.dedup();
    if dirs.is_empty() {
        return Info { text: "No directories specified.\n".to_owned(), problems: Vec::new() };
    }
    let mut findings = Findings::default();
    for dir in dirs {
        findings.look_at(disk, dir);
    }
    findings.report()
}

#[derive(Default)]
struct Findings {
    dirs: Vec<String>,
    problems: Vec<String>,
    metadata: Option<MetaProperties>,
}

impl Findings {
    fn look_at(&mut self, disk: &dyn Disk, dir: &str) {
        let path = Path::new(dir);
        match (disk.exists(path), disk.read_dir(path)) {
            (Ok(true), Ok(_)) => self.dirs.push(dir.to_owned()),
            (Ok(true), Err(error)) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return self.problems.push(format!("{dir} is not a directory"));
            }
            (Ok(false), _) => return self.problems.push(format!("{dir} does not exist")),
            (Err(error), _) | (_, Err(error)) => {
                return self.problems.push(format!("{dir} can't be read: {error}"));
            }
        }
        match MetaProperties::read(disk, path) {
            Ok(None) => self.problems.push(format!("{dir} is not formatted.")),
            Ok(Some(found)) => self.compare(found),
            Err(error) => self.problems.push(format!("Error loading {dir}/{META_PROPERTIES}: {error}")),
        }
    }

    fn compare(&mut self, found: MetaProperties) {
        let Some(first) = &self.metadata else {
            self.metadata = Some(found);
            return;
        };
        if first.cluster_id != found.cluster_id {
            self.problems.push("Mismatched cluster IDs between storage directories.".to_owned());
        } else if first.node_id != found.node_id {
            self.problems.push("Mismatched node IDs between storage directories.".to_owned());
        }
    }

    fn report(mut self) -> Info {
        if self.metadata.as_ref().is_some_and(|found| found.version == MetaPropertiesVersion::V0) {
            self.problems.push(
                "The kafka configuration file appears to be for a cluster in KRaft mode, but the directories are \
                 formatted for legacy mode."
                    .to_owned(),
            );
        }
        let mut text = String::new();
        list(&mut text, "Found log directory:", "Found log directories:", &self.dirs);
        if let Some(found) = &self.metadata {
            let pairs = pairs(found).into_iter().map(|(key, value)| format!("{key}={value}"));
            // Writing to a string doesn't fail.
            let _ = writeln!(text, "Found metadata: {{{}}}\n", pairs.collect::<Vec<_>>().join(", "));
        }
        list(&mut text, "Found problem:", "Found problems:", &self.problems);
        Info { text, problems: self.problems }
    }
}

fn list(text: &mut String, one: &str, several: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", if lines.len() == 1 { one } else { several });
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
}

fn pairs(properties: &MetaProperties) -> BTreeMap<&str, String> {
    let (version, node_key) = match properties.version {
        MetaPropertiesVersion::V0 => ("0", "broker.id"),
        MetaPropertiesVersion::V1 => ("1", "node.id"),
    };
    let known = [
        ("version", Some(version.to_owned())),
        ("cluster.id", properties.cluster_id.clone()),
        (node_key, properties.node_id.map(|id| id.to_string())),
        ("directory.id", properties.directory_id.map(|id| id.to_string())),
    ];
    let known = known.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let others = properties.others.iter().map(|(key, value)| (key.as_str(), value.clone()));
    known.chain(others).collect()
}
