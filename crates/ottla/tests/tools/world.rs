//! A node with something on it that flags can make a difference for, and how tools are seen to meet it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ottla_client::admin::{Admin, AlterOp, ConfigResource, ResourceType};
use ottla_client::{Client, ClientSettings};
use ottla_testkit::{Launch, Ottla};
use tempfile::TempDir;

use crate::Row;
use crate::proxy::Proxy;
use crate::requests;
use crate::running::{self, Ended};
use crate::scene::Scene;
use crate::shape::shape;

/// What `f` stands for behind these flags; elsewhere it is a properties file.
const FILES: [(&str, &str); 6] = [
    ("--offset-json-file", "offsets.json"),
    ("--reassignment-json-file", "moves.json"),
    ("--topics-to-move-json-file", "topics.json"),
    ("--path-to-json-file", "elections.json"),
    ("--from-file", "reset.csv"),
    ("--files", "data/t-0/00000000000000000000.log"),
];

/// A group that nobody was in before.
const NEW_GROUP: &str = "@";
const NEW_GROUPS_MAX: u32 = 400;

const METADATA_LOG: &str = "data/__cluster_metadata-0/00000000000000000000.log";
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";
/// It is removed before each line.
const FRESH: &str = "fresh";

pub struct World {
    dir: TempDir,
    proxy: Proxy,
    _node: Ottla,
    groups: u32,
    /// What lines come to that several rows begin with, twice.
    known: BTreeMap<String, [Seen; 2]>,
}

