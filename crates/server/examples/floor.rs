//! What no broker can do without on this machine: the CPU time of the bare system calls of its main jobs, by one thread that
//! does nothing else. `bench/run` puts it beside the brokers.
//!
//! - produce: take a request of N bytes from a TCP socket, checksum it, append it to a file, answer with 64 bytes
//! - produce NxM: take a request of N batches of M bytes from a socket with Kafka's receive buffer, checksum each, append each to
//!   a file of its own at positions that are aligned to nothing (a partition is a file), answer with 64 bytes
//! - consume: take a request of 64 bytes, answer with N bytes of that file by `sendfile`
//! - small: requests of 128 bytes, 64 in flight: all that one read brings is checksummed, appended with one write and
//!   answered with one
//!
//! Usage: `cargo run --release -p ottla-server --example floor [GIGABYTES] [DIRECTORY]`; prints JSON.

#![allow(clippy::print_stdout)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use rustix::time::{ClockId, clock_gettime};

const ANSWER_BYTES: usize = 64;
const SMALL_BYTES: usize = 128;
const SMALL_IN_FLIGHT: usize = 64;
/// The default of `socket.receive.buffer.bytes`.
const RECEIVE_BUFFER_BYTES: usize = 100 << 10;
/// What lies around and between the records of a batch, more or less: it keeps files from being aligned to pages.
const ODD_BYTES: usize = 61;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let gigabytes: f64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let path = Path::new(&directory).join("floor.data");
    let mut figures = Vec::new();
    for kib in [16, 64, 256, 1024] {
        let size = kib << 10;
        let count = (gigabytes * 1e9 / size as f64) as usize;
        let bytes = (count * size) as f64;
        let mut file = open(&path)?;
        let produce_s = produce(&mut file, size, count)?;
        let consume_s = consume(&file, size, count)?;
        figures.push(format!("\"produce-{kib}k s/GB\": {:.3}", produce_s / bytes * 1e9));
        figures.push(format!("\"consume-{kib}k s/GB\": {:.3}", consume_s / bytes * 1e9));
    }
    for (batches, kib) in [(6, 16), (4, 256)] {
        let size = (kib << 10) + ODD_BYTES;
        let count = (gigabytes * 1e9 / (batches * size) as f64) as usize;
        let paths: Vec<_> = (0..batches).map(|n| path.with_extension(n.to_string())).collect();
        let mut files = paths.iter().map(|path| open(path)).collect::<io::Result<Vec<_>>>()?;
        let spent_s = produce_batches(&mut files, size, count)?;
        let bytes = (count * batches * size) as f64;
        figures.push(format!("\"produce-{batches}x{kib}k s/GB\": {:.3}", spent_s / bytes * 1e9));
        paths.iter().try_for_each(std::fs::remove_file)?;
    }
    let count = (gigabytes * 1e6) as usize / SMALL_IN_FLIGHT * SMALL_IN_FLIGHT;
    let small_s = small(&mut open(&path)?, count)?;
    figures.push(format!("\"small us\": {:.3}", small_s / count as f64 * 1e6));
    std::fs::remove_file(&path)?;
    println!("{{{}}}", figures.join(", "));
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let _ = std::fs::remove_file(path);
    OpenOptions::new().create(true).append(true).read(true).open(path)
}

/// Both ends of a connection.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// Of the calling thread.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Runs `serve` beside a peer, and returns the CPU time of `serve` alone.
fn measure(
    peer: impl FnOnce(TcpStream) -> io::Result<()> + Send + 'static,
    serve: impl FnOnce(TcpStream) -> io::Result<()>,
) -> io::Result<f64> {
    let (client, server) = pair()?;
    let peer = thread::spawn(move || peer(client));
    let before = cpu_s();
    serve(server)?;
    let spent = cpu_s() - before;
    match peer.join() {
        Ok(ended) => ended.map(|()| spent),
        Err(_) => Err(io::Error::other("the peer has panicked")),
    }
}

