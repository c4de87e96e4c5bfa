//! What bytes travel over: TCP, or what a [`Connector`] makes of it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// A connection's two directions.
pub struct Stream {
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Stream {
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Stream {
        Stream { reader: Box::new(reader), writer: Box::new(writer) }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// Opens connections in place of plain TCP: TLS, a proxy, or a network that exists in a test only.
pub trait Connector: fmt::Debug + Send + Sync {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>>;
}

/// Sizes of the socket's buffers where they are not the system's choice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketBuffers {
    pub send_bytes: Option<u32>,
    pub receive_bytes: Option<u32>,
}

/// To the first of the host's addresses that takes the connection.
pub(crate) async fn connect_tcp(host: &str, port: u16, buffers: SocketBuffers) -> io::Result<Stream> {
    let mut last = None;
    for address in lookup_host((host, port)).await? {
        match tcp_socket(address, buffers)?.connect(address).await {
            Ok(stream) => return tcp_stream(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address")))
}

/// A socket that is not connected yet.
pub(crate) fn tcp_socket(address: SocketAddr, buffers: SocketBuffers) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = buffers.send_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = buffers.receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(socket)
}

fn tcp_stream(stream: TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok(Stream::new(reader, writer))
}
