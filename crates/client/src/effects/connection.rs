//! Settings of the connection to a cluster, which all kinds of clients have.

use std::time::Duration;

use ottla_wire::messages::{ListGroupsRequest, MetadataRequest};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::{Instant, sleep};

use super::fake::{Dial, Fate, Seen};
use super::{ALL, Effect, Given, about, effect};
use crate::admin::Admin;
use crate::net::{SocketBuffers, tcp_socket};
use crate::settings::Scope;
use crate::{Client, Target, Topics};

/// Those whose retries are the client's own; a producer has its own core for that.
const NOT_PRODUCERS: &[Scope] = &[Scope::Consumer, Scope::ShareConsumer, Scope::Admin];

pub(super) const EFFECTS: &[Effect] = &[
    effect!(ALL, "bootstrap.servers" = "other:9092", first_host, "boot" => "other"),
    effect!(ALL, "client.id" = "c", client_id, "" => "c"),
    effect!(&[Scope::Producer, Scope::Consumer, Scope::ShareConsumer], "connections.max.idle.ms" = "1000", idle,
        "closed after about 540000 ms" => "closed after about 1000 ms", with [("metadata.max.age.ms", "86400000")]),
    effect!(&[Scope::Admin], "connections.max.idle.ms" = "1000", idle,
        "closed after about 300000 ms" => "closed after about 1000 ms", with [("metadata.max.age.ms", "86400000")]),
    effect!(NOT_PRODUCERS, "default.api.timeout.ms" = "45000", patience, "about 60000 ms" => "about 45000 ms",
        with [("request.timeout.ms", "1000")]),
    effect!(&[Scope::Admin], "enable.metrics.push" = "true", administrator_tells, "never asks" => "asks what is wanted"),
    effect!(ALL, "metadata.max.age.ms" = "7000", metadata_age, "about 300000 ms" => "about 7000 ms"),
    effect!(ALL, "metadata.recovery.strategy" = "none", rebootstrap_when_nobody_is_there,
        "asks the bootstrap server again" => "never again"),
    effect!(ALL, "metadata.recovery.rebootstrap.trigger.ms" = "100000", rebootstrap_when_nobody_answers,
        "about 300000 ms" => "about 100000 ms", with [("request.timeout.ms", "3000")]),
    effect!(ALL, "receive.buffer.bytes" = "9000", receive_buffer, "the system's" => "18000"),
    effect!(ALL, "send.buffer.bytes" = "9000", send_buffer, "the system's" => "18000"),
    effect!(ALL, "reconnect.backoff.ms" = "800", |given| reconnects(given, 1, &[50, 800]), "about 50 ms" => "about 800 ms",
        with [("retry.backoff.ms", "0")]),
    effect!(ALL, "reconnect.backoff.max.ms" = "300", |given| reconnects(given, 12, &[300, 1_000]), "about 1000 ms" => "about 300 ms",
        with [("retry.backoff.ms", "0")]),
    effect!(ALL, "request.timeout.ms" = "3000", gives_an_answer_up, "about 30000 ms" => "about 3000 ms"),
    effect!(NOT_PRODUCERS, "retry.backoff.ms" = "400", |given| retries(given, 1), "about 100 ms" => "about 400 ms"),
    effect!(NOT_PRODUCERS, "retry.backoff.max.ms" = "200", |given| retries(given, 9), "about 1000 ms" => "about 200 ms"),
    effect!(ALL, "socket.connection.setup.timeout.ms" = "2000", |given| setups(given, 1, &[2_000, 10_000]),
        "about 10000 ms" => "about 2000 ms", with [("reconnect.backoff.ms", "0"), ("reconnect.backoff.max.ms", "0"), ("retry.backoff.ms", "0")]),
    effect!(ALL, "socket.connection.setup.timeout.max.ms" = "12000", |given| setups(given, 4, &[12_000, 30_000]),
        "about 30000 ms" => "about 12000 ms", with [("reconnect.backoff.ms", "0"), ("reconnect.backoff.max.ms", "0"), ("retry.backoff.ms", "0"),
            ("request.timeout.ms", "60000")]),
];

async fn client(given: &Given) -> Client {
    Client::connect(given.client_settings()).await.unwrap()
}

async fn first_host(given: Given) -> String {
    client(&given).await;
    given.fake.with(|state| state.dialed[0].1.clone())
}

async fn client_id(given: Given) -> String {
    client(&given).await;
    given.fake.seen(ApiKey::Metadata)[0].client_id.clone()
}

async fn idle(given: Given) -> String {
    let _client = client(&given).await;
    sleep(Duration::from_secs(3_600)).await;
    let closed = given.fake.with(|state| state.closed.first().copied());
    closed.map_or("never".to_owned(), |(ms, _)| {
        format!("closed after {}", about(ms, &[1_000, 300_000, 540_000]))
    })
}

async fn patience(given: Given) -> String {
    given.fake.on_request(|seen| match seen.api {
        ApiKey::ApiVersions => Fate::Answered,
        _ => Fate::Unanswered,
    });
    let began = Instant::now();
    Client::connect(given.client_settings()).await.unwrap_err();
    about(since(began), &[60_000, 45_000])
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap()
}

async fn metadata_age(given: Given) -> String {
    let _client = client(&given).await;
    let seen = given.fake.until_seen(ApiKey::Metadata, 2).await;
    about(seen[1].at_ms - seen[0].at_ms, &[7_000, 300_000])
}

/// When the bootstrap server was connected to for a second time, after the cluster was known.
fn second_boot(given: &Given, after_ms: u64) -> Option<u64> {
    given.fake.with(|state| {
        state.dialed.iter().find(|(ms, host)| host == "boot" && *ms >= after_ms).map(|(ms, _)| *ms)
    })
}

