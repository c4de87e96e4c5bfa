//! The processes of a local cluster: started together, watched, started again, stopped together.

use std::fs::File;
use std::future::poll_fn;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::layout::{Home, Layout};
use crate::output::{tell, tell_line};

/// No node that can start takes this long, also on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);

/// Long enough to see that the others have taken over.
const DOWN: Duration = Duration::from_secs(5);

/// Of a node that did not start.
const LOG_LINES_SHOWN: usize = 10;

/// All nodes of the cluster; those that run when this is dropped are killed.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    home: Home,
    overrides: Vec<String>,
    process: Child,
    stdout: BufReader<ChildStdout>,
}

/// Why a node does not serve.
#[derive(Debug)]
enum NotReady {
    Ended,
    TimedOut,
}

impl Nodes {
    /// None of several nodes serves before others are there: they are all started before any is waited for.
    pub fn start(layout: &Layout, overrides: &[String]) -> Result<Nodes, String> {
        let nodes = layout.homes().iter().map(|home| Node::start(home.clone(), overrides.to_vec()));
        Ok(Nodes { nodes: nodes.collect::<Result<_, _>>()? })
    }

    /// Waits until all serve.
    pub async fn ready(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            node.ready().await.map_err(|not_ready| node.describe(&not_ready))?;
        }
        Ok(())
    }

    /// A line about each.
    pub fn told(&self) -> impl Iterator<Item = String> {
        self.nodes.iter().map(Node::told)
    }

    /// Starts nodes again that end, each for itself: one may need others to be back before it serves. Returns when one doesn't come back.
    pub async fn keep(&mut self) -> String {
        let mut kept: Vec<_> = self.nodes.iter_mut().map(|node| Box::pin(node.keep())).collect();
        poll_fn(|context| {
            let failed = kept.iter_mut().map(|node| node.as_mut().poll(context)).find(Poll::is_ready);
            failed.unwrap_or(Poll::Pending)
        })
        .await
    }

    /// Asks all to stop, and waits until they have.
    pub async fn stop(&mut self) -> Result<(), String> {
        for node in &self.nodes {
            node.signal(Signal::TERM);
        }
        self.wait_all().await
    }

    /// Ends all at once.
    pub async fn kill(&mut self) -> Result<(), String> {
        for node in &self.nodes {
            node.signal(Signal::KILL);
        }
        self.wait_all().await
    }

    async fn wait_all(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            node.process
                .wait()
                .await
                .map_err(|error| format!("can't wait for node {}: {error}", node.home.id.0))?;
        }
        Ok(())
    }
}

impl Node {
    fn start(home: Home, overrides: Vec<String>) -> Result<Node, String> {
        let cant = |error: std::io::Error| format!("can't start node {}: {error}", home.id.0);
        let log = File::options().create(true).append(true).open(home.log()).map_err(cant)?;
        let mut command = Command::new(std::env::current_exe().map_err(cant)?);
        command.arg("server").arg("--config").arg(home.properties());
        for text in &overrides {
            command.arg("--override").arg(text);
        }
        // In a group of its own, so that Ctrl-C in a terminal reaches this process alone, which asks each once.
        command.process_group(0).kill_on_drop(true);
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut process = started.map_err(cant)?;
        let stdout = process.stdout.take().ok_or_else(|| format!("node {} says nothing", home.id.0))?;
        Ok(Node { home, overrides, process, stdout: BufReader::new(stdout) })
    }

    async fn keep(&mut self) -> String {
        loop {
            let ended = end_of(self.process.wait().await);
            tell_line(&format!(
                "node {} {ended}; it is started again in {} s",
                self.home.id.0,
                DOWN.as_secs()
            ));
            sleep(DOWN).await;
            if let Err(why) = self.come_back().await {
                return why;
            }
        }
    }

    /// One that is killed before it serves has ended like any other.
    async fn come_back(&mut self) -> Result<(), String> {
        *self = Node::start(self.home.clone(), self.overrides.clone())?;
        match self.ready().await {
            Ok(()) => tell_line(&self.told()),
            Err(NotReady::Ended) if self.was_killed().await => {}
            Err(not_ready) => return Err(self.describe(&not_ready)),
        }
        Ok(())
    }

    async fn was_killed(&mut self) -> bool {
        self.process.wait().await.is_ok_and(|status| status.signal().is_some())
    }

    /// Waits until it has said that it is ready, and all that it says then.
    async fn ready(&mut self) -> Result<(), NotReady> {
        let mut line = String::new();
        let said = timeout(START_MAX, async {
            while !line.trim_start().starts_with("bootstrap ") {
                line.clear();
                if !matches!(self.stdout.read_line(&mut line).await, Ok(1..)) {
                    return false;
                }
            }
            true
        });
        match said.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotReady::Ended),
            Err(_) => Err(NotReady::TimedOut),
        }
    }

    fn describe(&self, not_ready: &NotReady) -> String {
        let within = match not_ready {
            NotReady::Ended => String::new(),
            NotReady::TimedOut => format!(" within {} s", START_MAX.as_secs()),
        };
        format!("node {} did not start{within}:\n{}", self.home.id.0, end_of_log(&self.home.log()))
    }

    fn told(&self) -> String {
        let Home { id, address, .. } = &self.home;
        let pid = self.process.id().map_or_else(|| "none".to_owned(), |pid| pid.to_string());
        format!("  node {}     {address}  pid {pid}  {}", id.0, self.home.log().display())
    }

    /// One that has ended hears nothing.
    fn signal(&self, signal: Signal) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(Err(error)) = pid.map(|pid| kill_process(pid, signal)) {
            tell("warning", &format!("node {} can't be told to end: {error}", self.home.id.0));
        }
    }
}

fn end_of(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("is out of sight ({error})"),
    }
}

fn end_of_log(path: &Path) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("{} can't be read: {error}", path.display()));
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}
