//! Answers with parts of files, which may have to come from disk.

use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::exchange::{FilePart, Part};
use ottla_log::disk::DiskFile;
use parking_lot::{Condvar, Mutex};

use crate::harness::{COLD, COLD_BYTES, ECHO, METADATA, Options, serve};

/// What a file holds that is only read.
trait Content: Debug + Send + Sync {
    fn len(&self) -> u64;
    fn read_at(&self, buf: &mut [u8], position: u64) -> usize;
    fn read_at_in_memory(&self, buf: &mut [u8], position: u64) -> Option<usize> {
        Some(self.read_at(buf, position))
    }
    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}

#[derive(Debug, Default)]
pub struct OnlyRead<C>(C);

impl<C: Content> DiskFile for OnlyRead<C> {
    fn path(&self) -> PathBuf {
        "only-read".into()
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(self.0.read_at(buf, position))
    }
    fn read_at_in_memory(&self, buf: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        Ok(self.0.read_at_in_memory(buf, position))
    }
    fn write_all_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, _: &Path) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn descriptor(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        Ok(self.0.descriptor())
    }
}

/// Zeros that have no descriptor.
#[derive(Debug)]
struct Zeros;

impl Content for Zeros {
    fn len(&self) -> u64 {
        u64::MAX
    }
    fn read_at(&self, buf: &mut [u8], _: u64) -> usize {
        buf.fill(0);
        buf.len()
    }
}

/// Zeros on a disk that stands still until it is told to go on. What was read once is in memory.
#[derive(Debug, Default)]
pub struct Cold {
    state: Mutex<ColdState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ColdState {
    is_read: bool,
    goes_on: bool,
    in_memory_to: u64,
}

impl Cold {
    fn await_reader(&self) {
        self.changed.wait_while(&mut self.state.lock(), |state| !state.is_read);
    }

    fn go_on(&self) {
        self.state.lock().goes_on = true;
        self.changed.notify_all();
    }
}

impl Content for Cold {
    fn len(&self) -> u64 {
        COLD_BYTES
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> usize {
        let mut state = self.state.lock();
        state.is_read = true;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| !state.goes_on);
        state.in_memory_to = state.in_memory_to.max(position + buf.len() as u64);
        buf.fill(0);
        buf.len()
    }
    fn read_at_in_memory(&self, buf: &mut [u8], position: u64) -> Option<usize> {
        let is_in_memory = position + buf.len() as u64 <= self.state.lock().in_memory_to;
        is_in_memory.then_some(buf.len())
    }
}

/// A real file of the letters, which is sent and not read.
#[derive(Debug)]
struct Letters(Arc<OwnedFd>);

impl Content for Letters {
    fn len(&self) -> u64 {
        26
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> usize {
        panic!("it is sent, not read")
    }
    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        Some(Arc::clone(&self.0))
    }
}

#[test]
fn what_has_to_come_from_disk_keeps_no_other_connection_waiting() {
    let server = serve(Options { network_threads: 1, ..Options::default() });
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.send(METADATA, COLD, b"");
    server.handler.cold.0.await_reader();
    other.send(METADATA, ECHO, b"meanwhile");
    assert_eq!(other.receive(), b"meanwhile");
    // The one that waits may ask on, and goes away whenever it likes.
    slow.send(METADATA, ECHO, b"after it");
    let mut leaving = server.connect();
    leaving.send(METADATA, COLD, b"");
    drop(leaving);
    server.handler.cold.0.go_on();
    assert_eq!(slow.receive().len() as u64, COLD_BYTES - 3);
    assert_eq!(slow.receive(), b"after it");
}

#[test]
fn parts_of_files_are_sent_in_their_place() {
    use ottla_server::network::outbox::Outbox;

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"abcdefghijklmnopqrstuvwxyz").unwrap();
    let file: Arc<dyn DiskFile> = Arc::new(OnlyRead(Letters(Arc::new(file.into()))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        let mut outbox = Outbox::default();
        outbox.push(vec![
            Part::Bytes(Bytes::from_static(b"<")),
            Part::File(FilePart { file: Arc::clone(&file), position: 2, len: 3 }),
            Part::Bytes(Bytes::from_static(b"|")),
            Part::Bytes(Bytes::from_static(b"|")),
            Part::File(FilePart { file: Arc::new(OnlyRead(Zeros)), position: 0, len: 2 }),
            Part::Bytes(Bytes::from_static(b">")),
        ]);
        outbox.send(&stream).unwrap();
        assert!(outbox.is_empty());
        assert_eq!(outbox.len_bytes(), 0);
        // Beyond the end there is nothing to send: an error, not an endless loop.
        outbox.push(vec![Part::File(FilePart { file, position: 20, len: 10 })]);
        assert_eq!(outbox.send(&stream).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        drop(stream);
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"<cde||\0\0>uvwxyz");
    });
}
