//! What no client should send, from outside: it is answered as Kafka does or ends its connection with one log line, and
//! nobody else notices.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_record::{BatchBuilder, BatchOptions, Codec, Compression, NewRecord};
use ottla_testkit::{Launch, Ottla};
use ottla_types::{Timestamp, Uuid};
use ottla_wire::messages::create_topics_request::{Config, CreateTopicsRequest, Topic};
use ottla_wire::messages::fetch_request::{self, FetchRequest};
use ottla_wire::messages::produce_request::{self, ProduceRequest};
use ottla_wire::{ErrorCode, FRAME_LENGTH_BYTES, Request, decode_response, encode_request};

use super::launch;
use super::network::{Heard, PATIENCE, ask, hear, until};

pub const MEGABYTE: usize = 1 << 20;

pub fn connect(ottla: &Ottla) -> TcpStream {
    let stream = TcpStream::connect(ottla.bootstrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn frame_of<R: Request>(request: &R, version: i16) -> Bytes {
    encode_request(7, Some("test"), request, version).unwrap().bytes
}

pub fn receive<R: Request>(mut stream: &TcpStream, version: i16) -> R::Response {
    let mut length = [0; FRAME_LENGTH_BYTES];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    decode_response::<R::Response>(answer.into(), version).unwrap().1
}

pub fn call<R: Request>(mut stream: &TcpStream, request: &R, version: i16) -> R::Response {
    stream.write_all(&frame_of(request, version)).unwrap();
    receive::<R>(stream, version)
}

fn create(stream: &TcpStream, name: &str, configs: &[(&str, &str)]) -> (ErrorCode, Uuid) {
    let config = |(name, value): &(&str, &str)| Config {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..Config::default()
    };
    let topic = Topic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..Topic::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..CreateTopicsRequest::default() };
    let created = call(stream, &request, 7).topics.remove(0);
    (ErrorCode::from_code(created.error_code).unwrap(), created.topic_id)
}

fn produce_request(topic_id: Uuid, records: Bytes) -> ProduceRequest {
    let partition = produce_request::PartitionData { records: Some(records), ..Default::default() };
    let topic =
        produce_request::TopicData { topic_id, partition_data: vec![partition], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

fn produce(stream: &TcpStream, topic_id: Uuid, records: Bytes) -> ErrorCode {
    let answer = call(stream, &produce_request(topic_id, records), 13);
    ErrorCode::from_code(answer.responses[0].partition_responses[0].error_code).unwrap()
}

pub fn batch(compression: Compression, values: &[&[u8]]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    for value in values {
        let timestamp = Timestamp(1_700_000_000_000);
        builder.append(&NewRecord { timestamp, key: None, value: Some(value), headers: &[] }).unwrap();
    }
    builder.build().unwrap()
}

/// Writes the checksum of what stands there now.
fn with_checksum(mut batch: Vec<u8>) -> Bytes {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]);
    batch[17..21].copy_from_slice(&u32::try_from(crc).unwrap().to_be_bytes());
    batch.into()
}

/// The most memory that the process has had so far.
pub fn peak_bytes(ottla: &Ottla) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", ottla.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Log lines about connections that broke the protocol.
fn complaints(ottla: &Ottla) -> usize {
    ottla.log().lines().filter(|line| line.contains("WARN") && line.contains("broke the protocol")).count()
}

#[test]
fn frames_that_make_no_sense_end_their_connection_with_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let bystander = connect(&ottla);
    assert_eq!(ask(&bystander, PATIENCE), Heard::Answer);
    let framed = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    let header = |key: i16, version: i16| {
        [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 0xff, 0xff]].concat()
    };
    // Metadata of 2^31 topics, and of as many as a frame of a megabyte could hold.
    let lying = [header(3, 1), vec![0x7f, 0xff, 0xff, 0xff]].concat();
    let lying_more = [header(3, 1), vec![0, 7, 0xff, 0xff], vec![0; MEGABYTE]].concat();
    let inputs = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        // The hello of TLS.
        vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        (-1_i32).to_be_bytes().to_vec(),
        i32::MAX.to_be_bytes().to_vec(),
        framed(&[]),
        framed(&[0]),
        framed(&[0; 7]),
        framed(&header(9999, 0)),
        framed(&header(-1, 0)),
        framed(&header(3, 99)),
        framed(&header(3, -1)),
        framed(&header(0, 13)),
        framed(&lying),
        framed(&lying_more),
        framed(&[0xff; 1000]),
    ];
    let before = peak_bytes(&ottla);
    for (number, input) in inputs.iter().enumerate() {
        let mut stream = connect(&ottla);
        stream.write_all(input).unwrap();
        assert_eq!(hear(&stream, PATIENCE), Heard::Closed, "input {number}");
        until(|| complaints(&ottla) > number);
        assert_eq!(complaints(&ottla), number + 1, "input {number}: {}", ottla.log());
    }
    assert!(peak_bytes(&ottla) < before + 32 * MEGABYTE);
    // A client that goes in the middle of a frame is no news, and a version of ApiVersions that there is not is answered.
    let mut half = connect(&ottla);
    half.write_all(&framed(&[0; 100])[..50]).unwrap();
    drop(half);
    let mut newer = connect(&ottla);
    newer.write_all(&framed(&[header(18, 99), vec![0]].concat())).unwrap();
    assert_eq!(hear(&newer, PATIENCE), Heard::Answer);
    assert_eq!(ask(&bystander, PATIENCE), Heard::Answer);
    assert_eq!(complaints(&ottla), inputs.len());
    assert!(ottla.stop().success());
}