/// What can be seen of a tool, each thing by its name.
pub type Seen = BTreeMap<&'static str, String>;

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let launch = Launch::new(env!("CARGO_BIN_EXE_ottla"), dir.path());
        let launch = launch.set("log.dirs", &dir.path().join("data").display().to_string());
        // Members get their partitions at once.
        let intervals = ["group.consumer.assignment.interval.ms", "group.share.assignment.interval.ms"];
        let node = intervals.into_iter().fold(launch, |launch, key| launch.set(key, "0")).start();
        let proxy = Proxy::start(node.bootstrap());
        let world = World { dir, proxy, _node: node, groups: 0, known: BTreeMap::new() };
        world.write_files();
        world.copy_metadata("early");
        world.fill();
        world.copy_metadata("late");
        world
    }

    fn write_files(&self) {
        let file = |name: &str, text: &str| fs::write(self.dir.path().join(name), text).unwrap();
        file("f", "client.id=of-file\nretention.ms=77\n");
        file("g", "client.id=of-other-file\n");
        file("h", "print.offset=true\n");
        file("i", "client.id=of-third-file\n");
        file("reader", "parse.key=true\n");
        file("lines", "a\tb\nc\td\ne\tf\ng\th\n");
        file("payload", "a,b\nc,d\n");
        file(
            "offsets.json",
            r#"{"partitions": [{"topic": "t", "partition": 0, "offset": 1}], "version": 1}"#,
        );
        file(
            "moves.json",
            r#"{"partitions": [{"topic": "t", "partition": 0, "replicas": [1]}], "version": 1}"#,
        );
        file("topics.json", r#"{"topics": [{"topic": "t"}], "version": 1}"#);
        file("elections.json", r#"{"partitions": [{"topic": "t", "partition": 0}]}"#);
        file("reset.csv", "t,0,1\nt,1,0\n");
        for (name, log_dir) in [("node", FRESH), ("other", "fresh/other"), ("formatted", "formatted")] {
            let text = format!(
                "node.id=1\nprocess.roles=broker,controller\nlisteners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:9093\n\
                 controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=127.0.0.1:9093\nlog.dirs={log_dir}\n"
            );
            file(&format!("{name}.properties"), &text);
        }
        file("bad.properties", "node.id=1\nprocess.roles=nonsense\nlog.dirs=fresh\n");
        file("worse.properties", "node.id=1\nlisteners=nonsense\nlog.dirs=fresh\n");
    }

    fn fill(&self) {
        let at = &self.proxy.addresses[0];
        for line in [
            format!("topic create t -p 3 -b {at}"),
            format!("topic create u -p 3 -c retention.ms=100000 -b {at}"),
            format!("topic create one -p 1 -b {at}"),
            format!("topic create two -p 1 -b {at}"),
            format!("topic create idle-counts-changelog -p 1 -b {at}"),
            format!("produce t a b c d -p 0 -k key -b {at}"),
            format!("produce t e f -p 1 -b {at}"),
            format!("produce u g h -p 0 -b {at}"),
            format!("produce one a b c d -k key -b {at}"),
            format!("produce two e f -b {at}"),
            format!("consume t -g g -b {at}"),
            format!("consume t -g app -b {at}"),
            format!("consume t -g idle -b {at}"),
            format!("config set group/s share.auto.offset.reset=earliest -b {at}"),
            format!("share consume t -g s -n 1 -b {at}"),
            format!(
                "kafka-storage format --cluster-id {CLUSTER_ID} --standalone --config formatted.properties"
            ),
        ] {
            let ran = self.command(&line).stdin(Stdio::null()).output().unwrap();
            assert!(ran.status.success(), "{line}: {ran:?}");
        }
        self.let_new_groups_begin_with_the_earliest();
    }

    fn let_new_groups_begin_with_the_earliest(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let settings = ClientSettings::new(&self.proxy.addresses[0]);
            let admin = Admin::new(Client::connect(settings).await.unwrap());
            let earliest = ("share.auto.offset.reset".to_owned(), AlterOp::Set("earliest".to_owned()));
            let group = |number| ConfigResource::new(ResourceType::Group, new_group(number));
            let changes =
                (1..=NEW_GROUPS_MAX).map(|number| (group(number), vec![earliest.clone()])).collect();
            for (_, changed) in admin.alter_configs(&changes, false).await.unwrap() {
                changed.unwrap();
            }
        });
    }

    /// As it is by now: nobody is to read the log of a node that runs.
    fn copy_metadata(&self, name: &str) {
        let from = self.dir.path().join(METADATA_LOG);
        let to = self.dir.path().join("copies").join(name);
        fs::create_dir_all(&to).unwrap();
        fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(line.split_whitespace()).current_dir(self.dir.path());
        command.env_clear().env("HOME", self.dir.path());
        command
    }

    fn see(&mut self, line: &str, has_flag: bool) -> Seen {
        let (scene, line) = Scene::parse(line);
        let group = new_group(self.groups + 1);
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let last = words.last().map(String::as_str).unwrap_or_default();
            let file = FILES.iter().find(|(flag, _)| *flag == last);
            words.push(match (word, file) {
                ("a:1", _) => self.proxy.addresses[0].clone(),
                ("b:1", _) => self.proxy.addresses[1].clone(),
                ("f", Some((_, file))) => (*file).to_owned(),
                (NEW_GROUP, _) => group.clone(),
                (word, _) => word.to_owned(),
            });
        }
        if words.contains(&group) {
            self.groups += 1;
            assert!(self.groups < NEW_GROUPS_MAX);
        }
        let fresh = self.dir.path().join(FRESH);
        let _ = fs::remove_dir_all(&fresh);
        self.proxy.close(&scene);
        let command = self.command(&words.join(" "));
        let ended = running::run(command, self.dir.path(), &scene, has_flag, &self.proxy);
        let mut seen = requests::said(&self.proxy.take());
        seen.insert("files", sizes(&fresh));
        add_end(&mut seen, ended);
        seen.values_mut().for_each(|text| *text = text.replace(&group, NEW_GROUP));
        seen
    }

    /// What is the same each time without the flag, and another thing with it: how it is without and with.
    pub fn effects(&mut self, row: &Row, is_again: bool) -> Vec<Effect> {
        if is_again || !self.known.contains_key(&row.before) {
            let both = [0, 1].map(|_| self.see(&row.before, false));
            self.known.insert(row.before.clone(), both);
        }
        let after = self.see(&row.after, true);
        let [first, second] = &self.known[&row.before];
        let names: BTreeSet<_> = first.keys().chain(after.keys()).copied().collect();
        let changed = names
            .into_iter()
            .filter(|name| first.get(name) == second.get(name) && first.get(name) != after.get(name));
        changed.map(|name| (name, first.get(name).cloned(), after.get(name).cloned())).collect()
    }
}

/// What of, and how it is without the flag and with it.
pub type Effect = (&'static str, Option<String>, Option<String>);

fn new_group(number: u32) -> String {
    format!("new-group-{number:03}")
}

fn add_end(seen: &mut Seen, ended: Ended) {
    seen.insert("form of standard output", shape(&ended.stdout));
    seen.insert("form of standard error", shape(&ended.stderr));
    seen.insert("standard output", ended.stdout);
    seen.insert("standard error", ended.stderr);
    seen.insert("exit code", format!("{:?}", ended.code));
    for (what, has_come) in ended.waited {
        seen.insert(what, has_come.to_string());
    }
}

/// Of all files below.
fn sizes(dir: &Path) -> String {
    let mut sizes = BTreeMap::new();
    let mut left: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            match entry.metadata().unwrap() {
                of if of.is_dir() => left.push(entry.path()),
                of => drop(sizes.insert(entry.path(), of.len())),
            }
        }
    }
    format!("{sizes:?}")
}
