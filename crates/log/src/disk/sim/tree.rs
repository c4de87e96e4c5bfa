//! Directories and files by name: as processes see them, and as they would be after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use ottla_types::Timestamp;

use super::content::{Content, Loss};
use super::rng::Rng;

pub(super) type NodeId = u64;

const ROOT: NodeId = 0;

/// A name that came or went; a rename is both at once.
#[derive(Debug)]
struct NameChange {
    removed: Option<String>,
    added: Option<(String, NodeId)>,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) current: BTreeMap<String, NodeId>,
    durable: BTreeMap<String, NodeId>,
    unsynced: Vec<NameChange>,
}

impl Names {
    fn change(&mut self, removed: Option<&str>, added: Option<(&str, NodeId)>) {
        let change = NameChange {
            removed: removed.map(str::to_owned),
            added: added.map(|(name, node)| (name.to_owned(), node)),
        };
        apply(&mut self.current, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// A journal keeps the order of changes to one directory: a prefix of them survives.
    fn crash(&mut self, loss: Loss, rng: &mut Rng) {
        let survive = match loss {
            Loss::Everything => 0,
            Loss::Nothing => self.unsynced.len(),
            Loss::Seeded => rng.below(self.unsynced.len() as u64 + 1) as usize,
        };
        for change in self.unsynced.drain(..).take(survive) {
            apply(&mut self.durable, &change);
        }
        self.current.clone_from(&self.durable);
    }
}

fn apply(names: &mut BTreeMap<String, NodeId>, change: &NameChange) {
    if let Some(name) = &change.removed {
        names.remove(name);
    }
    if let Some((name, node)) = &change.added {
        names.insert(name.clone(), *node);
    }
}

#[derive(Debug)]
pub(super) enum Kind {
    Directory(Names),
    File(Content),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    parent: NodeId,
    name: String,
    pub(super) modified: Timestamp,
    pub(super) is_linked: bool,
    pub(super) handles: u32,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    next: NodeId,
    /// What files that change are marked with.
    pub(super) now: Timestamp,
    /// Nodes left after the last collection of those that nothing leads to.
    nodes_kept: usize,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file or directory", path.display()))
}

fn names_of(path: &Path) -> Vec<String> {
    let normal = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    normal.collect()
}

impl Tree {
    pub(super) fn new() -> Tree {
        let root = Node {
            kind: Kind::Directory(Names::default()),
            parent: ROOT,
            name: String::new(),
            modified: Timestamp::NONE,
            is_linked: true,
            handles: 0,
        };
        Tree { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, now: Timestamp::NONE, nodes_kept: 1 }
    }

    pub(super) fn find(&self, path: &Path) -> Option<NodeId> {
        names_of(path).iter().try_fold(ROOT, |node, name| match &self.nodes.get(&node)?.kind {
            Kind::Directory(names) => names.current.get(name).copied(),
            Kind::File(_) => None,
        })
    }

    pub(super) fn node(&self, node: NodeId) -> io::Result<&Node> {
        self.nodes.get(&node).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn node_mut(&mut self, node: NodeId) -> io::Result<&mut Node> {
        self.nodes.get_mut(&node).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn content(&self, node: NodeId) -> io::Result<&Content> {
        match &self.node(node)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// For a change.
    pub(super) fn content_mut(&mut self, node: NodeId) -> io::Result<&mut Content> {
        let now = self.now;
        let node = self.node_mut(node)?;
        node.modified = now;
        match &mut node.kind {
            Kind::File(content) => Ok(content),
            Kind::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn names(&self, path: &Path) -> io::Result<&Names> {
        match &self.node(self.find(path).ok_or_else(|| not_found(path))?)?.kind {
            Kind::Directory(names) => Ok(names),
            Kind::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn names_mut(&mut self, node: NodeId) -> io::Result<&mut Names> {
        match &mut self.node_mut(node)?.kind {
            Kind::Directory(names) => Ok(names),
            Kind::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds `path`, and the name in it.
    fn place(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let name = names_of(path).pop().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let parent = path.parent().and_then(|parent| self.find(parent)).ok_or_else(|| not_found(path))?;
        Ok((parent, name))
    }

    fn add(&mut self, parent: NodeId, name: &str, kind: Kind) -> io::Result<NodeId> {
        let id = self.next;
        self.names_mut(parent)?.change(None, Some((name, id)));
        self.next += 1;
        let node =
            Node { kind, parent, name: name.to_owned(), modified: self.now, is_linked: true, handles: 0 };
        self.nodes.insert(id, node);
        Ok(id)
    }

    pub(super) fn add_file(&mut self, path: &Path) -> io::Result<NodeId> {
        let (parent, name) = self.place(path)?;
        self.add(parent, &name, Kind::File(Content::default()))
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in names_of(path) {
            at = match self.names_mut(at)?.current.get(&name) {
                Some(&node) => node,
                None => self.add(at, &name, Kind::Directory(Names::default()))?,
            };
        }
        self.names_mut(at).map(|_| ())
    }

    pub(super) fn rename(&mut self, node: NodeId, to: &Path) -> io::Result<()> {
        let (to_parent, to_name) = self.place(to)?;
        let (parent, name) = (self.node(node)?.parent, self.node(node)?.name.clone());
        if let Some(replaced) = self.find(to).filter(|&replaced| replaced != node) {
            if matches!(&self.node(replaced)?.kind, Kind::Directory(names) if !names.current.is_empty()) {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            self.node_mut(replaced)?.is_linked = false;
        }
        if parent == to_parent {
            self.names_mut(parent)?.change(Some(&name), Some((&to_name, node)));
        } else {
            self.names_mut(parent)?.change(Some(&name), None);
            self.names_mut(to_parent)?.change(None, Some((&to_name, node)));
        }
        let moved = self.node_mut(node)?;
        (moved.parent, moved.name) = (to_parent, to_name);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path).ok_or_else(|| not_found(path))?;
        let (parent, name) = (self.node(node)?.parent, self.node(node)?.name.clone());
        self.names_mut(parent)?.change(Some(&name), None);
        self.unlink(node)?;
        if self.nodes.len() > 2 * self.nodes_kept + 64 {
            self.collect();
        }
        Ok(())
    }

    fn unlink(&mut self, node: NodeId) -> io::Result<()> {
        let removed = self.node_mut(node)?;
        removed.is_linked = false;
        let below: Vec<NodeId> = match &removed.kind {
            Kind::Directory(names) => names.current.values().copied().collect(),
            Kind::File(_) => Vec::new(),
        };
        below.into_iter().try_for_each(|node| self.unlink(node))
    }

    /// Forgets the nodes that neither a name, now or after a crash, nor a handle leads to.
    fn collect(&mut self) {
        let mut reached: BTreeSet<NodeId> = BTreeSet::from([ROOT]);
        let mut to_visit: Vec<NodeId> = vec![ROOT];
        to_visit.extend(self.nodes.iter().filter(|(_, node)| node.handles > 0).map(|(&id, _)| id));
        while let Some(id) = to_visit.pop() {
            reached.insert(id);
            if let Some(Node { kind: Kind::Directory(names), .. }) = self.nodes.get(&id) {
                let unsynced =
                    names.unsynced.iter().filter_map(|change| change.added.as_ref().map(|(_, id)| id));
                let all = names.current.values().chain(names.durable.values()).chain(unsynced);
                to_visit.extend(all.copied().filter(|id| !reached.contains(id)));
            }
        }
        self.nodes.retain(|id, _| reached.contains(id));
        self.nodes_kept = self.nodes.len();
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path).ok_or_else(|| not_found(path))?;
        self.names_mut(node)?.sync();
        Ok(())
    }

    pub(super) fn path(&self, node: NodeId) -> PathBuf {
        let mut names = Vec::new();
        let mut at = node;
        while let Some(found) = self.nodes.get(&at).filter(|_| at != ROOT) {
            names.push(found.name.as_str());
            at = found.parent;
        }
        names.push("/");
        names.iter().rev().collect()
    }

    /// Bytes of the files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let linked = self.nodes.values().filter(|node| node.is_linked);
        linked.map(|node| if let Kind::File(content) = &node.kind { content.len() } else { 0 }).sum()
    }

    /// Everything that was not synced is lost or not, as `loss` says. Open files are closed.
    pub(super) fn crash(&mut self, loss: Loss, rng: &mut Rng) {
        for node in self.nodes.values_mut() {
            node.handles = 0;
            node.is_linked = false;
            match &mut node.kind {
                Kind::Directory(names) => names.crash(loss, rng),
                Kind::File(content) => content.crash(loss, rng),
            }
        }
        self.link(ROOT);
        self.collect();
    }

    /// Tells the nodes below `node` their names.
    fn link(&mut self, node: NodeId) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        found.is_linked = true;
        let Kind::Directory(names) = &found.kind else { return };
        let below: Vec<(String, NodeId)> =
            names.current.iter().map(|(name, &id)| (name.clone(), id)).collect();
        for (name, id) in below {
            if let Some(child) = self.nodes.get_mut(&id) {
                (child.parent, child.name) = (node, name);
            }
            self.link(id);
        }
    }

    pub(super) fn close_all(&mut self) {
        self.nodes.values_mut().for_each(|node| node.handles = 0);
    }
}
