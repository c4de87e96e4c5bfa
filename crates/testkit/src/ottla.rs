//! The real program as a child process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything that goes well takes, also on a busy machine: a test that hangs ends with an explanation.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of a program whose test failed.
const LOG_LINES_SHOWN: usize = 200;

/// How to start the program: in a directory of its own, where its data and its log go, on ports that the system chooses.
#[derive(Clone, Debug)]
pub struct Launch {
    executable: PathBuf,
    dir: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A node that serves; it is killed when this is dropped, and its log is shown where a test has failed.
#[derive(Debug)]
pub struct Ottla {
    child: Child,
    bootstrap: String,
    log: PathBuf,
}

/// A node that may not serve yet; killed when it is dropped.
#[derive(Debug)]
pub struct Starting {
    ottla: Ottla,
    lines: mpsc::Receiver<String>,
}

/// How a process ended, and what it said on standard output and standard error.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Below those that the system gives to connections: nobody else's takes such a port while its node is not there.
const FIXED_PORTS: Range<u32> = 10_000..21_000;

/// A port that nobody listens on. A process is never told the same one twice.
pub fn free_port() -> u16 {
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let count = FIXED_PORTS.end - FIXED_PORTS.start;
    // Other processes begin elsewhere.
    let first = std::process::id().wrapping_mul(61) % count;
    for _ in 0..count {
        let number = (first + TOLD.fetch_add(1, Ordering::Relaxed)) % count;
        let port = u16::try_from(FIXED_PORTS.start + number).expect("it is in range");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {FIXED_PORTS:?} is free");
}

impl Launch {
    /// `executable` is what `env!("CARGO_BIN_EXE_ottla")` names.
    pub fn new(executable: &str, dir: &Path) -> Launch {
        let quick = ("group.initial.rebalance.delay.ms", "0");
        Launch::bare(executable, dir).listening_on(0, 0).set(quick.0, quick.1)
    }

    /// Without any argument.
    pub fn bare(executable: &str, dir: &Path) -> Launch {
        Launch {
            executable: executable.into(),
            dir: dir.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Ports for clients and for controllers, the same after every start.
    pub fn listening_on(self, port: u16, controller_port: u16) -> Launch {
        let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}");
        self.set("listeners", &listeners)
    }

    /// Sets one of the node's settings.
    pub fn set(self, key: &str, value: &str) -> Launch {
        self.argument("--override").argument(&format!("{key}={value}"))
    }

    pub fn argument(mut self, argument: &str) -> Launch {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Launch {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(&self.arguments)
            .current_dir(&self.dir)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts the node and waits until it serves.
    pub fn start(&self) -> Ottla {
        self.start_in_view().0
    }

    /// Starts the node and waits until it serves; with what it has said on standard output by then.
    pub fn start_in_view(&self) -> (Ottla, Vec<String>) {
        self.begin().wait_in_view()
    }

    /// Starts the node and does not wait: of several, none serves before others are there.
    pub fn begin(&self) -> Starting {
        let mut ottla = self.spawn();
        let stdout = ottla.child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Read on to the end, so that the child never waits for a reader.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Starting { ottla, lines }
    }

    /// Starts the node and kills it after this time, whatever it has got to.
    pub fn start_and_kill(&self, after: Duration) {
        let ottla = self.spawn();
        std::thread::sleep(after);
        ottla.kill();
    }

    fn spawn(&self) -> Ottla {
        let log = self.dir.join("ottla.log");
        let stderr = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let child = self.command().stdout(Stdio::piped()).stderr(stderr).spawn().expect("the program starts");
        Ottla { child, bootstrap: String::new(), log }
    }

    /// Runs it until it ends by itself: for commands, and for starts that are refused.
    pub fn run(&self) -> Ended {
        let mut child =
            self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stdout = read_beside(child.stdout.take().expect("it is piped"));
        let stderr = read_beside(child.stderr.take().expect("it is piped"));
        let status = end_of(&mut child);
        if status.is_none() {
            // Its output ends with it.
            let _ = child.kill();
            let _ = child.wait();
        }
        let [stdout, stderr] = [stdout, stderr].map(|read| read.join().expect("it can be read"));
        let status = status.unwrap_or_else(|| panic!("it does not end by itself:\n{stdout}{stderr}"));
        Ended { status, stdout, stderr }
    }
}

impl Starting {
    /// Waits until it serves.
    pub fn wait(self) -> Ottla {
        self.wait_in_view().0
    }

    fn wait_in_view(mut self) -> (Ottla, Vec<String>) {
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            said.push(line.clone());
            let address =
                ["bootstrap ", "controller "].iter().find_map(|name| line.trim().strip_prefix(name));
            if let Some(address) = address {
                self.ottla.bootstrap = address.trim().to_owned();
                return (self.ottla, said);
            }
        }
        panic!("it does not serve");
    }
}

fn read_beside(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("it can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// None if it does not come.
fn end_of(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("it is a child of this process") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

impl Ottla {
    /// For clients, or for other controllers of a node that is no broker: `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged, also in earlier starts in the same directory.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// As Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// As `kill` does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// As a terminal that goes away does.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process is there");
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        end_of(&mut self.child).expect("it ends")
    }
}

impl Drop for Ottla {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("the end of the program's log:\n{}", last.join("\n"));
        }
    }
}
