use std::net::Ipv4Addr;

use super::*;
use crate::threads::PoolKind;

fn config(key: &str, value: &str) -> Config {
    Config::of_pairs([(key, value)]).unwrap()
}

/// Changing a setting changes what `get` takes from the configuration, for one listener too.
fn check<T: PartialEq + std::fmt::Debug>(key: &str, value: &str, get: impl Fn(&Config) -> T, expected: &T) {
    let defaults = Config::of_pairs([]).unwrap();
    assert_ne!(get(&defaults), *expected, "{key} has another default");
    assert_eq!(get(&config(key, value)), *expected, "{key}");
    let of_listener = config(&format!("listener.name.mine.{key}"), value);
    assert_eq!(get(&of_listener.for_listener("MINE")), *expected, "{key} of a listener");
    assert_eq!(get(&of_listener.for_listener("OTHER")), get(&defaults), "{key} of another listener");
}

#[test]
fn sockets_and_connections_follow_their_settings() {
    let socket = SocketSettings::from_config;
    check("socket.send.buffer.bytes", "5000", |c| socket(c).send_buffer_bytes, &5000);
    let wide = |config: &Config| wide_send_buffer_bytes(config.get(keys::SOCKET_SEND_BUFFER_BYTES));
    check("socket.send.buffer.bytes", "5000", wide, &None);
    check("socket.receive.buffer.bytes", "-1", |c| socket(c).receive_buffer_bytes, &-1);
    check("socket.listen.backlog.size", "7", |c| socket(c).listen_backlog, &7);

    let connection = |config: &Config| {
        ConnectionSettings::from_config(
            config,
            Arc::new(RequestMemory::new(-1)),
            Arc::new(Pool::new(PoolKind::Reader, 1)),
            Clock::start(),
        )
    };
    check("socket.request.max.bytes", "1234", |c| connection(c).request_bytes_max, &1234);
    check("queued.max.requests", "3", |c| connection(c).requests_in_flight_max, &3);
    check("connections.max.idle.ms", "2000", |c| connection(c).idle_max, &Some(Duration::from_secs(2)));
    check("connections.max.idle.ms", "-1", |c| connection(c).idle_max, &None);
}

#[test]
fn request_memory_follows_its_setting() {
    let holds = |text: &str| {
        let memory = Arc::new(RequestMemory::from_config(&config("queued.max.request.bytes", text)));
        let _first = memory.try_acquire(1 << 20);
        memory.try_acquire(1).is_some()
    };
    assert!(holds("-1"));
    assert!(!holds("1000000"));
}

#[test]
fn limits_follow_their_settings() {
    let names = [Arc::from("MINE"), Arc::from("OTHER")];
    let resolve = |host: &str| (host == "known").then_some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    let limits =
        |key: &str, value: &str| ConnectionLimitSettings::from_config(&config(key, value), &names, resolve);
    let defaults = ConnectionLimitSettings::from_config(&Config::of_pairs([]).unwrap(), &names, resolve);
    let expected = |change: &dyn Fn(&mut ConnectionLimitSettings)| {
        let mut settings = defaults.clone();
        change(&mut settings);
        settings
    };
    assert_eq!(limits("max.connections", "9"), expected(&|s| s.max_connections = 9));
    assert_eq!(limits("max.connections.per.ip", "8"), expected(&|s| s.max_connections_per_ip = 8));
    assert_eq!(limits("max.connection.creation.rate", "7"), expected(&|s| s.rate = 7));
    assert_eq!(
        limits("max.connections.per.ip.overrides", "known:6,unknown:5"),
        expected(&|s| s.per_ip_overrides = resolve("known").into_iter().map(|ip| (ip, 6)).collect())
    );
    let mine = || Arc::clone(&names[0]);
    assert_eq!(
        limits("listener.name.mine.max.connections", "4"),
        expected(&|s| s.per_listener = HashMap::from([(mine(), 4)]))
    );
    assert_eq!(
        limits("listener.name.mine.max.connection.creation.rate", "3"),
        expected(&|s| s.rate_per_listener = HashMap::from([(mine(), 3)]))
    );
    assert_eq!(
        limits("inter.broker.listener.name", "other"),
        expected(&|s| s.protected = Some(Arc::clone(&names[1])))
    );
    let alone = config("inter.broker.listener.name", "MINE");
    assert_eq!(ConnectionLimitSettings::from_config(&alone, &names[..1], resolve).protected, None);
}
