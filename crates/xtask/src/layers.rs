//! The house's layers, as a table, and the check that dependencies point down only.
//!
//! A room may use rooms of a lower rank, nothing beside or above itself. Below `server` nothing reaches the
//! outside world: no asynchronous runtime or socket library among its dependencies, and in its sources no
//! clock, randomness, sockets or (outside the real disk) files. That is what lets a simulator run the code that ships.

mod graph;
mod sources;

use std::path::Path;

use crate::ChoreError;
pub use graph::{Dependency, DependencyKind, Graph, Package};

/// A room and its place in the house.
#[derive(Debug)]
struct Room {
    package: &'static str,
    /// Rooms of a lower rank may be used. A layer of the architecture may hold several ranks.
    rank: u8,
}

/// Everything from this rank up may use sockets, clocks and an asynchronous runtime.
const SERVER_RANK: u8 = 5;

const ROOMS: &[Room] = &[
    Room { package: "ottla-types", rank: 0 },            // L0
    Room { package: "ottla-wire", rank: 1 },             // L0
    Room { package: "ottla-record", rank: 1 },           // L0
    Room { package: "ottla-config", rank: 1 },           // L0
    Room { package: "ottla-log", rank: 2 },              // L1
    Room { package: "ottla-raft", rank: 2 },             // L1
    Room { package: "ottla-metadata", rank: 2 },         // L1
    Room { package: "ottla-replica", rank: 3 },          // L2
    Room { package: "ottla-coordinator", rank: 3 },      // L2
    Room { package: "ottla-controller", rank: 3 },       // L2
    Room { package: "ottla-broker", rank: 4 },           // L2: one whole node without sockets
    Room { package: "ottla-server", rank: SERVER_RANK }, // L3
    Room { package: "ottla-client", rank: SERVER_RANK }, // L3: see CLIENTS_ROOMS
    Room { package: "ottla-tools", rank: 6 },            // L4: the command-line tools
    Room { package: "ottla-cli", rank: 6 },              // L4: commands for people
    Room { package: "ottla-embedded", rank: 6 },         // L4: a node for other programs' tests
    Room { package: "ottla", rank: 7 },                  // L4: the executable
];

/// The rooms that the client may use: it has nothing to do with how a node works.
const CLIENTS_ROOMS: &[&str] = &["ottla-types", "ottla-wire", "ottla-record", "ottla-config"];

/// Directories above the server's rank that are pure all the same, as paths below the workspace's root: no sockets,
/// clocks or randomness, and no asynchronous runtime.
const PURE_DIRECTORIES: &[&str] = &[
    "crates/client/src/cluster",
    "crates/client/src/settings",
    "crates/client/src/producer/core",
    "crates/client/src/consumer/core",
    "crates/client/src/share/core",
    "crates/cli/src/expr",
];

/// Rooms for developers: they may use every room, and rooms may use them in tests only.
const DEVELOPERS_ROOMS: &[&str] = &["ottla-testkit", "ottla-sim", "ottla-xtask"];

/// Crates that bring sockets, threads of their own or an asynchronous runtime.
const OUTSIDE_WORLD: &[&str] =
    &["tokio", "mio", "socket2", "async-std", "smol", "async-io", "polling", "hyper"];

/// What breaks the layers of the workspace at `root`, one finding an offence.
pub fn check(root: &Path) -> Result<Vec<String>, ChoreError> {
    let graph = Graph::of_workspace(root)?;
    let mut findings = check_graph(&graph);
    for package in &graph.members {
        if room(&package.name).is_some_and(|room| room.rank < SERVER_RANK) {
            findings.extend(sources::check(root, &package.directory)?);
        }
    }
    for directory in PURE_DIRECTORIES {
        findings.extend(sources::check_pure(root, &root.join(directory))?);
    }
    Ok(findings)
}

fn room(package: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.package == package)
}

fn check_graph(graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &graph.members {
        match room(&package.name) {
            Some(room) => {
                for dependency in &package.dependencies {
                    findings.extend(check_dependency(room, dependency));
                }
                if room.rank < SERVER_RANK {
                    findings.extend(check_outside_world(graph, room));
                }
            }
            None if DEVELOPERS_ROOMS.contains(&package.name.as_str()) => {}
            None => findings.push(format!(
                "{} has no place in the table of rooms (crates/xtask/src/layers.rs)",
                package.name
            )),
        }
    }
    findings
}

fn check_dependency(room: &Room, dependency: &Dependency) -> Option<String> {
    let from = room.package;
    let name = &dependency.name;
    let in_tests = dependency.kind == DependencyKind::Test;
    if DEVELOPERS_ROOMS.contains(&name.as_str()) {
        return (!in_tests).then(|| format!("{from} uses {name}, which is for tests only"));
    }
    let used = self::room(name)?;
    if from == "ottla-client" && !in_tests && !CLIENTS_ROOMS.contains(&used.package) {
        return Some(format!("{from} uses {name}, which is no business of a client's"));
    }
    (used.rank >= room.rank).then(|| {
        format!("{from} (rank {}) uses {name} (rank {}), which is not below it", room.rank, used.rank)
    })
}

fn check_outside_world(graph: &Graph, room: &Room) -> Vec<String> {
    OUTSIDE_WORLD
        .iter()
        .filter_map(|banned| graph.path(room.package, banned))
        .map(|path| {
            format!("{} must do without sockets and runtimes, but: {}", room.package, path.join(" -> "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace from lines such as `ottla-log: ottla-types, test ottla-testkit`; packages that are not
    /// ours may be given the same way and need not be listed.
    fn check_lines(lines: &str) -> Vec<String> {
        let packages = lines.lines().map(|line| {
            let (name, uses) = line.split_once(':').unwrap();
            let dependencies = uses.split(',').map(str::trim).filter(|used| !used.is_empty());
            let dependencies = dependencies.map(|used| match used.strip_prefix("test ") {
                Some(name) => Dependency { name: name.into(), kind: DependencyKind::Test },
                None => Dependency { name: used.into(), kind: DependencyKind::Normal },
            });
            (name.trim().to_owned(), dependencies.collect::<Vec<_>>())
        });
        check_graph(&Graph::from_lists(packages))
    }

    #[test]
    fn dependencies_that_point_down_are_fine() {
        let found = check_lines(
            "ottla-types:\nottla-log: ottla-types, test ottla-testkit\nottla-server: ottla-log, tokio",
        );
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn each_offence_is_named() {
        for (lines, expected) in [
            ("ottla-types: ottla-log", "ottla-types (rank 0) uses ottla-log (rank 2), which is not below it"),
            ("ottla-raft: ottla-log", "ottla-raft (rank 2) uses ottla-log (rank 2), which is not below it"),
            (
                "ottla-log: test ottla-server",
                "ottla-log (rank 2) uses ottla-server (rank 5), which is not below it",
            ),
            ("ottla-log: ottla-testkit", "ottla-log uses ottla-testkit, which is for tests only"),
            ("ottla-client: ottla-log", "ottla-client uses ottla-log, which is no business of a client's"),
            ("ottla-attic:", "ottla-attic has no place in the table of rooms (crates/xtask/src/layers.rs)"),
            (
                "ottla-log: nice\nnice: tokio",
                "ottla-log must do without sockets and runtimes, but: ottla-log -> nice -> tokio",
            ),
        ] {
            assert_eq!(check_lines(lines), [expected], "{lines}");
        }
    }
}