#[test]
fn batches_that_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let stream = connect(&ottla);
    assert_eq!(create(&stream, "../etc", &[]).0, ErrorCode::InvalidTopicException);
    assert_eq!(create(&stream, "", &[]).0, ErrorCode::InvalidTopicException);
    assert_eq!(create(&stream, &"n".repeat(250), &[]).0, ErrorCode::InvalidTopicException);
    let (_, id) = create(&stream, "t", &[]);
    let good = batch(Compression::NONE, &[b"a", b"b"]);
    let changed = |at: usize, bytes: &[u8]| {
        let mut batch = good.clone();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        batch
    };
    assert_eq!(produce(&stream, id, changed(65, &[7]).into()), ErrorCode::CorruptMessage, "a wrong checksum");
    let counts = [(57, 3_i32), (57, 1), (57, i32::MAX), (57, -1), (23, 9), (23, -1)];
    for (at, number) in counts {
        let refused = produce(&stream, id, with_checksum(changed(at, &number.to_be_bytes())));
        assert!(
            matches!(refused, ErrorCode::InvalidRecord | ErrorCode::CorruptMessage),
            "{number} at {at}: {refused:?}"
        );
    }
    let longer = changed(8, &1_000_000_i32.to_be_bytes());
    assert_eq!(produce(&stream, id, longer.into()), ErrorCode::InvalidRecord, "there is no whole batch");
    let of_codec = |codec: u8| with_checksum(changed(22, &[codec]));
    for codec in 1..=4 {
        assert_eq!(produce(&stream, id, of_codec(codec)), ErrorCode::InvalidRecord, "codec {codec}");
    }
    assert_eq!(produce(&stream, id, of_codec(5)), ErrorCode::UnsupportedCompressionType);
    assert_ne!(produce(&stream, id, vec![0; 1000].into()), ErrorCode::None);
    assert_eq!(produce(&stream, id, good.into()), ErrorCode::None);
    assert!(ottla.stop().success());
}

#[test]
fn little_that_becomes_much_when_it_is_decompressed_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("message.max.bytes", "10000000").start();
    let stream = connect(&ottla);
    let (_, kept) = create(&stream, "kept", &[]);
    let (_, recompressed) = create(&stream, "recompressed", &[("compression.type", "uncompressed")]);
    let zeros = vec![0; 96 * MEGABYTE];
    let before = peak_bytes(&ottla);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = Bytes::from(batch(Compression::new(codec), &[&zeros]));
        assert!(bomb.len() < 10 * MEGABYTE, "{codec:?}: {}", bomb.len());
        // Whether its one record is accepted as it is, as Kafka does, or not: it is never held whole.
        produce(&stream, kept, bomb.clone());
        let refused = produce(&stream, recompressed, bomb);
        assert_eq!(refused, ErrorCode::MessageTooLarge, "{codec:?}");
    }
    let peak = peak_bytes(&ottla) - before;
    assert!(peak < 64 * MEGABYTE, "{} MB", peak / MEGABYTE);
    assert_eq!(produce(&stream, kept, batch(Compression::NONE, &[b"a"]).into()), ErrorCode::None);
    assert!(ottla.stop().success());
}

