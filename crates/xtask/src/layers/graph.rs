//! Who depends on whom: the part of `cargo metadata` that the layers need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::ChoreError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependencyKind {
    /// Part of what ships, or needed to build it.
    Normal,
    /// Used by tests and benchmarks alone.
    Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    pub kind: DependencyKind,
}

/// A member of the workspace with the dependencies that it declares.
#[derive(Debug)]
pub struct Package {
    pub name: String,
    pub directory: PathBuf,
    pub dependencies: Vec<Dependency>,
}

/// The workspace's members, and the names that every package leads to in what ships.
#[derive(Debug, Default)]
pub struct Graph {
    pub members: Vec<Package>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Asks cargo, for this machine's platform and without network: what was built is there.
    pub fn of_workspace(root: &Path) -> Result<Graph, ChoreError> {
        let host = run(root, "rustc", &["-vV"])?;
        let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
        let answer =
            run(root, "cargo", &["metadata", "--format-version=1", "--offline", "--filter-platform", &host])?;
        let answer =
            serde_json::from_str(&answer).map_err(|error| ChoreError::Metadata(error.to_string()))?;
        Graph::from_metadata(&answer)
    }

    /// From each package's name and dependencies; those whose name is one of the house's are members.
    pub fn from_lists(packages: impl IntoIterator<Item = (String, Vec<Dependency>)>) -> Graph {
        let mut graph = Graph::default();
        for (name, dependencies) in packages {
            let shipped = dependencies.iter().filter(|used| used.kind == DependencyKind::Normal);
            graph.edges.insert(name.clone(), shipped.map(|used| used.name.clone()).collect());
            if name.starts_with("ottla") {
                graph.members.push(Package { name, directory: PathBuf::new(), dependencies });
            }
        }
        graph
    }

    /// The shortest chain of packages from one to another through what ships, if there is one.
    pub fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut paths = std::collections::VecDeque::from([vec![from.to_owned()]]);
        let mut seen = BTreeSet::from([from.to_owned()]);
        while let Some(path) = paths.pop_front() {
            let last = path.last()?;
            if last == to {
                return Some(path);
            }
            for next in self.edges.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    paths.push_back(path.iter().cloned().chain([next.clone()]).collect());
                }
            }
        }
        None
    }

    fn from_metadata(answer: &Value) -> Result<Graph, ChoreError> {
        let members: BTreeSet<&str> =
            list(answer, "workspace_members")?.iter().filter_map(Value::as_str).collect();
        let mut graph = Graph::default();
        let mut names = BTreeMap::new();
        for package in list(answer, "packages")? {
            let (id, name) = (text(package, "id")?, text(package, "name")?);
            names.insert(id, name);
            if members.contains(id) {
                graph.members.push(member(name, package)?);
            }
        }
        let nodes = answer.get("resolve").ok_or_else(|| ChoreError::Metadata("no resolve".into()))?;
        for node in list(nodes, "nodes")? {
            let Some(name) = names.get(text(node, "id")?) else { continue };
            let edges = graph.edges.entry((*name).to_owned()).or_default();
            for used in list(node, "deps")? {
                let ships =
                    list(used, "dep_kinds")?.iter().any(|kind| kind.get("kind") != Some(&"dev".into()));
                if let (true, Some(used)) = (ships, names.get(text(used, "pkg")?)) {
                    edges.insert((*used).to_owned());
                }
            }
        }
        Ok(graph)
    }
}

fn member(name: &str, package: &Value) -> Result<Package, ChoreError> {
    let manifest = Path::new(text(package, "manifest_path")?);
    let mut dependencies = Vec::new();
    for used in list(package, "dependencies")? {
        let kind = match used.get("kind").and_then(Value::as_str) {
            Some("dev") => DependencyKind::Test,
            _ => DependencyKind::Normal,
        };
        dependencies.push(Dependency { name: text(used, "name")?.to_owned(), kind });
    }
    let directory = manifest.parent().unwrap_or(manifest).to_path_buf();
    Ok(Package { name: name.to_owned(), directory, dependencies })
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, ChoreError> {
    value.get(key).and_then(Value::as_array).ok_or_else(|| ChoreError::Metadata(format!("no list {key}")))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, ChoreError> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| ChoreError::Metadata(format!("no text {key}")))
}

fn run(root: &Path, program: &str, arguments: &[&str]) -> Result<String, ChoreError> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|source| ChoreError::Io { what: format!("starting {program}"), source })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(ChoreError::Command { command: format!("{program} {}", arguments.join(" ")), stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