fn produce(file: &mut File, size: usize, count: usize) -> io::Result<f64> {
    let peer = move |mut client: TcpStream| {
        let (request, mut answer) = (vec![7; size], [0; ANSWER_BYTES]);
        for _ in 0..count {
            client.write_all(&request)?;
            client.read_exact(&mut answer)?;
        }
        Ok(())
    };
    measure(peer, |mut server| {
        let mut request = vec![0; size];
        for _ in 0..count {
            server.read_exact(&mut request)?;
            std::hint::black_box(checksum(&request));
            file.write_all(&request)?;
            server.write_all(&[0; ANSWER_BYTES])?;
        }
        Ok(())
    })
}

/// Two requests are on their way at any time, so that the next one's packets come while one is handled, as a producer's do.
fn produce_batches(files: &mut [File], size: usize, count: usize) -> io::Result<f64> {
    let request_bytes = files.len() * size;
    let peer = move |mut client: TcpStream| {
        let (request, mut answer) = (vec![7; request_bytes], [0; ANSWER_BYTES]);
        for n in 0..=count {
            if n < count {
                client.write_all(&request)?;
            }
            if n > 0 {
                client.read_exact(&mut answer)?;
            }
        }
        Ok(())
    };
    measure(peer, |mut server| {
        rustix::net::sockopt::set_socket_recv_buffer_size(&server, RECEIVE_BUFFER_BYTES)?;
        let mut request = vec![0; request_bytes];
        for _ in 0..count {
            server.read_exact(&mut request)?;
            for (file, batch) in files.iter_mut().zip(request.chunks_exact(size)) {
                std::hint::black_box(checksum(batch));
                file.write_all(batch)?;
            }
            server.write_all(&[0; ANSWER_BYTES])?;
        }
        Ok(())
    })
}

fn consume(file: &File, size: usize, count: usize) -> io::Result<f64> {
    let peer = move |mut client: TcpStream| {
        let mut answer = vec![0; size];
        for _ in 0..count {
            client.write_all(&[0; ANSWER_BYTES])?;
            client.read_exact(&mut answer)?;
        }
        Ok(())
    };
    measure(peer, |mut server| {
        let mut request = [0; ANSWER_BYTES];
        for n in 0..count {
            server.read_exact(&mut request)?;
            let mut position = (n * size) as u64;
            let end = position + size as u64;
            while position < end {
                let left = (end - position) as usize;
                if rustix::fs::sendfile(&server, file, Some(&mut position), left)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(())
    })
}

fn small(file: &mut File, count: usize) -> io::Result<f64> {
    let peer = move |mut client: TcpStream| {
        let burst = vec![7; SMALL_BYTES * SMALL_IN_FLIGHT];
        let mut answers = vec![0; ANSWER_BYTES * SMALL_IN_FLIGHT];
        for _ in 0..count / SMALL_IN_FLIGHT {
            client.write_all(&burst)?;
            client.read_exact(&mut answers)?;
        }
        Ok(())
    };
    measure(peer, |mut server| {
        let (mut buffer, mut held, mut done) = (vec![0; 64 << 10], 0, 0);
        let answers = vec![0; ANSWER_BYTES * buffer.len() / SMALL_BYTES];
        while done < count {
            held += server.read(&mut buffer[held..])?;
            let requests = held / SMALL_BYTES;
            for request in buffer[..requests * SMALL_BYTES].chunks_exact(SMALL_BYTES) {
                std::hint::black_box(checksum(request));
            }
            file.write_all(&buffer[..requests * SMALL_BYTES])?;
            server.write_all(&answers[..requests * ANSWER_BYTES])?;
            buffer.copy_within(requests * SMALL_BYTES..held, 0);
            held -= requests * SMALL_BYTES;
            done += requests;
        }
        Ok(())
    })
}

/// That of record batches.
fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes)
}
