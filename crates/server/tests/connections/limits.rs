//! What is bounded: requests in flight, lengths, memory, connections and how long they may be idle.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_server::network::limits::ConnectionLimitSettings;

use crate::harness::{Client, ECHO, HOLD, METADATA, Options, PRODUCE, RELEASE, serve, until};

#[test]
fn requests_in_flight_are_bounded() {
    let server = serve(Options { in_flight_max: 2, ..Options::default() });
    let (mut client, mut other) = (server.connect(), server.connect());
    for i in 0..5 {
        client.send(PRODUCE, HOLD, &[i]);
    }
    server.await_handled(2);
    client.assert_silent();
    assert_eq!(server.handler.handled.load(Ordering::SeqCst), 2);
    for i in 0..5 {
        other.send(PRODUCE, RELEASE, b"");
        other.receive();
        if i % 2 == 0 {
            server.await_handled(2 + i as usize + 1);
        }
    }
    assert_eq!(client.receive(), [0]);
}

#[test]
fn a_client_is_not_read_from_while_it_has_as_many_requests_in_flight_as_it_may() {
    let server = serve(Options { in_flight_max: 1, ..Options::default() });
    let mut client = server.connect();
    client.send(PRODUCE, HOLD, b"");
    server.await_handled(1);
    client.0.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // Far more than what the sockets' buffers take.
    let requests = Client::request(PRODUCE, HOLD, &[0; 1024 * 1024 - 3]);
    let taken = (0..64).take_while(|_| client.0.write_all(&requests).is_ok()).count();
    assert!(taken < 64, "the server keeps what it can't handle");
}

#[test]
fn lengths_out_of_bounds_close_the_connection_and_only_that() {
    let server = serve(Options::default());
    let mut other = server.connect();
    for size in [-1, i32::MIN, 1024 * 1024 + 1, i32::MAX, 0x1603_0100] {
        let mut client = server.connect();
        client.0.write_all(&size.to_be_bytes()).unwrap();
        client.assert_closed();
    }
    other.send(METADATA, ECHO, b"still here");
    assert_eq!(other.receive(), b"still here");
}

#[test]
fn an_idle_connection_is_closed_and_one_that_waits_for_its_answer_is_not() {
    // So long that no request is late for it.
    let idle_max = Duration::from_secs(3);
    let server = serve(Options { idle_max: Some(idle_max), ..Options::default() });
    let mut waiting = server.connect();
    waiting.send(METADATA, HOLD, b"late");
    server.await_handled(1);
    // This one is idle for as long as the other waits, and begins later.
    server.connect().assert_closed();
    server.handler.release();
    assert_eq!(waiting.receive(), b"late");
}

#[test]
fn an_address_over_its_limit_is_closed_at_once() {
    let limits = ConnectionLimitSettings { max_connections_per_ip: 1, ..Default::default() };
    let server = serve(Options { limits, ..Options::default() });
    let mut first = server.connect();
    first.send(METADATA, ECHO, b"1");
    assert_eq!(first.receive(), b"1");
    server.connect().assert_closed();
}

#[test]
fn connections_over_the_total_wait_until_one_leaves() {
    let limits = ConnectionLimitSettings { max_connections: 1, ..Default::default() };
    let server = serve(Options { limits, ..Options::default() });
    let mut first = server.connect();
    first.send(METADATA, ECHO, b"1");
    assert_eq!(first.receive(), b"1");
    let mut second = server.connect();
    second.send(METADATA, ECHO, b"2");
    second.assert_silent();
    drop(first);
    assert_eq!(second.receive(), b"2");
}

#[test]
fn a_connection_that_has_to_make_room_is_closed() {
    let limits = ConnectionLimitSettings {
        max_connections: 2,
        protected: Some(Arc::from("PLAINTEXT")),
        ..Default::default()
    };
    let server = serve(Options { limits, ..Options::default() });
    let (mut first, mut second, mut third) = (server.connect(), server.connect(), server.connect());
    for client in [&mut first, &mut second, &mut third] {
        client.send(METADATA, ECHO, b"brokers stay");
        assert_eq!(client.receive(), b"brokers stay");
    }
    let lower = ConnectionLimitSettings { max_connections: 1, ..Default::default() };
    server.limits.update(lower);
    first.assert_closed();
    second.assert_closed();
    third.send(METADATA, ECHO, b"active last");
    assert_eq!(third.receive(), b"active last");
}

#[test]
fn request_memory_bounds_what_is_read_and_is_given_back() {
    let server = serve(Options { memory_bytes: 100, ..Options::default() });
    let (mut half, mut other) = (server.connect(), server.connect());
    // The first holds the whole pool while it is not complete.
    half.0.write_all(&Client::request(METADATA, ECHO, &[1; 200])[..100]).unwrap();
    until("the pool is used up", || server.memory.try_acquire(1).is_none());
    other.send(METADATA, ECHO, b"other");
    other.assert_silent();
    half.0.write_all(&Client::request(METADATA, ECHO, &[1; 200])[100..]).unwrap();
    assert_eq!(half.receive(), [1; 200]);
    assert_eq!(other.receive(), b"other");
}
