//! The real program as a child process.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything that goes well takes, also on a busy machine: a test that hangs ends with an explanation.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start the program: in a directory of its own, where its data and its log go, on ports that the system chooses.
#[derive(Clone, Debug)]
pub struct Launch {
    executable: PathBuf,
    dir: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A node that serves; it is killed when this is dropped.
#[derive(Debug)]
pub struct Ottla {
    child: Child,
    bootstrap: String,
    log: PathBuf,
}

/// How a process ended, and what it said on standard output and standard error.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A port that was free just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
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
        let log = self.dir.join("ottla.log");
        let stderr = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let mut child =
            self.command().stdout(Stdio::piped()).stderr(stderr).spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Read on to the end, so that the child never waits for a reader.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut ottla = Ottla { child, bootstrap: String::new(), log };
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            if let Some(bootstrap) = line.trim().strip_prefix("bootstrap ") {
                ottla.bootstrap = bootstrap.trim().to_owned();
                return ottla;
            }
        }
        panic!("it does not serve; its log:\n{}", ottla.log());
    }

    /// Runs it until it ends by itself: for commands, and for starts that are refused.
    pub fn run(&self) -> Ended {
        let output = self.command().output().expect("the program starts");
        Ended {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ottla {
    /// For clients: `host:port`.
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
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is a child of this process") {
                return status;
            }
            assert!(std::time::Instant::now() < deadline, "it does not end; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Ottla {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
