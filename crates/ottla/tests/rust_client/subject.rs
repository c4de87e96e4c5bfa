//! The broker that the tests meet: Ottla, or, with `BROKER=kafka`, Apache Kafka, which shows that the tests themselves are right.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ottla_testkit::free_port;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const PATIENCE: Duration = Duration::from_secs(120);

/// Whether it is Apache Kafka.
pub fn is_kafka() -> bool {
    match std::env::var("BROKER").as_deref() {
        Ok("kafka") => true,
        Ok("ottla") | Err(_) => false,
        Ok(other) => panic!("BROKER={other}: it is ottla or kafka"),
    }
}

/// How to start a broker in a directory of its own.
#[derive(Clone, Debug)]
pub enum Launch {
    Ottla(ottla_testkit::Launch),
    Kafka { dir: PathBuf, port: u16, settings: Vec<(String, String)> },
}

/// A broker that serves; it is killed when this is dropped.
#[derive(Debug)]
pub enum Broker {
    Ottla(ottla_testkit::Ottla),
    Kafka(KafkaBroker),
}

/// The process is none of this one's children.
#[derive(Debug)]
pub struct KafkaBroker {
    pid: i32,
    bootstrap: String,
    dir: PathBuf,
}

impl Launch {
    pub fn new(dir: &Path) -> Launch {
        if !is_kafka() {
            return Launch::Ottla(ottla_testkit::Launch::new(env!("CARGO_BIN_EXE_ottla"), dir));
        }
        let launch = Launch::Kafka { dir: dir.to_owned(), port: free_ports(), settings: Vec::new() };
        launch.set("group.initial.rebalance.delay.ms", "0")
    }

    /// The one node that `server.properties` in the directory describes, which is formatted and listens there.
    pub fn of_properties(dir: &Path, port: u16) -> Launch {
        if is_kafka() {
            return Launch::Kafka { dir: dir.to_owned(), port, settings: Vec::new() };
        }
        let bare = ottla_testkit::Launch::bare(env!("CARGO_BIN_EXE_ottla"), dir);
        Launch::Ottla(bare.argument("-c").argument("server.properties"))
    }

    /// The same port for clients after every start; Apache Kafka's controller has the one after it.
    pub fn listening_on(self, wanted: u16, controller_port: u16) -> Launch {
        match self {
            Launch::Ottla(launch) => Launch::Ottla(launch.listening_on(wanted, controller_port)),
            Launch::Kafka { dir, settings, .. } => Launch::Kafka { dir, port: wanted, settings },
        }
    }

    pub fn set(self, key: &str, value: &str) -> Launch {
        match self {
            Launch::Ottla(launch) => Launch::Ottla(launch.set(key, value)),
            Launch::Kafka { dir, port, mut settings } => {
                settings.push((key.to_owned(), value.to_owned()));
                Launch::Kafka { dir, port, settings }
            }
        }
    }

    /// Starts it and waits until it serves.
    pub fn start(&self) -> Broker {
        match self {
            Launch::Ottla(launch) => Broker::Ottla(launch.start()),
            Launch::Kafka { dir, port, settings } => start_kafka(dir, *port, settings),
        }
    }
}

/// A port that is free together with the next one.
pub fn free_ports() -> u16 {
    loop {
        // Nobody else in this process is told the second one either.
        let (port, next) = (free_port(), free_port());
        if next == port + 1 {
            return port;
        }
    }
}

/// The runner of Apache Kafka. A small heap, for several of them run beside each other.
pub fn kafka() -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/kafka/kafka"));
    command.env("KAFKA_JAVA_OPTS", "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto");
    command.stdin(Stdio::null());
    command
}

fn start_kafka(dir: &Path, port: u16, settings: &[(String, String)]) -> Broker {
    let pairs = settings.iter().map(|(key, value)| format!("{key}={value}"));
    let done = kafka().arg("start").arg(dir).arg(port.to_string()).args(pairs).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let pid = String::from_utf8(done.stdout).unwrap().trim().parse().unwrap();
    Broker::Kafka(KafkaBroker { pid, bootstrap: format!("127.0.0.1:{port}"), dir: dir.to_owned() })
}

impl Broker {
    pub fn bootstrap(&self) -> &str {
        match self {
            // Beside the address for clients there may be one for controllers.
            Broker::Ottla(ottla) => ottla.bootstrap().split(',').next().unwrap_or_default(),
            Broker::Kafka(kafka) => &kafka.bootstrap,
        }
    }

    /// Ends it as a crash would.
    pub fn kill(self) {
        match self {
            Broker::Ottla(ottla) => ottla.kill(),
            Broker::Kafka(kafka) => drop(kafka),
        }
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.join("broker.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the broker's log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        // It may have ended already.
        let _ = kill_process(pid, Signal::KILL);
        let deadline = Instant::now() + PATIENCE;
        while test_kill_process(pid).is_ok() && !is_zombie(pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whoever is to ask for its end may take their time.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'))
}
