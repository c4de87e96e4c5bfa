//! Requests are taken and answered in the order of their connection, and a connection ends as it should.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::harness::{
    Client, ECHO, FORGET, HOLD, HOLD_FIRST, METADATA, Options, PRODUCE, RELEASE, SILENT, serve, until,
};

#[test]
fn frames_may_arrive_in_any_pieces() {
    let server = serve(Options::default());
    let mut client = server.connect();
    let large = vec![7; 300_000];
    let mut bytes = Client::request(METADATA, ECHO, b"one");
    bytes.extend(Client::request(METADATA, ECHO, b"two"));
    bytes.extend(Client::request(METADATA, ECHO, &large));
    for piece in bytes.chunks(65_537).flat_map(|c| [&c[..1], &c[1..]]) {
        client.0.write_all(piece).unwrap();
    }
    assert_eq!(client.receive(), b"one");
    assert_eq!(client.receive(), b"two");
    assert_eq!(client.receive(), large);
}

#[test]
fn produce_requests_are_taken_while_earlier_ones_wait_and_answered_in_order() {
    let server = serve(Options::default());
    let mut client = server.connect();
    client.send(PRODUCE, HOLD, b"1");
    client.send(PRODUCE, HOLD, b"2");
    client.send(PRODUCE, RELEASE, b"3");
    for expected in [b"1", b"2", b"3"] {
        assert_eq!(client.receive(), expected);
    }
}

#[test]
fn produce_requests_wait_for_one_that_must_not_be_overtaken() {
    let server = serve(Options::default());
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(PRODUCE, HOLD_FIRST, b"1");
    client.send(PRODUCE, HOLD, b"2");
    client.send(PRODUCE, HOLD, b"3");
    server.await_handled(1);
    client.assert_silent();
    assert_eq!(server.handler.handled.load(Ordering::SeqCst), 1);
    other.send(METADATA, RELEASE, b"x");
    assert_eq!(client.receive(), b"1");
    // From then on they follow each other again.
    server.await_handled(4);
    other.send(METADATA, RELEASE, b"y");
    assert_eq!(client.receive(), b"2");
    assert_eq!(client.receive(), b"3");
}

#[test]
fn other_requests_wait_for_the_one_before() {
    let server = serve(Options::default());
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(METADATA, HOLD, b"1");
    client.send(METADATA, ECHO, b"2");
    server.await_handled(1);
    client.assert_silent();
    assert_eq!(server.handler.handled.load(Ordering::SeqCst), 1);
    other.send(METADATA, RELEASE, b"x");
    assert_eq!(client.receive(), b"1");
    assert_eq!(client.receive(), b"2");
}

#[test]
fn what_was_answered_before_a_close_is_sent() {
    let server = serve(Options::default());
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(PRODUCE, HOLD, b"1");
    client.send(PRODUCE, FORGET, b"2");
    server.await_handled(2);
    other.send(PRODUCE, RELEASE, b"");
    assert_eq!(client.receive(), b"1");
    client.assert_closed();
}

#[test]
fn threads_that_are_stopped_close_their_connections_whoever_still_has_them() {
    let server = serve(Options::default());
    let mut client = server.connect();
    client.send(METADATA, HOLD, b"1");
    server.await_handled(1);
    let elsewhere = Arc::clone(&server.threads);
    server.threads.stop();
    client.assert_closed();
    assert_eq!(server.handler.closed.load(Ordering::SeqCst), 1, "before the stop is over");
    elsewhere.resize(2).unwrap();
    elsewhere.spawn(async { panic!("nothing runs any more") });
    elsewhere.stop();
}

#[test]
fn a_request_without_an_answer_does_not_hold_up_the_next() {
    let server = serve(Options::default());
    let mut client = server.connect();
    client.send(PRODUCE, SILENT, b"1");
    client.send(METADATA, ECHO, b"2");
    assert_eq!(client.receive(), b"2");
}

#[test]
fn a_request_that_was_dropped_closes_the_connection() {
    let server = serve(Options::default());
    let mut client = server.connect();
    client.send(METADATA, FORGET, b"");
    client.assert_closed();
    until("the handler is told", || server.handler.closed.load(Ordering::SeqCst) == 1);
}
