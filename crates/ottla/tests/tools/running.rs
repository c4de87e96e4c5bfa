//! A tool that runs in a scene.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::proxy::Proxy;
use crate::scene::{Event, Scene};

/// Longer than anything takes that comes at all.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what is not to come. Where it would come later than that, a flag that does nothing is taken for one that does something.
const GLANCE: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// How a tool ended.
#[derive(Debug)]
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
    /// What was waited for, and whether it came.
    pub waited: Vec<(&'static str, bool)>,
}

/// Runs a tool to its end.
pub fn run(mut command: Command, dir: &Path, scene: &Scene, has_flag: bool, proxy: &Proxy) -> Ended {
    let text = scene.stdin.as_ref().map(|name| fs::read_to_string(dir.join(name)).unwrap());
    command.stdin(if text.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = read_beside(child.stdout.take().unwrap());
    let stderr = read_beside(child.stderr.take().unwrap());
    let mut waited = Vec::new();
    if let Some(text) = text {
        let mut stdin = child.stdin.take().unwrap();
        let first = text.find('\n').map_or(text.len(), |at| at + 1);
        // A tool may end without reading anything.
        let _ = stdin.write_all(&text.as_bytes()[..first]);
        if let Some(event) = &scene.pause {
            waited.push(("the pause's end", has_come(&mut child, event, has_flag, proxy)));
        }
        let _ = stdin.write_all(&text.as_bytes()[first..]);
    }
    if let Some(event) = &scene.end {
        waited.push(("what it is ended after", has_come(&mut child, event, has_flag, proxy)));
        if child.try_wait().unwrap().is_none() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            kill_process(pid, Signal::TERM).unwrap();
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    let code = child.wait().unwrap().code();
    Ended { stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), code, waited }
}

/// Waits until it comes, or the tool ends, which it also may do for good reason.
fn has_come(child: &mut Child, event: &Event, has_flag: bool, proxy: &Proxy) -> bool {
    let patience = if event.must_come(has_flag) { PATIENCE } else { GLANCE };
    let deadline = Instant::now() + patience;
    loop {
        if proxy.count(&event.api) >= event.count {
            return true;
        }
        if Instant::now() > deadline || child.try_wait().unwrap().is_some() {
            return false;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn read_beside(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