#[test]
fn readers_that_do_not_read_cost_little_and_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let stream = connect(&ottla);
    let (_, id) = create(&stream, "t", &[]);
    let value = vec![7; 500_000];
    for _ in 0..40 {
        assert_eq!(produce(&stream, id, batch(Compression::NONE, &[&value]).into()), ErrorCode::None);
    }
    let partition =
        fetch_request::Partition { partition_max_bytes: i32::MAX, ..fetch_request::Partition::default() };
    let topic = fetch_request::Topic { topic_id: id, partitions: vec![partition], ..Default::default() };
    let fetch = FetchRequest {
        max_bytes: i32::MAX,
        min_bytes: 1,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    let before = peak_bytes(&ottla);
    let readers: Vec<TcpStream> = (0..50).map(|_| connect(&ottla)).collect();
    for mut reader in &readers {
        // Several at once: what can't be answered is not even read.
        (0..5).for_each(|_| reader.write_all(&frame_of(&fetch, 17)).unwrap());
    }
    assert_eq!(produce(&stream, id, batch(Compression::NONE, &[b"a"]).into()), ErrorCode::None);
    assert_eq!(ask(&connect(&ottla), PATIENCE), Heard::Answer);
    assert!(peak_bytes(&ottla) < before + 64 * MEGABYTE, "{} MB", peak_bytes(&ottla) / MEGABYTE);
    let answer = receive::<FetchRequest>(&readers[0], 17);
    assert!(answer.responses[0].partitions[0].records.len() > 20_000_000);
    // A socket that is closed for writing has its answers still read.
    let mut half_closed = connect(&ottla);
    half_closed.write_all(&frame_of(&fetch, 17)).unwrap();
    half_closed.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = half_closed.read_to_end(&mut rest);
    assert!(ottla.stop().success());
}

/// With so many files that may be open, of which none is: librdkafka's pipes stay open in what other tests start.
fn with_open_files(dir: &Path, limit: usize) -> Launch {
    const CLOSE_WHAT_IS_OPEN: &str = r#"for path in /proc/$BASHPID/fd/*; do
        file=${path##*/}
        [ "$file" -le 2 ] || eval "exec $file>&-"
    done"#;
    let listeners = "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
    Launch::bare("/bin/bash", dir)
        .argument("-c")
        .argument(&format!("{CLOSE_WHAT_IS_OPEN}; ulimit -n {limit} && exec \"$0\" \"$@\""))
        .argument(env!("CARGO_BIN_EXE_ottla"))
        .set("listeners", listeners)
}

#[test]
fn a_start_with_too_few_files_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for limit in 8..24 {
        let ended = with_open_files(dir.path(), limit).run();
        assert_eq!(ended.status.code(), Some(1), "{limit}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("Raise the limit of open files (ulimit -n)"),
            "{limit}: {}",
            ended.stderr
        );
    }
}

#[test]
fn connections_that_use_up_all_files_leave_some_to_logs() {
    let begun = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let ottla = with_open_files(dir.path(), 200).start();
    let admin = connect(&ottla);
    let (_, first) = create(&admin, "first", &[]);
    let crowd: Vec<TcpStream> = (0..150).map(|_| connect(&ottla)).collect();
    let waits = |stream: &TcpStream| ask(stream, Duration::from_millis(300)) == Heard::Silence;
    assert!(waits(crowd.last().unwrap()), "{}", ottla.log());
    // Who is in goes on, also with what needs files.
    for number in 0..30 {
        let (code, id) = create(&admin, &format!("t{number}"), &[]);
        assert_eq!(code, ErrorCode::None);
        until(|| produce(&admin, id, batch(Compression::NONE, &[b"a"]).into()) == ErrorCode::None);
    }
    assert_eq!(produce(&admin, first, batch(Compression::NONE, &[b"a"]).into()), ErrorCode::None);
    let last = crowd.into_iter().next_back().unwrap();
    assert_eq!(hear(&last, PATIENCE), Heard::Answer, "places are free again");
    let log = ottla.log();
    let told = log.lines().filter(|line| line.contains("new connections wait")).count();
    // Each of two listeners tells it once in a minute.
    let most = 2 + 2 * usize::try_from(begun.elapsed().as_secs() / 60).unwrap();
    assert!((1..=most).contains(&told), "{told} lines: {log}");
    assert!(!log.contains("log directory failed"), "{log}");
    assert!(ottla.stop().success());
}
