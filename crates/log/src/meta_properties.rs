//! Which node and cluster a log directory belongs to: `meta.properties`.
//!
//! Version 0 names the node `broker.id` and may leave out all but the version; version 1 has `node.id` and `cluster.id`.
//! Keys that are not known here are kept, in their order.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use ottla_types::{NodeId, Uuid};
use thiserror::Error;

use crate::disk::Disk;
use crate::files;
use crate::names;

/// Versions of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetaPropertiesVersion {
    /// Of nodes that were once run with ZooKeeper.
    V0,
    V1,
}

/// The content of `meta.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub version: MetaPropertiesVersion,
    /// Always there in version 1.
    pub cluster_id: Option<String>,
    /// Always there in version 1.
    pub node_id: Option<NodeId>,
    /// The log directory's id (KIP-858).
    pub directory_id: Option<Uuid>,
    /// All other keys with their values.
    pub others: Vec<(String, String)>,
}

/// Why the file could not be read or written.
#[derive(Debug, Error)]
pub enum MetaPropertiesError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path}: {problem}; it should say version=1, node.id, cluster.id and directory.id: copy it from another log \
         directory of this node and give it a directory.id of its own"
    )]
    Corrupt { path: PathBuf, problem: String },
}

impl MetaProperties {
    pub fn new(cluster_id: impl Into<String>, node_id: NodeId, directory_id: Uuid) -> MetaProperties {
        MetaProperties {
            version: MetaPropertiesVersion::V1,
            cluster_id: Some(cluster_id.into()),
            node_id: Some(node_id),
            directory_id: Some(directory_id),
            others: Vec::new(),
        }
    }

    /// None if the file is missing: the directory is not formatted.
    pub fn read(disk: &dyn Disk, log_dir: &Path) -> Result<Option<MetaProperties>, MetaPropertiesError> {
        let path = log_dir.join(names::META_PROPERTIES);
        match files::read(disk, &path) {
            Ok(None) => Ok(None),
            Ok(Some(content)) => {
                parse(&content).map(Some).map_err(|problem| MetaPropertiesError::Corrupt { path, problem })
            }
            Err(source) => Err(MetaPropertiesError::Io { path, source }),
        }
    }

    /// Replaces the file, durably.
    pub fn write(&self, disk: &dyn Disk, log_dir: &Path) -> Result<(), MetaPropertiesError> {
        let path = log_dir.join(names::META_PROPERTIES);
        files::replace(disk, &path, self.to_string().as_bytes())
            .map_err(|source| MetaPropertiesError::Io { path, source })
    }
}

impl fmt::Display for MetaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, node_key) = match self.version {
            MetaPropertiesVersion::V0 => ("0", "broker.id"),
            MetaPropertiesVersion::V1 => ("1", "node.id"),
        };
        let known = [
            ("version", Some(version.to_owned())),
            ("cluster.id", self.cluster_id.clone()),
            (node_key, self.node_id.map(|id| id.to_string())),
            ("directory.id", self.directory_id.map(|id| id.to_string())),
        ];
        let known = known.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        let others = self.others.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in known.chain(others) {
            writeln!(f, "{}={}", escaped(key, true), escaped(value, false))?;
        }
        Ok(())
    }
}

fn parse(content: &[u8]) -> Result<MetaProperties, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let mut others = properties(text)?;
    // A key that is there twice counts as it stands last; the known ones are taken out.
    let mut take = |key: &str| {
        let found = others.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.trim().to_owned());
        others.retain(|(k, _)| k != key);
        found
    };
    let version = match take("version").as_deref() {
        None | Some("0") => MetaPropertiesVersion::V0,
        Some("1") => MetaPropertiesVersion::V1,
        Some(other) => return Err(format!("version '{other}' is unknown")),
    };
    let node_key = if version == MetaPropertiesVersion::V0 { "broker.id" } else { "node.id" };
    let node_id = match take(node_key).map(|id| (id.parse(), id)) {
        None => None,
        Some((Ok(id), _)) => Some(NodeId(id)),
        Some((Err(_), id)) => return Err(format!("{node_key} '{id}' is not a number")),
    };
    let cluster_id = take("cluster.id");
    let directory_id = match take("directory.id") {
        None => None,
        Some(id) => Some(id.parse().map_err(|error| format!("directory.id: {error}"))?),
    };
    if version == MetaPropertiesVersion::V1 {
        node_id.ok_or("node.id is missing")?;
        cluster_id.as_ref().ok_or("cluster.id is missing")?;
    }
    Ok(MetaProperties { version, cluster_id, node_id, directory_id, others })
}