async fn rebootstrap_when_nobody_is_there(given: Given) -> String {
    let client = client(&given).await;
    given.fake.on_dial(|host| if host == "boot" { Dial::Accepted } else { Dial::Refused });
    sleep(Duration::from_secs(1)).await;
    let after_ms = given.fake.now_ms();
    // Whoever is still connected is asked as well.
    given.fake.on_request(|seen| if seen.connection == 1 { Fate::Cut } else { Fate::Answered });
    let _ = client.refresh(Topics::Every).await;
    let _ = client.refresh(Topics::Every).await;
    if second_boot(&given, after_ms).is_some() { "asks the bootstrap server again" } else { "never again" }
        .to_owned()
}

async fn rebootstrap_when_nobody_answers(given: Given) -> String {
    let client = client(&given).await;
    sleep(Duration::from_secs(1)).await;
    let after_ms = given.fake.now_ms();
    given.fake.on_request(|seen| match seen.api {
        ApiKey::ApiVersions => Fate::Answered,
        _ => Fate::Unanswered,
    });
    tokio::spawn(async move {
        loop {
            let _ = client.refresh(Topics::Every).await;
        }
    });
    for _ in 0..3_600 {
        sleep(Duration::from_secs(1)).await;
        if let Some(at_ms) = second_boot(&given, after_ms) {
            return about(at_ms - after_ms, &[100_000, 300_000]);
        }
    }
    "never".to_owned()
}

/// What a socket has of what the setting asks for; the system doubles it, for what it needs itself.
async fn buffer(given: Given, size: fn(&tokio::net::TcpSocket) -> u32) -> String {
    let address = "127.0.0.1:1".parse().unwrap();
    let made = tcp_socket(address, given.client_settings().net_settings().dialer.buffers).unwrap();
    let usual = tcp_socket(address, SocketBuffers::default()).unwrap();
    if size(&made) == size(&usual) { "the system's".to_owned() } else { size(&made).to_string() }
}

async fn receive_buffer(given: Given) -> String {
    buffer(given, |socket| socket.recv_buffer_size().unwrap()).await
}

async fn send_buffer(given: Given) -> String {
    buffer(given, |socket| socket.send_buffer_size().unwrap()).await
}

/// Between an attempt to connect and the next one, after so many.
async fn attempts(given: Given, place: usize, dial: fn(&String) -> Dial, expected: &[u64]) -> String {
    given.fake.on_dial(dial);
    let client = Client::start(given.client_settings()).unwrap();
    let trying = tokio::spawn(async move {
        loop {
            let _ = client.refresh(Topics::Nothing).await;
        }
    });
    while given.fake.with(|state| state.dialed.len()) <= place {
        sleep(Duration::from_millis(10)).await;
    }
    trying.abort();
    let dialed = given.fake.with(|state| state.dialed.clone());
    about(dialed[place].0 - dialed[place - 1].0, expected)
}

async fn reconnects(given: Given, place: usize, expected: &[u64]) -> String {
    attempts(given, place, |_| Dial::Refused, expected).await
}

async fn setups(given: Given, place: usize, expected: &[u64]) -> String {
    attempts(given, place, |_| Dial::Unanswered, expected).await
}

async fn gives_an_answer_up(given: Given) -> String {
    given.fake.on_request(|seen| match seen.api {
        ApiKey::ApiVersions => Fate::Answered,
        _ => Fate::Unanswered,
    });
    let client = Client::start(given.client_settings()).unwrap();
    tokio::spawn(async move { client.refresh(Topics::Nothing).await });
    let asked = given.fake.until_seen(ApiKey::Metadata, 1).await[0].at_ms;
    while given.fake.with(|state| state.closed.is_empty()) {
        sleep(Duration::from_millis(10)).await;
    }
    about(given.fake.with(|state| state.closed[0].0) - asked, &[3_000, 30_000])
}

/// Between an attempt that is refused and the next one, after so many.
async fn retries(given: Given, place: usize) -> String {
    let client = client(&given).await;
    given.fake.on_request(|seen: &Seen| match seen.api {
        ApiKey::ListGroups => Fate::Refused(ErrorCode::CoordinatorNotAvailable),
        _ => Fate::Answered,
    });
    let asking = tokio::spawn(async move {
        let code =
            |answer: &ottla_wire::messages::ListGroupsResponse| ErrorCode::from_answer(answer.error_code);
        client.call(Target::AnyNode, 3_600_000, |_| ListGroupsRequest::default(), code).await
    });
    let seen = given.fake.until_seen(ApiKey::ListGroups, place + 1).await;
    asking.abort();
    about(seen[place].at_ms - seen[place - 1].at_ms, &[100, 200, 400, 1_000])
}

/// Whether the cluster is asked for the metrics that it wants, now that a client is there.
pub(super) async fn asks_what_is_wanted(given: &Given) -> String {
    sleep(Duration::from_secs(10)).await;
    let asked = given.fake.seen(ApiKey::GetTelemetrySubscriptions);
    if asked.is_empty() { "never asks" } else { "asks what is wanted" }.to_owned()
}

async fn administrator_tells(given: Given) -> String {
    given.takes_metrics();
    let _admin = Admin::new(client(&given).await);
    asks_what_is_wanted(&given).await
}

/// That the topic may come into being because it was asked for.
pub(super) async fn may_create_topics(given: Given) -> String {
    client(&given).await;
    given.fake.first::<MetadataRequest>().await.allow_auto_topic_creation.to_string()
}
