//! Settings of sockets, connections and their threads, from outside; some of them while the node runs.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ottla_testkit::{Launch, Ottla};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::clients::client;
use super::launch;

pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing has to come to be taken for silence.
const MOMENT: Duration = Duration::from_millis(300);

/// ApiVersions version 0 with correlation id 7 and no client id.
const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

#[derive(Debug, PartialEq)]
pub enum Heard {
    Answer,
    Silence,
    Closed,
}

fn connect(ottla: &Ottla) -> TcpStream {
    TcpStream::connect(ottla.bootstrap()).unwrap()
}

/// Asks, and waits for an answer for so long.
pub fn ask(mut stream: &TcpStream, patience: Duration) -> Heard {
    match stream.write_all(&REQUEST) {
        Ok(()) => hear(stream, patience),
        Err(_) => Heard::Closed,
    }
}

pub fn hear(mut stream: &TcpStream, patience: Duration) -> Heard {
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {
            let mut answer = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut answer).unwrap();
            Heard::Answer
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Heard::Silence,
        Err(_) => Heard::Closed,
    }
}

/// Whether so many connections are answered, held, or closed.
fn check(launch: &Launch, expected: &[Heard]) {
    let ottla = launch.start();
    let connections: Vec<TcpStream> = expected.iter().map(|_| connect(&ottla)).collect();
    for (number, (stream, expected)) in connections.iter().zip(expected).enumerate() {
        let patience = if *expected == Heard::Silence { MOMENT } else { PATIENCE };
        assert_eq!(ask(stream, patience), *expected, "connection {number}\n{}", ottla.log());
    }
}

#[test]
fn connections_are_limited() {
    use Heard::{Answer, Closed, Silence};
    let dir = tempfile::tempdir().unwrap();
    let launch = || launch(dir.path());
    check(&launch(), &[Answer, Answer, Answer]);
    check(&launch().set("max.connections.per.ip", "2"), &[Answer, Answer, Closed]);
    let overrides = "127.0.0.1:1,10.0.0.1:5";
    check(&launch().set("max.connections.per.ip.overrides", overrides), &[Answer, Closed]);
    check(&launch().set("max.connections", "2"), &[Answer, Answer, Silence]);
    check(&launch().set("listener.name.plaintext.max.connections", "1"), &[Answer, Silence]);
}

#[test]
fn connections_are_accepted_at_a_set_rate() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("max.connection.creation.rate", "1").start();
    let connections: Vec<TcpStream> = (0..40).map(|_| connect(&ottla)).collect();
    assert_eq!(ask(&connections[0], PATIENCE), Heard::Answer);
    // Its turn comes half a minute later.
    assert_eq!(ask(connections.last().unwrap(), MOMENT), Heard::Silence);
    drop(ottla);
    let ottla = launch(dir.path()).start();
    let connections: Vec<TcpStream> = (0..40).map(|_| connect(&ottla)).collect();
    assert_eq!(ask(connections.last().unwrap(), PATIENCE), Heard::Answer);
}

#[test]
fn a_place_that_gets_free_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("max.connections", "1").start();
    let (first, second) = (connect(&ottla), connect(&ottla));
    assert_eq!(ask(&first, PATIENCE), Heard::Answer);
    assert_eq!(ask(&second, MOMENT), Heard::Silence);
    drop(first);
    assert_eq!(hear(&second, PATIENCE), Heard::Answer);
}

#[test]
fn idle_connections_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    // Long enough for a request to come in time.
    let short = [("connections.max.idle.ms", "3000"), ("connection.failed.authentication.delay.ms", "0")];
    let launch = short.iter().fold(launch(dir.path()), |launch, (key, value)| launch.set(key, value));
    let ottla = launch.start();
    let stream = connect(&ottla);
    assert_eq!(ask(&stream, PATIENCE), Heard::Answer);
    assert_eq!(hear(&stream, PATIENCE), Heard::Closed);
}

#[test]
fn requests_are_limited_in_size() {
    let dir = tempfile::tempdir().unwrap();
    let size = |size: i32| [&size.to_be_bytes()[..], &REQUEST[4..], &vec![0; size as usize - 10]].concat();
    let ottla = launch(dir.path()).set("socket.request.max.bytes", "1000").start();
    for (bytes, expected) in [(1000, Heard::Answer), (1001, Heard::Closed)] {
        let mut stream = connect(&ottla);
        stream.write_all(&size(bytes)).unwrap();
        assert_eq!(hear(&stream, PATIENCE), expected, "{bytes} bytes");
    }
}

#[test]
fn memory_of_requests_is_shared() {
    let dir = tempfile::tempdir().unwrap();
    let limits = [("socket.request.max.bytes", "1000"), ("queued.max.request.bytes", "1000")];
    let ottla = limits.iter().fold(launch(dir.path()), |launch, (key, value)| launch.set(key, value)).start();
    let mut half = connect(&ottla);
    let rest = [&1000_i32.to_be_bytes()[..], &REQUEST[4..], &[0; 990]].concat();
    half.write_all(&rest[..100]).unwrap();
    // As soon as the node has seen that, it has all the memory.
    let deadline = Instant::now() + PATIENCE;
    let mut others = std::iter::from_fn(|| (Instant::now() < deadline).then(|| connect(&ottla)));
    let other = others.find(|other| ask(other, MOMENT) == Heard::Silence).unwrap();
    half.write_all(&rest[100..]).unwrap();
    assert_eq!(hear(&half, PATIENCE), Heard::Answer);
    assert_eq!(hear(&other, PATIENCE), Heard::Answer);
}

#[test]
fn settings_change_while_the_node_runs() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("num.network.threads", "2").start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let admin: AdminClient<DefaultClientContext> = client(&ottla, &[]).create().unwrap();
    let alter = |settings: &[(&str, &str)]| {
        let all =
            settings.iter().fold(AlterConfig::new(ResourceSpecifier::Broker(1)), |config, (key, value)| {
                config.set(key, value)
            });
        let done = runtime.block_on(admin.alter_configs(&[all], &AdminOptions::new())).unwrap();
        done.into_iter().for_each(|result| drop(result.unwrap()));
    };
    // One belongs to the controller's listener.
    until(|| (threads(&ottla, "network-"), threads(&ottla, "cleaner-")) == (3, 1));
    alter(&[("num.network.threads", "4"), ("log.cleaner.threads", "2")]);
    until(|| (threads(&ottla, "network-"), threads(&ottla, "cleaner-")) == (5, 2));
    alter(&[("num.network.threads", "2")]);
    until(|| (threads(&ottla, "network-"), threads(&ottla, "cleaner-")) == (3, 1));

    // The administrator's client has connections already.
    alter(&[("max.connections.per.ip", "1")]);
    until(|| ask(&connect(&ottla), PATIENCE) == Heard::Closed);
    alter(&[("max.connections.per.ip", "1"), ("max.connections.per.ip.overrides", "127.0.0.1:1000")]);
    until(|| ask(&connect(&ottla), PATIENCE) == Heard::Answer);
}

pub fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come to that");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn threads(ottla: &Ottla, prefix: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", ottla.pid())).unwrap();
    let name =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.map(Result::unwrap).map(name).filter(|name| name.starts_with(prefix)).count()
}