/// Keys and values of a Java properties file, in order: comments with # or !, separators = or : or white space, escapes
/// with a backslash, lines that go on behind one.
fn properties(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(first) = lines.next() {
        let mut line = first.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while ends_with_continuation(&line) {
            line.pop();
            match lines.next() {
                Some(next) => line.push_str(next.trim_start()),
                None => break,
            }
        }
        found.push(key_and_value(&line)?);
    }
    Ok(found)
}

fn ends_with_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

fn key_and_value(line: &str) -> Result<(String, String), String> {
    let mut is_escaped = false;
    let end = line.find(|c: char| {
        let ends = !is_escaped && (matches!(c, '=' | ':') || c.is_whitespace());
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    Ok((unescaped(key)?, unescaped(value)?))
}

fn unescaped(text: &str) -> Result<String, String> {
    // In UTF-16 units, since `\u` escapes one of them.
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match if c == '\\' { chars.next() } else { None } {
            None => c,
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                units.push(unit.ok_or_else(|| format!("'\\u{digits}' is no character"))?);
                continue;
            }
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('f') => '\x0c',
            Some(other) => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).map_err(|_| format!("'{text}' has half a character"))
}

fn escaped(text: &str, is_key: bool) -> String {
    let mut result = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        match c {
            '\\' | '=' | ':' | '#' | '!' => result.extend(['\\', c]),
            ' ' if is_key || i == 0 => result.extend(['\\', c]),
            '\t' => result.push_str("\\t"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\x0c' => result.push_str("\\f"),
            ' '..='~' => result.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(result, "\\u{unit:04X}");
                }
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    fn id(text: &str) -> Uuid {
        text.parse().unwrap()
    }

    #[test]
    fn both_versions_are_read() {
        let found = parse(
            b"#\n#Sat Nov 21 05:21:22 UTC 2026\nnode.id=1\ndirectory.id=FqytSRdRfrp6ImCtj3NXIQ\nversion=1\n\
              cluster.id=AAAAAAAAAAAAAAAAAAAAAQ\n",
        );
        assert_eq!(
            found,
            Ok(MetaProperties::new("AAAAAAAAAAAAAAAAAAAAAQ", NodeId(1), id("FqytSRdRfrp6ImCtj3NXIQ")))
        );
        let found = parse(b"version=0\nbroker.id=7\nmore=x\n").unwrap();
        assert_eq!((found.version, found.node_id), (MetaPropertiesVersion::V0, Some(NodeId(7))));
        assert_eq!(found.others, [("more".to_owned(), "x".to_owned())]);
        assert_eq!(parse(b"").unwrap().node_id, None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let check = |text: &str, expected: &str| assert_eq!(parse(text.as_bytes()).unwrap_err(), expected);
        check("version=2", "version '2' is unknown");
        check("version=1\ncluster.id=c", "node.id is missing");
        check("version=1\nnode.id=1", "cluster.id is missing");
        check("version=1\nnode.id=x\ncluster.id=c", "node.id 'x' is not a number");
        check(
            "version=1\nnode.id=1\ncluster.id=c\ndirectory.id=d",
            "directory.id: 'd' is not a Kafka uuid: 22 characters of URL-safe base64 are expected",
        );
        check("version=0\nx=\\u12", "'\\u12' is no character");
        check("version=0\nx=\\uD83D", "'\\uD83D' has half a character");
    }

    #[test]
    fn what_is_written_is_read() {
        let disk = SimDisk::new(1);
        let root = Path::new("/");
        assert_eq!(MetaProperties::read(&disk, root).unwrap(), None);
        let mut properties = MetaProperties::new("my cluster", NodeId(3), id("FqytSRdRfrp6ImCtj3NXIQ"));
        properties.others = vec![
            ("a b=c".to_owned(), " d\\e:\u{e9}\u{1f600}\t!".to_owned()),
            ("empty".to_owned(), String::new()),
        ];
        properties.write(&disk, root).unwrap();
        disk.crash(crate::disk::sim::Loss::Everything);
        assert_eq!(MetaProperties::read(&disk, root).unwrap(), Some(properties));
    }

    #[test]
    fn properties_follow_javas_rules() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let found = properties(text).unwrap();
            let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("a=b", &[("a", "b")]);
        check("  a : b = c ", &[("a", "b = c ")]);
        check("a b", &[("a", "b")]);
        check("! x\n\n# y\nz", &[("z", "")]);
        check("a=b\\\n   c\\\\\nd=e", &[("a", "bc\\"), ("d", "e")]);
        check("a\\=b\\:c=\\u0041\\n", &[("a=b:c", "A\n")]);
    }
}
